/*
 * fuzz_vswitch.c - guests that lie to the switch: about who they are, to whom they speak, how
 * long it is; ports that come and go, and nobody who reads.
 *
 * An input is a program: each byte an action, the next ones its details.  Beside the switch
 * runs a model of it that knows nothing but its rules.  Beyond "no sanitizer report":
 *   1. each port has exactly the frames the model says, whole and in order: so none comes
 *      back to its sender, none to a device gets to another port, and none in another's name
 *      gets anywhere;
 *   2. a frame is lost only at a port whose queue is full, and counted there;
 *   3. the model forgets nothing: where the switch has forgotten a station it may send to
 *      all, but only where the liar is its own victim, behind whose port that station is.
 *
 * With libFuzzer: clang -fsanitize=fuzzer,address,undefined.
 * Without: gcc -DSTANDALONE -fsanitize=address,undefined; the program
 * makes up as many inputs as its argument says (default 100000, second
 * argument: seed).
 */
#include "session/vswitch.h"
#include "tests/fuzz/fuzz.h"

#define NPORTS 6
#define NADDRESSES 256
#define MODEL_QUEUE VSWITCH_QUEUE

/* What the model knows of a port: the numbers of the frames in its queue. */
static struct model {
	bool plugged, own;
	u64 queue[MODEL_QUEUE];
	u32 put, got;
	u64 lost;
	u64 behind;               /* stations ever heard behind it, beyond which it may have forgotten some */
} model[NPORTS];

static struct vswitch_slot queue[NPORTS][VSWITCH_QUEUE];
static struct {
	struct vswitch sw;
	struct vswitch_port port[NPORTS];
	int where[NADDRESSES];     /* behind which port a station is; -1: nobody knows */
	u64 heard[NADDRESSES];
	u64 number, now;           /* of frames; of nanoseconds */
	const u8 *data;
	size_t size;
} fuzzed, *f = &fuzzed;

static struct { u64 sent, delivered, lost, refused, floods, forgotten; } total;

static u8 byte(void)
{
	if (!f->size)
		return 0;
	f->size--;
	return *f->data++;
}

/* Addresses 0 to NPORTS - 1 are the devices', the rest strangers; odd first bytes are groups. */
static void put_address(u8 *to, u8 n, u8 kind)
{
	static const u8 bridge[6] = { 0x01, 0x80, 0xc2, 0, 0, 3 };

	memcpy(to, (const u8[6]){ 0x52, 0x54, 0, 0, 0, n }, 6);
	if (kind == 1)
		memset(to, 0xff, 6);
	else if (kind == 2)
		memset(to, 0, 6);
	else if (kind == 3)
		memcpy(to, bridge, 6);
	else if (kind == 4)
		to[0] |= 1;
}

static bool owned(u8 n)
{
	return n < NPORTS && model[n].plugged && model[n].own;
}

static void expect(unsigned port, u64 number)
{
	struct model *m = &model[port];

	if (m->put - m->got == MODEL_QUEUE)
		m->lost++;
	else
		m->queue[m->put++ % MODEL_QUEUE] = number;
}

static u64 number_in(const u8 *frame)
{
	u64 n;

	memcpy(&n, frame + 14, sizeof(n));
	return n;
}

/* Which ports the switch has just given the frame, without taking it: their put has moved, or their loss. */
static unsigned given(const u32 put[NPORTS], const u64 lost[NPORTS])
{
	unsigned bits = 0;

	for (unsigned i = 0; i < NPORTS; i++)
		if (f->port[i].put != put[i] || f->port[i].stats.lost != lost[i])
			bits |= 1U << i;
	return bits;
}

static void learn_model(unsigned from, u8 n)
{
	if (f->where[n] != (int)from)
		model[from].behind++;
	f->where[n] = (int)from;
	f->heard[n] = f->now;
}

