/*
 * cmd_info.c - `reprise info` and `reprise verify`: what a recording holds,
 * and whether it holds all of it.
 */
#include <stdlib.h>

#include "kernel/kconf.h"
#include "kernel/xxh.h"
#include "tools/disks.h"
#include "tools/operand.h"
#include "tools/qemu.h"
#include "tools/session.h"

/* ---- info ---- */

/*
 * One `key: value` a line, or one JSON object.  What is not known is "none"
 * or "unknown" in text, null in JSON.
 */
struct printer {
	bool json;
	unsigned n;
};

static void begin_key(struct printer *p, const char *key)
{
	if (p->json)
		printf("%s\n  \"%s\": ", p->n++ ? "," : "{", key);
	else
		printf("%s: ", key);
}

static void put_number(struct printer *p, const char *key, u64 v)
{
	begin_key(p, key);
	printf("%llu%s", (unsigned long long)v, p->json ? "" : "\n");
}

static void put_text(struct printer *p, const char *key, const char *v)
{
	begin_key(p, key);
	if (p->json)
		json_string(stdout, v, strlen(v));
	else
		printf("%s\n", v);
}

static void put_missing(struct printer *p, const char *key, const char *word)
{
	begin_key(p, key);
	fputs(p->json ? "null" : word, stdout);
	if (!p->json)
		putchar('\n');
}

static void put_bool(struct printer *p, const char *key, bool v)
{
	begin_key(p, key);
	if (p->json)
		fputs(v ? "true" : "false", stdout);
	else
		puts(v ? "yes" : "no");
}

static void put_hex(struct printer *p, const char *key, u64 v)
{
	char text[20];

	snprintf(text, sizeof(text), ID_FMT, (unsigned long long)v);
	put_text(p, key, text);
}

static const char *head_value(const struct buf *text, const char *key, char *value, size_t size)
{
	return conf_get((const char *)text->data, text->size, key, value, size) ? value : NULL;
}

static void put_from(struct printer *p, const struct buf *text, const char *key, const char *missing)
{
	static char value[REC_PART_MAX];

	if (head_value(text, key, value, sizeof(value)))
		put_text(p, key, value);
	else
		put_missing(p, key, missing);
}

/* A number of HEAD: bare in JSON. */
static void put_number_from(struct printer *p, const struct buf *text, const char *key)
{
	char value[32];

	if (head_value(text, key, value, sizeof(value)))
		put_number(p, key, conf_u64((const char *)text->data, text->size, key, 0));
	else
		put_missing(p, key, "none");
}

static void put_guest(struct printer *p, const struct buf *head)
{
	char path[4096], *name = path;

	if (!head_value(head, "kernel", path, sizeof(path)))
		strcpy(path, "unknown");
	if (strrchr(path, '/'))
		name = strrchr(path, '/') + 1;
	put_text(p, "guest", name);
}

/* The keys every version keeps, in this order. */
static void put_kept(struct printer *p, const struct summary *s)
{
	put_number(p, "format", REC_VERSION);
	put_guest(p, &s->head);
	put_from(p, &s->host, "counter", "unknown");
	put_number(p, "instructions", s->ended ? s->end.insns : s->last.count);
	put_number(p, "virtual_time_ns", s->ended ? s->end.vtime_ns : s->last.vtime_ns);
	if (s->ended)
		put_number(p, "exits", s->end.exits);
	else
		put_missing(p, "exits", "unknown");
	put_number(p, "inputs", s->inputs);
	put_number(p, "input_bytes", s->input_bytes);
	put_number(p, "file_bytes", s->intact_bytes);
	/* What the guest said itself; power-off is its way to say 0. */
	if (s->ended && (s->end.outcome == VM_DEBUG_EXIT || s->end.outcome == VM_POWERED_OFF))
		put_number(p, "guest_exit", s->end.guest_exit);
	else
		put_missing(p, "guest_exit", "none");
	if (s->ended)
		put_hex(p, "digest", s->end.digest);
	else if (s->digests)
		put_hex(p, "digest", s->last_digest);
	else
		put_missing(p, "digest", "none");
	put_bool(p, "complete", s->stop == REC_STOP_COMPLETE);
	put_from(p, &s->head, "parent", "none");
	put_from(p, &s->host, "host_probe", "unknown");
}

