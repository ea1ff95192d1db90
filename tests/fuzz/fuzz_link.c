/*
 * fuzz_link.c - a partner that lies, and a network that does worse: everything
 * that can come over the link to a host of a pair, in each of its roles.
 *
 * An input is a program.  Its first byte says whether the host founds a pair or
 * joins one, and whether all that follows is honest; each byte then is an
 * action of the partner (which keeps to docs/LINK.md: it gives a machine and its
 * log, or takes them), of the network (loses, repeats, damages, cuts), of a forger
 * (right checksum, wrong contents, records that make no sense), of the store, or
 * of time.  The input's end is the operator's leaving.  Beyond "no sanitizer report":
 *   1. what is decoded encodes to the same bytes;
 *   2. what is damaged, or of another session, changes nothing (I16);
 *   3. a host is live only if the store has made it owner (I9);
 *   4. the machine is given what is there, whole, and where it has a place;
 *   5. between honest hosts the pair is made, and no machine is found different;
 *   6. whatever came, a host whose operator leaves ends.
 *
 * With libFuzzer: clang -fsanitize=fuzzer,address,undefined.
 * Without: gcc -DSTANDALONE -fsanitize=address,undefined; the program makes up as
 * many inputs as its argument says (default 100000, second argument: seed).
 *
 *   1  bytes of the input     2  the machine     3  the network     4  the store
 *   5  the partner, live     6  the partner, following     7  the host     8  an input
 */
#include "ft/pair.h"
#include "kernel/xxh.h"
#include "tests/fuzz/fuzz.h"

#define KEY 77
#define MS 1000000UL
#define POLL 1000
#define EPOCH 5000
#define LOG_BYTES 16384
#define HELD_BYTES (2 * FT_HELD_SEAM(FT_OUTPUT_MAX))
#define WAITS_ENOUGH 20000

/* Of the whole run, to show that it goes deep. */
static struct { u64 honest, secondary, primary, takeovers, refused, stopped, inputs; } total;

/* --- 1  bytes of the input ------------------------------------------------------------- */

static struct {
	const u8 *data;
	size_t size;
	unsigned settle;       /* honest actions behind the last byte */
	bool honest;
} in;

static u8 byte(void)
{
	if (in.size) {
		in.size--;
		return *in.data++;
	}
	if (in.settle)
		in.settle--;
	return (u8)(in.settle * 2654435761U >> 24);
}

static u64 bytes(unsigned n)
{
	u64 v = 0;

	while (n--)
		v = v << 8 | byte();
	return v;
}

static bool exhausted(void)
{
	return !in.size && !in.settle;
}

/* --- 2  the machine: polls, idles, says something now and then -------------------------- */

#define NPAGES 5

struct box {
	struct box_state {
		u64 count, idle_ns, sequence, hash, woken;
	} s;
	u8 *page;              /* exactly so large, so that the sanitizer sees a byte behind it */
	u64 page_sum;          /* 0: not known */
	struct boundary *boundary;
	enum vm_outcome outcome;
};

/* The host [7]. */
static struct {
	struct ft_pair pair;
	struct ft_env env;
	struct host_port port;
	struct ft_arbiter arbiter;
	struct ft_machine hooks;
	struct ft_memory mem;
	struct box box;
	u64 now, ids, waits, before;
	unsigned batch;
	bool was_secondary, was_primary;
	u8 frame[64];
	unsigned frames;
} h;

static struct execpoint box_now(const struct box *b)
{
	return (struct execpoint){ b->s.count, b->s.count * 1000 + b->s.idle_ns, b->s.sequence };
}

static u64 box_digest(struct box *b)
{
	if (!b->page_sum)
		b->page_sum = XXH64(b->page, NPAGES * PAGE_SIZE, 0) | 1;
	return XXH64(&b->s, sizeof(b->s), b->page_sum);
}

static void take_inputs(struct box *b)
{
	const struct input_room room = { .console = 64, .nics = 1 };
	struct execpoint now = box_now(b);
	struct input i;

	while (b->boundary->ops->next_input(b->boundary, &now, &room, &i)) {
		b->s.hash = XXH64(i.data, i.size, b->s.hash + i.kind); /* all of it can be read */
		b->s.sequence++;
		now = box_now(b);
		total.inputs++;
	}
}

