/*
 * test_debug_tool.c - `reprise debug`'s parts that need no QEMU: its options,
 * addresses to listen at, symbols of ELF files that are good, cut or spoilt.
 */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <elf.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/elfsym.h"
#include "tools/gdbrelay.h"
#include "tools/modules.h"
#include "tools/options.h"

/* ---- options ---- */

static enum status parse(struct options *o, const char *const *args)
{
	char *argv[16] = { NULL };
	int argc = 0;

	for (; args[argc]; argc++)
		argv[argc] = (char *)(uintptr_t)args[argc];
	return options_parse(o, OPT_DEBUG | OPT_IMAGES | OPT_RUN, argc, argv);
}
#define PARSE(o, ...) parse(o, (const char *const[]){ "debug", __VA_ARGS__, NULL })

Test(debug_tool, options)
{
	struct options o;

	cr_assert_eq(PARSE(&o, "a.rpl"), ST_OK);
	cr_assert(o.noperands == 1 && !strcmp(o.at, "end") && o.timeline_bytes == MIB(768) && !o.listen && !o.gdb && !o.symbols);
	cr_assert_eq(PARSE(&o, "--at", "crash", "--timeline-mem", "1G", "--symbols=vmlinux", "--gdb", "g", "--console", "f"), ST_OK);
	cr_assert(!strcmp(o.at, "crash") && o.timeline_bytes == GIB(1) && !strcmp(o.symbols, "vmlinux") && !strcmp(o.gdb, "g"));
	cr_assert(o.console);
	cr_assert_eq(PARSE(&o, "--at", "500M", "--listen", ":1234", "--timeline-mem", "1000000", "f"), ST_OK);
	cr_assert(!o.at && o.at_insns == 500000000 && !strcmp(o.listen, ":1234") && o.timeline_bytes == MIB(1), "rounded up");
	cr_assert_eq(PARSE(&o, "--at", "0", "f"), ST_OK);
	cr_assert(!o.at && o.at_insns == 0);
	cr_assert_eq(PARSE(&o, "--at", "5", "--at", "begin", "f"), ST_OK);
	cr_assert_str_eq(o.at, "begin");
	cr_assert_eq(PARSE(&o, "--at", "start", "--symbols", "a", "--modules", "b", "f"), ST_OK);
	cr_assert_str_eq(o.at, "begin");
	cr_assert_str_eq(o.modules, "b");
}

Test(debug_tool, options_refused, .init = cr_redirect_stderr)
{
	struct options o;

	cr_assert_eq(PARSE(&o, "--at", "middle"), ST_USAGE);
	cr_assert_eq(PARSE(&o, "--modules", "."), ST_USAGE, "of no kernel");
	cr_assert_eq(PARSE(&o, "--at", ""), ST_USAGE);
	cr_assert_eq(PARSE(&o, "--timeline-mem", "0"), ST_USAGE);
	cr_assert_eq(PARSE(&o, "--timeline-mem", "much"), ST_USAGE);
	cr_assert_eq(PARSE(&o, "--timeline-mem", "18446744073709551615"), ST_USAGE);
	cr_assert_eq(PARSE(&o, "--listen", "1", "--gdb", "g"), ST_USAGE);
	cr_assert_eq(PARSE(&o, "--until", "1"), ST_USAGE);
	cr_assert_eq(PARSE(&o, "--gdb"), ST_USAGE);
}

/* ---- modules ---- */

Test(debug_tool, module_names)
{
	char name[NAME_MAX + 1], longest[NAME_MAX + 8];

	cr_assert(modules_name("zram.ko", name) && !strcmp(name, "zram"));
	cr_assert(modules_name("snd-hda-intel.ko", name) && !strcmp(name, "snd_hda_intel"));
	cr_assert(!modules_name("zram.ko.xz", name));
	cr_assert(!modules_name("zram.o", name));
	cr_assert(!modules_name(".ko", name));
	cr_assert(!modules_name("", name));
	memset(longest, 'a', sizeof(longest));
	strcpy(longest + sizeof(longest) - 4, ".ko");
	cr_assert(!modules_name(longest, name), "no file has such a name");
}

static void put_file(const char *path)
{
	FILE *f = fopen(path, "w");

	cr_assert(f && !fclose(f));
}