static void put_more(struct printer *p, const struct summary *s)
{
	static const char *const numbers[] = {
		"machine", "digest_version", "mem_bytes", "ncpus", "seed", "rtc_epoch_s", "ns_per_insn", "poll_insns", "epoch_insns",
		"limit_insns", "limit_vtime_ns",
	};
	static const char *const texts[] = { "append", "kernel", "kernel_xxh64", "initrd", "initrd_xxh64" };

	put_hex(p, "id", s->nonce);
	put_number(p, "digests", s->digests);
	put_number(p, "marks", s->marks);
	put_number(p, "checkpoints", s->stored.size / sizeof(struct stored_place));
	if (s->ended)
		put_text(p, "outcome", outcome_name(s->end.outcome));
	else
		put_missing(p, "outcome", "unknown");
	if (s->ended && s->end.reason[0])
		put_text(p, "reason", s->end.reason);
	put_bool(p, "packed", s->packed[0]);
	put_from(p, &s->host, "build", "unknown");
	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
		put_number_from(p, &s->head, numbers[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++)
		put_from(p, &s->head, texts[i], "none");
	for (unsigned i = 0; i < NET_MAX_NICS; i++) {
		char key[16], value[32];

		snprintf(key, sizeof(key), "nic%u_mac", i);
		if (head_value(&s->head, key, value, sizeof(value)))
			put_text(p, key, value);
		snprintf(key, sizeof(key), "nic%u_offload", i);
		if (head_value(&s->head, key, value, sizeof(value)))
			put_bool(p, key, true);
	}
}

/* Nothing of a machine without disks. */
static void put_disks(struct printer *p, const struct summary *s)
{
	char key[32];

	for (unsigned n = 0; disks_described(&s->head, n); n++) {
		snprintf(key, sizeof(key), "disk%u", n);
		put_from(p, &s->head, key, "unknown");
		snprintf(key, sizeof(key), "disk%u_size", n);
		put_number_from(p, &s->head, key);
		snprintf(key, sizeof(key), "disk%u_xxh64", n);
		put_from(p, &s->head, key, "unknown");
		snprintf(key, sizeof(key), "disk%u_mode", n);
		put_from(p, &s->head, key, "unknown");
		snprintf(key, sizeof(key), "disk%u_room_bytes", n);
		put_number_from(p, &s->head, key);
	}
}

static enum status info(int argc, char **argv)
{
	struct options o;
	struct summary s;
	struct printer p = { 0 };
	enum status st = operand_open(&o, &s, OPT_JSON, argc, argv);

	if (st)
		return st;
	p.json = o.json;
	put_kept(&p, &s);
	put_more(&p, &s);
	put_disks(&p, &s);
	if (o.json)
		puts("\n}");
	return operand_close(&s);
}

const struct command cmd_info = {
	.name = "info",
	.summary = "what a recording holds, one 'key: value' a line",
	.help = "reprise info [--json] FILE\n\n"
		"Prints what a recording holds, one 'key: value' a line.  These keys stay in every\n"
		"version: format guest counter instructions virtual_time_ns exits inputs input_bytes\n"
		"file_bytes guest_exit digest complete parent host_probe; others follow them.\n"
		"Of a recording that was cut off or is damaged, what is intact is described.\n"
		"What is not known reads 'unknown' or 'none' (null in JSON).\n\n"
		"  --json              one JSON object\n",
	.run = info,
};

/* ---- verify ---- */

/* A packed image must be the one HEAD speaks of. */
static bool images_match(const struct summary *s)
{
	for (unsigned i = 0; i < 2; i++) {
		char key[32], value[64];

		snprintf(key, sizeof(key), "%s_xxh64", image_roles[i]);
		if (s->packed[i] && (!head_value(&s->head, key, value, sizeof(value)) ||
				     strtoull(value, NULL, 16) != XXH64(s->image[i].data, s->image[i].size, 0))) {
			remark("%s: the packed %s is not the recorded one; pack it again", s->path, image_roles[i]);
			return false;
		}
	}
	return true;
}

static enum status verify(int argc, char **argv)
{
	struct options o;
	struct summary s;
	char text[300], bytes[32];
	enum status st = operand_open(&o, &s, 0, argc, argv);

	if (st)
		return st;
	if (summary_trouble(&s, text, sizeof(text)))
		st = complain(ST_DAMAGED, "%s: %s; 'reprise replay %s' runs that much", s.path, text, s.path);
	else if (!images_match(&s))
		st = ST_DAMAGED;
	else
		printf("%s: complete, every checksum right: %s, %llu input%s, %llu digest%s%s\n", s.path,
		       human_bytes(s.intact_bytes, bytes), (unsigned long long)s.inputs, s.inputs == 1 ? "" : "s",
		       (unsigned long long)s.digests, s.digests == 1 ? "" : "s",
		       s.packed[0] ? ", packed" : "");
	summary_free(&s);
	return st;
}

const struct command cmd_verify = {
	.name = "verify",
	.summary = "checksums and completeness of a recording",
	.help = "reprise verify FILE\n\n"
		"Checks the file: every checksum, and that it goes to the end of its run.  Nothing is\n"
		"run; 'reprise replay' checks the run itself.  Exit status 4 if anything is wrong or\n"
		"missing; what is intact is printed, and replays.\n",
	.run = verify,
};
