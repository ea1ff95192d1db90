/*
 * pit.c - the 8254 interval timer.  See pit.h.
 *
 * Reads: the virtual clock.  Changes: its own channels, its one timer, IRQ 0.
 * Never: counts in host time, or keeps a counter that must be ticked.
 *
 * Parts: conversion of time - the counting element - edges of channel 0 -
 * control words and counts - ports - the hooks.
 *
 * "The datasheet" is Intel's 8254 Programmable Interval Timer, order 231164.
 */
#include "vmm/dev/pit.h"

#define NS_PER_S 1000000000UL
#define PIT_NEVER (~0UL)
#define PIT_LAST_TICK BIT(54) /* 478 years: what comes later does not come */

enum { ACCESS_LSB = 1, ACCESS_MSB = 2, ACCESS_WORD = 3 };
enum { PORT_B_GATE2 = 1 << 0, PORT_B_WRITABLE = 0x0f, PORT_B_REFRESH = 1 << 4, PORT_B_OUT2 = 1 << 5 };

/* DRAM refresh asks once in 18 ticks (15 us); software times short delays by its toggling. */
#define REFRESH_TICKS 18

/*
 * Whole seconds apart from the rest, so that 64 bits hold every product and
 * the result is exact for centuries.  pit_ns_of_tick rounds up: it is the
 * first nanosecond at which pit_ticks_at has reached the tick, so a timer
 * armed there fires when the counter reads expired, never one off.
 */
u64 pit_ticks_at(u64 now_ns)
{
	return now_ns / NS_PER_S * PIT_HZ + now_ns % NS_PER_S * PIT_HZ / NS_PER_S;
}

u64 pit_ns_of_tick(u64 tick)
{
	if (tick > PIT_LAST_TICK)
		return VTIMER_NEVER;
	return tick / PIT_HZ * NS_PER_S + (tick % PIT_HZ * NS_PER_S + PIT_HZ - 1) / PIT_HZ;
}

/* Modes 6 and 7 are 2 and 3 with a don't-care bit set [8254 datasheet, Control Word Format]. */
static unsigned mode_of(const struct pit_channel *c)
{
	unsigned mode = c->control >> 1 & 7;

	return mode > 5 ? mode - 4 : mode;
}

static bool periodic(const struct pit_channel *c)
{
	return mode_of(c) == 2 || mode_of(c) == 3;
}

/* Modes in which a rising GATE starts the count and its level means nothing. */
static bool triggered(const struct pit_channel *c)
{
	return mode_of(c) == 1 || mode_of(c) == 5;
}

static unsigned access_of(const struct pit_channel *c)
{
	return c->control >> 4 & 3;
}

static u32 modulus_of(const struct pit_channel *c)
{
	return c->control & 1 ? 10000 : 65536;
}

static u32 from_bcd(u16 v)
{
	return (v >> 12) * 1000 + (v >> 8 & 15) * 100 + (v >> 4 & 15) * 10 + (v & 15);
}

static u16 to_bcd(u32 v)
{
	return (u16)(v / 1000 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10);
}

/* --- the counting element --- */

static u64 elapsed_ticks(const struct pit_channel *c, u64 tick)
{
	return (c->stopped ? c->stop_tick : tick) - c->load_tick;
}

/* Mode 3: OUT is high for the first (N+1)/2 ticks, low for the other N/2 [8254 datasheet, Mode 3]. */
static u32 high_half(u32 count)
{
	return (count + 1) / 2;
}

/*
 * Carries out a load that is due by now.  Every entry calls it first.
 *
 * A new count in mode 3 takes over at the end of a half-cycle; if that is the
 * high half, the new count begins with its low one.  load_tick may then lie
 * before time 0: only differences of it are ever used, so wrapping is right.
 */
static void settle(struct pit_channel *c, u64 tick)
{
	u64 at = c->load_at;
	bool low_half;

	if (tick < at || at == PIT_NEVER)
		return;
	low_half = mode_of(c) == 3 && c->loaded && !c->stopped && (at - c->load_tick) % c->count != 0;
	c->count = c->count_reg;
	c->load_tick = low_half ? at - high_half(c->count) : at;
	c->load_at = PIT_NEVER;
	c->loaded = 1;
	c->null_count = 0;
	c->stopped = !c->gate && !triggered(c);
	c->stop_tick = at;
}

