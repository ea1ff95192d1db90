/*
 * travel.c - packets that move the machine, forwards and backwards, and the
 * stop replies that end them [GDB Manual E.3 Stop Reply Packets].
 *
 * All vCPUs move together, on the VM's own schedule: an action for one thread
 * is one for the machine, and a step takes precedence over a continue.
 */
#include "gdbstub/stub.h"
#include "kernel/kfmt.h"

/* ---- stop replies ---- */

/* Of a store or load: an address within the bytes GDB asked for, by which it knows its watchpoint. */
static u64 watched_address(const struct watch *w, const struct travel *r)
{
	return r->linear - w->at < w->size_bytes ? r->linear : w->at;
}

static void hit_reason(struct gdb *g, const struct travel *r, char *buf, size_t size)
{
	static const char *const names[NPOINT_TYPES] = { "swbreak", "hwbreak", "watch", "rwatch", "awatch" };
	enum point_type type = g->point[r->watch].type;

	if (g->watch[r->watch].kind == WATCH_EXEC)
		ksnprintf(buf, size, "%s:;", names[type]);
	else
		ksnprintf(buf, size, "%s:%lx;", names[type], watched_address(&g->watch[r->watch], r));
}

static void reply_stop(struct gdb *g, const struct travel *r)
{
	unsigned signal = 5; /* SIGTRAP, in GDB's numbering of signals */
	char reason[40] = "";
	struct vm *vm = gdb_vm(g);

	switch (r->end) {
	case TRAVEL_ARRIVED:
		break;
	case TRAVEL_HIT:
		g->vcpu = points_vcpu(g, r->watch);
		hit_reason(g, r, reason, sizeof(reason));
		break;
	case TRAVEL_BEGIN:
		ksnprintf(reason, sizeof(reason), "replaylog:begin;");
		break;
	case TRAVEL_END:
		ksnprintf(reason, sizeof(reason), "replaylog:end;");
		if (vm->outcome != VM_RUNNING && vm->stop_reason[0])
			gdb_say(g, "reprise: the run ends here: %s\n", vm->stop_reason);
		break;
	case TRAVEL_INTERRUPTED:
		signal = 2; /* SIGINT */
		break;
	case TRAVEL_FAILED:
		signal = 6; /* SIGABRT */
		gdb_say(g, "reprise: %s\n", g->line->trouble(g->t));
		break;
	}
	if (r->end == TRAVEL_INTERRUPTED) {
		packet_drop_interrupts(&g->io);
		g->io.interrupt_left = false;
	}
	g->goes_on = r->end == TRAVEL_HIT || r->end == TRAVEL_ARRIVED;
	gdb_flush(g);
	g->may_say = false;
	ksnprintf(g->stop, sizeof(g->stop), "T%02xthread:%x;%s", signal, g->vcpu + 1, reason);
	packet_reply(&g->io, "%s", g->stop);
}

/* ---- journeys ---- */

/*
 * GDB goes on by itself from a step of many and from a stop whose condition does not hold, and
 * knows nothing of an interrupt it sent while that stop was on its way: then it is the next journey
 * that is interrupted.  At the ends of history it never goes on.
 */
static bool interrupted_before(struct gdb *g)
{
	bool was = g->io.interrupt_left;

	g->io.interrupt_left = false;
	return was && g->goes_on;
}

/* Steps from within [from, to) until outside of it; one step when that is empty. */
static struct travel step(struct gdb *g, bool forward, u64 from, u64 to)
{
	struct travel r, hit;
	u64 pc;

	if (interrupted_before(g))
		return (struct travel){ .end = TRAVEL_INTERRUPTED };
	do {
		points_before_step(g);
		r = g->line->step(g->t, forward);
		if (r.end != TRAVEL_ARRIVED)
			return r;
		if (points_after_step(g, &hit))
			return hit;
		pc = regs_pc(&gdb_vcpu(g)->cpu);
		if (pc < from || pc >= to)
			return r;
	} while (!gdb_wants_stop(g));
	return (struct travel){ .end = TRAVEL_INTERRUPTED };
}

static struct travel run(struct gdb *g, bool forward)
{
	struct conditions c = points_conditions(g);

	if (interrupted_before(g))
		return (struct travel){ .end = TRAVEL_INTERRUPTED };
	return g->line->run(g->t, forward, &c);
}

/* GDB waits now: what there was to say can be said. */
static void depart(struct gdb *g)
{
	g->may_say = true;
	gdb_flush(g);
}

static void arrive(struct gdb *g, struct travel r, bool was_branched)
{
	if (was_branched && !g->line->branched(g->t))
		gdb_say(g, "reprise: back on the recorded run, at instruction %lu; the branch is gone\n",
			gdb_vm(g)->now.count);
	reply_stop(g, &r);
}

/* ---- packets ---- */

static bool known_thread(struct gdb *g, u64 id)
{
	return id >= 1 && id <= gdb_vm(g)->config.ncpus;
}

/* The thread of an action, if it names one: its registers are wanted next. */
static void take_thread(struct gdb *g, const char **s)
{
	u64 id;

	if (take(s, ":") && !take(s, "-1") && take_hex(s, &id) && known_thread(g, id))
		g->vcpu = (unsigned)id - 1;
}

/* ;ACTION[:THREAD]...: the first step or range wins, else it is a continue. */
void travel_vcont(struct gdb *g, const char *args)
{
	const char *s = args;
	u64 from = 0, to = 0, number;
	bool was = g->line->branched(g->t), stepping = false, known = false;

	while (!stepping && take(&s, ";")) {
		if (take(&s, "r")) {
			stepping = take_hex(&s, &from) && take(&s, ",") && take_hex(&s, &to);
			if (!stepping)
				break;
		} else if (take(&s, "s") || take(&s, "S")) {
			stepping = true;
			take_hex(&s, &number); /* a signal for a guest that has none */
		} else if (take(&s, "c") || take(&s, "C")) {
			take_hex(&s, &number);
		} else {
			break;
		}
		known = true;
		take_thread(g, &s);
	}
	if (!known) {
		packet_reply(&g->io, "E22");
		return;
	}
	depart(g);
	arrive(g, stepping ? step(g, true, from, to) : run(g, true), was);
}

/* The older c[ADDRESS], s[ADDRESS], Csig[;ADDRESS], Ssig[;ADDRESS]; GDB never gives an address. */
void travel_resume(struct gdb *g, const char *args)
{
	char what = g->io.in[0];
	bool was = g->line->branched(g->t), with_signal = what == 'C' || what == 'S';

	if (*args && (!with_signal || strchr(args, ';'))) {
		packet_reply(&g->io, "E22");
		return;
	}
	depart(g);
	arrive(g, what == 's' || what == 'S' ? step(g, true, 0, 0) : run(g, true), was);
}

void travel_back(struct gdb *g, const char *args unused_arg)
{
	bool was = g->line->branched(g->t);

	depart(g);
	arrive(g, g->io.in[1] == 's' ? step(g, false, 0, 0) : run(g, false), was);
}
