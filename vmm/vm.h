/*
 * vm.h - a virtual machine and its vCPUs.
 *
 * Nothing of a VM lives outside this struct.  Ownership: the vCPU loop
 * (run.c) changes `now`; devices change only themselves; the paging code owns
 * the second-level tables.
 */
#ifndef VMM_VM_H
#define VMM_VM_H

#include "kernel/base.h"
#include "vmm/board.h"
#include "vmm/boundary.h"
#include "vmm/cpustate.h"
#include "vmm/disk.h"
#include "vmm/dev/lapic.h"
#include "vmm/execpoint.h"
#include "vmm/exit.h"
#include "vmm/guestmem.h"
#include "vmm/paging.h"
#include "vmm/vclock.h"
#include "vmm/virt.h"

#define VM_MAX_VCPUS 8
#define NO_STOP (~0UL)

/* What a VM is made of: the recording's HEAD holds the same. */
struct vm_config {
	u64 mem_bytes;        /* multiple of 2 MiB */
	unsigned ncpus;
	u64 seed;
	u64 rtc_epoch_s;      /* the RTC's date at vtime 0, seconds since 1970 UTC */
	u64 ns_per_insn;      /* pacing, >= 1 */
	u64 poll_insns;       /* inputs are asked for every so many instructions */
	u64 epoch_insns;      /* digests are taken every so many; a multiple of poll_insns */
	u64 limit_insns;      /* NO_STOP: none */
	u64 limit_vtime_ns;
	bool x87_cleared;     /* x87's pointers are set to 0 at poll points and when it idles [virt.h] */
	bool digest_all_flags; /* as recordings before digest_version=2 [docs/RECORDING.md 4] */

	/* What is on the PCI bus; nothing of it, and there is no bus. */
	unsigned ndisks, nnics;
	struct disk *disk[VM_MAX_DISKS];
	u8 mac[VM_MAX_NICS][6];
	bool offload[VM_MAX_NICS]; /* the guest may leave checksums and cutting to others, and they to it [netpacket.h] */
	bool virtio_console, rng;
};

/* An exception waiting to be delivered to a vCPU. */
struct pending_exception {
	bool valid, has_error;
	u8 vector;
	u32 error;
};

struct vcpu {
	struct vm *vm;
	unsigned index;
	struct cpu_state cpu;
	struct lapic lapic;
	struct pending_exception exception;
	int irq_vector;      /* offered at the next entry; -1 none.  Derived, never saved */
	bool irq_from_pic;
	void *vendor;        /* the control block; virt_ops only */

	struct watch_slot watch[WATCH_SLOTS]; /* the debugger's, never saved */
	unsigned nwatches;
	unsigned watch_armed;   /* bits: those of this entry; by the loop */
	unsigned watch_touched; /* bits: those that the emulator has reached in this instruction */
	u64 watch_past;         /* the count at which an EXEC hit has been looked at; NO_STOP */
	u64 watch_past_at;      /* ... and its address: another's at this count, behind a fault, has not */
	u64 watch_off;          /* the count at which none is armed: the guest uses the registers; NO_STOP */
};

/* Counted by the loop, per VM; never guest-visible. */
struct vm_stats {
	u64 exits[NEXIT];
	u64 host_insns[NEXIT];   /* spent handling them, where the host counts */
	u64 guest_insns, idle_jumps, irqs, inputs, input_bytes, output_bytes, epochs;
	u64 digest_insns, digest_pages;
};

/*
 * An extra stop asked for from above (perturbed replay, a closer look, a
 * debugger): the guest stops at this count too, and the hook says where to
 * stop next, NO_STOP for nowhere.  It must not change the machine.
 */
struct vm_stop {
	u64 at;
	u64 (*hit)(struct vm *vm, void *ctx);
	void *ctx;
};
#define VM_MAX_STOPS 8

struct vm {
	struct vm_config config;
	struct execpoint now;
	u64 idle_ns;             /* sum of idle jumps: vtime = count * ns_per_insn + idle_ns */
	struct vclock clock;
	struct guest_memory mem;
	struct disk *disk[VM_MAX_DISKS]; /* the configuration's first */
	unsigned ndisks;
	struct paging paging;
	struct board board;
	struct vcpu vcpu[VM_MAX_VCPUS];
	const struct virt_ops *virt;
	struct boundary *boundary;

