/*
 * fuzz.h - what the fuzzers share: a check that aborts, as libFuzzer wants it, and for their own
 * main (STANDALONE) its two arguments, how many inputs and a seed, and random numbers.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdio.h>
#include <stdlib.h>

#include "kernel/base.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

#define CHECK(x) do { \
	if (!(x)) { \
		fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
		abort(); \
	} \
} while (0)

#ifdef STANDALONE

static u64 rng = 1;

/* xorshift: each seed's numbers are the same everywhere. */
static inline u64 rnd(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng;
}

/* How many inputs to make, 100,000 unless said otherwise. */
static inline unsigned long fuzz_runs(int argc, char **argv)
{
	rng = argc > 2 ? strtoul(argv[2], NULL, 0) | 1 : 1;
	return argc > 1 ? strtoul(argv[1], NULL, 0) : 100000;
}

#endif
#endif
