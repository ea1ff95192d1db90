/*
 * acpipm.h - the fixed hardware of ACPI: events, power-off, PM timer, reset.
 *
 * Changes only itself and the SCI line; asks the machine to power off or
 * reset.  What it implements is what vmm/acpi.c's FADT declares [ACPI 4.8]:
 *
 *   600h PM1_STS, 602h PM1_EN   timer, global lock, buttons, RTC
 *   604h PM1_CNT                SCI_EN, SLP_TYP, SLP_EN; SLP_TYP 0 is S5
 *   608h PM_TMR                 3.579545 MHz, 32 bits, read-only
 *   B2h  SMI_CMD, B3h scratch   ACPI_ENABLE, ACPI_DISABLE
 *   CF9h reset control          bit 2 going from 0 to 1 resets
 *
 * The machine starts in ACPI mode (SCI_EN reads 1): no firmware has to hand
 * it over.  The timer's overflow bit is worked out when it is read; a vtimer
 * runs only while the guest has enabled its interrupt, so an idle VM has no
 * clock edge it did not ask for.
 */
#ifndef VMM_DEV_ACPIPM_H
#define VMM_DEV_ACPIPM_H

#include "vmm/dev/device.h"

#define ACPIPM_PM1_EVT 0x600
#define ACPIPM_PM1_CNT 0x604
#define ACPIPM_PM_TMR 0x608
#define ACPIPM_SMI_CMD 0xb2
#define ACPIPM_RESET 0xcf9
#define ACPIPM_RESET_VALUE 0x06

#define ACPIPM_CMD_ENABLE 0xf1  /* FADT.ACPI_ENABLE */
#define ACPIPM_CMD_DISABLE 0xf0 /* FADT.ACPI_DISABLE */

#define ACPIPM_TIMER_HZ 3579545UL

struct acpipm {
	struct vclock *clock;
	struct irq_line sci;
	struct machine_control control;

	u16 pm1_sts, pm1_en, pm1_cnt;
	u8 smi_cmd, smi_data;   /* as last written */
	u8 reset_control;
	u64 half_turns;         /* times bit 31 of the timer had changed when last looked at */
	struct vtimer overflow; /* the next change, while TMR_EN is set and TMR_STS clear */
};

extern const struct device_ops acpipm_ops;

void acpipm_init(struct acpipm *p, struct vclock *clock, struct irq_line sci, struct machine_control control);

#endif
