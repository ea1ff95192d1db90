/*
 * pci.h - PCI bus 0: configuration mechanism 1, decoding, INTx and MSI-X.
 *
 * One bus, no bridges to others: the host bridge in slot 0 and up to fifteen
 * functions, each a device of its own slot.  A device embeds a struct
 * pci_function, says once what it is (identity, BARs, capabilities), and has
 * the registers of configuration space kept for it; its BARs it answers itself,
 * by the hooks of its struct device_ops, at the addresses the guest chose.
 *
 * There is no firmware, so BARs are placed and decoded from the start
 * (PCI_MEM_BASE, PCI_IO_BASE, by slot); the guest may move them.  Where two
 * claim an address, the lower slot answers.
 *
 * Interrupts: INTA of even slots is one line, of odd slots the other.  An MSI-X
 * message goes out by a hook; one to any address but a local APIC's
 * [SDM3 10.11.1 Message Address Register Format] goes nowhere.
 */
#ifndef VMM_DEV_PCI_H
#define VMM_DEV_PCI_H

#include "vmm/dev/device.h"

#define PCI_CONFIG_ADDRESS 0xcf8U
#define PCI_CONFIG_DATA 0xcfcU

/* Where a guest may place BARs: ACPI says so.  At first each slot has a part of its own. */
#define PCI_MEM_BASE 0xc0000000UL
#define PCI_MEM_END 0xfec00000UL
#define PCI_MEM_SLOT 0x10000UL
#define PCI_IO_FIRST 0x1000UL
#define PCI_IO_BASE 0xc000UL
#define PCI_IO_END 0x10000UL
#define PCI_IO_SLOT 0x100UL

#define PCI_NSLOTS 16
#define PCI_NBARS 6
#define PCI_MAX_VECTORS 4
#define PCI_NLINES 2 /* INTA of slot n is line n % 2 */

/* In the command register [PCI 6.2.2 Device Control]. */
enum { PCI_COMMAND_IO = 0x001, PCI_COMMAND_MEMORY = 0x002, PCI_COMMAND_MASTER = 0x004, PCI_COMMAND_INTX_OFF = 0x400 };

enum { PCI_CAP_VENDOR = 0x09, PCI_CAP_MSIX = 0x11 };

struct pci_identity {
	u16 vendor, device, subsystem_vendor, subsystem;
	u32 class_code;   /* class, subclass, programming interface: 24 bits */
	u8 revision;
	bool interrupts;  /* has INTA */
};

struct pci;
struct pci_function;

/* What a function leaves to its device; none may be missing. */
struct pci_hooks {
	void (*command_written)(struct pci_function *f);
	/* An access to the four bytes of configuration space at `window`, within them: offset 0 to 3. */
	u64 (*window_read)(struct pci_function *f, unsigned offset, unsigned size_bytes);
	void (*window_write)(struct pci_function *f, unsigned offset, unsigned size_bytes, u64 value);
};

/* An entry of the MSI-X table [PCI 6.8.2 MSI-X Capability and Table Structures]. */
struct pci_vector {
	u32 address, address_high, data, control;
};

struct pci_bar {
	u32 size_bytes;           /* 0: none */
	enum io_space space;
	u32 first;                /* the register at power-on */
	u64 base;                 /* derived: where it is decoded, 0: nowhere */
};

struct pci_function {
	struct pci *bus;
	unsigned slot;
	const struct device_ops *ops;
	const struct pci_hooks *hooks;
	void *dev;
	u8 writable[256];         /* bits of config that the guest can change */
	struct pci_bar bar[PCI_NBARS];
	u32 mem_used, io_used;    /* of the slot's parts of the address spaces */
	u8 caps_end, last_cap;
	u8 window;                /* 0: none */
	u8 msix;                  /* where the capability is, 0: none */
	u8 nvectors;

	u8 config[256];           /* the registers; Interrupt Status is intx */
	u8 intx;                  /* asks for its line */
	u8 pending;               /* bit n: vector n waits to be unmasked */
	struct pci_vector vector[PCI_MAX_VECTORS];
};

/* Derived: who decodes what, in the order of slots. */
struct pci_window {
	u64 base, size_bytes;
	struct pci_function *f;
};
struct pci_windows {
	struct pci_window w[PCI_NSLOTS * PCI_NBARS];
	unsigned n;
};

struct pci_env {
	void (*msi)(void *ctx, u64 addr, u32 data);
	void *ctx;
	struct irq_line line[PCI_NLINES];
	u8 irq[PCI_NLINES];       /* what firmware would have written to Interrupt Line */
};

struct pci {
	struct pci_env env;
	struct pci_function *slot[PCI_NSLOTS];
	struct pci_function bridge;
	struct pci_windows windows[2]; /* by enum io_space */
	bool windows_known;
	u32 address;              /* CONFIG_ADDRESS */
};

/* The bus itself: ports CF8h and CFCh to CFFh. */
extern const struct device_ops pci_ops;

void pci_init(struct pci *p, const struct pci_env *env);

/* The device that decodes an address, with its hooks; NULL: none.  Asked for every exit that nobody else claims. */
void *pci_find(struct pci *p, enum io_space space, u64 addr, const struct device_ops **ops);

/* ---- for a device: what it is, said once when the board wires it ---- */

/* A fixed set, chosen when the board is wired: what does not fit traps. */
void pci_add(struct pci *p, unsigned slot, struct pci_function *f, const struct pci_identity *id,
	     const struct device_ops *ops, const struct pci_hooks *hooks, void *dev);
/* size_bytes: a power of two. */
void pci_add_bar(struct pci_function *f, unsigned bar, enum io_space space, u32 size_bytes);
/* Returns where the capability lies; its id and link are in front of the body. */
u8 pci_add_capability(struct pci_function *f, u8 id, const void *body, u8 size_bytes);
/* Table and pending bits: a page in BAR `bar` at `offset`, for pci_msix_read and pci_msix_write. */
void pci_add_msix(struct pci_function *f, unsigned bar, u32 offset, unsigned nvectors);

/* ---- for a device: while it runs ---- */

/* The BAR that decodes addr, and where in it; -1: none. */
int pci_bar_of(struct pci_function *f, enum io_space space, u64 addr, u32 *offset);
u16 pci_command(const struct pci_function *f);
void pci_enable(struct pci_function *f, u16 command_bits);
void pci_set_intx(struct pci_function *f, bool level);

bool pci_msix_enabled(const struct pci_function *f);
/* A masked one waits in its pending bit. */
void pci_msix_send(struct pci_function *f, unsigned vector);
/* Within the page of pci_add_msix. */
u64 pci_msix_read(const struct pci_function *f, u32 at);
void pci_msix_write(struct pci_function *f, u32 at, unsigned size_bytes, u64 value);
/* Sends what waited and need not any more. */
void pci_msix_flush(struct pci_function *f);

void pci_function_reset(struct pci_function *f);
void pci_function_state(struct pci_function *f, struct state_walk *w);

#endif
