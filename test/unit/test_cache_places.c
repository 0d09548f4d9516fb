/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "cache/places.h"

static const struct cache_candidate a = { .limit = "a", .n = 1 };
static const struct cache_candidate b = { .limit = "b", .n = 2 };
static const struct cache_candidate both[] = {
	{ .limit = "a", .n = 1 },
	{ .limit = "b", .n = 2 },
};
static const struct cache_candidate free_one = { .limit = "", .n = 0 };

/* One that is not there has no sessions, and nobody waits for it. */
static bool
has_limit(const struct places *places, const char *name, unsigned long sessions,
    unsigned long waiting)
{
	unsigned long s, w;
	const char *n;

	for (size_t i = 0; places_at(places, i, &n, &s, &w); i++)
		if (strcmp(n, name) == 0)
			return s == sessions && w == waiting;
	return sessions == 0 && waiting == 0;
}

static size_t
count_limits(const struct places *places)
{
	unsigned long s, w;
	const char *name;
	size_t n = 0;

	while (places_at(places, n, &name, &s, &w))
		n++;
	return n;
}

/* Those who wait, one digit each. */
static const char *
waiting(const struct places *places)
{
	static char text[32];
	uint64_t client;
	size_t n = 0;

	for (; places_waiting(places, n, &client); n++)
		text[n] = (char)('0' + client);
	text[n] = '\0';
	return text;
}

static void
expect_next(struct places *places, uint64_t client, const char *limit)
{
	const char *name = NULL;
	uint64_t who = UINT64_MAX;

	assert_true(places_next(places, &who, &name));
	assert_int_equal(who, client);
	assert_string_equal(name, limit);
}

static void
expect_none_next(struct places *places)
{
	const char *name;
	uint64_t who;

	assert_false(places_next(places, &who, &name));
}

static void
gives_out_as_many_places_as_there_are(void **state)
{
	struct places *places = places_create();

	(void)state;
	assert_false(places_take(places, "a", 0));
	assert_int_equal(count_limits(places), 0);
	assert_true(places_take(places, "a", 2));
	assert_true(places_take(places, "a", 2));
	assert_false(places_take(places, "a", 2));
	assert_true(places_take(places, "b", 1));
	assert_false(places_take(places, "b", 1));
	assert_true(has_limit(places, "a", 2, 0));
	assert_true(has_limit(places, "b", 1, 0));
	assert_int_equal(count_limits(places), 2);
	places_release(places, "a");
	assert_true(places_take(places, "a", 2));
	assert_false(places_take(places, "a", 2));
	places_release(places, "b");
	assert_true(has_limit(places, "a", 2, 0));
	assert_true(has_limit(places, "b", 0, 0));
	places_release(places, "a");
	places_release(places, "a");
	assert_int_equal(count_limits(places), 0);
	places_destroy(places);
}

/* The file has changed: fewer, then more. */
static void
the_last_number_of_places_counts(void **state)
{
	struct places *places = places_create();
	struct cache_candidate c = { .limit = "a", .n = 3 };

	(void)state;
	for (size_t i = 0; i < 3; i++)
		assert_true(places_take(places, "a", 3));
	assert_true(places_wait(places, 1, &c, 1, 0));
	assert_false(places_take(places, "a", 1));
	places_release(places, "a");
	places_release(places, "a");
	expect_none_next(places);
	c.n = 2;
	assert_true(places_wait(places, 2, &c, 1, 0));
	expect_next(places, 1, "a");
	expect_none_next(places);
	assert_false(places_take(places, "a", 3));
	expect_next(places, 2, "a");
	assert_true(has_limit(places, "a", 3, 0));
	places_destroy(places);
}

/* Both places of b are taken, and two wait for one. */
static void
let_two_wait(struct places *places)
{
	assert_true(places_take(places, "b", 2));
	assert_true(places_take(places, "b", 2));
	assert_true(places_wait(places, 1, &b, 1, 0));
	assert_true(places_wait(places, 2, &b, 1, 0));
}