Test(debug_tool, modules_by_name)
{
	char dir[] = "/tmp/reprise-test-XXXXXX", guess[PATH_MAX], path[PATH_MAX + 100];
	struct modules m;

	cr_assert(mkdtemp(dir) && !chdir(dir) && !mkdir("boot", 0755) && !mkdir("lib", 0755) && !mkdir("lib/modules", 0755) &&
		  !mkdir("lib/modules/6.1", 0755) && !mkdir("lib/modules/6.1/fs", 0755));
	put_file("lib/modules/6.1/one-two.ko");
	put_file("lib/modules/6.1/fs/ext4.ko");
	put_file("lib/modules/6.1/fs/ext4.mod");
	snprintf(path, sizeof(path), "%s/boot/vmlinux-6.1", dir);
	cr_assert(modules_guess(path, guess));
	cr_assert(strstr(guess, "/lib/modules/6.1"));
	cr_assert_eq(modules_open(&m, guess), ST_OK);
	cr_assert_eq(m.n, 2);
	snprintf(path, sizeof(path), "%s/one_two.ko", m.dir);
	cr_assert(!access(path, R_OK));
	modules_close(&m);
	cr_assert(access(path, F_OK) && !m.dir[0]);
	cr_assert(!access("lib/modules/6.1/fs/ext4.ko", F_OK), "the files are the user's");
	modules_close(&m);
	snprintf(path, sizeof(path), "%s/boot/vmlinux-6.2", dir);
	cr_assert(!modules_guess(path, guess), "no such directory");
	snprintf(path, sizeof(path), "%s/lib/vmlinux", dir);
	cr_assert(modules_guess(path, guess) && strstr(guess, "/lib"), "a build tree");
	snprintf(path, sizeof(path), "rm -r %s", dir);
	cr_assert_eq(system(path), 0);
}

Test(debug_tool, modules_refused, .init = cr_redirect_stderr)
{
	struct modules m;

	cr_assert_eq(modules_open(&m, "/nowhere/at/all"), ST_USAGE);
	cr_assert(!m.dir[0]);
}

/* ---- addresses ---- */

static bool address(const char *where, const char *host, const char *port)
{
	char h[256], p[8];

	return gdbrelay_address(where, h, p) && !strcmp(h, host) && !strcmp(p, port);
}

Test(debug_tool, addresses)
{
	char h[256], p[8], longest[400];

	cr_assert(address("1234", "127.0.0.1", "1234"));
	cr_assert(address(":1234", "127.0.0.1", "1234"));
	cr_assert(address("0.0.0.0:0", "0.0.0.0", "0"));
	cr_assert(address("some.host:65535", "some.host", "65535"));
	cr_assert(address("[::1]:9", "::1", "9"));
	cr_assert(!gdbrelay_address("", h, p) && !gdbrelay_address(":", h, p) && !gdbrelay_address("host:", h, p));
	cr_assert(!gdbrelay_address("::1", h, p) && !gdbrelay_address("a:b:1", h, p) && !gdbrelay_address("[::1]", h, p));
	cr_assert(!gdbrelay_address("[::1:5", h, p) && !gdbrelay_address("[]:5", h, p) && !gdbrelay_address("host", h, p));
	cr_assert(!gdbrelay_address("h:123456", h, p) && !gdbrelay_address("h:-1", h, p) && !gdbrelay_address("h: 1", h, p));
	memset(longest, 'a', sizeof(longest));
	strcpy(longest + 256, ":1");
	cr_assert(!gdbrelay_address(longest, h, p));
	cr_assert(gdbrelay_address(longest + 1, h, p) && strlen(h) == 255);
}

/* ---- the relay, without a session ---- */

/* Turns until nothing moves; true if `detached` was to be told. */
static bool settle(struct gdbrelay *r)
{
	struct pollfd fds[RELAY_NFDS];
	bool told = false;

	for (;;) {
		int wait_ms = gdbrelay_watch(r, fds);

		if (poll(fds, RELAY_NFDS, wait_ms > 0 ? wait_ms : 50) == 0 && wait_ms < 0)
			return told;
		told |= gdbrelay_turn(r, fds);
	}
}

static int dial(const struct gdbrelay *r)
{
	struct sockaddr_storage a;
	socklen_t size = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	cr_assert(!getsockname(r->listener, (struct sockaddr *)&a, &size));
	if (!connect(fd, (struct sockaddr *)&a, size))
		return fd;
	close(fd);
	return -1;
}

