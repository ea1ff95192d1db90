/*
 * word.c - the store's word, to bytes and back [docs/LINK.md 4].  See arbiter.h.
 */
#include "ft/arbiter.h"
#include "kernel/xxh.h"

#define WORD_MAGIC "RPFTWORD"

void ft_word_encode(const struct ft_word *w, u8 out[FT_WORD_BYTES])
{
	const u64 fields[5] = { w->pair, w->term, w->owner, w->member[0], w->member[1] };

	memset(out, 0, FT_WORD_BYTES);
	if (!w->term)
		return; /* all zero: nothing yet */
	memcpy(out, WORD_MAGIC, 8);
	for (unsigned i = 0; i < 5; i++)
		write_bytes_le(out + 8 + 8 * i, 8, fields[i]);
	write_bytes_le(out + FT_WORD_BYTES - 8, 8, XXH64(out, FT_WORD_BYTES - 8, 0));
}

err_t ft_word_decode(const u8 in[FT_WORD_BYTES], struct ft_word *w)
{
	u64 fields[6];
	u8 any = 0;

	*w = (struct ft_word){ 0 };
	for (unsigned i = 0; i < FT_WORD_BYTES; i++)
		any |= in[i];
	if (!any)
		return OK;
	if (memcmp(in, WORD_MAGIC, 8) || read_bytes_le(in + FT_WORD_BYTES - 8, 8) != XXH64(in, FT_WORD_BYTES - 8, 0))
		return ERR_DAMAGED;
	for (unsigned i = 0; i < 6; i++)
		fields[i] = read_bytes_le(in + 8 + 8 * i, 8);
	*w = (struct ft_word){ fields[0], fields[1], fields[2], { fields[3], fields[4] } };
	return fields[5] || !w->term ? ERR_DAMAGED : OK;
}
