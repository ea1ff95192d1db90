/*
 * options.c - the command line.  See options.h.
 */
#include <getopt.h>
#include <stdlib.h>

#include "tools/options.h"

enum id {
	O_KERNEL = 256, O_INITRD, O_ROOT, O_APPEND, O_MEM, O_SMP, O_SEED, O_RTC, O_POLL, O_EPOCH, O_DISK, O_DISK_AT, O_BIOS, O_NET, O_RNG, O_VIRTIO_CONSOLE,
	O_LIMIT_INSNS, O_LIMIT_VTIME, O_TIMEOUT, O_SYNC, O_PACK, O_FORCE, O_PERTURB, O_PLANT, O_BISECT, O_FROM, O_UNTIL,
	O_NO_EOF, O_STATS, O_JSON, O_BUNDLE,
	O_CHECKPOINTS, O_CHECKPOINT_EVERY, O_LIVE_GDB, O_GDB_WAIT, O_JITTER, O_COUNT, O_AT, O_LISTEN, O_GDB, O_SYMBOLS, O_MODULES, O_TIMELINE, O_CONSOLE, O_PANIC, O_PCAP,
	O_PEER, O_LINK_LISTEN, O_ARBITER, O_HEARTBEAT, O_DETECT, O_STATUS, O_PAIR, O_MISMATCH, O_SIDE, O_FOLLOW,
	O_KILL, O_SECONDS, O_PATIENCE, O_KEEP, O_CLIENT, O_RATE, O_ALONE, O_LOSE, O_DUPLICATE, O_REORDER, O_VM, O_SHARE, O_PLAIN,
	O_OUTPUT = 'o', O_VERBOSE = 'v', O_QUIET = 'q',
};

