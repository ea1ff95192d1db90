/*
 * several.c - `run` and `record` of several machines side by side, in one hypervisor.
 * See cmd_run.h; what the hypervisor makes of it is session/group.c's.
 */
#include <stdlib.h>
#include <unistd.h>

#include "tools/cmd_run.h"
#include "tools/mux.h"
#include "tools/recmake.h"

_Static_assert(MUX_MAX >= MAX_MACHINES, "a console each");

/* All of them and what each has of its own. */
struct several {
	unsigned n;
	const struct options *o;      /* n of each */
	struct machine machine[MAX_MACHINES];
	struct session_machine told[MAX_MACHINES];
	struct buf conf[MAX_MACHINES]; /* session.conf, without what is common */
	int recording_fd[MAX_MACHINES]; /* -1: none */
	bool ran;                     /* the hypervisor was started: recordings may hold something */
	u64 bytes[MAX_MACHINES];      /* of the recording, when it is finished */
	struct options own[MAX_MACHINES]; /* with the recording's name made up */
	struct session s;
};

/* ---- recordings ---- */

/* -o FILE with a % in it: the machine's name goes there. */
static const char *recording_name(const struct options *o)
{
	const char *percent = strchr(o->output, '%');
	struct buf name = { 0 };

	if (!percent)
		return o->output;
	buf_printf(&name, "%.*s%s%s", (int)(percent - o->output), o->output, o->vm, percent + 1);
	return (const char *)name.data; /* it lives as long as the program */
}

static enum status two_machines(const char *output)
{
	return complain(ST_USAGE, "-o %s: of two machines; give each its own behind its --vm, or one name with a %% in it, as run-%%.rpl",
			output);
}

static enum status check_recording(struct several *v, unsigned i)
{
	const struct options *o = &v->own[i];
	enum status st = ST_OK;

	for (unsigned k = 0; k < i; k++)
		if (!strcmp(v->own[k].output, o->output))
			return two_machines(o->output);
	for (unsigned k = 0; k < v->n && !st; k++)
		st = machine_not(&v->machine[k], "-o", o->output);
	if (!st)
		recording_remarks(o, &v->machine[i]);
	return st;
}

static enum status begin_recordings(struct several *v)
{
	enum status st = ST_OK;

	for (unsigned i = 0; i < v->n && !st; i++)
		st = check_recording(v, i);
	for (unsigned i = 0; i < v->n && !st; i++) {
		struct qemu_disk *d = &v->s.disk[v->s.ndisks];

		for (unsigned k = 0; k < i; k++) /* by another name */
			if (same_file(v->recording_fd[k], v->own[i].output))
				return two_machines(v->own[i].output);
		st = recmake_begin(&v->machine[i], &v->own[i], &v->recording_fd[i], &v->conf[i]);
		if (st)
			break;
		*d = (struct qemu_disk){ .fd = v->recording_fd[i], .durable = v->own[i].sync };
		snprintf(d->serial, sizeof(d->serial), "%u.recording", i);
		v->s.ndisks++;
	}
	return st;
}

/* Of machines that did not even start nothing is left behind. */
static enum status finish_recordings(struct several *v)
{
	enum status st = ST_OK;

	for (unsigned i = 0; i < v->n; i++) {
		enum status kept = ST_OK;

		if (v->recording_fd[i] < 0)
			continue;
		if (v->ran)
			kept = recmake_finish(&v->own[i], v->recording_fd[i], &v->s, &v->bytes[i]);
		else
			unlink(v->own[i].output);
		close(v->recording_fd[i]);
		st = st ? st : kept;
	}
	return st;
}

/* ---- machines ---- */

static enum status make_machines(struct several *v, bool recording)
{
	enum status st = ST_OK;

	for (unsigned i = 0; i < v->n && !st; i++) {
		st = machine_from_options(&v->machine[i], &v->own[i], recording);
		v->told[i].name = v->own[i].vm;
		v->s.mem_bytes += machine_memory(&v->machine[i]);
	}
	return st;
}

