/* SPDX-License-Identifier: ISC */
#include "smtp/auth.h"

#include <assert.h>
#include <string.h>

#include "base/base64.h"
#include "smtp/maildata.h"

#define CHALLENGE 334
#define COMMAND_MAX 512 /* octets of a line, with its end */

/* The responses to the challenges of a mechanism, in base64. */
struct responses {
	struct buf line[2];
	size_t n;
};

static void
finish(struct responses *r)
{
	for (size_t i = 0; i < r->n; i++)
		buf_wipe(&r->line[i]);
}

/* Wipes what it encodes. */
static void
add_encoded(struct responses *r, struct buf *raw)
{
	base64_encode(&r->line[r->n++], raw->data, raw->len);
	buf_wipe(raw);
}

static void
append(struct buf *to, const struct buf *from)
{
	buf_append(to, from->data, from->len);
}

/* RFC 4616 section 2; no authorization identity. */
static void
add_plain(struct responses *r, const struct credentials *c)
{
	struct buf raw = { 0 };

	(void)buf_reserve(&raw, c->user.len + c->secret.len + 2);
	buf_putc(&raw, '\0');
	append(&raw, &c->user);
	buf_putc(&raw, '\0');
	append(&raw, &c->secret);
	add_encoded(r, &raw);
}

/*
 * The user name in response to the first challenge, the password in response to
 * the second, whatever the text of the challenges is.
 */
static void
add_login(struct responses *r, const struct credentials *c)
{
	base64_encode(&r->line[r->n++], c->user.data, c->user.len);
	base64_encode(&r->line[r->n++], c->secret.data, c->secret.len);
}

/* A saslname (RFC 5801 section 4). */
static void
append_escaped(struct buf *to, const struct buf *name)
{
	for (size_t i = 0; i < name->len; i++) {
		char c = name->data[i];

		if (c == ',' || c == '=')
			buf_puts(to, c == ',' ? "=2C" : "=3D");
		else
			buf_putc(to, c);
	}
}

static void
append_token(struct buf *to, const struct credentials *c)
{
	buf_puts(to, "\1auth=Bearer ");
	append(to, &c->secret);
	buf_puts(to, "\1\1");
}

#define TOKEN_ROOM (3 * CREDENTIALS_USER_MAX + CREDENTIALS_SECRET_MAX + 64)

/* RFC 7628 section 3.1.  Its keys host and port are optional, and left out. */
static void
add_oauthbearer(struct responses *r, const struct credentials *c)
{
	struct buf raw = { 0 };

	(void)buf_reserve(&raw, TOKEN_ROOM);
	buf_puts(&raw, "n,a=");
	append_escaped(&raw, &c->user);
	buf_puts(&raw, ",");
	append_token(&raw, c);
	add_encoded(r, &raw);
}

/* As Google and Microsoft describe it. */
static void
add_xoauth2(struct responses *r, const struct credentials *c)
{
	struct buf raw = { 0 };

	(void)buf_reserve(&raw, TOKEN_ROOM);
	buf_puts(&raw, "user=");
	append(&raw, &c->user);
	append_token(&raw, c);
	add_encoded(r, &raw);
}

static const struct method {
	enum smtp_mechanism mechanism;
	enum credentials_kind kind;
	const char *verb;
	bool has_initial; /* the first response may be sent with the command */
	void (*add)(struct responses *, const struct credentials *);
	/* The response to the reason for a refusal, or NULL. */
	const char *dismissal;
} methods[] = {
	{ SMTP_MECHANISM_PLAIN, CREDENTIALS_PASSWORD, "AUTH PLAIN", true,
	    add_plain, NULL },
	{ SMTP_MECHANISM_LOGIN, CREDENTIALS_PASSWORD, "AUTH LOGIN", false,
	    add_login, NULL },
	{ SMTP_MECHANISM_OAUTHBEARER, CREDENTIALS_TOKEN, "AUTH OAUTHBEARER",
	    true, add_oauthbearer, "AQ==" },
	{ SMTP_MECHANISM_XOAUTH2, CREDENTIALS_TOKEN, "AUTH XOAUTH2", true,
	    add_xoauth2, "" },
};