static const struct {
	unsigned groups;
	struct option option;
} table[] = {
	{ OPT_VM | OPT_IMAGES | OPT_DEMO, { "kernel", required_argument, NULL, O_KERNEL } },
	{ OPT_VM | OPT_IMAGES | OPT_DEMO, { "initrd", required_argument, NULL, O_INITRD } },
	{ OPT_VM | OPT_IMAGES, { "root", required_argument, NULL, O_ROOT } },
	{ OPT_VM | OPT_DEMO, { "append", required_argument, NULL, O_APPEND } },
	{ OPT_VM | OPT_DEMO, { "mem", required_argument, NULL, O_MEM } },
	{ OPT_VM, { "smp", required_argument, NULL, O_SMP } },
	{ OPT_VM | OPT_FORK | OPT_DEMO, { "seed", required_argument, NULL, O_SEED } },
	{ OPT_VM, { "rtc", required_argument, NULL, O_RTC } },
	{ OPT_VM, { "poll-insns", required_argument, NULL, O_POLL } },
	{ OPT_VM, { "epoch-insns", required_argument, NULL, O_EPOCH } },
	{ OPT_VM, { "disk", required_argument, NULL, O_DISK } },
	{ OPT_VM, { "rng", no_argument, NULL, O_RNG } },
	{ OPT_VM, { "virtio-console", no_argument, NULL, O_VIRTIO_CONSOLE } },
	{ OPT_IMAGES, { "disk", required_argument, NULL, O_DISK_AT } },
	{ OPT_VM, { "bios", no_argument, NULL, O_BIOS } },
	{ OPT_VM, { "net", required_argument, NULL, O_NET } },
	{ OPT_LIMITS, { "limit-insns", required_argument, NULL, O_LIMIT_INSNS } },
	{ OPT_LIMITS, { "limit-vtime", required_argument, NULL, O_LIMIT_VTIME } },
	{ OPT_RUN, { "timeout", required_argument, NULL, O_TIMEOUT } },
	{ OPT_RUN | OPT_DEMO, { "verbose", no_argument, NULL, O_VERBOSE } },
	{ OPT_RUN | OPT_DEMO, { "quiet", no_argument, NULL, O_QUIET } },
	{ OPT_RUN, { "stats", no_argument, NULL, O_STATS } },
	{ OPT_CONSOLE, { "no-eof-char", no_argument, NULL, O_NO_EOF } },
	{ OPT_RECORD, { "sync", no_argument, NULL, O_SYNC } },
	{ OPT_RECORD, { "checkpoints", no_argument, NULL, O_CHECKPOINTS } },
	{ OPT_RECORD, { "checkpoint-every", required_argument, NULL, O_CHECKPOINT_EVERY } },
	{ OPT_RECORD, { "pack", no_argument, NULL, O_PACK } },
	{ OPT_OUTPUT, { "output", required_argument, NULL, O_OUTPUT } },
	{ OPT_OUTPUT | OPT_PCAP, { "force", no_argument, NULL, O_FORCE } },
	{ OPT_REPLAY, { "perturb", required_argument, NULL, O_PERTURB } },
	{ OPT_REPLAY, { "plant", required_argument, NULL, O_PLANT } },
	{ OPT_REPLAY, { "bisect", no_argument, NULL, O_BISECT } },
	{ OPT_REPLAY, { "from", required_argument, NULL, O_FROM } },
	{ OPT_REPLAY, { "until", required_argument, NULL, O_UNTIL } },
	{ OPT_BUNDLE, { "bundle", required_argument, NULL, O_BUNDLE } },
	{ OPT_LIVE_GDB, { "gdb", required_argument, NULL, O_LIVE_GDB } },
	{ OPT_LIVE_GDB, { "gdb-wait", no_argument, NULL, O_GDB_WAIT } },
	{ OPT_FORK, { "jitter", required_argument, NULL, O_JITTER } },
	{ OPT_FORK | OPT_DEMO, { "count", required_argument, NULL, O_COUNT } },
	{ OPT_DEBUG | OPT_FORK | OPT_BT, { "at", required_argument, NULL, O_AT } },
	{ OPT_DEBUG, { "listen", required_argument, NULL, O_LISTEN } },
	{ OPT_DEBUG, { "gdb", required_argument, NULL, O_GDB } },
	{ OPT_DEBUG | OPT_BT, { "symbols", required_argument, NULL, O_SYMBOLS } },
	{ OPT_DEBUG, { "modules", required_argument, NULL, O_MODULES } },
	{ OPT_DEBUG | OPT_LIVE_GDB | OPT_FORK | OPT_BT, { "timeline-mem", required_argument, NULL, O_TIMELINE } },
	{ OPT_DEBUG, { "console", no_argument, NULL, O_CONSOLE } },
	{ OPT_BT, { "panic", required_argument, NULL, O_PANIC } },
	{ OPT_PCAP, { "pcap", required_argument, NULL, O_PCAP } },
	{ OPT_PAIR, { "peer", required_argument, NULL, O_PEER } },
	{ OPT_PAIR, { "listen", required_argument, NULL, O_LINK_LISTEN } },
	{ OPT_PAIR | OPT_DEMO, { "arbiter", required_argument, NULL, O_ARBITER } },
	{ OPT_PAIR | OPT_DEMO, { "heartbeat", required_argument, NULL, O_HEARTBEAT } },
	{ OPT_PAIR | OPT_DEMO, { "detect", required_argument, NULL, O_DETECT } },
	{ OPT_PAIR, { "status", required_argument, NULL, O_STATUS } },
	{ OPT_PAIR, { "pair", required_argument, NULL, O_PAIR } },
	{ OPT_PAIR, { "on-mismatch", required_argument, NULL, O_MISMATCH } },
	{ OPT_PAIR, { "side", required_argument, NULL, O_SIDE } },
	{ OPT_DEMO, { "kill", required_argument, NULL, O_KILL } },
	{ OPT_DEMO, { "seconds", required_argument, NULL, O_SECONDS } },
	{ OPT_DEMO, { "patience", required_argument, NULL, O_PATIENCE } },
	{ OPT_DEMO, { "keep", required_argument, NULL, O_KEEP } },
	{ OPT_DEMO, { "client", required_argument, NULL, O_CLIENT } },
	{ OPT_DEMO, { "rate", required_argument, NULL, O_RATE } },
	{ OPT_DEMO, { "alone", no_argument, NULL, O_ALONE } },
	{ OPT_DEMO, { "plain", no_argument, NULL, O_PLAIN } },
	{ OPT_DEMO, { "lose", required_argument, NULL, O_LOSE } },
	{ OPT_DEMO, { "duplicate", required_argument, NULL, O_DUPLICATE } },
	{ OPT_DEMO, { "reorder", required_argument, NULL, O_REORDER } },
	{ OPT_STATUS, { "follow", no_argument, NULL, O_FOLLOW } },
	{ OPT_SEVERAL, { "vm", required_argument, NULL, O_VM } },
	{ OPT_SEVERAL, { "share", required_argument, NULL, O_SHARE } },
	{ OPT_JSON, { "json", no_argument, NULL, O_JSON } },
};

