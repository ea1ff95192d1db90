/*
 * machine.c - descriptions, images, bundles.  See machine.h.
 */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/kconf.h"
#include "kernel/xxh.h"
#include "tools/cpio.h"
#include "tools/machine.h"

/* ---- images ---- */

static bool load_image(struct buf *b, const char *path, bool directory, const char *mend)
{
	buf_free(b);
	if (directory)
		return cpio_directory(b, path);
	b->data = load_file(path, mend, &b->size);
	b->room = b->size;
	return b->data;
}

static u64 digest_of(const struct buf *b)
{
	return XXH64(b->data, b->size, 0);
}

static enum status describe_image(struct machine *m, unsigned i, const char *path, bool directory)
{
	char absolute[PATH_MAX];

	if (!load_image(&m->image[i], path, directory, directory ? "" : "give an image that can be read"))
		return ST_USAGE;
	if (!m->image[i].size)
		return complain(ST_USAGE, "%s: empty; give the %s's file", path, image_roles[i]);
	if (!realpath(path, absolute) || strchr(absolute, '\n'))
		return complain(ST_USAGE, "%s: no name a recording can keep; rename it", path);
	m->present[i] = true;
	m->path[i] = path;
	buf_printf(&m->head, "%s=%s\n%s_size=%zu\n%s_xxh64=" ID_FMT "\n", image_roles[i], absolute, image_roles[i],
		   m->image[i].size, image_roles[i], (unsigned long long)digest_of(&m->image[i]));
	if (i)
		buf_printf(&m->head, "initrd_from=%s\n", directory ? "directory" : "file");
	return ST_OK;
}

/* [docs/RECORDING.md 4] */
static int model(const struct options *o)
{
	if (net_offloads(&o->net))
		return 5;
	return o->ndisks || o->net.n || o->rng || o->virtio_console ? 3 : 1;
}

enum status machine_from_options(struct machine *m, const struct options *o, bool recorded)
{
	enum status st;

	*m = (struct machine){ .mem_bytes = o->mem_bytes };
	buf_printf(&m->head, "machine=%d\ndigest_version=2\nx87_cleared=1\ncpu_model=1\nmem_bytes=%llu\nncpus=1\nseed=%llu\nrtc_epoch_s=%llu\nns_per_insn=1\n"
		   "poll_insns=%llu\nepoch_insns=%llu\n", model(o),
		   (unsigned long long)o->mem_bytes, (unsigned long long)o->seed, (unsigned long long)o->rtc_epoch_s,
		   (unsigned long long)o->poll_insns, (unsigned long long)o->epoch_insns);
	if (o->rng)
		buf_printf(&m->head, "rng=1\n");
	if (o->virtio_console)
		buf_printf(&m->head, "virtio_console=1\n");
	if (o->limit_insns)
		buf_printf(&m->head, "limit_insns=%llu\n", (unsigned long long)o->limit_insns);
	if (o->limit_vtime_ns)
		buf_printf(&m->head, "limit_vtime_ns=%llu\n", (unsigned long long)o->limit_vtime_ns);
	net_describe(&o->net, &m->head);
	buf_printf(&m->head, "append=%s\n", o->append);
	st = describe_image(m, 0, o->kernel, false);
	if (!st && (o->initrd || o->root))
		st = describe_image(m, 1, o->initrd ? o->initrd : o->root, o->root);
	if (!st)
		st = disks_from_options(&m->disks, o, recorded, &m->head);
	if (!st && m->head.size > REC_PART_MAX)
		st = complain(ST_USAGE, "--append: too long; a machine's description holds at most 64 KiB");
	if (st)
		machine_free(m);
	return st;
}

/* What HEAD says of one image. */
struct wanted {
	char path[PATH_MAX];
	bool directory;
	u64 digest;
};

static bool read_wanted(const struct buf *head, unsigned i, struct wanted *w)
{
	char key[32], value[64];

	snprintf(key, sizeof(key), "%s_xxh64", image_roles[i]);
	if (!conf_get((const char *)head->data, head->size, key, value, sizeof(value)))
		return false;
	w->digest = strtoull(value, NULL, 16);
	if (!conf_get((const char *)head->data, head->size, image_roles[i], w->path, sizeof(w->path)))
		w->path[0] = 0;
	w->directory = i && conf_get((const char *)head->data, head->size, "initrd_from", value, sizeof(value)) &&
		       !strcmp(value, "directory");
	return true;
}

/* Loads the wanted image from path; *mismatch keeps the digest of one that is there but another. */
static bool try_image(struct buf *b, const struct wanted *w, const char *path, u64 *mismatch)
{
	struct stat st;

	if (stat(path, &st) || !load_image(b, path, S_ISDIR(st.st_mode), "skipped"))
		return false;
	if (digest_of(b) == w->digest)
		return true;
	*mismatch = digest_of(b);
	return false;
}

static enum status find_image(struct machine *m, unsigned i, const struct summary *s, const char *given)
{
	struct wanted w;
	char beside[2 * PATH_MAX], name[PATH_MAX], dir[PATH_MAX];
	const char *candidates[2] = { w.path, beside }, *there = NULL;
	u64 mismatch = 0;

