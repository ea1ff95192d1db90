/*
 * ft.c - the mode ft: one host of a fault-tolerant pair.  See ft.h.
 *
 * Reads and changes: the link's NIC, the host port, the VM by its boundary.
 * Never: who is live; that is ft/pair.c's, and the arbiter's.
 *
 *   1  the link     2  what is told     3  the host port     4  the mode
 */
#include "kernel/console.h"
#include "kernel/counter.h"
#include "kernel/cpu.h"
#include "kernel/kconf.h"
#include "kernel/kfmt.h"
#include "kernel/panic.h"
#include "kernel/realtime.h"
#include "kernel/xxh.h"
#include "ft/pair.h"
#include "session/ft.h"

enum { ETHERNET_HEADER = 14, ETHERNET_MIN = 60, ETHERTYPE_RARP = 0x8035 };
#define ARBITER_WAIT_NS 1000000UL /* while it is asked: it wakes nobody */
#define TELL_NS 200000000UL
#define LOAD_NS 120000000000UL    /* a copy of a machine that is busy, on a host that is, too */

/* --- 1  the link ------------------------------------------------------------------- */

static void put_header(u8 *frame, const u8 to[6], const u8 from[6], u16 type)
{
	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	frame[12] = (u8)(type >> 8);
	frame[13] = (u8)type;
}

/*
 * Datagrams of a burst are handed over together: its last one asks for an answer.
 * What asks for none can wait for the next look at the link: wait, progress.
 */
static bool leaves_at_once(const u8 *datagram)
{
	return (datagram[6] & 0xf) != FT_DATA || datagram[6] & FT_ASK;
}

static u8 *link_room(void *ctx)
{
	struct session_pair *f = ctx;

	return nic_room(f->link) + ETHERNET_HEADER;
}

static void link_send(void *ctx, u64 to, u32 size)
{
	struct session_pair *f = ctx;
	u8 *frame = nic_room(f->link), address[6];
	bool at_once;

	for (unsigned i = 0; i < 6; i++)
		address[i] = (u8)(to >> 8 * i);
	put_header(frame, address, f->link_mac, FT_ETHERTYPE);
	at_once = leaves_at_once(frame + ETHERNET_HEADER);
	nic_made(f->link, ETHERNET_HEADER + size);
	if (at_once)
		nic_kick(f->link);
}

static const u8 *link_receive(void *ctx, u64 *from, u32 *size)
{
	struct session_pair *f = ctx;
	const u8 *frame;
	u32 n;

	for (nic_done(f->link); (frame = nic_peek(f->link, &n)); nic_done(f->link))
		if (n > ETHERNET_HEADER && frame[12] == FT_ETHERTYPE >> 8 && frame[13] == (FT_ETHERTYPE & 0xff)) {
			*size = n - ETHERNET_HEADER;
			*from = read_bytes_le(frame + 6, 6);
			return frame + ETHERNET_HEADER;
		}
	return NULL;
}

static bool link_waits(void *ctx)
{
	const struct session_pair *f = ctx;

	return nic_arrived(f->link) != nic_shown(f->link);
}

static u64 now_ns(void *ctx unused_arg)
{
	return host_realtime_ns();
}

static u64 new_id(void *ctx)
{
	struct session_pair *f = ctx;
	const u64 from[3] = { session_number(f->s->session, "random", 0), ++f->ids, rdtsc() };
	u64 id = XXH64(from, sizeof(from), 0);

	return id ? id : 1;
}

