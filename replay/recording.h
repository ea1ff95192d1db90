/*
 * recording.h - writing and reading a recording [docs/RECORDING.md].
 *
 * One implementation for the hypervisor, the host command and the tests:
 * plain C over a medium of four hooks, no allocation.  A writer or a reader
 * is one big struct (about 220 and 260 KiB): give it static or allocated
 * memory, never a stack in the hypervisor.
 *
 * Errors stick: after the first failure every call returns it again.
 */
#ifndef REPLAY_RECORDING_H
#define REPLAY_RECORDING_H

#include "kernel/base.h"
#include "vmm/boundary.h"
#include "vmm/execpoint.h"

#define REC_VERSION 1
#define REC_FILE_HEADER_BYTES 32
#define REC_SECTOR 512

#define REC_PAYLOAD_MAX 131072               /* of one chunk, expanded */
#define REC_PART_MAX 65536                   /* ... of one that is no EVENTS */
#define REC_CHUNK_HEADER_MAX 7               /* type, two varints of at most 3 bytes */
#define REC_CHUNK_MAX (REC_CHUNK_HEADER_MAX + REC_PAYLOAD_MAX + 8)
#define REC_WINDOW ((REC_SECTOR + REC_CHUNK_MAX + REC_SECTOR) / REC_SECTOR * REC_SECTOR)
#define REC_EVENT_BUFFER 20480               /* the writer commits by itself when this is full, or the next would not fit */
#define REC_INPUT_MAX 65600                  /* one packet [kernel/netpacket.h] */
#define REC_EVENT_MAX (REC_INPUT_MAX + 128)  /* with all that is around it */
#define REC_NAME_MAX 255                     /* marks, roles, reasons */
#define REC_SKIPS 16
#define REC_MAX_VMS 16
#define REC_LZ4_STATE_BYTES 16416            /* LZ4's hash table, kept off the stack */

enum rec_chunk_type {
	REC_HEAD = 1,
	REC_HOST = 2,
	REC_EVENTS = 3,
	REC_IMAGE = 4,
	REC_END = 5,
	REC_CHECKPOINT = 6, /* [stored.h] */
	REC_DISK = 7,
};
#define REC_SKIPPABLE 0x80 /* or-ed to a type: readers that do not know it pass over it */

enum rec_event_kind {
	REC_INPUT = 1,
	REC_DIGEST = 2,
	REC_MARK = 3,
};

/* Where a recording lives. size is its capacity in bytes: for a file being read, the file's size. */
struct rec_medium {
	/* offset is a multiple of REC_SECTOR; so is n, unless it reaches to a size that is not */
	err_t (*read)(void *ctx, u64 offset, void *buf, size_t n);
	/* offset and n are multiples of REC_SECTOR */
	err_t (*write)(void *ctx, u64 offset, const void *buf, size_t n);
	err_t (*flush)(void *ctx);
	void *ctx;
	u64 size;
	bool (*busy)(void *ctx); /* a write would wait for the one before it; NULL: never */
};

struct rec_event {
	enum rec_event_kind kind;
	u32 vm;
	struct execpoint at;
	struct input input;  /* INPUT: data points into the reader, valid until its next call */
	u64 digest;          /* DIGEST */
	const char *name;    /* MARK: name_size bytes, not terminated, valid as input.data is */
	u32 name_size;
};

/* How one VM's run ended, and what it took. */
struct rec_end {
	u32 vm;
	enum vm_outcome outcome;
	u32 guest_exit;
	u64 insns, vtime_ns, exits, inputs, input_bytes, digest;
	char reason[REC_NAME_MAX + 1];
};

/* The point deltas are taken from; one for each VM, advanced alike by writer and reader. */
struct rec_base {
	u64 count, vtime_ns, sequence;
};

/* ---- writing ---- */

