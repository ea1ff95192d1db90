/*
 * panictext.h - the hypervisor's last words, as kernel/panic.c prints them,
 * found in whatever they were copied from.
 *
 *   # panic: what happened
 *   # rip ...                          registers, if it was a trap
 *   # backtrace:
 *   #     function+0x1f (0x10abcd)     the innermost first
 *   #     ...                          if there are more
 *
 * With or without "# ", which they have on the control channel; older builds
 * print no address, and 0x10abcd alone where there are no symbols.
 */
#ifndef TOOLS_PANICTEXT_H
#define TOOLS_PANICTEXT_H

#include "tools/tool.h"

#define PANIC_FRAMES 64

struct panic_frame {
	char name[80];      /* empty: not said */
	u64 offset;         /* in it */
	u64 address;        /* 0: not said.  Of callers, the last byte of their call */
};

struct panic_text {
	char message[400];
	struct panic_frame frames[PANIC_FRAMES];
	size_t n;
	bool is_cut;        /* it says that there are more */
};

/* Takes the first panic of a text.  False: there is none with a backtrace. */
bool panic_parse(struct panic_text *p, const char *text, size_t size) must_check;

#endif
