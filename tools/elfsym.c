/*
 * elfsym.c - symbols and sections of an ELF file for x86.  See elfsym.h.
 *
 * The file is anybody's: nothing of it is believed, every offset is checked
 * against its size, and structures are copied out, for nothing aligns them.
 * Files of both classes are read into the structures of the larger one.
 */
#include <elf.h>

#include "tools/elfsym.h"

/* size bytes at offset, or NULL if the file has not got them. */
static const u8 *piece(const struct elf *e, u64 offset, u64 size)
{
	return offset <= e->size && size <= e->size - offset ? e->data + offset : NULL;
}

static bool read_section(const struct elf *e, u64 index, Elf64_Shdr *s)
{
	u64 entry = e->is_64 ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
	const u8 *at = index < e->size ? piece(e, e->sections, (index + 1) * entry) : NULL;
	Elf32_Shdr small;

	if (!at)
		return false;
	at += index * entry;
	if (e->is_64) {
		memcpy(s, at, sizeof(*s));
		return true;
	}
	memcpy(&small, at, sizeof(small));
	*s = (Elf64_Shdr){
		.sh_name = small.sh_name, .sh_type = small.sh_type, .sh_flags = small.sh_flags, .sh_addr = small.sh_addr,
		.sh_offset = small.sh_offset, .sh_size = small.sh_size, .sh_link = small.sh_link,
	};
	return true;
}

/* table holds it: the caller has looked. */
static Elf64_Sym read_symbol(const struct elf *e, const u8 *table, u64 index)
{
	Elf64_Sym s;
	Elf32_Sym small;

	if (e->is_64) {
		memcpy(&s, table + index * sizeof(s), sizeof(s));
		return s;
	}
	memcpy(&small, table + index * sizeof(small), sizeof(small));
	return (Elf64_Sym){
		.st_name = small.st_name, .st_info = small.st_info, .st_shndx = small.st_shndx, .st_value = small.st_value,
		.st_size = small.st_size,
	};
}

static bool has_table(const struct elf *e)
{
	Elf64_Shdr s;

	for (u64 i = 0; i < e->nsections && read_section(e, i, &s); i++)
		if (s.sh_type == SHT_SYMTAB)
			return true;
	return false;
}

const char *elf_open(struct elf *e, const u8 *data, size_t size)
{
	Elf64_Shdr first;
	Elf64_Ehdr h;
	Elf32_Ehdr small;

	*e = (struct elf){ .data = data, .size = size };
	if (size < EI_NIDENT || memcmp(data, ELFMAG, SELFMAG))
		return "not an ELF file; give the kernel with its symbols, Linux's vmlinux, not what is booted";
	e->is_64 = data[EI_CLASS] == ELFCLASS64;
	if (size < (e->is_64 ? sizeof(h) : sizeof(small)))
		return "an ELF file cut short; build or copy it again";
	/* These fields lie at one place in both. */
	memcpy(&small, data, sizeof(small));
	if (data[EI_DATA] != ELFDATA2LSB || (small.e_machine != EM_X86_64 && small.e_machine != EM_386) ||
	    (!e->is_64 && data[EI_CLASS] != ELFCLASS32))
		return "an ELF file, but not for x86; give the symbols of the recorded kernel";
	e->sections = small.e_shoff;
	e->nsections = small.e_shnum;
	e->names = small.e_shstrndx;
	if (e->is_64) {
		memcpy(&h, data, sizeof(h));
		e->sections = h.e_shoff;
		e->nsections = h.e_shnum;
		e->names = h.e_shstrndx;
	}
	/* More sections than the field holds: their number is in the first one [ELF, Section Header, e_shnum]. */
	if (!e->nsections && e->sections && read_section(e, 0, &first))
		e->nsections = first.sh_size;
	if (e->names == SHN_XINDEX && read_section(e, 0, &first))
		e->names = first.sh_link;
	if (!has_table(e))
		return "has no symbol table; give the file from before it was stripped";
	return NULL;
}

/* The symbol's name is the one wanted; size counts the 0 behind it. */
static bool named(const u8 *strings, u64 strings_size, u64 at, const char *name, size_t size)
{
	return at < strings_size && size <= strings_size - at && !memcmp(strings + at, name, size);
}