	u64 next_poll, next_epoch;   /* counts */
	bool host_keeps_shadow;      /* a saved interrupt shadow is honoured at entry */
	unsigned stalled;            /* entries since the count last moved */
	u64 asked_at;                /* the count at which the boundary was last asked */
	unsigned unasked_exits;      /* since then */
	u64 leave_at;                /* the count at which the run ends as the boundary said; NO_STOP */
	enum vm_outcome leave_as;
	struct vm_stop stops[VM_MAX_STOPS];
	unsigned nstops;
	bool pause;                  /* vm_run returns at the next turn; whoever asked for it clears it */
	void (*watch_hit)(struct vcpu *v, unsigned slots, void *ctx);
	void *watch_ctx;
	bool watch_blind;            /* some entry may have missed a watch, or counted it wrong */

	enum vm_outcome outcome;     /* VM_RUNNING until something ends it */
	u32 guest_exit;
	char stop_reason[128];
	struct vm_stats stats;
	u64 (*host_counter)(void);   /* for statistics only */
};

/*
 * Makes a VM of a configuration: memory, board, vCPUs at reset.  alloc gives
 * zeroed chunks of 2 MiB; virt and boundary stay the caller's.
 */
err_t vm_create(struct vm *vm, const struct vm_config *c, const struct virt_ops *virt,
		struct boundary *boundary, const struct chunk_source *chunks) must_check;

/* Runs until something ends or pauses the VM; returns vm->outcome, VM_RUNNING if it was paused. */
enum vm_outcome vm_run(struct vm *vm);

/* Ends the VM; the first reason given is kept. */
void vm_stop(struct vm *vm, enum vm_outcome why, const char *fmt, ...) printf_like(3, 4);

/* Adds a stop for the life of the VM; the caller may set its `at` anew while the VM does not run. */
struct vm_stop *vm_add_stop(struct vm *vm, u64 at, u64 (*hit)(struct vm *vm, void *ctx), void *ctx);

/* Gives a VM its next disk, for life, before it runs. */
void vm_add_disk(struct vm *vm, struct disk *d);

/*
 * The memories of a VM, all of which are its state: number 0 is its RAM, number
 * 1 + n what was written to its disk n.
 */
#define VM_MAX_MEMORIES (1 + VM_MAX_DISKS)

static inline unsigned vm_nmemories(const struct vm *vm)
{
	return 1 + vm->ndisks;
}

static inline struct guest_memory *vm_memory(struct vm *vm, unsigned n)
{
	return n ? &vm->disk[n - 1]->overlay : &vm->mem;
}

/* Every piece of guest-visible state but memories, in one walk. */
void vm_state_walk(struct vm *vm, struct state_walk *w);

/* Digest of registers, devices and memories at this point. */
u64 vm_digest(struct vm *vm);

/* Queues an exception for the vCPU; a second one on top of a first becomes #DF as hardware has it. */
void vcpu_raise(struct vcpu *v, u8 vector, bool has_error, u32 error);

/* Handles one exit [exits.c]. */
void exit_dispatch(struct vcpu *v, const struct exit *e);

/* An instruction was done for the guest: RIP moves on, the instruction counts. */
void vcpu_retire(struct vcpu *v, unsigned insn_bytes);

/* The same where RIP has been moved already, or stays (one iteration of a REP string). */
void vcpu_count_one(struct vcpu *v);

#define CPUID_PHYS_BITS 40 /* of a guest-physical address */

/* CPUID and MSRs of the machine [cpuid.c, msr.c]. */
void cpuid_read(const struct vcpu *v, u32 leaf, u32 subleaf, u32 out[4]);
err_t msr_read(struct vcpu *v, u32 index, u64 *value) must_check;  /* ERR_INVALID: #GP */
err_t msr_write(struct vcpu *v, u32 index, u64 value) must_check;

#endif
