/*
 * paging.h - how guest-physical memory is put under a running guest.
 *
 * One interface with room for two implementations: nested (nested.c, the
 * hardware walks our second-level tables) and, later, shadow (a software-held
 * TLB, exact even for guests that rely on stale translations).
 */
#ifndef VMM_PAGING_H
#define VMM_PAGING_H

#include "kernel/base.h"

struct vm;
struct vcpu;
struct exit;

enum paging_verdict {
	PAGING_RETRY,     /* mapped: run the instruction again */
	PAGING_STEP,      /* mapped for one instruction only: nstepping says so until step_done */
	PAGING_EMULATE,   /* not memory: a device register or a hole */
	PAGING_FAILED,    /* the host is out of memory */
	PAGING_BROKEN,    /* allowed, and faulted all the same */
};

struct paging_ops {
	const char *name;
	err_t (*init)(struct vm *vm);
	/* An exit of reason EXIT_PAGING. */
	enum paging_verdict (*fault)(struct vcpu *v, const struct exit *e);
	void (*step_done)(struct vm *vm);
	/* Moves the hardware's dirty bits into the guest memory's stale bits, and clears them. */
	void (*harvest_dirty)(struct vm *vm);
};

/* Perturbed replay turns these; the run must not notice. */
enum paging_variant {
	PAGING_NORMAL,       /* a touched chunk is mapped as 512 small pages */
	PAGING_ONE_BY_ONE,   /* small pages, each mapped when first touched */
};

/* An instruction lies in two pages at most, and with its operands and table entries touches few more. */
#define PAGING_MAX_STEP 8

struct paging {
	const struct paging_ops *ops;
	enum paging_variant variant;
	bool coherent_code; /* the host executes what was stored last: no W^X needed */
	u64 *root;          /* second-level top table */
	u64 root_hpa;
	gpa_t stepping[PAGING_MAX_STEP]; /* pages with both rights for one instruction */
	unsigned nstepping; /* 0: the guest runs freely */
	gpa_t turned;       /* last page turned writable, and at which count: */
	u64 turned_at;      /*   a fetch fault there at the same count needs both rights */
};

extern const struct paging_ops nested_paging;

/* Guest-virtual to guest-physical by the guest's own tables. */
struct walk_result {
	bool ok;
	gpa_t gpa;
	u32 error;          /* #PF error code when !ok */
};

enum { WALK_WRITE = 1, WALK_FETCH = 2, WALK_USER = 4, WALK_MARK = 8 /* set accessed and dirty bits */ };
struct walk_result paging_walk(struct vcpu *v, gva_t at, unsigned access);

#endif
