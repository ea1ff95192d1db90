/*
 * board.c - wiring a PC: ports, memory windows and interrupt lines.
 *
 * An ISA line goes to the 8259 pair and to the IOAPIC pin of its number, but
 * for the PIT (IRQ 0), which is pin 2 there [ACPI 5.2.12.5, the override our
 * MADT declares].  The 8259's output is LINT0 of the first LAPIC.
 */
#include "vmm/vm.h"

/* Every device of the board, in the order in which state is walked. */
static const struct {
	const struct device_ops *ops;
	size_t offset; /* in struct board */
} devices[] = {
	{ &pic_ops, offsetof(struct board, pic) },
	{ &ioapic_ops, offsetof(struct board, ioapic) },
	{ &pit_ops, offsetof(struct board, pit) },
	{ &uart_ops, offsetof(struct board, com1) },
	{ &rtc_ops, offsetof(struct board, rtc) },
	{ &i8042_ops, offsetof(struct board, i8042) },
	{ &acpipm_ops, offsetof(struct board, acpipm) },
	{ &debugexit_ops, offsetof(struct board, debugexit) },
};

/* One port range answered by one device. */
struct port_range {
	u16 first, last;
	const struct device_ops *ops;
	size_t offset; /* of the device in struct board */
};

#define RANGE(a, b, dev) { (a), (b), &dev##_ops, offsetof(struct board, dev) }

static const struct port_range ports[] = {
	{ COM1_BASE, COM1_BASE + 7, &uart_ops, offsetof(struct board, com1) },
	RANGE(0x20, 0x21, pic),
	RANGE(0xa0, 0xa1, pic),
	RANGE(0x40, 0x43, pit),
	RANGE(0x61, 0x61, pit),
	RANGE(0x70, 0x71, rtc),
	RANGE(0x60, 0x60, i8042),
	RANGE(0x64, 0x64, i8042),
	RANGE(0x92, 0x92, i8042),
	RANGE(PIC_ELCR_PORT, PIC_ELCR_PORT + 1, pic),
	RANGE(ACPIPM_PM1_EVT, ACPIPM_PM_TMR + 3, acpipm),
	RANGE(ACPIPM_SMI_CMD, ACPIPM_SMI_CMD + 1, acpipm),
	RANGE(ACPIPM_RESET, ACPIPM_RESET, acpipm),
	RANGE(0xf4, 0xf4, debugexit),
	/* From here on only where there is a PCI bus.  CF9h, between, is the reset register's. */
	{ PCI_CONFIG_ADDRESS, PCI_CONFIG_ADDRESS, &pci_ops, offsetof(struct board, pci.bus) },
	{ PCI_CONFIG_ADDRESS + 2, PCI_CONFIG_DATA + 3, &pci_ops, offsetof(struct board, pci.bus) },
};
#define NPCI_RANGES 2

/* Of the bus's two lines. */
static const u8 pci_irqs[PCI_NLINES] = { 10, 11 };

static void set_isa_line(void *ctx, unsigned irq, bool level)
{
	struct board *b = ctx;
	unsigned pin = irq == 0 ? 2 : irq;

	if (ioapic_line(&b->ioapic, pin) == level)
		return; /* devices say their level often; only changes matter */
	pic_set_line(&b->pic, irq, level);
	ioapic_set_line(&b->ioapic, pin, level);
}

/* The loop asks the PIC itself before each entry: its output needs no wire. */
static void pic_output(void *ctx unused_arg, unsigned pin unused_arg, bool level unused_arg)
{
}

static void route(struct vm *vm, int source, const struct apic_message *m)
{
	struct lapic *lapics[VM_MAX_VCPUS];

	for (unsigned i = 0; i < vm->config.ncpus; i++)
		lapics[i] = &vm->vcpu[i].lapic;
	lapic_route(lapics, vm->config.ncpus, source, m);
}

void board_send_message(struct vm *vm, const struct apic_message *m)
{
	route(vm, -1, m);
}

static void ioapic_send(void *ctx, const struct apic_message *m)
{
	board_send_message(ctx, m);
}

static void lapic_send(void *ctx, const struct apic_message *m)
{
	struct vcpu *v = ctx;
	route(v->vm, (int)v->index, m);
}

static void lapic_eoi_broadcast(void *ctx, u8 vector)
{
	struct vcpu *v = ctx;
	ioapic_eoi(&v->vm->board.ioapic, vector);
}

