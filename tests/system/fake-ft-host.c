/*
 * fake-ft-host.c - a host of a pair without a hypervisor: what QEMU is to `reprise ft primary` and
 * `secondary`, and a pair that is as small as one can be.
 *
 * The guest is a function from the frames it got to the frames it sends: ARP, and one TCP
 * connection to port 7 where it answers as tests/net/seq.h says.  It has no clock, so frames
 * are its only input.  The primary numbers them, sends them to the secondary, and holds back
 * what the guest answers until they are acknowledged; the secondary takes them in order and says
 * nothing.  Who hears nothing for ft_detect_ms asks the arbiter, over the control channel.
 *
 * FAKE_FT names a fault: what the demo must find.
 *   split    a host that lost the arbiter's word goes on all the same
 *   skip     after a takeover one request is not answered
 *   repeat   after a takeover one answer is given twice
 *   lie      after a takeover sums are wrong
 *   deaf     nobody takes over
 *   nojoin   a secondary is never taken in a second time
 *   mute     the guest has no server
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "kernel/base.h"
#include "kernel/bundle.h"
#include "kernel/kconf.h"

#define LOG 1024
#define HELD 1024
#define FRAME 1600

static const u8 our_mac[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };
static const u8 our_ip[4] = { 10, 0, 2, 15 };

/* ---- the guest: a function of frames ---- */

struct guest {
	u32 inputs;
	u8 open, fin_heard, fin_said;
	u8 mac[6], ip[4];
	u16 port;
	u32 heard, said, sure;   /* rcv_nxt, snd_nxt, snd_una */
	u8 out[8192];            /* from sure on */
	u32 out_size;
	char in[2048];
	u32 in_size;
	u64 sum, next;
	u8 any, skip, repeat, lie;
};

enum role { WAITING, JOINING, SECONDARY, SOLO, PRIMARY, LOST };
static const char *const role_names[] = { "waiting", "joining", "secondary", "solo", "primary", "lost" };

struct word { /* 64 bytes: what the arbiter holds */
	u64 term, owner, member, pad[5];
};

struct entry {
	u32 size, after; /* after: held until this input is acknowledged */
	u8 data[FRAME];
};

static struct {
	int control, console, link, tap;
	size_t tap_header;        /* in front of each frame: of no use to us, who take no packets */
	char conf[4096];
	size_t conf_size;
	const char *fault;
	enum role role;
	struct guest guest;
	struct word word, next_word;
	u64 id, other, detect_ms, heartbeat_ms, heard_ms, beat_ms, pause_us, sent, received, asks;
	bool protected;
	struct entry log[LOG];    /* at number % LOG */
	u32 acked;
	struct entry held[HELD];
	u32 held_first, held_next;
	const char *reason;
} f = { .control = -1, .console = -1, .link = -1, .tap = -1, .fault = "", .reason = "" };

static u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

static noreturn_fn void die(const char *what)
{
	fprintf(stderr, "fake-ft-host: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void say(const char *fmt, ...) printf_like(1, 2);
static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vdprintf(f.control, fmt, ap) < 0)
		die("control");
	va_end(ap);
}

static bool fault(const char *name)
{
	return !strcmp(f.fault, name);
}

static void status(void)
{
	u64 held = 0;

	for (u32 i = f.held_first; i != f.held_next; i++)
		held += f.held[i % HELD].size;
	say("ft role=%s state=\"a fake\" term=%lu protected=%d point=%u lag_insns=0 held_bytes=%lu sent=%lu "
	    "received=%lu heartbeat_age_ms=%lu takeovers=0 pause_us=%lu joins=0 join_pause_us=1500 resent=0 mismatch_epoch=0 reason=\"%s\"\n",
	    role_names[f.role], f.word.term, f.protected, f.guest.inputs, held, f.sent, f.received,
	    now_ms() - f.heard_ms, f.pause_us, f.reason);
}

