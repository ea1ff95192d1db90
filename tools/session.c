/*
 * session.c - the event loop around one QEMU.  See session.h.
 *
 * One thread, one poll.  Bytes flow
 *   standard input -> escape key -> l->typed -> console socket
 *   console socket -> l->shown -> standard output
 * and a side is read only while its buffer is empty, so a slow guest holds
 * back the typist and a slow reader holds back the guest.  What a debugger and
 * the third serial port say goes its own way [gdbrelay.h].
 *
 * Map: starting and stopping; console; control lines; the loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <linux/sockios.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/console.h"
#include "tools/control.h"
#include "tools/gdbrelay.h"
#include "tools/mux.h"
#include "tools/qemu.h"
#include "tools/session.h"

#define QUIT_GRACE_MS 3000   /* for the hypervisor to end the recording after "quit" */
#define EXIT_GRACE_MS 5000   /* for QEMU to go after "end" */
#define COMMIT_GRACE_MS 120000 /* for a piece of what is written to a disk: its host may be slow */
#define DRAIN_POLL_MS 5
#define PIECE 4096           /* at most PIPE_BUF: a pipe that polls writable takes it without blocking */

enum stdin_state {
	STDIN_UNUSED,   /* nothing is taken from it, or not yet */
	STDIN_OPEN,
	STDIN_EOF,      /* read to its end; bytes may be on their way */
	STDIN_TOLD,     /* "eof" was sent */
};

struct loop {
	struct session *s;
	struct qemu q;
	int signals;
	bool exited;            /* QEMU was reaped */
	bool quit_later;        /* asked for while a disk is being written */
	unsigned nended;        /* of several machines, when that was last looked at */
	bool console_open, control_open, errors_open, stdout_open;
	bool terminal;          /* standard input is raw */
	enum stdin_state in;
	bool delivered;         /* standard input gave at least one byte */
	struct escape_state escape;
	struct buf typed;       /* for the console, sent up to typed_at */
	size_t typed_at;
	struct buf shown;       /* from it, written up to shown_at */
	size_t shown_at;
	struct mux mux;         /* of several machines */
	struct control control;
	struct buf errors;
	u64 started_ms, kill_at_ms, kill_child_at_ms; /* 0: not set */
};

/* ---- starting and stopping ---- */

static void kill_qemu(struct loop *l)
{
	if (!l->exited)
		kill(l->q.pid, SIGKILL);
}

static void tell(struct loop *l, const char *line)
{
	/* A control channel that takes no line means a hypervisor that hangs: kill_at_ms handles it. */
	if (l->control_open)
		send(l->q.control, line, strlen(line), MSG_NOSIGNAL);
}

static void set_deadline(struct loop *l, u64 grace_ms)
{
	u64 at = host_ms() + grace_ms;

	if (!l->kill_at_ms || at < l->kill_at_ms)
		l->kill_at_ms = at;
}

/* Politely, so that it puts the terminal back; when asked twice, not. */
static void end_child(struct loop *l)
{
	if (l->s->child <= 0)
		return;
	kill(l->s->child, l->kill_child_at_ms ? SIGKILL : SIGTERM);
	kill(l->s->child, SIGCONT);
	if (!l->kill_child_at_ms)
		l->kill_child_at_ms = host_ms() + QUIT_GRACE_MS;
}

/* The operator, a signal or --timeout ends the run: politely, so that the recording gets its END. */
static void quit(struct loop *l)
{
	end_child(l);
	if (l->exited)
		return;
	if (l->s->committing) { /* a disk half written is no disk; it is over soon */
		l->quit_later = true;
		return;
	}
	if (l->s->quit) {
		kill_qemu(l); /* asked twice */
		return;
	}
	l->s->quit = true;
	if (!l->s->ready) {
		kill_qemu(l); /* nobody listens yet, nothing is lost */
		return;
	}
	tell(l, "quit\n");
	set_deadline(l, QUIT_GRACE_MS);
}

