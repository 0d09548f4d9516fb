/* SPDX-License-Identifier: ISC */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "io/fdio.h"
#include "base/mem.h"
#include "io/sandbox.h"
#include "delivery/handoff.h"
#include "delivery/lesson.h"
#include "qmail/memory.h"
#include "qmail/quote.h"
#include "qmail/report.h"
#include "smtp/transaction.h"
#include "tls/helper.h"

#include "start.h"
#include "version.h"

#define MEMORY_MAX ((size_t)64 << 20) /* enough for the longest envelope */

/*
 * RFC 4954 section 6, RFC 3207 section 4: it is about our configuration, not
 * about this mail.
 */
#define AUTHENTICATION_WANTED 530

/* Bytes of all replies to RCPT; qmail-send uses 10000 bytes of a report. */
#define KEPT_MAX 65536

/*
 * What became of a recipient, kept until its transaction has ended: with
 * several transactions (RFC 9422) there is one message record for them all,
 * so a recipient whose transaction failed cannot be called accepted; and a
 * reply too many shows only at the end of a pipelined group.
 */
struct verdict {
	bool is_known;
	enum smtp_outcome outcome;
	bool is_permanent;
	struct buf reply; /* of the server, unless accepted */
};

/* One delivery over one connection. */
struct delivery {
	const char *address; /* of the server, for the report */
	const char *host;    /* its name, or NULL */
	const char *tls;     /* the report's line on TLS, or NULL */
	const char *before;  /* lines on servers that failed, or NULL */
	int status;          /* where qmail-remote-tls writes its last record */
	pid_t helper;        /* its process id; 0: none */
	char **recipient;
	size_t nrecipient;
	size_t reported;   /* recipients that have their record */
	bool has_accepted; /* any recipient, in this transaction or before */
	bool had_accepted; /* before this transaction */

	/* Those that can be sent, and their place among all of them. */
	const char **path;
	size_t *place;
	size_t npath;

	struct verdict *verdict;   /* one for each path */
	size_t first;              /* path in the transaction under way */
	size_t kept;               /* bytes of all replies in verdict */
	struct smtp_reply success; /* to the first message delivered */
	bool has_success;
};

static struct smtp_session session;
static struct smtp_message message;

/*
 * The paths as they are sent.  A recipient that SMTP cannot write is left out
 * of the transaction; it gets its record in its place.
 */
static void
quote_recipients(struct delivery *d)
{
	d->path = mem_alloc(d->nrecipient, sizeof *d->path);
	d->place = mem_alloc(d->nrecipient, sizeof *d->place);
	for (size_t i = 0; i < d->nrecipient; i++) {
		struct buf path = { 0 };

		if (quote_mailbox(&path, d->recipient[i]) == -1 ||
		    path.len > SMTP_PATH_MAX) {
			buf_finish(&path);
			continue;
		}
		d->path[d->npath] = buf_text(&path);
		d->place[d->npath++] = i;
	}
}

/* Records of recipients that were not sent, up to (not with) this place. */
static void
report_unsendable(struct delivery *d, size_t place)
{
	for (; d->reported < place; d->reported++) {
		report_recipient(REPORT_REFUSED);
		report_puts("Sorry, that address cannot be sent by SMTP. "
			    "(#5.1.3)\n");
	}
}

static void
report_refusal(struct delivery *d, bool is_permanent, const char *sentence,
    const char *reply, size_t n)
{
	report_recipient(is_permanent ? REPORT_REFUSED : REPORT_DEFERRED);
	report_puts(d->address);
	report_puts(sentence);
	report_reply(reply, n);
}

static bool
is_permanent(enum smtp_outcome outcome, const struct smtp_reply *reply)
{
	return outcome == SMTP_REFUSED && smtp_reply_class(reply) == 5 &&
	       reply->code != AUTHENTICATION_WANTED;
}

/*
 * After others were accepted 552 says that these are enough for one message
 * (RFC 5321 section 4.5.3.1.10); alone, that a mailbox is full.
 */
static bool
is_refused_for_good(const struct delivery *d, enum smtp_outcome outcome,
    const struct smtp_reply *reply)
{
	return is_permanent(outcome, reply) &&
	       (reply->code != 552 || !d->has_accepted);
}

