/*
 * packet.h - packets of GDB's remote serial protocol, and the few forms in
 * which they hold numbers and bytes [GDB Manual E.1 Overview].
 *
 * Received bytes wait in `raw` until packet_next takes them, in the order in
 * which they came: so an interrupt (a byte 0x03 between packets) sent behind a
 * packet that resumes stops that journey, and one sent before it does not.
 */
#ifndef GDBSTUB_PACKET_H
#define GDBSTUB_PACKET_H

#include "gdbstub/gdbstub.h"

#define PACKET_BYTES 0x4000 /* of a body; GDB is told */
#define PACKET_INTERRUPT 0x03

struct packets {
	struct gdb_link link;
	bool no_ack;
	bool interrupt_left; /* one that no journey has heard: it is for the next */
	u8 raw[2 * PACKET_BYTES];
	size_t nraw;
	char in[PACKET_BYTES + 1];      /* the body of the packet at hand, a NUL behind it */
	size_t size;
	char out[2 * PACKET_BYTES + 4]; /* '$', body, '#', checksum: kept to be sent again */
	size_t nout;
};

/* Takes in what the link has. */
void packet_fill(struct packets *p);

/* The next packet into p->in; false: none is complete.  Answers retransmission requests. */
bool packet_next(struct packets *p);

/* Whether an interrupt has come that packet_next has not passed. */
bool packet_interrupted(const struct packets *p);
void packet_drop_interrupts(struct packets *p);

/* A packet going out: begin, pieces, send. */
void packet_begin(struct packets *p);
void packet_text(struct packets *p, const char *text);
void packet_hex(struct packets *p, const void *data, size_t n);
void packet_binary(struct packets *p, const void *data, size_t n);
void packet_send(struct packets *p);

/* A whole packet of text. */
void packet_reply(struct packets *p, const char *fmt, ...) printf_like(2, 3);

/* Steps behind `word` if it stands at *s. */
bool take(const char **s, const char *word);

/* A hexadecimal number; false where none stands or it does not fit. */
bool take_hex(const char **s, u64 *value);

/* Bytes in hexadecimal: n of them. */
bool take_bytes(const char **s, u8 *buf, size_t n);

#endif