static enum status bad(const char *name, const char *arg, const char *mend)
{
	return complain(ST_USAGE, "--%s %s: not understood; %s", name, arg, mend);
}

static enum status set_mem(struct options *o, const char *arg)
{
	if (!parse_count(arg, 1024, &o->mem_bytes))
		return bad("mem", arg, "give a size: 64M, 256M, 1G");
	if (!o->mem_bytes || o->mem_bytes % MIB(2))
		return complain(ST_USAGE, "--mem %s: not a multiple of 2M; round it up", arg);
	if (o->mem_bytes > GIB(3))
		return complain(ST_USAGE, "--mem %s: more than this machine model has room for; at most 3G", arg);
	return ST_OK;
}

static enum status set_count(const char *name, const char *arg, u64 *v)
{
	if (parse_count(arg, 1000, v) && *v)
		return ST_OK;
	return bad(name, arg, "give a number above 0, with K, M or G if you like: 500M");
}

static enum status set_number(const char *name, const char *arg, u64 *v)
{
	return parse_count(arg, 1000, v) ? ST_OK : bad(name, arg, "give a number");
}

static enum status set_duration(const char *name, const char *arg, u64 *ns)
{
	if (parse_duration(arg, ns) && *ns)
		return ST_OK;
	return bad(name, arg, "give a time above 0: 500ms, 60s, 2m");
}

/* COUNT:ADDRESS */
static enum status set_plant(struct options *o, const char *arg)
{
	const char *colon = strchr(arg, ':');
	char count[32];
	char *end;

	if (!colon || (size_t)(colon - arg) >= sizeof(count))
		return bad("plant", arg, "give COUNT:ADDRESS, as 5M:0x100000");
	memcpy(count, arg, (size_t)(colon - arg));
	count[colon - arg] = 0;
	o->has_plant = true;
	o->plant_gpa = strtoull(colon + 1, &end, 0);
	if (!colon[1] || *end || !parse_count(count, 1000, &o->plant_at))
		return bad("plant", arg, "give COUNT:ADDRESS, as 5M:0x100000");
	return ST_OK;
}

static enum status set_at(struct options *o, const char *arg)
{
	static const char *const words[] = { "end", "begin", "crash" };

	if (!strcmp(arg, "start"))
		arg = "begin";
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(arg, words[i])) {
			o->at = words[i];
			return ST_OK;
		}
	o->at = NULL;
	return parse_count(arg, 1000, &o->at_insns) ? ST_OK :
	       bad("at", arg, "give end, start, crash, or a number of instructions: 500M");
}

static enum status set_timeline(struct options *o, const char *arg)
{
	if (!parse_count(arg, 1024, &o->timeline_bytes) || !o->timeline_bytes || o->timeline_bytes > GIB(1024))
		return bad("timeline-mem", arg, "give a size: 256M, 768M, 4G");
	o->timeline_bytes = ALIGN_UP(o->timeline_bytes, MIB(1));
	return ST_OK;
}

static enum status add_disk(struct options *o, const char *arg)
{
	if (o->ndisks == MAX_DISKS)
		return complain(ST_USAGE, "--disk %s: a machine has at most %d disks; leave some out", arg, MAX_DISKS);
	return disk_option_parse(&o->disk[o->ndisks++], arg);
}

/* N=FILE */
static enum status set_disk_at(struct options *o, const char *arg)
{
	if (arg[0] < '0' || arg[0] >= '0' + MAX_DISKS || arg[1] != '=' || !arg[2])
		return bad("disk", arg, "say where a disk of the recording is now: --disk 0=FILE");
	o->disk_at[arg[0] - '0'] = arg + 2;
	return ST_OK;
}

