/*
 * disksum.c - checks the log that seqd has written on a disk, from the disk's image on the host.
 *
 *   disksum OPTION... IMAGE
 *
 *   --acked N    connection's request N was answered: it and all before it must be there
 *   --connection N   whose requests --acked, --seed and --size speak of (1)
 *   --seed N --size N   the client's: its payloads are made again, and every sum compared
 *   --first N    number of its first request (0)
 *
 * Written from the description of the format in seq.h alone, and shares no code with what wrote
 * the log: what this finds is what is on the disk.  Prints lines "KEY: VALUE" records,
 * connections, last (number of the connection's last request), then "errors: N", each error a
 * line on standard error before it.  Status 0: no errors; 1: some; 2: the image cannot be read.
 */
#define _FILE_OFFSET_BITS 64
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SECTOR = 512, ERRORS_SHOWN = 10, CONNECTIONS = 65536 };

static uint64_t errors;

__attribute__((format(printf, 1, 2))) static void error(const char *fmt, ...)
{
	va_list ap;

	if (errors++ >= ERRORS_SHOWN)
		return;
	fputs("disksum: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

/* FNV-1a, 64 bits, continued from h. */
static uint64_t hash(uint64_t h, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		h ^= (uint8_t)s[i];
		h *= 1099511628211u;
	}
	return h;
}
#define HASH_OF_NOTHING 14695981039346656037u

struct record {
	uint64_t record, connection, seq, sum, chain;
};

/* The five numbers of a sector that is well formed in itself. */
static bool parse(const char *s, struct record *r, size_t *chain_at)
{
	const char *end = memchr(s, '\n', SECTOR);
	char again[SECTOR];
	int n = 0;

	if (!end || sscanf(s, "seqlog 1 %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNx64 " %n%" SCNx64, &r->record, &r->connection,
			   &r->seq, &r->sum, &n, &r->chain) != 5)
		return false;
	*chain_at = (size_t)n;
	/* In no other spelling. */
	snprintf(again, sizeof(again), "seqlog 1 %" PRIu64 " %" PRIu64 " %" PRIu64 " %016" PRIx64 " %016" PRIx64 "\n", r->record,
		 r->connection, r->seq, r->sum, r->chain);
	if (strlen(again) != (size_t)(end + 1 - s) || memcmp(again, s, strlen(again)))
		return false;
	for (const char *p = end + 1; p < s + SECTOR; p++)
		if (*p)
			return false;
	return true;
}

struct wanted {
	bool has_acked, has_payload;
	uint64_t acked, connection, seed, size, first;
};

/* What the client's request seq adds to its sum. */
static uint64_t add_request(const struct wanted *w, uint64_t sum, uint64_t seq)
{
	uint64_t x = (w->seed + 1) * 0x9e3779b97f4a7c15u ^ (seq + 1) * 0xbf58476d1ce4e5b9u;
	char number[24];

	sum = hash(sum, number, (size_t)snprintf(number, sizeof(number), "%" PRIu64 " ", seq));
	for (uint64_t i = 0; i < w->size; i++) {
		unsigned six;
		char c;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		six = (unsigned)(x >> 58);
		c = (char)(six < 26 ? 'A' + six : six < 52 ? 'a' + six - 26 : six < 62 ? '0' + six - 52 : six == 62 ? '+' : '/');
		sum = hash(sum, &c, 1);
	}
	return hash(sum, "\n", 1);
}

struct check {
	const struct wanted *w;
	uint64_t records, connections, chain;
	uint64_t next[CONNECTIONS]; /* of each connection, the request that must come now; 0: none has */
	uint64_t last, sum;         /* the connection w speaks of: its last request, the sum up to it */
	bool any;
};

static void begin_connection(struct check *k, const struct record *r)
{
	if (r->connection != k->w->connection)
		return;
	k->sum = HASH_OF_NOTHING;
	k->any = true;
	if (k->w->has_payload && r->seq != k->w->first)
		error("record %" PRIu64 ": the first request is %" PRIu64 ", not %" PRIu64, r->record, r->seq, k->w->first);
}

static void check_record(struct check *k, const char *sector, uint64_t where)
{
	struct record r = { 0 };
	char before[20];
	size_t chain_at;

	if (!parse(sector, &r, &chain_at) || r.connection >= CONNECTIONS) {
		error("sector %" PRIu64 ": not a record: %.40s", where, isprint((unsigned char)*sector) ? sector : "(bytes)");
		return;
	}
	if (r.record != where)
		error("sector %" PRIu64 ": holds record %" PRIu64, where, r.record);
	snprintf(before, sizeof(before), "%016" PRIx64, k->chain);
	if (hash(hash(HASH_OF_NOTHING, before, 16), sector, chain_at) != r.chain)
		error("record %" PRIu64 ": does not follow from the one before it, or is damaged", r.record);
	k->chain = r.chain;
	k->records++;
	if (!k->next[r.connection]) {
		k->connections++;
		begin_connection(k, &r);
	} else if (r.seq != k->next[r.connection]) {
		error("record %" PRIu64 ": connection %" PRIu64 " has request %" PRIu64 " where %" PRIu64 " is due", r.record,
		      r.connection, r.seq, k->next[r.connection]);
	}
	k->next[r.connection] = r.seq + 1;
	if (r.connection != k->w->connection)
		return;
	k->last = r.seq;
	if (!k->w->has_payload)
		return;
	k->sum = add_request(k->w, k->sum, r.seq);
	if (r.sum != k->sum)
		error("record %" PRIu64 ": request %" PRIu64 " has sum %016" PRIx64 ", from the payloads it is %016" PRIx64, r.record,
		      r.seq, r.sum, k->sum);
}

static void give_up(const char *path)
{
	fprintf(stderr, "disksum: %s: %s\n", path, strerror(errno));
	exit(2);
}

/* Fewer bytes only at the end: what cannot be read is not the end. */
static size_t read_image(int fd, const char *path, void *buf, size_t size, off_t at)
{
	ssize_t n = pread(fd, buf, size, at);

	if (n < 0)
		give_up(path);
	return (size_t)n;
}

/* Behind the log there is nothing; holes of the file need no reading. */
static void check_rest(int fd, const char *path, off_t at)
{
	char buf[65536];

	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		size_t n = read_image(fd, path, buf, sizeof(buf), at);

		for (size_t i = 0; i < n; i++)
			if (buf[i]) {
				error("byte %lld: something behind the log's end", (long long)at + (long long)i);
				return;
			}
		if (!n)
			return;
		at += (off_t)n;
	}
	if (errno != ENXIO) /* no data from there on */
		give_up(path);
}

