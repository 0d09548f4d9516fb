/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_OUTCOME_H
#define DELIVERY_OUTCOME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "delivery/failure.h"
#include "qmail/report.h"
#include "smtp/transaction.h"

/*
 * From what became of transactions and their recipients to the records of the
 * report.  Pure: no I/O, no memory, no state.
 *
 * With several transactions (RFC 9422) there is one message record for them
 * all: delivered if one of them was, so that a recipient whose transaction
 * failed has a record of its own that says so.
 */

/* Borrowed; control bytes and all. */
struct outcome_text {
	const char *bytes;
	size_t len;
};

enum verdict_kind {
	VERDICT_NONE,       /* no reply to RCPT */
	VERDICT_UNSENDABLE, /* no command can hold the address */
	VERDICT_ACCEPTED,
	VERDICT_REFUSED /* or answered by something that is no reply to RCPT */
};

/* What became of one recipient. */
struct verdict {
	enum verdict_kind kind;
	bool is_permanent;         /* of a refusal */
	size_t attempt;            /* its transaction */
	struct outcome_text reply; /* to a refusal */
};

/* What became of one transaction, of a range of recipients. */
struct attempted {
	bool has_run; /* or was left out, since the one before ended badly */
	struct smtp_result result;
	int code;                  /* of the reply that decided; 0: none did */
	struct outcome_text reply; /* or what came in its place */
};

/* A whole delivery over one connection. */
struct outcome {
	const struct verdict *verdict; /* one for each recipient, in order */
	size_t nverdict;
	const struct attempted *attempted; /* at least one, and it has run */
	size_t nattempted;
	bool is_pipelined;
	uint64_t size_limit; /* of the server, and the message's size: for */
	uint64_t size;       /* SMTP_END_TOO_LARGE */
};

/* The sentences are in delivery/failure. */
struct outcome_recipient {
	enum report_recipient kind;
	enum failure_cause cause; /* FAILURE_NONE: the record has no text */
	struct outcome_text reply;
};

struct outcome_message {
	enum report_message kind;
	enum failure_cause cause;
	char sizes[64]; /* for FAILURE_MESSAGE_TOO_LARGE */
	struct outcome_text reply;
};

/*
 * A refusal that is final: 5yz, but not "authentication wanted" (530), which
 * says something of us and nothing of the mail (RFC 4954 section 6, RFC 3207
 * section 4).
 */
bool outcome_is_permanent(enum smtp_outcome, int code);

/*
 * The record of recipient number i; false when this recipient, and so all that
 * follow, have none: nobody knows what became of them, and the message record
 * stands for them.
 */
bool outcome_recipient(const struct outcome *, size_t i,
    struct outcome_recipient *);

void outcome_message(const struct outcome *, struct outcome_message *);

#endif
