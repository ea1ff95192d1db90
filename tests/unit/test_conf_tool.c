/*
 * test_conf_tool.c - the host command's parts that need no QEMU: options,
 * numbers, the archive the kernel reads, the escape key, control lines.
 */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/bundle.h"
#include "tools/console.h"
#include "tools/control.h"
#include "tools/cpio.h"
#include "tools/options.h"

/* ---- numbers ---- */

Test(conf_tool, counts)
{
	u64 v;

	cr_assert(parse_count("0", 1000, &v) && v == 0);
	cr_assert(parse_count("5G", 1000, &v) && v == 5000000000);
	cr_assert(parse_count("256M", 1024, &v) && v == 268435456);
	cr_assert(parse_count("7k", 1000, &v) && v == 7000);
	cr_assert(parse_count("0x10", 1000, &v) && v == 16);
	cr_assert(parse_count("18446744073709551615", 1000, &v) && v == ~0UL);
	cr_assert(!parse_count("18446744073709551616", 1000, &v));
	cr_assert(!parse_count("18446744073709551615K", 1000, &v));
	cr_assert(!parse_count("", 1000, &v) && !parse_count("-1", 1000, &v) && !parse_count("5GB", 1000, &v));
	cr_assert(!parse_count("5 ", 1000, &v) && !parse_count("G", 1000, &v) && !parse_count("1X", 1000, &v));
}

Test(conf_tool, durations_and_dates)
{
	u64 v;

	cr_assert(parse_duration("60", &v) && v == 60000000000);
	cr_assert(parse_duration("2m", &v) && v == 120000000000);
	cr_assert(parse_duration("500ms", &v) && v == 500000000);
	cr_assert(parse_duration("7ns", &v) && v == 7);
	cr_assert(!parse_duration("7 s", &v) && !parse_duration("s", &v) && !parse_duration("99999999999h", &v));
	cr_assert(parse_date("2025-01-01", &v) && v == 1735689600);
	cr_assert(parse_date("2025-01-01T00:00:01Z", &v) && v == 1735689601);
	cr_assert(parse_date("@12", &v) && v == 12);
	cr_assert(!parse_date("@", &v) && !parse_date("2025-13-01", &v) && !parse_date("2025-01-01 ", &v));
}

Test(conf_tool, numbers_for_people)
{
	char b[32];

	cr_assert_str_eq(human_count(812, b), "812");
	cr_assert_str_eq(human_count(3912345678, b), "3.91 G");
	cr_assert_str_eq(human_count(81234, b), "81.2 k");
	cr_assert_str_eq(human_ns(12400000000, b), "12.4 s");
	cr_assert_str_eq(human_bytes(3686, b), "3.60 KiB");
	cr_assert_str_eq(with_commas(0, b), "0");
	cr_assert_str_eq(with_commas(999, b), "999");
	cr_assert_str_eq(with_commas(81234, b), "81,234");
	cr_assert_str_eq(with_commas(~0UL, b), "18,446,744,073,709,551,615");
}

/* ---- options ---- */

static enum status parse(struct options *o, unsigned groups, const char *const *args)
{
	char *argv[16] = { NULL };
	int argc = 0;

	for (; args[argc]; argc++)
		argv[argc] = (char *)(uintptr_t)args[argc];
	return options_parse(o, groups, argc, argv);
}
#define PARSE(o, groups, ...) parse(o, groups, (const char *const[]){ "cmd", __VA_ARGS__, NULL })

Test(conf_tool, options)
{
	struct options o;

	cr_assert_eq(PARSE(&o, OPT_VM | OPT_LIMITS, "--kernel", "k", "--mem=64M", "--seed", "7", "--limit-vtime", "2s"), ST_OK);
	cr_assert_str_eq(o.kernel, "k");
	cr_assert(o.mem_bytes == MIB(64) && o.seed == 7 && o.limit_vtime_ns == 2000000000 && !o.limit_insns);
	cr_assert_eq(o.rtc_epoch_s, 1735689600, "the default date is fixed");
	cr_assert_eq(PARSE(&o, OPT_VM, "--kernel", "k"), ST_OK);
	cr_assert(o.seed == 1 && o.mem_bytes == MIB(256) && o.epoch_insns % o.poll_insns == 0);
	cr_assert_eq(PARSE(&o, OPT_REPLAY, "file", "--until", "5K", "--from", "0"), ST_OK);
	cr_assert(o.has_until && o.until == 5000 && o.has_from && o.from == 0 && !o.has_perturb);
	cr_assert(o.noperands == 1 && !strcmp(o.operands[0], "file"));
	cr_assert_eq(PARSE(&o, OPT_OUTPUT, "-o", "out", "in"), ST_OK);
	cr_assert(!strcmp(o.output, "out") && o.noperands == 1);
}