static void
those_who_wait_are_served_in_order(void **state)
{
	struct places *places = places_create();

	(void)state;
	let_two_wait(places);
	expect_none_next(places);
	places_release(places, "b");
	/* The place is for those who wait. */
	assert_false(places_take(places, "b", 2));
	expect_next(places, 1, "b");
	expect_none_next(places);
	assert_string_equal(waiting(places), "2");
	places_release(places, "b");
	expect_next(places, 2, "b");
	assert_string_equal(waiting(places), "");
	places_release(places, "b");
	assert_true(places_take(places, "b", 2));
	assert_true(has_limit(places, "b", 2, 0));
	places_destroy(places);
}

/* No client is kept waiting by one that waits for another limit. */
static void
each_limit_has_its_own_order(void **state)
{
	struct places *places = places_create();

	(void)state;
	assert_true(places_take(places, "a", 1));
	assert_true(places_take(places, "b", 1));
	assert_true(places_wait(places, 1, &a, 1, 0));
	assert_true(places_wait(places, 2, both, 2, 0));
	assert_true(places_wait(places, 3, &b, 1, 0));
	assert_true(has_limit(places, "a", 1, 1));
	assert_true(has_limit(places, "b", 1, 2));
	expect_next(places, 2, "b");
	assert_true(has_limit(places, "b", 2, 1));
	places_release(places, "b");
	expect_next(places, 3, "b");
	places_release(places, "a");
	expect_next(places, 1, "a");
	assert_true(has_limit(places, "a", 1, 0));
	assert_true(has_limit(places, "b", 2, 0));
	places_destroy(places);
}

static void
the_first_limit_with_a_place_is_chosen(void **state)
{
	struct places *places = places_create();
	static const struct cache_candidate other_way[] = {
		{ .limit = "b", .n = 1 },
		{ .limit = "a", .n = 1 },
	};

	(void)state;
	assert_true(places_take(places, "a", 1));
	assert_true(places_take(places, "b", 1));
	assert_true(places_wait(places, 1, other_way, 2, 0));
	places_release(places, "a");
	places_release(places, "b");
	expect_next(places, 1, "b");
	assert_true(places_take(places, "a", 1));
	assert_true(places_wait(places, 2, both, 2, 0));
	places_release(places, "a");
	places_release(places, "b");
	expect_next(places, 2, "a");
	places_destroy(places);
}

static void
no_more_wait_than_there_are_places(void **state)
{
	struct places *places = places_create();

	(void)state;
	assert_true(places_take(places, "a", 1));
	assert_true(places_wait(places, 1, &a, 1, 0));
	assert_false(places_wait(places, 2, &a, 1, 0));
	assert_true(has_limit(places, "a", 1, 1));
	/* Client 3 waits for "b" only. */
	assert_true(places_take(places, "b", 2));
	assert_true(places_take(places, "b", 2));
	assert_true(places_wait(places, 3, both, 2, 0));
	assert_true(has_limit(places, "a", 1, 1));
	assert_true(has_limit(places, "b", 2, 1));
	assert_true(places_wait(places, 4, &b, 1, 0));
	assert_false(places_wait(places, 5, both, 2, 0));
	assert_string_equal(waiting(places), "134");
	places_leave(places, 1);
	assert_true(places_wait(places, 5, both, 2, 0));
	assert_true(has_limit(places, "a", 1, 1));
	assert_true(has_limit(places, "b", 2, 2));
	places_destroy(places);
}

static void
a_limit_with_two_candidates_is_waited_for_once(void **state)
{
	struct places *places = places_create();
	static const struct cache_candidate twice[] = {
		{ .limit = "b", .n = 2 },
		{ .limit = "b", .n = 2 },
	};

	(void)state;
	assert_true(places_take(places, "b", 2));
	assert_true(places_take(places, "b", 2));
	assert_true(places_wait(places, 1, twice, 2, 0));
	assert_true(has_limit(places, "b", 2, 1));
	places_leave(places, 1);
	assert_true(has_limit(places, "b", 2, 0));
	places_destroy(places);
}

