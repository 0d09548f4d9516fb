/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "sts/policy.h"

#define HEAD "version: STSv1\n"
#define AGE "max_age: 86400\n"
#define GOOD HEAD "mode: enforce\n" AGE "mx: a.example\n"

/* What a policy file says: "mode max_age patterns", or why it is refused. */
static const struct {
	const char *name, *body, *want;
} cases[] = {
	{ "plain", GOOD, "enforce 86400 a.example" },
	{ "CRLF", "version: STSv1\r\nmode: testing\r\nmax_age: 1\r\nmx: a\r\n",
	    "testing 1 a" },
	{ "CRLF and LF", "version: STSv1\r\nmode: testing\nmax_age: 1\r\nmx: a",
	    "testing 1 a" },
	{ "no last line end", HEAD "mode: none\nmax_age: 7", "none 7" },
	{ "any order", "mx: b\nmax_age: 7\nmx: a\nmode: enforce\n" HEAD,
	    "enforce 7 b a" },
	{ "byte order mark", "\xef\xbb\xbf" GOOD, "enforce 86400 a.example" },
	{ "no blanks", "version:STSv1\nmode:enforce\nmax_age:5\nmx:a\n",
	    "enforce 5 a" },
	{ "many blanks",
	    "version: \t STSv1 \t\nmode:  enforce \n"
	    "max_age:  5\t\nmx:\ta \n",
	    "enforce 5 a" },
	{ "empty lines", "\n\r\n" GOOD "\n\n", "enforce 86400 a.example" },
	{ "unknown keys", "x: y\n" GOOD "mxs: b\nMX: c\nmx : d\n",
	    "enforce 86400 a.example" },
	{ "lines of another form", GOOD "junk\n<html>\n",
	    "enforce 86400 a.example" },
	{ "repeated keys", GOOD "mode: none\nmax_age: 1\nversion: STSv2\n",
	    "enforce 86400 a.example" },
	{ "repeated, the first is invalid",
	    HEAD "mode: x\nmode: enforce\n" AGE "mx: a\n",
	    "the policy has no valid mode" },
	{ "max_age 0", HEAD "mode: none\nmax_age: 0\n", "none 0" },
	{ "greatest max_age", HEAD "mode: none\nmax_age: 31557600\n",
	    "none 31557600" },
	{ "above it", HEAD "mode: none\nmax_age: 31557601\n", "none 31557600" },
	{ "ten digits", HEAD "mode: none\nmax_age: 9999999999\n",
	    "none 31557600" },
	{ "leading zeros", HEAD "mode: none\nmax_age: 0000000012\n",
	    "none 12" },
	{ "wildcards", HEAD "mode: enforce\n" AGE "mx: *.a\nmx: B.example.\n",
	    "enforce 86400 *.a B.example." },
	{ "mx that matches nothing among others",
	    GOOD "mx:\nmx: 192.0.2.1\nmx: a.*.b\nmx: [::1]\nmx: x y\nmx: *\n"
		 "mx: *.\nmx: .a\nmx: a..\nmx: a..b\nmx: *.*.a\nmx: "
		 "b\xc3\xbc.example\n",
	    "enforce 86400 a.example" },
	{ "none with mx", HEAD "mode: none\n" AGE "mx: a\n", "none 86400 a" },

	{ "empty", "", "the policy has no version STSv1" },
	{ "no version", "mode: none\n" AGE, "the policy has no version STSv1" },
	{ "other version", "version: STSv2\nmode: none\n" AGE,
	    "the policy has no version STSv1" },
	{ "version in lower case", "version: stsv1\nmode: none\n" AGE,
	    "the policy has no version STSv1" },
	{ "no mode", HEAD AGE "mx: a\n", "the policy has no valid mode" },
	{ "other mode", HEAD "mode: doubt\n" AGE "mx: a\n",
	    "the policy has no valid mode" },
	{ "mode in upper case", HEAD "mode: Enforce\n" AGE "mx: a\n",
	    "the policy has no valid mode" },
	{ "no max_age", HEAD "mode: none\n",
	    "the policy has no valid max_age" },
	{ "empty max_age", HEAD "mode: none\nmax_age: \n",
	    "the policy has no valid max_age" },
	{ "negative max_age", HEAD "mode: none\nmax_age: -1\n",
	    "the policy has no valid max_age" },
	{ "max_age is no number", HEAD "mode: none\nmax_age: 1d\n",
	    "the policy has no valid max_age" },
	{ "eleven digits", HEAD "mode: none\nmax_age: 00000000001\n",
	    "the policy has no valid max_age" },
	{ "no mx", HEAD "mode: enforce\n" AGE, "the policy has no valid mx" },
	{ "no mx, testing", HEAD "mode: testing\n" AGE,
	    "the policy has no valid mx" },
	{ "nmx", HEAD "mode: enforce\n" AGE "nmx: a\n",
	    "the policy has no valid mx" },
	{ "mx is an address", HEAD "mode: enforce\n" AGE "mx: 192.0.2.1\n",
	    "the policy has no valid mx" },
	{ "HTML", "<!DOCTYPE html>\n<p>version: STSv1</p>\n",
	    "the policy has no version STSv1" },
};

