/* SPDX-License-Identifier: ISC */
#include "delivery/attempt.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mask.h"
#include "base/mem.h"
#include "base/str.h"
#include "delivery/handshake.h"
#include "smtp/auth.h"
#include "tls/helper.h"

static const struct cleartext no_reason = { .reason = CLEARTEXT_NO_REASON };

/* What every step needs. */
struct work {
	const struct attempt_config *config;
	struct smtp_session *session;
	struct attempt_mode *mode;
	struct attempt *attempt;
	struct server *server;
	int fd;
	struct mask mask; /* hides the credentials */
};

/* The last reply as it may be shown; NULL if there is none. */
static char *
masked_reply(const struct work *w, size_t *n)
{
	const struct smtp_reply *reply = &w->session->reply;
	char *text;

	*n = reply->len;
	if (*n == 0)
		return NULL;
	text = mem_alloc(*n, 1);
	memcpy(text, reply->text, *n);
	*n = mask_apply(&w->mask, text, *n);
	return text;
}

/* The present phase has ended, with the last reply or without one. */
static void
tell_reply(const struct work *w)
{
	const struct attempt_observer *observer = w->config->observer;
	char *text;
	size_t n;

	if (!observer)
		return;
	text = masked_reply(w, &n);
	observer->phase_has_ended(observer->data, w->attempt, text ? text : "",
	    n, NULL);
	free(text);
}

/*
 * What is kept of a failure.
 */

static void
set_failure(struct work *w, enum failure_cause cause)
{
	struct attempt *a = w->attempt;

	a->cause = cause;
	free(a->reply);
	a->reply = masked_reply(w, &a->nreply);
}

static void
set_died(struct work *w)
{
	struct smtp_reply *reply = &w->session->reply;

	/* What came of an unfinished reply says nothing. */
	if (!smtp_reply_has_no_code(reply))
		smtp_reply_reset(reply);
	set_failure(w, FAILURE_CONNECTION_DIED);
}

static void
set_no_hello(struct work *w, enum smtp_outcome outcome)
{
	if (outcome == SMTP_DIED)
		set_died(w);
	else
		set_failure(w, FAILURE_HELLO);
}

static enum attempt_result
local_failure(struct work *w, enum failure_cause cause)
{
	smtp_reply_reset(&w->session->reply);
	set_failure(w, cause);
	w->attempt->is_local = true;
	return ATTEMPT_LOCAL;
}

static enum attempt_result
out_of_memory(struct work *w)
{
	return local_failure(w, FAILURE_MEMORY_IN_SESSION);
}

/* Ends a session that cannot be used; QUIT only if no reply is outstanding. */
static enum attempt_result
leave(const struct work *w, enum smtp_outcome outcome,
    enum attempt_result result)
{
	if (outcome == SMTP_REFUSED || outcome == SMTP_DONE)
		smtp_session_quit(w->session);
	close(w->fd);
	return result;
}

/*
 * There is no TLS, and the reason is on the server's side.  If the policy
 * allows clear text, it is tried on a new connection.
 */
static enum attempt_result
without_tls(struct work *w, const struct cleartext *why)
{
	struct attempt_mode *mode = w->mode;

	if (tls_policy_falls_back(&mode->policy)) {
		mode->cleartext = *why;
		mode->policy.level = TLS_LEVEL_NONE;
		return ATTEMPT_AGAIN;
	}
	return tls_policy_allows_clear(&mode->policy) ? ATTEMPT_NO_TLS
						      : ATTEMPT_NEXT;
}

/*
 * Greeting and EHLO.
 */

static enum attempt_result
greet(struct work *w)
{
	enum smtp_outcome outcome = smtp_session_greeting(w->session);

	tell_reply(w);
	if (outcome == SMTP_DONE)
		return ATTEMPT_READY;
	if (smtp_session_lacks_memory(w->session))
		return leave(w, outcome, out_of_memory(w));
	if (outcome == SMTP_DIED)
		set_died(w);
	else
		set_failure(w, FAILURE_GREETING);
	return leave(w, outcome, ATTEMPT_NEXT);
}

