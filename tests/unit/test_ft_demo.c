/*
 * test_ft_demo.c - the demo's parts without its hosts: its options, shared disks, the cable that loses,
 * the client that counts, the verdict.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/ftclient.h"
#include "tools/ftrelay.h"
#include "tools/ftshare.h"
#include "tools/ftverdict.h"
#include "tools/options.h"

/* ---- options ---- */

static enum status parse(struct options *o, const char *const *args)
{
	char *argv[24] = { NULL };
	int argc = 0;

	for (; args[argc]; argc++)
		argv[argc] = (char *)(uintptr_t)args[argc];
	return options_parse(o, OPT_DEMO, argc, argv);
}
#define DEMO(o, ...) parse(o, (const char *const[]){ "ft demo", __VA_ARGS__, NULL })

Test(ft_demo, options)
{
	struct options o;

	cr_assert_eq(DEMO(&o, "-q", "--", "--disk", "d-%h"), ST_OK);
	cr_assert(!strcmp(o.kill, "primary") && o.count == 1 && o.seconds == 5 && o.rate == 50 && o.mem_bytes == MIB(128) && o.noperands == 2);
	cr_assert_eq(DEMO(&o, "--kill", "freeze", "--count", "3", "--patience", "90s", "--lose", "10"), ST_OK);
	cr_assert(!strcmp(o.kill, "freeze") && o.count == 3 && o.patience_s == 90 && o.lose == 10);
}

Test(ft_demo, options_refused, .init = cr_redirect_stderr)
{
	struct options o;

	cr_assert_eq(DEMO(&o, "--kill", "all"), ST_USAGE);
	cr_assert_eq(DEMO(&o, "--seconds", "0"), ST_USAGE);
	cr_assert_eq(DEMO(&o, "--net", "user"), ST_USAGE);
	cr_assert_eq(DEMO(&o, "--heartbeat", "100ms", "--detect", "150ms"), ST_USAGE);
}

/* ---- shared disks ---- */

static char disk_dir[] = "/tmp/reprise-unit-XXXXXX";

/* Two that can be disks, and two that cannot. */
static void make_files(void)
{
	static const struct { const char *name; off_t size; } files[] = { { "one", 4096 }, { "two,x", 1024 }, { "odd", 700 }, { "empty", 0 } };

	cr_redirect_stderr();
	cr_assert(mkdtemp(disk_dir) && !chdir(disk_dir));
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
		close(open(files[i].name, O_CREAT | O_WRONLY, 0600));
		cr_assert(!truncate(files[i].name, files[i].size));
	}
}

static void remove_files(void)
{
	cr_assert(!unlink("one") && !unlink("two,x") && !unlink("odd") && !unlink("empty") && !rmdir(disk_dir));
}

static enum status find(struct ftshare *s, const char *const *args)
{
	static struct options o;
	static char *argv[24];
	int argc = 0;

	for (; args[argc]; argc++)
		argv[argc] = (char *)(uintptr_t)args[argc];
	argv[argc] = NULL;
	cr_assert_eq(options_parse(&o, OPT_DEMO, argc, argv), ST_OK);
	return ftshare_find(s, &o);
}
#define FIND(s, ...) find(s, (const char *const[]){ "ft demo", __VA_ARGS__, NULL })

static void let_go(struct ftshare *s)
{
	while (s->nfiles) {
		image_close(&s->file[--s->nfiles].image);
		if (!strncmp(s->operand[s->file[s->nfiles].at], "iscsi:", 6) || s->file[s->nfiles].joined)
			free(s->operand[s->file[s->nfiles].at]);
	}
}

Test(ft_demo, shared_files_become_units, .init = make_files, .fini = remove_files)
{
	static const char *const want[] = {
		"--rng", "--disk", "iscsi://127.0.0.1:5/t/2,shared", "--disk", "d-%h,cow", "--disk=iscsi://127.0.0.1:5/t/3,shared,room=4194304",
		"--disk", "iscsi://h/u/9,shared", "--disk",
	};
	struct ftshare s;

	cr_assert_eq(FIND(&s, "--arbiter", "tgt", "--", "--rng", "--disk", "one,shared", "--disk", "d-%h,cow", "--disk=two,x,room=3M,shared",
			  "--disk", "iscsi://h/u/9,shared", "--disk"), ST_OK);
	cr_assert(s.any && s.nfiles == 2);
	ftshare_name(&s, "iscsi://127.0.0.1:5/t");
	cr_assert_eq(s.noperands, (int)ARRAY_SIZE(want));
	for (unsigned i = 0; i < ARRAY_SIZE(want); i++)
		cr_assert_str_eq(s.operand[i], want[i]);
	let_go(&s);
	cr_assert_eq(FIND(&s, "--", "--disk", "one", "--disk", "gone-%h,rw"), ST_OK);
	cr_assert(!s.any && !s.nfiles, "files of each host's own are the hosts' to find");
	cr_assert_eq(FIND(&s, "--arbiter", "file", "--", "--disk", "iscsi://h/u/9,shared"), ST_OK);
	cr_assert(s.any && !s.nfiles, "a unit that is there");
}

