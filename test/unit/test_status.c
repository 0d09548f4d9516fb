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
#define READY(v, c, g, p, n) \
	{ \
		.status = TLS_STATUS_READY, .version = v, .cipher = c, \
		.group = g, .proof = p, .verified = n \
	}
#define DANE(u, s, m, n) \
	{ \
		.status = TLS_STATUS_READY, .version = "v", .cipher = "c", \
		.group = "g", .proof = TLS_PROOF_DANE, .usage = u, \
		.selector = s, .matching = m, .verified = n \
	}

static void
assert_same(const struct tls_result *a, const struct tls_result *b)
{
	assert_int_equal(a->status, b->status);
	assert_int_equal(a->cause, b->cause);
	assert_string_equal(a->version, b->version);
	assert_string_equal(a->cipher, b->cipher);
	assert_string_equal(a->group, b->group);
	assert_int_equal(a->proof, b->proof);
	assert_int_equal(a->usage, b->usage);
	assert_int_equal(a->selector, b->selector);
	assert_int_equal(a->matching, b->matching);
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
		{ READY("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519",
		      TLS_PROOF_NONE, ""),
		    "R TLSv1.3 TLS_AES_256_GCM_SHA384 X25519 none -\n",
		    "TLSv1.3 TLS_AES_256_GCM_SHA384 X25519, certificate not "
		    "verified" },
		{ READY("TLSv1.2", "AES128-SHA", "", TLS_PROOF_PKIX,
		      "mx.example"),
		    "R TLSv1.2 AES128-SHA - pkix mx.example\n",
		    "TLSv1.2 AES128-SHA, certificate verified for mx.example" },
		{ READY("v", "c", "g", TLS_PROOF_UNUSABLE, ""),
		    "R v c g dane-unusable -\n",
		    "v c g, DANE records unusable, certificate not verified" },
		{ READY("v", "c", "g", TLS_PROOF_UNUSABLE, "mx.example"),
		    "R v c g dane-unusable mx.example\n",
		    "v c g, DANE records unusable, certificate verified for "
		    "mx.example" },
		{ DANE(3, 1, 1, ""), "R v c g dane-3-1-1 -\n",
		    "v c g, DANE (3 1 1)" },
		{ DANE(3, 0, 0, ""), "R v c g dane-3-0-0 -\n",
		    "v c g, DANE (3 0 0)" },
		{ DANE(2, 0, 2, "mx.example"),
		    "R v c g dane-2-0-2 mx.example\n", "v c g, DANE (2 0 2)" },
		{ FAILED(TLS_CAUSE_HANDSHAKE, "no cipher"),
		    "F validation-failure no cipher\n", "no cipher" },
		{ FAILED(TLS_CAUSE_TIMED_OUT, "no"), "F timed-out no\n", "no" },
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
		tls_result_describe(&back, "", sentence);
		assert_string_equal(sentence, cases[i].sentence);
		assert_int_equal(tls_result_is_verified(&back),
		    back.status == TLS_STATUS_READY &&
			strstr(sentence, "not verified") == NULL);
		/* A record that lacks one byte is not valid. */
		assert_int_equal(tls_result_parse(&back, record, n - 1),
		    TLS_STATUS_NONE);
	}
}

