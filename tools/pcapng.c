/*
 * pcapng.c - writing captured frames as pcapng.  See pcapng.h.
 *
 * Every block is built whole before it is written: its length stands at both ends
 * [PCAPNG, General Block Structure].  A failing file shows in ferror.
 */
#include "tools/pcapng.h"
#include "tools/tool.h"

enum { SECTION_HEADER = 0x0a0d0d0a, INTERFACE_DESCRIPTION = 1, ENHANCED_PACKET = 6 };

/* [PCAPNG, Options] */
enum {
	OPT_END = 0, OPT_COMMENT = 1,
	SHB_USERAPPL = 4,
	IF_NAME = 2, IF_MACADDR = 6, IF_TSRESOL = 9,
	EPB_FLAGS = 2,
};

enum { LINKTYPE_ETHERNET = 1, TSRESOL_NS = 9 };
enum { INBOUND = 1, OUTBOUND = 2 }; /* [PCAPNG, Enhanced Packet Block Flags Word] */

static void put(struct buf *b, unsigned size, u64 v)
{
	u8 bytes[8];

	write_bytes_le(bytes, size, v);
	buf_add(b, bytes, size);
}

static void pad(struct buf *b)
{
	buf_fill(b, 0, -b->size & 3);
}

static void option(struct buf *b, unsigned code, const void *value, size_t size)
{
	put(b, 2, code);
	put(b, 2, size);
	buf_add(b, value, size);
	pad(b);
}

static void text_option(struct buf *b, unsigned code, const char *text)
{
	if (text && *text)
		option(b, code, text, MIN(strlen(text), (size_t)UINT16_MAX));
}

static void begin(struct buf *b, u32 type)
{
	put(b, 4, type);
	put(b, 4, 0); /* the length, when it is known */
}

static void end(struct buf *b, FILE *f)
{
	option(b, OPT_END, "", 0);
	put(b, 4, b->size + 4);
	write_bytes_le(b->data + 4, 4, b->size);
	fwrite(b->data, 1, b->size, f);
	buf_free(b);
}

void pcapng_begin(FILE *f, const char *application, const char *comment)
{
	struct buf b = { 0 };

	begin(&b, SECTION_HEADER);
	put(&b, 4, 0x1a2b3c4d);
	put(&b, 2, 1); /* version 1.0 */
	put(&b, 2, 0);
	put(&b, 8, ~0UL); /* how long the section is: not said */
	text_option(&b, OPT_COMMENT, comment);
	text_option(&b, SHB_USERAPPL, application);
	end(&b, f);
}

void pcapng_interface(FILE *f, const char *name, const u8 mac[6])
{
	const u8 tsresol = TSRESOL_NS;
	struct buf b = { 0 };

	begin(&b, INTERFACE_DESCRIPTION);
	put(&b, 2, LINKTYPE_ETHERNET);
	put(&b, 2, 0);
	put(&b, 4, 0); /* no limit to a packet's bytes */
	text_option(&b, IF_NAME, name);
	option(&b, IF_MACADDR, mac, 6);
	option(&b, IF_TSRESOL, &tsresol, 1);
	end(&b, f);
}

void pcapng_packet(FILE *f, u32 interface, u64 time_ns, bool outbound, const void *data, u32 size, const char *comment)
{
	struct buf b = { 0 };
	u8 flags[4];

	begin(&b, ENHANCED_PACKET);
	put(&b, 4, interface);
	put(&b, 4, time_ns >> 32);
	put(&b, 4, (u32)time_ns);
	put(&b, 4, size); /* captured, and on the wire */
	put(&b, 4, size);
	buf_add(&b, data, size);
	pad(&b);
	write_bytes_le(flags, 4, outbound ? OUTBOUND : INBOUND);
	option(&b, EPB_FLAGS, flags, 4);
	text_option(&b, OPT_COMMENT, comment);
	end(&b, f);
}
