/*
 * sim.c - the simulation's command line: seeds, one or a hundred thousand.
 *
 *   sim [-n SEEDS] [-f FIRST] [-j JOBS]   runs seeds, says which failed, and why
 *   sim --seed N [--trace]                one seed alone, told step by step
 *   sim --mutants [-n SEEDS]              each deliberate bug must be noticed
 *
 * Ends with a line "N passed, N failed".
 */
#include <stdarg.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/sim.h"

/* What no seed needs. */
#define EVENTS_ENOUGH 1000000
#define HANG_S 30
#define MUTANT_HANG_S 5 /* a seed takes a millisecond */

struct sim sim;

/* ---- random numbers ---- */

u64 rng_next(struct rng *r)
{
	r->state ^= r->state << 13;
	r->state ^= r->state >> 7;
	r->state ^= r->state << 17;
	return r->state * 0x2545f4914f6cdd1dUL >> 8;
}

struct rng rng_of(u64 seed)
{
	struct rng r = { (seed + 1) * 0x9e3779b97f4a7c15UL | 1 };

	for (int i = 0; i < 8; i++)
		rng_next(&r);
	return r;
}

/* ---- the trace ---- */

void say(const char *who, unsigned id, const char *fmt, ...)
{
	va_list ap;

	printf("%10.3f ms  %s", (double)sim.now / 1e6, who);
	if (id < STORE_ADDRESS)
		printf(" %u", id);
	printf("  ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

static void tell_data(const struct ft_message *m)
{
	printf("DATA%s %u+%u", m->flags & FT_ASK ? " ASK" : "", m->data.offset, m->data.size);
}

static void tell(const struct ft_message *m)
{
	switch (m->kind) {
	case FT_HELLO:
		printf("HELLO %lx", m->hello.id);
		break;
	case FT_WELCOME:
		printf("WELCOME %lx, term %lu", m->welcome.seeker, m->welcome.term);
		break;
	case FT_REFUSE:
		printf("REFUSE %u", m->refuse.reason);
		break;
	case FT_DATA:
		tell_data(m);
		break;
	case FT_ACK:
		printf("ACK%s%s %u, room %u, executed %u, made %u", m->flags & FT_ASK ? " ASK" : "", m->flags & FT_LOADED ? " LOADED" : "",
		       m->ack.offset, m->ack.room * FT_ROOM_UNIT, m->ack.executed, m->ack.made);
		if (m->flags & FT_HOLE)
			printf(", hole to %u", m->ack.hole_end);
		break;
	case FT_DIVERGED:
		printf("DIVERGED epoch %lu", m->diverged.epoch);
		break;
	case FT_BYE:
		printf("BYE %u", m->bye);
		break;
	case FT_OVER:
		printf("OVER, term %lu", m->over);
		break;
	}
	printf(" [%08x]\n", m->session);
}

void trace_message(const char *verb, unsigned host, u64 peer, const void *data, u32 size)
{
	struct ft_message m;

	printf("%10.3f ms  host %u (%s) %s %s ", (double)sim.now / 1e6, host, ft_role_name(sim.host[host].pair.role), verb,
	       *verb == 's' ? "to" : "from");
	if (peer == FT_EVERYBODY)
		printf("all: ");
	else
		printf("%lu: ", peer);
	if (ft_decode(&m, sim.seed + 1, data, size))
		tell(&m);
	else
		printf("nonsense of %u bytes\n", size);
}

/* ---- one seed ---- */

static void begin(u64 seed, bool trace)
{
	sim.seed = seed;
	sim.now = 0;
	sim.trace = trace;
	sim.failed = sim.over = sim.flipped = false;
	sim.why[0] = 0;
	sim.lan_port = 0;
	sched_reset();
	packets_reset();
	store_reset();
	shared_reset();
	check_reset();
	for (unsigned i = 0; i < NHOSTS; i++) {
		struct host *h = &sim.host[i];

		h->id = i;
		h->state = HOST_DOWN;
		h->lives = 0;
		h->nic_n = h->guest_n = 0;
		h->frozen = h->leaves = false;
		h->life = (struct life){ 0 };
		h->pair.role = FT_IDLE;
		if (!h->writer) {
			h->writer = malloc(sizeof(*h->writer));
			h->recording = malloc(RECORDING_BYTES);
		}
	}
	scenario_make(seed);
	host_start(&sim.host[0], true);
	sched_add(rng_between(&sim.rng, 3 * MS, 20 * MS), EV_RESTART, 1, 0, NULL);
	clients_start();
}

static void restart(const struct event *e)
{
	struct host *h = &sim.host[e->who];

	if (h->state != HOST_UP && h->lives == e->arg)
		host_start(h, false);
}

static void handle(const struct event *e)
{
	switch (e->kind) {
	case EV_WAKE:
		host_wake(&sim.host[e->who], e->arg);
		break;
	case EV_DATAGRAM:
		net_arrive(&sim.host[e->who], e->packet);
		break;
	case EV_TO_GUEST:
		lan_to_guest(e->packet);
		break;
	case EV_TO_CLIENT:
		client_receive(e->who, e->packet);
		packet_free(e->packet);
		break;
	case EV_CLIENT:
		client_event(e);
		break;
	case EV_STORE:
	case EV_STORE_LATE:
		store_event(e);
		break;
	case EV_FAULT:
		scenario_event(e);
		break;
	case EV_RESTART:
		restart(e);
		break;
	case EV_DISK:
		shared_event(e);
		break;
	case EV_CHECK:
		sim.over = check_progress();
		sched_add(sim.now + 20 * MS, EV_CHECK, 0, 0, NULL);
		break;
	}
}

static bool run_seed(u64 seed, bool trace)
{
	struct event e;
	u64 events = sim.events;

	begin(seed, trace);
	while (!sim.failed && !sim.over && sched_next(&e)) {
		if (sim.events++ > events + EVENTS_ENOUGH)
			check_fail("I17: no end after %lu ms", sim.now / MS);
		sim.now = e.at;
		handle(&e);
	}
	for (unsigned i = 0; i < NHOSTS && !sim.failed; i++)
		check_life(&sim.host[i]);
	return !sim.failed;
}

/* ---- many ---- */

static unsigned long failed_seeds;

/* A host's code that never waits: nothing else would end it. */
static void hangs(int signal unused_arg)
{
	if (mutation)
		printf("ok %s: %s: noticed in seed %lu: a host never waits\n", mutants[mutation - 1].invariant,
		       mutants[mutation - 1].what, sim.seed);
	else
		printf("not ok seed %lu: a host never waits\n", sim.seed);
	fflush(stdout);
	_exit(!mutation);
}

static void run_range(u64 from, u64 to, u64 step)
{
	for (u64 seed = from; seed < to; seed += step) {
		alarm(HANG_S);
		if (!run_seed(seed, false)) {
			failed_seeds++;
			printf("not ok seed %lu: %s\n", seed, sim.why);
			fflush(stdout);
			if (failed_seeds == 20)
				return;
		}
	}
}

static int many(u64 first, u64 n, unsigned jobs)
{
	unsigned long failed = 0;
	int status;

	for (unsigned i = 0; i < jobs; i++)
		if (!fork()) {
			run_range(first + i, first + n, jobs);
			printf("# job %u: %lu events, %lu takeovers, %lu ms; machines that ended: %lu by themselves, %lu by an "
			       "operator, %lu crashed without a partner, %lu spoilt, %lu before they began\n", i, sim.events, sim.takeovers,
			       (unsigned long)clock() / 1000, sim.ends[LOST_BY_ITSELF], sim.ends[LOST_LEFT], sim.ends[LOST_CRASHED],
			       sim.ends[LOST_SPOILT], sim.ends[NEVER_BEGAN]);
			fflush(stdout);
			_exit((int)MIN(failed_seeds, 100UL));
		}
	for (unsigned i = 0; i < jobs; i++) {
		wait(&status);
		failed += WIFEXITED(status) ? (unsigned long)WEXITSTATUS(status) : 1;
	}
	printf("%s %lu seeds from %lu\n%lu passed, %lu failed\n", failed ? "not ok" : "ok", n, first, n - failed, failed);
	return failed != 0;
}

static int one(u64 seed, bool trace)
{
	bool good = run_seed(seed, trace);

	if (!good)
		printf("not ok seed %lu: %s\n", seed, sim.why);
	printf("%d passed, %d failed\n", good, !good);
	return !good;
}

static noreturn_fn void try_mutant(u64 n)
{
	const struct mutant *m = &mutants[mutation - 1];
	u64 seed = 0;

	while (alarm(MUTANT_HANG_S), seed < n && run_seed(seed, false))
		seed++;
	if (seed == n)
		printf("not ok %s: %s: not noticed in %lu seeds\n", m->invariant, m->what, n);
	else
		printf("ok %s: %s: noticed in seed %lu: %s\n", m->invariant, m->what, seed, sim.why);
	fflush(stdout);
	_exit(seed == n);
}

/* Each in a process of its own: some make hosts go round in circles. */
static int try_mutants(u64 n, unsigned jobs)
{
	unsigned missed = 0, running = 0;
	int status;

	for (unsigned next = 1; next <= nmutants || running;) {
		if (next <= nmutants && running < jobs) {
			mutation = next++;
			running++;
			if (!fork())
				try_mutant(n);
			continue;
		}
		wait(&status);
		running--;
		missed += !WIFEXITED(status) || WEXITSTATUS(status);
	}
	printf("%u passed, %u failed\n", nmutants - missed, missed);
	return missed != 0;
}

int main(int argc, char **argv)
{
	u64 n = 1000, first = 0, seed = 0;
	unsigned jobs = 2;
	bool alone = false, trace = false, try = false;

	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "0";

		if (!strcmp(argv[i], "--trace"))
			trace = true;
		else if (!strcmp(argv[i], "--mutants"))
			try = true;
		else if (!strcmp(argv[i], "--seed"))
			alone = true, seed = strtoul(value, NULL, 0), i++;
		else if (!strcmp(argv[i], "--mutation"))
			mutation = (unsigned)strtoul(value, NULL, 0), i++;
		else if (!strcmp(argv[i], "-n"))
			n = strtoul(value, NULL, 0), i++;
		else if (!strcmp(argv[i], "-f"))
			first = strtoul(value, NULL, 0), i++;
		else if (!strcmp(argv[i], "-j"))
			jobs = (unsigned)strtoul(value, NULL, 0), i++;
		else {
			fprintf(stderr, "usage: sim [-n SEEDS] [-f FIRST] [-j JOBS] | --seed N [--trace] | --mutants [-n SEEDS]\n");
			return 2;
		}
	}
	signal(SIGALRM, hangs);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (alone)
		return one(seed, trace);
	return try ? try_mutants(n, jobs) : many(first, n, jobs);
}