/* A time of whole milliseconds, at most a minute. */
static enum status set_ms(const char *name, const char *arg, u64 *ms)
{
	u64 ns;

	if (!parse_duration(arg, &ns) || ns < 1000000 || ns > 60000000000UL || ns % 1000000)
		return bad(name, arg, "give whole milliseconds, at most a minute: 50ms, 150ms, 1s");
	*ms = ns / 1000000;
	return ST_OK;
}

/* One of words, up to NULL. */
static enum status set_word(const char *name, const char *arg, const char *const *words, const char *mend, const char **v)
{
	for (; *words; words++)
		if (!strcmp(arg, *words)) {
			*v = *words;
			return ST_OK;
		}
	return bad(name, arg, mend);
}

static enum status set_side(struct options *o, const char *arg)
{
	if ((arg[0] != 'a' && arg[0] != 'b') || arg[1])
		return bad("side", arg, "give a for one host and b for the other");
	o->side = arg[0];
	return ST_OK;
}

static enum status set_vm(struct options *o, const char *arg)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

	if (!*arg || strlen(arg) > 16 || arg[strspn(arg, letters)])
		return bad("vm", arg, "give a name of up to 16 letters, digits, . _ -");
	o->vm = arg;
	return ST_OK;
}

static enum status set_share(struct options *o, const char *arg)
{
	if (!parse_count(arg, 1000, &o->share) || !o->share || o->share > 1000)
		return bad("share", arg, "give a number from 1 to 1000; 100 is everybody's");
	return ST_OK;
}

/* One option of the table; name is its long name, for messages. */
static enum status set(struct options *o, int id, const char *name, const char *arg)
{
	enum status st = ST_OK;

