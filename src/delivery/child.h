/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_CHILD_H
#define DELIVERY_CHILD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "delivery/handoff.h"

/*
 * Run qmail-remote-io as a child, on a connection that was used before and that
 * may turn out to be dead.  The child writes its report into a pipe, so that
 * the parent knows whether there is one.
 */
enum child_end {
	CHILD_REPORTED, /* the report is whole */
	CHILD_AGAIN,    /* nothing was sent that matters: dial anew */
	CHILD_FAILED,   /* it died, and no mail data has left */
	CHILD_IN_DOUBT  /* it died, and mail data may have left */
};

struct child {
	const char *program;    /* the path of qmail-remote-io */
	struct handoff handoff; /* its progress is set here */
	struct buf report;      /* REPORTED */
	char text[128];         /* FAILED, IN_DOUBT: how it ended */
	/*
	 * REPORTED: MAIL commands on the connection so far, if another message
	 * may follow; otherwise 0.
	 */
	unsigned long used;
};

#define CHILD_REPORT_MAX ((size_t)64 << 20) /* bytes */

/*
 * Starts it, and waits for its end, which is bounded by its own deadlines.
 * AGAIN also if it cannot be started: for want of descriptors, for example.
 * keep has the nkeep descriptors of the handoff, which stay open here.
 */
enum child_end child_run(struct child *, const int *keep, size_t nkeep);

#endif