static void
take_verdict(void *context, size_t i, enum smtp_outcome outcome,
    const struct smtp_reply *reply)
{
	struct delivery *d = context;
	struct verdict *v = &d->verdict[d->first + i];

	/* It may begin anew: what was accepted then does not count. */
	if (i == 0)
		d->has_accepted = d->had_accepted;
	d->has_accepted = d->has_accepted || outcome == SMTP_DONE;
	d->kept -= v->reply.len;
	buf_cut(&v->reply, 0);
	v->is_known = true;
	v->outcome = outcome;
	v->is_permanent = is_refused_for_good(d, outcome, reply);
	if (outcome == SMTP_DONE || reply->len > KEPT_MAX - d->kept)
		return;
	d->kept += reply->len;
	buf_append(&v->reply, reply->text, reply->len);
}

/* The letter for a reply that is not a success. */
static enum report_message
severity(enum smtp_outcome outcome)
{
	return is_permanent(outcome, &session.reply) ? REPORT_PERMANENT
						     : REPORT_TEMPORARY;
}

static void
report_sentence(const struct delivery *d, enum report_message kind,
    const char *before, const char *after)
{
	report_message(kind);
	report_puts(before);
	report_puts(d->address);
	report_puts(after);
}

/* If the helper died, that is why the connection is gone. */
static void
report_dead_helper(const struct delivery *d)
{
	char text[TLS_TEXT_SIZE];
	enum tls_end end;

	if (d->helper == 0 || !smtp_session_has_ended(&session))
		return;
	end = tls_helper_end(d->status, d->helper, text);
	if (end == TLS_END_NONE || end == TLS_END_LOCAL)
		report_line("", text);
}

static void
report_connection_died(const struct delivery *d, const struct smtp_result *r)
{
	report_sentence(d, REPORT_TEMPORARY, "Connected to ",
	    r->in_doubt ? " but connection died. Possible duplicate! "
			  "(#4.4.2)\n"
			: " but connection died. (#4.4.2)\n");
	/* A malformed reply is worth showing, an incomplete one is not. */
	if (r->outcome == SMTP_MALFORMED || smtp_reply_is_none(&session.reply))
		report_reply(session.reply.text, session.reply.len);
	report_dead_helper(d);
}

static void
report_mail_data(const struct delivery *d, const struct smtp_result *r)
{
	if (r->outcome == SMTP_DONE)
		report_sentence(d, REPORT_DELIVERED, "",
		    " accepted message.\n");
	else
		report_sentence(d, severity(r->outcome), "",
		    " failed after I sent the message.\n");
	report_reply(session.reply.text, session.reply.len);
}

static void
report_refused_command(const struct delivery *d, const struct smtp_result *r)
{
	if (r->end == SMTP_END_MAIL)
		report_sentence(d, severity(r->outcome), "Connected to ",
		    " but sender was rejected.\n");
	else
		report_sentence(d, severity(r->outcome), "",
		    " failed on DATA command.\n");
	report_reply(session.reply.text, session.reply.len);
}

/* RFC 1870 section 6.1: decided before anything was sent. */
static void
report_too_large(const struct delivery *d)
{
	char text[120];

	snprintf(text, sizeof text,
	    " takes messages of %" PRIu64 " bytes, this one has %" PRIu64
	    ". (#5.3.4)\n",
	    session.ehlo.size, message.measure.size);
	report_sentence(d, REPORT_PERMANENT, "", text);
}

static bool
has_lost_step(const struct smtp_result *r)
{
	if (r->outcome == SMTP_DIED || r->in_doubt)
		return true;
	return r->outcome == SMTP_MALFORMED && r->end != SMTP_END_MAIL &&
	       r->end != SMTP_END_DATA;
}

/* A line for each server that failed before this one. */
static void
report_before(const char *lines)
{
	struct buf line = { 0 };

	while (*lines) {
		size_t n = strcspn(lines, "\n");

		buf_cut(&line, 0);
		buf_append(&line, lines, n);
		report_line("Tried before: ", buf_text(&line));
		lines += n + (lines[n] == '\n');
	}
	buf_finish(&line);
}

