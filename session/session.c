/*
 * session.c - what the hypervisor was booted to do: run, record or replay one VM.
 *
 * The boot module is a bundle: session.conf (the mode and its options, by the
 * host command), machine.conf (the VM, the same text as the recording's HEAD)
 * and the guest's images.  The recording is the disk named "recording".
 *
 *   1  the host port: COM1 is the guest's console, COM2 the control channel
 *   2  configuration
 *   3  loading the guest
 *   4  the three modes
 *   5  how it ended
 */
#include "kernel/bootinfo.h"
#include "kernel/bundle.h"
#include "kernel/console.h"
#include "kernel/counter.h"
#include "kernel/cpu.h"
#include "kernel/floatprobe.h"
#include "kernel/fpu.h"
#include "kernel/kconf.h"
#include "kernel/kfmt.h"
#include "kernel/mm.h"
#include "kernel/panic.h"
#include "kernel/time.h"
#include "kernel/virtio_blk.h"
#include "replay/boundaries.h"
#include "replay/inspect.h"
#include "replay/perturb.h"
#include "vmm/acpi.h"
#include "vmm/elfboot.h"
#include "vmm/linuxboot.h"
#include "vmm/selftest.h"
#include "vmm/svm/svm.h"
#include "vmm/vm.h"

struct text {
	const char *data;
	size_t size;
};

struct blob {
	const u8 *data;
	size_t size;
};

struct session {
	const struct boot_info *boot;
	struct blob bundle;
	struct text session, machine;
	char mode[16];
	struct host_port port;
	bool console_ended, quit;
	char command[64];
	size_t command_fill;
	u64 last_progress;
	u8 output[4096];        /* the guest's, on its way to COM1 */
	size_t output_fill;
	struct host_quirks quirks;
	u64 float_probe;
	struct vm *vm;
	struct perturb perturb;
	struct inspect inspect;
	struct blk *disk;
	union {
		struct live_boundary live;
		struct record_boundary record;
		struct replay_boundary replay;
	} boundary;
	struct rec_writer *writer;
	struct rec_reader *reader;
};

static noreturn_fn void fail(const char *what)
{
	control_printf("error %s\n", what);
	console_flush();
	machine_exit(1);
}

/* --- 1  the host port ---------------------------------------------------------- */

/* The host command's words on the control channel: "eof", "quit". */
static void listen(struct session *s)
{
	char c;

	while (serial_read(&com2, &c, 1)) {
		if (c != '\n') {
			if (s->command_fill < sizeof(s->command) - 1)
				s->command[s->command_fill++] = c;
			continue;
		}
		s->command[s->command_fill] = 0;
		s->command_fill = 0;
		if (!strcmp(s->command, "eof"))
			s->console_ended = true;
		else if (!strcmp(s->command, "quit"))
			s->quit = true;
	}
}

static size_t port_read(void *ctx unused_arg, void *buf, size_t n)
{
	return serial_read(&com1, buf, n);
}

static void flush_output(struct session *s)
{
	serial_write(&com1, s->output, s->output_fill);
	s->output_fill = 0;
}

/* Gathered until the next poll point or wait: a byte at a time costs a port poll each. */
static void port_write(void *ctx, const void *data, size_t n)
{
	struct session *s = ctx;

	while (n) {
		size_t step = MIN(n, sizeof(s->output) - s->output_fill);

		memcpy(s->output + s->output_fill, data, step);
		s->output_fill += step;
		data = (const u8 *)data + step;
		n -= step;
		if (s->output_fill == sizeof(s->output))
			flush_output(s);
	}
}

/* "eof" may overtake the last bytes typed: the console has ended when both ports are empty. */
static bool port_ended(void *ctx)
{
	struct session *s = ctx;

	listen(s);
	return s->console_ended && !serial_rx_ready(&com1);
}

static bool port_quit(void *ctx)
{
	struct session *s = ctx;

	listen(s);
	return s->quit;
}