static void reap(struct loop *l)
{
	struct session *s = l->s;

	if (!l->exited && waitpid(l->q.pid, &s->qemu_status, WNOHANG) == l->q.pid)
		l->exited = true;
	if (s->child <= 0 || waitpid(s->child, &s->child_status, WNOHANG) != s->child)
		return;
	s->child = 0;
	/* Nothing to ask of a hypervisor that went first, and is perhaps why the child ended. */
	if (!l->control_open || s->ended)
		set_deadline(l, EXIT_GRACE_MS);
	else if (!s->quit)
		quit(l);
}

static void on_signals(struct loop *l)
{
	struct signalfd_siginfo info;

	while (read(l->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap(l);
		else if (l->s->child <= 0 || (info.ssi_signo != SIGINT && info.ssi_signo != SIGQUIT))
			quit(l);
	}
}

/* ---- console ---- */

/*
 * The guest starts: standard input is its console from now on.  Not earlier:
 * the hypervisor empties the serial port when it sets it up, and until then
 * Ctrl-C still works.
 */
static void stdin_begin(struct loop *l)
{
	struct stat in, null;

	if (!l->s->console)
		return;
	/* /dev/null, or nothing there at all: nobody will type, say so at once. */
	l->in = STDIN_EOF;
	if (fstat(STDIN_FILENO, &in) ||
	    (S_ISCHR(in.st_mode) && !stat("/dev/null", &null) && in.st_rdev == null.st_rdev))
		return;
	l->in = STDIN_OPEN;
	l->terminal = console_raw();
	/* What is no terminal is the first machine's. */
	for (unsigned i = 1; i < l->s->nmachines && !l->terminal; i++)
		tell(l, (const char[]){ '@', (char)('0' + i), ' ', 'e', 'o', 'f', '\n', 0 });
}

static void stdin_ended(struct loop *l)
{
	l->in = STDIN_EOF;
	/* A shell reading a script from its console leaves at the ^D, as it would at a file's end. */
	if (l->delivered && !l->terminal && !l->s->o->no_eof_char)
		buf_add(&l->typed, "\004", 1);
}

static void type_bytes(struct loop *l)
{
	ssize_t n = send(l->q.console, l->typed.data + l->typed_at, l->typed.size - l->typed_at, MSG_NOSIGNAL);

	if (n > 0)
		l->typed_at += (size_t)n;
	else if (errno != EAGAIN && errno != EINTR)
		l->typed_at = l->typed.size; /* QEMU is gone */
}

static int console_out(const struct loop *l)
{
	return l->s->console_on_stderr ? STDERR_FILENO : STDOUT_FILENO;
}

/* Where both are seen together, what we say is no continuation of the guest's last line. */
static void begin_own_line(struct loop *l)
{
	if (l->s->mid_line && isatty(console_out(l)) && isatty(STDERR_FILENO))
		write_all(STDERR_FILENO, "\n", 1);
	l->s->mid_line = false;
}

static void take_marked(struct loop *l, const u8 *bytes, size_t size)
{
	mux_take(&l->mux, bytes, size);
	buf_add(&l->shown, l->mux.shown.data, l->mux.shown.size);
	l->mux.shown.size = 0;
}

static void next_machine(struct loop *l)
{
	if (!l->s->nmachines)
		return;
	do {
		l->mux.keyboard = (l->mux.keyboard + 1) % l->s->nmachines;
	} while (l->s->machine[l->mux.keyboard].ended && !l->s->ended);
	if (!l->terminal)
		return; /* what is no terminal stays the first machine's */
	mux_point(&l->mux, &l->typed);
	begin_own_line(l);
	l->mux.open = -1;
	remark("the keyboard is %s's", l->s->machine[l->mux.keyboard].name);
	take_marked(l, NULL, 0); /* its prompt, which has waited for its line's end */
}

static void on_stdin(struct loop *l)
{
	u8 bytes[PIECE];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	l->typed_at = l->typed.size = 0;
	if (n <= 0) {
		stdin_ended(l);
		return;
	}
	l->delivered = true;
	for (ssize_t i = 0; i < n; i++) {
		size_t kept = 1;
		enum escape key = l->terminal ? escape_filter(&l->escape, &bytes[i], &kept) : ESCAPE_NONE;

		if (l->s->nmachines)
			mux_type(&bytes[i], kept, &l->typed);
		else
			buf_add(&l->typed, &bytes[i], kept);
		switch (key) {
		case ESCAPE_QUIT:
			type_bytes(l); /* what was typed before it */
			quit(l);
			return;
		case ESCAPE_HELP:
			remark("%s", l->s->nmachines ? ESCAPE_HELP_SEVERAL : ESCAPE_HELP_TEXT);
			break;
		case ESCAPE_NEXT:
			next_machine(l);
			break;
		case ESCAPE_NONE:
			break;
		}
	}
}

/*
 * "eof" must not overtake the bytes: it is sent when QEMU has taken the last
 * of them out of the socket.  What is then still in the serial port's FIFO
 * the hypervisor sees for itself.
 */
static bool eof_due(struct loop *l)
{
	int queued = 0;

	if (l->in != STDIN_EOF || l->typed_at < l->typed.size)
		return false;
	if (!ioctl(l->q.console, SIOCOUTQ, &queued) && queued)
		return true;
	tell(l, "eof\n");
	l->in = STDIN_TOLD;
	return false;
}

static void on_console(struct loop *l)
{
	u8 bytes[PIECE];
	ssize_t n = recv(l->q.console, bytes, sizeof(bytes), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		l->console_open = false;
		return;
	}
	l->shown_at = l->shown.size = 0;
	if (!l->stdout_open || l->s->refused || l->s->muted)
		return;
	if (l->s->nmachines)
		take_marked(l, bytes, (size_t)n);
	else
		buf_add(&l->shown, bytes, (size_t)n);
	if (l->shown.size)
		l->s->mid_line = l->shown.data[l->shown.size - 1] != '\n';
}

static void show_bytes(struct loop *l)
{
	/* At most PIECE: see there. */
	ssize_t n = write(console_out(l), l->shown.data + l->shown_at, MIN(l->shown.size - l->shown_at, (size_t)PIECE));

	if (n >= 0) {
		l->shown_at += (size_t)n;
		return;
	}
	if (errno == EAGAIN || errno == EINTR)
		return;
	/* Nobody reads any more (head, a closed window): as if the operator left. */
	l->stdout_open = false;
	l->shown_at = l->shown.size;
	if (!l->s->quit)
		quit(l);
}

static void on_errors(struct loop *l)
{
	char text[PIECE];
	ssize_t n = read(l->q.errors, text, sizeof(text));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		l->errors_open = false;
		return;
	}
	if (l->s->o->verbose)
		write_all(STDERR_FILENO, text, (size_t)n);
	if (l->errors.size < 65536)
		buf_add(&l->errors, text, (size_t)n);
}