Test(ft_demo, shared_files_refused, .init = make_files, .fini = remove_files)
{
	struct ftshare s;

	cr_assert_eq(FIND(&s, "--arbiter", "file", "--", "--disk", "one,shared"), ST_USAGE);
	cr_assert_eq(FIND(&s, "--alone", "--", "--disk", "one,shared"), ST_USAGE);
	cr_assert_eq(FIND(&s, "--alone", "--", "--disk", "iscsi://h/u/9,shared"), ST_USAGE);
	cr_assert_eq(FIND(&s, "--", "--disk", "gone,shared"), ST_USAGE);
	cr_assert_eq(FIND(&s, "--", "--disk=odd,shared"), ST_USAGE);
	cr_assert_eq(FIND(&s, "--", "--disk", "empty,shared"), ST_USAGE);
	cr_assert_eq(FIND(&s, "--", "--disk", "one,shared,rw"), ST_USAGE);
	cr_assert_eq(FIND(&s, "--", "--disk", "one,shared", "--disk", "one,shared"), ST_USAGE, "it is in use");
	let_go(&s);
}

/* ---- the cable ---- */

struct ends {
	int fd[2];
};

static void plug(struct ends *e, struct cable *c, const struct cable_faults *faults)
{
	cr_assert_eq(cable_open(c, faults), ST_OK);
	for (unsigned i = 0; i < 2; i++) {
		e->fd[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		cr_assert(!bind(e->fd[i], (struct sockaddr *)&c->host[i], sizeof(c->host[i])));
		cr_assert(!connect(e->fd[i], (struct sockaddr *)&c->own[i], sizeof(c->own[i])));
	}
}

static void unplug(struct ends *e, struct cable *c)
{
	close(e->fd[0]);
	close(e->fd[1]);
	cable_close(c);
}

static void relay(struct cable *c)
{
	struct pollfd fds[CABLE_NFDS];

	cable_watch(c, fds);
	if (poll(fds, CABLE_NFDS, 0) > 0)
		cable_turn(c, fds);
}

Test(ft_demo, cable)
{
	const struct cable_faults none = { 0 };
	static struct cable c;
	struct sockaddr_in at;
	struct ends e;
	u8 data[2048];
	int stranger;

	plug(&e, &c, &none);
	cr_assert_eq(send(e.fd[0], "hello", 5, 0), 5);
	relay(&c);
	cr_assert_eq(recv(e.fd[1], data, sizeof(data), 0), 5);
	cr_assert(!memcmp(data, "hello", 5));
	cr_assert_eq(send(e.fd[1], data, 1514, 0), 1514);
	relay(&c);
	cr_assert_eq(recv(e.fd[0], data, sizeof(data), 0), 1514);
	cr_assert(c.way[0].datagrams == 1 && c.way[0].bytes == 5 && c.way[1].datagrams == 1 && c.way[1].bytes == 1514);
	c.cut = true;
	cr_assert_eq(send(e.fd[0], "hello", 5, 0), 5);
	relay(&c);
	cr_assert_eq(recv(e.fd[1], data, sizeof(data), 0), -1, "cut");
	cr_assert_eq(c.way[0].lost, 1);
	c.cut = false;
	stranger = socket(AF_INET, SOCK_DGRAM, 0);
	at = c.own[0];
	cr_assert_eq(sendto(stranger, "evil", 4, 0, (struct sockaddr *)&at, sizeof(at)), 4);
	relay(&c);
	cr_assert_eq(recv(e.fd[1], data, sizeof(data), 0), -1, "not from the host");
	cr_assert_eq(c.way[0].strangers, 1);
	close(stranger);
	close(e.fd[1]); /* a host that died: what is sent to it is lost, and nothing else */
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(send(e.fd[0], "hello", 5, 0), 5);
		relay(&c);
	}
	e.fd[1] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	cr_assert(!bind(e.fd[1], (struct sockaddr *)&c.host[1], sizeof(c.host[1])));
	cr_assert_eq(send(e.fd[0], "again", 5, 0), 5);
	relay(&c);
	cr_assert_eq(recv(e.fd[1], data, sizeof(data), 0), 5);
	unplug(&e, &c);
}