static enum status plug_devices(struct several *v, bool recording, struct buf *common)
{
	struct net_lans lans = { 0 };
	enum status st = ST_OK;
	unsigned ndisks = recording ? v->n : 0;

	for (unsigned i = 0; i < v->n && !st; i++) {
		ndisks += v->machine[i].disks.n;
		if (ndisks > QEMU_MAX_DISKS)
			return complain(ST_USAGE, "--vm %s: more than %d disks and recordings in one hypervisor; leave some out", v->own[i].vm,
					QEMU_MAX_DISKS);
		if (v->own[i].share)
			buf_printf(&v->conf[i], "share=%llu\n", (unsigned long long)v->own[i].share);
		st = net_open(&v->own[i].net, &lans, v->s.nic, &v->s.nnics, &v->conf[i]);
	}
	if (!st)
		st = net_open_lans(&lans, v->s.nic, &v->s.nnics, common);
	if (!st && ndisks + v->s.nnics > QEMU_MAX_DEVICES)
		st = complain(ST_USAGE, "--vm: more than %d disks, recordings and network devices in one hypervisor; leave some out", QEMU_MAX_DEVICES);
	return st;
}

/* Last: what cannot run leaves no recording behind. */
static enum status prepare(struct several *v, bool recording)
{
	struct buf common = { 0 };
	enum status st = make_machines(v, recording);

	buf_printf(&common, "mode=%s\nmachines=%u\n", recording ? "record" : "run", v->n);
	if (!st)
		st = plug_devices(v, recording, &common);
	if (!st && recording)
		st = begin_recordings(v);
	for (unsigned i = 0; i < v->n && !st; i++) {
		char prefix[16];

		snprintf(prefix, sizeof(prefix), "%u.", i);
		disks_plug(&v->machine[i].disks, prefix, v->s.disk, &v->s.ndisks);
	}
	if (!st) {
		v->s.bundle_fd = machine_bundle_several(v->machine, v->conf, v->n, &common, &v->s.bundle_bytes);
		st = v->s.bundle_fd < 0 ? ST_HOST : ST_OK;
	}
	buf_free(&common);
	return st;
}

/* How each ended; the status is the first one's that did not end well.  What ended all of them is said last. */
static enum status close_machines(struct several *v)
{
	enum status st = ST_OK;

	for (unsigned i = 0; i < v->n; i++) {
		enum status one = ST_OK;

		if (v->told[i].ended || !v->s.failure[0])
			one = session_close_machine(&v->s, &v->told[i], v->bytes[i] ? v->own[i].output : NULL, v->bytes[i]);
		st = st ? st : one;
	}
	if (v->s.failure[0])
		st = complain(v->s.timed_out ? ST_LIMIT : ST_HOST, "%s", v->s.failure);
	return st;
}

enum status run_several(const struct options *o, unsigned n, bool recording)
{
	struct several *v = need(calloc(1, sizeof(*v)));
	enum status st = ST_OK, kept = ST_OK;

	v->n = n;
	v->s = (struct session){ .o = o, .machine = v->told, .nmachines = n, .recording_fd = -1, .bundle_fd = -1, .console = true };
	for (unsigned i = 0; i < n; i++) {
		v->own[i] = o[i];
		v->recording_fd[i] = -1;
		if (recording && !o[i].output) {
			free(v);
			return complain(ST_USAGE, "-o: missing for --vm %s; say where to keep its recording: -o FILE behind it, or -o run-%%.rpl for all",
					o[i].vm);
		}
		if (recording)
			v->own[i].output = recording_name(&o[i]);
	}
	st = prepare(v, recording);
	if (!st)
		v->ran = session_run(&v->s);
	if (!st && !v->ran)
		st = ST_HOST;
	kept = finish_recordings(v);
	if (v->s.bundle_fd >= 0)
		close(v->s.bundle_fd);
	for (unsigned i = 0; i < n; i++) {
		machine_free(&v->machine[i]);
		buf_free(&v->conf[i]);
	}
	if (!st)
		st = close_machines(v);
	free(v);
	return kept ? kept : st;
}
