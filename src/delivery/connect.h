/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_CONNECT_H
#define DELIVERY_CONNECT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/deadline.h"
#include "io/dial.h"
#include "delivery/plan.h"
#include "qmail/tcpto.h"

/*
 * Follow a plan from one connection to the next.
 */

struct connector {
	struct plan *plan;
	const struct tcpto *tcpto;
	int timeout_ms;             /* of each attempt to connect */
	struct deadline until;      /* no preference is begun after it */
	struct dial_target *target; /* one for each address of the plan */
	bool *was_known;            /* tcpto has a record of the address */
	bool *is_noted;             /* what became of it is in tcpto */
	struct buf *failure;        /* of a connection that was of no use */
};

/*
 * timeout_s is for each attempt to connect; nothing more is begun after until.
 * plan and tcpto are borrowed; an address that timed out of late becomes
 * PLAN_TIMED_OUT.
 */
void connector_begin(struct connector *, struct plan *, const struct tcpto *,
    unsigned long timeout_s, struct deadline until);

/*
 * Connects to the first address that is left and answers, one preference after
 * the other, and keeps tcpto informed.  *won.target is its place in the plan.
 * False when none is left, or the time for all of them is over.
 */
bool connector_next(struct connector *, struct dialed *won);

/* Connects to the address at this place of the plan once more. */
bool connector_again(struct connector *, size_t i, int *fd);

/* Keeps why the connection to this address was of no use. */
void connector_failed(struct connector *, size_t i, const char *reason);

/*
 * What became of this address, for a report; NULL if it is connected to and
 * nothing has failed.
 */
const char *connector_reason(const struct connector *, size_t i);

#define CONNECTOR_TOLD_MAX 5

/*
 * Appends the addresses that failed before the one at this place was used, the
 * last five in the order of the plan, as lines "host (address): reason" with a
 * line end between them.  Nothing if it is of the first host that could be
 * tried.
 */
void connector_tell(const struct connector *, size_t i, struct buf *lines);

void connector_finish(struct connector *);

#endif
