/* SPDX-License-Identifier: ISC */
#include "qmail/quote.h"

#include <string.h>

#include "base/utf8.h"

/* The sender of a double bounce, see qmail-send(8). */
static const char double_bounce[] = "#@[]";

bool
quote_needs_smtputf8(const char *address)
{
	const char *at = strrchr(address, '@');

	return utf8_is_international(address,
	    at ? (size_t)(at - address) : strlen(address));
}

/* Whether it can be in a command without quotes. */
static bool
is_safe_bare(const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c <= ' ' || c == 0x7f || c == '<' || c == '>')
			return false;
	}
	return true;
}

/*
 * Stock quotes a line end with a backslash, but a server ends the command
 * there.
 */
static bool
is_safe_quoted(const char *s, size_t n)
{
	return !memchr(s, '\r', n) && !memchr(s, '\n', n);
}

static bool
needs_quotes(const char *s, size_t n, bool is_utf8)
{
	if (n == 0 || s[0] == '.' || s[n - 1] == '.')
		return true;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c <= ' ' || c == 0x7f || (c > 0x7f && !is_utf8) ||
		    strchr("\"(),:;<>@[\\]", c))
			return true;
		if (c == '.' && s[i + 1] == '.')
			return true;
	}
	return false;
}

static void
append_quoted(struct buf *b, const char *s, size_t n)
{
	buf_putc(b, '"');
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '"' || s[i] == '\\')
			buf_putc(b, '\\');
		buf_putc(b, s[i]);
	}
	buf_putc(b, '"');
}

int
quote_mailbox(struct buf *b, const char *address, bool knows_smtputf8)
{
	const char *at = strrchr(address, '@');
	size_t n = at ? (size_t)(at - address) : 0;
	bool is_utf8 = knows_smtputf8 && utf8_is_valid(address, n);

	if (!is_safe_bare(at ? at : address) || !is_safe_quoted(address, n) ||
	    (at && utf8_is_international(at, strlen(at))))
		return -1;
	if (at && needs_quotes(address, n, is_utf8))
		append_quoted(b, address, n);
	else
		buf_append(b, address, n);
	buf_puts(b, at ? at : address);
	return 0;
}

int
quote_sender(struct buf *b, const char *address, bool knows_smtputf8)
{
	if (strcmp(address, double_bounce) == 0)
		return 0;
	return quote_mailbox(b, address, knows_smtputf8);
}
