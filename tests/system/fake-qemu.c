/*
 * fake-qemu.c - stands in for QEMU and the hypervisor in tests of the host
 * command (tool.sh): speaks the control protocol of tools/session.h, writes
 * and reads real recordings, and fails in the ways it is told to.
 *
 * Its guest echoes each byte typed; a byte is 1000 instructions and the
 * digest is that of all bytes so far.  $FAKE says what goes wrong or how it
 * ends, one word, "=N" behind it where a number belongs:
 *   (unset) powers off at end of input      exit=N    debug exit
 *   reset triple stuck unhandled limit      end that way at end of input
 *   die      fails before ready             kill=N    SIGKILL itself after N bytes
 *   port     fails before ready: a port of --net user is in use
 *   gone     exits after ready, no "end"    hang      never gets ready
 *   mute     ready, then answers nothing and never ends
 *   wait     ignores end of input; leaves at "quit"
 *   flood=N  writes N KiB to the console    deaf      never reads the console
 *   error panic                             say so
 *   diverge=N  replay: a wrong digest at the Nth epoch; debug: on the way
 *   lost     ft: the other host is live
 *   probe    another host probe than recordings have
 *   early=N    replay: ends after N bytes
 *   commit=N   record: writes to disk 0 when the run is over, in N pieces of 60 ms
 *   half     record: SIGKILL itself in the middle of that
 *   remark   has something to say at the end
 * In debug mode it speaks enough of GDB's remote protocol for gdb: "bs" and
 * "s" move its instruction pointer, "bc" goes to 0x1000, "monitor goto N" to
 * N in hex, "c" runs until it is interrupted.  More of $FAKE there:
 *   echo       answers the bytes themselves
 *   kill=N     SIGKILL itself after N bytes of the debugger's
 *   forget=N   takes N ms to forget a debugger that has gone
 *   travel=N   takes N ms to get there   early=0   ends before it gets there
 * $FAKE_LSTAR: its LSTAR, in hex.
 * $FAKE_DUMP: a directory that gets the bundle's text files, the arguments,
 * what a live machine hears on the control channel, and what the debugger said, with the control
 * lines on it between (gdb.log).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kernel/bundle.h"
#include "kernel/kconf.h"
#include "kernel/xxh.h"
#include "tools/recfile.h"

static int console = -1, control = -1, disk = -1, gdb = -1;
static const char *fault = "";
static unsigned long fault_n;
static bool replaying, recording, debugging, paired;
static char session[4096];
static size_t session_size;

static struct rec_writer writer;
static struct rec_reader reader;
static struct rec_medium medium;
static struct execpoint now;
static u64 digest, inputs, input_bytes, epochs;

static void say(const char *fmt, ...) printf_like(1, 2);

static void die(const char *what)
{
	fprintf(stderr, "fake-qemu: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vdprintf(control, fmt, ap) < 0)
		die("control");
	va_end(ap);
}

static bool is(const char *word)
{
	return !strcmp(fault, word);
}

static void out(const void *data, size_t size)
{
	const u8 *p = data;

	while (size) {
		ssize_t n = write(console, p, size);

		if (n <= 0)
			die("console");
		p += n;
		size -= (size_t)n;
	}
}

/* ---- the bundle and the arguments ---- */

static void dump(const char *name, const void *data, size_t size)
{
	char path[4096];
	FILE *f;

	if (!getenv("FAKE_DUMP"))
		return;
	snprintf(path, sizeof(path), "%s/%s", getenv("FAKE_DUMP"), name);
	f = fopen(path, "wb");
	if (!f || fwrite(data, 1, size, f) != size || fclose(f))
		die(path);
}

static void load_bundle(const char *path)
{
	static const char *const names[] = { "machine.conf", "session.conf", "kernel", "initrd" };
	int fd = open(path, O_RDONLY);
	struct stat st;
	const u8 *data;
	size_t size;
	u8 *cpio;

	if (fd < 0 || fstat(fd, &st) || !(cpio = malloc((size_t)st.st_size)) ||
	    read(fd, cpio, (size_t)st.st_size) != st.st_size)
		die(path);
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (bundle_find(cpio, (size_t)st.st_size, names[i], &data, &size))
			continue;
		dump(names[i], data, size);
		if (i == 1 && size < sizeof(session)) {
			memcpy(session, data, size);
			session_size = size;
		}
	}
	close(fd);
}

static int number_behind(const char *s, const char *key)
{
	const char *at = strstr(s, key);

	return at ? atoi(at + strlen(key)) : -1;
}

