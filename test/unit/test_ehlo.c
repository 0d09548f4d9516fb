/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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
		/* Of just that size, so that reading past it shows. */
		char *line = malloc(cases[i].n ? cases[i].n : 1);
		struct smtp_ehlo e = { 0 };

		assert_non_null(line);
		memcpy(line, cases[i].line, cases[i].n);
		smtp_ehlo_add(&e, line, cases[i].n);
		smtp_ehlo_add(&e, line, cases[i].n); /* C9: twice is once */
		free(line);
		if (smtp_ehlo_has(&e, TLS) != !!(cases[i].want & TLS) ||
		    smtp_ehlo_has(&e, PIPE) != !!(cases[i].want & PIPE))
			fail_msg("%s: %s: %u", cases[i].name, cases[i].line,
			    e.extensions);
	}
}

static void
goes_through_a_word(void **state)
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_keywords),
		cmocka_unit_test(goes_through_a_word),
		cmocka_unit_test(reads_odd_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
