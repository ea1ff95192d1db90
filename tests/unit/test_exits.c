/*
 * test_exits.c - what each exit does to the vCPU: instructions completed,
 * faults raised, accesses that reach a device or cross a page, single-stepping,
 * and how exceptions combine.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/unit/fakeworld.h"

static struct plan plan;
static struct world w;

/* A VM at WORLD_CODE in flat 32-bit code, never run: exits are dispatched by hand. */
static struct vcpu *fresh(void)
{
	plan_random(&plan, 1);
	plan.config = (struct vm_config){ .mem_bytes = WORLD_MEM, .ncpus = 1, .ns_per_insn = 1, .poll_insns = 1000,
					  .epoch_insns = 1000, .limit_insns = NO_STOP, .limit_vtime_ns = NO_STOP };
	world_live(&w, &plan);
	return &w.vm->vcpu[0];
}

static void code(const void *bytes, size_t n)
{
	world_load(&w, bytes, n);
}

static void dispatch(struct vcpu *v, struct exit e)
{
	exit_dispatch(v, &e);
}

static struct exit mmio(u64 gpa, bool write)
{
	return (struct exit){ .reason = EXIT_PAGING, .paging = { .gpa = GPA(gpa), .write = write } };
}

static void check_retired(struct vcpu *v, unsigned bytes)
{
	cr_assert_eq(v->vm->outcome, VM_RUNNING, "%s", v->vm->stop_reason);
	cr_assert(!v->exception.valid, "exception %u", v->exception.vector);
	cr_assert_eq(v->cpu.rip, WORLD_CODE + bytes);
	cr_assert_eq(v->vm->now.count, 1);
	cr_assert_eq(v->vm->now.vtime_ns, 1);
}

static void check_raised(struct vcpu *v, u8 vector, bool has_error, u32 error)
{
	cr_assert_eq(v->vm->outcome, VM_RUNNING, "%s", v->vm->stop_reason);
	cr_assert(v->exception.valid);
	cr_assert_eq(v->exception.vector, vector, "vector %u", v->exception.vector);
	cr_assert_eq(v->exception.has_error, has_error);
	cr_assert_eq(v->exception.error, error, "error code 0x%x", v->exception.error);
	cr_assert_eq(v->cpu.rip, WORLD_CODE);
	cr_assert_eq(v->vm->now.count, 0);
}

/* --- completing an instruction --- */

Test(exits, a_port_read_fills_the_register_as_its_size_says)
{
	static const struct { u8 size; u64 rax; } want[] = {
		{ 1, 0xaaaaaaaaaaaaaaff }, { 2, 0xaaaaaaaaaaaaffff }, { 4, 0xffffffff },
	};

	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		struct vcpu *v = fresh();

		v->cpu.gpr[RAX] = 0xaaaaaaaaaaaaaaaa;
		dispatch(v, (struct exit){ .reason = EXIT_PORT, .insn_bytes = 1,
					   .port = { .port = 0x1234, .size_bytes = want[i].size, .in = true } });
		cr_assert_eq(v->cpu.gpr[RAX], want[i].rax);
		check_retired(v, 1);
		world_free(&w);
	}
}

Test(exits, retiring_clears_the_shadow_and_rf_and_wraps_rip)
{
	struct vcpu *v = fresh();

	v->cpu.rip = 0xffffffff;
	v->cpu.interrupt_shadow = 1;
	v->cpu.rflags |= RFLAGS_RF;
	vcpu_retire(v, 2);
	cr_assert_eq(v->cpu.rip, 1);
	cr_assert(!v->cpu.interrupt_shadow && !(v->cpu.rflags & RFLAGS_RF));
	v->cpu.efer |= EFER_LMA;
	v->cpu.seg[SEG_CS].attrib |= SEG_ATTR_L;
	v->cpu.rip = 0xffffffff;
	vcpu_retire(v, 2);
	cr_assert_eq(v->cpu.rip, 0x100000001);
	world_free(&w);
}

