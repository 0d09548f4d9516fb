/* SPDX-License-Identifier: ISC */
#include "smtp/maildata.h"

#include <stdio.h>
#include <string.h>

#include "smtp/body.h"

#define COMMAND_SIZE 32 /* of "BDAT n LAST\r\n" */
/* So that a short last piece mostly leaves with the one before it. */
#define PACKING_ROOM (SMTP_MESSAGE_PIECE / 2)

static const char end_of_mail_data[] = ".\r\n";

/*
 * Mail data on its way.  A piece is kept back until the next one has shown
 * that it is not the last: so the end leaves together with what precedes it.
 */
struct sending {
	struct smtp_session *session;
	struct smtp_message *message;
	struct smtp_body body;
	size_t chunks;     /* sent whole */
	size_t unanswered; /* of those */
	size_t len;
	struct smtp_maildata result;
};

/*
 * Encoded bytes, with room in front for the command of a chunk and behind
 * for the end.
 */
static char
    out[COMMAND_SIZE + SMTP_BODY_OUT(SMTP_MESSAGE_PIECE) + PACKING_ROOM];

#define OUT_START (out + COMMAND_SIZE)
#define OUT_ROOM (sizeof out - COMMAND_SIZE)
#define END_ROOM 8 /* the last line end and the end of mail data */

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

static int64_t
stall_ms(const struct smtp_session *s)
{
	return 1000 * (int64_t)s->timeout_s;
}

static enum smtp_outcome
read_reply(struct smtp_session *s)
{
	enum smtp_outcome outcome =
	    smtp_session_reply(s, smtp_session_deadline(s), NULL);

	return outcome == SMTP_DONE ? smtp_judge(&s->reply) : outcome;
}

/*
 * What a server says before it has everything.  A chunk that it has may be
 * answered; any other reply, and be it 250, is not for what we sent.
 */
static bool
take_early_reply(struct sending *d)
{
	bool was_asked = d->unanswered > 0;

	d->result.outcome = read_reply(d->session);
	d->unanswered -= was_asked;
	if (d->result.outcome == SMTP_DONE && was_asked)
		return true;
	if (d->result.outcome == SMTP_DONE)
		d->result.outcome = SMTP_MALFORMED;
	return false;
}

/* Hands all the bytes to the network; false when the session is over. */
static bool
send_bytes(struct sending *d, const char *at, size_t n)
{
	const char *end = at + n;

	for (;;) {
		switch (stream_send(&d->session->stream, &at, end,
		    stall_ms(d->session))) {
		case STREAM_OK:
			return true;
		case STREAM_SPOKE:
			if (!take_early_reply(d)) {
				d->session->is_cut = true;
				return false;
			}
			break;
		default:
			d->result.outcome = SMTP_DIED;
			return false;
		}
	}
}

/* "BDAT n\r\n" right in front of the encoded bytes; returns its start. */
static char *
put_chunk_command(char *bytes, size_t n, bool is_last)
{
	char command[COMMAND_SIZE];
	int len = snprintf(command, sizeof command, "BDAT %zu%s\r\n", n,
	    is_last ? " LAST" : "");

	memcpy(bytes - len, command, (size_t)len);
	return bytes - len;
}

/* The replies to the chunks sent so far, down to so many unanswered ones. */
static bool
await_replies(struct sending *d, size_t left)
{
	while (d->unanswered > left) {
		d->result.outcome = read_reply(d->session);
		d->unanswered--;
		if (d->result.outcome != SMTP_DONE)
			return false;
	}
	return true;
}

/*
 * The first chunk of several is waited for: a server that will have none of
 * it says so before the rest is on its way.
 */
static bool
may_follow(struct sending *d)
{
	bool is_pipelined =
	    smtp_ehlo_has(&d->session->ehlo, SMTP_EXT_PIPELINING);

	if ((!is_pipelined || d->chunks == 1) && !await_replies(d, 0))
		return false;
	/* What is there now cannot be an answer to what is still to be sent. */
	while (stream_has_input(&d->session->stream))
		if (!take_early_reply(d))
			return false;
	return true;
}

