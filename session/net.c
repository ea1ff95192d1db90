/*
 * net.c - the wires of the guest's NICs: the host's network devices with the same
 * addresses, or the ports of a switch [group.c].  See session.h.
 *
 * Reads: nicN_mac, nicN_offload of machine.conf, nic_echo of session.conf.  A replay has the
 * devices, so that its host side begins as the recording's did, but no wires: what
 * came over them is in the recording.
 */
#include "gdbstub/packet.h"
#include "kernel/console.h"
#include "kernel/kconf.h"
#include "kernel/kfmt.h"
#include "kernel/time.h"
#include "kernel/xxh.h"
#include "session/group.h"

enum { FRAME_MIN = 14 }; /* two addresses and a type: no less is a frame */

/* Two hexadecimal digits, colon, ...; false: nothing of the kind. */
static bool parse_mac(const char *text, u8 mac[6])
{
	for (unsigned i = 0; i < 6; i++)
		if ((i && !take(&text, ":")) || !take_bytes(&text, &mac[i], 1))
			return false;
	return !*text;
}

/* --- a bus brings back what is sent on it ------------------------------------------- */

static u64 fingerprint(const void *frame, u32 size)
{
	return XXH64(frame, size, 0);
}

/*
 * Echoes come in the order of sending, some may be lost, and what is from somebody
 * else is another frame: its sender's address is in it.
 */
static bool is_echo(struct session_wire *w, const u8 *frame, u32 size)
{
	u64 print = w->awaited == w->sent ? 0 : fingerprint(frame, size);

	for (u32 i = w->awaited; i != w->sent; i++) {
		if (w->echo[i % ARRAY_SIZE(w->echo)] == print) {
			w->awaited = i + 1;
			return true;
		}
	}
	return false;
}

static void await_echo(struct session_wire *w, const void *frame, u32 size)
{
	w->echo[w->sent++ % ARRAY_SIZE(w->echo)] = fingerprint(frame, size);
	if (w->sent - w->awaited > ARRAY_SIZE(w->echo))
		w->awaited = w->sent - (u32)ARRAY_SIZE(w->echo);
}

/* --- wires --------------------------------------------------------------------------- */

/* A frame that is an echo, or none, goes; what nic_peek shows then is next. */
static const u8 *next(struct session_wire *w, u32 *size)
{
	const u8 *frame;

	while (w->nic && (frame = nic_peek(w->nic, size))) {
		if (*size >= FRAME_MIN && (w->shown || !w->echoes || !is_echo(w, frame, *size))) {
			w->shown = true;
			return frame;
		}
		wire_done(w);
	}
	return NULL;
}

static bool is_packet(const struct session_wire *w)
{
	return !packet_is_plain(nic_shown_packet(w->nic));
}

const u8 *wire_peek_packet(struct session_wire *w, u32 *size)
{
	if (w->piece_size || !next(w, size) || !is_packet(w))
		return NULL;
	*size += PACKET_HEADER;
	return nic_shown_packet(w->nic);
}

const u8 *wire_peek(struct session_wire *w, u32 *size)
{
	const u8 *frame;

	if (w->port)
		return vswitch_peek(w->port, size);
	while (!w->piece_size && (frame = next(w, size))) {
		if (!is_packet(w))
			return frame;
		if (segments_begin(&w->rest, nic_shown_packet(w->nic), PACKET_HEADER + *size))
			w->piece_size = segments_next(&w->rest, w->piece);
		else
			wire_done(w);
	}
	*size = w->piece_size;
	return w->piece_size ? w->piece : NULL;
}

void wire_done(struct session_wire *w)
{
	if (w->port) {
		vswitch_done(w->port);
		w->heard = w->port->got;
	} else if (w->nic) {
		if (w->piece_size)
			w->piece_size = segments_next(&w->rest, w->piece);
		if (w->piece_size)
			return;
		nic_done(w->nic);
		w->heard = nic_shown(w->nic);
		w->shown = false;
	}
}

void wire_send(struct session_wire *w, const void *frame, u32 size)
{
	if (w->port) {
		vswitch_send(w->port, frame, size, host_ns());
	} else if (w->nic) {
		if (w->echoes)
			await_echo(w, frame, size);
		nic_queue(w->nic, frame, size);
	}
}