static void
the_policy_is_named_before_the_proof(void **state)
{
	static const struct {
		struct tls_result result;
		const char *policy, *sentence;
	} cases[] = {
		{ READY("TLSv1.3", "X", "g", TLS_PROOF_NONE, ""), "",
		    "TLSv1.3 X g, certificate not verified" },
		{ READY("TLSv1.3", "X", "g", TLS_PROOF_PKIX, "mx.example"),
		    "MTA-STS",
		    "TLSv1.3 X g, MTA-STS, certificate verified for "
		    "mx.example" },
		{ READY("TLSv1.2", "X", "", TLS_PROOF_NONE, ""),
		    "MTA-STS testing: name mismatch",
		    "TLSv1.2 X, MTA-STS testing: name mismatch, certificate "
		    "not verified" },
		/* A handshake that failed has a text only. */
		{ FAILED(TLS_CAUSE_NAME, "no"), "MTA-STS", "no" },
		{ LOCAL("out of memory"), "MTA-STS", "out of memory" },
	};
	struct tls_result r = { .proof = TLS_PROOF_UNUSABLE };
	char sentence[TLS_SENTENCE_SIZE], label[TLS_TEXT_SIZE + 32];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		tls_result_describe(&cases[i].result, cases[i].policy,
		    sentence);
		assert_string_equal(sentence, cases[i].sentence);
	}
	/* It is cut to its size, whatever the texts are. */
	memset(r.version, 'v', sizeof r.version - 1);
	memset(r.cipher, 'c', sizeof r.cipher - 1);
	memset(r.group, 'g', sizeof r.group - 1);
	memset(r.verified, 'n', sizeof r.verified - 1);
	memset(label, 'l', sizeof label);
	label[sizeof label - 1] = '\0';
	tls_result_describe(&r, label, sentence);
	assert_int_equal(strlen(sentence), TLS_SENTENCE_SIZE - 1);
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
	struct tls_result r =
	    READY("a b", "c\nKfake\r\033\x80\xff~", "", TLS_PROOF_NONE, "");
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
	r.proof = TLS_PROOF_UNUSABLE;
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
		CASE("failed, code of a verdict", "F none x\n",
		    TLS_STATUS_NONE),
		CASE("failed, the other one", "F local x\n", TLS_STATUS_NONE),
		CASE("failed, empty code", "F - x\n", TLS_STATUS_NONE),
		CASE("ready", "R a b c none -\n", TLS_STATUS_READY),
		CASE("ready, one word", "R a\n", TLS_STATUS_NONE),
		CASE("ready, two words", "R a b\n", TLS_STATUS_NONE),
		CASE("ready, three words", "R a b c\n", TLS_STATUS_NONE),
		CASE("ready, four words", "R a b c none\n", TLS_STATUS_NONE),
		CASE("ready, six words", "R a b c none - e\n", TLS_STATUS_NONE),
		CASE("ready, blank at the end", "R a b c none - \n",
		    TLS_STATUS_NONE),
		CASE("ready, two blanks", "R a  c none -\n", TLS_STATUS_NONE),
		CASE("no word for the proof", "R a b c -\n", TLS_STATUS_NONE),
		CASE("unknown proof", "R a b c magic d\n", TLS_STATUS_NONE),
		CASE("no proof", "R a b c - -\n", TLS_STATUS_NONE),
		CASE("part of a proof", "R a b c pki d\n", TLS_STATUS_NONE),
		CASE("not verified, for a name", "R a b c none d\n",
		    TLS_STATUS_NONE),
		CASE("verified for no name", "R a b c pkix -\n",
		    TLS_STATUS_NONE),
		CASE("no record", "R a b c dane- -\n", TLS_STATUS_NONE),
		CASE("DANE alone", "R a b c dane -\n", TLS_STATUS_NONE),
		CASE("DANE-EE for a name", "R a b c dane-3-1-1 d\n",
		    TLS_STATUS_NONE),
		CASE("DANE-TA for no name", "R a b c dane-2-1-1 -\n",
		    TLS_STATUS_NONE),
		CASE("DANE-TA", "R a b c dane-2-1-1 d\n", TLS_STATUS_READY),
		CASE("usage 0", "R a b c dane-0-1-1 -\n", TLS_STATUS_NONE),
		CASE("usage 1", "R a b c dane-1-1-1 -\n", TLS_STATUS_NONE),
		CASE("usage 4", "R a b c dane-4-1-1 -\n", TLS_STATUS_NONE),
		CASE("selector 2", "R a b c dane-3-2-1 -\n", TLS_STATUS_NONE),
		CASE("matching type 3", "R a b c dane-3-1-3 -\n",
		    TLS_STATUS_NONE),
		CASE("no digits", "R a b c dane-3-/-1 -\n", TLS_STATUS_NONE),
		CASE("two digits", "R a b c dane-3-1-10 -\n", TLS_STATUS_NONE),
		CASE("a digit is missing", "R a b c dane-3-1 -\n",
		    TLS_STATUS_NONE),
		CASE("no hyphen", "R a b c dane-3.1-1 -\n", TLS_STATUS_NONE),
		CASE("no second hyphen", "R a b c dane-3-1.1 -\n",
		    TLS_STATUS_NONE),
		CASE("fact", "C issuer x\n", TLS_STATUS_NONE),
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
		CASE("result", "R a b c none -\n", TLS_END_NONE),
		CASE("fact", "C issuer x\n", TLS_END_NONE),
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
	n = snprintf(record, sizeof record, "R %0*d b c none -\n",
	    TLS_WORD_SIZE, 0);
	assert_int_equal(tls_result_parse(&r, record, (size_t)n),
	    TLS_STATUS_NONE);
	n = snprintf(record, sizeof record, "R a b c %0*d -\n", TLS_WORD_SIZE,
	    0);
	assert_int_equal(tls_result_parse(&r, record, (size_t)n),
	    TLS_STATUS_NONE);
	n = snprintf(record, sizeof record, "R a b c pkix %0*d\n",
	    TLS_NAME_SIZE, 0);
	assert_int_equal(tls_result_parse(&r, record, (size_t)n),
	    TLS_STATUS_NONE);
	n = snprintf(record, sizeof record, "L %0*d\n", TLS_RECORD_SIZE, 0);
	assert_int_equal(tls_result_parse(&r, record, (size_t)n),
	    TLS_STATUS_NONE);
}

