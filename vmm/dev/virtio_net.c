/*
 * virtio_net.c - an Ethernet interface for the guest.  The model is in
 * virtio_net.h.
 *
 *   1  sending     2  receiving     3  the hooks
 */
#include "vmm/dev/virtio_net.h"

/* [VIRTIO 5.1.3 Feature bits] */
#define F_CSUM BIT(0)
#define F_GUEST_CSUM BIT(1)
#define F_MAC BIT(5)
#define F_GUEST_TSO4 BIT(7)
#define F_GUEST_TSO6 BIT(8)
#define F_GUEST_ECN BIT(9)
#define F_HOST_TSO4 BIT(11)
#define F_HOST_TSO6 BIT(12)
#define F_HOST_ECN BIT(13)
#define F_MRG_RXBUF BIT(15)
#define F_STATUS BIT(16)
#define F_PACKETS_IN (F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6 | F_GUEST_ECN)
#define F_PACKETS_OUT (F_CSUM | F_HOST_TSO4 | F_HOST_TSO6 | F_HOST_ECN)

/* [VIRTIO 5.1.4 Device configuration layout] */
enum { CONFIG_MAC = 0, CONFIG_STATUS = 6, STATUS_LINK_UP = 1 };

/* In front of each frame; old drivers that merge no buffers know no last field [VIRTIO 5.1.6 Device Operation]. */
enum { HEADER_SIZE = PACKET_HEADER, OLD_HEADER_SIZE = 10, NUM_BUFFERS_AT = 10 };

static u32 header_size(const struct virtio_net *n)
{
	return virtio_has(&n->v, VIRTIO_F_VERSION_1 | F_MRG_RXBUF) ? HEADER_SIZE : OLD_HEADER_SIZE;
}

static u64 now_ns(const struct virtio_net *n)
{
	return n->v.env.clock->now_ns;
}

/* --- 1  sending ----------------------------------------------------------------- */

/* What the driver may ask for, by what it has agreed to; kinds of cutting are those it may [VIRTIO 5.1.6.2.1]. */
static bool may_ask(const struct virtio_net *n, const u8 *header)
{
	switch (header[PACKET_KIND] & ~(unsigned)PACKET_ECN) {
	case PACKET_TCP4:
		return virtio_has(&n->v, F_HOST_TSO4);
	case PACKET_TCP6:
		return virtio_has(&n->v, F_HOST_TSO6);
	default:
		return true;
	}
}

/* Its first bytes are the driver's header, those that it has. */
static void send_packet(struct virtio_net *n, struct virtq_cursor at, u32 frame_size)
{
	u8 *packet = n->packet;

	packet[NUM_BUFFERS_AT] = packet[NUM_BUFFERS_AT + 1] = 0;
	virtq_get(&at, packet + HEADER_SIZE, frame_size);
	n->tx.packet.put(n->tx.packet.ctx, packet, HEADER_SIZE + frame_size);
}

/* One frame, from where it lies if it lies together. */
static void send_frame(struct virtio_net *n, struct virtq_cursor at, u32 size)
{
	u8 frame[NET_FRAME_MAX], *data;
	u32 have = virtq_span(&at, size, &data);

	if (have < size) {
		memcpy(frame, data, have);
		virtq_get(&at, frame + have, size - have);
		data = frame;
	}
	n->tx.frame.put(n->tx.frame.ctx, data, size);
}

static void send(struct virtio_net *n, const struct virtq_chain *c)
{
	u32 size = c->read_bytes - header_size(n);
	struct virtq_cursor at = virtq_reader(c);
	u8 *header = n->packet;

	virtq_get(&at, header, header_size(n));
	if (!virtio_has(&n->v, F_CSUM)) /* what a header asks for nevertheless is not looked at */
		memset(header, 0, HEADER_SIZE);
	header[PACKET_FLAGS] &= PACKET_NEEDS_CSUM; /* the other is for who receives */
	if (size < NET_FRAME_MIN || size > (header[PACKET_KIND] ? PACKET_FRAME_MAX : NET_FRAME_MAX) || n->link_down ||
	    !packet_makes_sense(header, size) || !may_ask(n, header))
		n->nlost_tx++;
	else if (packet_is_plain(header))
		send_frame(n, at, size);
	else
		send_packet(n, at, size);
}

