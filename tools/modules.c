/*
 * modules.c - kernel modules by name.  See modules.h.
 *
 * gdb is told of the loaded ones by `modules` of reprise.gdb, which reads their
 * names and sections from the guest's memory and can look at one directory only.
 */
#include <dirent.h>
#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/modules.h"

bool modules_name(const char *file, char name[NAME_MAX + 1])
{
	size_t n = strlen(file);

	if (n <= 3 || n > NAME_MAX || strcmp(file + n - 3, ".ko"))
		return false;
	for (size_t i = 0; i < n - 3; i++) /* as the kernel's build does: KBUILD_MODNAME */
		name[i] = file[i] == '-' ? '_' : file[i];
	name[n - 3] = 0;
	return true;
}

static bool is_directory(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISDIR(st.st_mode);
}

bool modules_guess(const char *vmlinux, char guess[PATH_MAX])
{
	const char *name = strrchr(vmlinux, '/');
	int dir;

	if (!name)
		return false;
	dir = (int)(name - vmlinux);
	if (dir >= 5 && !strncmp(name - 5, "/boot", 5) && !strncmp(name, "/vmlinux-", 9))
		return snprintf(guess, PATH_MAX, "%.*s/lib/modules/%s", dir - 5, vmlinux, name + 9) < PATH_MAX &&
		       is_directory(guess);
	return snprintf(guess, PATH_MAX, "%.*s", dir, vmlinux) < PATH_MAX && is_directory(guess);
}

static void link_one(struct modules *m, const char *file, const char *path)
{
	char name[NAME_MAX + 1], link[2 * PATH_MAX], whole[PATH_MAX];

	if (!modules_name(file, name) || !realpath(path, whole))
		return;
	snprintf(link, sizeof(link), "%s/%s.ko", m->dir, name);
	if (!symlink(whole, link)) /* of two with one name the first will do */
		m->n++;
}

/* Links to all modules below a directory; false: it cannot be read, errno says why. */
static bool link_all(struct modules *m, const char *from)
{
	char root[PATH_MAX];
	char *roots[] = { root, NULL };
	FTS *tree;
	bool good = true;

	if (!realpath(from, root))
		return false;
	tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_NOSTAT, NULL);
	if (!tree)
		return false;
	for (FTSENT *e; good && (e = fts_read(tree));) {
		if (e->fts_level == FTS_ROOTLEVEL && (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR)) {
			errno = e->fts_errno;
			good = false;
		} else if (e->fts_info != FTS_D && e->fts_info != FTS_DP) {
			link_one(m, e->fts_name, e->fts_path);
		}
	}
	fts_close(tree);
	return good;
}

enum status modules_open(struct modules *m, const char *from)
{
	m->n = 0;
	if (snprintf(m->dir, sizeof(m->dir), "%s/reprise-modules-XXXXXX", tmp_dir()) >= (int)sizeof(m->dir) ||
	    !mkdtemp(m->dir)) {
		m->dir[0] = 0;
		return complain(ST_HOST, "--modules %s: no directory for links to them: %s; set TMPDIR", from, strerror(errno));
	}
	if (!link_all(m, from)) {
		int error = errno;

		modules_close(m);
		return complain(ST_USAGE, "--modules %s: %s; give the directory with the modules' .ko files", from, strerror(error));
	}
	return ST_OK;
}

void modules_close(struct modules *m)
{
	char path[2 * PATH_MAX];
	DIR *dir = m->dir[0] ? opendir(m->dir) : NULL;

	for (struct dirent *e; dir && (e = readdir(dir));) {
		snprintf(path, sizeof(path), "%s/%s", m->dir, e->d_name);
		if (e->d_type == DT_LNK)
			unlink(path);
	}
	if (dir)
		closedir(dir);
	if (m->dir[0])
		rmdir(m->dir);
	m->dir[0] = 0;
}