/* Numbers through a bad cable: what came, in the order in which it came. */
static unsigned through(const struct cable_faults *faults, u32 *got, unsigned room)
{
	static struct cable c;
	struct ends e;
	unsigned n = 0;

	plug(&e, &c, faults);
	for (u32 i = 0; i < 1000; i++) {
		cr_assert_eq(send(e.fd[0], &i, sizeof(i), 0), (ssize_t)sizeof(i));
		relay(&c);
		while (n < room && recv(e.fd[1], &got[n], sizeof(u32), 0) == (ssize_t)sizeof(u32))
			n++;
	}
	unplug(&e, &c);
	return n;
}

Test(ft_demo, cable_faults)
{
	static u32 got[4000], again[4000];
	unsigned n, backwards = 0;

	n = through(&(struct cable_faults){ .lose = 100, .seed = 1 }, got, 4000);
	cr_assert(n > 850 && n < 950, "%u", n);
	cr_assert_eq(through(&(struct cable_faults){ .lose = 100, .seed = 1 }, again, 4000), n);
	cr_assert(!memcmp(got, again, n * sizeof(u32)), "the same seed loses the same");
	n = through(&(struct cable_faults){ .duplicate = 100, .seed = 2 }, got, 4000);
	cr_assert(n > 1050 && n < 1150, "%u", n);
	n = through(&(struct cable_faults){ .reorder = 100, .seed = 3 }, got, 4000);
	cr_assert(n >= 999);
	for (unsigned i = 1; i < n; i++)
		backwards += got[i] < got[i - 1];
	cr_assert(backwards > 50 && backwards < 150, "%u", backwards);
}

/* ---- the client ---- */

struct server {
	int listener, fd;
	unsigned port;
	char in[4096];
	size_t size;
	u64 sum, answered;
};

static void server_open(struct server *s)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(a);

	*s = (struct server){ .listener = socket(AF_INET, SOCK_STREAM, 0), .fd = -1, .sum = 0xcbf29ce484222325u };
	cr_assert(!bind(s->listener, (struct sockaddr *)&a, sizeof(a)) && !listen(s->listener, 1));
	cr_assert(!getsockname(s->listener, (struct sockaddr *)&a, &size));
	s->port = ntohs(a.sin_port);
}

static u64 test_now;

static void client_step(struct client *c)
{
	u64 until;
	struct pollfd f = client_watch(c, &until);

	test_now += 10000000;
	f.revents = 0;
	poll(&f, 1, 5);
	client_turn(c, f.revents, test_now);
}

static void connect_both(struct client *c, struct server *s)
{
	server_open(s);
	client_init(c, "127.0.0.1", s->port, 100, 10000000000u, 5);
	client_connect(c);
	client_step(c);
	s->fd = accept(s->listener, NULL, NULL);
	cr_assert_geq(s->fd, 0);
	cr_assert_eq(send(s->fd, "seqd 1\n", 7, 0), 7);
	while (c->state == CLIENT_CONNECTING)
		client_step(c);
	cr_assert_eq(c->state, CLIENT_SENDING);
}

/* A line of the client's, and what a right server says to it. */
static void request(struct client *c, struct server *s, char answer[64])
{
	char *newline;

	while (!(newline = memchr(s->in, '\n', s->size))) {
		ssize_t n;

		client_step(c);
		n = recv(s->fd, s->in + s->size, sizeof(s->in) - s->size, MSG_DONTWAIT);
		s->size += (size_t)MAX(n, (ssize_t)0);
	}
	for (char *p = s->in; p <= newline; p++)
		s->sum = (s->sum ^ (u8)*p) * 0x100000001b3u;
	snprintf(answer, 64, "%llu %016llx\n", strtoull(s->in, NULL, 10), (unsigned long long)s->sum);
	s->size -= (size_t)(newline + 1 - s->in);
	memmove(s->in, newline + 1, s->size);
}

static void say(struct client *c, struct server *s, const char *text)
{
	cr_assert_eq(send(s->fd, text, strlen(text), 0), (ssize_t)strlen(text));
	client_step(c);
	client_step(c);
}

static void server_close(struct server *s)
{
	close(s->fd);
	close(s->listener);
}