/* [RARP, Packet Format]: a request about its own address, which tells bridges where it is now. */
static void announce_nic(struct session *s, unsigned nic)
{
	static const u8 everybody[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	static const u8 request[8] = { 0, 1, 8, 0, 6, 4, 0, 3 };
	const u8 *mac = s->vm->config.mac[nic];
	u8 frame[ETHERNET_MIN] = { 0 };

	put_header(frame, everybody, mac, ETHERTYPE_RARP);
	memcpy(frame + ETHERNET_HEADER, request, sizeof(request));
	memcpy(frame + ETHERNET_HEADER + 8, mac, 6);
	memcpy(frame + ETHERNET_HEADER + 18, mac, 6);
	s->port.frame_write(s->port.ctx, nic, frame, sizeof(frame));
}

static void announce(void *ctx)
{
	struct session_pair *f = ctx;

	for (unsigned nic = 0; f->s->port.frame_write && nic < f->s->vm->config.nnics; nic++)
		announce_nic(f->s, nic);
}

/*
 * What comes later stays until this host is live.  The network sends it here, too, when the live one's cable
 * has gone dead: then nobody has to send it again.
 */
static void disregard(void *ctx)
{
	struct session_pair *f = ctx;
	struct host_port *port = &f->s->port;
	u32 size;

	for (unsigned nic = 0; port->frame_peek && nic < f->s->vm->config.nnics; nic++)
		while (port->frame_peek(port->ctx, nic, &size))
			port->frame_done(port->ctx, nic);
}

/* --- 2  what is told ------------------------------------------------------------------ */

static void say(void *ctx unused_arg, const char *line)
{
	control_printf("# ft: %s\n", line);
}

static const char *role_word(enum ft_role r)
{
	switch (r) {
	case FT_PRIMARY: return "primary";
	case FT_SECONDARY: return "secondary";
	case FT_ALONE:
	case FT_COPYING:
	case FT_GUARDED:
	case FT_ENLISTING: return "solo";
	case FT_SEEKING:
	case FT_LOADING: return "joining";
	case FT_STOPPED: return "lost";
	default: return "waiting";
	}
}

/* The line `ft` of the control channel [tools/session.h]. */
static void tell(struct session_pair *f, bool at_once)
{
	u64 now = ft_now(f->pair);
	struct ft_status st;

	if (!at_once && f->pair->role == f->told_role && f->pair->s.joins == f->told_joins && now - f->told_ns < TELL_NS)
		return;
	ft_status(f->pair, &st);
	f->told_role = st.role;
	f->told_joins = st.joins;
	f->told_ns = now;
	control_printf("ft role=%s state=\"%s%s\" term=%lu protected=%d point=%lu lag_insns=%lu held_bytes=%u sent=%lu "
		       "received=%lu heartbeat_age_ms=%lu takeovers=%lu pause_us=%lu joins=%lu join_pause_us=%lu resent=%lu "
		       "mismatch_epoch=%lu reason=\"%s\"\n", role_word(st.role), ft_role_name(st.role), st.tail ? ", tail" : "",
		       st.term, st.role == FT_PRIMARY || st.role == FT_SECONDARY, f->s->vm->now.count, st.lag_insns, st.held_bytes,
		       st.sent_bytes, st.received_bytes, st.heard_age_ns / 1000000, st.takeovers, st.takeover_pause_ns / 1000,
		       st.joins, st.join_pause_ns / 1000, st.resent_bytes, st.divergence.found ? st.divergence.epoch : 0, st.reason);
}

/* --- 3  the host port ------------------------------------------------------------------- */

/* The session's own, with the link served in between. */

static u64 wait(void *ctx, u64 max_ns)
{
	struct session *s = ctx;
	struct session_pair *f = s->pair;

	nic_kick(f->link);
	tell(f, false);
	return s->port.wait(s, f->asking ? MIN(max_ns, ARBITER_WAIT_NS) : max_ns);
}

static void progress(void *ctx, const struct execpoint *now)
{
	struct session *s = ctx;

	nic_kick(s->pair->link);
	tell(s->pair, false);
	s->port.progress(s, now);
}

/* Of a server nobody types to, time is real all the same; and who follows has no say in it. */
static bool never_ended(void *ctx unused_arg)
{
	return false;
}

/* --- 4  the mode ----------------------------------------------------------------------------- */

static u64 ms(struct session *s, const char *key, u64 otherwise)
{
	return session_number(s->session, key, otherwise) * 1000000;
}

static struct ft_config pair_config(struct session *s)
{
	const struct vm_config *m = &s->vm->config;
	u64 pair = session_number(s->session, "ft_pair_id", 1);
	char policy[16] = "";
	struct ft_config c = { .timers = ft_default_timers, .pair = pair, .build = session_build_id(), .probe = s->float_probe,
			       .poll_insns = m->poll_insns, .epoch_insns = m->epoch_insns, .max_lag_insns = 2000000000,
			       .final_pages = 256, .max_rounds = 20 };
	u64 same[2 + VM_MAX_DISKS] = { 0 };

	conf_get(s->session.data, s->session.size, "ft_policy", policy, sizeof(policy));
	c.on_divergence = strcmp(policy, "stop") ? FT_REPROTECT : FT_STOP_BOTH;
	c.timers.beat_ns = ms(s, "ft_heartbeat_ms", 50);
	c.timers.detect_ns = ms(s, "ft_detect_ms", 150);
	c.timers.lease_ns = c.timers.detect_ns / 4 * 3;
	c.timers.load_ns = LOAD_NS;
	c.datagram_bytes = (u32)session_number(s->session, "ft_link_bytes", FT_DATAGRAM_MIN);
	c.datagram_bytes = MIN(MAX(c.datagram_bytes, FT_DATAGRAM_MIN), FT_DATAGRAM_MAX);
	for (unsigned i = 0; i < m->nnics; i++)
		c.longest = m->offload[i] ? PACKET_MAX : c.longest;
	same[0] = pair; /* names the machine, too [tools/cmd_ft.c] */
	same[1] = c.timers.detect_ns;
	for (unsigned i = 0; i < s->pair->nshared; i++)
		same[2 + i] = s->pair->shared[i].nsectors; /* the machine's description leaves that to the unit */
	c.head = XXH64(same, sizeof(same), 0);
	return c;
}

static void find_link(struct session_pair *f)
{
	if (!session_mac(f->s->session, "ft_link_mac", f->link_mac))
		session_fail("session.conf has no ft_link_mac; start the hypervisor with the reprise command");
	f->link = nic_find(f->link_mac, NIC_JUMBO_FRAME);
	if (!f->link)
		session_fail("the link's network device is missing; start the hypervisor with the reprise command");
}

static void start_pair(struct session_pair *f)
{
	struct ft_memory *m = &f->buffers;

	*m = (struct ft_memory){ .log_bytes = PAIR_LOG_BYTES, .ring_bytes = PAIR_RING_BYTES, .held_bytes = PAIR_HELD_BYTES,
			       .state_bytes = CHECKPOINT_STATE_MAX };

	m->log = session_memory(m->log_bytes);
	m->ring = session_memory(m->ring_bytes + FT_RECORD_MAX);
	m->held = session_memory(m->held_bytes);
	m->state = session_memory(m->state_bytes);
	find_link(f);
	nics_send_at_once();
	f->config = pair_config(f->s);
	f->port = f->s->port;
	f->port.wait = wait;
	f->port.progress = progress;
	f->port.ended = never_ended;
	session_copy_init(f);
	f->env = (struct ft_env){ .now_ns = now_ns, .room = link_room, .send = link_send, .receive = link_receive, .waits = link_waits, .new_id = new_id,
				  .disregard = disregard, .announce = announce, .say = say, .host = &f->port, .arbiter = &f->arbiter,
				  .machine = &f->copy, .disks = f->nshared ? &f->disks : NULL, .ctx = f };
	session_store_init(f);
	ft_init(f->pair, &f->config, &f->env, m);
}

static void prepare_recording(struct session_pair *f, bool first)
{
	if (!session_number(f->s->session, "ft_recording", 0))
		return;
	session_start_recording(f->s, "recording", &f->s->port);
	if (!first)
		f->arrival = session_memory(sizeof(*f->arrival));
}

/* From here on what the machine does is recorded; a copy's recording begins with the machine as it is. */
static void record(struct session_pair *f)
{
	struct ft_status st;

	ft_status(f->pair, &st);
	if (f->arrival)
		stored_arrived(f->arrival, st.epochs);
	f->arrival = NULL;
	session_record_shared(f);
	ft_record(f->pair, f->s->writer);
}

/*
 * Returns how it ended for the world.  *own is how the machine itself did, for the
 * recording's END: stopped from outside is stopped by an operator, whatever his reason.
 */
static enum vm_outcome run_pair(struct session_pair *f, bool first, enum vm_outcome *own)
{
	struct session *s = f->s;
	enum vm_outcome world;
	struct ft_status st;
	struct execpoint now;
	bool good;

	good = first ? ft_found(f->pair) : ft_join(f->pair);
	tell(f, true);
	*own = VM_QUIT;
	if (!good)
		return s->quit ? VM_QUIT : VM_HOST_FAILED;
	record(f);
	f->host_insns = rdtsc();
	f->left_read = false;
	*own = vm_run(s->vm);
	f->host_insns = rdtsc() - f->host_insns;
	if (f->left_read) { /* its disk says that the host failed; it left */
		*own = VM_QUIT;
		s->vm->stop_reason[0] = 0;
	}
	now = s->vm->now;
	world = ft_finish(f->pair, *own, s->vm->guest_exit, &now, vm_digest(s->vm));
	ft_status(f->pair, &st);
	/* A machine that goes on elsewhere did not end here, whatever it could not do here. */
	*own = *own == VM_DIVERGED || st.may_join ? VM_QUIT : *own;
	tell(f, true);
	return world;
}

/* One life in the pair after the other, as long as the machine lives on another host. */
static enum vm_outcome live_on(struct session_pair *f, bool first, struct ft_status *st)
{
	struct session *s = f->s;
	enum vm_outcome outcome, own;
	bool again;

	prepare_recording(f, first);
	for (;;) {
		outcome = run_pair(f, first, &own);
		ft_status(f->pair, st);
		again = st->may_join && !s->quit;
		if (!f->arrival || !again) {
			if (f->arrival)
				s->writer = NULL; /* no machine came: there is nothing to end */
			session_end_recording(s, own);
			s->writer = NULL; /* it has an end; what comes in another life is not recorded */
		}
		if (!again || s->end.outcome == VM_HOST_FAILED)
			return outcome;
		session_flush_output(s);
		ft_init(f->pair, &f->config, &f->env, &f->buffers);
		first = false;
	}
}

noreturn_fn void session_ft(struct session *s)
{
	struct session_pair *f = session_memory(sizeof(*f));
	enum vm_outcome outcome;
	struct ft_status st;
	char role[16] = "";

	f->s = s;
	s->pair = f;
	f->pair = session_memory(sizeof(*f->pair));
	conf_get(s->session.data, s->session.size, "ft_role", role, sizeof(role));
	session_make_vm(s, ft_boundary(f->pair));
	if (!host_realtime_is_real())
		session_fail("this QEMU shows no real time; start the hypervisor with the reprise command");
	start_pair(f);
	outcome = live_on(f, !strcmp(role, "primary"), &st);
	s->end.outcome = s->end.outcome == VM_HOST_FAILED ? VM_HOST_FAILED : outcome;
	if (outcome == VM_HOST_FAILED && st.reason[0])
		ksnprintf(s->end.reason, sizeof(s->end.reason), "%s", st.reason);
	session_flush_output(s);
	session_report(s, f->host_insns);
	session_say_end(&s->end);
	console_flush();
	machine_exit(0);
}
