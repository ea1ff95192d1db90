/*
 * scsiunit.h - SCSI units that both hosts of a pair reach, as the command line names them and as
 * QEMU is told of them.
 */
#ifndef TOOLS_SCSIUNIT_H
#define TOOLS_SCSIUNIT_H

#include "tools/qemu.h"

/* iscsi://HOST[:PORT]/TARGET/LUN; an IPv6 address stands in brackets. */
#define UNIT_FORM "iscsi://HOST[:PORT]/TARGET/LUN"

struct unit_name {
	const char *host, *target;   /* with the port, if there is one; both pieces of the URL */
	int host_size, target_size;
	const char *lun;             /* digits */
	bool has_port;
};

/* It begins so; it may still not be understood. */
bool unit_is_iscsi(const char *url);

bool unit_parse(struct unit_name *n, const char *url) must_check;

/* By the target's name, of which there is one in the world: the way there may be another. */
bool unit_same(const struct unit_name *a, const struct unit_name *b);

/* u, which has its name, becomes that unit for host side, 'a' or 'b'.  option is for complaints. */
enum status unit_iscsi(struct qemu_unit *u, const char *option, const char *url, char side) must_check;

/* Appends to a list of options of QEMU's, where a comma is written twice. */
void unit_option(struct buf *b, const char *key, const char *value, size_t size);

/* That list becomes u's drive; it is freed. */
enum status unit_keep_drive(struct qemu_unit *u, struct buf *b, const char *option, const char *url) must_check;

#endif