Test(conf_tool, options_refused, .init = cr_redirect_stderr)
{
	struct options o;

	cr_assert_eq(PARSE(&o, OPT_VM, "--initrd", "i"), ST_USAGE);
	cr_assert_eq(PARSE(&o, OPT_VM, "--kernel", "k", "--mem", "3M"), ST_USAGE);
	cr_assert_eq(PARSE(&o, OPT_VM, "--kernel", "k", "--mem", "0"), ST_USAGE);
	cr_assert_eq(PARSE(&o, OPT_VM, "--kernel", "k", "--mem", "64G"), ST_USAGE);
	cr_assert_eq(PARSE(&o, OPT_VM, "--kernel", "k", "--json"), ST_USAGE);
	cr_assert_eq(PARSE(&o, OPT_JSON, "--kernel", "k"), ST_USAGE);
	cr_assert_eq(PARSE(&o, OPT_JSON, "-o", "k"), ST_USAGE);
	cr_assert_eq(PARSE(&o, OPT_VM, "--kernel"), ST_USAGE);
}

/* ---- several machines ---- */

static struct options *several;
static unsigned nseveral;

static enum status parse_several(const char *const *args)
{
	char *argv[40] = { NULL };
	int argc = 0;

	for (; args[argc]; argc++)
		argv[argc] = (char *)(uintptr_t)args[argc];
	free(several);
	return options_parse_several(&several, &nseveral, OPT_VM | OPT_RUN | OPT_OUTPUT, argc, argv);
}
#define SEVERAL(...) parse_several((const char *const[]){ "cmd", __VA_ARGS__, NULL })

Test(conf_tool, several_machines)
{
	cr_assert_eq(SEVERAL("--kernel", "k", "--mem", "64M"), ST_OK);
	cr_assert(nseveral == 1 && !several->vm && several->mem_bytes == MIB(64));
	cr_assert_eq(SEVERAL("--kernel", "k", "--mem=64M", "-q", "--vm", "a", "--append", "--vm", "--vm=b", "--kernel", "l", "--share", "7",
			     "-o", "--vm"), ST_OK);
	cr_assert_eq(nseveral, 2);
	cr_assert_str_eq(several[0].vm, "a");
	cr_assert_str_eq(several[0].append, "--vm");
	cr_assert_str_eq(several[0].kernel, "k");
	cr_assert_str_eq(several[1].vm, "b");
	cr_assert_str_eq(several[1].kernel, "l");
	cr_assert_str_eq(several[1].append, "");
	cr_assert_str_eq(several[1].output, "--vm");
	cr_assert(several[0].mem_bytes == MIB(64) && several[1].mem_bytes == MIB(64) && several[0].quiet && several[1].quiet);
	cr_assert(several[0].seed == 1 && several[1].seed == 2 && !several[0].share && several[1].share == 7);
	cr_assert_eq(SEVERAL("--kernel", "k", "--seed", "9", "--net", "user", "--vm", "a", "--vm", "b"), ST_OK);
	cr_assert(several[0].seed == 9 && several[1].seed == 9);
	cr_assert(several[0].net.nic[0].mac[5] == 0x56 && several[1].net.nic[0].mac[5] == 0x5a);
	free(several);
}