/* ---- control ---- */

/* What a debugger waits for. */
static void on_debugger_lines(struct loop *l, bool was_debugging)
{
	struct session *s = l->s;

	if (s->debugging && !was_debugging && !s->quit && !s->on_debugging(s->on_debugging_ctx, s))
		quit(l);
	if (s->forgotten)
		gdbrelay_forgotten(s->relay);
	s->forgotten = false;
}

/* Of several machines one has ended: what was waited for, or due, was its. */
static void on_ends(struct loop *l)
{
	unsigned n = 0;

	for (unsigned i = 0; i < l->s->nmachines; i++)
		n += l->s->machine[i].ended;
	if (n == l->nended)
		return;
	l->nended = n;
	if (n < l->s->nmachines && l->s->machine[l->mux.keyboard].ended)
		next_machine(l);
	l->kill_at_ms = l->s->quit ? host_ms() + QUIT_GRACE_MS : 0;
	if (l->quit_later && !l->s->committing) {
		l->quit_later = false;
		quit(l);
	}
}

static void on_control(struct loop *l)
{
	bool was_ready = l->s->ready, was_debugging = l->s->debugging;

	switch (control_receive(&l->control, l->q.control)) {
	case CONTROL_MORE:
		break;
	case CONTROL_CLOSED:
		l->control_open = false;
		break;
	}
	if (l->control.answers.size && l->control_open)
		send(l->q.control, l->control.answers.data, l->control.answers.size, MSG_NOSIGNAL);
	l->control.answers.size = 0;
	if (l->s->refused)
		kill_qemu(l);
	if (l->s->ready && !was_ready)
		stdin_begin(l);
	if (l->s->relay)
		on_debugger_lines(l, was_debugging);
	if (l->s->committing)
		l->kill_at_ms = host_ms() + COMMIT_GRACE_MS; /* from each sign of life on */
	if (l->s->nmachines)
		on_ends(l);
	if (l->s->ended)
		set_deadline(l, EXIT_GRACE_MS);
}

