/*
 * shared.c - the disk that the hosts share: a few sectors, and a reservation.
 *
 * What is asked of it comes there after a while, or long after its host was told
 * that nothing is certain; it comes there, too, when its host has crashed or stands
 * still.  Only whoever holds the reservation writes: by the way on which it was
 * taken, so that a host's own earlier writes find themselves shut out, too.
 */
#include "tests/sim/sim.h"

struct sector {
	struct stamp stamp;
	u64 value;
	u8 rest[512 - 16];
};

static struct {
	struct sector sector[DISK_SECTORS];
	u64 term;           /* of the reservation; 0: nobody has it */
	u64 way;            /* by which it was taken */
	u64 ways;           /* so far */
} disk;

/* A command under way. */
struct command {
	struct host *host;
	u64 life, number, term, way;
	u64 won;            /* the term its host is live in */
	bool take;
	u16 first, n;
	struct {
		struct stamp stamp;
		u64 value;
	} sector[DISK_SECTORS];
};
#define COMMANDS 4096
static struct command command[COMMANDS];
static u64 ncommands;

void shared_reset(void)
{
	memset(&disk, 0, sizeof(disk));
	ncommands = 0;
}

static u64 latency(void)
{
	return rng_between(&sim.rng, 30 * US, 30 * US + sim.sc.disk_max);
}

static void issue(struct host *h, struct command *c)
{
	c->host = h;
	c->life = h->lives;
	c->number = ++h->disk.asked;
	c->term = h->disk.term;
	c->way = h->disk.way;
	c->won = h->pair.word.term;
	h->disk.answer = FT_DISK_BUSY;
	command[ncommands % COMMANDS] = *c;
	sched_add(sim.now + latency(), EV_DISK, (u32)(ncommands++ % COMMANDS), 0, NULL);
}

void shared_take(void *ctx, u64 term)
{
	struct host *h = ctx;
	struct command c = { .take = true };

	TRACE("host", h->id, "takes the disk, term %lu", term);
	h->disk.term = term;
	h->disk.way = ++disk.ways;
	issue(h, &c);
}

void shared_write(void *ctx, const struct ft_write *w)
{
	struct host *h = ctx;
	struct command c = { .first = (u16)w->sector, .n = (u16)(w->size / 512) };
	const struct sector *s = w->data;

	if (w->disk || w->size % 512 || w->sector + c.n > DISK_SECTORS)
		check_fail("D1: host %u writes %u bytes to sector %lu", h->id, w->size, w->sector);
	for (u16 i = 0; i < c.n && c.first + i < DISK_SECTORS; i++)
		c.sector[i].stamp = s[i].stamp, c.sector[i].value = s[i].value;
	TRACE("host", h->id, "writes sectors %u+%u, outputs %u to %u", c.first, c.n, s[0].stamp.number, s[c.n - 1].stamp.number);
	issue(h, &c);
}

static enum ft_disk_answer take(const struct command *c)
{
	if (disk.term > c->term)
		return FT_DISK_LOST;
	disk.term = c->term;
	disk.way = c->way;
	return FT_DISK_DONE;
}

static enum ft_disk_answer perform(const struct command *c)
{
	if (c->way != disk.way)
		return FT_DISK_AGAIN;
	for (u16 i = 0; i < c->n; i++) {
		struct sector *s = &disk.sector[c->first + i];

		s->stamp = c->sector[i].stamp;
		s->value = c->sector[i].value;
		check_written(c->host, c->won, s, sizeof(*s));
	}
	return FT_DISK_DONE;
}

/* What becomes of it; it may be done, and the answer lost, or late: then its host is told first. */
void shared_event(const struct event *e)
{
	struct command *c = &command[e->who];
	bool known = c->host->lives == c->life && c->host->disk.asked == c->number && c->host->disk.answer == FT_DISK_BUSY;
	enum ft_disk_answer answer = FT_DISK_AGAIN;

	if (sim.sc.disk_down || (known && rng_chance(&sim.rng, sim.sc.disk_late))) {
		if (rng_chance(&sim.rng, 500))
			sched_add(sim.now + rng_below(&sim.rng, 300 * MS), EV_DISK, e->who, 0, NULL);
	} else {
		answer = c->take ? take(c) : perform(c);
		TRACE("disk", STORE_ADDRESS, "host %u: %s, term %lu: %s", c->host->id, c->take ? "takes it" : "writes", c->term,
		      answer == FT_DISK_DONE ? "done" : answer == FT_DISK_LOST ? "lost" : "refused");
		if (rng_chance(&sim.rng, sim.sc.disk_late))
			answer = FT_DISK_AGAIN;
	}
	if (known)
		c->host->disk.answer = answer;
}

enum ft_disk_answer shared_poll(void *ctx)
{
	return ((struct host *)ctx)->disk.answer;
}

/* D4 holds without the reservation: who gives it back has nothing to write any more. */
void shared_give_back(void *ctx)
{
	const struct host *h = ctx;

	TRACE("host", h->id, "gives the disk back");
	if (h->disk.answer == FT_DISK_BUSY)
		check_fail("D4: host %u gives the disk back with a write under way", h->id);
	if (disk.way == h->disk.way)
		disk.way = ++disk.ways;
}

const char *shared_complaint(void *ctx unused_arg)
{
	return "";
}

u64 shared_value(unsigned sector)
{
	return disk.sector[sector].value;
}

u32 shared_content(u8 *out, struct stamp stamp, u64 value)
{
	const struct sector s = { .stamp = stamp, .value = value };

	memcpy(out, &s, sizeof(s));
	return sizeof(s);
}
