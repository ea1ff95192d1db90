/*
 * test_ft_log.c - records of a pair's log: there and back, whole or not at all, and
 * what makes no sense.
 */
#include <criterion/criterion.h>

#include "ft/log.h"

#define SIZE 65536U

static u8 ring[SIZE], received[SIZE + FT_RECORD_MAX], page[PAGE_SIZE];
static struct ft_sender s;
static struct ft_receiver r;
static struct ft_log_writer w;
static struct ft_log_reader reader;

static void setup(void)
{
	ft_sender_init(&s, ring, SIZE, SIZE, 1000);
	ft_receiver_init(&r, received, SIZE, FT_RECORD_MAX);
	w = (struct ft_log_writer){ .to = &s };
	reader = (struct ft_log_reader){ 0 };
	memset(page, 0x5a, sizeof(page));
}
TestSuite(ft_log, .init = setup);

/* As much of what was written, up to `to`, arrives. */
static void arrives(u64 to)
{
	if (to > r.end)
		cr_assert(ft_receiver_put(&r, (u32)r.end, ring + r.end, (u32)(to - r.end)));
}

static struct ft_record next(void)
{
	struct ft_record rec = { 0 };

	cr_assert_eq(ft_log_read(&reader, &r, &rec), OK, "at %lu", reader.at);
	return rec;
}

static void begin(void)
{
	const struct ft_start start = { { 1000, 2000, 3 }, 4, 5, 6, 0x123456789abcdef0 };
	const struct ft_page some = { 1, 99, page }, zeros = { 0, 1UL << 40, NULL };

	cr_assert(ft_log_page(&w, &some));
	cr_assert(ft_log_page(&w, &zeros));
	cr_assert(ft_log_state(&w, page, 300));
	cr_assert(ft_log_pad(&w));
	cr_assert(ft_log_start(&w, &start));
}

static void go_on(void)
{
	const struct rec_event input = { .kind = REC_INPUT, .at = { 1500, 2500, 3 },
					 .input = { INPUT_FRAME, 1, page, 60 } };
	const struct rec_event digest = { .kind = REC_DIGEST, .at = { 2000, 3000, 4 }, .digest = 77 };

	cr_assert(ft_log_event(&w, &input));
	cr_assert(ft_log_progress(&w, 1700, 2600));
	cr_assert(ft_log_number(&w, FT_RELEASED, 300));
	cr_assert(ft_log_number(&w, FT_ANSWERED, 1));
	cr_assert(ft_log_event(&w, &digest));
	cr_assert(ft_log_end(&w, &(struct execpoint){ 2100, 3100, 9 }, &(struct ft_end){ VM_POWERED_OFF, 42, 88 }));
}

Test(ft_log, there_and_back)
{
	struct ft_record rec;

	begin();
	go_on();
	arrives(s.end);
	rec = next();
	cr_assert(rec.kind == FT_PAGE && rec.page.space == 1 && rec.page.number == 99);
	cr_assert_arr_eq(rec.page.data, page, PAGE_SIZE);
	rec = next();
	cr_assert(rec.kind == FT_PAGE && rec.page.number == 1UL << 40 && !rec.page.data);
	rec = next();
	cr_assert(rec.kind == FT_STATE && rec.state_bytes == 300 && rec.state[299] == 0x5a);
	rec = next();
	cr_assert_eq(rec.kind, FT_PAD);
	rec = next();
	cr_assert(rec.kind == FT_START && rec.start.at.count == 1000 && rec.start.at.vtime_ns == 2000 && rec.start.at.sequence == 3);
	cr_assert(rec.start.units == 4 && rec.start.questions == 5 && rec.start.epochs == 6);
	cr_assert_eq(rec.start.digest, 0x123456789abcdef0);
	rec = next();
	cr_assert(rec.kind == REC_INPUT && rec.ev.at.count == 1500 && rec.ev.at.vtime_ns == 2500 && rec.ev.at.sequence == 3);
	cr_assert(rec.ev.input.kind == INPUT_FRAME && rec.ev.input.instance == 1 && rec.ev.input.size == 60);
	rec = next();
	cr_assert(rec.kind == FT_PROGRESS && rec.ev.at.count == 1700 && rec.ev.at.vtime_ns == 2600);
	rec = next();
	cr_assert(rec.kind == FT_RELEASED && rec.n == 300);
	rec = next();
	cr_assert(rec.kind == FT_ANSWERED && rec.n == 1);
	rec = next();
	cr_assert(rec.kind == REC_DIGEST && rec.ev.at.count == 2000 && rec.ev.digest == 77);
	rec = next();
	cr_assert(rec.kind == FT_END && rec.ev.at.count == 2100 && rec.ev.at.vtime_ns == 3100);
	cr_assert(rec.end.outcome == VM_POWERED_OFF && rec.end.guest_exit == 42 && rec.end.digest == 88);
	cr_assert_eq(ft_log_read(&reader, &r, &rec), ERR_END);
	cr_assert_eq(reader.at, s.end);
}