static u64 port_wait(void *ctx, u64 max_ns)
{
	u64 before = rdtsc(), hz = host_tsc_hz(), ticks;

	flush_output(ctx);
	cpu_wait(max_ns);
	ticks = rdtsc() - before;
	return hz == 1000000000UL ? ticks : ticks / hz * 1000000000UL + ticks % hz * 1000000000UL / hz;
}

#define PROGRESS_TICKS 70000000UL /* five a second of QEMU's work */

static void port_progress(void *ctx, const struct execpoint *now)
{
	struct session *s = ctx;
	u64 t = rdtsc();

	flush_output(s);
	if (t - s->last_progress < PROGRESS_TICKS)
		return;
	s->last_progress = t;
	control_printf("progress insns=%lu vtime_ns=%lu\n", now->count, now->vtime_ns);
}

/* What the guest had printed is not lost with the hypervisor. */
static void last_output(void *ctx)
{
	flush_output(ctx);
}

static void port_init(struct session *s)
{
	panic_set_hook(last_output, s);
	s->port = (struct host_port){ port_read, port_write, port_ended, port_quit, port_wait, port_progress, s };
	serial_rx_irq_enable(&com1);
	serial_rx_irq_enable(&com2);
}

/* --- 2  configuration ------------------------------------------------------------ */

static struct blob file(const struct session *s, const char *name)
{
	struct blob b = { 0 };

	if (bundle_find(s->bundle.data, s->bundle.size, name, &b.data, &b.size))
		b = (struct blob){ 0 };
	return b;
}

static struct text text_file(const struct session *s, const char *name)
{
	struct blob b = file(s, name);
	return (struct text){ (const char *)b.data, b.size };
}

static u64 number(struct text t, const char *key, u64 fallback)
{
	return conf_u64(t.data, t.size, key, fallback);
}

static struct vm_config machine_config(const struct session *s)
{
	struct text m = s->machine;

	return (struct vm_config){
		.mem_bytes = number(m, "mem_bytes", MIB(256)),
		.ncpus = (unsigned)number(m, "ncpus", 1),
		.seed = number(m, "seed", 1),
		.rtc_epoch_s = number(m, "rtc_epoch_s", 1735689600),
		.ns_per_insn = number(m, "ns_per_insn", 1),
		.poll_insns = number(m, "poll_insns", 1000000),
		.epoch_insns = number(m, "epoch_insns", 200000000),
		.limit_insns = number(m, "limit_insns", NO_STOP),
		.limit_vtime_ns = number(m, "limit_vtime_ns", NO_STOP),
	};
}

/* --- 3  loading the guest ----------------------------------------------------------- */

