/*
 * test_ft_host.c - what a host of a pair does without QEMU: its options, its disks, the arbiter's file,
 * the link's socket, the status.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/disks.h"
#include "tools/ftarbiter.h"
#include "tools/ftlink.h"
#include "tools/ftstatus.h"
#include "tools/options.h"
#include "tools/session.h"

static char *scratch(char path[64])
{
	strcpy(path, "/tmp/reprise-unit-XXXXXX");
	cr_assert(mkdtemp(path));
	return path;
}

/* ---- options ---- */

static enum status parse(struct options *o, unsigned groups, const char *const *args)
{
	char *argv[24] = { NULL };
	int argc = 0;

	for (; args[argc]; argc++)
		argv[argc] = (char *)(uintptr_t)args[argc];
	return options_parse(o, groups, argc, argv);
}
#define PAIR(o, ...) parse(o, OPT_VM | OPT_PAIR, (const char *const[]){ "ft primary", "--kernel", "k", __VA_ARGS__, NULL })

Test(ft_host, options)
{
	struct options o;

	cr_assert_eq(PAIR(&o, "--peer", "h:1", "--arbiter", "file:word"), ST_OK);
	cr_assert(o.heartbeat_ms == 50 && o.detect_ms == 150 && !o.link_listen && !o.status && !o.side && !strcmp(o.on_mismatch, "reprotect"));
	cr_assert_eq(PAIR(&o, "--peer", "h:1", "--arbiter", "file:word", "--heartbeat", "20ms", "--detect", "1s", "--side", "b", "--on-mismatch", "stop"), ST_OK);
	cr_assert(o.heartbeat_ms == 20 && o.detect_ms == 1000 && o.side == 'b' && !strcmp(o.on_mismatch, "stop"));
}

Test(ft_host, options_refused, .init = cr_redirect_stderr)
{
	struct options o;

	cr_assert_eq(PAIR(&o, "--arbiter", "file:word"), ST_USAGE, "no peer");
	cr_assert_eq(PAIR(&o, "--peer", "h:1"), ST_USAGE, "no arbiter");
	cr_assert_eq(PAIR(&o, "--peer", "h:1", "--arbiter", "file:word", "--heartbeat", "100ms", "--detect", "150ms"), ST_USAGE);
	cr_assert_eq(PAIR(&o, "--peer", "h:1", "--arbiter", "file:word", "--heartbeat", "100us"), ST_USAGE);
	cr_assert_eq(PAIR(&o, "--peer", "h:1", "--arbiter", "file:word", "--detect", "2m"), ST_USAGE);
	cr_assert_eq(PAIR(&o, "--peer", "h:1", "--arbiter", "file:word", "--side", "c"), ST_USAGE);
	cr_assert_eq(PAIR(&o, "--peer", "h:1", "--arbiter", "file:word", "--side", "ab"), ST_USAGE);
	cr_assert_eq(PAIR(&o, "--peer", "h:1", "--arbiter", "file:word", "--on-mismatch", "ignore"), ST_USAGE);
	cr_assert_eq(PAIR(&o, "--peer", "h:1", "--arbiter", "file:word", "--rtc", "now"), ST_USAGE, "two hosts' now differ");
	cr_assert_eq(PAIR(&o, "--peer", "h:1", "--arbiter", "file:word", "--kill", "primary"), ST_USAGE);
}

/* ---- disks ---- */

#define UNIT "iscsi://h:1/iqn.x:y/"
#define SHARING(o, ...) PAIR(o, "--peer", "h:1", "--arbiter", UNIT "1", __VA_ARGS__)

Test(ft_host, shared_disk_options)
{
	struct options o;

	cr_assert_eq(SHARING(&o, "--disk", UNIT "2,shared", "--disk", UNIT "3,room=5M,shared", "--disk", "f,ro"), ST_OK);
	cr_assert_eq(o.ndisks, 3);
	cr_assert(!strcmp(o.disk[0].path, UNIT "2") && disk_option_shared(&o.disk[0]) && !o.disk[0].room_bytes);
	cr_assert(!strcmp(o.disk[1].path, UNIT "3") && disk_option_shared(&o.disk[1]) && o.disk[1].room_bytes == MIB(6));
	cr_assert(!disk_option_shared(&o.disk[2]));
	cr_assert_eq(SHARING(&o, "--disk", "iscsi://h:1/iqn.x:z/1,shared"), ST_OK, "another target's, not the arbiter's");
	cr_assert_eq(PAIR(&o, "--peer", "h:1", "--arbiter", "file:word", "--disk", UNIT "1,shared"), ST_OK);
}

