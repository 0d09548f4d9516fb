/* SPDX-License-Identifier: ISC */
#include "delivery/outcome.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/str.h"

#define AUTHENTICATION_WANTED 530

bool
outcome_is_permanent(enum smtp_outcome outcome, int code)
{
	return outcome == SMTP_REFUSED && code / 100 == 5 &&
	       code != AUTHENTICATION_WANTED;
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
set_refused(const struct outcome *o, const struct verdict *v,
    struct outcome_recipient *r)
{
	r->kind = is_refused_for_good(o, v) ? REPORT_REFUSED : REPORT_DEFERRED;
	r->has_address = true;
	r->sentence = " does not like recipient.\n";
	r->reply = v->reply;
}

/* Of one of several transactions, which failed; another one may not have. */
static void
set_failed(const struct attempted *a, struct outcome_recipient *r)
{
	bool is_too_large = a->result.end == SMTP_END_TOO_LARGE;

	r->kind =
	    is_too_large || is_final(a) ? REPORT_REFUSED : REPORT_DEFERRED;
	r->has_address = true;
	r->sentence = a->result.in_doubt
			  ? " may have the message. Possible duplicate!\n"
			  : " did not take the message.\n";
	if (a->result.outcome == SMTP_REFUSED)
		r->reply = a->reply;
}

bool
outcome_recipient(const struct outcome *o, size_t i,
    struct outcome_recipient *r)
{
	const struct verdict *v = &o->verdict[i];
	bool is_only = o->nattempted == 1;

	*r = (struct outcome_recipient){ .kind = REPORT_ACCEPTED };
	switch (v->kind) {
	case VERDICT_UNSENDABLE:
		r->kind = REPORT_REFUSED;
		r->sentence =
		    "Sorry, that address cannot be sent by SMTP. (#5.1.3)\n";
		return true;
	case VERDICT_REFUSED:
		set_refused(o, v, r);
		return true;
	case VERDICT_ACCEPTED:
		if (!is_only && !is_delivered(&o->attempted[v->attempt]))
			set_failed(&o->attempted[v->attempt], r);
		return true;
	default:
		if (!is_only)
			set_failed(&o->attempted[v->attempt], r);
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

static void
set_sentence(struct outcome_message *m, enum report_message kind,
    const char *before, const char *after)
{
	m->kind = kind;
	m->before = before;
	(void)str_copy(m->after, sizeof m->after, after);
}

static void
set_too_large(const struct outcome *o, struct outcome_message *m)
{
	m->kind = REPORT_PERMANENT;
	m->before = "";
	snprintf(m->after, sizeof m->after,
	    " takes messages of %" PRIu64 " bytes, this one has %" PRIu64
	    ". (#5.3.4)\n",
	    o->size_limit, o->size);
}

static void
set_died(const struct attempted *a, struct outcome_message *m)
{
	set_sentence(m, REPORT_TEMPORARY, "Connected to ",
	    a->result.in_doubt
		? " but connection died. Possible duplicate! (#4.4.2)\n"
		: " but connection died. (#4.4.2)\n");
	m->has_died = true;
	m->reply = a->reply;
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

/* The reply to MAIL, DATA or the end of mail data decides. */
static void
set_replied(const struct attempted *a, struct outcome_message *m)
{
	enum report_message refused =
	    is_final(a) ? REPORT_PERMANENT : REPORT_TEMPORARY;

	if (is_delivered(a))
		set_sentence(m, REPORT_DELIVERED, "", " accepted message.\n");
	else if (a->result.end == SMTP_END_MAIL_DATA)
		set_sentence(m, refused, "",
		    " failed after I sent the message.\n");
	else if (a->result.end == SMTP_END_MAIL)
		set_sentence(m, refused, "Connected to ",
		    " but sender was rejected.\n");
	else
		set_sentence(m, refused, "", " failed on DATA command.\n");
	m->reply = a->reply;
}

void
outcome_message(const struct outcome *o, struct outcome_message *m)
{
	const struct attempted *a = find_decisive(o);

	*m = (struct outcome_message){ .has_address = true };
	switch (a->result.end) {
	case SMTP_END_MESSAGE:
		m->has_address = false;
		set_sentence(m, REPORT_TEMPORARY, "",
		    "Unable to read message. (#4.3.0)\n");
		break;
	case SMTP_END_TOO_LARGE:
		set_too_large(o, m);
		break;
	case SMTP_END_LIMIT:
		set_sentence(m, REPORT_TEMPORARY, "",
		    " takes no more messages on this connection. (#4.5.3)\n");
		break;
	case SMTP_END_NONE_ACCEPTED:
		set_sentence(m, REPORT_PERMANENT, "Giving up on ", ".\n");
		break;
	default:
		if (has_lost_step(&a->result))
			set_died(a, m);
		else
			set_replied(a, m);
		break;
	}
}