static void arguments(int argc, char **argv)
{
	char path[256];
	FILE *f = NULL;

	if (getenv("FAKE_DUMP")) {
		snprintf(path, sizeof(path), "%s/argv", getenv("FAKE_DUMP"));
		f = fopen(path, "w");
	}
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (f)
			fprintf(f, "%s\n", argv[i]);
		if (!strcmp(argv[i], "--version")) {
			puts("QEMU emulator version 7.2.22 (fake)");
			exit(0);
		} else if (!strcmp(argv[i], "-accel") && !strcmp(value, "help")) {
			puts("Accelerators supported in QEMU binary:\ntcg");
			exit(0);
		} else if (!strcmp(argv[i], "-initrd")) {
			load_bundle(value);
		} else if (!strcmp(argv[i], "-chardev") && strstr(value, "id=console")) {
			console = number_behind(value, "fd=");
		} else if (!strcmp(argv[i], "-chardev") && strstr(value, "id=control")) {
			control = number_behind(value, "fd=");
		} else if (!strcmp(argv[i], "-chardev") && strstr(value, "id=gdb")) {
			gdb = number_behind(value, "fd=");
		} else if (!strcmp(argv[i], "-drive") && strstr(value, ",id=rec")) {
			snprintf(path, sizeof(path), "%s", value + strlen("file="));
			path[strcspn(path, ",")] = 0;
			disk = open(path, strstr(value, "readonly=on") ? O_RDONLY : O_RDWR);
			if (disk < 0)
				die(path);
		}
	}
	if (f)
		fclose(f);
}

/* ---- the run ---- */

static void tell_pair(const char *role, const char *reason)
{
	say("ft role=%s state=\"a fake\" term=7 protected=1 held_bytes=0 some_new_key=5 reason=\"%s\"\n", role, reason);
}

static noreturn_fn void finish(const char *outcome, u32 guest_exit, const char *reason)
{
	static const char *const names[] = {
		"", "poweroff", "debug-exit", "reset", "triple-fault", "stuck", "unhandled", "limit", "diverged",
		"recording-end", "quit", "host-failed",
	};
	struct rec_end end = {
		.guest_exit = guest_exit, .insns = now.count, .vtime_ns = now.vtime_ns, .exits = 1234,
		.inputs = inputs, .input_bytes = input_bytes, .digest = digest,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(names[i], outcome))
			end.outcome = (enum vm_outcome)i;
	snprintf(end.reason, sizeof(end.reason), "%s", reason);
	if (recording && rec_put_end(&writer, &end, 1))
		die("recording");
	for (unsigned long i = 0; recording && (is("commit") || is("half")) && i <= MAX(fault_n, 1UL); i++) {
		dump("committing", "", 0);
		say("commit disk=0 done=%lu all=%lu\n", i * 8, MAX(fault_n, 1UL) * 8);
		if (is("half"))
			raise(SIGKILL);
		usleep(60000);
	}
	if (paired)
		tell_pair("lost", is("lost") ? "the other is live" : ""); /* as the hypervisor's last words are */
	if (is("remark"))
		say("remark disk 0: 7 writes failed\n");
	say("stat exits.total 1234\n");
	say("end outcome=%s guest_exit=%u insns=%lu vtime_ns=%lu exits=1234 inputs=%lu input_bytes=%lu digest=%016lx "
	    "reason=\"%s\"\n", outcome, guest_exit, now.count, now.vtime_ns, inputs, input_bytes, digest, reason);
	exit(1); /* isa-debug-exit cannot say 0 */
}

static noreturn_fn void end_of_input(void)
{
	if (is("exit"))
		finish("debug-exit", (u32)fault_n, "");
	if (is("triple"))
		say("state rip 0000000000001000\n");
	finish(is("reset") ? "reset" : is("triple") ? "triple-fault" : is("stuck") ? "stuck" : is("unhandled") ? "unhandled" :
	       is("limit") ? "limit" : is("lost") ? "quit" : "poweroff", 0, is("unhandled") ? "rdmsr of 123h at 1000h" : "");
}

static void enter(const u8 *data, u32 size)
{
	now.count += 1000 * size;
	now.vtime_ns += 1000 * size + 500;
	digest = XXH64(data, size, digest);
	out(data, size);
	inputs++;
	input_bytes += size;
	now.sequence++;
	if (is("kill") && input_bytes >= fault_n)
		raise(SIGKILL);
}

static void record_input(const u8 *data, u32 size)
{
	const struct input in = { INPUT_CONSOLE, 0, data, size };

	if (recording && rec_put_input(&writer, 0, &now, &in))
		die("recording");
	enter(data, size);
	if (recording && (rec_put_digest(&writer, 0, &now, digest) || rec_commit(&writer, false)))
		die("recording");
}

