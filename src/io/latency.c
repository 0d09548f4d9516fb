/* SPDX-License-Identifier: ISC */
#define _DEFAULT_SOURCE /* syscall() */

#include "io/latency.h"

#include <sys/syscall.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define TURN_NS 100000 /* the shortest that the kernel allows */

/* sched_setattr(2); not all C libraries have it. */
struct attributes {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime; /* of a turn, where nothing is promised: in ns */
	uint64_t deadline;
	uint64_t period;
};

#define USUAL_POLICY 0 /* SCHED_OTHER */

void
latency_lower(void)
{
	struct attributes a;

	/* The rest, the priority for example, is to stay as it is. */
	memset(&a, 0, sizeof a);
	if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0U) == -1 ||
	    a.policy != USUAL_POLICY)
		return;
	a.runtime = TURN_NS;
	(void)syscall(SYS_sched_setattr, 0, &a, 0U);
}
