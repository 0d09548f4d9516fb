/* SPDX-License-Identifier: ISC */
#include "tls/status.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* In the order of the enums of status.h. */
static const char letters[] = { 'R', 'F', 'L' };

static const char *const causes[] = { "validation-failure",
	"certificate-host-mismatch", "certificate-expired",
	"certificate-not-trusted" };

static const char *const ends[] = { NULL, "server", "client", "broken",
	"local" };

static const char *const facts[TLS_FACTS] = { "names", "issuer", "expires",
	"verdict", "own-expires" };

#define END_LETTER 'E'
#define FACT_LETTER 'C'
#define NO_WORD "-"

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

size_t
tls_result_format(char record[TLS_RECORD_SIZE], const struct tls_result *r)
{
	size_t n = 0;

	assert(r->status < TLS_STATUS_NONE);
	record[n++] = letters[r->status];
	if (r->status == TLS_STATUS_LOCAL)
		return put_last(record, n, r->text);
	if (r->status == TLS_STATUS_FAILED) {
		n = put_word(record, n, causes[r->cause]);
		return put_last(record, n, r->text);
	}
	n = put_word(record, n, r->version);
	n = put_word(record, n, r->cipher);
	n = put_word(record, n, r->group);
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
tls_fact_format(char record[TLS_RECORD_SIZE], enum tls_fact fact,
    const char *text)
{
	size_t n = 0;

	record[n++] = FACT_LETTER;
	n = put_word(record, n, facts[fact]);
	return put_last(record, n, text);
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

static bool
take_ready(struct rest *rest, struct tls_result *r)
{
	return take_word(rest, r->version, sizeof r->version) &&
	       take_word(rest, r->cipher, sizeof r->cipher) &&
	       take_word(rest, r->group, sizeof r->group) &&
	       take_word(rest, r->verified, sizeof r->verified) &&
	       rest->at == rest->end;
}

static bool
take_failed(struct rest *rest, struct tls_result *r)
{
	size_t cause = take_code(rest, causes, COUNT(causes));

	r->cause = (enum tls_cause)cause;
	return cause < COUNT(causes) && take_text(rest, r->text);
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
	struct rest rest;
	size_t fact;

	if (!begin(&rest, record, n) || *rest.at++ != FACT_LETTER)
		return false;
	fact = take_code(&rest, facts, COUNT(facts));
	if (fact == COUNT(facts) || !take_text(&rest, f->text[fact]))
		return false;
	f->is_known[fact] = true;
	return true;
}

/*
 * Sentences.
 */

void
tls_result_describe(const struct tls_result *r,
    char sentence[TLS_SENTENCE_SIZE])
{
	if (r->status != TLS_STATUS_READY)
		(void)str_copy(sentence, TLS_SENTENCE_SIZE, r->text);
	else
		snprintf(sentence, TLS_SENTENCE_SIZE,
		    "%s %s%s%s, certificate %s%s", r->version, r->cipher,
		    r->group[0] != '\0' ? " " : "", r->group,
		    r->verified[0] != '\0' ? "verified for " : "not verified",
		    r->verified);
}
