/* SPDX-License-Identifier: ISC */
#include "smtp/transaction.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* How the mail data follows the recipients. */
enum tail {
	TAIL_DATA,  /* DATA is the last command of the group */
	TAIL_CHUNK, /* one BDAT with the whole message is */
	TAIL_NONE   /* nothing is: chunks follow an accepted recipient */
};

/*
 * Commands are numbered: 0 is MAIL, then the recipients, then the tail, if
 * there is one.
 */
struct group {
	struct smtp_session *session;
	const struct smtp_envelope *envelope;
	const struct smtp_message *message;
	enum tail tail;
	const char *tail_start;
	const char *tail_at; /* what is left to be put into the output */
	const char *tail_end;
	size_t sent;
	size_t answered;
	struct smtp_result result;
};

static char chunk[SMTP_MAILDATA_CHUNK];

static size_t
tail_command(const struct group *g)
{
	return g->envelope->nrecipient + 1;
}

static size_t
count_commands(const struct group *g)
{
	return tail_command(g) + (g->tail != TAIL_NONE);
}

static size_t
path_command(char *out, const char *verb, const char *path)
{
	size_t verb_len = strlen(verb), path_len = strlen(path);

	memcpy(out, verb, verb_len);
	memcpy(out + verb_len, path, path_len);
	out[verb_len + path_len] = '>';
	return verb_len + path_len + 1;
}

/* What MAIL declares, with a blank in front of each. */
static size_t
mail_parameters(const struct group *g, char *out, size_t size)
{
	const struct smtp_ehlo *ehlo = &g->session->ehlo;
	const struct smtp_measure *m = &g->message->measure;
	int n = 0;

	if (!g->message->is_measured)
		return 0;
	if (smtp_ehlo_has(ehlo, SMTP_EXT_SIZE))
		n = snprintf(out, size, " SIZE=%" PRIu64, m->size);
	if (m->has_8bit && smtp_ehlo_has(ehlo, SMTP_EXT_8BITMIME))
		n += snprintf(out + n, size - (size_t)n, " BODY=8BITMIME");
	return (size_t)n;
}

static bool
has_tail_begun(const struct group *g)
{
	return g->tail_at != g->tail_start;
}

/*
 * As much of the tail as there is room for; true when that was all.  It counts
 * as sent from its first byte on, for that is when it can be answered.
 */
static bool
put_tail(struct group *g)
{
	struct stream *stream = &g->session->stream;
	size_t n = (size_t)(g->tail_end - g->tail_at);

	if (n > stream_room(stream))
		n = stream_room(stream);
	stream_put(stream, g->tail_at, n);
	g->tail_at += n;
	if (has_tail_begun(g))
		g->sent = count_commands(g);
	return g->tail_at == g->tail_end;
}

/* Puts the next command into the output, if there is room for it. */
static bool
put_command(struct group *g)
{
	char line[SMTP_PATH_MAX + 100];
	const struct smtp_envelope *e = g->envelope;
	size_t n;

	if (g->sent >= tail_command(g))
		return put_tail(g);
	if (g->sent == 0) {
		n = path_command(line, "MAIL FROM:<", e->reverse_path);
		n += mail_parameters(g, line + n, sizeof line - n - 2);
	} else {
		n = path_command(line, "RCPT TO:<",
		    e->forward_path[g->sent - 1]);
	}
	memcpy(line + n, "\r\n", 2);
	if (n + 2 > stream_room(&g->session->stream))
		return false;
	stream_put(&g->session->stream, line, n + 2);
	g->sent++;
	return true;
}

static bool
may_send(const struct group *g)
{
	if (g->sent == count_commands(g))
		return g->tail_at != g->tail_end;
	return g->sent == g->answered ||
	       smtp_ehlo_has(&g->session->ehlo, SMTP_EXT_PIPELINING);
}

/*
 * All of the tail was handed to the network: nothing is left in the output,
 * nor was dropped from it with a connection that broke.
 */
static bool
has_left(const struct group *g)
{
	const struct stream *stream = &g->session->stream;

	return has_tail_begun(g) && g->tail_at == g->tail_end &&
	       !stream_is_pending(stream) && !stream->has_lost;
}

/* Sets the result and says that the group is over. */
static bool
end(struct group *g, enum smtp_end where, enum smtp_outcome outcome)
{
	bool has_taker;

	g->result.end = where;
	g->result.outcome = outcome;
	/* With PIPELINING the rest of the group is answered all the same. */
	g->session->owed = g->sent - g->answered;
	g->session->owes_data = g->tail == TAIL_DATA && has_tail_begun(g) &&
				g->answered <= tail_command(g);
	g->session->is_cut = has_tail_begun(g) && !has_left(g);
	/*
	 * A whole message in the group may be there already, unanswered, and
	 * for somebody.
	 */
	has_taker = g->result.accepted > 0 || g->answered < tail_command(g) ||
		    outcome == SMTP_MALFORMED;
	g->result.in_doubt =
	    g->tail == TAIL_CHUNK && has_left(g) && has_taker &&
	    (outcome == SMTP_DIED || outcome == SMTP_MALFORMED);
	return false;
}

