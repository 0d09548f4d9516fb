/* SPDX-License-Identifier: ISC */
#include "attempt.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"

/* One conversation at a time; its buffers are too large for the stack. */
static struct smtp_session session;

/*
 * What the report will say.
 */

static void
note_trouble(struct trouble *t, const struct attempt *a, const char *text,
    const char *tls)
{
	ip_format(&a->ip, t->address);
	t->host = a->host;
	t->text = text;
	(void)str_copy(t->tls, sizeof t->tls, tls[0] ? tls : a->no_tls);
	t->reply = session.reply;
}

/* Report the last server that replied, or else the last one connected to. */
static void
note_spoke(struct trouble *t, const struct attempt *a, const char *text,
    const char *tls)
{
	if (t->rank > TROUBLE_SPOKE)
		return;
	t->rank = TROUBLE_SPOKE;
	note_trouble(t, a, text, tls);
}

/* A reply that refuses EHLO says more than a closed connection. */
static bool
has_refused_before(const struct trouble *t, const struct attempt *a)
{
	char address[IP_TEXT_SIZE];

	return a->only_helo && t->rank == TROUBLE_SPOKE && t->reply.len > 0 &&
	       strcmp(t->address, ip_format(&a->ip, address)) == 0;
}

static void
note_died(struct trouble *t, const struct attempt *a, bool has_spoken)
{
	if (t->rank > (has_spoken ? TROUBLE_SPOKE : TROUBLE_MUTE) ||
	    has_refused_before(t, a))
		return;
	t->rank = has_spoken ? TROUBLE_SPOKE : TROUBLE_MUTE;
	/* What came of an unfinished reply says nothing. */
	if (!smtp_reply_has_no_code(&session.reply))
		smtp_reply_reset(&session.reply);
	note_trouble(t, a, " but connection died. (#4.4.2)\n", "");
}

static enum attempt_result
our_failure(struct trouble *t, const struct attempt *a, const char *text,
    const char *tls)
{
	smtp_reply_reset(&session.reply);
	t->rank = TROUBLE_OURS;
	note_trouble(t, a, text, tls);
	return ATTEMPT_STOP;
}

static enum attempt_result
out_of_memory(struct trouble *t, const struct attempt *a)
{
	return our_failure(t, a, " but I ran out of memory. (#4.3.0)\n", "");
}

/* Ends a session that cannot be used; QUIT only if no reply is outstanding. */
static enum attempt_result
leave(int fd, enum smtp_outcome outcome, enum attempt_result result)
{
	if (outcome == SMTP_REFUSED || outcome == SMTP_DONE)
		smtp_session_quit(&session);
	close(fd);
	return result;
}

/*
 * There is no TLS, and the reason is on the server's side.  If the policy
 * allows clear text, it is tried on a new connection.
 */
static enum attempt_result
without_tls(struct attempt *a, const char *reason)
{
	if (tls_policy_falls_back(&a->policy)) {
		(void)str_copy(a->no_tls, sizeof a->no_tls, reason);
		a->policy.level = TLS_LEVEL_NONE;
		return ATTEMPT_AGAIN;
	}
	return tls_policy_verifies(&a->policy) ? ATTEMPT_NEXT : ATTEMPT_NO_TLS;
}

/*
 * Greeting and EHLO.
 */

static enum attempt_result
greet(struct attempt *a, int fd, struct trouble *t)
{
	enum smtp_outcome outcome = smtp_session_greeting(&session);

	if (outcome == SMTP_DONE)
		return ATTEMPT_READY;
	if (smtp_session_lacks_memory(&session))
		return leave(fd, outcome, out_of_memory(t, a));
	if (outcome == SMTP_DIED)
		note_died(t, a, false);
	else
		note_spoke(t, a, " but greeting failed.\n", "");
	return leave(fd, outcome, ATTEMPT_NEXT);
}

/* The server ends the session, rather than not knowing EHLO. */
static bool
is_leaving(enum smtp_outcome outcome)
{
	return outcome == SMTP_REFUSED && session.reply.code == 421;
}

