/*
 * test_ft_stream.c - the log as a byte stream: windows, offsets that wrap, holes;
 * and any network at all, at whose end the same bytes come out.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "ft/stream.h"
#include "ft/wire.h"

#define SIZE 4096U
#define PART 1485U
#define SPARE 512U

static u8 ring[SIZE], received[SIZE + SPARE];
static struct ft_sender s;
static struct ft_receiver r;

static u8 byte_at(u64 offset)
{
	return (u8)(offset * 131 + (offset >> 8) * 17);
}

static void put(u64 n)
{
	for (; n; n--) {
		const u8 b = byte_at(s.end);

		ft_sender_put(&s, &b, 1);
	}
}

/* The bytes [from, to) as a datagram. */
static bool arrives(u64 from, u64 to)
{
	u8 buf[SIZE * 2];

	for (u64 i = from; i < to; i++)
		buf[i - from] = byte_at(i);
	return ft_receiver_put(&r, (u32)from, buf, (u32)(to - from));
}

static void read_to(u64 to)
{
	while (r.taken < to) {
		u32 n;
		const u8 *p = ft_receiver_at(&r, r.taken, &n);

		cr_assert_geq(n, MIN(r.end - r.taken, (u64)SPARE));
		for (u32 i = 0; i < n; i++)
			cr_assert_eq(p[i], byte_at(r.taken + i), "byte %lu", r.taken + i);
		r.taken += MIN(n, to - r.taken);
	}
}

static bool ack(u64 offset, u32 room)
{
	return ft_sender_ack(&s, &(struct ft_stream_ack){ .offset = (u32)offset, .room = room });
}

static void setup(void)
{
	ft_sender_init(&s, ring, SIZE, SIZE, PART);
	ft_receiver_init(&r, received, SIZE, SPARE);
}
TestSuite(ft_stream, .init = setup);

Test(ft_stream, what_may_be_sent)
{
	u8 buf[SIZE];
	u64 offset;

	ft_sender_init(&s, ring, SIZE, 1000, PART);
	cr_assert_eq(ft_sender_next(&s, buf, SIZE, 5, &offset), 0);
	put(3000);
	cr_assert_eq(ft_sender_room(&s), SIZE - 3000);
	cr_assert_eq(ft_sender_next(&s, buf, 600, 5, &offset), 600);
	cr_assert(offset == 0 && buf[599] == byte_at(599));
	cr_assert_eq(ft_sender_next(&s, buf, 600, 6, &offset), 400, "the receiver has room for no more");
	cr_assert(ft_sender_stuck(&s));
	cr_assert(ack(500, 1000));
	cr_assert_eq(s.acked_sent_ns, 5);
	cr_assert_not(ft_sender_stuck(&s));
	cr_assert_eq(ft_sender_ready(&s), 500);
	cr_assert_not(ack(500, 1000), "nothing new");
	cr_assert_not(ack(400, 9000), "an old one");
	cr_assert_not(ack(1001, 9000), "never sent");
	cr_assert_not(ack(1UL << 31, 9000));
	cr_assert(s.acked == 500 && s.limit == 1500, "and nothing came of them");
	cr_assert(ack(700, 0));
	cr_assert_eq(s.limit, 1500, "room once given is not taken back");
	cr_assert_eq(s.acked_sent_ns, 6);
}

Test(ft_stream, said_again)
{
	u8 buf[SIZE];
	u64 offset;

	cr_assert_not(ft_sender_overdue(&s), "nothing is under way");
	put(2000);
	cr_assert_eq(ft_sender_next(&s, buf, SIZE, 1, &offset), 2000);
	ft_sender_ack(&s, &(struct ft_stream_ack){ 100, SIZE, true, 300 });
	cr_assert_eq(ft_sender_next(&s, buf, SIZE, 2, &offset), 200);
	cr_assert(offset == 100 && buf[0] == byte_at(100), "the hole, and no more");
	cr_assert_eq(ft_sender_next(&s, buf, SIZE, 2, &offset), 0);
	ft_sender_ack(&s, &(struct ft_stream_ack){ 100, SIZE, true, 2001 });
	cr_assert_eq(ft_sender_ready(&s), 0, "a hole behind what was sent is none");
	cr_assert(ft_sender_overdue(&s));
	cr_assert_eq(ft_sender_next(&s, buf, SIZE, 3, &offset), PART);
	cr_assert_eq(offset, 100);
	cr_assert(ft_sender_overdue(&s));
	cr_assert(ack(1900, SIZE));
	cr_assert_eq(ft_sender_ready(&s), 0, "what was acknowledged meanwhile does not go again");
	cr_assert_eq(s.acked_sent_ns, 1, "a repetition's time is not the first");
}

