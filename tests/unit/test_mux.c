/*
 * test_mux.c - several consoles on one: whole lines in a pipe, prompts on a terminal, any byte.
 */
#include <criterion/criterion.h>

#include "tools/mux.h"

static struct mux m;

static void setup(void)
{
	m = (struct mux){ .n = 3, .name = { "web", "client", "c" } };
	mux_start(&m);
}

static void teardown(void)
{
	mux_free(&m);
}
TestSuite(mux, .init = setup, .fini = teardown);

#define TAKE(text) mux_take(&m, (const u8 *)(text), sizeof(text) - 1)

static void shows(const char *text)
{
	buf_add(&m.shown, "", 1);
	cr_assert_str_eq((char *)m.shown.data, text);
	m.shown.size = 0;
}

Test(mux, lines_are_whole_in_a_pipe)
{
	TAKE("\xff\x00hel\xff\x01one\r\ntwo\xff\x02");
	shows("client | one\r\n");
	TAKE("\xff\x00lo\n\xff\x02x\n\xff\x01.\n");
	shows("web    | hello\nc      | x\nclient | two.\n");
	TAKE("left over\xff\x02, too");
	mux_finish(&m);
	shows("client | left over\nc      | , too\n");
}

Test(mux, a_terminal_shows_prompts_of_who_has_the_keyboard)
{
	m.terminal = true;
	TAKE("\xff\x00login: \xff\x01half");
	shows("\033[36mweb    |\033[m login: ");
	TAKE(" a line\n");
	shows("\n\033[33mclient |\033[m half a line\n");
	TAKE("\xff\x00root");
	shows("\033[36mweb    |\033[m root");
	TAKE("\n# ");
	shows("\n\033[36mweb    |\033[m # ");
}

/* Marks may be cut anywhere, FFh is a byte like any other, and who is nobody is the first. */
Test(mux, any_byte)
{
	static const u8 bytes[] = { 0xff, 1, 0xff, 0xff, 0, '\n', 0xff, 0xff, '\n', 0xff, 200, 'x', '\n' };
	static const u8 wanted[] = "client | \xff\0\nclient | \xff\nweb    | x\n";

	for (size_t i = 0; i < sizeof(bytes); i++)
		mux_take(&m, &bytes[i], 1);
	cr_assert_eq(m.shown.size, sizeof(wanted) - 1);
	cr_assert_arr_eq(m.shown.data, wanted, sizeof(wanted) - 1);
}

Test(mux, a_line_without_end_is_shown_some_time)
{
	static u8 many[100000];

	memset(many, 'x', sizeof(many));
	mux_take(&m, many, sizeof(many));
	cr_assert_gt(m.shown.size, 90000UL);
	cr_assert_lt(m.line[0].size, 10000UL);
}

Test(mux, typing)
{
	static const u8 wanted[] = { 'a', 0xff, 0xff, 'b', 0xff, 2 };
	struct buf out = { 0 };

	mux_type((const u8 *)"a\xff" "b", 3, &out);
	m.keyboard = 2;
	mux_point(&m, &out);
	cr_assert_eq(out.size, sizeof(wanted));
	cr_assert_arr_eq(out.data, wanted, sizeof(wanted));
	buf_free(&out);
}
