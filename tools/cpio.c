/*
 * cpio.c - writing newc cpio archives.  See cpio.h.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tools/cpio.h"

static void align4(struct buf *out)
{
	buf_fill(out, 0, ALIGN_UP(out->size, (size_t)4) - out->size);
}

static void entry(struct buf *out, const char *name, unsigned ino, unsigned mode, dev_t rdev, const void *data,
		  size_t size)
{
	/* magic ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check */
	buf_printf(out, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", ino, mode, 0, 0,
		   S_ISDIR(mode) ? 2 : 1, 0, (unsigned)size, 0, 0, major(rdev), minor(rdev),
		   (unsigned)strlen(name) + 1, 0);
	buf_add(out, name, strlen(name) + 1);
	align4(out);
	buf_add(out, data, size);
	align4(out);
}

void cpio_file(struct buf *out, const char *name, const void *data, size_t size)
{
	entry(out, name, 1, S_IFREG | 0644, 0, data, size);
}

void cpio_end(struct buf *out)
{
	entry(out, "TRAILER!!!", 0, 0, 0, NULL, 0);
	buf_fill(out, 0, ALIGN_UP(out->size, (size_t)512) - out->size);
}

/* ---- directories ---- */

struct walk {
	struct buf *out;
	const char *top;
	unsigned ino;
};

static bool add_path(struct walk *w, const char *name);

static int not_dots(const struct dirent *d)
{
	return strcmp(d->d_name, ".") && strcmp(d->d_name, "..");
}

/* By bytes, whatever the locale: alphasort would follow LC_COLLATE. */
static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static bool add_children(struct walk *w, const char *path, const char *name)
{
	struct dirent **list;
	int n = scandir(path, &list, not_dots, by_bytes);
	bool good = n >= 0;

	if (!good)
		remark("%s: %s; make it readable", path, strerror(errno));
	for (int i = 0; i < n; i++) {
		char child[PATH_MAX];
		int len = snprintf(child, sizeof(child), "%s%s%s", name, *name ? "/" : "", list[i]->d_name);

		if (good && len >= (int)sizeof(child)) {
			remark("%s/%s: path too long; move the directory up", path, list[i]->d_name);
			good = false;
		}
		good = good && add_path(w, child);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
	return good;
}

/* name: below the top directory; "" is the top itself, which gets no entry. */
static bool add_path(struct walk *w, const char *name)
{
	char path[PATH_MAX], target[PATH_MAX];
	struct stat st;
	unsigned mode;
	size_t size;
	ssize_t n;
	u8 *data;

	if (snprintf(path, sizeof(path), "%s%s%s", w->top, *name ? "/" : "", name) >= (int)sizeof(path)) {
		remark("%s/%s: path too long; move the directory up", w->top, name);
		return false;
	}
	if (lstat(path, &st)) {
		remark("%s: %s; make it readable", path, strerror(errno));
		return false;
	}
	if (!*name)
		return add_children(w, path, name);
	mode = st.st_mode & (S_IFMT | 07777);
	w->ino++;
	switch (st.st_mode & S_IFMT) {
	case S_IFDIR:
		entry(w->out, name, w->ino, mode, 0, NULL, 0);
		return add_children(w, path, name);
	case S_IFREG:
		if (st.st_size > UINT32_MAX) {
			remark("%s: over 4 GiB; an initramfs cannot hold it", path);
			return false;
		}
		data = load_file(path, "make it readable", &size);
		if (!data)
			return false;
		entry(w->out, name, w->ino, mode, 0, data, size);
		free(data);
		return true;
	case S_IFLNK:
		n = readlink(path, target, sizeof(target));
		if (n < 0) {
			remark("%s: %s; make it readable", path, strerror(errno));
			return false;
		}
		entry(w->out, name, w->ino, S_IFLNK | 0777, 0, target, (size_t)n);
		return true;
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
		entry(w->out, name, w->ino, mode, S_ISFIFO(mode) ? 0 : st.st_rdev, NULL, 0);
		return true;
	default:
		remark("%s: a socket; an initramfs cannot hold it, remove it", path);
		return false;
	}
}

bool cpio_directory(struct buf *out, const char *dir)
{
	struct walk w = { .out = out, .top = dir };
	struct stat st;

	if (stat(dir, &st) || !S_ISDIR(st.st_mode)) {
		remark("%s: not a directory; give the directory that is to be the guest's /", dir);
		return false;
	}
	if (!add_path(&w, ""))
		return false;
	cpio_end(out);
	return true;
}
