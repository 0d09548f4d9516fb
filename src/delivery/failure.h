/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_FAILURE_H
#define DELIVERY_FAILURE_H

#include <stdbool.h>

#include "base/dsn.h"
#include "qmail/report.h"

/*
 * Why a message, or one of its recipients, was not delivered: one table with
 * the class, the status code (RFC 3463) and the sentence of each cause.  The
 * sentences are those of stock qmail-remote where it has one.
 *
 * Two more are made in the layer below, which cannot use this one, and nowhere
 * else: qmail/control.c has the one about control files, and qmail/report.c the
 * one for a report that has no record of the message.
 */
enum failure_cause {
	FAILURE_NONE, /* delivered */

	/* Before a server is looked for. */
	FAILURE_USAGE,
	FAILURE_USAGE_IO,
	FAILURE_HOME,
	FAILURE_EXEC,
	FAILURE_MEMORY,
	FAILURE_SENDER_UNSENDABLE,
	FAILURE_RECIPIENT_UNSENDABLE,

	/* The hosts, and their addresses. */
	FAILURE_HOST_UNCERTAIN,
	FAILURE_HOST_UNKNOWN,
	FAILURE_HOST_TAKES_NO_MAIL,
	FAILURE_HOST_WITHOUT_ADDRESS,
	FAILURE_HOST_IS_OURS,
	FAILURE_NOT_CONNECTED,
	FAILURE_POLICY,
	FAILURE_TOO_MANY_CONNECTIONS,

	/* A connection, until MAIL can be sent. */
	FAILURE_CONNECTION_DIED,
	FAILURE_GREETING,
	FAILURE_HELLO,
	FAILURE_STARTTLS_NOT_OFFERED,
	FAILURE_STARTTLS_REFUSED,
	FAILURE_TLS,
	FAILURE_TLS_SETUP,
	FAILURE_SMTPUTF8_NOT_OFFERED,
	FAILURE_AUTH_NOT_OFFERED,
	FAILURE_AUTH_MECHANISM,
	FAILURE_AUTH_TOKEN_WANTED,
	FAILURE_AUTH_PASSWORD_WANTED,
	FAILURE_AUTH,
	FAILURE_CREDENTIALS,
	FAILURE_MEMORY_IN_SESSION,

	/* A transaction. */
	FAILURE_SENDER_REFUSED,
	FAILURE_DATA_REFUSED,
	FAILURE_MESSAGE_REFUSED,
	FAILURE_NONE_ACCEPTED,
	FAILURE_CONNECTION_DIED_IN_DOUBT,
	FAILURE_MESSAGE_UNREADABLE,
	FAILURE_MESSAGE_TOO_LARGE,
	FAILURE_TOO_MANY_TRANSACTIONS,

	/* One recipient. */
	FAILURE_RECIPIENT_REFUSED,
	FAILURE_RECIPIENT_NOT_DELIVERED,
	FAILURE_RECIPIENT_IN_DOUBT
};

#define FAILURE_TEXT_SIZE 640

/*
 * Writes the line of a report: the sentence, "(#x.y.z)" if the cause has a
 * status, and a line end.  subject is the server's address, or the host's name
 * where the sentence is about a host, or the line of a file; sizes is only used
 * by FAILURE_MESSAGE_TOO_LARGE.  A line that does not fit is cut.  Returns
 * text.
 */
const char *failure_line(char text[FAILURE_TEXT_SIZE], enum failure_cause,
    const char *subject, const char *sizes);

/*
 * Writes what went wrong in a connection, without naming the server:
 * "greeting failed".  Only for a cause that a connection can have.
 */
const char *failure_brief(char text[FAILURE_TEXT_SIZE], enum failure_cause);

/*
 * The kind of a record.  is_final matters where the server's reply decides: it
 * was 5yz.
 */
enum report_message failure_message_kind(enum failure_cause, bool is_final);
enum report_recipient failure_recipient_kind(enum failure_cause, bool is_final);

/* Sets status and sentence, without a detail.  Always -1, as dsn_set(). */
int failure_set(struct dsn *, enum failure_cause, const char *subject);

#endif
