/*
 * rsptimes.c - asks a GDB stub and says how long each answer took.
 *
 *   rsptimes [-t MS] [-m] [-c ADDRESS] [COMMAND [ARGUMENT...]] < SCRIPT
 *
 * COMMAND is started, and ended when the script is through.  ADDRESS, HOST:PORT
 * or a Unix socket's path, is tried until somebody listens; without it, it is
 * read from COMMAND's output, from the line "listening ADDRESS".  MS is how long
 * an answer may take (60000).  The script's lines:
 *
 *   NAME PACKET...       the packets in turn; timed together, from the first
 *                        byte sent to the last answer's last byte
 *   cold NAME PACKET...  the same, but timed from before COMMAND was started
 *   monitor NAME TEXT    qRcmd
 *   send PACKET          without waiting for its answer
 *   patience MS          from now on instead of -t
 *   sleep MS
 *
 * The packet "^C" is the byte that interrupts.
 * "%sp" in a packet is RSP in hexadecimal, as the last answer to g had it.  For
 * each NAME but "-" a line is printed:
 *
 *   NAME MILLISECONDS ANSWER
 *
 * with the first packet's answer, cut after 64 bytes.  Packets that are output ("O...") are
 * skipped.  When an answer does not come, "NAME timeout" or "NAME closed" is the
 * last line, and the exit status is 1.
 *
 * With -m, QEMU's human monitor is at ADDRESS, and the script's lines are NAME and
 * a command of it; the answer is what it printed, without its blanks.
 *
 *   1  time, and failing    2  the command    3  the connection
 *   4  packets              5  QEMU's monitor 6  the script
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX 65536
#define SHOWN 64

struct client {
	int fd;
	pid_t child;
	double began_ms, patience_ms;
	bool monitor, no_ack;
	const char *trouble;            /* "timeout", "closed"; NULL: none */
	char answer[ANSWER_MAX];
	char first[SHOWN + 1];          /* of the answers to a line of the script */
	char raw[ANSWER_MAX];           /* received, not looked at yet */
	size_t raw_at, raw_size;
	unsigned long long rsp;
};

/* --- 1  time, and failing ---------------------------------------------------- */

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void pause_ms(double ms)
{
	struct timespec t = { (time_t)(ms / 1e3), (long)((ms - 1e3 * (double)(time_t)(ms / 1e3)) * 1e6) };

	nanosleep(&t, NULL);
}

static void fail(const char *what)
{
	fprintf(stderr, "rsptimes: %s: %s\n", what, strerror(errno));
	exit(125);
}

static bool gave_up(struct client *c, const char *why)
{
	if (!c->trouble)
		c->trouble = why;
	return false;
}

/* --- 2  the command ----------------------------------------------------------- */

