/*
 * panic.c - the last words of the host.  See panic.h.
 *
 * May run with anything broken: reads only its own symbol table and frames
 * that lie in a host stack, and prints by polling.
 */
#include "kernel/console.h"
#include "kernel/cpu.h"
#include "kernel/kfmt.h"
#include "kernel/paging.h"
#include "kernel/panic.h"
#include "kernel/trap.h"

/* Written by kernel/symbols.sh, sorted by address; empty in the first link. */
struct symbol {
	u32 addr, name;
};

extern const struct symbol symbol_table[] __attribute__((weak)), symbol_table_end[] __attribute__((weak));
extern const char symbol_names[] __attribute__((weak));
extern const u8 __text_start[], __text_end[];

#define DEBUG_EXIT_PORT 0xf4
#define BACKTRACE_MAX 32 /* a recursion that ran over its stack is long enough so */

static bool is_text(u64 addr)
{
	return addr >= (u64)__text_start && addr < (u64)__text_end;
}

void symbol_name(u64 addr, char *buf, size_t size)
{
	size_t low = 0, high = (size_t)(symbol_table_end - symbol_table);

	if (!is_text(addr) || !high || addr < symbol_table[0].addr) {
		ksnprintf(buf, size, "0x%lx", addr);
		return;
	}
	while (high - low > 1) {
		size_t mid = (low + high) / 2;

		*(symbol_table[mid].addr <= addr ? &low : &high) = mid;
	}
	ksnprintf(buf, size, "%s+0x%lx", symbol_names + symbol_table[low].name,
		  addr - symbol_table[low].addr);
}

/* The address too: several static functions may share a name, and `reprise bt --panic` must know which. */
static void print_call(u64 addr)
{
	char name[80];

	symbol_name(addr, name, sizeof(name));
	if (is_text(addr))
		kprintf("    %s (0x%lx)\n", name, addr);
	else
		kprintf("    %s\n", name);
}

void backtrace(u64 rip, u64 rbp)
{
	print_call(rip);
	for (unsigned i = 0; !(rbp & 7) && paging_is_stack(rbp) && paging_is_stack(rbp + 15); i++) {
		const u64 *frame = (const u64 *)rbp; /* the caller's rbp, the return address */

		if (!is_text(frame[1]))
			return;
		if (i == BACKTRACE_MAX) {
			kprintf("    ...\n");
			return;
		}
		/* Minus one: a call can be its function's last instruction. */
		print_call(frame[1] - 1);
		rbp = frame[0];
	}
}

static void print_registers(const struct trap_frame *f)
{
	kprintf("rax %016lx rcx %016lx rdx %016lx rbx %016lx\n", f->rax, f->rcx, f->rdx, f->rbx);
	kprintf("rsp %016lx rbp %016lx rsi %016lx rdi %016lx\n", f->rsp, f->rbp, f->rsi, f->rdi);
	kprintf("r8  %016lx r9  %016lx r10 %016lx r11 %016lx\n", f->r8, f->r9, f->r10, f->r11);
	kprintf("r12 %016lx r13 %016lx r14 %016lx r15 %016lx\n", f->r12, f->r13, f->r14, f->r15);
	kprintf("rip %016lx rflags %lx cs %lx ss %lx vector %lu error %lx\n", f->rip, f->rflags, f->cs,
		f->ss, f->vector, f->error);
	kprintf("cr0 %lx cr2 %lx cr3 %lx cr4 %lx\n", read_cr0(), read_cr2(), read_cr3(), read_cr4());
}

static struct {
	void (*fn)(void *ctx);
	void *ctx;
} panic_hook;

void panic_set_hook(void (*fn)(void *ctx), void *ctx)
{
	panic_hook.ctx = ctx;
	panic_hook.fn = fn;
}

static noreturn_fn void die(const struct trap_frame *f, u64 rip, u64 rbp, const char *fmt, va_list args)
{
	static bool dying;

	cli();
	if (dying) /* the panic itself failed: nothing more can be trusted */
		machine_exit(PANIC_EXIT_CODE);
	dying = true;
	if (panic_hook.fn)
		panic_hook.fn(panic_hook.ctx);
	kprintf("panic: ");
	kvprintf(fmt, args);
	kprintf("\n");
	if (f)
		print_registers(f);
	kprintf("backtrace:\n");
	backtrace(rip, rbp);
	machine_exit(PANIC_EXIT_CODE);
}

noreturn_fn void panic(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	die(NULL, (u64)__builtin_return_address(0) - 1, *(const u64 *)__builtin_frame_address(0), fmt, args);
}

noreturn_fn void panic_trap(const struct trap_frame *f, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	die(f, f->rip, f->rbp, fmt, args);
}

noreturn_fn void machine_exit(u8 code)
{
	cli();
	console_flush();
	outb(DEBUG_EXIT_PORT, code);
	/* Still here: no such port.  GIF is 1 and IF 0, so only an NMI gets past HLT. */
	for (;;)
		__asm__ volatile("cli; hlt");
}
