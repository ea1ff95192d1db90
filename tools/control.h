/*
 * control.h - what the hypervisor says on the control channel [session.h].
 */
#ifndef TOOLS_CONTROL_H
#define TOOLS_CONTROL_H

#include "tools/session.h"

struct control {
	struct session *s;
	struct session_machine *machine; /* of several the one whose line it is; NULL: everybody's */
	char line[4096];
	size_t fill;
	bool skipping;         /* a line too long: dropped to its end */
	bool shows_progress;
	bool progress_shown;   /* a progress line stands on the terminal */
	struct buf stats;      /* printed at the end */
	struct buf answers;    /* lines for the hypervisor, to be sent and emptied by who received */
};

void control_init(struct control *c, struct session *s);

enum control_state { CONTROL_MORE, CONTROL_CLOSED };
/* Reads what has arrived and acts on every whole line of it. */
enum control_state control_receive(struct control *c, int fd);

/* After the end: the last line, without a newline perhaps, and what was kept for now. */
void control_finish(struct control *c);
void control_free(struct control *c);

#endif
