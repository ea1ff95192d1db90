/*
 * unwind.c - walking up a guest's stack.  See unwind.h; the numbers here are
 * those of its list.
 *
 * libunwind takes one step at a time, with fresh accessors over the registers
 * at hand: so all ways of a step can be mixed.  The entry it needs [cfi.h] it
 * is shown in a window of addresses that no guest has, in front of it a table
 * of that entry alone.
 */
#include <libunwind.h>

#include "tools/unwind.h"

/* Declared in none of its headers, yet exported for just this: what a find_proc_info of one's own ends with. */
#define dwarf_search_unwind_table UNW_OBJ(dwarf_search_unwind_table)
int dwarf_search_unwind_table(unw_addr_space_t as, unw_word_t ip, unw_dyn_info_t *di, unw_proc_info_t *pi, int need_unwind_info,
			      void *arg);

#define WINDOW 0x5250000000000000UL /* not canonical */
#define SCAN_WORDS 64       /* how far above the stack pointer an entry stub's frame may lie */
#define FRAME_MAX_BYTES MIB(1)

struct walk {
	const struct unwinder *u;
	u64 r[DW_REGS];
	u16 cs;             /* of ring 0 */
	bool exact;         /* rip is the next instruction, not a return address */
	bool is_user;
	struct buf window;
};

static bool read_word(const struct walk *w, u64 at, u64 *v)
{
	*v = 0;
	return w->u->read(w->u->ctx, at, v, w->u->is_64 ? 8 : 4);
}

static bool in_code(const struct walk *w, u64 at)
{
	return is_code(w->u->functions, at - w->u->offset);
}

static bool is_canonical(u64 at)
{
	return (u64)((s64)(at << 16) >> 16) == at;
}

/* ---- 1  libunwind ---- */

static int access_mem(unw_addr_space_t as unused_arg, unw_word_t at, unw_word_t *value, int write, void *ctx)
{
	struct walk *w = ctx;

	if (write)
		return -UNW_EREADONLYREG;
	*value = 0;
	if (at >= WINDOW && at - WINDOW < w->window.size) {
		memcpy(value, w->window.data + (at - WINDOW), MIN(8UL, w->window.size - (at - WINDOW)));
		return 0;
	}
	return w->u->read(w->u->ctx, at, value, 8) ? 0 : -UNW_EINVAL;
}

static int access_reg(unw_addr_space_t as unused_arg, unw_regnum_t n, unw_word_t *value, int write, void *ctx)
{
	struct walk *w = ctx;

	if (write || n < 0 || n >= DW_REGS)
		return -UNW_EBADREG;
	*value = w->r[n];
	/* What was called is told from where the call stands, not from behind it: there may be another function. */
	if (n == DW_RIP && !w->exact)
		*value -= 1;
	return 0;
}

static int access_fpreg(unw_addr_space_t as unused_arg, unw_regnum_t n unused_arg, unw_fpreg_t *value unused_arg,
			int write unused_arg, void *ctx unused_arg)
{
	return -UNW_EBADREG;
}

static int find_proc_info(unw_addr_space_t as, unw_word_t ip, unw_proc_info_t *pi, int need, void *ctx)
{
	struct walk *w = ctx;
	const s32 lowest[2] = { (s32)0x80000000, 0 };
	unw_dyn_info_t table = {
		.start_ip = 0, .end_ip = ~0UL, .format = UNW_INFO_FORMAT_REMOTE_TABLE,
		.u.rti = { .segbase = WINDOW, .table_len = 1, .table_data = WINDOW },
	};
	size_t entry;

	w->window.size = 0;
	buf_add(&w->window, lowest, sizeof(lowest));
	if (!cfi_extract(w->u->cfi, ip - w->u->offset, w->u->offset, &w->window, &entry))
		return -UNW_ENOINFO;
	/* One entry, from the lowest address on, whatever the address looked for. */
	memcpy(w->window.data + 4, &(u32){ (u32)entry }, 4);
	return dwarf_search_unwind_table(as, ip, &table, pi, need, ctx);
}