static void say_something(struct box *b)
{
	const struct execpoint now = box_now(b);
	struct output out = { .kind = OUTPUT_CONSOLE, .data = &b->s.hash, .size = 1 + b->s.hash % 8 };
	u8 frame[300] = { 0 };

	if (b->s.hash % 3 == 0)
		out = (struct output){ .kind = OUTPUT_FRAME, .data = frame, .size = sizeof(frame) };
	if (b->s.hash % 4)
		b->boundary->ops->output(b->boundary, &now, &out);
	if (b->s.hash % 5 == 0)
		b->s.hash += (u64)b->boundary->ops->answer(b->boundary, &now, INPUT_DISK, 0, OK), b->s.sequence++;
}

static void box_idle(struct box *b)
{
	const struct input_room room = { .console = 64, .nics = 1 };
	const struct execpoint now = box_now(b);
	u64 deadline = now.vtime_ns + 3 * MS, to = b->boundary->ops->idle(b->boundary, &now, &room, deadline);

	if (to == VTIMER_NEVER) {
		b->outcome = b->boundary->ops->poll(b->boundary, &now);
		if (b->outcome == VM_RUNNING)
			b->outcome = VM_STUCK;
		return;
	}
	CHECK(to >= now.vtime_ns && to <= deadline);
	b->s.idle_ns += to - now.vtime_ns;
	b->s.woken = b->s.count;
	take_inputs(b);
}

static void box_turn(struct box *b)
{
	struct execpoint now;

	if (b->s.count / POLL % 4 == 3 && b->s.woken != b->s.count) {
		box_idle(b);
		return;
	}
	b->s.count = (b->s.count / POLL + 1) * POLL;
	b->s.hash = XXH64(&b->s, sizeof(b->s), 1);
	take_inputs(b);
	now = box_now(b);
	b->outcome = b->boundary->ops->poll(b->boundary, &now);
	if (b->outcome == VM_RUNNING && b->s.count % EPOCH == 0)
		b->outcome = b->boundary->ops->epoch(b->boundary, &now, box_digest(b));
	if (b->outcome == VM_RUNNING)
		say_something(b);
}

static void copy_begin(void *ctx unused_arg)
{
}

static u64 next_page;

static bool copy_next(void *ctx, struct ft_page *page)
{
	struct box *b = ctx;

	if (next_page == NPAGES)
		return false;
	*page = (struct ft_page){ .number = next_page, .data = b->page + next_page * PAGE_SIZE };
	next_page++;
	return true;
}

static u64 copy_round(void *ctx unused_arg)
{
	return 0;
}

static void copy_end(void *ctx unused_arg)
{
	next_page = 0;
}

static err_t save(void *ctx, const u8 **state, u32 *size, u64 *digest)
{
	struct box *b = ctx;

	*state = (const u8 *)&b->s;
	*size = sizeof(b->s);
	*digest = box_digest(b);
	return OK;
}

static void clear(void *ctx)
{
	struct box *b = ctx;

	memset(b->page, 0, NPAGES * PAGE_SIZE);
	b->page_sum = 0;
}

static void look_at_page(const struct ft_page *page);

static err_t put_page(void *ctx, const struct ft_page *page)
{
	struct box *b = ctx;

	if (page->space || page->number >= NPAGES)
		return ERR_INVALID;
	b->page_sum = 0;
	look_at_page(page);
	if (page->data)
		memcpy(b->page + page->number * PAGE_SIZE, page->data, PAGE_SIZE);
	else
		memset(b->page + page->number * PAGE_SIZE, 0, PAGE_SIZE);
	return OK;
}

static err_t load(void *ctx, const u8 *state, u32 size, u64 *digest)
{
	struct box *b = ctx;

	if (size != sizeof(b->s))
		return ERR_INVALID;
	memcpy(&b->s, state, size);
	if (b->s.count >> 40 || b->s.idle_ns >> 40)
		return ERR_INVALID;
	*digest = box_digest(b);
	return OK;
}

/* --- 3  the network ------------------------------------------------------------------------ */

enum { HOST = 1, PARTNER = 2, STRANGER = 3 };

struct datagram {
	u32 size;
	u64 from;
	bool damaged;
	u8 data[FT_DATAGRAM_MAX];
};

