/*
 * ftverdict.h - what the demo saw, and whether it is what must be.
 *
 * A life is one run of one host, from its start to its end; lives are numbered as they begin.  The
 * wire knows for each when its first and its last frame of the machine's came: between the two
 * it acted as the machine.  So two hosts were live at once exactly if two such spans overlap,
 * whoever says what of himself.
 */
#ifndef TOOLS_FTVERDICT_H
#define TOOLS_FTVERDICT_H

#include "tools/tool.h"

#define LIVES_MAX 512
#define EVENTS_MAX 200

enum strike {
	STRIKE_NONE,
	STRIKE_PRIMARY,    /* kill -9 of the live host */
	STRIKE_SECONDARY,  /* of the other */
	STRIKE_PARTITION,  /* the cable is cut, both live on */
	STRIKE_FREEZE,     /* the live host stands still for seconds */
	STRIKES,
};

const char *strike_name(enum strike k);

struct life {
	unsigned host;             /* 0 or 1 */
	u64 frames, first_ns, last_ns; /* of the machine's, on its tap */
};

struct event {
	enum strike strike;
	u64 at_ns;
	unsigned before, after;    /* the life that was live; ALIVE_NONE: none came */
	u64 live_ns;               /* when the new one said that it is live; 0: it did not, or need not */
	u64 pause_ns;              /* the client's longest wait, until whoever is live answered it */
	u64 start_ns;              /* when the new secondary was started */
	u64 protected_ns;          /* when the pair was protected again; 0: never */
	u64 join_pause_ns;         /* the machine stood for the new secondary, by the host's word */
	u64 takeover_pause_ns;     /* ... for the takeover */
};
#define ALIVE_NONE (~0u)

struct facts {
	struct life life[LIVES_MAX];
	unsigned nlives;
	struct event event[EVENTS_MAX];
	unsigned nevents, wanted;  /* how many were meant to be */
	unsigned alarms;           /* the pair parted, and nothing was struck */
	u64 answered, lost, repeated, contradicted;
	const char *broken;        /* the client's connection; empty: it is whole */
	u64 unseen;                /* frames the capture lost */
	u64 pause_ns;              /* the longest wait of the whole run, if nothing was struck */
	bool foreign;              /* the client is another program: how it fared, its words */
	bool foreign_failed;
};

/* How many lives acted as the machine at once, at most. */
unsigned live_hosts_max(const struct life *life, unsigned n);

/*
 * The last line, and in why the first thing that is not as it must be; empty: all is.  True:
 * all is.
 */
bool judge(const struct facts *f, char line[160], char why[300]) must_check;

/* The value at or below which percent of n values lie; 0 of none. */
u64 centile(const u64 *values, unsigned n, unsigned percent);

#endif
