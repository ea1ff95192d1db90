/*
 * session.h - one run of the hypervisor in QEMU, from spawn to exit.
 *
 * What the hypervisor is told (session.conf, lines key=value):
 *   mode            run, record, replay, debug, ft or selftest
 *   append_offset, append_chain   record: where to append (rec_writer_open)
 *   run_offset, run_chain         replay: where to read (rec_reader_open_at)
 *   sync=1          record: flush at each commit
 *   checkpoint_every   record: instructions between two checkpoints, 0: none
 *   resume_offset, resume_chain, resume_insns, resume_end   replay, debug: where
 *                   the chunks of stored checkpoints begin, and which of them to take
 *   arrived=1       debug: the run begins at that checkpoint, and nothing is before it
 *   left_insns, left_vtime        replay: where the operator left the recorded run
 *   perturb, from, until          replay: as the options of these names
 *   parents=N       what a fork's run has behind it, the oldest first, for each:
 *                   parentN_offset, parentN_chain (its run on the disk parentN), parentN_until,
 *                   parentN_vtime, parentN_sequence (where the next one forked), parentN_jitter,
 *                   parentN_seed
 *   jitter, fork_seed   of the recording itself, if it is a fork's
 *   fork_at, fork_count, new_jitter, new_seed, child   fork [session/fork.c]
 *   gdb=1, gdb_wait=1   record: a debugger may come [session/debug.c]
 *   nic_echo        run, record: bit n: what NIC n sends comes back to it, too [session/net.c]
 *   plant_at, plant_gpa           replay: flip a bit of memory, to see it found
 *   frames=1        replay: all frames go to the disk "frames" [replay/frames.h]
 *   trace_*, dump_*               a closer look [replay/inspect.h]
 *   at              debug: end, begin, crash, or instructions: where GDB finds the machine
 *   timeline_mib    debug: memory for checkpoints
 *   gdb_arch        debug: x86-64, i386 or i8086; without it, as the CPU's mode then is
 *   lstar_linear, panic_linear    debug: where entry_SYSCALL_64 and panic were linked to;
 *                   with the guest's LSTAR they tell where panic is
 *   ft_role         ft: primary, secondary: how it begins
 *   ft_link_mac     of the link's adapter; the other host's ends in 01 if this one ends in 02, and so on
 *   ft_link_bytes   that the network between them carries in one piece, of a frame of that adapter
 *   ft_heartbeat_ms, ft_detect_ms, ft_pair_id (0x and 16 hex digits)
 *   ft_arbiter      scsi: the disk of the virtio-scsi adapter; file: ask over the control channel
 *                   [ftarbiter.h]
 *   sharedN_unit    ft: disk N, whose mode is shared, is that SCSI adapter's, counted as QEMU's devices
 *                   stand; the arbiter is the first if it is a unit
 *   ft_policy       reprotect, stop: when the two differ
 *   ft_recording=1  append_offset and append_chain are there, too
 * Numbers are decimal, chains 0x and 16 hex digits.
 *
 * Of several machines [session/group.h] there is, beside session.conf with mode and machines=N,
 * for each a N.session.conf with what else is above and
 *   share           of the CPU, 1 to 1000
 *   nicN_lan=M      NIC N is on switch M
 *   kernel_of, initrd_of   the machine whose image it has, too
 * and in the common one
 *   lanN_mac        the device by which switch N leads to the host's network
 *
 * The guest's console is the machine's first serial port.  On the third, if
 * there is one, the hypervisor speaks GDB's remote protocol [gdbrelay.h].  The
 * second is the control channel: lines of text, each at most 4000 bytes.
 *   from the hypervisor
 *     # TEXT           talk, shown with --verbose
 *     ready K=V ...    the self-test passed, the guest starts
 *     progress insns=N vtime_ns=N
 *     diverged epoch=N insns=N expected=HEX got=HEX what="TEXT"
 *     stat KEY VALUE   shown with --stats
 *     forked insns=N vtime_ns=N sequence=N digest=HEX   fork: at the point
 *     forking n=N, forked n=N   fork, many: the n-th is being made; runs
 *     fork n=N seed=N outcome=NAME insns=N digest=HEX fork_insns=N pages_written=N frames_own=N ...
 *                      fork, many: the n-th has run
 *     state TEXT       a line of a stopped machine's state
 *     error TEXT       the host side failed; becomes our own complaint
 *     commit disk=N done=N all=N   the run is over, and sectors that the guest wrote are
 *                      written to disk N; killed meanwhile that is half done
 *     remark TEXT      something the user should know
 *     debugging insns=N vtime_ns=N rip=0xHEX cr3=0xHEX lstar=0xHEX bits=N end=0|1
 *                      it is where it was to go, and a debugger may speak
 *     detached         the debugger that has gone is forgotten, another may come
 *     ft role=primary|secondary|solo|joining|waiting|lost state="TEXT" term=N protected=0|1 point=N
 *         lag_insns=N held_bytes=N sent=N received=N heartbeat_age_ms=N takeovers=N pause_us=N
 *         joins=N join_pause_us=N resent=N mismatch_epoch=N reason="TEXT"     (one line)
 *                      ft: at every change of state, and five times a second at most.  lost without a
 *                      reason: the machine has ended.  More keys may come; they are shown as they are
 *     arbiter n=N op=swap expected=HEX desired=HEX   ft: asks for an answer
 *     end outcome=NAME guest_exit=N insns=N vtime_ns=N exits=N inputs=N
 *         input_bytes=N digest=HEX reason="TEXT"     (one line)  the last one
 *   of several machines each of these that is one machine's begins with @, its number and a
 *   blank, as in @1 end ...; and the console's bytes are marked: FFh N, with N below 240, says
 *   that from there on they are machine N's, FFh FFh is the byte FFh
 *   to the hypervisor, likewise; without a number it is for all of them
 *     eof              standard input ended, and all of it is in the serial port
 *     quit             end the run here
 *     detached         the debugger has gone, and all it said is in the serial port
 *     arbiter n=N result=swapped|differs|unreachable|unknown [word=HEX]   ft: the answer
 */