#define QUEUE 64
static struct {
	struct datagram queue[QUEUE], old[8]; /* on the way to the host, a ring; what came already */
	unsigned first, n, nold;
} net;

static struct datagram *queued(unsigned i)
{
	return &net.queue[(net.first + i) % QUEUE];
}

static void mend(struct datagram *d)
{
	u32 size = MAX(d->size, (u32)FT_HEADER_BYTES);

	d->size = size;
	write_bytes_le(d->data + 4, 2, size);
	write_bytes_le(d->data, 4, XXH64(d->data + 4, size - 4, KEY));
}

static void to_host(const struct ft_message *m)
{
	struct datagram *d = queued(net.n);

	if (net.n == QUEUE)
		return; /* a full queue loses */
	net.n++;
	d->from = PARTNER;
	d->damaged = false;
	d->size = ft_encode(m, KEY, d->data);
}

/* Valid until seven more have been taken. */
static const struct datagram *take_first(void)
{
	struct datagram *d = &net.old[net.nold++ % ARRAY_SIZE(net.old)];

	*d = *queued(0);
	net.first = (net.first + 1) % QUEUE;
	net.n--;
	return d;
}

static void damage(struct datagram *d)
{
	u32 at = (u32)bytes(2) % d->size;
	u8 what = byte();

	d->data[at] ^= what;
	d->damaged = what;
	if (byte() % 4 == 0 && d->size > 1) {
		d->size -= 1 + byte() % (d->size - 1);
		d->damaged = true;
	}
}

/* What says something else and is whole. */
static void forge(struct datagram *d)
{
	u32 at = 6 + (u32)byte() % MAX(d->size - 6, 1U), n = 1 + byte() % 8;

	for (; n && at < d->size; n--, at++)
		d->data[at] = byte();
	if (byte() % 4 == 0 && (d->data[6] & 15) == FT_DATA) /* about where the room ends */
		write_bytes_le(d->data + FT_HEADER_BYTES, 4, h.pair.follow.rx.taken + LOG_BYTES - bytes(2) % 2000);
	if (byte() % 8 == 0 && d->size > FT_HEADER_BYTES)
		d->size -= 1 + byte() % (d->size - FT_HEADER_BYTES);
	if (byte() % 8 == 0)
		d->from = STRANGER;
	mend(d);
	d->damaged = false;
}

/* --- 4  the store --------------------------------------------------------------------------- */

static struct {
	struct ft_word word, current;
	enum ft_verdict verdict;
	u64 owner;             /* who was made owner last by an attempt of the host's */
	u8 trouble;            /* of the next attempts */
} store;

static void store_start(void *ctx unused_arg, const struct ft_word *expected, const struct ft_word *desired)
{
	bool made = ft_word_equal(&store.word, expected) && store.trouble % 4 != 3 && store.trouble % 4 != 2;

	store.current = store.word;
	store.verdict = made ? FT_SWAPPED : FT_DIFFERS;
	if (made) {
		store.word = *desired;
		store.owner = desired->owner;
	}
	if (store.trouble % 4)
		store.verdict = store.trouble % 4 == 3 ? FT_UNREACHABLE : FT_UNKNOWN;
	store.trouble /= 4;
}

static enum ft_verdict store_poll(void *ctx unused_arg, struct ft_word *current)
{
	*current = store.current;
	return store.verdict;
}

/* --- 5  the partner, live: gives its machine, and the log of what it does -------------------- */

static struct {
	struct boundary b;
	struct box box;
	bool live, shipping, started, following, loaded;
	u64 id, host_id;
	u32 session;
	u8 ring[LOG_BYTES], received[LOG_BYTES + FT_RECORD_MAX];
	struct ft_sender tx;
	struct ft_log_writer log;
	struct ft_receiver rx;
	struct ft_log_reader reader;
	u64 made, released, asked, epochs, executed;
	u8 wish;               /* inputs to come */
	u64 given;             /* pages */
} partner;

static const u8 typed[40] = "words, words, words, words";

static bool give_input(struct boundary *b unused_arg, const struct execpoint *now, const struct input_room *room unused_arg,
		       struct input *i)
{
	struct rec_event ev = { .kind = REC_INPUT, .at = *now };

