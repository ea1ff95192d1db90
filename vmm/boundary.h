/*
 * boundary.h - the one door between a VM and the world.
 *
 * All guest-visible nondeterminism enters here, stamped with an execution
 * point, and all guest output leaves here.  Live, record and replay are
 * implementations (replay/), a host of a fault-tolerant pair is another, as
 * primary and as secondary (ft/).  Nothing below this interface can tell which
 * is behind it.
 *
 * The VM asks at deterministic points only: every poll_interval instructions
 * and when it halts.  So an exit caused by asking is the same in every mode.
 */
#ifndef VMM_BOUNDARY_H
#define VMM_BOUNDARY_H

#include "kernel/base.h"
#include "vmm/execpoint.h"
#include "vmm/vclock.h"

/* What kinds of input there are.  Numbers are the recording's [docs/RECORDING.md]. */
enum input_kind {
	INPUT_NONE = 0,
	INPUT_CONSOLE = 1,  /* bytes for the guest's console */
	INPUT_FRAME = 2,    /* an Ethernet frame without its check sequence, for the NIC `instance` */
	INPUT_DISK = 3,     /* an answer: the host failed a request of the disk `instance`; no bytes */
	INPUT_PACKET = 4,   /* for the NIC `instance`, of which something is left to do [netpacket.h] */
	/* 5..15 reserved: keyboard, operator actions */
};

/* What the machine can take at this point: what has no room stays outside. */
struct input_room {
	u32 console;     /* bytes */
	u32 nics;        /* bit n: NIC n can take a frame */
	u32 packets;     /* bit n: ... and it takes packets */
	u32 deaf;        /* bit n: NIC n has no driver; what comes for it is dropped outside, unrecorded */
};

struct input {
	enum input_kind kind;
	u16 instance;    /* which device of the kind */
	const u8 *data;  /* the boundary's, valid until the next call to it */
	u32 size;
};

/* What leaves a guest. */
enum output_kind {
	OUTPUT_CONSOLE = 1,
	OUTPUT_FRAME = 2,   /* an Ethernet frame without its check sequence, of the NIC `instance` */
	OUTPUT_DISK = 3,    /* sectors written to the disk `instance`, which the machine shares with others */
	OUTPUT_PACKET = 4,  /* of the NIC `instance`, of which something is left to do [netpacket.h] */
};

struct output {
	enum output_kind kind;
	u16 instance;
	const void *data; /* the device's, valid during the call */
	u32 size;         /* bytes; of a disk's, whole sectors of 512 */
	u64 sector;       /* of a disk's: the first */
};

/* Why a VM's run ended.  Numbers are the recording's. */
enum vm_outcome {
	VM_RUNNING = 0,
	VM_POWERED_OFF = 1,
	VM_DEBUG_EXIT = 2,    /* value: the guest's exit code */
	VM_RESET = 3,         /* the guest asked for a reset and the VM is run once */
	VM_TRIPLE_FAULT = 4,
	VM_STUCK = 5,         /* halted with nothing left that could wake it */
	VM_UNHANDLED = 6,     /* something this machine does not have; reason in vm.stop_reason */
	VM_LIMIT = 7,         /* --limit-insns or --limit-vtime */
	VM_DIVERGED = 8,      /* replay: not the recorded run */
	VM_RECORDING_END = 9, /* replay: the recording ends here (it was cut) */
	VM_QUIT = 10,         /* the operator left */
	VM_HOST_FAILED = 11,  /* recording medium failed, out of memory */
};

struct vm;
struct boundary;

struct boundary_ops {
	const char *name;
	bool wants_digests; /* false: epochs end without one, and epoch is not called */

	/*
	 * The next input that enters the VM at exactly `now`, one it has room for;
	 * false if none does.  Called until it answers false.  Record: stamps and
	 * appends the input before returning it.
	 */
	bool (*next_input)(struct boundary *b, const struct execpoint *now, const struct input_room *room, struct input *in);

	/*
	 * The VM is halted at `now` and its next timer is at deadline_ns
	 * (VTIMER_NEVER: none).  Returns the virtual time at which it goes on,
	 * at most deadline_ns: earlier when an input enters (next_input then has
	 * it).  Returns VTIMER_NEVER when nothing can ever wake the VM.
	 */
	u64 (*idle)(struct boundary *b, const struct execpoint *now, const struct input_room *room, u64 deadline_ns);

	/* Something leaves the guest. */
	void (*output)(struct boundary *b, const struct execpoint *now, const struct output *out);

	/*
	 * A device has asked the host for something at this very point (a disk its
	 * image), and `host` came of it.  Returns what the guest is to see.  Record:
	 * appends a failure that the guest sees.  Replay: the recorded one.  OK for
	 * what was no success: the guest cannot go on here, and the VM stops.
	 */
	err_t (*answer)(struct boundary *b, const struct execpoint *now, enum input_kind kind, u16 instance, err_t host);

	/*
	 * A digest of the whole machine at the end of an epoch.  Record:
	 * appends it.  Replay: compares; ends the VM with VM_DIVERGED.
	 */
	enum vm_outcome (*epoch)(struct boundary *b, const struct execpoint *now, u64 digest);

	/*
	 * Asked at each poll point, after the inputs, and now and then between
	 * them: VM_RUNNING, or why the VM must stop now.
	 */
	enum vm_outcome (*poll)(struct boundary *b, const struct execpoint *now);
};

struct boundary {
	const struct boundary_ops *ops;
	/* poll is asked at each exit, not only at poll points and now and then. */
	bool ask_at_exits;
	/*
	 * ... and, unless 0, so many instructions after it last was, by an exit more: which changes nothing of the run, but
	 * for a guest that can tell where it was stopped [docs/CAVEATS.md].
	 */
	u64 ask_within_insns;
};

#endif