static void
report_result(struct delivery *d, const struct smtp_result *r)
{
	if (r->end == SMTP_END_MESSAGE) {
		report_message(REPORT_TEMPORARY);
		report_puts("Unable to read message. (#4.3.0)\n");
	} else if (r->end == SMTP_END_TOO_LARGE) {
		report_too_large(d);
	} else if (r->end == SMTP_END_LIMIT) {
		report_sentence(d, REPORT_TEMPORARY, "",
		    " takes no more messages on this connection. (#4.5.3)\n");
	} else if (r->end == SMTP_END_NONE_ACCEPTED) {
		report_sentence(d, REPORT_PERMANENT, "Giving up on ", ".\n");
	} else if (has_lost_step(r)) {
		report_connection_died(d, r);
	} else if (r->end == SMTP_END_MAIL_DATA) {
		report_mail_data(d, r);
	} else {
		report_refused_command(d, r);
	}
	if (d->host)
		report_line("Server: ", d->host);
	if (d->before)
		report_before(d->before);
	if (d->tls)
		report_line("TLS: ", d->tls);
}

static bool
is_delivered(const struct smtp_result *r)
{
	return r->end == SMTP_END_MAIL_DATA && r->outcome == SMTP_DONE;
}

static bool
is_in_step(const struct smtp_result *r)
{
	return r->outcome == SMTP_DONE || r->outcome == SMTP_REFUSED;
}

/* Recipients that SMTP cannot write, behind the last one that it can. */
static void
report_rest_unsendable(struct delivery *d, const struct smtp_result *r)
{
	if (r->outcome != SMTP_DIED && d->npath > 0 &&
	    d->reported == d->place[d->npath - 1] + 1)
		report_unsendable(d, d->nrecipient);
}

/*
 * Where commands were pipelined and the replies turned out to be out of step,
 * a refusal may have been the reply to something else: it is not final.
 */
static bool
is_final(const struct verdict *v, const struct smtp_result *r)
{
	return v->is_permanent &&
	       (r->outcome != SMTP_MALFORMED ||
		   !smtp_ehlo_has(&session.ehlo, SMTP_EXT_PIPELINING));
}

/* Accepted, but its transaction failed, and another one may not have. */
static void
report_failed_recipient(struct delivery *d, const struct smtp_result *r)
{
	bool is_too_large = r->end == SMTP_END_TOO_LARGE;
	bool has_reply =
	    is_in_step(r) && !is_too_large && r->end != SMTP_END_LIMIT;

	report_refusal(d,
	    is_too_large ||
		(has_reply && is_permanent(r->outcome, &session.reply)),
	    r->in_doubt ? " may have the message. Possible duplicate!\n"
			: " did not take the message.\n",
	    session.reply.text, has_reply ? session.reply.len : 0);
}

/*
 * The records of a transaction's recipients.  If it is the only transaction,
 * the message record is for it: a recipient without a reply has no record, as
 * in stock.
 */
static void
report_recipients(struct delivery *d, const struct smtp_result *r, size_t count,
    bool is_only)
{
	for (size_t i = d->first; i < d->first + count; i++) {
		const struct verdict *v = &d->verdict[i];

		if (is_only && !v->is_known)
			return;
		report_unsendable(d, d->place[i]);
		d->reported++;
		if (v->is_known && v->outcome != SMTP_DONE)
			report_refusal(d, is_final(v, r),
			    " does not like recipient.\n", buf_text(&v->reply),
			    v->reply.len);
		else if (is_only || is_delivered(r))
			report_recipient(REPORT_ACCEPTED);
		else
			report_failed_recipient(d, r);
	}
}

static struct smtp_result
run_transaction(struct delivery *d, const char *reverse_path, size_t first,
    size_t count)
{
	struct smtp_envelope envelope = {
		.reverse_path = reverse_path,
		.forward_path = d->path + first,
		.nrecipient = count,
		.verdict = take_verdict,
		.context = d,
	};

	d->first = first;
	d->had_accepted = d->has_accepted;
	return smtp_transaction(&session, &envelope, &message);
}

/*
 * RFC 9422: so many recipients at a time, in so many transactions.  What
 * does not fit into this connection is tried again later.
 */
