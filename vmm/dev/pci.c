/*
 * pci.c - PCI bus 0: configuration space and who decodes what.  See pci.h.
 *
 * Reads and changes: the registers of the functions in its slots, and their
 * interrupt lines.  Never: what lies behind a BAR, which is the device's.
 *
 *   1  making a function     2  decoding     3  INTx     4  configuration space     5  the hooks
 */
#include "vmm/dev/pci.h"

/* Registers of configuration space [PCI 6.1 Configuration Space Organization]. */
enum {
	REG_VENDOR = 0x00, REG_DEVICE = 0x02, REG_COMMAND = 0x04, REG_STATUS = 0x06, REG_REVISION = 0x08,
	REG_CLASS = 0x09, REG_BAR = 0x10, REG_BAR_END = 0x28, REG_SUBSYSTEM_VENDOR = 0x2c, REG_SUBSYSTEM = 0x2e,
	REG_CAPABILITIES = 0x34, REG_LINE = 0x3c, REG_PIN = 0x3d, FIRST_CAP = 0x40,
};
enum {
	STATUS_INTERRUPT = 0x08, STATUS_CAPABILITIES = 0x10,
	BAR_IO = 1,
	PIN_INTA = 1,
	/* Parity and SERR can be set, and nothing ever goes wrong. */
	COMMAND_WRITABLE = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_OFF | 0x140,
};
#define ADDRESS_ENABLE BIT(31)
#define ADDRESS_WRITABLE 0x80fffffcU

static u32 get(const struct pci_function *f, unsigned reg, unsigned size_bytes)
{
	return (u32)read_bytes_le(f->config + reg, size_bytes);
}

static void put(struct pci_function *f, unsigned reg, unsigned size_bytes, u32 value)
{
	write_bytes_le(f->config + reg, size_bytes, value);
}

static void allow(struct pci_function *f, unsigned reg, unsigned size_bytes, u32 bits)
{
	write_bytes_le(f->writable + reg, size_bytes, bits);
}

/* --- 1  making a function ------------------------------------------------------ */

void pci_add(struct pci *p, unsigned slot, struct pci_function *f, const struct pci_identity *id,
	     const struct device_ops *ops, const struct pci_hooks *hooks, void *dev)
{
	if (slot >= PCI_NSLOTS || p->slot[slot])
		__builtin_trap();
	memset(f, 0, sizeof(*f));
	f->bus = p;
	f->slot = slot;
	f->ops = ops;
	f->hooks = hooks;
	f->dev = dev;
	f->caps_end = FIRST_CAP;
	p->slot[slot] = f;
	put(f, REG_VENDOR, 2, id->vendor);
	put(f, REG_DEVICE, 2, id->device);
	put(f, REG_REVISION, 1, id->revision);
	put(f, REG_CLASS, 3, id->class_code);
	put(f, REG_SUBSYSTEM_VENDOR, 2, id->subsystem_vendor);
	put(f, REG_SUBSYSTEM, 2, id->subsystem);
	allow(f, REG_COMMAND, 2, slot ? COMMAND_WRITABLE : 0);
	if (id->interrupts) {
		put(f, REG_PIN, 1, PIN_INTA);
		allow(f, REG_LINE, 1, 0xff);
	}
	pci_function_reset(f);
}

/*
 * A BAR's address bits below its size read zero, which is how guests find the
 * size out [PCI 6.2.5.1 Address Maps].
 */
void pci_add_bar(struct pci_function *f, unsigned bar, enum io_space space, u32 size_bytes)
{
	u32 *used = space == IO_PORT ? &f->io_used : &f->mem_used;
	u64 base = space == IO_PORT ? PCI_IO_BASE + f->slot * PCI_IO_SLOT : PCI_MEM_BASE + f->slot * PCI_MEM_SLOT;
	u32 at = ALIGN_UP(*used, size_bytes);

	if (bar >= PCI_NBARS || at + size_bytes > (space == IO_PORT ? PCI_IO_SLOT : PCI_MEM_SLOT))
		__builtin_trap();
	*used = at + size_bytes;
	f->bar[bar] = (struct pci_bar){ size_bytes, space, (u32)(base + at) | (space == IO_PORT ? BAR_IO : 0), 0 };
	put(f, REG_BAR + 4 * bar, 4, f->bar[bar].first);
	allow(f, REG_BAR + 4 * bar, 4, ~(size_bytes - 1));
	f->bus->windows_known = false;
}

