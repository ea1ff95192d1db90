/*
 * acpipm.c - the fixed hardware of ACPI.  The model is in acpipm.h.
 */
#include "vmm/dev/acpipm.h"

enum {
	STS_TMR = 1 << 0,
	EN_TMR = 1 << 0,
	EN_BITS = 1 << 0 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 10,
	CNT_SCI_EN = 1 << 0,
	CNT_BM_RLD = 1 << 1,
	CNT_SLP_TYP_SHIFT = 10,
	CNT_SLP_TYP = 7 << CNT_SLP_TYP_SHIFT,
	CNT_SLP_EN = 1 << 13,
	SLP_TYP_S5 = 0, /* what \_S5 in the DSDT says */
	RESET_CPU = 1 << 2,
	RESET_BITS = 0x0e,
};

#define NS_PER_S 1000000000UL
#define HALF_TURN (1UL << 31) /* ticks between changes of the top bit */

/* Exact in 64 bits for any instant: whole seconds and the rest apart. */
static u64 ticks_at(u64 ns)
{
	return ns / NS_PER_S * ACPIPM_TIMER_HZ + ns % NS_PER_S * ACPIPM_TIMER_HZ / NS_PER_S;
}

/* The first instant at which ticks_at reaches `ticks`. */
static u64 instant_of(u64 ticks)
{
	u64 rest = ticks % ACPIPM_TIMER_HZ * NS_PER_S;

	return ticks / ACPIPM_TIMER_HZ * NS_PER_S + (rest + ACPIPM_TIMER_HZ - 1) / ACPIPM_TIMER_HZ;
}

/*
 * Brings TMR_STS up to now, then the SCI and the timer behind it.  TMR_STS is
 * set whenever the top bit changes, either way [ACPI 4.8.3.1.1].
 */
static void update(struct acpipm *p)
{
	u64 half_turns = ticks_at(p->clock->now_ns) / HALF_TURN;

	if (half_turns != p->half_turns)
		p->pm1_sts |= STS_TMR;
	p->half_turns = half_turns;

	if ((p->pm1_en & EN_TMR) && !(p->pm1_sts & STS_TMR))
		vtimer_arm(&p->overflow, instant_of((half_turns + 1) * HALF_TURN));
	else
		vtimer_cancel(&p->overflow);
	irq_set(&p->sci, (p->pm1_cnt & CNT_SCI_EN) && (p->pm1_sts & p->pm1_en));
}

static void overflow_fire(void *owner)
{
	update(owner);
}

/* Replaces one byte of a 16-bit register. */
static u16 with_byte(u16 reg, unsigned index, u8 value)
{
	return (u16)((reg & ~(0xff << (8 * index))) | value << (8 * index));
}

static void write_cnt(struct acpipm *p, unsigned index, u8 value)
{
	u16 cnt = with_byte(p->pm1_cnt, index, value);

	/*
	 * SCI_EN follows SMI_CMD, not this write: the customary
	 * `outw(0x604, 0x2000)` must not matter to it.  SLP_EN and GBL_RLS
	 * read 0 [ACPI 4.8.3.2.1].
	 */
	p->pm1_cnt = (p->pm1_cnt & CNT_SCI_EN) | (cnt & (CNT_BM_RLD | CNT_SLP_TYP));
	if ((cnt & CNT_SLP_EN) && (cnt & CNT_SLP_TYP) >> CNT_SLP_TYP_SHIFT == SLP_TYP_S5)
		p->control.request(p->control.ctx, MACHINE_POWER_OFF, 0);
}

static void write_smi_cmd(struct acpipm *p, u8 value)
{
	p->smi_cmd = value;
	if (value == ACPIPM_CMD_ENABLE)
		p->pm1_cnt |= CNT_SCI_EN;
	else if (value == ACPIPM_CMD_DISABLE)
		p->pm1_cnt &= (u16)~CNT_SCI_EN;
}

static void write_reset(struct acpipm *p, u8 value)
{
	bool rises = (value & RESET_CPU) && !(p->reset_control & RESET_CPU);

	p->reset_control = value & RESET_BITS;
	if (rises)
		p->control.request(p->control.ctx, MACHINE_RESET, 0);
}

