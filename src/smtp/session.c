/* SPDX-License-Identifier: ISC */
#include "smtp/session.h"

#include <errno.h>
#include <string.h>

#define HELPER_GRACE_MS 500

void
smtp_session_init(struct smtp_session *s, int fd, unsigned long timeout_s)
{
	stream_init(&s->stream, fd);
	smtp_reply_reset(&s->reply);
	s->in_reply = false;
	s->ehlo = (struct smtp_ehlo){ 0 };
	s->timeout_s = timeout_s;
	s->is_through_helper = false;
	s->state = (struct smtp_state){ 0 };
	s->is_closing = false;
	s->mails = 0;
	s->has_refused_parameters = false;
	s->is_reused = false;
	s->progress = -1;
}

struct deadline
smtp_session_deadline(const struct smtp_session *s)
{
	return deadline_in(1000 * (int64_t)s->timeout_s);
}

/* This many seconds from now, or timeoutremote if that is less. */
static struct deadline
deadline_at_most(const struct smtp_session *s, unsigned long limit_s)
{
	return deadline_in(1000 * (int64_t)(s->timeout_s < limit_s
						? s->timeout_s
						: limit_s));
}

struct deadline
smtp_session_hello_deadline(const struct smtp_session *s)
{
	return deadline_at_most(s, SMTP_HELLO_TIMEOUT_S);
}

struct deadline
smtp_session_reused_deadline(const struct smtp_session *s)
{
	return deadline_at_most(s, SMTP_REUSED_TIMEOUT_S);
}

struct deadline
smtp_session_closing_deadline(struct smtp_session *s)
{
	if (!s->is_closing)
		s->closing = deadline_at_most(s, SMTP_CLOSING_TIMEOUT_S);
	s->is_closing = true;
	return s->closing;
}

/* How long data that has arrived on this machine may take to get here. */
static int64_t
grace_ms(const struct smtp_session *s)
{
	return s->is_through_helper ? HELPER_GRACE_MS : 0;
}

enum stream_status
smtp_session_move(struct smtp_session *s, struct smtp_wait *wait)
{
	enum stream_status status = stream_move(&s->stream, wait->until);

	if (status != STREAM_TIMEOUT || wait->is_late)
		return status;
	wait->is_late = true;
	wait->until = deadline_in(grace_ms(s));
	return stream_move(&s->stream, wait->until);
}

enum stream_status
smtp_session_send(struct smtp_session *s, const char **at, const char *end)
{
	int64_t stall_ms = 1000 * (int64_t)s->timeout_s;
	enum stream_status status;
	const char *before;

	do {
		status = stream_send(&s->stream, at, end, stall_ms);
		if (status != STREAM_TIMEOUT)
			return status;
		before = *at;
		status = stream_send(&s->stream, at, end, grace_ms(s));
	} while (status == STREAM_TIMEOUT && *at > before);
	return status;
}

/* If lines without a code have already come, they belong to the reply. */
static void
begin_reply(struct smtp_session *s)
{
	if (!s->in_reply)
		smtp_reply_reset(&s->reply);
	s->in_reply = true;
}

