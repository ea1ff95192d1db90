/*
 * ftplay.c - the demo's loop, and what happens in it.  See ftplay.h.
 *
 * Map: time and the timeline; one turn of the loop; waiting for something; blows and what
 * follows; the whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tools/ftnet.h"
#include "tools/ftplay.h"

#define SECOND 1000000000u
#define REAP_MS 5000
/* Between two looks at a busy wire: frames come some thousand times a second, and to wake for each takes a processor from the hosts. */
#define WIRE_REST_NS 5000000u

/* ---- time and the timeline ---- */

u64 play_draw(struct play *p, u64 below)
{
	u64 drawn = draw64(&p->random);

	return below ? drawn % below : 0;
}

static void tell_at(struct play *p, u64 at_ns, enum shade shade, const char *what, const char *text)
{
	static const char *const colours[] = {
		[SHADE_PLAIN] = "", [SHADE_GOOD] = "\033[32m", [SHADE_BAD] = "\033[31m", [SHADE_BLOW] = "\033[1;33m",
	};
	double s = (double)(at_ns - MIN(at_ns, p->start_ns)) / 1e9;

	if (!p->o->quiet)
		printf("%10.3f  %s%-10s%s %s\n", s, p->colours ? colours[shade] : "", what, p->colours && shade ? "\033[0m" : "", text);
	fflush(stdout);
	if (p->events)
		fprintf(p->events, "%.6f %s: %s\n", s, what, text);
}

void play_tell(struct play *p, enum shade shade, const char *what, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	tell_at(p, host_ns(), shade, what, text);
}

/* ---- one turn of the loop ---- */

/* A sign of life. */
static void on_frame(void *ctx, const struct wire_frame *f)
{
	struct play *p = ctx;
	struct life *l = &p->facts.life[p->host[f->host].life];
	char text[80];

	if (!l->frames) {
		l->first_ns = f->at_ns;
		snprintf(text, sizeof(text), "host %c's first frame of the machine's, %u bytes", "ab"[f->host], f->size);
		tell_at(p, f->at_ns, SHADE_PLAIN, "wire", text);
	}
	l->frames++;
	l->last_ns = f->at_ns;
}

void play_hear_wire(struct play *p)
{
	if (p->on_plain)
		plain_turn(&p->plain, on_frame, p);
	else
		wire_turn(&p->wire, on_frame, p);
}

static void reap(struct play *p)
{
	int status;
	pid_t pid;

	/* Also hosts' QEMUs, which come to us when their parents die. */
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (unsigned h = 0; h < 2; h++)
			if (pid == p->host[h].pid) {
				/* Frames it sent are its own, not the next life's. */
				play_hear_wire(p);
				host_ended(p, h, status);
			}
		for (unsigned h = 0; h < 2; h++)
			if (pid == p->host[h].orphan)
				p->host[h].orphan = 0;
		if (pid == p->foreign) {
			p->foreign = 0;
			p->foreign_status = status;
		}
		if (pid == p->store.pid)
			p->store.pid = 0;
		if (pid == p->gateway) {
			p->gateway = 0;
			p->stopped = true;
			play_tell(p, SHADE_BAD, "gateway", "it ended by itself; its words are in %s/gateway.log with --keep", p->dir);
		}
	}
}