static void lapic_cpu_event(void *ctx, enum lapic_cpu_event event, u8 vector unused_arg)
{
	static const char *const names[] = { "NMI", "INIT", "STARTUP" };
	struct vcpu *v = ctx;

	vm_stop(v->vm, VM_UNHANDLED, "%s for vCPU %u, which this machine does not deliver yet", names[event], v->index);
}

static void console_out(void *ctx, const void *data, size_t size)
{
	struct vm *vm = ctx;
	const struct output out = { .kind = OUTPUT_CONSOLE, .data = data, .size = (u32)size };

	vm->stats.output_bytes += size;
	vm->boundary->ops->output(vm->boundary, &vm->now, &out);
}

static void machine_request(void *ctx, enum machine_request what, u32 value)
{
	struct vm *vm = ctx;

	switch (what) {
	case MACHINE_RESET:
		vm_stop(vm, VM_RESET, "the guest asked for a reset");
		break;
	case MACHINE_POWER_OFF:
		vm_stop(vm, VM_POWERED_OFF, "the guest powered off");
		break;
	case MACHINE_EXIT:
		vm->guest_exit = value;
		vm_stop(vm, VM_DEBUG_EXIT, "the guest left by its debug-exit port");
		break;
	case MACHINE_OUT_OF_MEMORY:
		vm_stop(vm, VM_HOST_FAILED, "out of memory for the guest's RAM");
		break;
	}
}

static struct irq_line isa_line(struct board *b, unsigned irq)
{
	return (struct irq_line){ .set = set_isa_line, .ctx = b, .pin = irq };
}

/* The ranges of the table from `first` to before `end`. */
static void claim_ports(struct board *b, unsigned first, unsigned end)
{
	for (unsigned i = first; i < end; i++)
		memset(&b->port_range[ports[i].first], (int)i + 1, (size_t)(ports[i].last - ports[i].first) + 1);
}

/*
 * A bus only where there is something on it.  Its lines are levels, which
 * firmware would tell the 8259s by ELCR.
 */
static void init_pci(struct vm *vm, struct machine_control control)
{
	struct board *b = &vm->board;
	const struct irq_line lines[PCI_NLINES] = { isa_line(b, pci_irqs[0]), isa_line(b, pci_irqs[1]) };
	const struct virtio_env env = { .pci = &b->pci.bus, .clock = &vm->clock, .mem = &vm->mem, .room = &b->pci.room, .control = control };

	if (!board_pci_wanted(&vm->config))
		return;
	claim_ports(b, ARRAY_SIZE(ports) - NPCI_RANGES, ARRAY_SIZE(ports));
	pic_ops.write(&b->pic, IO_PORT, PIC_ELCR_PORT + 1, 1, BIT(pci_irqs[0] - 8) | BIT(pci_irqs[1] - 8));
	board_pci_init(vm, &env, lines, pci_irqs, (struct outlet){ .put = console_out, .ctx = vm });
}

void board_init(struct vm *vm)
{
	struct board *b = &vm->board;
	struct vclock *c = &vm->clock;
	struct machine_control control = { .request = machine_request, .ctx = vm };

	claim_ports(b, 0, ARRAY_SIZE(ports) - NPCI_RANGES);
	pic_init(&b->pic, c, (struct irq_line){ .set = pic_output, .ctx = vm });
	ioapic_init(&b->ioapic, c, 0, ioapic_send, vm);
	pit_init(&b->pit, c, isa_line(b, 0));
	uart_init(&b->com1, c, COM1_BASE, isa_line(b, 4), (struct outlet){ .put = console_out, .ctx = vm });
	rtc_init(&b->rtc, c, isa_line(b, 8), vm->config.rtc_epoch_s, vm->config.mem_bytes);
	i8042_init(&b->i8042, c, isa_line(b, 1), isa_line(b, 12), control);
	acpipm_init(&b->acpipm, c, isa_line(b, 9), control);
	debugexit_init(&b->debugexit, c, control);
	init_pci(vm, control);
}

void board_wire_vcpu(struct vm *vm, struct vcpu *v)
{
	struct lapic_env env = { .send = lapic_send, .eoi = lapic_eoi_broadcast, .cpu_event = lapic_cpu_event, .ctx = v };

	lapic_init(&v->lapic, &vm->clock, v->index, v->index == 0, &env);
	if (v->index == 0)
		lapic_set_virtual_wire(&v->lapic); /* no firmware will */
}

