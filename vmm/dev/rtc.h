/*
 * rtc.h - the MC146818A real-time clock and its CMOS RAM, ports 70h and 71h.
 *
 * Changes only itself and IRQ 8.  The date is never stored as it passes: it is
 * base_s plus the seconds virtual time has counted, split into registers when
 * they are read.  While the guest holds the clock (register B SET, or the
 * divider in reset) the registers are bytes it may write, and the date they
 * hold when it lets go becomes the new base.
 *
 * Flags of register C are worked out when somebody looks; one vtimer stands
 * for the next event whose interrupt is enabled.
 *
 * Model: an update takes no time at the end of its second, and UIP announces
 * it 244 us before [MC146818A datasheet, Update Cycle].  Daylight saving (DSE) and the
 * square wave are bits without effect.  Century in BCD or binary at 32h.
 */
#ifndef VMM_DEV_RTC_H
#define VMM_DEV_RTC_H

#include "vmm/dev/device.h"

#define RTC_INDEX 0x70
#define RTC_DATA 0x71
#define RTC_CENTURY 0x32

struct rtc {
	struct vclock *clock;
	struct irq_line irq;

	u8 index;
	u8 weekday_shift;   /* the weekday register minus what the date says, modulo 7 */
	u8 cmos[128];       /* all bytes but the time of a running clock, register C.7 and D */
	s64 base_s;         /* date in Unix seconds, less the divider's count of seconds */
	u64 phase_ns;       /* of the divider chain against virtual time, below 1 s */
	u64 seen_ns;        /* flags in register C hold what happened up to here */
	struct vtimer event;
};

extern const struct device_ops rtc_ops;

/* Sets the clock and the CMOS bytes firmware would leave: the battery's part.  Reset keeps them. */
void rtc_init(struct rtc *r, struct vclock *clock, struct irq_line irq8, u64 epoch_unix_s, u64 mem_size_bytes);

#endif
