/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/idn_none.c"

/* The module of a build without libidn2. */
static void
refuses_all_but_ascii(void **state)
{
	static const char domain[] = u8"b\u00fccher.example";
	struct buf b = { 0 };
	const char *fault;

	(void)state;
	assert_false(idn_is_supported());
	fault = idn_to_ascii(&b, domain, sizeof domain - 1);
	assert_non_null(strstr(fault, "libidn2"));
	assert_int_equal(b.len, 0);
	assert_null(idn_to_ascii(&b, ".Dst.xn--a.", 11));
	assert_string_equal(buf_text(&b), ".Dst.xn--a.");
	buf_finish(&b);
}

static unsigned needs;

static void
count(void)
{
	needs++;
}

static void
asks_for_a_program_that_can(void **state)
{
	struct buf b = { 0 };

	(void)state;
	idn_on_need(count);
	assert_null(idn_to_ascii(&b, "dst.example", 11));
	assert_int_equal(needs, 0);
	assert_non_null(idn_to_ascii(&b, u8"\u00fc", 2));
	assert_int_equal(needs, 1);
	buf_finish(&b);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_all_but_ascii),
		cmocka_unit_test(asks_for_a_program_that_can),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
