/* SPDX-License-Identifier: ISC */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "io/random.h"

static void
bytes_differ(void **state)
{
	unsigned char a[RANDOM_MAX] = { 0 }, b[RANDOM_MAX] = { 0 };

	(void)state;
	assert_int_equal(random_bytes(a, sizeof a), 0);
	assert_int_equal(random_bytes(b, sizeof b), 0);
	assert_memory_not_equal(a, b, sizeof a);
	assert_memory_not_equal(a + 128, b + 128, 128);
}

static void
choices_are_even(void **state)
{
	unsigned count[5] = { 0 };
	unsigned i;

	(void)state;
	assert_int_equal(random_below(0), 0);
	assert_int_equal(random_below(1), 0);
	for (i = 0; i < 5000; i++)
		count[random_below(5)]++;
	for (i = 0; i < 5; i++)
		assert_in_range(count[i], 800, 1200);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_differ),
		cmocka_unit_test(choices_are_even),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
