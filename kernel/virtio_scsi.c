/*
 * virtio_scsi.c - SCSI commands over virtio.  See virtio_scsi.h.
 * [VIRTIO 5.6 SCSI Host Device]
 *
 * Only the request queue is used.  The control queue's ABORT TASK would have
 * to wait for the very target that does not answer, and a reset of the adapter
 * makes QEMU stand still until it does: so a command is left alone, not
 * withdrawn, and a slot that is never answered stays taken.  When all are,
 * nothing more can be started, which is what an unreachable target comes to.
 *
 *   1  slots and the queue      2  commands      3  looking for units
 */
#include "kernel/cpu.h"
#include "kernel/mm.h"
#include "kernel/time.h"
#include "kernel/virtio.h"
#include "kernel/virtio_scsi.h"

enum { DEVICE_ID_MODERN = 0x1048, DEVICE_ID_TRANSITIONAL = 0x1004 };
enum { REQUEST_QUEUE = 2 }; /* after control and event [VIRTIO 5.6.2] */
enum { CFG_MAX_TARGET = 30 }; /* [VIRTIO 5.6.4] */

#define ADAPTERS 9 /* the arbiter, and the disks of a guest */
#define UNITS 9
#define SLOTS 8
#define TARGETS 8 /* looked at on an adapter, and as many units on a target */
#define PARTS 4 /* of a request: itself, data out, response, data in */
#define QUEUE_SIZE 64
#define PROBE_TIMEOUT_NS 10000000000UL

/* [VIRTIO 5.6.6.1]; sense and CDB have the sizes an adapter begins with. */
struct packed_struct request {
	u8 lun[8];
	u64 id;
	u8 attribute, priority, crn; /* attribute 0: SIMPLE */
	u8 cdb[32];
};
struct packed_struct response {
	u32 sense_bytes, residual_bytes;
	u16 status_qualifier;
	u8 status, response;
	u8 sense[SCSI_SENSE_SIZE];
};
enum { RESPONSE_OK = 0, RESPONSE_OVERRUN = 1 };

struct slot {
	u64 ticket;      /* 0: free.  Never the same twice */
	bool done, abandoned;
	u32 in_bytes;    /* asked for */
	struct request *request;
	struct response *response;
	u8 *out, *in;
};

struct adapter {
	struct virtio v;
	struct virtio_ring queue;
	u64 ntickets;
	struct slot slots[SLOTS];
	struct slot *by_number[QUEUE_SIZE]; /* a request's, while it is in flight */
};

struct scsi_unit {
	struct adapter *adapter;
	u8 target;
	u16 lun;
	struct scsi_port port;
};

static struct {
	bool scanned;
	unsigned nadapters, nunits;
	struct adapter adapters[ADAPTERS];
	struct scsi_unit units[UNITS];
} scsis;

/* --- 1  slots and the queue -------------------------------------------------------- */

/* What the device has given back.  A number that is no slot's is a broken device's: ignored. */
static void take_used(struct adapter *a)
{
	u32 written;
	int number;

	while ((number = ring_take(&a->queue, &written)) >= 0) {
		struct slot *s = a->by_number[number];

		if (!s)
			continue;
		a->by_number[number] = NULL;
		s->done = true;
		if (s->abandoned)
			s->ticket = 0;
	}
}

static struct slot *find_slot(struct adapter *a, u64 ticket)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (a->slots[i].ticket == ticket)
			return &a->slots[i];
	return NULL;
}

/* Its memory, once: what the device may still write into is never given to anybody else. */
static bool furnish(struct slot *s)
{
	u8 *page;

	if (s->request)
		return true;
	page = page_zalloc(1 + 2 * SCSI_DATA_MAX / PAGE_SIZE);
	if (!page)
		return false;
	s->request = (struct request *)page;
	s->response = (struct response *)(page + PAGE_SIZE / 2);
	s->out = page + PAGE_SIZE;
	s->in = s->out + SCSI_DATA_MAX;
	return true;
}

/* --- 2  commands ------------------------------------------------------------------- */

static void fill_request(struct slot *s, const struct scsi_unit *u, const struct scsi_command *c)
{
	*s->request = (struct request){ .id = s->ticket };
	/* [VIRTIO 5.6.6.1]: 1, target, then a flat-space unit number [SAM5 4.7] */
	s->request->lun[0] = 1;
	s->request->lun[1] = u->target;
	s->request->lun[2] = (u8)(0x40 | u->lun >> 8);
	s->request->lun[3] = (u8)u->lun;
	memcpy(s->request->cdb, c->cdb, c->cdb_size);
	memset(s->response, 0, sizeof(*s->response));
	s->response->response = 0xff; /* none of the device's */
	if (c->out_bytes)
		memcpy(s->out, c->out, c->out_bytes);
}

static err_t start(void *ctx, const struct scsi_command *c, u64 *ticket)
{
	struct scsi_unit *u = ctx;
	struct adapter *a = u->adapter;
	struct virtio_buffer parts[PARTS];
	unsigned n = 0;
	struct slot *s;
	int number;

	if (c->out_bytes > SCSI_DATA_MAX || c->in_bytes > SCSI_DATA_MAX || c->cdb_size > SCSI_CDB_SIZE)
		return ERR_INVALID;
	take_used(a);
	s = find_slot(a, 0);
	if (!s || !furnish(s))
		return ERR_NO_MEMORY;
	s->ticket = *ticket = ++a->ntickets;
	s->done = s->abandoned = false;
	s->in_bytes = c->in_bytes;
	fill_request(s, u, c);
	parts[n++] = (struct virtio_buffer){ s->request, sizeof(*s->request), false };
	if (c->out_bytes)
		parts[n++] = (struct virtio_buffer){ s->out, c->out_bytes, false };
	parts[n++] = (struct virtio_buffer){ s->response, sizeof(*s->response), true };
	if (c->in_bytes)
		parts[n++] = (struct virtio_buffer){ s->in, c->in_bytes, true };
	number = ring_next(&a->queue);
	if (!ring_offer(&a->queue, parts, n)) {
		s->ticket = 0;
		return ERR_NO_MEMORY;
	}
	a->by_number[number] = s;
	ring_kick(&a->queue);
	return OK;
}

