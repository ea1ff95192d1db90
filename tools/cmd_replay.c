/*
 * cmd_replay.c - `reprise replay`: run a recording again and check it.
 */
#include <stdlib.h>
#include <unistd.h>

#include "tools/operand.h"
#include "tools/bisect.h"
#include "tools/line.h"

/* The stored checkpoint that the run may begin at, instead of its beginning. */
static void describe_resume(struct buf *conf, const struct summary *sum, const struct options *o, bool debug)
{
	bool at_end = debug && o->at && strcmp(o->at, "begin");
	u64 to = at_end ? ~0UL : debug ? o->at_insns : o->has_until ? MIN(o->from, o->until) : o->from;
	const struct stored_place *p;

	if (!sum->arrived && (debug ? o->at && !at_end : !o->has_from || o->has_perturb || o->has_plant || o->bisect))
		return; /* from the beginning on: there the run was not disturbed yet */
	p = summary_stored(sum, to, at_end && sum->ended);
	if (sum->arrived && (!p || !o->has_from))
		p = summary_begin(sum);
	if (p)
		buf_printf(conf, "resume_offset=%llu\nresume_chain=0x%016llx\nresume_insns=%llu\nresume_end=%d\n",
			   (unsigned long long)p->offset, (unsigned long long)p->chain, (unsigned long long)p->count, p->end);
	if (p && debug && sum->arrived)
		buf_printf(conf, "arrived=1\n");
	if (p && p->end && sum->ended)
		buf_printf(conf, "end_outcome=%d\nend_guest_exit=%u\n", (int)sum->end.outcome, sum->end.guest_exit);
}

/* What the hypervisor is told about one pass over the recording, but for how it is disturbed. */
static void describe_pass(struct buf *conf, const char *mode, const struct summary *sum, const struct options *o)
{
	buf_printf(conf, "mode=%s\nrun_offset=%llu\nrun_chain=0x%016llx\n", mode, (unsigned long long)sum->run_offset,
		   (unsigned long long)sum->run_chain);
	if (sum->ended && sum->end.outcome == VM_QUIT)
		buf_printf(conf, "left_insns=%llu\nleft_vtime=%llu\n", (unsigned long long)sum->end.insns,
			   (unsigned long long)sum->end.vtime_ns);
	if (o->has_from)
		buf_printf(conf, "from=%llu\n", (unsigned long long)o->from);
	describe_resume(conf, sum, o, !strcmp(mode, "debug"));
	if (o->has_until)
		buf_printf(conf, "until=%llu\n", (unsigned long long)o->until);
}

static void describe_disturbance(struct buf *conf, const struct options *o)
{
	if (o->has_perturb)
		buf_printf(conf, "perturb=%llu\n", (unsigned long long)o->perturb);
	if (o->has_plant)
		buf_printf(conf, "plant_at=%llu\nplant_gpa=%llu\n", (unsigned long long)o->plant_at,
			   (unsigned long long)o->plant_gpa);
}

bool replay_pass(struct session *s, const struct machine *m, const struct summary *sum, const struct options *o,
		 bool disturbed, const char *more)
{
	struct buf conf = { 0 };
	bool good;

	s->o = o;
	s->mem_bytes = machine_memory(m);
	s->recording_fd = sum->fd;
	s->recording_readonly = true;
	s->recorded_host = &sum->host;
	if (!s->total_insns)
		s->total_insns = o->has_until ? o->until : sum->ended ? sum->end.insns : sum->last.count;
	line_disks(&sum->line, s->disk, &s->ndisks);
	disks_plug(&m->disks, "", s->disk, &s->ndisks);
	net_unplugged(&m->head, s->nic, &s->nnics);
	line_describe(&sum->line, sum, &conf);
	describe_pass(&conf, s->relay ? "debug" : "replay", sum, o);
	if (disturbed)
		describe_disturbance(&conf, o);
	buf_printf(&conf, "%s", more);
	s->bundle_fd = machine_bundle(m, &conf, &s->bundle_bytes);
	buf_free(&conf);
	good = s->bundle_fd >= 0 && session_run(s);
	if (s->bundle_fd >= 0)
		close(s->bundle_fd);
	return good;
}

/* The recorded end once more against the one reached: the hypervisor has compared, and is not believed. */
static bool same_end(const struct rec_end *recorded, const struct rec_end *now)
{
	return recorded->outcome == now->outcome && recorded->guest_exit == now->guest_exit &&
	       recorded->insns == now->insns && recorded->vtime_ns == now->vtime_ns &&
	       recorded->digest == now->digest;
}