Test(debug_tool, relay_serves_one_after_the_other)
{
	struct gdbrelay r;
	char name[RELAY_NAME_MAX], b[16] = "";
	int port[2], one, two;

	cr_assert(gdbrelay_bind(&r, "127.0.0.1:0"));
	cr_assert(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, port));
	r.serial = port[0];
	cr_assert(write(port[1], "early", 5) == 5 && !settle(&r), "dropped");
	cr_assert_eq(dial(&r), -1, "rule 1");
	cr_assert(gdbrelay_open(&r, name) && !strncmp(name, "127.0.0.1:", 10));
	one = dial(&r);
	cr_assert(write(one, "abc", 3) == 3 && !settle(&r) && r.state == RELAY_SERVING);
	cr_assert(read(port[1], b, sizeof(b)) == 3 && !memcmp(b, "abc", 3));
	cr_assert(write(port[1], "reply", 5) == 5 && !settle(&r));
	cr_assert(read(one, b, sizeof(b)) == 5 && !memcmp(b, "reply", 5));
	two = dial(&r);
	cr_assert(!settle(&r) && read(two, b, sizeof(b)) == 0, "rule 2");
	close(two);
	/* Not told before the last words are taken: rule 3. */
	cr_assert(write(one, "last", 4) == 4 && !close(one));
	struct pollfd fds[RELAY_NFDS];
	for (unsigned i = 0; i < 5; i++) {
		gdbrelay_watch(&r, fds);
		poll(fds, RELAY_NFDS, 10);
		cr_assert(!gdbrelay_turn(&r, fds));
	}
	cr_assert_eq(r.state, RELAY_LEAVING);
	cr_assert(read(port[1], b, sizeof(b)) == 4 && !memcmp(b, "last", 4));
	cr_assert(settle(&r) && r.state == RELAY_FORGETTING);
	/* Rule 4. */
	two = dial(&r);
	cr_assert(two >= 0 && write(two, "next", 4) == 4 && write(port[1], "stale", 5) == 5 && !settle(&r));
	cr_assert(read(port[1], b, sizeof(b)) < 0 && write(port[1], "stale", 5) == 5);
	gdbrelay_forgotten(&r);
	cr_assert(!settle(&r) && read(port[1], b, sizeof(b)) == 4 && !memcmp(b, "next", 4));
	/* QEMU dies. */
	close(port[1]);
	cr_assert(!settle(&r) && r.state == RELAY_CLOSED && read(two, b, sizeof(b)) == 0);
	close(two);
	gdbrelay_close(&r);
	close(port[0]);
}

/* ---- ELF files ---- */

#define NSYMBOLS 6
static const char names[] = "\0panic\0entry_SYSCALL_64\0panic_more\0tail";
#define NAME(text) ((Elf32_Word)(strstr_at(text)))

static size_t strstr_at(const char *text)
{
	return (size_t)((const char *)memmem(names, sizeof(names), text, strlen(text)) - names);
}

