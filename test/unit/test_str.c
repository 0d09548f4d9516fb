/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "base/str.h"

/* All 256 bytes, against a list: the locale does not matter. */
static void
classifies_bytes(void **state)
{
	static const char upper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	static const char lower[] = "abcdefghijklmnopqrstuvwxyz";
	static const char digits[] = "0123456789";

	(void)state;
	for (int i = 0; i < 256; i++) {
		char c = (char)i;
		const char *at = c ? strchr(upper, c) : NULL;
		bool is_digit = c && strchr(digits, c);
		bool is_letter = at || (c && strchr(lower, c));

		if (str_lower(c) != (at ? lower[at - upper] : c))
			fail_msg("byte %d: lower %d", i, str_lower(c));
		if (str_is_digit(c) != is_digit)
			fail_msg("byte %d: digit", i);
		if (str_is_alnum(c) != (is_digit || is_letter))
			fail_msg("byte %d: letter or digit", i);
	}
}

static void
compares_without_case(void **state)
{
	static const struct {
		const char *a, *b;
		size_t n;
		bool want;
	} cases[] = {
		{ "", "", 0, true },
		{ "a", "b", 0, true },
		{ "StartTLS", "STARTTLS", 8, true },
		{ "abc", "abd", 2, true },
		{ "abc", "abd", 3, false },
		{ "a\0b", "A\0B", 3, true },
		{ "a\0b", "A\0C", 3, false },
		{ "[", "{", 1, false },
		{ "@", "`", 1, false },
		{ "\xc4", "\xe4", 1, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (str_case_equal(cases[i].a, cases[i].b, cases[i].n) !=
		    cases[i].want)
			fail_msg("%s and %s", cases[i].a, cases[i].b);
}

static void
reads_numbers(void **state)
{
	static const struct {
		const char *text;
		unsigned long limit;
		size_t digits;
		unsigned long value; /* 77 if untouched */
	} cases[] = {
		{ "0", ULONG_MAX, 1, 0 },
		{ "60", ULONG_MAX, 2, 60 },
		{ "0060x", ULONG_MAX, 4, 60 },
		{ "", ULONG_MAX, 0, 77 },
		{ "x1", ULONG_MAX, 0, 77 },
		{ " 1", ULONG_MAX, 0, 77 },
		{ "-1", ULONG_MAX, 0, 77 },
		{ "+1", ULONG_MAX, 0, 77 },
		{ "1.5", ULONG_MAX, 1, 1 },
		{ "65535", 65535, 5, 65535 },
		{ "65536", 65535, 5, 65535 },
		{ "655350", 65535, 6, 65535 },
		{ "7", 5, 1, 5 },
		{ "70", 5, 2, 5 },
		{ "07", 5, 2, 5 },
		{ "9", 0, 1, 0 },
		{ "18446744073709551615", ULONG_MAX, 20, ULONG_MAX },
		{ "18446744073709551616", ULONG_MAX, 20, ULONG_MAX },
		{ "99999999999999999999999999", ULONG_MAX, 26, ULONG_MAX },
		{ "99999999999999999999999999", 604800, 26, 604800 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		unsigned long value = 77;
		size_t n = str_number(cases[i].text, strlen(cases[i].text),
		    cases[i].limit, &value);

		if (n != cases[i].digits || value != cases[i].value)
			fail_msg("%s up to %lu: %zu digits, %lu", cases[i].text,
			    cases[i].limit, n, value);
	}
	for (unsigned long limit = 0; limit < 120; limit++) {
		for (unsigned long want = 0; want < 1300; want++) {
			char text[8] = { (char)('0' + want / 1000),
				(char)('0' + want / 100 % 10),
				(char)('0' + want / 10 % 10),
				(char)('0' + want % 10) };
			unsigned long value = 0;

			str_number(text, 4, limit, &value);
			if (value != (want < limit ? want : limit))
				fail_msg("%s up to %lu: %lu", text, limit,
				    value);
		}
	}
}

/* Also if unsigned long has 32 bits. */
static void
reads_64_bits(void **state)
{
	static const struct {
		const char *text;
		uint64_t value;
	} cases[] = {
		{ "4294967295", UINT32_MAX },
		{ "4294967296", UINT64_C(1) << 32 },
		{ "4600000000", UINT64_C(4600000000) },
		{ "18446744073709551615", UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX },
		{ "99999999999999999999", UINT64_MAX },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t n = strlen(cases[i].text);
		uint64_t value = 0;

		if (str_number64(cases[i].text, n, UINT64_MAX, &value) != n ||
		    value != cases[i].value)
			fail_msg("%s: %" PRIu64, cases[i].text, value);
	}
}

static void
stops_at_the_end(void **state)
{
	const char text[3] = { '1', '2', '3' };
	unsigned long value = 0;

	(void)state;
	assert_int_equal(str_number(text, 2, 1000, &value), 2);
	assert_int_equal(value, 12);
}

static void
copies_what_fits(void **state)
{
	static const struct {
		const char *src;
		size_t size;
		int want;
		const char *dst;
	} cases[] = {
		{ "", 1, 0, "" },
		{ "abc", 4, 0, "abc" },
		{ "abc", 10, 0, "abc" },
		{ "abc", 3, -1, "ab" },
		{ "abc", 1, -1, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char dst[12] = "###########";
		int got = str_copy(dst, cases[i].size, cases[i].src);

		if (got != cases[i].want || strcmp(dst, cases[i].dst) != 0 ||
		    dst[cases[i].size] != '#')
			fail_msg("%s into %zu: %d, %s", cases[i].src,
			    cases[i].size, got, dst);
	}
}

/* The values are those of the definition of FNV-1a. */
static void
hashes_each_byte(void **state)
{
	(void)state;
	assert_true(str_hash(STR_HASH_START, "") == STR_HASH_START);
	assert_true(str_hash(STR_HASH_START, "a") ==
		    UINT64_C(0xaf63dc4c8601ec8c));
	assert_true(str_hash(STR_HASH_START, "foobar") ==
		    UINT64_C(0x85944171f73967e8));
	assert_true(str_hash(str_hash(STR_HASH_START, "foo"), "bar") ==
		    str_hash(STR_HASH_START, "foobar"));
	assert_true(str_hash(1, "foobar") != str_hash(2, "foobar"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(classifies_bytes),
		cmocka_unit_test(compares_without_case),
		cmocka_unit_test(reads_numbers),
		cmocka_unit_test(reads_64_bits),
		cmocka_unit_test(stops_at_the_end),
		cmocka_unit_test(copies_what_fits),
		cmocka_unit_test(hashes_each_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