Test(ft_stream, a_hole_and_its_end)
{
	cr_assert(arrives(0, 100));
	cr_assert_not(arrives(0, 100), "twice");
	cr_assert(arrives(200, 300));
	cr_assert(arrives(400, 500));
	cr_assert(r.end == 100 && r.npieces == 2 && r.piece[0].from == 200);
	cr_assert_not(arrives(220, 280));
	cr_assert(arrives(290, 410), "joins two pieces");
	cr_assert(r.npieces == 1 && r.piece[0].from == 200 && r.piece[0].to == 500);
	cr_assert(arrives(50, 250));
	cr_assert(r.end == 500 && !r.npieces);
	read_to(500);
	cr_assert_not(arrives(0, 500), "long gone");
}

Test(ft_stream, no_more_than_there_is_room_for)
{
	for (u64 i = 0; i < FT_PIECES; i++)
		cr_assert(arrives(100 + 20 * i, 110 + 20 * i));
	cr_assert_not(arrives(1000, 1010), "one piece too many");
	cr_assert(arrives(0, 100 + 20 * FT_PIECES));
	cr_assert_eq(r.npieces, 0);
	cr_assert_not(arrives(SIZE, SIZE + 10), "behind the room");
	cr_assert(arrives(r.end, SIZE + 300), "the part that fits");
	cr_assert_eq(r.end, SIZE);
	cr_assert_eq(ft_receiver_room(&r), 0);
	cr_assert_not(arrives(SIZE, SIZE + 1));
	cr_assert_not(arrives((u64)-10, 0), "before the beginning");
	read_to(SIZE);
}

/* Loss, repetition and delay, past the point where offsets on the wire begin again. */
Test(ft_stream, any_network)
{
	struct { u64 from, to; } late[16] = { { 0, 0 } };
	u64 begin = (1UL << 32) - 5 * SIZE, seed = 1;
	unsigned rounds = 0;

	s.acked = s.sent = s.end = s.ever_sent = r.end = r.taken = begin;
	s.limit = begin + SIZE;
	while (r.taken < begin + 20 * SIZE) {
		unsigned dice = (unsigned)((seed = seed * 6364136223846793005UL + 1442695040888963407UL) >> 33);
		u8 buf[PART];
		u64 offset;
		u32 n;

		cr_assert_lt(rounds++, 10000, "it comes to an end");
		put(MIN(ft_sender_room(&s), dice % 700));
		n = ft_sender_next(&s, buf, 1 + dice / 7 % 900, 1, &offset);
		for (u32 i = 0; i < n; i++)
			cr_assert_eq(buf[i], byte_at(offset + i));
		if (dice / 11 % 4 == 0)
			late[dice / 13 % 16].from = offset, late[dice / 13 % 16].to = offset + n;
		else if (dice / 11 % 4 < 3)
			arrives(offset, offset + n);
		if (dice / 17 % 2)
			arrives(late[dice / 19 % 16].from, late[dice / 19 % 16].to);
		cr_assert_leq(r.end, s.end, "no byte that was not written");
		if (dice / 23 % 3 == 0)
			ft_sender_ack(&s, &(struct ft_stream_ack){ (u32)r.end, ft_receiver_room(&r), r.npieces,
								   r.npieces ? (u32)r.piece[0].from : 0 });
		if (dice / 29 % 16 == 0)
			ft_sender_overdue(&s);
		if (dice / 31 % 2)
			read_to(r.end - (r.end - r.taken) / 2);
	}
}