static void put_unwind_info(unw_addr_space_t as unused_arg, unw_proc_info_t *pi unused_arg, void *ctx unused_arg)
{
}

static int no_dynamic_list(unw_addr_space_t as unused_arg, unw_word_t *at unused_arg, void *ctx unused_arg)
{
	return -UNW_ENOINFO;
}

static bool step_library(struct walk *w, u64 r[DW_REGS])
{
	unw_accessors_t accessors = {
		.find_proc_info = find_proc_info, .put_unwind_info = put_unwind_info, .get_dyn_info_list_addr = no_dynamic_list,
		.access_mem = access_mem, .access_reg = access_reg, .access_fpreg = access_fpreg,
	};
	unw_addr_space_t as = unw_create_addr_space(&accessors, 0);
	unw_cursor_t cursor;
	unw_word_t value;
	bool good;

	if (!as)
		return false;
	unw_set_caching_policy(as, UNW_CACHE_NONE);
	good = !unw_init_remote(&cursor, as, w) && unw_step(&cursor) > 0;
	for (int i = 0; i < DW_REGS && good; i++)
		r[i] = unw_get_reg(&cursor, i, &value) ? w->r[i] : value;
	unw_destroy_addr_space(as);
	return good;
}

static bool step_cfi(struct walk *w, u64 r[DW_REGS])
{
	if (!cfi_covers(w->u->cfi, w->r[DW_RIP] - !w->exact - w->u->offset))
		return false;
	return step_library(w, r) && r[DW_RSP] > w->r[DW_RSP];
}

/* ---- 3  what an interrupt left ---- */

/* RIP, CS, RFLAGS, RSP, SS: each can be believed, and more so all together. */
static bool is_interrupt_frame(const struct walk *w, u64 at, u64 f[5])
{
	bool user;

	if (!w->u->is_64 || at % 8 || !w->u->read(w->u->ctx, at, f, 40))
		return false;
	user = (f[1] & 3) == 3;
	if (user ? f[1] < 8 || f[1] > 0xffff || (f[4] & 3) != 3 || f[4] > 0xffff : f[1] != w->cs || (f[4] & 3) || f[4] > 0xffff)
		return false;
	/* Bit 1 is always set; 3, 5, 15 and those from 22 on never are [APM2 3.1.6 RFLAGS Register]. */
	if (!(f[2] & 2) || (f[2] & ~0x3f7fd7UL) || !is_canonical(f[3]) || !f[3])
		return false;
	if (user)
		return f[0] && f[0] < BIT(47);
	/* In a module's code, of which the file knows nothing, perhaps: then in the half where kernels are. */
	return in_code(w, f[0]) || (is_canonical(f[0]) && f[0] >> 63 && w->u->functions->first >> 63);
}

