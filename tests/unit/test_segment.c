/*
 * test_segment.c - packets become the frames that a network card would have made of them.
 *
 * What comes out is judged by its own reading of the headers, and by checksums added up in the
 * plain way, word by word in the order of the wire.
 */
#include <criterion/criterion.h>

#include "session/segment.h"

struct shape {
	bool v6, vlan;
	unsigned tcp_options;    /* bytes, a multiple of 4 */
	u32 payload, segment;
	u8 flags;
};

static u8 packet[PACKET_MAX], frame[SEGMENT_FRAME_MAX];

static u32 words(const u8 *p, u32 size)
{
	u32 sum = 0;

	for (u32 i = 0; i < size; i++)
		sum += i % 2 ? p[i] : (u32)p[i] << 8;
	return sum;
}

static u16 folded(u32 sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (u16)sum;
}

static u8 data_at(u32 i)
{
	return (u8)(i * 31 + i / 251);
}

static u32 ip_at(const struct shape *s)
{
	return s->vlan ? 18 : 14;
}

static u32 tcp_at(const struct shape *s)
{
	return ip_at(s) + (s->v6 ? 40 : 24); /* IPv4 with an option */
}

static u32 data_from(const struct shape *s)
{
	return tcp_at(s) + 20 + s->tcp_options;
}

static u32 pseudo(const struct shape *s, const u8 *f, u32 segment)
{
	return (s->v6 ? words(f + ip_at(s) + 8, 32) : words(f + ip_at(s) + 12, 8)) + 6 + segment;
}

/* The sender's: a sum of the pseudo header where the checksum belongs. */
static u32 make(const struct shape *s)
{
	u8 *f = packet + PACKET_HEADER, *ip = f + ip_at(s), *tcp = f + tcp_at(s);
	u32 size = data_from(s) + s->payload, segment = size - tcp_at(s);

	memset(packet, 0, sizeof(packet));
	packet[PACKET_FLAGS] = PACKET_NEEDS_CSUM;
	packet[PACKET_KIND] = s->segment ? s->v6 ? PACKET_TCP6 : PACKET_TCP4 : PACKET_WHOLE;
	write_bytes_le(packet + PACKET_SEGMENT, 2, s->segment);
	write_bytes_le(packet + PACKET_CSUM_START, 2, tcp_at(s));
	write_bytes_le(packet + PACKET_CSUM_OFFSET, 2, 16);
	memset(f, 0x52, 12);
	if (s->vlan)
		write_bytes_be(f + 12, 4, 0x8100002a);
	write_bytes_be(ip - 2, 2, s->v6 ? 0x86dd : 0x0800);
	if (s->v6) {
		write_bytes_be(ip, 4, 0x60012345);
		write_bytes_be(ip + 4, 2, segment);
		ip[6] = 6, ip[7] = 64;
		memset(ip + 8, 0xfd, 32);
	} else {
		write_bytes_be(ip, 4, 0x46000000 + 24 + segment);
		write_bytes_be(ip + 4, 4, 0xfffe4000); /* a number that wraps */
		ip[8] = 64, ip[9] = 6;
		write_bytes_be(ip + 12, 4, 0x0a00020f), write_bytes_be(ip + 16, 4, 0x0a000202);
		write_bytes_be(ip + 20, 4, 0x01010100);
		write_bytes_be(ip + 10, 2, (u16)~folded(words(ip, 24)));
	}
	write_bytes_be(tcp, 4, 0x1f90c001);
	write_bytes_be(tcp + 4, 4, 0xfffffff0); /* a sequence that wraps */
	tcp[12] = (u8)((20 + s->tcp_options) / 4 << 4);
	tcp[13] = s->flags;
	memset(tcp + 20, 1, s->tcp_options);
	write_bytes_be(tcp + 16, 2, folded(pseudo(s, f, segment)));
	for (u32 i = 0; i < s->payload; i++)
		f[data_from(s) + i] = data_at(i);
	return PACKET_HEADER + size;
}

