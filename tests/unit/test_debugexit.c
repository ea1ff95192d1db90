/*
 * test_debugexit.c - the guest's exit code arrives unchanged, at every size.
 */
#include "tests/unit/device_check.h"
#include "vmm/dev/debugexit.h"

struct asked {
	unsigned n;
	enum machine_request what;
	u32 value;
};

static void ask(void *ctx, enum machine_request what, u32 value)
{
	struct asked *a = ctx;

	a->n++;
	a->what = what;
	a->value = value;
}

Test(debugexit, value_by_size)
{
	static const struct { unsigned size_bytes; u64 value; u32 want; } cases[] = {
		{ 1, 0x12345600, 0 }, { 1, 0xff, 0xff }, { 2, 0x12345678, 0x5678 }, { 4, 0xdeadbeef, 0xdeadbeef },
	};
	struct vclock clock = { 0 };
	struct asked a = { 0 };
	struct debugexit d;

	debugexit_init(&d, &clock, (struct machine_control){ ask, &a });
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		debugexit_ops.write(&d, IO_PORT, 0xf4, cases[i].size_bytes, cases[i].value);
		cr_assert_eq(a.n, i + 1);
		cr_assert_eq(a.what, MACHINE_EXIT);
		cr_assert_eq(a.value, cases[i].want);
	}
	debugexit_ops.write(&d, IO_PORT, 0xf5, 1, 7);
	cr_assert_eq(a.n, ARRAY_SIZE(cases), "F5h is not ours");
}

Test(debugexit, reads_all_ones)
{
	struct vclock clock = { 0 };
	struct asked a = { 0 };
	struct debugexit d;

	debugexit_init(&d, &clock, (struct machine_control){ ask, &a });
	cr_assert_eq(debugexit_ops.read(&d, IO_PORT, 0xf4, 1), 0xff);
	cr_assert_eq(debugexit_ops.read(&d, IO_PORT, 0xf4, 2), 0xffff);
	cr_assert_eq(debugexit_ops.read(&d, IO_PORT, 0xf4, 4), 0xffffffff);
	cr_assert_eq(a.n, 0);
}

Test(debugexit, state_roundtrip)
{
	struct vclock clock = { 0 };
	struct asked a = { 0 };
	struct debugexit d, fresh;

	debugexit_init(&d, &clock, (struct machine_control){ ask, &a });
	debugexit_init(&fresh, &clock, (struct machine_control){ ask, &a });
	check_device_roundtrip(&debugexit_ops, &d, &fresh);
}
