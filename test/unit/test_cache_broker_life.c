/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <malloc.h>
#include <stdio.h>

#include "brokerstage.h"
#include "home.h"

/*
 * A day in the life of a machine that sends mail: one broker after the other,
 * each for its hour.  What they hold does not grow.
 */

#define HOUR INT64_C(3600000)
#define DESTINATIONS 50

/* The allocator rounds, and keeps some memory for later. */
#define SLACK 16384

static uint64_t seed;
static unsigned long nhit, nnew, nended;
static struct server server[2 * DESTINATIONS];
static size_t nserver;

/* A number below n.  The seed is fixed, so a failure can be repeated. */
static size_t
below(size_t n)
{
	seed = seed * 6364136223846793005 + 1442695040888963407;
	return (size_t)(seed >> 33) % n;
}

/* What is in use; 0 where it cannot be known, as with sanitizers. */
static size_t
memory_in_use(void)
{
#ifdef __GLIBC__
	return mallinfo2().uordblks;
#else
	return 0;
#endif
}

/* Servers whose connection is over close theirs. */
static void
close_ended(void)
{
	size_t kept = 0;

	for (size_t i = 0; i < nserver; i++) {
		bool has_ended;

		(void)server_heard(&server[i], &has_ended);
		if (has_ended)
			server_close(&server[i]);
		else
			server[kept++] = server[i];
		nended += has_ended;
	}
	nserver = kept;
}

/* A new connection, and the delivery gives it back. */
static void
use_new(struct guest *g, const char *key1, const char *key2)
{
	int end[2];

	assert_true(nserver < 2 * DESTINATIONS);
	server_connect(&server[nserver++], end);
	guest_ready(g, key1, key2);
	stage_run();
	guest_keep(g, 1, end, 2);
	pass_close(end, 2);
	nnew++;
}

static void
use_again(struct guest *g)
{
	unsigned long used = g->heard.session.used + 1;

	guest_keep(g, used, g->got, g->ngot);
	guest_forget(g);
	nhit++;
}

/* Some destinations have more mail than others, and limits. */
static void
deliver(void)
{
	static struct guest g;
	size_t d = below(DESTINATIONS), limit = d % 5;
	char key1[30], key2[30], name[30];

	d = below(d + 1);
	snprintf(key1, sizeof key1, "to%zu", d);
	snprintf(key2, sizeof key2, "at%zu", d);
	snprintf(name, sizeof name, ".limit%zu", limit);
	guest_connect(&g);
	guest_ask(&g, key1);
	if (guest_answer(&g) == CACHE_MISS) {
		guest_choose_one(&g, key2, limit > 0 ? name : "", limit);
		if (guest_answer(&g) == CACHE_QUEUED) {
			close_ended();
			assert_int_equal(guest_answer(&g), CACHE_PLACE);
		}
		assert_in_range(g.heard.kind, CACHE_HIT, CACHE_PLACE);
	}
	/* One in three is not delivered. */
	if (below(3) > 0) {
		if (g.heard.kind == CACHE_HIT)
			use_again(&g);
		else
			use_new(&g, key1, key2);
	}
	stage_run();
	guest_close(&g);
	stage_run();
}

/* Sometimes a server ends a connection. */
static void
end_one(void)
{
	if (nserver == 0 || below(4) > 0)
		return;
	(void)shutdown(server[below(nserver)].fd, SHUT_WR);
}

static void
live_for_an_hour(void)
{
	int64_t start = stage.now;
	unsigned long n = 0;

	stage_start_broker();
	while (!broker_is_over(stage.broker, stage.now)) {
		int64_t left = start + HOUR - stage.now;
		int64_t wait = (int64_t)below(4000) + 1;

		deliver();
		end_one();
		close_ended();
		stage_pass(wait < left ? wait : left);
		n++;
	}
	assert_in_range(stage.now - start, BROKER_OLD_MS, HOUR);
	assert_true(n > 1000);
	broker_destroy(stage.broker);
	stage.broker = NULL;
	close_ended();
	assert_int_equal(nserver, 0);
}

static void
a_day_leaves_nothing(void **state)
{
	size_t used = 0;
	int descriptors = 0;

	(void)state;
	stage.limits = (struct store_limits){ 30, 20, 2 };
	broker_destroy(stage.broker);
	for (int hour = 0; hour < 24; hour++) {
		live_for_an_hour();
		/* The first one has allocated what the test itself needs. */
		if (hour == 0) {
			used = memory_in_use();
			descriptors = stage_count_descriptors();
		}
		assert_true(memory_in_use() <= used + SLACK);
		assert_int_equal(stage_count_descriptors(), descriptors);
	}
	assert_true(nhit > 1000 && nnew > 1000 && nended == nnew);
}

/* As many clients and connections as before need as much memory as before. */
static void
an_hour_does_not_grow(void **state)
{
	size_t used = 0;

	(void)state;
	stage.limits.idle_s = 20;
	for (int i = 0; i < 50; i++) {
		for (int k = 0; k < 20; k++)
			deliver();
		stage_pass(29000);
		close_ended();
		assert_int_equal(nserver, 0);
		assert_int_equal(stage.broker->lender.nclient, 0);
		if (i == 0)
			used = memory_in_use();
		assert_true(memory_in_use() <= used + SLACK);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_day_leaves_nothing,
		    stage_enter, stage_leave),
		cmocka_unit_test_setup_teardown(an_hour_does_not_grow,
		    stage_enter, stage_leave),
	};

	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
