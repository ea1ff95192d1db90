/*
 * session.h - one run of the hypervisor in QEMU, from spawn to exit.
 *
 * What the hypervisor is told (session.conf, lines key=value):
 *   mode            run, record, replay or selftest
 *   append_offset, append_chain   record: where to append (rec_writer_open)
 *   run_offset, run_chain         replay: where to read (rec_reader_open_at)
 *   sync=1          record: flush at each commit
 *   left_insns, left_vtime        replay: where the operator left the recorded run
 *   perturb, from, until          replay: as the options of these names
 *   plant_at, plant_gpa           replay: flip a bit of memory, to see it found
 *   trace_*, dump_*               a closer look [replay/inspect.h]
 * Numbers are decimal, chains 0x and 16 hex digits.
 *
 * The guest's console is the machine's first serial port.  The second is the
 * control channel: lines of text, each at most 4000 bytes.
 *   from the hypervisor
 *     # TEXT           talk, shown with --verbose
 *     ready K=V ...    the self-test passed, the guest starts
 *     progress insns=N vtime_ns=N
 *     diverged epoch=N insns=N expected=HEX got=HEX what="TEXT"
 *     stat KEY VALUE   shown with --stats
 *     state TEXT       a line of a stopped machine's state
 *     error TEXT       the host side failed; becomes our own complaint
 *     end outcome=NAME guest_exit=N insns=N vtime_ns=N exits=N inputs=N
 *         input_bytes=N digest=HEX reason="TEXT"     (one line)  the last one
 *   to the hypervisor
 *     eof              standard input ended, and all of it is in the serial port
 *     quit             end the run here
 */
#ifndef TOOLS_SESSION_H
#define TOOLS_SESSION_H

#include "replay/recording.h"
#include "tools/options.h"
#include "tools/machine.h"

struct session {
	/* what to do */
	const struct options *o;
	int bundle_fd;
	u64 bundle_bytes, mem_bytes;
	int recording_fd;         /* -1: none */
	bool recording_readonly;
	bool console;             /* standard input is the guest's console */
	bool muted;               /* the console, and remarks on a divergence, are not shown */
	void (*on_state)(void *ctx, const char *line); /* takes `state` lines; NULL: standard error does */
	void *on_state_ctx;
	u64 total_insns;          /* for progress; 0: unknown */
	const struct buf *recorded_host; /* replay: HOST of the recording; a host that differs is refused */

	/* what came of it */
	bool ready, ended, diverged, timed_out, quit;
	bool refused;             /* the host differs: failure says how */
	u64 diverged_epoch, diverged_insns; /* when diverged */
	bool mid_line;            /* the guest's last output was no newline */
	char ready_line[512];
	struct rec_end end;       /* when ended */
	char failure[1024];       /* the host's failure in words; empty: none */
	int qemu_status;          /* as waitpid gives it */
};

/* Runs it; afterwards the fields below "what came of it" tell.  False: it did not even start (failure). */
bool session_run(struct session *s) must_check;

/* "poweroff", "debug-exit" ...: the control channel's and the commands' names of outcomes. */
const char *outcome_name(enum vm_outcome o);

/* The value of key in K=V pairs, quotes taken off; false if it is not there. */
bool control_get(const char *line, const char *key, char *value, size_t size);

/*
 * The exit status a run's end means, and the closing line: what happened,
 * after how much, into which recording (NULL: none).
 */
enum status session_close(const struct session *s, const char *recording, u64 recording_bytes) must_check;

#endif
