/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "qmail/quote.h"

static void
quotes_by_stocks_rule(void **state)
{
	static const struct {
		const char *in;
		const char *out; /* NULL: refused */
	} cases[] = {
		{ "", "" },
		{ "#@[]", "#@[]" },
		{ "#@[", "#@[" },
		{ "##@[]", "##@[]" },
		{ "a@src.example", "a@src.example" },
		{ "nodomain", "nodomain" },
		{ "a..b", "a..b" },
		{ "a b@d", "\"a b\"@d" },
		{ "a\tb@d", "\"a\tb\"@d" },
		{ "a.@d", "\"a.\"@d" },
		{ ".a@d", "\".a\"@d" },
		{ ".@d", "\".\"@d" },
		{ "a..b@d", "\"a..b\"@d" },
		{ "a.b.c@d", "a.b.c@d" },
		{ "a,b(c);:@d", "\"a,b(c);:\"@d" },
		{ "\"q\"@d", "\"\\\"q\\\"\"@d" },
		{ "a\\b@d", "\"a\\\\b\"@d" },
		{ "a@b@c", "\"a@b\"@c" },
		{ "a<b>c@d", "\"a<b>c\"@d" },
		{ "a[1]@d", "\"a[1]\"@d" },
		{ "@h", "\"\"@h" },
		{ "@", "\"\"@" },
		{ "u@", "u@" },
		{ "u@D.eXample.", "u@D.eXample." },
		{ "u@[IPv6:2001:db8::1]", "u@[IPv6:2001:db8::1]" },
		{ "u@a..b", "u@a..b" },
		{ "u@h\xe9", "u@h\xe9" },
		{ "\xc3\xa9@d", "\"\xc3\xa9\"@d" },
		/* A host part in UTF-8 should have been converted. */
		{ "u@h\xc3\xa9", NULL },
		{ "!#$%&'*+-/=?^_`{|}~@d", "!#$%&'*+-/=?^_`{|}~@d" },
		{ "a\x7f@d", "\"a\x7f\"@d" },
		{ "\x80@d", "\"\x80\"@d" },
		{ "\xff@d", "\"\xff\"@d" },
		{ "a\001b@d", "\"a\001b\"@d" },
		{ "a\nb@d", NULL },
		{ "a\rb@d", NULL },
		{ "a@d\r\nRSET", NULL },
		{ "a@d\n", NULL },
		{ "a@d\r", NULL },
		{ "a@d>", NULL },
		{ "a@<d", NULL },
		{ "a@d SIZE=1", NULL },
		{ "a@d\tx", NULL },
		{ "a@\x7f", NULL },
		{ "a@\033", NULL },
		{ "a\n@b@d", NULL },
		{ "no domain", NULL },
		{ "nodomain\n", NULL },
		{ "nodomain>", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf b = { 0 };
		int result;

		buf_puts(&b, "<");
		result = quote_mailbox(&b, cases[i].in, false);
		if (result != (cases[i].out ? 0 : -1))
			fail_msg("%s: returned %d", cases[i].in, result);
		if (strcmp(b.data + 1, cases[i].out ? cases[i].out : ""))
			fail_msg("%s: %s", cases[i].in, b.data + 1);
		buf_finish(&b);
	}
}

static void
sends_double_bounces_with_null_sender(void **state)
{
	static const char *const cases[][2] = {
		{ "#@[]", "" },
		{ "", "" },
		{ "#@[x]", "#@[x]" },
		{ "a b@d", "\"a b\"@d" },
	};
	struct buf b = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		buf_cut(&b, 0);
		assert_int_equal(quote_sender(&b, cases[i][0], true), 0);
		assert_string_equal(buf_text(&b), cases[i][1]);
	}
	assert_int_equal(quote_sender(&b, "a@b\n", true), -1);
	buf_finish(&b);
}

/*
 * To a server that knows SMTPUTF8; and which addresses need it.  Anything but
 * the bytes of UTF-8 is a reason for quotes as before, and in the quotes it is
 * UTF-8 too.
 */
static void
quotes_no_utf8_for_a_server_that_knows_it(void **state)
{
	static const struct {
		const char *in, *out;
		bool needs_smtputf8;
	} cases[] = {
		{ "a@d", "a@d", false },
		{ "a b@d", "\"a b\"@d", false },
		{ "a\x7f@d", "\"a\x7f\"@d", false },
		{ "", "", false },
		{ "#@[]", "#@[]", false },
		{ "\xc3\xa9@d", "\xc3\xa9@d", true },
		{ "p\xc3\xa9l\xc3\xa9.b@d", "p\xc3\xa9l\xc3\xa9.b@d", true },
		{ "\xe7\x94\xa8\xe6\x88\xb7@xn--fsq",
		    "\xe7\x94\xa8\xe6\x88\xb7@xn--fsq", true },
		{ "\xf0\x9f\x98\x80@d", "\xf0\x9f\x98\x80@d", true },
		{ "\xc3\xa9", "\xc3\xa9", true },
		{ "a@\xc3\xa9@d", "\"a@\xc3\xa9\"@d", true },
		{ "\xc3\xa9 a@d", "\"\xc3\xa9 a\"@d", true },
		{ "\xc3\xa9.@d", "\"\xc3\xa9.\"@d", true },
		{ "\xc3\xa9\"@d", "\"\xc3\xa9\\\"\"@d", true },
		/* RFC 6532 allows the control characters from U+0080 on. */
		{ "a\xc2\x85@d", "a\xc2\x85@d", true },
		/* Not UTF-8: as to any other server. */
		{ "\xe9@d", "\"\xe9\"@d", false },
		{ "\xc3\xa9\xe9@d", "\"\xc3\xa9\xe9\"@d", false },
		{ "\xc0\x80@d", "\"\xc0\x80\"@d", false },
		{ "\xed\xa0\x80@d", "\"\xed\xa0\x80\"@d", false },
		{ "u@h\xe9", "u@h\xe9", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf b = { 0 };

		assert_int_equal(quote_mailbox(&b, cases[i].in, true), 0);
		if (strcmp(buf_text(&b), cases[i].out) != 0)
			fail_msg("%s: %s", cases[i].in, buf_text(&b));
		if (quote_needs_smtputf8(cases[i].in) !=
		    cases[i].needs_smtputf8)
			fail_msg("%s: SMTPUTF8", cases[i].in);
		buf_finish(&b);
	}
}

/* No byte at any position ends the command or the path early. */
static void
never_ends_early(void **state)
{
	static const char *const shapes[] = { "?", "?@d", "a?b@d", "a@?",
		"a@b?" };

	(void)state;
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		for (int c = 1; c < 256; c++) {
			char in[16];
			struct buf b = { 0 };
			bool quoted = false;

			strcpy(in, shapes[i]);
			*strchr(in, '?') = (char)c;
			if (quote_mailbox(&b, in, c % 2) == -1)
				buf_cut(&b, 0);
			for (const char *p = buf_text(&b); *p; p++) {
				if (*p == '\r' || *p == '\n')
					fail_msg("%s with %d: %s", shapes[i], c,
					    b.data);
				if (quoted && *p == '\\')
					p++;
				else if (*p == '"')
					quoted = !quoted;
				else if (!quoted && strchr("<> ", *p))
					fail_msg("%s with %d: %s", shapes[i], c,
					    b.data);
			}
			buf_finish(&b);
		}
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(quotes_by_stocks_rule),
		cmocka_unit_test(sends_double_bounces_with_null_sender),
		cmocka_unit_test(quotes_no_utf8_for_a_server_that_knows_it),
		cmocka_unit_test(never_ends_early),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