/* The server ends the session, rather than not knowing EHLO. */
static bool
is_leaving(const struct work *w, enum smtp_outcome outcome)
{
	return outcome == SMTP_REFUSED && w->session->reply.code == 421;
}

/* EHLO was refused: HELO on the same connection.  READY, AGAIN or NEXT. */
static enum attempt_result
helo_instead(struct work *w, enum smtp_outcome *outcome)
{
	*outcome = smtp_session_helo(w->session, w->attempt->helohost);
	tell_reply(w);
	if (*outcome == SMTP_DONE)
		return ATTEMPT_READY;
	/* The refusal of EHLO says more than a connection that died. */
	if (*outcome != SMTP_DIED)
		set_no_hello(w, *outcome);
	return *outcome == SMTP_REFUSED ? ATTEMPT_NEXT : ATTEMPT_AGAIN;
}

/*
 * A server that closes the connection at EHLO, or sends no reply or a malformed
 * one, gets HELO on a new connection, as from a client that does not know EHLO
 * (RFC 5321 section 3.2).
 */
static enum attempt_result
hello_failed(struct work *w, enum smtp_outcome outcome)
{
	enum attempt_result result = ATTEMPT_AGAIN;

	set_no_hello(w, outcome);
	if (is_leaving(w, outcome) || outcome == SMTP_UNSOLICITED ||
	    w->mode->only_helo)
		return leave(w, outcome, ATTEMPT_NEXT);
	/* With HELO there is no TLS. */
	if (tls_policy_requires(&w->mode->policy))
		return leave(w, outcome, without_tls(w, &no_reason));
	if (outcome == SMTP_REFUSED)
		result = helo_instead(w, &outcome);
	if (result == ATTEMPT_READY)
		return ATTEMPT_READY;
	if (smtp_session_lacks_memory(w->session))
		return leave(w, outcome, out_of_memory(w));
	w->mode->only_helo = result == ATTEMPT_AGAIN;
	return leave(w, outcome, result);
}

static enum attempt_result
hello(struct work *w)
{
	const char *name = w->attempt->helohost;
	enum smtp_outcome outcome = w->mode->only_helo
					? smtp_session_helo(w->session, name)
					: smtp_session_ehlo(w->session, name);

	tell_reply(w);
	if (outcome == SMTP_DONE)
		return ATTEMPT_READY;
	if (smtp_session_lacks_memory(w->session))
		return leave(w, outcome, out_of_memory(w));
	return hello_failed(w, outcome);
}

/* The envelope needs SMTPUTF8 (RFC 6531), which another server may offer. */
static enum attempt_result
without_smtputf8(struct work *w)
{
	smtp_reply_reset(&w->session->reply);
	set_failure(w, FAILURE_SMTPUTF8_NOT_OFFERED);
	return leave(w, SMTP_DONE, ATTEMPT_NO_SMTPUTF8);
}

/*
 * MAIL can be sent, unless there is an unsolicited reply or the connection is
 * closed: before MAIL another server can still be tried.
 */
static enum attempt_result
ready(struct work *w)
{
	enum smtp_outcome outcome = smtp_session_expect_silence(w->session);

	if (outcome == SMTP_DONE && smtp_session_is_within_line(w->session))
		outcome = SMTP_MALFORMED;
	switch (outcome) {
	case SMTP_DONE:
		break;
	case SMTP_MALFORMED:
		(void)smtp_session_show_unsolicited(w->session);
		set_failure(w, FAILURE_HELLO);
		return leave(w, SMTP_MALFORMED, ATTEMPT_NEXT);
	default:
		set_died(w);
		return leave(w, SMTP_DIED, ATTEMPT_NEXT);
	}
	if (w->mode->needs_smtputf8 &&
	    !smtp_ehlo_has(&w->session->ehlo, SMTP_EXT_SMTPUTF8))
		return without_smtputf8(w);
	w->attempt->cause = FAILURE_NONE;
	w->server->fd = w->fd;
	w->server->ehlo = w->session->ehlo;
	return ATTEMPT_READY;
}

/*
 * STARTTLS and what follows it.
 */