static void
nobody_waits_without_a_limit(void **state)
{
	struct places *places = places_create();
	static const struct cache_candidate none = { .limit = "c", .n = 0 };

	(void)state;
	assert_false(places_wait(places, 1, &free_one, 1, 0));
	assert_false(places_wait(places, 1, &none, 1, 0));
	assert_false(places_wait(places, 1, NULL, 0, 0));
	assert_int_equal(count_limits(places), 0);
	assert_string_equal(waiting(places), "");
	places_destroy(places);
}

static void
a_client_can_leave(void **state)
{
	struct places *places = places_create();

	(void)state;
	places_leave(places, 1);
	assert_true(places_wait(places, 1, both, 2, 0));
	assert_true(places_wait(places, 2, &b, 1, 0));
	places_leave(places, 3);
	assert_string_equal(waiting(places), "12");
	places_leave(places, 1);
	assert_string_equal(waiting(places), "2");
	assert_true(has_limit(places, "a", 0, 0));
	assert_true(has_limit(places, "b", 0, 1));
	places_leave(places, 2);
	assert_int_equal(count_limits(places), 0);
	places_destroy(places);
}

/* It is the last one then, and waits for what it said last. */
static void
a_client_can_wait_again(void **state)
{
	struct places *places = places_create();

	(void)state;
	assert_true(places_take(places, "a", 1));
	assert_true(places_wait(places, 1, &b, 1, 0));
	assert_true(places_wait(places, 2, &b, 1, 0));
	assert_true(places_wait(places, 1, &b, 1, 5));
	assert_string_equal(waiting(places), "21");
	assert_true(places_wait(places, 2, &a, 1, 5));
	assert_string_equal(waiting(places), "12");
	assert_true(has_limit(places, "a", 1, 1));
	assert_true(has_limit(places, "b", 0, 1));
	assert_false(places_wait(places, 1, &a, 1, 5));
	assert_string_equal(waiting(places), "2");
	places_destroy(places);
}

static void
the_time_of_a_client_ends(void **state)
{
	static const struct cache_candidate many = { .limit = "c", .n = 9 };
	struct places *places = places_create();
	uint64_t client = 0;

	(void)state;
	assert_int_equal(places_next_end(places), INT64_MAX);
	assert_true(places_wait(places, 1, &many, 1, 30));
	assert_int_equal(places_next_end(places), 30);
	assert_true(places_wait(places, 2, &many, 1, 10));
	assert_true(places_wait(places, 3, &many, 1, 20));
	assert_int_equal(places_next_end(places), 10);
	assert_false(places_expire(places, 9, &client));
	assert_true(places_expire(places, 10, &client));
	assert_int_equal(client, 2);
	assert_false(places_expire(places, 10, &client));
	assert_int_equal(places_next_end(places), 20);
	assert_true(places_expire(places, 30, &client));
	assert_int_equal(client, 1);
	assert_true(places_expire(places, 30, &client));
	assert_int_equal(client, 3);
	assert_false(places_expire(places, 30, &client));
	assert_int_equal(count_limits(places), 0);
	places_destroy(places);
}

static void
tells_what_is_waited_for(void **state)
{
	struct places *places = places_create();

	(void)state;
	assert_null(places_wanted(places, 0, 0));
	assert_true(places_take(places, "c", 1));
	assert_true(places_take(places, "a", 1));
	assert_null(places_wanted(places, 0, 0));
	assert_true(places_wait(places, 1, both, 2, 0));
	assert_string_equal(places_wanted(places, 0, 0), "a");
	assert_string_equal(places_wanted(places, 0, 1), "b");
	assert_null(places_wanted(places, 0, 2));
	assert_null(places_wanted(places, 1, 0));
	/* For the first limit as many wait as there are places. */
	assert_true(places_wait(places, 2, both, 2, 0));
	assert_string_equal(places_wanted(places, 1, 0), "b");
	assert_null(places_wanted(places, 1, 1));
	places_destroy(places);
}

