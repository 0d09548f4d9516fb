/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/dsn.h"

static void
cleans_and_cuts(void **state)
{
	static char long_text[2000];
	static const struct {
		const char *name;
		const char *in;
		const char *out;
	} cases[] = {
		{ "plain", "Sorry. (1)", "Sorry. (1)" },
		{ "empty", "", "" },
		{ "line end", "one\ntwo", "one\ntwo" },
		{ "CR", "a\rb", "a?b" },
		{ "tab", "a\tb", "a?b" },
		{ "escape, DEL, bell", "\033[1m\x7f\a", "?[1m??" },
		{ "8-bit", "caf\xc3\xa9 \x80\x9b\xff", "caf?? ???" },
		{ "format letters", "%s%n", "%s%n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dsn why = { 0 };

		if (dsn_set(&why, "4.4.1", "%s", cases[i].in) != -1 ||
		    dsn_detail(&why, "%s", cases[i].in) != -1)
			fail_msg("%s: not -1", cases[i].name);
		if (strcmp(why.text, cases[i].out) != 0 ||
		    strcmp(why.detail, cases[i].out) != 0)
			fail_msg("%s: %s, %s", cases[i].name, why.text,
			    why.detail);
	}
	memset(long_text, 'x', sizeof long_text - 1);
	for (size_t n = 0; n < sizeof long_text; n += 13) {
		struct dsn why = { 0 };
		size_t text = n < sizeof why.text ? n : sizeof why.text - 1;
		size_t detail =
		    n < sizeof why.detail ? n : sizeof why.detail - 1;

		dsn_set(&why, "5.1.2", "%.*s", (int)n, long_text);
		dsn_detail(&why, "%.*s", (int)n, long_text);
		if (strlen(why.text) != text || strlen(why.detail) != detail)
			fail_msg("%zu: %zu and %zu", n, strlen(why.text),
			    strlen(why.detail));
	}
}

static void
forgets_the_detail(void **state)
{
	struct dsn why = { 0 };

	(void)state;
	dsn_set(&why, "4.4.1", "first");
	dsn_detail(&why, "refused");
	dsn_set(&why, "4.4.3", "second");
	assert_string_equal(why.detail, "");
	assert_string_equal(why.text, "second");
	assert_string_equal(why.status, "4.4.3");
}

static void
has_a_class(void **state)
{
	static const struct {
		const char *status;
		bool is_temporary;
	} cases[] = { { "4.4.1", true }, { "5.1.2", false }, { "4.5.5", true },
		{ "5.4.4", false }, { "5.999.999", false } };
	struct dsn none = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dsn why = { 0 };

		dsn_set(&why, cases[i].status, "x");
		if (dsn_is_temporary(&why) != cases[i].is_temporary)
			fail_msg("%s", cases[i].status);
		if (strcmp(why.status, cases[i].status) != 0)
			fail_msg("%s: %s", cases[i].status, why.status);
	}
	/* Without a status, mail must not bounce. */
	assert_true(dsn_is_temporary(&none));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cleans_and_cuts),
		cmocka_unit_test(forgets_the_detail),
		cmocka_unit_test(has_a_class),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
