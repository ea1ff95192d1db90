/*
 * fuzz_decode.c - arbitrary bytes through the decoder and the emulator.
 *
 * The input is an instruction with the state to run it in; memory and ports
 * answer pseudo-randomly, faults and stops included.  Checked besides what the
 * sanitizers see: verdicts and lengths are in range, a decode does not depend
 * on bytes past its length, and E1 of vmm/emulate.h.
 *
 *   clang -fsanitize=fuzzer,address,undefined -I. tests/fuzz/fuzz_decode.c vmm/decode*.c vmm/emulate*.c
 *   gcc -DSTANDALONE -fsanitize=address,undefined -I. (the same files); ./a.out 5000000 [seed]
 */
#include <stdio.h>
#include <stdlib.h>

#include "vmm/emulate.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static u64 xorshift(u64 *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

#define require(what) do { if (!(what)) { fprintf(stderr, "not: %s\n", #what); abort(); } } while (0)

struct fuzz_memory {
	u64 seed;
	unsigned accesses;
};

static enum emu_result answer(struct fuzz_memory *m, unsigned size)
{
	u64 r = xorshift(&m->seed);

	m->accesses++;
	require(size == 1 || size == 2 || size == 4 || size == 8);
	return (r & 15) == 0 ? EMU_FAULT : (r & 15) == 1 ? EMU_STOP : EMU_OK;
}

static enum emu_result f_read(void *ctx, gva_t a, unsigned size, unsigned intent, u64 *v)
{
	struct fuzz_memory *m = ctx;
	enum emu_result r = answer(m, size);

	(void)a;
	require(intent & EMU_READ);
	if (!r)
		*v = xorshift(&m->seed);
	return r;
}

static enum emu_result f_write(void *ctx, gva_t a, unsigned size, u64 v)
{
	(void)a;
	require((v & ~size_mask(size)) == 0);
	return answer(ctx, size);
}

static enum emu_result f_check(void *ctx, gva_t a, unsigned size, unsigned access)
{
	(void)a;
	require(access == EMU_READ || access == EMU_WRITE);
	return answer(ctx, size);
}

static enum emu_result f_in(void *ctx, u16 port, unsigned size, u64 *v)
{
	struct fuzz_memory *m = ctx;
	enum emu_result r = answer(m, size);

	(void)port;
	require(size <= 4);
	if (!r)
		*v = xorshift(&m->seed);
	return r;
}

static enum emu_result f_out(void *ctx, u16 port, unsigned size, u64 v)
{
	(void)port;
	require(size <= 4 && (v & ~size_mask(size)) == 0);
	return answer(ctx, size);
}

static const struct emu_ops fuzz_ops = {
	.read = f_read, .write = f_write, .check = f_check, .in = f_in, .out = f_out,
};

static void make_state(struct cpu_state *s, unsigned bits, u64 *seed)
{
	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < NGPR; i++)
		s->gpr[i] = xorshift(seed) >> (xorshift(seed) & 63);
	s->rip = xorshift(seed);
	s->rflags = xorshift(seed) & 0xffffff;
	for (unsigned i = 0; i < NSEG; i++) {
		u64 r = xorshift(seed);

		s->seg[i] = (struct segment){ .selector = (u16)r, .attrib = (r >> 16 & 0xfff) | SEG_ATTR_P,
					      .limit = (u32)(r >> 32), .base = xorshift(seed) & 0xffffffff };
		if (r & 1)
			s->seg[i].limit = ~0U;
	}
	s->cr0 = xorshift(seed) & CR0_PE;
	s->efer = bits == 64 ? EFER_LMA : 0;
	s->seg[SEG_CS].attrib &= (u16)~(SEG_ATTR_L | SEG_ATTR_DB);
	s->seg[SEG_CS].attrib |= bits == 64 ? SEG_ATTR_L : bits == 32 ? SEG_ATTR_DB : 0;
}

static void execute(const struct insn *in, u64 *seed)
{
	struct fuzz_memory m = { .seed = xorshift(seed) | 1 };
	struct cpu_state s, before;
	enum emu_result r;

	make_state(&s, in->code_bits, seed);
	memcpy(&before, &s, sizeof(s));
	for (unsigned i = 0; i < 4; i++) {
		m.accesses = 0;
		r = emulate(&s, in, &fuzz_ops, &m);
		require(r <= EMU_UNSUPPORTED && m.accesses <= 4);
		if (in->op == INSN_IRET) /* checks its stack, and does no more */
			require(r > EMU_REPEAT && r != EMU_DE && m.accesses <= 1);
		else
			require((r == EMU_UNSUPPORTED) == (in->op > INSN_OUT));
		if (r > EMU_REPEAT)
			require(memcmp(&before, &s, sizeof(s)) == 0);
		if (r == EMU_REPEAT)
			require(s.rip == before.rip);
		if (r != EMU_REPEAT)
			return;
		memcpy(&before, &s, sizeof(s));
	}
}

/* The same verdict on the instruction's own bytes alone, and none on fewer. */
static void check_length(const u8 *bytes, const struct insn *in)
{
	struct insn again;

	require(in->length >= 1 && in->length <= INSN_MAX_LENGTH);
	require(in->op > INSN_NONE && in->op < NINSN && in->noperands <= 3);
	require(insn_decode(bytes, in->length, in->code_bits, &again) == OK);
	require(memcmp(in, &again, sizeof(again)) == 0);
	require(insn_decode(bytes, in->length - 1U, in->code_bits, &again) == ERR_END);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	u64 seed = 0x9e3779b97f4a7c15;
	struct insn in;
	err_t err;

	if (size < 2)
		return 0;
	for (size_t i = 0; i < size; i++) {
		seed ^= data[i];
		xorshift(&seed);
	}
	err = insn_decode(data + 1, size - 1, 16U << data[0] % 3, &in);
	require(err == OK || err == ERR_END || err == ERR_INVALID || err == ERR_UNSUPPORTED);
	require(err != ERR_END || size - 1 < INSN_MAX_LENGTH);
	require(err != ERR_INVALID || in.vector == VEC_UD || in.vector == VEC_GP);
	if (err == OK) {
		check_length(data + 1, &in);
		execute(&in, &seed);
	}
	return 0;
}

#ifdef STANDALONE
/* Half the inputs begin with legacy prefixes or 0F: arbitrary bytes rarely do. */
static size_t make_input(u64 *seed, u8 *out)
{
	static const u8 start[] = { 0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x64, 0x48, 0x4f, 0x0f, 0x0f };
	u64 r = xorshift(seed);
	size_t size = 2 + (r & 15), n = 1;

	for (size_t i = 0; i < size; i++)
		out[i] = (u8)(xorshift(seed) >> 32);
	while (n < size && xorshift(seed) & 1)
		out[n++] = start[xorshift(seed) % ARRAY_SIZE(start)];
	return size;
}

int main(int argc, char **argv)
{
	unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 0) : 1000000;
	u64 seed = argc > 2 ? strtoul(argv[2], NULL, 0) | 1 : 0x853c49e6748fea9b;

	for (unsigned long i = 0; i < n; i++) {
		u8 input[32], *exact;
		size_t size = make_input(&seed, input);

		/* A heap block of the very size, so that one byte too far is seen. */
		exact = malloc(size);
		if (!exact)
			return 1;
		memcpy(exact, input, size);
		LLVMFuzzerTestOneInput(exact, size);
		free(exact);
	}
	printf("%lu inputs\n", n);
	return 0;
}
#endif
