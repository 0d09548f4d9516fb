/* SPDX-License-Identifier: ISC */
#include "smtp/reply.h"

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
	r->line_code = 0;
	r->goes_on = false;
	r->after_cr = false;
	r->line_cut = false;
	r->linelen = 0;
}

static void
keep(struct smtp_reply *r, char c)
{
	if (c != '\r' && r->len < sizeof r->text)
		r->text[r->len++] = c;
}

static void
keep_line(struct smtp_reply *r, char c)
{
	if (c == '\r' || c == '\n')
		return;
	if (r->linelen == sizeof r->line)
		r->line_cut = true;
	else
		r->line[r->linelen++] = c;
}

/* The byte behind the code, or a CR that can only be part of the line end. */
static bool
is_separator(struct smtp_reply *r, char c)
{
	if (r->after_cr)
		return c == '\n';
	r->after_cr = c == '\r';
	r->goes_on = c == '-';
	return c == ' ' || c == '-' || c == '\r' || c == '\n';
}

/* One byte; false when no reply can look like that. */
static bool
add_byte(struct smtp_reply *r, char c)
{
	if (r->column == 0)
		begin_line(r);
	if (r->column < CODE_DIGITS) {
		if (!str_is_digit(c))
			return false;
		r->line_code = r->line_code * 10 + (c - '0');
	} else if (r->column == CODE_DIGITS || r->after_cr) {
		if (!is_separator(r, c))
			return false;
		if (r->code == 0 && r->line_code != 0)
			r->code = r->line_code;
		if (r->line_code != r->code || r->code == 0)
			return false;
	} else {
		keep_line(r, c);
	}
	r->column++;
	return ++r->size <= SMTP_REPLY_MAX;
}

/* Shows what else came with a malformed line: it tells who is there. */
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
		if (p[i] == '\n') {
			r->column = 0;
			r->lines++;
			*state = r->goes_on ? SMTP_REPLY_LINE : SMTP_REPLY_DONE;
			return i + 1;
		}
	}
	*state = SMTP_REPLY_MORE;
	return n;
}

int
smtp_reply_class(const struct smtp_reply *r)
{
	return r->code / 100;
}
