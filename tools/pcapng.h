/*
 * pcapng.h - writing captured frames as pcapng, for Wireshark and its kin.
 */
#ifndef TOOLS_PCAPNG_H
#define TOOLS_PCAPNG_H

#include <stdio.h>

#include "kernel/base.h"

/* A file begins: one section, its interfaces next, in the order of their numbers.  comment: of the whole file. */
void pcapng_begin(FILE *f, const char *application, const char *comment);
/* An Ethernet interface whose packets have time stamps in nanoseconds. */
void pcapng_interface(FILE *f, const char *name, const u8 mac[6]);
/* A whole frame without its check sequence; time in nanoseconds since 1970 UTC. */
void pcapng_packet(FILE *f, u32 interface, u64 time_ns, bool outbound, const void *data, u32 size, const char *comment);

#endif