	if (!partner.wish)
		return false;
	*i = (struct input){ .kind = partner.wish & 1 ? INPUT_FRAME : INPUT_CONSOLE, .data = typed, .size = partner.wish % 40 };
	partner.wish /= 4;
	ev.input = *i;
	CHECK(ft_log_event(&partner.log, &ev));
	return true;
}

static u64 give_idle(struct boundary *b unused_arg, const struct execpoint *now, const struct input_room *room unused_arg,
		     u64 deadline_ns)
{
	u64 to = partner.wish ? now->vtime_ns + partner.wish : deadline_ns;

	CHECK(ft_log_progress(&partner.log, now->count, to - 1));
	return to;
}

static void give_output(struct boundary *b unused_arg, const struct execpoint *now unused_arg, const struct output *out)
{
	partner.made += ft_units(out);
}

static err_t give_answer(struct boundary *b unused_arg, const struct execpoint *now unused_arg, enum input_kind kind unused_arg,
			 u16 instance unused_arg, err_t host)
{
	partner.asked++;
	return host;
}

static enum vm_outcome give_epoch(struct boundary *b unused_arg, const struct execpoint *now, u64 digest)
{
	const struct rec_event ev = { .kind = REC_DIGEST, .at = *now, .digest = digest };

	partner.epochs++;
	CHECK(ft_log_event(&partner.log, &ev));
	return VM_RUNNING;
}

static enum vm_outcome give_poll(struct boundary *b unused_arg, const struct execpoint *now)
{
	CHECK(ft_log_progress(&partner.log, now->count, now->vtime_ns));
	return VM_RUNNING;
}

static const struct boundary_ops partner_ops = {
	.name = "partner", .wants_digests = true, .next_input = give_input, .idle = give_idle, .output = give_output,
	.answer = give_answer, .epoch = give_epoch, .poll = give_poll,
};

static void welcome(const struct ft_hello *hello)
{
	const struct ft_message m = { .kind = FT_WELCOME, .session = 1000 + byte(), .welcome = { hello->id, partner.id, 2 } };

	CHECK(hello->version == FT_LINK_VERSION && hello->id);
	partner.session = m.session;
	partner.host_id = hello->id;
	partner.shipping = true;
	partner.started = false;
	partner.given = 0;
	ft_sender_init(&partner.tx, partner.ring, LOG_BYTES, hello->log_room, FT_DATA_MAX);
	partner.log = (struct ft_log_writer){ .to = &partner.tx };
	to_host(&m);
}

static void give_state(void)
{
	const struct ft_start start = { box_now(&partner.box), partner.made, partner.asked, partner.epochs, box_digest(&partner.box) };

	CHECK(ft_log_state(&partner.log, (const u8 *)&partner.box.s, sizeof(partner.box.s)));
	CHECK(ft_log_start(&partner.log, &start));
	partner.released = partner.made;
	partner.started = true;
}

static void give_machine(void)
{
	const struct ft_page page = { .number = partner.given, .data = partner.box.page + partner.given * PAGE_SIZE };

	if (partner.given == NPAGES)
		give_state();
	else if (ft_log_page(&partner.log, &page))
		partner.given++;
}

static void live_on(void)
{
	partner.wish = byte();
	box_turn(&partner.box);
	if (partner.tx.acked == partner.tx.end && partner.made != partner.released) {
		CHECK(ft_log_number(&partner.log, FT_RELEASED, partner.made - partner.released));
		partner.released = partner.made;
	}
	/* The store names the host as soon as it has the machine. */
	if (store.word.owner == partner.id && !store.word.member[1])
		store.word = (struct ft_word){ KEY, 2, partner.id, { partner.id, partner.host_id } };
}

static void send_log(bool ask)
{
	struct ft_message m = { .kind = FT_DATA, .flags = ask ? FT_ASK : 0, .session = partner.session };
	u8 buf[FT_DATA_MAX];
	u64 offset;

	m.data.size = ft_sender_next(&partner.tx, buf, 1 + byte() * (FT_DATA_MAX - 1U) / 255, 0, &offset);
	m.data.offset = (u32)offset;
	m.data.data = buf;
	if (m.data.size || ask)
		to_host(&m);
}

/* --- 6  the partner, following ------------------------------------------------------------------ */

static void say_hello(void)
{
	const struct ft_message m = { .kind = FT_HELLO, .hello = { FT_LINK_VERSION, partner.id, 1, 2, 3, LOG_BYTES, HELD_BYTES } };

	to_host(&m);
}

