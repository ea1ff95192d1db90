/*
 * guest.c - from configuration and images to a VM.  See session.h.
 *
 *   1  configuration
 *   2  loading the guest
 */
#include "kernel/bundle.h"
#include "kernel/console.h"
#include "kernel/cpu.h"
#include "kernel/fpu.h"
#include "kernel/kconf.h"
#include "kernel/kfmt.h"
#include "kernel/mm.h"
#include "session/session.h"
#include "vmm/acpi.h"
#include "vmm/elfboot.h"
#include "vmm/linuxboot.h"
#include "vmm/svm/svm.h"

/* --- 1  configuration ------------------------------------------------------------ */

void session_name(const struct session *s, const char *name, char *buf, size_t size)
{
	ksnprintf(buf, size, "%s%s", s->prefix, name);
}

static struct blob find(const struct session *s, const char *full)
{
	struct blob b = { 0 };

	if (bundle_find(s->bundle.data, s->bundle.size, full, &b.data, &b.size))
		b = (struct blob){ 0 };
	return b;
}

static struct blob file(const struct session *s, const char *name)
{
	char full[32];

	session_name(s, name, full, sizeof(full));
	return find(s, full);
}

/* The kernel or initrd, perhaps one that an earlier of several machines has, too. */
static struct blob image(const struct session *s, const char *role)
{
	char key[16], full[32];
	u64 owner;

	ksnprintf(key, sizeof(key), "%s_of", role);
	owner = session_number(s->session, key, ~0UL);
	if (owner == ~0UL)
		return file(s, role);
	ksnprintf(full, sizeof(full), "%lu.%s", owner, role);
	return find(s, full);
}

struct text session_text(const struct session *s, const char *name)
{
	struct blob b = file(s, name);
	return (struct text){ (const char *)b.data, b.size };
}

u64 session_number(struct text t, const char *key, u64 fallback)
{
	return conf_u64(t.data, t.size, key, fallback);
}

static struct vm_config machine_config(const struct session *s)
{
	struct text m = s->machine;

	return (struct vm_config){
		.mem_bytes = session_number(m, "mem_bytes", MIB(256)),
		.ncpus = (unsigned)session_number(m, "ncpus", 1),
		.seed = session_number(m, "seed", 1),
		.rtc_epoch_s = session_number(m, "rtc_epoch_s", 1735689600),
		.ns_per_insn = session_number(m, "ns_per_insn", 1),
		.x87_cleared = session_number(m, "x87_cleared", 0),
		.digest_all_flags = session_number(m, "digest_version", 1) < 2,
		.poll_insns = session_number(m, "poll_insns", 1000000),
		.epoch_insns = session_number(m, "epoch_insns", 200000000),
		.limit_insns = session_number(m, "limit_insns", NO_STOP),
		.limit_vtime_ns = session_number(m, "limit_vtime_ns", NO_STOP),
		.rng = session_number(m, "rng", 0),
		.virtio_console = session_number(m, "virtio_console", 0),
	};
}

/* --- 2  loading the guest ----------------------------------------------------------- */

void *session_memory(size_t size)
{
	void *p = page_zalloc((size + PAGE_SIZE - 1) / PAGE_SIZE);

	if (!p)
		session_fail("out of memory; start QEMU with more (-m)");
	return p;
}

static void *chunk_of_host(void *ctx unused_arg)
{
	void *chunk = page_alloc_aligned(CHUNK_PAGES, CHUNK_SIZE);

	if (chunk)
		fpu_clear(chunk, CHUNK_SIZE);
	return chunk;
}

static void *pages_of_host(void *ctx unused_arg, size_t n)
{
	return page_zalloc(n);
}

struct chunk_source session_chunks(void)
{
	return (struct chunk_source){ chunk_of_host, pages_of_host, NULL };
}

static err_t load_write(void *ctx, gpa_t at, const void *data, size_t n)
{
	struct vm *vm = ctx;
	return guestmem_write(&vm->mem, at, data, n);
}

/* Memory starts as zeros: only what was written before must be cleared. */
static err_t clear(struct guest_memory *m, gpa_t at, u64 n)
{
	static const u8 zeros[PAGE_SIZE];

	while (n) {
		size_t step = MIN(n, PAGE_SIZE - at.v % PAGE_SIZE);
		err_t err = m->chunk[at.v >> CHUNK_SHIFT] ? guestmem_write(m, at, zeros, step) : OK;

		if (err)
			return err;
		at.v += step;
		n -= step;
	}
	return OK;
}

