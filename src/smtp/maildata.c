/* SPDX-License-Identifier: ISC */
#include "smtp/maildata.h"

#include <string.h>

#include "smtp/body.h"

/* So that a short last piece mostly leaves with the one before it. */
#define PACKING_ROOM (SMTP_MESSAGE_PIECE / 2)
#define END_ROOM 8 /* the last line end and the end of mail data */

static const char end_of_mail_data[] = ".\r\n";

/*
 * Mail data on its way.  A piece is kept back until the next one has shown
 * that it is not the last: so the end leaves together with what precedes it.
 */
struct sending {
	struct smtp_session *session;
	struct smtp_message *message;
	struct smtp_body body;
	size_t len; /* bytes kept back */
	struct smtp_maildata result;
};

/* Encoded bytes, with room for the end. */
static char out[SMTP_BODY_OUT(SMTP_MESSAGE_PIECE) + PACKING_ROOM];

enum smtp_outcome
smtp_judge(const struct smtp_reply *r)
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

	return outcome == SMTP_DONE ? smtp_judge(&s->reply) : outcome;
}

/*
 * What a server says before it has everything.  A refusal is one; any other
 * reply, and be it 250, is not for what we sent.
 */
static void
take_early_reply(struct sending *d)
{
	d->result.outcome = read_reply(d->session);
	if (d->result.outcome == SMTP_DONE)
		d->result.outcome = SMTP_MALFORMED;
	d->session->is_cut = true;
}

/* Hands what is kept back to the network; false when the session is over. */
static bool
send_piece(struct sending *d)
{
	const char *at = out, *end = out + d->len;

	d->len = 0;
	switch (stream_send(&d->session->stream, &at, end,
	    1000 * (int64_t)d->session->timeout_s)) {
	case STREAM_OK:
		return true;
	case STREAM_SPOKE:
		take_early_reply(d);
		return false;
	default:
		d->result.outcome = SMTP_DIED;
		return false;
	}
}

/* All but what is kept back; false when the result is set. */
static bool
send_pieces(struct sending *d)
{
	const char *piece;
	ssize_t got;

	while ((got = smtp_message_next(d->message, &piece)) > 0) {
		size_t n = (size_t)got;

		if (SMTP_BODY_OUT(n) + END_ROOM > sizeof out - d->len &&
		    !send_piece(d))
			return false;
		d->len += smtp_body_encode(&d->body, piece, n, out + d->len);
	}
	if (got == -1) {
		/* The session is in the middle of it: no QUIT, no end. */
		d->result.end = SMTP_MAILDATA_UNREADABLE;
		d->result.outcome = SMTP_DIED;
		return false;
	}
	d->len += smtp_body_end(&d->body, out + d->len);
	return true;
}

/* The reply to the end: the only one that can say "delivered". */
static void
take_final_reply(struct sending *d)
{
	d->result.outcome = read_reply(d->session);
	d->result.in_doubt = d->result.outcome == SMTP_MALFORMED ||
			     d->result.outcome == SMTP_DIED;
}

struct smtp_maildata
smtp_maildata_send(struct smtp_session *s, struct smtp_message *message)
{
	struct sending d = { .session = s, .message = message };

	if (!send_pieces(&d))
		return d.result;
	memcpy(out + d.len, end_of_mail_data, strlen(end_of_mail_data));
	d.len += strlen(end_of_mail_data);
	/* Said before the end has left, it cannot be an answer to it. */
	if (stream_has_input(&s->stream))
		take_early_reply(&d);
	else if (send_piece(&d))
		take_final_reply(&d);
	return d.result;
}
