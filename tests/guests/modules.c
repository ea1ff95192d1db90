/*
 * modules.c - a kernel that keeps a list of loaded modules as Linux does, for those
 * who read it from outside [tools/reprise.gdb]: first it is empty, then it has one
 * module, then another, too, which has no file, and one with a name for a shell.
 *
 * The types have Linux's names and as many of its members as are looked at
 * (Linux 6.1, include/linux/module.h and kernel/module/sysfs.c).  The module's code is
 * mod-one.c's, put here as bytes: this kernel has no symbol for it.
 */
#include "guest.h"

const char guest_name[] = "modules";

struct list_head {
	struct list_head *next, *prev;
};

struct attribute {
	const char *name;
	u16 mode;
};

struct bin_attribute {
	struct attribute attr;
	size_t size;
};

struct module_sect_attr {
	struct bin_attribute battr;
	unsigned long address;
};

struct module_sect_attrs {
	unsigned nsections;
	struct module_sect_attr attrs[4];
};

struct module {
	int state;
	struct list_head list;
	char name[56];
	struct module_sect_attrs *sect_attrs;
};

/* Its .text, from mod-one.o, and where that is loaded to: not where this kernel is. */
__asm__(".pushsection .rodata\nmod_text:\n\t.incbin \"mod-one.bin\"\nmod_text_end:\n\t.popsection");
extern const u8 mod_text[], mod_text_end[];
#define MODULE_AT 0x1000000UL

static struct module_sect_attrs sections = {
	.nsections = 4,
	.attrs = { { .battr.attr.name = ".init.text" }, { .battr.attr.name = ".text" }, { .battr.attr.name = ".data" },
		   { .battr.attr.name = ".x|touch evil;" } },
};
static u64 data[8];
struct list_head modules = { &modules, &modules };
static struct module one = { .name = "mod_number_one", .sect_attrs = &sections };
static struct module two = { .name = "mod_two", .sect_attrs = &sections };
static struct module evil = { .name = "x';touch evil;'", .sect_attrs = &sections }; /* a guest may call one so */

static void load(struct module *m)
{
	m->list = (struct list_head){ &modules, modules.prev };
	modules.prev->next = &m->list;
	modules.prev = &m->list;
}

void guest_main(void)
{
	/* mod_work() is all there is in it. */
	u64 (*work)(u64) = (u64 (*)(u64))MODULE_AT;
	u8 *to = (u8 *)MODULE_AT;

	for (size_t i = 0; i < (size_t)(mod_text_end - mod_text); i++)
		to[i] = mod_text[i];
	sections.attrs[0].address = 0x1000; /* long gone */
	sections.attrs[1].address = MODULE_AT;
	sections.attrs[2].address = (uintptr_t)data;
	mix(work(1));
	load(&one);
	mix(work(2));
	load(&two);
	load(&evil);
	check(work(3) == 22);
}
