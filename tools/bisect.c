/*
 * bisect.c - `reprise replay --bisect`: from a differing epoch to the first
 * differing instruction, and what differs there.
 *
 * Two sides run again and again: the replay as asked for, and an undisturbed
 * one.  A recording holds one digest an epoch; between two replays digests can
 * be had at any points.  So each round takes some in the stretch that holds the first
 * difference, and the stretch shrinks to one instruction.
 *
 * The stops for the digests are exits, and a leak of the host can hide behind
 * them: where a round finds no difference, the stretch is halved instead with
 * a single stop a run, as far from what made the difference as can be.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "kernel/kconf.h"
#include "tools/bisect.h"

#define POINTS 100          /* digests a round */
#define SHOWN_PAGES 4       /* differing pages shown word by word */

/* Lines the hypervisor said of a run, in order. */
struct lines {
	char **line;
	size_t n, room;
};

static void lines_add(void *ctx, const char *line)
{
	struct lines *l = ctx;

	if (l->n == l->room) {
		l->room = l->room * 2 + 64;
		l->line = need(realloc(l->line, l->room * sizeof(*l->line)));
	}
	l->line[l->n++] = need(strdup(line));
}

static void lines_free(struct lines *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->line[i]);
	free(l->line);
	*l = (struct lines){ 0 };
}

struct work {
	const struct machine *m;
	const struct summary *sum;
	const struct options *o;
	u64 lo, hi;             /* equal after lo instructions, different after hi */
	struct lines side[2];   /* 0 the undisturbed replay, 1 the one asked for */
};

static bool run_side(struct work *w, int side, const char *more)
{
	struct session s = { .muted = true, .on_state = lines_add, .on_state_ctx = &w->side[side] };

	lines_free(&w->side[side]);
	if (!replay_pass(&s, w->m, w->sum, w->o, side == 1, more)) {
		remark("replay: %s", s.failure[0] ? s.failure : "a pass of --bisect did not run; see above");
		return false;
	}
	return true;
}

static bool run_both(struct work *w, const char *more)
{
	return run_side(w, 0, more) && run_side(w, 1, more);
}

/* The count of a trace line whose digests differ, or that only one side came to; 0 if all agree. */
static u64 first_difference(const struct work *w)
{
	const struct lines *a = &w->side[0], *b = &w->side[1];
	char insns[32];
	size_t i = 0;

	while (i < a->n && i < b->n && !strcmp(a->line[i], b->line[i]))
		i++;
	if (i == a->n && i == b->n)
		return 0;
	control_get(i < a->n ? a->line[i] : b->line[i], "insns", insns, sizeof(insns));
	return strtoull(insns, NULL, 10);
}

/* Digests at from, from + stride ... to on both sides; where they first differ, 0 nowhere. */
static bool compare(struct work *w, u64 from, u64 to, u64 stride, u64 *where)
{
	char more[200];

	snprintf(more, sizeof(more), "trace_from=%" PRIu64 "\ntrace_to=%" PRIu64 "\ntrace_stride=%" PRIu64
		 "\nuntil=%" PRIu64 "\n", from, to, stride, to);
	if (!run_both(w, more))
		return false;
	*where = first_difference(w);
	return true;
}

static bool narrow(struct work *w)
{
	bool one_by_one = false;
	char a[32], b[32];
	u64 where;

	while (w->hi - w->lo > 1) {
		u64 stride = one_by_one ? (w->hi - w->lo) / 2 : MAX((w->hi - w->lo) / POINTS, 1UL);
		u64 to = one_by_one ? w->lo + stride : w->hi;

		if (!compare(w, w->lo + stride, to, stride, &where))
			return false;
		if (where) {
			w->hi = where;
			w->lo = where - stride;
		} else if (one_by_one) {
			w->lo += stride;
		} else {
			one_by_one = true; /* the many stops hide it */
		}
		remark("bisect: the first difference lies between instructions %s and %s", with_commas(w->lo, a),
		       with_commas(w->hi, b));
	}
	return true;
}

/* One line "KIND NAME VALUE"; the name may stand more than once (a device with two chips). */
struct item {
	char name[96];
	const char *value;
};

static bool parse_item(const char *line, const char *kind, struct item *it)
{
	size_t n = strlen(kind), m;

	if (strncmp(line, kind, n))
		return false;
	m = strcspn(line + n, " ");
	if (!line[n + m] || m >= sizeof(it->name))
		return false;
	memcpy(it->name, line + n, m);
	it->name[m] = 0;
	it->value = line + n + m + 1;
	return true;
}

/* The next line of the kind from *at on. */
static bool next_item(const struct lines *l, size_t *at, const char *kind, struct item *it)
{
	while (*at < l->n)
		if (parse_item(l->line[(*at)++], kind, it))
			return true;
	return false;
}