static noreturn_fn void leave(const char *outcome)
{
	say("end outcome=%s guest_exit=0 insns=1 vtime_ns=1 exits=1 inputs=%u input_bytes=0 digest=0 reason=\"%s\"\n", outcome,
	    f.guest.inputs, f.reason);
	exit(1);
}

/* ---- frames out ---- */

static void release(void)
{
	static u8 plain[sizeof(struct virtio_net_hdr)]; /* nothing is left to do */

	while (f.held_first != f.held_next) {
		struct entry *e = &f.held[f.held_first % HELD];
		const struct iovec piece[] = { { plain, f.tap_header }, { e->data, e->size } };

		if (f.protected && e->after > f.acked)
			break;
		if (writev(f.tap, piece, 2) < 0 && errno != EIO)
			die("tap");
		f.held_first++;
	}
}

/* What the guest sends: held, or nothing at all. */
static void emit(const u8 *data, u32 size)
{
	struct entry *e = &f.held[f.held_next % HELD];

	if ((f.role != SOLO && f.role != PRIMARY) || f.held_next - f.held_first == HELD)
		return;
	memcpy(e->data, data, size);
	e->size = size;
	e->after = f.guest.inputs;
	f.held_next++;
}

static u32 add_up(const u8 *p, u32 size, u32 sum)
{
	for (u32 i = 0; i < size; i++)
		sum += i % 2 ? p[i] : (u32)p[i] << 8;
	return sum;
}

static void put_checksum(u8 *at, u32 sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	at[0] = (u8)(~sum >> 8);
	at[1] = (u8)~sum;
}

static void put32(u8 *at, u32 v)
{
	v = htonl(v);
	memcpy(at, &v, 4);
}

static void segment(const struct guest *g, u8 flags, u32 seq, const u8 *data, u32 size)
{
	u8 frame[FRAME] = { 0 }, *ip = frame + 14, *tcp = ip + 20;
	bool syn = flags & 2;
	u32 header = syn ? 24 : 20, total = 20 + header + size;

	memcpy(frame, g->mac, 6);
	memcpy(frame + 6, our_mac, 6);
	frame[12] = 8;
	ip[0] = 0x45, ip[2] = (u8)(total >> 8), ip[3] = (u8)total, ip[6] = 0x40, ip[8] = 64, ip[9] = 6;
	memcpy(ip + 12, our_ip, 4);
	memcpy(ip + 16, g->ip, 4);
	put_checksum(ip + 10, add_up(ip, 20, 0));
	tcp[1] = 7, tcp[2] = (u8)(g->port >> 8), tcp[3] = (u8)g->port;
	put32(tcp + 4, seq);
	put32(tcp + 8, g->heard);
	tcp[12] = (u8)(header / 4 << 4), tcp[13] = flags, tcp[14] = 0x40;
	if (syn)
		memcpy(tcp + 20, "\2\4\5\xb4", 4); /* segments of 1460 */
	memcpy(tcp + header, data, size);
	put_checksum(tcp + 16, add_up(tcp, header + size, add_up(ip + 12, 8, 6 + header + size)));
	emit(frame, 14 + total);
}

/* All that was not sent yet; from is where to begin. */
static void transmit(struct guest *g, u32 from)
{
	u32 end = g->sure + g->out_size;

	do {
		u32 size = MIN(end - from, 1400u);

		segment(g, size ? 0x18 : 0x10, from, g->out + (from - g->sure), size);
		from += size;
	} while (from != end);
	g->said = end;
	if (g->fin_heard) {
		segment(g, 0x11, end, NULL, 0);
		g->fin_said = 1;
	}
}

/* ---- frames in ---- */

static void arp(const u8 *p, bool announce)
{
	u8 a[42] = { 0 };

	memset(a, 0xff, 6);
	if (!announce)
		memcpy(a, p + 6, 6);
	memcpy(a + 6, our_mac, 6);
	memcpy(a + 12, "\x08\x06\0\1\x08\0\6\4\0\2", 10);
	memcpy(a + 22, our_mac, 6);
	memcpy(a + 28, our_ip, 4);
	if (!announce)
		memcpy(a + 32, p + 22, 10);
	else
		memcpy(a + 38, our_ip, 4);
	emit(a, sizeof(a));
}