struct rec_writer {
	struct rec_medium medium;
	err_t error;
	u64 end;          /* bytes written so far: where the next chunk begins */
	u64 chain;        /* checksum of the chunk before it */
	u64 nchunks, nevents;
	struct rec_base base[REC_MAX_VMS];
	u32 fill;         /* bytes waiting in events[] */
	u8 events[MAX(REC_EVENT_BUFFER, REC_EVENT_MAX)]; /* one that is longer than the buffer is alone in it */
	/* The current sector's old bytes, then the chunk being built, then zeros to a whole sector. */
	u8 stage[REC_SECTOR + REC_CHUNK_MAX + REC_SECTOR];
	u64 lz4[REC_LZ4_STATE_BYTES / 8];
};

/* Begins a new recording: writes the file header and HEAD. */
err_t rec_create(struct rec_writer *w, const struct rec_medium *m, u64 nonce, const char *head,
		 size_t head_size) must_check;

/*
 * Goes on behind what another writer wrote: append_offset and chain are its
 * `end` and `chain`.  No EVENTS may have been written before it: deltas start
 * from zero.
 */
err_t rec_writer_open(struct rec_writer *w, const struct rec_medium *m, u64 append_offset,
		      u64 chain) must_check;

/*
 * Queue an event.  A point that lies before the last one of the same VM, or
 * an input or name too long, is ERR_INVALID.
 */
err_t rec_put_input(struct rec_writer *w, u32 vm, const struct execpoint *at, const struct input *in) must_check;
err_t rec_put_digest(struct rec_writer *w, u32 vm, const struct execpoint *at, u64 digest) must_check;
err_t rec_put_mark(struct rec_writer *w, u32 vm, const struct execpoint *at, const char *name) must_check;

/* Whether a commit would wait for the medium; and an input of so many bytes, because it has to commit. */
bool rec_busy(const struct rec_writer *w);
bool rec_input_waits(const struct rec_writer *w, u32 size);

/* Makes everything queued part of the recording; durable: and asks the medium to flush. */
err_t rec_commit(struct rec_writer *w, bool durable) must_check;

/* Commits, then writes a chunk of its own: HOST text, an image part. At most REC_PART_MAX bytes. */
err_t rec_put_chunk(struct rec_writer *w, unsigned type, const void *payload, size_t size) must_check;

/*
 * Room for REC_PART_MAX bytes where rec_put_chunk needs no copy of them, until
 * the next call.  Nothing may be queued.
 */
u8 *rec_chunk_space(struct rec_writer *w);

/*
 * What an IMAGE payload begins with; the part's bytes follow it.  Writes at
 * most REC_IMAGE_HEAD_MAX bytes to buf and returns how many.
 */
#define REC_IMAGE_HEAD_MAX (2 + REC_NAME_MAX + 10)
u32 rec_image_head(u8 *buf, const char *role, u64 offset);

/*
 * What a DISK payload begins with; sectors read of that disk follow, from that one on.  With none behind it, `sector` is the
 * disk's size in sectors.  Writes at most REC_DISK_HEAD_MAX bytes to buf and returns how many.
 */
#define REC_DISK_HEAD_MAX 20
#define REC_DISK_SECTOR 512
#define REC_MAX_DISKS 8
u32 rec_disk_head(u8 *buf, unsigned disk, u64 sector);

/* Commits, writes END and flushes.  Nothing may follow. */
err_t rec_put_end(struct rec_writer *w, const struct rec_end *ends, unsigned n) must_check;

/* ---- reading ---- */

/* Where reading stopped [docs/RECORDING.md 11]. */
enum rec_stop {
	REC_STOP_NONE,
	REC_STOP_COMPLETE,
	REC_STOP_CUT,
	REC_STOP_DAMAGED,
	REC_STOP_VERSION,
	REC_STOP_IO,
};

/* A verified chunk; payload is expanded and valid until the reader's next call. */
struct rec_chunk {
	u8 type;
	bool skippable, lz4;
	u64 offset;          /* of the chunk in the file */
	u32 total_bytes;     /* header, payload and checksum as stored */
	const u8 *payload;
	u32 size;
};

