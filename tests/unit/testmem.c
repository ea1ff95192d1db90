/*
 * testmem.c - chunks and pages for tests.  See testmem.h.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/unit/testmem.h"

int testmem_chunks_left;
unsigned testmem_given;
static void *given[256];

static void *give(size_t alignment, size_t size)
{
	cr_assert_lt(testmem_given, ARRAY_SIZE(given));
	given[testmem_given] = aligned_alloc(alignment, size);
	return memset(given[testmem_given++], 0, size);
}

static void *chunk(void *ctx unused_arg)
{
	return testmem_chunks_left-- > 0 ? give(CHUNK_SIZE, CHUNK_SIZE) : NULL;
}

static void *pages(void *ctx unused_arg, size_t n)
{
	return give(PAGE_SIZE, n * PAGE_SIZE);
}

const struct chunk_source testmem_source = { chunk, pages, NULL };

void testmem_free_all(void)
{
	while (testmem_given)
		free(given[--testmem_given]);
}