/* However the bytes come, a record is read when its last one is there, and not before. */
Test(ft_log, byte_by_byte)
{
	unsigned read = 0;

	begin();
	go_on();
	for (u64 to = 1; to <= s.end; to++) {
		const struct rec_base before = reader.base[0];
		struct ft_record rec;
		err_t e;

		arrives(to);
		e = ft_log_read(&reader, &r, &rec);
		cr_assert(e == OK || e == ERR_END, "%d at byte %lu", e, to);
		cr_assert(e != OK || reader.at == to, "byte %lu", to);
		cr_assert(e == OK || !memcmp(&before, &reader.base[0], sizeof(before)), "deltas start from where they did");
		read += e == OK;
	}
	cr_assert_eq(read, 11);
}

Test(ft_log, whole_or_not_at_all)
{
	const struct ft_page some = { 0, 1, page };
	const struct rec_event ev = { .kind = REC_INPUT, .at = { 1500, 2500, 3 }, .input = { INPUT_CONSOLE, 0, page, 1000 } };
	struct rec_base base;
	u64 end;

	begin();
	while (ft_sender_room(&s) > 900)
		cr_assert(ft_log_pad(&w));
	end = s.end;
	base = w.base;
	cr_assert_not(ft_log_page(&w, &some));
	cr_assert_not(ft_log_event(&w, &ev));
	cr_assert_not(ft_log_state(&w, page, 1000));
	cr_assert(s.end == end && !memcmp(&base, &w.base, sizeof(base)));
	cr_assert(ft_log_progress(&w, 1500, 2500), "a small one fits");
	cr_assert_not(ft_log_progress(&w, 1400, 2500), "a point before the last is none");
}

static err_t reads(const u8 *rec, u32 n)
{
	struct ft_record out;

	cr_assert(ft_receiver_put(&r, (u32)r.end, rec, n));
	return ft_log_read(&reader, &r, &out);
}
#define READS(...) reads((const u8[]){ __VA_ARGS__ }, sizeof((const u8[]){ __VA_ARGS__ }))

Test(ft_log, makes_no_sense)
{
	static const u8 big[] = { FT_PAGE, 0, 1, 0x81, 0x20 }, odd[] = { FT_PAGE, 0, 1, 100 };

	cr_assert_eq(READS(0), ERR_DAMAGED, "no kind");
	setup();
	cr_assert_eq(READS(FT_PAD | 0x10), ERR_DAMAGED, "flags that are none");
	setup();
	cr_assert_eq(READS(FT_PROGRESS, 1, 1), ERR_DAMAGED, "a point, and nowhere to start from");
	setup();
	cr_assert_eq(READS(FT_RELEASED, 1), ERR_DAMAGED, "before START");
	setup();
	cr_assert_eq(reads(big, sizeof(big)), ERR_DAMAGED, "a page that is larger than one");
	setup();
	cr_assert_eq(reads(odd, sizeof(odd)), ERR_DAMAGED, "a part of a page");
	setup();
	cr_assert_eq(READS(FT_STATE, 0x81, 0x20), ERR_DAMAGED, "more than a part of a state");
	setup();
	begin();
	arrives(s.end);
	for (unsigned i = 0; i < 5; i++)
		next();
	cr_assert_eq(READS(FT_STATE, 1, 0), ERR_DAMAGED, "behind START");
}