Test(ft_host, shared_disk_options_refused, .init = cr_redirect_stderr)
{
	static const char *const bad[] = {
		"f,shared", "f,shared,room=2M", UNIT "2", UNIT "2,cow", UNIT "2,rw", UNIT "2,ro", UNIT "2,shared,rw", UNIT "2,room=2M",
		UNIT "1,shared", "iscsi://other/iqn.x:y/01,shared", UNIT ",shared", UNIT "x,shared", "iscsi://h:1,shared", "iscsi://,shared",
		"iscsi:///t/1,shared", UNIT "2,shared,room=3G", "scsi:/dev/sg0,shared", "iscsi://h/t\nx/1,shared", "f,rw", ",shared",
	};
	struct options o;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		cr_assert_eq(SHARING(&o, "--disk", bad[i]), ST_USAGE, "%s", bad[i]);
	cr_assert_eq(SHARING(&o, "--disk", UNIT "2,shared", "--disk", "iscsi://elsewhere/iqn.x:y/2,shared"), ST_USAGE, "twice");
	cr_assert_eq(parse(&o, OPT_VM | OPT_PAIR | OPT_OUTPUT, (const char *const[]){ "ft primary", "--kernel", "k", "--peer", "h:1", "--arbiter",
			   "file:word", "--disk", UNIT "2,shared", "-o", "rec", NULL }), ST_OK, "it can be recorded");
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(parse(&o, OPT_VM, (const char *const[]){ "run", "--kernel", "k", "--disk", (const char *const[]){ "f,shared",
				   UNIT "2,shared", UNIT "2", UNIT "2,rw" }[i], NULL }), ST_USAGE, "a machine alone");
}

static const char *text(struct buf *b)
{
	buf_add(b, "", 1);
	return (const char *)b->data;
}

/* What the machine is, what QEMU gets, what the hypervisor is told: with a disk of the host's between. */
Test(ft_host, shared_disks)
{
	char dir[64], file[80];
	struct qemu_disk disk[QEMU_MAX_DISKS];
	struct qemu_unit unit[QEMU_MAX_UNITS];
	struct machine_disks d;
	struct buf head = { 0 }, conf = { 0 };
	unsigned ndisks = 0, nunits = 1; /* the arbiter */
	struct options o;
	u64 memory;

	snprintf(file, sizeof(file), "%s/f", scratch(dir));
	close(open(file, O_CREAT | O_WRONLY, 0600));
	cr_assert(!truncate(file, 4096));
	cr_assert_eq(SHARING(&o, "--disk", "iscsi://h/iqn.x:y/02,shared", "--disk", file, "--disk", "iscsi://[fd00::1]:5/t,x/3,shared,room=2M"), ST_OK);
	cr_assert_eq(disks_from_options(&d, &o, false, &head), ST_OK);
	cr_assert_eq(d.n, 3);
	cr_assert(!strncmp(text(&head), "disk0=iscsi://h/iqn.x:y/02\ndisk0_target=iqn.x:y/2\ndisk0_size=0\ndisk0_mode=shared\n"
			   "disk0_room_bytes=1073741824\ndisk1=/", 116));
	cr_assert(strstr((char *)head.data, "\ndisk2=iscsi://[fd00::1]:5/t,x/3\ndisk2_target=t,x/3\ndisk2_size=0\ndisk2_mode=shared\n"
			 "disk2_room_bytes=2097152\n"));
	disks_plug(&d, "", disk, &ndisks);
	cr_assert(ndisks == 1 && !strcmp(disk[0].serial, "disk1"), "no disk of QEMU's for a unit");
	cr_assert_eq(disks_plug_shared(&d, 'b', unit, &nunits, &conf), ST_OK);
	cr_assert_eq(nunits, 3);
	cr_assert_str_eq(text(&conf), "shared0_unit=1\nshared2_unit=2\n");
	cr_assert_str_eq(unit[1].name, "shared0");
	cr_assert_str_eq(unit[1].drive, "driver=iscsi,node-name=shared0,transport=tcp,portal=h:3260,target=iqn.x:y,lun=02,"
			 "initiator-name=iqn.2026-01.reprise:b");
	cr_assert_str_eq(unit[2].name, "shared2");
	cr_assert_str_eq(unit[2].drive, "driver=iscsi,node-name=shared2,transport=tcp,portal=[fd00::1]:5,target=t,,x,lun=3,"
			 "initiator-name=iqn.2026-01.reprise:b");
	memory = disks_memory(&d);
	d.disk[0].room_bytes = 0;
	cr_assert_geq(memory - disks_memory(&d), GIB(1), "room is memory");
	cr_assert_eq(disks_not(&d, "-o", "iscsi://h/iqn.x:y/02"), ST_OK);
	disks_close(&d);
	unlink(file);
	rmdir(dir);
	buf_free(&head);
	buf_free(&conf);
}

