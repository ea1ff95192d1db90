/*
 * cmd_fork.c - `reprise fork`: a live machine out of a point of a recording.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "kernel/kconf.h"
#include "tools/line.h"
#include "tools/operand.h"
#include "tools/recmake.h"

struct fork {
	struct options o;
	struct summary sum;      /* of the recording that is forked */
	struct machine m;
	struct session s;
	u64 done;
	u64 begun_ns, took_ns;   /* many: the one being made */
};

/* ---- the child's HEAD: its parent's machine, and where it left it ---- */

static bool is_parents_own(const char *line)
{
	static const char *const keys[] = { "machine=", "parent=", "parent_file=", "fork_seed=", "jitter_ns=",
					    "limit_insns=", "limit_vtime_ns=" };

	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		if (!strncmp(line, keys[i], strlen(keys[i])))
			return true;
	return false;
}

static void describe_child(struct fork *f)
{
	char path[PATH_MAX];
	struct buf head = { 0 };
	char *text, *line, *rest;

	/* 1 becomes 2, 3 becomes 4; a fork's stays. */
	buf_printf(&head, "machine=%llu\n",
		   (unsigned long long)(conf_u64((const char *)f->m.head.data, f->m.head.size, "machine", 1) + 1) / 2 * 2);
	buf_add(&f->m.head, "", 1);
	text = (char *)f->m.head.data;
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (!is_parents_own(line))
			buf_printf(&head, "%s\n", line);
	buf_printf(&head, "parent=" ID_FMT "\n", (unsigned long long)f->sum.nonce);
	if (realpath(f->sum.path, path) && !strchr(path, '\n'))
		buf_printf(&head, "parent_file=%s\n", path);
	buf_printf(&head, "fork_seed=%llu\njitter_ns=%llu\n", (unsigned long long)f->o.seed, (unsigned long long)f->o.jitter_ns);
	if (f->o.limit_insns)
		buf_printf(&head, "limit_insns=%llu\n", (unsigned long long)(f->o.at_insns + f->o.limit_insns));
	if (f->o.limit_vtime_ns)
		buf_printf(&head, "limit_vtime_ns=%llu\n", (unsigned long long)f->o.limit_vtime_ns);
	buf_free(&f->m.head);
	f->m.head = head;
}

/* ---- one ---- */

static void describe_fork(const struct fork *f, struct buf *conf)
{
	const struct stored_place *p = summary_stored(&f->sum, f->o.at_insns, false);

	buf_printf(conf, "mode=fork\nrun_offset=%llu\nrun_chain=0x%016llx\nfork_at=%llu\nnew_seed=%llu\nnew_jitter=%llu\n"
		   "fork_count=%llu\ntimeline_mib=%llu\n",
		   (unsigned long long)f->sum.run_offset, (unsigned long long)f->sum.run_chain, (unsigned long long)f->o.at_insns,
		   (unsigned long long)f->o.seed, (unsigned long long)f->o.jitter_ns, (unsigned long long)f->o.count,
		   (unsigned long long)(f->o.timeline_bytes / MIB(1)));
	if (p)
		buf_printf(conf, "resume_offset=%llu\nresume_chain=0x%016llx\nresume_insns=%llu\n", (unsigned long long)p->offset,
			   (unsigned long long)p->chain, (unsigned long long)p->count);
	line_describe(&f->sum.line, &f->sum, conf);
}

static void on_fork(void *ctx, const char *line)
{
	struct fork *f = ctx;
	char value[8][64];
	static const char *const keys[] = { "n", "seed", "outcome", "insns", "digest", "fork_insns", "pages_written", "frames_own" };

	if (!strncmp(line, "forking ", 8))
		f->begun_ns = host_ns();
	if (!strncmp(line, "forked ", 7))
		f->took_ns = host_ns() - f->begun_ns;
	if (strncmp(line, "fork ", 5))
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		control_get(line, keys[i], value[i], sizeof(value[i]));
	printf("fork %s: seed %s, %s after %s instructions, digest %s, made in %s host instructions, %llu us, wrote %s pages, %s of its own\n",
	       value[0], value[1], value[2], value[3], value[4], value[5], (unsigned long long)f->took_ns / 1000, value[6],
	       value[7]);
	fflush(stdout);
	f->done++;
}

static enum status run(struct fork *f)
{
	struct session *s = &f->s;
	struct buf conf = { 0 };
	enum status st = ST_OK, kept = ST_OK;
	int child = -1;
	u64 bytes = 0;

