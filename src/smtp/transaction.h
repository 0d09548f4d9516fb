/* SPDX-License-Identifier: ISC */
#ifndef SMTP_TRANSACTION_H
#define SMTP_TRANSACTION_H

#include <stdbool.h>
#include <stddef.h>

#include "smtp/maildata.h"

/*
 * One mail transaction (RFC 5321 section 3.3): MAIL, RCPT, mail data.
 *
 * With PIPELINING (RFC 2920) the commands go out as one group and replies are
 * matched in order; without it at most one command is under way.  It is the
 * same code, only that number differs.  Mail data follows a 354, for at least
 * one accepted recipient.  MAIL declares SIZE (RFC 1870) and BODY=8BITMIME
 * (RFC 6152) where that is offered, and is sent once more without where that
 * is refused all the same.
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

/* Where a transaction ended. */
enum smtp_end {
	SMTP_END_RCPT,      /* MALFORMED or DIED while recipients were told */
	SMTP_END_TOO_LARGE, /* for the server's SIZE; nothing was sent */
	SMTP_END_LIMIT,     /* one more than the server's MAILMAX (RFC 9422) */
	SMTP_END_MAIL,      /* the reply to MAIL is not 2yz */
	SMTP_END_NONE_ACCEPTED,
	SMTP_END_DATA,     /* the reply to DATA is not 354 */
	SMTP_END_MESSAGE,  /* the message could not be read to its end */
	SMTP_END_MAIL_DATA /* while mail data was sent, or the reply to it */
};

struct smtp_result {
	enum smtp_end end;
	enum smtp_outcome outcome; /* REFUSED etc. with the session's reply */
	/*
	 * All of the mail data was handed to the network and no well-formed
	 * reply to its end was read: the server may or may not have it.
	 */
	bool in_doubt;
	size_t accepted; /* recipients */
};

/* Whether the message ought to be measured for what this server offers. */
bool smtp_transaction_measures(const struct smtp_ehlo *);

/*
 * Runs one transaction.  Delivered is just this result: SMTP_END_MAIL_DATA
 * with SMTP_DONE, which is returned only for a 2yz reply read after all of the
 * mail data and its end were written.  What may be sent afterwards is known to
 * the session: QUIT, or another transaction, can always be asked for.
 */
struct smtp_result smtp_transaction(struct smtp_session *,
    const struct smtp_envelope *, struct smtp_message *);

#endif
