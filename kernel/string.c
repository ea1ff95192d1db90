/*
 * string.c - the part of <string.h> that the compiler, liblz4.a and we use.
 *
 * Bulk work is plain 8-byte moves in blocks of 64 bytes.  REP MOVSQ counts
 * fewer instructions (0.13 a byte, against 0.31), but on QEMU's TCG each
 * iteration is a jump between blocks: it takes 2 to 4 times as long.  All
 * loads of a block come before its stores: source and destination at the same
 * offset of a large alignment share an entry of TCG's software TLB, and
 * alternating between them misses every time.
 */
#include "kernel/base.h"

/* Keeps the compiler from seeing a loop it would replace with a call to memcpy or memset. */
#define NOT_A_CALL __asm__ volatile("" : : : "memory")

/* Whole blocks; not inline, because it needs every register and small copies should not pay. */
static __attribute__((noinline)) void copy_blocks(u64 *to, const u64 *from, size_t nblocks)
{
	for (; nblocks; nblocks--, to += 8, from += 8) {
		u64 a = from[0], b = from[1], c = from[2], d = from[3];
		u64 e = from[4], f = from[5], g = from[6], h = from[7];

		NOT_A_CALL;
		to[0] = a, to[1] = b, to[2] = c, to[3] = d;
		to[4] = e, to[5] = f, to[6] = g, to[7] = h;
	}
}

/* Correct also when d < s and they overlap. */
static inline __attribute__((always_inline)) void copy_up(u8 *d, const u8 *s, size_t size)
{
	if (size >= 64) {
		size_t done = size & ~63UL;

		copy_blocks((u64 *)d, (const u64 *)s, size / 64);
		d += done;
		s += done;
		size -= done;
	}
	for (; size >= 8; size -= 8, d += 8, s += 8) {
		*(u64 *)d = *(const u64 *)s;
		NOT_A_CALL;
	}
	for (; size; size--) {
		*d++ = *s++;
		NOT_A_CALL;
	}
}

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
	copy_up(to, from, size);
	return to;
}

void *memmove(void *to, const void *from, size_t size)
{
	u8 *d = to;
	const u8 *s = from;

	if ((u64)d - (u64)s >= size) {
		copy_up(d, s, size);
		return to;
	}
	/* Upwards into itself: from the end. */
	while (size >= 8) {
		size -= 8;
		*(u64 *)(d + size) = *(const u64 *)(s + size);
		NOT_A_CALL;
	}
	while (size--) {
		d[size] = s[size];
		NOT_A_CALL;
	}
	return to;
}

void *memset(void *to, int c, size_t size)
{
	u64 v = (u8)c * 0x0101010101010101UL;
	u8 *d = to;

	for (; size >= 64; size -= 64, d += 64) {
		u64 *p = (u64 *)d;

		p[0] = p[1] = p[2] = p[3] = p[4] = p[5] = p[6] = p[7] = v;
		NOT_A_CALL;
	}
	for (; size >= 8; size -= 8, d += 8) {
		*(u64 *)d = v;
		NOT_A_CALL;
	}
	for (; size; size--) {
		*d++ = (u8)c;
		NOT_A_CALL;
	}
	return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
	const u8 *p = a, *q = b;

	for (; size >= 8; p += 8, q += 8, size -= 8)
		if (*(const u64 *)p != *(const u64 *)q)
			break;
	for (; size && *p == *q; p++, q++, size--)
		;
	return size ? *p - *q : 0;
}

void *memchr(const void *p, int c, size_t size)
{
	for (const u8 *s = p; size; s++, size--)
		if (*s == (u8)c)
			return (void *)(u64)s;
	return NULL;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n]) {
		n++;
		NOT_A_CALL;
	}
	return n;
}

size_t strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	return (u8)*a - (u8)*b;
}

int strncmp(const char *a, const char *b, size_t size)
{
	for (; size && *a && *a == *b; a++, b++, size--)
		;
	return size ? (u8)*a - (u8)*b : 0;
}

char *strchr(const char *s, int c)
{
	for (; *s != (char)c; s++)
		if (!*s)
			return NULL;
	return (char *)(u64)s;
}

char *strstr(const char *s, const char *what)
{
	size_t len = strlen(what);

	for (; strncmp(s, what, len); s++)
		if (!*s)
			return NULL;
	return (char *)(u64)s;
}