static void *big(size_t size)
{
	void *p = page_zalloc((size + PAGE_SIZE - 1) / PAGE_SIZE);

	if (!p)
		fail("out of memory; start QEMU with more (-m)");
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

static err_t load_write(void *ctx, gpa_t at, const void *data, size_t n)
{
	struct vm *vm = ctx;
	return guestmem_write(&vm->mem, at, data, n);
}

/* Memory starts as zeros: only what was written before must be cleared. */
static err_t load_zero(void *ctx, gpa_t at, u64 n)
{
	static const u8 zeros[PAGE_SIZE];
	struct vm *vm = ctx;

	while (n) {
		size_t step = MIN(n, PAGE_SIZE - at.v % PAGE_SIZE);
		err_t err = vm->mem.chunk[at.v >> CHUNK_SHIFT] ? guestmem_write(&vm->mem, at, zeros, step) : OK;

		if (err)
			return err;
		at.v += step;
		n -= step;
	}
	return OK;
}

/* The tables lie in the last page of RAM, which the memory map calls ACPI's. */
static void load_acpi(struct vm *vm, struct guest_range *area, gpa_t *rsdp)
{
	static u8 tables[ACPI_TABLES_MAX];
	struct acpi_config c = board_acpi(vm);

	*area = (struct guest_range){ vm->config.mem_bytes - sizeof(tables), sizeof(tables) };
	if (acpi_build(&c, GPA(area->base), tables, sizeof(tables), rsdp) ||
	    guestmem_write(&vm->mem, GPA(area->base), tables, sizeof(tables)))
		fail("the ACPI tables do not fit the guest's memory; give more with --mem");
}

static void load_guest(struct session *s)
{
	struct vm *vm = s->vm;
	struct guest_loader loader = { .write = load_write, .zero = load_zero, .ctx = vm, .ram_size = vm->config.mem_bytes };
	struct blob kernel = file(s, "kernel"), initrd = file(s, "initrd");
	char *append = big(s->machine.size + 1); /* longer it cannot be */
	const char *why = "kernel: neither a Linux bzImage nor an ELF kernel with a PVH entry";
	struct guest_range acpi;
	gpa_t rsdp;
	err_t err = ERR_UNSUPPORTED;

	conf_get(s->machine.data, s->machine.size, "append", append, s->machine.size + 1);
	load_acpi(vm, &acpi, &rsdp);
	if (!kernel.data)
		fail("the bundle holds no kernel; give one with --kernel");
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
		fail(why);
	vm->virt->load(&vm->vcpu[0], PART_ALL);
}

static void make_vm(struct session *s, struct boundary *boundary)
{
	struct vm_config c = machine_config(s);
	struct chunk_source source = { chunk_of_host, pages_of_host, NULL };
	err_t err;

	s->vm = page_zalloc((sizeof(struct vm) + PAGE_SIZE - 1) / PAGE_SIZE);
	if (!s->vm)
		fail("out of memory; start QEMU with more (-m)");
	err = vm_create(s->vm, &c, &svm_ops, boundary, &source);
	if (c.ns_per_insn != 1) /* RDTSC within an entry moves by one an instruction */
		fail("this host's counter gives one nanosecond an instruction; ns_per_insn must be 1");
	if (err == ERR_TOO_BIG)
		fail("the guest's memory is more than 3 GiB; give less with --mem");
	if (err == ERR_NO_MEMORY)
		fail("out of memory; start QEMU with more (-m)");
	if (err)
		fail("the machine's configuration is not valid");
	s->vm->paging.coherent_code = !s->quirks.stale_code;
	s->vm->host_keeps_shadow = !s->quirks.shadow_lost;
	s->vm->host_counter = rdtsc;
	load_guest(s);
	if (s->reader && number(s->session, "left_insns", NO_STOP) != NO_STOP)
		replay_leave_at(&s->boundary.replay, s->vm, number(s->session, "left_insns", 0),
				number(s->session, "left_vtime", 0));
	inspect_start(&s->inspect, s->vm, s->session.data, s->session.size, control_printf);
	perturb_start(&s->perturb, s->vm, s->session.data, s->session.size);
}

/* --- 4  the three modes ----------------------------------------------------------------- */

static err_t disk_read(void *ctx, u64 offset, void *buf, size_t n)
{
	return blk_read(ctx, offset / REC_SECTOR, buf, (n + REC_SECTOR - 1) / REC_SECTOR);
}

static err_t disk_write(void *ctx, u64 offset, const void *buf, size_t n)
{
	return blk_write(ctx, offset / REC_SECTOR, buf, n / REC_SECTOR);
}

static err_t disk_flush(void *ctx)
{
	return blk_flush(ctx);
}

static struct rec_medium recording_disk(struct session *s)
{
	s->disk = blk_find("recording");
	if (!s->disk)
		fail("there is no disk named recording (-device virtio-blk-pci,serial=recording)");
	return (struct rec_medium){ disk_read, disk_write, disk_flush, s->disk, blk_sectors(s->disk) * REC_SECTOR };
}

extern const u8 __build_id[]; /* kernel/reprise.ld */

/* The first bytes of the linker's build ID: the same sources and compiler give the same. */
static u64 build_id(void)
{
	u64 id = 0;

	for (unsigned i = 0; i < 8; i++)
		id = id << 8 | __build_id[16 + i];
	return id;
}

static struct boundary *start_record(struct session *s)
{
	struct rec_medium m = recording_disk(s);
	char host[256];
	int n;

	s->writer = big(sizeof(*s->writer));
	n = ksnprintf(host, sizeof(host), "counter=%s\nhost_probe=%016lx\nbuild=%016lx\n", host_counter()->kind,
		      s->float_probe, build_id());
	if (rec_writer_open(s->writer, &m, number(s->session, "append_offset", 0), number(s->session, "append_chain", 0)) ||
	    rec_put_chunk(s->writer, REC_HOST, host, (size_t)n))
		fail("the recording cannot be written");
	record_boundary_init(&s->boundary.record, &s->port, s->writer, 0, number(s->session, "sync", 0));
	return &s->boundary.record.b;
}

static struct boundary *start_replay(struct session *s)
{
	struct rec_medium m = recording_disk(s);

	s->reader = big(sizeof(*s->reader));
	if (rec_reader_open_at(s->reader, &m, number(s->session, "run_offset", 0), number(s->session, "run_chain", 0)))
		fail("the recording cannot be read");
	replay_boundary_init(&s->boundary.replay, &s->port, s->reader);
	s->boundary.replay.show_from = number(s->session, "from", 0);
	return &s->boundary.replay.b;
}

static struct boundary *start_live(struct session *s)
{
	live_boundary_init(&s->boundary.live, &s->port);
	return &s->boundary.live.b;
}

/* --- 5  how it ended ------------------------------------------------------------------------ */

static const char *outcome_name(enum vm_outcome o)
{
	static const char *const names[] = {
		[VM_RUNNING] = "running", [VM_POWERED_OFF] = "poweroff", [VM_DEBUG_EXIT] = "debug-exit",
		[VM_RESET] = "reset", [VM_TRIPLE_FAULT] = "triple-fault", [VM_STUCK] = "stuck",
		[VM_UNHANDLED] = "unhandled", [VM_LIMIT] = "limit", [VM_DIVERGED] = "diverged",
		[VM_RECORDING_END] = "recording-end", [VM_QUIT] = "quit", [VM_HOST_FAILED] = "host-failed",
	};
	return names[o];
}

static u64 total_exits(const struct vm *vm)
{
	u64 n = 0;

	for (unsigned i = 0; i < NEXIT; i++)
		n += vm->stats.exits[i];
	return n;
}

/* Figures of the counter itself: what the hypervisor spent, exit by exit. */
static void report_stats(const struct vm *vm, u64 total_host)
{
	const struct vm_stats *t = &vm->stats;

	control_printf("stat host_insns %lu\n", total_host);
	control_printf("stat guest_insns %lu\n", t->guest_insns);
	control_printf("stat digest_insns %lu\n", t->digest_insns);
	control_printf("stat digest_pages %lu\n", t->digest_pages);
	control_printf("stat epochs %lu\n", t->epochs);
	control_printf("stat idle_jumps %lu\n", t->idle_jumps);
	control_printf("stat output_bytes %lu\n", t->output_bytes);
	for (unsigned i = 0; i < NEXIT; i++)
		if (t->exits[i])
			control_printf("stat exit.%s %lu %lu\n", exit_reason_name((enum exit_reason)i), t->exits[i],
				       t->host_insns[i]);
}

static bool broken(enum vm_outcome o)
{
	return o == VM_TRIPLE_FAULT || o == VM_UNHANDLED || o == VM_STUCK;
}

static void finish(struct session *s, enum vm_outcome outcome, u64 host_insns)
{
	struct vm *vm = s->vm;
	u64 digest = vm_digest(vm);
	struct rec_end end;

	if (s->writer)
		record_boundary_finish(&s->boundary.record, &vm->now);
	flush_output(s);
	end = (struct rec_end){ .outcome = outcome, .guest_exit = vm->guest_exit, .insns = vm->now.count,
			       .vtime_ns = vm->now.vtime_ns, .exits = total_exits(vm), .inputs = vm->stats.inputs,
			       .input_bytes = vm->stats.input_bytes, .digest = digest };

	ksnprintf(end.reason, sizeof(end.reason), "%s", vm->stop_reason);
	if (s->writer && outcome != VM_HOST_FAILED && rec_put_end(s->writer, &end, 1))
		outcome = VM_HOST_FAILED;
	if (s->writer && s->writer->error)
		ksnprintf(end.reason, sizeof(end.reason), "the recording could not be written: disk full or failing");
	if (s->reader) {
		struct divergence *d = &s->boundary.replay.diverged;

		replay_check_end(&s->boundary.replay, outcome, vm->guest_exit, &vm->now, digest);
		if (d->found) {
			outcome = VM_DIVERGED;
			control_printf("diverged epoch=%lu insns=%lu vtime_ns=%lu expected=%016lx got=%016lx what=\"%s\"\n",
				       d->epoch, d->at.count, d->at.vtime_ns, d->expected, d->got, d->what);
		}
	}
	if (broken(outcome))
		inspect_print_state(vm, control_printf);
	report_stats(vm, host_insns);
	control_printf("end outcome=%s guest_exit=%u insns=%lu vtime_ns=%lu exits=%lu inputs=%lu input_bytes=%lu "
		       "digest=%016lx reason=\"%s\"\n",
		       outcome_name(outcome), vm->guest_exit, vm->now.count, vm->now.vtime_ns, end.exits, end.inputs,
		       end.input_bytes, digest, end.reason);
}

/* SVM on, counter calibrated; without an exact counter only an unrecorded run is possible. */
static void prepare_host(struct session *s)
{
	struct counter *c = host_counter();
	const char *why;

	if (svm_enable(&why))
		fail(why);
	if (selftest_run(&svm_ops, &s->quirks))
		fail(c->refusal);
	s->float_probe = float_probe();
}

void hypervisor_main(const struct boot_info *bi)
{
	static struct session session; /* boot area: one a boot */
	struct session *s = &session;
	struct boundary *boundary;
	enum vm_outcome outcome;
	u64 start;

	s->boot = bi;
	if (!bi->nmodules)
		fail("no bundle was loaded with the hypervisor; start it with the reprise command");
	s->bundle = (struct blob){ bi->modules[0].data, bi->modules[0].size_bytes };
	s->session = text_file(s, "session.conf");
	s->machine = text_file(s, "machine.conf");
	if (!conf_get(s->session.data, s->session.size, "mode", s->mode, sizeof(s->mode)))
		fail("the bundle has no session.conf with a mode; start the hypervisor with the reprise command");
	prepare_host(s);
	port_init(s);
	control_printf("ready boot_insns=%lu selftest=ok counter=%s entry_cost=%lu stop_cost=%lu tsc_lead=%lu "
		       "shadow_lost=%d stale_code=%d host_probe=%016lx build=%016lx\n",
		       rdtsc() - bi->entry_tsc, host_counter()->kind, host_counter()->entry_cost,
		       host_counter()->stop_cost, host_counter()->tsc_lead, s->quirks.shadow_lost,
		       s->quirks.stale_code, s->float_probe, build_id());
	if (!strcmp(s->mode, "selftest")) {
		control_printf("end outcome=poweroff guest_exit=0 insns=0 vtime_ns=0 exits=0 inputs=0 input_bytes=0 "
			       "digest=0 reason=\"\"\n");
		console_flush();
		machine_exit(0);
	}
	boundary = !strcmp(s->mode, "record") ? start_record(s) : !strcmp(s->mode, "replay") ? start_replay(s)
											      : start_live(s);
	start = rdtsc();
	make_vm(s, boundary);
	control_printf("# guest loaded in %lu instructions\n", rdtsc() - start);
	start = rdtsc();
	outcome = vm_run(s->vm);
	finish(s, outcome, rdtsc() - start);
	console_flush();
	machine_exit(0);
}