Test(ft_host, shared_disk_with_too_long_a_name, .init = cr_redirect_stderr)
{
	struct machine_disks d;
	struct qemu_unit unit[QEMU_MAX_UNITS];
	struct buf head = { 0 }, conf = { 0 };
	char url[1200];
	unsigned nunits = 0;
	struct options o;

	memset(url, 'x', sizeof(url));
	memcpy(url, "iscsi://h/", 10);
	strcpy(url + 1100, "/1,shared");
	cr_assert_eq(SHARING(&o, "--disk", url), ST_OK);
	cr_assert_eq(disks_from_options(&d, &o, false, &head), ST_OK);
	cr_assert_eq(disks_plug_shared(&d, 'a', unit, &nunits, &conf), ST_USAGE);
	disks_close(&d);
	buf_free(&head);
	buf_free(&conf);
}

/* ---- the arbiter ---- */

Test(ft_host, arbiter_names)
{
	struct arbiter a;

	cr_assert_eq(arbiter_open(&a, "iscsi://10.0.0.9/iqn.2026-01.lab:store/1", 'a'), ST_OK);
	cr_assert_eq(a.kind, ARBITER_SCSI);
	cr_assert_str_eq(a.unit.drive, "driver=iscsi,node-name=arbiter,transport=tcp,portal=10.0.0.9:3260,target=iqn.2026-01.lab:store,lun=1,"
			 "initiator-name=iqn.2026-01.reprise:a");
	cr_assert_eq(arbiter_open(&a, "iscsi://store:33/t,x/12", 'b'), ST_OK);
	cr_assert_str_eq(a.unit.drive, "driver=iscsi,node-name=arbiter,transport=tcp,portal=store:33,target=t,,x,lun=12,"
			 "initiator-name=iqn.2026-01.reprise:b", "a comma is doubled");
	cr_assert_eq(arbiter_open(&a, "iscsi://[fd00::1]/t/0", 'a'), ST_OK);
	cr_assert(strstr(a.unit.drive, "portal=[fd00::1]:3260,"));
	cr_assert_eq(arbiter_open(&a, "scsi:/dev/null", 'a'), ST_OK);
	cr_assert_str_eq(a.unit.drive, "driver=host_device,node-name=arbiter,filename=/dev/null");
}

Test(ft_host, arbiter_names_refused, .init = cr_redirect_stderr)
{
	static const char *const bad[] = {
		"", "file", "file:", "file:/", "file:/no/such/dir/f", "scsi:", "scsi:/no/such", "scsi:/etc/passwd", "iscsi:", "iscsi://",
		"iscsi://h", "iscsi://h/t", "iscsi://h/t/", "iscsi://h/t/x", "iscsi://h//1", "iscsi:///t/1", "http://h", "file:/etc/passwd", "none",
	};
	char dir[64], url[128], name[1100];
	struct arbiter a;
	FILE *f;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		cr_assert_eq(arbiter_open(&a, bad[i], 'a'), ST_USAGE, "%s", bad[i]);
	memset(name, 'x', sizeof(name));
	memcpy(name, "iscsi://h/", 10);
	memcpy(name + 1090, "/1", 3);
	cr_assert_eq(arbiter_open(&a, name, 'a'), ST_USAGE, "too long");
	snprintf(url, sizeof(url), "file:%s/text", scratch(dir));
	f = fopen(url + 5, "w");
	fputs("somebody's letter\n", f);
	fclose(f);
	cr_assert_eq(arbiter_open(&a, url, 'a'), ST_USAGE, "not ours");
	unlink(url + 5);
	rmdir(dir);
}

