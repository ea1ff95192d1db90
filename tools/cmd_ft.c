/*
 * cmd_ft.c - `reprise ft primary` and `reprise ft secondary`: one host of a pair.
 *
 * It runs the machine as `run` does, with three things more: the link's adapter [ftlink.h], the
 * arbiter [ftarbiter.h], and a socket that says how it is [ftstatus.h].  What the pair does is the
 * hypervisor's; its `ft` lines are shown, never judged.
 */
#include <sys/random.h>
#include <unistd.h>

#include "kernel/xxh.h"
#include "tools/cmd_ft.h"
#include "tools/cmd_run.h"
#include "tools/ftarbiter.h"
#include "tools/ftlink.h"
#include "tools/ftstatus.h"

struct host {
	struct arbiter arbiter;
	struct ftlink link;
	struct qemu_unit unit[QEMU_MAX_UNITS];
	unsigned nunits;
	struct ftstatus status;
	struct buf head;         /* the status' own lines */
	const char *started_as;
	u64 pair_id;
	bool quiet;
	char role[16], reason[512]; /* as last said */
};

/* ---- beside the machine ---- */

/* Its machine is over, and nothing is wrong: the closing line says how it ended. */
static bool ended(const struct host *h)
{
	return !strcmp(h->role, "lost") && !h->reason[0];
}

/* A change of role is worth a line to whoever watches this terminal. */
static void remark_role(struct host *h, const char *pairs)
{
	char role[sizeof(h->role)], term[24];

	control_get(pairs, "role", role, sizeof(role));
	control_get(pairs, "reason", h->reason, sizeof(h->reason));
	if (!strcmp(role, h->role))
		return;
	strcpy(h->role, role);
	control_get(pairs, "term", term, sizeof(term));
	if (!h->quiet && !ended(h))
		remark("ft: %s, term %s%s%s", role, term, h->reason[0] ? ": " : "", h->reason);
}

static bool on_line(void *ctx, const char *line, struct buf *answers)
{
	struct host *h = ctx;

	if (arbiter_line(&h->arbiter, line, answers))
		return true;
	if (strncmp(line, "ft ", 3))
		return false;
	ftstatus_set(&h->status, &h->head, line + 3);
	remark_role(h, line + 3);
	return true;
}

static unsigned watch(void *ctx, struct pollfd fds[SIDE_NFDS])
{
	const struct host *h = ctx;

	return ftstatus_watch(&h->status, fds);
}

static void turn(void *ctx, const struct pollfd *fds, unsigned nfds)
{
	struct host *h = ctx;

	ftstatus_turn(&h->status, fds, nfds);
}

static void started(void *ctx, pid_t qemu)
{
	struct host *h = ctx;
	char pairs[64];

	buf_printf(&h->head, "side: %c\npid: %d\nqemu_pid: %d\npair: " ID_FMT "\nhere: %s\npeer: %s\narbiter: %s\n", h->link.side,
		   (int)getpid(), (int)qemu, (unsigned long long)h->pair_id, h->link.here, h->link.peer,
		   arbiter_kind_name(&h->arbiter));
	snprintf(pairs, sizeof(pairs), "role=waiting state=\"starting as %s\"", h->started_as);
	ftstatus_set(&h->status, &h->head, pairs);
}

static const struct session_side side = { .line = on_line, .watch = watch, .turn = turn, .started = started };

/* ---- one host ---- */

/* What a recording's HEAD says of a machine that came from elsewhere [docs/RECORDING.md 4]. */
#define BEGINS "begins="

/* kernel=, initrd=, initrd_from=, disk0= ...: where a file was, and how it was made; and of the recording, not the machine. */
static bool says_where(const char *line, size_t size)
{
	static const char *const keys[] = { "kernel=", "initrd=", "initrd_from=", BEGINS };

	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		if (size > strlen(keys[i]) && !memcmp(line, keys[i], strlen(keys[i])))
			return true;
	return size > 6 && !memcmp(line, "disk", 4) && line[4] >= '0' && line[4] <= '9' && line[5] == '=';
}

/* The same on both hosts: the machine's description without where its files lie, and the pair's name. */
static u64 pair_id(const struct buf *head, const char *name)
{
	const char *at = (const char *)head->data, *end = at + head->size;
	struct buf same = { 0 };
	u64 id;

	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t size = newline ? (size_t)(newline + 1 - at) : (size_t)(end - at);

		if (!says_where(at, size))
			buf_add(&same, at, size);
		at += size;
	}
	id = XXH64(same.data, same.size, name ? XXH64(name, strlen(name), 0) : 0);
	buf_free(&same);
	return id ? id : 1;
}

static void describe(struct buf *conf, const struct host *h, const struct options *o)
{
	u64 random;

	buf_printf(conf, "mode=ft\nft_role=%s\nft_link_mac=%s\nft_heartbeat_ms=%llu\nft_detect_ms=%llu\nft_pair_id=0x" ID_FMT
		   "\nft_arbiter=%s\nft_policy=%s\n", h->started_as, ftlink_mac(&h->link), (unsigned long long)o->heartbeat_ms,
		   (unsigned long long)o->detect_ms, (unsigned long long)h->pair_id, arbiter_kind_name(&h->arbiter), o->on_mismatch);
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		random = (u64)getpid() << 32 ^ host_ms();
	buf_printf(conf, "random=0x" ID_FMT "\nft_link_bytes=%u\n", (unsigned long long)random, h->link.datagram_bytes);
	if (o->output)
		buf_printf(conf, "ft_recording=1\n");
}

