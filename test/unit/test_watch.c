/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/watch.h"

#include "home.h"

static void
same_files_have_not_changed(void **state)
{
	struct watch w = { .n = 0 };

	(void)state;
	home_put("a", "1");
	watch_add(&w, "a");
	watch_add(&w, "missing");
	assert_false(watch_has_changed(&w));
}

static void
a_change_is_seen_in_any_of_them(void **state)
{
	struct watch w = { .n = 0 };

	(void)state;
	home_put("a", "1");
	home_put("b", "1");
	watch_add(&w, "a");
	watch_add(&w, "b");
	watch_add(&w, "missing");
	home_put("new", "2");
	assert_int_equal(rename("new", "b"), 0);
	assert_true(watch_has_changed(&w));
}

static void
coming_and_going_is_a_change(void **state)
{
	struct watch w = { .n = 0 }, v = { .n = 0 };

	(void)state;
	home_put("a", "1");
	watch_add(&w, "a");
	watch_add(&v, "b");
	assert_int_equal(rename("a", "b"), 0);
	assert_true(watch_has_changed(&w));
	assert_true(watch_has_changed(&v));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(same_files_have_not_changed,
		    home_clear),
		cmocka_unit_test_teardown(a_change_is_seen_in_any_of_them,
		    home_clear),
		cmocka_unit_test_teardown(coming_and_going_is_a_change,
		    home_clear),
	};

	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
