/*
 * fttraffic.c - the client's part of the demo: ours [ftclient.h], or a program of the user's; and
 * what the link carries meanwhile.  See ftplay.h.
 */
#include <stdlib.h>

#include "tools/ftplay.h"

bool traffic_over(struct play *p)
{
	return p->client.state == CLIENT_DONE && !p->foreign;
}

static bool greeted(struct play *p)
{
	return p->client.state >= CLIENT_SENDING || !host_alive(p, 0);
}

static bool start_foreign(struct play *p)
{
	char *argv[] = { (char[]){ "/bin/sh" }, (char[]){ "-c" }, (char *)(uintptr_t)p->o->client, NULL };

	p->foreign = play_start(p, argv, "client", false);
	return p->foreign > 0;
}

/* What the relay has seen; without one what the hosts say, some five times a second. */
static u64 link_bytes(const struct play *p)
{
	const struct cable *c = &p->cable;

	return cable_straight(c) ? p->host[0].sent + p->host[1].sent : c->way[0].bytes + c->way[1].bytes;
}

static void begin(struct play *p)
{
	p->traffic = true;
	p->link_from_ns = host_ns();
	p->link_bytes = link_bytes(p);
}

static void end(struct play *p)
{
	if (!p->traffic)
		return;
	p->traffic = false;
	p->link_ns = host_ns() - p->link_from_ns;
	p->link_bytes = link_bytes(p) - p->link_bytes;
}

bool traffic_start(struct play *p)
{
	p->facts.foreign = p->o->client;
	if (p->o->client) {
		p->client.state = CLIENT_DONE;
		begin(p);
		return start_foreign(p);
	}
	client_connect(&p->client);
	if (!play_until(p, greeted, play_patience(p, READY_S)) || p->client.state < CLIENT_SENDING) {
		play_tell(p, SHADE_BAD, "client", "nobody answers at %s:%u; does the guest run seqd?", p->client.address, p->client.port);
		return false;
	}
	begin(p);
	play_tell(p, SHADE_PLAIN, "client", "connected to %s:%u, one request every %llu ms", p->client.address, p->client.port,
		  (unsigned long long)p->client.period_ns / 1000000);
	return true;
}

static u64 client_word(const char *text, const char *key)
{
	const char *at = text;
	size_t n = strlen(key);

	for (; *at; at += strcspn(at, "\n"), at += *at == '\n')
		if (!strncmp(at, key, n) && at[n] == ':')
			return strtoull(at + n + 1, NULL, 10);
	return 0;
}

/* What it printed, if it counts as ours does. */
static void hear_foreign(struct play *p)
{
	char path[4096];
	size_t size;
	struct buf text = { 0 };
	u8 *data;

	snprintf(path, sizeof(path), "%s/client", p->dir);
	data = load_file(path, "it is the client's output", &size);
	buf_add(&text, data, data ? size : 0);
	buf_add(&text, "", 1);
	free(data);
	fwrite(text.data, 1, text.size - 1, stdout);
	p->facts.lost = client_word((const char *)text.data, "lost");
	p->facts.repeated = client_word((const char *)text.data, "repeated");
	p->facts.contradicted = client_word((const char *)text.data, "contradicted");
	p->facts.pause_ns = client_word((const char *)text.data, "pause_ms_max") * 1000000;
	p->facts.foreign_failed = p->foreign_status != 0;
	buf_free(&text);
}

void traffic_finish(struct play *p, bool in_order)
{
	bool stopped = p->stopped;

	client_leave(&p->client);
	p->stopped = stopped && p->o->client; /* who stops ours has what it asked answered, unless he says so twice */
	(void)play_until(p, traffic_over, !in_order ? LEAVE_S : p->o->client ? 1000000 : play_patience(p, TAKEOVER_S));
	p->stopped |= stopped;
	end(p);
	if (p->o->client) {
		hear_foreign(p);
		return;
	}
	p->facts.answered = p->client.answered;
	p->facts.lost = client_lost(&p->client);
	p->facts.repeated = p->client.repeated;
	p->facts.contradicted = p->client.contradicted;
	p->facts.broken = p->client.broken;
	if (!p->facts.nevents)
		p->facts.pause_ns = p->client.pause_ns;
}
