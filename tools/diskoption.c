/*
 * diskoption.c - what stands behind --disk.  See diskoption.h.
 */
#include "tools/diskoption.h"
#include "tools/scsiunit.h"

static enum status bad(const char *arg, const char *mend)
{
	return complain(ST_USAGE, "--disk %s: not understood; %s", arg, mend);
}

static enum status set_room(struct disk_option *d, const char *arg, const char *size)
{
	if (!parse_count(size, 1024, &d->room_bytes) || !d->room_bytes)
		return bad(arg, "give a size for what is written: room=512M");
	d->room_bytes = ALIGN_UP(d->room_bytes, MIB(2));
	if (d->room_bytes > GIB(3) - MIB(2))
		return complain(ST_USAGE, "--disk %s: more room than a disk can have; at most 3070M", arg);
	return ST_OK;
}

/* What is not one of these words is part of the name. */
enum status disk_option_parse(struct disk_option *d, const char *arg)
{
	static const char *const modes[] = { "ro", "cow", "rw", "shared" };
	enum status st = ST_OK;
	char *comma;

	*d = (struct disk_option){ .mode = NULL };
	if (snprintf(d->path, sizeof(d->path), "%s", arg) >= (int)sizeof(d->path))
		return bad(arg, "give a shorter name");
	while (!st && (comma = strrchr(d->path, ','))) {
		const char *mode = NULL;

		for (unsigned i = 0; i < ARRAY_SIZE(modes); i++)
			if (!strcmp(comma + 1, modes[i]))
				mode = modes[i];
		if (mode && d->mode)
			st = complain(ST_USAGE, "--disk %s: %s and %s; choose", arg, mode, d->mode);
		else if (mode)
			d->mode = mode;
		else if (!strncmp(comma + 1, "room=", 5))
			st = set_room(d, arg, comma + 6);
		else
			break;
		*comma = 0;
	}
	d->mode = d->mode ? d->mode : "cow";
	if (!st && !d->path[0])
		st = bad(arg, "give a disk image: --disk FILE[,ro|cow|rw][,room=SIZE]");
	if (!st && d->room_bytes && !strcmp(d->mode, "ro"))
		st = complain(ST_USAGE, "--disk %s: nothing is written to a read-only disk; leave room= out", arg);
	return st;
}

bool disk_option_shared(const struct disk_option *d)
{
	return !strcmp(d->mode, "shared");
}

enum status disk_options_check(const struct disk_option *d, unsigned n)
{
	for (; n--; d++) {
		if (disk_option_shared(d))
			return complain(ST_USAGE, "--disk %s,shared: only the hosts of a pair share a disk; give a file, with ,rw if it is to be written",
					d->path);
		if (unit_is_iscsi(d->path))
			return complain(ST_USAGE, "--disk %s: only the hosts of a pair reach such a unit, with ,shared; give a file of this host",
					d->path);
	}
	return ST_OK;
}

static enum status check_of_pair(const struct disk_option *d)
{
	bool shared = disk_option_shared(d), unit = unit_is_iscsi(d->path);
	struct unit_name name;

	if (unit && !shared)
		return complain(ST_USAGE, "--disk %s: a unit is one disk for both hosts, never a copy each; give it with ,shared", d->path);
	/* Each host has a copy, and what the guest writes to it is lost with the host: no file is the disk. */
	if (!strcmp(d->mode, "rw"))
		return complain(ST_USAGE, "--disk %s,rw: a pair's hosts have a copy each, and write to no file; give it with ,cow or ,ro",
				d->path);
	if (!shared)
		return ST_OK;
	if (!unit)
		return complain(ST_USAGE, "--disk %s,shared: a shared disk must be a SCSI unit, which can be reserved for the live host; give "
				UNIT_FORM ",shared, or the file with ,cow", d->path);
	return unit_parse(&name, d->path) ? ST_OK : bad(d->path, "give " UNIT_FORM ",shared");
}

/* One session would take the reservation from the other; and a store is not a guest's to write to. */
static bool same_unit(const char *url, const char *other)
{
	struct unit_name a, b;

	return unit_parse(&a, url) && unit_parse(&b, other) && unit_same(&a, &b);
}

enum status disk_options_check_pair(const struct disk_option *d, unsigned n, const char *arbiter)
{
	for (unsigned i = 0; i < n; i++) {
		enum status st = check_of_pair(&d[i]);

		if (st)
			return st;
		if (same_unit(d[i].path, arbiter))
			return complain(ST_USAGE, "--disk %s,shared: the arbiter of the pair; give the disk a unit of its own", d[i].path);
		for (unsigned k = 0; k < i; k++)
			if (same_unit(d[i].path, d[k].path))
				return complain(ST_USAGE, "--disk %s,shared: given twice; a unit is one disk, leave one out", d[i].path);
	}
	return ST_OK;
}