static void check_frame(const struct shape *s, u32 size, u32 done, unsigned number, bool last)
{
	const u8 *ip = frame + ip_at(s), *tcp = frame + tcp_at(s);
	u32 n = size - data_from(s), segment = size - tcp_at(s);

	cr_assert(!memcmp(frame, packet + PACKET_HEADER, ip_at(s)), "Ethernet's header");
	if (s->v6) {
		cr_assert_eq((u32)read_bytes_be(ip + 4, 2), segment);
	} else {
		cr_assert_eq((u32)read_bytes_be(ip + 2, 2), 24 + segment);
		cr_assert_eq((u32)read_bytes_be(ip + 4, 2), (0xfffe + number) & 0xffff, "each datagram has a number of its own");
		cr_assert_eq(folded(words(ip, 24)), 0xffff);
	}
	cr_assert_eq((u32)read_bytes_be(tcp + 4, 4), 0xfffffff0 + done);
	cr_assert_eq(tcp[13], (s->flags & (last ? 0xff : 0xf6)) & (number ? 0x7f : 0xff), "FIN and PSH in the last, CWR in the first");
	cr_assert_eq(folded(pseudo(s, frame, segment) + words(tcp, segment)), 0xffff, "TCP's checksum");
	for (u32 i = 0; i < n; i++)
		cr_assert_eq(frame[data_from(s) + i], data_at(done + i));
}

static void cut(const struct shape *s)
{
	u32 size = make(s), done = 0, n;
	unsigned number = 0;
	struct segments cutting;

	cr_assert(segments_begin(&cutting, packet, size));
	do {
		n = segments_next(&cutting, frame);
		cr_assert(n >= data_from(s) && n <= SEGMENT_FRAME_MAX);
		check_frame(s, n, done, number++, done + n - data_from(s) == s->payload);
		done += n - data_from(s);
		cr_assert(done == s->payload || n == data_from(s) + s->segment, "all but the last are full");
	} while (done < s->payload);
	cr_assert_eq(segments_next(&cutting, frame), 0);
	cr_assert_eq(number, s->payload ? (s->payload + s->segment - 1) / s->segment : 1);
}

Test(segment, long_segments_become_frames)
{
	static const u32 payloads[] = { 0, 1, 99, 100, 1447, 1448, 1449, 2896, 20000, 65000 };

	for (unsigned how = 0; how < 8; how++)
		for (size_t i = 0; i < ARRAY_SIZE(payloads); i++)
			cut(&(struct shape){ .v6 = how & 1, .vlan = how & 2, .tcp_options = how & 4 ? 12 : 0, .payload = payloads[i],
					     .segment = how & 4 ? 100 : 1428, .flags = 0x99 });
}

Test(segment, a_checksum_is_filled_in)
{
	const struct shape s = { .payload = 300, .flags = 0x18 };
	u32 size = make(&s), n;
	struct segments one;

	cr_assert(segments_begin(&one, packet, size));
	n = segments_next(&one, frame);
	cr_assert_eq(n, size - PACKET_HEADER);
	cr_assert_eq(folded(pseudo(&s, frame, n - tcp_at(&s)) + words(frame + tcp_at(&s), n - tcp_at(&s))), 0xffff);
	cr_assert_eq(segments_next(&one, frame), 0);
}

/* [RFC 768]: a checksum of 0 means that there is none. */
Test(segment, a_sum_of_zero_is_said_as_ones)
{
	struct segments one;
	u8 *udp = packet + PACKET_HEADER + 34;

	memset(packet, 0, sizeof(packet));
	packet[PACKET_FLAGS] = PACKET_NEEDS_CSUM;
	write_bytes_le(packet + PACKET_CSUM_START, 2, 34);
	write_bytes_le(packet + PACKET_CSUM_OFFSET, 2, 6);
	write_bytes_be(udp + 8, 4, 0xffff0000);
	cr_assert(segments_begin(&one, packet, PACKET_HEADER + 60));
	cr_assert_eq(segments_next(&one, frame), 60);
	cr_assert_eq((u32)read_bytes_be(frame + 40, 2), 0xffff);
}

