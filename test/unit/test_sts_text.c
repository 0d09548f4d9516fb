/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "sts/text.h"

static struct sts_text
text(const char *s)
{
	return (struct sts_text){ s, strlen(s) };
}

static void
is(struct sts_text t, const char *want)
{
	assert_int_equal(t.n, strlen(want));
	assert_memory_equal(t.at, want, t.n);
}

static void
cuts_at_a_separator(void **state)
{
	struct sts_text rest = text("a;;b"), part;

	(void)state;
	assert_true(sts_text_cut(&rest, ';', &part));
	is(part, "a");
	is(rest, ";b");
	assert_true(sts_text_cut(&rest, ';', &part));
	is(part, "");
	assert_false(sts_text_cut(&rest, ';', &part));
	is(part, "b");
	is(rest, "");
	assert_false(sts_text_cut(&rest, ';', &part));
	is(part, "");
}

static void
takes_lines(void **state)
{
	struct sts_text rest = text("a\r\n\n\r\nx\nb\r\rc\r"), line;

	(void)state;
	assert_true(sts_text_line(&rest, &line));
	is(line, "a");
	assert_true(sts_text_line(&rest, &line));
	is(line, "");
	assert_true(sts_text_line(&rest, &line));
	is(line, "");
	assert_true(sts_text_line(&rest, &line));
	is(line, "x");
	/* A CR alone ends no line. */
	assert_true(sts_text_line(&rest, &line));
	is(line, "b\r\rc\r");
	assert_false(sts_text_line(&rest, &line));
}

static void
trims_and_compares(void **state)
{
	struct sts_text t = text("id=x");

	(void)state;
	is(sts_text_trim(text(" \ta b\t ")), "a b");
	is(sts_text_trim(text("  ")), "");
	is(sts_text_trim(text("")), "");
	assert_true(sts_text_is(text("mode"), "mode"));
	assert_false(sts_text_is(text("Mode"), "mode"));
	assert_false(sts_text_is(text("mod"), "mode"));
	assert_true(sts_text_is_like(text("Mode"), "mode"));
	assert_false(sts_text_is_like(text("modes"), "mode"));
	assert_false(sts_text_is_like(text("node"), "mode"));
	assert_false(sts_text_skip(&t, "id:"));
	assert_false(sts_text_skip(&t, "id=xy"));
	assert_true(sts_text_skip(&t, "id="));
	is(t, "x");
}

static void
is_made_of_a_buffer(void **state)
{
	struct buf b = { 0 };

	(void)state;
	is(sts_text_of(&b), "");
	buf_puts(&b, "abc");
	is(sts_text_of(&b), "abc");
	buf_finish(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cuts_at_a_separator),
		cmocka_unit_test(takes_lines),
		cmocka_unit_test(trims_and_compares),
		cmocka_unit_test(is_made_of_a_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
