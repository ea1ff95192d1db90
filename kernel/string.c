/*
 * string.c - the part of <string.h> that the compiler, liblz4.a and we use.
 *
 * Bulk moves are REP MOVSQ/STOSQ: under instruction counting an iteration
 * is one instruction, so 8 bytes a step rather than one.
 */
#include "kernel/base.h"

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
	void *d = to;
	size_t words = size / 8;

	__asm__ volatile("rep movsq" : "+D"(d), "+S"(from), "+c"(words) : : "memory");
	size &= 7;
	__asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(size) : : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t size)
{
	u8 *d = to;
	const u8 *s = from;
	size_t words = size / 8;

	if ((u64)d - (u64)s >= size)
		return memcpy(to, from, size);
	/* Overlapping upwards: from the end, whole words first.  DF is clear again for C. */
	d += size - 8;
	s += size - 8;
	__asm__ volatile("std; rep movsq; cld" : "+D"(d), "+S"(s), "+c"(words) : : "memory");
	d += 7;
	s += 7;
	size &= 7;
	__asm__ volatile("std; rep movsb; cld" : "+D"(d), "+S"(s), "+c"(size) : : "memory");
	return to;
}

void *memset(void *to, int c, size_t size)
{
	void *d = to;
	size_t words = size / 8;
	u64 v = (u8)c * 0x0101010101010101UL;

	__asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(v) : "memory");
	size &= 7;
	__asm__ volatile("rep stosb" : "+D"(d), "+c"(size) : "a"(v) : "memory");
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

	while (*(volatile const char *)(s + n)) /* volatile: or this becomes a call to itself */
		n++;
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
