/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cache/demand.h"
#include "cache/store.h"

/* The clients. */
enum { OURS, ANOTHER, A_THIRD };

static const struct store_limits limits = {
	.idle_s = 10,
	.total = 20,
	.per_key = 2,
};

static struct store_session *
make(const char *key1, const char *key2, int64_t now)
{
	const struct cache_session from = {
		.key1 = key1,
		.key2 = key2,
		.address = "192.0.2.1",
		.used = 1,
		.lives = ULONG_MAX,
	};

	return store_session_make(&from, now);
}

/* Keeps a session that is wanted, and must be kept. */
static struct store_session *
keep(struct store *store, const char *key1, const char *key2, int64_t now)
{
	struct store_session *session = make(key1, key2, now), *evicted;

	store_demand(store, key1 ? key1 : key2, ANOTHER, now);
	assert_int_equal(store_keep(store, session, OURS, &limits, now,
			     &evicted),
	    STORE_KEPT);
	assert_null(evicted);
	return session;
}

/* What becomes of a session that is not kept, or is the only one. */
static enum store_end
offer(struct store *store, struct store_session *session,
    const struct store_limits *most, int64_t now)
{
	struct store_session *evicted = session;
	enum store_end why;

	why = store_keep(store, session, OURS, most, now, &evicted);
	assert_null(evicted);
	if (why == STORE_KEPT)
		store_remove(store, session);
	store_session_free(session);
	return why;
}

static void
copies_a_description(void **state)
{
	char key1[] = "k1", key2[] = "k2", address[] = "::1", host[] = "mx",
	     extensions[] = "SIZE", tls[] = "TLS: v";
	char *text[] = { key1, key2, address, host, extensions, tls };
	struct store_session *session;
	const struct cache_session from = {
		.key1 = key1,
		.key2 = key2,
		.address = address,
		.host = host,
		.extensions = extensions,
		.tls = tls,
		.used = 7,
		.lives = 5,
	};

	(void)state;
	session = store_session_make(&from, 1000);
	for (size_t i = 0; i < sizeof text / sizeof *text; i++)
		text[i][0] = '!';
	assert_string_equal(session->key1, "k1");
	assert_string_equal(session->key2, "k2");
	assert_string_equal(session->address, "::1");
	assert_string_equal(session->host, "mx");
	assert_string_equal(session->extensions, "SIZE");
	assert_string_equal(session->tls, "TLS: v");
	assert_null(session->limit);
	assert_int_equal(session->used, 7);
	assert_int_equal(session->mailmax, 0);
	assert_int_equal(session->ends, 6000);
	assert_int_equal(session->fd, -1);
	assert_int_equal(session->status, -1);
	store_session_free(session);
}