/* A checksum that others have found right already is nothing to be done. */
Test(segment, what_is_whole_stays_as_it_is)
{
	const struct shape s = { .payload = 300 };
	u32 size = make(&s);
	struct segments one;

	packet[PACKET_FLAGS] = PACKET_CSUM_VALID;
	cr_assert(segments_begin(&one, packet, size));
	cr_assert_eq(segments_next(&one, frame), size - PACKET_HEADER);
	cr_assert(!memcmp(frame, packet + PACKET_HEADER, size - PACKET_HEADER));
}

#define REFUSED(change, why) do { \
	u32 size = make(&s); \
	u8 *f = packet + PACKET_HEADER; \
	(void)f; \
	change; \
	cr_assert_not(segments_begin(&bad, packet, size), why); \
} while (0)

Test(segment, what_cannot_be_done_is_refused)
{
	const struct shape s = { .payload = 3000, .segment = 1448 };
	struct segments bad;

	REFUSED(size = PACKET_HEADER + 13, "no frame");
	REFUSED(write_bytes_le(packet + PACKET_CSUM_START, 2, 60000), "a checksum behind its end");
	REFUSED(write_bytes_le(packet + PACKET_CSUM_OFFSET, 2, 0xffff), "a checksum behind its end");
	REFUSED(packet[PACKET_KIND] = 3, "UDP");
	REFUSED(packet[PACKET_KIND] = PACKET_TCP6, "the other IP");
	REFUSED(packet[PACKET_KIND] = PACKET_WHOLE, "too long for a frame");
	REFUSED(packet[PACKET_FLAGS] = 0, "cut without checksums");
	REFUSED(write_bytes_le(packet + PACKET_SEGMENT, 2, 0), "into nothing");
	REFUSED(write_bytes_le(packet + PACKET_SEGMENT, 2, SEGMENT_MIN - 1), "into crumbs");
	REFUSED(write_bytes_le(packet + PACKET_SEGMENT, 2, 1500), "into frames that are too long");
	REFUSED(f[14] = 0x44, "an IP header that is too short");
	REFUSED(f[14] = 0x47, "TCP is not where the checksum begins");
	REFUSED(f[14 + 9] = 17, "UDP in IP");
	REFUSED(f[tcp_at(&s) + 12] = 0x40, "a TCP header that is too short");
	REFUSED(size = PACKET_HEADER + 60; f[tcp_at(&s) + 12] = 0xf0, "a TCP header that is not all there");
	REFUSED(size = PACKET_HEADER + 50, "cut within the headers");
}

/* Whatever is said in it: no frame is longer than the buffer, and all is within the packet. */
Test(segment, any_bytes)
{
	u64 dice = 88172645463325252UL;
	u8 *exact, *buf = malloc(SEGMENT_FRAME_MAX); /* for the sanitizer */

	for (unsigned round = 0; round < 20000; round++) {
		const struct shape s = { .v6 = round & 1, .vlan = round & 2, .payload = round % 3000, .segment = 64 + round % 1400 };
		u32 size = make(&s), nframes = 0;
		struct segments any;

		for (unsigned i = 0; i < round % 8; i++) {
			dice ^= dice << 13, dice ^= dice >> 7, dice ^= dice << 17;
			packet[dice % 90] = (u8)(dice >> 32);
		}
		size -= round % 5 ? 0 : (u32)(dice >> 40) % size;
		size = MAX(size, PACKET_HEADER + 14);
		exact = malloc(size);
		memcpy(exact, packet, size);
		if (segments_begin(&any, exact, size))
			for (u32 n; (n = segments_next(&any, buf)); nframes++)
				cr_assert(n <= SEGMENT_FRAME_MAX && nframes <= PACKET_MAX / SEGMENT_MIN + 1);
		free(exact);
	}
	free(buf);
}