/* Header, symbols, names, section headers: exactly so large as they need to be. */
#define BUILD(bits) \
	static u8 *build##bits(size_t *size) \
	{ \
		const size_t symbols_at = sizeof(Elf##bits##_Ehdr), names_at = symbols_at + NSYMBOLS * sizeof(Elf##bits##_Sym); \
		const size_t sections_at = names_at + sizeof(names); \
		const Elf##bits##_Sym symbols[NSYMBOLS] = { \
			[1] = { .st_name = NAME("panic"), .st_info = STT_FILE, .st_shndx = 1, .st_value = 1 }, \
			[2] = { .st_name = NAME("panic"), .st_info = STT_FUNC, .st_shndx = 1, .st_value = 2 }, \
			[3] = { .st_name = NAME("panic"), .st_info = STB_GLOBAL << 4, .st_shndx = SHN_UNDEF, .st_value = 3 }, \
			[4] = { .st_name = NAME("panic"), .st_info = STB_GLOBAL << 4 | STT_FUNC, .st_shndx = 1, .st_value = 0x81234560 }, \
			[5] = { .st_name = NAME("tail"), .st_info = STB_GLOBAL << 4, .st_shndx = SHN_ABS, .st_value = 5 }, \
		}; \
		const Elf##bits##_Shdr sections[3] = { \
			[1] = { .sh_type = SHT_SYMTAB, .sh_offset = (Elf##bits##_Off)symbols_at, .sh_size = sizeof(symbols), .sh_link = 2 }, \
			[2] = { .sh_type = SHT_STRTAB, .sh_offset = (Elf##bits##_Off)names_at, .sh_size = sizeof(names) }, \
		}; \
		Elf##bits##_Ehdr h = { \
			.e_machine = bits == 64 ? EM_X86_64 : EM_386, .e_shoff = (Elf##bits##_Off)sections_at, .e_shnum = 3, \
		}; \
		u8 *file = malloc(*size = sections_at + sizeof(sections)); \
		memcpy(h.e_ident, ELFMAG, SELFMAG); \
		h.e_ident[EI_CLASS] = bits == 64 ? ELFCLASS64 : ELFCLASS32; \
		h.e_ident[EI_DATA] = ELFDATA2LSB; \
		memcpy(file, &h, sizeof(h)); \
		memcpy(file + symbols_at, symbols, sizeof(symbols)); \
		memcpy(file + names_at, names, sizeof(names)); \
		memcpy(file + sections_at, sections, sizeof(sections)); \
		return file; \
	}
BUILD(64)
BUILD(32)

static void check_good(const u8 *file, size_t size, bool is_64)
{
	struct elf e;
	u64 v;

	cr_assert_null(elf_open(&e, file, size));
	cr_assert_eq(e.is_64, is_64);
	cr_assert(elf_symbol(&e, "panic", &v) && v == 0x81234560, "the global one");
	cr_assert(elf_symbol(&e, "tail", &v) && v == 5, "at the table's very end");
	cr_assert(!elf_symbol(&e, "pani", &v) && !elf_symbol(&e, "panic_more", &v) && !elf_symbol(&e, "tail2", &v));
}

/* Whatever it holds, nothing outside of it is read: the sanitizer looks. */
static void look(const u8 *file, size_t size)
{
	u8 *copy = malloc(size + !size);
	struct elf e;
	u64 v;

	memcpy(copy, file, size);
	if (!elf_open(&e, copy, size)) {
		(void)!elf_symbol(&e, "panic", &v);
		(void)!elf_symbol(&e, "entry_SYSCALL_64", &v);
	}
	free(copy);
}

static void spoil(u8 *file, size_t size)
{
	static const u8 bytes[] = { 0, 1, 2, 3, 0x7f, 0x80, 0xff };
	struct elf e;

	for (size_t n = 0; n < size; n++)
		look(file, n);
	for (size_t at = 0; at < size; at++)
		for (unsigned i = 0; i < ARRAY_SIZE(bytes); i++) {
			u8 was = file[at];

			file[at] = bytes[i];
			look(file, size);
			file[at] = was;
		}
	/* Eight at once: sums that overflow. */
	for (size_t at = 0; at + 8 <= size; at++) {
		u64 was, all = ~0UL - at;

		memcpy(&was, file + at, 8);
		memcpy(file + at, &all, 8);
		look(file, size);
		memcpy(file + at, &was, 8);
	}
	cr_assert_null(elf_open(&e, file, size));
}

Test(debug_tool, elf_symbols)
{
	size_t size;
	u8 *file = build64(&size);

	check_good(file, size, true);
	spoil(file, size);
	free(file);
	file = build32(&size);
	check_good(file, size, false);
	spoil(file, size);
	free(file);
}

/* So many sections that their number is in the first of them. */
Test(debug_tool, elf_with_many_sections)
{
	size_t size;
	u8 *file = build64(&size);
	Elf64_Ehdr *h = (void *)file;
	Elf64_Shdr first = { .sh_size = 3 };

	h->e_shnum = 0;
	memcpy(file + h->e_shoff, &first, sizeof(first));
	check_good(file, size, true);
	first.sh_size = ~0UL;
	memcpy(file + h->e_shoff, &first, sizeof(first));
	check_good(file, size, true);
	free(file);
}

Test(debug_tool, elf_refused)
{
	size_t size;
	u8 *file = build64(&size);
	struct elf e;

	cr_assert(strstr(elf_open(&e, (const u8 *)"", 0), "not an ELF"));
	cr_assert(strstr(elf_open(&e, (const u8 *)"MZ and a bzImage's header", 25), "not an ELF"));
	cr_assert(strstr(elf_open(&e, file, 30), "cut short"));
	file[EI_CLASS] = 3;
	cr_assert(strstr(elf_open(&e, file, size), "not for x86"));
	file[EI_CLASS] = ELFCLASS64;
	file[EI_DATA] = ELFDATA2MSB;
	cr_assert(strstr(elf_open(&e, file, size), "not for x86"));
	file[EI_DATA] = ELFDATA2LSB;
	((Elf64_Ehdr *)(void *)file)->e_machine = EM_AARCH64;
	cr_assert(strstr(elf_open(&e, file, size), "not for x86"));
	((Elf64_Ehdr *)(void *)file)->e_machine = EM_X86_64;
	((Elf64_Ehdr *)(void *)file)->e_shnum = 1;
	cr_assert(strstr(elf_open(&e, file, size), "no symbol table"));
	free(file);
}
