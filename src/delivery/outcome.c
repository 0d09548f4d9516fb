/* SPDX-License-Identifier: ISC */
#include "delivery/outcome.h"

#include <inttypes.h>
#include <stdio.h>

/*
 * Whether a code says that AUTH is missing, too weak, failed or needs
 * encryption (RFC 4954 section 6, 538 by RFC 2554): something of us, not of the
 * mail.
 */
static bool
is_about_authentication(int code)
{
	return code == 530 || code == 534 || code == 535 || code == 538;
}

bool
outcome_is_permanent(enum smtp_outcome outcome, int code)
{
	return outcome == SMTP_REFUSED && code / 100 == 5 &&
	       !is_about_authentication(code);
}

static bool
is_delivered(const struct attempted *a)
{
	return a->result.end == SMTP_END_MAIL_DATA &&
	       a->result.outcome == SMTP_DONE;
}

static bool
is_final(const struct attempted *a)
{
	return outcome_is_permanent(a->result.outcome, a->code);
}

/*
 * Where commands were pipelined and the replies turned out to be out of step,
 * a refusal may have been the reply to something else: it is not final.
 */
static bool
is_refused_for_good(const struct outcome *o, const struct verdict *v)
{
	const struct attempted *a = &o->attempted[v->attempt];

	return v->is_permanent &&
	       !(o->is_pipelined && a->result.outcome == SMTP_MALFORMED);
}

static void
set_record(struct outcome_recipient *r, enum failure_cause cause, bool is_final,
    struct outcome_text reply)
{
	r->kind = failure_recipient_kind(cause, is_final);
	r->cause = cause;
	r->reply = reply;
}

/*
 * The record of a recipient whose transaction failed, if there were several:
 * the message record may say that another one was delivered.
 */
static void
set_failed(const struct attempted *a, struct outcome_recipient *r)
{
	static const struct outcome_text none = { NULL, 0 };
	bool is_too_large = a->result.end == SMTP_END_TOO_LARGE;

	set_record(r,
	    a->result.in_doubt ? FAILURE_RECIPIENT_IN_DOUBT
			       : FAILURE_RECIPIENT_NOT_DELIVERED,
	    is_too_large || is_final(a),
	    a->result.outcome == SMTP_REFUSED ? a->reply : none);
}

bool
outcome_recipient(const struct outcome *o, size_t i,
    struct outcome_recipient *r)
{
	const struct verdict *v = &o->verdict[i];
	const struct attempted *a = &o->attempted[v->attempt];
	bool is_only = o->nattempted == 1;

	*r = (struct outcome_recipient){ .kind = REPORT_ACCEPTED };
	switch (v->kind) {
	case VERDICT_UNSENDABLE:
		set_record(r, FAILURE_RECIPIENT_UNSENDABLE, true, v->reply);
		return true;
	case VERDICT_REFUSED:
		set_record(r, FAILURE_RECIPIENT_REFUSED,
		    is_refused_for_good(o, v), v->reply);
		return true;
	case VERDICT_ACCEPTED:
		if (!is_only && !is_delivered(a))
			set_failed(a, r);
		return true;
	default:
		if (!is_only)
			set_failed(a, r);
		return !is_only;
	}
}

/* The transaction that the message record tells of. */
static const struct attempted *
find_decisive(const struct outcome *o)
{
	const struct attempted *last = &o->attempted[0];

	for (size_t i = 0; i < o->nattempted; i++) {
		const struct attempted *a = &o->attempted[i];

		if (is_delivered(a))
			return a;
		if (a->has_run)
			last = a;
	}
	return last;
}

/* No reply came, or one that cannot be the one to what was sent. */
static bool
has_lost_step(const struct smtp_result *r)
{
	if (r->outcome == SMTP_DIED || r->in_doubt)
		return true;
	return r->outcome == SMTP_MALFORMED &&
	       (r->end == SMTP_END_RCPT || r->end == SMTP_END_MAIL_DATA);
}

/* What decides is the reply to MAIL, DATA or the end of mail data, or none. */
static enum failure_cause
cause_by_reply(const struct attempted *a)
{
	if (has_lost_step(&a->result))
		return a->result.in_doubt ? FAILURE_CONNECTION_DIED_IN_DOUBT
					  : FAILURE_CONNECTION_DIED;
	switch (a->result.end) {
	case SMTP_END_MAIL_DATA:
		return is_delivered(a) ? FAILURE_NONE : FAILURE_MESSAGE_REFUSED;
	case SMTP_END_MAIL:
		return FAILURE_SENDER_REFUSED;
	default:
		return FAILURE_DATA_REFUSED;
	}
}

void
outcome_message(const struct outcome *o, struct outcome_message *m)
{
	const struct attempted *a = find_decisive(o);

	*m = (struct outcome_message){ .sizes = "" };
	switch (a->result.end) {
	case SMTP_END_MESSAGE:
		m->cause = FAILURE_MESSAGE_UNREADABLE;
		break;
	case SMTP_END_TOO_LARGE:
		m->cause = FAILURE_MESSAGE_TOO_LARGE;
		snprintf(m->sizes, sizeof m->sizes,
		    "%" PRIu64 " bytes, this one has %" PRIu64, o->size_limit,
		    o->size);
		break;
	case SMTP_END_LIMIT:
		m->cause = FAILURE_TOO_MANY_TRANSACTIONS;
		break;
	case SMTP_END_NONE_ACCEPTED:
		m->cause = FAILURE_NONE_ACCEPTED;
		break;
	default:
		m->cause = cause_by_reply(a);
		m->reply = a->reply;
		break;
	}
	m->kind = failure_message_kind(m->cause, is_final(a));
}
