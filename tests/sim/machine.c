/*
 * machine.c - the machine the hosts run: small, and a function of its inputs.
 *
 * It serves requests: each takes work, changes a page, is answered by a frame and
 * now and then by console bytes.  Its state is a hash chain over everything that
 * happened to it and when; so another history, or the same one a nanosecond
 * later, shows in its digest, in its outputs' stamps and in what it does next.
 * Its loop is vmm/run.c's, in small: timers, inputs, the epoch, idling, running.
 */
#include "kernel/xxh.h"
#include "tests/sim/sim.h"

#define PATIENCE_NS (400 * MS) /* with the shared disk */

static u64 mix(u64 h, u64 v)
{
	h ^= v + 0x9e3779b97f4a7c15UL + (h << 6) + (h >> 2);
	h *= 0xbf58476d1ce4e5b9UL;
	return h ^ h >> 29;
}

u64 chain_next(u64 chain, u32 seq, u64 payload)
{
	return mix(mix(chain, seq), payload);
}

static u64 vtime(const struct machine *m)
{
	return m->s.count * MACHINE_INSN_NS + m->s.idle_ns;
}

struct execpoint machine_now(const struct machine *m)
{
	return (struct execpoint){ m->s.count, vtime(m), m->s.sequence };
}

static void happens(struct machine *m, u64 what)
{
	m->s.hash = mix(mix(m->s.hash, what), vtime(m));
}

/* Memory that depends on what happened. */
static void scribble(struct machine *m)
{
	u64 page = m->s.hash % MACHINE_PAGES, word = 1 + (m->s.hash >> 8) % 511; /* the first is never written: a bit flipped there stays */

	memcpy(m->page[page] + 8 * word, &m->s.hash, 8);
	m->stale |= 1U << page;
	m->dirty |= 1U << page;
}

void machine_flip(struct machine *m)
{
	m->page[0][0] ^= 1;
	m->stale |= 1;
}

u64 machine_digest(struct machine *m)
{
	u64 h = XXH64(&m->s, sizeof(m->s), 0);

	for (unsigned i = 0; i < MACHINE_PAGES; i++) {
		if (m->stale >> i & 1)
			m->page_sum[i] = XXH64(m->page[i], PAGE_SIZE, i);
		h = mix(h, m->page_sum[i]);
	}
	m->stale = 0;
	return h;
}

void machine_power_on(struct machine *m, u64 seed, u64 limit)
{
	memset(m, 0, sizeof(*m));
	m->s.hash = mix(seed, 1);
	m->s.next_poll = MACHINE_POLL;
	m->s.next_epoch = MACHINE_EPOCH;
	m->s.timer_ns = 3 * MS;
	m->s.limit = limit;
	m->stale = ~0U;
	scribble(m);
	m->insn_ns = MACHINE_INSN_NS;
}

/* --- outputs ---------------------------------------------------------------------- */

static struct stamp stamp(struct machine *m)
{
	return (struct stamp){ (u32)m->s.outputs++, (u32)m->s.hash };
}

static void emit_out(struct machine *m, const struct output *out)
{
	const struct execpoint now = machine_now(m);

	if (m->host)
		check_made(m->host, out->data, out->size);
	m->boundary->ops->output(m->boundary, &now, out);
}

static void emit(struct machine *m, enum output_kind kind, const void *data, u32 size)
{
	emit_out(m, &(struct output){ .kind = kind, .data = data, .size = size });
}

static void say_something(struct machine *m)
{
	const struct stamp s = stamp(m);

	emit(m, OUTPUT_CONSOLE, &s, sizeof(s));
}

/* --- 1  timers --------------------------------------------------------------------- */

/* Seldom, as the kernel's tick; or soon, as a device is ready. */
static void fire(struct machine *m)
{
	m->s.timer_ns = vtime(m) + 4 * MS + m->s.hash % (23 * MS);
	if (m->s.hash >> 8 & 1)
		m->s.timer_ns = vtime(m) + 10 * US + (m->s.hash >> 16) % (290 * US);
	m->s.ticks++;
	happens(m, 1);
	if (m->s.hash % 3 == 0)
		say_something(m);
}