enum smtp_reply_state
smtp_session_parse(struct smtp_session *s, struct smtp_ehlo *ehlo)
{
	enum smtp_reply_state state;

	begin_reply(s);
	do {
		size_t n;
		const char *p = stream_input(&s->stream, &n);
		bool is_first = s->reply.lines == 0;

		n = smtp_reply_add(&s->reply, p, n, &state);
		stream_consume(&s->stream, n);
		if (state != SMTP_REPLY_LINE && state != SMTP_REPLY_DONE)
			break;
		if (ehlo && !is_first && !s->reply.line_is_cut)
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
	struct smtp_wait wait = { .until = until };

	for (;;) {
		switch (smtp_session_parse(s, ehlo)) {
		case SMTP_REPLY_DONE:
			return SMTP_DONE;
		case SMTP_REPLY_MALFORMED:
			return SMTP_MALFORMED;
		default:
			if (smtp_session_move(s, &wait) != STREAM_OK)
				return SMTP_DIED;
		}
	}
}

enum smtp_outcome
smtp_session_expect_silence(struct smtp_session *s)
{
	while (!stream_is_quiet(&s->stream)) {
		size_t n, taken;
		const char *p = stream_input(&s->stream, &n);

		if (n == 0)
			return SMTP_DIED;
		begin_reply(s);
		taken = smtp_reply_skip(&s->reply, p, n);
		stream_consume(&s->stream, taken);
		if (taken < n)
			return SMTP_MALFORMED;
	}
	return SMTP_DONE;
}

bool
smtp_session_is_within_line(const struct smtp_session *s)
{
	return s->in_reply && s->reply.column > 0;
}

enum smtp_outcome
smtp_session_show_unsolicited(struct smtp_session *s)
{
	(void)smtp_session_parse(s, NULL);
	return SMTP_MALFORMED;
}

static enum smtp_outcome
expect_code(struct smtp_session *s, enum smtp_outcome outcome, int code)
{
	if (outcome != SMTP_DONE)
		return outcome;
	return s->reply.code == code ? SMTP_DONE : SMTP_REFUSED;
}

/* Puts input that belongs to no command into the reply. */
static enum smtp_outcome
show_unsolicited(struct smtp_session *s)
{
	(void)smtp_session_show_unsolicited(s);
	return SMTP_UNSOLICITED;
}

static enum smtp_outcome
send_command(struct smtp_session *s, const char *verb, const char *argument,
    struct deadline until)
{
	struct stream *stream = &s->stream;
	struct smtp_wait wait = { .until = until };
	size_t verb_len = strlen(verb), argument_len = strlen(argument);

	/* Input that came before the command is not its reply. */
	if (smtp_session_expect_silence(s) == SMTP_MALFORMED)
		return show_unsolicited(s);
	begin_reply(s);
	if (verb_len + argument_len + 2 > stream_room(stream))
		return SMTP_DIED;
	stream_put(stream, verb, verb_len);
	stream_put(stream, argument, argument_len);
	stream_put(stream, "\r\n", 2);
	while (stream_is_pending(stream))
		if (smtp_session_move(s, &wait) != STREAM_OK)
			return SMTP_DIED;
	return SMTP_DONE;
}

enum smtp_outcome
smtp_session_command(struct smtp_session *s, const char *verb,
    const char *argument, struct deadline until)
{
	enum smtp_outcome outcome = send_command(s, verb, argument, until);

	return outcome == SMTP_DONE ? smtp_session_reply(s, until, NULL)
				    : outcome;
}

enum smtp_outcome
smtp_session_greeting(struct smtp_session *s)
{
	return expect_code(s,
	    smtp_session_reply(s, smtp_session_hello_deadline(s), NULL), 220);
}

static enum smtp_outcome
send_hello(struct smtp_session *s, const char *verb, const char *helohost,
    struct smtp_ehlo *offered)
{
	struct deadline until = smtp_session_hello_deadline(s);
	enum smtp_outcome outcome;

	s->ehlo = (struct smtp_ehlo){ 0 };
	outcome = send_command(s, verb, helohost, until);
	if (outcome == SMTP_DONE)
		outcome = smtp_session_reply(s, until, offered);
	outcome = expect_code(s, outcome, 250);
	if (outcome == SMTP_DONE &&
	    smtp_session_expect_silence(s) == SMTP_MALFORMED)
		return show_unsolicited(s);
	return outcome;
}

enum smtp_outcome
smtp_session_ehlo(struct smtp_session *s, const char *helohost)
{
	struct smtp_ehlo offered = { 0 };
	enum smtp_outcome outcome = send_hello(s, "EHLO ", helohost, &offered);

	if (outcome == SMTP_DONE)
		s->ehlo = offered;
	return outcome;
}

enum smtp_outcome
smtp_session_helo(struct smtp_session *s, const char *helohost)
{
	return send_hello(s, "HELO ", helohost, NULL);
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

enum smtp_outcome
smtp_session_send_starttls(struct smtp_session *s, struct deadline until)
{
	return send_command(s, "STARTTLS", "", until);
}

enum smtp_outcome
smtp_session_starttls_reply(struct smtp_session *s, struct deadline until)
{
	enum smtp_outcome outcome =
	    expect_code(s, smtp_session_reply(s, until, NULL), 220);

	if (outcome == SMTP_DONE && stream_has_input(&s->stream))
		return smtp_session_show_unsolicited(s);
	return outcome;
}

/* Reads the reply to the oldest outstanding command, whatever its code is. */
static void
take_outstanding_reply(struct smtp_session *s, struct deadline until)
{
	if (smtp_session_reply(s, until, NULL) == SMTP_DONE)
		smtp_state_replied(&s->state, s->reply.code);
	else
		smtp_state_lost(&s->state);
}

static void
reset(struct smtp_session *s)
{
	struct deadline until = smtp_session_deadline(s);

	smtp_state_sent(&s->state, SMTP_COMMAND_RSET);
	if (send_command(s, "RSET", "", until) == SMTP_DONE)
		take_outstanding_reply(s, until);
	else
		smtp_state_lost(&s->state);
}

enum smtp_outcome
smtp_session_make_ready(struct smtp_session *s)
{
	struct deadline until = smtp_session_deadline(s);

	s->is_closing = false;
	while (smtp_state_takes_commands(&s->state) &&
	       smtp_state_oldest(&s->state) != SMTP_COMMAND_NONE)
		take_outstanding_reply(s, until);
	/* All commands have a reply, but not all were sent: out of sync. */
	if (stream_is_pending(&s->stream))
		smtp_state_lost(&s->state);
	if (s->state.phase == SMTP_PHASE_OPEN)
		reset(s);
	return s->state.phase == SMTP_PHASE_READY ? SMTP_DONE : SMTP_DIED;
}

void
smtp_session_quit(struct smtp_session *s)
{
	struct deadline until = smtp_session_closing_deadline(s);

	while (s->state.outstanding[SMTP_COMMAND_DATA] > 0 &&
	       smtp_state_takes_commands(&s->state))
		take_outstanding_reply(s, until);
	if (!smtp_state_takes_commands(&s->state) ||
	    stream_is_pending(&s->stream) ||
	    stream_room(&s->stream) < strlen("QUIT\r\n"))
		return;
	stream_put(&s->stream, "QUIT\r\n", strlen("QUIT\r\n"));
	(void)stream_flush(&s->stream, deadline_in(0));
}
