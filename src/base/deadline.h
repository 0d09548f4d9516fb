/* SPDX-License-Identifier: ISC */
#ifndef BASE_DEADLINE_H
#define BASE_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A point in monotonic time, and what is left until then.
 */
struct deadline {
	int64_t at; /* nanoseconds of CLOCK_MONOTONIC; never: INT64_MAX */
};

/* The point that is ms milliseconds from now. */
struct deadline deadline_in(int64_t ms);

/* For waits that are limited in another way. */
struct deadline deadline_never(void);

struct deadline deadline_earlier(struct deadline, struct deadline);

/*
 * Milliseconds left, as poll() wants them: 0 when it has passed, rounded up
 * otherwise, -1 for never.
 */
int deadline_left(struct deadline);

bool deadline_passed(struct deadline);

#endif