/* --- 2  inputs ---------------------------------------------------------------------- */

static void take(struct machine *m, const struct input *in)
{
	m->s.sequence++;
	happens(m, 2);
	for (u32 i = 0; i < in->size; i++)
		m->s.hash = (m->s.hash ^ in->data[i]) * 0x100000001b3UL;
	if (in->kind != INPUT_FRAME || in->size != sizeof(struct request) || m->s.nqueue == MACHINE_QUEUE)
		return;
	memcpy(&m->s.queue[m->s.nqueue++], in->data, sizeof(struct request));
	if (m->s.hash % 16 == 0)
		say_something(m); /* within the delivery of an input, which may not be the last here */
}

static struct input_room room_of(const struct machine *m)
{
	return (struct input_room){ .console = 64, .nics = m->s.nqueue < MACHINE_QUEUE };
}

static void take_inputs(struct machine *m)
{
	struct input in;

	for (;;) {
		const struct execpoint now = machine_now(m);
		const struct input_room room = room_of(m);

		if (!m->boundary->ops->next_input(m->boundary, &now, &room, &in))
			return;
		take(m, &in);
	}
}

static void poll(struct machine *m)
{
	struct execpoint now;

	m->s.next_poll = (m->s.count / MACHINE_POLL + 1) * MACHINE_POLL;
	take_inputs(m);
	now = machine_now(m);
	m->outcome = m->boundary->ops->poll(m->boundary, &now);
}

/* --- 3  the epoch ------------------------------------------------------------------- */

static void end_epoch(struct machine *m)
{
	const struct execpoint now = machine_now(m);

	m->s.next_epoch = (m->s.count / MACHINE_EPOCH + 1) * MACHINE_EPOCH;
	m->outcome = m->boundary->ops->epoch(m->boundary, &now, machine_digest(m));
}

/* --- 4  idling ---------------------------------------------------------------------- */

static void idle(struct machine *m)
{
	const struct execpoint now = machine_now(m);
	const struct input_room room = room_of(m);
	u64 to = m->boundary->ops->idle(m->boundary, &now, &room, m->s.timer_ns);

	if (to == VTIMER_NEVER) {
		m->outcome = m->boundary->ops->poll(m->boundary, &now);
		if (m->outcome == VM_RUNNING)
			m->outcome = VM_STUCK;
		return;
	}
	if (to < now.vtime_ns || to > m->s.timer_ns)
		check_fail("idle: from %lu to %lu, the timer is at %lu", now.vtime_ns, to, m->s.timer_ns);
	m->s.idle_ns += to - now.vtime_ns;
	if (vtime(m) >= m->s.timer_ns)
		fire(m);
	take_inputs(m);
}

/* --- 5  running --------------------------------------------------------------------- */

/* Questions: each counts in the sequence, so that two at one point are told apart. */
static void use_disk(struct machine *m)
{
	for (u64 n = 1 + (m->s.hash >> 20) % 3; n; n--) {
		const struct execpoint now = machine_now(m);
		bool fails = m->host && m->host->storage_fails && rng_chance(&sim.rng, m->host->storage_fails);
		err_t seen = m->boundary->ops->answer(m->boundary, &now, INPUT_DISK, 0, fails ? ERR_IO : OK);

		m->s.sequence++;
		happens(m, seen ? 5 : 4);
	}
}

/* A disk that is away is waited for, as session/ft_disk.c does.  False: this host leaves. */
static bool await_disk(struct machine *m)
{
	const u64 since_ns = sim.now;

	host_sleep(m->host, rng_below(&sim.rng, 100 * US), false);
	while (sim.sc.disk_down) {
		if (sim.now - since_ns > PATIENCE_NS)
			ft_give_up(&m->host->pair, "the disk has not answered");
		if (!ft_meanwhile(&m->host->pair, 1 * MS))
			return false;
	}
	return true;
}