struct acpi_config board_acpi(const struct vm *vm)
{
	return (struct acpi_config){
		.ncpus = vm->config.ncpus, .rtc_century = 0x32, .ioapic_id = 0, .lapic_base = LAPIC_DEFAULT_BASE,
		.ioapic_base = IOAPIC_BASE, .sci_irq = 9, .pm1_evt = ACPIPM_PM1_EVT, .pm1_cnt = ACPIPM_PM1_CNT,
		.pm_tmr = ACPIPM_PM_TMR, .smi_cmd = ACPIPM_SMI_CMD, .acpi_enable = ACPIPM_CMD_ENABLE,
		.acpi_disable = ACPIPM_CMD_DISABLE, .reset_port = ACPIPM_RESET, .reset_value = ACPIPM_RESET_VALUE,
		.com1_port = COM1_BASE, .com1_irq = 4,
		.pci = vm->board.pci.present, .pci_irq = { pci_irqs[0], pci_irqs[1] },
		.pci_mem_first = PCI_MEM_BASE, .pci_mem_last = PCI_MEM_END - 1,
		.pci_io_first = PCI_IO_FIRST, .pci_io_last = PCI_IO_END - 1,
	};
}

static void *find_on_bus(struct vm *vm, enum io_space space, u64 addr, const struct device_ops **ops)
{
	return vm->board.pci.present ? pci_find(&vm->board.pci.bus, space, addr, ops) : NULL;
}

/* The memory window that holds addr: its device, or NULL. */
static void *find_window(struct vcpu *v, u64 addr, const struct device_ops **ops)
{
	if (lapic_claims(&v->lapic, GPA(addr))) {
		*ops = &lapic_ops;
		return &v->lapic;
	}
	if (addr - IOAPIC_BASE < PAGE_SIZE) {
		*ops = &ioapic_ops;
		return &v->vm->board.ioapic;
	}
	return find_on_bus(v->vm, IO_MEMORY, addr, ops);
}

static void *find_device(struct vcpu *v, enum io_space space, u64 addr, const struct device_ops **ops)
{
	struct board *b = &v->vm->board;
	const struct port_range *r;

	if (space == IO_MEMORY)
		return find_window(v, addr, ops);
	if (addr >= BOARD_NPORTS || !b->port_range[addr])
		return find_on_bus(v->vm, space, addr, ops);
	r = &ports[b->port_range[addr] - 1];
	*ops = r->ops;
	return (u8 *)b + r->offset;
}

u64 board_read(struct vcpu *v, enum io_space space, u64 addr, unsigned size_bytes)
{
	const struct device_ops *ops;
	void *dev = find_device(v, space, addr, &ops);

	return (dev ? ops->read(dev, space, addr, size_bytes) : ~0UL) & size_mask(size_bytes);
}

void board_write(struct vcpu *v, enum io_space space, u64 addr, unsigned size_bytes, u64 value)
{
	const struct device_ops *ops;
	void *dev = find_device(v, space, addr, &ops);

	if (dev)
		ops->write(dev, space, addr, size_bytes, value & size_mask(size_bytes));
}

struct input_room board_input_room(const struct board *b)
{
	struct input_room room = { .console = uart_input_room(&b->com1) };

	board_pci_input_room(&b->pci, &room);
	return room;
}

void board_input(struct board *b, const struct input *in)
{
	if (in->kind == INPUT_CONSOLE && !b->pci.has_console)
		uart_ops.input(&b->com1, in->data, in->size);
	else
		board_pci_input(&b->pci, in);
}

static void walk_device(const struct device_ops *ops, void *dev, struct state_walk *w)
{
	state_section(w, ops->name, ops->version);
	ops->state(dev, w);
}

void board_state_walk(struct board *b, struct state_walk *w)
{
	for (unsigned i = 0; i < ARRAY_SIZE(devices); i++)
		walk_device(devices[i].ops, (u8 *)b + devices[i].offset, w);
	board_pci_state_walk(&b->pci, w);
}

void board_vcpu_state_walk(struct vcpu *v, struct state_walk *w)
{
	walk_device(&lapic_ops, &v->lapic, w);
}
