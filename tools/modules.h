/*
 * modules.h - the files of a Linux guest's kernel modules, where gdb finds them by the
 * names the guest's kernel has for them.
 */
#ifndef TOOLS_MODULES_H
#define TOOLS_MODULES_H

#include <limits.h>

#include "tools/tool.h"

struct modules {
	char dir[PATH_MAX];   /* ours: NAME.ko for each module, a link to its file; "": there is none */
	unsigned n;
};

/*
 * Where the modules of the kernel lie whose ELF file is `vmlinux`, by the customs of
 * Debian (DIR/boot/vmlinux-RELEASE: DIR/lib/modules/RELEASE) and of a build
 * tree (its own directory).  False: there is no such directory.
 */
bool modules_guess(const char *vmlinux, char guess[PATH_MAX]) must_check;

/*
 * Looks for *.ko below `from` and links to them, from a directory of their own.
 * ST_OK, also where there are none; or a complaint.  modules_close is due.
 */
enum status modules_open(struct modules *m, const char *from) must_check;
/* Also of those that were never opened. */
void modules_close(struct modules *m);

/* A file's name, "snd-hda-intel.ko": the kernel calls it "snd_hda_intel".  False: it is no module. */
bool modules_name(const char *file, char name[NAME_MAX + 1]) must_check;

#endif