Test(conf_tool, several_machines_refused, .init = cr_redirect_stderr)
{
	cr_assert_eq(SEVERAL("--vm", "a", "--kernel", "k", "--vm", "b"), ST_USAGE);
	cr_assert_eq(SEVERAL("--kernel", "k", "--vm", "a", "--vm", "a"), ST_USAGE);
	cr_assert_eq(SEVERAL("--kernel", "k", "--vm", "a/b"), ST_USAGE);
	cr_assert_eq(SEVERAL("--kernel", "k", "--vm", ""), ST_USAGE);
	cr_assert_eq(SEVERAL("--kernel", "k", "--vm", "12345678901234567"), ST_USAGE);
	cr_assert_eq(SEVERAL("--kernel", "k", "--vm"), ST_USAGE);
	cr_assert_eq(SEVERAL("--kernel", "k", "--vm", "a", "operand"), ST_USAGE);
	cr_assert_eq(SEVERAL("--kernel", "k", "--vm", "a", "-q", "--vm", "b"), ST_USAGE);
	cr_assert_eq(SEVERAL("--kernel", "k", "--share", "7"), ST_USAGE);
	cr_assert_eq(SEVERAL("--kernel", "k", "--vm", "a", "--share", "1001"), ST_USAGE);
	cr_assert_eq(SEVERAL("--kernel", "k", "--vm", "1", "--vm", "2", "--vm", "3", "--vm", "4", "--vm", "5", "--vm", "6", "--vm", "7",
			     "--vm", "8", "--vm", "9"), ST_USAGE);
	free(several);
}

static struct options disk_options;

static enum status disk(const char *arg)
{
	return PARSE(&disk_options, OPT_VM, "--kernel", "k", "--disk", arg);
}

static bool disk_is(const char *path, const char *mode, u64 room_bytes)
{
	const struct disk_option *d = &disk_options.disk[0];

	return disk_options.ndisks == 1 && !strcmp(d->path, path) && !strcmp(d->mode, mode) && d->room_bytes == room_bytes;
}

/* What stands behind a comma is an option if it is one of the words, and part of the name if not. */
Test(conf_tool, disks)
{
	cr_assert(!disk("d.img") && disk_is("d.img", "cow", 0));
	cr_assert(!disk("d.img,ro") && disk_is("d.img", "ro", 0));
	cr_assert(!disk("/a/d.img,cow,room=64M") && disk_is("/a/d.img", "cow", MIB(64)));
	cr_assert(!disk("d,room=1,rw") && disk_is("d", "rw", MIB(2)));
	cr_assert(!disk("d,room=2097153") && disk_is("d", "cow", MIB(4)));
	cr_assert(!disk("d,room=3070M") && disk_is("d", "cow", GIB(3) - MIB(2)));
	cr_assert(!disk("a,b.img") && disk_is("a,b.img", "cow", 0));
	cr_assert(!disk("a,ro,b,rw") && disk_is("a,ro,b", "rw", 0));
	cr_assert(!disk("room=2M") && disk_is("room=2M", "cow", 0));
	cr_assert(!PARSE(&disk_options, OPT_IMAGES, "--disk", "0=a=b", "--disk", "7=c", "--disk", "0=d", "f"));
	cr_assert(!strcmp(disk_options.disk_at[0], "d") && !strcmp(disk_options.disk_at[7], "c") && !disk_options.disk_at[1]);
}