/* Without a length from the vendor the bytes at RIP tell it. */
Test(exits, the_length_is_decoded_where_the_vendor_does_not_say_it)
{
	static const struct { enum exit_reason reason; u8 bytes[4]; unsigned length; } cases[] = {
		{ EXIT_CPUID, { 0x0f, 0xa2 }, 2 }, { EXIT_CPUID, { 0x66, 0x0f, 0xa2 }, 3 },
		{ EXIT_HLT, { 0xf4 }, 1 }, { EXIT_CACHE, { 0x0f, 0x09 }, 2 }, { EXIT_TSC, { 0x0f, 0x31 }, 2 },
		{ EXIT_TSC, { 0x0f, 0x01, 0xf9 }, 3 }, { EXIT_MSR, { 0x0f, 0x32 }, 2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vcpu *v = fresh();

		code(cases[i].bytes, 4);
		v->cpu.gpr[RCX] = 0x10;
		dispatch(v, (struct exit){ .reason = cases[i].reason });
		check_retired(v, cases[i].length);
		world_free(&w);
	}
}

Test(exits, rdtscp_gives_tsc_aux_too)
{
	struct vcpu *v = fresh();

	code("\x0f\x01\xf9", 3);
	v->cpu.tsc_aux = 42;
	v->cpu.tsc_adjust = 0x500000007;
	v->cpu.gpr[RCX] = ~0UL;
	dispatch(v, (struct exit){ .reason = EXIT_TSC });
	check_retired(v, 3);
	cr_assert_eq(v->cpu.gpr[RAX], 7);
	cr_assert_eq(v->cpu.gpr[RDX], 5);
	cr_assert_eq(v->cpu.gpr[RCX], 42);
	world_free(&w);
}

Test(exits, rdtsc_leaves_rcx_alone)
{
	struct vcpu *v = fresh();

	code("\x0f\x31", 2);
	v->cpu.gpr[RCX] = ~0UL;
	dispatch(v, (struct exit){ .reason = EXIT_TSC });
	cr_assert_eq(v->cpu.gpr[RCX], ~0UL);
	world_free(&w);
}

Test(exits, an_unknown_msr_is_gp_and_nothing_else_changes)
{
	for (int write = 0; write < 2; write++) {
		struct vcpu *v = fresh();

		code(write ? "\x0f\x30" : "\x0f\x32", 2);
		v->cpu.gpr[RCX] = 0xdead;
		v->cpu.gpr[RAX] = v->cpu.gpr[RDX] = 0x55;
		dispatch(v, (struct exit){ .reason = EXIT_MSR, .msr.write = write });
		check_raised(v, VEC_GP, true, 0);
		cr_assert(v->cpu.gpr[RAX] == 0x55 && v->cpu.gpr[RDX] == 0x55);
		world_free(&w);
	}
}

/* WRMSR to EFER reaches the control block. */
Test(exits, a_written_msr_is_loaded)
{
	struct vcpu *v = fresh();

	code("\x0f\x30", 2);
	v->cpu.gpr[RCX] = 0xc0000080;
	v->cpu.gpr[RAX] = EFER_NXE;
	v->cpu.gpr[RDX] = 0;
	dispatch(v, (struct exit){ .reason = EXIT_MSR, .msr.write = true });
	check_retired(v, 2);
	cr_assert_eq(fake_of(v)->block.efer, EFER_NXE);
	world_free(&w);
}

Test(exits, what_this_machine_lacks_is_ud)
{
	for (int i = 0; i < 2; i++) {
		struct vcpu *v = fresh();

		dispatch(v, (struct exit){ .reason = i ? EXIT_HYPERCALL : EXIT_UNDEFINED });
		check_raised(v, VEC_UD, false, 0);
		world_free(&w);
	}
}

Test(exits, what_it_does_not_know_ends_the_vm)
{
	static const enum exit_reason reasons[] = { EXIT_TASK_SWITCH, EXIT_BAD_STATE, EXIT_UNKNOWN, EXIT_TRIPLE_FAULT };

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		struct vcpu *v = fresh();

		dispatch(v, (struct exit){ .reason = reasons[i] });
		cr_assert_eq(v->vm->outcome, reasons[i] == EXIT_TRIPLE_FAULT ? VM_TRIPLE_FAULT : VM_UNHANDLED);
		world_free(&w);
	}
}

