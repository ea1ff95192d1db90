/*
 * scsi.h - a SCSI command and what became of it, between those who ask and those who carry.
 *
 * Portable: the arbiter (ft/) asks through `struct scsi_port`; on the machine
 * kernel/virtio_scsi.c is behind it, in the unit tests a target that misbehaves.
 *
 * A command is started and then polled, because nobody here may wait for
 * storage that does not answer.  Whoever has waited long enough abandons it:
 * that says nothing about whether the target has carried it out, or will.
 */
#ifndef KERNEL_SCSI_H
#define KERNEL_SCSI_H

#include "kernel/base.h"

#define SCSI_CDB_SIZE 16
#define SCSI_SENSE_SIZE 96
#define SCSI_DATA_MAX 65536U

struct scsi_command {
	u8 cdb[SCSI_CDB_SIZE];
	u8 cdb_size;
	const void *out; /* what goes with it; copied before start returns */
	u32 out_bytes;   /* at most SCSI_DATA_MAX, as is in_bytes */
	u32 in_bytes;    /* the most that may come back */
};

/* Status [SAM5 5.3.1 Status codes]: the ones somebody tells apart. */
enum {
	SCSI_GOOD = 0x00,
	SCSI_CHECK_CONDITION = 0x02,
	SCSI_BUSY = 0x08,
	SCSI_RESERVATION_CONFLICT = 0x18,
	SCSI_TASK_SET_FULL = 0x28,
	SCSI_TASK_ABORTED = 0x40,
};

struct scsi_reply {
	bool delivered; /* the target has answered, by `status`; if not, it may or may not have done it */
	u8 status;
	u8 sense_key;   /* with CHECK CONDITION; 0 if there is no sense data */
	u16 asc;        /* additional sense code and qualifier, as in 0x1d00 */
	u32 in_bytes;   /* how much has come back */
	u8 *in;         /* where the caller wants it: as many bytes as were asked for */
};

/* One logical unit and the way to it. */
struct scsi_port {
	/* ERR_NO_MEMORY: too many commands are unanswered; ERR_INVALID: too much data. */
	err_t (*start)(void *ctx, const struct scsi_command *c, u64 *ticket);
	/* True: it has ended, *r is filled and the ticket is spent.  r->in is set by the caller. */
	bool (*poll)(void *ctx, u64 ticket, struct scsi_reply *r);
	/* Nobody will ask for it again.  What still comes back touches nothing of the caller's. */
	void (*abandon)(void *ctx, u64 ticket);
	void *ctx;
};

#endif