/* The list grows at its end: guests that take the first of several get the one added first. */
u8 pci_add_capability(struct pci_function *f, u8 id, const void *body, u8 size_bytes)
{
	u8 at = f->caps_end;

	if (at + 2U + size_bytes > sizeof(f->config))
		__builtin_trap();
	put(f, REG_STATUS, 2, STATUS_CAPABILITIES);
	put(f, f->last_cap ? f->last_cap + 1U : REG_CAPABILITIES, 1, at);
	put(f, at, 1, id);
	memcpy(f->config + at + 2, body, size_bytes);
	f->last_cap = at;
	f->caps_end = (u8)ALIGN_UP(at + 2 + size_bytes, 4);
	return at;
}

void pci_function_reset(struct pci_function *f)
{
	for (unsigned i = 0; i < PCI_NBARS; i++)
		put(f, REG_BAR + 4 * i, 4, f->bar[i].first);
	for (unsigned i = FIRST_CAP; i < sizeof(f->config); i++)
		f->config[i] &= (u8)~f->writable[i];
	/* As firmware leaves it: decoding, with the line it chose; mastering the bus is the driver's to allow. */
	put(f, REG_COMMAND, 2, f->slot ? PCI_COMMAND_IO | PCI_COMMAND_MEMORY : 0);
	put(f, REG_LINE, 1, get(f, REG_PIN, 1) ? f->bus->env.irq[f->slot % PCI_NLINES] : 0);
	f->pending = 0;
	for (unsigned i = 0; i < PCI_MAX_VECTORS; i++)
		f->vector[i] = (struct pci_vector){ .control = 1 };
	f->bus->windows_known = false;
	pci_set_intx(f, false);
}

u16 pci_command(const struct pci_function *f)
{
	return (u16)get(f, REG_COMMAND, 2);
}

/* --- 2  decoding ------------------------------------------------------------------ */

/* Where the BAR is decoded.  One at 0 is decoded nowhere: that is how guests park it. */
static u64 bar_base(const struct pci_function *f, unsigned bar)
{
	u16 on = f->bar[bar].space == IO_PORT ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;

	return pci_command(f) & on ? get(f, REG_BAR + 4 * bar, 4) & ~(f->bar[bar].size_bytes - 1) : 0;
}

static void find_windows(struct pci *p)
{
	p->windows[IO_PORT].n = p->windows[IO_MEMORY].n = 0;
	for (unsigned slot = 0; slot < PCI_NSLOTS; slot++) {
		struct pci_function *f = p->slot[slot];

		for (unsigned i = 0; f && i < PCI_NBARS; i++) {
			struct pci_bar *b = &f->bar[i];
			struct pci_windows *ws = &p->windows[b->space];

			b->base = b->size_bytes ? bar_base(f, i) : 0;
			if (b->base)
				ws->w[ws->n++] = (struct pci_window){ b->base, b->size_bytes, f };
		}
	}
	p->windows_known = true;
}

void *pci_find(struct pci *p, enum io_space space, u64 addr, const struct device_ops **ops)
{
	struct pci_windows *ws = &p->windows[space];

	if (!p->windows_known)
		find_windows(p);
	for (unsigned i = 0; i < ws->n; i++) {
		if (addr - ws->w[i].base < ws->w[i].size_bytes) {
			*ops = ws->w[i].f->ops;
			return ws->w[i].f->dev;
		}
	}
	return NULL;
}

