/*
 * test_emulate.c - what the CPU under the tests cannot show natively: devices,
 * ports, 16- and 32-bit modes, segmentation, and the invariants of emulate.h.
 *
 * Instructions are given as bytes and go through the decoder.  Memory is 64 KiB
 * of RAM at linear 0 and a device at
 * 0xa0000 that counts its reads; every access is logged as text, so a test states the whole sequence.
 */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>

#include "vmm/emulate.h"
#include "vmm/emulate_alu.h"

#define DEVICE 0xa0000UL
#define RAM_BYTES 0x10000U
#define DEVICE_BYTES 0x1000U

struct world {
	struct cpu_state s;
	struct insn in;
	u8 ram[RAM_BYTES];
	u64 device_reads;  /* the device answers 0x11 * how often it was read */
	u64 fault_page;    /* linear page that faults; 0: none */
	u64 fault_at;      /* the access that did */
	char log[400];
};

static void note(struct world *w, const char *format, ...)
{
	size_t n = strlen(w->log);
	va_list ap;

	va_start(ap, format);
	vsnprintf(w->log + n, sizeof(w->log) - n, format, ap);
	va_end(ap);
}

static bool faults(struct world *w, u64 addr, unsigned size)
{
	bool device = addr >= DEVICE && addr - DEVICE + size <= DEVICE_BYTES;
	bool fault = (!device && addr > RAM_BYTES - size) ||
	       (w->fault_page && (addr + size - 1) >> PAGE_SHIFT == w->fault_page >> PAGE_SHIFT);

	if (fault)
		w->fault_at = addr;
	return fault;
}

/* Bits above the size are noise, which must come out nowhere. */
static enum emu_result w_read(void *ctx, gva_t a, unsigned size, unsigned intent, u64 *v)
{
	struct world *w = ctx;

	if (faults(w, a.v, size))
		return EMU_FAULT;
	note(w, "%s%u@%lx ", intent & EMU_WRITE ? "rw" : "r", size, a.v);
	*v = a.v >= DEVICE ? 0x1111111111111111 * ++w->device_reads : read_bytes_le(w->ram + a.v, size) | (size < 8 ? 0xabUL << 56 : 0);
	return EMU_OK;
}

static enum emu_result w_write(void *ctx, gva_t a, unsigned size, u64 v)
{
	struct world *w = ctx;

	if (faults(w, a.v, size))
		return EMU_FAULT;
	note(w, "w%u@%lx=%lx ", size, a.v, v);
	if (a.v < DEVICE)
		write_bytes_le(w->ram + a.v, size, v);
	return EMU_OK;
}

static enum emu_result w_check(void *ctx, gva_t a, unsigned size, unsigned access)
{
	(void)access;
	return faults(ctx, a.v, size) ? EMU_FAULT : EMU_OK;
}

static enum emu_result w_in(void *ctx, u16 port, unsigned size, u64 *v)
{
	note(ctx, "in%u@%x ", size, port);
	*v = 0xfedcba9876543210;
	return EMU_OK;
}

static enum emu_result w_out(void *ctx, u16 port, unsigned size, u64 v)
{
	note(ctx, "out%u@%x=%lx ", size, port, v);
	return EMU_OK;
}

static const struct emu_ops world_ops = {
	.read = w_read, .write = w_write, .check = w_check, .in = w_in, .out = w_out,
};

/* Segment types [APM2 4.7 Legacy Segment Descriptors], present, S set. */
enum { DATA_RW = 0x93, DATA_RO = 0x91, DATA_DOWN = 0x97, CODE_X = 0x99, CODE_RX = 0x9b };

/* Flat segments; code of so many bits; 16 is real mode with 64 KiB limits. */
static struct world *world(unsigned bits)
{
	static struct world storage;
	struct world *w = &storage;

