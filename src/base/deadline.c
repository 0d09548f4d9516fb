/* SPDX-License-Identifier: ISC */
#include "base/deadline.h"

#include <limits.h>
#include <stdlib.h>
#include <time.h>

static int64_t
now_ns(void)
{
	struct timespec t;

	/* POSIX has this clock; without it no wait could be limited. */
	if (clock_gettime(CLOCK_MONOTONIC, &t) == -1)
		abort();
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct deadline
deadline_in(int64_t ms)
{
	return (struct deadline){ now_ns() + ms * 1000000 };
}

struct deadline
deadline_never(void)
{
	return (struct deadline){ INT64_MAX };
}

struct deadline
deadline_earlier(struct deadline a, struct deadline b)
{
	return a.at < b.at ? a : b;
}

int
deadline_left(struct deadline d)
{
	int64_t left;

	if (d.at == INT64_MAX)
		return -1;
	left = d.at - now_ns();
	if (left <= 0)
		return 0;
	left = (left + 999999) / 1000000;
	return left > INT_MAX ? INT_MAX : (int)left;
}

bool
deadline_passed(struct deadline d)
{
	return deadline_left(d) == 0;
}
