/*
 * test_virtio_rng.c - random numbers: the same for one seed, others for another, and never twice.
 */
#include "kernel/xxh.h"
#include "tests/unit/device_check.h"
#include "tests/unit/virtio_driver.h"
#include "vmm/dev/virtio_rng.h"

#define SLOT 14
#define RINGS 0x10000UL
#define DATA 0x100000UL
#define ALL (~0UL)

struct rig {
	struct vguest g;
	struct virtio_rng rng;
	struct vdriver d;
};

static void rig_init(struct rig *r, u64 seed)
{
	memset(r, 0, sizeof(*r));
	vguest_init(&r->g);
	virtio_rng_init(&r->rng, &r->g.env, SLOT, seed);
	cr_assert(vdriver_find(&r->d, &r->g, SLOT));
	cr_assert(vdriver_start(&r->d, ALL, false, true, RINGS));
}

static struct rig rig;

static void setup(void)
{
	rig_init(&rig, 1);
}

static void teardown(void)
{
	vguest_free(&rig.g);
}

TestSuite(virtio_rng, .init = setup, .fini = teardown);

/* Asks for size bytes at `at`; how many came. */
static u32 ask(struct rig *r, u64 at, u32 size)
{
	struct vbuffer b = { at, size, true };
	u32 written;
	u16 head;

	cr_assert_geq(vring_add(&r->d.ring[0], &b, 1), 0);
	cr_assert(vdriver_kick_if_wanted(&r->d, 0));
	cr_assert(vring_used(&r->d.ring[0], &head, &written), "at once");
	return written;
}

Test(virtio_rng, what_it_says_it_is)
{
	cr_assert_eq(vguest_config(&rig.g, SLOT, 0, 4), 0x10051af4);
	cr_assert_eq(vguest_config(&rig.g, SLOT, 0x2e, 2), 4);
	cr_assert_eq(rig.d.config, 0, "there is no structure of its own");
}

Test(virtio_rng, numbers)
{
	u64 last = 0, n = 0;

	cr_assert_eq(ask(&rig, DATA, 64), 64);
	for (unsigned i = 0; i < 8; i++) {
		u64 want = XXH64(&n, 8, 1 ^ 0x676e7220726e6456UL);

		cr_assert_eq(vguest_word(&rig.g, DATA + 8 * i, 8), want);
		cr_assert_neq(want, last);
		last = want;
		n++;
	}
	cr_assert_eq(vguest_word(&rig.g, DATA + 64, 8), 0);
	cr_assert_eq(ask(&rig, DATA, 3), 3);
	cr_assert_eq(vguest_word(&rig.g, DATA, 3), XXH64(&n, 8, 1 ^ 0x676e7220726e6456UL) & 0xffffff);
	n++;
	cr_assert_eq(ask(&rig, DATA, 8), 8);
	cr_assert_eq(vguest_word(&rig.g, DATA, 8), XXH64(&n, 8, 1 ^ 0x676e7220726e6456UL), "what is left of eight is not kept");
	cr_assert_eq(ask(&rig, DATA, 1000000), RNG_MAX_BYTES);
	cr_assert_eq(ask(&rig, DATA, 0), 0);
	cr_assert_eq(rig.g.nmessages[0], 5);
}

Test(virtio_rng, a_function_of_the_seed)
{
	static struct rig same, other;

	rig_init(&same, 1);
	rig_init(&other, 2);
	ask(&rig, DATA, 64);
	ask(&same, DATA, 64);
	ask(&other, DATA, 64);
	cr_assert_eq(vguest_word(&rig.g, DATA + 32, 8), vguest_word(&same.g, DATA + 32, 8));
	cr_assert_neq(vguest_word(&rig.g, DATA + 32, 8), vguest_word(&other.g, DATA + 32, 8));
	vguest_free(&same.g);
	vguest_free(&other.g);
}

Test(virtio_rng, a_new_driver_gets_new_numbers)
{
	u64 first;

	ask(&rig, DATA, 8);
	first = vguest_word(&rig.g, DATA, 8);
	for (int legacy = 0; legacy < 2; legacy++) {
		cr_assert(vdriver_start(&rig.d, ALL, legacy, true, RINGS));
		ask(&rig, DATA, 8);
		cr_assert_neq(vguest_word(&rig.g, DATA, 8), first);
	}
}

Test(virtio_rng, state)
{
	static const struct fuzz_range ranges[] = {
		{ IO_MEMORY, PCI_MEM_BASE + SLOT * PCI_MEM_SLOT, 64 }, { IO_PORT, PCI_IO_BASE + SLOT * PCI_IO_SLOT, 24 },
	};
	static const struct device_fuzz fuzz = { &virtio_rng_ops, ranges, ARRAY_SIZE(ranges), 1000, NULL };
	static struct rig other;
	const struct pci_function *f = &rig.rng.v.fn;
	size_t seen = sizeof(f->config) + sizeof(f->intx) + sizeof(f->pending) + sizeof(f->vector);

	seen += 2 + 1 + 3 * 8 + 3 * 2 + 2 + 2 + 8 + 4 + 4 + 2 + 3 + sizeof(rig.rng.ngiven);
	check_device_visits_all(&virtio_rng_ops, &rig.rng, sizeof(rig.rng), sizeof(rig.rng) - seen);
	rig_init(&other, 1);
	ask(&rig, DATA, 100);
	check_device_roundtrip(&virtio_rng_ops, &rig.rng, &other.rng);
	vguest_copy_memory(&other.g, &rig.g);
	other.d = rig.d;
	other.d.g = other.d.ring[0].g = &other.g;
	ask(&rig, DATA, 8);
	ask(&other, DATA, 8);
	cr_assert_eq(vguest_word(&rig.g, DATA, 8), vguest_word(&other.g, DATA, 8));
	vdriver_reset(&rig.d);
	vdriver_reset(&other.d);
	check_device_fuzz(&fuzz, &rig.rng, &rig.g.clock, &other.rng, &other.g.clock, 5, 10000);
	check_device_damage(&fuzz, &rig.rng, &other.rng, &other.g.clock, 6, 3000);
	vguest_free(&other.g);
}
