/*
 * ftverdict.c - sums and rules.  See ftverdict.h.
 */
#include <stdlib.h>

#include "tools/ftverdict.h"

const char *strike_name(enum strike k)
{
	static const char *const names[] = {
		[STRIKE_NONE] = "none", [STRIKE_PRIMARY] = "primary", [STRIKE_SECONDARY] = "secondary",
		[STRIKE_PARTITION] = "partition", [STRIKE_FREEZE] = "freeze",
	};

	return names[k];
}

unsigned live_hosts_max(const struct life *life, unsigned n)
{
	unsigned most = 0;

	/* The most at once are there when one of them begins. */
	for (unsigned i = 0; i < n; i++) {
		unsigned here = 0;

		for (unsigned k = 0; k < n && life[i].frames; k++)
			here += life[k].frames && life[k].first_ns <= life[i].first_ns && life[k].last_ns >= life[i].first_ns;
		most = MAX(most, here);
	}
	return most;
}

static int by_value(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

u64 centile(const u64 *values, unsigned n, unsigned percent)
{
	u64 sorted[EVENTS_MAX];

	n = MIN(n, EVENTS_MAX);
	memcpy(sorted, values, n * sizeof(sorted[0]));
	qsort(sorted, n, sizeof(sorted[0]), by_value);
	return n ? sorted[(n * percent + 99) / 100 - (percent > 0)] : 0;
}

static bool took_over(const struct event *e)
{
	return e->after != ALIVE_NONE && e->after != e->before;
}

/* What is wrong with an event; NULL: nothing. */
static const char *fault_of(const struct event *e)
{
	if (e->after == ALIVE_NONE)
		return "no host was live after it";
	/* Whoever asks the arbiter first wins a partition: either may. */
	if ((e->strike == STRIKE_PRIMARY || e->strike == STRIKE_FREEZE) && !took_over(e))
		return "the other host did not take over";
	if (e->strike == STRIKE_SECONDARY && took_over(e))
		return "another host took over, and nobody was to";
	return e->protected_ns ? NULL : "the pair was not protected again";
}

/* Takeovers that the wire knows of: lives that acted as the machine, but for the first. */
static unsigned changes_on_wire(const struct facts *f)
{
	unsigned n = 0;

	for (unsigned i = 0; i < f->nlives; i++)
		n += f->life[i].frames > 0;
	return n ? n - 1 : 0;
}

static void find_fault(const struct facts *f, unsigned takeovers, unsigned live, char why[300])
{
	why[0] = 0;
	/* The worst first. */
	if (live > 1) {
		snprintf(why, 300, "%u hosts sent frames of the machine's in turns", live);
		return;
	}
	for (unsigned i = 0; i < f->nevents; i++) {
		const char *fault = fault_of(&f->event[i]);

		if (fault) {
			snprintf(why, 300, "event %u, %s: %s", i + 1, strike_name(f->event[i].strike), fault);
			return;
		}
	}
	if (f->nevents < f->wanted)
		snprintf(why, 300, "%u of %u events came to pass", f->nevents, f->wanted);
	else if (!live)
		snprintf(why, 300, "no frame of the machine's was seen");
	else if (f->unseen)
		snprintf(why, 300, "the capture lost %llu frames and cannot vouch", (unsigned long long)f->unseen);
	else if (f->foreign && f->foreign_failed)
		snprintf(why, 300, "the client failed");
	else if (f->lost || f->repeated || f->contradicted)
		snprintf(why, 300, "the client: %llu lost, %llu repeated, %llu contradicted", (unsigned long long)f->lost,
			 (unsigned long long)f->repeated, (unsigned long long)f->contradicted);
	else if (f->broken && *f->broken)
		snprintf(why, 300, "the client's connection: %s", f->broken);
	else if (!f->foreign && !f->answered)
		snprintf(why, 300, "the client got no answer");
	else if (changes_on_wire(f) > takeovers)
		snprintf(why, 300, "%u takeovers, but the wire saw %u", takeovers, changes_on_wire(f));
}

bool judge(const struct facts *f, char line[160], char why[300])
{
	unsigned takeovers = 0, live = live_hosts_max(f->life, f->nlives);
	u64 pause_ns = f->pause_ns;

	for (unsigned i = 0; i < f->nevents; i++) {
		takeovers += took_over(&f->event[i]);
		pause_ns = MAX(pause_ns, f->event[i].pause_ns);
	}
	snprintf(line, 160, "takeovers: %u pause_ms: %llu lost: %llu repeated: %llu live_hosts_max: %u", takeovers,
		 (unsigned long long)((pause_ns + 999999) / 1000000), (unsigned long long)f->lost, (unsigned long long)f->repeated, live);
	find_fault(f, takeovers, live, why);
	return !why[0];
}
