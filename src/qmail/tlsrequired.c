/* SPDX-License-Identifier: ISC */
#include "qmail/tlsrequired.h"

#include <sys/stat.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"
#include "io/fdio.h"
#include "qmail/control.h"

#define PIECE 8192 /* bytes read at once; most headers are shorter */

/* Bytes of a field's value, which are read from the start on. */
struct text {
	const char *at, *end;
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/*
 * The end of the comment at the start of the text, which may contain others
 * (RFC 5322 section 3.2.2); NULL if it does not end.
 */
static const char *
end_of_comment(const struct text *t)
{
	size_t depth = 0;

	for (const char *s = t->at; s < t->end; s++) {
		if (*s == '(')
			depth++;
		else if (*s == ')')
			depth--;
		else if (*s == '\\' && s + 1 < t->end)
			s++;
		if (depth == 0)
			return s + 1;
	}
	return NULL;
}

/*
 * Skips blanks and comments, but not a comment that does not end.  A line end
 * in a value is always a fold: the next line begins with a blank.
 */
static void
skip_blanks(struct text *t)
{
	while (t->at < t->end) {
		const char *end = t->at + 1;

		if (*t->at == '(')
			end = end_of_comment(t);
		else if (!is_blank(*t->at))
			return;
		if (!end)
			return;
		t->at = end;
	}
}

/* Whether c may be in a token (RFC 2045 section 5.1). */
static bool
is_token_char(char c)
{
	return c > ' ' && c < '\177' && !strchr("()<>@,;:\\\"/[]?=", c);
}

/* Whether the next thing is this token, apart from case; takes it if so. */
static bool
take_token(struct text *t, const char *word)
{
	size_t n = strlen(word), len = 0;

	skip_blanks(t);
	while (t->at + len < t->end && is_token_char(t->at[len]))
		len++;
	if (len != n || !str_case_equal(t->at, word, n))
		return false;
	t->at += len;
	return true;
}

static bool
take_char(struct text *t, char c)
{
	skip_blanks(t);
	if (t->at == t->end || *t->at != c)
		return false;
	t->at++;
	return true;
}

static bool
is_at_end(struct text *t)
{
	skip_blanks(t);
	return t->at == t->end;
}

/* The same for a quoted string, or a token. */
static bool
take_value(struct text *t, const char *word)
{
	if (!take_char(t, '"'))
		return take_token(t, word);
	for (; t->at < t->end && *t->at != '"'; t->at++) {
		if (*t->at == '\r' || *t->at == '\n')
			continue;
		if (*t->at == '\\' && t->at + 1 < t->end)
			t->at++;
		if (*word == '\0' || str_lower(*t->at) != *word++)
			return false;
	}
	return *word == '\0' && take_char(t, '"');
}

/*
 * Skips a parameter up to the next semicolon, the end, or a comment that does
 * not end.
 */
static void
skip_parameter(struct text *t)
{
	bool is_quoted = false;

	for (;; t->at++) {
		if (!is_quoted)
			skip_blanks(t);
		if (t->at == t->end)
			return;
		if (!is_quoted && (*t->at == ';' || *t->at == '('))
			return;
		if (*t->at == '"')
			is_quoted = !is_quoted;
		else if (is_quoted && *t->at == '\\' && t->at + 1 < t->end)
			t->at++;
	}
}

/* The value of Content-Type (RFC 2045 section 5.1; RFC 8460 section 5.3). */
static bool
is_report_type(struct text t)
{
	if (!take_token(&t, "multipart") || !take_char(&t, '/') ||
	    !take_token(&t, "report"))
		return false;
	while (take_char(&t, ';')) {
		if (take_token(&t, "report-type"))
			return take_char(&t, '=') && take_value(&t, "tlsrpt");
		skip_parameter(&t);
	}
	return false;
}

static bool
is_no(struct text t)
{
	return take_token(&t, "no") && is_at_end(&t);
}

struct field {
	const char *name;
	size_t len;
	struct text value;
};

/*
 * The end of the field at s: the start of the first line after it that does not
 * begin with a blank.  NULL if the field may go on after end.
 */
static const char *
end_of_field(const char *s, const char *end, bool is_whole)
{
	const char *next = memchr(s, '\n', (size_t)(end - s));

	while (next && ++next < end) {
		if (*next != ' ' && *next != '\t')
			return next;
		next = memchr(next, '\n', (size_t)(end - next));
	}
	return is_whole ? end : NULL;
}

/* The length of a field name at the start of n bytes; 0 if there is none. */
static size_t
name_length(const char *s, size_t n)
{
	size_t len = 0, colon;

	while (len < n && s[len] > ' ' && s[len] < '\177' && s[len] != ':')
		len++;
	/* Blanks before the colon are obsolete (RFC 5322 section 4.5). */
	for (colon = len; colon < n; colon++)
		if (s[colon] != ' ' && s[colon] != '\t')
			break;
	return colon < n && s[colon] == ':' ? len : 0;
}

/* The next field.  False at the end of the header section. */
static bool
next_field(const char **at, const char *end, bool is_whole, struct field *f)
{
	const char *stop = end_of_field(*at, end, is_whole);

	if (!stop)
		return false;
	f->name = *at;
	f->len = name_length(*at, (size_t)(stop - *at));
	if (f->len == 0)
		return false;
	f->value.at = memchr(f->name, ':', (size_t)(stop - f->name));
	f->value.at++;
	f->value.end = stop;
	*at = stop;
	return true;
}

static bool
is_named(const struct field *f, const char *name)
{
	return strlen(name) == f->len && str_case_equal(f->name, name, f->len);
}

void
tlsrequired_parse(struct tlsrequired *r, const char *s, size_t n, bool is_whole)
{
	const char *end = s + n;
	bool has_domain = false, has_submitter = false;
	size_t types = 0, report_types = 0;
	struct field f;

	r->is_no = false;
	while (next_field(&s, end, is_whole, &f)) {
		if (is_named(&f, "TLS-Required"))
			r->is_no = r->is_no || is_no(f.value);
		else if (is_named(&f, "TLS-Report-Domain"))
			has_domain = true;
		else if (is_named(&f, "TLS-Report-Submitter"))
			has_submitter = true;
		else if (is_named(&f, "Content-Type")) {
			types++;
			report_types += is_report_type(f.value);
		}
	}
	r->is_report =
	    has_domain && has_submitter && types == 1 && report_types == 1;
}

/* Whether there is an empty line; there was none before byte from. */
static bool
has_empty_line(const struct buf *b, size_t from)
{
	const char *s = buf_text(b), *end = s + b->len;
	const char *line = from > 2 ? s + from - 2 : s;

	while ((line = memchr(line, '\n', (size_t)(end - line)))) {
		line++;
		if (line < end && *line == '\r')
			line++;
		if (line < end && *line == '\n')
			return true;
	}
	return false;
}

/*
 * Appends the bytes of a file from start on, up to the piece in which its
 * header section ends, or the limit.
 */
static void
read_header(int fd, uint64_t start, size_t limit, struct buf *b)
{
	size_t n = limit < PIECE ? limit : PIECE;

	while (n > 0 &&
	       fdio_read_at(fd, start + b->len, buf_reserve(b, n), n) == 0) {
		size_t from = b->len;

		b->len += n;
		b->data[b->len] = '\0';
		if (has_empty_line(b, from))
			return;
		n = limit - b->len < PIECE ? limit - b->len : PIECE;
	}
}

/* How many bytes there are from the offset of fd on; 0 if it is not a file. */
static uint64_t
bytes_left(int fd, off_t *offset)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return 0;
	*offset = lseek(fd, 0, SEEK_CUR);
	if (*offset == -1 || st.st_size <= *offset)
		return 0;
	return (uint64_t)(st.st_size - *offset);
}

void
tlsrequired_read(struct tlsrequired *r, int fd)
{
	off_t offset = 0;
	uint64_t n = bytes_left(fd, &offset);
	struct buf b = { 0 };

	read_header(fd, (uint64_t)offset,
	    n < TLSREQUIRED_HEADER_MAX ? (size_t)n : TLSREQUIRED_HEADER_MAX,
	    &b);
	tlsrequired_parse(r, buf_text(&b), b.len, b.len == n);
	buf_finish(&b);
}

bool
tlsrequired_is_obeyed(const struct tlsrequired *r, unsigned long setting)
{
	switch (setting) {
	case CONTROL_TLSREQUIRED_IGNORED:
		return false;
	case CONTROL_TLSREQUIRED_OBEYED:
		return r->is_no;
	default:
		return r->is_no && r->is_report;
	}
}