static struct smtp_result
run_transactions(struct delivery *d, const char *reverse_path, size_t rcptmax)
{
	static const struct smtp_result not_begun = { .end = SMTP_END_RCPT,
		.outcome = SMTP_DIED };
	struct smtp_result r = { .outcome = SMTP_DONE };
	size_t count;

	for (size_t first = 0; first < d->npath; first += count) {
		bool may_run =
		    is_in_step(&r) && smtp_message_rewind(&message) == 0;

		count = d->npath - first < rcptmax ? d->npath - first : rcptmax;
		d->first = first;
		if (may_run)
			r = run_transaction(d, reverse_path, first, count);
		else if (is_in_step(&r))
			r = not_begun;
		report_recipients(d, may_run ? &r : &not_begun, count, false);
		if (is_delivered(&r) && !d->has_success) {
			d->has_success = true;
			d->success = session.reply;
		}
	}
	report_unsendable(d, d->nrecipient);
	return r;
}

static struct smtp_result
deliver(struct delivery *d, const char *reverse_path)
{
	uint64_t rcptmax = session.ehlo.rcptmax;
	struct smtp_result r;

	quote_recipients(d);
	d->verdict = mem_alloc(d->npath, sizeof *d->verdict);
	smtp_message_open(&message, 0,
	    smtp_transaction_measures(&session.ehlo));
	if (rcptmax > 0 && rcptmax < d->npath) {
		r = run_transactions(d, reverse_path, (size_t)rcptmax);
	} else {
		r = run_transaction(d, reverse_path, 0, d->npath);
		report_recipients(d, &r, d->npath, true);
		report_rest_unsendable(d, &r);
	}
	return r;
}

/* K if it was delivered to some: the others have records of their own. */
static void
report_outcome(struct delivery *d, const struct smtp_result *r)
{
	static const struct smtp_result delivered = {
		.end = SMTP_END_MAIL_DATA,
		.outcome = SMTP_DONE,
	};

	if (d->has_success && !is_delivered(r)) {
		session.reply = d->success;
		report_result(d, &delivered);
	} else {
		report_result(d, r);
	}
}

/* qmail-remote has checked all of it before. */
static bool
is_invoked_properly(int argc, char **argv, struct handoff *h,
    struct buf *reverse_path)
{
	return handoff_parse(h, argc, argv) &&
	       quote_sender(reverse_path, h->envelope[0]) == 0 &&
	       reverse_path->len <= SMTP_PATH_MAX;
}

static int
refuse_invocation(void)
{
	struct dsn why = { 0 };

	dsn_set(&why, "4.3.5", "I (qmail-remote-io) was invoked improperly.");
	report_failure(&why);
	report_end();
	return 0;
}

static void
take_handoff(struct delivery *d, const struct handoff *h)
{
	d->address = h->address;
	d->host = h->host;
	d->tls = h->tls;
	d->before = h->before;
	d->status = (int)h->status;
	d->helper = (pid_t)h->helper;
	d->recipient = h->envelope + 1;
	while (d->recipient[d->nrecipient])
		d->nrecipient++;
}

/* For the next delivery to this address. */
static void
leave_notes(const struct handoff *h, const struct smtp_result *result)
{
	const struct lesson lesson = {
		.result = result,
		.was_pipelined =
		    smtp_ehlo_has(&session.ehlo, SMTP_EXT_PIPELINING),
		.has_ended = smtp_session_has_ended(&session),
		.used_helo = h->helo,
	};
	struct ip ip;

	if (h->memory == 0 || !ip_parse(h->address, strlen(h->address), &ip))
		return;
	for (int kind = 0; kind < MEMORY_KINDS; kind++)
		if (lesson_has(&lesson, (enum memory_kind)kind))
			memory_note((int)h->memory, &ip, (enum memory_kind)kind,
			    (int64_t)time(NULL));
}

int
main(int argc, char **argv)
{
	static struct delivery d;
	static struct buf reverse_path;
	struct smtp_result result;
	struct handoff h;

	if (version_is_wanted(argc, argv))
		return version_print(VERSION_MARK("qmail-remote-io"));
	start_program();
	if (!is_invoked_properly(argc, argv, &h, &reverse_path))
		return refuse_invocation();
	take_handoff(&d, &h);
	sandbox_enter_bytes(MEMORY_MAX);
	smtp_session_init(&session, (int)h.fd, h.timeout_s);
	session.is_through_helper = h.helper > 0;
	if (h.extensions)
		smtp_ehlo_parse(&session.ehlo, h.extensions);

	result = deliver(&d, buf_text(&reverse_path));
	report_outcome(&d, &result);
	report_end();
	leave_notes(&h, &result);
	smtp_session_quit(&session);
	close((int)h.fd);
	end_helpers();
	return 0;
}
