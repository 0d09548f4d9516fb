/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/ehlo.h"

#define NONE 0
#define TLS SMTP_EXT_STARTTLS
#define PIPE SMTP_EXT_PIPELINING
#define UTF8 SMTP_EXT_SMTPUTF8
#define ROW(name, line, want) \
	{ \
		name, line, sizeof line - 1, want \
	}

static void
reads_keywords(void **state)
{
	static const struct {
		const char *name;
		const char *line;
		size_t n;
		unsigned want;
	} cases[] = {
		ROW("plain", "STARTTLS", TLS),
		ROW("plain", "PIPELINING", PIPE),
		ROW("plain", "SMTPUTF8", UTF8),
		ROW("lower case", "smtputf8", UTF8),
		ROW("a parameter (RFC 6531 section 3.1)", "SMTPUTF8 x", UTF8),
		ROW("of an older draft", "UTF8SMTP", NONE),
		ROW("C4 lower case", "starttls", TLS),
		ROW("C4 mixed case", "PipeLining", PIPE),
		ROW("C4 blank behind", "STARTTLS ", TLS),
		ROW("C4 blanks behind", "PIPELINING   ", PIPE),
		ROW("C4 tab behind", "STARTTLS\t", TLS),
		ROW("C4 a parameter", "STARTTLS please", TLS),
		ROW("C5 longer", "STARTTLSX", NONE),
		ROW("C5 shorter", "STARTTL", NONE),
		ROW("C5 another", "X-STARTTLS", NONE),
		ROW("C5 equals sign", "STARTTLS=1", NONE),
		ROW("C5 blank before", " STARTTLS", NONE),
		ROW("C5 as a parameter", "X STARTTLS", NONE),
		ROW("C5 NUL behind", "STARTTLS\0", NONE),
		ROW("C5 NUL and text behind", "STARTTLS\0x", NONE),
		ROW("C5 not a letter of ASCII", "\xd3TARTTLS", NONE),
		ROW("C6 a size of text", "SIZE x", NONE),
		ROW("C6 a size of 2^64", "SIZE 18446744073709551616", NONE),
		ROW("C10 masked by a firewall", "XXXXXXXA", NONE),
		ROW("C16 limits", "LIMITS RCPTMAX=1 MAILMAX=1", NONE),
		ROW("empty", "", NONE),
		ROW("only a blank", " ", NONE),
		ROW("two in one line", "PIPELINING STARTTLS", PIPE),
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		/*
		 * A copy of exactly that size, so that reading past it is
		 * found.
		 */
		char *line = malloc(cases[i].n ? cases[i].n : 1);
		struct smtp_ehlo e = { 0 };

		assert_non_null(line);
		memcpy(line, cases[i].line, cases[i].n);
		smtp_ehlo_add(&e, line, cases[i].n);
		smtp_ehlo_add(&e, line, cases[i].n); /* C9: repeated */
		free(line);
		if (smtp_ehlo_has(&e, TLS) != !!(cases[i].want & TLS) ||
		    smtp_ehlo_has(&e, PIPE) != !!(cases[i].want & PIPE) ||
		    smtp_ehlo_has(&e, UTF8) != !!(cases[i].want & UTF8))
			fail_msg("%s: %s: %u", cases[i].name, cases[i].line,
			    e.extensions);
	}
}

static void
survives_a_format_and_parse(void **state)
{
	(void)state;
	for (unsigned set = 0; set < 2 * UTF8; set++) {
		struct smtp_ehlo e = { .extensions = set }, back = { 0 };
		struct buf word = { 0 };

		smtp_ehlo_format(&e, &word);
		smtp_ehlo_parse(&back, buf_text(&word));
		if (back.extensions != set)
			fail_msg("%u as %s: %u", set, buf_text(&word),
			    back.extensions);
		if (strchr(buf_text(&word), ' '))
			fail_msg("%u as %s", set, buf_text(&word));
		buf_finish(&word);
	}
}

