/* SPDX-License-Identifier: ISC */
#include "smtp/reply.h"

#include <string.h>

#include "base/str.h"

#define CODE_DIGITS 3

void
smtp_reply_reset(struct smtp_reply *r)
{
	r->code = 0;
	r->size = 0;
	r->lines = 0;
	r->column = 0;
	r->len = 0;
}

static void
begin_line(struct smtp_reply *r)
{
	r->line_has_no_code = false;
	r->line_code = 0;
	r->is_continued = false;
	r->line_is_cut = false;
	r->linelen = 0;
}

/* Keeps a byte for the report, except for CRs and empty lines. */
static void
keep(struct smtp_reply *r, char c)
{
	bool is_empty = r->len == 0 || r->text[r->len - 1] == '\n';

	if (c == '\r' || (c == '\n' && is_empty) || r->len == sizeof r->text)
		return;
	r->text[r->len++] = c;
}

static void
keep_line(struct smtp_reply *r, char c)
{
	if (c == '\r' || c == '\n')
		return;
	if (r->linelen == sizeof r->line)
		r->line_is_cut = true;
	else
		r->line[r->linelen++] = c;
}

/* The byte after three digits.  False if this reply cannot have that code. */
static bool
end_code(struct smtp_reply *r, char c)
{
	if (str_is_digit(c))
		return false;
	r->is_continued = c == '-';
	if (c != ' ' && c != '\t' && c != '-')
		keep_line(r, c);
	if (r->code == 0)
		r->code = r->line_code;
	return r->line_code == r->code && r->code != 0;
}

/* A byte of a line that has a code so far.  False if the reply is malformed. */
static bool
add_to_line(struct smtp_reply *r, char c)
{
	if (r->column == CODE_DIGITS)
		return end_code(r, c);
	if (r->column < CODE_DIGITS)
		r->line_code = r->line_code * 10 + (c - '0');
	else
		keep_line(r, c);
	return true;
}

/* One byte.  False if the reply is malformed. */
static bool
add_byte(struct smtp_reply *r, char c)
{
	if (r->column == 0)
		begin_line(r);
	if (r->column < CODE_DIGITS && !str_is_digit(c))
		r->line_has_no_code = true;
	if (!r->line_has_no_code && !add_to_line(r, c))
		return false;
	r->column++;
	return ++r->size <= SMTP_REPLY_MAX;
}

/*
 * Keeps the rest of a malformed line for the report: it shows which kind of
 * server it is.
 */
static size_t
keep_rest(struct smtp_reply *r, const char *p, size_t n)
{
	size_t i = 0;

	while (i < n) {
		keep(r, p[i]);
		if (p[i++] == '\n')
			break;
	}
	return i;
}

size_t
smtp_reply_add(struct smtp_reply *r, const char *p, size_t n,
    enum smtp_reply_state *state)
{
	for (size_t i = 0; i < n; i++) {
		if (!add_byte(r, p[i])) {
			*state = SMTP_REPLY_MALFORMED;
			return i + keep_rest(r, p + i, n - i);
		}
		keep(r, p[i]);
		if (p[i] != '\n')
			continue;
		r->column = 0;
		if (r->line_has_no_code)
			continue;
		r->lines++;
		*state = r->is_continued ? SMTP_REPLY_LINE : SMTP_REPLY_DONE;
		return i + 1;
	}
	*state = SMTP_REPLY_MORE;
	return n;
}

/* Whether the line has a code, or may get one, judging by its first bytes. */
static bool
may_have_code(const char *p, size_t n)
{
	for (size_t i = 0; i < n && i < CODE_DIGITS; i++)
		if (!str_is_digit(p[i]))
			return false;
	return true;
}

size_t
smtp_reply_skip(struct smtp_reply *r, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (r->column == 0 && may_have_code(p + i, n - i))
			return i;
		if (r->size == SMTP_REPLY_MAX || !add_byte(r, p[i]))
			return i;
		keep(r, p[i]);
		if (p[i] == '\n')
			r->column = 0;
	}
	return n;
}

bool
smtp_reply_has_no_code(const struct smtp_reply *r)
{
	return r->code == 0 && r->len > 0 && memchr(r->text, '\n', r->len);
}

bool
smtp_reply_begins_without_code(const struct smtp_reply *r)
{
	return !may_have_code(r->text, r->len);
}

int
smtp_reply_class(const struct smtp_reply *r)
{
	return r->code / 100;
}
