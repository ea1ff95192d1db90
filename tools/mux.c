/*
 * mux.c - several consoles on one.  See mux.h.
 */
#include "tools/mux.h"

enum { MARK = 0xff, LONGEST = 8192 };

/* ---- what is shown ---- */

static void prefix(struct mux *m, unsigned i)
{
	static const u8 colour[MUX_MAX] = { 36, 33, 35, 32, 34, 31, 96, 93 };
	int width = 0;

	for (unsigned k = 0; k < m->n; k++)
		width = MAX(width, (int)strlen(m->name[k]));
	if (m->terminal)
		buf_printf(&m->shown, "\033[%um%-*s |\033[m ", colour[i], width, m->name[i]);
	else
		buf_printf(&m->shown, "%-*s | ", width, m->name[i]);
}

/* A piece of one's line, or all of it. */
static void show(struct mux *m, unsigned i, size_t size)
{
	struct buf *line = &m->line[i];

	if (!size)
		return;
	if (m->open >= 0 && m->open != (int)i)
		buf_add(&m->shown, "\n", 1);
	if (m->open != (int)i)
		prefix(m, i);
	buf_add(&m->shown, line->data, size);
	m->open = line->data[size - 1] == '\n' ? -1 : (int)i;
	memmove(line->data, line->data + size, line->size - size);
	line->size -= size;
}

static void add(struct mux *m, u8 byte)
{
	struct buf *line = &m->line[m->from];

	buf_add(line, &byte, 1);
	if (byte == '\n' || line->size == LONGEST)
		show(m, m->from, line->size);
}

void mux_start(struct mux *m)
{
	m->open = -1;
}

void mux_take(struct mux *m, const u8 *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (m->marked && bytes[i] != MARK)
			m->from = bytes[i] < m->n ? bytes[i] : 0;
		else if (m->marked || bytes[i] != MARK)
			add(m, bytes[i]);
		m->marked = !m->marked && bytes[i] == MARK;
	}
	if (m->terminal)
		show(m, m->keyboard, m->line[m->keyboard].size);
}

void mux_finish(struct mux *m)
{
	for (unsigned i = 0; i < m->n; i++)
		show(m, i, m->line[i].size);
	if (m->open >= 0)
		buf_add(&m->shown, "\n", 1);
	m->open = -1;
}

/* ---- what is typed ---- */

void mux_type(const u8 *bytes, size_t size, struct buf *out)
{
	static const u8 mark[2] = { MARK, MARK };

	for (size_t i = 0; i < size; i++)
		buf_add(out, bytes[i] == MARK ? mark : &bytes[i], bytes[i] == MARK ? 2 : 1);
}

void mux_point(const struct mux *m, struct buf *out)
{
	buf_add(out, (const u8[2]){ MARK, (u8)m->keyboard }, 2);
}

void mux_free(struct mux *m)
{
	for (unsigned i = 0; i < m->n; i++)
		buf_free(&m->line[i]);
	buf_free(&m->shown);
}
