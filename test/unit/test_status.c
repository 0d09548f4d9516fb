/* SPDX-License-Identifier: ISC */
#include "tls/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

#define TEXT(t) .text = t
#define FAILED(c, t) \
	{ \
		.status = TLS_STATUS_FAILED, .cause = c, TEXT(t) \
	}
#define LOCAL(t) \
	{ \
		.status = TLS_STATUS_LOCAL, TEXT(t) \
	}
#define READY(v, c, g, n) \
	{ \
		.status = TLS_STATUS_READY, .version = v, .cipher = c, \
		.group = g, .verified = n \
	}

static void
assert_same(const struct tls_result *a, const struct tls_result *b)
{
	assert_int_equal(a->status, b->status);
	assert_int_equal(a->cause, b->cause);
	assert_string_equal(a->version, b->version);
	assert_string_equal(a->cipher, b->cipher);
	assert_string_equal(a->group, b->group);
	assert_string_equal(a->verified, b->verified);
	assert_string_equal(a->text, b->text);
}

static void
results_come_through(void **state)
{
	static const struct {
		struct tls_result result;
		const char *record, *sentence;
	} cases[] = {
		{ READY("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519", ""),
		    "R TLSv1.3 TLS_AES_256_GCM_SHA384 X25519 -\n",
		    "TLSv1.3 TLS_AES_256_GCM_SHA384 X25519, certificate not "
		    "verified" },
		{ READY("TLSv1.2", "AES128-SHA", "", "mx.example"),
		    "R TLSv1.2 AES128-SHA - mx.example\n",
		    "TLSv1.2 AES128-SHA, certificate verified for "
		    "mx.example" },
		{ FAILED(TLS_CAUSE_HANDSHAKE, "timed out"),
		    "F validation-failure timed out\n", "timed out" },
		{ FAILED(TLS_CAUSE_NAME, "no"),
		    "F certificate-host-mismatch no\n", "no" },
		{ FAILED(TLS_CAUSE_EXPIRED, "no"), "F certificate-expired no\n",
		    "no" },
		{ FAILED(TLS_CAUSE_NOT_TRUSTED, ""),
		    "F certificate-not-trusted \n", "" },
		{ LOCAL("out of memory"), "L out of memory\n",
		    "out of memory" },
		{ LOCAL(""), "L \n", "" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char record[TLS_RECORD_SIZE], sentence[TLS_SENTENCE_SIZE];
		struct tls_result back;
		size_t n = tls_result_format(record, &cases[i].result);

		assert_int_equal(n, strlen(record));
		assert_string_equal(record, cases[i].record);
		assert_int_equal(tls_result_parse(&back, record, n),
		    cases[i].result.status);
		assert_same(&back, &cases[i].result);
		tls_result_describe(&back, sentence);
		assert_string_equal(sentence, cases[i].sentence);
		/* A record that lacks one byte is not valid. */
		assert_int_equal(tls_result_parse(&back, record, n - 1),
		    TLS_STATUS_NONE);
	}
}

static void
ends_come_through(void **state)
{
	static const struct {
		enum tls_end end;
		const char *text, *record;
	} cases[] = {
		{ TLS_END_SERVER, "", "E server \n" },
		{ TLS_END_CLIENT, "", "E client \n" },
		{ TLS_END_BROKEN, "Connection reset by peer",
		    "E broken Connection reset by peer\n" },
		{ TLS_END_LOCAL, "out of memory", "E local out of memory\n" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char record[TLS_RECORD_SIZE], text[TLS_TEXT_SIZE];
		struct tls_result result;
		size_t n = tls_end_format(record, cases[i].end, cases[i].text);

		assert_int_equal(n, strlen(record));
		assert_string_equal(record, cases[i].record);
		assert_int_equal(tls_end_parse(record, n, text), cases[i].end);
		assert_string_equal(text, cases[i].text);
		assert_int_equal(tls_end_parse(record, n - 1, text),
		    TLS_END_NONE);
		assert_string_equal(text, "");
		/* Neither kind of record is taken for the other. */
		assert_int_equal(tls_result_parse(&result, record, n),
		    TLS_STATUS_NONE);
	}
}

static void
writing_cleans_and_cuts(void **state)
{
	struct tls_result r = READY("a b", "c\nKfake\r\033\x80\xff~", "", "");
	char record[TLS_RECORD_SIZE], text[TLS_TEXT_SIZE];
	char longer[1000];
	struct tls_result back;
	size_t n;

	(void)state;
	n = tls_result_format(record, &r);
	assert_int_equal(tls_result_parse(&back, record, n), TLS_STATUS_READY);
	assert_string_equal(back.version, "a?b");
	assert_string_equal(back.cipher, "c?Kfake????~");

	r = (struct tls_result)LOCAL("");
	memset(r.text, 'x', sizeof r.text - 1);
	n = tls_result_format(record, &r);
	assert_int_equal(tls_result_parse(&back, record, n), TLS_STATUS_LOCAL);
	assert_string_equal(back.text, r.text);

	r = (struct tls_result){ .status = TLS_STATUS_READY };
	memset(r.version, 'v', sizeof r.version - 1);
	memset(r.cipher, 'c', sizeof r.cipher - 1);
	memset(r.group, 'g', sizeof r.group - 1);
	memset(r.verified, 'n', sizeof r.verified - 1);
	n = tls_result_format(record, &r);
	assert_int_equal(tls_result_parse(&back, record, n), TLS_STATUS_READY);
	assert_same(&back, &r);

	memset(longer, 'x', sizeof longer);
	longer[sizeof longer - 1] = '\0';
	n = tls_end_format(record, TLS_END_BROKEN, longer);
	assert_int_equal(tls_end_parse(record, n, text), TLS_END_BROKEN);
	assert_int_equal(strlen(text), TLS_TEXT_SIZE - 1);
}

#define CASE(name, record, want) \
	{ \
		name, record, sizeof(record) - 1, want \
	}

static void
reads_hostile_results(void **state)
{
	static const struct {
		const char *name;
		const char *record;
		size_t n;
		enum tls_status want;
	} cases[] = {
		CASE("nothing", "", TLS_STATUS_NONE),
		CASE("line end", "\n", TLS_STATUS_NONE),
		CASE("letter", "L", TLS_STATUS_NONE),
		CASE("letter and line end", "L\n", TLS_STATUS_NONE),
		CASE("no blank", "Lx\n", TLS_STATUS_NONE),
		CASE("no line end", "L x", TLS_STATUS_NONE),
		CASE("two records", "L x\nL y\n", TLS_STATUS_NONE),
		CASE("two line ends", "L x\n\n", TLS_STATUS_NONE),
		CASE("trailing byte", "L x\ny", TLS_STATUS_NONE),
		CASE("unknown letter", "K x\n", TLS_STATUS_NONE),
		CASE("NUL as letter", "\0 x\n", TLS_STATUS_NONE),
		CASE("small letter", "l x\n", TLS_STATUS_NONE),
		CASE("end of a session", "E server \n", TLS_STATUS_NONE),
		CASE("failed", "F validation-failure x\n", TLS_STATUS_FAILED),
		CASE("failed, no text", "F validation-failure\n",
		    TLS_STATUS_NONE),
		CASE("failed, unknown code", "F bad-luck x\n", TLS_STATUS_NONE),
		CASE("failed, no code", "F  x\n", TLS_STATUS_NONE),
		CASE("failed, empty code", "F - x\n", TLS_STATUS_NONE),
		CASE("ready", "R a b c d\n", TLS_STATUS_READY),
		CASE("ready, three words", "R a b c\n", TLS_STATUS_NONE),
		CASE("ready, five words", "R a b c d e\n", TLS_STATUS_NONE),
		CASE("ready, blank at the end", "R a b c d \n",
		    TLS_STATUS_NONE),
		CASE("ready, two blanks", "R a  c d\n", TLS_STATUS_NONE),
		CASE("the record of 0.1.0", "RTLSv1.3 X, certificate x\n",
		    TLS_STATUS_NONE),
		CASE("NUL in text", "L a\0b\n", TLS_STATUS_LOCAL),
		CASE("8 bit", "L \xc3\xa4\n", TLS_STATUS_LOCAL),
	};
	struct tls_result r;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (tls_result_parse(&r, cases[i].record, cases[i].n) !=
			cases[i].want ||
		    r.status != cases[i].want)
			fail_msg("%s: %d", cases[i].name, r.status);
	(void)tls_result_parse(&r, "L a\0\r\033[m\177\xc3\n", 11);
	assert_string_equal(r.text, "a???[m??");
}

static void
reads_hostile_ends(void **state)
{
	static const struct {
		const char *name;
		const char *record;
		size_t n;
		enum tls_end want;
	} cases[] = {
		CASE("nothing", "", TLS_END_NONE),
		CASE("no code", "E \n", TLS_END_NONE),
		CASE("no text", "E server\n", TLS_END_NONE),
		CASE("unknown code", "E aliens x\n", TLS_END_NONE),
		CASE("part of a code", "E serv x\n", TLS_END_NONE),
		CASE("no word at all", "E - x\n", TLS_END_NONE),
		CASE("result", "R a b c d\n", TLS_END_NONE),
		CASE("two", "E server \nE server \n", TLS_END_NONE),
		CASE("good", "E broken a  b\n", TLS_END_BROKEN),
	};
	char text[TLS_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (tls_end_parse(cases[i].record, cases[i].n, text) !=
		    cases[i].want)
			fail_msg("%s", cases[i].name);
}

/* A text longer than any field makes the record invalid. */
static void
refuses_what_is_too_long(void **state)
{
	char record[TLS_RECORD_SIZE + 100], text[TLS_TEXT_SIZE];
	struct tls_result r;
	int n;

	(void)state;
	n = snprintf(record, sizeof record, "L %0*d\n", TLS_TEXT_SIZE - 1, 0);
	assert_int_equal(tls_result_parse(&r, record, (size_t)n),
	    TLS_STATUS_LOCAL);
	n = snprintf(record, sizeof record, "L %0*d\n", TLS_TEXT_SIZE, 0);
	assert_int_equal(tls_result_parse(&r, record, (size_t)n),
	    TLS_STATUS_NONE);
	n = snprintf(record, sizeof record, "E server %0*d\n", TLS_TEXT_SIZE,
	    0);
	assert_int_equal(tls_end_parse(record, (size_t)n, text), TLS_END_NONE);
	n = snprintf(record, sizeof record, "R %0*d b c d\n", TLS_WORD_SIZE, 0);
	assert_int_equal(tls_result_parse(&r, record, (size_t)n),
	    TLS_STATUS_NONE);
	n = snprintf(record, sizeof record, "R a b c %0*d\n", TLS_NAME_SIZE, 0);
	assert_int_equal(tls_result_parse(&r, record, (size_t)n),
	    TLS_STATUS_NONE);
	n = snprintf(record, sizeof record, "L %0*d\n", TLS_RECORD_SIZE, 0);
	assert_int_equal(tls_result_parse(&r, record, (size_t)n),
	    TLS_STATUS_NONE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(results_come_through),
		cmocka_unit_test(ends_come_through),
		cmocka_unit_test(writing_cleans_and_cuts),
		cmocka_unit_test(reads_hostile_results),
		cmocka_unit_test(reads_hostile_ends),
		cmocka_unit_test(refuses_what_is_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