Test(exits, every_reason_has_a_name)
{
	for (int i = 0; i < NEXIT; i++)
		cr_assert(exit_reason_name((enum exit_reason)i) && strcmp(exit_reason_name((enum exit_reason)i), "?"));
	cr_assert_str_eq(exit_reason_name(NEXIT), "?");
}

Test(exits, mov_to_cr8_sets_the_task_priority_or_faults)
{
	struct vcpu *v = fresh();

	v->cpu.efer |= EFER_LMA;
	v->cpu.seg[SEG_CS].attrib |= SEG_ATTR_L;
	code("\x44\x0f\x22\xc0", 4); /* MOV CR8, RAX */
	v->cpu.gpr[RAX] = 16;
	dispatch(v, (struct exit){ .reason = EXIT_CR8 });
	check_raised(v, VEC_GP, true, 0);
	v->exception.valid = false;
	v->cpu.gpr[RAX] = 9;
	dispatch(v, (struct exit){ .reason = EXIT_CR8 });
	check_retired(v, 4);
	cr_assert_eq(lapic_cr8(&v->lapic), 9);
	world_free(&w);
}

/* What the values of CR0 give, in the mode named [APM2 3.1.1 CR0 Register]. */
Test(exits, mov_to_cr0_is_checked_and_turns_long_mode_on_and_off)
{
	enum { B32, B64 };
	static const struct { u8 bits; u64 before, efer, cr4, value; bool good; u64 cr0, efer_after; } cases[] = {
		{ B32, CR0_PE | CR0_ET, 0, 0, CR0_PE | CR0_NW, false, 0, 0 },
		{ B32, CR0_PE | CR0_ET, 0, 0, CR0_PE | CR0_NW | CR0_CD, true, CR0_PE | CR0_ET | CR0_NW | CR0_CD, 0 },
		{ B32, CR0_PE | CR0_ET, 0, 0, CR0_PG, false, 0, 0 },
		{ B32, CR0_PE | CR0_ET, 0, 0, CR0_PE | 0x7fc0, true, CR0_PE | CR0_ET, 0 },
		{ B32, CR0_PE | CR0_ET, EFER_LME, 0, CR0_PG | CR0_PE, false, 0, 0 },
		{ B32, CR0_PE | CR0_ET, EFER_LME, CR4_PAE, CR0_PG | CR0_PE, true, CR0_PG | CR0_PE | CR0_ET, EFER_LME | EFER_LMA },
		{ B32, CR0_PE | CR0_PG, EFER_LME | EFER_LMA, CR4_PAE, CR0_PE, true, CR0_PE | CR0_ET, EFER_LME },
		{ B64, CR0_PE | CR0_PG, EFER_LME | EFER_LMA, CR4_PAE, CR0_PE, false, 0, 0 },
		{ B64, CR0_PE | CR0_PG, EFER_LME | EFER_LMA, CR4_PAE, CR0_PE | CR0_PG | 1UL << 40, false, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vcpu *v = fresh();

		code("\x0f\x22\xc0", 3); /* MOV CR0, rAX */
		v->cpu.cr0 = cases[i].before & ~CR0_PG; /* the code has no page tables */
		v->cpu.efer = cases[i].efer;
		v->cpu.cr4 = cases[i].cr4;
		v->cpu.gpr[RAX] = cases[i].value;
		if (cases[i].bits == B64)
			v->cpu.seg[SEG_CS].attrib |= SEG_ATTR_L;
		dispatch(v, (struct exit){ .reason = EXIT_CR0 });
		if (cases[i].good) {
			check_retired(v, 3);
			cr_assert_eq(v->cpu.cr0, cases[i].cr0, "case %zu: CR0 %lx", i, v->cpu.cr0);
			cr_assert_eq(v->cpu.efer, cases[i].efer_after, "case %zu: EFER %lx", i, v->cpu.efer);
		} else {
			check_raised(v, VEC_GP, true, 0);
		}
		world_free(&w);
	}
}

Test(exits, lmsw_sets_pe_and_never_clears_it)
{
	struct vcpu *v = fresh();

	code("\x0f\x01\xf0", 3); /* LMSW AX */
	v->cpu.gpr[RAX] = 0xfff4; /* EM, and bits that are not LMSW's */
	dispatch(v, (struct exit){ .reason = EXIT_CR0 });
	check_retired(v, 3);
	cr_assert_eq(v->cpu.cr0 & (CR0_DEFINED & ~CR0_ET), CR0_PE | CR0_EM);
	world_free(&w);
}

Test(exits, a_refused_cr3_is_gp_and_a_refused_state_the_end)
{
	struct vcpu *v = fresh();

	dispatch(v, (struct exit){ .reason = EXIT_CR3 });
	check_raised(v, VEC_GP, true, 0);
	dispatch(v, (struct exit){ .reason = EXIT_BAD_STATE });
	cr_assert_eq(v->vm->outcome, VM_UNHANDLED);
	world_free(&w);
}

/* The first exception still waits: its delivery was cut short by the second. */
Test(exits, an_exception_in_the_wake_of_another_is_combined)
{
	static const struct { bool first; u8 one, two, want; bool has_error; u32 error; } cases[] = {
		{ false, 0, VEC_GP, VEC_GP, true, 0x50 }, { true, VEC_DE, VEC_GP, VEC_DF, true, 0 },
		{ true, VEC_PF, VEC_PF, VEC_DF, true, 0 }, { true, VEC_GP, VEC_PF, VEC_PF, true, 0x50 },
		{ true, VEC_UD, VEC_NP, VEC_NP, true, 0x50 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vcpu *v = fresh();

		v->exception = (struct pending_exception){ .valid = cases[i].first, .vector = cases[i].one };
		v->cpu.cr2 = 0x1111;
		dispatch(v, (struct exit){ .reason = EXIT_EXCEPTION,
					   .exception = { .vector = cases[i].two, .has_error = true, .error = 0x50,
							  .cr2 = cases[i].two == VEC_PF ? 0x2222 : 0 } });
		check_raised(v, cases[i].want, cases[i].has_error, cases[i].error);
		cr_assert_eq(v->cpu.cr2, cases[i].two == VEC_PF ? 0x2222 : 0x1111);
		world_free(&w);
	}
}

/* --- single-stepping over what exits --- */

Test(exits, a_completed_instruction_traps_with_tf_set)
{
	static const struct { enum exit_reason reason; u8 bytes[8]; } cases[] = {
		{ EXIT_CPUID, { 0x0f, 0xa2 } }, { EXIT_PORT, { 0xec } }, { EXIT_CACHE, { 0x0f, 0x09 } },
		{ EXIT_TSC, { 0x0f, 0x31 } }, { EXIT_HLT, { 0xf4 } },
		{ EXIT_PAGING, { 0x8b, 0x05, 0x30, 0, 0xe0, 0xfe } }, /* MOV eax, the LAPIC's version */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vcpu *v = fresh();
		struct exit e = { .reason = cases[i].reason };

		code(cases[i].bytes, 8);
		v->cpu.rflags |= RFLAGS_TF;
		if (e.reason == EXIT_PORT) {
			e.port.size_bytes = 1;
			e.port.in = true;
		} else if (e.reason == EXIT_PAGING) {
			e.paging.gpa = GPA(0xfee00030);
		}
		dispatch(v, e);
		cr_assert_eq(v->vm->now.count, 1);
		cr_assert(v->exception.valid && v->exception.vector == VEC_DB && !v->exception.has_error, "case %zu", i);
		cr_assert(fake_of(v)->block.dr6 & BIT(14), "case %zu: DR6.BS is not set", i);
		cr_assert(!v->cpu.halted, "case %zu: asleep over its own trap", i);
		world_free(&w);
	}
}

/* --- memory-mapped registers and page crossing --- */

#define LAPIC_TPR 0xfee00080

Test(exits, an_access_to_a_register_is_emulated)
{
	struct vcpu *v = fresh();

	code("\xc7\x05\x80\x00\xe0\xfe\x50\x00\x00\x00", 10); /* MOV dword [LAPIC_TPR], 50h */
	dispatch(v, mmio(LAPIC_TPR, true));
	check_retired(v, 10);
	cr_assert_eq(v->lapic.tpr, 0x50);
	world_free(&w);
}

/* In 64-bit code a plain MOV takes a path of its own; with a segment of its own it is emulated.  Both do the same. */
Test(exits, a_mov_in_64_bit_code_reaches_the_register_either_way)
{
	for (unsigned gs = 0; gs < 2; gs++) {
		static const u8 load[] = { 0x65, 0x8b, 0x43, 0x30 };                           /* MOV eax, gs:[rbx + 30h] */
		static const u8 store[] = { 0x65, 0x89, 0x83, 0x80, 0, 0, 0 };                 /* MOV gs:[rbx + 80h], eax */
		static const u8 immediate[] = { 0x65, 0xc7, 0x83, 0x80, 0, 0, 0, 0x30, 0, 0, 0 }; /* ..., 30h */
		struct vcpu *v = fresh();

		v->cpu.efer |= EFER_LMA;
		v->cpu.seg[SEG_CS].attrib |= SEG_ATTR_L;
		v->cpu.gpr[RBX] = LAPIC_DEFAULT_BASE;
		v->cpu.gpr[RAX] = ~0UL;
		code(load + !gs, sizeof(load) - !gs);
		dispatch(v, mmio(LAPIC_DEFAULT_BASE + 0x30, false));
		check_retired(v, (unsigned)sizeof(load) - !gs);
		cr_assert_eq(v->cpu.gpr[RAX] >> 32, 0);
		cr_assert_eq(v->cpu.gpr[RAX], board_read(v, IO_MEMORY, LAPIC_DEFAULT_BASE + 0x30, 4));

		v->cpu.rip = WORLD_CODE;
		v->cpu.gpr[RAX] = 0x50;
		code(store + !gs, sizeof(store) - !gs);
		dispatch(v, mmio(LAPIC_DEFAULT_BASE + 0x80, true));
		cr_assert_eq(lapic_cr8(&v->lapic), 5);
		v->cpu.rip = WORLD_CODE;
		code(immediate + !gs, sizeof(immediate) - !gs);
		dispatch(v, mmio(LAPIC_DEFAULT_BASE + 0x80, true));
		cr_assert_eq(lapic_cr8(&v->lapic), 3);
		cr_assert_eq(v->cpu.rip, WORLD_CODE + sizeof(immediate) - !gs);
		cr_assert_eq(v->vm->now.count, 3);
		world_free(&w);
	}
}

/* The IOAPIC's page lies between nothing and nothing: reads beyond are all ones. */
Test(exits, an_access_across_a_page_reaches_both_sides)
{
	struct vcpu *v = fresh();

	/* MOV eax, [9FFFEh]: two bytes of RAM, two of video memory, where nothing answers */
	code("\x8b\x05\xfe\xff\x09\x00", 6);
	cr_assert_eq(guestmem_write(&v->vm->mem, GPA(0x9fffe), "\x12\x34", 2), OK);
	dispatch(v, mmio(0xa0000, false));
	check_retired(v, 6);
	cr_assert_eq(v->cpu.gpr[RAX], 0xffff3412);
	world_free(&w);
}

/* 2 MiB pages by PAE tables, all linear addresses to themselves; the entry behind the fourth GiB says no. */
static void paging_pae(struct vcpu *v)
{
	u64 entry;

	for (u64 i = 0; i < 4; i++) {
		entry = (WORLD_DATA + 0x1000 + i * 4096) | 1;
		cr_assert_eq(guestmem_write(&v->vm->mem, GPA(WORLD_DATA + i * 8), &entry, 8), OK);
		for (u64 j = 0; j < 512; j++) {
			entry = i << 30 | j << 21 | 0x87;
			cr_assert_eq(guestmem_write(&v->vm->mem, GPA(WORLD_DATA + 0x1000 + i * 4096 + j * 8), &entry, 8), OK);
		}
	}
	v->cpu.cr3 = WORLD_DATA;
	v->cpu.cr4 |= CR4_PAE;
	v->cpu.cr0 |= CR0_PG;
}

/* Linear addresses wrap at 4 GiB outside 64-bit code: for data behind a high base, and for the code itself. */
Test(exits, what_runs_over_the_end_of_the_address_space_goes_on_at_zero)
{
	struct vcpu *v = fresh();
	u8 byte[2];

	fake_of(v)->block.seg[SEG_DS].base = 0xfffffffe;
	code("\xc7\x05\x00\x00\x00\x00\x44\x33\x22\x11", 10); /* MOV dword [0], 11223344h */
	paging_pae(v);
	dispatch(v, mmio(0xfffffffe, true));
	check_retired(v, 10);
	cr_assert_eq(guestmem_read(&v->vm->mem, GPA(0), byte, 2), OK);
	cr_assert(byte[0] == 0x22 && byte[1] == 0x11, "%02x %02x", byte[0], byte[1]);
	world_free(&w);

	v = fresh();
	v->cpu.seg[SEG_CS].base = 0xfffff000;
	v->cpu.rip = 0x1000;
	fake_of(v)->block.seg[SEG_CS].base = 0xfffff000;
	cr_assert_eq(guestmem_write(&v->vm->mem, GPA(0), "\xc7\x05\x80\x00\xe0\xfe\x50\x00\x00\x00", 10), OK);
	paging_pae(v);
	dispatch(v, mmio(LAPIC_TPR, true));
	cr_assert_eq(v->vm->outcome, VM_RUNNING, "%s", v->vm->stop_reason);
	cr_assert_eq(v->cpu.rip, 0x100a);
	cr_assert_eq(v->lapic.tpr, 0x50);
	world_free(&w);
}

/*
 * Devices are promised accesses of 1, 2, 4 or 8 bytes, whatever a page
 * boundary leaves of one.  Of an 8-byte read that ends 4 to 7 bytes into the
 * LAPIC's page, four are a register: a reserved one, which it notes.
 */
Test(exits, the_rest_of_an_access_reaches_a_device_in_sizes_it_knows)
{
	for (unsigned inside = 4; inside < 8; inside++) {
		struct vcpu *v = fresh();
		v->cpu.efer |= EFER_LMA;
		v->cpu.seg[SEG_CS].attrib |= SEG_ATTR_L;
		fake_of(v)->block.seg[SEG_CS].attrib |= SEG_ATTR_L;
		code("\x48\x8b\x03", 3); /* MOV rax, [rbx] */
		v->cpu.gpr[RBX] = 0xfee00000 - (8 - inside);
		dispatch(v, mmio(v->cpu.gpr[RBX], false));
		check_retired(v, 3);
		cr_assert_eq(v->cpu.gpr[RAX], size_mask(8 - inside));
		cr_assert(v->lapic.esr_pending, "%u bytes inside: no access of four came", inside);
		world_free(&w);
	}
}

/* --- instructions that cannot be had --- */

/* Maps the first 2 MiB by 4 KiB pages at WORLD_DATA, 32-bit two-level paging; unmapped: a page left out. */
static void paging_on(struct vcpu *v, u32 unmapped)
{
	u32 entry = WORLD_DATA + 0x1000 + 7;

	cr_assert_eq(guestmem_write(&v->vm->mem, GPA(WORLD_DATA), &entry, 4), OK);
	for (u32 i = 0; i < 512; i++) {
		entry = i * 4096 == unmapped ? 0 : i * 4096 + 7;
		cr_assert_eq(guestmem_write(&v->vm->mem, GPA(WORLD_DATA + 0x1000 + 4 * i), &entry, 4), OK);
	}
	v->cpu.cr3 = WORLD_DATA;
	v->cpu.cr0 |= CR0_PG;
}

/* The instruction runs onto a page the guest no longer maps: a page fault for the fetch. */
Test(exits, an_instruction_that_goes_on_where_nothing_is_mapped_faults_there)
{
	struct vcpu *v = fresh();

	v->cpu.rip = WORLD_CODE + 0xffd;
	cr_assert_eq(guestmem_write(&v->vm->mem, GPA(v->cpu.rip), "\xc7\x05\x80\x00\xe0\xfe\x50\x00\x00\x00", 10), OK);
	paging_on(v, WORLD_CODE + 0x1000);
	dispatch(v, mmio(LAPIC_TPR, true));
	cr_assert_eq(v->vm->outcome, VM_RUNNING, "%s", v->vm->stop_reason);
	cr_assert(v->exception.valid && v->exception.vector == VEC_PF && v->exception.has_error);
	cr_assert_eq(v->exception.error, 0);
	cr_assert_eq(v->cpu.cr2, WORLD_CODE + 0x1000);
	cr_assert_eq(v->cpu.rip, WORLD_CODE + 0xffd);
	cr_assert_eq(v->vm->now.count, 0);
	world_free(&w);
}

/* What the instruction touches is not mapped any more: a page fault for the access. */
Test(exits, an_access_to_what_is_not_mapped_faults_there)
{
	struct vcpu *v = fresh();
	u16 untouched;

	code("\xc7\x05\xfe\xff\x09\x00\x50\x00\x00\x00", 10); /* MOV dword [9FFFEh], 50h: across a page */
	paging_on(v, 0xa0000);
	v->cpu.cpl = 3;
	dispatch(v, mmio(0xa0000, true));
	check_raised(v, VEC_PF, true, 2 | 4);
	cr_assert_eq(v->cpu.cr2, 0xa0000);
	cr_assert_eq(guestmem_read(&v->vm->mem, GPA(0x9fffe), &untouched, 2), OK);
	cr_assert_eq(untouched, 0, "half the store was done");
	world_free(&w);
}

/* The reason shows the bytes that are there, and no others. */
Test(exits, an_instruction_not_emulated_ends_the_vm_and_is_shown)
{
	struct vcpu *v = fresh();

	v->cpu.rip = 0x9fffe; /* video memory begins two bytes on: nothing to fetch there */
	cr_assert_eq(guestmem_write(&v->vm->mem, GPA(0x9fffe), "\x0f\x6f", 2), OK);
	dispatch(v, mmio(0xfee00000, false));
	cr_assert_eq(v->vm->outcome, VM_UNHANDLED);
	cr_assert(strstr(v->vm->stop_reason, "0f 6f at rip 0x9fffe"), "%s", v->vm->stop_reason);
	world_free(&w);

	v = fresh();
	code("\x0f\x6f\x05\x00\x00\xe0\xfe\x90\x90\x90", 10); /* MOVQ mm0, [FEE00000h] */
	dispatch(v, mmio(0xfee00000, false));
	cr_assert_eq(v->vm->outcome, VM_UNHANDLED);
	cr_assert(strstr(v->vm->stop_reason, "0f 6f 05 00 00 e0 fe 90 at rip 0x10000"), "%s", v->vm->stop_reason);
	world_free(&w);
}

Test(exits, an_undefined_instruction_that_reaches_a_device_is_ud)
{
	struct vcpu *v = fresh();

	code("\xf0\x8b\x05\x00\x00\xe0\xfe", 7); /* LOCK MOV */
	dispatch(v, mmio(0xfee00000, false));
	check_raised(v, VEC_UD, false, 0);
	world_free(&w);
}

Test(exits, a_fetch_or_a_table_where_there_is_no_memory_ends_the_vm)
{
	for (int i = 0; i < 2; i++) {
		struct vcpu *v = fresh();
		struct exit e = mmio(0xd0000000, false);

		e.paging.fetch = !i;
		e.paging.table_walk = i;
		dispatch(v, e);
		cr_assert_eq(v->vm->outcome, VM_UNHANDLED);
		world_free(&w);
	}
}

/* A stack in a device's page: it is the delivery that faulted, not the instruction at RIP. */
Test(exits, an_exception_whose_delivery_reaches_a_device_ends_the_vm)
{
	struct vcpu *v = fresh();
	struct exit e = mmio(0xfee00ff0, true);

	code("\xc7\x05\x80\x00\xe0\xfe\x50\x00\x00\x00", 10);
	vcpu_raise(v, VEC_GP, true, 0);
	e.in_delivery = true;
	dispatch(v, e);
	cr_assert_eq(v->vm->outcome, VM_UNHANDLED);
	cr_assert_eq(v->lapic.tpr, 0, "the instruction at RIP was executed");
	world_free(&w);
}

Test(exits, without_host_memory_the_vm_ends_and_not_the_host)
{
	for (unsigned pages = 0; pages < 5; pages++) {
		struct vcpu *v = fresh();

		w.pages_left = pages;
		dispatch(v, mmio(WORLD_HIGH_DATA, true));
		cr_assert_eq(v->vm->outcome, VM_HOST_FAILED, "with %u pages", pages);
		world_free(&w);
	}
}

/* --- exceptions on top of exceptions [APM2 8.2.9] --- */

static int kind(u8 vector) /* 0 benign, 1 contributory, 2 page fault */
{
	if (vector == VEC_PF)
		return 2;
	return vector == VEC_DE || vector == VEC_TS || vector == VEC_NP || vector == VEC_SS || vector == VEC_GP;
}

Test(exits, two_exceptions_combine_as_the_manual_has_it)
{
	static const u8 vectors[] = { VEC_DE, VEC_DB, VEC_BP, VEC_UD, VEC_NM, VEC_TS, VEC_NP, VEC_SS, VEC_GP, VEC_PF,
				      VEC_MF, VEC_AC, VEC_MC, VEC_XF };

	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++)
		for (size_t j = 0; j < ARRAY_SIZE(vectors); j++) {
			struct vcpu *v = fresh();
			int first = kind(vectors[i]), second = kind(vectors[j]);
			bool df = (first == 1 && second == 1) || (first == 2 && second);

			vcpu_raise(v, vectors[i], false, 0);
			vcpu_raise(v, vectors[j], true, 0x77);
			cr_assert_eq(v->vm->outcome, VM_RUNNING);
			cr_assert_eq(v->exception.vector, df ? VEC_DF : vectors[j], "%u then %u: %u", vectors[i], vectors[j],
				     v->exception.vector);
			cr_assert_eq(v->exception.error, df ? 0 : 0x77);
			cr_assert(v->exception.has_error);
			world_free(&w);
		}
}

Test(exits, a_third_fault_is_the_end)
{
	struct vcpu *v = fresh();

	vcpu_raise(v, VEC_GP, true, 0);
	vcpu_raise(v, VEC_NP, true, 0);
	cr_assert_eq(v->exception.vector, VEC_DF);
	vcpu_raise(v, VEC_PF, true, 0);
	cr_assert_eq(v->vm->outcome, VM_TRIPLE_FAULT);
	world_free(&w);
}
