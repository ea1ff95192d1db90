/*
 * group.c - several VMs side by side.  See group.h.
 *
 * Reads and changes: the members, turn by turn.  Must never let anything of one member, or
 * of host time, reach another but as frames, which enter it as inputs.
 *
 *   1  console and control channel     2  networks     3  who runs
 *   4  a member's host port            5  from the bundle to the end
 */
#include "kernel/console.h"
#include "kernel/cpu.h"
#include "kernel/kfmt.h"
#include "kernel/panic.h"
#include "kernel/time.h"
#include "session/group.h"

enum { MARK = 0xff };

static struct group_member *member_of(struct session *s)
{
	return container_of(s, struct group_member, s);
}

/* --- 1  console and control channel -------------------------------------------------- */

/* "@3 eof" is for number 3, "quit" for all. */
static void hand_on(struct session_group *g, const char *line)
{
	unsigned only = g->n;

	if (line[0] == '@' && line[1] >= '0' && line[1] <= '9' && line[2] == ' ') {
		only = (unsigned)(line[1] - '0');
		line += 3;
	}
	for (unsigned i = 0; i < g->n; i++)
		if (only == g->n || only == i) {
			session_obey(&g->member[i]->s, line);
			g->member[i]->told = true;
		}
}

void group_listen(struct session_group *g)
{
	while (session_hear(g->root))
		hand_on(g, g->root->command);
}

void group_show(struct session *s, const u8 *data, size_t size)
{
	struct group_member *m = member_of(s);
	const u8 mark[2] = { MARK, (u8)m->number };

	if (!size)
		return;
	if (m->group->shown != (int)m->number)
		serial_write(&com1, mark, sizeof(mark));
	m->group->shown = (int)m->number;
	while (size) {
		size_t n = 0;

		while (n < size && data[n] != MARK)
			n++;
		serial_write(&com1, data, n);
		if (n < size) {
			serial_write(&com1, (const u8[2]){ MARK, MARK }, 2);
			n++;
		}
		data += n;
		size -= n;
	}
}

static bool has_typing_room(const struct group_member *m)
{
	return m->typed_put - m->typed_got < GROUP_TYPED;
}

/* Somebody else may be typed to as well: one that does not read must not be in the way. */
static bool others_are_typed_to(const struct session_group *g, const struct group_member *m)
{
	for (unsigned i = 0; i < g->n; i++)
		if (g->member[i] != m && !g->member[i]->ended && !g->member[i]->s.console_ended)
			return true;
	return false;
}

/* Whose what comes next is; NULL: nobody's, or one's that has ended. */
static struct group_member *typed_to(const struct session_group *g)
{
	struct group_member *m = g->typed_for < g->n ? g->member[g->typed_for] : NULL;

	return m && !m->ended ? m : NULL;
}

/* Whether what comes next can be taken: else it waits at the typist's. */
static bool may_take(const struct session_group *g)
{
	const struct group_member *m = typed_to(g);

	return !m || has_typing_room(m) || others_are_typed_to(g, m);
}

/* For one that has ended, or reads too late, it is lost, as on a terminal. */
static void type_byte(struct session_group *g, u8 byte)
{
	struct group_member *m = typed_to(g);

	if (m && has_typing_room(m))
		m->typed[m->typed_put++ % GROUP_TYPED] = byte;
}

static void take_typed(struct session_group *g)
{
	u8 byte;

	while (may_take(g) && serial_read(&com1, &byte, 1)) {
		if (g->marked && byte != MARK)
			g->typed_for = byte;
		else if (g->marked || byte != MARK)
			type_byte(g, byte);
		g->marked = !g->marked && byte == MARK;
	}
}

/* --- 2  networks --------------------------------------------------------------------- */

bool group_plug(struct session *s, unsigned nic, const u8 mac[6])
{
	struct group_member *m = member_of(s);
	struct session_group *g = m->group;
	struct vswitch_port *p = &m->port[nic];
	char key[16];
	u64 lan;

	ksnprintf(key, sizeof(key), "nic%u_lan", nic);
	lan = session_number(s->session, key, GROUP_LANS);
	if (lan >= g->nlans)
		return false;
	p->queue = session_memory(VSWITCH_QUEUE * sizeof(*p->queue));
	if (vswitch_plug(&g->lan[lan]->sw, p, mac))
		session_fail("two devices on one switch have the same address; give one of them another mac=");
	s->wire[nic] = (struct session_wire){ .port = p };
	return true;
}

/* From the switch to the host's network. */
static void leave_by(void *ctx, const u8 *frame, u32 size)
{
	wire_send(ctx, frame, size);
}

