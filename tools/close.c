/*
 * close.c - what the end of a run means: the exit status and the closing
 * line; and in words why there was none.
 */
#include <signal.h>
#include <sys/wait.h>

#include "tools/net.h"
#include "tools/session.h"

void session_explain(struct session *s, char *errors)
{
	char *last;

	if (s->committing && !s->ended && !s->failure[0])
		snprintf(s->failure, sizeof(s->failure), "%s: gone while what the guest wrote was put into its disk, which is half done; put the image back from a copy",
			 qemu_program());
	if (s->ended || s->failure[0] || (s->quit && s->ready))
		return;
	while (*errors && errors[strlen(errors) - 1] == '\n')
		errors[strlen(errors) - 1] = 0;
	last = strrchr(errors, '\n') ? strrchr(errors, '\n') + 1 : errors;
	if (s->timed_out && !s->ready)
		snprintf(s->failure, sizeof(s->failure), "hypervisor: not ready within --timeout; give it more, or see what it says with --verbose");
	else if (s->quit)
		snprintf(s->failure, sizeof(s->failure), "hypervisor: stopped before the guest started; nothing was run");
	else if (WIFEXITED(s->qemu_status) && WEXITSTATUS(s->qemu_status) == 127)
		snprintf(s->failure, sizeof(s->failure), "%s: %s; install QEMU: apt-get install qemu-system-x86", qemu_program(),
			 *last ? last : "cannot be started");
	else if (WIFSIGNALED(s->qemu_status))
		snprintf(s->failure, sizeof(s->failure), "%s: killed by signal %d (%s)%s", qemu_program(),
			 WTERMSIG(s->qemu_status), strsignal(WTERMSIG(s->qemu_status)),
			 WTERMSIG(s->qemu_status) == SIGKILL ? "; was the host short of memory?" : "");
	else if (!net_explain(last, s->failure, sizeof(s->failure)))
		snprintf(s->failure, sizeof(s->failure), "%s: ended %s: %s; see more with --verbose", qemu_program(),
			 s->ready ? "in the middle of the run" : "before the guest started", *last ? last : "no reason given");
}

/* How it ended, for people. */
static void describe(const struct rec_end *e, char *text, size_t size)
{
	static const char *const words[] = {
		[VM_RUNNING] = "still running",
		[VM_POWERED_OFF] = "powered off",
		[VM_RESET] = "asked for a reset",
		[VM_TRIPLE_FAULT] = "crashed (triple fault)",
		[VM_STUCK] = "stuck (halted, and nothing can wake it)",
		[VM_UNHANDLED] = "stopped (it needs something this machine does not have)",
		[VM_LIMIT] = "stopped at the limit",
		[VM_DIVERGED] = "diverged",
		[VM_RECORDING_END] = "stopped where the recording was cut",
		[VM_QUIT] = "left",
		[VM_HOST_FAILED] = "stopped (the host failed)",
	};

	if (e->outcome == VM_DEBUG_EXIT)
		snprintf(text, size, "exited with %u", e->guest_exit);
	else
		snprintf(text, size, "%s", (unsigned)e->outcome < ARRAY_SIZE(words) ? words[e->outcome] : "ended");
	if (e->reason[0])
		snprintf(text + strlen(text), size - strlen(text), ": %s", e->reason);
}

static enum status status_of(const struct rec_end *e)
{
	switch (e->outcome) {
	case VM_POWERED_OFF:
	case VM_RESET:
	case VM_QUIT:
	case VM_RECORDING_END:
		return ST_OK;
	case VM_DEBUG_EXIT:
		return e->guest_exit ? ST_GUEST : ST_OK;
	case VM_TRIPLE_FAULT:
	case VM_STUCK:
	case VM_UNHANDLED:
		return ST_GUEST;
	case VM_LIMIT:
		return ST_LIMIT;
	case VM_DIVERGED:
		return ST_DIVERGED;
	case VM_RUNNING:
	case VM_HOST_FAILED:
		return ST_HOST;
	}
	return ST_HOST;
}

enum status session_close_machine(const struct session *s, const struct session_machine *m, const char *recording, u64 recording_bytes)
{
	const struct rec_end *e = &m->end;
	const char *name = m->name ? m->name : "", *colon = m->name ? ": " : "";
	/* Of several some may have ended by themselves before. */
	bool timed_out = s->timed_out && (!m->name || e->outcome == VM_QUIT);
	char text[512], insns[32], time[32], exits[32], inputs[32], bytes[32], kept[5000] = "";

	if (recording)
		snprintf(kept, sizeof(kept), "; recording %s %s", recording, human_bytes(recording_bytes, bytes));
	if (!m->ended) {
		/* The hypervisor did not answer "quit" in time. */
		remark("%s%s%s without the hypervisor's word%s", name, colon, s->timed_out ? "timed out" : "left", kept);
		return s->timed_out ? ST_LIMIT : ST_HOST;
	}
	describe(e, text, sizeof(text));
	if (!s->o->quiet || e->outcome == VM_UNHANDLED || e->outcome == VM_HOST_FAILED)
		remark("%s%s%s%s after %s instructions, %s virtual, %s exits, %s input%s%s (digest " ID_FMT ")",
		       name, colon, timed_out ? "timed out: " : "", text, human_count(e->insns, insns),
		       human_ns(e->vtime_ns, time), with_commas(e->exits, exits), with_commas(e->inputs, inputs),
		       e->inputs == 1 ? "" : "s", kept, (unsigned long long)e->digest);
	return timed_out ? ST_LIMIT : status_of(e);
}

enum status session_close(const struct session *s, const char *recording, u64 recording_bytes)
{
	const struct session_machine alone = { .ended = s->ended, .end = s->end };

	if (s->failure[0])
		return complain(s->timed_out ? ST_LIMIT : ST_HOST, "%s", s->failure);
	return session_close_machine(s, &alone, recording, recording_bytes);
}