static void
note_no_hello(struct trouble *t, const struct attempt *a,
    enum smtp_outcome outcome, const char *tls)
{
	if (outcome == SMTP_DIED)
		note_died(t, a, true);
	else
		note_spoke(t, a, " but my name was rejected.\n", tls);
}

/* EHLO was refused: HELO on the same connection.  Its outcome. */
static enum smtp_outcome
helo_instead(const struct attempt *a)
{
	return smtp_session_helo(&session, a->helohost);
}

/*
 * A server that closes the connection at EHLO, or sends no reply or a malformed
 * one, gets HELO on a new connection, as from a client that does not know EHLO
 * (RFC 5321 section 3.2).
 */
static enum attempt_result
hello_failed(struct attempt *a, int fd, enum smtp_outcome outcome,
    struct trouble *t)
{
	enum attempt_result result = ATTEMPT_AGAIN;

	note_no_hello(t, a, outcome, "");
	if (is_leaving(outcome) || outcome == SMTP_UNSOLICITED || a->only_helo)
		return leave(fd, outcome, ATTEMPT_NEXT);
	/* HELO knows no TLS: where that is demanded it is wanting. */
	if (tls_policy_requires(&a->policy))
		return leave(fd, outcome, without_tls(a, ""));
	if (outcome == SMTP_REFUSED) {
		outcome = helo_instead(a);
		if (outcome == SMTP_DONE)
			return ATTEMPT_READY;
		if (outcome != SMTP_DIED)
			note_no_hello(t, a, outcome, "");
		if (outcome == SMTP_REFUSED)
			result = ATTEMPT_NEXT;
	}
	if (smtp_session_lacks_memory(&session))
		return leave(fd, outcome, out_of_memory(t, a));
	a->only_helo = result == ATTEMPT_AGAIN;
	return leave(fd, outcome, result);
}

static enum attempt_result
hello(struct attempt *a, int fd, struct trouble *t)
{
	enum smtp_outcome outcome =
	    a->only_helo ? smtp_session_helo(&session, a->helohost)
			 : smtp_session_ehlo(&session, a->helohost);

	if (outcome == SMTP_DONE)
		return ATTEMPT_READY;
	if (smtp_session_lacks_memory(&session))
		return leave(fd, outcome, out_of_memory(t, a));
	return hello_failed(a, fd, outcome, t);
}

/*
 * MAIL can be sent, unless there is an unsolicited reply or the connection is
 * closed: before MAIL another server can still be tried.
 */
static enum attempt_result
ready(const struct attempt *a, int fd, const char *tls, struct server *server,
    struct trouble *t)
{
	enum smtp_outcome outcome = smtp_session_expect_silence(&session);

	if (outcome == SMTP_DONE && smtp_session_is_within_line(&session))
		outcome = SMTP_MALFORMED;
	switch (outcome) {
	case SMTP_DONE:
		break;
	case SMTP_MALFORMED:
		(void)smtp_session_show_unsolicited(&session);
		note_spoke(t, a, " but my name was rejected.\n", tls);
		return leave(fd, SMTP_MALFORMED, ATTEMPT_NEXT);
	default:
		note_died(t, a, true);
		return leave(fd, SMTP_DIED, ATTEMPT_NEXT);
	}
	server->fd = fd;
	server->ehlo = session.ehlo;
	(void)str_copy(server->tls, sizeof server->tls, tls);
	return ATTEMPT_READY;
}

static enum attempt_result
ready_in_clear(const struct attempt *a, int fd, struct server *server,
    struct trouble *t)
{
	char tls[TLS_SENTENCE_SIZE] = "";

	if (a->no_tls[0])
		snprintf(tls, sizeof tls, "%.600s%s", a->no_tls,
		    a->is_tls_left_out ? "" : ", sent in clear text");
	return ready(a, fd, tls, server, t);
}

/*
 * STARTTLS and what follows it.
 */

static enum attempt_result
handshake_failed(struct attempt *a, const struct tls_result *r,
    struct trouble *t)
{
	char reason[TLS_SENTENCE_SIZE];

