/* SPDX-License-Identifier: ISC */
#ifndef STS_FAILURE_H
#define STS_FAILURE_H

#include <stdbool.h>

#include "sts/text.h"

/* Why no policy could be fetched: a result type for TLS reports, and a text. */

enum sts_cause {
	STS_CAUSE_NONE,    /* nothing has failed */
	STS_CAUSE_LOCAL,   /* a failure of ours, which is in no TLS report */
	STS_CAUSE_FETCH,   /* sts-policy-fetch-error (RFC 8460 4.3.2.2) */
	STS_CAUSE_INVALID, /* sts-policy-invalid */
	STS_CAUSE_WEBPKI   /* sts-webpki-invalid: the certificate of its host */
};

#define STS_REASON_SIZE 192

struct sts_failure {
	enum sts_cause cause;
	char reason[STS_REASON_SIZE]; /* one line of printable ASCII */
};

/*
 * Sets both.  Bytes other than printable ASCII become '?', and text that does
 * not fit is cut off.  Always returns -1.
 */
int sts_failure_set(struct sts_failure *, enum sts_cause, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The name of the result type; "local" for a failure of ours, "none". */
const char *sts_cause_name(enum sts_cause);

/* The cause that has this name; false if none has. */
bool sts_cause_parse(enum sts_cause *, struct sts_text);

#endif