static const char *ask(const struct arbiter *a, struct buf *b, const char *line)
{
	b->size = 0;
	cr_assert(arbiter_line(a, line, b));
	buf_add(b, "", 1);
	return (const char *)b->data;
}

static const char *swap(const struct arbiter *a, struct buf *b, u8 expected, u8 desired)
{
	char line[512], hex[2][129];

	for (unsigned i = 0; i < 128; i += 2) {
		sprintf(hex[0] + i, "%02x", expected);
		sprintf(hex[1] + i, "%02x", desired);
	}
	snprintf(line, sizeof(line), "arbiter n=7 op=swap expected=%s desired=%s", hex[0], hex[1]);
	return ask(a, b, line);
}

Test(ft_host, arbiter_file)
{
	char dir[64], url[128];
	struct arbiter a, unit;
	struct buf b = { 0 };

	snprintf(url, sizeof(url), "file:%s/word", scratch(dir));
	cr_assert_eq(arbiter_open(&a, url, 'a'), ST_OK);
	cr_assert_eq(arbiter_open(&unit, "iscsi://h/t/0", 'a'), ST_OK);
	cr_assert(!arbiter_line(&a, "ft role=solo", &b));
	cr_assert(!arbiter_line(&a, "arbitration", &b));
	cr_assert(!strncmp(swap(&a, &b, 9, 1), "arbiter n=7 result=differs word=0000", 36), "nothing yet");
	cr_assert_str_eq(swap(&a, &b, 0, 1), "arbiter n=7 result=swapped\n");
	cr_assert(!strncmp(swap(&a, &b, 0, 2), "arbiter n=7 result=differs word=010101", 38));
	cr_assert_str_eq(swap(&a, &b, 1, 3), "arbiter n=7 result=swapped\n");
	cr_assert(!strncmp(swap(&a, &b, 9, 1), "arbiter n=7 result=differs word=0303", 36));
	cr_assert_eq(arbiter_open(&a, url, 'b'), ST_OK, "it is there already, and stays");
	cr_assert(!strncmp(swap(&a, &b, 9, 1), "arbiter n=7 result=differs word=0303", 36));
	/* What makes no sense is not done. */
	cr_assert_str_eq(ask(&a, &b, "arbiter n=2 op=swap expected=00 desired=11"), "arbiter n=2 result=unreachable\n");
	cr_assert_str_eq(ask(&a, &b, "arbiter n=2 op=erase"), "arbiter n=2 result=unreachable\n");
	cr_assert_str_eq(ask(&a, &b, "arbiter "), "arbiter n= result=unreachable\n");
	cr_assert_str_eq(swap(&unit, &b, 0, 1), "arbiter n=7 result=unreachable\n", "the hypervisor's to ask");
	cr_assert(!truncate(url + 5, 10));
	cr_assert_str_eq(swap(&a, &b, 3, 4), "arbiter n=7 result=unreachable\n", "half a word");
	unlink(url + 5);
	cr_assert_str_eq(swap(&a, &b, 0, 1), "arbiter n=7 result=unreachable\n", "gone");
	rmdir(dir);
	buf_free(&b);
}

/* Eight at once, again and again: one wins each round. */
Test(ft_host, arbiter_file_contended)
{
	char dir[64], url[128];
	struct arbiter a;
	struct buf b = { 0 };

	snprintf(url, sizeof(url), "file:%s/word", scratch(dir));
	cr_assert_eq(arbiter_open(&a, url, 'a'), ST_OK);
	for (unsigned round = 0; round < 20; round++) {
		u8 word[ARBITER_WORD], before[ARBITER_WORD] = { 0 };
		FILE *f = fopen(url + 5, "r");
		unsigned winners = 0;
		int status;

		(void)!fread(before, 1, sizeof(before), f);
		fclose(f);
		for (unsigned who = 1; who <= 8; who++)
			if (!fork())
				_exit(strstr(swap(&a, &b, before[0], (u8)(round * 8 + who)), "=swapped") ? (int)(round * 8 + who) : 0);
		f = NULL;
		for (unsigned i = 0, won = 0; i < 8; i++) {
			cr_assert(wait(&status) > 0 && WIFEXITED(status));
			winners += WEXITSTATUS(status) != 0;
			won = WEXITSTATUS(status) ? (unsigned)WEXITSTATUS(status) : won;
			if (i < 7)
				continue;
			f = fopen(url + 5, "r");
			cr_assert_eq(fread(word, 1, sizeof(word), f), sizeof(word));
			fclose(f);
			cr_assert_eq(word[0], won);
		}
		cr_assert_eq(winners, 1);
	}
	unlink(url + 5);
	rmdir(dir);
}

