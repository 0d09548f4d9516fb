/* SPDX-License-Identifier: ISC */
#include "attempt.h"

#include <errno.h>
#include <unistd.h>

#include "base/spawn.h"
#include "base/str.h"

/* One conversation at a time; its buffers are too large for the stack. */
static struct smtp_session session;

static void
note_trouble(struct trouble *t, const struct attempt *a, const char *text,
    const char *tls)
{
	ip_format(&a->ip, t->address);
	t->host = a->host;
	t->text = text;
	str_copy(t->tls, sizeof t->tls, tls);
	t->reply = session.reply;
}

/* Of servers that said nothing any will do, of those that did the last. */
static void
note_spoke(struct trouble *t, const struct attempt *a, const char *text,
    const char *tls)
{
	if (t->rank > TROUBLE_SPOKE)
		return;
	t->rank = TROUBLE_SPOKE;
	note_trouble(t, a, text, tls);
}

static void
note_died(struct trouble *t, const struct attempt *a, bool has_spoken)
{
	if (t->rank > (has_spoken ? TROUBLE_SPOKE : TROUBLE_MUTE))
		return;
	t->rank = has_spoken ? TROUBLE_SPOKE : TROUBLE_MUTE;
	/* What came of an unfinished reply says nothing. */
	smtp_reply_reset(&session.reply);
	note_trouble(t, a, " but connection died. (#4.4.2)\n", "");
}

/* The session died, and for a lack of ours: nothing is sent in clear text. */
static bool
lacks_memory(void)
{
	return session.stream.error == ENOMEM ||
	       session.stream.error == ENOBUFS;
}

/* Ends a session that will not do; QUIT only where both are in step. */
static enum attempt_result
leave(int fd, enum smtp_outcome outcome, enum attempt_result result)
{
	if (outcome == SMTP_REFUSED || outcome == SMTP_DONE)
		smtp_session_quit(&session);
	close(fd);
	return result;
}

/* What TLS that cannot be had means under this policy. */
static enum attempt_result
without_tls(const struct attempt *a)
{
	return tls_policy_verifies(&a->policy) ? ATTEMPT_NEXT : ATTEMPT_NO_TLS;
}

static enum attempt_result
greet(const struct attempt *a, int fd, struct trouble *t)
{
	enum smtp_outcome outcome = smtp_session_greeting(&session);

	if (outcome == SMTP_DONE)
		return ATTEMPT_READY;
	if (outcome == SMTP_DIED)
		note_died(t, a, false);
	else
		note_spoke(t, a, " but greeting failed.\n", "");
	return leave(fd, outcome, ATTEMPT_NEXT);
}

/*
 * The first EHLO.  A server that knows HELO only knows no TLS: where that is
 * demanded it has failed for want of TLS.
 */
static enum attempt_result
hello(const struct attempt *a, int fd, struct trouble *t)
{
	bool demands = tls_policy_demands(&a->policy);
	enum smtp_outcome outcome =
	    smtp_session_hello(&session, a->helohost, !demands);
	bool is_old =
	    outcome == SMTP_REFUSED && smtp_reply_class(&session.reply) == 5;

	if (outcome == SMTP_DONE)
		return ATTEMPT_READY;
	if (outcome == SMTP_DIED)
		note_died(t, a, true);
	else
		note_spoke(t, a, " but my name was rejected.\n", "");
	return leave(fd, outcome,
	    demands && is_old ? without_tls(a) : ATTEMPT_NEXT);
}

static enum attempt_result
handshake_failed(const struct attempt *a, const struct tls_start *tls,
    struct trouble *t)
{
	smtp_reply_reset(&session.reply);
	if (tls->status == TLS_STATUS_LOCAL) {
		t->rank = TROUBLE_OURS;
		note_trouble(t, a, " but TLS is not set up. (#4.3.5)\n",
		    tls->text);
		return ATTEMPT_STOP;
	}
	note_spoke(t, a, " but TLS failed. (#4.7.5)\n", tls->text);
	return tls_policy_falls_back(&a->policy) ? ATTEMPT_CLEAR
						 : without_tls(a);
}

/*
 * The session is fit for MAIL, unless the server has spoken or gone since its
 * last reply: here there still is a next one to try.
 */
static enum attempt_result
ready(const struct attempt *a, int fd, const char *tls, struct server *server,
    struct trouble *t)
{
	if (!stream_is_quiet(&session.stream)) {
		if (stream_has_input(&session.stream)) {
			(void)smtp_session_unasked(&session);
			note_spoke(t, a, " but my name was rejected.\n", tls);
		} else {
			note_died(t, a, true);
		}
		return leave(fd, SMTP_MALFORMED, ATTEMPT_NEXT);
	}
	server->fd = fd;
	server->ehlo = session.ehlo;
	str_copy(server->tls, sizeof server->tls, tls);
	return ATTEMPT_READY;
}