	memset(w, 0, sizeof(*w));
	w->s.rip = 0x100;
	w->s.rflags = RFLAGS_RESERVED1 | RFLAGS_RF;
	w->s.interrupt_shadow = 1;
	for (unsigned i = 0; i < NSEG; i++)
		w->s.seg[i] = (struct segment){
			.attrib = DATA_RW | (bits == 16 ? 0 : SEG_ATTR_DB),
			.limit = bits == 16 ? 0xffff : 0xffffffff,
		};
	w->s.cr0 = bits == 16 ? 0 : CR0_PE;
	if (bits != 16)
		w->s.seg[SEG_CS].attrib = CODE_RX | (bits == 32 ? SEG_ATTR_DB : SEG_ATTR_L);
	if (bits == 64)
		w->s.efer = EFER_LMA | EFER_LME;
	return w;
}

static enum emu_result step(struct world *w, const char *bytes, size_t n)
{
	cr_assert_eq(insn_decode((const u8 *)bytes, n, cpu_code_bits(&w->s), &w->in), OK);
	cr_assert_eq(w->in.length, n);
	return emulate(&w->s, &w->in, &world_ops, w);
}

#define STEP(w, bytes) step(w, bytes, sizeof(bytes) - 1)
#define LOGGED(w, text) cr_assert_str_eq((w)->log, text)

/* --- devices --- */

Test(emulate, read_modify_write_is_one_read_and_one_write)
{
	struct world *w = world(64);

	w->s.gpr[RBX] = DEVICE;
	w->s.gpr[RAX] = 0x0101010101010101;
	cr_assert_eq(STEP(w, "\xf0\x09\x43\x10"), EMU_DONE); /* lock or [rbx+10], eax */
	LOGGED(w, "rw4@a0010 w4@a0010=11111111 ");
	cr_assert_eq(w->s.rip, 0x104);
	cr_assert_eq(w->s.rflags & RFLAGS_RF, 0);
	cr_assert_eq(w->s.interrupt_shadow, 0);
}

Test(emulate, compare_and_test_only_read)
{
	struct world *w = world(64);

	w->s.gpr[RBX] = DEVICE;
	cr_assert_eq(STEP(w, "\x80\x3b\x11"), EMU_DONE); /* cmp byte [rbx], 11 */
	cr_assert(w->s.rflags & RFLAGS_ZF);
	cr_assert_eq(STEP(w, "\xf6\x03\x44"), EMU_DONE); /* test byte [rbx], 44: 22 & 44 */
	cr_assert(w->s.rflags & RFLAGS_ZF);
	LOGGED(w, "r1@a0000 r1@a0000 ");
}

Test(emulate, movs_between_ram_and_device)
{
	struct world *w = world(64);

	write_bytes_le(w->ram + 0x200, 8, 0x8877665544332211);
	w->s.gpr[RSI] = 0x200;
	w->s.gpr[RDI] = DEVICE;
	w->s.gpr[RCX] = 2;
	cr_assert_eq(STEP(w, "\xf3\xa5"), EMU_REPEAT);
	cr_assert_eq(w->s.rip, 0x100, "rip stays until the last iteration");
	cr_assert(w->s.rflags & RFLAGS_RF, "or an instruction breakpoint would hit twice");
	cr_assert_eq(w->s.interrupt_shadow, 0);
	cr_assert_eq(STEP(w, "\xf3\xa5"), EMU_DONE);
	cr_assert_eq(w->s.rip, 0x102);
	cr_assert_eq(w->s.gpr[RCX], 0);
	cr_assert_eq(w->s.gpr[RSI], 0x208);
	LOGGED(w, "r4@200 w4@a0000=44332211 r4@204 w4@a0004=88776655 ");
}

Test(emulate, rep_with_count_zero_touches_nothing)
{
	struct world *w = world(64);

	w->s.gpr[RDI] = DEVICE;
	w->s.gpr[RCX] = 0xff00000000; /* ecx is what counts with 67 */
	cr_assert_eq(STEP(w, "\x67\xf3\xaa"), EMU_DONE);
	LOGGED(w, "");
	cr_assert_eq(w->s.gpr[RCX], 0xff00000000);
	cr_assert_eq(w->s.rip, 0x103);
}

/* --- E3: no device read in vain --- */