	switch ((enum id)id) {
	case O_KERNEL: o->kernel = arg; break;
	case O_INITRD: o->initrd = arg; break;
	case O_ROOT: o->root = arg; break;
	case O_APPEND:
		if (strchr(arg, '\n'))
			return complain(ST_USAGE, "--append: holds a newline; a command line is one line");
		o->append = arg;
		break;
	case O_MEM: return set_mem(o, arg);
	case O_SMP:
		if (!strcmp(arg, "1"))
			break;
		return complain(ST_USAGE, "--smp %s: this version runs one vCPU; give --smp 1, or leave it out", arg);
	case O_SEED: o->has_seed = true; return set_number(name, arg, &o->seed);
	case O_RTC:
		o->rtc_now = !strcmp(arg, "now");
		if (!parse_date(arg, &o->rtc_epoch_s))
			return bad(name, arg, "give now, 2025-01-01, 2025-01-01T12:30:00Z or @SECONDS");
		break;
	case O_POLL: return set_count(name, arg, &o->poll_insns);
	case O_EPOCH: return set_count(name, arg, &o->epoch_insns);
	case O_NET: return net_parse(&o->net, arg);
	case O_DISK: return add_disk(o, arg);
	case O_RNG: o->rng = true; break;
	case O_VIRTIO_CONSOLE: o->virtio_console = true; break;
	case O_DISK_AT: return set_disk_at(o, arg);
	case O_BIOS:
		return complain(ST_USAGE, "--%s: not in this version; boot with --kernel, and --initrd or --root", name);
	case O_LIMIT_INSNS: return set_count(name, arg, &o->limit_insns);
	case O_LIMIT_VTIME: return set_duration(name, arg, &o->limit_vtime_ns);
	case O_TIMEOUT:
		st = set_duration(name, arg, &o->timeout_ms);
		o->timeout_ms = MAX(o->timeout_ms / 1000000, 1UL);
		return st;
	case O_OUTPUT: o->output = arg; break;
	case O_SYNC: o->sync = true; break;
	case O_CHECKPOINTS: o->checkpoint_every = o->checkpoint_every ? o->checkpoint_every : CHECKPOINT_EVERY; break;
	case O_CHECKPOINT_EVERY: return set_count(name, arg, &o->checkpoint_every);
	case O_PACK: o->pack = true; break;
	case O_FORCE: o->force = true; break;
	case O_PERTURB: o->has_perturb = true; return set_number(name, arg, &o->perturb);
	case O_PLANT: return set_plant(o, arg);
	case O_BISECT: o->bisect = true; break;
	case O_FROM: o->has_from = true; return set_number(name, arg, &o->from);
	case O_UNTIL: o->has_until = true; return set_number(name, arg, &o->until);
	case O_NO_EOF: o->no_eof_char = true; break;
	case O_VERBOSE: o->verbose = true; break;
	case O_QUIET: o->quiet = true; break;
	case O_STATS: o->stats = true; break;
	case O_JSON: o->json = true; break;
	case O_BUNDLE: o->bundle = arg; break;
	case O_LIVE_GDB: o->live_gdb = arg; break;
	case O_GDB_WAIT: o->gdb_wait = true; break;
	case O_JITTER: o->has_jitter = true; return parse_duration(arg, &o->jitter_ns) ? ST_OK : bad(name, arg, "give a time: 20us, 1ms, 0");
	case O_COUNT: return set_count(name, arg, &o->count);
	case O_AT: return set_at(o, arg);
	case O_LISTEN: o->listen = arg; break;
	case O_GDB: o->gdb = arg; break;
	case O_SYMBOLS: o->symbols = arg; break;
	case O_MODULES: o->modules = arg; break;
	case O_TIMELINE: return set_timeline(o, arg);
	case O_CONSOLE: o->console = true; break;
	case O_PANIC: o->panic = arg; break;
	case O_PCAP: o->pcap = arg; break;
	case O_PEER: o->peer = arg; break;
	case O_LINK_LISTEN: o->link_listen = arg; break;
	case O_ARBITER: o->arbiter = arg; break;
	case O_HEARTBEAT: return set_ms(name, arg, &o->heartbeat_ms);
	case O_DETECT: return set_ms(name, arg, &o->detect_ms);
	case O_STATUS: o->status = arg; break;
	case O_PAIR: o->pair = arg; break;
	case O_MISMATCH:
		return set_word(name, arg, (const char *const[]){ "reprotect", "stop", NULL }, "give reprotect or stop", &o->on_mismatch);
	case O_SIDE: return set_side(o, arg);
	case O_FOLLOW: o->follow = true; break;
	case O_KILL:
		return set_word(name, arg, (const char *const[]){ "primary", "secondary", "partition", "freeze", "any", "none", NULL },
				"give primary, secondary, partition, freeze, any or none", &o->kill);
	case O_SECONDS: return set_count(name, arg, &o->seconds);
	case O_PATIENCE:
		st = set_duration(name, arg, &o->patience_s);
		o->patience_s = MAX(o->patience_s / 1000000000, 1UL);
		return st;
	case O_KEEP: o->keep = arg; break;
	case O_CLIENT: o->client = arg; break;
	case O_RATE: return set_count(name, arg, &o->rate);
	case O_ALONE: o->alone = true; break;
	case O_PLAIN: o->plain = true; break;
	case O_LOSE: return set_number(name, arg, &o->lose);
	case O_DUPLICATE: return set_number(name, arg, &o->duplicate);
	case O_REORDER: return set_number(name, arg, &o->reorder);
	case O_VM: return set_vm(o, arg);
	case O_SHARE: return set_share(o, arg);
	}
	return st;
}

static enum status check_pair(const struct options *o)
{
	if (!o->peer)
		return complain(ST_USAGE, "--peer: missing; say where the other host is: --peer HOST:PORT");
	if (!o->arbiter)
		return complain(ST_USAGE, "--arbiter: missing; name the store both hosts reach: iscsi://HOST/TARGET/LUN, scsi:DEVICE or file:PATH");
	if (o->checkpoint_every)
		return complain(ST_USAGE, "--checkpoints: not for a pair; leave it out");
	if (o->rtc_now)
		return complain(ST_USAGE, "--rtc now: is another moment on the other host; give both the same date");
	return ST_OK;
}

static enum status check(struct options *o, unsigned groups)
{
	enum status st;