static void answer(void)
{
	struct ft_message m = { .kind = FT_ACK, .flags = partner.loaded ? FT_LOADED : 0, .session = partner.session, .ack = {
		.offset = (u32)partner.rx.end, .room = (u16)(ft_receiver_room(&partner.rx) / FT_ROOM_UNIT),
		.executed = (u32)partner.executed, .made = (u32)partner.made } };

	if (partner.rx.npieces) {
		m.flags |= FT_HOLE;
		m.ack.hole_end = (u32)partner.rx.piece[0].from;
	}
	to_host(&m);
}

static void follow(const struct ft_message *m)
{
	struct ft_record rec;

	ft_receiver_put(&partner.rx, m->data.offset, m->data.data, m->data.size);
	while (!ft_log_read(&partner.reader, &partner.rx, &rec)) {
		partner.loaded |= rec.kind == FT_START;
		if (rec.kind == FT_PROGRESS)
			partner.executed = rec.ev.at.count;
		partner.rx.taken = partner.reader.at;
	}
	if (m->flags & FT_ASK || partner.rx.npieces)
		answer();
}

static void begin_following(const struct ft_message *m)
{
	partner.session = m->session;
	partner.following = true;
	partner.loaded = false;
	partner.reader = (struct ft_log_reader){ 0 };
	ft_receiver_init(&partner.rx, partner.received, LOG_BYTES, FT_RECORD_MAX);
}

/* All that the host says is what the page says, and the partner hears all of it. */
static void partner_hears(const void *data, u32 size)
{
	struct ft_message m;

	CHECK(ft_decode(&m, KEY, data, size));
	if (m.kind == FT_HELLO && partner.live)
		welcome(&m.hello);
	else if (m.kind == FT_WELCOME && m.welcome.seeker == partner.id && !(partner.following && m.session == partner.session))
		begin_following(&m);
	else if (m.kind == FT_DATA && partner.following && m.session == partner.session)
		follow(&m);
	else if (m.kind == FT_ACK && partner.shipping && m.session == partner.session) {
		const struct ft_stream_ack a = { m.ack.offset, m.ack.room * FT_ROOM_UNIT, m.flags & FT_HOLE, m.ack.hole_end };

		if (!ft_sender_ack(&partner.tx, &a) && m.flags & FT_HOLE)
			ft_sender_overdue(&partner.tx);
	}
}

static void partner_acts(void)
{
	if (!partner.live) {
		if (partner.following)
			answer();
		else
			say_hello();
	} else if (partner.shipping) {
		if (ft_sender_room(&partner.tx) > PAGE_SIZE + 100 && !partner.started)
			give_machine();
		else if (ft_sender_room(&partner.tx) > 1000 && partner.started)
			live_on();
		if (byte() % 8 == 0 && !ft_sender_ready(&partner.tx))
			ft_sender_overdue(&partner.tx);
		send_log(true);
	}
}

static u32 put_field(u8 *to)
{
	u8 how = byte();

	return put_varint(to, how % 4 ? how / 4 : bytes(how / 4 % 9));
}

/* Into the log, what no live host writes: a kind, fields, bytes behind them. */
static void forge_record(void)
{
	static u8 rec[2 * PAGE_SIZE];
	u32 n = 1, fields = 0;

	rec[0] = byte();
	if (partner.shipping && rec[0] % 4 == 0)
		rec[0] = partner.started ? FT_PROGRESS + byte() % 3 : FT_PAGE + byte() % 3;
	for (fields = byte() % 8; fields; fields--)
		n += put_field(rec + n);
	if (byte() % 2) /* a part of a state, a page: as long as they say, or nearly */
		n = 1 + put_varint(rec + 1, PAGE_SIZE) + PAGE_SIZE - byte() % 4;
	if (partner.shipping && ft_sender_room(&partner.tx) > n)
		ft_sender_put(&partner.tx, rec, n);
}

/* --- 7  the host ----------------------------------------------------------------------------------- */

/* All of it has come, and is where the record ends. */
static void look_at_page(const struct ft_page *page)
{
	const struct ft_follow *f = &h.pair.follow;
	u32 n;

	CHECK(!page->data || (f->ahead.at >= PAGE_SIZE && ft_receiver_at(&f->rx, f->ahead.at - PAGE_SIZE, &n) == page->data));
}