Test(emulate, movs_checks_destination_before_reading_the_device)
{
	struct world *w = world(64);
	struct cpu_state before;

	w->s.gpr[RSI] = DEVICE;
	w->s.gpr[RDI] = 0x3000;
	w->fault_page = 0x3000;
	before = w->s;
	cr_assert_eq(STEP(w, "\xa4"), EMU_FAULT);
	cr_assert_eq(memcmp(&before, &w->s, sizeof(before)), 0);
	LOGGED(w, "");
}

Test(emulate, which_of_two_faults_is_reported)
{
	struct world *w = world(64);

	w->s.gpr[RSI] = 0x20000;
	w->s.gpr[RDI] = 0x30000;
	cr_assert_eq(STEP(w, "\xa4"), EMU_FAULT);
	cr_assert_eq(w->fault_at, 0x20000);
	cr_assert_eq(STEP(w, "\xa6"), EMU_FAULT);
	cr_assert_eq(w->fault_at, 0x30000, "but CMPS the other way round");
	w->s.gpr[RBX] = 0x20000;
	w->s.gpr[RSP] = 0x30000;
	cr_assert_eq(STEP(w, "\xff\x33"), EMU_FAULT); /* push [rbx] */
	cr_assert_eq(w->fault_at, 0x20000);
	w->s.gpr[RSP] = 0x800000000010; /* its #SS would come later */
	cr_assert_eq(STEP(w, "\xff\x33"), EMU_FAULT);
	w->s.gpr[RBX] = 0;
	cr_assert_eq(STEP(w, "\xff\x33"), EMU_SS);
}

Test(emulate, cmps_checks_both)
{
	struct world *w = world(64);

	w->s.gpr[RSI] = DEVICE;
	w->s.gpr[RDI] = 0x3000;
	w->fault_page = 0x3000;
	cr_assert_eq(STEP(w, "\xa6"), EMU_FAULT);
	LOGGED(w, "");
	w->fault_page = 0;
	w->ram[0x3000] = 0x11;
	cr_assert_eq(STEP(w, "\xa6"), EMU_DONE);
	LOGGED(w, "r1@3000 r1@a0000 ");
	cr_assert(w->s.rflags & RFLAGS_ZF);
}

Test(emulate, push_checks_stack_before_reading_the_device)
{
	struct world *w = world(64);

	w->s.gpr[RBX] = DEVICE;
	w->s.gpr[RSP] = 0x3008;
	w->fault_page = 0x3000;
	cr_assert_eq(STEP(w, "\xff\x33"), EMU_FAULT); /* push [rbx] */
	LOGGED(w, "");
	cr_assert_eq(w->s.gpr[RSP], 0x3008);
}

Test(emulate, ins_checks_memory_before_reading_the_port)
{
	struct world *w = world(32);

	w->s.gpr[RDX] = 0x1f0;
	w->s.gpr[RDI] = 0x2fff; /* the word's second byte faults */
	w->s.gpr[RCX] = 5;
	w->fault_page = 0x3000;
	cr_assert_eq(STEP(w, "\xf3\x66\x6d"), EMU_FAULT);
	LOGGED(w, "");
	w->fault_page = 0;
	cr_assert_eq(STEP(w, "\xf3\x66\x6d"), EMU_REPEAT);
	LOGGED(w, "in2@1f0 w2@2fff=3210 ");
	cr_assert_eq(w->s.gpr[RCX], 4);
	cr_assert_eq(w->s.gpr[RDI], 0x3001);
}

/* --- ports --- */

Test(emulate, outs_takes_a_segment_override)
{
	struct world *w = world(16);

	w->s.seg[SEG_ES].base = 0x2000;
	w->ram[0x2010] = 0x5a;
	w->s.gpr[RSI] = 0xabcd0010; /* si is what counts */
	w->s.gpr[RDX] = 0x3f8;
	w->s.rflags |= RFLAGS_DF;
	cr_assert_eq(STEP(w, "\x26\x6e"), EMU_DONE);
	LOGGED(w, "r1@2010 out1@3f8=5a ");
	cr_assert_eq(w->s.gpr[RSI], 0xabcd000f);
}

