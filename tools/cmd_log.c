/*
 * cmd_log.c - `reprise log`: a recording's events, one a line; or its frames.
 *
 * The frames come from the hypervisor, which replays the recording, over a disk of its own: a file
 * without a name [replay/frames.h].
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/bisect.h"
#include "tools/capture.h"
#include "tools/line.h"
#include "tools/operand.h"
#include "tools/session.h"

static const char *sort_of(const struct input *in)
{
	static const char *const names[] = { "none", "console", "frame", "disk-error", "packet" };

	return (unsigned)in->kind < ARRAY_SIZE(names) ? names[in->kind] : "unknown";
}

/* Bytes of an input as a C string would have them. */
static void put_escaped(const u8 *p, u32 size)
{
	putchar('"');
	for (u32 i = 0; i < size; i++) {
		switch (p[i]) {
		case '\n': fputs("\\n", stdout); break;
		case '\r': fputs("\\r", stdout); break;
		case '\t': fputs("\\t", stdout); break;
		case '"': fputs("\\\"", stdout); break;
		case '\\': fputs("\\\\", stdout); break;
		default:
			if (p[i] < 0x20 || p[i] > 0x7e)
				printf("\\x%02x", p[i]);
			else
				putchar(p[i]);
		}
	}
	putchar('"');
}

/* A frame's length, and where from, where to and what: an Ethernet header. */
static void put_frame(const u8 *p, u32 size)
{
	printf("%u bytes", size);
	if (size >= 14)
		printf(" %02x:%02x:%02x:%02x:%02x:%02x > %02x:%02x:%02x:%02x:%02x:%02x type %02x%02x", p[6], p[7], p[8], p[9], p[10],
		       p[11], p[0], p[1], p[2], p[3], p[4], p[5], p[12], p[13]);
}

static void text_event(const struct rec_event *ev)
{
	printf("%15llu %15llu %6llu  ", (unsigned long long)ev->at.count, (unsigned long long)ev->at.vtime_ns,
	       (unsigned long long)ev->at.sequence);
	if (ev->vm)
		printf("vm%u ", ev->vm);
	switch (ev->kind) {
	case REC_INPUT:
		printf("input %s%u ", sort_of(&ev->input), ev->input.instance);
		if (ev->input.kind == INPUT_FRAME)
			put_frame(ev->input.data, ev->input.size);
		else if (ev->input.kind == INPUT_PACKET && ev->input.size >= PACKET_HEADER)
			put_frame(ev->input.data + PACKET_HEADER, ev->input.size - PACKET_HEADER);
		else
			put_escaped(ev->input.data, ev->input.size);
		putchar('\n');
		break;
	case REC_DIGEST:
		printf("digest " ID_FMT "\n", (unsigned long long)ev->digest);
		break;
	case REC_MARK:
		printf("mark %.*s\n", (int)ev->name_size, ev->name);
		break;
	}
}

static void json_event(const struct rec_event *ev)
{
	printf("{\"instructions\":%llu,\"virtual_time_ns\":%llu,\"sequence\":%llu,\"vm\":%u,",
	       (unsigned long long)ev->at.count, (unsigned long long)ev->at.vtime_ns,
	       (unsigned long long)ev->at.sequence, ev->vm);
	switch (ev->kind) {
	case REC_INPUT:
		printf("\"event\":\"input\",\"device\":\"%s\",\"instance\":%u,\"bytes\":%u,\"text\":", sort_of(&ev->input),
		       ev->input.instance, ev->input.size);
		json_string(stdout, ev->input.data, ev->input.size);
		fputs(",\"hex\":\"", stdout);
		for (u32 i = 0; i < ev->input.size; i++)
			printf("%02x", ev->input.data[i]);
		puts("\"}");
		break;
	case REC_DIGEST:
		printf("\"event\":\"digest\",\"digest\":\"" ID_FMT "\"}\n", (unsigned long long)ev->digest);
		break;
	case REC_MARK:
		fputs("\"event\":\"mark\",\"name\":", stdout);
		json_string(stdout, ev->name, ev->name_size);
		puts("}");
		break;
	}
}

