/*
 * test_bundle.c - reading newc archives, whole and damaged.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernel/bundle.h"

/* An archive being built, in the newc format as cpio(5) has it. */
struct archive {
	u8 bytes[4096];
	size_t size;
};

static void pad4(struct archive *a)
{
	while (a->size % 4)
		a->bytes[a->size++] = 0;
}

static void add(struct archive *a, const char *name, const char *text)
{
	size_t len = strlen(text);

	a->size += (size_t)sprintf((char *)a->bytes + a->size,
				   "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 1, 0100644, 0, 0, 1,
				   0, (unsigned)len, 0, 0, 0, 0, (unsigned)strlen(name) + 1, 0);
	strcpy((char *)a->bytes + a->size, name);
	a->size += strlen(name) + 1;
	pad4(a);
	memcpy(a->bytes + a->size, text, len);
	a->size += len;
	pad4(a);
}

static struct archive sample(void)
{
	struct archive a = { .size = 0 };

	add(&a, "conf", "mem=256M\n");
	add(&a, "empty", "");
	add(&a, "./dir/deep", "12345");
	add(&a, "conf", "a second one");
	add(&a, "TRAILER!!!", "");
	return a;
}

static void expect_file(const struct archive *a, const char *name, const char *text)
{
	const u8 *data = NULL;
	size_t size = 99;

	cr_assert_eq(bundle_find(a->bytes, a->size, name, &data, &size), OK, "%s", name);
	cr_assert_eq(size, strlen(text), "%s", name);
	cr_assert_arr_eq(data, text, size);
	cr_assert(data >= a->bytes && data + size <= a->bytes + a->size);
}

Test(bundle, finds_each_file)
{
	struct archive a = sample();

	expect_file(&a, "conf", "mem=256M\n"); /* the first of two */
	expect_file(&a, "empty", "");
	expect_file(&a, "dir/deep", "12345");
}

Test(bundle, says_what_is_not_there)
{
	struct archive a = sample();
	const u8 *data;
	size_t size;

	cr_assert_eq(bundle_find(a.bytes, a.size, "con", &data, &size), ERR_END);
	cr_assert_eq(bundle_find(a.bytes, a.size, "conf2", &data, &size), ERR_END);
	cr_assert_eq(bundle_find(a.bytes, a.size, "TRAILER!!!", &data, &size), ERR_END);
}

Test(bundle, visits_in_order)
{
	static const char *const names[] = { "conf", "empty", "./dir/deep", "conf" };
	struct archive a = sample();
	const char *name;
	const u8 *data;
	size_t pos = 0, size;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cr_assert_eq(bundle_next(a.bytes, a.size, &pos, &name, &data, &size), OK);
		cr_assert_str_eq(name, names[i]);
	}
	cr_assert_eq(bundle_next(a.bytes, a.size, &pos, &name, &data, &size), ERR_END);
}

/* Cut anywhere, the archive yields only whole files, and nothing behind its end is read. */
Test(bundle, cut_at_every_length)
{
	struct archive a = sample();
	unsigned whole = 0;

	for (size_t cut = 0; cut < a.size; cut++) {
		u8 *copy = malloc(cut ? cut : 1); /* the sanitizer watches its end */
		const u8 *data;
		size_t size;
		err_t err;

		memcpy(copy, a.bytes, cut);
		err = bundle_find(copy, cut, "dir/deep", &data, &size);
		if (err == OK) {
			cr_assert_eq(size, 5);
			cr_assert_arr_eq(data, "12345", 5);
			whole++;
		} else {
			cr_assert_eq(err, ERR_DAMAGED, "cut at %zu", cut);
		}
		free(copy);
	}
	cr_assert(whole > 0 && whole < a.size);
}

/* A byte of the first header or name changed: never a read outside, never an endless walk. */
Test(bundle, any_changed_byte)
{
	struct archive a = sample();

	for (size_t at = 0; at < a.size; at++) {
		for (unsigned value = 0; value < 256; value += 5) {
			u8 *copy = malloc(a.size);
			const char *name;
			const u8 *data;
			size_t pos = 0, size;
			unsigned files = 0;

			memcpy(copy, a.bytes, a.size);
			copy[at] = (u8)value;
			while (bundle_next(copy, a.size, &pos, &name, &data, &size) == OK) {
				cr_assert(data + size <= copy + a.size);
				cr_assert(++files < 20);
			}
			free(copy);
		}
	}
}

Test(bundle, refuses_other_formats)
{
	struct archive a = sample();
	const u8 *data;
	size_t size;

	memcpy(a.bytes, "070707", 6); /* the old portable format */
	cr_assert_eq(bundle_find(a.bytes, a.size, "conf", &data, &size), ERR_DAMAGED);
	cr_assert_eq(bundle_find((const u8 *)"not a cpio", 10, "conf", &data, &size), ERR_DAMAGED);
	a = sample();
	memcpy(a.bytes + 54, "0000000g", 8); /* file size, not hex */
	cr_assert_eq(bundle_find(a.bytes, a.size, "conf", &data, &size), ERR_DAMAGED);
	a = sample();
	memcpy(a.bytes + 54, "ffffffff", 8); /* file size, far too big */
	cr_assert_eq(bundle_find(a.bytes, a.size, "conf", &data, &size), ERR_DAMAGED);
	a = sample();
	memcpy(a.bytes + 94, "00000000", 8); /* name size: no room for its end */
	cr_assert_eq(bundle_find(a.bytes, a.size, "conf", &data, &size), ERR_DAMAGED);
}
