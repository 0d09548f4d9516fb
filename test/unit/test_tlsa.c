/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/tlsa.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void
comes_through_as_text(void **state)
{
	struct tlsa_set set = { 0 }, back = { 0 };
	struct buf word = { 0 };

	(void)state;
	assert_true(tlsa_add(&set, 3, 1, 1, "\x00\xff\x12", 3));
	assert_true(tlsa_add(&set, 255, 0, 2, "", 0));
	tlsa_format(&set, &word);
	assert_string_equal(buf_text(&word), "3-1-1-00ff12,255-0-2-");
	assert_true(tlsa_parse(&back, buf_text(&word)));
	assert_int_equal(back.n, 2);
	assert_int_equal(back.record[0].usage, 3);
	assert_int_equal(back.record[0].selector, 1);
	assert_int_equal(back.record[0].matching, 1);
	assert_memory_equal(tlsa_data(&back, 0), "\x00\xff\x12", 3);
	assert_int_equal(back.record[1].usage, 255);
	assert_int_equal(back.record[1].n, 0);
	tlsa_finish(&set);
	tlsa_finish(&back);
	buf_finish(&word);
}

static void
refuses_other_words(void **state)
{
	static const char *const words[] = { "", ",", "3-1-1", "3-1-1-0",
		"3-1-1-0g", "3-1-1-AB", "3-1-1-00,", "-1-1-00", "3--1-00",
		"256-1-1-00", "3 1 1 00", "3-1-1-00 ", "3-1-1-00,3-1-00" };

	(void)state;
	for (size_t i = 0; i < COUNT(words); i++) {
		struct tlsa_set set = { 0 };

		if (tlsa_parse(&set, words[i]))
			fail_msg("%s", words[i]);
		tlsa_finish(&set);
	}
}

static void
is_bounded(void **state)
{
	static const char data[TLSA_BYTES_MAX + 1];
	struct tlsa_set set = { 0 };

	(void)state;
	assert_false(tlsa_add(&set, 3, 1, 0, data, sizeof data));
	assert_int_equal(set.n, 0);
	assert_true(tlsa_add(&set, 3, 1, 0, data, sizeof data - 1));
	assert_false(tlsa_add(&set, 3, 1, 0, data, 1));
	for (size_t i = 1; i < TLSA_RECORDS_MAX; i++)
		assert_true(tlsa_add(&set, 3, 1, 0, data, 0));
	assert_false(tlsa_add(&set, 3, 1, 0, data, 0));
	tlsa_finish(&set);
}

static void
knows_what_can_be_used(void **state)
{
	static const char data[64];
	static const struct {
		uint8_t usage, selector, matching;
		size_t n;
		bool is_usable;
	} cases[] = {
		{ 3, 1, 1, 32, true },
		{ 3, 0, 1, 32, true },
		{ 2, 0, 2, 64, true },
		{ 2, 1, 0, 1, true },
		{ 0, 1, 1, 32, false },
		{ 1, 1, 1, 32, false },
		{ 4, 1, 1, 32, false },
		{ 255, 1, 1, 32, false },
		{ 3, 2, 1, 32, false },
		{ 3, 255, 1, 32, false },
		{ 3, 1, 3, 32, false },
		{ 3, 1, 255, 32, false },
		{ 3, 1, 1, 31, false },
		{ 3, 1, 1, 64, false },
		{ 3, 1, 2, 32, false },
		{ 3, 1, 0, 0, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct tlsa_set set = { 0 };

		assert_true(tlsa_add(&set, cases[i].usage, cases[i].selector,
		    cases[i].matching, data, cases[i].n));
		if (tlsa_is_usable(&set, 0) != cases[i].is_usable)
			fail_msg("case %zu", i);
		tlsa_finish(&set);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_through_as_text),
		cmocka_unit_test(refuses_other_words),
		cmocka_unit_test(is_bounded),
		cmocka_unit_test(knows_what_can_be_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
