/* SPDX-License-Identifier: ISC */

/* The status records of the TLS helper: formatting and parsing agree. */

#include <stdlib.h>
#include <string.h>

#include "tls/status.h"

#include "fuzz.h"

static void
check_printable(const char *s)
{
	for (; *s; s++)
		CHECK(*s >= ' ' && *s <= '~');
}

static void
check_result(const struct tls_result *r, size_t size)
{
	char record[TLS_RECORD_SIZE], sentence[TLS_SENTENCE_SIZE];
	struct tls_result again;
	size_t n;

	check_printable(r->version);
	check_printable(r->cipher);
	check_printable(r->group);
	check_printable(r->verified);
	check_printable(r->text);
	CHECK(r->status != TLS_STATUS_FAILED || r->cause < TLS_CAUSE_LOCAL);
	tls_result_describe(r, "", sentence);
	check_printable(sentence);
	if (r->proof == TLS_PROOF_DANE)
		CHECK((r->usage == 2 || r->usage == 3) && r->selector <= 1 &&
		      r->matching <= 2);
	if (r->status == TLS_STATUS_NONE) {
		CHECK(r->text[0] == '\0' && r->version[0] == '\0');
		return;
	}
	n = tls_result_format(record, r);
	CHECK(n == size && record[n - 1] == '\n' && record[n] == '\0');
	CHECK(tls_result_parse(&again, record, n) == r->status);
	CHECK(strcmp(again.version, r->version) == 0);
	CHECK(strcmp(again.cipher, r->cipher) == 0);
	CHECK(strcmp(again.group, r->group) == 0);
	CHECK(strcmp(again.verified, r->verified) == 0);
	CHECK(again.proof == r->proof && again.usage == r->usage);
	CHECK(again.selector == r->selector && again.matching == r->matching);
	CHECK(tls_result_is_verified(&again) == tls_result_is_verified(r));
	CHECK(strcmp(again.text, r->text) == 0 && again.cause == r->cause);
	CHECK(tls_result_parse(&again, record, n - 1) == TLS_STATUS_NONE);
}

static void
check_end(enum tls_end end, const char *text, size_t size)
{
	char record[TLS_RECORD_SIZE], again[TLS_TEXT_SIZE];
	size_t n;

	check_printable(text);
	if (end == TLS_END_NONE)
		return;
	n = tls_end_format(record, end, text);
	CHECK(n == size);
	CHECK(tls_end_parse(record, n, again) == end);
	CHECK(strcmp(again, text) == 0);
}

static void
check_fact(const char *s, size_t size)
{
	char record[TLS_RECORD_SIZE];
	struct tls_facts facts = { 0 }, again = { 0 };
	struct tls_result r;
	int known = 0;

	if (!tls_fact_parse(&facts, s, size)) {
		for (int i = 0; i < TLS_FACTS; i++)
			CHECK(!facts.is_known[i]);
		CHECK(facts.verdict == 0);
		return;
	}
	CHECK(tls_result_parse(&r, s, size) == TLS_STATUS_NONE);
	for (int i = 0; i < TLS_FACTS; i++) {
		if (!facts.is_known[i])
			continue;
		known++;
		check_printable(facts.text[i]);
		CHECK(tls_fact_format(record, &facts, (enum tls_fact)i) ==
		      size);
		CHECK(tls_fact_parse(&again, record, size));
		CHECK(again.verdict == facts.verdict);
		CHECK(strcmp(again.text[i], facts.text[i]) == 0);
	}
	CHECK(known == 1 && facts.verdict <= TLS_CAUSE_NONE);
	CHECK(facts.is_known[TLS_FACT_VERDICT] || facts.verdict == 0);
}

/* Whatever the text, there is exactly one valid record. */
static void
check_any_text(const char *s)
{
	char record[TLS_RECORD_SIZE], text[TLS_TEXT_SIZE];
	struct tls_result r = { .status = TLS_STATUS_FAILED }, again;
	struct tls_facts facts = { 0 }, said = { .verdict = TLS_CAUSE_NAME };
	size_t n;

	strncpy(r.text, s, sizeof r.text - 1);
	n = tls_result_format(record, &r);
	CHECK(tls_result_parse(&again, record, n) == TLS_STATUS_FAILED);
	CHECK(strlen(again.text) == strlen(r.text));
	r.status = TLS_STATUS_READY;
	strncpy(r.version, s, sizeof r.version - 1);
	/* "-" stands for no name. */
	if (strcmp(s, "-") != 0)
		strncpy(r.verified, s, sizeof r.verified - 1);
	r.proof = r.verified[0] != '\0' ? TLS_PROOF_PKIX : TLS_PROOF_NONE;
	n = tls_result_format(record, &r);
	CHECK(tls_result_parse(&again, record, n) == TLS_STATUS_READY);
	for (int i = 0; i < TLS_FACTS; i++) {
		strncpy(said.text[i], s, sizeof said.text[i] - 1);
		n = tls_fact_format(record, &said, (enum tls_fact)i);
		CHECK(tls_fact_parse(&facts, record, n));
		CHECK(strlen(facts.text[i]) == strlen(said.text[i]));
	}
	CHECK(facts.verdict == said.verdict);
	n = tls_end_format(record, TLS_END_BROKEN, s);
	CHECK(tls_end_parse(record, n, text) == TLS_END_BROKEN);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	char text[TLS_TEXT_SIZE];
	char *s = fuzz_string((const char *)data, size);
	struct tls_result r;

	CHECK(tls_result_parse(&r, s, size) == r.status);
	check_result(&r, size);
	check_end(tls_end_parse(s, size, text), text, size);
	check_fact(s, size);
	check_any_text(s);
	free(s);
	return 0;
}
