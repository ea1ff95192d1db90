/*
 * group.h - several VMs side by side on one CPU, each with a run of its own.
 *
 * A member is a session like any other, with its own images, disks, boundary and recording;
 * what it shares with the others is behind its host port, where no run can see it:
 *
 *   the CPU        a coroutine each, which gives way at poll points and where its guest
 *                  idles; who is next is turns.c's
 *   the console    COM1, marked: FFh and a number, below 240, say whose the bytes from there
 *                  on are, FFh FFh is the byte FFh; in both directions
 *   the control    COM2: lines of and for one member begin with @, its number and a blank
 *   networks       switches [vswitch.h], each with a device of the host's that leads further,
 *                  or none
 *
 * One that crashes, stops or fails ends alone; the boot ends with the last.
 *
 *   session.conf:   machines=N, mode=run|record
 *                   lanN_mac=MAC    there is a switch N, and the device it leads to the host's
 *                                   network by; none: it leads nowhere
 *   N.session.conf: share=1..1000   of the CPU, against the others' (default 100)
 *                   nicN_lan=M      NIC N is on switch M; else on a device, as one that is alone
 *                   and what a session alone has there [tools/session.h]
 */
#ifndef SESSION_GROUP_H
#define SESSION_GROUP_H

#include "kernel/coroutine.h"
#include "session/session.h"
#include "session/turns.h"
#include "session/vswitch.h"

#define GROUP_LANS 8
#define GROUP_TYPED 4096U           /* bytes typed for a member that wait, a power of two */

_Static_assert(TURNS_MAX <= COROUTINES, "a stack each");

struct group_member {
	struct session s;
	struct session_group *group;
	unsigned number;
	char tag[8];                /* "@0 " */
	struct host_port own;       /* the session's, as one alone would have it */
	struct coroutine flow;
	bool waits, ended;
	bool told;                  /* something by the host command, since it began to wait */
	u64 wake_ns;                /* waits: until then */
	u64 since;                  /* the tick up to which its use of the CPU is charged */
	struct vswitch_port port[VM_MAX_NICS];
	u8 typed[GROUP_TYPED];
	u32 typed_put, typed_got;
	u32 typed_heard;            /* of those put, those that were news once */
};

struct group_lan {
	struct vswitch sw;
	struct vswitch_port uplink;
	struct session_wire up;
};

struct session_group {
	struct session *root;       /* what they have in common */
	unsigned n;
	struct group_member *member[TURNS_MAX];
	struct turns turns;
	struct coroutine scheduler;
	unsigned nlans;
	struct group_lan *lan[GROUP_LANS];
	int shown;                  /* whose bytes COM1 carries to the host command, ... */
	unsigned typed_for;         /* ... and from it */
	bool marked;                /* the last byte from it was a lone FFh */
};

/* For port.c and net.c: the group's part of what they do for a session alone. */
void group_listen(struct session_group *g);
void group_show(struct session *s, const u8 *data, size_t size);
/* True: the NIC is on a switch now, by s->wire[nic]. */
bool group_plug(struct session *s, unsigned nic, const u8 mac[6]);

/* Ticks of the CPU that the member has used; and its ports' figures, as lines for the command. */
u64 group_used(struct session *s);
void group_report(struct session *s);

#endif
