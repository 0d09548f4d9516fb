/* SPDX-License-Identifier: ISC */
#include "tls/status.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "base/tlsa.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* In the order of the enums of status.h. */
static const char letters[] = { 'R', 'F', 'L' };

/* Of TLS_PROOF_DANE, the start. */
static const char *const proofs[] = { "none", "pkix", "dane-",
	"dane-unusable" };

static const char *const causes[] = { "validation-failure", "timed-out",
	"certificate-host-mismatch", "certificate-expired",
	"certificate-not-trusted", "local", "none" };

static const char *const ends[] = { NULL, "server", "client", "broken",
	"local" };

static const char *const facts[TLS_FACTS] = { "names", "issuer", "expires",
	"verdict", "dane", "tlsa", "own-expires" };

/* The others are not ones of a handshake that failed. */
#define FAILED_CAUSES TLS_CAUSE_LOCAL

#define END_LETTER 'E'
#define FACT_LETTER 'C'
#define NO_WORD "-"
#define PROOF_SIZE (TLS_NAME_SIZE + 64) /* of a proof as a clause */

static bool
has_name(const struct tls_result *r)
{
	return r->verified[0] != '\0';
}

/* Whether the proof is one for a name, if there is one, and only then. */
static bool
has_right_name(const struct tls_result *r)
{
	switch (r->proof) {
	case TLS_PROOF_NONE:
		return !has_name(r);
	case TLS_PROOF_PKIX:
		return has_name(r);
	case TLS_PROOF_DANE:
		return has_name(r) == (r->usage == TLSA_USAGE_TA);
	default:
		return true;
	}
}

bool
tls_result_is_verified(const struct tls_result *r)
{
	return r->proof == TLS_PROOF_DANE || has_name(r);
}

/*
 * Writing.
 */

static bool
is_printable(char c)
{
	return c >= ' ' && c <= '~';
}

/* Appends text, as long as there is room for the line end after it. */
static size_t
put_text(char *record, size_t n, const char *text)
{
	while (*text != '\0' && n < TLS_RECORD_SIZE - 2) {
		record[n++] = is_printable(*text) ? *text : '?';
		text++;
	}
	return n;
}

/*
 * Appends a space and a word, in which spaces become '?'; "-" for an empty
 * word.
 */
static size_t
put_word(char *record, size_t n, const char *word)
{
	char copy[TLS_NAME_SIZE];

	(void)str_copy(copy, sizeof copy, *word != '\0' ? word : NO_WORD);
	for (char *c = copy; *c != '\0'; c++)
		if (*c == ' ')
			*c = '?';
	n = put_text(record, n, " ");
	return put_text(record, n, copy);
}

static size_t
put_end(char *record, size_t n)
{
	record[n++] = '\n';
	record[n] = '\0';
	return n;
}

/*
 * Appends the text that ends a record, cut to the length that the parser
 * accepts.
 */
static size_t
put_last(char *record, size_t n, const char *text)
{
	char copy[TLS_TEXT_SIZE];

	(void)str_copy(copy, sizeof copy, text);
	n = put_text(record, n, " ");
	return put_end(record, put_text(record, n, copy));
}

static size_t
put_proof(char *record, size_t n, const struct tls_result *r)
{
	char word[TLS_WORD_SIZE];

	if (r->proof != TLS_PROOF_DANE)
		return put_word(record, n, proofs[r->proof]);
	snprintf(word, sizeof word, "%s%u-%u-%u", proofs[TLS_PROOF_DANE],
	    r->usage, r->selector, r->matching);
	return put_word(record, n, word);
}

size_t
tls_result_format(char record[TLS_RECORD_SIZE], const struct tls_result *r)
{
	size_t n = 0;

	assert(r->status < TLS_STATUS_NONE);
	record[n++] = letters[r->status];
	if (r->status == TLS_STATUS_LOCAL)
		return put_last(record, n, r->text);
	if (r->status == TLS_STATUS_FAILED) {
		assert(r->cause < FAILED_CAUSES);
		n = put_word(record, n, causes[r->cause]);
		return put_last(record, n, r->text);
	}
	n = put_word(record, n, r->version);
	n = put_word(record, n, r->cipher);
	n = put_word(record, n, r->group);
	assert(has_right_name(r));
	n = put_proof(record, n, r);
	return put_end(record, put_word(record, n, r->verified));
}

