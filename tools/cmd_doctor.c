/*
 * cmd_doctor.c - `reprise doctor`: can this host record exactly, and if not,
 * what mends it.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "tools/qemu.h"
#include "tools/session.h"

#define SELFTEST_MEM MIB(64)
#define OLDEST_QEMU 7

static bool good(const char *what, const char *fmt, ...) printf_like(2, 3);
static bool bad(const char *what, const char *fmt, ...) printf_like(2, 3);

static void line(const char *word, const char *what, const char *fmt, va_list ap)
{
	printf("%-5s %-12s ", word, what);
	vprintf(fmt, ap);
	putchar('\n');
	fflush(stdout);
}

static bool good(const char *what, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line("ok", what, fmt, ap);
	va_end(ap);
	return true;
}

static bool bad(const char *what, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line("FAIL", what, fmt, ap);
	va_end(ap);
	return false;
}

/* What a shell command prints; the environment is the shell's to expand. */
static bool capture(const char *command, char *text, size_t size)
{
	FILE *f = popen(command, "r");
	size_t n = f ? fread(text, 1, size - 1, f) : 0;

	text[n] = 0;
	return f && pclose(f) == 0;
}

static bool check_qemu(void)
{
	char text[4096], *version;

	if (!capture("\"${REPRISE_QEMU:-qemu-system-x86_64}\" --version 2>/dev/null", text, sizeof(text)))
		return bad("qemu", "%s does not run; install it: apt-get install qemu-system-x86", qemu_program());
	version = strstr(text, "version ");
	if (!version)
		return bad("qemu", "%s is no QEMU; unset REPRISE_QEMU", qemu_program());
	version += strlen("version ");
	version[strcspn(version, " (\n")] = 0;
	if (atoi(version) < OLDEST_QEMU)
		return bad("qemu", "version %s; %d or later is needed", version, OLDEST_QEMU);
	return good("qemu", "%s, version %s", qemu_program(), version);
}

static bool check_tcg(void)
{
	char text[4096];

	if (!capture("\"${REPRISE_QEMU:-qemu-system-x86_64}\" -accel help 2>/dev/null", text, sizeof(text)) ||
	    !strstr(text, "tcg"))
		return bad("tcg", "this QEMU has no TCG, which counts instructions; use the distribution's QEMU");
	return good("tcg", "there; KVM is neither needed nor used");
}

static bool check_hypervisor(void)
{
	char buf[4096];
	const char *path = qemu_hypervisor(buf);

	if (!path)
		return bad("hypervisor", "not found (above)");
	return good("hypervisor", "%s", path);
}

static bool check_memory(void)
{
	char text[4096], *at, amount[32];
	u64 kib;

	if (!capture("cat /proc/meminfo", text, sizeof(text)) || !(at = strstr(text, "MemAvailable:")))
		return good("memory", "unknown");
	kib = strtoull(at + strlen("MemAvailable:"), NULL, 10);
	human_bytes(kib * 1024, amount);
	/* The default guest, the hypervisor, QEMU itself. */
	if (kib * 1024 < MIB(256 + 192 + 128))
		return bad("memory", "%s available; a 256 MiB guest needs 576 MiB: close programs, or use --mem", amount);
	return good("memory", "%s available", amount);
}

/* Boots the hypervisor, which tests its counter and its host before it says ready. */
static bool check_selftest(const struct options *given)
{
	const struct options o = {
		.timeout_ms = given->timeout_ms ? given->timeout_ms : 60000, .quiet = true, .verbose = given->verbose,
	};
	struct machine m = { .mem_bytes = SELFTEST_MEM };
	struct session s = { .o = &o, .recording_fd = -1, .mem_bytes = SELFTEST_MEM };
	struct buf conf = { 0 };
	char counter[64], probe[64];
	u64 started = host_ms();
	bool ran;

	buf_printf(&m.head, "machine=1\ndigest_version=2\nmem_bytes=%llu\nncpus=1\n", (unsigned long long)SELFTEST_MEM);
	buf_printf(&conf, "mode=selftest\n");
	s.bundle_fd = machine_bundle(&m, &conf, &s.bundle_bytes);
	buf_free(&conf);
	machine_free(&m);
	ran = s.bundle_fd >= 0 && session_run(&s);
	if (s.bundle_fd >= 0)
		close(s.bundle_fd);
	if (!ran)
		return bad("self-test", "did not start (above)");
	if (s.failure[0])
		return bad("self-test", "%s", s.failure);
	if (!s.ready || !s.ended || s.end.outcome != VM_POWERED_OFF)
		return bad("self-test", "ended with %s%s%s; this host cannot record exactly: try Debian's QEMU",
			   s.ended ? outcome_name(s.end.outcome) : "no result", s.end.reason[0] ? ": " : "", s.end.reason);
	if (!control_get(s.ready_line, "counter", counter, sizeof(counter)))
		strcpy(counter, "unknown");
	if (!control_get(s.ready_line, "host_probe", probe, sizeof(probe)))
		strcpy(probe, "unknown");
	return good("self-test", "passed in %llu ms: the counter (%s) is exact here", (unsigned long long)(host_ms() - started),
		    counter) &&
	       good("host probe", "%s: recordings replay on hosts with the same", probe);
}

static enum status doctor(int argc, char **argv)
{
	struct options o;
	bool fine;
	enum status st = options_parse(&o, OPT_RUN, argc, argv);

	if (st)
		return st;
	if (o.noperands)
		return complain(ST_USAGE, "%s: doctor takes no argument; leave it out", o.operands[0]);
	fine = check_qemu() && check_tcg();
	fine &= check_hypervisor();
	fine &= check_memory();
	if (fine)
		fine = check_selftest(&o);
	return fine ? ST_OK : ST_HOST;
}

const struct command cmd_doctor = {
	.name = "doctor",
	.summary = "is this host exact, what is missing, one mend a line",
	.help = "reprise doctor [--verbose] [--timeout TIME]\n\n"
		"Checks what Reprise needs of this host and boots the hypervisor's self-test, which\n"
		"finds out whether instructions are counted exactly here.  One line a check; a line\n"
		"that says FAIL says what to do.  Exit status 0 if all is well.\n",
	.run = doctor,
};