/* Fixed and descriptor format [SPC4 4.5 Sense data]. */
static void read_sense(const struct response *p, struct scsi_reply *r)
{
	u32 n = MIN(p->sense_bytes, SCSI_SENSE_SIZE);
	u8 code = n ? p->sense[0] & 0x7f : 0;

	if ((code == 0x70 || code == 0x71) && n >= 3) {
		r->sense_key = p->sense[2] & 0xf;
		r->asc = n >= 14 ? (u16)(p->sense[12] << 8 | p->sense[13]) : 0;
	} else if ((code == 0x72 || code == 0x73) && n >= 4) {
		r->sense_key = p->sense[1] & 0xf;
		r->asc = (u16)(p->sense[2] << 8 | p->sense[3]);
	}
}

static bool poll(void *ctx, u64 ticket, struct scsi_reply *r)
{
	struct scsi_unit *u = ctx;
	struct slot *s = ticket ? find_slot(u->adapter, ticket) : NULL;
	const struct response *p;
	u8 *in = r->in;

	*r = (struct scsi_reply){ .in = in };
	if (!s) /* not one of ours, or spent: it has ended, and nobody knows how */
		return true;
	take_used(u->adapter);
	if (!s->done)
		return false;
	p = s->response;
	r->delivered = p->response == RESPONSE_OK || p->response == RESPONSE_OVERRUN;
	r->status = p->status;
	if (r->delivered && r->status == SCSI_CHECK_CONDITION)
		read_sense(p, r);
	if (r->delivered && s->in_bytes && p->residual_bytes <= s->in_bytes) {
		r->in_bytes = s->in_bytes - p->residual_bytes;
		memcpy(in, s->in, r->in_bytes);
	}
	s->ticket = 0;
	return true;
}

static void abandon(void *ctx, u64 ticket)
{
	struct scsi_unit *u = ctx;
	struct slot *s = ticket ? find_slot(u->adapter, ticket) : NULL;

	if (!s)
		return;
	s->abandoned = true;
	if (s->done)
		s->ticket = 0;
}

err_t scsi_command(const struct scsi_port *p, const struct scsi_command *c, struct scsi_reply *r, u64 timeout_ns)
{
	u64 begin = rdtsc(), ticks = timeout_ns / 1000 * (host_tsc_hz() / 1000000), ticket;
	err_t err = p->start(p->ctx, c, &ticket);

	if (err)
		return err;
	while (!p->poll(p->ctx, ticket, r)) {
		if (rdtsc() - begin > ticks) {
			p->abandon(p->ctx, ticket);
			return ERR_IO;
		}
		pause();
	}
	return r->delivered ? OK : ERR_IO;
}

/* --- 3  looking for units ---------------------------------------------------------- */

/* INQUIRY: a disk is there [SPC4 6.6].  Attentions and conflicts do not touch it. */
static bool is_disk(struct scsi_unit *u)
{
	u8 data[36] = { 0 };
	const struct scsi_command c = { .cdb = { 0x12, 0, 0, 0, sizeof(data) }, .cdb_size = 6, .in_bytes = sizeof(data) };
	struct scsi_reply r = { .in = data };

	return !scsi_command(&u->port, &c, &r, PROBE_TIMEOUT_NS) && r.status == SCSI_GOOD && r.in_bytes >= 1 &&
	       data[0] == 0;
}

static void probe_units(struct adapter *a)
{
	u16 max_target = *(const volatile u16 *)(a->v.config + CFG_MAX_TARGET);

	for (u16 target = 0; target <= max_target && target < TARGETS; target++) {
		for (u16 lun = 0; lun < TARGETS && scsis.nunits < UNITS; lun++) {
			struct scsi_unit *u = &scsis.units[scsis.nunits];

			*u = (struct scsi_unit){ a, (u8)target, lun, { start, poll, abandon, u } };
			scsis.nunits += is_disk(u);
		}
	}
}

static bool probe(void *ctx unused_arg, const struct pci_device *d)
{
	struct adapter *a = &scsis.adapters[scsis.nadapters];

	if (d->vendor != VIRTIO_VENDOR || (d->device != DEVICE_ID_MODERN && d->device != DEVICE_ID_TRANSITIONAL))
		return true;
	if (virtio_open(&a->v, d, 0) || !a->v.config ||
	    ring_init(&a->v, &a->queue, REQUEST_QUEUE, QUEUE_SIZE, RING_NO_VECTOR))
		return true;
	virtio_start(&a->v);
	probe_units(a);
	return ++scsis.nadapters < ADAPTERS;
}

struct scsi_unit *scsi_open(unsigned index)
{
	if (!scsis.scanned) {
		scsis.scanned = true;
		pci_scan(probe, NULL);
	}
	return index < scsis.nunits ? &scsis.units[index] : NULL;
}

u8 scsi_unit_target(const struct scsi_unit *u)
{
	return u->target;
}

u16 scsi_unit_lun(const struct scsi_unit *u)
{
	return u->lun;
}

const struct scsi_port *scsi_unit_port(struct scsi_unit *u)
{
	return &u->port;
}