Test(ft_demo, client_counts)
{
	struct client *c = malloc(sizeof(*c));
	struct server s;
	char answer[64], first[64];
	u64 due;

	connect_both(c, &s);
	request(c, &s, first);
	say(c, &s, first);
	cr_assert_eq(c->answered, 1);
	/* Nothing for a while: that is the pause. */
	client_mark(c);
	request(c, &s, answer);
	due = test_now;
	for (unsigned i = 0; i < 30; i++)
		client_step(c);
	cr_assert(client_pause_ns(c, test_now) >= test_now - due - 30000000 && client_pause_ns(c, test_now) > 250000000);
	say(c, &s, answer);
	cr_assert(c->pause_ns > 250000000 && c->pause_ns < 500000000, "%lu", c->pause_ns);
	cr_assert_eq(c->answered, 2);
	say(c, &s, first);
	cr_assert_eq(c->repeated, 1);
	while (c->next < c->sent) {
		request(c, &s, answer);
		say(c, &s, answer);
		if (c->state == CLIENT_SENDING && c->answered > 10)
			client_leave(c);
	}
	client_step(c);
	cr_assert_eq(c->state, CLIENT_LEAVING);
	cr_assert_eq(recv(s.fd, answer, 1, 0), 0, "it has said all");
	close(s.fd);
	s.fd = -1;
	client_step(c);
	client_step(c);
	cr_assert(c->state == CLIENT_DONE && !c->broken[0]);
	cr_assert(c->repeated == 1 && !c->contradicted && !client_lost(c) && c->answered == c->sent);
	server_close(&s);
	free(c);
}

Test(ft_demo, client_lies)
{
	struct client *c = malloc(sizeof(*c));
	struct server s;
	char answer[64];

	connect_both(c, &s);
	request(c, &s, answer);
	request(c, &s, answer); /* the first is never answered */
	say(c, &s, answer);
	cr_assert(c->answered == 1 && client_lost(c) - (c->sent - c->next) == 1 && !c->contradicted);
	request(c, &s, answer);
	answer[strlen(answer) - 2] ^= 1;
	say(c, &s, answer);
	cr_assert(c->answered == 1 && c->contradicted == 1, "another sum");
	say(c, &s, "99999 0123456789abcdef\n");
	cr_assert_eq(c->contradicted, 2, "to nothing that was asked");
	say(c, &s, "what?\n");
	cr_assert_eq(c->contradicted, 3);
	close(s.fd);
	s.fd = -1;
	while (c->state != CLIENT_DONE)
		client_step(c);
	cr_assert(c->broken[0]);
	server_close(&s);
	free(c);
}

Test(ft_demo, client_is_patient_and_no_more)
{
	struct client *c = malloc(sizeof(*c));
	struct server s;
	char answer[64];

	connect_both(c, &s);
	request(c, &s, answer);
	for (unsigned i = 0; i < 990 && c->state == CLIENT_SENDING; i++) {
		client_step(c);
		(void)!recv(s.fd, s.in, sizeof(s.in), MSG_DONTWAIT);
	}
	cr_assert(!c->broken[0]);
	for (unsigned i = 0; i < 30; i++)
		client_step(c);
	cr_assert_str_eq(c->broken, "no answer for too long");
	cr_assert_gt(client_lost(c), 1);
	server_close(&s);
	free(c);
}

/* ---- the verdict ---- */

static struct facts *good_facts(enum strike k)
{
	static struct facts f;

	f = (struct facts){
		.nlives = 3,
		.life = { { 0, 10, 100, 200 }, { 1, 20, 300, 900 }, { .host = 0 } },
		.wanted = 1, .nevents = 1,
		.event = { { .strike = k, .at_ns = 210, .before = 0, .after = 1, .live_ns = 290, .pause_ns = 187400000, .protected_ns = 800 } },
		.answered = 50, .broken = "",
	};
	if (k == STRIKE_SECONDARY) {
		f.life[0].last_ns = 900;
		f.life[1].frames = 0;
		f.event[0].after = 0;
	}
	return &f;
}

static bool verdict(const struct facts *f, const char *line, const char *why)
{
	char got[160], reason[300];
	bool good = judge(f, got, reason);

	if (line)
		cr_assert_str_eq(got, line);
	if (why)
		cr_assert(strstr(reason, why), "%s", reason);
	cr_assert_eq(good, !reason[0]);
	return good;
}

