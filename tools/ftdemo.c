/*
 * ftdemo.c - `reprise ft demo`: sets the stage [ftplay.h], lets the play run, judges.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/cmd_ft.h"
#include "tools/ftnet.h"
#include "tools/ftplay.h"
#include "tools/ftstatus.h"

/* What the guest is told: a server of numbers, and no tests of ciphers that take longer than all the rest. */
#define APPEND "console=ttyS0 cryptomgr.notests workload=echo-server connections=0"
static const u8 guest_mac[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };

/* ---- files ---- */

static enum status find_images(struct play *p, const struct options *o, char kernel[4096], char initrd[4096])
{
	static const char *const kernels[2] = { "../guests/vmlinuz", "../share/reprise/guests/vmlinuz" };
	static const char *const initrds[2] = { "../guests/initrd.cpio", "../share/reprise/guests/initrd.cpio" };

	p->kernel = o->kernel;
	p->initrd = o->initrd;
	if (o->kernel)
		return ST_OK;
	if (!find_beside(kernels, kernel) || !find_beside(initrds, initrd))
		return complain(ST_USAGE, "%s: not there; 'make linux-guest' makes it, or give a guest that runs seqd: --kernel FILE --initrd FILE",
				kernel);
	p->kernel = kernel;
	p->initrd = o->initrd ? o->initrd : initrd;
	return ST_OK;
}

static enum status make_directory(struct play *p, const struct options *o)
{
	char made[3000];

	if (o->keep) {
		p->keeps = true;
		if (mkdir(o->keep, 0777) && errno != EEXIST)
			return complain(ST_USAGE, "--keep %s: %s; give a place that can be written", o->keep, strerror(errno));
		if (!realpath(o->keep, made) || strlen(made) >= sizeof(p->dir) - 100)
			return complain(ST_USAGE, "--keep %s: %s; give another place", o->keep, strerror(errno));
		strcpy(p->dir, made);
		if (rmdir(made) || mkdir(made, 0777))
			return complain(ST_USAGE, "--keep %s: %s; give a new directory, or an empty one", o->keep, strerror(errno));
		return ST_OK;
	}
	snprintf(p->dir, sizeof(p->dir), "%.2900s/reprise-demo-XXXXXX", tmp_dir());
	if (mkdtemp(p->dir))
		return ST_OK;
	return complain(ST_HOST, "%s: %s; set TMPDIR to a directory that can be written", p->dir, strerror(errno));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

static void clean_up(const struct play *p)
{
	/* What is of use is kept by --keep. */
	if (!p->keeps)
		nftw(p->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	for (unsigned h = 0; h < 2; h++)
		unlink(p->host[h].socket);
}

/*
 * A process that cleans up when this one ends, whatever ends it: when nobody has the other end of
 * its socket any more.  Its own end says that it is done.  It is no child of ours.
 */
static noreturn_fn void be_janitor(const struct play *p, int ours)
{
	int null = open("/dev/null", O_RDWR);
	char byte;

	setsid(); /* Ctrl-C is not for it */
	if (fork())
		_exit(0);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd); /* nor is it to keep a reader of ours waiting */
	while (read(ours, &byte, 1) < 0 && errno == EINTR)
		;
	clean_up(p);
	_exit(0);
}

static bool start_janitor(struct play *p)
{
	int ends[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return false;
	pid = fork();
	if (!pid) {
		close(ends[1]);
		be_janitor(p, ends[0]);
	}
	close(ends[0]);
	p->janitor_fd = ends[1];
	return pid > 0 && waitpid(pid, NULL, 0) == pid;
}

static void end_janitor(struct play *p)
{
	char byte;

	shutdown(p->janitor_fd, SHUT_WR);
	while (read(p->janitor_fd, &byte, 1) < 0 && errno == EINTR)
		;
	close(p->janitor_fd);
}

/* ---- the stage ---- */

static void catch_signals(struct play *p)
{
	sigset_t ours;

	sigemptyset(&ours);
	sigaddset(&ours, SIGCHLD);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGHUP);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &ours, &p->before);
	p->signals = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
	/* A host's QEMU, when the host was killed, becomes ours: we see to it that it ends. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

/* Whether the kernel lets us have a network of our own: tried by a child, for there is no way back out of one. */
static bool own_network_allowed(void)
{
	int status = 1;
	pid_t pid = fork();

	if (!pid) {
		_exit(ftnet_enter() != ST_OK); /* with a complaint that says what would help */
	}
	return pid < 0 || (waitpid(pid, &status, 0) == pid && !status);
}

static enum status set_network(struct play *p, const struct options *o)
{
	const char *const taps[2] = { ftnet_tap(0), ftnet_tap(1) };
	char path[4096];
	enum status st;

