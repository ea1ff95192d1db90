/*
 * stray.c - a bug of the classic kind, planted: a node of a linked list is
 * overwritten by a store that goes one too far in the array beside it, and the
 * list is followed a long time later.  The fault there ends the run with a
 * failure [docs/DEBUGGING.md].
 *
 *   1  the list, and what lies beside it
 *   2  work: timer interrupts, a counter
 *   3  the stray store, and the crash
 *
 * "insns=N" is about how many instructions lie between the store and the crash
 * (50000000).  "hot" is the hard case: the counter that everything increments
 * shares a cache line with the pointer that is overwritten, so that a watch of
 * the page is hit millions of times.  "good" leaves the bug out: exit 0.
 */
#include "guest.h"

const char guest_name[] = "stray";

enum { TIMER = 0x40 };
#define TICK_NS 100000
#define NODES 64
#define NAMES 4

/* --- 1  the list -------------------------------------------------------------- */

struct node {
	struct node *next;
	u64 value;
};

/* One cache line: an array of four and, where a fifth would be, a node of the list. */
struct neighbours {
	char name[NAMES][8];
	struct node middle;
	volatile u64 hot;
} __attribute__((aligned(64)));

static struct node pool[NODES];
static struct node *list;
static struct neighbours beside;
static volatile u64 elsewhere[512] __attribute__((aligned(4096))); /* a page of its own */
static volatile u64 *counter = elsewhere;
static volatile u64 ticks;

static __attribute__((noinline)) void build_list(void)
{
	for (unsigned i = 0; i < NODES; i++) {
		pool[i].value = i;
		pool[i].next = i + 1 < NODES ? &pool[i + 1] : NULL;
	}
	beside.middle.value = 1000;
	beside.middle.next = pool[NODES / 2].next;
	pool[NODES / 2].next = &beside.middle;
	list = pool;
}

static __attribute__((noinline)) u64 sum_list(const struct node *n)
{
	u64 total = 0;

	for (; n; n = n->next)
		total += n->value;
	return total;
}

/* --- 2  work -------------------------------------------------------------------- */

static void on_tick(struct frame *f)
{
	ticks++;
	mix(f->rip);
	lapic_eoi();
}

#define INSNS_A_TURN 9

static __attribute__((noinline)) void work(u64 insns)
{
	u64 x = insns | 1;

	for (u64 i = 0; i < insns / INSNS_A_TURN; i++) {
		x ^= x << 13;
		*counter += x & 1;
	}
	mix(x);
}

/* --- 3  the stray store ------------------------------------------------------------- */

static __attribute__((noinline)) void set_name(unsigned i, const char *name)
{
	for (unsigned k = 0; k < sizeof(beside.name[0]); k++)
		*(beside.name[0] + i * sizeof(beside.name[0]) + k) = name[k];
}

static __attribute__((noinline)) void read_names(unsigned n)
{
	static const char names[][8] = { "Dijkstra", "Hamilton", "Lovelace", "Thompson", "Lampson!" };

	for (unsigned i = 0; i < n; i++)
		set_name(i, names[i]);
}

static void on_fault(struct frame *f)
{
	say("stray: vector %u at rip %x, after %u ticks\n", f->vector, f->rip, ticks);
	leave(1);
}

void guest_main(void)
{
	u64 insns = arg_number("insns", 50000000);

	handlers[TIMER] = on_tick;
	handlers[13] = handlers[14] = on_fault;
	if (arg_word("hot"))
		counter = &beside.hot;
	build_list();
	check(sum_list(list) == NODES * (NODES - 1) / 2 + 1000);
	lapic_timer(TIMER_PERIODIC, TIMER, TICK_NS);
	sti();
	work(insns / 10);
	read_names(arg_word("good") ? NAMES : NAMES + 1);
	work(insns);
	say("stray: the list's sum is %u\n", sum_list(list));
	lapic_stop();
	mix(ticks);
}
