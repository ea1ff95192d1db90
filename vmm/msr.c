/*
 * msr.c - the model-specific registers of the machine.
 *
 * Vendor code lets the guest reach those the processor switches by itself
 * (STAR, LSTAR, FS_BASE ...); all others exit and come here.  An MSR this
 * machine does not have is #GP, as on hardware.
 */
#include "vmm/vm.h"

enum {
	MSR_TSC = 0x10,
	MSR_PLATFORM_ID = 0x17,
	MSR_TSC_ADJUST = 0x3b,
	MSR_UCODE_REV = 0x8b,
	MSR_MTRRCAP = 0xfe,
	MSR_MCG_CAP = 0x179,
	MSR_MCG_STATUS = 0x17a,
	MSR_MISC_ENABLE = 0x1a0,
	MSR_MTRR_PHYSBASE0 = 0x200,
	MSR_MTRR_PHYSMASK7 = 0x20f,
	MSR_PAT = 0x277,
	MSR_MTRR_DEF_TYPE = 0x2ff,
};
#define MSR_EFER 0xc0000080U
#define MSR_TSC_AUX 0xc0000103U

static bool is_lapic_msr(u32 index)
{
	return index == MSR_APIC_BASE || index == MSR_TSC_DEADLINE ||
	       (index >= MSR_X2APIC_FIRST && index <= MSR_X2APIC_LAST);
}

static const u16 mtrr_fixed[11] = { 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f };

/* The field behind an MSR that is only stored, or NULL. */
static u64 *stored(struct cpu_state *s, u32 index)
{
	if (index >= MSR_MTRR_PHYSBASE0 && index <= MSR_MTRR_PHYSMASK7)
		return &s->mtrr_var[index - MSR_MTRR_PHYSBASE0];
	for (unsigned i = 0; i < ARRAY_SIZE(mtrr_fixed); i++)
		if (mtrr_fixed[i] == index)
			return &s->mtrr_fix[i];
	switch (index) {
	case MSR_MTRR_DEF_TYPE:
		return &s->mtrr_def_type;
	case MSR_PAT:
		return &s->pat;
	case MSR_MISC_ENABLE:
		return &s->misc_enable;
	}
	return NULL;
}

static u64 guest_tsc(const struct vcpu *v)
{
	return v->vm->now.vtime_ns + v->cpu.tsc_adjust;
}

err_t msr_read(struct vcpu *v, u32 index, u64 *value)
{
	u64 *field = stored(&v->cpu, index);

	*value = 0;
	if (field) {
		*value = *field;
		return OK;
	}
	if (is_lapic_msr(index))
		return lapic_read_msr(&v->lapic, index, value);
	switch (index) {
	case MSR_TSC:
		*value = guest_tsc(v);
		return OK;
	case MSR_TSC_ADJUST:
		*value = v->cpu.tsc_adjust;
		return OK;
	case MSR_TSC_AUX:
		*value = v->cpu.tsc_aux;
		return OK;
	case MSR_EFER:
		*value = v->cpu.efer;
		return OK;
	case MSR_MTRRCAP: /* 8 variable ranges, fixed ranges, no write-combining [SDM3 11.11.1] */
		*value = 8 | 1 << 8;
		return OK;
	case MSR_UCODE_REV:
	case MSR_PLATFORM_ID:
	case MSR_MCG_CAP:
	case MSR_MCG_STATUS:
		return OK;
	}
	return ERR_INVALID;
}

static void set_tsc_adjust(struct vcpu *v, u64 adjust)
{
	v->cpu.tsc_adjust = adjust;
	lapic_set_tsc_adjust(&v->lapic, adjust);
}

/* [APM2 3.1.7 Extended Feature Enable Register]; LMA follows CR0.PG and cannot be written. */
static err_t write_efer(struct cpu_state *s, u64 value)
{
	u64 writable = EFER_SCE | EFER_LME | EFER_NXE;

	if (value & ~(writable | EFER_LMA))
		return ERR_INVALID;
	if ((s->cr0 & CR0_PG) && ((value ^ s->efer) & EFER_LME))
		return ERR_INVALID;
	s->efer = (s->efer & ~writable) | (value & writable);
	return OK;
}

/* Memory types a PAT entry may hold [APM2 7.8.2]: all but 2 and 3, up to 7. */
static bool pat_legal(u64 value)
{
	for (int i = 0; i < 64; i += 8) {
		u8 t = (u8)(value >> i);
		if (t > 7 || t == 2 || t == 3)
			return false;
	}
	return true;
}

err_t msr_write(struct vcpu *v, u32 index, u64 value)
{
	u64 *field = stored(&v->cpu, index);

	if (index == MSR_PAT && !pat_legal(value))
		return ERR_INVALID;
	if (field) {
		*field = value;
		return OK;
	}
	if (is_lapic_msr(index))
		return lapic_write_msr(&v->lapic, index, value);
	switch (index) {
	case MSR_TSC:
		set_tsc_adjust(v, value - v->vm->now.vtime_ns);
		return OK;
	case MSR_TSC_ADJUST:
		set_tsc_adjust(v, value);
		return OK;
	case MSR_TSC_AUX:
		if (value >> 32)
			return ERR_INVALID;
		v->cpu.tsc_aux = value;
		return OK;
	case MSR_EFER:
		return write_efer(&v->cpu, value);
	case MSR_UCODE_REV:
	case MSR_MCG_STATUS:
		return OK; /* writes are how software asks for the revision, or clears the status */
	}
	return ERR_INVALID;
}