static u8 read_byte(const struct acpipm *p, u64 addr)
{
	switch (addr) {
	case ACPIPM_PM1_EVT: case ACPIPM_PM1_EVT + 1:
		return (u8)(p->pm1_sts >> 8 * (addr & 1));
	case ACPIPM_PM1_EVT + 2: case ACPIPM_PM1_EVT + 3:
		return (u8)(p->pm1_en >> 8 * (addr & 1));
	case ACPIPM_PM1_CNT: case ACPIPM_PM1_CNT + 1:
		return (u8)(p->pm1_cnt >> 8 * (addr & 1));
	case ACPIPM_PM_TMR: case ACPIPM_PM_TMR + 1: case ACPIPM_PM_TMR + 2: case ACPIPM_PM_TMR + 3:
		return (u8)(ticks_at(p->clock->now_ns) >> 8 * (addr & 3));
	case ACPIPM_SMI_CMD:
		return p->smi_cmd;
	case ACPIPM_SMI_CMD + 1:
		return p->smi_data;
	case ACPIPM_RESET:
		return p->reset_control;
	}
	return 0xff;
}

static void write_byte(struct acpipm *p, u64 addr, u8 value)
{
	switch (addr) {
	case ACPIPM_PM1_EVT: case ACPIPM_PM1_EVT + 1:
		p->pm1_sts &= (u16)~(value << 8 * (addr & 1));
		break;
	case ACPIPM_PM1_EVT + 2: case ACPIPM_PM1_EVT + 3:
		p->pm1_en = with_byte(p->pm1_en, addr & 1, value) & EN_BITS;
		break;
	case ACPIPM_PM1_CNT: case ACPIPM_PM1_CNT + 1:
		write_cnt(p, addr & 1, value);
		break;
	case ACPIPM_SMI_CMD:
		write_smi_cmd(p, value);
		break;
	case ACPIPM_SMI_CMD + 1:
		p->smi_data = value;
		break;
	case ACPIPM_RESET:
		write_reset(p, value);
		break;
	}
}

/* Registers may be read by halves and bytes, so every access is done by bytes, at one instant. */
static u64 acpipm_read(void *dev, enum io_space space unused_arg, u64 addr, unsigned size_bytes)
{
	struct acpipm *p = dev;
	u64 value = 0;

	update(p);
	for (unsigned i = 0; i < size_bytes; i++)
		value |= (u64)read_byte(p, addr + i) << (8 * i);
	return value;
}

static void acpipm_write(void *dev, enum io_space space unused_arg, u64 addr, unsigned size_bytes, u64 value)
{
	struct acpipm *p = dev;

	update(p); /* a TMR_STS that is due must be there to be cleared */
	for (unsigned i = 0; i < size_bytes; i++)
		write_byte(p, addr + i, (u8)(value >> (8 * i)));
	update(p);
}

static void acpipm_reset(void *dev)
{
	struct acpipm *p = dev;

	p->pm1_sts = p->pm1_en = 0;
	p->pm1_cnt = CNT_SCI_EN;
	p->smi_cmd = p->smi_data = 0;
	p->reset_control = 0;
	p->half_turns = ticks_at(p->clock->now_ns) / HALF_TURN;
	update(p);
}

static void acpipm_state(void *dev, struct state_walk *w)
{
	struct acpipm *p = dev;

	STATE(w, p, pm1_sts);
	STATE(w, p, pm1_en);
	STATE(w, p, pm1_cnt);
	STATE(w, p, smi_cmd);
	STATE(w, p, smi_data);
	STATE(w, p, reset_control);
	STATE(w, p, half_turns);
	vtimer_state(&p->overflow, w, "overflow_ns");
}

void acpipm_init(struct acpipm *p, struct vclock *clock, struct irq_line sci, struct machine_control control)
{
	p->clock = clock;
	p->sci = sci;
	p->control = control;
	vtimer_add(clock, &p->overflow, overflow_fire, p);
	acpipm_reset(p);
}

const struct device_ops acpipm_ops = {
	.name = "acpipm",
	.version = 1,
	.read = acpipm_read,
	.write = acpipm_write,
	.reset = acpipm_reset,
	.input = device_no_input,
	.state = acpipm_state,
};