int pci_bar_of(struct pci_function *f, enum io_space space, u64 addr, u32 *offset)
{
	if (!f->bus->windows_known)
		find_windows(f->bus);
	for (unsigned bar = 0; bar < PCI_NBARS; bar++) {
		const struct pci_bar *b = &f->bar[bar];

		if (b->base && b->space == space && addr - b->base < b->size_bytes) {
			*offset = (u32)(addr - b->base);
			return (int)bar;
		}
	}
	return -1;
}

/* --- 3  INTx ------------------------------------------------------------------------ */

/* A function that sends messages does not ask for its line [PCI 6.8.2.3 Message Control for MSI-X]. */
static bool asks(const struct pci_function *f)
{
	return f && f->intx && !(pci_command(f) & PCI_COMMAND_INTX_OFF) && !pci_msix_enabled(f);
}

/* A line is up while any of its functions asks [PCI 2.2.6 Interrupt Pins]. */
static void update_line(struct pci *p, unsigned line)
{
	bool level = false;

	for (unsigned slot = line; slot < PCI_NSLOTS; slot += PCI_NLINES)
		level |= asks(p->slot[slot]);
	irq_set(&p->env.line[line], level);
}

void pci_set_intx(struct pci_function *f, bool level)
{
	f->intx = level;
	update_line(f->bus, f->slot % PCI_NLINES);
}

/* --- 4  configuration space ----------------------------------------------------------- */

/* Whether an access of size_bytes at reg has a byte in common with those from `first` to before `end`. */
static bool touches(unsigned reg, unsigned size_bytes, unsigned first, unsigned end)
{
	return reg < end && reg + size_bytes > first;
}

static u64 config_read(struct pci_function *f, unsigned reg, unsigned size_bytes)
{
	u64 value;

	if (f->window && reg / 4 == f->window / 4U)
		return f->hooks->window_read(f, reg % 4, size_bytes);
	value = get(f, reg, size_bytes);
	if (f->intx && touches(reg, size_bytes, REG_STATUS, REG_STATUS + 1))
		value |= (u64)STATUS_INTERRUPT << 8 * (REG_STATUS - reg);
	return value;
}

static void command_written(struct pci_function *f)
{
	f->bus->windows_known = false;
	update_line(f->bus, f->slot % PCI_NLINES);
	pci_msix_flush(f);
	f->hooks->command_written(f);
}

static void config_write(struct pci_function *f, unsigned reg, unsigned size_bytes, u64 value)
{
	if (f->window && reg / 4 == f->window / 4U) {
		f->hooks->window_write(f, reg % 4, size_bytes, value);
		return;
	}
	for (unsigned i = 0; i < size_bytes; i++) {
		u8 *byte = &f->config[reg + i], can = f->writable[reg + i];

		*byte = (u8)((*byte & ~can) | ((value >> 8 * i) & can));
	}
	if (touches(reg, size_bytes, REG_COMMAND, REG_STATUS))
		command_written(f);
	if (touches(reg, size_bytes, REG_BAR, REG_BAR_END))
		f->bus->windows_known = false;
	if (f->msix && touches(reg, size_bytes, f->msix, f->msix + 4U)) {
		update_line(f->bus, f->slot % PCI_NLINES);
		pci_msix_flush(f);
	}
}

void pci_enable(struct pci_function *f, u16 command_bits)
{
	put(f, REG_COMMAND, 2, get(f, REG_COMMAND, 2) | command_bits);
	command_written(f);
}

/* The function that CONFIG_ADDRESS names: all of ours are function 0 of bus 0. */
static struct pci_function *addressed(const struct pci *p)
{
	if (!(p->address & ADDRESS_ENABLE) || p->address & 0x00ff0700 || (p->address >> 11 & 31) >= PCI_NSLOTS)
		return NULL;
	return p->slot[p->address >> 11 & 31];
}

/* --- 5  the hooks ------------------------------------------------------------------------ */

/*
 * CONFIG_ADDRESS takes dwords only; anything smaller is an access to something
 * else that may live there [PCI 3.2.2.3.2 Software Generation of Configuration
 * Transactions].  What of an access is behind CFFh reads all ones.
 */
