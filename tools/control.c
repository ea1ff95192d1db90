/*
 * control.c - what the hypervisor says, and the words for how a run ended.
 * See control.h and session.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernel/kconf.h"
#include "tools/control.h"

static const char *const outcomes[] = {
	[VM_RUNNING] = "running",
	[VM_POWERED_OFF] = "poweroff",
	[VM_DEBUG_EXIT] = "debug-exit",
	[VM_RESET] = "reset",
	[VM_TRIPLE_FAULT] = "triple-fault",
	[VM_STUCK] = "stuck",
	[VM_UNHANDLED] = "unhandled",
	[VM_LIMIT] = "limit",
	[VM_DIVERGED] = "diverged",
	[VM_RECORDING_END] = "recording-end",
	[VM_QUIT] = "quit",
	[VM_HOST_FAILED] = "host-failed",
};

const char *outcome_name(enum vm_outcome o)
{
	return (unsigned)o < ARRAY_SIZE(outcomes) ? outcomes[o] : "unknown";
}

static enum vm_outcome outcome_of(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(outcomes); i++)
		if (!strcmp(name, outcomes[i]))
			return (enum vm_outcome)i;
	return VM_HOST_FAILED;
}

bool control_get(const char *line, const char *key, char *value, size_t size)
{
	size_t key_size = strlen(key);

	value[0] = 0;
	for (const char *p = line; *p;) {
		bool here = !strncmp(p, key, key_size) && p[key_size] == '=';
		bool quoted = false;
		size_t n = 0;

		/* One word; blanks within quotes are part of it. */
		for (p += here ? key_size + 1 : 0; *p && (quoted || *p != ' '); p++) {
			if (*p == '"')
				quoted = !quoted;
			else if (here && n + 1 < size)
				value[n++] = *p;
		}
		if (here) {
			value[n] = 0;
			return true;
		}
		while (*p == ' ')
			p++;
	}
	return false;
}

bool control_next(const char **at, char *key, size_t key_size, char *value, size_t value_size)
{
	size_t n;
	const char *p = *at;

	while (*p == ' ')
		p++;
	n = strcspn(p, "= \"");
	if (!n || p[n] != '=' || n >= key_size)
		return false;
	memcpy(key, p, n);
	key[n] = 0;
	control_get(p, key, value, value_size);
	for (bool quoted = false; *p && (quoted || *p != ' '); p++)
		quoted ^= *p == '"';
	*at = p;
	return true;
}

static u64 number(const char *line, const char *key, int base)
{
	char value[64];

	return control_get(line, key, value, sizeof(value)) ? strtoull(value, NULL, base) : 0;
}

/* ---- lines ---- */

static void clear_progress(struct control *c)
{
	if (c->progress_shown)
		write_all(STDERR_FILENO, "\r\033[K", 4);
	c->progress_shown = false;
}

/* Of several machines the instructions of each. */
static void show_progress_of_all(struct control *c)
{
	struct buf text = { 0 };
	char count[32];

	buf_printf(&text, "\r\033[K");
	for (unsigned i = 0; i < c->s->nmachines; i++)
		buf_printf(&text, "%s%s %s", i ? ", " : "", c->s->machine[i].name, human_count(c->s->machine[i].insns, count));
	buf_printf(&text, " instructions");
	c->progress_shown = write_all(STDERR_FILENO, text.data, text.size);
	buf_free(&text);
}

static void on_progress(struct control *c, const char *line)
{
	u64 insns = number(line, "insns", 10), total = c->s->total_insns;
	char text[160], count[32], time[32];
	int n;

	if (c->machine)
		c->machine->insns = insns;
	if (!c->shows_progress || c->s->debugging)
		return;
	if (c->machine) {
		show_progress_of_all(c);
		return;
	}
	human_count(insns, count);
	human_ns(number(line, "vtime_ns", 10), time);
	if (total)
		n = snprintf(text, sizeof(text), "\r\033[K%3u%%  %s instructions, %s virtual",
			     (unsigned)MIN(insns / (total / 100 + 1), 100UL), count, time);
	else
		n = snprintf(text, sizeof(text), "\r\033[K%s instructions, %s virtual", count, time);
	c->progress_shown = write_all(STDERR_FILENO, text, (size_t)n);
}

