/* SPDX-License-Identifier: ISC */
#include "fakeclock.h"

int64_t now_ms;

struct deadline
deadline_in(int64_t ms)
{
	return (struct deadline){ now_ms + ms };
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
	if (d.at == INT64_MAX)
		return -1;
	return d.at > now_ms ? (int)(d.at - now_ms) : 0;
}

bool
deadline_passed(struct deadline d)
{
	return deadline_left(d) == 0;
}
