/*
 * rtc.c - the MC146818A real-time clock.  The model is in rtc.h.
 *
 * Parts: calendar; registers and dates; events and flags; ports; hooks.
 */
#include "vmm/dev/rtc.h"

enum {
	REG_SECOND, REG_SECOND_ALARM, REG_MINUTE, REG_MINUTE_ALARM, REG_HOUR, REG_HOUR_ALARM,
	REG_WEEKDAY, REG_DAY, REG_MONTH, REG_YEAR, REG_A, REG_B, REG_C, REG_D,
	CMOS_SHUTDOWN = 0x0f,
	CMOS_EQUIPMENT = 0x14,
	CMOS_BASE_KIB = 0x15,      /* 16 bits, as all of these */
	CMOS_EXTENDED_KIB = 0x17,  /* above 1 MiB; again at 30h */
	CMOS_CHECKSUM = 0x2e,      /* of 10h-2Dh, high byte first */
	CMOS_EXTENDED_KIB2 = 0x30,
	CMOS_HIGH_64KIB = 0x34,    /* above 16 MiB, in 64 KiB */

	A_UIP = 0x80,
	A_DIVIDER_RESET = 0x60,    /* both bits: the divider chain is held */
	A_RATE = 0x0f,
	B_SET = 0x80, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10, B_SQWE = 0x08, B_BINARY = 0x04, B_24H = 0x02,
	C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10, /* same bits as their enables */
	D_VALID = 0x80,            /* the battery is good */
	HOUR_PM = 0x80,
	ALARM_ANY = 0xc0,          /* alarm bytes from here on match everything */
};

#define NS_PER_S 1000000000UL
#define UIP_NS 244000UL
#define DIVIDER_HZ 32768UL
#define DAY_S 86400

/* ---- calendar: proleptic Gregorian, days since 1970-01-01 ---- */

static s64 floor_div(s64 a, s64 b)
{
	return a / b - (a % b < 0);
}

static s64 floor_mod(s64 a, s64 b)
{
	return a - floor_div(a, b) * b;
}

/* Days before March 1 of year y.  Years begin in March here, so that the leap day is their last. */
static s64 days_before_march(s64 y)
{
	return 365 * y + floor_div(y, 4) - floor_div(y, 100) + floor_div(y, 400);
}

/* Days from March 1 to the first of the m-th month after March: 31 30 31 30 31, repeating. */
static s64 days_before_month(s64 m)
{
	return (153 * m + 2) / 5;
}

/* The day number; a month or day out of range carries over. */
static s64 days_of_date(s64 year, s64 month, s64 day)
{
	s64 months = year * 12 + month - 3;

	return days_before_march(floor_div(months, 12)) + days_before_month(floor_mod(months, 12)) + day - 1 -
	       719468; /* 1970-01-01, counted from 0000-03-01 */
}

static void date_of_days(s64 days, s64 *year, s64 *month, s64 *day)
{
	s64 since = days + 719468;
	s64 y = floor_div(since * 400, 146097), m;

	/* The quotient is the mean year: at most one off. */
	while (days_before_march(y) > since)
		y--;
	while (days_before_march(y + 1) <= since)
		y++;
	since -= days_before_march(y);
	m = (5 * since + 2) / 153;
	*day = since - days_before_month(m) + 1;
	*month = m < 10 ? m + 3 : m - 9;
	*year = y + (m >= 10);
}

/* ---- registers and dates ---- */

static u8 encode(const struct rtc *r, s64 v)
{
	return (u8)((r->cmos[REG_B] & B_BINARY) ? v : v / 10 << 4 | v % 10);
}

static s64 decode(const struct rtc *r, u8 raw)
{
	return (r->cmos[REG_B] & B_BINARY) ? raw : (raw >> 4) * 10 + (raw & 15);
}

