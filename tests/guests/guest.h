/*
 * guest.h - what the tiny test kernels share.
 *
 * Each of them pins one hard thing for a hypervisor, computes a checksum of
 * everything it saw, and checks what it can by itself.  It prints one line and
 * leaves by port F4h: 0 if all its checks held.  They are deterministic
 * functions of the machine and its inputs; no check depends on how long
 * anything takes, but where on_reprise() says that time is instructions.
 *
 * Each has a size constant, ROUNDS or the like, at its top.
 */
#ifndef TESTS_GUESTS_GUEST_H
#define TESTS_GUESTS_GUEST_H

#define SEL_CODE 0x08
#define SEL_DATA 0x10
#define SEL_CODE32 0x18
#define SEL_CODE16 0x20
#define SEL_DATA16 0x28
#define SEL_USER_DATA 0x33
#define SEL_USER_CODE 0x3b
#define SEL_TSS 0x40
#define SEL_FREE 0x50

#ifndef __ASSEMBLER__
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define noreturn_fn __attribute__((noreturn))
#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* Pushed by start.S; a handler may change any of it. */
struct frame {
	u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	u64 vector, error, rip, cs, rflags, rsp, ss;
};

/* --- each guest has these --- */
extern const char guest_name[];
void guest_main(void);

/* --- the checksum, and the end --- */
extern u64 sum;
static inline void mix(u64 v)
{
	sum = ((sum << 7 | sum >> 57) ^ v) * 0x9e3779b97f4a7c15UL;
}
void mix_bytes(const void *data, size_t n);

/* A failed check is printed and makes the exit code 1; the guest goes on. */
#define check(what) check_at((what), #what, __LINE__)
void check_at(bool good, const char *what, int line);
noreturn_fn void finish(void);
noreturn_fn void leave(u8 code);

/* --- console: %s %x (u64, hex) %u (u64) --- */
void say(const char *fmt, ...);
void put_char(char c);

/* --- the command line: words by spaces --- */
bool arg_word(const char *word);
u64 arg_number(const char *key, u64 fallback);
bool on_reprise(void);
bool has_tsc_deadline(void);

/* --- vectors --- */
typedef void (*handler_fn)(struct frame *f);
extern handler_fn handlers[256];
struct gate {
	u64 low, high;
};
extern struct gate idt[256];
extern u8 isr_stubs[256][16];
enum { GATE_INTERRUPT = 0x8e, GATE_TRAP = 0x8f, GATE_USER = 0x60 };
void set_gate(unsigned vector, const void *entry, unsigned ist, unsigned type);
void load_idt(const void *base, u16 limit);
void set_ist(unsigned n, void *stack_end);
extern u64 gdt[];
extern u8 tss[], stack_top[];
extern u64 boot_pml4[], boot_pdpt[], boot_pd[];
u64 enter_user(u64 rip, u64 rsp, u64 rflags);
noreturn_fn void leave_user(u64 value);

/* --- devices --- */
#define LAPIC_BASE 0xfee00000UL
#define IOAPIC_BASE 0xfec00000UL
enum {
	LAPIC_ID = 0x20, LAPIC_TPR = 0x80, LAPIC_PPR = 0xa0, LAPIC_EOI = 0xb0, LAPIC_SVR = 0xf0, LAPIC_ISR = 0x100,
	LAPIC_IRR = 0x200, LAPIC_ESR = 0x280, LAPIC_ICR = 0x300, LAPIC_ICR_HIGH = 0x310, LAPIC_TIMER = 0x320,
	LAPIC_LINT0 = 0x350, LAPIC_LINT1 = 0x360, LAPIC_ERROR = 0x370, LAPIC_INITIAL = 0x380, LAPIC_CURRENT = 0x390,
	LAPIC_DIVIDE = 0x3e0,
};
enum { TIMER_ONCE = 0, TIMER_PERIODIC = 1 << 17, TIMER_DEADLINE = 1 << 18, LVT_MASKED = 1 << 16 };

static inline u32 lapic_read(unsigned reg)
{
	return *(volatile u32 *)(LAPIC_BASE + reg);
}

static inline void lapic_write(unsigned reg, u32 v)
{
	*(volatile u32 *)(LAPIC_BASE + reg) = v;
}

static inline void lapic_eoi(void)
{
	lapic_write(LAPIC_EOI, 0);
}

bool lapic_in_service(unsigned vector);
bool lapic_requested(unsigned vector);
void lapic_timer(unsigned mode, unsigned vector, u32 count); /* divide by 1: one tick a nanosecond */
void lapic_stop(void);
void ipi_self(unsigned vector);
u32 ioapic_read(unsigned reg);
void ioapic_write(unsigned reg, u32 v);
void ioapic_route(unsigned pin, u32 low);
void pic_init(u8 base, u16 mask);
void pic_eoi(unsigned irq);
void pit_periodic(u16 divisor);
void pit_once(u16 count);
void pit_stop(void);
void rtc_write(u8 reg, u8 v);
u8 rtc_read(u8 reg);

/* --- instructions --- */
static inline void outb(u16 port, u8 v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline u8 inb(u16 port)
{
	u8 v;
	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline u64 rdtsc(void)
{
	u32 a, d;
	__asm__ volatile("rdtsc" : "=a"(a), "=d"(d) : : "memory");
	return a | (u64)d << 32;
}

static inline u64 rdmsr(u32 index)
{
	u32 a, d;
	__asm__ volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(index) : "memory");
	return a | (u64)d << 32;
}

static inline void wrmsr(u32 index, u64 v)
{
	__asm__ volatile("wrmsr" : : "c"(index), "a"((u32)v), "d"((u32)(v >> 32)) : "memory");
}

static inline void cpuid(u32 leaf, u32 sub, u32 r[4])
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub));
}

static inline void sti(void)
{
	__asm__ volatile("sti" : : : "memory");
}

static inline void cli(void)
{
	__asm__ volatile("cli" : : : "memory");
}

/* Halts for one interrupt, with none between the two instructions. */
static inline void sti_hlt(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}

static inline void invlpg(u64 at)
{
	__asm__ volatile("invlpg (%0)" : : "r"(at) : "memory");
}

#define CR_ACCESS(n) \
	static inline u64 read_cr##n(void) \
	{ \
		u64 v; \
		__asm__ volatile("mov %%cr" #n ", %0" : "=r"(v) : : "memory"); \
		return v; \
	} \
	static inline void write_cr##n(u64 v) \
	{ \
		__asm__ volatile("mov %0, %%cr" #n : : "r"(v) : "memory"); \
	}
CR_ACCESS(0)
CR_ACCESS(2)
CR_ACCESS(3)
CR_ACCESS(4)
CR_ACCESS(8)

/* A small generator: the same numbers for the same state. */
static inline u64 random64(u64 *state)
{
	u64 x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

#endif
#endif