/* How much of what the guest wrote is in its disk's file. */
static void on_commit(struct control *c, const char *line)
{
	u64 done = number(line, "done", 10), all = number(line, "all", 10);
	char text[100], bytes[32];
	int n;

	if (!c->shows_progress)
		return;
	n = snprintf(text, sizeof(text), "\r\033[K%3u%%  of %s written to disk %llu", (unsigned)(all ? done * 100 / all : 100),
		     human_bytes(all * 512, bytes), (unsigned long long)number(line, "disk", 10));
	c->progress_shown = write_all(STDERR_FILENO, text, (size_t)n);
}

/*
 * x87 functions are computed by the host's libm, and another counter counts
 * otherwise: a replay on such a host would diverge somewhere, so it does not
 * begin.
 */
static void on_ready(struct session *s, const char *line)
{
	static const char *const keys[] = { "counter", "host_probe" };
	char recorded[64], here[64];

	s->ready = true;
	snprintf(s->ready_line, sizeof(s->ready_line), "%s", line);
	for (unsigned i = 0; i < ARRAY_SIZE(keys) && s->recorded_host && !s->refused; i++) {
		if (!conf_get((const char *)s->recorded_host->data, s->recorded_host->size, keys[i], recorded, sizeof(recorded)) ||
		    !control_get(line, keys[i], here, sizeof(here)) || !strcmp(recorded, here))
			continue;
		s->refused = true;
		snprintf(s->failure, sizeof(s->failure), "replay: recorded where %s is %s, here it is %s; replay on a host like that one",
			 keys[i], recorded, here);
	}
}

static void on_end(struct control *c, const char *line)
{
	struct session *s = c->s;
	char name[32];

	if (!control_get(line, "outcome", name, sizeof(name)))
		return;
	s->ended = true;
	s->end = (struct rec_end){
		.outcome = outcome_of(name),
		.guest_exit = (u32)number(line, "guest_exit", 10),
		.insns = number(line, "insns", 10),
		.vtime_ns = number(line, "vtime_ns", 10),
		.exits = number(line, "exits", 10),
		.inputs = number(line, "inputs", 10),
		.input_bytes = number(line, "input_bytes", 10),
		.digest = number(line, "digest", 16),
	};
	control_get(line, "reason", s->end.reason, sizeof(s->end.reason));
	if (!c->machine)
		return;
	c->machine->ended = true;
	c->machine->end = s->end;
	s->committing = false; /* others go on */
	for (unsigned i = 0; i < s->nmachines; i++)
		s->ended &= s->machine[i].ended;
}

/* Another build of the hypervisor should replay the same; when it does not, that is the first thing to know. */
static void remark_other_build(const struct session *s)
{
	char recorded[64], here[64];

	if (s->recorded_host && conf_get((const char *)s->recorded_host->data, s->recorded_host->size, "build", recorded, sizeof(recorded)) &&
	    control_get(s->ready_line, "build", here, sizeof(here)) && strcmp(recorded, here))
		remark("replay: recorded by another build of the hypervisor, %s; this is %s", recorded, here);
}

static void on_diverged(struct session *s, const char *line)
{
	char what[256], buf[32];
	const char *count = with_commas(number(line, "insns", 10), buf);
	unsigned long long epoch = number(line, "epoch", 10), expected = number(line, "expected", 16);
	unsigned long long got = number(line, "got", 16);

	s->diverged = true;
	if (!s->muted)
		remark_other_build(s);
	s->diverged_epoch = epoch;
	s->diverged_insns = number(line, "insns", 10);
	if (!control_get(line, "what", what, sizeof(what)))
		strcpy(what, "the digest differs");
	if (epoch)
		snprintf(s->divergence, sizeof(s->divergence), "replay: diverged at epoch %llu, instruction %s: %s (recorded " ID_FMT
			 ", now " ID_FMT "); look closer with --bisect", epoch, count, what, expected, got);
	else
		snprintf(s->divergence, sizeof(s->divergence), "replay: diverged at instruction %s: %s; look closer with --bisect",
			 count, what);
	if (!s->muted)
		remark("%s", s->divergence);
}