static bool out_level(const struct pit_channel *c, u64 tick)
{
	u64 elapsed = elapsed_ticks(c, tick);

	if (!c->loaded)
		return mode_of(c) != 0;
	switch (mode_of(c)) {
	case 0:
		return elapsed >= c->count;
	case 1:
		return elapsed >= c->count;
	case 2:
		return c->stopped || elapsed % c->count != c->count - 1;
	case 3:
		return c->stopped || elapsed % c->count < high_half(c->count);
	default:
		return elapsed != c->count;
	}
}

/* The 16 bits a read of the counter sees: 65536, or 10000 in BCD, reads as 0. */
static u16 counter_value(const struct pit_channel *c, u64 tick)
{
	u32 modulus = modulus_of(c), value;
	u64 elapsed = elapsed_ticks(c, tick);

	if (!c->loaded)
		return c->idle_value;
	switch (mode_of(c)) {
	case 2:
		value = c->count - (u32)(elapsed % c->count);
		break;
	case 3: /* counts down by two, twice a period; odd counts start one lower */
		elapsed %= c->count;
		if (elapsed >= high_half(c->count))
			elapsed -= high_half(c->count);
		value = (c->count & ~1U) - 2 * (u32)elapsed;
		break;
	default: /* wraps and goes on after terminal count */
		value = c->count + modulus - (u32)(elapsed % modulus);
	}
	value %= modulus;
	return c->control & 1 ? to_bcd(value) : (u16)value;
}

/* The counting element holds still at its value until the next load. */
static void unload(struct pit_channel *c, u64 tick)
{
	c->idle_value = counter_value(c, tick);
	c->loaded = c->stopped = 0;
	c->load_at = PIT_NEVER;
}

/* The end of the running cycle (mode 2) or half-cycle (mode 3). */
static u64 next_boundary(const struct pit_channel *c, u64 tick)
{
	u64 in_cycle = elapsed_ticks(c, tick) % c->count;
	u64 half = high_half(c->count);

	if (mode_of(c) == 3 && in_cycle < half)
		return tick - in_cycle + half;
	return tick - in_cycle + c->count;
}

/* [8254 datasheet, Gate Pin Operations Summary] */
static void set_gate(struct pit_channel *c, bool level, u64 tick)
{
	settle(c, tick);
	if (level == c->gate)
		return;
	c->gate = level;
	if (triggered(c)) {
		if (level && c->count_reg)
			c->load_at = tick + 1;
	} else if (!c->loaded) {
		return; /* the first load does not wait for GATE, counting does: settle */
	} else if (!level) {
		c->stopped = 1;
		c->stop_tick = tick;
		if (periodic(c))
			c->load_at = PIT_NEVER;
	} else if (periodic(c)) {
		c->load_at = tick + 1; /* a rise starts the cycle again */
	} else {
		c->load_tick += tick - c->stop_tick;
		c->stopped = 0;
	}
}

/* --- edges of channel 0 --- */

/* The next tick after `tick` at which OUT goes from low to high. */
static u64 next_rise(const struct pit_channel *c, u64 tick)
{
	unsigned mode = mode_of(c);
	u64 elapsed = elapsed_ticks(c, tick);

	if (triggered(c))
		return PIT_NEVER; /* channel 0's GATE is tied high: nothing triggers it */
	if (c->load_at != PIT_NEVER) {
		if (!periodic(c))
			return c->load_at + c->count_reg + (mode == 4);
		if (!c->loaded)
			return c->load_at + c->count_reg;
		if (mode == 3 && (c->load_at - c->load_tick) % c->count != 0)
			return c->load_at + c->count_reg / 2;
		return c->load_at;
	}
	if (!c->loaded || c->stopped)
		return PIT_NEVER;
	if (periodic(c))
		return c->load_tick + (elapsed / c->count + 1) * c->count;
	if (elapsed >= c->count + (mode == 4))
		return PIT_NEVER;
	return c->load_tick + c->count + (mode == 4);
}

static void arm(struct pit *p, u64 tick)
{
	u64 rise = next_rise(&p->channel[0], tick);

	vtimer_arm(&p->timer, rise == PIT_NEVER ? VTIMER_NEVER : pit_ns_of_tick(rise));
}

/*
 * OUT rises now.  Its fall is not an event of its own, since nobody can see it
 * on an edge-triggered line and it would cost the guest an exit per period:
 * the line is lowered just before it is raised.
 */