/* Everything that waits to be sent; how many frames that was. */
static u16 send_all(struct virtio_net *n)
{
	struct virtq_chain *c;
	u16 nsent = 0;

	while (virtio_look(&n->v, NET_TX, 0, &c)) {
		if (c->read_bytes < header_size(n)) {
			virtio_break(&n->v);
			return 0;
		}
		send(n, c);
		virtio_take(&n->v, NET_TX, 1);
		if (!virtio_fill(&n->v, NET_TX, nsent++, c->head, 0))
			return 0;
	}
	if (nsent && virtio_publish(&n->v, NET_TX, nsent))
		virtio_signal(&n->v, NET_TX);
	return nsent;
}

static void poll_later(struct virtio_net *n, bool yes)
{
	yes &= virtio_working(&n->v); /* what was sent may have broken it */
	vtimer_arm(&n->poll, yes ? now_ns(n) + NET_POLL_NS : VTIMER_NEVER);
	virtio_want_kicks(&n->v, NET_TX, !yes);
}

static void kick(void *dev, unsigned queue)
{
	struct virtio_net *n = dev;
	bool busy;

	if (queue != NET_TX)
		return; /* whether there are buffers to receive into is looked at when a frame has come */
	send_all(n);
	busy = now_ns(n) - n->kicked_at_ns < NET_BUSY_NS;
	n->kicked_at_ns = now_ns(n);
	poll_later(n, busy);
}

static void poll_fire(void *owner)
{
	struct virtio_net *n = owner;

	if (virtio_working(&n->v))
		poll_later(n, send_all(n) != 0);
}

/* --- 2  receiving ----------------------------------------------------------------- */

/* A ring that lies counts as room: the frame that then comes finds it out. */
bool virtio_net_can_receive(const struct virtio_net *n)
{
	u16 nbuffers;

	return !virtio_net_deaf(n) && (virtq_count(&n->v.queue[NET_RX], &nbuffers) || nbuffers);
}

bool virtio_net_deaf(const struct virtio_net *n)
{
	return !virtio_working(&n->v) || n->link_down || !n->v.queue[NET_RX].enabled;
}

/*
 * How many of the driver's chains need bytes take, 0: they do not fit or there
 * are too few.  The room holds the last of them.
 */
static u16 chains_for(struct virtio_net *n, u32 need, struct virtq_chain **c)
{
	u32 have = 0;

	for (u16 i = 0; virtio_look(&n->v, NET_RX, i, c); i++) {
		if (i == 0 && (*c)->write_bytes < header_size(n)) {
			virtio_break(&n->v);
			return 0;
		}
		have += MIN((*c)->write_bytes, need - have);
		if (have == need)
			return i + 1;
		if (!virtio_has(&n->v, F_MRG_RXBUF))
			return 0;
	}
	return 0;
}

/* [VIRTIO 5.1.6.4 Processing of Incoming Packets]; num_buffers is 1 even where nothing is merged. */
static void deliver(struct virtio_net *n, u8 header[HEADER_SIZE], const u8 *frame, u32 size)
{
	u32 skip = header_size(n), done = 0;
	struct virtq_chain *c;
	u16 nchains = chains_for(n, skip + size, &c);

	if (!nchains) {
		n->nlost_rx++;
		return;
	}
	write_bytes_le(header + NUM_BUFFERS_AT, 2, nchains);
	for (u16 i = 0; i < nchains; i++, skip = 0) {
		struct virtq_cursor at;
		u32 put;

		if (nchains > 1 && !virtio_look(&n->v, NET_RX, i, &c))
			return;
		at = virtq_writer(c);
		put = virtq_put(&at, header, skip);
		put += virtq_put(&at, frame + done, size - done);
		done += put - skip;
		if (!virtio_fill(&n->v, NET_RX, i, c->head, put))
			return;
	}
	virtio_take(&n->v, NET_RX, nchains);
	if (virtio_publish(&n->v, NET_RX, nchains))
		virtio_signal(&n->v, NET_RX);
}