struct rec_reader {
	struct rec_medium medium;
	enum rec_stop stop;
	u64 nonce;
	u64 end;             /* offset behind the last intact chunk */
	u64 chain;
	bool started;        /* HEAD was read: another one is damage */
	struct rec_base base[REC_MAX_VMS];
	struct rec_chunk chunk;
	u64 chunk_chain;     /* chain before this chunk */
	u32 pos;             /* of the next event in an EVENTS chunk */
	u32 nends;           /* after END */
	struct rec_end ends[REC_MAX_VMS];
	/* Rows of checkpoints that were passed over once: to be verified again they are too long. */
	struct rec_skip {
		u64 from, from_chain, to, to_chain;
	} skip[REC_SKIPS];
	unsigned nskips;     /* ever noted; the table is a ring */
	u64 window_offset;   /* window[] holds the medium from here */
	u32 window_fill;
	u8 window[REC_WINDOW];
	u8 expanded[REC_PAYLOAD_MAX];
};

/*
 * Reads the file header and HEAD; r->chunk is then HEAD.
 *   ERR_INVALID  not a recording at all
 *   ERR_VERSION  a version this build does not read
 *   ERR_DAMAGED  the file header or HEAD is: nothing of it can be used
 */
err_t rec_reader_open(struct rec_reader *r, const struct rec_medium *m) must_check;

/*
 * Starts behind HEAD and images, where another reader stood: its `end` and
 * `chain`.  The hypervisor's way in; the tool has read what came before.
 */
err_t rec_reader_open_at(struct rec_reader *r, const struct rec_medium *m, u64 offset, u64 chain) must_check;

/*
 * Reads the next chunk into r->chunk.  END's contents are in r->ends.
 *   ERR_END      complete or cut: r->stop tells
 *   ERR_DAMAGED  at r->end; ERR_VERSION, ERR_IO likewise
 */
err_t rec_next_chunk(struct rec_reader *r) must_check;

/* The next event of the EVENTS chunk in r->chunk; ERR_END: it has no more. */
err_t rec_chunk_event(struct rec_reader *r, struct rec_event *ev) must_check;

/* The next event, across chunks; everything else is verified and passed over. Errors as rec_next_chunk. */
err_t rec_next_event(struct rec_reader *r, struct rec_event *ev) must_check;

/* A place between two events, to come back to. */
struct rec_place {
	u64 offset, chain;   /* of the chunk whose events are being read, or of the next one */
	bool inside;         /* the chunk had been read: `pos` is within it */
	u32 pos;
	struct rec_base base[REC_MAX_VMS];
};
void rec_tell(const struct rec_reader *r, struct rec_place *at);
/* The reader stands there again, whatever it met since; errors as rec_next_chunk. */
err_t rec_seek(struct rec_reader *r, const struct rec_place *at) must_check;

/* An IMAGE chunk's parts. */
struct rec_image_part {
	char role[REC_NAME_MAX + 1];
	u64 offset;
	const u8 *data;
	u32 size;
};
err_t rec_image_part(const struct rec_chunk *c, struct rec_image_part *part) must_check;

/* A DISK chunk's: sectors as they were read; size 0: `sector` is how many the disk has. */
struct rec_sectors {
	unsigned disk;       /* below REC_MAX_DISKS */
	u64 sector;
	const u8 *data;
	u32 size;            /* bytes, whole sectors */
};
err_t rec_disk_sectors(const struct rec_chunk *c, struct rec_sectors *s) must_check;

/* ---- LZ4, in one place (recording_lz4.c) ---- */

/* Bytes written to dst, 0 if they do not fit in dst_size. state: REC_LZ4_STATE_BYTES. */
u32 rec_lz4_compress(void *state, const void *src, u32 size, void *dst, u32 dst_size);
/* ERR_DAMAGED unless src expands to exactly dst_size bytes. */
err_t rec_lz4_expand(const void *src, u32 size, void *dst, u32 dst_size) must_check;

#endif