	snprintf(path, sizeof(path), "%s/wire.pcapng", p->dir);
	p->on_plain = o->plain || !own_network_allowed();
	if (p->on_plain && !o->plain)
		remark("ft demo: so it goes over plain sockets, by way of QEMU's own network");
	if (p->on_plain) {
		st = plain_open(&p->plain, guest_mac, p->keeps ? path : NULL);
		return !st && !play_start_gateway(p) ? ST_HOST : st;
	}
	st = ftnet_enter();
	return st ? st : wire_open(&p->wire, taps, guest_mac, p->keeps ? path : NULL);
}

static enum status set_stage(struct play *p, const struct options *o)
{
	const struct cable_faults faults = {
		.lose = (unsigned)o->lose, .duplicate = (unsigned)o->duplicate, .reorder = (unsigned)o->reorder, .seed = p->random,
	};
	const bool straight = !strcmp(o->kill, "none") && !o->lose && !o->duplicate && !o->reorder;
	const char *address = FTNET_GUEST;
	unsigned port = SERVER_PORT;
	char path[4096];
	enum status st = set_network(p, o);

	if (p->on_plain) {
		address = PLAIN_CLIENT;
		port = p->plain.client_port;
	}
	if (!st)
		st = cable_open(&p->cable, straight ? NULL : &faults);
	if (!st && !o->alone)
		st = store_open(p, o->arbiter || !p->on_plain ? o->arbiter : "file");
	if (!st && p->keeps) {
		snprintf(path, sizeof(path), "%s/timeline", p->dir);
		p->events = fopen(path, "we");
		if (p->events)
			setlinebuf(p->events); /* a client may look */
	}
	if (!st && p->share.any)
		play_tell(p, SHADE_PLAIN, "disk", "shared by both hosts");
	if (o->client) {
		snprintf(path, sizeof(path), "%u", port);
		setenv("REPRISE_GUEST", address, 1);
		setenv("REPRISE_PORT", path, 1);
		setenv("REPRISE_DIR", p->dir, 1);
	}
	client_init(&p->client, address, port, (unsigned)o->rate, (o->patience_s ? o->patience_s : 60) * 1000000000, p->random);
	return st;
}

static void clear_stage(struct play *p)
{
	cable_close(&p->cable);
	wire_close(&p->wire);
	if (p->on_plain)
		plain_close(&p->plain);
	if (p->events)
		fclose(p->events);
	close(p->signals);
	end_janitor(p);
}

/* ---- what came of it ---- */

static void report_ways(const struct play *p)
{
	double s = (double)p->link_ns / 1e9;

	if (p->o->alone)
		return;
	printf("link_bytes: %llu\nlink_seconds: %.3f\nlink_kbit_s: %.2f\n", (unsigned long long)p->link_bytes, s,
	       s > 0 ? (double)p->link_bytes * 8 / 1000 / s : 0);
}

static void report_centiles(const char *what, const u64 *values, unsigned n)
{
	printf("%s_p50: %.1f\n%s_p99: %.1f\n", what, (double)centile(values, n, 50) / 1e6, what, (double)centile(values, n, 99) / 1e6);
}

static void report(const struct play *p)
{
	const struct facts *f = &p->facts;
	u64 pauses[EVENTS_MAX], stood[EVENTS_MAX];

	if (!f->foreign)
		printf("answered: %llu\ncontradicted: %llu\n", (unsigned long long)f->answered, (unsigned long long)f->contradicted);
	report_ways(p);
	if (!f->nevents)
		return;
	printf("events: %u\nalarms: %u\n", f->nevents, f->alarms);
	for (unsigned i = 0; i < f->nevents; i++) {
		pauses[i] = f->event[i].pause_ns;
		stood[i] = f->event[i].join_pause_ns;
	}
	if (!f->foreign) {
		report_centiles("pause_ms", pauses, f->nevents);
		report_centiles("join_client_ms", p->join_pause_ns, f->nevents);
	}
	report_centiles("join_machine_ms", stood, f->nevents);
}

static enum status perform(struct play *p)
{
	char line[160], why[300];
	bool good, came = false;
	enum status st;

	st = set_stage(p, p->o);
	if (!st)
		came = play_run(p);
	play_end(p);
	if (st)
		return st;
	good = judge(&p->facts, line, why);
	report(p);
	if (!good || !came)
		remark("ft demo: %s%s", why[0] ? why : "not all came to pass", p->keeps ? "" : "; --keep DIR keeps what there is to look at");
	printf("%s\n", line);
	return good && came ? ST_OK : ST_HOST;
}

static enum status check(const struct options *o)
{
	if (o->count > EVENTS_MAX)
		return complain(ST_USAGE, "--count %llu: at most %d; run it again for more", (unsigned long long)o->count, EVENTS_MAX);
	if (o->rate > 1000)
		return complain(ST_USAGE, "--rate %llu: at most 1000 requests a second", (unsigned long long)o->rate);
	if (o->lose > 900 || o->duplicate > 1000 || o->reorder > 1000)
		return complain(ST_USAGE, "--lose, --duplicate, --reorder: of a thousand datagrams; at most 900, 1000, 1000");
	if (o->alone && strcmp(o->kill, "none"))
		return complain(ST_USAGE, "--alone: one host without a partner survives nothing; give --kill none with it");
	if (o->arbiter && strcmp(o->arbiter, "tgt") && strcmp(o->arbiter, "file"))
		return complain(ST_USAGE, "--arbiter %s: not understood; give tgt or file", o->arbiter);
	return ST_OK;
}

static enum status run(int argc, char **argv)
{
	struct play *p = need(calloc(1, sizeof(*p)));
	char kernel[4096], initrd[4096];
	struct options o;
	enum status st = options_parse(&o, OPT_DEMO, argc, argv);