static const char *const fact_words[TLS_FACTS] = {
	[TLS_FACT_NAMES] = "names",
	[TLS_FACT_ISSUER] = "issuer",
	[TLS_FACT_EXPIRES] = "expires",
	[TLS_FACT_VERDICT] = "verdict",
	[TLS_FACT_DANE] = "dane",
	[TLS_FACT_TLSA] = "tlsa",
	[TLS_FACT_OWN_EXPIRES] = "own-expires",
};

/* In the order of enum tls_cause. */
static const char *const cause_words[] = { "validation-failure", "timed-out",
	"certificate-host-mismatch", "certificate-expired",
	"certificate-not-trusted", "local", "none" };

/* The code that precedes the text, with its space. */
static void
set_code(char code[TLS_WORD_SIZE], enum tls_fact fact, enum tls_cause verdict)
{
	code[0] = '\0';
	if (fact == TLS_FACT_VERDICT)
		snprintf(code, TLS_WORD_SIZE, "%s ", cause_words[verdict]);
}

static void
facts_come_through(void **state)
{
	static const char *const texts[] = { "", "mx.example", "two  words",
		"CN=x,O=y \"z\"", "none", "local x", "" };
	struct tls_facts facts = { 0 };

	(void)state;
	assert_int_equal(COUNT(cause_words), TLS_CAUSE_NONE + 1);
	assert_int_equal(COUNT(texts), COUNT(cause_words));
	for (int i = 0; i < TLS_FACTS; i++)
		for (size_t k = 0; k < COUNT(texts); k++) {
			char record[TLS_RECORD_SIZE], want[TLS_RECORD_SIZE];
			char end[TLS_TEXT_SIZE], code[TLS_WORD_SIZE];
			struct tls_facts said = { .verdict =
						      (enum tls_cause)k };
			struct tls_result result;
			size_t n;

			strcpy(said.text[i], texts[k]);
			n = tls_fact_format(record, &said, (enum tls_fact)i);
			set_code(code, (enum tls_fact)i, said.verdict);
			snprintf(want, sizeof want, "C %s %s%s\n",
			    fact_words[i], code, texts[k]);
			assert_string_equal(record, want);
			assert_int_equal(n, strlen(want));
			assert_int_equal(facts.is_known[i], k > 0);
			assert_true(tls_fact_parse(&facts, record, n));
			assert_true(facts.is_known[i]);
			assert_string_equal(facts.text[i], texts[k]);
			if (i == TLS_FACT_VERDICT)
				assert_int_equal(facts.verdict, k);
			assert_false(tls_fact_parse(&facts, record, n - 1));
			assert_int_equal(tls_result_parse(&result, record, n),
			    TLS_STATUS_NONE);
			assert_int_equal(tls_end_parse(record, n, end),
			    TLS_END_NONE);
		}
	/* The last verdict stays, whatever facts come after it. */
	assert_int_equal(facts.verdict, TLS_CAUSE_NONE);
}

