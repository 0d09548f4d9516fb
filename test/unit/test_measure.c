/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "smtp/measure.h"

static const struct {
	const char *text;
	uint64_t size;
	bool has_8bit;
} cases[] = {
	{ "", 0, false },
	{ "\n", 2, false },
	{ "a", 3, false },
	{ "a\n", 3, false },
	{ "a\nb", 6, false },
	{ "a\n\n", 5, false },
	{ "a\r\n", 3, false },
	{ "\r\n", 2, false },
	{ "a\r\r\n", 4, false },
	{ "\ra\n", 4, false },
	{ "a\r", 4, false },
	/* Dots that are doubled on the way do not count (RFC 1870). */
	{ ".\n..\n", 7, false },
	{ "\xc3\xa9\n", 4, true },
	{ "0123456789abcdef\x80\n", 19, true },
	{ "0123\x80"
	  "56789abcdef\n",
	    18, true },
	{ "\x80\n\x80\n", 6, true },
};

/* In one piece, or in any two. */
static void
measures(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *text = cases[i].text;
		size_t n = strlen(text);

		for (size_t cut = 0; cut <= n; cut++) {
			struct smtp_measure m = { 0 };

			smtp_measure_add(&m, text, cut);
			smtp_measure_add(&m, text + cut, n - cut);
			smtp_measure_end(&m);
			assert_int_equal(m.size, cases[i].size);
			assert_int_equal(m.has_8bit, cases[i].has_8bit);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(measures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
