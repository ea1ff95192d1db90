/*
 * scsi.c - CDBs, and answers sorted by what follows from them.  See scsi.h.
 */
#include "ft/scsi.h"

enum {
	READ_CAPACITY_10 = 0x25, PERSISTENT_RESERVE_IN = 0x5e, PERSISTENT_RESERVE_OUT = 0x5f,
	READ_16 = 0x88, COMPARE_AND_WRITE = 0x89, WRITE_16 = 0x8a,
};
enum { FUA = 0x08 }; /* on the medium, not in a cache [SBC3 4.15] */

/* Sense keys [SPC4 4.5]. */
enum { RECOVERED = 1, ILLEGAL_REQUEST = 5, UNIT_ATTENTION = 6, MISCOMPARE = 14 };
enum { ASC_INVALID_OPCODE = 0x2000 };

bool ft_scsi_ask(struct ft_scsi *s, const struct scsi_command *c)
{
	s->asked = !s->port->start(s->port->ctx, c, &s->ticket);
	return s->asked;
}

static enum ft_scsi_answer sort_sense(const struct ft_scsi *s)
{
	switch (s->sense_key) {
	case RECOVERED:
		return FT_SCSI_GOOD;
	case ILLEGAL_REQUEST:
		return s->asc == ASC_INVALID_OPCODE ? FT_SCSI_UNSUPPORTED : FT_SCSI_ILLEGAL;
	case UNIT_ATTENTION:
		return FT_SCSI_ATTENTION;
	case MISCOMPARE:
		return FT_SCSI_MISCOMPARE;
	default:
		return FT_SCSI_AGAIN;
	}
}

enum ft_scsi_answer ft_scsi_poll(struct ft_scsi *s)
{
	struct scsi_reply r = { .in = s->in };

	if (!s->port->poll(s->port->ctx, s->ticket, &r))
		return FT_SCSI_NONE;
	s->asked = false;
	s->in_bytes = MIN(r.in_bytes, FT_BLOCK_BYTES);
	s->sense_key = r.sense_key;
	s->asc = r.asc;
	if (!r.delivered)
		return FT_SCSI_AGAIN;
	switch (r.status) {
	case SCSI_GOOD:
		return FT_SCSI_GOOD;
	case SCSI_RESERVATION_CONFLICT:
		return FT_SCSI_CONFLICT;
	case SCSI_CHECK_CONDITION:
		return sort_sense(s);
	default:
		return FT_SCSI_AGAIN;
	}
}

struct scsi_command ft_scsi_capacity(void)
{
	return (struct scsi_command){ .cdb = { READ_CAPACITY_10 }, .cdb_size = 10, .in_bytes = 8 };
}

/* The long form of a command on blocks: bytes 10 to 13 say how many [SBC3 5.12]; COMPARE AND WRITE has only the last. */
static struct scsi_command on_blocks(u8 opcode, u8 flags, u64 lba, u32 n)
{
	struct scsi_command c = { .cdb = { opcode, flags }, .cdb_size = 16 };

	write_bytes_be(c.cdb + 2, 8, lba);
	write_bytes_be(c.cdb + 12, 2, n);
	return c;
}

struct scsi_command ft_scsi_read(u64 lba, u32 n)
{
	struct scsi_command c = on_blocks(READ_16, 0, lba, n);

	c.in_bytes = n * FT_BLOCK_BYTES;
	return c;
}

struct scsi_command ft_scsi_write(u64 lba, const u8 *out, u32 n)
{
	struct scsi_command c = on_blocks(WRITE_16, FUA, lba, n);

	c.out = out;
	c.out_bytes = n * FT_BLOCK_BYTES;
	return c;
}

struct scsi_command ft_scsi_compare_and_write(u64 lba, const u8 *out)
{
	struct scsi_command c = on_blocks(COMPARE_AND_WRITE, FUA, lba, 1);

	c.out = out;
	c.out_bytes = 2 * FT_BLOCK_BYTES;
	return c;
}

struct scsi_command ft_scsi_reserve_in(u8 action)
{
	struct scsi_command c = { .cdb = { PERSISTENT_RESERVE_IN, action }, .cdb_size = 10, .in_bytes = FT_BLOCK_BYTES };

	write_bytes_be(c.cdb + 7, 2, FT_BLOCK_BYTES);
	return c;
}

struct scsi_command ft_scsi_reserve_out(u8 action, u64 key, u64 other, bool persist, u8 out[FT_PR_PARAMETERS])
{
	/* Scope 0, the logical unit, in the upper half of the type's byte. */
	struct scsi_command c = { .cdb = { PERSISTENT_RESERVE_OUT, action, FT_PR_WRITE_EXCLUSIVE }, .cdb_size = 10 };

	write_bytes_be(c.cdb + 5, 4, FT_PR_PARAMETERS);
	memset(out, 0, FT_PR_PARAMETERS);
	write_bytes_be(out, 8, key);
	write_bytes_be(out + 8, 8, other);
	out[20] = persist; /* APTPL: through loss of power */
	c.out = out;
	c.out_bytes = FT_PR_PARAMETERS;
	return c;
}
