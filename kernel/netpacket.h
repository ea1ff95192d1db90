/*
 * netpacket.h - a frame whose sender has left work to whoever takes it over: a checksum to
 * fill in, a long TCP segment to cut into frames [VIRTIO 5.1.6 Device Operation].
 *
 * A packet is PACKET_HEADER bytes, then the Ethernet frame, which may be as long as IP
 * allows.  The header is virtio's, little-endian:
 *
 *   0   flags        PACKET_NEEDS_CSUM, PACKET_CSUM_VALID
 *   1   kind         of cutting: enum packet_kind, and perhaps PACKET_ECN
 *   2   2 bytes      length of the frame's headers: a hint that nobody here takes
 *   4   2 bytes      payload in each frame, if it is to be cut
 *   6   2 bytes      NEEDS_CSUM: where the checksummed bytes begin in the frame; they go to its end
 *   8   2 bytes      ... and where their checksum belongs, from there.  What is there now is the
 *                    sum of the pseudo header
 *   10  2 bytes      0
 *
 * Who makes one is a guest or the host's network: anything can be in it.
 */
#ifndef KERNEL_NETPACKET_H
#define KERNEL_NETPACKET_H

#include "kernel/base.h"

#define PACKET_HEADER 12U
#define PACKET_FRAME_MAX (18U + 65535U)  /* Ethernet with a VLAN tag, and the longest IP datagram */
#define PACKET_MAX (PACKET_HEADER + PACKET_FRAME_MAX)

enum { PACKET_FLAGS = 0, PACKET_KIND = 1, PACKET_SEGMENT = 4, PACKET_CSUM_START = 6, PACKET_CSUM_OFFSET = 8, PACKET_ZERO = 10 };
enum { PACKET_NEEDS_CSUM = 1, PACKET_CSUM_VALID = 2 };
enum packet_kind { PACKET_WHOLE = 0, PACKET_TCP4 = 1, PACKET_TCP6 = 4, PACKET_ECN = 0x80 };

/* There is nothing in the header that a plain frame does not say as well. */
static inline bool packet_is_plain(const u8 *header)
{
	return !(header[PACKET_FLAGS] & (PACKET_NEEDS_CSUM | PACKET_CSUM_VALID)) && header[PACKET_KIND] == PACKET_WHOLE;
}

/* What the header asks for can be done to a frame of that size, as far as the header tells. */
static inline bool packet_makes_sense(const u8 *header, u32 frame_size)
{
	const unsigned kind = header[PACKET_KIND] & ~(unsigned)PACKET_ECN;
	u32 start = (u32)read_bytes_le(header + PACKET_CSUM_START, 2), offset = (u32)read_bytes_le(header + PACKET_CSUM_OFFSET, 2);

	if (header[PACKET_FLAGS] & PACKET_NEEDS_CSUM && start + offset + 2 > frame_size)
		return false;
	if (header[PACKET_KIND] == PACKET_WHOLE)
		return true;
	return (kind == PACKET_TCP4 || kind == PACKET_TCP6) && header[PACKET_FLAGS] & PACKET_NEEDS_CSUM &&
	       read_bytes_le(header + PACKET_SEGMENT, 2);
}

#endif