static void put_end(const struct rec_end *e, bool json)
{
	if (!json) {
		printf("%15llu %15llu         end %s%s%s digest " ID_FMT "\n", (unsigned long long)e->insns,
		       (unsigned long long)e->vtime_ns, outcome_name(e->outcome), e->reason[0] ? ": " : "", e->reason,
		       (unsigned long long)e->digest);
		return;
	}
	printf("{\"instructions\":%llu,\"virtual_time_ns\":%llu,\"vm\":%u,\"event\":\"end\",\"outcome\":\"%s\","
	       "\"guest_exit\":%u,\"digest\":\"" ID_FMT "\",\"reason\":", (unsigned long long)e->insns,
	       (unsigned long long)e->vtime_ns, e->vm, outcome_name(e->outcome), e->guest_exit,
	       (unsigned long long)e->digest);
	json_string(stdout, e->reason, strlen(e->reason));
	puts("}");
}

static void put_events(const struct summary *s, bool json)
{
	struct rec_reader *r = need(malloc(sizeof(*r)));
	int fd = s->fd;
	const struct rec_medium medium = fd_medium(&fd, s->file_size);
	struct rec_event ev;

	if (!json)
		printf("%15s %15s %6s  event\n", "instructions", "virtual_ns", "seq");
	if (rec_reader_open_at(r, &medium, s->run_offset, s->run_chain) == OK) {
		while (!rec_next_event(r, &ev)) {
			if (json)
				json_event(&ev);
			else
				text_event(&ev);
		}
		for (u32 i = 0; i < r->nends; i++)
			put_end(&r->ends[i], json);
	}
	free(r);
}

/* ---- frames ---- */