static void
reads_odd_words(void **state)
{
	static const struct {
		const char *word;
		unsigned want;
	} cases[] = {
		{ "", NONE },
		{ ",", NONE },
		{ ",,,", NONE },
		{ "STARTTLS", TLS },
		{ "STARTTLS,", TLS },
		{ ",PIPELINING", PIPE },
		{ "SIZE,PIPELINING,X,STARTTLS", TLS | PIPE },
		{ "STARTTLSPIPELINING", NONE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct smtp_ehlo e = { 0 };

		smtp_ehlo_parse(&e, cases[i].word);
		if ((e.extensions & (TLS | PIPE)) != cases[i].want)
			fail_msg("\"%s\": %u", cases[i].word, e.extensions);
	}
}

/* C6, C9, C16: no overflow, no invalid number, the strictest limit counts. */
static void
reads_limits(void **state)
{
	static const struct {
		const char *name;
		const char *lines[3];
		uint64_t size, rcptmax, mailmax;
	} cases[] = {
		{ "none", { "SIZE" }, 0, 0, 0 },
		{ "zero", { "SIZE 0" }, 0, 0, 0 },
		{ "a number", { "size 1000" }, 1000, 0, 0 },
		{ "blanks around", { "SIZE \t 1000  " }, 1000, 0, 0 },
		{ "2^31", { "SIZE 2147483648" }, 2147483648, 0, 0 },
		{ "2^32", { "SIZE 4294967296" }, 4294967296, 0, 0 },
		{ "2^63", { "SIZE 9223372036854775808" }, 9223372036854775808u,
		    0, 0 },
		{ "2^64", { "SIZE 18446744073709551616" }, UINT64_MAX, 0, 0 },
		{ "negative", { "SIZE -1" }, 0, 0, 0 },
		{ "a fraction", { "SIZE 10.5" }, 0, 0, 0 },
		{ "text", { "SIZE large" }, 0, 0, 0 },
		{ "digits and text", { "SIZE 10k" }, 0, 0, 0 },
		{ "equals sign", { "SIZE=1000" }, 0, 0, 0 },
		{ "C9 twice", { "SIZE 1000", "SIZE 10" }, 10, 0, 0 },
		{ "C9 twice, the other way", { "SIZE 10", "SIZE 1000" }, 10, 0,
		    0 },
		{ "C9 a limit and none", { "SIZE 10", "SIZE 0" }, 10, 0, 0 },
		{ "C16 both", { "LIMITS RCPTMAX=1 MAILMAX=2" }, 0, 1, 2 },
		{ "C16 another order", { "limits mailmax=2 x rcptmax=1" }, 0, 1,
		    2 },
		{ "C16 zero and nonsense", { "LIMITS RCPTMAX=0 MAILMAX=x" }, 0,
		    0, 0 },
		{ "C16 no value", { "LIMITS RCPTMAX= MAILMAX" }, 0, 0, 0 },
		{ "C16 a longer name", { "LIMITS XRCPTMAX=1" }, 0, 0, 0 },
		{ "all", { "LIMITS RCPTMAX=5", "SIZE 7", "LIMITS RCPTMAX=3" },
		    7, 3, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct smtp_ehlo e = { 0 }, back = { 0 };
		struct buf word = { 0 };

		for (size_t j = 0; j < 3 && cases[i].lines[j]; j++)
			smtp_ehlo_add(&e, cases[i].lines[j],
			    strlen(cases[i].lines[j]));
		if (e.size != cases[i].size || e.rcptmax != cases[i].rcptmax ||
		    e.mailmax != cases[i].mailmax)
			fail_msg("%s: %" PRIu64 ", %" PRIu64 ", %" PRIu64,
			    cases[i].name, e.size, e.rcptmax, e.mailmax);
		smtp_ehlo_format(&e, &word);
		smtp_ehlo_parse(&back, buf_text(&word));
		if (back.extensions != e.extensions || back.size != e.size ||
		    back.rcptmax != e.rcptmax || back.mailmax != e.mailmax)
			fail_msg("%s: as %s", cases[i].name, buf_text(&word));
		buf_finish(&word);
	}
}

/* The mechanisms that we know, in any order, also of an old server. */
static void
reads_mechanisms(void **state)
{
	static const struct {
		const char *lines[2];
		bool has_auth;
		unsigned mechanisms;
		const char *text;
	} cases[] = {
		{ { "AUTH PLAIN LOGIN" }, true, 3, "AUTH PLAIN LOGIN" },
		{ { "auth login plain" }, true, 3, "AUTH PLAIN LOGIN" },
		{ { "AUTH XOAUTH2 OAUTHBEARER" }, true, 12,
		    "AUTH OAUTHBEARER XOAUTH2" },
		{ { "AUTH CRAM-MD5 GSSAPI" }, true, 0, "AUTH" },
		{ { "AUTH" }, true, 0, "AUTH" },
		{ { "AUTH PLAINX XPLAIN LOGIN," }, true, 0, "AUTH" },
		{ { "AUTH=LOGIN" }, true, 2, "AUTH LOGIN" },
		{ { "AUTH=LOGIN PLAIN" }, true, 3, "AUTH PLAIN LOGIN" },
		{ { "Auth=" }, true, 0, "AUTH" },
		{ { "AUTH PLAIN", "AUTH=LOGIN" }, true, 3, "AUTH PLAIN LOGIN" },
		{ { "AUTHX PLAIN" }, false, 0, "" },
		{ { "AUTHX=PLAIN" }, false, 0, "" },
		{ { "X AUTH PLAIN" }, false, 0, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct smtp_ehlo e = { 0 }, back = { 0 };
		struct buf text = { 0 };

		for (size_t k = 0; k < 2 && cases[i].lines[k]; k++)
			smtp_ehlo_add(&e, cases[i].lines[k],
			    strlen(cases[i].lines[k]));
		smtp_ehlo_format(&e, &text);
		smtp_ehlo_parse(&back, buf_text(&text));
		if (smtp_ehlo_has(&e, SMTP_EXT_AUTH) != cases[i].has_auth ||
		    e.mechanisms != cases[i].mechanisms ||
		    back.mechanisms != cases[i].mechanisms ||
		    strcmp(buf_text(&text), cases[i].text) != 0)
			fail_msg("%s: %u, %s", cases[i].lines[0], e.mechanisms,
			    buf_text(&text));
		buf_finish(&text);
	}
	assert_string_equal(smtp_mechanism_name(SMTP_MECHANISM_PLAIN), "PLAIN");
	assert_string_equal(smtp_mechanism_name(SMTP_MECHANISM_XOAUTH2),
	    "XOAUTH2");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_keywords),
		cmocka_unit_test(reads_limits),
		cmocka_unit_test(reads_mechanisms),
		cmocka_unit_test(survives_a_format_and_parse),
		cmocka_unit_test(reads_odd_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
