/*
 * selftest_devices.c - the part of the substrate's test that needs devices: disks, networks, SCSI units.
 */
#include "kernel/cpu.h"
#include "kernel/mm.h"
#include "kernel/percpu.h"
#include "kernel/selftest.h"
#include "kernel/time.h"
#include "kernel/trap.h"
#include "kernel/virtio_blk.h"
#include "kernel/virtio_net.h"
#include "kernel/virtio_scsi.h"

void test_blk(const struct boot_info *bi unused_arg)
{
	size_t npages = MIB(3) / PAGE_SIZE, nsectors = MIB(3) / BLK_SECTOR_SIZE;
	u8 *buf = page_alloc(npages), *sector = page_alloc(1);
	struct blk *b = blk_find("recording");
	u64 start, sum = 0;

	check(!blk_find("absent"), "no such disk");
	check(b && buf && sector, "the disk named recording");
	kprintf("%lu sectors, %s, id %s\n", blk_sectors(b), blk_readonly(b) ? "ro" : "rw", blk_id(b));
	if (blk_readonly(b)) {
		check(blk_write(b, 0, sector, 1) == ERR_UNSUPPORTED, "read-only");
		return;
	}
	for (size_t i = 0; i < MIB(3); i++)
		buf[i] = (u8)(i * 7 + i / 512);
	start = rdtsc();
	check(!blk_write(b, 1, buf, nsectors), "write");
	kprintf("write of 3 MiB: %lu us\n", (rdtsc() - start) / 1000);
	start = rdtsc();
	for (unsigned i = 0; i < 100; i++)
		check(!blk_read(b, 1 + i, sector, 1) && !memcmp(sector, buf + i * 512, 512), "read");
	kprintf("read of one sector: %lu us\n", (rdtsc() - start) / 100000);
	check(!blk_flush(b), "flush");
	memset(buf, 0, MIB(3));
	check(!blk_read(b, 1, buf, nsectors), "read back");
	for (size_t i = 0; i < MIB(3); i++)
		sum += buf[i] == (u8)(i * 7 + i / 512);
	check(sum == MIB(3), "the same bytes");
	check(blk_read(b, blk_sectors(b), sector, 1) == ERR_INVALID, "past the end");
	check(blk_read(b, ~0UL, sector, 2) == ERR_INVALID, "past the end, wrapping");
}

#define NFRAMES 10000U
#define IN_FLIGHT 200U /* of NIC_RING */
#define PATIENCE_NS 4000000000UL /* of the LAPIC timer at once: that it runs out wakes, too */

/* Frame number i: its size and every byte follow from it. */
static u32 make_frame(u8 *frame, u32 i, u32 frame_max)
{
	u32 size = i % 3 == 0 ? 60 : i % 3 == 1 ? frame_max : 60 + i * 37 % (frame_max - 60);

	for (u32 k = 0; k < size; k++)
		frame[k] = (u8)(i + k * 3);
	memset(frame, 0xff, 6); /* to all */
	return size;
}

/* Sleeps until frame number i is there, and it is that one. */
static void expect_frame(struct nic *n, u32 i, u32 frame_max)
{
	static u8 want[NIC_JUMBO_FRAME];
	u64 start = rdtsc();
	const u8 *frame;
	u32 size;

	while (!(frame = nic_peek(n, &size))) {
		check(rdtsc() - start < PATIENCE_NS, "a frame is lost");
		cpu_wait(PATIENCE_NS);
	}
	check(rdtsc() - start < PATIENCE_NS, "a frame wakes");
	check(size == make_frame(want, i, frame_max) && !memcmp(frame, want, size), "the same frame");
	check(nic_peek(n, &size) == frame, "a frame stays until it is done with");
	nic_done(n);
}

/* There and back, one at a time: each is awaited asleep. */
static void ping_pong(struct nic *a, struct nic *b, u32 frame_max)
{
	static u8 frame[NIC_JUMBO_FRAME];
	u64 start = rdtsc();

	for (u32 i = 0; i < NFRAMES / 10; i++) {
		nic_send(a, frame, make_frame(frame, i, frame_max));
		expect_frame(b, i, frame_max);
		nic_send(b, frame, make_frame(frame, i + 1, frame_max));
		expect_frame(a, i + 1, frame_max);
	}
	kprintf("from sending to woken up: %lu us\n", (rdtsc() - start) / (NFRAMES / 10) / 2000);
}

