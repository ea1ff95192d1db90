/*
 * scsi.h - SCSI commands by name, one at a time, and what an answer comes to.
 *
 * One at a time is not thrift.  An initiator that has lost its connection makes
 * another and sends again what was not answered; the first command on the new
 * one is answered by UNIT ATTENTION and not carried out.  Whoever has only
 * one command outstanding therefore never writes without knowing of the loss
 * (docs/ARBITER.md, S3).
 */
#ifndef FT_SCSI_H
#define FT_SCSI_H

#include "kernel/scsi.h"

#define FT_BLOCK_BYTES 512U

enum ft_scsi_answer {
	FT_SCSI_NONE,        /* not yet */
	FT_SCSI_GOOD,
	FT_SCSI_CONFLICT,    /* somebody else's reservation; not carried out */
	FT_SCSI_ATTENTION,   /* something has happened to the unit or the way to it; not carried out, but it may have been before */
	FT_SCSI_MISCOMPARE,  /* COMPARE AND WRITE found another block */
	FT_SCSI_UNSUPPORTED, /* no such command there */
	FT_SCSI_ILLEGAL,     /* the command is there, not what was asked of it */
	FT_SCSI_AGAIN,       /* busy, aborted, failed or lost: it may have been carried out */
};

struct ft_scsi {
	const struct scsi_port *port;
	bool asked;             /* a command is outstanding */
	u64 ticket;
	u8 in[FT_BLOCK_BYTES];  /* what came with the last answer */
	u32 in_bytes;
	u8 sense_key;
	u16 asc;
};

/* Only when nothing is outstanding.  False: it could not be sent, and is not. */
bool ft_scsi_ask(struct ft_scsi *s, const struct scsi_command *c) must_check;

/* Of the command that is outstanding. */
enum ft_scsi_answer ft_scsi_poll(struct ft_scsi *s);

struct scsi_command ft_scsi_capacity(void);
/* n blocks, at most FT_SCSI_BLOCKS.  ft_scsi_poll has room for one. */
#define FT_SCSI_BLOCKS (SCSI_DATA_MAX / FT_BLOCK_BYTES)
struct scsi_command ft_scsi_read(u64 lba, u32 n);
/* On the medium when it is answered.  out: n blocks. */
struct scsi_command ft_scsi_write(u64 lba, const u8 *out, u32 n);
/* out: the block to compare with, then the block to write. */
struct scsi_command ft_scsi_compare_and_write(u64 lba, const u8 *out);

/* PERSISTENT RESERVE OUT's and IN's service actions [SPC4 6.15; SPC4 6.16]. */
enum { FT_PR_READ_RESERVATION = 1 };
enum { FT_PR_RESERVE = 1, FT_PR_RELEASE = 2, FT_PR_PREEMPT = 4, FT_PR_PREEMPT_AND_ABORT = 5, FT_PR_REGISTER_IGNORE = 6 };
enum { FT_PR_WRITE_EXCLUSIVE = 1 };
#define FT_PR_PARAMETERS 24

struct scsi_command ft_scsi_reserve_in(u8 action);
/* out is filled: key is the asker's, other the one the action is about. */
struct scsi_command ft_scsi_reserve_out(u8 action, u64 key, u64 other, bool persist, u8 out[FT_PR_PARAMETERS]);

#endif