/* Those who get a place that becomes free are not counted. */
static void
as_many_wait_as_there_are_places(void **state)
{
	struct places *places = places_create();

	(void)state;
	let_two_wait(places);
	assert_false(places_wait(places, 3, &b, 1, 0));
	places_end(places, "b");
	assert_true(places_wait(places, 3, &b, 1, 0));
	assert_false(places_wait(places, 4, &b, 1, 0));
	places_ended(places, "b");
	assert_false(places_wait(places, 4, &b, 1, 0));
	places_release(places, "b");
	assert_true(places_wait(places, 4, &b, 1, 0));
	assert_false(places_wait(places, 5, &b, 1, 0));
	places_destroy(places);
}

static void
tells_for_whom_ends_are_not_enough(void **state)
{
	struct places *places = places_create();

	(void)state;
	assert_false(places_lack(places, "b"));
	assert_false(places_has_ending(places, "b"));
	assert_true(places_take(places, "b", 2));
	assert_true(places_take(places, "b", 2));
	assert_false(places_lack(places, "b"));
	assert_true(places_wait(places, 1, &b, 1, 0));
	assert_true(places_lack(places, "b"));
	places_end(places, "b");
	assert_true(places_has_ending(places, "b"));
	assert_false(places_lack(places, "b"));
	assert_true(places_wait(places, 2, &b, 1, 0));
	assert_true(places_lack(places, "b"));
	places_end(places, "b");
	assert_false(places_lack(places, "b"));
	/* They take their places until then. */
	expect_none_next(places);
	places_ended(places, "b");
	expect_next(places, 1, "b");
	expect_none_next(places);
	places_ended(places, "b");
	expect_next(places, 2, "b");
	assert_false(places_has_ending(places, "b"));
	places_destroy(places);
}

/*
 * 200 deliveries for ten places, each of which takes one, or waits for one, and
 * gives it back later.  All get one, in order.
 */
static void
nobody_waits_for_ever(void **state)
{
	static const struct cache_candidate ten = { .limit = "c", .n = 10 };
	struct places *places = places_create();
	uint64_t arrived = 0, served = 0, client;
	unsigned long in_use = 0;
	const char *name;

	(void)state;
	while (served < 200) {
		if (arrived < 200 && places_take(places, "c", 10)) {
			assert_int_equal(arrived++, served++);
			in_use++;
		} else if (arrived < 200 &&
			   places_wait(places, arrived, &ten, 1, 0)) {
			arrived++;
		} else {
			assert_int_equal(in_use, 10);
			places_release(places, "c");
			in_use--;
		}
		while (places_next(places, &client, &name)) {
			assert_int_equal(client, served++);
			in_use++;
		}
		assert_true(in_use <= 10);
	}
	places_destroy(places);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_out_as_many_places_as_there_are),
		cmocka_unit_test(the_last_number_of_places_counts),
		cmocka_unit_test(those_who_wait_are_served_in_order),
		cmocka_unit_test(each_limit_has_its_own_order),
		cmocka_unit_test(the_first_limit_with_a_place_is_chosen),
		cmocka_unit_test(no_more_wait_than_there_are_places),
		cmocka_unit_test(
		    a_limit_with_two_candidates_is_waited_for_once),
		cmocka_unit_test(nobody_waits_without_a_limit),
		cmocka_unit_test(a_client_can_leave),
		cmocka_unit_test(a_client_can_wait_again),
		cmocka_unit_test(the_time_of_a_client_ends),
		cmocka_unit_test(tells_what_is_waited_for),
		cmocka_unit_test(as_many_wait_as_there_are_places),
		cmocka_unit_test(tells_for_whom_ends_are_not_enough),
		cmocka_unit_test(nobody_waits_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