static void out0_rises(void *owner)
{
	struct pit *p = owner;
	u64 tick = pit_ticks_at(p->clock->now_ns);

	settle(&p->channel[0], tick);
	irq_set(&p->irq0, false);
	irq_set(&p->irq0, true);
	arm(p, tick);
}

/* The tick of now, with an edge due by now already delivered. */
static u64 catch_up(struct pit *p)
{
	if (p->timer.deadline_ns <= p->clock->now_ns)
		out0_rises(p);
	return pit_ticks_at(p->clock->now_ns);
}

/* --- control words and counts --- */

static void latch_count(struct pit_channel *c, u64 tick)
{
	if (c->count_latched)
		return; /* a second latch before the first is read is ignored */
	c->latch = counter_value(c, tick);
	c->count_latched = 1;
}

/* [8254 datasheet, Read-Back Command] */
static void read_back(struct pit *p, u8 command, u64 tick)
{
	for (unsigned i = 0; i < 3; i++) {
		struct pit_channel *c = &p->channel[i];

		if (!(command & 2 << i))
			continue;
		settle(c, tick);
		if (!(command & 1 << 5))
			latch_count(c, tick);
		if (!(command & 1 << 4) && !c->status_latched) {
			c->status = (u8)(out_level(c, tick) << 7 | c->null_count << 6 | c->control);
			c->status_latched = 1;
		}
	}
}

static void write_control(struct pit *p, u8 value, u64 tick)
{
	struct pit_channel *c;

	if (value >> 6 == 3) {
		read_back(p, value, tick);
		return;
	}
	c = &p->channel[value >> 6];
	settle(c, tick);
	if (!(value >> 4 & 3)) {
		latch_count(c, tick);
		return;
	}
	unload(c, tick);
	c->control = value & 0x3f;
	c->null_count = 1;
	c->count_reg = 0;
	c->count_latched = c->status_latched = 0;
	c->read_msb = c->write_msb = 0;
}

static void new_count(struct pit_channel *c, u16 raw, u64 tick)
{
	u32 count = c->control & 1 ? from_bcd(raw) : raw;

	if (!count)
		count = modulus_of(c);
	if (count == 1 && periodic(c))
		count = 2; /* 1 is not allowed there, and what a chip then does is not told */
	c->count_reg = count;
	c->null_count = 1;
	if (mode_of(c) == 0)
		unload(c, tick);
	if (triggered(c))
		return;
	if (!periodic(c))
		c->load_at = tick + 1;
	else if (c->load_at == PIT_NEVER && !(c->loaded && c->stopped))
		c->load_at = c->loaded ? next_boundary(c, tick) : tick + 1;
}

static void write_counter(struct pit_channel *c, u8 value, u64 tick)
{
	settle(c, tick);
	switch (access_of(c)) {
	case ACCESS_LSB:
		new_count(c, value, tick);
		break;
	case ACCESS_MSB:
		new_count(c, (u16)(value << 8), tick);
		break;
	default:
		if (c->write_msb) {
			new_count(c, (u16)(value << 8 | c->write_lsb), tick);
		} else {
			c->write_lsb = value;
			if (mode_of(c) == 0)
				unload(c, tick); /* half a count stops it, OUT low [8254 datasheet, Mode 0] */
		}
		c->write_msb = !c->write_msb;
	}
}

static u8 read_counter(struct pit_channel *c, u64 tick)
{
	u16 value;
	bool msb;

	settle(c, tick);
	if (c->status_latched) {
		c->status_latched = 0;
		return c->status;
	}
	value = c->count_latched ? c->latch : counter_value(c, tick);
	msb = access_of(c) == ACCESS_MSB;
	if (access_of(c) == ACCESS_WORD) {
		msb = c->read_msb;
		c->read_msb = !msb;
	}
	if (!c->read_msb)
		c->count_latched = 0;
	return (u8)(msb ? value >> 8 : value);
}

/* --- ports --- */

static u8 read_port(struct pit *p, u64 port, u64 tick)
{
	struct pit_channel *c2 = &p->channel[2];

	if (port >= PIT_PORT && port < PIT_PORT + 3)
		return read_counter(&p->channel[port - PIT_PORT], tick);
	if (port != PIT_PORT_B)
		return 0xff;
	settle(c2, tick);
	return (u8)(p->port_b | (tick / REFRESH_TICKS & 1 ? PORT_B_REFRESH : 0) |
		    (out_level(c2, tick) ? PORT_B_OUT2 : 0));
}

