/*
 * host.c - a host: ft/ with a clock, a network card, a disk and a machine around it.
 *
 * Its code is a coroutine: it runs until it waits, sleeps, or is no more.  A host
 * that has ended is started again by its operator, as one that joins.
 */
#include "tests/sim/sim.h"

static struct host *host_of(void *ctx)
{
	return ctx;
}

bool host_live(const struct host *h)
{
	return h->state == HOST_UP && ft_is_live(h->pair.role);
}

/* ---- what ft/ asks of its host ---- */

static u64 env_now(void *ctx)
{
	return host_clock(host_of(ctx));
}

static u8 *env_room(void *ctx)
{
	return host_of(ctx)->out;
}

static void env_send(void *ctx, u64 to, u32 size)
{
	net_send(host_of(ctx), to, host_of(ctx)->out, size);
}

static bool env_waits(void *ctx)
{
	return host_of(ctx)->nic_n;
}

static const u8 *env_receive(void *ctx, u64 *from, u32 *size)
{
	struct host *h = host_of(ctx);
	struct packet *p;

	check_stranger(h);
	if (!h->nic_n)
		return NULL;
	p = h->nic[h->nic_first];
	h->nic_first = (h->nic_first + 1) % NIC_DEPTH;
	h->nic_n--;
	*size = p->size;
	memcpy(h->in, p->data, p->size);
	*from = p->from;
	if (sim.trace)
		trace_message("takes", h->id, p->from, p->data, p->size);
	check_taken(h, p);
	packet_free(p);
	return h->in;
}

static u64 env_id(void *ctx unused_arg)
{
	return rng_next(&sim.rng) | 1;
}

static void drop_guest_frames(struct host *h)
{
	for (; h->guest_n; h->guest_n--) {
		packet_free(h->guest_nic[h->guest_first]);
		h->guest_first = (h->guest_first + 1) % GUEST_NIC_DEPTH;
	}
}

static void env_disregard(void *ctx)
{
	drop_guest_frames(host_of(ctx));
}

static void env_announce(void *ctx)
{
	struct host *h = host_of(ctx);

	sim.lan_port = h->id;
	sim.takeovers++;
	check_live(h);
}

static void env_say(void *ctx, const char *line)
{
	TRACE("host", host_of(ctx)->id, "%s: %s", ft_role_name(host_of(ctx)->pair.role), line);
}

/* ---- the guest's side of the host ---- */

static size_t port_read(void *ctx unused_arg, void *buf unused_arg, size_t n unused_arg)
{
	return 0;
}

static void port_console(void *ctx, const void *data, size_t n)
{
	for (size_t at = 0; at < n; at += sizeof(struct stamp))
		check_release(host_of(ctx), (const u8 *)data + at, (u32)MIN(sizeof(struct stamp), n - at));
}

/* The host's own host does something else now and then. */
static void hiccup(struct host *h)
{
	if (h->hiccups && rng_chance(&sim.rng, h->hiccups))
		host_sleep(h, rng_between(&sim.rng, 1 * US, 300 * US), false);
}

static const u8 *port_peek(void *ctx, unsigned nic, u32 *size)
{
	struct host *h = host_of(ctx);

	hiccup(h);
	if (nic || !h->guest_n)
		return NULL;
	*size = h->guest_nic[h->guest_first]->size;
	return h->guest_nic[h->guest_first]->data;
}

static void port_done(void *ctx, unsigned nic unused_arg)
{
	struct host *h = host_of(ctx);

	packet_free(h->guest_nic[h->guest_first]);
	h->guest_first = (h->guest_first + 1) % GUEST_NIC_DEPTH;
	h->guest_n--;
}

static void port_frame(void *ctx, unsigned nic unused_arg, const void *data, u32 size)
{
	check_release(host_of(ctx), data, size);
	lan_from_host(host_of(ctx), data, size);
}

static bool port_ended(void *ctx unused_arg)
{
	return false;
}

static bool port_quit(void *ctx)
{
	return host_of(ctx)->leaves;
}

