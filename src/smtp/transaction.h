/* SPDX-License-Identifier: ISC */
#ifndef SMTP_TRANSACTION_H
#define SMTP_TRANSACTION_H

#include <stdbool.h>
#include <stddef.h>

#include "smtp/maildata.h"

/*
 * Run one mail transaction (RFC 5321 section 3.3): MAIL, RCPT, DATA, mail data.
 *
 * With PIPELINING (RFC 2920) the commands are sent as one group and replies are
 * matched in order; without it at most one command is outstanding.  Both are
 * the same code with another limit.  Mail data is sent only after a 354 reply,
 * and for at least one accepted recipient.  MAIL has SIZE (RFC 1870) and
 * BODY=8BITMIME (RFC 6152) if the server offers them.  If it refuses MAIL with
 * them all the same, MAIL is sent once more without them.  It has SMTPUTF8 (RFC
 * 6531) if the envelope needs that, and the server offers it.
 */

/*
 * On a connection that was used before (is_reused of the session), a
 * transaction may end with SMTP_STALE: the connection, and not the mail, is the
 * reason, no mail data was sent, and the message can be sent over a new
 * connection.  That is so if before any mail data
 *	- the connection was closed or reset, or a reply did not come in time;
 *	  the one to MAIL is waited for SMTP_REUSED_TIMEOUT_S at most;
 *	- the reply to any command was 421, or the one to MAIL was 452, or 503
 *	  without a status that says "not permitted" (RFC 3463);
 *	- MAIL was refused, and the connection ended before all replies to the
 *	  group that it was sent in had come, or there was one more: the server
 *	  may have said why it ends the idle connection.  They are waited for
 *	  SMTP_CLOSING_TIMEOUT_S; if some are only late, MAIL was refused.
 *	  Without PIPELINING, RSET is sent to see whether it has a reply;
 *	- there was input before MAIL was sent, or something that is not the
 *	  reply to a command: a reply to an earlier message must not count for
 *	  this one;
 *	- the server takes no more MAIL (MAILMAX, RFC 9422);
 *	- the byte for progress could not be written.
 * But if all recipients were refused, that is the result, whatever becomes of
 * the reply to DATA, except 421.
 *
 * No RSET is sent before the first MAIL: only a session whose last transaction
 * was delivered is used again.
 */

/*
 * Longest path that a command line can hold, in bytes; RFC 5321 requires 256.
 */
#define SMTP_PATH_MAX 2000

struct smtp_envelope {
	const char *reverse_path; /* as it is sent, without < and > */
	const char *const *forward_path;
	size_t nrecipient;
	bool needs_smtputf8;

	/*
	 * Called for each recipient in order, if there was a reply; outcome is
	 * DONE (2yz), REFUSED (4yz, 5yz) or MALFORMED (anything else, and the
	 * transaction ends there).
	 */
	void (*verdict)(void *context, size_t recipient, enum smtp_outcome,
	    const struct smtp_reply *);
	void *context;
};

/* The step at which a transaction ended. */
enum smtp_end {
	SMTP_END_RCPT,      /* MALFORMED or DIED among the replies to RCPT */
	SMTP_END_TOO_LARGE, /* above the server's SIZE; nothing was sent */
	SMTP_END_LIMIT,     /* more than the server's MAILMAX (RFC 9422) */
	SMTP_END_MAIL,      /* the reply to MAIL was not 2yz */
	SMTP_END_NONE_ACCEPTED,
	SMTP_END_DATA,     /* the reply to DATA was not 354 */
	SMTP_END_MESSAGE,  /* the message could not be read to its end */
	SMTP_END_MAIL_DATA /* in the mail data, or at the reply to its end */
};

struct smtp_result {
	enum smtp_end end;
	enum smtp_outcome outcome; /* the session has the reply */
	/*
	 * All of the mail data and its end were sent and no well-formed reply
	 * to that was read: the server may or may not have the message.
	 */
	bool in_doubt;
	size_t accepted; /* number of recipients */
};

/*
 * Whether the message should be measured, because of what this server offers.
 */
bool smtp_transaction_measures(const struct smtp_ehlo *);

/*
 * Runs one transaction.  Only this result means delivered: SMTP_END_MAIL_DATA
 * with SMTP_DONE.  It is returned only for a 2yz reply that was read after all
 * of the mail data and its end were written.  After any result the caller may
 * call smtp_session_quit() or begin another transaction: the session knows what
 * may still be sent.
 */
struct smtp_result smtp_transaction(struct smtp_session *,
    const struct smtp_envelope *, struct smtp_message *);

#endif
