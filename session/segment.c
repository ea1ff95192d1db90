/*
 * segment.c - packets to frames.  See segment.h.
 *
 * [RFC 1071] the checksum, [RFC 791 3.1], [RFC 8200 chapter 3], [RFC 9293 3.1] the headers, [RFC 3168 6.1.2] CWR
 * in the first segment only.
 *
 *   1  checksums     2  reading the headers     3  making a frame
 */
#include "session/segment.h"

enum { ETHERNET_HEADER = 14, VLAN_TAG = 4, TYPE_VLAN = 0x8100, TYPE_IPV4 = 0x0800, TYPE_IPV6 = 0x86dd };
enum { IPV4_LENGTH = 2, IPV4_ID = 4, IPV4_PROTOCOL = 9, IPV4_CSUM = 10, IPV4_ADDRESSES = 12, IPV4_HEADER = 20 };
enum { IPV6_LENGTH = 4, IPV6_ADDRESSES = 8, IPV6_HEADER = 40 };
enum { TCP_SEQUENCE = 4, TCP_OFFSET = 12, TCP_FLAGS = 13, TCP_CSUM = 16, TCP_HEADER = 20, PROTOCOL_TCP = 6 };
enum { TCP_FIN = 0x01, TCP_PSH = 0x08, TCP_CWR = 0x80 };

/* --- 1  checksums --------------------------------------------------------------------- */

/*
 * The one's complement sum of 16-bit words, not folded: the same whatever the byte order [RFC 1071 2(B)], so
 * words are taken as they lie, and an odd byte is the first of one.
 */
static u64 sum(const u8 *p, u32 size)
{
	u64 total = 0;

	for (; size >= 4; p += 4, size -= 4)
		total += read_bytes_le(p, 4);
	return size ? total + read_bytes_le(p, size) : total;
}

/* Where it is stored as it is, as words are taken. */
static void put_checksum(u8 *p, u64 total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	write_bytes_le(p, 2, ~total & 0xffff);
}

/* --- 2  reading the headers ------------------------------------------------------------ */

/* Where IP begins, and that TCP is behind it where the packet says so. */
static bool find_headers(struct segments *s, unsigned kind)
{
	u32 at = ETHERNET_HEADER;
	const u8 *ip;
	u64 type;

	if (s->size < ETHERNET_HEADER + VLAN_TAG + IPV6_HEADER)
		return false; /* no TCP of either kind is shorter */
	type = read_bytes_be(s->frame + at - 2, 2);
	if (type == TYPE_VLAN) {
		at += VLAN_TAG;
		type = read_bytes_be(s->frame + at - 2, 2);
	}
	ip = s->frame + at;
	s->ip = at;
	s->tcp = s->csum_start;
	if (type != (kind == PACKET_TCP4 ? TYPE_IPV4 : TYPE_IPV6) || s->csum_at != s->tcp + TCP_CSUM || s->tcp + TCP_HEADER > s->size)
		return false;
	s->head = s->tcp + (s->frame[s->tcp + TCP_OFFSET] >> 4) * 4U;
	if (s->head < s->tcp + TCP_HEADER || s->head > s->size)
		return false;
	if (kind == PACKET_TCP6) /* extension headers may be between, and stay as they are */
		return s->tcp >= at + IPV6_HEADER;
	return (ip[0] & 15) * 4U >= IPV4_HEADER && s->tcp == at + (ip[0] & 15) * 4U && ip[IPV4_PROTOCOL] == PROTOCOL_TCP;
}

bool segments_begin(struct segments *s, const u8 *packet, u32 size)
{
	const unsigned kind = packet[PACKET_KIND] & ~(unsigned)PACKET_ECN;

	*s = (struct segments){ .frame = packet + PACKET_HEADER, .size = size - PACKET_HEADER };
	if (size < PACKET_HEADER + ETHERNET_HEADER || !packet_makes_sense(packet, s->size))
		return false;
	if (packet[PACKET_FLAGS] & PACKET_NEEDS_CSUM) {
		s->csum_start = (u32)read_bytes_le(packet + PACKET_CSUM_START, 2);
		s->csum_at = s->csum_start + (u32)read_bytes_le(packet + PACKET_CSUM_OFFSET, 2);
	}
	if (kind == PACKET_WHOLE)
		return s->size <= SEGMENT_FRAME_MAX;
	s->payload = (u32)read_bytes_le(packet + PACKET_SEGMENT, 2);
	return find_headers(s, kind) && s->payload >= SEGMENT_MIN && s->head + s->payload <= SEGMENT_FRAME_MAX;
}

/* --- 3  making a frame ------------------------------------------------------------------ */

/* The headers of the frame in buf, whose TCP has n bytes of payload: they are the packet's, but for what differs. */
static void adapt(const struct segments *s, u8 *buf, u32 n, bool last)
{
	u8 *ip = buf + s->ip, *tcp = buf + s->tcp;
	const u32 segment = s->head - s->tcp + n; /* bytes of TCP */
	const bool v4 = ip[0] >> 4 == 4;
	u8 pseudo[4] = { 0, PROTOCOL_TCP };
	u64 total;

	write_bytes_be(tcp + TCP_SEQUENCE, 4, read_bytes_be(tcp + TCP_SEQUENCE, 4) + s->at);
	if (s->at)
		tcp[TCP_FLAGS] &= (u8)~TCP_CWR;
	if (!last)
		tcp[TCP_FLAGS] &= (u8)~(TCP_FIN | TCP_PSH);
	if (v4) {
		write_bytes_be(ip + IPV4_LENGTH, 2, s->tcp - s->ip + segment);
		write_bytes_be(ip + IPV4_ID, 2, read_bytes_be(ip + IPV4_ID, 2) + s->at / s->payload);
		write_bytes_be(ip + IPV4_CSUM, 2, 0);
		put_checksum(ip + IPV4_CSUM, sum(ip, s->tcp - s->ip));
	} else {
		write_bytes_be(ip + IPV6_LENGTH, 2, s->tcp - s->ip - IPV6_HEADER + segment);
	}
	write_bytes_be(pseudo + 2, 2, segment);
	total = v4 ? sum(ip + IPV4_ADDRESSES, 8) : sum(ip + IPV6_ADDRESSES, 32);
	write_bytes_be(tcp + TCP_CSUM, 2, 0);
	put_checksum(tcp + TCP_CSUM, total + sum(pseudo, sizeof(pseudo)) + sum(tcp, segment));
}

static u32 cut(struct segments *s, u8 *buf)
{
	const u32 left = s->size - s->head - s->at, n = MIN(left, s->payload);

	memcpy(buf, s->frame, s->head);
	memcpy(buf + s->head, s->frame + s->head + s->at, n);
	adapt(s, buf, n, n == left);
	s->at += n;
	s->over = n == left;
	return s->head + n;
}

/* A sum of 0 is stored as all ones: to UDP, 0 would mean that there is none [RFC 768]. */
static u32 finish(struct segments *s, u8 *buf)
{
	memcpy(buf, s->frame, s->size);
	if (s->csum_at) {
		put_checksum(buf + s->csum_at, sum(buf + s->csum_start, s->size - s->csum_start));
		if (!read_bytes_be(buf + s->csum_at, 2))
			write_bytes_be(buf + s->csum_at, 2, 0xffff);
	}
	s->over = true;
	return s->size;
}

u32 segments_next(struct segments *s, u8 *buf)
{
	if (s->over)
		return 0;
	return s->tcp ? cut(s, buf) : finish(s, buf);
}