/* ---- the loop ---- */

static bool drained(const struct loop *l)
{
	return l->exited && l->s->child <= 0 && !l->console_open && !l->control_open && !l->errors_open &&
	       l->shown_at == l->shown.size;
}

static u64 sooner(u64 a, u64 b)
{
	return !a || (b && b < a) ? b : a;
}

/* most_ms: no longer than that; -1: for ever. */
static int next_wait_ms(const struct loop *l, int most_ms)
{
	u64 now = host_ms(), at = sooner(l->exited ? 0 : l->kill_at_ms, l->s->child > 0 ? l->kill_child_at_ms : 0);
	u64 wait;

	if (l->s->o->timeout_ms && !l->s->timed_out && !l->s->committing)
		at = sooner(at, l->started_ms + l->s->o->timeout_ms);
	if (most_ms >= 0)
		at = sooner(at, now + (u64)most_ms);
	if (!at)
		return -1;
	wait = at > now ? at - now : 0;
	return (int)MIN(wait, 1000000UL);
}

static void on_time(struct loop *l)
{
	u64 now = host_ms(), timeout_ms = l->s->o->timeout_ms;

	if (timeout_ms && !l->s->timed_out && !l->s->committing && (!l->s->ended || l->s->child > 0) && now >= l->started_ms + timeout_ms) {
		l->s->timed_out = true;
		if (!l->s->quit)
			quit(l);
	}
	if (l->kill_at_ms && now >= l->kill_at_ms)
		kill_qemu(l);
	if (l->kill_child_at_ms && now >= l->kill_child_at_ms)
		end_child(l);
}

static void turn(struct loop *l)
{
	bool typing = l->typed_at < l->typed.size, showing = l->shown_at < l->shown.size;
	int most_ms = eof_due(l) ? DRAIN_POLL_MS : -1;
	/* poll passes over negative descriptors */
	struct pollfd fds[6 + RELAY_NFDS + SIDE_NFDS] = {
		{ .fd = l->signals, .events = POLLIN },
		{ .fd = l->console_open && (!showing || typing) ? l->q.console : -1,
		  .events = (short)((showing ? 0 : POLLIN) | (typing ? POLLOUT : 0)) },
		{ .fd = l->control_open ? l->q.control : -1, .events = POLLIN },
		{ .fd = l->errors_open ? l->q.errors : -1, .events = POLLIN },
		{ .fd = l->in == STDIN_OPEN && !typing ? STDIN_FILENO : -1, .events = POLLIN },
		{ .fd = showing ? console_out(l) : -1, .events = POLLOUT },
	};
	enum { SIGNALS, CONSOLE, CONTROL, ERRORS, IN, OUT, RELAY };
	unsigned side = l->s->relay ? RELAY + RELAY_NFDS : RELAY, nside = 0;

	if (l->s->relay)
		most_ms = gdbrelay_watch(l->s->relay, fds + RELAY);
	if (l->s->side)
		nside = l->s->side->watch(l->s->side_ctx, fds + side);
	if (poll(fds, side + nside, next_wait_ms(l, most_ms)) < 0)
		return;
	/* Before the control channel: its `detached` answers what was told in an earlier turn. */
	if (l->s->relay && gdbrelay_turn(l->s->relay, fds + RELAY))
		tell(l, "detached\n");
	if (fds[SIGNALS].revents)
		on_signals(l);
	if (fds[CONTROL].revents)
		on_control(l);
	if (fds[ERRORS].revents)
		on_errors(l);
	if (fds[CONSOLE].revents && typing)
		type_bytes(l);
	if (fds[CONSOLE].revents && !showing)
		on_console(l);
	if (fds[IN].revents)
		on_stdin(l);
	if (fds[OUT].revents)
		show_bytes(l);
	if (nside)
		l->s->side->turn(l->s->side_ctx, fds + side, nside);
	on_time(l);
}