static void check_image(const char *path, struct check *k)
{
	static const char nothing[SECTOR];
	int fd = open(path, O_RDONLY);
	char sector[SECTOR + 1] = "";
	uint64_t where = 0;

	if (fd < 0)
		give_up(path);
	while (read_image(fd, path, sector, SECTOR, (off_t)(where * SECTOR)) == SECTOR && memcmp(sector, nothing, SECTOR))
		check_record(k, sector, where++);
	check_rest(fd, path, (off_t)(where * SECTOR));
	close(fd);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "acked", 1, NULL, 'a' }, { "connection", 1, NULL, 'c' }, { "seed", 1, NULL, 's' }, { "size", 1, NULL, 'z' },
		{ "first", 1, NULL, 'f' }, { 0 },
	};
	struct wanted w = { .connection = 1 };
	static struct check k;
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		uint64_t v = optarg ? strtoull(optarg, NULL, 10) : 0;

		switch (o) {
		case 'a': w.has_acked = true; w.acked = v; break;
		case 'c': w.connection = v; break;
		case 's': w.has_payload = true; w.seed = v; break;
		case 'z': w.has_payload = true; w.size = v; break;
		case 'f': w.first = v; break;
		default: return 2;
		}
	}
	if (optind != argc - 1) {
		fprintf(stderr, "disksum: wants IMAGE\n");
		return 2;
	}
	k.w = &w;
	check_image(argv[optind], &k);
	if (w.has_acked && (!k.any || k.last < w.acked))
		error("request %" PRIu64 " was answered, the log ends with %" PRIu64 "%s", w.acked, k.last, k.any ? "" : " (none)");
	printf("records: %" PRIu64 "\nconnections: %" PRIu64 "\n", k.records, k.connections);
	if (k.any)
		printf("last: %" PRIu64 "\n", k.last);
	printf("errors: %" PRIu64 "\n", errors);
	return errors != 0;
}
