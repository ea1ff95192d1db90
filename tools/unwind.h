/*
 * unwind.h - from a stopped vCPU's registers and stack to the functions that
 * led there.
 *
 * Each step takes the best of what there is:
 *   1  call frame information, by libunwind over remote accessors [cfi.h]
 *   2  on a function's first instruction: the return address under the stack
 *      pointer, if a call in front of it leads here
 *   3  the frame an interrupt or exception left on the stack [APM2 8.9.3
 *      Interrupt Stack Frame]: entry stubs are assembly, of which nothing else
 *      tells
 *   4  the chain of frame pointers
 * A way that would not go up the stack, or to no code, is not taken.
 */
#ifndef TOOLS_UNWIND_H
#define TOOLS_UNWIND_H

#include "tools/cfi.h"
#include "tools/functions.h"

#define FRAMES_MAX 128

/* In DWARF's order, which is libunwind's [AMD64 ABI, DWARF Register Number Mapping]. */
enum dwarf_reg {
	DW_RAX, DW_RDX, DW_RCX, DW_RBX, DW_RSI, DW_RDI, DW_RBP, DW_RSP, DW_R8, DW_R9, DW_R10, DW_R11, DW_R12, DW_R13, DW_R14,
	DW_R15, DW_RIP, DW_REGS,
};

struct unwind_regs {
	u64 r[DW_REGS];     /* RIP is a linear address */
	u16 cs;
};

/* What is unwound.  The caller fills all of it. */
struct unwinder {
	const struct functions *functions;
	const struct cfi *cfi;
	u64 offset;         /* where the code lies, less where it was linked to */
	bool is_64;
	bool is_linux;      /* its entry code clears registers, and keeps them where struct pt_regs has them */
	bool (*read)(void *ctx, u64 at, void *buf, size_t n);
	void *ctx;
};

enum frame_how {
	FRAME_REGISTERS,    /* where the vCPU is */
	FRAME_CFI,          /* a caller */
	FRAME_POINTER,
	FRAME_CALL,
	FRAME_INTERRUPTED,  /* not a caller: what an interrupt or exception came upon */
};

struct frame {
	u64 pc, sp;
	enum frame_how how;
	bool is_user;       /* in ring 3, where the walk ends */
};

enum unwind_end {
	UNWIND_TOP,         /* the outermost frame says that it is that, or no way leads on */
	UNWIND_USER,
	UNWIND_MAX,         /* more than FRAMES_MAX */
};

/* Fills frames, the innermost first; at least one. */
enum unwind_end unwind(const struct unwinder *u, const struct unwind_regs *regs, struct frame frames[FRAMES_MAX], size_t *n);

/* "cfi", "interrupted" ... */
const char *frame_how_name(enum frame_how how);
const char *unwind_end_name(enum unwind_end end);

/* The address whose function a frame is in: a call can be the last instruction of its own. */
static inline u64 frame_place(const struct frame *f)
{
	return f->how == FRAME_REGISTERS || f->how == FRAME_INTERRUPTED ? f->pc : f->pc - 1;
}

#endif