enum status replay_judge(const struct session *s, const struct summary *sum, const struct options *o)
{
	char insns[32], time[32];
	const char *extent;

	if (s->failure[0] || !s->ended)
		return session_close(s, NULL, 0);
	if (s->diverged || s->end.outcome == VM_DIVERGED) {
		if (!s->diverged)
			return complain(ST_DIVERGED, "replay: diverged after %s instructions: %s; look closer with --bisect",
					human_count(s->end.insns, insns), s->end.reason);
		return ST_DIVERGED;
	}
	if (s->end.outcome == VM_HOST_FAILED || s->timed_out)
		return session_close(s, NULL, 0);
	if (sum->ended && same_end(&sum->end, &s->end))
		extent = "identical to its end";
	else if (s->quit)
		return complain(ST_HOST, "replay: left after %s instructions; identical so far, the rest was not looked at",
				human_count(s->end.insns, insns));
	else if (o->has_until && s->end.insns <= o->until)
		extent = "identical up to the point asked for";
	else if (!sum->ended) /* the hypervisor has seen that nothing recorded was left over */
		extent = "identical as far as the recording goes";
	else
		return complain(ST_DIVERGED, "replay: diverged at the end: recorded %s after %llu instructions, digest " ID_FMT
				", now %s after %llu, " ID_FMT "; look closer with --bisect", outcome_name(sum->end.outcome),
				(unsigned long long)sum->end.insns, (unsigned long long)sum->end.digest,
				outcome_name(s->end.outcome), (unsigned long long)s->end.insns,
				(unsigned long long)s->end.digest);
	if (!o->quiet)
		remark("replay: %s: %s instructions, %s virtual, %llu input%s, %llu digest%s (the last " ID_FMT ")", extent,
		       human_count(s->end.insns, insns), human_ns(s->end.vtime_ns, time),
		       (unsigned long long)sum->inputs, sum->inputs == 1 ? "" : "s", (unsigned long long)sum->digests,
		       sum->digests == 1 ? "" : "s", (unsigned long long)s->end.digest);
	return sum->stop == REC_STOP_DAMAGED || sum->stop == REC_STOP_VERSION ? ST_DAMAGED : ST_OK;
}

static enum status replay(int argc, char **argv)
{
	struct options o;
	struct summary sum;
	struct machine m;
	struct session s;
	char text[300];
	enum status st = operand_open(&o, &sum, OPT_REPLAY | OPT_IMAGES | OPT_RUN, argc, argv);

	if (!st)
		st = line_open(&sum);
	if (!st)
		st = line_has_machine(&sum);
	if (st)
		return st;
	if (summary_trouble(&sum, text, sizeof(text)))
		remark("%s: %s", sum.path, text);
	st = machine_from_recording(&m, &sum, &o);
	if (!st) {
		const char *more = getenv("REPRISE_SESSION"); /* for developers: further lines of session.conf */

		s = (struct session){ 0 };
		st = replay_pass(&s, &m, &sum, &o, true, more ? more : "") ? replay_judge(&s, &sum, &o) : ST_HOST;
		if (st == ST_DIVERGED && o.bisect)
			st = bisect(&s, &m, &sum, &o);
		machine_free(&m);
	}
	summary_free(&sum);
	return st;
}

const struct command cmd_replay = {
	.name = "replay",
	.summary = "run a recording again: same console, every digest checked",
	.help = "reprise replay [OPTIONS] FILE\n\n"
		"Runs a recording again: the same instructions, the same output on standard output,\n"
		"and every digest compared.  Standard input is not used.  Exit status 0 says the run\n"
		"was identical, 3 that it was not; then the first epoch that differs is named.\n"
		"A recording that was cut off or damaged replays up to there.\n\n"
		"  --until N           stop after N instructions\n"
		"  --from N            keep quiet until N instructions; of a recording with checkpoints\n"
		"                      (record --checkpoints), begin at the last before there: what is\n"
		"                      earlier is not run, and not looked at\n"
		"  --perturb SEED      stop the guest at random points on the way: a run that is\n"
		"                      truly exact does not notice\n"
		"  --plant N:ADDRESS   flip a bit of memory after N instructions, to see it found\n"
		"  --bisect            on a divergence, find the first instruction that differs\n"
		"Images are taken from the recording if it is packed, else from where they were when\n"
		"it was made, or from beside it; their digests must be the recorded ones.  Disks\n"
		"likewise; they are only read.\n"
		HELP_IMAGES
		HELP_RUN,
	.run = replay,
};
