/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_BATCH_H
#define DELIVERY_BATCH_H

#include "delivery/outcome.h"
#include "smtp/message.h"
#include "smtp/session.h"

/*
 * The recipients of a delivery, in as many transactions as the server's
 * RCPTMAX (RFC 9422) makes of them: mostly one.  What does not fit into this
 * connection is left out, to be tried again later.
 *
 * batch_prepare() allocates all memory, so that running out of memory cannot
 * change the outcome once a message may have been delivered.
 */
struct batch {
	size_t nrecipient;
	struct verdict *verdict; /* one for each recipient */
	struct attempted *attempted;
	size_t nattempted;

	/* Those that can be sent, quoted, and their place among all. */
	size_t npath;
	char **path;
	size_t *place;
	bool *needs_smtputf8;
	size_t at_a_time; /* recipients of a transaction */

	size_t first;       /* path of the transaction under way */
	bool has_accepted;  /* any recipient so far */
	bool has_delivered; /* any transaction so far */
	char *kept;         /* replies of recipients and transactions */
	size_t kept_len;
};

/* Of the replies that are kept; qmail-send takes 10000 bytes. */
#define BATCH_KEPT_MAX 65536

/*
 * Quotes the recipients for a server that offers this: RCPTMAX, SMTPUTF8.
 * Those that no command can hold are not sent; they have their verdict at once.
 */
void batch_prepare(struct batch *, char *const *recipient, size_t nrecipient,
    const struct smtp_ehlo *);

/* The sender of a message, quoted, and whether it needs SMTPUTF8. */
struct batch_sender {
	const char *path;
	bool needs_smtputf8;
};

/*
 * Runs the transactions, until one ends the session.  The texts of replies stay
 * those of the batch and of the session.  If the first one ends with
 * SMTP_STALE, it is the only one, and there is nothing to report.  So it does,
 * before anything is sent, on a connection that was used before and on which
 * MAILMAX (RFC 9422) leaves too few transactions for all recipients.
 */
void batch_run(struct batch *, const struct batch_sender *,
    struct smtp_session *, struct smtp_message *);

/* The results, as delivery/outcome takes them; borrowed. */
struct outcome batch_outcome(const struct batch *, const struct smtp_session *,
    const struct smtp_message *);

/* The transaction that has run last. */
const struct attempted *batch_last(const struct batch *);

void batch_finish(struct batch *);

#endif