static u64 port_wait(void *ctx, u64 max_ns)
{
	struct host *h = host_of(ctx);

	check_host(h);
	return host_sleep(h, max_ns, true);
}

static void port_progress(void *ctx, const struct execpoint *now unused_arg)
{
	check_host(host_of(ctx));
}

/* ---- its memory ---- */

void host_walk(struct machine *m)
{
	struct host *h = container_of(m, struct host, machine);

	if (sim.sc.load_ns)
		host_sleep(h, rng_below(&sim.rng, sim.sc.load_ns), false);
}

/* ---- its disk, for the recording ---- */

static err_t disk_read(void *ctx, u64 offset, void *buf, size_t n)
{
	memcpy(buf, host_of(ctx)->recording + offset, n);
	return OK;
}

static err_t disk_write(void *ctx, u64 offset, const void *buf, size_t n)
{
	struct host *h = host_of(ctx);

	if (sim.running == h && host_clock(h) < h->disk_until_ns) /* the one before it is still being written */
		host_sleep(h, h->disk_until_ns - host_clock(h), false);
	h->disk_until_ns = host_clock(h) + (h->life.began ? rng_below(&sim.rng, h->disk_ns) : 0);
	memcpy(h->recording + offset, buf, n);
	h->life.recording_bytes = MAX(h->life.recording_bytes, (u32)(offset + n));
	return OK;
}

static err_t disk_flush(void *ctx unused_arg)
{
	return OK;
}

static bool disk_busy(void *ctx)
{
	return host_clock(ctx) < ((struct host *)ctx)->disk_until_ns;
}

static void begin_recording(struct host *h)
{
	static const char head[] = "machine=1\nncpus=1\n", text[] = "counter=test\n";
	const struct rec_medium m = { disk_read, disk_write, disk_flush, h, RECORDING_BYTES, disk_busy };

	h->life.recording_bytes = 0;
	if (rec_create(h->writer, &m, h->life.number, head, sizeof(head) - 1) ||
	    rec_put_chunk(h->writer, REC_HOST, text, sizeof(text) - 1))
		check_fail("the recording does not begin");
	ft_record(&h->pair, h->writer);
}

/* ---- its life ---- */

static void end_recording(struct host *h, enum vm_outcome o)
{
	const struct execpoint now = machine_now(&h->machine);
	/* Stopped from outside is stopped by an operator, whatever his reason. */
	const struct rec_end end = { .outcome = o == VM_DIVERGED ? VM_QUIT : o, .insns = now.count, .vtime_ns = now.vtime_ns,
				     .digest = machine_digest(&h->machine) };

	if (rec_put_end(h->writer, &end, 1))
		check_fail("the recording does not end: %d", h->writer->error);
}

static void run_machine(struct host *h)
{
	struct machine *m = &h->machine;
	enum vm_outcome o, own;
	struct execpoint now;

	m->boundary = ft_boundary(&h->pair);
	m->host = h;
	h->life.start = *m;
	if (h->life.records)
		begin_recording(h);
	h->life.began = true;
	h->life.written = h->life.records;
	own = machine_run(m);
	now = machine_now(m);
	o = ft_finish(&h->pair, own, 0, &now, machine_digest(m));
	h->life.ended = true;
	h->life.outcome = o;
	if (o == VM_POWERED_OFF)
		check_all_said(h);
	if (h->life.records && own != VM_HOST_FAILED) /* of a run that broke off there is no end */
		end_recording(h, own);
	TRACE("host", h->id, "its machine has ended: %d", o);
}

static void host_main(struct host *h)
{
	bool good = h->founds ? ft_found(&h->pair) : ft_join(&h->pair);

	if (good && h->founds)
		check_live(h);
	if (good)
		run_machine(h);
	check_host(h);
	check_life(h);
	check_gone(h, false);
	h->state = HOST_ENDED;
	sched_add(sim.now + sim.sc.restart_ns, EV_RESTART, h->id, h->lives, NULL);
}