static u64 fnv(u64 sum, const char *data, size_t size)
{
	while (size--)
		sum = (sum ^ (u8)*data++) * 0x100000001b3u;
	return sum;
}

static void put_line(struct guest *g, const char *line)
{
	size_t n = strlen(line);

	if (g->out_size + n <= sizeof(g->out)) {
		memcpy(g->out + g->out_size, line, n);
		g->out_size += (u32)n;
	}
}

static void request(struct guest *g, const char *line, size_t size)
{
	char answer[64];
	u64 seq = strtoull(line, NULL, 10);

	g->sum = fnv(g->sum, line, size);
	g->any = 1;
	g->next = seq + 1;
	if (g->lie)
		g->sum++;
	snprintf(answer, sizeof(answer), "%lu %016lx\n", seq, g->sum);
	if (!g->skip)
		put_line(g, answer);
	if (g->repeat)
		put_line(g, answer);
	g->skip = g->repeat = 0;
}

static void take_data(struct guest *g, const u8 *data, u32 size)
{
	for (u32 i = 0; i < size; i++) {
		if (g->in_size < sizeof(g->in))
			g->in[g->in_size++] = (char)data[i];
		if (data[i] == '\n') {
			request(g, g->in, g->in_size);
			g->in_size = 0;
		}
	}
}

static u32 get32(const u8 *at)
{
	u32 v;

	memcpy(&v, at, 4);
	return ntohl(v);
}

static void opened(struct guest *g, const u8 *frame, const u8 *ip, const u8 *tcp)
{
	u32 inputs = g->inputs, isn = 0x1000u + (u32)(tcp[0] << 8 | tcp[1]) * 977;

	*g = (struct guest){ .inputs = inputs, .open = 1, .sum = 0xcbf29ce484222325u };
	memcpy(g->mac, frame + 6, 6);
	memcpy(g->ip, ip + 12, 4);
	g->port = (u16)(tcp[0] << 8 | tcp[1]);
	g->heard = get32(tcp + 4) + 1;
	g->sure = g->said = isn + 1;
	segment(g, 0x12, isn, NULL, 0);
	put_line(g, "seqd 1\n");
}

static void tcp_in(struct guest *g, const u8 *frame, u32 frame_size)
{
	const u8 *ip = frame + 14, *tcp = ip + 20, *data;
	u32 total = (u32)(ip[2] << 8 | ip[3]), seq, ack, size, before = g->said;

	if (frame_size < 54 || ip[0] != 0x45 || ip[9] != 6 || memcmp(ip + 16, our_ip, 4) || tcp[2] || tcp[3] != 7 || fault("mute"))
		return;
	data = tcp + (tcp[12] >> 4) * 4;
	if (total + 14 > frame_size || data > ip + total)
		return;
	size = (u32)(ip + total - data);
	seq = get32(tcp + 4);
	ack = get32(tcp + 8);
	if (tcp[13] & 2) {
		opened(g, frame, ip, tcp);
		return;
	}
	if (!g->open || g->port != (u16)(tcp[0] << 8 | tcp[1]))
		return;
	if (tcp[13] & 4) {
		g->open = 0;
		return;
	}
	if (ack - g->sure <= g->out_size) {
		g->out_size -= ack - g->sure;
		memmove(g->out, g->out + (ack - g->sure), g->out_size);
		g->sure = ack;
	}
	if (g->heard - seq <= size) { /* what is old in it is passed over */
		take_data(g, data + (g->heard - seq), size - (g->heard - seq));
		g->heard = seq + size;
		if (tcp[13] & 1) {
			g->heard++;
			g->fin_heard = 1;
		}
	}
	if (size || tcp[13] & 1 || g->sure + g->out_size != before)
		transmit(g, before - g->sure <= g->out_size ? before : g->sure);
}

