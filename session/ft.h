/*
 * ft.h - the mode ft: one host of a fault-tolerant pair [ft/ft.h].
 *
 *   ft.c         the mode: the link, the clock, and what is told
 *   ft_copy.c    giving and taking a machine's copy
 *   ft_store.c   the arbiter: a SCSI unit of this machine, or a file of the host command's
 *   ft_disk.c    disks that both hosts share
 *
 * session.conf says: ft_role=primary|secondary, ft_link_mac, ft_heartbeat_ms, ft_detect_ms,
 * ft_pair_id, ft_arbiter=scsi|file, ft_policy=stop|reprotect, ft_recording=1, random=HEX: 64 bits
 * that nobody else has.
 */
#ifndef SESSION_FT_H
#define SESSION_FT_H

#include "ft/arbiter_scsi.h"
#include "ft/fence_scsi.h"
#include "ft/ft.h"
#include "kernel/virtio_net.h"
#include "session/session.h"

#define PAIR_LOG_BYTES MIB(4)    /* powers of two */
#define PAIR_RING_BYTES MIB(4)
#define PAIR_HELD_BYTES MIB(4)

/* A disk of the machine's that is a logical unit of both hosts' [ft_disk.c]. */
struct shared_disk {
	struct session_pair *f;
	u16 number;                    /* which of the machine's */
	const struct scsi_port *port;
	u64 nsectors;
	struct ft_fence fence;
	bool attention;                /* the reservation may be gone */
	bool reading;                  /* a read is under way: nothing else is sent */
	u64 ticket;                    /* its */
	bool left;                     /* nobody waits for its answer any more, which goes to ... */
	u8 *waste;
	bool unsent;                   /* the write waits for that */
	bool answered;                 /* the write under way was, before anybody asked */
	enum ft_scsi_answer answer;
	u8 *record;                    /* where a DISK chunk is put together; NULL: reads are not recorded */
};

struct session_pair {
	struct session *s;
	struct ft_pair *pair;
	struct ft_config config;
	struct ft_env env;
	struct ft_memory buffers;
	struct host_port port;         /* the session's, with the link served */
	struct nic *link;
	u8 link_mac[6];
	u64 ids;                       /* given so far */
	u64 host_insns;                /* since the machine began here */
	/* told on the control channel */
	enum ft_role told_role;
	u64 told_ns, told_joins;
	/* ft_copy.c */
	struct ft_machine copy;
	u64 *give[1 + VM_MAX_DISKS];   /* bitmaps of pages that are to be given */
	unsigned memory, chunk;        /* looked at next */
	u8 *state;
	u64 put;                       /* pages */
	struct stored_writer *arrival; /* what comes is written down, too; NULL: it is not */
	/* ft_store.c */
	struct ft_arbiter arbiter;
	struct ft_store store;         /* scsi */
	bool asking;
	u64 question;                  /* file: the number of the last */
	u64 asked_ns;
	/* ft_disk.c */
	struct ft_disks disks;
	struct shared_disk shared[VM_MAX_DISKS];
	unsigned nshared;
	struct shared_disk *writing;   /* a write is under way to it; NULL: it could not be begun */
	struct ft_write write;         /* which */
	bool left_read;                /* a read was given up because this host left: the machine stands there */
	bool taking;
	const char *complaint;
};

void session_copy_init(struct session_pair *f);
void session_store_init(struct session_pair *f);
/* What disk n of the machine is made of if it is shared, and its size; without its unit it fails. */
struct disk_base session_share_disk(struct session_pair *f, unsigned n, u64 *nsectors);
/* Of each: what is read from here on is recorded, and now how large it is. */
void session_record_shared(struct session_pair *f);

#endif
