/*
 * test_kfmt.c - ksnprintf says what snprintf says, within what it promises.
 */
#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>

#include "kernel/kfmt.h"

/* Formats with both; they must agree in text and length. */
#define SAME(...)                                                                   \
	do {                                                                        \
		char ours[200], theirs[200];                                        \
		size_t n = ksnprintf(ours, sizeof(ours), __VA_ARGS__);              \
		int want = snprintf(theirs, sizeof(theirs), __VA_ARGS__);           \
		cr_assert_str_eq(ours, theirs);                                     \
		cr_assert_eq(n, (size_t)want);                                      \
	} while (0)

Test(kfmt, plain_text)
{
	SAME("nothing to format");
	SAME("100%% of %s", "it");
	SAME("%c%c", 'o', 'k');
}

Test(kfmt, signed_numbers)
{
	SAME("%d %d %i", 0, -1, 42);
	SAME("%d %d", INT_MIN, INT_MAX);
	SAME("%ld %ld %lld", LONG_MIN, LONG_MAX, -5LL);
	SAME("%hhd %hd", (signed char)-56, (short)-25536);
}

Test(kfmt, unsigned_numbers)
{
	SAME("%u %x %X", UINT_MAX, 0xdeadbeefU, 0xdeadbeefU);
	SAME("%lu %lx %llx %zu", ULONG_MAX, ULONG_MAX, 0x123456789abcULL, (size_t)7);
	SAME("%hhx %hx %hu", (unsigned char)0xff, (unsigned short)0xffff, (unsigned short)1);
}

Test(kfmt, width_and_zeros)
{
	SAME("[%5d][%-5d][%05d]", 42, 42, 42);
	SAME("[%5d][%-5d][%05d]", -42, -42, -42);
	SAME("[%08x][%016lx][%2x]", 0xabcU, 0xabcUL, 0xabcdU);
	SAME("[%*d][%*d]", 6, 42, -6, 42);
	SAME("[%-*s]", 8, "left");
	SAME("[%8s][%-8s]", "abc", "abc");
}

Test(kfmt, precision)
{
	SAME("[%.3s][%.0s][%.10s]", "abcdef", "abc", "abc");
	SAME("[%.*s]", 2, "abcdef");
	SAME("[%8.3s][%-8.3s]", "abcdef", "abcdef");
	SAME("[%.5d][%8.5d][%-8.5d][%.5x]", 42, 42, -42, 0x2aU);
}

/* A field taken from memory that is not terminated: precision bounds the reads, too. */
Test(kfmt, precision_bounds_what_is_read)
{
	char *field = malloc(3), out[8];

	memcpy(field, "abc", 3);
	cr_assert_eq(ksnprintf(out, sizeof(out), "%.3s", field), 3); /* the sanitizer watches */
	cr_assert_str_eq(out, "abc");
	free(field);
}

Test(kfmt, pointers)
{
	char out[32];

	ksnprintf(out, sizeof(out), "%p", (void *)0xfee00000UL);
	cr_assert_str_eq(out, "0xfee00000");
	ksnprintf(out, sizeof(out), "%p", NULL);
	cr_assert_str_eq(out, "0x0");
}

Test(kfmt, null_string)
{
	char out[32];
	const char *volatile none = NULL;

	ksnprintf(out, sizeof(out), "<%s>", none);
	cr_assert_str_eq(out, "<(null)>");
}

Test(kfmt, bounded)
{
	char out[8] = "zzzzzzz";

	cr_assert_eq(ksnprintf(out, 4, "%s", "abcdef"), 6, "the length it would have had");
	cr_assert_str_eq(out, "abc");
	cr_assert_eq(out[4], 'z', "nothing past the size");
	cr_assert_eq(ksnprintf(out, 1, "%d", 12345), 5);
	cr_assert_str_eq(out, "");
	out[0] = 'q';
	cr_assert_eq(ksnprintf(out, 0, "%d", 12345), 5);
	cr_assert_eq(out[0], 'q', "size 0 writes nothing");
	cr_assert_eq(ksnprintf(out, 6, "%d", 12345), 5);
	cr_assert_str_eq(out, "12345");
}

/* Through a pointer: the compiler would refuse these formats. */
Test(kfmt, arguments_wider_than_their_conversion)
{
	size_t (*volatile format)(char *, size_t, const char *, ...) = ksnprintf;
	char out[32];

	format(out, sizeof(out), "%hhd %hd %hhx %hu", 200, 40000, 0x1ff, 65537);
	cr_assert_str_eq(out, "-56 -25536 ff 1");
	format(out, sizeof(out), "[%08.5d]", -42);
	cr_assert_str_eq(out, "[  -00042]", "a precision switches zeros off");
}

Test(kfmt, unknown_conversions_are_shown)
{
	size_t (*volatile format)(char *, size_t, const char *, ...) = ksnprintf;
	char out[32];

	format(out, sizeof(out), "a %q b");
	cr_assert_str_eq(out, "a %q b");
	format(out, sizeof(out), "end %");
	cr_assert_str_eq(out, "end %");
	format(out, sizeof(out), "%5");
	cr_assert_str_eq(out, "%5");
}