Test(emulate, in_and_out)
{
	struct world *w = world(32);

	w->s.gpr[RAX] = 0x1122334455667788;
	cr_assert_eq(STEP(w, "\xe4\xed"), EMU_DONE); /* in al, ed: not sign-extended */
	cr_assert_eq(w->s.gpr[RAX], 0x1122334455667710);
	w->s.gpr[RDX] = 0xffff0cf8;
	cr_assert_eq(STEP(w, "\xed"), EMU_DONE);
	cr_assert_eq(w->s.gpr[RAX], 0x76543210, "a 32-bit result clears the upper half");
	cr_assert_eq(STEP(w, "\x66\xef"), EMU_DONE);
	LOGGED(w, "in1@ed in4@cf8 out2@cf8=3210 ");
}

/* --- 16-bit addressing and real mode --- */

Test(emulate, address_wraps_at_64k)
{
	struct world *w = world(16);

	w->s.gpr[RBX] = 0x1fff0;
	w->s.gpr[RSI] = 0x20;
	w->s.seg[SEG_DS].base = 0x1000;
	cr_assert_eq(STEP(w, "\x88\x00"), EMU_DONE); /* mov [bx+si], al */
	LOGGED(w, "w1@1010=0 ");
}

Test(emulate, bp_is_in_the_stack_segment)
{
	struct world *w = world(16);

	w->s.seg[SEG_SS].base = 0x4000;
	w->s.seg[SEG_FS].base = 0x5000;
	cr_assert_eq(STEP(w, "\x88\x46\x02"), EMU_DONE);     /* mov [bp+2], al */
	cr_assert_eq(STEP(w, "\x64\x88\x46\x02"), EMU_DONE); /* mov fs:[bp+2], al */
	cr_assert_eq(STEP(w, "\x88\x06\x02\x00"), EMU_DONE); /* mov [2], al */
	LOGGED(w, "w1@4002=0 w1@5002=0 w1@2=0 ");
}

Test(emulate, limit_is_per_segment_in_real_mode_too)
{
	struct world *w = world(16);

	w->s.gpr[RBX] = w->s.gpr[RBP] = 0xffff;
	cr_assert_eq(STEP(w, "\x89\x07"), EMU_GP);     /* mov [bx], ax: a word at ffff */
	cr_assert_eq(STEP(w, "\x89\x46\x00"), EMU_SS); /* mov [bp], ax */
	cr_assert_eq(STEP(w, "\x88\x07"), EMU_DONE);   /* mov [bx], al */
	w->s.seg[SEG_DS].limit = 0xffffffff;           /* "unreal mode" */
	w->s.gpr[RBX] = DEVICE;
	cr_assert_eq(STEP(w, "\x67\x89\x03"), EMU_DONE); /* mov [ebx], ax */
	LOGGED(w, "w1@ffff=0 w2@a0000=0 ");
}

Test(emulate, real_mode_has_no_segment_types)
{
	struct world *w = world(16);

	w->s.seg[SEG_CS].attrib = CODE_RX;
	cr_assert_eq(STEP(w, "\x2e\x88\x07"), EMU_DONE); /* mov cs:[bx], al */
	w->s.cr0 = CR0_PE;
	cr_assert_eq(STEP(w, "\x2e\x88\x07"), EMU_GP);
	w->s.rflags |= RFLAGS_VM;
	cr_assert_eq(STEP(w, "\x2e\x88\x07"), EMU_DONE);
}

Test(emulate, rep_in_16_bit_code_counts_cx)
{
	struct world *w = world(16);

	w->s.gpr[RCX] = 0x70001;
	w->s.gpr[RDI] = 0x3ffff;
	w->s.gpr[RAX] = 0xee;
	cr_assert_eq(STEP(w, "\xf3\xaa"), EMU_DONE);
	LOGGED(w, "w1@ffff=ee ");
	cr_assert_eq(w->s.gpr[RCX], 0x70000);
	cr_assert_eq(w->s.gpr[RDI], 0x30000);
}

