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
		    smtp_ehlo_has(&e, PIPE) != !!(cases[i].want & PIPE))
			fail_msg("%s: %s: %u", cases[i].name, cases[i].line,
			    e.extensions);
	}
}

static void
survives_a_format_and_parse(void **state)
{
	(void)state;
	for (unsigned set = 0; set <= (TLS | PIPE); set++) {
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_keywords),
		cmocka_unit_test(reads_limits),
		cmocka_unit_test(survives_a_format_and_parse),
		cmocka_unit_test(reads_odd_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