/* struct pt_regs, from its beginning. */
static void take_linux_registers(const struct walk *w, u64 at, u64 r[DW_REGS])
{
	static const u8 order[15] = {
		DW_R15, DW_R14, DW_R13, DW_R12, DW_RBP, DW_RBX, DW_R11, DW_R10, DW_R9, DW_R8, DW_RAX, DW_RCX, DW_RDX, DW_RSI, DW_RDI,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
		(void)!read_word(w, at + 8 * i, &r[order[i]]);
}

/* The frame at `at` is one: r becomes what it came upon. */
static bool leave_interrupt(struct walk *w, u64 at, u64 r[DW_REGS])
{
	u64 f[5];

	if (!is_interrupt_frame(w, at, f))
		return false;
	/* Registers a stub has saved and a handler may not change are as they were: only Linux clears them too. */
	memcpy(r, w->r, sizeof(w->r));
	if (w->u->is_linux && at - w->r[DW_RSP] >= 16 * 8)
		take_linux_registers(w, at - 16 * 8, r);
	r[DW_RIP] = f[0];
	r[DW_RSP] = f[3];
	w->is_user = (f[1] & 3) == 3;
	return true;
}

/*
 * Within the first words, and not beyond this function's own frame if the
 * frame pointer points there: in a stub it still is that of what was interrupted,
 * which lies above.
 */
static bool step_interrupt(struct walk *w, unsigned words, u64 r[DW_REGS])
{
	u64 sp = w->r[DW_RSP], own = w->r[DW_RBP], back;

	if (own >= sp && own - sp < words * 8UL && read_word(w, own + 8, &back) && in_code(w, back))
		words = (unsigned)(own - sp) / 8;

	for (unsigned i = 0; i < words; i++)
		if (leave_interrupt(w, ALIGN_UP(sp, 8UL) + 8UL * i, r))
			return true;
	return false;
}

/* ---- 2, 4  calls ---- */

/* A return address: code, with a call in front of it. */
static bool is_behind_call(const struct walk *w, u64 at, u64 *target)
{
	u8 c[8] = { 0 }; /* the eight bytes in front */
	s32 distance;

	*target = 0;
	if (!in_code(w, at) || !w->u->read(w->u->ctx, at - 7, c + 1, 7))
		return false;
	if (c[3] == 0xe8) { /* CALL rel32 [APM3 CALL] */
		memcpy(&distance, c + 4, 4);
		*target = at + (u64)(s64)distance;
		return true;
	}
	/* CALL reg/mem: FF /2, of two to seven bytes */
	for (unsigned i = 1; i < 7; i++)
		if (c[i] == 0xff && (c[i + 1] & 0x38) == 0x10)
			return true;
	return false;
}

static bool step_call(struct walk *w, u64 r[DW_REGS])
{
	const struct function *f = function_at(w->u->functions, w->r[DW_RIP] - w->u->offset);
	u64 back, target, at = w->r[DW_RSP];

	if (!w->exact || !f || !w->u->is_64 || !read_word(w, at, &back) || !is_behind_call(w, back, &target))
		return false;
	/* A call by register may lead anywhere: believed while nothing was pushed yet. */
	if (target ? target != f->at + w->u->offset : w->r[DW_RIP] != f->at + w->u->offset)
		return false;
	memcpy(r, w->r, sizeof(w->r));
	r[DW_RIP] = back;
	r[DW_RSP] = at + 8;
	return true;
}

static bool step_pointer(struct walk *w, u64 r[DW_REGS])
{
	u64 at = w->r[DW_RBP], word = w->u->is_64 ? 8 : 4, up, back;

	if (at % word || at < w->r[DW_RSP] || at - w->r[DW_RSP] > FRAME_MAX_BYTES || !read_word(w, at, &up) ||
	    !read_word(w, at + word, &back))
		return false;
	memcpy(r, w->r, sizeof(w->r));
	r[DW_RBP] = up;
	r[DW_RIP] = back;
	r[DW_RSP] = at + 2 * word;
	return true;
}

/* ---- stacks that code changes by itself ---- */

/*
 * Code that calls on another stack, as Linux's interrupt handlers do, puts the
 * stack pointer on top of that one and ends with POP RSP; call frame information
 * cannot say so.  What comes before that POP: more calls, and moves of arguments.
 */
static bool pops_rsp(const struct walk *w)
{
	u8 c[24];
	unsigned i = 0;

	if (!w->u->is_64 || !w->u->read(w->u->ctx, w->r[DW_RIP], c, sizeof(c)))
		return false;
	while (i < sizeof(c) - 8) {
		if (c[i] == 0xe8) /* CALL rel32 */
			i += 5;
		else if ((c[i] & 0xf8) == 0x48 && c[i + 1] == 0x89 && c[i + 2] >= 0xc0) /* MOV reg, reg */
			i += 3;
		else
			break;
	}
	return c[i] == 0x5c;
}

/* Back to the stack it came from, whose pointer is the top word of this one. */
static void leave_own_stack(struct walk *w)
{
	u64 before, there;

	if (pops_rsp(w) && read_word(w, w->r[DW_RSP], &before) && before % 8 == 0 && read_word(w, before, &there))
		w->r[DW_RSP] = before;
}

/* ---- the walk ---- */

/*
 * A handler that the processor enters by itself, without a stub, returns to
 * what it interrupted: then the "caller" just found is that, with the rest of
 * the frame above its address, or above the error code taken for one.
 */
static bool was_entered_by_processor(struct walk *w, u64 r[DW_REGS])
{
	u64 f[5], at = r[DW_RSP] - 8;

	if (!is_interrupt_frame(w, at, f)) {
		at += 8;
		if (in_code(w, r[DW_RIP]) || !is_interrupt_frame(w, at, f))
			return false;
	}
	r[DW_RIP] = f[0];
	r[DW_RSP] = f[3];
	w->is_user = (f[1] & 3) == 3;
	return true;
}

/* False: no way leads on. */
static bool step(struct walk *w, struct frame *f)
{
	u64 r[DW_REGS];

	leave_own_stack(w);
	if (step_cfi(w, r)) {
		f->how = FRAME_CFI;
	} else if (w->exact && step_interrupt(w, 3, r)) { /* a stub's beginning: nothing but an error code and a vector pushed yet */
		f->how = FRAME_INTERRUPTED;
	} else if (step_call(w, r)) {
		f->how = FRAME_CALL;
	} else if (step_interrupt(w, SCAN_WORDS, r)) {
		f->how = FRAME_INTERRUPTED;
	} else if (step_pointer(w, r)) {
		f->how = FRAME_POINTER;
	} else {
		return false;
	}
	if (f->how != FRAME_INTERRUPTED && was_entered_by_processor(w, r))
		f->how = FRAME_INTERRUPTED;
	if (f->how != FRAME_INTERRUPTED && !in_code(w, r[DW_RIP]))
		return false;
	w->exact = f->how == FRAME_INTERRUPTED;
	memcpy(w->r, r, sizeof(w->r));
	return true;
}

enum unwind_end unwind(const struct unwinder *u, const struct unwind_regs *regs, struct frame frames[FRAMES_MAX], size_t *n)
{
	struct walk w = { .u = u, .cs = regs->cs & 0xfffc, .exact = true };
	enum unwind_end end = UNWIND_TOP;

	memcpy(w.r, regs->r, sizeof(w.r));
	w.is_user = (regs->cs & 3) == 3 && !in_code(&w, w.r[DW_RIP]);
	frames[0] = (struct frame){ .pc = w.r[DW_RIP], .sp = w.r[DW_RSP], .how = FRAME_REGISTERS, .is_user = w.is_user };
	for (*n = 1; !w.is_user; (*n)++) {
		struct frame f = { .how = FRAME_REGISTERS };

		if (!step(&w, &f))
			break;
		if (*n == FRAMES_MAX) {
			end = UNWIND_MAX;
			break;
		}
		f.pc = w.r[DW_RIP];
		f.sp = w.r[DW_RSP];
		f.is_user = w.is_user;
		frames[*n] = f;
	}
	buf_free(&w.window);
	return w.is_user ? UNWIND_USER : end;
}

const char *frame_how_name(enum frame_how how)
{
	static const char *const names[] = {
		[FRAME_REGISTERS] = "registers", [FRAME_CFI] = "cfi", [FRAME_POINTER] = "frame-pointer", [FRAME_CALL] = "call",
		[FRAME_INTERRUPTED] = "interrupted",
	};

	return names[how];
}

const char *unwind_end_name(enum unwind_end end)
{
	static const char *const names[] = { [UNWIND_TOP] = "top", [UNWIND_USER] = "user", [UNWIND_MAX] = "max" };

	return names[end];
}