size_t
tls_end_format(char record[TLS_RECORD_SIZE], enum tls_end end, const char *text)
{
	size_t n = 0;

	assert(end != TLS_END_NONE);
	record[n++] = END_LETTER;
	n = put_word(record, n, ends[end]);
	return put_last(record, n, text);
}

size_t
tls_fact_format(char record[TLS_RECORD_SIZE], const struct tls_facts *f,
    enum tls_fact fact)
{
	size_t n = 0;

	record[n++] = FACT_LETTER;
	n = put_word(record, n, facts[fact]);
	if (fact == TLS_FACT_VERDICT)
		n = put_word(record, n, causes[f->verdict]);
	return put_last(record, n, f->text[fact]);
}

/*
 * Reading.
 */

/* The unread part of a record, without its line end. */
struct rest {
	const char *at, *end;
};

/*
 * The only line end must be the last byte.  Otherwise the record was not
 * written by this module and is not trusted.
 */
static bool
begin(struct rest *r, const char *record, size_t n)
{
	if (n < 2 || n >= TLS_RECORD_SIZE ||
	    memchr(record, '\n', n) != record + n - 1)
		return false;
	r->at = record;
	r->end = record + n - 1;
	return true;
}

static bool
take_blank(struct rest *r)
{
	return r->at < r->end && *r->at++ == ' ';
}

static void
take_bytes(struct rest *r, const char *end, char *text)
{
	while (r->at < end) {
		*text++ = is_printable(*r->at) ? *r->at : '?';
		r->at++;
	}
	*text = '\0';
}

/* The next word and the space before it; false if there is none that fits. */
static bool
take_word(struct rest *r, char *word, size_t size)
{
	const char *blank;

	if (!take_blank(r))
		return false;
	blank = memchr(r->at, ' ', (size_t)(r->end - r->at));
	if (blank == NULL)
		blank = r->end;
	if (blank == r->at || (size_t)(blank - r->at) >= size)
		return false;
	take_bytes(r, blank, word);
	if (strcmp(word, NO_WORD) == 0)
		word[0] = '\0';
	return true;
}

/* The rest of the record, after a space. */
static bool
take_text(struct rest *r, char text[TLS_TEXT_SIZE])
{
	if (!take_blank(r) || r->end - r->at >= TLS_TEXT_SIZE)
		return false;
	take_bytes(r, r->end, text);
	return true;
}

/* The index of the next word in names[0..n); n if it is not there. */
static size_t
take_code(struct rest *r, const char *const *names, size_t n)
{
	char word[TLS_WORD_SIZE];
	size_t i = 0;

	if (!take_word(r, word, sizeof word))
		return n;
	while (i < n && (names[i] == NULL || strcmp(names[i], word) != 0))
		i++;
	return i;
}

/* "U-S-M" of a record that a client of SMTP can use. */
static bool
parse_record(const char *text, struct tls_result *r)
{
	if (strlen(text) != 5 || text[1] != '-' || text[3] != '-')
		return false;
	r->usage = (uint8_t)(text[0] - '0');
	r->selector = (uint8_t)(text[2] - '0');
	r->matching = (uint8_t)(text[4] - '0');
	return (r->usage == TLSA_USAGE_TA || r->usage == TLSA_USAGE_EE) &&
	       r->selector <= 1 && r->matching <= 2;
}

static bool
take_proof(struct rest *rest, struct tls_result *r)
{
	const char *dane = proofs[TLS_PROOF_DANE];
	char word[TLS_WORD_SIZE];
	size_t i = 0;

	if (!take_word(rest, word, sizeof word))
		return false;
	while (i < COUNT(proofs) &&
	       (i == TLS_PROOF_DANE || strcmp(proofs[i], word) != 0))
		i++;
	if (i < COUNT(proofs)) {
		r->proof = (enum tls_proof)i;
		return true;
	}
	r->proof = TLS_PROOF_DANE;
	return strncmp(word, dane, strlen(dane)) == 0 &&
	       parse_record(word + strlen(dane), r);
}

