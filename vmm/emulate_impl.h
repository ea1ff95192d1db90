/*
 * emulate_impl.h - between the emulator's files; nothing else includes it.
 */
#ifndef VMM_EMULATE_IMPL_H
#define VMM_EMULATE_IMPL_H

#include "vmm/emulate.h"

/* One instruction being executed. */
struct emu {
	struct cpu_state *s;
	const struct insn *in;
	const struct emu_ops *ops;
	void *ctx;
	gva_t addr; /* of the memory operand, once emu_prepare has been here */
};

/* The low size_bytes of a register by number. */
u64 emu_get_gpr(const struct cpu_state *s, unsigned reg, unsigned size_bytes);
void emu_set_gpr(struct cpu_state *s, unsigned reg, unsigned size_bytes, u64 value);

/* Segmentation of the memory operand, displacement away from where ModRM puts it. */
enum emu_result emu_prepare(struct emu *e, u64 displacement) must_check;

/* Operand n, whatever it is.  Loads are zero-extended; a store to a register cannot fail. */
enum emu_result emu_load(struct emu *e, unsigned n, u64 *v) must_check;
enum emu_result emu_store(struct emu *e, unsigned n, u64 v) must_check;

/* Operands 0 and 1, of which at most one is memory. */
enum emu_result emu_load_two(struct emu *e, u64 *a, u64 *b) must_check;

/* The end of most instructions: result to operand 0, flags, retire. */
enum emu_result emu_finish(struct emu *e, u64 result, u64 flags) must_check;

static inline enum emu_result emu_done(struct emu *e)
{
	cpu_retire(e->s, e->in->length);
	return EMU_DONE;
}

/* emulate_string.c */
enum emu_result emu_string(struct emu *e) must_check;
enum emu_result emu_port_in(struct emu *e) must_check;
enum emu_result emu_port_out(struct emu *e) must_check;

#endif
