/*
 * varint.h - variable-length integers of the recording format
 * [docs/RECORDING.md, Conventions].
 */
#ifndef REPLAY_VARINT_H
#define REPLAY_VARINT_H

#include "kernel/base.h"

#define VARINT_MAX 10

static inline u32 put_varint(u8 *p, u64 v)
{
	u32 n = 0;

	for (; v >= 0x80; v >>= 7)
		p[n++] = (u8)(v | 0x80);
	p[n++] = (u8)v;
	return n;
}

/* Bytes taken, 0 if p[0..size) does not begin with a varint of at most 64 bits. */
static inline u32 get_varint(const u8 *p, u32 size, u64 *v)
{
	u64 r = 0;

	for (u32 n = 0; n < size && n < VARINT_MAX; n++) {
		u64 bits = p[n] & 0x7f;

		if (n == 9 && bits > 1)
			return 0;
		r |= bits << (7 * n);
		if (!(p[n] & 0x80)) {
			*v = r;
			return n + 1;
		}
	}
	return 0;
}

/* Signed differences, modulo 2^64, small magnitudes first: 0, -1, 1, -2, ... */
static inline u64 zigzag(u64 v)
{
	return (v << 1) ^ (v >> 63 ? ~0UL : 0);
}

static inline u64 unzigzag(u64 v)
{
	return (v >> 1) ^ (v & 1 ? ~0UL : 0);
}

#endif
