/*
 * scenario.c - what goes wrong in a seed.
 *
 * Three families.  Sweeps: of a few base seeds, one each for every message that
 * a host sends, crashing it just before or just behind that message.  Single
 * faults, each alone on a good network.  Storms: up to five faults on a network
 * as bad as it gets.  After them comes the calm: everything works again.
 */
#include "tests/sim/sim.h"

static void quality(struct link_quality *q, struct rng *r, unsigned badness)
{
	*q = (struct link_quality){ .delay_min = 40 * US, .delay_max = rng_between(r, 60 * US, 400 * US) };
	if (rng_chance(r, 300)) { /* what the network had kept for a while, of sessions long over, too */
		q->echo = (unsigned)rng_below(r, 300);
		q->echo_max = rng_between(r, 20 * MS, 800 * MS);
	}
	if (!badness)
		return;
	q->loss = (unsigned)rng_below(r, badness > 1 ? 200 : 30);
	q->dup = (unsigned)rng_below(r, badness > 1 ? 100 : 20);
	q->corrupt = rng_chance(r, 500) ? (unsigned)rng_below(r, 40) : 0;
	q->late = (unsigned)rng_below(r, 150);
	q->late_max = rng_between(r, 1 * MS, badness > 1 ? 25 * MS : 5 * MS);
	q->delay_max = rng_between(r, 100 * US, badness > 1 ? 4 * MS : 1 * MS);
	if (badness > 1 && rng_chance(r, 500))
		q->late_max = rng_between(r, 100 * MS, 800 * MS);
}

static void add(u64 at, enum fault f, unsigned host, u64 arg)
{
	sched_add(at, EV_FAULT, host, (u64)f | arg << 8, NULL);
}

static u64 calm_at;

/* A fault, and what ends it. */
static void draw_fault(struct rng *r, u64 at)
{
	unsigned h = (unsigned)rng_below(r, 2);
	u64 lasts = rng_chance(r, 500) ? rng_between(r, 20 * MS, 200 * MS) : rng_between(r, 100 * MS, 900 * MS);

	switch (rng_below(r, sim.sc.shares ? 15 : 14)) {
	case 0:
	case 1:
		add(at, FAULT_CRASH, h, 0);
		break;
	case 2:
	case 3:
		add(at, FAULT_FREEZE, h, 0);
		add(at + lasts, FAULT_THAW, h, 0);
		break;
	case 4:
	case 5:
		add(at, FAULT_PARTITION, h, rng_below(r, 3)); /* both ways, from it, to it */
		add(at + lasts, FAULT_HEAL, h, 0);
		break;
	case 6:
		add(at, FAULT_STORE_DOWN, 0, 0);
		add(at + lasts, FAULT_STORE_UP, 0, 0);
		break;
	case 7:
		add(at, FAULT_SLOW_STORE, 0, rng_below(r, 900));
		break;
	case 8:
		add(at, FAULT_SLOW_DISK, h, rng_between(r, 5, 400));
		sim.sc.slow_disk_only = sim.sc.single;
		break;
	case 9: /* and the other host may die: early, when nobody can know, or late */
		add(at, FAULT_FLIP, h, rng_below(r, 2));
		if (rng_chance(r, 600)) {
			lasts = rng_between(r, 10 * MS, 1500 * MS);
			add(at + lasts, FAULT_CRASH, 1 - h, 0);
		}
		break;
	case 10: /* a host whose network dies shortly before it does */
		add(at, FAULT_BURST, h, rng_between(r, 200, 800));
		add(at + rng_below(r, 60 * MS), FAULT_CRASH, h, 0);
		add(at + lasts, FAULT_BURST_ENDS, h, 0);
		break;
	case 11:
		add(at, FAULT_BURST, h, rng_between(r, 200, 1000));
		add(at + lasts, FAULT_BURST_ENDS, h, 0);
		break;
	case 12: /* just long enough to be suspected, and a store that does not say what it did */
		add(at, FAULT_SLOW_STORE, 0, rng_between(r, 5, 200));
		add(at, FAULT_DOUBT, 0, rng_between(r, 300, 1000));
		add(at, FAULT_FREEZE, h, 0);
		lasts = rng_between(r, 140 * MS, 400 * MS);
		add(at + rng_between(r, 140 * MS, 250 * MS), FAULT_THAW, h, 0);
		add(at + lasts, FAULT_DOUBT_ENDS, 0, 0);
		break;
	case 13:
		add(at, FAULT_LEAVE, h, 0);
		break;
	default:
		add(at, FAULT_DISK_DOWN, 0, 0);
		add(at + lasts, FAULT_DISK_UP, 0, 0);
		break;
	}
	calm_at = MAX(calm_at, at + lasts + 50 * MS);
}