static void act_send(void)
{
	unsigned from = byte() % NPORTS, all = 0, want, got;
	u8 to = byte(), to_kind = byte() % 12, sender = byte(), sender_kind = byte() % 24, how = byte();
	u32 put[NPORTS], size = how < 8 ? how * 2U : how < 16 ? VSWITCH_FRAME_MAX - 4U + how : 60U + how % 64;
	u64 lost[NPORTS];
	u8 *frame = malloc(size + 1); /* a frame ends where it ends: the sanitizer sees who reads on */
	u8 whole[VSWITCH_FRAME_MAX + 64] = { 0 };
	bool refused = size < VSWITCH_FRAME_MIN || size > VSWITCH_FRAME_MAX, single, flood = true;
	u64 refusals = f->port[from].stats.refused;

	put_address(whole, to, to_kind);
	put_address(whole + 6, sender, sender_kind);
	f->number++;
	memcpy(whole + 14, &f->number, sizeof(f->number));
	for (u32 i = 22; i < size; i++)
		whole[i] = (u8)(i * 31 + f->number);
	memcpy(frame, whole, size);
	for (unsigned i = 0; i < NPORTS; i++) {
		put[i] = f->port[i].put;
		lost[i] = f->port[i].stats.lost;
		all |= model[i].plugged && i != from ? 1U << i : 0;
	}
	vswitch_send(&f->port[from], frame, size, f->now);
	free(frame);
	got = given(put, lost);
	total.sent++;
	if (!model[from].plugged) {
		CHECK(!got);
		return;
	}
	single = sender_kind == 0 || sender_kind > 4;
	refused |= single && owned(sender) && sender != from;
	CHECK(f->port[from].stats.refused == refusals + refused);
	if (refused) {
		CHECK(!got);
		total.refused++;
		return;
	}
	if (single && !owned(sender))
		learn_model(from, sender);
	want = all;
	if (to_kind == 3) {
		want = 0;
		flood = false;
	} else if (to_kind == 0 || to_kind > 4) {
		if (owned(to)) {
			want = to == from ? 0 : 1U << to;
			flood = false;
		} else if (f->where[to] >= 0 && f->now - f->heard[to] < VSWITCH_AGE_NS) {
			/* The switch may have forgotten it only if its port is one that says it is many. */
			bool may_forget = model[f->where[to]].behind > VSWITCH_STATIONS;

			flood = false;
			want = f->where[to] == (int)from ? 0 : 1U << f->where[to];
			if (may_forget && got != want) {
				want = all;
				total.forgotten++;
			}
		}
	}
	CHECK(got == want);
	total.floods += flood;
	for (unsigned i = 0; i < NPORTS; i++)
		if (want >> i & 1)
			expect(i, f->number);
}

static void act_read(void)
{
	unsigned i = byte() % NPORTS, n = byte();
	struct model *m = &model[i];
	const u8 *frame;
	u32 size;

	for (; n; n--) {
		frame = vswitch_peek(&f->port[i], &size);
		CHECK(!frame == (m->put == m->got));
		if (!frame)
			break;
		CHECK(size >= VSWITCH_FRAME_MIN && size <= VSWITCH_FRAME_MAX);
		if (size >= 22) {
			CHECK(number_in(frame) == m->queue[m->got % MODEL_QUEUE]);
			for (u32 k = 22; k < size; k++)
				CHECK(frame[k] == (u8)(k * 31 + number_in(frame)));
		}
		vswitch_done(&f->port[i]);
		m->got++;
		total.delivered++;
	}
}

static void act_plug(void)
{
	unsigned i = byte() % NPORTS;
	struct model *m = &model[i];
	u8 address[6];
	bool own = byte() & 1;

	if (m->plugged) {
		vswitch_unplug(&f->port[i]);
		m->plugged = false;
		m->got = m->put;
		m->behind = 0;
		for (unsigned n = 0; n < NADDRESSES; n++)
			if (f->where[n] == (int)i)
				f->where[n] = -1;
		return;
	}
	put_address(address, (u8)i, 0);
	CHECK(vswitch_plug(&f->sw, &f->port[i], own ? address : NULL) == OK);
	m->plugged = true;
	m->own = own;
	if (own)
		f->where[i] = -1;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	memset(f, 0, sizeof(*f));
	memset(model, 0, sizeof(model));
	f->data = data;
	f->size = size;
	for (unsigned n = 0; n < NADDRESSES; n++)
		f->where[n] = -1;
	for (unsigned i = 0; i < NPORTS; i++) {
		u8 address[6];

		put_address(address, (u8)i, 0);
		f->port[i].queue = queue[i];
		model[i].plugged = true;
		model[i].own = i < NPORTS - 1; /* the last is the host's network */
		CHECK(vswitch_plug(&f->sw, &f->port[i], model[i].own ? address : NULL) == OK);
	}
	while (f->size) {
		u8 what = byte();

		if (what < 200)
			act_send();
		else if (what < 240)
			act_read();
		else if (what < 246)
			act_plug();
		else
			f->now += what < 253 ? (u64)byte() << 20 : (u64)byte() << 33;
	}
	for (unsigned i = 0; i < NPORTS; i++) {
		CHECK(f->port[i].stats.lost == model[i].lost);
		total.lost += model[i].lost;
	}
	return 0;
}

#ifdef STANDALONE

int main(int argc, char **argv)
{
	unsigned long runs = fuzz_runs(argc, argv);
	static u8 data[8192];

	for (unsigned long n = 0; n < runs; n++) {
		size_t size = rnd() % (n % 64 ? 512 : sizeof(data)); /* a few long ones: queues fill, stations are forgotten */
		u8 narrow = n % 3 ? 0xff : 0x07;               /* few addresses meet more often */

		for (size_t i = 0; i < size; i++)
			data[i] = (u8)(rnd() >> 24) & (i % 7 ? 0xff : narrow);
		LLVMFuzzerTestOneInput(data, size);
	}
	printf("%lu inputs: %llu frames sent, %llu delivered, %llu lost, %llu refused, %llu floods, %llu forgotten\n", runs,
	       (unsigned long long)total.sent, (unsigned long long)total.delivered, (unsigned long long)total.lost,
	       (unsigned long long)total.refused, (unsigned long long)total.floods, (unsigned long long)total.forgotten);
	return 0;
}

#endif