static bool
judge_recipient(struct group *g, enum smtp_outcome outcome)
{
	const struct smtp_envelope *e = g->envelope;

	if (outcome == SMTP_DONE)
		g->result.accepted++;
	e->verdict(e->context, g->answered - 1, outcome, &g->session->reply);
	if (outcome == SMTP_MALFORMED)
		return end(g, SMTP_END_RCPT, outcome);
	g->answered++;

	/* Nobody to send to, and nothing under way: it ends here. */
	if (g->answered == tail_command(g) && g->result.accepted == 0 &&
	    g->sent == g->answered)
		return end(g, SMTP_END_NONE_ACCEPTED, SMTP_REFUSED);
	return true;
}

static bool
judge_data(struct group *g, bool is_reply, enum smtp_outcome outcome)
{
	/* A 354 for what has not left is not for DATA. */
	if (is_reply && g->session->reply.code == 354 && has_left(g))
		return true;
	if (outcome == SMTP_REFUSED && g->result.accepted == 0)
		return end(g, SMTP_END_NONE_ACCEPTED, SMTP_REFUSED);
	return end(g, SMTP_END_DATA,
	    outcome == SMTP_REFUSED ? SMTP_REFUSED : SMTP_MALFORMED);
}

static bool
judge_chunk(struct group *g, enum smtp_outcome outcome)
{
	/* A 250 for what has not left is not for the message. */
	if (outcome == SMTP_DONE && !has_left(g))
		outcome = SMTP_MALFORMED;
	/* Taken, with nobody to take it for: the replies are out of step. */
	if (outcome == SMTP_DONE && g->result.accepted == 0)
		outcome = SMTP_MALFORMED;
	if (outcome == SMTP_REFUSED && g->result.accepted == 0)
		return end(g, SMTP_END_NONE_ACCEPTED, SMTP_REFUSED);
	return end(g, SMTP_END_MAIL_DATA, outcome);
}

/* Of a command that came along with others. */
static bool
is_out_of_sequence(const struct group *g)
{
	bool is_tail = g->answered == tail_command(g);

	if (is_tail && g->result.accepted == 0)
		return false;
	return g->answered > 0 && smtp_session_is_out_of_sequence(g->session);
}

/*
 * What came, a reply or none at all, for the command that waits longest for
 * one; false ends it all.
 */
static bool
judge(struct group *g, bool is_reply)
{
	enum smtp_outcome outcome =
	    is_reply ? smtp_judge(&g->session->reply) : SMTP_MALFORMED;
	bool is_unfit = outcome == SMTP_REFUSED && is_out_of_sequence(g);
	bool goes_on;

	if (is_unfit)
		outcome = SMTP_MALFORMED;
	if (g->answered > 0 && g->answered < tail_command(g))
		return judge_recipient(g, outcome);
	if (g->answered++ == 0)
		return outcome == SMTP_DONE || end(g, SMTP_END_MAIL, outcome);
	if (g->tail == TAIL_DATA)
		return judge_data(g, is_reply, outcome);
	goes_on = judge_chunk(g, outcome);
	/* It was refused, for whatever reason. */
	if (is_unfit)
		g->result.in_doubt = false;
	return goes_on;
}

static enum smtp_end
where(const struct group *g)
{
	if (g->answered == 0)
		return SMTP_END_MAIL;
	if (g->answered < tail_command(g))
		return SMTP_END_RCPT;
	return g->tail == TAIL_DATA ? SMTP_END_DATA : SMTP_END_MAIL_DATA;
}

/*
 * Sends the commands and judges the replies.  False when that ended the
 * transaction, with the result set; else the mail data is to follow.
 */
static bool
run_group(struct group *g)
{
	struct smtp_session *s = g->session;
	struct deadline until = smtp_session_deadline(s);

	while (g->answered < count_commands(g)) {
		enum smtp_reply_state state;
		size_t room;

		if (g->answered == g->sent && stream_has_input(&s->stream))
			return end(g, where(g), smtp_session_unasked(s));
		while (may_send(g) && put_command(g))
			;
		state = smtp_session_parse(s, NULL);
		if (state != SMTP_REPLY_MORE) {
			if (!judge(g, state == SMTP_REPLY_DONE))
				return false;
			until = smtp_session_deadline(s);
			continue;
		}
		room = stream_room(&s->stream);
		if (stream_move(&s->stream, until) != STREAM_OK)
			return end(g, where(g), SMTP_DIED);
		/* Each piece of a chunk has the whole time, as after DATA. */
		if (g->tail == TAIL_CHUNK && has_tail_begun(g) &&
		    stream_room(&s->stream) > room)
			until = smtp_session_deadline(s);
	}
	/* Nor was the last reply one to a command that has not left. */
	if (stream_has_unread(&s->stream) || stream_is_pending(&s->stream))
		return end(g, where(g), smtp_session_unasked(s));
	return true;
}