static void clocks(struct rng *r)
{
	for (unsigned i = 0; i < NHOSTS; i++) {
		sim.host[i].clock_offset = (s64)rng_below(r, 1000000 * MS);
		sim.host[i].drift_ppm = (s64)rng_below(r, 40000) - 20000;
	}
}

static void crash_sweep(u64 seed)
{
	u64 k = seed / 4 % 1024;

	sim.host[seed & 1].crash_at_send = 1 + k;
	sim.host[seed & 1].crash_before = seed & 2;
	calm_at = 700 * MS;
}

static void storm(struct rng *r)
{
	u64 at = rng_between(r, 0, 350 * MS);

	for (u64 n = 1 + rng_below(r, 5); n; n--, at += rng_below(r, 300 * MS))
		draw_fault(r, at);
	if (rng_chance(r, 300)) {
		sim.host[rng_below(r, 2)].crash_at_send = 1 + rng_below(r, 400);
	}
}

void scenario_make(u64 seed)
{
	struct rng draw = rng_of(seed), *r = &draw;
	unsigned family = (unsigned)(seed % 8);  /* 0, 1: sweeps; 2, 3: one fault; else storms */
	unsigned badness = family < 4 ? 0 : (unsigned)rng_below(r, 3);
	u64 base = seed / 8 / 1024;

	if (family < 2) {
		draw = rng_of(base); /* the same run for every message */
		badness = base % 3 == 2;
	}
	memset(&sim.sc, 0, sizeof(sim.sc));
	for (unsigned i = 0; i < NHOSTS; i++)
		for (unsigned k = 0; k < NHOSTS; k++)
			quality(&sim.sc.link[i][k], r, badness);
	quality(&sim.sc.lan, r, badness);
	sim.sc.hub = rng_chance(r, 250);
	sim.sc.single = family < 4;
	sim.sc.nclients = 1 + (unsigned)rng_below(r, NCLIENTS);
	sim.sc.think_max = rng_between(r, 1 * MS, 30 * MS);
	sim.sc.power_off_after = rng_chance(r, 60) ? 3 + rng_below(r, 60) : ~0UL;
	sim.sc.records = rng_chance(r, 250);
	for (unsigned i = 0; i < NHOSTS; i++)
		sim.sc.datagram_bytes[i] = rng_chance(r, 500) ? 1500 : 1000 + (u32)rng_below(r, 4000);
	sim.sc.held_bytes = rng_chance(r, 250) ? 2 * FT_HELD_SEAM(FT_OUTPUT_MAX) : HELD_BYTES;
	sim.sc.load_ns = rng_chance(r, 300) ? rng_between(r, 1 * MS, 400 * MS) : 0;
	sim.sc.policy = rng_chance(r, 300) ? FT_STOP_BOTH : FT_REPROTECT;
	sim.sc.restart_ns = rng_between(r, 30 * MS, 250 * MS);
	sim.sc.store_min = rng_between(r, 100 * US, 3 * MS);
	sim.sc.store_max = sim.sc.store_min + rng_below(r, 5 * MS);
	if (badness) {
		sim.sc.store_unknown = (unsigned)rng_below(r, 300);
		sim.sc.store_unreachable = (unsigned)rng_below(r, 200);
	}
	sim.sc.shares = rng_chance(r, 300);
	sim.sc.disk_max = rng_between(r, 50 * US, 3 * MS);
	sim.sc.disk_late = badness ? (unsigned)rng_below(r, 200) : 0;
	sim.sc.records &= !sim.sc.shares; /* a recording does not hold what is read from it */
	clocks(r);
	for (unsigned i = 0; i < NHOSTS; i++) {
		sim.host[i].crash_at_send = 0;
		sim.host[i].disk_ns = 0;
		sim.host[i].flip = false;
		sim.host[i].hiccups = rng_chance(r, 500) ? (unsigned)rng_below(r, 100) : 0;
		sim.host[i].storage_fails = rng_chance(r, 300) ? (unsigned)rng_below(r, 400) : 0;
	}
	sim.rng = rng_of(family < 2 ? base + 7777 : seed + 7777);
	calm_at = 0;
	if (family < 2)
		crash_sweep(seed / 8 % 1024 * 4 + (seed & 1) + (seed / 8 / 1024 & 1) * 2);
	else if (family < 4)
		draw_fault(r, rng_between(r, 5 * MS, 300 * MS));
	else
		storm(r);
	if (rng_chance(r, 150))
		add(rng_below(r, 200 * MS), FAULT_SPARE, 2, 0);
	add(calm_at, FAULT_CALM, 0, 0);
}