	if (!st)
		st = check(&o);
	if (!st)
		st = ftshare_find(&p->share, &o);
	if (p->share.nfiles)
		o.arbiter = "tgt"; /* whatever the default is here */
	if (!st)
		st = find_images(p, &o, kernel, initrd);
	if (!st)
		st = make_directory(p, &o);
	if (st) {
		free(p);
		return st;
	}
	if (!*o.append)
		o.append = APPEND;
	p->o = &o;
	for (unsigned h = 0; h < 2; h++) {
		p->host[h] = (struct demo_host){ .talk_fd = -1, .input_fd = -1 };
		snprintf(p->host[h].socket, sizeof(p->host[h].socket), "%.80s/" STATUS_PREFIX "%d-%c", ftstatus_directory(), (int)getpid(),
			 "ab"[h]);
	}
	p->cable.fd[0] = p->cable.fd[1] = p->wire.fd = p->client.fd = -1;
	p->colours = isatty(STDOUT_FILENO);
	p->start_ns = host_ns();
	p->random = o.has_seed ? o.seed : p->start_ns / 1000 % 1000000;
	if (!start_janitor(p)) {
		st = complain(ST_HOST, "ft demo: a process to clean up: %s; close some programs", strerror(errno));
		clean_up(p);
		free(p);
		return st;
	}
	catch_signals(p);
	if (!o.quiet)
		printf("two hosts on this machine, seed %llu%s%s\n", (unsigned long long)p->random, p->keeps ? "; kept in " : "",
		       p->keeps ? p->dir : "");
	st = perform(p);
	clear_stage(p);
	free(p);
	return st;
}

const struct command cmd_ft_demo = {
	.name = "demo",
	.title = "ft demo",
	.summary = "both hosts on this machine, a client that counts, and a kill -9",
	.help = "reprise ft demo [OPTIONS] [-- OPTIONS FOR BOTH HOSTS]\n\n"
		"Runs both hosts of a pair as two QEMUs on this machine, in a network of their own and on\n"
		"half of its processors each, if there are two, with a Linux guest that answers numbered\n"
		"requests over TCP.  A client sends them, strikes at a random moment, and counts: the\n"
		"connection must go on, and no number be lost or repeated.  All frames are captured: at no\n"
		"time may two hosts act as the machine.  Then the dead host is started again as the new\n"
		"secondary, until the pair is safe again.  The last line is\n\n"
		"  takeovers: 1 pause_ms: N lost: 0 repeated: 0 live_hosts_max: 1\n\n"
		"and the exit status is 0 only if all is as it must be.\n\n"
		"  --kill primary      kill -9 of the live host (the default)\n"
		"         secondary    of the other\n"
		"         partition    the link is cut, both hosts live; one must win\n"
		"         freeze       the live host stands still for 2 to 5 seconds, and goes on\n"
		"         any, none    one of them at random; nothing at all\n"
		"  --count N           so many times, each on a safe pair (default 1, at most 200)\n"
		"  --seconds N         each at a random moment of so many seconds (default 5)\n"
		"  --seed N            of these moments, of what is lost on the link, and of requests\n"
		"  --rate N            requests a second (default 50)\n"
		"  --heartbeat TIME, --detect TIME   of the pair (50ms, 150ms)\n"
		"  --lose N, --duplicate N, --reorder N   of a thousand datagrams on the link\n"
		"  --arbiter tgt|file  the store: Debian's tgt over iSCSI (default, if installed)\n"
		"  --kernel FILE, --initrd FILE, --append STRING, --mem SIZE   another guest\n"
		"                      (default: the one 'make linux-guest' makes, 128M)\n"
		"  --patience TIME     give up a boot, a takeover, a copy after so long (300s, 60s, 300s)\n"
		"  --keep DIR          keep both hosts' recordings, consoles and words, all frames\n"
		"                      (wire.pcapng) and the timeline there\n"
		"  --client COMMAND    a shell's command is the client; the guest is $REPRISE_GUEST:$REPRISE_PORT.\n"
		"                      Lines `lost: N`, `repeated: N`, `pause_ms_max: N` of its output count\n"
		"  --plain             no network namespace, but UDP sockets and QEMU's network in user\n"
		"                      space, and a file as the store; by itself where none is allowed\n"
		"  --alone             with --kill none: one host, no pair, for comparison\n"
		"  -v, --verbose       hosts say more, for --keep\n"
		"  -q, --quiet         no timeline\n\n"
		"What stands behind -- is given to both hosts; %h in it is a or b.  --disk FILE,shared is one\n"
		"disk for both, a unit of the demo's tgt; FILE is written:\n\n"
		"  reprise ft demo\n"
		"  reprise ft demo --kill any --count 10 --keep ./kept\n"
		"  reprise ft demo -- --disk ./data-%h.img,cow\n"
		"  reprise ft demo --arbiter tgt -- --disk ./data.img,shared\n",
	.run = run,
};