static err_t load_zero(void *ctx, gpa_t at, u64 n)
{
	struct vm *vm = ctx;
	return clear(&vm->mem, at, n);
}

/* The tables lie in the last page of RAM, which the memory map calls ACPI's. */
static void load_acpi(struct vm *vm, struct guest_range *area, gpa_t *rsdp)
{
	static u8 tables[ACPI_TABLES_MAX];
	struct acpi_config c = board_acpi(vm);

	*area = (struct guest_range){ vm->config.mem_bytes - sizeof(tables), sizeof(tables) };
	if (acpi_build(&c, GPA(area->base), tables, sizeof(tables), rsdp) ||
	    guestmem_write(&vm->mem, GPA(area->base), tables, sizeof(tables)))
		session_fail("the ACPI tables do not fit the guest's memory; give more with --mem");
}

static void load_guest(struct session *s)
{
	struct vm *vm = s->vm;
	struct guest_loader loader = { .write = load_write, .zero = load_zero, .ctx = vm, .ram_size = vm->config.mem_bytes };
	struct blob kernel = image(s, "kernel"), initrd = image(s, "initrd");
	char *append = session_memory(s->machine.size + 1); /* longer it cannot be */
	const char *why = "kernel: neither a Linux bzImage nor an ELF kernel with a PVH entry";
	struct guest_range acpi;
	gpa_t rsdp;
	err_t err = ERR_UNSUPPORTED;

	conf_get(s->machine.data, s->machine.size, "append", append, s->machine.size + 1);
	load_acpi(vm, &acpi, &rsdp);
	if (!kernel.data)
		session_fail("the bundle holds no kernel; give one with --kernel");
	if (linux_is_bzimage(kernel.data, kernel.size)) {
		struct linux_config c = { .kernel = kernel.data, .kernel_size = kernel.size, .initrd = initrd.data,
					  .initrd_size = initrd.size, .cmdline = append, .acpi = acpi, .rsdp = rsdp, .seed = vm->config.seed };
		err = linux_load(&c, &loader, &vm->vcpu[0].cpu, &why);
	} else if (elf_is_pvh(kernel.data, kernel.size)) {
		struct elf_config c = { .kernel = kernel.data, .kernel_size = kernel.size, .initrd = initrd.data,
					.initrd_size = initrd.size, .cmdline = append, .acpi = acpi, .rsdp = rsdp };
		err = elf_load(&c, &loader, &vm->vcpu[0].cpu, &why);
	}
	if (err)
		session_fail(why);
	vm->virt->load(&vm->vcpu[0], PART_ALL);
}

void session_clear_guest(struct session *s)
{
	for (unsigned i = 0; i < vm_nmemories(s->vm); i++) {
		struct guest_memory *m = vm_memory(s->vm, i);

		for (u64 at = 0; at < m->size_bytes; at += PAGE_SIZE)
			if (guestmem_peek(m, GPA(at)) && clear(m, GPA(at), PAGE_SIZE))
				session_fail("out of memory; start QEMU with more (-m)");
	}
}

void session_make_vm(struct session *s, struct boundary *boundary)
{
	struct vm_config c = machine_config(s);
	struct chunk_source source = session_chunks();
	err_t err;

	session_plug_disks(s, &c);
	session_plug_nics(s, &c);
	s->vm = page_zalloc((sizeof(struct vm) + PAGE_SIZE - 1) / PAGE_SIZE);
	if (!s->vm)
		session_fail("out of memory; start QEMU with more (-m)");
	err = vm_create(s->vm, &c, &svm_ops, boundary, &source);
	if (c.ns_per_insn != 1) /* RDTSC within an entry moves by one an instruction */
		session_fail("this host's counter gives one nanosecond an instruction; ns_per_insn must be 1");
	if (err == ERR_TOO_BIG)
		session_fail("the guest's memory is more than 3 GiB; give less with --mem");
	if (err == ERR_NO_MEMORY)
		session_fail("out of memory; start QEMU with more (-m)");
	if (err)
		session_fail("the machine's configuration is not valid");
	s->vm->paging.coherent_code = !s->quirks.stale_code;
	s->vm->host_keeps_shadow = !s->quirks.shadow_lost;
	s->vm->host_counter = rdtsc;
	load_guest(s);
	inspect_start(&s->inspect, s->vm, s->session.data, s->session.size, control_printf);
	perturb_start(&s->perturb, s->vm, s->session.data, s->session.size);
}