static bool
take_ready(struct rest *rest, struct tls_result *r)
{
	return take_word(rest, r->version, sizeof r->version) &&
	       take_word(rest, r->cipher, sizeof r->cipher) &&
	       take_word(rest, r->group, sizeof r->group) &&
	       take_proof(rest, r) &&
	       take_word(rest, r->verified, sizeof r->verified) &&
	       has_right_name(r) && rest->at == rest->end;
}

static bool
take_failed(struct rest *rest, struct tls_result *r)
{
	size_t cause = take_code(rest, causes, FAILED_CAUSES);

	r->cause = (enum tls_cause)cause;
	return cause < FAILED_CAUSES && take_text(rest, r->text);
}

static bool
take_result(struct rest *rest, struct tls_result *r)
{
	const char *letter = memchr(letters, *rest->at, sizeof letters);

	if (letter == NULL)
		return false;
	rest->at++;
	r->status = (enum tls_status)(letter - letters);
	if (r->status == TLS_STATUS_READY)
		return take_ready(rest, r);
	if (r->status == TLS_STATUS_FAILED)
		return take_failed(rest, r);
	return take_text(rest, r->text);
}

enum tls_status
tls_result_parse(struct tls_result *r, const char *record, size_t n)
{
	struct rest rest;

	*r = (struct tls_result){ 0 };
	if (!begin(&rest, record, n) || !take_result(&rest, r))
		*r = (struct tls_result){ .status = TLS_STATUS_NONE };
	return r->status;
}

enum tls_end
tls_end_parse(const char *record, size_t n, char text[TLS_TEXT_SIZE])
{
	struct rest rest;
	size_t end;

	text[0] = '\0';
	if (!begin(&rest, record, n) || *rest.at++ != END_LETTER)
		return TLS_END_NONE;
	end = take_code(&rest, ends, COUNT(ends));
	if (end == COUNT(ends) || !take_text(&rest, text))
		return TLS_END_NONE;
	return (enum tls_end)end;
}

bool
tls_fact_parse(struct tls_facts *f, const char *record, size_t n)
{
	size_t fact, cause = 0;
	struct rest rest;

	if (!begin(&rest, record, n) || *rest.at++ != FACT_LETTER)
		return false;
	fact = take_code(&rest, facts, COUNT(facts));
	if (fact == TLS_FACT_VERDICT)
		cause = take_code(&rest, causes, COUNT(causes));
	if (fact == COUNT(facts) || cause == COUNT(causes) ||
	    !take_text(&rest, f->text[fact]))
		return false;
	if (fact == TLS_FACT_VERDICT)
		f->verdict = (enum tls_cause)cause;
	f->is_known[fact] = true;
	return true;
}

/*
 * Sentences.
 */

static void
describe_proof(const struct tls_result *r, char text[PROOF_SIZE])
{
	if (r->proof == TLS_PROOF_DANE)
		snprintf(text, PROOF_SIZE, "DANE (%u %u %u)", r->usage,
		    r->selector, r->matching);
	else
		snprintf(text, PROOF_SIZE, "%scertificate %s%s",
		    r->proof == TLS_PROOF_UNUSABLE ? "DANE records unusable, "
						   : "",
		    has_name(r) ? "verified for " : "not verified",
		    r->verified);
}

void
tls_result_describe(const struct tls_result *r, const char *policy,
    char sentence[TLS_SENTENCE_SIZE])
{
	char proof[PROOF_SIZE];

	if (r->status != TLS_STATUS_READY) {
		(void)str_copy(sentence, TLS_SENTENCE_SIZE, r->text);
		return;
	}
	describe_proof(r, proof);
	snprintf(sentence, TLS_SENTENCE_SIZE, "%s %s%s%s, %s%s%s", r->version,
	    r->cipher, r->group[0] != '\0' ? " " : "", r->group, policy,
	    *policy != '\0' ? ", " : "", proof);
}
