/*
 * symbols.c - the guest kernel's own symbols.  See symbols.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/symbols.h"

const char *symbols_of(struct symbols *s, const u8 *data, size_t size)
{
	const char *trouble = elf_open(&s->elf, data, size);
	u64 modules;

	if (trouble)
		return trouble;
	s->has_panic = elf_symbol(&s->elf, "panic", &s->panic);
	s->has_modules = elf_symbol(&s->elf, "modules", &modules);
	s->has_entry = s->elf.is_64 && elf_symbol(&s->elf, "entry_SYSCALL_64", &s->entry);
	return NULL;
}

enum status symbols_open(struct symbols *s, const char *option, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st = { 0 };
	const char *trouble;
	void *data = NULL;

	if (fd < 0 || fstat(fd, &st) || !realpath(path, s->path)) {
		if (fd >= 0)
			close(fd);
		return complain(ST_USAGE, "%s %s: %s; give the kernel's ELF file", option, path, strerror(errno));
	}
	/* Mapped, for with debug information it may be larger than what is left of memory. */
	if (S_ISREG(st.st_mode) && st.st_size)
		data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (data == MAP_FAILED)
		return complain(ST_HOST, "%s %s: %s; free some memory", option, path, strerror(errno));
	s->is_mapped = data;
	trouble = symbols_of(s, data, data ? (size_t)st.st_size : 0);
	if (trouble)
		return complain(ST_USAGE, "%s %s: %s", option, path, trouble);
	return ST_OK;
}

void symbols_close(struct symbols *s)
{
	if (s->is_mapped)
		munmap((void *)(uintptr_t)s->elf.data, s->elf.size);
}

u64 symbols_offset(const struct symbols *s, u64 lstar)
{
	u64 offset = lstar - s->entry;

	if (!lstar || !s->has_entry)
		return 0;
	if (!(offset % PAGE_SIZE))
		return offset;
	remark("symbols are of another kernel: %s has entry_SYSCALL_64 at 0x%llx, the guest at 0x%llx; give the file of the very build",
	       s->path, (unsigned long long)s->entry, (unsigned long long)lstar);
	return 0;
}

void symbols_describe(const struct symbols *s, struct buf *conf)
{
	buf_printf(conf, "gdb_arch=%s\n", s->elf.is_64 ? "x86-64" : "i386");
	if (s->has_panic)
		buf_printf(conf, "panic_linear=0x%llx\n", (unsigned long long)s->panic);
	if (s->has_entry)
		buf_printf(conf, "lstar_linear=0x%llx\n", (unsigned long long)s->entry);
}