/*
 * As with TLS 1.3, where a client learns late of a refusal; unless it is the
 * helper that failed, or we did.
 */
static enum attempt_result
died_after_handshake(const struct attempt *a, const struct tls_start *tls,
    struct trouble *t)
{
	static const struct tls_start refused = { .status = TLS_STATUS_FAILED,
		.text = "the connection died after the handshake" };
	static const struct tls_start ours = { .status = TLS_STATUS_LOCAL,
		.text = "qmail-remote-tls failed" };

	close(tls->fd);
	if (spawn_kill(tls->pid) || lacks_memory())
		return handshake_failed(a, &ours, t);
	return handshake_failed(a, &refused, t);
}

/* The second EHLO; all that was learnt in clear text is forgotten. */
static enum attempt_result
hello_again(const struct attempt *a, const struct tls_start *tls,
    struct server *server, struct trouble *t)
{
	enum smtp_outcome outcome;

	smtp_session_init(&session, tls->fd, a->timeout_s);
	outcome = smtp_session_hello(&session, a->helohost, true);
	if (outcome == SMTP_DONE)
		return ready(a, tls->fd, tls->text, server, t);
	if (outcome == SMTP_DIED)
		return died_after_handshake(a, tls, t);
	note_spoke(t, a, " but my name was rejected.\n", tls->text);
	return leave(tls->fd, outcome, ATTEMPT_NEXT);
}

static enum attempt_result
start_tls(const struct attempt *a, int connection, struct server *server,
    struct trouble *t)
{
	struct tls_start tls = tls_helper_start(&a->helper, connection);

	if (tls.status != TLS_STATUS_READY)
		return handshake_failed(a, &tls, t);
	return hello_again(a, &tls, server, t);
}

/*
 * STARTTLS was not answered by 220.  A refusal (4yz or 5yz, but not the 421
 * of a server that goes away) leaves the session as it was.
 */
static enum attempt_result
starttls_refused(const struct attempt *a, int fd, enum smtp_outcome outcome,
    struct server *server, struct trouble *t)
{
	int class = smtp_reply_class(&session.reply);

	if (outcome == SMTP_DIED) {
		note_died(t, a, true);
		if (lacks_memory())
			return leave(fd, outcome, ATTEMPT_NEXT);
		return leave(fd, outcome,
		    tls_policy_falls_back(&a->policy) ? ATTEMPT_CLEAR
						      : without_tls(a));
	}
	if (outcome == SMTP_MALFORMED || session.reply.code == 421) {
		note_spoke(t, a, " but STARTTLS was refused. (#4.7.4)\n", "");
		return leave(fd, outcome, ATTEMPT_NEXT);
	}
	if (tls_policy_falls_back(&a->policy) && (class == 4 || class == 5))
		return ready(a, fd, "", server, t);
	note_spoke(t, a, " but STARTTLS was refused. (#4.7.4)\n", "");
	return leave(fd, outcome,
	    tls_policy_falls_back(&a->policy) ? ATTEMPT_CLEAR : without_tls(a));
}

static enum attempt_result
not_offered(const struct attempt *a, int fd, struct server *server,
    struct trouble *t)
{
	if (!tls_policy_demands(&a->policy))
		return ready(a, fd, "", server, t);
	smtp_reply_reset(&session.reply);
	note_spoke(t, a, " but it does not offer STARTTLS. (#4.7.4)\n", "");
	return leave(fd, SMTP_DONE, without_tls(a));
}

enum attempt_result
attempt_server(const struct attempt *a, int connection, struct server *server,
    struct trouble *t)
{
	enum attempt_result result;
	enum smtp_outcome outcome;

	server->ip = a->ip;
	server->host = a->host;
	smtp_session_init(&session, connection, a->timeout_s);
	result = greet(a, connection, t);
	if (result == ATTEMPT_READY)
		result = hello(a, connection, t);
	if (result != ATTEMPT_READY)
		return result;
	if (!tls_policy_tries(&a->policy))
		return ready(a, connection, "", server, t);
	if (!smtp_ehlo_has(&session.ehlo, SMTP_EXT_STARTTLS))
		return not_offered(a, connection, server, t);
	outcome = smtp_session_starttls(&session);
	if (outcome != SMTP_DONE)
		return starttls_refused(a, connection, outcome, server, t);
	return start_tls(a, connection, server, t);
}