Test(ft_demo, verdict_good)
{
	struct facts *f;

	cr_assert(verdict(good_facts(STRIKE_PRIMARY), "takeovers: 1 pause_ms: 188 lost: 0 repeated: 0 live_hosts_max: 1", ""));
	cr_assert(verdict(good_facts(STRIKE_FREEZE), "takeovers: 1 pause_ms: 188 lost: 0 repeated: 0 live_hosts_max: 1", ""));
	cr_assert(verdict(good_facts(STRIKE_PARTITION), "takeovers: 1 pause_ms: 188 lost: 0 repeated: 0 live_hosts_max: 1", ""));
	cr_assert(verdict(good_facts(STRIKE_SECONDARY), "takeovers: 0 pause_ms: 188 lost: 0 repeated: 0 live_hosts_max: 1", ""));
	f = good_facts(STRIKE_SECONDARY);
	f->event[0].strike = STRIKE_PARTITION;
	cr_assert(verdict(f, "takeovers: 0 pause_ms: 188 lost: 0 repeated: 0 live_hosts_max: 1", ""), "either may win");
	f = good_facts(STRIKE_SECONDARY);
	f->nevents = f->wanted = 0;
	f->pause_ns = 5000000;
	cr_assert(verdict(f, "takeovers: 0 pause_ms: 5 lost: 0 repeated: 0 live_hosts_max: 1", ""), "nothing was struck");
}

Test(ft_demo, verdict_bad)
{
	struct facts *f;

#define BAD(k, change, line, why) \
	do { f = good_facts(k); change; cr_assert(!verdict(f, line, why)); } while (0)
	BAD(STRIKE_PRIMARY, f->event[0].after = ALIVE_NONE, "takeovers: 0 pause_ms: 188 lost: 0 repeated: 0 live_hosts_max: 1", "no host was live");
	BAD(STRIKE_PRIMARY, f->event[0].after = 0, NULL, "did not take over");
	BAD(STRIKE_FREEZE, f->event[0].after = 0, NULL, "did not take over");
	BAD(STRIKE_SECONDARY, f->event[0].after = 1, NULL, "nobody was to");
	BAD(STRIKE_PRIMARY, f->event[0].protected_ns = 0, NULL, "not protected again");
	BAD(STRIKE_PRIMARY, f->wanted = 2, NULL, "1 of 2 events");
	BAD(STRIKE_PRIMARY, f->lost = 1, "takeovers: 1 pause_ms: 188 lost: 1 repeated: 0 live_hosts_max: 1", "1 lost");
	BAD(STRIKE_PRIMARY, f->repeated = 2, "takeovers: 1 pause_ms: 188 lost: 0 repeated: 2 live_hosts_max: 1", "2 repeated");
	BAD(STRIKE_PRIMARY, f->contradicted = 1, NULL, "1 contradicted");
	BAD(STRIKE_PRIMARY, f->broken = "Connection reset by peer", NULL, "reset");
	BAD(STRIKE_PRIMARY, f->answered = 0, NULL, "no answer");
	BAD(STRIKE_PRIMARY, f->unseen = 1, NULL, "lost 1 frames");
	BAD(STRIKE_PRIMARY, f->life[2] = ((struct life){ 0, 1, 950, 950 }), NULL, "the wire saw 2");
	BAD(STRIKE_PRIMARY, f->life[0].last_ns = 300, "takeovers: 1 pause_ms: 188 lost: 0 repeated: 0 live_hosts_max: 2", "2 hosts");
	BAD(STRIKE_FREEZE, f->life[0].last_ns = 500, "takeovers: 1 pause_ms: 188 lost: 0 repeated: 0 live_hosts_max: 2", "2 hosts");
	BAD(STRIKE_PRIMARY, f->life[0].frames = f->life[1].frames = 0, NULL, "no frame");
	BAD(STRIKE_PRIMARY, (f->foreign = true, f->foreign_failed = true), NULL, "client failed");
}

Test(ft_demo, live_hosts)
{
	struct life l[] = { { 0, 5, 10, 20 }, { 1, 5, 21, 30 }, { 0, 5, 31, 40 }, { 1, 0, 0, 0 } };

	cr_assert_eq(live_hosts_max(l, 0), 0);
	cr_assert_eq(live_hosts_max(l, 4), 1);
	l[0].last_ns = 35; /* a frame of the first long after */
	cr_assert_eq(live_hosts_max(l, 4), 2);
	l[1].last_ns = 33;
	cr_assert_eq(live_hosts_max(l, 4), 3);
	l[0] = (struct life){ 0, 1, 25, 25 }; /* one frame in the midst of another's */
	l[1].last_ns = 30;
	cr_assert_eq(live_hosts_max(l, 4), 2);
}

Test(ft_demo, centiles)
{
	const u64 v[] = { 50, 10, 40, 20, 30 };

	cr_assert_eq(centile(v, 0, 50), 0);
	cr_assert_eq(centile(v, 1, 99), 50);
	cr_assert_eq(centile(v, 5, 50), 30);
	cr_assert_eq(centile(v, 5, 99), 50);
	cr_assert_eq(centile(v, 5, 1), 10);
}