#define NMETHOD (sizeof methods / sizeof methods[0])

enum smtp_mechanism
smtp_auth_choose(const struct smtp_ehlo *e, enum credentials_kind kind)
{
	for (size_t i = 0; i < NMETHOD; i++)
		if (methods[i].kind == kind &&
		    (e->mechanisms & methods[i].mechanism))
			return methods[i].mechanism;
	return SMTP_MECHANISM_NONE;
}

static const struct method *
find(enum smtp_mechanism mechanism)
{
	size_t i = 0;

	while (methods[i].mechanism != mechanism) {
		i++;
		assert(i < NMETHOD);
	}
	return &methods[i];
}

static enum smtp_outcome
command(struct smtp_session *s, const char *verb, const char *argument)
{
	return smtp_session_command(s, verb, argument,
	    smtp_session_hello_deadline(s));
}

static bool
is_challenge(enum smtp_outcome outcome, const struct smtp_session *s)
{
	return outcome == SMTP_DONE && s->reply.code == CHALLENGE;
}

/* The first response goes with AUTH, or is left for a challenge. */
static enum smtp_outcome
begin(struct smtp_session *s, const struct method *m, const struct responses *r,
    size_t *sent)
{
	size_t length = strlen(m->verb) + 1 + r->line[0].len + 2;
	struct buf verb = { 0 };
	enum smtp_outcome outcome;

	*sent = 0;
	if (!m->has_initial || length > COMMAND_MAX)
		return command(s, m->verb, "");
	*sent = 1;
	buf_printf(&verb, "%s ", m->verb);
	outcome = command(s, buf_text(&verb), buf_text(&r->line[0]));
	buf_finish(&verb);
	return outcome;
}

static enum smtp_outcome
exchange(struct smtp_session *s, const struct method *m,
    const struct responses *r)
{
	size_t sent;
	enum smtp_outcome outcome = begin(s, m, r, &sent);

	while (sent < r->n && is_challenge(outcome, s))
		outcome = command(s, buf_text(&r->line[sent++]), "");
	if (sent == r->n && m->dismissal && is_challenge(outcome, s))
		outcome = command(s, m->dismissal, "");
	/* A server that accepts without all responses has verified nothing. */
	if (outcome == SMTP_DONE && sent < r->n &&
	    smtp_classify_reply(&s->reply) == SMTP_DONE)
		return SMTP_MALFORMED;
	/* What came before a response was sent is no reply to it. */
	if (outcome == SMTP_UNSOLICITED)
		return SMTP_MALFORMED;
	return outcome == SMTP_DONE ? smtp_classify_reply(&s->reply) : outcome;
}

enum smtp_outcome
smtp_auth(struct smtp_session *s, enum smtp_mechanism mechanism,
    const struct credentials *c)
{
	const struct method *m = find(mechanism);
	struct responses r = { .n = 0 };
	enum smtp_outcome outcome;

	assert(m->kind == c->kind);
	assert(c->user.len > 0 && c->user.len <= CREDENTIALS_USER_MAX);
	assert(c->secret.len > 0 && c->secret.len <= CREDENTIALS_SECRET_MAX);
	m->add(&r, c);
	outcome = exchange(s, m, &r);
	finish(&r);
	stream_wipe_written(&s->stream);
	return outcome;
}

void
smtp_auth_hide(const struct credentials *c, struct mask *mask)
{
	mask_add_name(mask, c->user.data, c->user.len);
	mask_add_secret(mask, c->secret.data, c->secret.len);
	for (size_t i = 0; i < NMETHOD; i++) {
		struct responses r = { .n = 0 };

		if (methods[i].kind != c->kind)
			continue;
		methods[i].add(&r, c);
		for (size_t k = 0; k < r.n; k++)
			mask_add_encoded(mask, r.line[k].data, r.line[k].len);
		finish(&r);
	}
}