static noreturn_fn void live(void)
{
	static char line[256];
	size_t fill = 0;
	bool eof = false;
	u8 bytes[64];

	for (;;) {
		struct pollfd fds[] = {
			{ .fd = is("deaf") ? -1 : console, .events = POLLIN },
			{ .fd = control, .events = POLLIN },
		};
		ssize_t n;

		if (poll(fds, 2, eof ? 50 : -1) == 0 && eof)
			end_of_input(); /* the port is drained */
		if (fds[0].revents) {
			n = read(console, bytes, sizeof(bytes));
			if (n <= 0)
				exit(1);
			record_input(bytes, (u32)n);
		}
		if (fds[1].revents) {
			n = read(control, line + fill, sizeof(line) - fill - 1);
			if (n <= 0)
				exit(1);
			fill += (size_t)n;
			line[fill] = 0;
			dump("control", line, fill);
			if (strstr(line, "quit\n"))
				finish("quit", 0, "");
			if (strstr(line, "eof\n") && !is("wait"))
				eof = true;
		}
	}
}

static noreturn_fn void replay(void)
{
	struct rec_event ev;
	err_t e;

	while (!(e = rec_next_event(&reader, &ev))) {
		say("progress insns=%lu vtime_ns=%lu\n", now.count, now.vtime_ns);
		if (ev.kind == REC_INPUT) {
			if (is("early") && input_bytes >= fault_n)
				finish("poweroff", 0, "");
			if (execpoint_cmp(&ev.at, &now)) {
				say("diverged epoch=0 insns=%lu what=\"an input's point was passed\"\n", now.count);
				finish("diverged", 0, "");
			}
			enter(ev.input.data, ev.input.size);
		}
		if (ev.kind != REC_DIGEST)
			continue;
		epochs++;
		if (ev.digest != digest || (is("diverge") && epochs == fault_n)) {
			say("diverged epoch=%lu insns=%lu expected=%016lx got=%016lx\n", epochs, now.count, ev.digest, ~digest);
			finish("diverged", 0, "");
		}
	}
	if (e == ERR_END && reader.stop == REC_STOP_COMPLETE) {
		if (reader.ends[0].outcome == VM_DEBUG_EXIT)
			finish("debug-exit", reader.ends[0].guest_exit, "");
		finish(reader.ends[0].outcome == VM_QUIT ? "quit" : "poweroff", 0, "");
	}
	finish("recording-end", 0, "");
}

/* ---- debug: GDB's remote protocol, as much as gdb insists on ---- */

struct stub {
	char packet[4096];
	size_t fill;
	bool inside, no_ack;
	unsigned sum_digits;
	u64 rip, heard;
	FILE *log;
};

static void gdb_out(const void *data, size_t size)
{
	const u8 *p = data;

	while (size) {
		ssize_t n = write(gdb, p, size);

		if (n <= 0)
			die("gdb");
		p += n;
		size -= (size_t)n;
	}
}

static void reply(const char *text)
{
	u8 sum = 0;

	for (const char *p = text; *p; p++)
		sum += (u8)*p;
	gdb_out("$", 1);
	gdb_out(text, strlen(text));
	dprintf(gdb, "#%02x", sum);
}

static void reply_registers(const struct stub *s)
{
	char text[400] = "";

	/* rax to r15, rip, eflags and six selectors; of the others nothing is known. */
	for (unsigned i = 0; i < 16; i++)
		strcat(text, "0000000000000000");
	sprintf(text + strlen(text), "%016lx", __builtin_bswap64(s->rip));
	for (unsigned i = 0; i < 7; i++)
		strcat(text, "00000000");
	reply(text);
}

static void reply_memory(const char *request)
{
	char text[2048] = "";
	unsigned long size = strtoul(strchr(request, ',') + 1, NULL, 16);

	memset(text, '0', MIN(2 * size, sizeof(text) - 1));
	reply(text);
}

static void monitor(struct stub *s, const char *hex)
{
	char text[256] = "", answer[600] = "O";
	unsigned byte;

	for (size_t i = 0; i < 255 && sscanf(hex + 2 * i, "%2x", &byte) == 1; i++)
		text[i] = (char)byte;
	fprintf(s->log, "<monitor %s>", text);
	if (!strncmp(text, "goto ", 5))
		s->rip = strtoul(text + 5, NULL, 16);
	for (size_t i = 0; text[i]; i++)
		sprintf(answer + 1 + 2 * i, "%02x", (u8)text[i]);
	strcat(answer, "0a");
	reply(answer);
	reply("OK");
}

