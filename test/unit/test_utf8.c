/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/utf8.h"

/* Each character is read as it is written, and no shorter piece of it is. */
static void
reads_what_it_writes(void **state)
{
	char text[4];

	(void)state;
	for (uint32_t c = 0; c <= 0x10ffff; c++) {
		size_t n = utf8_write(text, c);
		uint32_t back = 0xffffffff;
		bool is_surrogate = c >= 0xd800 && c <= 0xdfff;

		if (utf8_read(text, n, &back) != (is_surrogate ? 0 : n) ||
		    (!is_surrogate && back != c))
			fail_msg("U+%04x: %zu bytes", (unsigned)c, n);
		for (size_t i = 0; i < n; i++)
			if (utf8_read(text, i, &back) != 0)
				fail_msg("U+%04x: %zu bytes are enough",
				    (unsigned)c, i);
		assert_int_equal(utf8_is_ascii(text, n), c < 128);
	}
}

static void
knows_what_is_utf8(void **state)
{
	static const struct {
		const char *text;
		bool is_valid, is_ascii;
	} cases[] = {
		{ "", true, true },
		{ "a~\x7f", true, true },
		{ "\xc2\x80", true, false },
		{ "p\xc3\xa9l\xc3\xa9", true, false },
		{ "\xef\xbf\xbf", true, false },
		{ "\xf4\x8f\xbf\xbf", true, false },
		/* Latin-1. */
		{ "p\xe9l\xe9", false, false },
		{ "\xe9", false, false },
		/* Overlong. */
		{ "\xc0\x80", false, false },
		{ "\xc1\xbf", false, false },
		{ "\xe0\x9f\xbf", false, false },
		{ "\xf0\x8f\xbf\xbf", false, false },
		/* Above U+10FFFF, and bytes that UTF-8 does not have. */
		{ "\xf4\x90\x80\x80", false, false },
		{ "\xf5\x80\x80\x80", false, false },
		{ "\xf8\x88\x80\x80\x80", false, false },
		{ "\xfe", false, false },
		{ "\xff", false, false },
		/* Surrogates. */
		{ "\xed\xa0\x80", false, false },
		{ "\xed\xbf\xbf", false, false },
		/* Cut off, or out of order. */
		{ "a\xc3", false, false },
		{ "\xe2\x82", false, false },
		{ "\xf0\x9f\x98", false, false },
		{ "\xe2\x82x", false, false },
		{ "\x80", false, false },
		{ "\xc3\xc3\xa9", false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *text = cases[i].text;
		size_t n = strlen(text);

		if (utf8_is_valid(text, n) != cases[i].is_valid ||
		    utf8_is_ascii(text, n) != cases[i].is_ascii ||
		    utf8_is_international(text, n) !=
			(cases[i].is_valid && !cases[i].is_ascii))
			fail_msg("case %zu: %s", i, text);
	}
	/* A NUL is a character like others. */
	assert_true(utf8_is_international("\0\xc3\xa9", 3));
	assert_false(utf8_is_valid("\0\xe9", 2));
}

static void
knows_what_may_be_a_domain_in_utf8(void **state)
{
	(void)state;
	assert_false(utf8_may_be_idn("dst.example", 11));
	assert_false(utf8_may_be_idn("", 0));
	assert_false(utf8_may_be_idn("xn--", 3));
	assert_true(utf8_may_be_idn("b@dst.xN--a.example", 19));
	assert_true(utf8_may_be_idn("xn--", 4));
	assert_true(utf8_may_be_idn("\xe9.example", 9));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_it_writes),
		cmocka_unit_test(knows_what_is_utf8),
		cmocka_unit_test(knows_what_may_be_a_domain_in_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