	if (!read_wanted(&s->head, i, &w))
		return given ? complain(ST_USAGE, "--%s %s: %s was recorded without one; leave it out", image_roles[i], given,
					s->path) : ST_OK;
	m->present[i] = true;
	if (s->line.n)
		s = s->line.parent[0]; /* the images are the oldest's */
	if (!given && s->packed[i]) {
		buf_free(&m->image[i]);
		buf_add(&m->image[i], s->image[i].data, s->image[i].size);
		if (digest_of(&m->image[i]) == w.digest)
			return ST_OK;
	}
	snprintf(name, sizeof(name), "%s", w.path);
	snprintf(dir, sizeof(dir), "%s", s->path);
	snprintf(beside, sizeof(beside), "%s/%s", dirname(dir), basename(name));
	if (given)
		candidates[0] = candidates[1] = given;
	for (unsigned k = 0; k < 2; k++) {
		u64 before = mismatch;

		if (try_image(&m->image[i], &w, candidates[k], &mismatch)) {
			m->path[i] = need(strdup(candidates[k]));
			return ST_OK;
		}
		if (mismatch != before && !there)
			there = candidates[k];
	}
	if (there)
		return complain(ST_USAGE, "%s: digest " ID_FMT ", but %s was recorded with the %s " ID_FMT
				"; give that one with --%s%s", there, (unsigned long long)mismatch, s->path, image_roles[i],
				(unsigned long long)w.digest, image_roles[i],
				w.directory ? " (a directory changed since; --pack when recording keeps it)" : "");
	return complain(ST_USAGE, "%s: the %s %s was recorded with is not there; give it with --%s, or use a packed recording",
			given ? given : w.path, image_roles[i], s->path, image_roles[i]);
}

/* Models 1, and 3: the same with a PCI bus and what is on it.  A fork's HEAD says one more. */
static bool knows_model(u64 version, bool fork)
{
	return version == 1 || version == 3 || version == 5 || (fork && (version == 2 || version == 4 || version == 6));
}

enum status machine_images(struct machine *m, const struct summary *s, const struct options *o)
{
	enum status st;
	u64 version, digest_version;

	*m = (struct machine){ 0 };
	buf_add(&m->head, s->head.data, s->head.size);
	version = conf_u64((const char *)m->head.data, m->head.size, "machine", 0);
	digest_version = conf_u64((const char *)m->head.data, m->head.size, "digest_version", 1);
	m->mem_bytes = conf_u64((const char *)m->head.data, m->head.size, "mem_bytes", 0);
	if (digest_version > 2)
		st = complain(ST_USAGE, "%s: its digests are of version %llu, this reprise has 2; replay it with the reprise that recorded it",
			      s->path, (unsigned long long)digest_version);
	else if (!knows_model(version, s->line.n) || !m->mem_bytes)
		st = complain(ST_USAGE, "%s: recorded on machine model %llu, this reprise has models 1, 3 and 5; replay it with the reprise that recorded it",
			      s->path, (unsigned long long)version);
	else
		st = find_image(m, 0, s, o->kernel);
	if (!st)
		st = find_image(m, 1, s, o->initrd ? o->initrd : o->root);
	if (st)
		machine_free(m);
	return st;
}

enum status machine_from_recording(struct machine *m, const struct summary *s, const struct options *o)
{
	enum status st = machine_images(m, s, o);

	if (st)
		return st;
	st = disks_from_recording(&m->disks, s, o);
	if (st)
		machine_free(m);
	return st;
}

enum status machine_not(const struct machine *m, const char *option, const char *path)
{
	for (unsigned i = 0; i < 2; i++)
		if (m->path[i] && same_names(m->path[i], path))
			return complain(ST_USAGE, "%s %s: the %s of the machine; give another name", option, path, image_roles[i]);
	return disks_not(&m->disks, option, path);
}

u64 machine_memory(const struct machine *m)
{
	return m->mem_bytes + disks_memory(&m->disks);
}

void machine_free(struct machine *m)
{
	disks_close(&m->disks);
	buf_free(&m->head);
	buf_free(&m->image[0]);
	buf_free(&m->image[1]);
}

/* ---- the bundle ---- */

/* The archive, ended and written. */
static int bundle_file(struct buf *b, u64 *size)
{
	int fd = memfd_create("reprise-bundle", MFD_CLOEXEC);
	bool good;

	cpio_end(b);
	*size = b->size;
	good = fd >= 0 && write_all(fd, b->data, b->size);
	buf_free(b);
	if (good)
		return fd;
	remark("bundle of kernel and initial RAM disk: %s; free some memory", strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

int machine_bundle(const struct machine *m, const struct buf *session_conf, u64 *size)
{
	struct buf b = { 0 };

	cpio_file(&b, "machine.conf", m->head.data, m->head.size);
	cpio_file(&b, "session.conf", session_conf->data, session_conf->size);
	for (unsigned i = 0; i < 2; i++)
		if (m->present[i])
			cpio_file(&b, image_roles[i], m->image[i].data, m->image[i].size);
	return bundle_file(&b, size);
}

static bool same_image(const struct machine *a, const struct machine *b, unsigned role)
{
	return a->present[role] && b->present[role] && a->image[role].size == b->image[role].size &&
	       !memcmp(a->image[role].data, b->image[role].data, a->image[role].size);
}

static void add_numbered(struct buf *b, unsigned n, const char *name, const struct buf *content)
{
	char full[32];

	snprintf(full, sizeof(full), "%u.%s", n, name);
	cpio_file(b, full, content->data, content->size);
}

int machine_bundle_several(const struct machine *m, struct buf *confs, unsigned n, const struct buf *common, u64 *size)
{
	struct buf b = { 0 };

	cpio_file(&b, "session.conf", common->data, common->size);
	for (unsigned k = 0; k < n; k++) {
		for (unsigned i = 0; i < 2; i++) {
			unsigned first = 0;

			while (first < k && !same_image(&m[first], &m[k], i))
				first++;
			if (first < k)
				buf_printf(&confs[k], "%s_of=%u\n", image_roles[i], first);
			else if (m[k].present[i])
				add_numbered(&b, k, image_roles[i], &m[k].image[i]);
		}
		add_numbered(&b, k, "machine.conf", &m[k].head);
		add_numbered(&b, k, "session.conf", &confs[k]);
	}
	return bundle_file(&b, size);
}