static u8 encode_hour(const struct rtc *r, s64 hour)
{
	if (r->cmos[REG_B] & B_24H)
		return encode(r, hour);
	return encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static s64 decode_hour(const struct rtc *r, u8 raw)
{
	if (r->cmos[REG_B] & B_24H)
		return decode(r, raw);
	return decode(r, raw & (u8)~HOUR_PM) % 12 + ((raw & HOUR_PM) ? 12 : 0);
}

static bool divider_held(const struct rtc *r)
{
	return (r->cmos[REG_A] & A_DIVIDER_RESET) == A_DIVIDER_RESET;
}

/* The guest holds the clock: its registers are plain bytes. */
static bool frozen(const struct rtc *r)
{
	return (r->cmos[REG_B] & B_SET) || divider_held(r);
}

static bool is_time_register(unsigned reg)
{
	return reg == REG_SECOND || reg == REG_MINUTE || reg == REG_HOUR ||
	       (reg >= REG_WEEKDAY && reg <= REG_YEAR) || reg == RTC_CENTURY;
}

/* Seconds the divider chain has counted at an instant. */
static u64 second_at(const struct rtc *r, u64 ns)
{
	return (ns + r->phase_ns) / NS_PER_S;
}

static s64 date_at(const struct rtc *r, u64 ns)
{
	return r->base_s + (s64)second_at(r, ns);
}

/* Sunday is 1. */
static s64 weekday_of(s64 days)
{
	return floor_mod(days + 4, 7) + 1;
}

/* The date now, into the register bytes. */
static void split_date(struct rtc *r)
{
	s64 t = date_at(r, r->clock->now_ns), days = floor_div(t, DAY_S), s = floor_mod(t, DAY_S);
	s64 year, month, day;

	date_of_days(days, &year, &month, &day);
	r->cmos[REG_SECOND] = encode(r, s % 60);
	r->cmos[REG_MINUTE] = encode(r, s / 60 % 60);
	r->cmos[REG_HOUR] = encode_hour(r, s / 3600);
	r->cmos[REG_WEEKDAY] = encode(r, (weekday_of(days) - 1 + r->weekday_shift) % 7 + 1);
	r->cmos[REG_DAY] = encode(r, day);
	r->cmos[REG_MONTH] = encode(r, month);
	r->cmos[REG_YEAR] = encode(r, floor_mod(year, 100));
	r->cmos[RTC_CENTURY] = encode(r, floor_mod(floor_div(year, 100), 100));
}

/* The register bytes, as the date now.  The chip's weekday is a counter of its own. */
static void join_date(struct rtc *r)
{
	s64 year = decode(r, r->cmos[RTC_CENTURY]) * 100 + decode(r, r->cmos[REG_YEAR]);
	s64 days = days_of_date(year, decode(r, r->cmos[REG_MONTH]), decode(r, r->cmos[REG_DAY]));
	s64 t = days * DAY_S + decode_hour(r, r->cmos[REG_HOUR]) * 3600 +
		decode(r, r->cmos[REG_MINUTE]) * 60 + decode(r, r->cmos[REG_SECOND]);

	r->base_s = t - (s64)second_at(r, r->clock->now_ns);
	days = floor_div(t, DAY_S); /* seconds or hours out of range may have carried */
	r->weekday_shift = (u8)floor_mod(decode(r, r->cmos[REG_WEEKDAY]) - weekday_of(days), 7);
}

/* ---- events and flags ---- */

/* log2 of the periodic interrupt's length in divider ticks, for 32.768 kHz; -1: none [MC146818A datasheet, Table 5]. */
static int periodic_shift(const struct rtc *r)
{
	int rate = r->cmos[REG_A] & A_RATE;

	if (!rate || divider_held(r))
		return -1;
	return rate < 3 ? rate + 6 : rate - 1;
}

static u64 ticks_at(const struct rtc *r, u64 ns)
{
	u64 d = ns + r->phase_ns;

	return d / NS_PER_S * DIVIDER_HZ + d % NS_PER_S * DIVIDER_HZ / NS_PER_S;
}

static u64 instant_of_ticks(const struct rtc *r, u64 ticks)
{
	u64 rest = (ticks % DIVIDER_HZ * NS_PER_S + DIVIDER_HZ - 1) / DIVIDER_HZ;

	return ticks / DIVIDER_HZ * NS_PER_S + rest - r->phase_ns;
}

/*
 * An alarm byte: a value below `limit`, -1 for any, limit for one that never
 * matches.  The chip compares bytes, so a value that does not encode back to
 * its byte never does.
 */
static s64 alarm_value(const struct rtc *r, unsigned reg, s64 limit)
{
	u8 raw = r->cmos[reg];
	s64 v = reg == REG_HOUR_ALARM ? decode_hour(r, raw) : decode(r, raw);

	if (raw >= ALARM_ANY)
		return -1;
	if (v >= limit || (reg == REG_HOUR_ALARM ? encode_hour(r, v) : encode(r, v)) != raw)
		return limit;
	return v;
}

/* The first date after t (Unix seconds) that matches the alarm; false if none ever does. */
static bool next_alarm(const struct rtc *r, s64 t, s64 *at)
{
	s64 second = alarm_value(r, REG_SECOND_ALARM, 60);
	s64 minute = alarm_value(r, REG_MINUTE_ALARM, 60);
	s64 hour = alarm_value(r, REG_HOUR_ALARM, 24);

	if (second == 60 || minute == 60 || hour == 24)
		return false;
	t++;
	/* At most 24 steps of an hour, then 60 of a minute, then 60 of a second. */
	for (;;) {
		s64 s = floor_mod(t, DAY_S);

		if (hour >= 0 && s / 3600 != hour)
			t += 3600 - s % 3600;
		else if (minute >= 0 && s / 60 % 60 != minute)
			t += 60 - s % 60;
		else if (second >= 0 && s % 60 != second)
			t++;
		else
			break;
	}
	*at = t;
	return true;
}

static u64 instant_of_date(const struct rtc *r, s64 t)
{
	return (u64)(t - r->base_s) * NS_PER_S - r->phase_ns;
}

/* The earliest event after now whose interrupt is enabled. */
static u64 next_event(const struct rtc *r)
{
	u64 now = r->clock->now_ns, next = VTIMER_NEVER;
	int shift = periodic_shift(r);
	s64 alarm;

	if ((r->cmos[REG_B] & B_PIE) && shift >= 0)
		next = instant_of_ticks(r, ((ticks_at(r, now) >> shift) + 1) << shift);
	if (frozen(r))
		return next;
	if (r->cmos[REG_B] & B_UIE)
		next = MIN(next, instant_of_date(r, date_at(r, now) + 1));
	if ((r->cmos[REG_B] & B_AIE) && next_alarm(r, date_at(r, now), &alarm))
		next = MIN(next, instant_of_date(r, alarm));
	return next;
}

/* Flags of what happened in (seen_ns, now]. */
static void collect_flags(struct rtc *r)
{
	u64 from = r->seen_ns, to = r->clock->now_ns;
	int shift = periodic_shift(r);
	s64 alarm;

	r->seen_ns = to;
	if (shift >= 0 && ticks_at(r, from) >> shift != ticks_at(r, to) >> shift)
		r->cmos[REG_C] |= C_PF;
	if (frozen(r) || second_at(r, from) == second_at(r, to))
		return;
	r->cmos[REG_C] |= C_UF;
	if (next_alarm(r, date_at(r, from), &alarm) && alarm <= date_at(r, to))
		r->cmos[REG_C] |= C_AF;
}

static bool irqf(const struct rtc *r)
{
	return r->cmos[REG_C] & r->cmos[REG_B] & (C_PF | C_AF | C_UF);
}

/* The line and the timer, after anything that may have changed either. */
static void update(struct rtc *r)
{
	irq_set(&r->irq, irqf(r));
	/* While the line is up nothing can change until register C is read. */
	vtimer_arm(&r->event, irqf(r) ? VTIMER_NEVER : next_event(r));
}

static void catch_up(struct rtc *r)
{
	collect_flags(r);
	update(r);
}

static void event_fire(void *owner)
{
	catch_up(owner);
}

/* ---- ports ---- */

static u8 read_register(struct rtc *r, unsigned reg)
{
	u8 value = r->cmos[reg];
	u64 fraction_ns = (r->clock->now_ns + r->phase_ns) % NS_PER_S;

	if (is_time_register(reg) && !frozen(r)) {
		split_date(r);
		return r->cmos[reg];
	}
	switch (reg) {
	case REG_A:
		return value | (!frozen(r) && fraction_ns >= NS_PER_S - UIP_NS ? A_UIP : 0);
	case REG_C:
		value |= irqf(r) ? C_IRQF : 0;
		r->cmos[REG_C] = 0;
		update(r);
		return value;
	case REG_D:
		return D_VALID;
	}
	return value;
}

/* Register A or B: the clock may stop or go on. */
static void write_control(struct rtc *r, unsigned reg, u8 value)
{
	bool was_frozen = frozen(r), was_held = divider_held(r);

	if (!was_frozen)
		split_date(r); /* in the mode so far; read again below in the mode then set */
	if (reg == REG_A)
		value &= (u8)~A_UIP;
	else if (value & B_SET)
		value &= (u8)~B_UIE; /* [MC146818A datasheet, Register B, SET] */
	r->cmos[reg] = value;
	/* Out of divider reset the first update comes half a second later [MC146818A datasheet, Divider Control]. */
	if (was_held && !divider_held(r))
		r->phase_ns = (3 * NS_PER_S / 2 - r->clock->now_ns % NS_PER_S) % NS_PER_S;
	if (was_frozen && !frozen(r))
		join_date(r);
}

static void write_register(struct rtc *r, unsigned reg, u8 value)
{
	if (reg == REG_A || reg == REG_B) {
		write_control(r, reg, value);
	} else if (reg == REG_C || reg == REG_D) {
		return; /* read-only */
	} else if (is_time_register(reg) && !frozen(r)) {
		split_date(r);
		r->cmos[reg] = value;
		join_date(r);
	} else {
		r->cmos[reg] = value;
	}
	update(r);
}

static u64 rtc_read(void *dev, enum io_space space unused_arg, u64 addr, unsigned size_bytes)
{
	struct rtc *r = dev;
	u64 value = 0;

	catch_up(r);
	for (unsigned i = 0; i < size_bytes; i++)
		value |= (u64)(addr + i == RTC_DATA ? read_register(r, r->index) : 0xff) << (8 * i);
	return value;
}

static void rtc_write(void *dev, enum io_space space unused_arg, u64 addr, unsigned size_bytes, u64 value)
{
	struct rtc *r = dev;

	catch_up(r);
	for (unsigned i = 0; i < size_bytes; i++) {
		u8 byte = (u8)(value >> (8 * i));

		if (addr + i == RTC_INDEX)
			r->index = byte & 0x7f; /* bit 7 masks NMI; there is no such source */
		else if (addr + i == RTC_DATA)
			write_register(r, r->index, byte);
	}
}

/* ---- hooks ---- */

/* The RESET pin: interrupts off, the battery's part stays [MC146818A datasheet, RESET]. */
static void rtc_reset(void *dev)
{
	struct rtc *r = dev;

	r->index = 0;
	r->cmos[REG_B] &= (u8)~(B_PIE | B_AIE | B_UIE | B_SQWE);
	r->cmos[REG_C] = 0;
	r->seen_ns = r->clock->now_ns;
	update(r);
}

/* What a damaged state could break: an index beyond the array, a date beyond arithmetic. */
static bool fields_hold(const struct rtc *r)
{
	return r->index < ARRAY_SIZE(r->cmos) && r->phase_ns < NS_PER_S && r->base_s < 1L << 40 &&
	       r->base_s > -(1L << 40);
}

static void rtc_state(void *dev, struct state_walk *w)
{
	struct rtc *r = dev;

	STATE(w, r, index);
	STATE(w, r, weekday_shift);
	STATE(w, r, cmos);
	STATE(w, r, base_s);
	STATE(w, r, phase_ns);
	STATE(w, r, seen_ns);
	vtimer_state(&r->event, w, "event_ns");
	if (w->mode == STATE_LOAD && !fields_hold(r)) {
		r->index = 0;
		r->phase_ns = 0;
		r->base_s = 0;
		w->error = w->error ? w->error : ERR_DAMAGED;
	}
}

static void put16(struct rtc *r, unsigned at, u64 value)
{
	write_bytes_le(&r->cmos[at], 2, MIN(value, 0xffff));
}

/* What firmware leaves in CMOS RAM, for guests that size memory by it. */
static void fill_nvram(struct rtc *r, u64 mem_size_bytes)
{
	u64 above_1m = mem_size_bytes > MIB(1) ? mem_size_bytes - MIB(1) : 0;
	u64 above_16m = mem_size_bytes > MIB(16) ? mem_size_bytes - MIB(16) : 0;
	u32 sum = 0;

	r->cmos[CMOS_SHUTDOWN] = 0;
	r->cmos[CMOS_EQUIPMENT] = 0x02; /* a coprocessor; no floppy, no display */
	put16(r, CMOS_BASE_KIB, 640);
	put16(r, CMOS_EXTENDED_KIB, above_1m / 1024);
	put16(r, CMOS_EXTENDED_KIB2, above_1m / 1024);
	put16(r, CMOS_HIGH_64KIB, above_16m / KIB(64));
	for (unsigned i = 0x10; i < CMOS_CHECKSUM; i++)
		sum += r->cmos[i];
	r->cmos[CMOS_CHECKSUM] = (u8)(sum >> 8);
	r->cmos[CMOS_CHECKSUM + 1] = (u8)sum;
}

void rtc_init(struct rtc *r, struct vclock *clock, struct irq_line irq8, u64 epoch_unix_s, u64 mem_size_bytes)
{
	r->clock = clock;
	r->irq = irq8;
	memset(r->cmos, 0, sizeof(r->cmos));
	r->cmos[REG_A] = 0x26; /* 32.768 kHz, 1024 Hz */
	r->cmos[REG_B] = B_24H;
	r->weekday_shift = 0;
	r->base_s = (s64)epoch_unix_s - (s64)(clock->now_ns / NS_PER_S);
	r->phase_ns = 0;
	fill_nvram(r, mem_size_bytes);
	vtimer_add(clock, &r->event, event_fire, r);
	rtc_reset(r);
}

const struct device_ops rtc_ops = {
	.name = "rtc",
	.version = 1,
	.read = rtc_read,
	.write = rtc_write,
	.reset = rtc_reset,
	.input = device_no_input,
	.state = rtc_state,
};
