/* SPDX-License-Identifier: ISC */
#include "smtp/transaction.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Commands are numbered: 0 is MAIL, then the recipients, then DATA. */
struct group {
	struct smtp_session *session;
	const struct smtp_envelope *envelope;
	const struct smtp_message *message;
	size_t sent;
	size_t answered;
	struct smtp_result result;
};

static size_t
data_command(const struct group *g)
{
	return g->envelope->nrecipient + 1;
}

static size_t
count_commands(const struct group *g)
{
	return data_command(g) + 1;
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

/* Puts the next command into the output, if there is room for it. */
static bool
put_command(struct group *g)
{
	char line[SMTP_PATH_MAX + 100];
	const struct smtp_envelope *e = g->envelope;
	size_t n;

	if (g->sent == data_command(g)) {
		n = strlen("DATA");
		memcpy(line, "DATA", n);
	} else if (g->sent == 0) {
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
		return false;
	return g->sent == g->answered ||
	       smtp_ehlo_has(&g->session->ehlo, SMTP_EXT_PIPELINING);
}

/*
 * DATA was handed to the network: nothing is left in the output, nor was
 * dropped from it with a connection that broke.
 */
static bool
has_left(const struct group *g)
{
	const struct stream *stream = &g->session->stream;

	return g->sent == count_commands(g) && !stream_is_pending(stream) &&
	       !stream->has_lost;
}

/* Sets the result and says that the group is over. */
static bool
end(struct group *g, enum smtp_end where, enum smtp_outcome outcome)
{
	g->result.end = where;
	g->result.outcome = outcome;
	/* With PIPELINING the rest of the group is answered all the same. */
	g->session->owed = g->sent - g->answered;
	g->session->owes_data =
	    g->sent == count_commands(g) && g->answered <= data_command(g);
	g->session->is_cut = g->sent == count_commands(g) && !has_left(g);
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
	if (g->answered == data_command(g) && g->result.accepted == 0 &&
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

/* Of a command that came along with others. */
static bool
is_out_of_sequence(const struct group *g)
{
	bool is_data = g->answered == data_command(g);

	if (is_data && g->result.accepted == 0)
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

	if (outcome == SMTP_REFUSED && is_out_of_sequence(g))
		outcome = SMTP_MALFORMED;
	if (g->answered > 0 && g->answered < data_command(g))
		return judge_recipient(g, outcome);
	if (g->answered++ == 0)
		return outcome == SMTP_DONE || end(g, SMTP_END_MAIL, outcome);
	return judge_data(g, is_reply, outcome);
}

static enum smtp_end
where(const struct group *g)
{
	if (g->answered == 0)
		return SMTP_END_MAIL;
	if (g->answered < data_command(g))
		return SMTP_END_RCPT;
	return SMTP_END_DATA;
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
		if (stream_move(&s->stream, until) != STREAM_OK)
			return end(g, where(g), SMTP_DIED);
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

static struct smtp_result
send_mail_data(struct group *g, struct smtp_message *message)
{
	struct smtp_maildata sent = smtp_maildata_send(g->session, message);

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
    struct smtp_message *message)
{
	struct group g = {
		.session = s,
		.envelope = envelope,
		.message = message,
	};

	s->transactions++;
	if (!run_group(&g))
		return g.result;
	if (g.result.accepted == 0) {
		end(&g, SMTP_END_NONE_ACCEPTED, SMTP_REFUSED);
		send_nothing(s);
		return g.result;
	}
	return send_mail_data(&g, message);
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
	       smtp_ehlo_has(e, SMTP_EXT_8BITMIME);
}

struct smtp_result
smtp_transaction(struct smtp_session *s, const struct smtp_envelope *envelope,
    struct smtp_message *message)
{
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
	r = run(s, envelope, message);
	s->is_open = r.end != SMTP_END_MAIL &&
		     (r.end != SMTP_END_MAIL_DATA || r.outcome != SMTP_DONE);
	return r;
}
