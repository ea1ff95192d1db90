/*
 * ftshare.h - disks that both of the demo's hosts share: files that its store makes units of, or
 * units that are there already.
 */
#ifndef TOOLS_FTSHARE_H
#define TOOLS_FTSHARE_H

#include "tools/disks.h"
#include "tools/options.h"

#define SHARE_LUN 2 /* of the first file; 1 is the arbiter */

struct share_file {
	struct disk_option option;
	struct machine_disk image;   /* held, so that nobody else has it meanwhile */
	int at;                      /* the operand it is part of */
	bool joined;                 /* as --disk=FILE */
};

struct ftshare {
	char **operand;              /* what stands behind -- */
	int noperands;
	bool any;                    /* a disk is shared */
	struct share_file file[MAX_DISKS];
	unsigned nfiles;
};

/* Reads what stands behind --, and takes hold of the files. */
enum status ftshare_find(struct ftshare *s, const struct options *o) must_check;

/* Puts units of that target, iscsi://HOST:PORT/TARGET, in the places of the files: what the hosts are given. */
void ftshare_name(struct ftshare *s, const char *target);

#endif
