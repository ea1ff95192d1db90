/*
 * cmd_run.c - `reprise run` and `reprise record`: a live machine, kept or not.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "tools/cmd_run.h"
#include "tools/gdbrelay.h"
#include "tools/recmake.h"
#include "tools/session.h"

/* ---- a debugger for it ---- */

static bool on_debugging(void *ctx, struct session *s)
{
	const struct options *o = ctx;
	char address[RELAY_NAME_MAX];

	if (!gdbrelay_open(s->relay, address))
		return false;
	s->relay->remarks = true;
	if (!o->quiet)
		remark("gdb: 'target remote %s'%s", address, o->gdb_wait ? "; nothing runs before it says continue" : "");
	return true;
}

static bool prepare_gdb(struct session *s, struct gdbrelay *relay, const struct options *o, struct buf *conf)
{
	if (!gdbrelay_bind(relay, o->live_gdb))
		return false;
	s->relay = relay;
	s->timeline_bytes = o->timeline_bytes;
	s->on_debugging = on_debugging;
	s->on_debugging_ctx = (void *)(uintptr_t)o;
	buf_printf(conf, "gdb=1\ngdb_wait=%d\ntimeline_mib=%llu\n", o->gdb_wait,
		   (unsigned long long)(o->timeline_bytes / MIB(1)));
	return true;
}

/* `run --gdb` can go backwards, too: it is recorded into a file that nobody keeps. */
static bool scratch_recording(struct options *o, char path[4096])
{
	int fd;

	snprintf(path, 4096, "%s/reprise-run-XXXXXX", tmp_dir());
	fd = mkstemp(path);
	if (fd < 0) {
		remark("%s: %s; set TMPDIR to a directory that can be written", path, strerror(errno));
		return false;
	}
	close(fd);
	o->output = path;
	o->force = true;
	return true;
}

/* ---- all that run a machine ---- */

void recording_remarks(const struct options *o, const struct machine *m)
{
	for (unsigned i = 0; i < m->disks.n && !o->quiet; i++) {
		if (m->disks.disk[i].written)
			remark("%s: will be written when the run is over; a replay needs it as it is now: keep a copy", m->disks.disk[i].path);
		if (o->pack)
			remark("%s: disks are not packed; a replay needs it as it is now", m->disks.disk[i].path);
	}
}

enum status run_machine(struct session *s, const struct machine *m, struct buf *conf, bool recording, bool kept_file)
{
	const struct options *o = s->o;
	enum status st = ST_OK, kept = ST_OK;
	struct gdbrelay relay;
	u64 bytes = 0;

	s->recording_fd = -1;
	s->console = true;
	s->mem_bytes = machine_memory(m);
	if (recording)
		st = machine_not(m, "-o", o->output);
	if (!st && recording && kept_file)
		recording_remarks(o, m);
	if (!st && o->live_gdb && !prepare_gdb(s, &relay, o, conf))
		st = ST_USAGE;
	if (!st)
		st = net_open(&o->net, NULL, s->nic, &s->nnics, conf);
	/* Last: what cannot run leaves no recording behind. */
	if (recording && !st)
		st = recmake_begin(m, o, &s->recording_fd, conf);
	if (st)
		return st;
	disks_plug(&m->disks, "", s->disk, &s->ndisks);
	s->bundle_fd = machine_bundle(m, conf, &s->bundle_bytes);
	if (s->bundle_fd < 0 || !session_run(s))
		st = ST_HOST;
	if (recording) {
		kept = recmake_finish(o, s->recording_fd, s, &bytes);
		close(s->recording_fd);
	}
	if (s->bundle_fd >= 0)
		close(s->bundle_fd);
	if (s->relay)
		gdbrelay_close(&relay);
	if (st)
		return st;
	st = session_close(s, kept_file && bytes ? o->output : NULL, bytes);
	return kept ? kept : st;
}

static enum status run_plainly(const struct options *o, const struct machine *m, bool recording, bool kept_file)
{
	struct session s = { .o = o };
	struct buf conf = { 0 };
	enum status st;

	buf_printf(&conf, "mode=%s\n", recording ? "record" : "run");
	st = run_machine(&s, m, &conf, recording, kept_file);
	buf_free(&conf);
	return st;
}

/* For a boot loader: the machine in one file, to be the hypervisor's module. */
static enum status write_bundle(const struct options *o, const struct machine *m)
{
	static const char mode[] = "mode=run\n";
	struct buf conf = { 0 };
	enum status st = ST_OK;
	char buf[65536];
	ssize_t n = 0;
	u64 size;
	int from, to;

