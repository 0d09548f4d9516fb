/* SPDX-License-Identifier: ISC */
#include "qmail/login.h"

#include <errno.h>
#include <string.h>

#include "qmail/control.h"

static const char token_mark[] = "token=";

bool
login_is_given(const struct login *l)
{
	return l->credentials.kind != CREDENTIALS_NONE;
}

static bool
has_control_byte(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] < ' ' || s[i] == '\x7f')
			return true;
	return false;
}

/* A path is not a secret, but ends with the same bytes that would be one. */
static const char *
parse_secret(struct login *l, const char *s, size_t n)
{
	const size_t mark = sizeof token_mark - 1;
	bool is_token = n >= mark && memcmp(s, token_mark, mark) == 0;

	if (n == 0)
		return "no password";
	if (n == mark && is_token)
		return "no path of a token";
	if (n > CREDENTIALS_SECRET_MAX)
		return "the password is too long";
	if (memchr(s, '\0', n) != NULL)
		return "a NUL in the password";
	l->credentials.kind =
	    is_token ? CREDENTIALS_TOKEN : CREDENTIALS_PASSWORD;
	if (is_token)
		buf_append(&l->token, s + mark, n - mark);
	else
		buf_append(&l->credentials.secret, s, n);
	return NULL;
}

const char *
login_parse(struct login *l, const char *s, size_t n)
{
	const char *bar = memchr(s, '|', n);
	size_t user = bar != NULL ? (size_t)(bar - s) : n;

	if (bar == NULL)
		return "no '|' behind the user name";
	if (user == 0)
		return "no user name";
	if (user > CREDENTIALS_USER_MAX)
		return "the user name is too long";
	if (has_control_byte(s, user))
		return "a control byte in the user name";
	buf_append(&l->credentials.user, s, user);
	return parse_secret(l, bar + 1, n - user - 1);
}

/* What is wrong with a token: it is part of a line with other separators. */
static const char *
token_fault(const struct buf *token)
{
	if (token->len == 0)
		return "no token in its first line";
	if (token->len > CREDENTIALS_SECRET_MAX)
		return "the token is too long";
	for (size_t i = 0; i < token->len; i++)
		if (token->data[i] <= ' ' || token->data[i] > '~')
			return "not a token";
	return NULL;
}

int
login_read_token(struct login *l, struct dsn *why)
{
	struct buf *token = &l->credentials.secret;
	const char *fault;

	if (l->credentials.kind != CREDENTIALS_TOKEN)
		return 0;
	/*
	 * If it is replaced between these two, a session has the newer token
	 * and goes by the older version, which nobody finds afterwards.
	 */
	(void)fileid_read(&l->token_version, buf_text(&l->token));
	if (control_line(buf_text(&l->token), token) == CONTROL_FOUND)
		fault = token_fault(token);
	else
		fault = strerror(errno);
	if (fault == NULL)
		return 0;
	return control_refuse(buf_text(&l->token), fault, why);
}

void
login_finish(struct login *l)
{
	credentials_finish(&l->credentials);
	buf_finish(&l->token);
	*l = (struct login){ .file = NULL };
}
