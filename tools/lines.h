/*
 * lines.h - where in the sources an address comes from, by addr2line of
 * binutils, if it is installed.
 */
#ifndef TOOLS_LINES_H
#define TOOLS_LINES_H

#include "tools/tool.h"

/*
 * line[i] becomes "file.c:12" for addresses[i] as linked, or NULL where that
 * is not known; free each.  Takes as long as reading the file's debug
 * information does.
 */
void lines_find(const char *elf, const u64 *addresses, size_t n, char **line);

#endif
