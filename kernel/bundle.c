/*
 * bundle.c - reading a newc cpio archive in place.  See bundle.h.
 */
#include "kernel/bundle.h"

/* Header: six bytes of magic, then 13 numbers of eight hex digits. */
enum {
	NEWC_FILESIZE = 6 + 6 * 8,
	NEWC_NAMESIZE = 6 + 11 * 8,
	NEWC_HEADER = 6 + 13 * 8,
};

static bool hex8(const u8 *p, size_t *value)
{
	*value = 0;
	for (unsigned i = 0; i < 8; i++) {
		u8 c = p[i], digit;

		if (c >= '0' && c <= '9')
			digit = (u8)(c - '0');
		else if (c >= 'a' && c <= 'f')
			digit = (u8)(c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			digit = (u8)(c - 'A' + 10);
		else
			return false;
		*value = *value << 4 | digit;
	}
	return true;
}

err_t bundle_next(const u8 *cpio, size_t size, size_t *pos, const char **name, const u8 **data,
		  size_t *size_bytes)
{
	size_t at = *pos, namesize;
	const u8 *h = cpio + at;

	if (at > size || size - at < NEWC_HEADER || memcmp(h, "07070", 5) ||
	    (h[5] != '1' && h[5] != '2'))
		return ERR_DAMAGED;
	if (!hex8(h + NEWC_FILESIZE, size_bytes) || !hex8(h + NEWC_NAMESIZE, &namesize))
		return ERR_DAMAGED;
	at += NEWC_HEADER;
	if (namesize == 0 || namesize > size - at || cpio[at + namesize - 1] != '\0')
		return ERR_DAMAGED;
	*name = (const char *)cpio + at;
	if (!strcmp(*name, "TRAILER!!!"))
		return ERR_END;
	/* Name and contents each end on a multiple of four, counted from the archive's start. */
	at = ALIGN_UP(at + namesize, 4UL);
	if (at > size || *size_bytes > size - at)
		return ERR_DAMAGED;
	*data = cpio + at;
	*pos = ALIGN_UP(at + *size_bytes, 4UL);
	return OK;
}

err_t bundle_find(const u8 *cpio, size_t size, const char *name, const u8 **data,
		  size_t *size_bytes)
{
	size_t pos = 0;
	const char *found;
	err_t err;

	while (!(err = bundle_next(cpio, size, &pos, &found, data, size_bytes))) {
		if (found[0] == '.' && found[1] == '/')
			found += 2;
		if (!strcmp(found, name))
			return OK;
	}
	return err;
}
