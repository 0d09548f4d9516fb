/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_ENVELOPE_H
#define DELIVERY_ENVELOPE_H

#include <stdbool.h>

#include "base/buf.h"
#include "delivery/failure.h"

/*
 * The addresses of a delivery, as they are sent: with A-labels in place of
 * domains in UTF-8.  Local parts are as they were given.
 */
struct envelope {
	char **address; /* sender, recipients, NULL */
	char *const *given;
	bool needs_smtputf8; /* for the local part of any of them */
};

/*
 * Appends a domain, with A-labels in place of labels in UTF-8.  Copied as they
 * are: an address literal, bytes that are not UTF-8, and what has a blank or a
 * control character, and is no domain in any script.  -1 with this cause, and
 * the reason as its detail, if IDNA2008 does not allow the domain (base/idn.h),
 * or if it is too long for the DNS then.
 */
int envelope_append_domain(struct buf *, const char *domain, enum failure_cause,
    struct dsn *why);

/*
 * Reads sender, recipients, NULL, which stay borrowed.  A recipient that SMTP
 * has no way to write (envelope_append_domain(), quote_mailbox(), or more than
 * SMTP_PATH_MAX bytes) stays as it was given, and qmail-remote-io refuses it.
 * -1 with 5.1.3 if that is so of all recipients, or of the sender.
 */
int envelope_read(struct envelope *, char *const *given, struct dsn *why);

/* Also after a failure. */
void envelope_finish(struct envelope *);

#endif
