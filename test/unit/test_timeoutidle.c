/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "qmail/timeoutidle.h"

#include "home.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const char path[] = "timeoutidle";

static void
reads_three_numbers(void **state)
{
	static const struct {
		const char *text;
		struct timeoutidle want;
		unsigned long fault;
	} cases[] = {
		{ "", { 0, 20, 2 }, 0 },
		{ "\n", { 0, 20, 2 }, 0 },
		{ "0\n", { 0, 20, 2 }, 0 },
		{ "30\n", { 30, 20, 2 }, 0 },
		{ "30", { 30, 20, 2 }, 0 },
		{ "30\n5\n", { 30, 5, 2 }, 0 },
		{ "30\n5\n1\n", { 30, 5, 1 }, 0 },
		{ "30\n5\n1", { 30, 5, 1 }, 0 },
		{ "30\n\n1\n", { 30, 20, 1 }, 0 },
		{ "30\n5\n \t\n", { 30, 5, 2 }, 0 },
		{ "\n5\n1\n", { 0, 5, 1 }, 0 },
		{ "30\r\n5\r\n\r\n", { 30, 5, 2 }, 0 },
		{ "30 \t\r\n5 # in all\n1\t#\n", { 30, 5, 1 }, 0 },
		{ "\xef\xbb\xbf"
		  "30\n5\n",
		    { 30, 5, 2 }, 0 },
		{ "30\n5\n1\nx\n", { 30, 5, 1 }, 0 },
		{ "300\n1000\n1000\n", { 300, 1000, 1000 }, 0 },
		{ "301\n1001\n1001\n", { 300, 1000, 1000 }, 0 },
		{ "99999999999999999999\n0\n0\n", { 300, 0, 0 }, 0 },
		{ "x\n", { 0, 20, 2 }, 1 },
		{ "-1\n", { 0, 20, 2 }, 1 },
		{ "30s\n", { 0, 20, 2 }, 1 },
		{ "30 5 1\n", { 0, 20, 2 }, 1 },
		{ " 30\n", { 0, 20, 2 }, 1 },
		{ "30.5\n", { 0, 20, 2 }, 1 },
		{ "30#\n", { 0, 20, 2 }, 1 },
		{ "# 30\n", { 0, 20, 2 }, 1 },
		{ " # 30\n", { 0, 20, 2 }, 1 },
		{ "30\nx\n1\n", { 0, 20, 2 }, 2 },
		{ "30\n5\n1x\n", { 0, 5, 1 }, 3 },
		{ "30\n5\nx", { 0, 5, 2 }, 3 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct timeoutidle *want = &cases[i].want;
		struct buf text = { 0 };
		struct timeoutidle t, parsed;
		unsigned long fault;

		home_put(path, cases[i].text);
		timeoutidle_read(&t, path);
		buf_puts(&text, cases[i].text);
		fault = timeoutidle_parse(&parsed, &text);
		buf_finish(&text);
		if (t.seconds != want->seconds || t.seconds != parsed.seconds ||
		    fault != cases[i].fault)
			fail_msg("%s: %lu %lu", cases[i].text, t.seconds,
			    fault);
		if (fault > 0)
			continue;
		assert_int_equal(t.total, want->total);
		assert_int_equal(t.per_key, want->per_key);
		assert_int_equal(parsed.total, want->total);
		assert_int_equal(parsed.per_key, want->per_key);
	}
	assert_int_equal(unlink(path), 0);
}

/* It does not concern the mail. */
static void
keeps_nothing_if_it_cannot_be_read(void **state)
{
	struct timeoutidle t = { .seconds = 1 };

	(void)state;
	timeoutidle_read(&t, path);
	assert_int_equal(t.seconds, 0);
	assert_int_equal(t.total, TIMEOUTIDLE_TOTAL);
	assert_int_equal(t.per_key, TIMEOUTIDLE_PER_KEY);
	t.seconds = 1;
	assert_int_equal(mkdir(path, 0700), 0);
	timeoutidle_read(&t, path);
	assert_int_equal(t.seconds, 0);
	assert_int_equal(rmdir(path), 0);
	t.seconds = 1;
	home_put(path, "30\n");
	assert_int_equal(truncate(path, (1 << 20) + 1), 0);
	timeoutidle_read(&t, path);
	assert_int_equal(t.seconds, 0);
	assert_int_equal(unlink(path), 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_three_numbers),
		cmocka_unit_test(keeps_nothing_if_it_cannot_be_read),
	};

	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
