/*
 * alter.c - a recording that is not that of its run, with every checksum right.
 *   alter IN OUT              one byte of the first page of each part of a stored
 *                             checkpoint; the last line says how many
 *   alter IN OUT TEXT OTHER   HEAD, where TEXT becomes OTHER, of the same length
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "replay/recording_format.h"
#include "replay/stored.h"
#include "tools/recfile.h"

static int alter_head(u8 *head, size_t size, const char *text, const char *other)
{
	u8 *at = memmem(head, size, text, strlen(text));

	if (!at || strlen(text) != strlen(other))
		return 1;
	memcpy(at, other, strlen(other));
	return 0;
}

int main(int argc, char **argv)
{
	static struct rec_writer w;
	static struct rec_reader r;
	static u8 part[REC_PART_MAX];
	bool head = argc == 5;
	int in = argc == 3 || head ? open(argv[1], O_RDONLY) : -1, out = in < 0 ? -1 : open(argv[2], O_RDWR | O_CREAT | O_TRUNC, 0666);
	const struct rec_medium from = fd_medium(&in, (u64)lseek(in, 0, SEEK_END)), to = fd_medium(&out, GIB(4));
	unsigned altered = 0;

	if (out < 0 || rec_reader_open(&r, &from))
		return 1;
	memcpy(part, r.chunk.payload, r.chunk.size);
	if ((head && alter_head(part, r.chunk.size, argv[3], argv[4])) || rec_create(&w, &to, r.nonce, (const char *)part, r.chunk.size))
		return 1;
	while (!rec_next_chunk(&r)) {
		memcpy(part, r.chunk.payload, r.chunk.size);
		if (!head && r.chunk.type == REC_CHECKPOINT && part[0] == STORED_PAGES) {
			part[r.chunk.size - 100] ^= 4;
			altered++;
		}
		if (rec_put_chunk(&w, r.chunk.type | (r.chunk.skippable ? REC_SKIPPABLE : 0), part, r.chunk.size))
			return 1;
	}
	printf("%u\n", altered);
	return r.stop != REC_STOP_COMPLETE || ftruncate(out, (off_t)w.end);
}