	buf_add(&conf, mode, sizeof(mode) - 1);
	from = machine_bundle(m, &conf, &size);
	buf_free(&conf);
	if (from < 0)
		return ST_HOST;
	to = open(o->bundle, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (to < 0 || lseek(from, 0, SEEK_SET))
		st = complain(ST_USAGE, "%s: %s; give --bundle a place that can be written", o->bundle, strerror(errno));
	while (!st && (n = read(from, buf, sizeof(buf))) > 0)
		if (!write_all(to, buf, (size_t)n))
			st = complain(ST_HOST, "%s: %s; make room on the disk", o->bundle, strerror(errno));
	if (!st && n < 0)
		st = complain(ST_HOST, "%s: %s", o->bundle, strerror(errno));
	close(from);
	if (to >= 0)
		close(to);
	return st;
}

static enum status run_alone(struct options o, bool recording)
{
	char scratch[4096] = "";
	struct machine m;
	enum status st;

	if (recording && !o.output)
		return complain(ST_USAGE, "-o: missing; say where to keep the recording: -o FILE");
	st = machine_from_options(&m, &o, recording);
	if (st)
		return st;
	if (o.bundle)
		st = write_bundle(&o, &m);
	else if (recording || !o.live_gdb)
		st = run_plainly(&o, &m, recording, recording);
	else if (!scratch_recording(&o, scratch))
		st = ST_HOST;
	else
		st = run_plainly(&o, &m, true, false);
	if (scratch[0])
		unlink(scratch);
	machine_free(&m);
	return st;
}

static enum status command(int argc, char **argv, bool recording)
{
	unsigned groups = OPT_VM | OPT_LIMITS | OPT_CONSOLE | OPT_RUN | OPT_LIVE_GDB | (recording ? OPT_RECORD | OPT_OUTPUT : OPT_BUNDLE);
	struct options *all;
	unsigned n;
	enum status st = options_parse_several(&all, &n, groups, argc, argv);

	if (!st)
		st = all->vm ? run_several(all, n, recording) : run_alone(*all, recording);
	free(all);
	return st;
}

static enum status run(int argc, char **argv)
{
	return command(argc, argv, false);
}

static enum status record(int argc, char **argv)
{
	return command(argc, argv, true);
}

const struct command cmd_run = {
	.name = "run",
	.summary = "start a machine on this terminal",
	.help = "reprise run --kernel FILE [OPTIONS]\n\n"
		"Starts a virtual machine with this terminal as its console, and ends when it ends.\n"
		"The same images, seed and input give the same run, instruction for instruction.\n\n"
		HELP_VM "\n" HELP_LIMITS HELP_RUN "\n" HELP_LIVE_GDB "\n" HELP_SEVERAL "\n" HELP_CONSOLE "\n"
		"  --bundle FILE       do not run it: write what a boot loader must give the hypervisor\n"
		"                      as its module, to boot it from a disk or CD ('make iso')\n\n"
		"  reprise run --kernel bzImage --initrd initrd.cpio --net switch=lab --vm web --vm client\n"
		"  reprise run --kernel bzImage --root ./rootfs --append 'console=ttyS0 rdinit=/bin/sh'\n"
		"  echo 'ls; poweroff -f' | reprise run --kernel bzImage --initrd initrd.cpio\n",
	.run = run,
};

const struct command cmd_record = {
	.name = "record",
	.summary = "the same, kept as a recording",
	.help = "reprise record -o FILE --kernel FILE [OPTIONS]\n\n"
		"Runs a machine as 'reprise run' does and writes what is needed to run it again: its\n"
		"description, every input with the instruction at which it came, and digests.  The\n"
		"recording grows as the machine runs; after kill -9 of anything what was written replays.\n\n"
		"  -o, --output FILE   the recording; an existing file is refused\n"
		"  --force             unless this is given\n"
		"  --pack              put kernel and initial RAM disk into it, so that it replays\n"
		"                      on another machine ('reprise pack' does it later)\n"
		"  --checkpoints       keep states of the machine in it, one every 1G instructions and\n"
		"                      one at its end, so that 'debug' and 'replay --from' begin there\n"
		"                      at once; the recording grows by the memory that was written\n"
		"  --checkpoint-every N   the same, every N instructions\n"
		"  --sync              have it survive a power failure too: slower\n\n"
		HELP_VM "\n" HELP_LIMITS HELP_RUN "\n" HELP_LIVE_GDB "\n" HELP_SEVERAL "\n" HELP_CONSOLE "\n"
		"  --vm's recordings: a -o behind each, or one for all with a % where the name goes;\n"
		"  each is a recording like any other, and replays alone\n\n"
		"  reprise record -o a.rpl --kernel bzImage --initrd initrd.cpio --append console=ttyS0\n"
		"  echo 'ls /' | reprise record -o b.rpl --kernel bzImage --root ./rootfs\n",
	.run = record,
};
