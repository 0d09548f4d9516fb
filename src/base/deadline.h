/* SPDX-License-Identifier: ISC */
#ifndef BASE_DEADLINE_H
#define BASE_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

/* A point in monotonic time, and the time left until then. */
struct deadline {
	int64_t at; /* nanoseconds of CLOCK_MONOTONIC; never: INT64_MAX */
};

/* The point that is ms milliseconds from now; ms is at most 10^12. */
struct deadline deadline_in(int64_t ms);

/* A deadline that never passes, for waits that are limited in another way. */
struct deadline deadline_never(void);

/* The earlier one of two. */
struct deadline deadline_earlier(struct deadline, struct deadline);

/*
 * Milliseconds left, as the timeout argument of poll(): 0 if the deadline has
 * passed, -1 if it never passes, otherwise rounded up.
 */
int deadline_left(struct deadline);

/* Whether it has passed. */
bool deadline_passed(struct deadline);

#endif