static struct ft_config config(const struct host *h)
{
	struct ft_config c = { .timers = ft_default_timers, .pair = sim.seed + 1, .build = 1, .probe = 2, .head = 3,
			       .poll_insns = MACHINE_POLL, .epoch_insns = MACHINE_EPOCH, .max_lag_insns = 60000,
			       .datagram_bytes = sim.sc.datagram_bytes[h->id], .final_pages = 2, .max_rounds = 6, .on_divergence = sim.sc.policy };

	/* Outputs wait for a host that dies while it loads: what comes of that is over in a second, too. */
	c.timers.join_ns = 1000 * MS;
	return c;
}

static void drop_packets(struct host *h)
{
	for (; h->nic_n; h->nic_n--) {
		packet_free(h->nic[h->nic_first]);
		h->nic_first = (h->nic_first + 1) % NIC_DEPTH;
	}
	drop_guest_frames(h);
}

void host_start(struct host *h, bool founds)
{
	struct ft_config c = config(h);

	drop_packets(h);
	h->port = (struct host_port){ .console_read = port_read, .console_write = port_console, .frame_peek = port_peek,
				      .frame_done = port_done, .frame_write = port_frame, .ended = port_ended,
				      .quit = port_quit, .wait = port_wait, .progress = port_progress, .ctx = h,
				      .report_errors = true };
	h->arbiter = (struct ft_arbiter){ store_start, store_poll, h };
	h->hooks = machine_hooks;
	h->hooks.ctx = &h->machine;
	h->disks = (struct ft_disks){ shared_take, shared_write, shared_poll, shared_give_back, shared_complaint, h };
	h->env = (struct ft_env){ env_now, env_room, env_send, env_receive, env_waits, env_id, env_disregard, env_announce, env_say, &h->port, &h->arbiter,
				  &h->hooks, sim.sc.shares ? &h->disks : NULL, h };
	h->mem = (struct ft_memory){ h->buf_log, LOG_BYTES, h->buf_ring, RING_BYTES, h->buf_held, sim.sc.held_bytes, h->buf_state,
				     sizeof(h->buf_state) };
	h->state = HOST_UP;
	h->founds = founds;
	h->frozen = false;
	h->sends = h->sends_then = 0;
	h->sends_since = sim.now;
	h->disk_until_ns = 0;
	h->leaves = false;
	h->spoilt = false;
	h->life = (struct life){ .number = ++h->lives, .records = sim.sc.records };
	h->pending = false;
	h->before_stranger = 0;
	ft_init(&h->pair, &c, &h->env, &h->mem);
	machine_power_on(&h->machine, sim.seed, sim.sc.power_off_after);
	/* Some are so slow that they have not executed all they know when they must take over. */
	h->machine.insn_ns = rng_chance(&sim.rng, 150) ? rng_between(&sim.rng, 3000, 6000) : rng_between(&sim.rng, 400, 1600);
	TRACE("host", h->id, "powers on");
	co_start(h, host_main);
}

/* May be called by the host's own code: then it does not return. */
void host_crash(struct host *h, const char *why)
{
	bool itself = sim.running == h;

	if (h->state != HOST_UP)
		return;
	TRACE("host", h->id, "CRASHES %s", why);
	h->crash_at_send = 0;
	check_gone(h, true);
	h->state = HOST_DOWN;
	h->wake_gen++;
	check_life(h);
	sched_add(sim.now + sim.sc.restart_ns, EV_RESTART, h->id, h->lives, NULL);
	if (itself)
		co_exit(h);
}

void host_freeze(struct host *h)
{
	if (h->state != HOST_UP || h->frozen)
		return;
	TRACE("host", h->id, "FREEZES");
	h->frozen = true;
}

void host_thaw(struct host *h)
{
	if (!h->frozen)
		return;
	h->frozen = false;
	if (h->state != HOST_UP)
		return;
	TRACE("host", h->id, "THAWS");
	h->wake_gen++;
	sched_add(MAX(sim.now, h->wake_at), EV_WAKE, h->id, h->wake_gen, NULL);
}