/* A frame is made at one place, whatever the device has sent and given back meanwhile. */
static void stays_where_it_is_made(struct nic *a, struct nic *b, u32 frame_max)
{
	static u8 frame[NIC_JUMBO_FRAME];
	u8 *place;

	nic_send(a, frame, make_frame(frame, 0, frame_max));
	nic_queue(a, frame, make_frame(frame, 1, frame_max));
	place = nic_room(a);
	nic_kick(a);
	expect_frame(b, 0, frame_max);
	expect_frame(b, 1, frame_max);
	check(place && nic_room(a) == place, "a frame is made at one place");
	nic_made(a, make_frame(place, 2, frame_max));
	nic_kick(a);
	expect_frame(b, 2, frame_max);
}

static void burst(struct nic *a, struct nic *b, u32 frame_max)
{
	static u8 frame[NIC_JUMBO_FRAME];
	u64 start = rdtsc();
	u32 seen = 0;

	for (u32 i = 0; i < NFRAMES; i++) {
		nic_send(a, frame, make_frame(frame, i, frame_max));
		while (i - seen >= IN_FLIGHT)
			expect_frame(b, seen++, frame_max);
	}
	while (seen < NFRAMES)
		expect_frame(b, seen++, frame_max);
	kprintf("%u frames: %lu ms\n", NFRAMES, (rdtsc() - start) / 1000000);
}

static void arrives_unawaited(struct nic *a, struct nic *b, u32 i, u32 frame_max)
{
	static u8 frame[NIC_JUMBO_FRAME];
	u64 start = rdtsc();
	u32 size;

	nic_send(a, frame, make_frame(frame, i, frame_max));
	while (!nic_peek(b, &size))
		check(rdtsc() - start < PATIENCE_NS, "a frame arrives without a wait");
}

static bool wait_ends_early(u64 ns)
{
	u64 start = rdtsc();

	cpu_wait(ns);
	return rdtsc() - start < ns;
}

/* What arrives while nobody waits interrupts nobody, and ends the next wait; if left there, not one more. */
static void quiet(struct nic *a, struct nic *b, u32 frame_max)
{
	u64 irqs = this_cpu()->irqs, start;

	arrives_unawaited(a, b, 7, frame_max);
	for (start = rdtsc(); rdtsc() - start < 1000000;)
		trap_drain();
	check(this_cpu()->irqs == irqs, "no interrupt but in cpu_wait");
	check(wait_ends_early(PATIENCE_NS), "a frame that was there ends a wait");
	check(!wait_ends_early(20000000), "but only one");
	expect_frame(b, 7, frame_max);
	check(!wait_ends_early(20000000), "and none when it is done with");
	arrives_unawaited(a, b, 8, frame_max);
	expect_frame(b, 8, frame_max);
	check(!wait_ends_early(20000000), "done with before the first wait");
}

static void net(u32 frame_max)
{
	static const u8 first[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 }, second[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x57 };
	struct nic *a = nic_find(first, frame_max), *b = nic_find(second, frame_max);
	static u8 frame[NIC_JUMBO_FRAME + 1];

	check(a && b && a != b && nic_open(0, frame_max) == a, "two NICs");
	check(!nic_find((const u8 *)"absent", frame_max) && !nic_open(2, frame_max), "and no other");
	ping_pong(a, b, frame_max);
	quiet(a, b, frame_max);
	stays_where_it_is_made(a, b, frame_max);
	burst(a, b, frame_max);
	nic_send(a, frame, frame_max + 1);
	check(nic_stats(a)->dropped == 1 && nic_stats(b)->dropped == 0, "only what is too long is dropped");
	check(nic_stats(b)->received == NFRAMES + NFRAMES / 10 + 2 + 3, "every frame, once");
}

void test_net(const struct boot_info *bi unused_arg)
{
	net(NIC_FRAME);
}

void test_jumbo(const struct boot_info *bi unused_arg)
{
	net(NIC_JUMBO_FRAME);
}

