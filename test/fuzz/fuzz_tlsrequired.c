/* SPDX-License-Identifier: ISC */

/*
 * The header of an arbitrary message: what it says of TLS is what a simple
 * implementation finds, which first divides a value into tokens, and does not
 * depend on its line ends, on what follows it, or on how it is read.
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"
#include "qmail/tlsrequired.h"

#include "fuzz.h"

/*
 * The simple implementation.
 */

#define TOKENS_MAX 8192

/* A word (w), a quoted string (q), another character, or the end (0). */
struct token {
	char kind;
	struct buf text;
};

struct tokens {
	struct token token[TOKENS_MAX + 1];
	size_t n;
};

static struct token *
new_token(struct tokens *t, char kind)
{
	struct token *token = &t->token[t->n];

	if (t->n < TOKENS_MAX)
		t->n++;
	buf_cut(&token->text, 0);
	token->kind = kind;
	return token;
}

static bool
is_word_char(char c)
{
	return (unsigned char)c > 32 && (unsigned char)c < 127 &&
	       !memchr("()<>@,;:\\\"/[]?=", c, 15);
}

static size_t
comment_length(const char *s, size_t n)
{
	int depth = 0;

	for (size_t i = 0; i < n; i++) {
		if (s[i] == '\\' && i + 1 < n) {
			i++;
			continue;
		}
		depth += (s[i] == '(') - (s[i] == ')');
		if (depth == 0)
			return i + 1;
	}
	return 0;
}

static size_t
quoted_length(const char *s, size_t n, struct buf *text)
{
	for (size_t i = 1; i < n; i++) {
		if (s[i] == '"')
			return i + 1;
		if (s[i] == '\r' || s[i] == '\n')
			continue;
		if (s[i] == '\\' && i + 1 < n)
			i++;
		buf_putc(text, s[i]);
	}
	return 0;
}

/*
 * Adds the next token, if there is one, and returns its length; 0 where
 * something does not end.
 */
static size_t
take_one(struct tokens *t, const char *s, size_t n)
{
	struct token *token;
	size_t len = 1;

	if (*s == '(')
		return comment_length(s, n);
	if (memchr(" \t\r\n", *s, 4))
		return 1;
	token = new_token(t, *s ? *s : 1);
	if (*s == '"') {
		len = quoted_length(s, n, &token->text);
		token->kind = len > 0 ? 'q' : '(';
	} else if (is_word_char(*s)) {
		while (len < n && is_word_char(s[len]))
			len++;
		buf_append(&token->text, s, len);
		token->kind = 'w';
	}
	return len;
}

static void
tokenize(struct tokens *t, const char *s, size_t n)
{
	size_t len;

	t->n = 0;
	for (size_t i = 0; i < n; i += len) {
		len = take_one(t, s + i, n - i);
		if (len == 0) {
			new_token(t, '(');
			break;
		}
	}
	new_token(t, 0);
}

static bool
is_text(const struct token *t, const char *kinds, const char *word)
{
	return t->kind && strchr(kinds, t->kind) &&
	       t->text.len == strlen(word) &&
	       str_case_equal(buf_text(&t->text), word, t->text.len);
}

static bool
is_plain_no(const struct tokens *t)
{
	return is_text(&t->token[0], "w", "no") && !t->token[1].kind;
}

static bool
is_plain_report(const struct tokens *t)
{
	const struct token *at = t->token;

	if (!is_text(at, "w", "multipart") || at[1].kind != '/' ||
	    !is_text(at + 2, "w", "report"))
		return false;
	for (at += 3; at->kind == ';';) {
		at++;
		if (is_text(at, "w", "report-type"))
			return at[1].kind == '=' &&
			       is_text(at + 2, "wq", "tlsrpt");
		while (at->kind && at->kind != ';')
			at++;
	}
	return false;
}

struct counts {
	size_t no, domain, submitter, type, report;
};

static void
count_field(struct counts *c, const char *name, size_t n, const char *value,
    size_t nvalue)
{
	static struct tokens t;

	tokenize(&t, value, nvalue);
	if (n == 12 && str_case_equal(name, "TLS-Required", n))
		c->no += is_plain_no(&t);
	if (n == 17 && str_case_equal(name, "TLS-Report-Domain", n))
		c->domain++;
	if (n == 20 && str_case_equal(name, "TLS-Report-Submitter", n))
		c->submitter++;
	if (n == 12 && str_case_equal(name, "Content-Type", n)) {
		c->type++;
		c->report += is_plain_report(&t);
	}
}

