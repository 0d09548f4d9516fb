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

/* What the one who asked a gate may do. */
enum gate_answer {
	GATE_OPEN,  /* connect to the addresses that are left */
	GATE_DONE,  /* nothing is left to do: the mail was sent elsewhere */
	GATE_CLOSED /* connect to nothing more */
};

/*
 * Asked before addresses of one preference are connected to: those of the plan
 * from first up to end whose may[i - first] is set.  There is at least one.
 *
 * It clears those that are not to be connected to yet, but never all; it is
 * asked again about them when no server of the others got ready, and before a
 * worse preference.  When it closes, *why is set to the line of
 * control/concurrencyhosts because of which it does; borrowed by the connector.
 */
struct gate {
	enum gate_answer (*ask)(void *data, const struct plan *, size_t first,
	    size_t end, bool *may, const char **why);
	void *data;
};

struct connector {
	struct plan *plan;
	const struct tcpto *tcpto;
	const struct gate *gate;    /* or NULL */
	enum gate_answer answer;    /* the last one; OPEN before it is asked */
	const char *why;            /* CLOSED */
	int timeout_ms;             /* of each attempt to connect */
	struct deadline until;      /* see connector_begin() */
	struct dial_target *target; /* one for each address of the plan */
	bool *was_known;            /* tcpto has a record of the address */
	bool *is_noted;             /* what became of it is in tcpto */
};

/*
 * timeout_s is for each attempt to connect.  After until, connector_next()
 * begins nothing; addresses of one preference that it is connecting to by then
 * are all tried until one accepts.  The other functions do not look at it.
 * plan, tcpto and the gate, which may be NULL, are borrowed; an address that
 * timed out recently becomes PLAN_TIMED_OUT.
 */
void connector_begin(struct connector *, struct plan *, const struct tcpto *,
    const struct gate *, unsigned long timeout_s, struct deadline until);

/*
 * Connects to the first address that is left and answers, one preference after
 * the other, and keeps tcpto informed.  *won.target is its place in the plan.
 * False when none is left, when the time for all of them is over, or when the
 * gate has answered that nothing more is to be connected to.
 */
bool connector_next(struct connector *, struct dialed *won);

/*
 * Connects to the address at this place of the plan once more.  The gate is not
 * asked again.
 */
bool connector_again(struct connector *, size_t i, struct dialed *won);

/*
 * The same after other addresses have been tried: the gate is asked about this
 * one, because it may have allowed others since.
 */
bool connector_return(struct connector *, size_t i, struct dialed *won);

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
