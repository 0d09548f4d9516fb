/* SPDX-License-Identifier: ISC */
#include "smtp/maildata.h"

#include <string.h>

#include "smtp/body.h"

#define END_ROOM 8 /* for the last line end and the end of mail data */

static const char end_of_mail_data[] = ".\r\n";

/*
 * Mail data that is being sent.  A piece is kept back until the next one shows
 * that it is not the last.  So the end of mail data is sent together with what
 * precedes it.
 */
struct sending {
	struct smtp_session *session;
	struct smtp_message *message;
	struct smtp_body body;
	size_t len; /* bytes kept back, in message->wire */
};

enum smtp_outcome
smtp_classify_reply(const struct smtp_reply *r)
{
	switch (smtp_reply_class(r)) {
	case 2:
		return SMTP_DONE;
	case 4:
	case 5:
		return SMTP_REFUSED;
	default:
		return SMTP_MALFORMED;
	}
}

static enum smtp_outcome
read_reply(struct smtp_session *s)
{
	enum smtp_outcome outcome =
	    smtp_session_reply(s, smtp_session_deadline(s), NULL);

	return outcome == SMTP_DONE ? smtp_classify_reply(&s->reply) : outcome;
}

/*
 * Reads a reply that came before the end of mail data was sent.  A refusal is
 * valid; any other reply, even 250, cannot be a reply to the mail data.
 */
static enum smtp_outcome
read_early_reply(struct smtp_session *s)
{
	enum smtp_outcome outcome = read_reply(s);

	return outcome == SMTP_DONE ? SMTP_MALFORMED : outcome;
}

/* Called before the next byte is sent; DONE if there is no input. */
static enum smtp_outcome
expect_silence(struct smtp_session *s)
{
	enum smtp_outcome outcome = smtp_session_expect_silence(s);

	return outcome == SMTP_MALFORMED ? read_early_reply(s) : outcome;
}

/* Sends what is kept back; DONE when all of it is written. */
static enum smtp_outcome
send_piece(struct sending *d)
{
	const char *at = d->message->wire, *piece_end = at + d->len;
	enum smtp_outcome outcome = SMTP_DONE;

	d->len = 0;
	while (outcome == SMTP_DONE && at < piece_end) {
		switch (smtp_session_send(d->session, &at, piece_end)) {
		case STREAM_OK:
			break;
		case STREAM_INPUT:
			outcome = expect_silence(d->session);
			break;
		default:
			outcome = SMTP_DIED;
		}
	}
	return outcome;
}

static void
add_line_end(struct sending *d)
{
	char *wire = d->message->wire;

	d->len += smtp_body_end(&d->body, wire + d->len);
}

static void
add_end(struct sending *d)
{
	memcpy(d->message->wire + d->len, end_of_mail_data,
	    strlen(end_of_mail_data));
	d->len += strlen(end_of_mail_data);
}

/* Sends the message, except for the piece that is kept back. */
static enum smtp_outcome
send_pieces(struct sending *d)
{
	struct smtp_message *m = d->message;
	enum smtp_outcome outcome = SMTP_DONE;
	const char *piece;
	ssize_t got;

	while (outcome == SMTP_DONE &&
	       (got = smtp_message_next(m, &piece)) > 0) {
		size_t n = (size_t)got;

		if (SMTP_BODY_OUT(n) + END_ROOM > sizeof m->wire - d->len)
			outcome = send_piece(d);
		d->len +=
		    smtp_body_encode(&d->body, piece, n, m->wire + d->len);
	}
	return m->has_failed ? SMTP_DIED : outcome;
}

/*
 * Reads the reply to the end of mail data, the only one that can mean
 * "delivered".
 */
static enum smtp_outcome
read_final_reply(struct smtp_session *s)
{
	enum smtp_outcome outcome;

	smtp_state_sent(&s->state, SMTP_COMMAND_END);
	outcome = read_reply(s);
	if (outcome == SMTP_DONE || outcome == SMTP_REFUSED)
		smtp_state_replied(&s->state, s->reply.code);
	return outcome;
}

enum smtp_outcome
smtp_maildata_send(struct smtp_session *s, struct smtp_message *message)
{
	struct sending d = { .session = s, .message = message };
	enum smtp_outcome outcome = send_pieces(&d);

	if (outcome != SMTP_DONE)
		return outcome;
	add_line_end(&d);
	add_end(&d);
	/*
	 * Until the end of mail data is sent, the message is certainly not
	 * delivered.  A reply that has come by now cannot be the reply to that
	 * end, and a server that has closed the connection will not send one.
	 */
	outcome = expect_silence(s);
	if (outcome == SMTP_DONE)
		outcome = send_piece(&d);
	return outcome == SMTP_DONE ? read_final_reply(s) : outcome;
}