Test(emulate, next_rip_does_not_leave_32_bits)
{
	struct world *w = world(32);

	w->s.rip = 0xfffffffe;
	w->s.gpr[RBX] = 0x10;
	cr_assert_eq(STEP(w, "\x88\x03"), EMU_DONE);
	cr_assert_eq(w->s.rip, 0);
}

/* --- protected-mode segmentation --- */

Test(emulate, segment_types)
{
	struct world *w = world(32);

	w->s.seg[SEG_DS].attrib = DATA_RO;
	cr_assert_eq(STEP(w, "\x8a\x03"), EMU_DONE);     /* mov al, [ebx] */
	cr_assert_eq(STEP(w, "\x88\x03"), EMU_GP);       /* mov [ebx], al */
	cr_assert_eq(STEP(w, "\x00\x03"), EMU_GP);       /* add [ebx], al */
	w->s.seg[SEG_DS].attrib = CODE_X;
	cr_assert_eq(STEP(w, "\x8a\x03"), EMU_GP, "execute-only");
	w->s.seg[SEG_DS].attrib = 0;
	cr_assert_eq(STEP(w, "\x8a\x03"), EMU_GP, "null selector");
	cr_assert_eq(STEP(w, "\x2e\x8a\x03"), EMU_DONE); /* mov al, cs:[ebx] */
	LOGGED(w, "r1@0 r1@0 ");
}

Test(emulate, expand_down_limit)
{
	struct world *w = world(32);

	w->s.seg[SEG_SS] = (struct segment){ .attrib = DATA_DOWN, .limit = 0xfff };
	w->s.gpr[RBP] = 0xfff;
	cr_assert_eq(STEP(w, "\x88\x45\x00"), EMU_SS); /* mov [ebp], al */
	w->s.gpr[RBP] = 0x1000;
	cr_assert_eq(STEP(w, "\x88\x45\x00"), EMU_DONE);
	w->s.gpr[RBP] = 0xffff;
	cr_assert_eq(STEP(w, "\x89\x45\x00"), EMU_SS, "above 64 KiB: D/B is 0");
	w->s.seg[SEG_SS].attrib |= SEG_ATTR_DB;
	w->s.gpr[RBP] = 0xfffe;
	cr_assert_eq(STEP(w, "\x66\x89\x45\x00"), EMU_DONE);
}

Test(emulate, linear_address_wraps_at_4g_outside_64_bit_mode)
{
	struct world *w = world(32);

	w->s.seg[SEG_DS].base = 0xfffff000;
	w->s.gpr[RBX] = 0x1100;
	cr_assert_eq(STEP(w, "\x88\x03"), EMU_DONE);
	LOGGED(w, "w1@100=0 ");
}

Test(emulate, long_mode_uses_only_fs_and_gs_bases)
{
	struct world *w = world(64);

	for (unsigned i = 0; i < NSEG; i++)
		w->s.seg[i].base = 0x1000 * (i + 1);
	w->s.seg[SEG_DS].limit = 0;
	w->s.gpr[RBX] = 0x10;
	cr_assert_eq(STEP(w, "\x88\x03"), EMU_DONE);
	cr_assert_eq(STEP(w, "\x2e\x88\x03"), EMU_DONE);
	cr_assert_eq(STEP(w, "\x64\x88\x03"), EMU_DONE);
	cr_assert_eq(STEP(w, "\x65\x3e\x88\x03"), EMU_DONE); /* 3E does not cancel 65 */
	LOGGED(w, "w1@10=0 w1@10=0 w1@5010=0 w1@6010=0 ");
	cr_assert_eq(emu_linear(&w->s, &w->in).v, 0x6010);
}

Test(emulate, compatibility_mode_is_segmented)
{
	struct world *w = world(32);

	w->s.efer = EFER_LMA | EFER_LME;
	w->s.seg[SEG_DS].base = 0x1000;
	w->s.gpr[RBX] = 0xffffffff00000010;
	cr_assert_eq(STEP(w, "\x88\x03"), EMU_DONE);
	LOGGED(w, "w1@1010=0 ");
}