/* ---- the link ---- */

Test(ft_host, link_sides)
{
	struct ftlink a, b;
	char peer[32], listen[8];
	struct sockaddr_in at;
	socklen_t size = sizeof(at);
	char byte = 0;

	/* Two ends that know each other: of a port that is free, and the next. */
	for (unsigned port = 42000;; port += 2) {
		snprintf(peer, sizeof(peer), "127.0.0.1:%u", port + 1);
		snprintf(listen, sizeof(listen), "%u", port);
		cr_redirect_stderr();
		if (ftlink_open(&a, peer, listen, 0) == ST_OK)
			break;
		cr_assert_lt(port, 43000);
	}
	cr_assert(!getsockname(a.fd, (struct sockaddr *)&at, &size));
	snprintf(listen, sizeof(listen), "%u", ntohs(at.sin_port) + 1);
	snprintf(peer, sizeof(peer), "127.0.0.1:%u", ntohs(at.sin_port));
	cr_assert_eq(ftlink_open(&b, peer, listen, 0), ST_OK);
	cr_assert_eq(a.side, 'a');
	cr_assert_eq(b.side, 'b');
	cr_assert_str_neq(ftlink_mac(&a), ftlink_mac(&b));
	cr_assert_geq(a.datagram_bytes, 9000, "%u: the loopback carries as much as the link's messages ever have", a.datagram_bytes);
	cr_assert_str_eq(a.here, b.peer);
	cr_assert_str_eq(b.here, a.peer);
	cr_assert_eq(send(a.fd, "x", 1, 0), 1);
	cr_assert_eq(recv(b.fd, &byte, 1, 0), 1);
	close(b.fd);
	cr_assert_eq(ftlink_open(&b, peer, listen, 'a'), ST_OK);
	cr_assert_eq(b.side, 'a', "the operator knows better");
	close(b.fd);
	close(a.fd);
}

Test(ft_host, link_refused, .init = cr_redirect_stderr)
{
	static const char *const bad[][2] = {
		{ "", NULL }, { "host", NULL }, { "7000", NULL }, { ":7000", NULL }, { "127.0.0.1:", NULL }, { "127.0.0.1:99999", "1:x" },
		{ "127.0.0.1:7000", "x" }, { "127.0.0.1:7000", "192.0.2.77:7000" }, { "127.0.0.1:7000", "127.0.0.1:7000" },
		{ "no.such.host.invalid:7000", NULL },
	};
	struct ftlink l;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		cr_assert_neq(ftlink_open(&l, bad[i][0], bad[i][1], 0), ST_OK, "%s", bad[i][0]);
		cr_assert_eq(l.fd, -1);
	}
}

/* ---- the status ---- */

static void pump(struct ftstatus *s)
{
	struct pollfd fds[STATUS_NFDS];
	unsigned n = ftstatus_watch(s, fds);

	if (poll(fds, n, 0) > 0)
		ftstatus_turn(s, fds, n);
}

static size_t hear(int fd, char *text, size_t size)
{
	ssize_t n = recv(fd, text, size - 1, 0);

	n = MAX(n, (ssize_t)0);
	text[n] = 0;
	return (size_t)n;
}