static bool make_lan(struct session_group *g)
{
	struct group_lan *l;
	char key[16];
	u8 mac[6];

	ksnprintf(key, sizeof(key), "lan%u_mac", g->nlans);
	if (g->nlans == GROUP_LANS || !session_mac(g->root->session, key, mac))
		return false;
	l = session_memory(sizeof(*l));
	l->up = (struct session_wire){ .nic = nic_find(mac, NIC_FRAME), .echoes = true };
	l->uplink.deliver = leave_by;
	l->uplink.ctx = &l->up;
	if (l->up.nic && vswitch_plug(&l->sw, &l->uplink, NULL))
		panic("group: a switch without a single port is full");
	g->lan[g->nlans++] = l;
	return true;
}

/* What has come from outside goes to its ports, and what leaves goes.  No flood holds the members up. */
static void serve_lans(struct session_group *g)
{
	const u8 *frame;
	u32 size;

	for (unsigned i = 0; i < g->nlans; i++) {
		struct group_lan *l = g->lan[i];

		for (unsigned k = 0; k < NIC_RING && (frame = wire_peek(&l->up, &size)); k++) {
			vswitch_send(&l->uplink, frame, size, host_ns());
			wire_done(&l->up);
		}
		wire_kick(&l->up);
	}
}

/* --- 3  who runs ----------------------------------------------------------------------- */

static bool has_news(struct group_member *m)
{
	bool news = m->told || m->typed_put != m->typed_heard;

	m->told = false;
	m->typed_heard = m->typed_put;
	for (unsigned i = 0; i < ARRAY_SIZE(m->s.wire); i++)
		news |= wire_news(&m->s.wire[i]);
	return news;
}

/* Who waits for something that has come, wants the CPU again. */
static void attend(struct session_group *g)
{
	u64 now;

	group_listen(g);
	take_typed(g);
	serve_lans(g);
	now = host_ns();
	for (unsigned i = 0; i < g->n; i++) {
		struct group_member *m = g->member[i];

		if (!m->waits || (now < m->wake_ns && !has_news(m)))
			continue;
		m->waits = false;
		turns_want(&g->turns, i, true);
	}
}

static void charge(struct group_member *m)
{
	u64 now = rdtsc();

	turns_charge(&m->group->turns, m->number, now - m->since);
	m->since = now;
}

/* Until the first that waits has waited long enough, or something comes. */
static void sleep(struct session_group *g)
{
	u64 until = ~0UL, now = host_ns();

	for (unsigned i = 0; i < g->n; i++)
		if (g->member[i]->waits)
			until = MIN(until, g->member[i]->wake_ns);
	if (until > now)
		cpu_wait(until - now);
}

/*
 * Whether a VM is where all of it can be saved: at poll points and idle it is.  Elsewhere
 * its boundary may be asked, too (a guest that exits all the time), and there it may not be.
 */
static bool can_be_kept(struct vm *vm)
{
	for (unsigned i = 0; i < vm->config.ncpus; i++)
		if (!vm->virt->x87_pointers_clear(&vm->vcpu[i]))
			return false;
	return true;
}

/* A turn of one.  What VMRUN does not switch by itself is kept for it in between. */
static void run(struct session_group *g, unsigned n)
{
	struct group_member *m = g->member[n];
	struct vm *vm = m->s.vm;

	console_tag(m->tag);
	for (unsigned i = 0; i < vm->config.ncpus; i++)
		vm->virt->load(&vm->vcpu[i], PART_CONTROL | PART_REST);
	m->since = rdtsc();
	coroutine_switch(&g->scheduler, &m->flow);
	charge(m);
	for (unsigned i = 0; i < vm->config.ncpus; i++)
		vm->virt->save(&vm->vcpu[i], PART_REST);
	console_tag(NULL);
}

static bool all_ended(const struct session_group *g)
{
	for (unsigned i = 0; i < g->n; i++)
		if (!g->member[i]->ended)
			return false;
	return true;
}

static void schedule(struct session_group *g)
{
	while (!all_ended(g)) {
		int next;

		attend(g);
		next = turns_next(&g->turns);
		if (next >= 0)
			run(g, (unsigned)next);
		else
			sleep(g);
	}
	serve_lans(g); /* the last words */
}

u64 group_used(struct session *s)
{
	struct group_member *m = member_of(s);

	charge(m);
	return m->group->turns.of[m->number].used;
}

/* --- 4  a member's host port ------------------------------------------------------------- */