/* A file without a name, of the recording's possible size; -1 after a complaint. */
static int open_spool(u64 *size)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/reprise-frames-XXXXXX", tmp_dir());
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	for (*size = RECFILE_ROOM; fd >= 0 && *size >= MIB(64); *size /= 4)
		if (!ftruncate(fd, (off_t)*size))
			return fd;
	remark("%s: %s; set TMPDIR to a directory that can be written", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool to_stdout(const struct options *o)
{
	return !strcmp(o->pcap, "-");
}

/* What is there may be lost, if so asked; not what the frames come from, nor what is no file. */
static enum status may_write(const struct options *o, const struct summary *sum, const struct machine *m)
{
	struct stat there;
	enum status st;

	if (to_stdout(o))
		return ST_OK;
	st = line_not(sum, "--pcap", o->pcap);
	if (!st)
		st = machine_not(m, "--pcap", o->pcap);
	if (!st && !stat(o->pcap, &there) && !S_ISREG(there.st_mode))
		st = complain(ST_USAGE, "--pcap %s: not a regular file; give another name, or - for standard output", o->pcap);
	return st;
}

static FILE *open_out(const struct options *o)
{
	int fd;

	if (to_stdout(o))
		return stdout;
	fd = open(o->pcap, O_WRONLY | O_CREAT | O_CLOEXEC | (o->force ? O_TRUNC : O_EXCL), 0666);
	if (fd >= 0)
		return need(fdopen(fd, "w"));
	if (errno == EEXIST)
		remark("%s: exists already; give another name, or --force to lose what it holds", o->pcap);
	else
		remark("%s: %s; give --pcap a place that can be written", o->pcap, strerror(errno));
	return NULL;
}

static enum status close_out(FILE *f, const struct options *o)
{
	bool bad = fflush(f) || ferror(f);

	if (f != stdout)
		bad |= fclose(f) != 0;
	return bad ? complain(ST_HOST, "%s: %s; the frames are not all there", o->pcap, strerror(errno)) : ST_OK;
}

static enum status convert(const struct capture_machine *cm, int spool, u64 size, FILE *out, const struct options *o)
{
	struct frames_reader *r = need(malloc(sizeof(*r)));
	const struct rec_medium medium = fd_medium(&spool, size);
	struct capture_counts n = { 0 };
	err_t e = frames_open(r, &medium);

	if (!e)
		e = capture_convert(cm, r, out, &n);
	free(r);
	if (e)
		return complain(ST_HOST, "%s: the hypervisor did not write all frames; is the disk for temporary files full?", o->pcap);
	if (!o->quiet)
		remark("%s: %llu frames, %llu received and %llu sent", o->pcap, (unsigned long long)(n.received + n.sent),
		       (unsigned long long)n.received, (unsigned long long)n.sent);
	return ST_OK;
}

static enum status replay_into(int spool, const struct machine *m, const struct summary *sum, const struct options *o)
{
	struct session s = { .muted = true, .ndisks = 1, .disk[0] = { .fd = spool, .serial = "frames" } };
	struct options quiet = *o;
	enum status st;

	quiet.quiet = true;
	st = replay_pass(&s, m, sum, &quiet, false, "frames=1\n") ? replay_judge(&s, sum, &quiet) : ST_HOST;
	if (st == ST_DIVERGED && s.divergence[0])
		remark("%s", s.divergence);
	return st;
}

/* What is intact is written even so. */
static bool worth_writing(enum status st)
{
	return st == ST_OK || st == ST_DIVERGED || st == ST_DAMAGED;
}

static enum status capture(struct summary *sum, const struct options *o)
{
	struct capture_machine cm;
	struct machine m;
	FILE *out = NULL;
	u64 size = 0;
	int spool = -1;
	enum status st, closed;

	if (!capture_describe(&cm, sum->head.data, sum->head.size))
		return complain(ST_USAGE, "%s: its machine has no network interface; leave --pcap out", sum->path);
	snprintf(cm.comment, sizeof(cm.comment), "All frames of the recording " ID_FMT ". Times are the machine's own.",
		 (unsigned long long)sum->nonce);
	st = machine_from_recording(&m, sum, o);
	if (st)
		return st;
	st = may_write(o, sum, &m);
	out = st ? NULL : open_out(o);
	spool = out ? open_spool(&size) : -1;
	st = st ? st : !out ? ST_USAGE : spool < 0 ? ST_HOST : replay_into(spool, &m, sum, o);
	if (spool >= 0 && worth_writing(st)) {
		closed = convert(&cm, spool, size, out, o);
		st = closed ? closed : st;
	}
	if (out) {
		closed = close_out(out, o);
		st = closed ? closed : st;
	}
	if (out && out != stdout && !worth_writing(st))
		unlink(o->pcap);
	if (spool >= 0)
		close(spool);
	machine_free(&m);
	return st;
}

static enum status log_frames(struct summary *s, const struct options *o)
{
	enum status st = line_open(s);
	char text[300];

	if (st)
		return st;
	if (summary_trouble(s, text, sizeof(text)))
		remark("%s: %s", s->path, text);
	st = capture(s, o);
	summary_free(s);
	return st;
}

static enum status log_events(int argc, char **argv)
{
	struct options o;
	struct summary s;
	enum status st = operand_open(&o, &s, OPT_JSON | OPT_PCAP | OPT_IMAGES | OPT_RUN, argc, argv);

	if (st)
		return st;
	if (o.pcap)
		return log_frames(&s, &o);
	put_events(&s, o.json);
	return operand_close(&s);
}

const struct command cmd_log = {
	.name = "log",
	.summary = "a recording's events, one a line; its frames for Wireshark",
	.help = "reprise log [--json] FILE\n"
		"reprise log --pcap OUT [OPTIONS] FILE\n\n"
		"Prints a recording's events, one a line: the point (instructions retired, virtual\n"
		"time in ns, sequence), then what entered the machine or was noted there: inputs\n"
		"with their bytes, of frames the length, addresses and type; digests, marks, the end.\n\n"
		"  --json              one JSON object a line, with all bytes\n\n"
		"  --pcap OUT          instead, write all frames to OUT, \"-\" for standard output, as\n"
		"                      pcapng for Wireshark, with the machine's own times.  Those the\n"
		"                      guest sent are not in the recording: it is replayed, and checked,\n"
		"                      without a network.  Each is commented with its instruction count.\n"
		"  --force             lose what OUT holds already\n"
		HELP_IMAGES
		HELP_RUN,
	.run = log_events,
};