static struct scsi_command rw10(u8 opcode, u32 block, const void *out)
{
	struct scsi_command c = { .cdb = { opcode, 0, (u8)(block >> 24), (u8)(block >> 16), (u8)(block >> 8), (u8)block, 0, 0, 1 },
				  .cdb_size = 10, .out = out, .out_bytes = out ? 512 : 0, .in_bytes = out ? 0 : 512 };
	return c;
}

enum { SCSI_READ10 = 0x28, SCSI_WRITE10 = 0x2a };

void test_scsi(const struct boot_info *bi unused_arg)
{
	const struct scsi_port *p = scsi_open(0) ? scsi_unit_port(scsi_open(0)) : NULL;
	u8 out[512], in[512] = { 0 };
	struct scsi_reply r = { .in = in };
	struct scsi_command c;

	for (unsigned i = 0; scsi_open(i); i++)
		kprintf("unit %u: target %u, lun %u\n", i, scsi_unit_target(scsi_open(i)), scsi_unit_lun(scsi_open(i)));
	check(p, "a unit");
	for (unsigned i = 0; i < 512; i++)
		out[i] = (u8)(i * 3);
	c = rw10(SCSI_WRITE10, 7, out);
	/* The first command after a reset is answered by an attention, and not done. */
	check(!scsi_command(p, &c, &r, 1000000000) && r.status == SCSI_CHECK_CONDITION && r.sense_key == 6, "attention");
	check(!scsi_command(p, &c, &r, 1000000000) && r.status == SCSI_GOOD, "write");
	c = rw10(SCSI_READ10, 7, NULL);
	check(!scsi_command(p, &c, &r, 1000000000) && r.in_bytes == 512 && !memcmp(in, out, 512), "read back");
	c = rw10(SCSI_READ10, 1000000000, NULL);
	check(!scsi_command(p, &c, &r, 1000000000) && r.status == SCSI_CHECK_CONDITION && r.sense_key == 5 &&
	      r.asc == 0x2100, "past the end");
	c.in_bytes = SCSI_DATA_MAX + 1;
	check(p->start(p->ctx, &c, &(u64){ 0 }) == ERR_INVALID, "too much");
}

/* The disk takes one request a second: commands nobody waits for, among others that somebody does. */
void test_scsi_late(const struct boot_info *bi unused_arg)
{
	const struct scsi_port *p = scsi_open(0) ? scsi_unit_port(scsi_open(0)) : NULL;
	u8 out[512], in[512];
	struct scsi_command c;
	struct scsi_reply r = { .in = in };
	u64 ticket[64], late = 0;
	unsigned n = 0;

	check(p, "a unit");
	c = rw10(SCSI_READ10, 0, NULL);
	check(!scsi_command(p, &c, &r, 1000000000), "the attention");
	for (unsigned i = 0; i < 512; i++)
		out[i] = 0x11;
	for (u32 block = 0; n < 64; n++, block++) {
		memset(out, (int)(block + 1), sizeof(out));
		c = rw10(SCSI_WRITE10, block, out);
		if (p->start(p->ctx, &c, &ticket[n]))
			break;
	}
	kprintf("%u in flight\n", n);
	check(n >= 4 && n < 64, "as many as there are slots");
	for (unsigned i = 0; i < n; i++)
		if (!p->poll(p->ctx, ticket[i], &r)) {
			p->abandon(p->ctx, ticket[i]);
			late++;
		}
	check(late >= 3, "some are late");
	kprintf("%lu abandoned\n", late);
	/* A slot is free only when its late answer has come; the reads' answers are their own. */
	for (u32 block = 0; block < n; block++) {
		c = rw10(SCSI_READ10, block, NULL);
		while (p->start(p->ctx, &c, &ticket[block]) == ERR_NO_MEMORY)
			cpu_wait(1000000);
	}
	for (u32 block = 0; block < n; block++) {
		while (!p->poll(p->ctx, ticket[block], &r))
			cpu_wait(1000000);
		check(r.status == SCSI_GOOD && r.in_bytes == 512 && in[0] == block + 1 && in[511] == block + 1, "its own answer");
	}
	check(p->poll(p->ctx, ticket[1], &r) && !r.delivered, "a spent ticket says nothing");
}
