/*
 * qemu.h - starting the QEMU that hosts the hypervisor.
 */
#ifndef TOOLS_QEMU_H
#define TOOLS_QEMU_H

#include <sys/types.h>

#include "tools/tool.h"

struct qemu {
	pid_t pid;
	int console, control;  /* our ends, non-blocking: the first and second serial port */
	int gdb;               /* the same for the third, if asked for; else -1 */
	int errors;            /* what it says on its standard output and error */
};

/* A further disk of the hypervisor's, found by its name. */
struct qemu_disk {
	int fd;
	bool readonly;
	bool durable;          /* a flush by the hypervisor reaches it */
	char serial[16];
};
#define QEMU_MAX_DISKS 24  /* the guests', their recordings, a fork's parents, frames */

/* A network device: values of -netdev and -device [net.c]. */
struct qemu_nic {
	char netdev[1024];     /* empty: its cable is out */
	char device[128];
	int fd;                /* that netdev names; -1: none */
};
#define QEMU_MAX_NICS 16
#define QEMU_NIC_OPTIONS ",romfile=" /* of all of them: no boot ROM */
/*
 * Of those of a pair's hosts: what is sent has left when the hypervisor has rung twice [kernel/virtio.h,
 * ring_kick_through], not when QEMU's other thread has come to it: a host that is frozen has less under way then.
 */
#define QEMU_SENDS_AT_ONCE ",tx=timer,ioeventfd=off"
#define QEMU_MAX_DEVICES 28 /* of both together: as many as the machine has slots */

/* A SCSI unit, on an adapter of its own [scsiunit.h]. */
struct qemu_unit {
	char name[24];         /* of the node, and of the adapter */
	char drive[1024];      /* value of -blockdev */
};
#define QEMU_MAX_UNITS 9   /* the arbiter, and the disks of a guest */

/* What a host of a pair has besides [cmd_ft.c]. */
struct qemu_pair {
	int link_fd;              /* a connected datagram socket: the link's wire */
	const char *link_mac;     /* NULL: no pair, and no link */
	const struct qemu_unit *unit; /* the arbiter, if it is one, and disks that both hosts share, in this order */
	unsigned nunits;
};

struct qemu_config {
	struct qemu_pair pair;
	const struct qemu_disk *disk;
	unsigned ndisks;
	const struct qemu_nic *nic;
	unsigned nnics;
	int bundle_fd;
	u64 mem_mib;
	int recording_fd;      /* -1: no disk */
	bool recording_readonly;
	bool durable;          /* a flush by the hypervisor reaches the disk */
	bool gdb;              /* a third serial port */
};

/* The program: $REPRISE_QEMU, or qemu-system-x86_64 of the PATH. */
const char *qemu_program(void);

/* The hypervisor's image: $REPRISE_KERNEL, or found from where this program is.  NULL after a complaint. */
const char *qemu_hypervisor(char path[4096]);

/*
 * Starts it.  It dies with us.  signals: the mask it runs under.  False after
 * a complaint.
 */
bool qemu_start(struct qemu *q, const struct qemu_config *c, const void *signals) must_check;

#endif
