/*
 * cmd_log.c - `reprise log`: a recording's events, one a line.
 */
#include <stdlib.h>

#include "tools/operand.h"
#include "tools/session.h"

static const char *sort_of(const struct input *in)
{
	static const char *const names[] = { "none", "console", "frame", "disk-error" };

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

static void text_event(const struct rec_event *ev)
{
	printf("%15llu %15llu %6llu  ", (unsigned long long)ev->at.count, (unsigned long long)ev->at.vtime_ns,
	       (unsigned long long)ev->at.sequence);
	if (ev->vm)
		printf("vm%u ", ev->vm);
	switch (ev->kind) {
	case REC_INPUT:
		printf("input %s%u ", sort_of(&ev->input), ev->input.instance);
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

static enum status log_events(int argc, char **argv)
{
	struct options o;
	struct summary s;
	enum status st = operand_open(&o, &s, OPT_JSON, argc, argv);

	if (st)
		return st;
	put_events(&s, o.json);
	return operand_close(&s);
}

const struct command cmd_log = {
	.name = "log",
	.summary = "a recording's events, one a line",
	.help = "reprise log [--json] FILE\n\n"
		"Prints a recording's events, one a line: the point (instructions retired, virtual\n"
		"time in ns, sequence), then what entered the machine or was noted there: inputs\n"
		"with their bytes, digests, marks, the end.\n\n"
		"  --json              one JSON object a line\n",
	.run = log_events,
};
