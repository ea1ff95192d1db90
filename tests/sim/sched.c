/*
 * sched.c - virtual time: a heap of events, and hosts as coroutines.
 *
 * Exactly one thing runs at a time: the scheduler, or one host's code, until it
 * waits.  What is due at one instant happens in the order in which it was asked
 * for.  A crashed host's stack is simply never gone back to.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/sim/sim.h"

#define STACK_BYTES (256 * 1024)

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define SWITCH_BEGINS(save, bottom, size) __sanitizer_start_switch_fiber(save, bottom, size)
#define SWITCH_ENDS(save) __sanitizer_finish_switch_fiber(save, NULL, NULL)
#define STACK_IS_CLEAN(p, n) __asan_unpoison_memory_region(p, n)
#else
#define SWITCH_BEGINS(save, bottom, size) ((void)(save), (void)(bottom), (void)(size))
#define SWITCH_ENDS(save) ((void)(save))
#define STACK_IS_CLEAN(p, n) ((void)(p))
#endif

/* ---- events ---- */

static struct event *heap;
static unsigned nheap, heap_room;
static u64 orders;

void sched_reset(void)
{
	nheap = 0;
	orders = 0;
}

static bool sooner(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void sched_add(u64 at, enum event_kind kind, u32 who, u64 arg, struct packet *packet)
{
	const struct event e = { at, orders++, kind, who, arg, packet };
	unsigned i = nheap++;

	if (nheap > heap_room) {
		heap_room = heap_room ? 2 * heap_room : 1024;
		heap = realloc(heap, heap_room * sizeof(*heap));
		if (!heap)
			abort();
	}
	for (; i && sooner(&e, &heap[(i - 1) / 2]); i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = e;
}

bool sched_next(struct event *e)
{
	struct event last;
	unsigned i = 0;

	if (!nheap)
		return false;
	*e = heap[0];
	last = heap[--nheap];
	for (;;) {
		unsigned child = 2 * i + 1;

		if (child >= nheap)
			break;
		if (child + 1 < nheap && sooner(&heap[child + 1], &heap[child]))
			child++;
		if (!sooner(&heap[child], &last))
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = last;
	return true;
}

/* ---- coroutines ---- */

void co_switch(void **save, void *to);
__asm__(".text\n"
	".globl co_switch\n"
	".type co_switch, @function\n"
	"co_switch:\n"
	"	push %rbp\n"
	"	push %rbx\n"
	"	push %r12\n"
	"	push %r13\n"
	"	push %r14\n"
	"	push %r15\n"
	"	mov %rsp, (%rdi)\n"
	"	mov %rsi, %rsp\n"
	"	pop %r15\n"
	"	pop %r14\n"
	"	pop %r13\n"
	"	pop %r12\n"
	"	pop %rbx\n"
	"	pop %rbp\n"
	"	ret\n"
	".size co_switch, .-co_switch\n");

static void *scheduler_sp, *scheduler_fake;
static const void *scheduler_bottom;
static size_t scheduler_size;
static void (*co_entry)(struct host *h);

static noreturn_fn void co_main(void)
{
	struct host *h = sim.running;

#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_finish_switch_fiber(NULL, &scheduler_bottom, &scheduler_size);
#endif
	co_entry(h);
	co_exit(h);
}

static void run(struct host *h)
{
	sim.running = h;
	SWITCH_BEGINS(&scheduler_fake, h->co.stack, STACK_BYTES);
	co_switch(&scheduler_sp, h->co.sp);
	SWITCH_ENDS(scheduler_fake);
	sim.running = NULL;
}

static void leave(struct host *h)
{
	SWITCH_BEGINS(&h->co.fake_stack, scheduler_bottom, scheduler_size);
	co_switch(&h->co.sp, scheduler_sp);
	SWITCH_ENDS(h->co.fake_stack);
}

noreturn_fn void co_exit(struct host *h)
{
	h->co.alive = false;
	leave(h);
	abort(); /* nobody comes back */
}

void co_start(struct host *h, void (*entry)(struct host *h))
{
	u64 *top;

	if (!h->co.stack) {
		h->co.stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (h->co.stack == MAP_FAILED)
			abort();
	}
	STACK_IS_CLEAN(h->co.stack, STACK_BYTES);
	co_entry = entry;
	top = (u64 *)(void *)(h->co.stack + STACK_BYTES) - 2;
	top[0] = (u64)co_main;
	top[1] = 0;                        /* where it would return to; the stack is aligned as at a function's entry */
	top -= 6;
	memset(top, 0, 6 * sizeof(*top));
	h->co.sp = top;
	h->co.alive = true;
	h->wake_gen++;
	h->waiting = h->pending = false;
	h->waiting = true;
	h->interruptible = false;
	h->wake_at = sim.now;
	sched_add(sim.now, EV_WAKE, h->id, h->wake_gen, NULL);
}

/* ---- hosts wait ---- */

u64 host_clock(const struct host *h)
{
	return (u64)((s64)sim.now + (s64)sim.now * h->drift_ppm / 1000000 + h->clock_offset);
}

u64 host_sleep(struct host *h, u64 ns, bool interruptible)
{
	u64 before = host_clock(h);

	if (interruptible && h->pending) {
		h->pending = false;
		ns = 0;
	}
	h->wake_gen++;
	h->waiting = true;
	h->interruptible = interruptible;
	h->wake_at = sim.now + ns;
	sched_add(h->wake_at, EV_WAKE, h->id, h->wake_gen, NULL);
	leave(h);
	if (interruptible)
		h->pending = false;
	return host_clock(h) - before;
}

void host_kick(struct host *h)
{
	h->pending = true;
	if (h->state != HOST_UP || !h->waiting || !h->interruptible || h->wake_at <= sim.now)
		return;
	h->wake_gen++;
	h->wake_at = sim.now;
	sched_add(sim.now, EV_WAKE, h->id, h->wake_gen, NULL);
}

void host_wake(struct host *h, u64 gen)
{
	if (h->state != HOST_UP || gen != h->wake_gen || !h->waiting || !h->co.alive)
		return;
	if (h->frozen)
		return; /* the thaw asks again */
	h->waiting = false;
	run(h);
}