static bool find_in(const struct elf *e, const Elf64_Shdr *table, const char *name, u64 *value)
{
	u64 entry = e->is_64 ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
	const u8 *symbols = piece(e, table->sh_offset, table->sh_size), *strings;
	size_t name_size = strlen(name) + 1;
	bool found = false;
	Elf64_Shdr names;

	if (!symbols || table->sh_link >= e->nsections || !read_section(e, table->sh_link, &names))
		return false;
	strings = piece(e, names.sh_offset, names.sh_size);
	for (u64 i = 0; strings && i < table->sh_size / entry; i++) {
		Elf64_Sym s = read_symbol(e, symbols, i);
		bool global = ELF64_ST_BIND(s.st_info) != STB_LOCAL;

		if (s.st_shndx == SHN_UNDEF || ELF64_ST_TYPE(s.st_info) == STT_FILE || (found && !global) ||
		    !named(strings, names.sh_size, s.st_name, name, name_size))
			continue;
		*value = s.st_value;
		found = true;
		if (global)
			break;
	}
	return found;
}

bool elf_symbol(const struct elf *e, const char *name, u64 *value)
{
	Elf64_Shdr s;

	for (u64 i = 0; i < e->nsections && read_section(e, i, &s); i++)
		if (s.sh_type == SHT_SYMTAB && find_in(e, &s, name, value))
			return true;
	return false;
}

/* ---- all of them ---- */

/* The string at an offset of a table of strings; "" where none ends in it. */
static const char *string(const u8 *strings, u64 size, u64 at)
{
	return strings && at < size && memchr(strings + at, 0, size - at) ? (const char *)strings + at : "";
}

static bool in_code(const struct elf *e, const Elf64_Sym *s)
{
	unsigned type = ELF64_ST_TYPE(s->st_info);
	Elf64_Shdr section;

	if (s->st_shndx == SHN_UNDEF || (type != STT_NOTYPE && type != STT_FUNC && type != STT_GNU_IFUNC))
		return false;
	/* Behind so many sections their number is elsewhere: whatever is no absolute number will be code. */
	if (s->st_shndx >= SHN_LORESERVE)
		return s->st_shndx == SHN_XINDEX && type != STT_NOTYPE;
	return read_section(e, s->st_shndx, &section) && (section.sh_flags & SHF_EXECINSTR);
}

static void tell_of(const struct elf *e, const Elf64_Shdr *table, void (*take)(void *ctx, const struct elf_symbol *s), void *ctx)
{
	u64 entry = e->is_64 ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
	const u8 *symbols = piece(e, table->sh_offset, table->sh_size), *strings;
	Elf64_Shdr names;

	if (!symbols || table->sh_link >= e->nsections || !read_section(e, table->sh_link, &names))
		return;
	strings = piece(e, names.sh_offset, names.sh_size);
	for (u64 i = 0; i < table->sh_size / entry; i++) {
		Elf64_Sym s = read_symbol(e, symbols, i);
		const struct elf_symbol found = {
			.name = string(strings, names.sh_size, s.st_name), .value = s.st_value, .size = s.st_size,
			.is_function = ELF64_ST_TYPE(s.st_info) != STT_NOTYPE, .is_global = ELF64_ST_BIND(s.st_info) != STB_LOCAL,
		};

		if (*found.name && in_code(e, &s))
			take(ctx, &found);
	}
}

void elf_code_symbols(const struct elf *e, void (*take)(void *ctx, const struct elf_symbol *s), void *ctx)
{
	Elf64_Shdr s;

	for (u64 i = 0; i < e->nsections && read_section(e, i, &s); i++)
		if (s.sh_type == SHT_SYMTAB)
			tell_of(e, &s, take, ctx);
}

bool elf_section(const struct elf *e, u64 index, struct elf_section *s)
{
	Elf64_Shdr h, names;
	bool named_ones = e->names < e->nsections && read_section(e, e->names, &names);

	if (index >= e->nsections || !read_section(e, index, &h))
		return false;
	*s = (struct elf_section){
		.name = named_ones ? string(piece(e, names.sh_offset, names.sh_size), names.sh_size, h.sh_name) : "",
		.data = h.sh_type == SHT_NOBITS || (h.sh_flags & SHF_COMPRESSED) ? NULL : piece(e, h.sh_offset, h.sh_size),
		.address = h.sh_addr,
		.size = h.sh_size,
		.is_code = (h.sh_flags & SHF_ALLOC) && (h.sh_flags & SHF_EXECINSTR),
	};
	return true;
}

bool elf_has_debug_info(const struct elf *e)
{
	struct elf_section s;

	for (u64 i = 0; elf_section(e, i, &s); i++)
		if (!strcmp(s.name, ".debug_info"))
			return true;
	return false;
}
