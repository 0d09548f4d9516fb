/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/mask.h"

/* The masked text, in a copy of exactly that size; freed by the caller. */
static char *
masked(const struct mask *m, const char *text, size_t n)
{
	char *copy = malloc(n + 1);
	size_t left;

	assert_non_null(copy);
	memcpy(copy, text, n);
	left = mask_apply(m, copy, n);
	assert_true(left <= n);
	copy[left] = '\0';
	return copy;
}

static void
check(const char *name, const struct mask *m, const char *text,
    const char *want)
{
	char *got = masked(m, text, strlen(text));

	if (strcmp(got, want) != 0)
		fail_msg("%s: %s", name, got);
	free(got);
}

static void
hides_nothing_when_zeroed(void **state)
{
	struct mask m = { 0 };

	(void)state;
	check("zeroed", &m, "250 anything\n", "250 anything\n");
	check("empty", &m, "", "");
	assert_int_equal(mask_apply(&m, NULL, 0), 0);
	mask_finish(&m);
	mask_finish(&m);
}

/* The secret is "correct-horse", the name "relay@example.org". */
static void
hides_secrets_and_names(void **state)
{
	static const struct {
		const char *name, *text, *want;
	} cases[] = {
		{ "nothing", "250 ok\n", "250 ok\n" },
		{ "the secret", "535 correct-horse?\n", "535 *?\n" },
		{ "twice", "correct-horse correct-horse", "* *" },
		{ "one behind the other", "correct-horsecorrect-horse", "**" },
		{ "in another case", "535 CORRECT-Horse\n", "535 *\n" },
		{ "as in base64url", "535 correct+horse\n", "535 *\n" },
		{ "within a word", "xcorrect-horsex", "x*x" },
		{ "its first 8 bytes", "535 correct-...", "535 *..." },
		{ "its first 7 bytes", "535 correct...", "535 correct..." },
		{ "its first 4 bytes, at the end", "535 corr", "535 *" },
		{ "its first 3 bytes, at the end", "535 cor", "535 cor" },
		{ "the end of it", "535 orrect-horse\n", "535 orrect-horse\n" },
		{ "the name", "535 <relay@example.org>\n", "535 <*>\n" },
		{ "a part of the name", "535 relay@example\n",
		    "535 relay@example\n" },
		{ "a part of the name, at the end", "535 relay@example.or",
		    "535 relay@example.or" },
		/* LOGIN. */
		{ "the secret in base64", "500 Y29ycmVjdC1ob3JzZQ==\n",
		    "500 *\n" },
		{ "cut", "500 Y29ycmVjdC1o\n", "500 *\n" },
		{ "the name in base64", "500 cmVsYXlAZXhhbXBsZS5vcmc=\n",
		    "500 *\n" },
		{ "in lower case", "500 y29ycmvjdc1ob3jzzq==\n", "500 *\n" },
		/* PLAIN: NUL, name, NUL, secret. */
		{ "PLAIN",
		    "500 AUTH PLAIN "
		    "AHJlbGF5QGV4YW1wbGUub3JnAGNvcnJlY3QtaG9yc2U= what?\n",
		    "500 AUTH PLAIN * what?\n" },
		{ "behind a code",
		    "500-AHJlbGF5QGV4YW1wbGUub3JnAGNvcnJlY3QtaG9yc2U=\n",
		    "500-*\n" },
		{ "in quotation marks",
		    "500 \"AHJlbGF5QGV4YW1wbGUub3JnAGNvcnJlY3QtaG9yc2U=\"\n",
		    "500 \"*\"\n" },
	};
	struct mask m = { 0 };

	(void)state;
	mask_add_secret(&m, "correct-horse", 13);
	mask_add_name(&m, "relay@example.org", 17);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check(cases[i].name, &m, cases[i].text, cases[i].want);
	mask_finish(&m);
	assert_int_equal(m.n, 0);
}

/* Wherever it begins in what is encoded, and whatever is around it. */
static void
finds_a_secret_inside_base64(void **state)
{
	static const char secret[] = "pass5";
	struct mask m = { 0 };

	(void)state;
	mask_add_secret(&m, secret, strlen(secret));
	for (size_t before = 0; before < 20; before++)
		for (size_t behind = 0; behind < 20; behind++) {
			struct buf raw = { 0 }, text = { 0 };
			char *got;

			for (size_t i = 0; i < before; i++)
				buf_putc(&raw, (char)(i * 37));
			buf_puts(&raw, secret);
			for (size_t i = 0; i < behind; i++)
				buf_putc(&raw, (char)(i * 91));
			buf_puts(&text, "500 ");
			base64_encode(&text, raw.data, raw.len);
			buf_puts(&text, "\n");
			got = masked(&m, text.data, text.len);
			if (strcmp(got, "500 *\n") != 0)
				fail_msg("%zu before, %zu behind: %s", before,
				    behind, got);
			free(got);
			buf_finish(&raw);
			buf_finish(&text);
		}
	mask_finish(&m);
}

/* To hide each "abc" would tell that it is the secret. */
static void
does_not_look_for_short_secrets(void **state)
{
	struct mask m = { 0 };

	(void)state;
	mask_add_secret(&m, "abc", 3);
	mask_add_secret(&m, "", 0);
	mask_add_name(&m, "x", 1);
	check("short", &m, "250 abc x YWJj\n", "250 abc x YWJj\n");
	/* But what was sent of it. */
	mask_add_encoded(&m, "YWJj", 4);
	mask_add_encoded(&m, "", 0);
	check("as sent", &m, "250 abc x YWJj\n", "250 abc x *\n");
	mask_finish(&m);
}

static void
hides_what_was_sent(void **state)
{
	static const struct {
		const char *name, *text, *want;
	} cases[] = {
		{ "all of it", "500 AHVzZXIAYWJj.\n", "500 *.\n" },
		{ "its beginning", "500 AHVzZXIA\n", "500 *\n" },
		{ "cut by us", "500 AHVzZ", "500 *" },
		{ "something else", "500 AHVzZ\n", "500 AHVzZ\n" },
	};
	struct mask m = { 0 };

	(void)state;
	mask_add_encoded(&m, "AHVzZXIAYWJj", 12);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check(cases[i].name, &m, cases[i].text, cases[i].want);
	mask_finish(&m);
}

/* From any place on, a range never begins before it. */
static void
tells_ranges_in_order(void **state)
{
	static const char text[] = "a secret, c2VjcmV0 secret";
	struct mask m = { 0 };
	size_t start, end = 0;

	(void)state;
	mask_add_secret(&m, "secret", 6);
	assert_true(mask_next(&m, text, sizeof text - 1, &start, &end));
	assert_int_equal(start, 2);
	assert_int_equal(end, 8);
	assert_true(mask_next(&m, text, sizeof text - 1, &start, &end));
	assert_int_equal(start, 10);
	assert_int_equal(end, 18);
	assert_true(mask_next(&m, text, sizeof text - 1, &start, &end));
	assert_int_equal(start, 19);
	assert_int_equal(end, 25);
	assert_false(mask_next(&m, text, sizeof text - 1, &start, &end));
	mask_finish(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hides_nothing_when_zeroed),
		cmocka_unit_test(hides_secrets_and_names),
		cmocka_unit_test(finds_a_secret_inside_base64),
		cmocka_unit_test(does_not_look_for_short_secrets),
		cmocka_unit_test(hides_what_was_sent),
		cmocka_unit_test(tells_ranges_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