static void receive(void *dev, const void *data, size_t size)
{
	struct virtio_net *n = dev;
	u8 header[HEADER_SIZE] = { 0 };

	if (virtio_net_deaf(n) || size < NET_FRAME_MIN || size > NET_FRAME_MAX)
		n->nlost_rx++;
	else
		deliver(n, header, data, (u32)size);
}

static bool agreed_to_packets(const struct virtio_net *n)
{
	return (n->v.features & F_PACKETS_IN) == F_PACKETS_IN;
}

bool virtio_net_takes_packets(const struct virtio_net *n)
{
	u16 nbuffers;

	return agreed_to_packets(n) && (!virtio_has(&n->v, F_MRG_RXBUF) || virtq_count(&n->v.queue[NET_RX], &nbuffers) ||
					nbuffers >= NET_PACKET_BUFFERS);
}

void virtio_net_receive_packet(struct virtio_net *n, const u8 *packet, size_t size)
{
	u8 header[HEADER_SIZE];

	if (virtio_net_deaf(n) || !agreed_to_packets(n) || size < HEADER_SIZE + NET_FRAME_MIN || size > PACKET_MAX) {
		n->nlost_rx++;
		return;
	}
	memcpy(header, packet, HEADER_SIZE);
	deliver(n, header, packet + HEADER_SIZE, (u32)size - HEADER_SIZE);
}

static void show_link(struct virtio_net *n)
{
	n->config[CONFIG_STATUS] = n->link_down ? 0 : STATUS_LINK_UP;
}

void virtio_net_set_link(struct virtio_net *n, bool up)
{
	if (n->link_down == !up)
		return;
	n->link_down = !up;
	show_link(n);
	virtio_config_changed(&n->v);
}

/* --- 3  the hooks -------------------------------------------------------------------- */

static void resume(void *dev)
{
	struct virtio_net *n = dev;

	virtio_want_kicks(&n->v, NET_RX, false);
	poll_later(n, send_all(n) != 0);
}

static void forget(void *dev)
{
	struct virtio_net *n = dev;

	n->kicked_at_ns = 0;
	vtimer_cancel(&n->poll);
}

static u64 net_read(void *dev, enum io_space space, u64 addr, unsigned size_bytes)
{
	struct virtio_net *n = dev;

	return virtio_read(&n->v, space, addr, size_bytes);
}

static void net_write(void *dev, enum io_space space, u64 addr, unsigned size_bytes, u64 value)
{
	struct virtio_net *n = dev;

	virtio_write(&n->v, space, addr, size_bytes, value);
}

static void net_reset(void *dev)
{
	struct virtio_net *n = dev;

	n->link_down = 0;
	show_link(n);
	virtio_reset(&n->v);
}

static void net_state(void *dev, struct state_walk *w)
{
	struct virtio_net *n = dev;

	virtio_state(&n->v, w);
	STATE(w, n, kicked_at_ns);
	STATE(w, n, link_down);
	vtimer_state(&n->poll, w, "poll_ns");
	if (w->mode == STATE_LOAD)
		show_link(n);
}

const struct device_ops virtio_net_ops = {
	.name = "virtio-net",
	.version = 1,
	.read = net_read,
	.write = net_write,
	.reset = net_reset,
	.input = receive,
	.state = net_state,
};

static const struct virtio_class net_class = {
	.type = VIRTIO_NET,
	.transitional_id = 0x1000,
	.class_code = 0x020000, /* Ethernet controller */
	.nqueues = 2,
	.queue_size = NET_QUEUE_SIZE,
	.config_size = sizeof(((struct virtio_net *)0)->config),
	.ops = &virtio_net_ops,
	.kick = kick,
	.resume = resume,
	.reset = forget,
};

void virtio_net_init(struct virtio_net *n, const struct virtio_env *env, unsigned slot, const u8 mac[6], bool offload,
		     struct net_outlets tx)
{
	const u64 features = F_MAC | F_MRG_RXBUF | F_STATUS | (offload ? F_PACKETS_IN | F_PACKETS_OUT : 0);

	memset(n, 0, sizeof(*n));
	n->tx = tx;
	memcpy(n->config + CONFIG_MAC, mac, 6);
	show_link(n);
	vtimer_add(env->clock, &n->poll, poll_fire, n);
	virtio_init(&n->v, &net_class, n, env, slot, features, n->config);
}