static void packet(struct stub *s, const char *p)
{
	static const char features[] = "qXfer:features:read:target.xml:";
	bool moves = !strcmp(p, "bs") || !strcmp(p, "bc") || !strcmp(p, "s");

	s->rip = !strcmp(p, "bs") ? s->rip - 1 : !strcmp(p, "bc") ? 0x1000 : !strcmp(p, "s") ? s->rip + 1 : s->rip;
	if (moves || !strcmp(p, "?"))
		reply("S05");
	else if (!strncmp(p, "qSupported", 10))
		reply("PacketSize=1000;qXfer:features:read+;ReverseStep+;ReverseContinue+;QStartNoAckMode+");
	else if (!strncmp(p, features, sizeof(features) - 1))
		reply("l<target><architecture>i386:x86-64</architecture></target>");
	else if (!strcmp(p, "g"))
		reply_registers(s);
	else if (p[0] == 'm')
		reply_memory(p);
	else if (!strncmp(p, "qRcmd,", 6))
		monitor(s, p + 6);
	else if (!strcmp(p, "qAttached"))
		reply("1");
	else if (!strcmp(p, "QStartNoAckMode") || p[0] == 'H' || p[0] == 'D')
		reply("OK");
	else if (strcmp(p, "c") && strcmp(p, "k"))
		reply("");
	s->no_ack |= !strcmp(p, "QStartNoAckMode");
}

static void stub_byte(struct stub *s, char c)
{
	if (c == 3 && !s->inside) {
		reply("S02");
	} else if (c == '$') {
		s->inside = true;
		s->fill = s->sum_digits = 0;
	} else if (s->inside && c == '#') {
		s->sum_digits = 1;
	} else if (s->inside && s->sum_digits == 2) {
		s->packet[s->fill] = 0;
		s->inside = false;
		if (!s->no_ack)
			gdb_out("+", 1);
		packet(s, s->packet);
	} else if (s->inside && s->sum_digits) {
		s->sum_digits++;
	} else if (s->inside && s->fill < sizeof(s->packet) - 1) {
		s->packet[s->fill++] = c;
	}
}

static bool stub_hear(struct stub *s)
{
	u8 bytes[4096];
	ssize_t n = read(gdb, bytes, sizeof(bytes));

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0)
		exit(1);
	fwrite(bytes, 1, (size_t)n, s->log);
	fflush(s->log);
	s->heard += (u64)n;
	if (is("kill") && s->heard >= fault_n)
		raise(SIGKILL);
	if (is("echo"))
		gdb_out(bytes, (size_t)n);
	else
		for (ssize_t i = 0; i < n; i++)
			stub_byte(s, (char)bytes[i]);
	return true;
}

/* Empties the port, talks to the one that has gone, forgets it. */
static void forget(struct stub *s)
{
	struct pollfd port = { .fd = gdb, .events = POLLIN };

	while (poll(&port, 1, 0) > 0 && stub_hear(s))
		;
	fprintf(s->log, "<detached>");
	fflush(s->log);
	gdb_out("STALE", 5);
	usleep(is("forget") ? (useconds_t)fault_n * 1000 : 0);
	gdb_out("STALE", 5);
	*s = (struct stub){ .rip = s->rip, .heard = s->heard, .log = s->log };
	say("detached\n");
}

static void stub_control(struct stub *s)
{
	static char line[256];
	static size_t fill;
	ssize_t n = read(control, line + fill, sizeof(line) - fill - 1);
	char *end;

	if (n <= 0)
		exit(1);
	fill += (size_t)n;
	line[fill] = 0;
	while ((end = strchr(line, '\n'))) {
		*end = 0;
		if (!strcmp(line, "quit")) {
			fclose(s->log);
			finish("quit", 0, "");
		}
		if (!strcmp(line, "detached"))
			forget(s);
		memmove(line, end + 1, strlen(end + 1) + 1);
		fill = strlen(line);
	}
}