#ifndef TOOLS_SESSION_H
#define TOOLS_SESSION_H

#include <poll.h>
#include <sys/types.h>

#include "replay/recording.h"
#include "tools/machine.h"
#include "tools/qemu.h"
#include "tools/options.h"

struct gdbrelay;

/* What else goes on in a session, beside its machine: whatever has descriptors of its own. */
#define SIDE_NFDS 10
struct session_side {
	/* A line of the control channel.  True: it was for this side, which may have added lines to answers. */
	bool (*line)(void *ctx, const char *line, struct buf *answers);
	unsigned (*watch)(void *ctx, struct pollfd fds[SIDE_NFDS]); /* what it waits for; how many they are */
	void (*turn)(void *ctx, const struct pollfd *fds, unsigned nfds);
	void (*started)(void *ctx, pid_t qemu);
};

/* One of several machines. */
struct session_machine {
	const char *name;
	bool ended;
	struct rec_end end;       /* when ended */
	u64 insns;                /* so far */
};

struct session {
	/* what to do */
	struct session_machine *machine; /* several of them; NULL: one without a name */
	unsigned nmachines;
	const struct options *o;
	int bundle_fd;
	u64 bundle_bytes, mem_bytes;
	int recording_fd;         /* -1: none */
	bool recording_readonly;
	struct qemu_disk disk[QEMU_MAX_DISKS]; /* further ones: a fork's parents, its own recording */
	unsigned ndisks;
	struct qemu_nic nic[QEMU_MAX_NICS]; /* the guest's, with their networks */
	unsigned nnics;
	void (*on_fork)(void *ctx, const char *line); /* takes lines that begin with `fork` */
	void *on_fork_ctx;
	const struct session_side *side; /* NULL: none */
	void *side_ctx;
	struct qemu_pair pair;    /* of a host of a pair: its link and its arbiter */
	bool console;             /* standard input is the guest's console */
	bool muted;               /* the console, and remarks on a divergence, are not shown */
	bool console_on_stderr;   /* the console is, but there */
	u64 timeline_bytes;       /* the hypervisor's memory for checkpoints */
	struct gdbrelay *relay;   /* for a debugger; NULL: there is none, nor a third serial port */
	/* The debugger may begin.  It may set child.  False, after a complaint: the session ends. */
	bool (*on_debugging)(void *ctx, struct session *s);
	void *on_debugging_ctx;
	/*
	 * A program that has the terminal: its end is the session's, and ours may
	 * be no sooner.  Until then Ctrl-C is for it.  0: none, or ended.
	 */
	pid_t child;
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
	bool committing;          /* a line `commit` came: only the end is still to come */
	bool debugging, forgotten; /* the lines `debugging` and `detached` came, the latter not yet acted on */
	char debugging_line[512];
	char divergence[600];     /* when diverged: the remark on it */
	int child_status;         /* as waitpid gives it */
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
/* The pair at *at, and *at behind it; false at the end, or at what is no pair. */
bool control_next(const char **at, char *key, size_t key_size, char *value, size_t value_size) must_check;

/* failure, where QEMU went without the line `end`: by errors, all it said, which is cut up. */
void session_explain(struct session *s, char *errors);

/*
 * The exit status a run's end means, and the closing line: what happened,
 * after how much, into which recording (NULL: none).
 */
enum status session_close(const struct session *s, const char *recording, u64 recording_bytes) must_check;
/* The same for one of several, of a session that did not fail. */
enum status session_close_machine(const struct session *s, const struct session_machine *m, const char *recording,
				  u64 recording_bytes) must_check;

#endif
