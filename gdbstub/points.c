/*
 * points.c - the breakpoints and watchpoints GDB has set, as conditions of
 * journeys.
 *
 * GDB takes all of them away at each stop and sets them again at the next
 * resume; a point it sets twice is one point, its conditions the new ones.
 *
 * Conditions are evaluated here, so that a conditional breakpoint costs GDB
 * nothing until it holds.  GDB evaluates them again itself: so what cannot be
 * evaluated, or kept, counts as true.
 */
#include "gdbstub/agent.h"
#include "gdbstub/stub.h"

#define MAX_WATCH_BYTES MIB(1)

/* ---- the table ---- */

static void forget_code(struct gdb *g, struct point *p)
{
	u32 end = p->code_at + p->code_size;

	memmove(g->code + p->code_at, g->code + end, g->code_size - end);
	g->code_size -= p->code_size;
	for (unsigned i = 0; i < g->npoints; i++)
		if (g->point[i].code_at >= end)
			g->point[i].code_at -= p->code_size;
	p->code_at = p->code_size = 0;
}

static void remove_point(struct gdb *g, unsigned i)
{
	forget_code(g, &g->point[i]);
	g->npoints--;
	memmove(&g->point[i], &g->point[i + 1], (g->npoints - i) * sizeof(g->point[0]));
	memmove(&g->watch[i], &g->watch[i + 1], (g->npoints - i) * sizeof(g->watch[0]));
}

void points_clear(struct gdb *g)
{
	g->npoints = 0;
	g->code_size = 0;
}

static unsigned find_point(const struct gdb *g, enum point_type type, const struct watch *w)
{
	unsigned i = 0;

	while (i < g->npoints &&
	       (g->point[i].type != type || g->watch[i].at != w->at || g->watch[i].size_bytes != w->size_bytes))
		i++;
	return i;
}

/* TYPE,ADDRESS,KIND: what KIND means depends on the type. */
static bool take_point(const char **s, enum point_type *type, struct watch *w)
{
	static const enum watch_kind kinds[NPOINT_TYPES] = { WATCH_EXEC, WATCH_EXEC, WATCH_WRITE, WATCH_READ,
							     WATCH_ACCESS };

	if (**s < '0' || **s >= '0' + NPOINT_TYPES)
		return false;
	*type = (enum point_type)(*(*s)++ - '0');
	w->kind = kinds[*type];
	if (!take(s, ",") || !take_hex(s, &w->at) || !take(s, ",") || !take_hex(s, &w->size_bytes))
		return false;
	if (w->kind == WATCH_EXEC)
		w->size_bytes = 1;
	return w->size_bytes && w->size_bytes <= MAX_WATCH_BYTES && w->at + (w->size_bytes - 1) >= w->at;
}

/*
 * ;XLEN,BYTES...: several one behind the other.  All are kept or, where there is
 * no room or nonsense among them, none: without conditions GDB decides.
 */
static void take_conditions(struct gdb *g, struct point *p, const char *s)
{
	u64 n;

	if (!take(&s, ";"))
		return;
	p->code_at = g->code_size;
	while (take(&s, "X")) {
		u8 *to = g->code + g->code_size;

		if (!take_hex(&s, &n) || !take(&s, ","))
			break;
		if (n > POINT_CODE_BYTES - 2 || g->code_size + n + 2 > POINT_CODE_BYTES || !take_bytes(&s, to + 2, n))
			break;
		write_bytes_le(to, 2, n);
		g->code_size += (u32)n + 2;
		p->code_size += (u32)n + 2;
	}
	if (!*s && p->code_size)
		return;
	g->code_size = p->code_at;
	p->code_at = p->code_size = 0;
}

void points_insert(struct gdb *g, const char *args)
{
	struct point *p;
	struct watch w;
	enum point_type type;
	unsigned i;

	if (!take_point(&args, &type, &w)) {
		packet_reply(&g->io, "E22");
		return;
	}
	i = find_point(g, type, &w);
	if (i == MAX_POINTS) {
		packet_reply(&g->io, "E28");
		return;
	}
	p = &g->point[i];
	if (i < g->npoints) {
		forget_code(g, p);
	} else {
		*p = (struct point){ .type = type };
		g->watch[i] = w;
		g->npoints++;
	}
	take_conditions(g, p, args);
	packet_reply(&g->io, "OK");
}