/* What it wrote it has itself; the rest is what the disk holds: nobody else's, or it is another machine. */
static bool read_sector(struct machine *m, unsigned sector, u64 *value)
{
	*value = m->s.over[sector];
	if (m->s.written >> sector & 1)
		return true;
	if (!await_disk(m))
		return false;
	*value = shared_value(sector);
	return true;
}

static void write_sector(struct machine *m, unsigned sector)
{
	const struct stamp s = stamp(m);
	u8 data[512];

	m->s.written |= BIT(sector);
	m->s.over[sector] = m->s.hash;
	emit_out(m, &(struct output){ .kind = OUTPUT_DISK, .data = data, .size = shared_content(data, s, m->s.hash), .sector = sector });
}

static bool use_shared_disk(struct machine *m)
{
	unsigned from = (unsigned)(m->s.hash >> 24) % DISK_SECTORS, n = (unsigned)(m->s.hash >> 40) % 4;
	u64 value;

	for (unsigned i = 0; i < 2; i++) {
		if (!read_sector(m, (from + 7 * i) % DISK_SECTORS, &value))
			return false;
		happens(m, value);
	}
	for (unsigned i = from; i < from + n && i < DISK_SECTORS; i++)
		write_sector(m, i);
	return true;
}

static void reply(struct machine *m, const struct request *q)
{
	struct reply r = { .client = q->client, .seq = q->seq, .chain = m->s.client[q->client].chain };
	u32 size = m->s.hash >> 12 & 3 ? offsetof(struct reply, bulk) : sizeof(r);

	r.stamp = stamp(m);
	memset(r.bulk, (int)(m->s.hash & 0xff), sizeof(r.bulk));
	emit(m, OUTPUT_FRAME, &r, size);
}

/* More outputs at once: a few now and then, seldom more than a small host can hold. */
static u64 burst(const struct machine *m)
{
	if (m->s.hash % 29 == 0)
		return 16 + (m->s.hash >> 32) % 48;
	return m->s.hash % 7 == 0 ? (m->s.hash >> 32) % 12 : 0;
}

static void serve(struct machine *m)
{
	const struct request q = m->s.queue[0];

	memmove(m->s.queue, m->s.queue + 1, sizeof(m->s.queue) - sizeof(m->s.queue[0]));
	memset(&m->s.queue[--m->s.nqueue], 0, sizeof(m->s.queue[0]));
	if (q.client >= NCLIENTS || q.seq > m->s.client[q.client].seq + 1 || q.seq < m->s.client[q.client].seq)
		return;
	if (q.seq > m->s.client[q.client].seq) {
		m->s.client[q.client].chain = chain_next(m->s.client[q.client].chain, q.seq, q.payload);
		m->s.client[q.client].seq = q.seq;
		m->s.served++;
		if (m->s.hash % 3 == 0)
			use_disk(m);
		if (sim.sc.shares && m->s.hash % 2 && !use_shared_disk(m)) {
			m->outcome = VM_QUIT;
			return;
		}
	}
	happens(m, 3);
	scribble(m);
	reply(m, &q);
	if (m->s.hash % 5 == 0)
		say_something(m);
	for (u64 n = burst(m); n; n--)
		reply(m, &q); /* they are all the same to the client */
	if (m->s.hash % 3 == 0)
		m->s.timer_ns = vtime(m) + (m->s.hash >> 16) % (150 * US);
	if (m->s.served >= m->s.limit)
		m->outcome = VM_POWERED_OFF;
}

/* Now and then long, now and then done while a device is awaited. */
static u64 work(const struct machine *m)
{
	if (m->s.hash % 5 == 0)
		return 10 + (m->s.hash >> 16) % 150;
	return m->s.hash % 9 == 0 ? 1000 + (m->s.hash >> 16) % 60000 : 100 + (m->s.hash >> 16) % 4000;
}

