/*
 * ft_store.c - the pair's arbiter, as session.conf names it.  See ft.h.
 *
 *   scsi   a logical unit of this machine [ft/arbiter_scsi.h]
 *   file   the host command's: a line on the control channel asks, another answers
 *          [tools/ftarbiter.h]
 */
#include "gdbstub/packet.h"
#include "kernel/console.h"
#include "kernel/kconf.h"
#include "kernel/kfmt.h"
#include "kernel/realtime.h"
#include "kernel/virtio_scsi.h"
#include "session/ft.h"

#define FILE_PATIENCE_NS 5000000000UL

/* --- a file ------------------------------------------------------------------------ */

static void put_hex(char *out, const u8 *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		ksnprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static void file_start(void *ctx, const struct ft_word *expected, const struct ft_word *desired)
{
	struct session_pair *f = ctx;
	char text[2][2 * FT_WORD_BYTES + 1];
	u8 word[FT_WORD_BYTES];

	ft_word_encode(expected, word);
	put_hex(text[0], word, sizeof(word));
	ft_word_encode(desired, word);
	put_hex(text[1], word, sizeof(word));
	f->asking = true;
	f->asked_ns = host_realtime_ns();
	f->s->answer[0] = 0;
	control_printf("arbiter n=%lu op=swap expected=%s desired=%s\n", ++f->question, text[0], text[1]);
}

/* The value of key= in a line of pairs; NULL: it is not there. */
static const char *value(const char *line, const char *key)
{
	const char *at = strstr(line, key);

	return at ? at + strlen(key) : NULL;
}

static enum ft_verdict answered(struct session_pair *f, struct ft_word *current)
{
	const char *result = value(f->s->answer, "result="), *text = value(f->s->answer, "word=");
	u8 word[FT_WORD_BYTES];

	if (!result)
		return FT_UNKNOWN;
	if (!strncmp(result, "swapped", 7))
		return FT_SWAPPED;
	if (!strncmp(result, "unreachable", 11))
		return FT_UNREACHABLE;
	if (!strncmp(result, "differs", 7) && text && take_bytes(&text, word, sizeof(word)) && !ft_word_decode(word, current))
		return FT_DIFFERS;
	return FT_UNKNOWN;
}

static enum ft_verdict file_poll(void *ctx, struct ft_word *current)
{
	struct session_pair *f = ctx;
	char number[32];

	session_listen(f->s);
	ksnprintf(number, sizeof(number), "arbiter n=%lu ", f->question);
	if (f->s->answer[0] && !strncmp(f->s->answer, number, strlen(number))) {
		f->asking = false;
		return answered(f, current);
	}
	if (host_realtime_ns() - f->asked_ns < FILE_PATIENCE_NS)
		return FT_ASKING;
	f->asking = false;
	return FT_UNKNOWN; /* its answer, if it comes, has another number than the next question */
}

/* --- a logical unit ------------------------------------------------------------------- */

static u64 clock_ns(void *ctx unused_arg)
{
	return host_realtime_ns();
}

static void unit_start(void *ctx, const struct ft_word *expected, const struct ft_word *desired)
{
	struct session_pair *f = ctx;

	f->asking = true;
	f->store.arbiter.start(f->store.arbiter.ctx, expected, desired);
}

static enum ft_verdict unit_poll(void *ctx, struct ft_word *current)
{
	struct session_pair *f = ctx;
	enum ft_verdict v = f->store.arbiter.poll(f->store.arbiter.ctx, current);

	f->asking = v == FT_ASKING;
	if (v != FT_ASKING && v != FT_SWAPPED && ft_store_complaint(&f->store))
		control_printf("# ft: the arbiter: %s\n", ft_store_complaint(&f->store));
	return v;
}

/* The first host of a pair formats a store that is all zeros; one that holds something else is left alone. */
static void format(struct session_pair *f)
{
	enum ft_verdict v;
	struct ft_word word;

	ft_store_format(&f->store, false);
	while ((v = f->store.arbiter.poll(f->store.arbiter.ctx, &word)) == FT_ASKING)
		f->s->port.wait(f->s->port.ctx, 1000000);
	if (v != FT_SWAPPED && v != FT_DIFFERS)
		control_printf("# ft: the arbiter's block cannot be prepared: %s\n",
			       ft_store_complaint(&f->store) ? ft_store_complaint(&f->store) : "no answer");
}

void session_store_init(struct session_pair *f)
{
	struct ft_store_config c = { .lba = 0, .host = f->env.new_id(f), .now_ns = clock_ns, .patience_ns = 5000000000UL };
	char kind[8] = "";
	struct scsi_unit *u;

	conf_get(f->s->session.data, f->s->session.size, "ft_arbiter", kind, sizeof(kind));
	if (!strcmp(kind, "file")) {
		f->arbiter = (struct ft_arbiter){ file_start, file_poll, f };
		return;
	}
	if (strcmp(kind, "scsi"))
		session_fail("no arbiter: say which store decides which host is live, --arbiter URL");
	u = scsi_open(0);
	if (!u)
		session_fail("the arbiter's logical unit does not answer; is its target running?");
	c.port = scsi_unit_port(u);
	ft_store_init(&f->store, &c);
	format(f);
	f->arbiter = (struct ft_arbiter){ unit_start, unit_poll, f };
}