static u64 state_of(const struct ft_pair *p)
{
	return XXH64(&p->role, offsetof(struct ft_pair, hello_ns) - offsetof(struct ft_pair, role), 1) | 1;
}

/* Both ends of the stream keep to their rooms. */
static void look_at_streams(const struct ft_sender *tx, const struct ft_receiver *rx)
{
	u64 limit = rx->taken + rx->size;

	CHECK(tx->acked <= tx->sent && tx->sent <= tx->end && tx->end - tx->acked <= tx->size);
	CHECK(rx->taken <= rx->end && rx->end <= limit && rx->npieces <= FT_PIECES);
	for (unsigned i = 0; i < rx->npieces; i++)
		CHECK(rx->piece[i].from > (i ? rx->piece[i - 1].to : rx->end) && rx->piece[i].to <= limit);
}

static void look(void)
{
	const struct ft_pair *p = &h.pair;

	look_at_streams(&p->ship.tx, &p->follow.rx);

	if (p->role >= FT_ALONE && p->role <= FT_PARTING)
		CHECK(store.owner == p->me);
	CHECK(p->held.cost <= p->held.bound || !ft_holds_back(p->role));
	h.was_secondary |= p->role == FT_SECONDARY;
	h.was_primary |= p->role == FT_PRIMARY;
}

static bool is_stranger(const struct datagram *d)
{
	unsigned kind = d->data[6] & 15;

	return d->damaged || (kind >= FT_DATA && (!h.pair.session || (u32)read_bytes_le(d->data + 7, 4) != h.pair.session ||
						  d->from != h.pair.other_at));
}

static void usurp(void)
{
	store.word = (struct ft_word){ KEY, store.word.term + 1, 99, { 99, byte() % 2 ? h.pair.me : 0 } };
}

/* One action; what it brings is first in the queue.  False: nothing for now. */
static bool act(void)
{
	u8 op = byte() % 16;
	struct datagram *d = queued(0);

	if (in.honest)
		op %= 8;
	switch (op) {
	case 0 ... 3:
		return net.n;
	case 4 ... 6:
		if (net.n < QUEUE / 2)
			partner_acts();
		return net.n && op == 4;
	case 7:
		return false;
	case 8: /* one more time */
		if (net.n < QUEUE && net.nold) {
			net.first = (net.first + QUEUE - 1) % QUEUE;
			net.n++;
			*queued(0) = net.old[byte() % MIN(net.nold, (unsigned)ARRAY_SIZE(net.old))];
		}
		return net.n;
	case 9:
		if (net.n)
			damage(d);
		return net.n;
	case 10:
	case 11:
		if (net.n)
			forge(d);
		return net.n;
	case 12: /* lost, or overtaken */
		if (net.n) {
			const struct datagram *first = take_first();

			if (byte() % 2)
				*queued(net.n++) = *first;
		}
		return net.n;
	case 13:
		forge_record();
		return net.n;
	case 14:
		store.trouble = byte();
		if (byte() % 16 == 0)
			usurp();
		return net.n;
	default: /* time, much of it; a partner that is another one */
		h.now += bytes(2) * 10000;
		partner.id += byte() % 4 == 0;
		partner.following &= byte() % 4 != 0;
		partner.live ^= byte() % 8 == 0;
		return net.n;
	}
}

static bool waits(void *ctx unused_arg)
{
	return net.n;
}

static const u8 *receive(void *ctx unused_arg, u64 *from, u32 *size)
{
	const struct datagram *d;

	CHECK(!h.before || h.before == state_of(&h.pair)); /* rule 2 */
	h.before = 0;
	h.now += 10000;
	if (exhausted() || h.batch == 200 || !act()) { /* fewer than the pump takes at once */
		h.batch = 0;
		return NULL;
	}
	h.batch++;
	d = take_first();
	h.before = is_stranger(d) ? state_of(&h.pair) : 0;
	*from = d->from;
	*size = d->size;
	return d->data;
}

static u64 now_ns(void *ctx unused_arg)
{
	return h.now;
}

static u8 made[FT_DATAGRAM_MAX];

static u8 *room(void *ctx unused_arg)
{
	return made;
}

static void send(void *ctx unused_arg, u64 to unused_arg, u32 size)
{
	partner_hears(made, size);
}

