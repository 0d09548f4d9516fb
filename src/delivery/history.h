/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_HISTORY_H
#define DELIVERY_HISTORY_H

#include <stddef.h>

#include "base/buf.h"
#include "delivery/attempt.h"
#include "delivery/connect.h"

/*
 * The attempts of a delivery in order, and which of them a report is about.
 *
 * A plan may be followed by another one, for a second pass: places in a plan
 * mean the attempts of the present pass.
 */
struct history {
	struct attempt *attempt;
	size_t n;
	size_t pass; /* the first one of the present pass */
};

/* From now on there is another plan. */
void history_begin_pass(struct history *);

/* A new attempt, zeroed.  It is valid until the next one is added. */
struct attempt *history_add(struct history *);

/*
 * The failure that a report is about: our own if there is one, else that of the
 * last server that replied, else the last one; NULL if nothing failed.
 */
const struct attempt *history_decisive(const struct history *);

#define HISTORY_TOLD_MAX 5

/*
 * Appends lines about the addresses that failed before the one at this place
 * of the plan was used, the last HISTORY_TOLD_MAX in the order of the plan, as
 * "host (address): reason" with a line end between them.  Nothing if it is of
 * the first host that could be tried.
 */
void history_tell(const struct history *, const struct connector *,
    size_t address, struct buf *lines);

void history_finish(struct history *);

#endif