static void step(struct guest *g, const u8 *frame, u32 size)
{
	g->inputs++;
	if (size >= 42 && frame[12] == 8 && frame[13] == 6 && frame[21] == 1 && !memcmp(frame + 38, our_ip, 4))
		arp(frame, false);
	else if (size >= 54 && frame[12] == 8 && !frame[13])
		tcp_in(g, frame, size);
}

/* ---- the link ---- */

static void send_link(char kind, u32 number, const void *data, u32 size)
{
	u8 m[5 + sizeof(struct guest) + sizeof(struct word) + FRAME];

	m[0] = (u8)kind;
	put32(m + 1, number);
	memcpy(m + 5, data, size);
	if (send(f.link, m, 5 + size, 0) > 0)
		f.sent += 5 + size;
}

/* ---- the arbiter ---- */

static void put_word(char *to, const struct word *w)
{
	for (unsigned i = 0; i < sizeof(*w); i++)
		sprintf(to + 2 * i, "%02x", ((const u8 *)w)[i]);
}

/* A line of the control channel, waited for. */
static void hear_control(char *line, size_t size)
{
	size_t n = 0;

	while (n + 1 < size) {
		if (read(f.control, line + n, 1) != 1)
			exit(1);
		if (line[n] == '\n')
			break;
		n++;
	}
	line[n] = 0;
	if (!strcmp(line, "quit"))
		leave("quit");
}

enum answer { SWAPPED, DIFFERS, AGAIN };

static enum answer swap(const struct word *expected, const struct word *desired)
{
	char a[2 * sizeof(struct word) + 1], b[sizeof(a)], line[1024], wanted[64];

	f.asks++;
	put_word(a, expected);
	put_word(b, desired);
	say("arbiter n=%lu op=swap expected=%s desired=%s\n", f.asks, a, b);
	snprintf(wanted, sizeof(wanted), "arbiter n=%lu result=", f.asks);
	do {
		hear_control(line, sizeof(line));
	} while (strncmp(line, wanted, strlen(wanted)));
	if (strstr(line, "result=swapped")) {
		f.word = *desired;
		return SWAPPED;
	}
	return strstr(line, "result=differs") ? DIFFERS : AGAIN;
}

static void be(enum role role, bool protected)
{
	f.role = role;
	f.protected = protected;
	status();
}

static void lost(const char *reason)
{
	if (fault("split") && (f.role == PRIMARY || f.role == SOLO)) {
		f.heard_ms = now_ms() + 1000000; /* nothing is missed any more */
		f.protected = false;
		return;
	}
	f.reason = reason;
	be(LOST, false);
	leave("quit");
}

/* Nothing was heard for too long. */
static void alone(void)
{
	const struct word mine = { .term = f.word.term + 1, .owner = f.id };
	bool takes_over = f.role == SECONDARY;
	u64 from = now_ms();

	if (fault("deaf") && takes_over)
		return;
	switch (swap(&f.word, &mine)) {
	case AGAIN:
		return;
	case DIFFERS:
		lost("the other host is live");
		return;
	case SWAPPED:
		break;
	}
	f.role = SOLO;
	if (takes_over) {
		f.held_first = f.held_next = 0;
		f.guest.skip = fault("skip");
		f.guest.repeat = fault("repeat");
		f.guest.lie = fault("lie");
		arp(NULL, true);
		if (f.guest.open)
			transmit(&f.guest, f.guest.sure);
		f.pause_us = (now_ms() - from) * 1000;
	}
	be(SOLO, false);
	release();
}

/* ---- messages ---- */

static void on_join(u32 id)
{
	if (f.role != SOLO || (fault("nojoin") && f.word.term > 1))
		return;
	f.other = id;
	f.acked = f.guest.inputs;
	send_link('S', id, &f.guest, sizeof(f.guest));
}