void wire_send_packet(struct session_wire *w, const u8 *packet, u32 size)
{
	struct segments s;
	u8 frame[SEGMENT_FRAME_MAX];

	if (w->nic && nic_has_packets(w->nic)) {
		nic_queue_packet(w->nic, packet, size);
		return;
	}
	if (!segments_begin(&s, packet, size))
		return;
	while ((size = segments_next(&s, frame)))
		wire_send(w, frame, size);
}

void wire_kick(struct session_wire *w)
{
	if (w->nic)
		nic_kick(w->nic);
}

bool wire_news(struct session_wire *w)
{
	u32 came = w->port ? w->port->put : w->nic ? nic_arrived(w->nic) : 0;
	bool news = came != w->heard;

	w->heard = came;
	return news;
}

/* --- the host port's part ------------------------------------------------------------ */

/* The boundaries know of no more NICs than there are wires for. */
static struct session_wire *wire(void *ctx, unsigned nic)
{
	struct session *s = ctx;

	return &s->wire[nic];
}
_Static_assert(VM_MAX_NICS == ARRAY_SIZE(((struct session *)0)->wire), "so");

static const u8 *frame_peek(void *ctx, unsigned nic, u32 *size)
{
	return wire_peek(wire(ctx, nic), size);
}

static const u8 *packet_peek(void *ctx, unsigned nic, u32 *size)
{
	return wire_peek_packet(wire(ctx, nic), size);
}

static void frame_done(void *ctx, unsigned nic)
{
	wire_done(wire(ctx, nic));
}

static void frame_write(void *ctx, unsigned nic, const void *data, u32 size)
{
	struct session_wire *w = wire(ctx, nic);

	wire_send(w, data, size);
	wire_kick(w);
}

static void packet_write(void *ctx, unsigned nic, const u8 *data, u32 size)
{
	struct session_wire *w = wire(ctx, nic);

	wire_send_packet(w, data, size);
	wire_kick(w);
}

bool session_has_net(const struct session *s)
{
	for (unsigned i = 0; i < ARRAY_SIZE(s->wire); i++)
		if (s->wire[i].nic || s->wire[i].port)
			return true;
	return false;
}

bool session_mac(struct text t, const char *key, u8 mac[6])
{
	char value[32];

	if (!conf_get(t.data, t.size, key, value, sizeof(value)))
		return false;
	if (!parse_mac(value, mac))
		session_fail("an address of the configuration is none (52:54:00:12:34:56, in small letters)");
	return true;
}

/* The address of the guest's NIC number n; false: the machine has no more. */
static bool address(const struct session *s, unsigned n, u8 mac[6])
{
	char key[16];

	ksnprintf(key, sizeof(key), "nic%u_mac", n);
	return session_mac(s->machine, key, mac);
}

static bool offloads(const struct session *s, unsigned n)
{
	char key[16];

	ksnprintf(key, sizeof(key), "nic%u_offload", n);
	return session_number(s->machine, key, 0);
}

void session_plug_nics(const struct session *s, struct vm_config *c)
{
	for (; c->nnics < VM_MAX_NICS && address(s, c->nnics, c->mac[c->nnics]); c->nnics++)
		c->offload[c->nnics] = offloads(s, c->nnics);
}

void session_net_init(struct session *s, bool connect)
{
	u64 echo = session_number(s->session, "nic_echo", 0);
	u8 mac[6];

	for (unsigned i = 0; i < ARRAY_SIZE(s->wire) && address(s, i, mac); i++) {
		struct nic *nic;

		if (s->group && group_plug(s, i, mac))
			continue;
		nic = nic_find(mac, offloads(s, i) ? NIC_PACKETS : NIC_FRAME);
		if (!connect)
			continue;
		s->wire[i] = (struct session_wire){ .nic = nic, .echoes = echo >> i & 1 };
		if (!nic)
			kprintf("NIC %u: this machine has no network device of its address; its cable is out\n", i);
	}
	if (!session_has_net(s))
		return;
	s->port.frame_peek = frame_peek;
	s->port.frame_done = frame_done;
	s->port.frame_write = frame_write;
	s->port.packet_peek = packet_peek;
	s->port.packet_write = packet_write;
}