/*
 * DATA was accepted though no recipient was: RFC 2920 section 3.1 asks for
 * the end of mail data alone, and for its reply to be ignored.
 */
static void
send_nothing(struct smtp_session *s)
{
	static const char nothing[] = ".\r\n";
	const char *at = nothing;

	s->owed++;
	s->is_cut = stream_send(&s->stream, &at, nothing + strlen(nothing),
			1000 * (int64_t)s->timeout_s) != STREAM_OK;
}

static void
choose_tail(struct group *g, bool may_chunk)
{
	static const char data[] = "DATA\r\n";

	if (!may_chunk) {
		g->tail = TAIL_DATA;
		g->tail_start = g->tail_at = data;
		g->tail_end = data + strlen(data);
	} else if (g->message->is_held) {
		g->tail = TAIL_CHUNK;
		g->tail_start = g->tail_at = chunk;
		g->tail_end = chunk + smtp_maildata_chunk(g->message, chunk);
	} else {
		g->tail = TAIL_NONE;
		g->tail_start = g->tail_at = g->tail_end = NULL;
	}
}

static struct smtp_result
send_mail_data(struct group *g, struct smtp_message *message)
{
	struct smtp_maildata sent =
	    g->tail == TAIL_NONE
		? smtp_maildata_send_chunks(g->session, message)
		: smtp_maildata_send(g->session, message);

	g->result.end = sent.end == SMTP_MAILDATA_REPLY ? SMTP_END_MAIL_DATA
							: SMTP_END_MESSAGE;
	g->result.outcome = sent.outcome;
	g->result.in_doubt = sent.in_doubt;
	return g->result;
}

static bool
is_used_up(const struct smtp_session *s)
{
	return s->ehlo.mailmax > 0 && s->transactions >= s->ehlo.mailmax;
}

static struct smtp_result
run(struct smtp_session *s, const struct smtp_envelope *envelope,
    struct smtp_message *message, bool may_chunk)
{
	struct group g = {
		.session = s,
		.envelope = envelope,
		.message = message,
	};

	s->transactions++;
	choose_tail(&g, may_chunk);
	if (!run_group(&g))
		return g.result;
	if (g.result.accepted == 0) {
		end(&g, SMTP_END_NONE_ACCEPTED, SMTP_REFUSED);
		send_nothing(s);
		return g.result;
	}
	return send_mail_data(&g, message);
}

/*
 * A server, or something in front of it, that offers CHUNKING but does not
 * know BDAT: those codes speak of the command, not of the message.
 */
static bool
knows_no_chunks(const struct smtp_session *s, const struct smtp_result *r)
{
	int code = s->reply.code;

	return r->end == SMTP_END_MAIL_DATA && r->outcome == SMTP_REFUSED &&
	       (code == 500 || code == 502 || code == 504);
}

/*
 * RSET, and the same transaction with DATA.  A server that has no RSET either
 * takes the chunk for commands: what it says of those is nothing to bounce
 * the message for.
 */
static struct smtp_result
start_over(struct smtp_session *s, const struct smtp_envelope *envelope,
    struct smtp_message *message, struct smtp_result r)
{
	if (is_used_up(s)) {
		r.end = SMTP_END_LIMIT;
		return r;
	}
	s->is_open = true;
	if (smtp_message_rewind(message) == 0 &&
	    smtp_session_settle(s) == SMTP_DONE)
		return run(s, envelope, message, false);
	r.outcome = SMTP_DIED;
	return r;
}

static bool
is_too_large(const struct smtp_session *s, const struct smtp_message *m)
{
	return m->is_measured && s->ehlo.size > 0 &&
	       m->measure.size > s->ehlo.size;
}

bool
smtp_transaction_measures(const struct smtp_ehlo *e)
{
	return smtp_ehlo_has(e, SMTP_EXT_SIZE) ||
	       smtp_ehlo_has(e, SMTP_EXT_8BITMIME) ||
	       smtp_ehlo_has(e, SMTP_EXT_CHUNKING);
}

struct smtp_result
smtp_transaction(struct smtp_session *s, const struct smtp_envelope *envelope,
    struct smtp_message *message)
{
	bool may_chunk = smtp_ehlo_has(&s->ehlo, SMTP_EXT_CHUNKING) &&
			 smtp_message_can_rewind(message);
	struct smtp_result r = { .outcome = SMTP_REFUSED };

	if (is_too_large(s, message)) {
		r.end = SMTP_END_TOO_LARGE;
		return r;
	}
	if (is_used_up(s)) {
		r.end = SMTP_END_LIMIT;
		return r;
	}
	if (smtp_session_settle(s) != SMTP_DONE) {
		r.end = SMTP_END_MAIL;
		r.outcome = SMTP_DIED;
		return r;
	}
	r = run(s, envelope, message, may_chunk);
	if (may_chunk && knows_no_chunks(s, &r))
		r = start_over(s, envelope, message, r);
	s->is_open = r.end != SMTP_END_MAIL &&
		     (r.end != SMTP_END_MAIL_DATA || r.outcome != SMTP_DONE);
	return r;
}
