/*
 * cfi.c - call frame information of an ELF file.  See cfi.h.
 *
 * The file is anybody's: all is read through a struct reader, which never
 * leaves its bytes and remembers that it was asked to.
 */
#include <stdlib.h>

#include "tools/cfi.h"

/* ---- reading ---- */

struct reader {
	const u8 *at, *end;
	bool bad;
};

static u64 number(struct reader *r, unsigned size)
{
	u64 v = 0;

	if ((size_t)(r->end - r->at) < size) {
		r->bad = true;
		r->at = r->end;
		return 0;
	}
	memcpy(&v, r->at, size);
	r->at += size;
	return v;
}

/* [DWARF5 7.6 Variable Length Data] */
static u64 leb128(struct reader *r, bool is_signed)
{
	unsigned shift = 0;
	u64 v = 0;
	u8 b;

	do {
		b = (u8)number(r, 1);
		if (shift < 64)
			v |= (u64)(b & 0x7f) << shift;
		shift += 7;
	} while (b & 0x80);
	if (is_signed && (b & 0x40) && shift < 64)
		v |= ~0UL << shift;
	return v;
}

/* Pointers of .eh_frame [LSB 10.5.1 DWARF Exception Header Encoding]. */
enum { PE_FORMAT = 0x0f, PE_BASE = 0x70, PE_PCREL = 0x10, PE_INDIRECT = 0x80 };

static u64 pointer(struct reader *r, unsigned encoding, const struct cfi_source *in)
{
	u64 base = (encoding & PE_BASE) == PE_PCREL ? in->address + (u64)(r->at - in->data) : 0;

	if ((encoding & PE_INDIRECT) || ((encoding & PE_BASE) && (encoding & PE_BASE) != PE_PCREL))
		r->bad = true;
	switch (encoding & PE_FORMAT) {
	case 0x0:
	case 0x4:
	case 0xc: return base + number(r, 8);
	case 0x1: return base + leb128(r, false);
	case 0x2: return base + number(r, 2);
	case 0x3: return base + number(r, 4);
	case 0x9: return base + leb128(r, true);
	case 0xa: return base + (u64)(s64)(s16)number(r, 2);
	case 0xb: return base + (u64)(s64)(s32)number(r, 4);
	}
	r->bad = true;
	return 0;
}

/* A record's length and what it begins with, in both sizes of the format. */
struct record {
	const u8 *next;
	const u8 *id_at;
	u64 id;
	bool is_cie;
	struct reader rest;
};

/* False: no more. */
static bool open_record(const struct cfi_source *in, const u8 *at, struct record *r)
{
	struct reader h = { .at = at, .end = in->data + in->size };
	u64 size = number(&h, 4);
	unsigned id_size = 4;

	if (size == 0xffffffff) {
		size = number(&h, 8);
		id_size = 8;
	}
	if (h.bad || size > (u64)(h.end - h.at))
		return false;
	*r = (struct record){ .next = h.at + size, .id_at = h.at };
	h.end = r->next;
	if (!size) { /* a terminator; the linker may have put more behind it */
		r->rest = (struct reader){ .at = h.at, .end = h.at, .bad = true };
		return true;
	}
	if (in->is_eh)
		id_size = 4;
	r->id = number(&h, id_size);
	r->is_cie = in->is_eh ? !r->id : r->id == (id_size == 8 ? ~0UL : 0xffffffffUL);
	r->rest = h;
	return true;
}

/* What entries have in common. */
struct cie {
	const u8 *factors, *factors_end; /* the alignment factors, two numbers of unknown size */
	u64 return_column;
	unsigned encoding;
	bool has_size, is_signal;
	struct reader program;
};

static void read_augmentation(struct reader *r, const char *letters, const struct cfi_source *in, struct cie *c)
{
	u64 size = leb128(r, false);
	struct reader a = { .at = r->at, .end = r->end };

	if (size > (u64)(r->end - r->at)) {
		r->bad = true;
		return;
	}
	r->at += size;
	a.end = r->at;
	for (; *letters; letters++) {
		switch (*letters) {
		case 'R': c->encoding = (unsigned)number(&a, 1); break;
		case 'L': number(&a, 1); break;
		case 'P': pointer(&a, (unsigned)number(&a, 1) & ~(unsigned)PE_INDIRECT, in); break;
		case 'S': c->is_signal = true; break;
		case 'B': break;
		default: return; /* what it means is not known, but how long it is */
		}
	}
	r->bad |= a.bad;
}

static bool read_cie(const struct cfi_source *in, const struct record *rec, struct cie *c)
{
	struct reader r = rec->rest;
	unsigned version = (unsigned)number(&r, 1);
	const char *letters = (const char *)r.at;
	const u8 *end = memchr(r.at, 0, (size_t)(r.end - r.at));

	*c = (struct cie){ 0 };
	if (!rec->is_cie || r.bad || !end || (version != 1 && version != 3 && version != 4) || (*letters && *letters != 'z'))
		return false;
	r.at = end + 1;
	if (version == 4 && number(&r, 2) != 8) /* size of an address, size of a segment's number */
		return false;
	c->factors = r.at;
	leb128(&r, false);
	leb128(&r, true);
	c->factors_end = r.at;
	c->return_column = version == 1 ? number(&r, 1) : leb128(&r, false);
	c->has_size = *letters;
	if (*letters)
		read_augmentation(&r, letters + 1, in, c);
	c->program = r;
	return !r.bad && c->return_column < 128;
}