Test(emulate, canonical_addresses)
{
	struct world *w = world(64);

	w->s.gpr[RBX] = w->s.gpr[RBP] = 0x7ffffffffffc;
	cr_assert_eq(STEP(w, "\x89\x03"), EMU_FAULT, "the last four bytes of the lower half");
	cr_assert_eq(STEP(w, "\x48\x89\x03"), EMU_GP);
	cr_assert_eq(STEP(w, "\x48\x89\x45\x00"), EMU_SS);
	cr_assert_eq(STEP(w, "\x64\x48\x89\x45\x00"), EMU_GP, "not the stack segment any more");
	w->s.gpr[RBX] = 0xffff800000000000;
	cr_assert_eq(STEP(w, "\x48\x89\x03"), EMU_FAULT);
	cr_assert_eq(STEP(w, "\x0f\xae\x3b"), EMU_DONE, "CLFLUSH has no size");
	w->s.gpr[RBX] = 0xfffffffffffffffc;
	cr_assert_eq(STEP(w, "\x48\x89\x03"), EMU_FAULT, "both ends are canonical: no #GP, as on the CPU");
}

/* --- stack --- */

Test(emulate, push_and_pop_by_stack_width)
{
	struct world *w = world(16);

	w->s.gpr[RSP] = 0x990000;
	w->s.gpr[RBX] = 0x10;
	w->ram[0x10] = 0x77;
	cr_assert_eq(STEP(w, "\xff\x37"), EMU_DONE); /* push word [bx] */
	cr_assert_eq(w->s.gpr[RSP], 0x99fffe, "sp wraps, the rest of rsp stays");
	cr_assert_eq(STEP(w, "\x8f\x47\x02"), EMU_DONE); /* pop word [bx+2] */
	cr_assert_eq(w->s.gpr[RSP], 0x990000);
	LOGGED(w, "r2@10 w2@fffe=77 r2@fffe w2@12=77 ");
}

/* QEMU brings it here with the kernel's rights. */
Test(emulate, iret_faults_where_its_stack_is_none)
{
	struct world *w = world(64);

	w->s.gpr[RSP] = 0x400;
	cr_assert_eq(STEP(w, "\x48\xcf"), EMU_UNSUPPORTED);
	w->s.gpr[RSP] = 0xfffffffffffffffc;
	cr_assert_eq(STEP(w, "\x48\xcf"), EMU_FAULT);
	w->s.gpr[RSP] = 0x8000000000000000;
	cr_assert_eq(STEP(w, "\x48\xcf"), EMU_SS);
	cr_assert_eq(w->s.gpr[RSP], 0x8000000000000000);
}

Test(emulate, pop_relative_to_the_stack_uses_the_new_pointer)
{
	struct world *w = world(32);

	w->s.gpr[RSP] = 0x400;
	w->ram[0x400] = 0x66;
	cr_assert_eq(STEP(w, "\x8f\x04\x24"), EMU_DONE); /* pop dword [esp] */
	LOGGED(w, "r4@400 w4@404=66 ");
	cr_assert_eq(w->s.gpr[RSP], 0x404);
}

/* --- arithmetic the random test hardly meets --- */

Test(emulate, divide_bytes_against_c)
{
	for (unsigned n = 0; n < 0x10000; n++)
		for (unsigned d = 0; d < 256; d += 1 + (d > 4 && d < 124) * 7 + (d > 132 && d < 250) * 7) {
			struct alu_wide u = { n & 0xff, n >> 8 }, s = u;
			int sn = (s16)n, sd = (s8)d;
			bool u_ok = d && n / d < 256, s_ok = sd && sn / sd >= -128 && sn / sd < 128;

			cr_assert_eq(alu_divide(false, &u, d, 1), u_ok, "%x / %x", n, d);
			cr_assert_eq(alu_divide(true, &s, d, 1), s_ok, "signed %x / %x", n, d);
			if (u_ok)
				cr_assert(u.lo == n / d && u.hi == n % d, "%x / %x", n, d);
			if (s_ok)
				cr_assert(s.lo == (u8)(sn / sd) && s.hi == (u8)(sn % sd), "signed %x / %x", n, d);
		}
}

