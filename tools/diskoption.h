/*
 * diskoption.h - what stands behind --disk: a file of this host, or a unit that both hosts of a
 * pair share.
 */
#ifndef TOOLS_DISKOPTION_H
#define TOOLS_DISKOPTION_H

#include "tools/tool.h"

#define MAX_DISKS 8

/* FILE[,MODE][,room=SIZE], or URL,shared[,room=SIZE] */
struct disk_option {
	char path[4096];        /* or URL */
	const char *mode;       /* "ro", "cow", "rw", "shared" */
	u64 room_bytes;         /* 0: not given */
};

enum status disk_option_parse(struct disk_option *d, const char *arg) must_check;

bool disk_option_shared(const struct disk_option *d);

/* A complaint if a machine alone, or a host of a pair with that arbiter, cannot have such disks. */
enum status disk_options_check(const struct disk_option *d, unsigned n) must_check;
enum status disk_options_check_pair(const struct disk_option *d, unsigned n, const char *arbiter) must_check;

#endif
