/* SPDX-License-Identifier: ISC */
#include "smtp/transaction.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "io/fdio.h"

#define CLOSING 421
#define INSUFFICIENT_STORAGE 452
#define BAD_SEQUENCE 503

/*
 * Commands are numbered: 0 is MAIL, then one RCPT for each recipient, then
 * DATA.
 */
struct transaction {
	struct smtp_session *session;
	const struct smtp_envelope *envelope;
	struct smtp_message *message;
	size_t sent;     /* commands put into the output buffer */
	size_t verdicts; /* recipients that have a reply */
	bool has_ended;  /* result is set */
	struct smtp_result result;
};

static size_t
data_command(const struct transaction *t)
{
	return t->envelope->nrecipient + 1;
}

static enum smtp_command
kind(const struct transaction *t, size_t number)
{
	if (number == 0)
		return SMTP_COMMAND_MAIL;
	return number < data_command(t) ? SMTP_COMMAND_RCPT : SMTP_COMMAND_DATA;
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

static bool
sends_size(const struct smtp_session *s, const struct smtp_message *m)
{
	return m->is_measured && !s->has_refused_parameters &&
	       smtp_ehlo_has(&s->ehlo, SMTP_EXT_SIZE);
}

static bool
sends_8bit(const struct smtp_session *s, const struct smtp_message *m)
{
	return m->is_measured && m->measure.has_8bit &&
	       !s->has_refused_parameters &&
	       smtp_ehlo_has(&s->ehlo, SMTP_EXT_8BITMIME);
}

/* Paths in UTF-8 need it, so it is not left out after a refusal, as SIZE is. */
static bool
sends_smtputf8(const struct smtp_session *s, const struct smtp_envelope *e)
{
	return e->needs_smtputf8 && smtp_ehlo_has(&s->ehlo, SMTP_EXT_SMTPUTF8);
}

/* Writes the parameters of MAIL, each with a space before it. */
static size_t
mail_parameters(const struct transaction *t, char *out, size_t size)
{
	const struct smtp_message *m = t->message;
	int n = 0;

	if (sends_size(t->session, m))
		n = snprintf(out, size, " SIZE=%" PRIu64, m->measure.size);
	if (sends_8bit(t->session, m))
		n += snprintf(out + n, size - (size_t)n, " BODY=8BITMIME");
	if (sends_smtputf8(t->session, t->envelope))
		n += snprintf(out + n, size - (size_t)n, " SMTPUTF8");
	return (size_t)n;
}

/* Puts the next command into the output buffer.  False if there is no room. */
static bool
put_command(struct transaction *t)
{
	char line[SMTP_PATH_MAX + 100];
	const struct smtp_envelope *e = t->envelope;
	enum smtp_command command = kind(t, t->sent);
	size_t n;

	if (command == SMTP_COMMAND_DATA) {
		n = strlen("DATA");
		memcpy(line, "DATA", n);
	} else if (command == SMTP_COMMAND_MAIL) {
		n = path_command(line, "MAIL FROM:<", e->reverse_path);
		n += mail_parameters(t, line + n, sizeof line - n - 2);
	} else {
		n = path_command(line, "RCPT TO:<",
		    e->forward_path[t->sent - 1]);
	}
	memcpy(line + n, "\r\n", 2);
	if (n + 2 > stream_room(&t->session->stream))
		return false;
	stream_put(&t->session->stream, line, n + 2);
	t->sent++;
	smtp_state_sent(&t->session->state, command);
	return true;
}

static bool
is_outstanding(const struct transaction *t)
{
	return smtp_state_oldest(&t->session->state) != SMTP_COMMAND_NONE;
}

static bool
is_pipelining(const struct transaction *t)
{
	return smtp_ehlo_has(&t->session->ehlo, SMTP_EXT_PIPELINING);
}

static void
put_commands(struct transaction *t)
{
	while (t->sent <= data_command(t) &&
	       (!is_outstanding(t) || is_pipelining(t)))
		if (!put_command(t))
			break;
}

static void
end(struct transaction *t, enum smtp_end where, enum smtp_outcome outcome)
{
	t->has_ended = true;
	t->result.end = where;
	t->result.outcome = outcome;
	if (outcome == SMTP_MALFORMED || outcome == SMTP_DIED)
		smtp_state_lost(&t->session->state);
}

/* The step that fails if the next reply does not come. */
static enum smtp_end
end_without_reply(const struct transaction *t)
{
	enum smtp_command next = smtp_state_oldest(&t->session->state);

	if (next == SMTP_COMMAND_NONE)
		next = kind(t, t->sent);
	switch (next) {
	case SMTP_COMMAND_MAIL:
		return SMTP_END_MAIL;
	case SMTP_COMMAND_RCPT:
		return SMTP_END_RCPT;
	default:
		return SMTP_END_DATA;
	}
}

/* All recipients were refused.  The reply to DATA cannot change that. */
static bool
are_all_refused(const struct transaction *t)
{
	return t->verdicts == t->envelope->nrecipient &&
	       t->result.accepted == 0;
}

/* Whether the enhanced status code (RFC 3463) says "not permitted". */
static bool
has_policy_status(const struct smtp_reply *r)
{
	static const char policy[] = "5.7.";

	return r->linelen >= strlen(policy) &&
	       memcmp(r->line, policy, strlen(policy)) == 0;
}

/*
 * "Bad sequence of commands" for a command in a group: the server cannot do the
 * PIPELINING that it offers.  Sent one by one, it would have accepted the
 * commands.  So it is not a refusal of the mail, unless its enhanced status
 * says so.
 */
static bool
is_out_of_sequence(const struct transaction *t)
{
	const struct smtp_reply *r = &t->session->reply;

	return r->code == BAD_SEQUENCE && is_pipelining(t) &&
	       !has_policy_status(r);
}

/*
 * A line without a code came where a reply was expected.  If the server meant
 * it as that reply, the one after it belongs to a later command of the group.
 */
static bool
may_be_for_a_later_command(const struct transaction *t)
{
	return smtp_reply_begins_without_code(&t->session->reply) &&
	       smtp_state_count(&t->session->state) > 1;
}

/* The oldest outstanding command got a valid reply. */
static void
mark_replied(struct transaction *t)
{
	smtp_state_replied(&t->session->state, t->session->reply.code);
}

static void
apply_to_mail(struct transaction *t, enum smtp_outcome outcome)
{
	if (outcome == SMTP_DONE || outcome == SMTP_REFUSED)
		mark_replied(t);
	if (outcome != SMTP_DONE)
		end(t, SMTP_END_MAIL, outcome);
}

static void
apply_to_recipient(struct transaction *t, enum smtp_outcome outcome)
{
	const struct smtp_envelope *e = t->envelope;

	if (outcome == SMTP_REFUSED && is_out_of_sequence(t))
		outcome = SMTP_MALFORMED;
	e->verdict(e->context, t->verdicts, outcome, &t->session->reply);
	if (outcome == SMTP_MALFORMED) {
		end(t, SMTP_END_RCPT, outcome);
		return;
	}
	mark_replied(t);
	t->verdicts++;
	t->result.accepted += outcome == SMTP_DONE;
	/* Without PIPELINING, DATA has not been sent and is left out. */
	if (are_all_refused(t) && t->sent == data_command(t))
		end(t, SMTP_END_NONE_ACCEPTED, SMTP_REFUSED);
}

/*
 * Whether all commands were sent: nothing is left in the output buffer, and
 * nothing was dropped from it when the connection broke.
 */
static bool
has_left(const struct transaction *t)
{
	const struct stream *stream = &t->session->stream;

	return !stream_is_pending(stream) && !stream->has_dropped_output;
}

static void
apply_to_data(struct transaction *t, enum smtp_outcome outcome, bool is_reply)
{
	/* A 354 cannot be the reply to a DATA that was not sent. */
	if (is_reply && t->session->reply.code == 354 && has_left(t)) {
		mark_replied(t);
	} else if (outcome == SMTP_REFUSED && are_all_refused(t)) {
		mark_replied(t);
		end(t, SMTP_END_NONE_ACCEPTED, SMTP_REFUSED);
	} else if (outcome == SMTP_REFUSED && !is_out_of_sequence(t)) {
		mark_replied(t);
		end(t, SMTP_END_DATA, SMTP_REFUSED);
	} else {
		end(t, SMTP_END_DATA, SMTP_MALFORMED);
	}
}

/*
 * Applies a reply, or input that is not one, to the oldest outstanding command.
 */
static void
apply(struct transaction *t, enum smtp_reply_state state)
{
	bool is_reply = state == SMTP_REPLY_DONE;
	enum smtp_outcome outcome =
	    is_reply ? smtp_classify_reply(&t->session->reply) : SMTP_MALFORMED;

	/* It closes the connection, after so many messages for example. */
	if (t->session->is_reused && is_reply &&
	    t->session->reply.code == CLOSING) {
		end(t, end_without_reply(t), SMTP_DIED);
		return;
	}
	/*
	 * A refusal may be permanent, so it must be the reply to this command.
	 */
	if (outcome == SMTP_REFUSED && may_be_for_a_later_command(t))
		outcome = SMTP_MALFORMED;
	switch (smtp_state_oldest(&t->session->state)) {
	case SMTP_COMMAND_MAIL:
		apply_to_mail(t, outcome);
		break;
	case SMTP_COMMAND_RCPT:
		apply_to_recipient(t, outcome);
		break;
	default:
		apply_to_data(t, outcome, is_reply);
		break;
	}
}

/*
 * No more replies come.  If all recipients were refused, that does not change
 * the outcome.
 */
static void
apply_no_reply(struct transaction *t, enum stream_status why)
{
	if (!are_all_refused(t)) {
		end(t, end_without_reply(t), SMTP_DIED);
		return;
	}
	end(t, SMTP_END_NONE_ACCEPTED, SMTP_REFUSED);
	if (why != STREAM_TIMEOUT)
		smtp_state_lost(&t->session->state);
}

/*
 * Checks that there is no input while no reply is outstanding: it could not be
 * the reply to the next command.  Ends the transaction if there is.
 */
static bool
expect_silence(struct transaction *t)
{
	/* On an idle connection there is nothing to skip. */
	if (t->session->is_reused && t->sent == 0 &&
	    !stream_is_quiet(&t->session->stream)) {
		end(t, SMTP_END_MAIL, SMTP_DIED);
		return false;
	}
	switch (smtp_session_expect_silence(t->session)) {
	case SMTP_DONE:
		return true;
	case SMTP_MALFORMED:
		end(t, end_without_reply(t),
		    smtp_session_show_unsolicited(t->session));
		return false;
	default:
		apply_no_reply(t, STREAM_CLOSED);
		return false;
	}
}

/* How long the next reply is waited for. */
static struct deadline
reply_deadline(const struct transaction *t)
{
	if (are_all_refused(t))
		return smtp_session_closing_deadline(t->session);
	if (t->session->is_reused && end_without_reply(t) == SMTP_END_MAIL)
		return smtp_session_reused_deadline(t->session);
	return smtp_session_deadline(t->session);
}

/* Sends commands, as many as possible, until one reply has come. */
static void
take_reply(struct transaction *t)
{
	struct smtp_wait wait = { .until = reply_deadline(t) };
	enum smtp_reply_state state;
	enum stream_status status;

	if (!is_outstanding(t) && !expect_silence(t))
		return;
	for (;;) {
		put_commands(t);
		state = smtp_session_parse(t->session, NULL);
		if (state != SMTP_REPLY_MORE)
			break;
		status = smtp_session_move(t->session, &wait);
		if (status != STREAM_OK) {
			apply_no_reply(t, status);
			return;
		}
	}
	apply(t, state);
}

/*
 * DATA was accepted although no recipient was: RFC 2920 section 3.1 says to
 * send the end of mail data alone, and to ignore its reply.
 */
static void
send_empty_message(struct transaction *t)
{
	struct smtp_session *s = t->session;
	struct smtp_wait wait = { .until = smtp_session_closing_deadline(s) };

	stream_put(&s->stream, ".\r\n", strlen(".\r\n"));
	while (stream_is_pending(&s->stream))
		if (smtp_session_move(s, &wait) != STREAM_OK)
			break;
	smtp_state_sent(&s->state, SMTP_COMMAND_EMPTY_END);
	if (!has_left(t))
		smtp_state_lost(&s->state);
	end(t, SMTP_END_NONE_ACCEPTED, SMTP_REFUSED);
}

/*
 * Mail data may leave from now on: whoever waits for that must not send the
 * message over another connection any more.
 */
static bool
announce_mail_data(struct smtp_session *s)
{
	if (s->progress == -1)
		return true;
	if (fdio_write(s->progress, "", 1) != 1)
		return false;
	s->progress = -1;
	return true;
}

static void
send_mail_data(struct transaction *t)
{
	enum smtp_outcome outcome;

	if (!announce_mail_data(t->session)) {
		end(t, SMTP_END_DATA, SMTP_DIED);
		return;
	}
	outcome = smtp_maildata_send(t->session, t->message);
	end(t, t->message->has_failed ? SMTP_END_MESSAGE : SMTP_END_MAIL_DATA,
	    outcome);
}

static struct smtp_result
run(struct smtp_session *s, const struct smtp_envelope *envelope,
    struct smtp_message *message)
{
	struct transaction t = {
		.session = s,
		.envelope = envelope,
		.message = message,
	};

	while (!t.has_ended && s->state.phase != SMTP_PHASE_MAIL_DATA)
		take_reply(&t);
	if (!t.has_ended && expect_silence(&t)) {
		if (are_all_refused(&t))
			send_empty_message(&t);
		else
			send_mail_data(&t);
	}
	t.result.in_doubt = smtp_state_is_in_doubt(&s->state);
	return t.result;
}

static bool
has_reached_mailmax(const struct smtp_session *s)
{
	return s->ehlo.mailmax > 0 && s->mails >= s->ehlo.mailmax;
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

static bool
has_refused_mail(const struct smtp_result *r)
{
	return r->end == SMTP_END_MAIL && r->outcome == SMTP_REFUSED;
}

/*
 * Whether the reply code refuses the parameters of MAIL and not the mail: some
 * servers, or devices in front of them, offer SIZE or 8BITMIME and cannot do
 * it.
 */
static bool
has_refused_parameters(const struct smtp_session *s,
    const struct smtp_message *m, const struct smtp_result *r)
{
	if (!has_refused_mail(r))
		return false;
	if (!sends_size(s, m) && !sends_8bit(s, m))
		return false;
	switch (s->reply.code) {
	case 500:
	case 501:
	case 502:
	case 504:
	case 553:
	case 555:
		return true;
	default:
		return false;
	}
}

/*
 * Tries once more without parameters; only the replies to the second MAIL
 * count.
 */
static struct smtp_result
run_without_parameters(struct smtp_session *s,
    const struct smtp_envelope *envelope, struct smtp_message *message)
{
	static const struct smtp_result lost = {
		.end = SMTP_END_MAIL,
		.outcome = SMTP_DIED,
	};

	s->has_refused_parameters = true;
	if (smtp_session_make_ready(s) != SMTP_DONE)
		return lost;
	s->mails++;
	return run(s, envelope, message);
}

static struct smtp_result
run_within_limits(struct smtp_session *s, const struct smtp_envelope *envelope,
    struct smtp_message *message)
{
	struct smtp_result r = {
		.end = SMTP_END_NONE_ACCEPTED,
		.outcome = SMTP_REFUSED,
	};

	if (envelope->nrecipient == 0)
		return r;
	if (is_too_large(s, message)) {
		r.end = SMTP_END_TOO_LARGE;
		return r;
	}
	if (has_reached_mailmax(s)) {
		r.end = SMTP_END_LIMIT;
		return r;
	}
	if (smtp_session_make_ready(s) != SMTP_DONE) {
		r.end = SMTP_END_MAIL;
		r.outcome = SMTP_DIED;
		return r;
	}
	s->mails++;
	r = run(s, envelope, message);
	if (has_refused_parameters(s, message, &r))
		r = run_without_parameters(s, envelope, message);
	return r;
}

/*
 * Of replies to MAIL.  The server may count messages; or it wants something
 * first, EHLO for example, that it only had before the first message.
 */
static bool
is_about_connection(const struct smtp_reply *r)
{
	return r->code == INSUFFICIENT_STORAGE ||
	       (r->code == BAD_SEQUENCE && !has_policy_status(r));
}

/*
 * Whether a transaction on a connection that was used before says nothing about
 * the mail, and no mail data was sent.
 */
static bool
is_stale(const struct smtp_session *s, const struct smtp_result *r)
{
	switch (r->end) {
	case SMTP_END_LIMIT:
		return true;
	case SMTP_END_MAIL:
		return r->outcome != SMTP_REFUSED ||
		       is_about_connection(&s->reply);
	case SMTP_END_RCPT:
	case SMTP_END_DATA:
		return r->outcome != SMTP_REFUSED;
	default:
		return false;
	}
}

/*
 * Reads the replies to the rest of a group.  False if one of them is none to
 * its command, or if the server closes the connection in place of it.  One that
 * does not come proves nothing.
 */
static bool
take_rest_of_group(struct smtp_session *s)
{
	struct deadline until = smtp_session_closing_deadline(s);
	enum smtp_command command;

	while ((command = smtp_state_oldest(&s->state)) != SMTP_COMMAND_NONE) {
		enum smtp_outcome outcome = smtp_session_reply(s, until, NULL);
		bool is_accepted = smtp_classify_reply(&s->reply) == SMTP_DONE;

		if (outcome != SMTP_DONE)
			smtp_state_lost(&s->state);
		if (outcome == SMTP_DIED)
			return !smtp_session_has_ended(s);
		if (outcome != SMTP_DONE || s->reply.code == CLOSING ||
		    (command == SMTP_COMMAND_DATA && is_accepted))
			return false;
		smtp_state_replied(&s->state, s->reply.code);
	}
	return true;
}

/*
 * The same if commands are sent one by one: only another command shows whether
 * the server goes on.
 */
static bool
replies_to_rset(struct smtp_session *s)
{
	enum smtp_outcome outcome = smtp_session_command(s, "RSET", "",
	    smtp_session_closing_deadline(s));

	if (outcome == SMTP_DONE)
		return s->reply.code != CLOSING;
	smtp_state_lost(&s->state);
	return outcome == SMTP_DIED && !smtp_session_has_ended(s);
}

/* There is more input than the replies; a 421 at the end does not count. */
static bool
has_surplus(struct smtp_session *s)
{
	return stream_has_input(&s->stream) &&
	       (smtp_session_parse(s, NULL) != SMTP_REPLY_DONE ||
		   s->reply.code != CLOSING);
}

/*
 * Whether a refusal may not be the reply to MAIL: the server said while the
 * connection was idle that it had waited for too long, and MAIL had already
 * been sent.  Then one reply is missing at the end, or is one too many.
 */
static bool
is_unsolicited(struct smtp_session *s)
{
	const struct smtp_reply refusal = s->reply;
	bool goes_on = smtp_state_count(&s->state) > 0 ? take_rest_of_group(s)
						       : replies_to_rset(s);
	bool is_one = !goes_on || has_surplus(s);

	if (is_one)
		smtp_state_lost(&s->state);
	/* The report is about the refusal, not about what came after it. */
	s->reply = refusal;
	return is_one;
}

struct smtp_result
smtp_transaction(struct smtp_session *s, const struct smtp_envelope *envelope,
    struct smtp_message *message)
{
	struct smtp_result r = run_within_limits(s, envelope, message);

	if (s->is_reused &&
	    (is_stale(s, &r) || (has_refused_mail(&r) && is_unsolicited(s))))
		r.outcome = SMTP_STALE;
	s->is_reused = false;
	return r;
}
