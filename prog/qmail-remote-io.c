/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fdio.h"
#include "base/mem.h"
#include "base/str.h"
#include "qmail/quote.h"
#include "qmail/report.h"
#include "smtp/transaction.h"

#include "start.h"

/* Arguments: see qmail-remote-io(8). */
enum {
	ARG_FD = 1,
	ARG_ADDRESS,
	ARG_TIMEOUT,
	ARG_EXTENSIONS,
	ARG_TLS,
	ARG_SENDER,
	ARG_RECIPIENT
};

/* One delivery over one connection. */
struct delivery {
	const char *address; /* of the server, for the report */
	const char *tls;     /* how the session is protected, or "" */
	char **recipient;
	size_t nrecipient;
	size_t reported; /* recipients that have their record */

	/* Those that can be sent, and their place among all of them. */
	const char **path;
	size_t *place;
	size_t npath;
};

static struct smtp_session session;

/*
 * Paths as they go out.  A recipient that no command can hold is left out of
 * the transaction; it gets its record when its turn comes.
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
report_verdict(void *context, size_t i, enum smtp_outcome outcome,
    const struct smtp_reply *reply)
{
	struct delivery *d = context;

	report_unsendable(d, d->place[i]);
	d->reported++;
	if (outcome == SMTP_DONE) {
		report_recipient(REPORT_ACCEPTED);
		return;
	}
	report_recipient(outcome == SMTP_REFUSED && smtp_reply_class(reply) == 5
			     ? REPORT_REFUSED
			     : REPORT_DEFERRED);
	report_puts(d->address);
	report_puts(" does not like recipient.\n");
	report_reply(reply->text, reply->len);
}

/* The letter for a reply that is no success. */
static enum report_message
severity(enum smtp_outcome outcome)
{
	return outcome == SMTP_REFUSED && smtp_reply_class(&session.reply) == 5
		   ? REPORT_PERMANENT
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

static void
report_connection_died(const struct delivery *d, const struct smtp_result *r)
{
	report_sentence(d, REPORT_TEMPORARY, "Connected to ",
	    r->in_doubt ? " but connection died. Possible duplicate! "
			  "(#4.4.2)\n"
			: " but connection died. (#4.4.2)\n");
	/* Something that is no reply is worth seeing, part of one is not. */
	if (r->outcome == SMTP_MALFORMED)
		report_reply(session.reply.text, session.reply.len);
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

static void
report_result(struct delivery *d, const struct smtp_result *r)
{
	bool is_desperate =
	    r->outcome == SMTP_DIED || r->in_doubt ||
	    (r->outcome == SMTP_MALFORMED && r->end != SMTP_END_MAIL &&
		r->end != SMTP_END_DATA);

	if (r->end == SMTP_END_MESSAGE) {
		report_message(REPORT_TEMPORARY);
		report_puts("Unable to read message. (#4.3.0)\n");
	} else if (r->end == SMTP_END_NONE_ACCEPTED) {
		report_sentence(d, REPORT_PERMANENT, "Giving up on ", ".\n");
	} else if (is_desperate) {
		report_connection_died(d, r);
	} else if (r->end == SMTP_END_MAIL_DATA) {
		report_mail_data(d, r);
	} else {
		report_refused_command(d, r);
	}
	if (d->tls[0])
		report_line("TLS: ", d->tls);
}

static struct smtp_result
deliver(struct delivery *d, const char *sender)
{
	struct buf reverse_path = { 0 };
	struct smtp_envelope envelope = {
		.verdict = report_verdict,
		.context = d,
	};
	struct smtp_result result;

	/* qmail-remote has looked at it before; it does not start us else. */
	if (quote_mailbox(&reverse_path, sender) == -1)
		buf_cut(&reverse_path, 0);
	quote_recipients(d);
	envelope.reverse_path = buf_text(&reverse_path);
	envelope.forward_path = d->path;
	envelope.nrecipient = d->npath;
	result = smtp_transaction(&session, &envelope, 0);
	/* Those behind the last one sent, unless the session broke off. */
	if (result.outcome != SMTP_DIED && d->npath > 0 &&
	    d->reported == d->place[d->npath - 1] + 1)
		report_unsendable(d, d->nrecipient);
	buf_finish(&reverse_path);
	return result;
}

int
main(int argc, char **argv)
{
	struct delivery d = { 0 };
	struct smtp_result result;
	unsigned long fd = 0, timeout = 0;

	start_program();
	if (argc <= ARG_RECIPIENT ||
	    str_number(argv[ARG_FD], strlen(argv[ARG_FD]), 65535, &fd) == 0 ||
	    str_number(argv[ARG_TIMEOUT], strlen(argv[ARG_TIMEOUT]), 604800,
		&timeout) == 0) {
		struct dsn why = { 0 };

		dsn_set(&why, "4.3.5",
		    "I (qmail-remote-io) was invoked improperly.");
		report_failure(&why);
		report_end();
		return 0;
	}
	d.address = argv[ARG_ADDRESS];
	d.tls = argv[ARG_TLS];
	d.recipient = argv + ARG_RECIPIENT;
	d.nrecipient = (size_t)(argc - ARG_RECIPIENT);
	smtp_session_init(&session, (int)fd, timeout);
	smtp_ehlo_parse(&session.ehlo, argv[ARG_EXTENSIONS]);

	result = deliver(&d, argv[ARG_SENDER]);
	report_result(&d, &result);
	report_end();
	if (result.outcome == SMTP_DONE || result.outcome == SMTP_REFUSED)
		smtp_session_quit(&session);
	return 0;
}