static void write_port(struct pit *p, u64 port, u8 value, u64 tick)
{
	struct pit_channel *c0 = &p->channel[0];

	if (port == PIT_PORT_B) {
		p->port_b = value & PORT_B_WRITABLE;
		set_gate(&p->channel[2], value & PORT_B_GATE2, tick);
		return;
	}
	if (port < PIT_PORT || port >= PIT_PORT + PIT_NPORTS)
		return;
	/* A write can itself move OUT: the control word of mode 2 over mode 0 is a rise. */
	settle(c0, tick);
	irq_set(&p->irq0, out_level(c0, tick));
	if (port == PIT_PORT + 3)
		write_control(p, value, tick);
	else
		write_counter(&p->channel[port - PIT_PORT], value, tick);
	irq_set(&p->irq0, out_level(c0, tick));
	arm(p, tick);
}

/* --- the hooks --- */

/* The chip is 8 bits wide: a wider access is one for each port, low one first. */
static u64 pit_read(void *dev, enum io_space space, u64 addr, unsigned size_bytes)
{
	struct pit *p = dev;
	u64 value = 0, tick = catch_up(p);

	if (space != IO_PORT)
		return ~0UL;
	for (unsigned i = 0; i < size_bytes; i++)
		value |= (u64)read_port(p, addr + i, tick) << (8 * i);
	return value;
}

static void pit_write(void *dev, enum io_space space, u64 addr, unsigned size_bytes, u64 value)
{
	struct pit *p = dev;
	u64 tick = catch_up(p);

	if (space != IO_PORT)
		return;
	for (unsigned i = 0; i < size_bytes; i++)
		write_port(p, addr + i, (u8)(value >> (8 * i)), tick);
}

static void pit_reset(void *dev)
{
	struct pit *p = dev;

	for (unsigned i = 0; i < 3; i++)
		p->channel[i] = (struct pit_channel){
			.load_at = PIT_NEVER,
			.control = ACCESS_WORD << 4, /* undefined until programmed; mode 0 keeps OUT low */
			.gate = i != 2,
			.null_count = 1,
		};
	p->port_b = 0;
	vtimer_cancel(&p->timer);
	irq_set(&p->irq0, false);
}

static void channel_state(struct pit_channel *c, struct state_walk *w)
{
	STATE(w, c, load_tick);
	STATE(w, c, load_at);
	STATE(w, c, stop_tick);
	STATE(w, c, count_reg);
	STATE(w, c, count);
	STATE(w, c, idle_value);
	STATE(w, c, latch);
	STATE(w, c, control);
	STATE(w, c, gate);
	STATE(w, c, loaded);
	STATE(w, c, stopped);
	STATE(w, c, null_count);
	STATE(w, c, count_latched);
	STATE(w, c, status_latched);
	STATE(w, c, status);
	STATE(w, c, read_msb);
	STATE(w, c, write_msb);
	STATE(w, c, write_lsb);
}

static void pit_state(void *dev, struct state_walk *w)
{
	struct pit *p = dev;
	bool sound = true;

	for (unsigned i = 0; i < 3; i++) {
		struct pit_channel *c = &p->channel[i];

		channel_state(c, w);
		/* A count of 0 in use would divide by zero later, a load at the end of time never pass. */
		sound = sound && (!c->loaded || (c->count && c->count_reg)) &&
			(c->load_at == PIT_NEVER || (c->count_reg && c->load_at <= PIT_LAST_TICK));
	}
	STATE(w, p, port_b);
	vtimer_state(&p->timer, w, "timer");
	if (w->mode == STATE_LOAD && (w->error || !sound)) {
		w->error = w->error ? w->error : ERR_DAMAGED;
		pit_reset(p);
	}
}

const struct device_ops pit_ops = {
	.name = "pit",
	.version = 1,
	.read = pit_read,
	.write = pit_write,
	.reset = pit_reset,
	.input = device_no_input,
	.state = pit_state,
};

void pit_init(struct pit *p, struct vclock *clock, struct irq_line irq0)
{
	memset(p, 0, sizeof(*p));
	p->clock = clock;
	p->irq0 = irq0;
	vtimer_add(clock, &p->timer, out0_rises, p);
	pit_reset(p);
}