static size_t group_read(void *ctx, void *buf, size_t n)
{
	struct group_member *m = member_of(ctx);
	u8 *to = buf;
	size_t got = 0;

	while (got < n && m->typed_got != m->typed_put)
		to[got++] = m->typed[m->typed_got++ % GROUP_TYPED];
	return got;
}

static bool group_ended(void *ctx)
{
	struct group_member *m = member_of(ctx);

	group_listen(m->group);
	take_typed(m->group); /* "eof" may overtake the last bytes typed */
	return m->s.console_ended && m->typed_got == m->typed_put && !session_has_net(&m->s) &&
	       !(m->group->typed_for == m->number && serial_rx_ready(&com1));
}

static u64 group_wait(void *ctx, u64 max_ns)
{
	struct group_member *m = member_of(ctx);
	u64 before = host_ns();

	session_flush_output(ctx);
	m->wake_ns = before + max_ns;
	m->waits = true;
	turns_want(&m->group->turns, m->number, false);
	coroutine_switch(&m->flow, &m->group->scheduler);
	return host_ns() - before;
}

static void group_progress(void *ctx, const struct execpoint *now)
{
	struct group_member *m = member_of(ctx);

	m->own.progress(ctx, now);
	charge(m);
	attend(m->group);
	/* Asked here, too, and not only by who chooses: mostly it goes on, and that costs no switch. */
	if (turns_next(&m->group->turns) != (int)m->number && can_be_kept(m->s.vm))
		coroutine_switch(&m->flow, &m->group->scheduler);
}

void group_report(struct session *s)
{
	struct group_member *m = member_of(s);

	for (unsigned i = 0; i < ARRAY_SIZE(m->port); i++)
		if (m->port[i].sw)
			control_printf("stat nic%u.switch in=%lu out=%lu lost=%lu refused=%lu\n", i, m->port[i].stats.in,
				       m->port[i].stats.out, m->port[i].stats.lost, m->port[i].stats.refused);
}

/* --- 5  from the bundle to the end --------------------------------------------------------- */

static void live(void *ctx)
{
	struct group_member *m = ctx;

	session_play(&m->s);
	for (unsigned i = 0; i < ARRAY_SIZE(m->port); i++)
		vswitch_unplug(&m->port[i]);
	m->typed_got = m->typed_put;
	m->ended = true;
	turns_want(&m->group->turns, m->number, false);
	for (;;)
		coroutine_switch(&m->flow, &m->group->scheduler);
}

static void make_member(struct session_group *g, unsigned number)
{
	struct group_member *m = session_memory(sizeof(*m));
	struct session *s = &m->s;
	u64 share;

	m->group = g;
	m->number = number;
	ksnprintf(m->tag, sizeof(m->tag), "@%u ", number);
	*s = *g->root;
	s->group = g;
	ksnprintf(s->prefix, sizeof(s->prefix), "%u.", number);
	s->session = session_text(s, "session.conf");
	s->machine = session_text(s, "machine.conf");
	session_port_init(s);
	m->own = s->port;
	s->port.console_read = group_read;
	s->port.ended = group_ended;
	s->port.wait = group_wait;
	s->port.progress = group_progress;
	session_net_init(s, true);
	share = session_number(s->session, "share", SHARE_DEFAULT);
	if (!share || share > SHARE_MAX)
		session_fail("a share of the CPU is a number from 1 to 1000");
	turns_add(&g->turns, share);
	g->member[number] = m;
	g->n++;
}

/* What the guests had printed is not lost with the hypervisor. */
static void last_outputs(void *ctx)
{
	struct session_group *g = ctx;

	for (unsigned i = 0; i < g->n; i++)
		session_flush_output(&g->member[i]->s);
}

noreturn_fn void session_several(struct session *root)
{
	struct session_group *g = session_memory(sizeof(*g));
	u64 n = session_number(root->session, "machines", 0);

	if (n > TURNS_MAX || (strcmp(root->mode, "run") && strcmp(root->mode, "record")))
		session_fail("up to 8 machines can run, or be recorded, side by side; start the hypervisor with the reprise command");
	g->root = root;
	g->shown = -1;
	while (make_lan(g))
		;
	for (unsigned i = 0; i < n; i++)
		make_member(g, i);
	panic_set_hook(last_outputs, g);
	/* All of them before the first one runs: what cannot start lets none begin. */
	for (unsigned i = 0; i < n; i++) {
		console_tag(g->member[i]->tag);
		session_prepare(&g->member[i]->s);
		coroutine_init(&g->member[i]->flow, i, live, g->member[i]);
		turns_want(&g->turns, i, true);
	}
	console_tag(NULL);
	schedule(g);
	console_flush();
	machine_exit(0);
}
