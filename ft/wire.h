/*
 * wire.h - the datagrams of the link, to bytes and back [docs/LINK.md 5].
 */
#ifndef FT_WIRE_H
#define FT_WIRE_H

#include "kernel/base.h"

#define FT_ETHERTYPE 0x88b5
#define FT_LINK_VERSION 4
#define FT_DATAGRAM_MIN 256  /* every message but DATA is smaller */
#define FT_DATAGRAM_MAX 9000 /* that every host takes; how long it makes them is the network's [ft.h] */
#define FT_HEADER_BYTES 11
#define FT_DATA_HEADER_BYTES (FT_HEADER_BYTES + 4)
#define FT_DATA_MAX (FT_DATAGRAM_MAX - FT_DATA_HEADER_BYTES)

enum ft_kind {
	FT_HELLO = 1,
	FT_WELCOME = 2,
	FT_REFUSE = 3,
	FT_DATA = 4,
	FT_ACK = 5,
	FT_DIVERGED = 6,
	FT_BYE = 7,
	FT_OVER = 8,
};

enum { /* flags: of DATA and ACK, of ACK */
	FT_ASK = 0x10,
	FT_LOADED = 0x20,
	FT_HOLE = 0x40,
};

enum ft_refusal {
	FT_OTHER_LINK = 1,
	FT_OTHER_BUILD = 2,
	FT_OTHER_PROBE = 3,
	FT_OTHER_MACHINE = 4,
	FT_NO_ROOM = 5,
};

enum ft_bye {
	FT_LEAVING = 1,
	FT_LOAD_FAILED = 2,
	FT_ENDED = 3,
	FT_DIGESTS_DIFFER = 4,
	FT_HOST_FAILED = 5,
	FT_GIVEN_UP = 6,
};

struct ft_hello {
	u16 version;
	u64 id, build, probe, head;
	u32 log_room, held_room;
};

struct ft_welcome {
	u64 seeker, id, term;
};

struct ft_refuse {
	u64 seeker;
	u8 reason;          /* enum ft_refusal */
	u64 mine, yours;
};

struct ft_data {
	u32 offset, size;
	const u8 *data;     /* encoding: NULL if the bytes are in place already */
};

struct ft_ack {
	u32 offset;
	u16 room;           /* in units of FT_ROOM_UNIT */
	u32 executed;       /* low half of the count */
	u32 made;           /* low half of the units of output made */
	u32 hole_end;       /* with FT_HOLE */
};
#define FT_ROOM_UNIT 64

struct ft_diverged {
	u64 epoch, count, vtime_ns, expected, got;
};

struct ft_message {
	enum ft_kind kind;
	u8 flags;
	u32 session;
	union {
		struct ft_hello hello;
		struct ft_welcome welcome;
		struct ft_refuse refuse;
		struct ft_data data;
		struct ft_ack ack;
		struct ft_diverged diverged;
		u8 bye;             /* enum ft_bye */
		u64 over;           /* term */
	};
};

/* buf: FT_DATAGRAM_MAX bytes.  Returns the size.  A DATA's bytes belong at FT_DATA_HEADER_BYTES. */
u32 ft_encode(const struct ft_message *m, u64 key, u8 *buf);

/* False: not exactly what docs/LINK.md 5 says (I16).  Data points into buf; padding behind is ignored. */
bool ft_decode(struct ft_message *m, u64 key, const u8 *buf, u32 size);

#endif