static enum attempt_result
handshake_failed(struct work *w, const struct tls_result *r)
{
	struct cleartext why = { .reason = CLEARTEXT_HANDSHAKE };

	w->attempt->tls = *r;
	if (r->status == TLS_STATUS_LOCAL)
		return local_failure(w, FAILURE_TLS_SETUP);
	smtp_reply_reset(&w->session->reply);
	set_failure(w, FAILURE_TLS);
	(void)str_copy(why.text, sizeof why.text, r->text);
	return without_tls(w, &why);
}

/*
 * Why there is no reply in TLS: the server's doing, as with TLS 1.3, where a
 * client learns late of a refusal; or that of the helper, or ours.
 */
static struct tls_result
explain_end(struct smtp_session *session, const struct tls_start *tls,
    const char *silence)
{
	struct tls_result r = { .status = TLS_STATUS_LOCAL };
	char text[TLS_TEXT_SIZE] = "out of memory";
	enum tls_end end = TLS_END_LOCAL;

	if (!smtp_session_lacks_memory(session)) {
		if (!smtp_session_has_ended(session)) {
			r.status = TLS_STATUS_FAILED;
			(void)str_copy(r.text, sizeof r.text, silence);
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

/* No reply in TLS, where there has been none before: there is no session. */
static enum attempt_result
no_session(struct work *w, struct tls_start *tls, const char *silence)
{
	struct tls_result failed = explain_end(w->session, tls, silence);

	tls_helper_stop(tls);
	return handshake_failed(w, &failed);
}

/* With implicit TLS. */
static enum attempt_result
greet_in_tls(struct work *w, struct tls_start *tls)
{
	enum smtp_outcome outcome;

	w->attempt->phase = ATTEMPT_IN_GREETING_TLS;
	outcome = smtp_session_greeting(w->session);
	tell_reply(w);
	if (outcome == SMTP_DONE)
		return ATTEMPT_READY;
	if (outcome == SMTP_DIED)
		return no_session(w, tls, "no greeting after the handshake");
	set_failure(w, FAILURE_GREETING);
	return leave(w, outcome, ATTEMPT_NEXT);
}

/* HELO is tried in TLS too, if EHLO is refused there. */
static enum smtp_outcome
send_hello_in_tls(struct work *w)
{
	const char *name = w->attempt->helohost;
	enum smtp_outcome outcome;

	/* Before EHLO is sent nothing can be a reply to it. */
	if (!w->mode->policy.is_implicit &&
	    stream_has_input(&w->session->stream))
		return smtp_session_show_unsolicited(w->session);
	outcome = smtp_session_ehlo(w->session, name);
	if (outcome != SMTP_REFUSED || is_leaving(w, outcome))
		return outcome;
	outcome = smtp_session_helo(w->session, name);
	return outcome == SMTP_UNSOLICITED ? SMTP_MALFORMED : outcome;
}

/* EHLO in TLS; the extensions offered in clear text are discarded. */
static enum attempt_result
hello_in_tls(struct work *w, struct tls_start *tls)
{
	struct cleartext why = { .reason = CLEARTEXT_HELLO_INVALID };
	enum smtp_outcome outcome;

	w->attempt->phase = ATTEMPT_IN_HELLO_TLS;
	outcome = send_hello_in_tls(w);
	tell_reply(w);
	if (outcome == SMTP_DONE)
		return ATTEMPT_READY;
	if (outcome == SMTP_DIED)
		return no_session(w, tls,
		    "no reply to EHLO after the handshake");
	set_failure(w, FAILURE_HELLO);
	if (outcome == SMTP_REFUSED) {
		why.reason = CLEARTEXT_HELLO_REFUSED;
		why.code = w->session->reply.code;
	}
	return leave(w, outcome,
	    outcome == SMTP_UNSOLICITED ? ATTEMPT_NEXT : without_tls(w, &why));
}

/*
 * AUTH.
 */

/*
 * Credentials go to a server that has proved who it is, or for which the
 * administrator has said that it need not.
 */
static bool
may_have_credentials(const struct work *w)
{
	const struct tls_policy *policy = &w->mode->policy;
	const struct tls_result *r = &w->attempt->tls;

	return r->status == TLS_STATUS_READY &&
	       (tls_result_is_verified(r) ||
		   (policy->level == TLS_LEVEL_ENCRYPT &&
		       policy->source == TLS_FROM_RULE));
}

/* The policy has demanded less than the credentials need. */
static enum attempt_result
not_verified(struct work *w, struct tls_start *tls)
{
	struct tls_result failed = { .status = TLS_STATUS_FAILED };

	(void)str_copy(failed.text, sizeof failed.text,
	    "the server is not verified, and does not get the credentials");
	tls_helper_stop(tls);
	return handshake_failed(w, &failed);
}

/* The reply to EHLO shows what there is instead. */
static enum attempt_result
no_mechanism(struct work *w)
{
	const struct smtp_ehlo *offered = &w->session->ehlo;
	bool has_password =
	    w->config->credentials->kind == CREDENTIALS_PASSWORD;
	enum failure_cause cause = has_password ? FAILURE_AUTH_TOKEN_WANTED
						: FAILURE_AUTH_PASSWORD_WANTED;
	enum smtp_mechanism other = smtp_auth_choose(offered,
	    has_password ? CREDENTIALS_TOKEN : CREDENTIALS_PASSWORD);

	if (!smtp_ehlo_has(offered, SMTP_EXT_AUTH))
		cause = FAILURE_AUTH_NOT_OFFERED;
	else if (other == SMTP_MECHANISM_NONE)
		cause = FAILURE_AUTH_MECHANISM;
	set_failure(w, cause);
	return leave(w, SMTP_DONE, ATTEMPT_NEXT);
}

/*
 * The connection died; that of the TLS session may be our fault, and then no
 * other server is tried.
 */
static enum attempt_result
died_in_auth(struct work *w, struct tls_start *tls)
{
	struct tls_result end = explain_end(w->session, tls, "");

	if (end.status == TLS_STATUS_LOCAL) {
		tls_helper_stop(tls);
		return handshake_failed(w, &end);
	}
	set_died(w);
	return leave(w, SMTP_DIED, ATTEMPT_NEXT);
}

/*
 * After a refusal that is definite no other server is tried: it has the same
 * accounts, and many tries would lock ours.
 */
static enum attempt_result
auth_failed(struct work *w, enum smtp_outcome outcome)
{
	bool is_definite = outcome == SMTP_REFUSED &&
			   smtp_reply_class(&w->session->reply) == 5;

	set_failure(w, is_definite ? FAILURE_CREDENTIALS : FAILURE_AUTH);
	w->attempt->is_local = is_definite;
	return leave(w, outcome, is_definite ? ATTEMPT_LOCAL : ATTEMPT_NEXT);
}

static enum attempt_result
authenticate(struct work *w, struct tls_start *tls)
{
	const struct credentials *credentials = w->config->credentials;
	enum smtp_mechanism mechanism;
	enum smtp_outcome outcome;

	if (!may_have_credentials(w))
		return not_verified(w, tls);
	mechanism = smtp_auth_choose(&w->session->ehlo, credentials->kind);
	if (mechanism == SMTP_MECHANISM_NONE)
		return no_mechanism(w);
	w->attempt->phase = ATTEMPT_IN_AUTH;
	w->attempt->mechanism = mechanism;
	outcome = smtp_auth(w->session, mechanism, credentials);
	tell_reply(w);
	if (outcome == SMTP_DONE)
		return ATTEMPT_READY;
	if (outcome == SMTP_DIED)
		return died_in_auth(w, tls);
	return auth_failed(w, outcome);
}

/* The session in TLS, up to MAIL. */
static enum attempt_result
begin_session(struct work *w, struct tls_start *tls)
{
	enum attempt_result result = ATTEMPT_READY;

	w->attempt->tls = tls->result;
	w->fd = tls->fd;
	smtp_session_init(w->session, tls->fd, w->config->timeout_s);
	w->session->is_through_helper = true;
	if (w->mode->policy.is_implicit)
		result = greet_in_tls(w, tls);
	if (result == ATTEMPT_READY)
		result = hello_in_tls(w, tls);
	if (result == ATTEMPT_READY && w->config->credentials)
		result = authenticate(w, tls);
	if (result == ATTEMPT_READY)
		result = ready(w);
	if (result == ATTEMPT_READY) {
		w->server->status = tls->status;
		w->server->helper = tls->pid;
	} else if (tls->status != -1)
		close(tls->status);
	tls_helper_settle(tls);
	return result;
}

/*
 * OpenSSL can use none of the TLSA records, and the policy does without them
 * only if that would leave nothing to verify.  The proof tells a TLS report
 * that it is the records that failed.
 */
static enum attempt_result
prove_nothing(struct work *w, struct tls_start *tls)
{
	struct tls_result failed = { .status = TLS_STATUS_FAILED,
		.proof = TLS_PROOF_UNUSABLE };

	(void)str_copy(failed.text, sizeof failed.text,
	    tls_skip_text(w->mode->policy.unusable.skip));
	tls_helper_stop(tls);
	return handshake_failed(w, &failed);
}

/* The handshake has ended. */
static enum attempt_result
use_tls(struct work *w, struct handshake *h)
{
	const struct attempt_observer *observer = w->config->observer;

	if (observer)
		observer->phase_has_ended(observer->data, w->attempt, "", 0,
		    &h->facts);
	if (h->tls.result.status != TLS_STATUS_READY)
		return handshake_failed(w, &h->tls.result);
	if (h->tls.result.proof == TLS_PROOF_UNUSABLE &&
	    w->mode->policy.unusable.skip != TLS_SKIP_NOT)
		return prove_nothing(w, &h->tls);
	w->attempt->source = h->source;
	w->attempt->test = h->test;
	return begin_session(w, &h->tls);
}

/* TLS from the first byte. */
static enum attempt_result
begin_in_tls(struct work *w)
{
	struct handshake h;

	w->attempt->phase = ATTEMPT_IN_HANDSHAKE;
	handshake_make(&h, w->config, &w->mode->policy, w->fd);
	return use_tls(w, &h);
}

static struct cleartext
explain_starttls(const struct work *w, enum smtp_outcome outcome)
{
	struct cleartext why = { .reason = CLEARTEXT_INVALID_REPLY };

	if (outcome == SMTP_REFUSED) {
		why.reason = CLEARTEXT_REFUSED;
		why.code = w->session->reply.code;
	} else if (outcome == SMTP_DIED)
		why.reason = CLEARTEXT_NO_REPLY;
	return why;
}

/*
 * A refusal (4yz or 5yz) leaves the session as it was; but not the 421 of a
 * server that goes away, nor 554, behind which most servers hang up, be it a
 * moment later.
 */
static bool
is_plain_refusal(const struct work *w, enum smtp_outcome outcome)
{
	const struct smtp_reply *reply = &w->session->reply;
	int class = smtp_reply_class(reply);

	return outcome == SMTP_REFUSED && !is_leaving(w, outcome) &&
	       reply->code != 554 && (class == 4 || class == 5) &&
	       stream_is_quiet(&w->session->stream);
}

/* The reply to STARTTLS was not 220. */
static enum attempt_result
starttls_refused(struct work *w, enum smtp_outcome outcome)
{
	struct cleartext why;

	if (smtp_session_lacks_memory(w->session))
		return leave(w, outcome, out_of_memory(w));
	why = explain_starttls(w, outcome);
	if (is_plain_refusal(w, outcome) &&
	    tls_policy_falls_back(&w->mode->policy)) {
		w->mode->cleartext = w->attempt->cleartext = why;
		return ready(w);
	}
	if (outcome == SMTP_DIED)
		set_died(w);
	else
		set_failure(w, FAILURE_STARTTLS_REFUSED);
	/* What came before STARTTLS was sent belongs to EHLO. */
	return leave(w, outcome,
	    outcome == SMTP_UNSOLICITED ? ATTEMPT_NEXT : without_tls(w, &why));
}

/*
 * The helper is started while the reply is under way: OpenSSL takes as long to
 * get ready as many servers to reply.  If the reply is not 220, the helper is
 * ended before anything else is done with the connection.
 */
static enum smtp_outcome
ask_for_tls(struct work *w, struct handshake *h)
{
	struct deadline until = smtp_session_hello_deadline(w->session);
	enum smtp_outcome outcome =
	    smtp_session_send_starttls(w->session, until);

	if (outcome != SMTP_DONE)
		return outcome;
	handshake_prepare(h, w->config, &w->mode->policy, w->fd);
	outcome = smtp_session_starttls_reply(w->session, until);
	if (outcome != SMTP_DONE)
		handshake_cancel(h);
	return outcome;
}

static enum attempt_result
starttls(struct work *w)
{
	struct handshake h;
	enum smtp_outcome outcome;

	w->attempt->phase = ATTEMPT_IN_STARTTLS;
	outcome = ask_for_tls(w, &h);
	tell_reply(w);
	if (outcome != SMTP_DONE)
		return starttls_refused(w, outcome);
	w->attempt->phase = ATTEMPT_IN_HANDSHAKE;
	handshake_perform(&h, &w->mode->policy, w->fd);
	return use_tls(w, &h);
}

static enum attempt_result
not_offered(struct work *w)
{
	if (!tls_policy_requires(&w->mode->policy))
		return ready(w);
	smtp_reply_reset(&w->session->reply);
	set_failure(w, FAILURE_STARTTLS_NOT_OFFERED);
	return leave(w, SMTP_DONE, without_tls(w, &no_reason));
}

/* Greeting, EHLO and STARTTLS. */
static enum attempt_result
begin_in_clear(struct work *w)
{
	enum attempt_result result = greet(w);

	if (result != ATTEMPT_READY)
		return result;
	w->attempt->phase = ATTEMPT_IN_HELLO;
	result = hello(w);
	if (result != ATTEMPT_READY)
		return result;
	if (!tls_policy_tries(&w->mode->policy))
		return ready(w);
	if (!smtp_ehlo_has(&w->session->ehlo, SMTP_EXT_STARTTLS))
		return not_offered(w);
	return starttls(w);
}

enum attempt_result
attempt_make(const struct attempt_config *config, struct smtp_session *session,
    struct attempt_mode *mode, int connection, struct attempt *attempt,
    struct server *server)
{
	struct work w = { .config = config,
		.session = session,
		.mode = mode,
		.attempt = attempt,
		.server = server,
		.fd = connection };
	enum attempt_result result;

	/* tls_policy_choose() knows both. */
	assert(tls_policy_requires(&mode->policy) ||
	       !(config->credentials || mode->policy.is_implicit));
	*server = (struct server){ .fd = -1 };
	attempt->tls.status = TLS_STATUS_NONE;
	attempt->source = mode->policy.source;
	attempt->cleartext = mode->cleartext;
	attempt->used_helo = mode->only_helo;
	smtp_session_init(session, connection, config->timeout_s);
	if (config->credentials)
		smtp_auth_hide(config->credentials, &w.mask);
	result =
	    mode->policy.is_implicit ? begin_in_tls(&w) : begin_in_clear(&w);
	mask_finish(&w.mask);
	return result;
}

/* The policy is named if it is one of MTA-STS. */
void
attempt_describe_session(const struct attempt *a,
    char sentence[TLS_SENTENCE_SIZE])
{
	char label[TLS_TEXT_SIZE + 32] = "";

	if (a->source == TLS_FROM_STS_ENFORCE)
		(void)str_copy(label, sizeof label, "MTA-STS");
	else if (a->source == TLS_FROM_STS_TESTING)
		snprintf(label, sizeof label, "MTA-STS testing%s%s",
		    a->test.fault != ATTEMPT_FAULT_NONE ? ": " : "",
		    a->test.text);
	tls_result_describe(&a->tls, label, sentence);
}

void
attempt_describe_tls(const struct attempt *a, char sentence[TLS_SENTENCE_SIZE])
{
	bool is_ready = a->cause == FAILURE_NONE;

	/* That a connection died has nothing to do with its TLS. */
	if (a->tls.status == TLS_STATUS_NONE ||
	    a->cause == FAILURE_CONNECTION_DIED)
		cleartext_describe(&a->cleartext, is_ready, sentence);
	else
		attempt_describe_session(a, sentence);
}

void
attempt_finish(struct attempt *a)
{
	free(a->reply);
	a->reply = NULL;
	a->nreply = 0;
}