static struct tlsrequired
parse_plainly(const char *s, size_t n)
{
	struct counts c = { 0 };

	for (size_t at = 0, end; at < n; at = end) {
		size_t name = at, colon;

		for (end = at; end < n; end++)
			if (s[end] == '\n' &&
			    (end + 1 == n || !memchr(" \t", s[end + 1], 2)))
				break;
		end += end < n;
		while (name < end && s[name] > 32 && s[name] < 127 &&
		       s[name] != ':')
			name++;
		colon = name;
		while (colon < end && (s[colon] == ' ' || s[colon] == '\t'))
			colon++;
		if (name == at || colon == end || s[colon] != ':')
			break;
		count_field(&c, s + at, name - at, s + colon + 1,
		    end - colon - 1);
	}
	return (struct tlsrequired){ c.no > 0,
		c.domain && c.submitter && c.type == 1 && c.report == 1 };
}

static struct tlsrequired
parse(const char *s, size_t n, bool is_whole)
{
	struct tlsrequired r = { true, true };
	/* An exact copy, so that a read beyond its end is found. */
	char *copy = malloc(n > 0 ? n : 1);

	CHECK(copy);
	memcpy(copy, s, n);
	tlsrequired_parse(&r, copy, n, is_whole);
	free(copy);
	return r;
}

static void
check_same(struct tlsrequired a, struct tlsrequired b)
{
	CHECK(a.is_no == b.is_no && a.is_report == b.is_report);
}

/* The same with CRLF for LF. */
static struct tlsrequired
parse_crlf(const char *s, size_t n)
{
	struct tlsrequired r;
	struct buf b = { 0 };

	for (size_t i = 0; i < n; i++) {
		if (s[i] == '\n')
			buf_putc(&b, '\r');
		buf_putc(&b, s[i]);
	}
	r = parse(buf_text(&b), b.len, true);
	buf_finish(&b);
	return r;
}

/* The same between other text. */
static struct tlsrequired
parse_between(const char *before, const char *s, size_t n, const char *after)
{
	struct tlsrequired r;
	struct buf b = { 0 };

	buf_puts(&b, before);
	buf_append(&b, s, n);
	buf_puts(&b, after);
	r = parse(b.data, b.len, true);
	buf_finish(&b);
	return r;
}

/* A part of the message has no field that the whole does not have. */
static void
check_part(const char *s, size_t n, size_t part, struct tlsrequired whole)
{
	if (part < n)
		CHECK(whole.is_no || !parse(s, part, false).is_no);
}

/* Reads the message behind a field of pad bytes, at an offset. */
static void
check_read(const char *s, size_t n, size_t pad)
{
	struct tlsrequired r = { true, true };
	struct buf b = { 0 };
	size_t limit;
	int fd;

	buf_puts(&b, "not the message\n\n");
	limit = b.len;
	buf_puts(&b, "Pad: ");
	memset(buf_reserve(&b, pad), 'x', pad);
	b.len += pad;
	buf_putc(&b, '\n');
	buf_append(&b, s, n);
	fd = fuzz_write_file("message", b.data, b.len);
	CHECK(lseek(fd, (off_t)limit, SEEK_SET) == (off_t)limit);
	tlsrequired_read(&r, fd);
	CHECK(lseek(fd, 0, SEEK_CUR) == (off_t)limit);
	close(fd);
	n = b.len - limit;
	if (n <= TLSREQUIRED_HEADER_MAX)
		check_same(r, parse(b.data + limit, n, true));
	else
		check_same(r,
		    parse(b.data + limit, TLSREQUIRED_HEADER_MAX, false));
	buf_finish(&b);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_input in = { data, size };
	size_t pad = (size_t)fuzz_byte(&in) << 8;
	size_t part = fuzz_byte(&in), n;
	const char *s;
	struct tlsrequired r;

	pad |= fuzz_byte(&in);
	n = in.left;
	s = fuzz_bytes(&in, &n);
	fuzz_enter_directory();
	r = parse(s, n, true);
	check_same(r, parse_plainly(s, n));
	check_same(r, parse_crlf(s, n));
	check_same(r, parse_between("", s, n, "\n\nTLS-Required: no\n\n"));
	if (n == 0 || (*s != ' ' && *s != '\t'))
		CHECK(parse_between("TLS-Required: no\n", s, n, "").is_no);
	CHECK(!parse_between("\n", s, n, "").is_no);
	check_part(s, n, part, r);
	check_read(s, n, pad);
	return 0;
}