static void
a_connection_lives_for_300_seconds_at_most(void **state)
{
	static const struct {
		unsigned long lives;
		int64_t ends;
	} cases[] = {
		{ 0, 50 },
		{ 299, 299050 },
		{ 300, 300050 },
		{ 301, 300050 },
		{ ULONG_MAX, 300050 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct cache_session from = { .lives = cases[i].lives };
		struct store_session *session = store_session_make(&from, 50);

		assert_int_equal(session->ends, cases[i].ends);
		assert_null(session->key1);
		store_session_free(session);
	}
}

static void
finds_a_session_by_each_of_its_keys(void **state)
{
	struct store *store = store_create();
	struct store_session *session = keep(store, "k1", "k2", 0);

	(void)state;
	assert_null(store_take(store, 1, "k2", 0));
	assert_null(store_take(store, 2, "k1", 0));
	assert_ptr_equal(store_take(store, 1, "k1", 0), session);
	assert_null(store_take(store, 1, "k1", 0));
	assert_null(store_take(store, 2, "k2", 0));
	store_session_free(session);
	session = keep(store, NULL, "k2", 0);
	assert_null(store_take(store, 1, "k2", 0));
	assert_ptr_equal(store_take(store, 2, "k2", 0), session);
	store_session_free(session);
	session = keep(store, "k1", NULL, 0);
	assert_null(store_take(store, 2, "k1", 0));
	assert_ptr_equal(store_at(store, 0), session);
	store_destroy(store);
}

/* No byte of a key is passed over, nor what is behind it. */
static void
a_key_that_differs_in_one_byte_is_another_one(void **state)
{
	char key[512], other[sizeof key + 1];
	struct store *store = store_create();

	(void)state;
	memset(key, 'k', sizeof key - 1);
	key[sizeof key - 1] = '\0';
	(void)keep(store, key, key, 0);
	for (size_t i = 0; i < sizeof key; i++) {
		memcpy(other, key, sizeof key);
		other[sizeof key] = '\0';
		other[i]++;
		assert_null(store_take(store, 1, other, 0));
		assert_null(store_take(store, 2, other, 0));
		other[i] = '\0';
		assert_true(i == sizeof key - 1 ||
			    store_take(store, 1, other, 0) == NULL);
	}
	store_destroy(store);
}

static void
takes_the_one_that_was_used_last(void **state)
{
	struct store *store = store_create();
	struct store_session *first = keep(store, "k1", "a", 0);
	struct store_session *second = keep(store, "k1", "b", 10);
	struct store_session *other = keep(store, "o1", "c", 20);

	(void)state;
	assert_int_equal(second->idle_since, 10);
	assert_ptr_equal(store_take(store, 1, "k1", 30), second);
	assert_ptr_equal(store_take(store, 1, "k1", 30), first);
	assert_null(store_take(store, 1, "k1", 30));
	assert_ptr_equal(store_at(store, 0), other);
	assert_null(store_at(store, 1));
	store_session_free(first);
	store_session_free(second);
	store_destroy(store);
}

static void
keeps_only_what_another_client_has_asked_for(void **state)
{
	struct store *store = store_create();

	(void)state;
	assert_int_equal(offer(store, make("k1", "k2", 0), &limits, 0),
	    STORE_UNWANTED);
	assert_int_equal(offer(store, make(NULL, NULL, 0), &limits, 0),
	    STORE_UNWANTED);
	store_demand(store, "k1", OURS, 0);
	store_demand(store, "k2", OURS, 0);
	store_demand(store, "x", ANOTHER, 0);
	assert_int_equal(offer(store, make("k1", "k2", 0), &limits, 0),
	    STORE_UNWANTED);
	store_demand(store, "k2", ANOTHER, 0);
	assert_int_equal(offer(store, make("k1", NULL, 0), &limits, 0),
	    STORE_UNWANTED);
	assert_int_equal(offer(store, make("k1", "k2", 0), &limits, 0),
	    STORE_KEPT);
	assert_int_equal(offer(store, make(NULL, "k2", 0), &limits, 0),
	    STORE_KEPT);
	store_demand(store, "k1", ANOTHER, 0);
	assert_int_equal(offer(store, make("k1", NULL, 0), &limits, 0),
	    STORE_KEPT);
	store_destroy(store);
}

/* At t, who asks; at the end, until when a session of OURS is wanted. */
static void
each_client_has_its_own_demand(void **state)
{
	static const struct {
		struct {
			uint64_t client;
			int64_t t;
		} ask[4];
		size_t n;
		int64_t until;
	} cases[] = {
		{ { { ANOTHER, 5 } }, 1, 5 },
		{ { { ANOTHER, 5 }, { OURS, 7 } }, 2, 5 },
		{ { { OURS, 5 }, { ANOTHER, 7 } }, 2, 7 },
		{ { { ANOTHER, 5 }, { OURS, 7 }, { OURS, 8 } }, 3, 5 },
		{ { { ANOTHER, 5 }, { ANOTHER, 7 }, { OURS, 8 } }, 3, 7 },
		{ { { ANOTHER, 5 }, { A_THIRD, 6 }, { OURS, 8 } }, 3, 6 },
		{ { { ANOTHER, 5 }, { OURS, 6 }, { A_THIRD, 8 } }, 3, 8 },
		{ { { ANOTHER, 5 }, { OURS, 6 }, { A_THIRD, 8 }, { OURS, 9 } },
		    4, 8 },
		{ { { OURS, 5 }, { OURS, 6 }, { ANOTHER, 8 }, { OURS, 9 } }, 4,
		    8 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct store *store = store_create();
		int64_t until = cases[i].until + DEMAND_MS;

		for (size_t k = 0; k < cases[i].n; k++)
			store_demand(store, "k1", cases[i].ask[k].client,
			    cases[i].ask[k].t);
		assert_int_equal(offer(store, make("k1", NULL, until), &limits,
				     until - 1),
		    STORE_KEPT);
		assert_int_equal(offer(store, make("k1", NULL, until), &limits,
				     until),
		    STORE_UNWANTED);
		store_destroy(store);
	}
}

static void
demand(struct store *store, size_t i, int64_t now)
{
	char key[32];

	(void)snprintf(key, sizeof key, "key %zu", i);
	store_demand(store, key, ANOTHER, now);
}

static enum store_end
offer_numbered(struct store *store, size_t i, int64_t now)
{
	char key[32];

	(void)snprintf(key, sizeof key, "key %zu", i);
	return offer(store, make(key, NULL, now), &limits, now);
}

/* The oldest demand may have any place: the first, the last, one between. */
static void
forgets_the_oldest_demand_of_too_many(void **state)
{
	static const size_t oldest[] = { 0, 1, DEMAND_KEYS / 2,
		DEMAND_KEYS - 1 };

	(void)state;
	for (size_t k = 0; k < sizeof oldest / sizeof *oldest; k++) {
		struct store *store = store_create();

		for (size_t i = 0; i < DEMAND_KEYS; i++)
			demand(store, i, 1);
		for (size_t i = 0; i < DEMAND_KEYS; i++)
			if (i != oldest[k])
				demand(store, i, 2);
		for (size_t i = 0; i < DEMAND_KEYS; i++)
			assert_int_equal(offer_numbered(store, i, 3),
			    STORE_KEPT);
		demand(store, DEMAND_KEYS, 3);
		for (size_t i = 0; i <= DEMAND_KEYS; i++)
			assert_int_equal(offer_numbered(store, i, 3),
			    i == oldest[k] ? STORE_UNWANTED : STORE_KEPT);
		store_destroy(store);
	}
}

/* A demand that takes the place of another one has nothing of it. */
static void
a_new_demand_is_of_one_client(void **state)
{
	struct store *store = store_create();

	(void)state;
	store_demand(store, "old", A_THIRD, 0);
	store_demand(store, "old", ANOTHER, 1);
	for (size_t i = 1; i < DEMAND_KEYS; i++)
		demand(store, i, 2);
	store_demand(store, "new", OURS, 3);
	assert_int_equal(offer(store, make("old", NULL, 3), &limits, 3),
	    STORE_UNWANTED);
	assert_int_equal(offer(store, make("new", NULL, 3), &limits, 3),
	    STORE_UNWANTED);
	store_destroy(store);
}

static void
says_why_a_session_is_not_kept(void **state)
{
	static const struct {
		struct store_limits limits;
		unsigned long used;
		uint64_t mailmax;
		int64_t ends;
		enum store_end why;
	} cases[] = {
		{ { 10, 20, 2 }, 1, 0, 1, STORE_KEPT },
		{ { 0, 20, 2 }, 1, 0, 1, STORE_IDLE },
		{ { 10, 0, 2 }, 1, 0, 1, STORE_NO_ROOM },
		{ { 10, 20, 0 }, 1, 0, 1, STORE_NO_ROOM },
		{ { 10, 20, 2 }, 1, 0, 0, STORE_OLD },
		{ { 10, 20, 2 }, 99, 0, 1, STORE_KEPT },
		{ { 10, 20, 2 }, 100, 0, 1, STORE_USED },
		{ { 10, 20, 2 }, 101, 0, 1, STORE_USED },
		{ { 10, 20, 2 }, 1, 1, 1, STORE_USED },
		{ { 10, 20, 2 }, 2, 3, 1, STORE_KEPT },
		{ { 10, 20, 2 }, 3, 3, 1, STORE_USED },
		{ { 10, 20, 2 }, 4, 3, 1, STORE_USED },
		{ { 10, 20, 2 }, 100, 101, 1, STORE_KEPT },
		{ { 10, 20, 2 }, 101, 101, 1, STORE_USED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct store *store = store_create();
		struct store_session *session = make("k1", "k2", 0);

		store_demand(store, "k1", ANOTHER, 0);
		session->used = cases[i].used;
		session->mailmax = cases[i].mailmax;
		session->ends = cases[i].ends;
		assert_int_equal(offer(store, session, &cases[i].limits, 0),
		    cases[i].why);
		assert_null(store_at(store, 0));
		store_destroy(store);
	}
}

/* Until when a session is kept. */
static int64_t
end_of(struct store *store, const char *key1, const char *key2, int64_t now)
{
	struct store_session *session = keep(store, key1, key2, now);
	int64_t end = session->idle_ends;

	store_remove(store, session);
	store_session_free(session);
	return end;
}

/* For its other key a session may be the first. */
static void
those_beyond_the_limit_of_a_key_end_soon(void **state)
{
	static const struct store_limits short_time = { 1, 20, 2 };
	struct store *store = store_create();
	struct store_session *session = make("k1", NULL, 5), *evicted;

	(void)state;
	assert_int_equal(keep(store, "a1", "k2", 0)->idle_ends, 10000);
	assert_int_equal(keep(store, "k1", "k2", 0)->idle_ends, 10000);
	assert_int_equal(keep(store, "k1", "b2", 0)->idle_ends, 10000);
	assert_int_equal(end_of(store, "c1", "k2", 5), 2005);
	assert_int_equal(end_of(store, "k1", "c2", 5), 2005);
	assert_int_equal(end_of(store, NULL, "k2", 5), 2005);
	assert_int_equal(end_of(store, "k1", NULL, 5), 2005);
	/* A key 1 of the same text as a key 2 is another key. */
	assert_int_equal(end_of(store, "k2", "k1", 5), 10005);
	/* Not longer than the others. */
	assert_int_equal(store_keep(store, session, OURS, &short_time, 5,
			     &evicted),
	    STORE_KEPT);
	assert_int_equal(session->idle_ends, 1005);
	store_destroy(store);
}

/* Keeps it where there may be too many.  Returns the one that has to go. */
static struct store_session *
keep_full(struct store *store, struct store_session *session,
    const struct store_limits *most)
{
	struct store_session *evicted;

	store_demand(store, session->key1, ANOTHER, 2);
	assert_int_equal(store_keep(store, session, OURS, most, 2, &evicted),
	    STORE_KEPT);
	return evicted;
}

static void
of_too_many_the_longest_idle_one_has_to_go(void **state)
{
	static const struct store_limits two = { 10, 2, 2 };
	struct store *store = store_create();
	struct store_session *first, *second, *third;

	(void)state;
	first = keep(store, "a", NULL, 0);
	second = keep(store, "b", NULL, 1);
	third = make("c", NULL, 2);
	assert_ptr_equal(keep_full(store, third, &two), first);
	store_session_free(first);
	assert_ptr_equal(store_at(store, 0), second);
	assert_ptr_equal(store_at(store, 1), third);
	assert_null(store_at(store, 2));
	store_destroy(store);
}

/* Many with one key cost others nothing. */
static void
spare_ones_go_first(void **state)
{
	static const struct store_limits three = { 10, 3, 1 };
	struct store *store = store_create();
	struct store_session *other, *spare, *second;

	(void)state;
	other = keep(store, "a", NULL, 0);
	(void)keep(store, "b", NULL, 1);
	spare = make("b", NULL, 2);
	assert_null(keep_full(store, spare, &three));
	/* A spare one takes the room of a spare one. */
	second = make("b", NULL, 2);
	assert_ptr_equal(keep_full(store, second, &three), spare);
	store_session_free(spare);
	/* So does one with a key of its own. */
	spare = make("c", NULL, 2);
	assert_ptr_equal(keep_full(store, spare, &three), second);
	store_session_free(second);
	assert_ptr_equal(store_at(store, 0), other);
	assert_ptr_equal(store_at(store, 2), spare);
	/* But no other. */
	assert_int_equal(offer(store, make("b", NULL, 2), &three, 2),
	    STORE_NO_ROOM);
	assert_ptr_equal(store_at(store, 0), other);
	store_destroy(store);
}

/* No session is evicted for one that cannot be kept. */
static void
fewer_than_before_may_be_allowed(void **state)
{
	static const struct store_limits two = { 10, 2, 2 }, one = { 10, 1, 2 };
	struct store *store = store_create();

	(void)state;
	(void)keep(store, "a", NULL, 0);
	(void)keep(store, "b", NULL, 0);
	(void)keep(store, "c", NULL, 0);
	store_demand(store, "d", ANOTHER, 0);
	assert_int_equal(offer(store, make("d", NULL, 0), &two, 0),
	    STORE_NO_ROOM);
	assert_int_equal(offer(store, make("d", NULL, 0), &one, 0),
	    STORE_NO_ROOM);
	store_destroy(store);
}

/* Not more than STORE_MAX, whatever the file says. */
static void
there_is_a_limit_to_all_connections(void **state)
{
	static const struct store_limits many = { 10, ULONG_MAX, ULONG_MAX };
	struct store *store = store_create();
	struct store_session *evicted;

	(void)state;
	store_demand(store, "k1", ANOTHER, 0);
	for (size_t i = 0; i <= STORE_MAX; i++) {
		assert_int_equal(store_keep(store, make("k1", NULL, 0), OURS,
				     &many, 0, &evicted),
		    STORE_KEPT);
		assert_int_equal(evicted != NULL, i == STORE_MAX);
	}
	store_session_free(evicted);
	assert_non_null(store_at(store, STORE_MAX - 1));
	assert_null(store_at(store, STORE_MAX));
	for (size_t n = STORE_MAX; n-- > 0;) {
		struct store_session *last = store_at(store, n);

		store_remove(store, last);
		store_session_free(last);
		assert_null(store_at(store, n));
		assert_int_equal(store_at(store, n - 1) != NULL, n > 0);
	}
	store_destroy(store);
}

static void
an_idle_session_has_its_time(void **state)
{
	static const struct {
		unsigned long idle_s;
		int64_t ends; /* of the connection */
		int64_t idle_ends;
		enum store_end why;
	} cases[] = {
		{ 10, 60000, 10005, STORE_IDLE },
		{ 10, 10006, 10005, STORE_IDLE },
		{ 10, 10005, 10005, STORE_OLD },
		{ 10, 9000, 9000, STORE_OLD },
		{ ULONG_MAX, 60000, 60000, STORE_OLD },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct store_limits most = { cases[i].idle_s, 20, 2 };
		const int64_t end = cases[i].idle_ends;
		struct store *store = store_create();
		struct store_session *session = make("k1", "k2", 0), *evicted;
		enum store_end why = STORE_KEPT;

		store_demand(store, "k2", ANOTHER, 5);
		session->ends = cases[i].ends;
		assert_int_equal(store_next(store), INT64_MAX);
		assert_int_equal(store_keep(store, session, OURS, &most, 5,
				     &evicted),
		    STORE_KEPT);
		assert_int_equal(store_next(store), end);
		assert_null(store_expire(store, end - 1, &why));
		assert_null(store_take(store, 1, "k1", end));
		assert_ptr_equal(store_expire(store, end, &why), session);
		assert_int_equal(why, cases[i].why);
		assert_null(store_expire(store, end, &why));
		assert_null(store_at(store, 0));
		store_session_free(session);
		store_destroy(store);
	}
}

/* It is the second one that can still be used. */
static void
passes_over_a_session_whose_time_is_over(void **state)
{
	struct store *store = store_create();
	struct store_session *first = keep(store, "k1", "k2", 0);
	struct store_session *second = keep(store, "k1", "k2", 1);
	enum store_end why;

	(void)state;
	second->idle_ends = 100;
	assert_int_equal(store_next(store), 100);
	assert_ptr_equal(store_take(store, 2, "k2", 100), first);
	assert_ptr_equal(store_expire(store, 100, &why), second);
	store_session_free(first);
	store_session_free(second);
	store_destroy(store);
}

/* Expires in any order, and only what is over. */
static void
expires_one_after_the_other(void **state)
{
	struct store *store = store_create();
	struct store_session *first = keep(store, "a", NULL, 0);
	struct store_session *second = keep(store, "b", NULL, 0);
	struct store_session *third = keep(store, "c", NULL, 0);
	enum store_end why;

	(void)state;
	second->idle_ends = 3;
	third->idle_ends = 2;
	assert_int_equal(store_next(store), 2);
	assert_ptr_equal(store_expire(store, 3, &why), second);
	assert_ptr_equal(store_expire(store, 3, &why), third);
	assert_null(store_expire(store, 3, &why));
	assert_ptr_equal(store_at(store, 0), first);
	store_session_free(second);
	store_session_free(third);
	store_destroy(store);
}

static void
removes_the_one_that_is_named(void **state)
{
	struct store *store = store_create();
	struct store_session *first = keep(store, "k1", "k2", 0);
	struct store_session *second = keep(store, "k1", "k2", 0);

	(void)state;
	store_remove(store, second);
	assert_ptr_equal(store_at(store, 0), first);
	assert_null(store_at(store, 1));
	store_remove(store, first);
	assert_null(store_at(store, 0));
	store_session_free(first);
	store_session_free(second);
	store_destroy(store);
}

static void
set_limit(struct store_session *session, const char *limit)
{
	size_t size = strlen(limit) + 1;

	session->limit = memcpy(mem_alloc(1, size), limit, size);
}

static void
finds_the_longest_idle_one_of_a_limit(void **state)
{
	struct store *store = store_create();
	struct store_session *second;

	(void)state;
	(void)keep(store, "a", NULL, 0);
	set_limit(keep(store, "b", NULL, 0), ".other.example");
	assert_null(store_find_limit(store, ".example"));
	second = keep(store, "c", NULL, 0);
	set_limit(second, ".example");
	set_limit(keep(store, "d", NULL, 0), ".example");
	assert_ptr_equal(store_find_limit(store, ".example"), second);
	store_destroy(store);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_a_description),
		cmocka_unit_test(a_connection_lives_for_300_seconds_at_most),
		cmocka_unit_test(finds_a_session_by_each_of_its_keys),
		cmocka_unit_test(a_key_that_differs_in_one_byte_is_another_one),
		cmocka_unit_test(takes_the_one_that_was_used_last),
		cmocka_unit_test(keeps_only_what_another_client_has_asked_for),
		cmocka_unit_test(each_client_has_its_own_demand),
		cmocka_unit_test(forgets_the_oldest_demand_of_too_many),
		cmocka_unit_test(a_new_demand_is_of_one_client),
		cmocka_unit_test(says_why_a_session_is_not_kept),
		cmocka_unit_test(those_beyond_the_limit_of_a_key_end_soon),
		cmocka_unit_test(of_too_many_the_longest_idle_one_has_to_go),
		cmocka_unit_test(spare_ones_go_first),
		cmocka_unit_test(fewer_than_before_may_be_allowed),
		cmocka_unit_test(there_is_a_limit_to_all_connections),
		cmocka_unit_test(an_idle_session_has_its_time),
		cmocka_unit_test(passes_over_a_session_whose_time_is_over),
		cmocka_unit_test(expires_one_after_the_other),
		cmocka_unit_test(removes_the_one_that_is_named),
		cmocka_unit_test(finds_the_longest_idle_one_of_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
