/*
 * test_ft_wire.c - datagrams and the store's word: each to bytes and back, and
 * nothing else is one.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "ft/arbiter.h"
#include "ft/wire.h"
#include "kernel/xxh.h"

#define KEY 0x1234567890abcdefUL

static const u8 payload[] = "bytes of the log";

static const struct ft_message samples[] = {
	{ .kind = FT_HELLO, .hello = { 1, 0x1122334455667788, 2, 3, 0xfedcba9876543210, 16384, 4096 } },
	{ .kind = FT_WELCOME, .session = 0xdeadbeef, .welcome = { 5, 6, ~0UL } },
	{ .kind = FT_REFUSE, .refuse = { 5, FT_NO_ROOM, 6, 7 } },
	{ .kind = FT_DATA, .session = 1, .data = { 0xfffffff0, sizeof(payload), payload } },
	{ .kind = FT_DATA, .flags = FT_ASK, .session = 1, .data = { 7, 0, payload } },
	{ .kind = FT_ACK, .session = 2, .ack = { 0x80000000, 0xffff, 0xcafe, 0xdeadbeef, 0 } },
	{ .kind = FT_ACK, .flags = FT_ASK | FT_LOADED | FT_HOLE, .session = 2, .ack = { 1, 2, 3, 4, 0x99 } },
	{ .kind = FT_DIVERGED, .session = 3, .diverged = { 1, 2, 3, 4, 5 } },
	{ .kind = FT_BYE, .session = 3, .bye = FT_DIGESTS_DIFFER },
	{ .kind = FT_OVER, .session = 4, .over = 1UL << 40 },
};
/* As docs/LINK.md 5 has them, header included. */
static const u32 sizes[] = { 53, 35, 36, 15 + sizeof(payload), 15, 25, 29, 51, 12, 19 };

static void same(const struct ft_message *a, const struct ft_message *b)
{
	u8 x[FT_DATAGRAM_MAX], y[FT_DATAGRAM_MAX];
	u32 n = ft_encode(a, KEY, x);

	cr_assert_eq(ft_encode(b, KEY, y), n);
	cr_assert_arr_eq(x, y, n);
}

Test(ft_wire, round_trip)
{
	for (unsigned i = 0; i < ARRAY_SIZE(samples); i++) {
		u8 buf[FT_DATAGRAM_MAX];
		u32 n = ft_encode(&samples[i], KEY, buf);
		struct ft_message m;

		cr_assert_eq(n, sizes[i], "kind %u is %u bytes", samples[i].kind, n);
		cr_assert(ft_decode(&m, KEY, buf, n));
		cr_assert(m.kind == samples[i].kind && m.flags == samples[i].flags && m.session == samples[i].session);
		same(&m, &samples[i]);
		memset(buf + n, 0xa5, 40);
		cr_assert(ft_decode(&m, KEY, buf, n + 40), "padding is ignored");
		same(&m, &samples[i]);
		cr_assert_not(ft_decode(&m, KEY + 1, buf, n), "another pair's");
	}
}

/* Cut off at each byte, as it is, and with size and checksum made right for what is left. */
Test(ft_wire, truncated)
{
	for (unsigned i = 0; i < ARRAY_SIZE(samples); i++) {
		u8 buf[FT_DATAGRAM_MAX];
		u32 n = ft_encode(&samples[i], KEY, buf);
		struct ft_message m;

		for (u32 cut = 0; cut < n; cut++) {
			u8 *part = malloc(cut ? cut : 1); /* the sanitizer sees a byte behind it */
			bool good;

			memcpy(part, buf, cut);
			cr_assert_not(ft_decode(&m, KEY, part, cut), "kind %u, %u bytes", samples[i].kind, cut);
			if (cut >= FT_HEADER_BYTES) {
				write_bytes_le(part + 4, 2, cut);
				write_bytes_le(part, 4, XXH64(part + 4, cut - 4, KEY));
				good = ft_decode(&m, KEY, part, cut);
				cr_assert_eq(good, samples[i].kind == FT_DATA && cut >= FT_DATA_HEADER_BYTES, "kind %u, %u bytes",
					     samples[i].kind, cut);
			}
			free(part);
		}
	}
}

Test(ft_wire, each_bit_counts)
{
	for (unsigned i = 0; i < ARRAY_SIZE(samples); i++) {
		u8 buf[FT_DATAGRAM_MAX];
		u32 n = ft_encode(&samples[i], KEY, buf);
		struct ft_message m;

		for (u32 bit = 0; bit < 8 * n; bit++) {
			buf[bit / 8] ^= (u8)(1 << bit % 8);
			cr_assert_not(ft_decode(&m, KEY, buf, n), "kind %u, bit %u", samples[i].kind, bit);
			buf[bit / 8] ^= (u8)(1 << bit % 8);
		}
	}
}

/* Whole, and none all the same: kinds there are not, flags a kind does not have, one byte too many. */
Test(ft_wire, not_exactly)
{
	for (unsigned kind = 0; kind < 256; kind++)
		for (u32 n = FT_HEADER_BYTES; n < 64; n++) {
			u8 buf[64] = { [4] = (u8)n, [6] = (u8)kind };
			unsigned flags = kind & 0xf0, holes = flags & FT_HOLE ? 4 : 0;
			bool expected = false;
			struct ft_message m;

			write_bytes_le(buf, 4, XXH64(buf + 4, n - 4, KEY));
			for (unsigned i = 0; i < ARRAY_SIZE(samples); i++)
				if ((kind & 15) == samples[i].kind && samples[i].kind != FT_DATA && samples[i].kind != FT_ACK)
					expected = n == sizes[i] && !flags;
			if ((kind & 15) == FT_DATA)
				expected = n >= FT_DATA_HEADER_BYTES && !(flags & ~FT_ASK);
			if ((kind & 15) == FT_ACK)
				expected = n == 25 + holes && !(flags & 0x80);
			cr_assert_eq(ft_decode(&m, KEY, buf, n), expected, "kind %x, %u bytes", kind, n);
		}
}

Test(ft_word, round_trip_and_damage)
{
	const struct ft_word w = { 7, 1UL << 50, 3, { 3, 0x8877665544332211 } };
	const u8 nothing[FT_WORD_BYTES] = { 0 };
	u8 buf[FT_WORD_BYTES];
	struct ft_word back;

	ft_word_encode(&w, buf);
	cr_assert_eq(ft_word_decode(buf, &back), OK);
	cr_assert(ft_word_equal(&w, &back));
	for (unsigned bit = 0; bit < 8 * FT_WORD_BYTES; bit++) {
		buf[bit / 8] ^= (u8)(1 << bit % 8);
		cr_assert_eq(ft_word_decode(buf, &back), ERR_DAMAGED, "bit %u", bit);
		buf[bit / 8] ^= (u8)(1 << bit % 8);
	}
	cr_assert_eq(ft_word_decode(nothing, &back), OK);
	cr_assert_eq(back.term, 0);
	ft_word_encode(&back, buf);
	cr_assert_arr_eq(buf, nothing, FT_WORD_BYTES, "no pair yet is all zero");
}
