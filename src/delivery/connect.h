/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_CONNECT_H
#define DELIVERY_CONNECT_H

#include <stdbool.h>
#include <stddef.h>

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
};

/*
 * timeout_s is for each attempt to connect; nothing more is begun after until.
 * plan and tcpto are borrowed; an address that timed out recently becomes
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
bool connector_again(struct connector *, size_t i, struct dialed *won);

/*
 * No connection came about, tcpto said that none would, the host cannot meet
 * the TLS policy, or we cannot connect from our own address.
 */
bool connector_has_failed(const struct connector *, size_t i);

/*
 * Why this address is not connected to, for a report; NULL if it is, or was.
 */
const char *connector_reason(const struct connector *, size_t i);

void connector_finish(struct connector *);

#endif
