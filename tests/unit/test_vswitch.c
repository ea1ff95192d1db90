/*
 * test_vswitch.c - the switch: who hears what.  What a liar can do is fuzz_vswitch.c's.
 */
#include <criterion/criterion.h>

#include "session/vswitch.h"

enum { A, B, C, UP, NPORTS };
static struct vswitch sw;
static struct vswitch_port port[NPORTS];
static struct vswitch_slot queue[NPORTS][VSWITCH_QUEUE];
static u64 now;
static unsigned gone_up;

static const u8 everybody[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
static const u8 some_group[6] = { 0x01, 0, 0x5e, 0, 0, 1 };

static const u8 *mac(unsigned n)
{
	static u8 m[8][6];
	static unsigned next;
	u8 *a = m[next++ % 8];

	memcpy(a, (const u8[6]){ 0x52, 0x54, 0, 0x12, 0x34, (u8)n }, 6);
	return a;
}

static void up(void *ctx, const u8 *frame, u32 size)
{
	cr_assert(ctx == &port[UP] && frame && size >= VSWITCH_FRAME_MIN);
	gone_up++;
}

static void setup(void)
{
	for (unsigned i = 0; i < UP; i++) {
		port[i].queue = queue[i];
		cr_assert_eq(vswitch_plug(&sw, &port[i], mac(i)), OK);
	}
	port[UP].deliver = up;
	port[UP].ctx = &port[UP];
	cr_assert_eq(vswitch_plug(&sw, &port[UP], NULL), OK);
}
TestSuite(vswitch, .init = setup);

static void send_sized(unsigned from, const u8 *to, const u8 *sender, u32 size)
{
	u8 frame[4096] = { 0 };

	memcpy(frame, to, 6);
	memcpy(frame + 6, sender, 6);
	frame[size - 1] ^= 0x5a;
	vswitch_send(&port[from], frame, size, now);
}

static void send(unsigned from, const u8 *to, const u8 *sender)
{
	send_sized(from, to, sender, 60);
}

/* Which ports have got one, bit by bit; it is taken from them. */
static unsigned heard(void)
{
	unsigned bits = gone_up ? 1U << UP : 0;
	u32 size;

	cr_assert_leq(gone_up, 1);
	gone_up = 0;
	for (unsigned i = 0; i < UP; i++)
		if (vswitch_peek(&port[i], &size)) {
			bits |= 1U << i;
			vswitch_done(&port[i]);
			cr_assert_null(vswitch_peek(&port[i], &size), "one each");
		}
	return bits;
}

Test(vswitch, devices_are_known_from_the_start)
{
	send(A, mac(B), mac(A));
	cr_assert_eq(heard(), 1U << B);
	send(UP, mac(C), mac(77));
	cr_assert_eq(heard(), 1U << C);
}

Test(vswitch, groups_and_strangers_go_everywhere_but_back)
{
	send(A, everybody, mac(A));
	cr_assert_eq(heard(), 1U << B | 1U << C | 1U << UP);
	send(B, some_group, mac(B));
	cr_assert_eq(heard(), 1U << A | 1U << C | 1U << UP);
	send(B, mac(99), mac(B));
	cr_assert_eq(heard(), 1U << A | 1U << C | 1U << UP);
	send(B, mac(B), mac(B)); /* itself */
	cr_assert_eq(heard(), 0U);
}

Test(vswitch, stations_are_learned_move_and_age)
{
	send(UP, mac(A), mac(50));
	cr_assert_eq(heard(), 1U << A);
	send(A, mac(50), mac(A));
	cr_assert_eq(heard(), 1U << UP);
	send(UP, mac(50), mac(51)); /* both are up there */
	cr_assert_eq(heard(), 0U);
	send(C, everybody, mac(50)); /* a VM that bridges: it is behind C now */
	heard();
	send(A, mac(50), mac(A));
	cr_assert_eq(heard(), 1U << C);
	now += VSWITCH_AGE_NS - 1;
	send(A, mac(50), mac(A));
	cr_assert_eq(heard(), 1U << C);
	now++;
	send(A, mac(50), mac(A));
	cr_assert_eq(heard(), 1U << B | 1U << C | 1U << UP);
}

Test(vswitch, nobody_speaks_for_another)
{
	send(B, everybody, mac(A));
	send(UP, everybody, mac(A));
	cr_assert_eq(heard(), 0U);
	cr_assert_eq(port[B].stats.refused, 1UL);
	send(C, mac(A), mac(C));
	cr_assert_eq(heard(), 1U << A);
}

Test(vswitch, what_is_the_bridges_own_goes_no_further)
{
	send(A, (const u8[6]){ 0x01, 0x80, 0xc2, 0, 0, 0x0e }, mac(A));
	cr_assert_eq(heard(), 0U);
	send(A, (const u8[6]){ 0x01, 0x80, 0xc2, 0, 0, 0x10 }, mac(A));
	cr_assert_eq(heard(), 1U << B | 1U << C | 1U << UP);
}

Test(vswitch, sizes)
{
	send_sized(A, mac(B), mac(A), VSWITCH_FRAME_MIN - 1);
	send_sized(A, mac(B), mac(A), VSWITCH_FRAME_MAX + 1);
	cr_assert_eq(heard(), 0U);
	cr_assert_eq(port[A].stats.refused, 2UL);
	send_sized(A, mac(B), mac(A), VSWITCH_FRAME_MAX);
	cr_assert_eq(port[B].queue[0].size, VSWITCH_FRAME_MAX);
	cr_assert_eq(heard(), 1U << B);
}

/* The one behind A, and those behind C, who says it is hundreds. */
Test(vswitch, a_liar_makes_nobody_elses_station_forgotten)
{
	send(A, everybody, mac(200));
	heard();
	for (unsigned i = 0; i < 1000; i++) {
		now++;
		send(C, mac(A), (const u8[6]){ 2, 1, 1, 1, (u8)(i >> 8), (u8)i });
		heard();
	}
	send(B, mac(200), mac(B));
	cr_assert_eq(heard(), 1U << A);
	send(B, (const u8[6]){ 2, 1, 1, 1, 999 >> 8, 999 & 0xff }, mac(B));
	cr_assert_eq(heard(), 1U << C);
	send(B, (const u8[6]){ 2, 1, 1, 1, 0, 0 }, mac(B)); /* long forgotten */
	cr_assert_eq(heard(), 1U << A | 1U << C | 1U << UP);
}

Test(vswitch, a_full_queue_is_its_own_ports_loss)
{
	u32 size, n = 0;
	const u8 *frame;

	for (unsigned i = 0; i < VSWITCH_QUEUE + 10; i++)
		send_sized(A, mac(B), mac(A), 60 + i % 100);
	send(A, mac(C), mac(A));
	cr_assert_eq(port[B].stats.lost, 10UL);
	while ((frame = vswitch_peek(&port[B], &size))) {
		cr_assert_eq(size, 60 + n % 100, "in order");
		vswitch_done(&port[B]);
		n++;
	}
	cr_assert_eq(n, VSWITCH_QUEUE);
	cr_assert_eq(heard(), 1U << C);
}

Test(vswitch, plugging_and_unplugging)
{
	static struct vswitch_port more[VSWITCH_PORTS];
	u32 size;

	cr_assert_eq(vswitch_plug(&sw, &more[0], mac(A)), ERR_INVALID);
	cr_assert_eq(vswitch_plug(&sw, &more[0], everybody), ERR_INVALID);
	send(C, everybody, mac(60)); /* learned behind C, then plugged in itself */
	send(A, mac(B), mac(A));
	vswitch_unplug(&port[B]);
	vswitch_unplug(&port[B]);
	cr_assert_null(vswitch_peek(&port[B], &size));
	send(B, mac(A), mac(B));
	heard();
	send(A, mac(B), mac(A));
	cr_assert_eq(heard(), 1U << C | 1U << UP, "a stranger now");
	more[0].deliver = up;
	more[0].ctx = &port[UP];
	cr_assert_eq(vswitch_plug(&sw, &more[0], mac(60)), OK);
	send(A, mac(60), mac(A));
	cr_assert_eq(heard(), 1U << UP, "not C's any more");
	for (unsigned i = 1; sw.nports < VSWITCH_PORTS; i++)
		cr_assert_eq(vswitch_plug(&sw, &more[i], NULL), OK);
	cr_assert_eq(vswitch_plug(&sw, &port[B], NULL), ERR_TOO_BIG);
}