static void run(struct machine *m)
{
	u64 now = vtime(m), timer = (m->s.timer_ns - now + MACHINE_INSN_NS - 1) / MACHINE_INSN_NS;
	u64 n = MIN(MIN(m->s.next_poll, m->s.next_epoch) - m->s.count, MIN(m->s.work_left, timer));

	if (m->host)
		host_sleep(m->host, n * m->insn_ns, false);
	m->s.count += n;
	m->s.work_left -= n;
	if (!m->s.work_left)
		serve(m);
}

static void turn(struct machine *m)
{
	if (vtime(m) >= m->s.timer_ns)
		fire(m);
	if (m->s.count >= m->s.next_poll)
		poll(m);
	if (m->outcome == VM_RUNNING && m->s.count >= m->s.next_epoch)
		end_epoch(m);
	if (m->outcome != VM_RUNNING)
		return;
	if (!m->s.work_left && m->s.nqueue)
		m->s.work_left = work(m);
	if (m->s.work_left)
		run(m);
	else
		idle(m);
}

enum vm_outcome machine_run(struct machine *m)
{
	m->outcome = VM_RUNNING;
	while (m->outcome == VM_RUNNING && (m->host || vtime(m) < m->replay_until))
		turn(m);
	return m->outcome;
}

/* --- its copy ----------------------------------------------------------------------- */

static const u8 zeros[PAGE_SIZE];

static void copy_begin(void *ctx)
{
	struct machine *m = ctx;

	m->copying = true;
	m->dirty = 0;
	m->to_give = 0;
	for (unsigned i = 0; i < MACHINE_PAGES; i++)
		if (memcmp(m->page[i], zeros, PAGE_SIZE))
			m->to_give |= 1U << i;
}

static bool copy_next(void *ctx, struct ft_page *page)
{
	struct machine *m = ctx;
	unsigned i = (unsigned)__builtin_ctz(m->to_give | 1U << MACHINE_PAGES);

	if (i == MACHINE_PAGES)
		return false;
	m->to_give &= m->to_give - 1;
	*page = (struct ft_page){ .space = 0, .number = i, .data = m->page[i] };
	return true;
}

static u64 copy_round(void *ctx)
{
	struct machine *m = ctx;

	m->to_give |= m->dirty;
	m->dirty = 0;
	return (u64)__builtin_popcount(m->to_give);
}

static void copy_end(void *ctx)
{
	struct machine *m = ctx;

	m->copying = false;
}

static err_t save(void *ctx, const u8 **state, u32 *size, u64 *digest)
{
	struct machine *m = ctx;

	host_walk(m);
	*state = (const u8 *)&m->s;
	*size = sizeof(m->s);
	*digest = machine_digest(m);
	return OK;
}

static void clear(void *ctx)
{
	struct machine *m = ctx;

	host_walk(m);
	memset(m->page, 0, sizeof(m->page));
	m->stale = ~0U;
	m->insn_ns = m->insn_ns ? m->insn_ns : MACHINE_INSN_NS;
}

static err_t put_page(void *ctx, const struct ft_page *page)
{
	struct machine *m = ctx;

	if (page->space || page->number >= MACHINE_PAGES)
		return ERR_INVALID;
	memcpy(m->page[page->number], page->data ? page->data : zeros, PAGE_SIZE);
	m->stale |= 1U << page->number;
	return OK;
}

static err_t load(void *ctx, const u8 *state, u32 size, u64 *digest)
{
	struct machine *m = ctx;

	if (size != sizeof(m->s))
		return ERR_INVALID;
	host_walk(m);
	memcpy(&m->s, state, size);
	*digest = machine_digest(m);
	return OK;
}

const struct ft_machine machine_hooks = {
	copy_begin, copy_next, copy_round, copy_end, save, clear, put_page, load, NULL,
};