/* Finds name from `at` on; where the search may go on then. */
static bool find_item(const struct lines *l, size_t at, const char *kind, const char *name, struct item *it, size_t *after)
{
	while (next_item(l, &at, kind, it))
		if (!strcmp(it->name, name)) {
			*after = at;
			return true;
		}
	return false;
}

static const char *value_of(const struct lines *l, const char *name)
{
	struct item it;
	size_t after;

	return find_item(l, 0, "", name, &it, &after) ? it.value : "0";
}

/* Pages of memory that differ. */
struct pages {
	unsigned long long frame[SHOWN_PAGES];
	unsigned n, more;
	unsigned long long shown;    /* the one whose words are being shown */
};

/*
 * Calls show for what differs.  Both sides name the same things in the same
 * order, but zeros are left out of arrays and memory: what one side lacks is 0.
 */
static void differences(const struct work *w, const char *kind, struct pages *p,
			void (*show)(struct pages *p, const char *name, const char *a, const char *b))
{
	struct item a, b;
	size_t i = 0, j = 0, after;

	while (next_item(&w->side[0], &i, kind, &a)) {
		if (!find_item(&w->side[1], j, kind, a.name, &b, &after)) {
			show(p, a.name, a.value, "0");
			continue;
		}
		for (struct item only; next_item(&w->side[1], &j, kind, &only) && j < after;)
			show(p, only.name, "0", only.value);
		j = after;
		if (strcmp(a.value, b.value))
			show(p, a.name, a.value, b.value);
	}
	while (next_item(&w->side[1], &j, kind, &b))
		show(p, b.name, "0", b.value);
}

static void show_field(struct pages *p unused_arg, const char *name, const char *a, const char *b)
{
	if (strcmp(name, "page") && strcmp(name, "code") && strcmp(name, "bytes"))
		printf("  %-28s %-20s %s\n", name, a, b);
}

static void note_page(struct pages *p, const char *name, const char *a unused_arg, const char *b unused_arg)
{
	if (p->n < SHOWN_PAGES)
		p->frame[p->n++] = strtoull(name, NULL, 0);
	else
		p->more++;
}

static void show_word(struct pages *p, const char *name, const char *a, const char *b)
{
	printf("  memory 0x%-21llx %-20s %s\n", p->shown * PAGE_SIZE + strtoull(name, NULL, 0), a, b);
}

static bool dump(struct work *w, const char *page)
{
	char more[120];

	snprintf(more, sizeof(more), "dump_at=%" PRIu64 "\n%s", w->hi, page);
	return run_both(w, more);
}

static bool report(struct work *w)
{
	char count[32], page[40];
	struct pages p = { 0 };

	if (!dump(w, ""))
		return false;
	printf("first differing instruction: %s\n", with_commas(w->hi, count));
	printf("rip after it: %s, in the replay asked for %s\n", value_of(&w->side[0], "cpu.rip"),
	       value_of(&w->side[1], "cpu.rip"));
	printf("  %-28s %-20s %s\n", "what", "undisturbed", "this replay");
	differences(w, "", &p, show_field);
	differences(w, "page ", &p, note_page);
	for (unsigned i = 0; i < p.n; i++) {
		snprintf(page, sizeof(page), "dump_page=%llu\n", p.frame[i]);
		if (!dump(w, page))
			return false;
		p.shown = p.frame[i];
		differences(w, "bytes ", &p, show_word);
	}
	if (p.more)
		printf("  and %u more pages of memory\n", p.more);
	return true;
}

enum status bisect(const struct session *first, const struct machine *m, const struct summary *sum,
		   const struct options *o)
{
	struct work w = { .m = m, .sum = sum, .o = o, .hi = first->diverged_insns };
	enum status st = ST_DIVERGED;
	u64 where = 0, epoch = conf_u64((const char *)sum->head.data, sum->head.size, "epoch_insns", 1);

	if (!first->diverged_epoch && w.hi > 1)
		w.hi--; /* seen at the end, where no stop can look any more */
	w.lo = (w.hi - 1) / epoch * epoch; /* the digest before agreed */
	if (!compare(&w, w.hi, w.hi, 1, &where))
		return ST_HOST;
	if (!where)
		return complain(ST_DIVERGED, "bisect: an undisturbed replay differs from the recording in the same way; "
				"the recording has no digests between instructions %llu and %llu to go on with",
				(unsigned long long)w.lo, (unsigned long long)w.hi);
	if (!narrow(&w) || !report(&w))
		st = ST_HOST;
	lines_free(&w.side[0]);
	lines_free(&w.side[1]);
	return st;
}