static void on_loaded(u32 inputs)
{
	const struct word both = { .term = f.word.term + 1, .owner = f.id, .member = f.other };

	/* Not if anything came in meanwhile: it asks again. */
	if (f.role != SOLO || !f.other || inputs != f.guest.inputs || swap(&f.word, &both) != SWAPPED)
		return;
	f.acked = inputs;
	f.heard_ms = now_ms();
	be(PRIMARY, true);
}

/* A machine that came late, after a newer one, is none: what that one was given would be missing. */
static void on_machine(const struct guest *g)
{
	if (f.role != JOINING || g->inputs < f.guest.inputs)
		return;
	f.guest = *g;
	send_link('L', g->inputs, NULL, 0);
}

static void on_message(const u8 *m, u32 size)
{
	u32 number = get32(m + 1);
	struct guest g;

	switch (m[0]) {
	case 'J':
		on_join(number);
		return;
	case 'S':
		if (number == (u32)f.id && size == 5 + sizeof(g)) {
			memcpy(&g, m + 5, sizeof(g));
			on_machine(&g);
		}
		return;
	case 'L':
		on_loaded(number);
		return;
	case 'H': /* the live host's heartbeat holds the word */
		if (f.role == SECONDARY || f.role == JOINING) {
			struct word w;

			memcpy(&w, m + 5, sizeof(w));
			if (w.member != f.id)
				return;
			f.word = w;
			f.heard_ms = now_ms();
			if (f.role == JOINING)
				be(SECONDARY, true);
			send_link('A', f.guest.inputs, NULL, 0);
		}
		return;
	case 'D':
		if (f.role != SECONDARY)
			return;
		f.heard_ms = now_ms();
		if (number == f.guest.inputs + 1)
			step(&f.guest, m + 5, size - 5);
		send_link('A', f.guest.inputs, NULL, 0);
		return;
	case 'A':
		if (f.role != PRIMARY)
			return;
		f.heard_ms = now_ms();
		f.acked = MAX(f.acked, number);
		release();
		return;
	}
}

/* ---- the loop ---- */

static void on_tap(void)
{
	u8 frame[FRAME], header[sizeof(struct virtio_net_hdr)];
	const struct iovec piece[] = { { header, f.tap_header }, { frame, sizeof(frame) } };
	ssize_t size = readv(f.tap, piece, 2) - (ssize_t)f.tap_header;
	struct entry *e = &f.log[(f.guest.inputs + 1) % LOG];

	if (size <= 0 || (f.role != SOLO && f.role != PRIMARY))
		return;
	memcpy(e->data, frame, (size_t)size);
	e->size = (u32)size;
	step(&f.guest, frame, (u32)size);
	if (f.protected)
		send_link('D', f.guest.inputs, frame, (u32)size);
	release();
}

static void beat(void)
{
	f.beat_ms = now_ms();
	if (f.role == JOINING)
		send_link('J', (u32)f.id, NULL, 0);
	if (f.role != PRIMARY)
		return;
	send_link('H', f.guest.inputs, &f.word, sizeof(f.word));
	/* What was lost on the way. */
	for (u32 i = f.acked + 1; i <= f.guest.inputs && i < f.acked + 32; i++)
		send_link('D', i, f.log[i % LOG].data, f.log[i % LOG].size);
}

static noreturn_fn void serve(void)
{
	u64 said_ms = now_ms();

	for (;;) {
		struct pollfd fds[] = {
			{ .fd = f.tap, .events = POLLIN }, { .fd = f.link, .events = POLLIN }, { .fd = f.control, .events = POLLIN },
		};
		u8 m[16384];
		ssize_t n;
		char line[1024];

		poll(fds, 3, (int)(f.heartbeat_ms / 2));
		/* First of all: whoever was frozen knows nothing any more. */
		if ((f.role == PRIMARY || f.role == SECONDARY) && now_ms() > f.heard_ms + f.detect_ms)
			alone();
		if (fds[1].revents)
			while ((n = recv(f.link, m, sizeof(m), MSG_DONTWAIT)) >= 5) {
				f.received += (u64)n;
				on_message(m, (u32)n);
			}
		if (fds[0].revents)
			on_tap();
		if (fds[2].revents)
			hear_control(line, sizeof(line));
		if (now_ms() >= f.beat_ms + f.heartbeat_ms)
			beat();
		if (now_ms() >= said_ms + 200) {
			said_ms = now_ms();
			status();
		}
	}
}