static void
facts_are_cleaned_and_cut(void **state)
{
	struct tls_facts facts = { 0 }, said = { 0 };
	char record[TLS_RECORD_SIZE];
	size_t n;

	(void)state;
	strcpy(said.text[TLS_FACT_ISSUER], "a\nR b\r\t\x7f\xc3\xa4");
	n = tls_fact_format(record, &said, TLS_FACT_ISSUER);
	assert_string_equal(record, "C issuer a?R b?????\n");
	assert_true(tls_fact_parse(&facts, record, n));

	for (int i = 0; i < TLS_FACTS; i++) {
		memset(said.text[i], 'x', TLS_TEXT_SIZE - 1);
		said.verdict = TLS_CAUSE_NAME;
		n = tls_fact_format(record, &said, (enum tls_fact)i);
		assert_true(tls_fact_parse(&facts, record, n));
		assert_string_equal(facts.text[i], said.text[i]);
		assert_int_equal(facts.is_known[TLS_FACT_OWN_EXPIRES],
		    i == TLS_FACT_OWN_EXPIRES);
	}
}

static void
reads_hostile_facts(void **state)
{
	static const struct {
		const char *name;
		const char *record;
		size_t n;
		bool want;
	} cases[] = {
		CASE("nothing", "", false),
		CASE("line end", "\n", false),
		CASE("letter", "C\n", false),
		CASE("other letter", "c issuer x\n", false),
		CASE("no blank", "Cissuer x\n", false),
		CASE("two blanks", "C  issuer x\n", false),
		CASE("no text", "C issuer\n", false),
		CASE("unknown fact", "C colour x\n", false),
		CASE("part of a fact", "C issue x\n", false),
		CASE("no fact", "C - x\n", false),
		CASE("no line end", "C issuer x", false),
		CASE("two records", "C issuer x\nC issuer y\n", false),
		CASE("result", "R a b c none -\n", false),
		CASE("end", "E server \n", false),
		CASE("verdict, no code", "C verdict\n", false),
		CASE("verdict, no text", "C verdict none\n", false),
		CASE("verdict, unknown code", "C verdict bad-luck x\n", false),
		CASE("verdict, part of a code", "C verdict non x\n", false),
		CASE("verdict, empty code", "C verdict - x\n", false),
		CASE("verdict, two blanks", "C verdict  none x\n", false),
		CASE("empty text", "C issuer \n", true),
		CASE("NUL", "C issuer a\0b\n", true),
		CASE("8 bit", "C issuer \xc3\xa4\n", true),
	};
	char record[TLS_RECORD_SIZE];
	int n;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct tls_facts facts = { 0 };

		if (tls_fact_parse(&facts, cases[i].record, cases[i].n) !=
			cases[i].want ||
		    facts.is_known[TLS_FACT_ISSUER] != cases[i].want ||
		    facts.is_known[TLS_FACT_VERDICT] || facts.verdict != 0)
			fail_msg("%s", cases[i].name);
	}
	for (int too_long = 0; too_long < 2; too_long++) {
		struct tls_facts facts = { 0 };

		n = snprintf(record, sizeof record, "C issuer %0*d\n",
		    TLS_TEXT_SIZE - 1 + too_long, 0);
		assert_int_equal(tls_fact_parse(&facts, record, (size_t)n),
		    !too_long);
		assert_int_equal(facts.is_known[TLS_FACT_ISSUER], !too_long);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(results_come_through),
		cmocka_unit_test(the_policy_is_named_before_the_proof),
		cmocka_unit_test(ends_come_through),
		cmocka_unit_test(writing_cleans_and_cuts),
		cmocka_unit_test(reads_hostile_results),
		cmocka_unit_test(reads_hostile_ends),
		cmocka_unit_test(refuses_what_is_too_long),
		cmocka_unit_test(facts_come_through),
		cmocka_unit_test(facts_are_cleaned_and_cut),
		cmocka_unit_test(reads_hostile_facts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