struct fde {
	u64 start, size;
	struct reader program;
	struct cie cie;
};

static bool read_fde(const struct cfi_source *in, const struct record *rec, struct fde *f)
{
	u64 here = (u64)(rec->id_at - in->data), at = in->is_eh ? here - rec->id : rec->id;
	struct reader r = rec->rest;
	struct record common;

	if (r.bad || rec->is_cie || at >= in->size || !open_record(in, in->data + at, &common) || !read_cie(in, &common, &f->cie))
		return false;
	f->start = pointer(&r, f->cie.encoding, in);
	f->size = pointer(&r, f->cie.encoding & PE_FORMAT, in);
	if (f->cie.has_size) {
		u64 skipped = leb128(&r, false);

		if (r.bad || skipped > (u64)(r.end - r.at))
			return false;
		r.at += skipped;
	}
	f->program = r;
	return !r.bad && f->start <= ~f->size;
}

/* ---- the table ---- */

static void index_source(struct cfi *c, const struct cfi_source *in)
{
	struct record rec;
	struct fde f;

	for (const u8 *at = in->data; open_record(in, at, &rec); at = rec.next) {
		if (!read_fde(in, &rec, &f) || !f.size)
			continue;
		if (c->n == c->room) {
			c->room = c->room * 2 + 1024;
			c->list = need(realloc(c->list, c->room * sizeof(*c->list)));
		}
		c->list[c->n++] = (struct cfi_entry){ .start = f.start, .end = f.start + f.size, .record = at, .in = in };
	}
}

static int compare(const void *a, const void *b)
{
	const struct cfi_entry *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->record < y->record ? -1 : x->record > y->record;
}

void cfi_read(struct cfi *c, const struct elf *e)
{
	struct elf_section s;

	*c = (struct cfi){ 0 };
	if (!e->is_64)
		return;
	for (u64 i = 0; elf_section(e, i, &s); i++) {
		bool is_eh = !strcmp(s.name, ".eh_frame");
		struct cfi_source *in = &c->source[is_eh];

		if (!s.data || in->data || (!is_eh && strcmp(s.name, ".debug_frame")))
			continue;
		*in = (struct cfi_source){ .data = s.data, .address = s.address, .size = s.size, .is_eh = is_eh };
		index_source(c, in);
	}
	if (c->n)
		qsort(c->list, c->n, sizeof(*c->list), compare);
}

void cfi_free(struct cfi *c)
{
	free(c->list);
	*c = (struct cfi){ 0 };
}

static const struct cfi_entry *find(const struct cfi *c, u64 at)
{
	size_t low = 0, high = c->n;

	while (high - low > 1) {
		size_t mid = (low + high) / 2;

		*(c->list[mid].start <= at ? &low : &high) = mid;
	}
	return c->n && at >= c->list[low].start && at < c->list[low].end ? &c->list[low] : NULL;
}

bool cfi_covers(const struct cfi *c, u64 at)
{
	return find(c, at);
}

/* ---- handing out ---- */

static void put_number(struct buf *b, u64 v, unsigned size)
{
	buf_add(b, &v, size);
}

/* Ends a record begun at `from`: a multiple of 8 bytes, and its length. */
static void close_record(struct buf *b, size_t from)
{
	u32 size;

	while ((b->size - from) % 8)
		put_number(b, 0 /* DW_CFA_nop */, 1);
	size = (u32)(b->size - from - 4);
	memcpy(b->data + from, &size, 4);
}

bool cfi_extract(const struct cfi *c, u64 at, u64 offset, struct buf *out, size_t *entry_at)
{
	const struct cfi_entry *e = find(c, at);
	size_t common = out->size;
	struct record rec;
	struct fde f;

	if (!e || !open_record(e->in, e->record, &rec) || !read_fde(e->in, &rec, &f))
		return false;
	put_number(out, 0, 4);
	put_number(out, 0, 4); /* a CIE */
	put_number(out, 1, 1);
	buf_add(out, f.cie.is_signal ? "zRS" : "zR", f.cie.is_signal ? 4 : 3);
	buf_add(out, f.cie.factors, (size_t)(f.cie.factors_end - f.cie.factors));
	put_number(out, f.cie.return_column, 1);
	put_number(out, 1, 1);
	put_number(out, 0x04, 1); /* R: addresses are absolute, of 8 bytes */
	buf_add(out, f.cie.program.at, (size_t)(f.cie.program.end - f.cie.program.at));
	close_record(out, common);
	*entry_at = out->size;
	put_number(out, 0, 4);
	put_number(out, out->size - common, 4);
	put_number(out, f.start + offset, 8);
	put_number(out, f.size, 8);
	put_number(out, 0, 1);
	buf_add(out, f.program.at, (size_t)(f.program.end - f.program.at));
	close_record(out, *entry_at);
	return true;
}
