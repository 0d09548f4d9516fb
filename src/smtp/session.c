/* SPDX-License-Identifier: ISC */
#include "smtp/session.h"

#include <errno.h>
#include <string.h>

void
smtp_session_init(struct smtp_session *s, int fd, unsigned long timeout_s)
{
	stream_init(&s->stream, fd);
	smtp_reply_reset(&s->reply);
	s->in_reply = false;
	s->ehlo = (struct smtp_ehlo){ 0 };
	s->timeout_s = timeout_s;
	s->transactions = 0;
	s->owed = 0;
	s->owes_data = false;
	s->is_open = false;
	s->is_cut = false;
}

struct deadline
smtp_session_deadline(const struct smtp_session *s)
{
	return deadline_in(1000 * (int64_t)s->timeout_s);
}

static struct deadline
hello_deadline(const struct smtp_session *s)
{
	return deadline_in(1000 * (int64_t)(s->timeout_s < SMTP_HELLO_TIMEOUT_S
						? s->timeout_s
						: SMTP_HELLO_TIMEOUT_S));
}

enum smtp_reply_state
smtp_session_parse(struct smtp_session *s, struct smtp_ehlo *ehlo)
{
	enum smtp_reply_state state;

	if (!s->in_reply)
		smtp_reply_reset(&s->reply);
	s->in_reply = true;
	do {
		size_t n;
		const char *p = stream_input(&s->stream, &n);
		bool is_first = s->reply.lines == 0;

		n = smtp_reply_add(&s->reply, p, n, &state);
		stream_consume(&s->stream, n);
		if (state != SMTP_REPLY_LINE && state != SMTP_REPLY_DONE)
			break;
		if (ehlo && !is_first && !s->reply.line_cut)
			smtp_ehlo_add(ehlo, s->reply.line, s->reply.linelen);
	} while (state == SMTP_REPLY_LINE);
	if (state != SMTP_REPLY_MORE)
		s->in_reply = false;
	return state;
}

enum smtp_outcome
smtp_session_reply(struct smtp_session *s, struct deadline until,
    struct smtp_ehlo *ehlo)
{
	for (;;) {
		switch (smtp_session_parse(s, ehlo)) {
		case SMTP_REPLY_DONE:
			return SMTP_DONE;
		case SMTP_REPLY_MALFORMED:
			return SMTP_MALFORMED;
		default:
			if (stream_fill(&s->stream, until) != STREAM_OK)
				return SMTP_DIED;
		}
	}
}

enum smtp_outcome
smtp_session_unasked(struct smtp_session *s)
{
	s->in_reply = false;
	(void)smtp_session_parse(s, NULL);
	return SMTP_MALFORMED;
}

static enum smtp_outcome
wants(struct smtp_session *s, enum smtp_outcome outcome, int code)
{
	if (outcome != SMTP_DONE)
		return outcome;
	return s->reply.code == code ? SMTP_DONE : SMTP_REFUSED;
}

/* Bytes that belong to no command: shown as if they were a reply. */
static enum smtp_outcome
unsolicited(struct smtp_session *s)
{
	(void)smtp_session_unasked(s);
	return SMTP_UNSOLICITED;
}

static enum smtp_outcome
say(struct smtp_session *s, const char *verb, const char *argument,
    struct deadline until)
{
	struct stream *stream = &s->stream;
	size_t verb_len = strlen(verb), argument_len = strlen(argument);

	/* Also what is still in the socket came before we asked. */
	if (stream_has_input(stream))
		return unsolicited(s);
	smtp_reply_reset(&s->reply);
	if (verb_len + argument_len + 2 > stream_room(stream))
		return SMTP_DIED;
	stream_put(stream, verb, verb_len);
	stream_put(stream, argument, argument_len);
	stream_put(stream, "\r\n", 2);
	return stream_flush(stream, until) == STREAM_OK ? SMTP_DONE : SMTP_DIED;
}

enum smtp_outcome
smtp_session_greeting(struct smtp_session *s)
{
	return wants(s, smtp_session_reply(s, hello_deadline(s), NULL), 220);
}

static enum smtp_outcome
say_hello(struct smtp_session *s, const char *verb, const char *helohost,
    struct smtp_ehlo *offered)
{
	struct deadline until = hello_deadline(s);
	enum smtp_outcome outcome;

	s->ehlo = (struct smtp_ehlo){ 0 };
	outcome = say(s, verb, helohost, until);
	if (outcome == SMTP_DONE)
		outcome = smtp_session_reply(s, until, offered);
	outcome = wants(s, outcome, 250);
	if (outcome == SMTP_DONE && stream_has_unread(&s->stream))
		return unsolicited(s);
	return outcome;
}

enum smtp_outcome
smtp_session_ehlo(struct smtp_session *s, const char *helohost)
{
	struct smtp_ehlo offered = { 0 };
	enum smtp_outcome outcome = say_hello(s, "EHLO ", helohost, &offered);

	if (outcome == SMTP_DONE)
		s->ehlo = offered;
	return outcome;
}

enum smtp_outcome
smtp_session_helo(struct smtp_session *s, const char *helohost)
{
	return say_hello(s, "HELO ", helohost, NULL);
}

bool
smtp_session_has_ended(struct smtp_session *s)
{
	return stream_has_ended(&s->stream);
}

bool
smtp_session_lacks_memory(const struct smtp_session *s)
{
	return s->stream.error == ENOMEM || s->stream.error == ENOBUFS;
}

static enum smtp_outcome
command(struct smtp_session *s, const char *verb, int code,
    struct deadline until)
{
	enum smtp_outcome outcome = say(s, verb, "", until);

	if (outcome == SMTP_DONE)
		outcome = smtp_session_reply(s, until, NULL);
	return wants(s, outcome, code);
}

enum smtp_outcome
smtp_session_starttls(struct smtp_session *s)
{
	enum smtp_outcome outcome =
	    command(s, "STARTTLS", 220, hello_deadline(s));

	if (outcome == SMTP_DONE && stream_has_input(&s->stream))
		return smtp_session_unasked(s);
	return outcome;
}

bool
smtp_session_is_out_of_sequence(const struct smtp_session *s)
{
	return s->reply.code == 503 &&
	       smtp_ehlo_has(&s->ehlo, SMTP_EXT_PIPELINING);
}

static void
take_owed_reply(struct smtp_session *s, struct deadline until)
{
	s->is_cut = stream_flush(&s->stream, until) != STREAM_OK ||
		    smtp_session_reply(s, until, NULL) != SMTP_DONE ||
		    s->reply.code == 354;
	s->owed--;
}

enum smtp_outcome
smtp_session_settle(struct smtp_session *s)
{
	while (s->owed > 0 && !s->is_cut)
		take_owed_reply(s, smtp_session_deadline(s));
	if (s->is_open && !s->is_cut)
		s->is_cut = command(s, "RSET", 250, smtp_session_deadline(s)) !=
			    SMTP_DONE;
	s->is_open = false;
	return s->is_cut ? SMTP_DIED : SMTP_DONE;
}

void
smtp_session_quit(struct smtp_session *s)
{
	struct deadline now = deadline_in(0);
	struct deadline until = smtp_session_deadline(s);

	while (s->owes_data && s->owed > 0 && !s->is_cut)
		take_owed_reply(s, until);
	if (!s->is_cut && !stream_is_pending(&s->stream) &&
	    stream_room(&s->stream) >= strlen("QUIT\r\n")) {
		stream_put(&s->stream, "QUIT\r\n", strlen("QUIT\r\n"));
		(void)stream_flush(&s->stream, now);
	}
}