static void on_signals(struct play *p)
{
	struct signalfd_siginfo info;

	while (read(p->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap(p);
		else
			p->stopped = true;
	}
}

static int wait_ms(u64 until_ns)
{
	u64 now = host_ns();

	return until_ns <= now ? 0 : (int)MIN((until_ns - now + 999999) / 1000000, 1000UL);
}

static void turn(struct play *p, u64 until_ns)
{
	enum { SIGNALS, WIRE, CLIENT, HOSTS, CABLE = HOSTS + 2, N = CABLE + CABLE_NFDS };
	struct pollfd fds[N] = { { .fd = p->signals, .events = POLLIN }, { .fd = p->on_plain ? p->plain.fd : p->wire.fd, .events = POLLIN } };
	u64 at;

	if (host_ns() < p->wire_rests_until_ns) {
		fds[WIRE].fd = -1;
		until_ns = MIN(until_ns, p->wire_rests_until_ns);
	}
	fds[CLIENT] = client_watch(&p->client, &at);
	until_ns = MIN(until_ns, at);
	for (unsigned h = 0; h < 2; h++) {
		fds[HOSTS + h] = host_watch(p, h, &at);
		until_ns = MIN(until_ns, at);
	}
	cable_watch(&p->cable, fds + CABLE);
	if (poll(fds, N, wait_ms(until_ns)) < 0)
		return;
	cable_turn(&p->cable, fds + CABLE);
	if (fds[WIRE].revents) {
		play_hear_wire(p);
		p->wire_rests_until_ns = p->on_plain ? 0 : host_ns() + WIRE_REST_NS;
	}
	client_turn(&p->client, fds[CLIENT].revents, host_ns());
	for (unsigned h = 0; h < 2; h++)
		host_turn(p, h, fds[HOSTS + h].revents);
	if (fds[SIGNALS].revents)
		on_signals(p);
}

/* ---- waiting for something ---- */

/* Until it is so; false: not within so many seconds, or the play was stopped, or can no more. */
bool play_until(struct play *p, bool (*so)(struct play *p), u64 seconds)
{
	u64 end = host_ns() + seconds * SECOND;

	while (!p->stopped && !so(p)) {
		if (host_ns() >= end)
			return false;
		turn(p, end);
	}
	return !p->stopped;
}

u64 play_patience(const struct play *p, u64 seconds)
{
	return p->o->patience_s ? p->o->patience_s : seconds;
}

static bool pass_time(struct play *p, u64 ns)
{
	u64 end = host_ns() + ns;

	while (!p->stopped && host_ns() < end && !traffic_over(p))
		turn(p, end);
	return !p->stopped;
}

/* Of two that say so, the one with the later term: the other does not know yet. */
static unsigned live_host(const struct play *p)
{
	if (p->o->alone)
		return 0;
	if (host_live(p, 0) && host_live(p, 1))
		return p->host[1].term > p->host[0].term;
	return host_live(p, 0) ? 0 : host_live(p, 1) ? 1 : 2;
}

static bool pair_protected(struct play *p)
{
	unsigned h = live_host(p);

	if (p->o->alone)
		return host_alive(p, 0);
	return h < 2 && p->host[h].protected && host_alive(p, !h) && !strcmp(p->host[!h].role, "secondary");
}

static bool protected_or_dead(struct play *p)
{
	return pair_protected(p) || !host_alive(p, 0) || (!p->o->alone && !host_alive(p, 1));
}

/* ---- blows and what follows ---- */

static struct event *this_event(struct play *p)
{
	return &p->facts.event[p->facts.nevents - 1];
}

static unsigned loser_of(const struct play *p, const struct event *e)
{
	unsigned live = p->facts.life[e->before].host;

	return e->strike == STRIKE_SECONDARY ? !live : live;
}

static void strike(struct play *p, struct event *e)
{
	unsigned h = loser_of(p, e);

	client_mark(&p->client);
	e->at_ns = host_ns();
	switch (e->strike) {
	case STRIKE_PRIMARY:
	case STRIKE_SECONDARY:
		host_kill(p, h);
		play_tell(p, SHADE_BLOW, "kill -9", "host %c, the %s", "ab"[h], e->strike == STRIKE_PRIMARY ? "live one" : "secondary");
		break;
	case STRIKE_PARTITION:
		p->cable.cut = true;
		play_tell(p, SHADE_BLOW, "partition", "the link is cut; both hosts are alive");
		break;
	case STRIKE_FREEZE:
		kill(p->host[h].qemu_pid, SIGSTOP);
		play_tell(p, SHADE_BLOW, "freeze", "host %c, the live one, stands still", "ab"[h]);
		break;
	case STRIKE_NONE:
	case STRIKES:
		break;
	}
}

/* A host goes on alone: the arbiter said so.  Which, is for the verdict. */
static bool settled(struct play *p)
{
	unsigned h = live_host(p);

	return h < 2 && !strcmp(p->host[h].role, "solo");
}

static bool served(struct play *p)
{
	const struct event *e = this_event(p);

	/* Not what was under way at the blow, but what the one that is live now answers. */
	return p->o->client || p->client.heard_ns > e->live_ns || p->client.state == CLIENT_DONE;
}

/* A host that is out of the pair joins it again by itself. */
static bool comes_back(const struct play *p, unsigned h)
{
	return host_alive(p, h) && p->host[h].out && !strcmp(p->host[h].role, "joining");
}

static bool loser_out(struct play *p)
{
	unsigned winner = live_host(p);

	return winner < 2 && (!host_alive(p, !winner) || comes_back(p, !winner));
}

static bool loser_gone(struct play *p)
{
	unsigned winner = live_host(p);

	return winner < 2 && !host_alive(p, !winner) && !p->host[!winner].orphan;
}

/* A host that has lost leaves; one that does not is made to. */
static void clear_away(struct play *p, unsigned h)
{
	if (!play_until(p, loser_gone, LEAVE_S)) {
		play_tell(p, SHADE_PLAIN, "end", "host %c does not leave by itself, it is ended", "ab"[h]);
		host_kill(p, h);
		(void)play_until(p, loser_gone, LEAVE_S);
	}
}

static void tell_takeover(struct play *p, struct event *e)
{
	unsigned h = live_host(p);

	e->live_ns = host_ns();
	e->after = p->host[h].life;
	e->takeover_pause_ns = p->host[h].pause_us * 1000;
	if (e->after != e->before)
		play_tell(p, SHADE_GOOD, "takeover", "host %c is live, %llu ms after", "ab"[h],
			  (unsigned long long)(e->live_ns - e->at_ns) / 1000000);
	else
		play_tell(p, SHADE_GOOD, "goes on", "host %c is live as before, alone", "ab"[h]);
}

static bool survive(struct play *p, struct event *e)
{
	if (!play_until(p, settled, play_patience(p, TAKEOVER_S))) {
		play_tell(p, SHADE_BAD, "nobody", "is live after %llu s", (unsigned long long)play_patience(p, TAKEOVER_S));
		return false;
	}
	tell_takeover(p, e);
	(void)play_until(p, served, play_patience(p, TAKEOVER_S));
	e->pause_ns = client_pause_ns(&p->client, host_ns());
	if (!p->o->client)
		play_tell(p, served(p) ? SHADE_GOOD : SHADE_BAD, "client", served(p) ? "waited %.1f ms" : "waits for %.1f ms",
			  (double)e->pause_ns / 1e6);
	return served(p) && p->client.broken[0] == 0;
}

/* The one that stood still for 2 to 5 seconds, or could not be heard, finds the world changed. */
static bool bring_back(struct play *p, struct event *e)
{
	u64 thaw_ns = e->at_ns + 2 * SECOND + play_draw(p, 3u * SECOND);
	unsigned h = live_host(p);

	if (e->strike == STRIKE_FREEZE) {
		u64 now = host_ns();

		(void)pass_time(p, thaw_ns > now ? thaw_ns - now : 0);
		h = p->facts.life[e->before].host;
		kill(p->host[h].qemu_pid, SIGCONT);
		play_tell(p, SHADE_BLOW, "thaw", "host %c goes on after %.1f s", "ab"[h], (double)(host_ns() - e->at_ns) / 1e9);
	}
	if (e->strike == STRIKE_FREEZE || e->strike == STRIKE_PARTITION) {
		if (!play_until(p, loser_out, play_patience(p, TAKEOVER_S)))
			play_tell(p, SHADE_BAD, "stays", "host %c does not see that it has lost", "ab"[!live_host(p)]);
	}
	return !p->stopped;
}

static bool restore(struct play *p, struct event *e)
{
	u64 started_ns;
	unsigned h;
	bool back;

	if (!bring_back(p, e) || live_host(p) == 2)
		return false;
	h = !live_host(p);
	back = e->strike != STRIKE_PRIMARY && e->strike != STRIKE_SECONDARY && comes_back(p, h);
	if (!back)
		clear_away(p, h);
	p->cable.cut = false;
	client_mark(&p->client);
	started_ns = host_ns();
	play_tell(p, SHADE_PLAIN, "start", back ? "host %c joins again" : "host %c as secondary", "ab"[h]);
	if ((!back && !host_start(p, h, "secondary")) || !play_until(p, protected_or_dead, play_patience(p, READY_S)) || !pair_protected(p)) {
		play_tell(p, SHADE_BAD, "not safe", "the pair is not protected again");
		host_show_log(p, h);
		return false;
	}
	e->protected_ns = host_ns();
	e->start_ns = started_ns;
	e->join_pause_ns = p->host[!h].join_pause_us * 1000;
	p->join_pause_ns[e - p->facts.event] = client_pause_ns(&p->client, e->protected_ns);
	play_tell(p, SHADE_GOOD, "protected", "by host %c, %.1f s after its start; the machine stood %.1f ms", "ab"[h],
		  (double)(e->protected_ns - e->start_ns) / 1e9, (double)e->join_pause_ns / 1e6);
	return true;
}

static enum strike next_strike(struct play *p)
{
	const char *kill = p->o->kill;

	if (!strcmp(kill, "any"))
		return STRIKE_PRIMARY + (enum strike)play_draw(p, STRIKES - STRIKE_PRIMARY);
	for (enum strike k = STRIKE_NONE; k < STRIKES; k++)
		if (!strcmp(kill, strike_name(k)))
			return k;
	return STRIKE_NONE;
}

/*
 * Any moment of the last nine tenths: the first lets the traffic find its pace.  A pair that has parted
 * by itself, on a computer too busy for --detect, is one again soon; then the moment is drawn again.
 */
static bool safe_moment(struct play *p)
{
	for (;;) {
		if (!pass_time(p, p->o->seconds * (SECOND / 10) + play_draw(p, p->o->seconds * (SECOND / 10) * 9)))
			return false;
		if (pair_protected(p))
			return true;
		play_tell(p, SHADE_BAD, "parted", "without a strike: one host took the other for dead");
		p->facts.alarms++;
		if (!play_until(p, protected_or_dead, play_patience(p, READY_S)) || !pair_protected(p))
			return false;
	}
}

static bool one_event(struct play *p)
{
	enum strike k = next_strike(p);
	struct event *e;

	if (!safe_moment(p) || traffic_over(p))
		return false;
	e = &p->facts.event[p->facts.nevents++];
	*e = (struct event){ .strike = k, .before = p->host[live_host(p)].life, .after = ALIVE_NONE };
	strike(p, e);
	if (!survive(p, e) || !restore(p, e))
		return false;
	if (p->events)
		fprintf(p->events, "# event=%u strike=%s pause_ms=%.3f live_ms=%.3f takeover_pause_ms=%.3f join_s=%.3f join_pause_ms=%.3f "
			"join_client_ms=%.3f\n", p->facts.nevents, strike_name(k), (double)e->pause_ns / 1e6,
			(double)(e->live_ns - e->at_ns) / 1e6, (double)e->takeover_pause_ns / 1e6,
			(double)(e->protected_ns - e->start_ns) / 1e9, (double)e->join_pause_ns / 1e6,
			(double)p->join_pause_ns[e - p->facts.event] / 1e6);
	return true;
}

/* ---- the whole ---- */

static bool raise_pair(struct play *p)
{
	if (p->o->alone) {
		play_tell(p, SHADE_PLAIN, "start", "host a, alone");
		return host_start(p, 0, "");
	}
	play_tell(p, SHADE_PLAIN, "start", "host a as primary, host b as secondary");
	if (!host_start(p, 0, "primary") || !host_start(p, 1, "secondary"))
		return false;
	if (play_until(p, protected_or_dead, play_patience(p, READY_S)) && pair_protected(p)) {
		play_tell(p, SHADE_GOOD, "protected", "host a is live, host b in step");
		return true;
	}
	if (!p->stopped) {
		play_tell(p, SHADE_BAD, "not safe", "the hosts do not become a pair");
		host_show_log(p, 0);
		host_show_log(p, 1);
	}
	return false;
}

bool play_run(struct play *p)
{
	bool good = raise_pair(p) && traffic_start(p);

	p->facts.wanted = strcmp(p->o->kill, "none") ? (unsigned)p->o->count : 0;
	for (unsigned i = 0; good && i < p->facts.wanted; i++)
		good = one_event(p);
	if (good && (!p->o->client || p->facts.wanted))
		good = pass_time(p, p->facts.wanted ? SECOND : p->o->seconds * SECOND);
	if (p->facts.foreign || p->client.state >= CLIENT_SENDING)
		traffic_finish(p, good);
	return good && !p->stopped;
}

/* Politely first: hosts end their recordings. */
static bool all_ended(struct play *p)
{
	return !host_alive(p, 0) && !host_alive(p, 1);
}

void play_end(struct play *p)
{
	struct timespec pause = { .tv_nsec = 5000000 };
	u64 end;

	p->stopped = false;
	client_close(&p->client);
	for (unsigned h = 0; h < 2; h++)
		host_stop(p, h);
	(void)play_until(p, all_ended, LEAVE_S);
	play_hear_wire(p);
	p->facts.unseen = p->on_plain ? p->plain.dropped : p->wire.dropped;
	for (unsigned h = 0; h < 2; h++)
		host_kill(p, h);
	if (p->foreign)
		kill(-p->foreign, SIGKILL);
	store_close(p);
	if (p->gateway)
		kill(-p->gateway, SIGKILL);
	/* Orphans of those come to us, and end, too. */
	for (end = host_ms() + REAP_MS; host_ms() < end;) {
		pid_t pid = waitpid(-1, NULL, WNOHANG);

		if (pid < 0)
			break;
		if (!pid)
			nanosleep(&pause, NULL);
	}
	for (unsigned h = 0; h < 2; h++) {
		if (p->host[h].input_fd >= 0)
			close(p->host[h].input_fd);
		buf_free(&p->host[h].heard);
	}
}
