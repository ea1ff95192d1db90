/*
 * store_block.c - the store's block, to bytes and back [docs/ARBITER.md 3].  See arbiter_scsi.h.
 */
#include "ft/arbiter_scsi.h"
#include "kernel/xxh.h"

#define MAGIC "RPARBITR"

enum { VERSION_AT = 8, METHOD_AT = 12, WORD_AT = 64, SUM_AT = FT_BLOCK_BYTES - 8 };

void ft_store_encode(enum ft_store_method method, const struct ft_word *w, u8 block[FT_BLOCK_BYTES])
{
	memset(block, 0, FT_BLOCK_BYTES);
	memcpy(block, MAGIC, 8);
	write_bytes_le(block + VERSION_AT, 4, FT_STORE_VERSION);
	write_bytes_le(block + METHOD_AT, 4, (u64)method);
	ft_word_encode(w, block + WORD_AT);
	write_bytes_le(block + SUM_AT, 8, XXH64(block, SUM_AT, 0));
}

err_t ft_store_decode(const u8 block[FT_BLOCK_BYTES], enum ft_store_method *method, struct ft_word *w)
{
	u64 number;
	u8 any = 0;

	for (unsigned i = 0; i < FT_BLOCK_BYTES; i++)
		any |= block[i];
	if (!any)
		return ERR_END;
	if (memcmp(block, MAGIC, 8))
		return ERR_UNSUPPORTED;
	/* Before the checksum: where another version has it is not known. */
	if (read_bytes_le(block + VERSION_AT, 4) != FT_STORE_VERSION)
		return ERR_VERSION;
	if (read_bytes_le(block + SUM_AT, 8) != XXH64(block, SUM_AT, 0))
		return ERR_DAMAGED;
	number = read_bytes_le(block + METHOD_AT, 4);
	if (number != FT_STORE_COMPARE_AND_WRITE && number != FT_STORE_RESERVATION)
		return ERR_VERSION;
	*method = (enum ft_store_method)number;
	return ft_word_decode(block + WORD_AT, w);
}