static bool starts(const char **line, const char *word)
{
	size_t n = strlen(word);

	if (strncmp(*line, word, n) || ((*line)[n] && (*line)[n] != ' '))
		return false;
	*line += n + ((*line)[n] == ' ');
	return true;
}

/* "@1 ...": whose it is, and the line behind that. */
static const char *addressee(struct control *c, const char *line)
{
	unsigned n = (unsigned)(line[1] - '0');

	c->machine = NULL;
	if (line[0] != '@' || n >= c->s->nmachines || line[2] != ' ')
		return line;
	c->machine = &c->s->machine[n];
	return line + 3;
}

static void on_line(struct control *c, const char *line)
{
	const char *whole = line, *who, *colon;
	struct session *s = c->s;

	line = addressee(c, line);
	who = c->machine ? c->machine->name : "";
	colon = c->machine ? ": " : "";
	if (starts(&line, "progress")) {
		on_progress(c, line);
		return;
	}
	if (starts(&line, "commit")) {
		s->committing = true;
		on_commit(c, line);
		return;
	}
	clear_progress(c);
	if (starts(&line, "ready")) {
		on_ready(s, line);
	} else if (starts(&line, "end")) {
		on_end(c, line);
	} else if (starts(&line, "debugging")) {
		s->debugging = true;
		snprintf(s->debugging_line, sizeof(s->debugging_line), "%s", line);
	} else if (starts(&line, "detached")) {
		s->forgotten = true;
	} else if (starts(&line, "diverged")) {
		on_diverged(s, line);
		return;
	} else if (s->side && s->side->line(s->side_ctx, whole, &c->answers)) {
		;
	} else if (!strncmp(line, "fork", 4)) {
		if (s->on_fork)
			s->on_fork(s->on_fork_ctx, whole);
	} else if (starts(&line, "stat")) {
		if (s->o->stats)
			buf_printf(&c->stats, "%s%s%s\n", who, c->machine ? "." : "", line);
		return;
	} else if (starts(&line, "state")) {
		if (s->on_state)
			s->on_state(s->on_state_ctx, line);
		else
			fprintf(stderr, "%s%s%s\n", who, colon, line);
		return;
	} else if (starts(&line, "remark")) {
		if (!s->muted)
			remark("%s%s%s", who, colon, line);
		return;
	} else if (starts(&line, "error")) {
		if (!s->failure[0])
			snprintf(s->failure, sizeof(s->failure), "%s%s%s", who, colon, line);
		return;
	} else if (starts(&line, "#") && !strncmp(line, "panic", 5) && !s->failure[0]) {
		/* The hypervisor's last words: its backtrace follows as more talk. */
		snprintf(s->failure, sizeof(s->failure), "hypervisor: %s; see the backtrace with --verbose", line);
	}
	if (s->o->verbose)
		fprintf(stderr, "%s\n", whole);
}

static void take(struct control *c, char byte)
{
	if (byte == '\n') {
		if (c->fill && c->line[c->fill - 1] == '\r')
			c->fill--;
		c->line[c->fill] = 0;
		if (!c->skipping && c->fill)
			on_line(c, c->line);
		c->fill = 0;
		c->skipping = false;
	} else if (c->fill < sizeof(c->line) - 1) {
		c->line[c->fill++] = byte;
	} else {
		c->skipping = true;
	}
}

void control_init(struct control *c, struct session *s)
{
	*c = (struct control){ .s = s };
	/* A line that moves is for people, and must not be mixed into the guest's own output. */
	c->shows_progress = isatty(STDERR_FILENO) && (!isatty(STDOUT_FILENO) || (s->relay && !s->console_on_stderr)) &&
			    !s->o->verbose && !s->o->quiet;
}

enum control_state control_receive(struct control *c, int fd)
{
	char bytes[4096];
	ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return CONTROL_MORE;
	if (n <= 0)
		return CONTROL_CLOSED;
	for (ssize_t i = 0; i < n; i++)
		take(c, bytes[i]);
	return CONTROL_MORE;
}

void control_finish(struct control *c)
{
	if (c->fill)
		take(c, '\n');
	clear_progress(c);
	write_all(STDERR_FILENO, c->stats.data, c->stats.size);
}

void control_free(struct control *c)
{
	buf_free(&c->stats);
	buf_free(&c->answers);
}