	smtp_reply_reset(&session.reply);
	if (r->status == TLS_STATUS_LOCAL)
		return our_failure(t, a, " but TLS is not set up. (#4.3.5)\n",
		    r->text);
	a->has_hung = tls_policy_falls_back(&a->policy) &&
		      strcmp(r->text, TLS_TEXT_TIMED_OUT) == 0;
	note_spoke(t, a, " but TLS failed. (#4.7.5)\n", r->text);
	snprintf(reason, sizeof reason, "handshake failed (%s)", r->text);
	return without_tls(a, reason);
}

/*
 * Why there is no reply to EHLO in TLS: the server's doing, as with TLS 1.3,
 * where a client learns late of a refusal; or that of the helper, or ours.
 */
static struct tls_result
explain_end(const struct tls_start *tls)
{
	struct tls_result r = { .status = TLS_STATUS_LOCAL };
	char text[TLS_TEXT_SIZE] = "out of memory";
	enum tls_end end = TLS_END_LOCAL;

	if (!smtp_session_lacks_memory(&session)) {
		if (!smtp_session_has_ended(&session)) {
			r.status = TLS_STATUS_FAILED;
			(void)str_copy(r.text, sizeof r.text,
			    "no reply to EHLO after the handshake");
			return r;
		}
		end = tls_helper_end(tls->status, tls->pid, text);
	}
	if (end == TLS_END_SERVER || end == TLS_END_BROKEN)
		r.status = TLS_STATUS_FAILED;
	if (end == TLS_END_SERVER)
		(void)str_copy(text, sizeof text, "closed by the server");
	if (r.status == TLS_STATUS_FAILED)
		snprintf(r.text, sizeof r.text,
		    "the connection died after the handshake: %.200s", text);
	else
		(void)str_copy(r.text, sizeof r.text, text);
	return r;
}

/* The reply to EHLO in TLS was not 250: the reason, for the report. */
static const char *
explain_refusal(enum smtp_outcome outcome, char text[TLS_TEXT_SIZE])
{
	if (outcome == SMTP_REFUSED)
		snprintf(text, TLS_TEXT_SIZE,
		    "EHLO refused after the handshake (%03d)",
		    session.reply.code);
	else
		(void)str_copy(text, TLS_TEXT_SIZE,
		    "no valid reply to EHLO after the handshake");
	return text;
}

/* Where the server is refused its own name, HELO is tried in TLS too. */
static enum smtp_outcome
hello_in_tls(const struct attempt *a)
{
	enum smtp_outcome outcome;

	/* Before EHLO is sent nothing can be a reply to it. */
	if (stream_has_input(&session.stream))
		return smtp_session_show_unsolicited(&session);
	outcome = smtp_session_ehlo(&session, a->helohost);
	if (outcome != SMTP_REFUSED || is_leaving(outcome))
		return outcome;
	outcome = helo_instead(a);
	return outcome == SMTP_UNSOLICITED ? SMTP_MALFORMED : outcome;
}

/* The second EHLO; all that was learnt in clear text is discarded. */
static enum attempt_result
hello_again(struct attempt *a, struct tls_start *tls, struct server *server,
    struct trouble *t)
{
	char how[TLS_SENTENCE_SIZE], reason[TLS_TEXT_SIZE];
	enum attempt_result result = ATTEMPT_NEXT;
	enum smtp_outcome outcome;
	struct tls_result failed;

	tls_result_describe(&tls->result, how);
	smtp_session_init(&session, tls->fd, a->timeout_s);
	session.is_through_helper = true;
	outcome = hello_in_tls(a);
	if (outcome == SMTP_DONE) {
		server->status = tls->status;
		server->helper = tls->pid;
		result = ready(a, tls->fd, how, server, t);
		if (result != ATTEMPT_READY)
			close(tls->status);
		return result;
	}
	if (outcome == SMTP_DIED) {
		failed = explain_end(tls);
		tls_helper_stop(tls);
		return handshake_failed(a, &failed, t);
	}
	note_no_hello(t, a, outcome, how);
	if (outcome != SMTP_UNSOLICITED)
		result = without_tls(a, explain_refusal(outcome, reason));
	close(tls->status);
	return leave(tls->fd, outcome, result);
}

