/*
 * alter.c - a recording whose stored checkpoints are not those of its run, with
 * every checksum right: alter IN OUT.  One byte of the first page of each part.
 * The last line says how many.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "replay/recording_format.h"
#include "replay/stored.h"
#include "tools/recfile.h"

int main(int argc, char **argv)
{
	static struct rec_writer w;
	static struct rec_reader r;
	static u8 part[REC_PART_MAX];
	int in = argc == 3 ? open(argv[1], O_RDONLY) : -1, out = in < 0 ? -1 : open(argv[2], O_RDWR | O_CREAT | O_TRUNC, 0666);
	const struct rec_medium from = fd_medium(&in, (u64)lseek(in, 0, SEEK_END)), to = fd_medium(&out, GIB(4));
	unsigned altered = 0;

	if (out < 0 || rec_reader_open(&r, &from) || rec_create(&w, &to, r.nonce, (const char *)r.chunk.payload, r.chunk.size))
		return 1;
	while (!rec_next_chunk(&r)) {
		memcpy(part, r.chunk.payload, r.chunk.size);
		if (r.chunk.type == REC_CHECKPOINT && part[0] == STORED_PAGES) {
			part[r.chunk.size - 100] ^= 4;
			altered++;
		}
		if (rec_put_chunk(&w, r.chunk.type | (r.chunk.skippable ? REC_SKIPPABLE : 0), part, r.chunk.size))
			return 1;
	}
	printf("%u\n", altered);
	return r.stop != REC_STOP_COMPLETE || ftruncate(out, (off_t)w.end);
}
