/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_HISTORY_H
#define DELIVERY_HISTORY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "delivery/attempt.h"
#include "delivery/connect.h"

/*
 * The attempts of a delivery in order, and which of them a report is about.
 *
 * A second pass follows a plan of its own, so an index into a plan has a
 * meaning only for the attempts of the present pass.
 */
struct history {
	struct attempt *attempt;
	size_t n;
	size_t pass; /* the first one of the present pass */
};

/* Begins a pass: attempts that are added from now on are of another plan. */
void history_begin_pass(struct history *);

/*
 * Adds an attempt, zeroed.  The pointer is valid until the next one is added;
 * what the attempt owns is freed by history_finish().
 */
struct attempt *history_add(struct history *);

/*
 * The failure that a report is about: our own if there is one, else that of the
 * last server that replied, else the last one; NULL if nothing failed.
 */
const struct attempt *history_decisive(const struct history *);

#define HISTORY_LINES_MAX 5

/*
 * Appends a line "host (address): reason" for each address that failed, apart
 * from the one at this index of the connector's plan, with a line end between
 * two lines.  At most HISTORY_LINES_MAX, the last ones in the order of the
 * plan.
 */
void history_append_others(const struct history *, const struct connector *,
    size_t address, struct buf *lines);

/*
 * Whether a host has failed that comes before that of this address in the
 * connector's plan.
 */
bool history_has_lines(const struct history *, const struct connector *,
    size_t address);

/* history_append_others() if such a host has failed, or else nothing. */
void history_append_lines(const struct history *, const struct connector *,
    size_t address, struct buf *lines);

/* Frees all attempts. */
void history_finish(struct history *);

#endif