/* ---- faults ---- */

static void partition(unsigned h, u64 how)
{
	for (unsigned i = 0; i < NHOSTS; i++) {
		if (i == h)
			continue;
		sim.sc.blocked[h][i] |= how != 2;
		sim.sc.blocked[i][h] |= how != 1;
	}
}

static void heal(unsigned h)
{
	for (unsigned i = 0; i < NHOSTS; i++)
		sim.sc.blocked[h][i] = sim.sc.blocked[i][h] = false;
}

static void calm(void)
{
	sim.sc.calm = true;
	sim.sc.store_down = sim.sc.disk_down = false;
	sim.sc.disk_late = 0;
	sim.sc.store_unknown = sim.sc.store_unreachable = 0;
	sim.sc.store_min = MIN(sim.sc.store_min, 3 * MS);
	sim.sc.store_max = MIN(sim.sc.store_max, 8 * MS);
	for (unsigned i = 0; i < NHOSTS; i++) {
		heal(i);
		host_thaw(&sim.host[i]);
		sim.host[i].disk_ns = 0;
		sim.host[i].crash_at_send = 0;
		sim.host[i].storage_fails = 0;
		for (unsigned k = 0; k < NHOSTS; k++)
			sim.sc.link[i][k].loss = MIN(sim.sc.link[i][k].loss, 50U);
	}
	check_calm_begins();
	sched_add(sim.now + 20 * MS, EV_CHECK, 0, 0, NULL);
}

/*
 * A bit of a secondary's machine flips: the next digest must show it.  In what it
 * does next it shows sooner; in its memory it does not show at all.
 */
static void flip(struct host *h, bool in_memory)
{
	if (h->state != HOST_UP || h->pair.role != FT_SECONDARY || !h->life.began || h->spoilt)
		return; /* a bit that flips again is as it was */
	if (in_memory)
		machine_flip(&h->machine);
	else
		h->machine.s.hash ^= 1;
	h->spoilt = true;
	sim.flipped = true;
	h->spoilt_epoch = h->pair.epochs;
}

void scenario_event(const struct event *e)
{
	struct host *h = &sim.host[e->who];
	u64 arg = e->arg >> 8;

	if (sim.sc.calm)
		return;
	TRACE("fault", e->who, "number %lu, %lu", e->arg & 0xff, arg);
	switch ((enum fault)(e->arg & 0xff)) {
	case FAULT_CRASH:
		host_crash(h, "by chance");
		break;
	case FAULT_FREEZE:
		host_freeze(h);
		break;
	case FAULT_THAW:
		host_thaw(h);
		break;
	case FAULT_PARTITION:
		partition(e->who, arg);
		break;
	case FAULT_HEAL:
		heal(e->who);
		break;
	case FAULT_STORE_DOWN:
		sim.sc.store_down = true;
		break;
	case FAULT_STORE_UP:
		sim.sc.store_down = false;
		break;
	case FAULT_SLOW_STORE:
		sim.sc.store_max = sim.sc.store_min + arg * MS;
		break;
	case FAULT_DOUBT:
		sim.sc.store_unknown = (unsigned)arg;
		break;
	case FAULT_DOUBT_ENDS:
		sim.sc.store_unknown = 0;
		break;
	case FAULT_DISK_DOWN:
		sim.sc.disk_down = true;
		break;
	case FAULT_DISK_UP:
		sim.sc.disk_down = false;
		break;
	case FAULT_SLOW_DISK:
		h->disk_ns = arg * MS;
		break;
	case FAULT_FLIP:
		flip(h, arg);
		break;
	case FAULT_BURST:
		for (unsigned i = 0; i < NHOSTS; i++)
			sim.sc.link[e->who][i].loss = (unsigned)arg;
		break;
	case FAULT_BURST_ENDS:
		for (unsigned i = 0; i < NHOSTS; i++)
			sim.sc.link[e->who][i].loss = 20;
		break;
	case FAULT_SPARE:
		if (h->state != HOST_UP)
			host_start(h, false);
		break;
	case FAULT_LEAVE:
		h->leaves = true;
		break;
	case FAULT_CALM:
		calm();
		break;
	}
}
