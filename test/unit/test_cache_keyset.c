/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "cache/keyset.h"

static struct keyset set;
static char key[40];

static const char *
make_key(size_t i)
{
	(void)snprintf(key, sizeof key, "address 192.0.2.%zu\nport 25\n", i);
	return key;
}

/* How many of so many keys may be in it. */
static size_t
count_possible(size_t first, size_t end)
{
	size_t n = 0;

	for (size_t i = first; i < end; i++)
		n += keyset_may_have(set.text, make_key(i));
	return n;
}

static void
an_empty_set_has_no_key(void **state)
{
	(void)state;
	keyset_init(&set);
	assert_int_equal(strlen(set.text), KEYSET_SIZE - 1);
	assert_int_equal(strspn(set.text, "0"), KEYSET_SIZE - 1);
	keyset_add(&set, NULL);
	keyset_remove(&set, NULL);
	assert_int_equal(count_possible(0, 1000), 0);
	assert_false(keyset_may_have(set.text, ""));
}

static void
has_what_was_added(void **state)
{
	(void)state;
	keyset_init(&set);
	for (size_t i = 0; i < 50; i++)
		keyset_add(&set, make_key(i));
	assert_int_equal(count_possible(0, 50), 50);
	/* One in ten, or so. */
	assert_in_range(count_possible(1000, 2000), 50, 150);
	for (size_t i = 0; i < 50; i++)
		keyset_remove(&set, make_key(i));
	assert_int_equal(count_possible(0, 1000), 0);
}

/* More than it has bits, and the text is always of the same length. */
static void
has_each_as_often_as_it_was_added(void **state)
{
	(void)state;
	keyset_init(&set);
	for (size_t i = 0; i < 5000; i++) {
		keyset_add(&set, make_key(i));
		keyset_add(&set, make_key(i));
	}
	assert_int_equal(strlen(set.text), KEYSET_SIZE - 1);
	for (size_t i = 0; i < 5000; i++)
		keyset_remove(&set, make_key(i));
	assert_int_equal(count_possible(0, 5000), 5000);
	for (size_t i = 0; i < 5000; i++)
		keyset_remove(&set, make_key(i));
	assert_int_equal(count_possible(0, 5000), 0);
}

/* Who cannot tell has to ask. */
static void
what_is_no_set_may_have_any_key(void **state)
{
	char text[KEYSET_SIZE];

	(void)state;
	assert_true(keyset_may_have("", "k"));
	assert_true(keyset_may_have("0", "k"));
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	assert_true(keyset_may_have(text, "k"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_set_has_no_key),
		cmocka_unit_test(has_what_was_added),
		cmocka_unit_test(has_each_as_often_as_it_was_added),
		cmocka_unit_test(what_is_no_set_may_have_any_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