static enum attempt_result
start_tls(struct attempt *a, int connection, struct server *server,
    struct trouble *t)
{
	struct tls_start tls = tls_helper_start(&a->helper, connection);

	if (tls.result.status != TLS_STATUS_READY)
		return handshake_failed(a, &tls.result, t);
	return hello_again(a, &tls, server, t);
}

static const char *
explain_starttls(enum smtp_outcome outcome, char text[TLS_TEXT_SIZE])
{
	if (outcome == SMTP_REFUSED)
		snprintf(text, TLS_TEXT_SIZE, "STARTTLS refused (%03d)",
		    session.reply.code);
	else
		(void)str_copy(text, TLS_TEXT_SIZE,
		    outcome == SMTP_DIED ? "no reply to STARTTLS"
					 : "no valid reply to STARTTLS");
	return text;
}

/*
 * A refusal (4yz or 5yz) leaves the session as it was; but not the 421 of a
 * server that goes away, nor 554, behind which most servers hang up, be it a
 * moment later.
 */
static bool
is_plain_refusal(enum smtp_outcome outcome)
{
	int class = smtp_reply_class(&session.reply);

	return outcome == SMTP_REFUSED && !is_leaving(outcome) &&
	       session.reply.code != 554 && (class == 4 || class == 5) &&
	       stream_is_quiet(&session.stream);
}

/* The reply to STARTTLS was not 220. */
static enum attempt_result
starttls_refused(struct attempt *a, int fd, enum smtp_outcome outcome,
    struct server *server, struct trouble *t)
{
	char reason[TLS_TEXT_SIZE];

	if (smtp_session_lacks_memory(&session))
		return leave(fd, outcome, out_of_memory(t, a));
	(void)explain_starttls(outcome, reason);
	if (is_plain_refusal(outcome) && tls_policy_falls_back(&a->policy)) {
		(void)str_copy(a->no_tls, sizeof a->no_tls, reason);
		return ready_in_clear(a, fd, server, t);
	}
	if (outcome == SMTP_DIED)
		note_died(t, a, true);
	else
		note_spoke(t, a, " but STARTTLS was refused. (#4.7.4)\n", "");
	/* What came before STARTTLS was sent belongs to EHLO. */
	return leave(fd, outcome,
	    outcome == SMTP_UNSOLICITED ? ATTEMPT_NEXT
					: without_tls(a, reason));
}

static enum attempt_result
not_offered(struct attempt *a, int fd, struct server *server, struct trouble *t)
{
	if (!tls_policy_requires(&a->policy))
		return ready_in_clear(a, fd, server, t);
	smtp_reply_reset(&session.reply);
	note_spoke(t, a, " but it does not offer STARTTLS. (#4.7.4)\n", "");
	return leave(fd, SMTP_DONE, without_tls(a, ""));
}

enum attempt_result
attempt_server(struct attempt *a, int connection, struct server *server,
    struct trouble *t)
{
	enum attempt_result result;
	enum smtp_outcome outcome;

	server->ip = a->ip;
	server->host = a->host;
	server->status = 0;
	server->helper = 0;
	smtp_session_init(&session, connection, a->timeout_s);
	result = greet(a, connection, t);
	if (result == ATTEMPT_READY)
		result = hello(a, connection, t);
	if (result != ATTEMPT_READY)
		return result;
	if (!tls_policy_tries(&a->policy))
		return ready_in_clear(a, connection, server, t);
	if (!smtp_ehlo_has(&session.ehlo, SMTP_EXT_STARTTLS))
		return not_offered(a, connection, server, t);
	outcome = smtp_session_starttls(&session);
	if (outcome != SMTP_DONE)
		return starttls_refused(a, connection, outcome, server, t);
	return start_tls(a, connection, server, t);
}
