/*
 * console.h - the user's terminal: raw while the guest has it, put back
 * whatever happens, and the escape key.
 */
#ifndef TOOLS_CONSOLE_H
#define TOOLS_CONSOLE_H

#include "kernel/base.h"

/* Puts standard input into raw mode if it is a terminal and this is the foreground; true if it did. */
bool console_raw(void);
/* Puts the terminal back; harmless when it is. Also done at exit and on a crash. */
void console_restore(void);

/*
 * The escape key, as QEMU's users know it: Ctrl-A x leaves, Ctrl-A h helps,
 * Ctrl-A Ctrl-A types a Ctrl-A; of several machines Ctrl-A n gives the next one the keyboard.
 * Takes the keys out of data in place.
 */
enum escape { ESCAPE_NONE, ESCAPE_QUIT, ESCAPE_HELP, ESCAPE_NEXT };
struct escape_state {
	bool pending; /* Ctrl-A was the last byte */
};
enum escape escape_filter(struct escape_state *e, u8 *data, size_t *size);

#define ESCAPE_HELP_TEXT "Ctrl-A x  leave    Ctrl-A Ctrl-A  type a Ctrl-A    Ctrl-A h  this help"
#define ESCAPE_HELP_SEVERAL "Ctrl-A n  the next machine gets the keyboard    " ESCAPE_HELP_TEXT

#endif
