/*
 * board.h - the PC around the vCPUs: which devices there are, and their wiring.
 *
 * The order of the devices is part of the machine: equal timers fire in it
 * and state is walked in it.
 */
#ifndef VMM_BOARD_H
#define VMM_BOARD_H

#include "vmm/acpi.h"
#include "vmm/board_pci.h"
#include "vmm/boundary.h"
#include "vmm/dev/acpipm.h"
#include "vmm/dev/debugexit.h"
#include "vmm/dev/device.h"
#include "vmm/dev/i8042.h"
#include "vmm/dev/ioapic.h"
#include "vmm/dev/lapic.h"
#include "vmm/dev/pic.h"
#include "vmm/dev/pit.h"
#include "vmm/dev/rtc.h"
#include "vmm/dev/uart.h"

struct vm;
struct vcpu;

#define COM1_BASE 0x3f8

#define BOARD_NPORTS 0x1000 /* above, PCI devices answer, or nobody */

struct board {
	u8 port_range[BOARD_NPORTS]; /* index + 1 of the range that answers, 0: none */
	struct pic pic;
	struct pit pit;
	struct ioapic ioapic;
	struct uart com1;
	struct rtc rtc;
	struct i8042 i8042;
	struct acpipm acpipm;
	struct debugexit debugexit;
	struct board_pci pci;
};

void board_init(struct vm *vm);
void board_wire_vcpu(struct vm *vm, struct vcpu *v);

/* A port or memory access by the guest.  Where nothing answers: all ones, and writes are lost. */
u64 board_read(struct vcpu *v, enum io_space space, u64 addr, unsigned size_bytes);
void board_write(struct vcpu *v, enum io_space space, u64 addr, unsigned size_bytes, u64 value);

/* What the machine can take now; the rest is held outside. */
struct input_room board_input_room(const struct board *b);
void board_input(struct board *b, const struct input *in);

/* A message to local APICs, of nobody among them. */
void board_send_message(struct vm *vm, const struct apic_message *m);

/* What the ACPI tables must say of this board. */
struct acpi_config board_acpi(const struct vm *vm);

void board_state_walk(struct board *b, struct state_walk *w);
void board_vcpu_state_walk(struct vcpu *v, struct state_walk *w);

#endif