static u64 pci_read(void *dev, enum io_space space, u64 addr, unsigned size_bytes)
{
	struct pci *p = dev;
	struct pci_function *f;
	unsigned offset, n;

	if (space != IO_PORT)
		return ~0UL;
	if (addr == PCI_CONFIG_ADDRESS && size_bytes == 4)
		return p->address;
	offset = (unsigned)(addr - PCI_CONFIG_DATA);
	f = addressed(p);
	if (addr < PCI_CONFIG_DATA || offset > 3 || !f)
		return ~0UL;
	for (n = size_bytes; n > 4 - offset; n /= 2)
		; /* at CFDh and CFFh: what a byte or a word of it can reach */
	return config_read(f, (p->address & 0xfc) + offset, n) | ~size_mask(n);
}

static void pci_write(void *dev, enum io_space space, u64 addr, unsigned size_bytes, u64 value)
{
	struct pci *p = dev;
	struct pci_function *f;
	unsigned offset, n;

	if (space != IO_PORT)
		return;
	if (addr == PCI_CONFIG_ADDRESS && size_bytes == 4) {
		p->address = (u32)value & ADDRESS_WRITABLE;
		return;
	}
	offset = (unsigned)(addr - PCI_CONFIG_DATA);
	f = addressed(p);
	if (addr < PCI_CONFIG_DATA || offset > 3 || !f)
		return;
	for (n = size_bytes; n > 4 - offset; n /= 2)
		;
	config_write(f, (p->address & 0xfc) + offset, n, value & size_mask(n));
}

static void pci_reset(void *dev)
{
	struct pci *p = dev;

	p->address = 0;
}

static void pci_state(void *dev, struct state_walk *w)
{
	struct pci *p = dev;

	STATE(w, p, address);
}

/*
 * What the guest cannot change is the same in every run of this machine: a
 * state that says otherwise is another machine's.
 */
void pci_function_state(struct pci_function *f, struct state_walk *w)
{
	u8 before[sizeof(f->config)];

	memcpy(before, f->config, sizeof(before));
	STATE(w, f, config);
	STATE(w, f, intx);
	STATE(w, f, pending);
	STATE(w, f, vector);
	if (w->mode != STATE_LOAD)
		return;
	f->bus->windows_known = false;
	for (unsigned i = 0; i < sizeof(before); i++) {
		if ((f->config[i] ^ before[i]) & ~f->writable[i] && !w->error)
			w->error = ERR_MISMATCH;
		f->config[i] = (u8)((f->config[i] & f->writable[i]) | (before[i] & ~f->writable[i]));
	}
}

static void bridge_command(struct pci_function *f unused_arg)
{
}

static u64 bridge_window_read(struct pci_function *f unused_arg, unsigned offset unused_arg, unsigned size_bytes unused_arg)
{
	return ~0UL;
}

static void bridge_window_write(struct pci_function *f unused_arg, unsigned offset unused_arg, unsigned size_bytes unused_arg,
				u64 value unused_arg)
{
}

static const struct pci_hooks bridge_hooks = { bridge_command, bridge_window_read, bridge_window_write };

/* The host bridge has nothing a guest could change; its id is one that no guest has a quirk for. */
static const struct pci_identity bridge_identity = {
	.vendor = 0x1b36, .device = 0x0008, .subsystem_vendor = 0x1af4, .subsystem = 0x1100, .class_code = 0x060000,
};

const struct device_ops pci_ops = {
	.name = "pci",
	.version = 1,
	.read = pci_read,
	.write = pci_write,
	.reset = pci_reset,
	.input = device_no_input,
	.state = pci_state,
};

void pci_init(struct pci *p, const struct pci_env *env)
{
	memset(p, 0, sizeof(*p));
	p->env = *env;
	pci_add(p, 0, &p->bridge, &bridge_identity, &pci_ops, &bridge_hooks, p);
}
