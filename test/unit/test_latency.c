/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE /* syscall(), nice(), SCHED_IDLE */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/latency.h"

/* What sched_getattr(2) tells; runtime is the sixth of its numbers. */
static uint64_t
turn_ns(void)
{
	uint32_t a[12] = { 0 };
	uint64_t runtime;

	assert_int_equal(syscall(SYS_sched_getattr, 0, a, sizeof a, 0U), 0);
	memcpy(&runtime, &a[6], sizeof runtime);
	return runtime;
}

static bool
is_known(void)
{
	struct utsname name;
	int major = 0, minor = 0;

	assert_int_equal(uname(&name), 0);
	assert_int_equal(sscanf(name.release, "%d.%d", &major, &minor), 2);
	return major > 6 || (major == 6 && minor >= 12);
}

/* In a child: it does not get back what it gives up. */
static void
in_a_child(void (*check)(void))
{
	int status;
	pid_t pid = fork();

	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		check();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
try_usual(void)
{
	int lower = nice(5);

	latency_lower();
	if (getpriority(PRIO_PROCESS, 0) != lower || turn_ns() != 100000)
		_exit(2);
}

static void
turns_are_short_and_the_priority_stays(void **state)
{
	(void)state;
	if (!is_known())
		skip();
	in_a_child(try_usual);
}

static void
try_idle(void)
{
	const struct sched_param none = { 0 };

	if (sched_setscheduler(0, SCHED_IDLE, &none) == -1)
		_exit(1);
	latency_lower();
	if (sched_getscheduler(0) != SCHED_IDLE || turn_ns() == 100000)
		_exit(2);
}

static void
another_policy_stays(void **state)
{
	(void)state;
	in_a_child(try_idle);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(turns_are_short_and_the_priority_stays),
		cmocka_unit_test(another_policy_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