static void
describe(struct buf *b, const struct sts_policy *p)
{
	struct sts_text rest = sts_text_of(&p->mx), pattern;

	buf_printf(b, "%s %lu", sts_mode_name(p->mode), p->max_age_s);
	while (sts_text_line(&rest, &pattern)) {
		buf_putc(b, ' ');
		buf_append(b, pattern.at, pattern.n);
	}
}

static void
parses_policies(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sts_policy p = { .max_age_s = 0 };
		struct sts_failure why = { .cause = STS_CAUSE_NONE };
		struct buf said = { 0 };

		if (sts_policy_parse(&p, cases[i].body, strlen(cases[i].body),
			&why) == 0) {
			describe(&said, &p);
		} else {
			assert_int_equal(why.cause, STS_CAUSE_INVALID);
			assert_true(p.mx.data == NULL && p.lines.data == NULL);
			assert_int_equal(p.max_age_s, 0);
			buf_puts(&said, why.reason);
		}
		if (strcmp(buf_text(&said), cases[i].want) != 0)
			fail_msg("%s: %s", cases[i].name, buf_text(&said));
		buf_finish(&said);
		sts_policy_finish(&p);
	}
}

static void
keeps_the_lines(void **state)
{
	static const char body[] = "\xef\xbb\xbfversion: STSv1\r\n\nmode:none\n"
				   "max_age: 1\nmx: b\xc3\xbc\n\x01\0x\x7f\n";
	struct sts_policy p = { .max_age_s = 0 };
	struct sts_failure why;

	(void)state;
	assert_int_equal(sts_policy_parse(&p, body, sizeof body - 1, &why), 0);
	assert_string_equal(buf_text(&p.lines),
	    "version: STSv1\nmode:none\nmax_age: 1\nmx: b??\n??x?\n");
	sts_policy_finish(&p);
}

static void
limits_the_size(void **state)
{
	struct sts_policy p = { .max_age_s = 0 };
	struct sts_failure why;
	struct buf body = { 0 };

	(void)state;
	buf_puts(&body, GOOD);
	while (body.len < STS_BODY_MAX)
		buf_putc(&body, '#');
	assert_int_equal(sts_policy_parse(&p, body.data, body.len, &why), 0);
	sts_policy_finish(&p);
	buf_putc(&body, '#');
	assert_int_equal(sts_policy_parse(&p, body.data, body.len, &why), -1);
	assert_string_equal(why.reason, "the policy is too long");
	buf_finish(&body);
}

static void
does_not_take_a_nul_for_an_end(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
	} patterns[] = { { "a\0b", 3 }, { "\0", 1 }, { "a.example\0", 10 } };
	char longest[300];

	(void)state;
	for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
		assert_false(sts_pattern_is_valid((struct sts_text){
		    patterns[i].bytes, patterns[i].n }));
	memset(longest, 'x', sizeof longest);
	for (size_t i = 63; i < sizeof longest; i += 64)
		longest[i] = '.';
	assert_true(sts_pattern_is_valid((struct sts_text){ longest, 253 }));
	assert_false(sts_pattern_is_valid((struct sts_text){ longest, 254 }));
	assert_false(sts_pattern_is_valid((struct sts_text){ longest, 299 }));
}

static void
matches_hosts(void **state)
{
	/* RFC 8461 section 4.1. */
	static const struct {
		const char *mx, *host;
		bool matches;
	} pairs[] = {
		{ "a.example", "a.example", true },
		{ "A.Example.", "a.eXample", true },
		{ "a.example", "A.EXAMPLE.", true },
		{ "a.example", "b.example", false },
		{ "a.example", "b.a.example", false },
		{ "a.example", "example", false },
		{ "a.example", "", false },
		{ "*.example.com", "a.example.com", true },
		{ "*.Example.Com.", "A.example.COM.", true },
		{ "*.example.com", "a.b.example.com", false },
		{ "*.example.com", "example.com", false },
		{ "*.example.com", ".example.com", false },
		{ "*.example.com", "aexample.com", false },
		{ "*.example.com", "a.example.org", false },
		{ "*.example.com", "com", false },
		{ "*.example.com", "*.example.com", true },
		{ "a.example\nmx: *.b.example", "x.b.example", true },
		{ "a.example\nmx: *.b.example", "b.example", false },
		{ "192.0.2.1\nmx: a", "192.0.2.1", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		struct sts_policy p = { .max_age_s = 0 };
		struct sts_failure why;
		struct buf body = { 0 };

		buf_printf(&body, HEAD "mode: enforce\n" AGE "mx: %s\n",
		    pairs[i].mx);
		assert_int_equal(sts_policy_parse(&p, body.data, body.len,
				     &why),
		    0);
		if (sts_policy_matches(&p, pairs[i].host) != pairs[i].matches)
			fail_msg("%s, %s", pairs[i].mx, pairs[i].host);
		sts_policy_finish(&p);
		buf_finish(&body);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_policies),
		cmocka_unit_test(keeps_the_lines),
		cmocka_unit_test(limits_the_size),
		cmocka_unit_test(does_not_take_a_nul_for_an_end),
		cmocka_unit_test(matches_hosts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