/* ---- what QEMU is given ---- */

static int number_behind(const char *s, const char *key)
{
	const char *at = strstr(s, key);

	return at ? atoi(at + strlen(key)) : -1;
}

static size_t header_of(int tap)
{
	struct ifreq r = { 0 };

	return !ioctl(tap, TUNGETIFF, &r) && r.ifr_flags & IFF_VNET_HDR ? sizeof(struct virtio_net_hdr) : 0;
}

static int open_tap(const char *netdev)
{
	const char *name = strstr(netdev, "ifname=");
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	int fd;

	if (!name)
		return number_behind(netdev, "fd=");
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%.*s", (int)strcspn(name + 7, ","), name + 7);
	fd = open("/dev/net/tun", O_RDWR);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &r))
		die(r.ifr_name);
	return fd;
}

static void load_bundle(const char *path)
{
	int fd = open(path, O_RDONLY);
	struct stat st;
	const u8 *data;
	size_t size;
	u8 *cpio;

	if (fd < 0 || fstat(fd, &st) || !(cpio = malloc((size_t)st.st_size)) || read(fd, cpio, (size_t)st.st_size) != st.st_size)
		die(path);
	close(fd);
	if (bundle_find(cpio, (size_t)st.st_size, "session.conf", &data, &size) || size >= sizeof(f.conf))
		die("session.conf");
	memcpy(f.conf, data, size);
	f.conf_size = size;
	free(cpio);
}

static void arguments(int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i++) {
		const char *value = argv[i + 1];

		if (!strcmp(argv[i], "-initrd"))
			load_bundle(value);
		else if (!strcmp(argv[i], "-chardev") && strstr(value, "id=console"))
			f.console = number_behind(value, "fd=");
		else if (!strcmp(argv[i], "-chardev") && strstr(value, "id=control"))
			f.control = number_behind(value, "fd=");
		else if (!strcmp(argv[i], "-netdev") && !strncmp(value, "dgram,id=link", 13))
			f.link = number_behind(value, "local.str=");
		else if (!strcmp(argv[i], "-netdev") && !strncmp(value, "tap,", 4))
			f.tap = open_tap(value), f.tap_header = header_of(f.tap);
	}
}

int main(int argc, char **argv)
{
	const struct word none = { 0 };
	struct word mine;
	char text[32];

	arguments(argc, argv);
	if (getenv("FAKE_FT"))
		f.fault = getenv("FAKE_FT");
	if (f.control < 0 || f.console < 0 || f.tap < 0)
		die("no ports, no tap");
	say("ready selftest=ok counter=icount host_probe=00000000000000aa boot_insns=1000\n");
	dprintf(f.console, "fake guest: up\n");
	f.id = (u64)getpid();
	f.detect_ms = conf_u64(f.conf, f.conf_size, "ft_detect_ms", 150);
	f.heartbeat_ms = conf_u64(f.conf, f.conf_size, "ft_heartbeat_ms", 50);
	f.heard_ms = now_ms();
	if (f.link < 0) { /* `run`: no pair */
		f.role = SOLO;
		serve();
	}
	if (conf_get(f.conf, f.conf_size, "ft_role", text, sizeof(text)) && !strcmp(text, "primary")) {
		mine = (struct word){ .term = 1, .owner = f.id };
		if (swap(&none, &mine) != SWAPPED)
			lost("the store has a pair already");
		be(SOLO, false);
	} else {
		be(JOINING, false);
	}
	serve();
}