static noreturn_fn void debug(void)
{
	struct stub s = { .rip = 0x2000 };
	const char *lstar = getenv("FAKE_LSTAR");
	struct pollfd fds[] = { { .fd = gdb, .events = POLLIN }, { .fd = control, .events = POLLIN } };
	char path[4096];

	snprintf(path, sizeof(path), "%s/gdb.log", getenv("FAKE_DUMP") ? getenv("FAKE_DUMP") : "/tmp");
	s.log = fopen(path, "w");
	if (!s.log)
		die(path);
	say("progress insns=1000 vtime_ns=1500\n");
	out("guest talk\n", 11);
	if (is("early"))
		finish("recording-end", 0, "");
	if (is("diverge")) {
		say("diverged epoch=1 insns=7000 expected=%016lx got=%016lx\n", 1UL, 2UL);
		finish("diverged", 0, "");
	}
	usleep(is("travel") ? (useconds_t)fault_n * 1000 : 0);
	if (poll(fds, 2, 0) > 0 && fds[0].revents) {
		say("error debugger: it spoke before it was asked\n");
		finish("host-failed", 0, "");
	}
	say("debugging insns=13000 vtime_ns=13500 rip=0x2000 cr3=0x1000 lstar=0x%s bits=64 end=1\n", lstar ? lstar : "0");
	for (;;) {
		poll(fds, 2, -1);
		if (fds[0].revents)
			stub_hear(&s);
		if (fds[1].revents)
			stub_control(&s);
	}
}

static u64 conf(const char *key)
{
	return conf_u64(session, session_size, key, 0);
}

static void open_recording(void)
{
	char mode[16];

	if (!conf_get(session, session_size, "mode", mode, sizeof(mode)))
		die("no mode");
	recording = !strcmp(mode, "record");
	replaying = !strcmp(mode, "replay");
	debugging = !strcmp(mode, "debug");
	if (!strcmp(mode, "ft")) {
		paired = true;
		recording = conf("ft_recording");
		tell_pair("solo", "");
		say("arbiter n=1 op=swap expected=%0128d desired=%0128d\n", 1, 2); /* the word is all zeros: refused */
	}
	if (!recording && !replaying && !debugging)
		return;
	medium = fd_medium(&disk, (u64)lseek(disk, 0, SEEK_END));
	if (recording) {
		static const char host[] = "counter=icount\nhost_probe=00000000000000aa\nbuild=fake\n";

		if (rec_writer_open(&writer, &medium, conf("append_offset"), conf("append_chain")) ||
		    rec_put_chunk(&writer, REC_HOST, host, sizeof(host) - 1))
			die("recording");
	} else if (rec_reader_open_at(&reader, &medium, conf("run_offset"), conf("run_chain"))) {
		die("recording");
	}
}

int main(int argc, char **argv)
{
	struct timeval now;
	struct tm tm;
	char word[64];
	static char named[64];

	if (getenv("FAKE")) {
		snprintf(named, sizeof(named), "%s", getenv("FAKE"));
		if (strchr(named, '=')) {
			fault_n = strtoul(strchr(named, '=') + 1, NULL, 10);
			*strchr(named, '=') = 0;
		}
		fault = named;
	}
	arguments(argc, argv);
	gettimeofday(&now, NULL); /* tools/steady.c's, if it was loaded: it begins in 1970 */
	dump("clock", now.tv_sec < 1000 ? "steady" : "host", now.tv_sec < 1000 ? 6 : 4);
	gmtime_r(&now.tv_sec, &tm);
	dump("rtc", tm.tm_wday == 98 ? "milliseconds" : "seconds", tm.tm_wday == 98 ? 12 : 7);
	snprintf(word, sizeof(word), "%d", (int)getpid());
	dump("pid", word, strlen(word));
	if (is("die")) {
		fprintf(stderr, "qemu-system-x86_64: some warning\nqemu-system-x86_64: could not set up something\n");
		return 1;
	}
	if (is("port")) {
		fprintf(stderr, "qemu-system-x86_64: -netdev user,id=net0,hostfwd=tcp::8080-:80: Could not set up host "
				"forwarding rule 'tcp::8080-:80'\n");
		return 1;
	}
	/* Never found out by reading it from stdin: that is not ours. */
	if (console < 0 || control < 0)
		die("no serial ports");
	open_recording();
	say("# fake talk\n");
	if (is("panic")) {
		say("# panic: something broke\n#     somewhere+0x10\n");
		return 127;
	}
	if (is("hang"))
		for (;;)
			pause();
	say("ready selftest=ok counter=icount host_probe=%s boot_insns=1000\n",
	    is("probe") ? "00000000000000bb" : "00000000000000aa");
	if (is("mute"))
		for (;;)
			pause();
	if (is("error")) {
		say("error recording disk: write failed at sector 7; check the disk\n");
		finish("host-failed", 0, "");
	}
	if (is("gone"))
		return 3;
	if (is("flood")) {
		static char block[1024];

		memset(block, 'x', sizeof(block));
		block[1023] = '\n';
		for (unsigned long i = 0; i < fault_n; i++)
			out(block, sizeof(block));
		finish("poweroff", 0, "");
	}
	if (!recording && !replaying && strstr(session, "mode=selftest"))
		finish("poweroff", 0, "");
	if (replaying)
		replay();
	if (debugging)
		debug();
	live();
}