	*s = (struct session){ .o = &f->o, .recording_fd = f->sum.fd, .recording_readonly = true, .console = f->o.count == 1,
			       .mem_bytes = machine_memory(&f->m), .recorded_host = &f->sum.host, .on_fork = on_fork, .on_fork_ctx = f,
			       .timeline_bytes = f->o.count > 1 ? f->o.timeline_bytes : 0 };
	line_disks(&f->sum.line, s->disk, &s->ndisks);
	disks_plug(&f->m.disks, "", s->disk, &s->ndisks);
	net_unplugged(&f->m.head, s->nic, &s->nnics);
	describe_fork(f, &conf);
	if (f->o.output)
		st = recmake_begin(&f->m, &f->o, &child, &conf);
	if (!st && child >= 0) {
		buf_printf(&conf, "child=1\n");
		s->disk[s->ndisks++] = (struct qemu_disk){ .fd = child, .serial = "child" };
	}
	if (!st) {
		s->bundle_fd = machine_bundle(&f->m, &conf, &s->bundle_bytes);
		st = s->bundle_fd >= 0 && session_run(s) ? ST_OK : ST_HOST;
		if (s->bundle_fd >= 0)
			close(s->bundle_fd);
	}
	if (child >= 0) {
		kept = recmake_finish(&f->o, child, s, &bytes);
		close(child);
	}
	buf_free(&conf);
	if (st)
		return st;
	if (f->o.count > 1 && s->ended && !s->failure[0])
		return f->done == f->o.count ? ST_OK : complain(ST_HOST, "fork: left after %llu of %llu", (unsigned long long)f->done,
								(unsigned long long)f->o.count);
	st = session_close(s, bytes ? f->o.output : NULL, bytes);
	return kept ? kept : st;
}

#define DEFAULT_JITTER_NS 20000

static enum status prepare(struct fork *f)
{
	const struct summary *sum = &f->sum;
	enum status st = line_from_reset(&f->sum);

	if (st)
		return st;
	if (disks_any_shared(&sum->head))
		return complain(ST_USAGE, "%s: its machine shared a disk, of which the recording has no more than that run read; another run cannot "
				"be made of it", sum->path);
	if (f->o.has_seed && !f->o.has_jitter)
		f->o.jitter_ns = DEFAULT_JITTER_NS;

	if (f->o.at)
		return complain(ST_USAGE, "--at: missing; say at which point of the run to fork: --at 500M");
	if (sum->ended && f->o.at_insns >= sum->end.insns)
		return complain(ST_USAGE, "--at %llu: %s ends after %llu instructions; give a point within",
				(unsigned long long)f->o.at_insns, sum->path, (unsigned long long)sum->end.insns);
	if (f->o.count > 1 && f->o.output)
		return complain(ST_USAGE, "-o: given together with --count; only one fork can be recorded, choose its seed with --seed");
	st = f->o.output ? line_not(sum, "-o", f->o.output) : ST_OK;
	if (st)
		return st;
	if (f->o.output && sum->line.n == LINEAGE_MAX - 1)
		return complain(ST_USAGE, "-o: %s has %d generations behind it, and a fork of it could not be replayed; fork an older one",
				sum->path, LINEAGE_MAX - 1);
	st = machine_from_recording(&f->m, sum, &f->o);
	if (!st && f->o.output) {
		st = machine_not(&f->m, "-o", f->o.output);
		if (st)
			machine_free(&f->m);
	}
	return st;
}

static enum status fork_command(int argc, char **argv)
{
	struct fork *f = need(calloc(1, sizeof(*f)));
	enum status st = operand_open(&f->o, &f->sum, OPT_FORK | OPT_IMAGES | OPT_OUTPUT | OPT_LIMITS | OPT_CONSOLE | OPT_RUN, argc, argv);

	if (!st) {
		st = prepare(f);
		if (!st) {
			describe_child(f);
			st = run(f);
			machine_free(&f->m);
		}
		summary_free(&f->sum);
	}
	free(f);
	return st;
}

const struct command cmd_fork = {
	.name = "fork",
	.summary = "a live machine out of a point of a recording",
	.help = "reprise fork --at N [OPTIONS] FILE\n\n"
		"Runs a recording to a point and lets the machine go on from there, live: with this\n"
		"terminal as its console, other input, and timers that come at other moments.  The\n"
		"recording is not changed.\n\n"
		"  --at N              the point, in instructions: 500M\n"
		"  -o, --output FILE   record the fork; it names its parent, whose file it needs to replay\n"
		"  --force             even if the file exists\n"
		"  --seed N            another legal timing: timers fire late by what N says\n"
		"  --jitter TIME       at most so late (default 0; with --seed 20us)\n"
		"  --count N           N forks one after the other, with seeds from --seed on, without a\n"
		"                      console; a line of output for each\n"
		"  --timeline-mem SIZE memory for their images (default 768M)\n"
		HELP_IMAGES "\n"
		HELP_LIMITS
		"                      (instructions count from the point on, the guest's time from the\n"
		"                      beginning of the run)\n"
		HELP_RUN "\n" HELP_CONSOLE "\n"
		"  reprise fork --at 1200M -o child.rpl a.rpl\n"
		"  reprise fork --at 1200M --seed 1 --count 50 --limit-insns 100M a.rpl\n",
	.run = fork_command,
};