static u64 new_id(void *ctx unused_arg)
{
	return 1000 + ++h.ids;
}

static void disregard(void *ctx unused_arg)
{
}

static void announce(void *ctx unused_arg)
{
	total.takeovers++;
	look();
}

static void say(void *ctx unused_arg, const char *line)
{
	CHECK(strlen(line) < 200);
}

static size_t console_read(void *ctx unused_arg, void *buf, size_t n)
{
	size_t some = exhausted() || byte() % 8 ? 0 : MIN(n, sizeof(typed));

	memcpy(buf, typed, some);
	return some;
}

static void console_write(void *ctx unused_arg, const void *data, size_t n)
{
	volatile u64 sum = XXH64(data, n, 0);

	(void)sum;
	look();
}

static const u8 *frame_peek(void *ctx unused_arg, unsigned nic, u32 *size)
{
	*size = sizeof(h.frame);
	return nic == 0 && h.frames ? h.frame : NULL;
}

static void frame_done(void *ctx unused_arg, unsigned nic unused_arg)
{
	h.frames--;
}

static void frame_write(void *ctx unused_arg, unsigned nic unused_arg, const void *data, u32 size)
{
	console_write(NULL, data, size);
}

static bool ended(void *ctx unused_arg)
{
	return false;
}

static bool quit(void *ctx unused_arg)
{
	return exhausted();
}

static u64 wait_for(void *ctx unused_arg, u64 max_ns)
{
	u64 ns = exhausted() ? max_ns : MIN(max_ns, (1 + byte() % 64UL) * MS / 32);

	CHECK(h.waits++ < WAITS_ENOUGH); /* rule 6 */
	look();
	h.frames += !exhausted() && byte() % 16 == 0 && h.frames < 4;
	h.now += ns;
	return ns;
}

static void progress(void *ctx unused_arg, const struct execpoint *now unused_arg)
{
	look();
}

static void run_host(bool founds)
{
	struct execpoint now;
	bool good = founds ? ft_found(&h.pair) : ft_join(&h.pair);

	if (!good)
		return;
	h.box.boundary = ft_boundary(&h.pair);
	h.box.outcome = VM_RUNNING;
	while (h.box.outcome == VM_RUNNING)
		box_turn(&h.box);
	now = box_now(&h.box);
	ft_finish(&h.pair, h.box.outcome, 0, &now, box_digest(&h.box));
	CHECK(h.pair.role == FT_STOPPED);
}

/* --- 8  an input ------------------------------------------------------------------------------------- */

static void make_hosts(void)
{
	static u64 held[HELD_BYTES / 8];

	if (!h.box.page) {
		h.box.page = malloc(NPAGES * PAGE_SIZE);
		partner.box.page = malloc(NPAGES * PAGE_SIZE);
		h.mem = (struct ft_memory){ malloc(LOG_BYTES), LOG_BYTES, malloc(LOG_BYTES + FT_RECORD_MAX), LOG_BYTES, (u8 *)held,
					    HELD_BYTES, malloc(256), 256 };
	}
	h.port = (struct host_port){ .console_read = console_read, .console_write = console_write, .frame_peek = frame_peek,
				     .frame_done = frame_done, .frame_write = frame_write, .ended = ended, .quit = quit,
				     .wait = wait_for, .progress = progress, .report_errors = true };
	h.arbiter = (struct ft_arbiter){ store_start, store_poll, NULL };
	h.hooks = (struct ft_machine){ copy_begin, copy_next, copy_round, copy_end, save, clear, put_page, load, &h.box };
	h.env = (struct ft_env){ now_ns, room, send, receive, waits, new_id, disregard, announce, say, &h.port, &h.arbiter, &h.hooks, NULL, NULL };
	h.box.s = partner.box.s = (struct box_state){ .hash = 5 };
	for (u32 i = 0; i < NPAGES * PAGE_SIZE; i++)
		h.box.page[i] = partner.box.page[i] = (u8)(i * 7 + i / PAGE_SIZE);
	h.box.page_sum = 0;
	h.now = 1000 * MS;
	h.ids = h.waits = h.before = 0;
	h.batch = h.frames = 0;
	h.was_secondary = h.was_primary = false;
	next_page = 0;
}