void points_remove(struct gdb *g, const char *args)
{
	struct watch w;
	enum point_type type;
	unsigned i;

	if (!take_point(&args, &type, &w)) {
		packet_reply(&g->io, "E22");
		return;
	}
	i = find_point(g, type, &w);
	if (i < g->npoints)
		remove_point(g, i);
	packet_reply(&g->io, "OK");
}

/* ---- conditions ---- */

static bool ask_reg(void *ctx, unsigned n, u64 *value)
{
	const struct gdb *g = ctx;
	u8 buf[REG_MAX_BYTES];
	unsigned size = regs_read(&gdb_vcpu(g)->cpu, g->arch, n, buf);

	*value = read_bytes_le(buf, MIN(size, 8U));
	return size && size <= 8;
}

static bool ask_memory(void *ctx, u64 at, u8 *buf, unsigned n)
{
	return memory_read(ctx, false, at, buf, n) == n;
}

unsigned points_vcpu(const struct gdb *g, unsigned i)
{
	const struct vm *vm = gdb_vm(g);
	const struct watch *w = &g->watch[i];

	for (unsigned k = 0; w->kind == WATCH_EXEC && k < vm->config.ncpus; k++)
		if (regs_pc(&vm->vcpu[(g->vcpu + k) % vm->config.ncpus].cpu) == w->at)
			return (g->vcpu + k) % vm->config.ncpus;
	return g->vcpu;
}

static bool evaluate(struct gdb *g, const struct point *p)
{
	const struct agent_machine m = { ask_reg, ask_memory, g };
	const u8 *code = g->code + p->code_at, *end = code + p->code_size;
	bool holds = !p->code_size;
	u64 value;

	while (!holds && code < end) {
		size_t n = read_bytes_le(code, 2);

		holds = agent_eval(code + 2, n, &m, &value) || value;
		code += 2 + n;
	}
	return holds;
}

/*
 * Without conditions, or when any of them is true or cannot be told.  May be
 * asked in a fork that is thrown away: leaves nothing behind.
 */
static bool point_holds(void *ctx, unsigned i)
{
	struct gdb *g = ctx;
	unsigned vcpu = g->vcpu;
	bool holds;

	g->vcpu = points_vcpu(g, i);
	holds = evaluate(g, &g->point[i]);
	g->vcpu = vcpu;
	return holds;
}

struct conditions points_conditions(struct gdb *g)
{
	return (struct conditions){ .watches = g->watch, .nwatches = g->npoints, .holds = point_holds, .ctx = g };
}

/* ---- steps ---- */

/*
 * A step has no conditions, and GDB wants to hear of a watchpoint all the
 * same: a step that has changed what is watched has hit it.  (One that only
 * reads is not seen, nor one that writes what was there.)  A step that loads
 * CR3 shows other memory at the same addresses, and stores nothing.
 */
static u64 contents(const struct gdb *g, const struct watch *w)
{
	u64 hash = 0xcbf29ce484222325UL; /* FNV-1a */
	u8 buf[256];
	size_t part;

	for (u64 done = 0; done < w->size_bytes; done += part) {
		part = MIN(w->size_bytes - done, sizeof(buf));
		part = memory_read(g, false, w->at + done, buf, part);
		if (!part)
			break;
		for (size_t i = 0; i < part; i++)
			hash = (hash ^ buf[i]) * 0x100000001b3UL;
	}
	return hash;
}

void points_before_step(struct gdb *g)
{
	g->cr3_before = gdb_vcpu(g)->cpu.cr3;
	for (unsigned i = 0; i < g->npoints; i++)
		if (g->watch[i].kind == WATCH_WRITE || g->watch[i].kind == WATCH_ACCESS)
			g->point[i].before = contents(g, &g->watch[i]);
}

bool points_after_step(struct gdb *g, struct travel *hit)
{
	const struct cpu_state *s = &gdb_vcpu(g)->cpu;
	bool same_space = s->cr3 == g->cr3_before;

	for (unsigned i = 0; i < g->npoints; i++) {
		const struct watch *w = &g->watch[i];
		bool met = w->kind == WATCH_EXEC ? w->at == regs_pc(s)
						 : w->kind != WATCH_READ && same_space && contents(g, w) != g->point[i].before;

		if (!met || !point_holds(g, i))
			continue;
		*hit = (struct travel){ .end = TRAVEL_HIT, .watch = i, .linear = w->at };
		return true;
	}
	return false;
}
