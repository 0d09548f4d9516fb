/* SPDX-License-Identifier: ISC */
#ifndef CACHE_PLACES_H
#define CACHE_PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/message.h"

/*
 * How many sessions there are with the hosts of a line of
 * control/concurrencyhosts, and which deliveries wait for a place, in order.
 * Pure: no I/O; times are milliseconds of one clock.
 *
 * A session takes a place of its limit, whether it is in use or idle.
 */
struct places;

struct places *places_create(void);
void places_destroy(struct places *);

/*
 * Takes a place if there is one of n, and nobody waits for it.  What the last
 * call says of a limit's n, here or in places_wait(), is what counts.
 */
bool places_take(struct places *, const char *limit, unsigned long n);

/* Gives one back that was taken. */
void places_release(struct places *, const char *limit);

/* The same in two steps: the session is about to end ... */
void places_end(struct places *, const char *limit);

/* ... and has ended. */
void places_ended(struct places *, const char *limit);

/* Whether a session of this limit is about to end. */
bool places_has_ending(const struct places *, const char *limit);

/*
 * A client waits, until then, for a place of one of the limits of these
 * candidates, in the order in which they are preferred.  Where as many wait as
 * there are places, not counting those that get one by sessions that are about
 * to end, it does not join them; false if that is so for each limit: then it
 * does not wait.  If it has waited before, it does not any longer, and is the
 * last to wait now.
 */
bool places_wait(struct places *, uint64_t client,
    const struct cache_candidate *, size_t n, int64_t until);

/*
 * Whether some of those who wait for this limit get no place of it when the
 * sessions that are about to end have ended.
 */
bool places_lack(const struct places *, const char *limit);

/* The client waits no more, if it did. */
void places_leave(struct places *, uint64_t client);

/*
 * The first client that waits and can have a place now: it has the place, and
 * waits no more.  *limit is borrowed, and valid until the next call.  False if
 * there is none.
 */
bool places_next(struct places *, uint64_t *client, const char **limit);

/* The first client whose time is over; it waits no more.  False: none. */
bool places_expire(struct places *, int64_t now, uint64_t *client);

/* When the next one's time is over; INT64_MAX: nobody waits. */
int64_t places_next_end(const struct places *);

/*
 * The clients that wait, in order of arrival: the i-th; false behind the last.
 */
bool places_waiting(const struct places *, size_t i, uint64_t *client);

/*
 * The k-th limit that the i-th of them waits for, in the order in which they
 * are preferred; NULL behind the last.
 */
const char *places_wanted(const struct places *, size_t i, size_t k);

/* The i-th limit with sessions or waiting clients; false behind the last. */
bool places_at(const struct places *, size_t i, const char **limit,
    unsigned long *sessions, unsigned long *waiting);

#endif