static void close_all(struct loop *l)
{
	close(l->q.console);
	close(l->q.control);
	close(l->q.errors);
	if (l->q.gdb >= 0)
		close(l->q.gdb);
	close(l->signals);
	control_free(&l->control);
	mux_free(&l->mux);
	buf_free(&l->typed);
	buf_free(&l->shown);
	buf_free(&l->errors);
}

static void start_mux(struct loop *l)
{
	l->mux = (struct mux){ .n = l->s->nmachines, .terminal = isatty(console_out(l)) };
	for (unsigned i = 0; i < l->s->nmachines; i++)
		l->mux.name[i] = l->s->machine[i].name;
	mux_start(&l->mux);
}

/* Lines that no newline ended. */
static void finish_mux(struct loop *l)
{
	mux_finish(&l->mux);
	if (l->stdout_open && !write_all(console_out(l), l->mux.shown.data, l->mux.shown.size))
		l->stdout_open = false;
	if (l->s->nmachines)
		l->s->mid_line = false;
}

bool session_run(struct session *s)
{
	/* More memory than the guests have: the hypervisor's own, what it has for each, and the images on their way. */
	const struct qemu_config config = {
		.bundle_fd = s->bundle_fd,
		.mem_mib = (s->mem_bytes + s->bundle_bytes + s->timeline_bytes + MIB(1) - 1) / MIB(1) + 192 +
			   (s->nmachines ? (s->nmachines - 1) * 32 : 0) + s->nnics * 9, /* a ring of packets, there and back */
		.recording_fd = s->recording_fd,
		.recording_readonly = s->recording_readonly,
		.disk = s->disk,
		.ndisks = s->ndisks,
		.nic = s->nic,
		.nnics = s->nnics,
		.durable = s->o->sync,
		.gdb = s->relay,
		.pair = s->pair,
	};
	static struct loop loop;
	struct loop *l = &loop;
	sigset_t ours, before;

	*l = (struct loop){
		.s = s, .console_open = true, .control_open = true, .errors_open = true, .stdout_open = true,
		.started_ms = host_ms(),
	};
	sigemptyset(&ours);
	sigaddset(&ours, SIGCHLD);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGHUP);
	if (s->relay)
		sigaddset(&ours, SIGQUIT);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &ours, &before);
	l->signals = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
	if (!qemu_start(&l->q, &config, &before)) {
		close(l->signals);
		sigprocmask(SIG_SETMASK, &before, NULL);
		return false;
	}
	if (s->relay)
		s->relay->serial = l->q.gdb;
	if (s->side)
		s->side->started(s->side_ctx, l->q.pid);
	control_init(&l->control, s);
	start_mux(l);
	while (!drained(l))
		turn(l);
	finish_mux(l);
	console_restore();
	if (s->relay)
		gdbrelay_close(s->relay);
	begin_own_line(l);
	control_finish(&l->control);
	buf_add(&l->errors, "", 1);
	session_explain(s, (char *)l->errors.data);
	close_all(l);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return true;
}