static enum status run_host(struct host *h, const struct options *o, const struct machine *m)
{
	struct session s = { .o = o, .side = &side, .side_ctx = h };
	struct buf conf = { 0 };
	enum status st;

	h->pair_id = pair_id(&m->head, o->pair);
	describe(&conf, h, o);
	if (h->arbiter.kind == ARBITER_SCSI)
		h->unit[h->nunits++] = h->arbiter.unit;
	st = disks_plug_shared(&m->disks, h->link.side, h->unit, &h->nunits, &conf);
	s.pair = (struct qemu_pair){ .link_fd = h->link.fd, .link_mac = ftlink_mac(&h->link), .unit = h->unit, .nunits = h->nunits };
	if (!st)
		st = run_machine(&s, m, &conf, o->output, true);
	buf_free(&conf);
	if (!st && !strcmp(h->role, "lost") && !ended(h))
		st = complain(ST_HOST, "ft: this host is out: %s; 'reprise ft secondary' makes it the other's partner again", h->reason);
	return st;
}

static enum status command(int argc, char **argv, const char *started_as)
{
	struct host h = { .started_as = started_as };
	struct options o;
	struct machine m;
	enum status st = options_parse(&o, OPT_VM | OPT_LIMITS | OPT_CONSOLE | OPT_RUN | OPT_RECORD | OPT_OUTPUT | OPT_PAIR, argc, argv);

	if (!st && o.noperands)
		st = complain(ST_USAGE, "%s: not an option; the kernel is given with --kernel, see 'reprise help %s'", o.operands[0],
			      argv[0]);
	if (st)
		return st;
	h.quiet = o.quiet;
	st = machine_from_options(&m, &o, true);
	if (st)
		return st;
	if (o.output && !strcmp(started_as, "secondary"))
		buf_printf(&m.head, BEGINS "checkpoint\n");
	st = ftlink_open(&h.link, o.peer, o.link_listen, o.side);
	if (!st)
		st = arbiter_open(&h.arbiter, o.arbiter, h.link.side);
	if (!st)
		st = ftstatus_open(&h.status, o.status);
	if (!st) {
		st = run_host(&h, &o, &m);
		ftstatus_close(&h.status);
	}
	if (h.link.fd >= 0)
		close(h.link.fd);
	buf_free(&h.head);
	machine_free(&m);
	return st;
}

static enum status primary(int argc, char **argv)
{
	return command(argc, argv, "primary");
}

static enum status secondary(int argc, char **argv)
{
	return command(argc, argv, "secondary");
}

static enum status no_part(int argc, char **argv)
{
	return argc < 2 ? complain(ST_USAGE, "ft: primary, secondary, status or demo; see 'reprise help ft'") :
			  complain(ST_USAGE, "ft %s: no such command; primary, secondary, status or demo, see 'reprise help ft'", argv[1]);
}

#define HELP_HOST \
	HELP_PAIR "\n" \
	"  -o, --output FILE   keep a recording of what this host runs; --force even if it exists\n\n" \
	HELP_VM "\n" HELP_LIMITS HELP_RUN "\n" HELP_CONSOLE

static const struct command cmd_ft_primary = {
	.name = "primary",
	.title = "ft primary",
	.summary = "start a machine that another host protects",
	.help = "reprise ft primary --peer HOST:PORT --arbiter URL --kernel FILE [OPTIONS]\n\n"
		"Runs a machine as 'reprise run' does, and ships what enters it to a second host that runs\n"
		"the same in step: 'reprise ft secondary' with the same options for the machine.  What the\n"
		"machine says to the world leaves when the second host has what is needed to say it too.\n"
		"Should this host die, the second goes on with it, and the world need not notice.\n\n"
		HELP_HOST "\n"
		"  reprise ft primary --peer 10.0.0.2:7000 --arbiter iscsi://10.0.0.9/iqn.2026-01.lab:store/1 \\\n"
		"      --kernel vmlinuz --initrd initrd.cpio --append console=ttyS0 --net tap=tap0\n",
	.run = primary,
};

static const struct command cmd_ft_secondary = {
	.name = "secondary",
	.title = "ft secondary",
	.summary = "protect a machine of another host",
	.help = "reprise ft secondary --peer HOST:PORT --arbiter URL --kernel FILE [OPTIONS]\n\n"
		"Takes a copy of the machine that runs on the other host, runs it in step, silently, and\n"
		"goes on with it when the other host dies.  A host that was lost, or is new, joins so at any\n"
		"time.  The options for the machine are the primary's; the hosts compare.\n\n"
		HELP_HOST "\n"
		"  reprise ft secondary --peer 10.0.0.1:7000 --arbiter iscsi://10.0.0.9/iqn.2026-01.lab:store/1 \\\n"
		"      --kernel vmlinuz --initrd initrd.cpio --append console=ttyS0 --net tap=tap0\n",
	.run = secondary,
};

static const struct command *const parts[] = { &cmd_ft_primary, &cmd_ft_secondary, &cmd_ft_status, &cmd_ft_demo, NULL };

const struct command cmd_ft = {
	.name = "ft",
	.summary = "two hosts, one machine: it survives the death of one",
	.help = "reprise ft primary|secondary|status|demo ...\n\n"
		"  primary    start a machine that another host protects\n"
		"  secondary  protect a machine of another host, and go on with it when that dies\n"
		"  status     how a pair is\n"
		"  demo       both hosts on this machine, a client that counts, and a kill -9\n\n"
		"'reprise help ft demo' and so on say more.\n\n"
		"  reprise ft demo\n",
	.run = no_part,
	.parts = parts,
};