Test(ft_host, status)
{
	char dir[64], path[100], text[4096], value[32];
	struct ftstatus s;
	struct buf head = { 0 };
	int fd, more[STATUS_CLIENTS + 2];

	snprintf(path, sizeof(path), "%s/status", scratch(dir));
	cr_assert_eq(ftstatus_open(&s, path), ST_OK);
	buf_printf(&head, "side: a\n");
	ftstatus_set(&s, &head, "role=solo state=\"all is well\" new_key=5");
	fd = ftstatus_connect(path);
	cr_assert_geq(fd, 0);
	pump(&s);
	hear(fd, text, sizeof(text));
	cr_assert_str_eq(text, "side: a\nrole: solo\nstate: all is well\nnew_key: 5\n\n", "one key a line, unknown ones, too");
	cr_assert(ftstatus_get(text, "role", value, sizeof(value)) && !strcmp(value, "solo"));
	cr_assert(!ftstatus_get(text, "rol", value, sizeof(value)));
	ftstatus_set(&s, &head, "role=primary");
	hear(fd, text, sizeof(text));
	cr_assert_str_eq(text, "side: a\nrole: primary\n\n", "a change comes by itself");
	pump(&s);
	cr_assert_eq(hear(fd, text, sizeof(text)), 0);
	close(fd);
	pump(&s);
	/* One more than there are places waits, until one leaves. */
	for (unsigned i = 0; i < ARRAY_SIZE(more); i++) {
		more[i] = ftstatus_connect(path);
		pump(&s);
	}
	cr_assert_gt(hear(more[STATUS_CLIENTS - 1], text, sizeof(text)), 0);
	cr_assert_eq(hear(more[STATUS_CLIENTS], text, sizeof(text)), 0);
	close(more[0]);
	pump(&s);
	pump(&s);
	cr_assert_gt(hear(more[STATUS_CLIENTS], text, sizeof(text)), 0);
	for (unsigned i = 1; i < ARRAY_SIZE(more); i++)
		close(more[i]);
	ftstatus_close(&s);
	cr_assert(access(path, F_OK), "it is gone");
	rmdir(dir);
	buf_free(&head);
}

/* Whoever does not read gets whole blocks nevertheless, the newest last. */
Test(ft_host, status_slow_reader)
{
	char dir[64], path[100], value[32];
	struct ftstatus s;
	struct buf head = { 0 }, heard = { 0 };
	static char text[65536];
	size_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/status", scratch(dir));
	cr_assert_eq(ftstatus_open(&s, path), ST_OK);
	buf_fill(&head, 'x', 3000);
	buf_printf(&head, ": y\n");
	fd = ftstatus_connect(path);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "point=%u", i);
		ftstatus_set(&s, &head, text);
		pump(&s);
	}
	while ((n = hear(fd, text, sizeof(text)))) {
		buf_add(&heard, text, n);
		pump(&s);
	}
	buf_add(&heard, "", 1);
	cr_assert_lt(heard.size, 1000 * head.size, "it missed some");
	cr_assert_str_eq((char *)heard.data + heard.size - 13, "point: 999\n\n");
	for (const char *p = (char *)heard.data, *end; *p; p = end + 2) {
		end = strstr(p, "\n\n");
		cr_assert(end);
		cr_assert_eq(*p, 'x');
		cr_assert_geq((size_t)(end - p), head.size);
	}
	cr_assert(ftstatus_get((char *)heard.data, "point", value, sizeof(value)));
	close(fd);
	ftstatus_close(&s);
	rmdir(dir);
	buf_free(&head);
	buf_free(&heard);
}

Test(ft_host, status_places, .init = cr_redirect_stderr)
{
	char dir[64], path[200];
	struct ftstatus s, t;

	memset(path, 'x', sizeof(path));
	path[199] = 0;
	cr_assert_eq(ftstatus_open(&s, path), ST_USAGE, "too long");
	cr_assert_eq(ftstatus_open(&s, "/no/such/dir/s"), ST_USAGE);
	snprintf(path, sizeof(path), "%s/status", scratch(dir));
	cr_assert_eq(ftstatus_open(&s, path), ST_OK);
	cr_assert_eq(ftstatus_open(&t, path), ST_USAGE, "somebody is there");
	close(s.listener); /* as if killed: the name stays */
	cr_assert_eq(ftstatus_open(&t, path), ST_OK, "nobody is there any more");
	ftstatus_close(&t);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	cr_assert_eq(ftstatus_open(&t, path), ST_USAGE, "a file is not removed");
	unlink(path);
	rmdir(dir);
}