static int start(struct client *c, char **argv)
{
	pid_t parent = getpid();
	int pipe_fd[2];

	if (pipe2(pipe_fd, O_CLOEXEC))
		fail("pipe");
	c->child = fork();
	if (c->child < 0)
		fail("fork");
	if (!c->child) {
		int null = open("/dev/null", O_RDWR);

		setpgid(0, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent || dup2(null, STDIN_FILENO) < 0 || dup2(pipe_fd[1], STDOUT_FILENO) < 0)
			_exit(125);
		execvp(argv[0], argv);
		fprintf(stderr, "rsptimes: %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(pipe_fd[1]);
	return pipe_fd[0];
}

/* Asked first; then no longer asked. */
static void end(const struct client *c)
{
	double until_ms = now_ms() + 3000;

	if (c->child <= 0)
		return;
	kill(c->child, SIGTERM);
	while (now_ms() < until_ms) {
		if (waitpid(c->child, NULL, WNOHANG) == c->child)
			return;
		pause_ms(10);
	}
	kill(-c->child, SIGKILL);
	waitpid(c->child, NULL, 0);
}

static bool gone(struct client *c)
{
	if (c->child <= 0 || waitpid(c->child, NULL, WNOHANG) != c->child)
		return false;
	c->child = 0;
	return true;
}

/* The address it prints when it listens. */
static bool find_address(struct client *c, int from, char *address, size_t size)
{
	double deadline_ms = c->began_ms + c->patience_ms;
	struct pollfd p = { .fd = from, .events = POLLIN };
	char line[256];
	size_t fill = 0;

	for (;;) {
		double left_ms = deadline_ms - now_ms();

		if (left_ms <= 0)
			return gave_up(c, "timeout");
		if (poll(&p, 1, (int)left_ms + 1) <= 0)
			continue;
		if (read(from, &line[fill], 1) != 1)
			return gave_up(c, "closed");
		if (line[fill] != '\n') {
			fill += fill < sizeof(line) - 1;
			continue;
		}
		line[fill] = 0;
		fill = 0;
		if (!strncmp(line, "listening ", 10)) {
			snprintf(address, size, "%s", line + 10);
			return true;
		}
	}
}

/* --- 3  the connection --------------------------------------------------------- */

static int try_tcp(const char *address)
{
	const char *colon = strrchr(address, ':');
	struct sockaddr_in a = { .sin_family = AF_INET };
	char host[64] = "";
	int fd, on = 1;

	if (colon && (size_t)(colon - address) < sizeof(host))
		memcpy(host, address, (size_t)(colon - address));
	if (!colon || inet_pton(AF_INET, host, &a.sin_addr) != 1) {
		fprintf(stderr, "rsptimes: %s: not an address\n", address);
		exit(125);
	}
	a.sin_port = htons((unsigned short)atoi(colon + 1));
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (!connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return fd;
	close(fd);
	return -1;
}

static int try_unix(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (!connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return fd;
	close(fd);
	return -1;
}

static bool join(struct client *c, const char *address)
{
	while ((c->fd = *address == '/' ? try_unix(address) : try_tcp(address)) < 0) {
		if (gone(c))
			return gave_up(c, "closed");
		if (now_ms() > c->began_ms + c->patience_ms)
			return gave_up(c, "timeout");
		pause_ms(5);
	}
	return true;
}

static bool send_bytes(struct client *c, const char *data, size_t n)
{
	while (n) {
		ssize_t sent = send(c->fd, data, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return gave_up(c, "closed");
		data += sent;
		n -= (size_t)sent;
	}
	return true;
}

static bool next_byte(struct client *c, double deadline_ms, char *byte)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };

	while (c->raw_at == c->raw_size) {
		double left_ms = deadline_ms - now_ms();
		ssize_t n;

		if (left_ms <= 0)
			return gave_up(c, "timeout");
		if (poll(&p, 1, (int)left_ms + 1) <= 0)
			continue;
		n = recv(c->fd, c->raw, sizeof(c->raw), 0);
		if (n <= 0)
			return gave_up(c, "closed");
		c->raw_at = 0;
		c->raw_size = (size_t)n;
	}
	*byte = c->raw[c->raw_at++];
	return true;
}

/* --- 4  packets ------------------------------------------------------------------ */

/* A packet's body, repetitions undone ("X*n" is X and n - 29 more of it). */
static bool receive_packet(struct client *c, double deadline_ms)
{
	size_t n = 0;
	char b;

	do {
		if (!next_byte(c, deadline_ms, &b))
			return false;
	} while (b != '$');
	while (next_byte(c, deadline_ms, &b) && b != '#') {
		size_t times = 1;
		char what = b;

		if (b == '*' && n) {
			if (!next_byte(c, deadline_ms, &b))
				return false;
			times = (size_t)(unsigned char)b - 29;
			what = c->answer[n - 1];
		}
		if (times >= ANSWER_MAX - n)
			return gave_up(c, "nonsense");
		memset(c->answer + n, what, times);
		n += times;
	}
	c->answer[n] = 0;
	/* The checksum is TCP's business here. */
	return !c->trouble && next_byte(c, deadline_ms, &b) && next_byte(c, deadline_ms, &b) &&
	       (c->no_ack || send_bytes(c, "+", 1));
}

static bool is_output(const char *answer)
{
	return answer[0] == 'O' && strcmp(answer, "OK");
}

/* RSP is register 7, in the order of bytes of memory. */
static void note_rsp(struct client *c)
{
	unsigned byte;

	if (strlen(c->answer) < 8 * 16)
		return;
	c->rsp = 0;
	for (unsigned i = 0; i < 8 && sscanf(c->answer + 7 * 16 + 2 * i, "%2x", &byte) == 1; i++)
		c->rsp |= (unsigned long long)byte << 8 * i;
}

static bool send_packet(struct client *c, const char *body)
{
	const char *sp = strstr(body, "%sp");
	char packet[1024];
	unsigned char sum = 0;
	int n;

	if (!strcmp(body, "^C"))
		return send_bytes(c, "\003", 1);
	if (sp)
		n = snprintf(packet, sizeof(packet) - 4, "$%.*s%llx%s", (int)(sp - body), body, c->rsp, sp + 3);
	else
		n = snprintf(packet, sizeof(packet) - 4, "$%s", body);
	for (int i = 1; i < n; i++)
		sum = (unsigned char)(sum + (unsigned char)packet[i]);
	n += sprintf(packet + n, "#%02x", sum);
	return send_bytes(c, packet, (size_t)n);
}

static bool ask(struct client *c, const char *body)
{
	double deadline_ms = now_ms() + c->patience_ms;

	if (!send_packet(c, body))
		return false;
	do {
		if (!receive_packet(c, deadline_ms))
			return false;
	} while (is_output(c->answer));
	if (!strcmp(body, "g"))
		note_rsp(c);
	return true;
}

static bool ask_all(struct client *c, char *packets)
{
	char *rest = NULL;
	bool first = true;

	for (char *p = strtok_r(packets, " ", &rest); p; p = strtok_r(NULL, " ", &rest), first = false) {
		if (!ask(c, p))
			return false;
		if (first)
			snprintf(c->first, sizeof(c->first), "%.*s", SHOWN, c->answer);
	}
	return true;
}

static bool ask_monitor(struct client *c, const char *text)
{
	char body[512];
	int n = sprintf(body, "qRcmd,");

	for (; *text && n < (int)sizeof(body) - 3; text++)
		n += sprintf(body + n, "%02x", (unsigned char)*text);
	return ask(c, body);
}

/* --- 5  QEMU's monitor ------------------------------------------------------------- */

/* Up to its prompt, at the beginning of a line. */
static bool read_prompt(struct client *c)
{
	static const char prompt[] = "\n(qemu) ";
	double deadline_ms = now_ms() + c->patience_ms;
	size_t n = 0, k = 0;
	bool echoed = false;
	char b;

	while (prompt[k]) {
		if (!next_byte(c, deadline_ms, &b))
			return false;
		k = b == prompt[k] ? k + 1 : b == prompt[0];
		echoed = echoed || b == '\n';
		if (echoed && b > ' ' && b != 0x7f && n < SHOWN)
			c->answer[n++] = b;
	}
	n -= n >= 6 ? 6 : n; /* "(qemu)" */
	c->answer[n] = 0;
	return true;
}

static bool tell(struct client *c, const char *text)
{
	return send_bytes(c, text, strlen(text)) && send_bytes(c, "\n", 1) && read_prompt(c);
}

/* --- 6  the script ------------------------------------------------------------------ */

static bool follow(struct client *c, char *line)
{
	double began_ms = now_ms();
	char *rest = NULL, *word = strtok_r(line, " \n", &rest), *name = word;
	char *what = strtok_r(NULL, "\n", &rest);
	bool asks = c->monitor, good;

	if (!word || *word == '#')
		return true;
	if (!what)
		what = "";
	if (!strcmp(word, "sleep")) {
		pause_ms(atof(what));
		return true;
	}
	if (!strcmp(word, "send"))
		return send_packet(c, what);
	if (!strcmp(word, "patience")) {
		c->patience_ms = atof(what);
		return true;
	}
	if (!strcmp(word, "cold") || !strcmp(word, "monitor")) {
		asks = *word == 'm';
		began_ms = asks ? began_ms : c->began_ms;
		name = strtok_r(what, " ", &rest);
		what = strtok_r(NULL, "", &rest);
		if (!name || !what)
			return true;
	}
	c->first[0] = 0;
	good = !c->trouble && (c->monitor ? tell(c, what) : asks ? ask_monitor(c, what) : ask_all(c, what));
	if (!good)
		printf("%s %s\n", name, c->trouble);
	else if (strcmp(name, "-"))
		printf("%s %.3f %.*s\n", name, now_ms() - began_ms, SHOWN, c->first[0] ? c->first : c->answer[0] ? c->answer : "-");
	fflush(stdout);
	return good;
}

static bool greet(struct client *c)
{
	if (c->monitor)
		return read_prompt(c);
	if (!ask(c, "QStartNoAckMode"))
		return false;
	c->no_ack = !strcmp(c->answer, "OK");
	return true;
}

int main(int argc, char **argv)
{
	static struct client c = { .fd = -1, .patience_ms = 60000 };
	char address[256] = "", line[4096];
	int o, from = -1;

	while ((o = getopt(argc, argv, "+t:mc:")) != -1) {
		if (o == 't')
			c.patience_ms = atof(optarg);
		else if (o == 'm')
			c.monitor = true;
		else if (o == 'c')
			snprintf(address, sizeof(address), "%s", optarg);
	}
	if (!*address && optind >= argc) {
		fprintf(stderr, "usage: rsptimes [-t MS] [-m] [-c ADDRESS] [COMMAND [ARGUMENT...]] < SCRIPT\n");
		return 125;
	}
	c.began_ms = now_ms();
	if (optind < argc)
		from = start(&c, argv + optind);
	if ((*address || find_address(&c, from, address, sizeof(address))) && join(&c, address))
		greet(&c);
	/* What has failed already is said of the first line that would have asked. */
	while (fgets(line, sizeof(line), stdin) && follow(&c, line))
		;
	if (c.fd >= 0)
		close(c.fd);
	end(&c);
	return c.trouble != NULL;
}
