/*
 * scsiunit.c - SCSI units that both hosts of a pair reach.  See scsiunit.h.
 */
#include <stdlib.h>

#include "tools/scsiunit.h"

#define ISCSI_PORT "3260"

static const char scheme[] = "iscsi://";

bool unit_is_iscsi(const char *url)
{
	return !strncmp(url, scheme, sizeof(scheme) - 1);
}

bool unit_parse(struct unit_name *n, const char *url)
{
	const char *rest = url + sizeof(scheme) - 1, *colon, *bracket;
	size_t host, target;

	/* A description of the machine is lines. */
	if (!unit_is_iscsi(url) || strchr(url, '\n'))
		return false;
	host = strcspn(rest, "/");
	colon = memrchr(rest, ':', host);
	bracket = memrchr(rest, ']', host);
	n->host = rest;
	n->host_size = (int)host;
	n->has_port = colon && (!bracket || bracket < colon);
	n->target = rest + host + (rest[host] == '/');
	target = strcspn(n->target, "/");
	n->target_size = (int)target;
	n->lun = n->target + target + (n->target[target] == '/');
	return host && target && *n->lun && strspn(n->lun, "0123456789") == strlen(n->lun);
}

bool unit_same(const struct unit_name *a, const struct unit_name *b)
{
	return a->target_size == b->target_size && !memcmp(a->target, b->target, (size_t)a->target_size) &&
	       strtoull(a->lun, NULL, 10) == strtoull(b->lun, NULL, 10);
}

void unit_option(struct buf *b, const char *key, const char *value, size_t size)
{
	buf_printf(b, ",%s=", key);
	for (size_t i = 0; i < size; i++) {
		buf_add(b, value + i, 1);
		if (value[i] == ',')
			buf_add(b, ",", 1);
	}
}

enum status unit_keep_drive(struct qemu_unit *u, struct buf *b, const char *option, const char *url)
{
	bool fits = b->size < sizeof(u->drive);

	if (fits)
		memcpy(u->drive, b->data, b->size);
	u->drive[fits ? b->size : 0] = 0;
	buf_free(b);
	return fits ? ST_OK : complain(ST_USAGE, "%s %s: too long a name; give the unit a shorter one", option, url);
}

enum status unit_iscsi(struct qemu_unit *u, const char *option, const char *url, char side)
{
	struct buf b = { 0 }, portal = { 0 };
	struct unit_name n;
	char name[32];

	if (!unit_parse(&n, url))
		return complain(ST_USAGE, "%s %s: not understood; give " UNIT_FORM ", as iscsi://10.0.0.9/iqn.2026-01.lab:store/1", option, url);
	buf_printf(&portal, "%.*s%s", n.host_size, n.host, n.has_port ? "" : ":" ISCSI_PORT);
	buf_printf(&b, "driver=iscsi,node-name=%s,transport=tcp", u->name);
	unit_option(&b, "portal", (const char *)portal.data, portal.size);
	unit_option(&b, "target", n.target, (size_t)n.target_size);
	unit_option(&b, "lun", n.lun, strlen(n.lun));
	snprintf(name, sizeof(name), "iqn.2026-01.reprise:%c", side);
	unit_option(&b, "initiator-name", name, strlen(name));
	buf_free(&portal);
	return unit_keep_drive(u, &b, option, url);
}
