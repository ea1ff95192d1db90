/*
 * tool.h - what every file of the host command shares: exit statuses, the
 * way it complains, a growable buffer, numbers as people write them.
 */
#ifndef TOOLS_TOOL_H
#define TOOLS_TOOL_H

#include <stdio.h>

#include "kernel/base.h"

#define REPRISE_RELEASE "0.1"

/* Exit statuses; docs/reprise.1 promises them. */
enum status {
	ST_OK = 0,
	ST_HOST = 1,     /* the host failed: QEMU, files, memory */
	ST_USAGE = 2,
	ST_DIVERGED = 3, /* the replay was not the recorded run */
	ST_DAMAGED = 4,  /* the recording is damaged; what is intact replays */
	ST_GUEST = 5,    /* the guest crashed or asked for failure */
	ST_LIMIT = 6,    /* a limit was reached */
};

struct command {
	const char *name;
	const char *title;     /* "NAME PART", if it is a part of another */
	const char *summary;   /* one line of `reprise help` */
	const char *help;      /* the whole page of `reprise help NAME` */
	enum status (*run)(int argc, char **argv);
	const struct command *const *parts; /* `reprise NAME PART`, up to NULL; run is for what is none of them */
};

extern const struct command cmd_run, cmd_record, cmd_replay, cmd_info, cmd_log, cmd_verify, cmd_pack, cmd_doctor, cmd_debug, cmd_fork, cmd_bt, cmd_ft;

/* One line on standard error, "reprise: THING: REASON; MEND".  Returns st, so that callers can pass it on. */
enum status complain(enum status st, const char *fmt, ...) printf_like(2, 3) must_check;
/* The same line for what is no failure. */
void remark(const char *fmt, ...) printf_like(1, 2);

/* ---- a growable buffer; out of memory ends the program ---- */

struct buf {
	u8 *data;
	size_t size, room;
};

void buf_add(struct buf *b, const void *data, size_t size);
void buf_fill(struct buf *b, u8 byte, size_t size);
void buf_printf(struct buf *b, const char *fmt, ...) printf_like(2, 3);
void buf_free(struct buf *b);
void *need(void *p);   /* p, or the end of the program */

/* ---- numbers ---- */

/* "256M", "5G": digits and one letter K M G T, powers of unit (1000 or 1024). */
bool parse_count(const char *s, unsigned unit, u64 *v);
/* "60s", "500ms", "2m", "1h", "7us", "9ns"; a bare number is seconds. */
bool parse_duration(const char *s, u64 *ns);
/* "now", "2025-01-01", "2025-01-01T12:00:00Z", "@1735689600": seconds since 1970 UTC. */
bool parse_date(const char *s, u64 *seconds);

/* "3.91 G", "812": three digits that matter. */
const char *human_count(u64 v, char buf[32]);
const char *human_bytes(u64 v, char buf[32]);
const char *human_ns(u64 ns, char buf[32]);
/* "81,234" */
const char *with_commas(u64 v, char buf[32]);

/* "52:54:00:12:34:56": one machine's address, not a group's, not nobody's. */
bool parse_mac(const char *text, u8 mac[6]);

u64 host_ns(void);     /* a steady clock, for timeouts and progress only */
u64 host_ms(void);
u64 draw64(u64 *state); /* the next of splitmix64's numbers: the same for the same state */

/* ---- files ---- */

const char *tmp_dir(void); /* for files that nobody keeps: $TMPDIR or /tmp */

/* Reads a whole file; complains and returns NULL if it cannot. */
u8 *load_file(const char *path, const char *mend, size_t *size);
bool write_all(int fd, const void *data, size_t size);
/* Whether path names the open file, by whatever name. */
bool same_file(int fd, const char *path);
/* Whether two names are one file's. */
bool same_names(const char *a, const char *b);
/*
 * What belongs to this program, from where it lies: places are installed or in the build tree,
 * the latter first.  False: neither can be read, path is the first.
 */
bool find_beside(const char *const places[2], char path[4096]);

/*
 * A string as JSON has it, quotes included.  What is not UTF-8 becomes one
 * code point a byte; whoever needs exact bytes writes hex besides.
 */
void json_string(FILE *f, const void *data, size_t size);

#endif
