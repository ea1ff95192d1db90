/*
 * console.c - the user's terminal.  See console.h.
 */
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "tools/console.h"

static struct termios before;
static volatile sig_atomic_t is_raw;

void console_restore(void)
{
	if (!is_raw)
		return;
	is_raw = 0;
	tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

/* Our own crash: tcsetattr may be called here [signal-safety(7)].  The default action follows. */
static void crashed(int sig)
{
	console_restore();
	raise(sig);
}

bool console_raw(void)
{
	static const int fatal[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };
	struct sigaction act = { .sa_handler = crashed, .sa_flags = (int)SA_RESETHAND | SA_NODEFER };
	struct termios raw;

	if (is_raw)
		return true;
	if (tcgetattr(STDIN_FILENO, &before) || tcgetpgrp(STDIN_FILENO) != getpgrp())
		return false;
	atexit(console_restore);
	for (unsigned i = 0; i < ARRAY_SIZE(fatal); i++)
		sigaction(fatal[i], &act, NULL);
	raw = before;
	cfmakeraw(&raw);
	raw.c_oflag |= OPOST; /* our own lines end in \n alone */
	is_raw = 1;
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw)) {
		is_raw = 0;
		return false;
	}
	return true;
}

enum escape escape_filter(struct escape_state *e, u8 *data, size_t *size)
{
	enum escape found = ESCAPE_NONE;
	size_t kept = 0;

	for (size_t i = 0; i < *size; i++) {
		u8 c = data[i];

		if (!e->pending && c == 1) {
			e->pending = true;
			continue;
		}
		if (e->pending) {
			e->pending = false;
			if (c == 'x')
				found = ESCAPE_QUIT;
			else if (c == 'h' && found == ESCAPE_NONE)
				found = ESCAPE_HELP;
			else if (c == 'n' && found == ESCAPE_NONE)
				found = ESCAPE_NEXT;
			if (c != 1)
				continue;
		}
		data[kept++] = c;
	}
	*size = kept;
	return found;
}