static bool
send_chunk(struct sending *d, bool is_last)
{
	char *start = put_chunk_command(OUT_START, d->len, is_last);

	if (!may_follow(d) ||
	    !send_bytes(d, start, (size_t)(OUT_START + d->len - start)))
		return false;
	d->chunks++;
	d->unanswered++;
	return true;
}

static bool
send_piece(struct sending *d)
{
	bool went = d->body.is_counted ? send_chunk(d, false)
				       : send_bytes(d, OUT_START, d->len);

	d->len = 0;
	return went;
}

/* All but what is kept back; false when the result is set. */
static bool
send_pieces(struct sending *d)
{
	const char *piece;
	ssize_t got;

	while ((got = smtp_message_next(d->message, &piece)) > 0) {
		size_t n = (size_t)got;

		if (SMTP_BODY_OUT(n) + END_ROOM > OUT_ROOM - d->len &&
		    !send_piece(d))
			return false;
		d->len +=
		    smtp_body_encode(&d->body, piece, n, OUT_START + d->len);
	}
	if (got == -1) {
		/* The session is in the middle of it: no QUIT, no end. */
		d->result.end = SMTP_MAILDATA_UNREADABLE;
		d->result.outcome = SMTP_DIED;
		return false;
	}
	d->len += smtp_body_end(&d->body, OUT_START + d->len);
	return true;
}

/* The reply to the end: the only one that can say "delivered". */
static struct smtp_maildata
final_reply(struct sending *d)
{
	d->result.outcome = read_reply(d->session);
	d->unanswered = 0;
	d->result.in_doubt = d->result.outcome == SMTP_MALFORMED ||
			     d->result.outcome == SMTP_DIED;
	return d->result;
}

struct smtp_maildata
smtp_maildata_send(struct smtp_session *s, struct smtp_message *message)
{
	struct sending d = { .session = s, .message = message };

	if (!send_pieces(&d))
		return d.result;
	memcpy(OUT_START + d.len, end_of_mail_data, strlen(end_of_mail_data));
	d.len += strlen(end_of_mail_data);
	/* Said before the end has left, it cannot be an answer to it. */
	if (stream_has_input(&s->stream)) {
		take_early_reply(&d);
		s->is_cut = true;
		return d.result;
	}
	return send_bytes(&d, OUT_START, d.len) ? final_reply(&d) : d.result;
}

static struct smtp_maildata
send_chunks(struct sending *d)
{
	if (!send_pieces(d) || !send_chunk(d, true))
		return d->result;
	if (!await_replies(d, 1)) {
		/* The last chunk has left, and no word about it was read. */
		d->result.in_doubt = d->result.outcome != SMTP_REFUSED;
		return d->result;
	}
	return final_reply(d);
}

struct smtp_maildata
smtp_maildata_send_chunks(struct smtp_session *s, struct smtp_message *message)
{
	struct sending d = {
		.session = s,
		.message = message,
		.body.is_counted = true,
	};
	struct smtp_maildata result = send_chunks(&d);

	/* The first chunk is sent alone, the others are not. */
	if (result.outcome == SMTP_REFUSED && d.chunks > 1 &&
	    smtp_session_is_out_of_sequence(s))
		result.outcome = SMTP_MALFORMED;
	s->owed = d.unanswered;
	return result;
}

size_t
smtp_maildata_chunk(const struct smtp_message *m, char *chunk)
{
	struct smtp_body body = { .is_counted = true };
	char *bytes = chunk + COMMAND_SIZE, *start;
	size_t n = smtp_body_encode(&body, m->data, m->len, bytes);

	n += smtp_body_end(&body, bytes + n);
	start = put_chunk_command(bytes, n, true);
	n += (size_t)(bytes - start);
	memmove(chunk, start, n);
	return n;
}