Test(emulate, divide_128_bits)
{
	/* Divisors above 2^63 carry out of the running remainder. */
	struct alu_wide n = { 0xfffffffffffffffe, 0xfffffffffffffffd };

	cr_assert(alu_divide(false, &n, 0xfffffffffffffffe, 8));
	cr_assert_eq(n.lo, 0xffffffffffffffff);
	cr_assert_eq(n.hi, 0xfffffffffffffffc);
	n = (struct alu_wide){ 0, 0x8000000000000000 }; /* -2^127 / -1 */
	cr_assert_not(alu_divide(true, &n, ~0UL, 8));
	n = (struct alu_wide){ 0x8000000000000000, ~0UL }; /* -2^63 / 1 */
	cr_assert(alu_divide(true, &n, 1, 8));
	cr_assert_eq(n.lo, 0x8000000000000000);
	n = (struct alu_wide){ 0x8000000000000000, ~0UL }; /* -2^63 / -1 */
	cr_assert_not(alu_divide(true, &n, ~0UL, 8));
}

Test(emulate, divide_error_changes_nothing)
{
	struct world *w = world(32);
	struct cpu_state before;

	w->s.gpr[RAX] = 5;
	w->s.gpr[RBX] = 0x10;
	before = w->s;
	cr_assert_eq(STEP(w, "\xf7\x33"), EMU_DE); /* div dword [ebx], 0 */
	cr_assert_eq(memcmp(&before, &w->s, sizeof(before)), 0);
}

Test(emulate, scan_of_zero_leaves_the_destination)
{
	struct world *w = world(64);

	w->s.gpr[RAX] = 0x1122334455667788;
	cr_assert_eq(STEP(w, "\x0f\xbc\x03"), EMU_DONE); /* bsf eax, [rbx] */
	cr_assert_eq(w->s.gpr[RAX], 0x1122334455667788);
	cr_assert(w->s.rflags & RFLAGS_ZF);
}

Test(emulate, cmpxchg16b_must_be_aligned)
{
	struct world *w = world(64);

	w->s.gpr[RDI] = 0x208;
	cr_assert_eq(STEP(w, "\x48\x0f\xc7\x0f"), EMU_GP);
	w->s.gpr[RDI] = 0x210;
	w->s.gpr[RBX] = 7;
	w->s.gpr[RCX] = 8;
	cr_assert_eq(STEP(w, "\x48\x0f\xc7\x0f"), EMU_DONE);
	LOGGED(w, "rw8@210 rw8@218 w8@210=7 w8@218=8 ");
	cr_assert(w->s.rflags & RFLAGS_ZF);
}

Test(emulate, cmpxchg_that_fails_writes_the_old_value)
{
	struct world *w = world(32);

	w->s.gpr[RBX] = DEVICE;
	w->s.gpr[RDX] = 5;
	cr_assert_eq(STEP(w, "\xf0\x0f\xb1\x13"), EMU_DONE); /* lock cmpxchg [ebx], edx */
	LOGGED(w, "rw4@a0000 w4@a0000=11111111 ");
	cr_assert_eq(w->s.gpr[RAX], 0x11111111);
}

Test(emulate, only_decoded_instructions_are_refused)
{
	struct world *w = world(32);
	struct cpu_state before = w->s;

	cr_assert_eq(STEP(w, "\x0f\xa2"), EMU_UNSUPPORTED);         /* cpuid */
	cr_assert_eq(STEP(w, "\x0f\x01\x3b"), EMU_UNSUPPORTED);     /* invlpg [ebx] */
	cr_assert_eq(STEP(w, "\x8e\x1b"), EMU_UNSUPPORTED);         /* mov ds, [ebx] */
	cr_assert_eq(memcmp(&before, &w->s, sizeof(before)), 0);
}
