/*
 * emulate.h - executes one decoded instruction on a vCPU's state.
 *
 * For instructions that touch memory the guest may not reach by itself: device
 * registers, string port I/O.  Memory and ports are callbacks, so any mixture
 * of RAM and devices in one instruction works.
 *
 * Invariants, which tests name:
 *  E1  Any answer but EMU_DONE and EMU_REPEAT leaves the cpu_state untouched,
 *      so that the instruction can be started again.
 *  E2  Each memory operand is accessed once per instruction (per iteration of
 *      a string), a read-modify-write as one read and then one write.  Only a
 *      16-byte operand is two accesses of eight bytes.
 *  E3  Where an instruction has two memory or port operands (MOVS, CMPS, PUSH,
 *      INS), check has approved both before the first is accessed: a page
 *      fault on the second would otherwise repeat a device read that took its
 *      datum away.  (POP takes for granted that the stack is RAM.)
 *
 * Not modelled: alignment checks (#AC), 57-bit linear addresses, debug
 * exceptions.  With RFLAGS.TF set, EMU_DONE and EMU_REPEAT leave the caller
 * owing a #DB; data breakpoints are the caller's too.  For IN, OUT, INS and
 * OUTS it must have checked IOPL and the I/O permission map (an IOIO exit
 * comes after that check).
 */
#ifndef VMM_EMULATE_H
#define VMM_EMULATE_H

#include "kernel/base.h"
#include "vmm/cpustate.h"
#include "vmm/decode.h"

enum emu_result {
	EMU_DONE,        /* complete: rip is past it, RF and the interrupt shadow are clear */
	EMU_REPEAT,      /* one iteration of a REP string is done, rip still on it */
	EMU_FAULT,       /* a callback recorded a guest fault */
	EMU_STOP,        /* a callback wants out; start the instruction again later */
	EMU_GP,          /* raise #GP(0) */
	EMU_SS,          /* raise #SS(0) */
	EMU_DE,          /* raise #DE */
	EMU_UNSUPPORTED, /* this one is only decoded; IRET, too, where its stack gives no fault */
	EMU_OK = EMU_DONE, /* a callback's answer for success */
};

enum { EMU_READ = MEM_READ, EMU_WRITE = MEM_WRITE };

/*
 * What the emulator asks of its surroundings.  Addresses are linear; sizes are
 * 1, 2, 4 or 8; an access may cross a page, and then faults as a whole before
 * anything is changed.  Of a value only the low size_bytes count.
 * Each answers EMU_OK, EMU_FAULT or EMU_STOP.
 */
struct emu_ops {
	/* intent has EMU_WRITE if a write to the same place follows: fault now if that would. */
	enum emu_result (*read)(void *ctx, gva_t addr, unsigned size_bytes, unsigned intent, u64 *value);
	enum emu_result (*write)(void *ctx, gva_t addr, unsigned size_bytes, u64 value);
	/* Would this access fault?  Must not touch a device. */
	enum emu_result (*check)(void *ctx, gva_t addr, unsigned size_bytes, unsigned access);
	enum emu_result (*in)(void *ctx, u16 port, unsigned size_bytes, u64 *value);
	enum emu_result (*out)(void *ctx, u16 port, unsigned size_bytes, u64 value);
};

/*
 * Executes in, decoded from the bytes at s->rip with cpu_code_bits(s).  A
 * REP string does one iteration a call; the caller may take interrupts between.
 */
enum emu_result emulate(struct cpu_state *s, const struct insn *in, const struct emu_ops *ops,
			void *ctx) must_check;

/* The offset of in's memory operand in its segment.  (BT and its kin with a register add to it.) */
u64 emu_offset(const struct cpu_state *s, const struct insn *in);

/* The linear address of in's memory operand, unchecked: for INVLPG, and for reports. */
gva_t emu_linear(const struct cpu_state *s, const struct insn *in);

/*
 * Segmentation: offset in seg (enum segreg) to linear, with the limit, type and
 * canonical checks of the mode.  EMU_OK, EMU_GP or EMU_SS.
 */
enum emu_result emu_segment(const struct cpu_state *s, unsigned seg, u64 offset,
			    unsigned size_bytes, unsigned access, gva_t *linear) must_check;

/* A general-register operand.  Writing 4 bytes clears the upper half, 1 and 2 keep the rest. */
u64 emu_get_reg(const struct cpu_state *s, const struct insn_operand *o);
void emu_set_reg(struct cpu_state *s, const struct insn_operand *o, u64 value);

#endif