	if (o->share && !o->vm)
		return complain(ST_USAGE, "--share: given without --vm; a machine alone has all there is");
	if (o->vm && (o->live_gdb || o->bundle))
		return complain(ST_USAGE, "--%s: given together with --vm; it is for one machine alone", o->live_gdb ? "gdb" : "bundle");
	if (o->initrd && o->root)
		return complain(ST_USAGE, "--root: given together with --initrd; a guest has one initial RAM disk, choose");
	if (o->gdb_wait && !o->live_gdb)
		return complain(ST_USAGE, "--gdb-wait: given without --gdb; say where gdb is to connect: --gdb 1234");
	if (o->live_gdb && o->checkpoint_every)
		return complain(ST_USAGE, "--checkpoints: given together with --gdb; choose, or record first and debug the recording");
	if (o->modules && !o->symbols)
		return complain(ST_USAGE, "--modules: given without --symbols; the kernel's own say which modules there are");
	if (o->listen && o->gdb)
		return complain(ST_USAGE, "--gdb: given together with --listen, which starts none; choose");
	st = groups & OPT_PAIR ? check_pair(o) : ST_OK;
	if (st)
		return st;
	if (groups & (OPT_PAIR | OPT_DEMO) && o->detect_ms < 2 * o->heartbeat_ms)
		return complain(ST_USAGE, "--detect %llums: less than two heartbeats of %llums, one lost would be a death; give more",
				(unsigned long long)o->detect_ms, (unsigned long long)o->heartbeat_ms);
	if (!(groups & OPT_VM))
		return ST_OK;
	if (!o->kernel)
		return complain(ST_USAGE, "--kernel: missing; say what to boot: --kernel FILE");
	if (o->checkpoint_every % o->poll_insns)
		return complain(ST_USAGE, "--checkpoint-every %llu: not a multiple of --poll-insns %llu; make it one",
				(unsigned long long)o->checkpoint_every, (unsigned long long)o->poll_insns);
	if (o->checkpoint_every && o->epoch_insns == o->poll_insns)
		return complain(ST_USAGE, "--checkpoint-every: no point left for one, every --poll-insns %llu is the end of an epoch; make --epoch-insns longer",
				(unsigned long long)o->poll_insns);
	if (o->epoch_insns % o->poll_insns)
		return complain(ST_USAGE, "--epoch-insns %llu: not a multiple of --poll-insns %llu; make it one",
				(unsigned long long)o->epoch_insns, (unsigned long long)o->poll_insns);
	st = groups & OPT_PAIR ? disk_options_check_pair(o->disk, o->ndisks, o->arbiter) : disk_options_check(o->disk, o->ndisks);
	return st ? st : net_settle(&o->net);
}

/* What getopt is told of the groups' options; how many long ones there are. */
static unsigned tell_getopt(unsigned groups, struct option options[ARRAY_SIZE(table) + 1], char letters[16])
{
	unsigned n = 0;

	memset(options, 0, (ARRAY_SIZE(table) + 1) * sizeof(*options));
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].groups & groups)
			options[n++] = table[i].option;
	strcat(letters, groups & OPT_OUTPUT ? "o:" : "");
	strcat(letters, groups & (OPT_RUN | OPT_DEMO) ? "vq" : "");
	opterr = 0;
	optind = 0;
	return n;
}

/* machine: its number among several; before: the one before it, NULL if there is none. */
static enum status parse(struct options *o, unsigned machine, const struct options *before, unsigned groups, int argc, char **argv)
{
	struct option options[ARRAY_SIZE(table) + 1];
	char letters[16] = ":";
	unsigned n = tell_getopt(groups, options, letters);
	int c, index;

	*o = (struct options){
		.mem_bytes = groups & OPT_DEMO ? MIB(128) : MIB(256), .seed = 1 + machine, .rtc_epoch_s = 1735689600 /* 2025-01-01 */,
		.poll_insns = 1000000, .epoch_insns = 200000000, .append = "", .at = "end", .timeline_bytes = MIB(768),
		.count = 1, .heartbeat_ms = 50, .detect_ms = 150, .on_mismatch = "reprotect",
		.kill = "primary", .seconds = 5, .rate = 50, .net.before = before ? &before->net : NULL,
	};
	while ((index = -1, c = getopt_long(argc, argv, letters, options, &index)) != -1) {
		const char *name = "output";
		enum status st;

		for (unsigned i = 0; i < n; i++)
			if (options[i].val == c)
				name = options[i].name;
		if (c == '?' || c == ':') {
			const char *what = argv[optind - 1];

			if (c == ':')
				return complain(ST_USAGE, "%s: needs a value; see 'reprise help %s'", what, argv[0]);
			return complain(ST_USAGE, "%s: no option of '%s'; see 'reprise help %s'", what, argv[0], argv[0]);
		}
		st = set(o, c, name, optarg);
		if (st)
			return st;
	}
	o->noperands = argc - optind;
	o->operands = argv + optind;
	return check(o, groups);
}

