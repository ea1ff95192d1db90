/*
 * testmem.h - where tests' guest memories and disks take their chunks and pages from.
 */
#ifndef TESTS_UNIT_TESTMEM_H
#define TESTS_UNIT_TESTMEM_H

#include "vmm/guestmem.h"

/* Zeroed memory from the host's heap, as long as there are chunks left. */
extern const struct chunk_source testmem_source;
extern int testmem_chunks_left;
extern unsigned testmem_given; /* pieces, the part that could not be used included */

void testmem_free_all(void);

#endif