static void make_partner(bool live)
{
	u8 *page = partner.box.page;
	const struct box_state s = partner.box.s;

	memset(&partner, 0, sizeof(partner));
	partner.box = (struct box){ .s = s, .page = page, .boundary = &partner.b };
	partner.b.ops = &partner_ops;
	partner.id = 100;
	partner.live = live;
	memset(&store, 0, sizeof(store));
	if (live)
		store.word = (struct ft_word){ KEY, 1, partner.id, { partner.id, 0 } };
	net.n = net.nold = 0;
}

static u64 run(const u8 *data, size_t size)
{
	const struct ft_config c = { .timers = ft_default_timers, .datagram_bytes = 1500, .pair = KEY, .build = 1, .probe = 2, .head = 3, .poll_insns = POLL,
				     .epoch_insns = EPOCH, .max_lag_insns = 50000, .final_pages = 1, .max_rounds = 4,
				     .on_divergence = size % 2 ? FT_STOP_BOTH : FT_REPROTECT };
	u8 how;

	in.data = data;
	in.size = size;
	in.settle = 0;
	how = byte();
	in.honest = how % 16 < 8 && how % 4 == 0;
	if (in.honest)
		in.settle = 1500;
	make_hosts();
	make_partner(!(how & 4));
	ft_init(&h.pair, &c, &h.env, &h.mem);
	run_host(how & 4);
	total.honest += in.honest;
	total.secondary += h.was_secondary;
	total.primary += h.was_primary;
	total.refused += h.pair.s.refused;
	total.stopped += h.pair.role == FT_STOPPED && h.pair.s.reason[0];
	if (in.honest) { /* rule 5 */
		CHECK(h.was_secondary || h.was_primary);
		CHECK(!h.pair.s.divergence.found && !h.pair.s.reason[0]);
	}
	return XXH64(&h.box.s, sizeof(h.box.s), h.now + h.pair.s.sent_bytes + h.pair.s.received_bytes + h.pair.role);
}

/* Rule 1, of bytes as they are, and with the size and the checksum made right. */
static void decode(const u8 *data, size_t size)
{
	struct datagram d = { .size = (u32)MIN(size, (size_t)FT_DATAGRAM_MAX) };
	u8 again[FT_DATAGRAM_MAX], *exact;
	struct ft_message m;

	for (unsigned mended = 0; mended < 2; mended++) {
		if (mended)
			mend(&d);
		else
			memcpy(d.data, data, d.size);
		exact = malloc(d.size ? d.size : 1);
		memcpy(exact, d.data, d.size);
		if (ft_decode(&m, KEY, exact, d.size)) {
			u32 n = ft_encode(&m, KEY, again);

			CHECK(n <= d.size && n == read_bytes_le(exact + 4, 2) && !memcmp(again, exact, n));
		}
		free(exact);
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static unsigned nth;
	u64 said;

	if (!size)
		return 0;
	decode(data, size);
	said = run(data, size);
	if (++nth % 16 == 0)
		CHECK(said == run(data, size)); /* nothing is left over from another input */
	return 0;
}

#ifdef STANDALONE

/* Honest actions mostly, so that lies meet hosts in the middle of their work. */
static size_t make_up(u8 *buf, size_t room)
{
	size_t size = 1 + rnd() % (room - 1), lies = rnd() % (rnd() % 4 ? 6 : 60);

	for (size_t i = 0; i < size; i++)
		buf[i] = (u8)(rnd() % 100 < lies ? rnd() : rnd() & 0xf7);
	if (rnd() % 4 == 0) /* a datagram, for decode */
		buf[6 % size] = (u8)(rnd() % 9 | (rnd() % 4 ? 0 : rnd() & 0xf0));
	return size;
}

int main(int argc, char **argv)
{
	unsigned long runs = fuzz_runs(argc, argv);
	static u8 buf[1200];

	for (unsigned long i = 0; i < runs; i++)
		LLVMFuzzerTestOneInput(buf, make_up(buf, sizeof(buf)));
	printf("fuzz_link: %lu hosts, %lu honest; %lu were secondary, %lu primary, %lu takeovers, %lu stopped, %lu inputs, "
	       "%lu datagrams refused\n", runs, total.honest, total.secondary, total.primary, total.takeovers, total.stopped,
	       total.inputs, total.refused);
	return 0;
}

#endif