enum status options_parse(struct options *o, unsigned groups, int argc, char **argv)
{
	return parse(o, 0, NULL, groups, argc, argv);
}

/* ---- several machines ---- */

/* Where in argv the --vm stand, up to one more than there may be; behind them argc.  As getopt sees it: a value may be "--vm", too. */
static unsigned find_vms(unsigned groups, int argc, char **argv, int at[MAX_MACHINES + 2])
{
	struct option options[ARRAY_SIZE(table) + 1];
	char letters[16] = "+:";
	unsigned n = 0;
	int c;

	tell_getopt(groups, options, letters);
	while (n <= MAX_MACHINES && (c = getopt_long(argc, argv, letters, options, NULL)) != -1)
		if (c == O_VM)
			at[n++] = optarg == argv[optind - 1] ? optind - 2 : optind - 1;
	at[n] = argc;
	return n;
}

static enum status check_common(const struct options *o, const struct options *first)
{
	const char *what = o->timeout_ms != first->timeout_ms ? "timeout" : o->verbose != first->verbose ? "verbose" :
			   o->quiet != first->quiet ? "quiet" : o->stats != first->stats ? "stats" :
			   o->no_eof_char != first->no_eof_char ? "no-eof-char" : o->sync != first->sync ? "sync" : NULL;

	if (what)
		return complain(ST_USAGE, "--%s: is of all machines together; give it before the first --vm", what);
	for (const struct options *other = first; other != o; other++)
		if (!strcmp(other->vm, o->vm))
			return complain(ST_USAGE, "--vm %s: given twice; give each machine a name of its own", o->vm);
	return ST_OK;
}

/* One that has no operands; o lies behind those before it. */
static enum status parse_machine(struct options *o, unsigned machine, unsigned groups, int argc, char **argv)
{
	enum status st = parse(o, machine, machine ? o - 1 : NULL, groups, argc, argv);

	if (!st && o->noperands)
		st = complain(ST_USAGE, "%s: not an option; the kernel is given with --kernel, see 'reprise help %s'", o->operands[0], argv[0]);
	o->operands = NULL;
	return st;
}

/* The options of one, behind those of the one before it: the command and what is common, up to at[0], and then its own. */
static enum status parse_own(struct options *o, unsigned machine, unsigned groups, char **argv, const int *at)
{
	int common = at[0], from = at[machine], size = at[machine + 1] - from;
	char **own = need(calloc((size_t)(common + size) + 1, sizeof(*own)));
	enum status st;

	memcpy(own, argv, (size_t)common * sizeof(*own));
	memcpy(own + common, argv + from, (size_t)size * sizeof(*own));
	st = parse_machine(o, machine, groups, common + size, own);
	free(own);
	return st;
}

enum status options_parse_several(struct options **o, unsigned *n, unsigned groups, int argc, char **argv)
{
	int at[MAX_MACHINES + 2];
	unsigned nvms = find_vms(groups | OPT_SEVERAL, argc, argv, at);
	enum status st = ST_OK;

	*o = NULL;
	*n = MAX(nvms, 1U);
	if (nvms > MAX_MACHINES)
		return complain(ST_USAGE, "--vm: more than %d machines; leave some out", MAX_MACHINES);
	*o = need(calloc(*n, sizeof(**o)));
	if (!nvms)
		st = parse_machine(*o, 0, groups | OPT_SEVERAL, argc, argv);
	for (unsigned i = 0; i < nvms && !st; i++) {
		st = parse_own(&(*o)[i], i, groups | OPT_SEVERAL, argv, at);
		if (!st)
			st = check_common(&(*o)[i], *o);
	}
	return st;
}
