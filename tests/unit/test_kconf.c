/*
 * test_kconf.c - reading key=value text.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "kernel/kconf.h"

static const char text[] =
	"# mem=1\n"
	"mem=256M\n"
	"append=console=ttyS0 quiet\n"
	"memory=no\n"
	"empty=\n"
	"\n"
	"no value here\n"
	"seed=0xFEEDc0de\n"
	"limit=5000000000\n"
	"seed2=12x\n"
	"huge=18446744073709551616\n"
	"max=18446744073709551615\n"
	"twice=1\n"
	"twice=2\n"
	"last=end";

static const char *get(const char *key)
{
	static char buf[64];

	return conf_get(text, sizeof(text) - 1, key, buf, sizeof(buf)) ? buf : NULL;
}

static u64 number(const char *key)
{
	return conf_u64(text, sizeof(text) - 1, key, 77);
}

Test(kconf, values)
{
	cr_assert_str_eq(get("mem"), "256M");
	cr_assert_str_eq(get("append"), "console=ttyS0 quiet", "only the first = divides");
	cr_assert_str_eq(get("memory"), "no");
	cr_assert_str_eq(get("empty"), "");
	cr_assert_str_eq(get("last"), "end", "the last line needs no newline");
	cr_assert_str_eq(get("twice"), "2", "the last of several counts");
}

Test(kconf, absent)
{
	cr_assert_null(get("me"));
	cr_assert_null(get("memo"));
	cr_assert_null(get("# mem"), "a comment is no setting");
	cr_assert_null(get("no value here"));
	cr_assert_null(get("console"), "a key begins its line");
	cr_assert_null(get("mem=256M"));
}

Test(kconf, room)
{
	char buf[5] = "zzzz";

	cr_assert(conf_get(text, sizeof(text) - 1, "mem", buf, 5));
	cr_assert_str_eq(buf, "256M");
	cr_assert_not(conf_get(text, sizeof(text) - 1, "mem", buf, 4), "a cut value is no value");
	cr_assert_str_eq(buf, "");
	cr_assert_not(conf_get(text, sizeof(text) - 1, "mem", buf, 0));
}

Test(kconf, numbers)
{
	cr_assert_eq(number("seed"), 0xfeedc0de);
	cr_assert_eq(number("limit"), 5000000000);
	cr_assert_eq(number("max"), ~0UL);
	cr_assert_eq(number("twice"), 2);
}

Test(kconf, not_numbers)
{
	cr_assert_eq(number("seed2"), 77);
	cr_assert_eq(number("huge"), 77, "65 bits");
	cr_assert_eq(number("empty"), 77);
	cr_assert_eq(number("mem"), 77);
	cr_assert_eq(number("absent"), 77);
	cr_assert_eq(conf_u64("a=0x", 4, "a", 77), 77);
	cr_assert_eq(conf_u64("a=-1", 4, "a", 77), 77);
}

/* Cut anywhere: never a read past the end. */
Test(kconf, cut)
{
	for (size_t cut = 0; cut < sizeof(text); cut++) {
		char *copy = malloc(cut ? cut : 1), buf[64];

		memcpy(copy, text, cut);
		(void)conf_get(copy, cut, "last", buf, sizeof(buf));
		(void)conf_u64(copy, cut, "seed", 0);
		free(copy);
	}
}
