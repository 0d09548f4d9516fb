/* SPDX-License-Identifier: ISC */
#ifndef SMTP_TRANSACTION_H
#define SMTP_TRANSACTION_H

#include <stdbool.h>
#include <stddef.h>

#include "smtp/session.h"

/*
 * One mail transaction (RFC 5321 section 3.3): MAIL, RCPT, DATA, mail data.
 *
 * With PIPELINING (RFC 2920) all commands go out as one group and replies are
 * matched in order; without it at most one command is under way.  It is the
 * same code, only that number differs.
 */

/* A path that a command line can hold; RFC 5321 asks for 256. */
#define SMTP_PATH_MAX 2000

struct smtp_envelope {
	const char *reverse_path; /* as it goes out, without < and > */
	const char *const *forward_path;
	size_t nrecipient;

	/*
	 * Called for each recipient in order with the reply that it got, if
	 * it got one; outcome is DONE (2yz), REFUSED (4yz, 5yz) or MALFORMED
	 * (anything else: the transaction ends there).
	 */
	void (*verdict)(void *context, size_t recipient, enum smtp_outcome,
	    const struct smtp_reply *);
	void *context;
};

/* Where a transaction ended, or that it did not. */
enum smtp_end {
	SMTP_END_MAIL, /* the reply to MAIL is not 2yz */
	SMTP_END_RCPT, /* MALFORMED or DIED while recipients were told */
	SMTP_END_NONE_ACCEPTED,
	SMTP_END_DATA,      /* the reply to DATA is not 354 */
	SMTP_END_MESSAGE,   /* the message could not be read to its end */
	SMTP_END_MAIL_DATA, /* while mail data was sent, or the reply to it */
};

struct smtp_result {
	enum smtp_end end;
	enum smtp_outcome outcome; /* REFUSED etc. with the session's reply */
	/*
	 * The end of mail data may have left and no well-formed reply to it
	 * was read: the server may or may not have the message.
	 */
	bool in_doubt;
	size_t accepted; /* recipients */
};

/*
 * Runs one transaction with the message at fd, which is read to its end; a
 * regular file must have as many bytes as it has at the start.  Delivered is
 * just this result: SMTP_END_MAIL_DATA with SMTP_DONE, which is returned only
 * for a 2yz reply read after all of the mail data and its end were written.
 * The session is fit for QUIT unless the outcome is MALFORMED or DIED.
 */
struct smtp_result smtp_transaction(
    struct smtp_session *, const struct smtp_envelope *, int fd);

#endif