Test(conf_tool, disks_refused, .init = cr_redirect_stderr)
{
	static const char *const bad[] = { "", ",ro", "d,ro,rw", "d,cow,cow", "d,room=", "d,room=0", "d,room=x", "d,room=3071M",
					   "d,ro,room=2M", "d,room=-1" };
	static const char *const bad_at[] = { "", "0", "0=", "8=x", "x", "00=x", "=x" };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		cr_assert_eq(disk(bad[i]), ST_USAGE, "%s", bad[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(bad_at); i++)
		cr_assert_eq(PARSE(&disk_options, OPT_IMAGES, "--disk", bad_at[i]), ST_USAGE, "%s", bad_at[i]);
}

/* ---- archives: what the tool writes the kernel reads ---- */

Test(conf_tool, bundle_round_trip)
{
	struct buf b = { 0 };
	const u8 *data;
	size_t size;

	cpio_file(&b, "machine.conf", "a=1\n", 4);
	cpio_file(&b, "empty", "", 0);
	cpio_file(&b, "kernel", "12345", 5);
	cpio_end(&b);
	cr_assert_eq(b.size % 512, 0);
	cr_assert(!bundle_find(b.data, b.size, "kernel", &data, &size) && size == 5 && !memcmp(data, "12345", 5));
	cr_assert(!bundle_find(b.data, b.size, "machine.conf", &data, &size) && size == 4);
	cr_assert(!bundle_find(b.data, b.size, "empty", &data, &size) && size == 0);
	cr_assert_eq(bundle_find(b.data, b.size, "initrd", &data, &size), ERR_END);
	buf_free(&b);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	FILE *f = fopen(path, "w");

	cr_assert(f && fputs(text, f) >= 0 && !fclose(f) && !chmod(path, mode));
}

/* Names in byte order, whatever order they were made in; times do not matter. */
static void make_tree(const char *top, bool backwards)
{
	char path[2][64];

	cr_assert(!mkdir(top, 0700));
	snprintf(path[0], 64, "%s/B", top);
	snprintf(path[1], 64, "%s/a", top);
	for (unsigned i = 0; i < 2; i++)
		write_file(path[i ^ backwards], (i ^ backwards) ? "small" : "large", 0755);
	snprintf(path[0], 64, "%s/link", top);
	cr_assert(!symlink("a", path[0]));
}

Test(conf_tool, directories_are_reproducible)
{
	char top[] = "/tmp/reprise-test-XXXXXX", one[64], two[64];
	struct buf b1 = { 0 }, b2 = { 0 };
	const char *name;
	const u8 *data;
	size_t pos = 0, size;

	cr_assert_not_null(mkdtemp(top));
	snprintf(one, sizeof(one), "%s/one", top);
	snprintf(two, sizeof(two), "%s/two", top);
	make_tree(one, false);
	make_tree(two, true);
	cr_assert(cpio_directory(&b1, one) && cpio_directory(&b2, two));
	cr_assert(b1.size == b2.size && !memcmp(b1.data, b2.data, b1.size));
	cr_assert(!bundle_next(b1.data, b1.size, &pos, &name, &data, &size) && !strcmp(name, "B") && !memcmp(data, "large", 5));
	cr_assert(!bundle_next(b1.data, b1.size, &pos, &name, &data, &size) && !strcmp(name, "a"));
	cr_assert(!bundle_next(b1.data, b1.size, &pos, &name, &data, &size) && !strcmp(name, "link") && !memcmp(data, "a", 1));
	cr_assert_eq(bundle_next(b1.data, b1.size, &pos, &name, &data, &size), ERR_END);
	buf_free(&b1);
	buf_free(&b2);
	char command[128];
	snprintf(command, sizeof(command), "rm -r %s", top);
	cr_assert(!system(command));
}

/* ---- escape key ---- */

Test(conf_tool, escape_key)
{
	struct escape_state e = { false };
	u8 b[16];
	size_t n;

#define FILTER(text) (n = sizeof(text) - 1, memcpy(b, text, n), escape_filter(&e, b, &n))
	cr_assert(FILTER("abc") == ESCAPE_NONE && n == 3);
	cr_assert(FILTER("a\001\001b") == ESCAPE_NONE && n == 3 && !memcmp(b, "a\001b", 3));
	cr_assert(FILTER("a\001xb") == ESCAPE_QUIT && n == 2 && !memcmp(b, "ab", 2));
	cr_assert(FILTER("\001h") == ESCAPE_HELP && n == 0);
	/* split between two reads */
	cr_assert(FILTER("q\001") == ESCAPE_NONE && n == 1);
	cr_assert(FILTER("x") == ESCAPE_QUIT && n == 0);
	cr_assert(FILTER("\001z") == ESCAPE_NONE && n == 0);
	cr_assert(FILTER("x") == ESCAPE_NONE && n == 1);
}

/* ---- control lines ---- */

Test(conf_tool, control_values)
{
	static const char line[] = "outcome=poweroff reason=\"a=b c \" insns=12 epoch=3";
	char v[8];

	cr_assert(control_get(line, "outcome", v, sizeof(v)) && !strcmp(v, "powerof"), "cut to fit");
	cr_assert(control_get(line, "reason", v, sizeof(v)) && !strcmp(v, "a=b c "));
	cr_assert(control_get(line, "insns", v, sizeof(v)) && !strcmp(v, "12"));
	cr_assert(control_get(line, "epoch", v, sizeof(v)) && !strcmp(v, "3"));
	cr_assert(!control_get(line, "a", v, sizeof(v)) && !control_get(line, "ns", v, sizeof(v)));
	cr_assert(!control_get("", "a", v, sizeof(v)) && !v[0]);
}
