/* SPDX-License-Identifier: ISC */
#include "tls/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
test_round_trip(void **state)
{
	static const enum tls_status all[] = { TLS_STATUS_READY,
		TLS_STATUS_FAILED, TLS_STATUS_LOCAL };
	static const char *const texts[] = { "", "x",
		"TLSv1.3 TLS_AES_256_GCM_SHA384, certificate not verified" };
	size_t i, j;

	(void)state;
	for (i = 0; i < 3; i++) {
		for (j = 0; j < 3; j++) {
			char record[TLS_STATUS_SIZE];
			char text[TLS_STATUS_SIZE];
			size_t n = tls_status_format(record, all[i], texts[j]);

			assert_int_equal(n, strlen(record));
			assert_int_equal(tls_status_parse(record, n, text),
			    all[i]);
			assert_string_equal(text, texts[j]);
		}
	}
}

static void
test_format_cleans_and_cuts(void **state)
{
	char record[TLS_STATUS_SIZE];
	char text[TLS_STATUS_SIZE];
	char longer[1000];
	size_t n;

	(void)state;
	n = tls_status_format(record, TLS_STATUS_FAILED,
	    "a\nKfake\r\033\x80\xff~ z");
	assert_int_equal(tls_status_parse(record, n, text), TLS_STATUS_FAILED);
	assert_string_equal(text, "a?Kfake????~ z");

	memset(longer, 'x', sizeof longer);
	longer[sizeof longer - 1] = '\0';
	n = tls_status_format(record, TLS_STATUS_LOCAL, longer);
	assert_int_equal(n, TLS_STATUS_SIZE - 1);
	assert_int_equal(tls_status_parse(record, n, text), TLS_STATUS_LOCAL);
	assert_int_equal(strlen(text), TLS_STATUS_SIZE - 3);
}

#define CASE(name, record, want, text) \
	{ \
		name, record, sizeof(record) - 1, want, text \
	}

static void
test_parse_hostile(void **state)
{
	static const struct {
		const char *name;
		const char *record;
		size_t n;
		enum tls_status want;
		const char *text;
	} cases[] = {
		CASE("nothing", "", TLS_STATUS_NONE, ""),
		CASE("line end", "\n", TLS_STATUS_NONE, ""),
		CASE("letter", "R", TLS_STATUS_NONE, ""),
		CASE("no line end", "Rtext", TLS_STATUS_NONE, ""),
		CASE("two records", "Fx\nRy\n", TLS_STATUS_NONE, ""),
		CASE("two line ends", "Fx\n\n", TLS_STATUS_NONE, ""),
		CASE("trailing byte", "Fx\ny", TLS_STATUS_NONE, ""),
		CASE("unknown letter", "Kx\n", TLS_STATUS_NONE, ""),
		CASE("NUL as letter", "\0x\n", TLS_STATUS_NONE, ""),
		CASE("small letter", "rx\n", TLS_STATUS_NONE, ""),
		CASE("no text", "R\n", TLS_STATUS_READY, ""),
		CASE("control bytes", "Fa\rb\tc\033[m\177\n", TLS_STATUS_FAILED,
		    "a?b?c?[m?"),
		CASE("NUL in text", "Fa\0b\n", TLS_STATUS_FAILED, "a?b"),
		CASE("8 bit", "L\xc3\xa4\n", TLS_STATUS_LOCAL, "??"),
	};
	char record[TLS_STATUS_SIZE + 1];
	char text[TLS_STATUS_SIZE];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		enum tls_status got =
		    tls_status_parse(cases[i].record, cases[i].n, text);

		if (got != cases[i].want || strcmp(text, cases[i].text) != 0)
			fail_msg("%s: %d \"%s\"", cases[i].name, got, text);
	}
	memset(record, 'R', sizeof record);
	record[sizeof record - 1] = '\n';
	assert_int_equal(tls_status_parse(record, sizeof record, text),
	    TLS_STATUS_NONE);
	record[TLS_STATUS_SIZE - 2] = '\n';
	assert_int_equal(tls_status_parse(record, TLS_STATUS_SIZE - 1, text),
	    TLS_STATUS_READY);
	assert_int_equal(strlen(text), TLS_STATUS_SIZE - 3);
}

/* Whatever comes: a known result, printable text, nothing written outside. */
static void
test_parse_random(void **state)
{
	size_t i, j;

	(void)state;
	srand(1);
	for (i = 0; i < 200000; i++) {
		size_t n = (size_t)rand() % 24;
		char *record = malloc(n + 1); /* exact, for the sanitizer */
		char text[TLS_STATUS_SIZE];

		for (j = 0; j < n; j++)
			record[j] = "RFLKx \n\n\0\xff"[rand() % 10];
		assert_in_range(tls_status_parse(record, n, text),
		    TLS_STATUS_READY, TLS_STATUS_NONE);
		for (j = 0; text[j] != '\0'; j++)
			assert_in_range(text[j], ' ', '~');
		free(record);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_format_cleans_and_cuts),
		cmocka_unit_test(test_parse_hostile),
		cmocka_unit_test(test_parse_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
