/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <poll.h>

#include "base/deadline.h"

static void
returns_the_time_left(void **state)
{
	static const struct {
		const char *name;
		int64_t ms;
		int least, most;
	} cases[] = {
		{ "now", 0, 0, 0 },
		{ "past", -1000, 0, 0 },
		{ "long past", -604800000, 0, 0 },
		{ "a minute", 60000, 50000, 60000 },
		{ "a week", 604800000, 604790000, 604800000 },
		{ "more than an int", (int64_t)INT_MAX * 10, INT_MAX, INT_MAX },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct deadline d = deadline_in(cases[i].ms);
		int left = deadline_left(d);

		if (left < cases[i].least || left > cases[i].most)
			fail_msg("%s: %d ms left", cases[i].name, left);
		if (deadline_passed(d) != (left == 0))
			fail_msg("%s: passed", cases[i].name);
	}
}

/* Otherwise a loop would poll with 0 ms during the last millisecond. */
static void
rounds_up(void **state)
{
	struct deadline d;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		int left;

		d = deadline_in(5);
		left = deadline_left(d);
		if (left < 0 || left > 5)
			fail_msg("%d of 5 ms left", left);
	}
	d = deadline_in(20);
	poll(NULL, 0, deadline_left(d));
	assert_true(deadline_passed(d));
}

static void
never_is_never(void **state)
{
	struct deadline soon = deadline_in(1), late = deadline_in(60000);

	(void)state;
	assert_int_equal(deadline_left(deadline_never()), -1);
	assert_false(deadline_passed(deadline_never()));
	assert_int_equal(deadline_earlier(soon, late).at, soon.at);
	assert_int_equal(deadline_earlier(late, soon).at, soon.at);
	assert_int_equal(deadline_earlier(late, deadline_never()).at, late.at);
	assert_int_equal(deadline_earlier(deadline_never(), late).at, late.at);
	assert_int_equal(deadline_left(deadline_earlier(deadline_never(),
			     deadline_never())),
	    -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(returns_the_time_left),
		cmocka_unit_test(rounds_up),
		cmocka_unit_test(never_is_never),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
