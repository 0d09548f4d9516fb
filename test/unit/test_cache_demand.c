/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "cache/demand.h"

/* The clients. */
enum { OURS, ANOTHER, A_THIRD, CLIENTS };

static void
only_others_count(void **state)
{
	struct demand *d = demand_create();

	(void)state;
	assert_false(demand_is_there(d, "k", OURS, 0));
	demand_note(d, "k", OURS, 0);
	assert_false(demand_is_there(d, "k", OURS, 0));
	assert_true(demand_is_there(d, "k", ANOTHER, 0));
	assert_false(demand_is_there(d, "l", ANOTHER, 0));
	demand_note(d, "k", ANOTHER, 1);
	assert_true(demand_is_there(d, "k", OURS, 1));
	assert_true(demand_is_there(d, "k", ANOTHER, 1));
	demand_destroy(d);
}

static void
counts_for_some_time(void **state)
{
	struct demand *d = demand_create();

	(void)state;
	demand_note(d, "k", ANOTHER, 5);
	demand_note(d, "k", OURS, 9);
	assert_true(demand_is_there(d, "k", OURS, 5 + DEMAND_MS - 1));
	assert_false(demand_is_there(d, "k", OURS, 5 + DEMAND_MS));
	assert_true(demand_is_there(d, "k", ANOTHER, 9 + DEMAND_MS - 1));
	assert_false(demand_is_there(d, "k", ANOTHER, 9 + DEMAND_MS));
	demand_destroy(d);
}

/*
 * The same with a list that is looked through: twice as many keys as are
 * remembered, in random order, so that buckets have none, one and several.
 */
#define KEYS (2 * DEMAND_KEYS)
#define STEPS 30000

static struct {
	int64_t asked[CLIENTS]; /* when, plus one; 0: never */
	unsigned long turn;     /* the last one that it was asked for in */
} model[KEYS];
static size_t remembered;

static void
forget_oldest(void)
{
	size_t oldest = KEYS;

	for (size_t i = 0; i < KEYS; i++)
		if (model[i].turn > 0 &&
		    (oldest == KEYS || model[i].turn < model[oldest].turn))
			oldest = i;
	model[oldest].turn = 0;
	for (size_t c = 0; c < CLIENTS; c++)
		model[oldest].asked[c] = 0;
}

static void
note_in_model(size_t key, size_t client, unsigned long turn, int64_t now)
{
	if (model[key].turn == 0 && remembered == DEMAND_KEYS)
		forget_oldest();
	else
		remembered += model[key].turn == 0;
	model[key].turn = turn;
	model[key].asked[client] = now + 1;
}

static bool
is_in_model(size_t key, size_t client, int64_t now)
{
	for (size_t c = 0; c < CLIENTS; c++)
		if (c != client && model[key].asked[c] > 0 &&
		    now < model[key].asked[c] - 1 + DEMAND_MS)
			return true;
	return false;
}

static void
remembers_the_keys_that_were_asked_for_last(void **state)
{
	struct demand *d = demand_create();
	int64_t now = 0;

	(void)state;
	srand(1);
	for (unsigned long turn = 1; turn <= STEPS; turn++) {
		size_t key = (size_t)rand() % KEYS, seen;
		size_t client = (size_t)rand() % CLIENTS;
		char text[20];

		now += rand() % 8;
		snprintf(text, sizeof text, "key %zu", key);
		demand_note(d, text, client, now);
		note_in_model(key, client, turn, now);
		seen = (size_t)rand() % KEYS;
		client = (size_t)rand() % CLIENTS;
		snprintf(text, sizeof text, "key %zu", seen);
		if (demand_is_there(d, text, client, now) !=
		    is_in_model(seen, client, now))
			fail_msg("turn %lu: %s", turn, text);
	}
	assert_int_equal(remembered, DEMAND_KEYS);
	demand_destroy(d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_others_count),
		cmocka_unit_test(counts_for_some_time),
		cmocka_unit_test(remembers_the_keys_that_were_asked_for_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
