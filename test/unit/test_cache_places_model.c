/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "cache/places.h"

/*
 * Many random calls: each must return what a model says, which is simple and
 * slow.
 */

#define STEPS 100000
#define NLIMIT 4
#define NCLIENT 20
#define NCANDIDATE 6

static const char *const names[NLIMIT] = { ".a.example", ".b.example",
	"b.example", ".example" };

struct waiter {
	uint64_t client;
	int64_t until;
	size_t limit[NLIMIT]; /* in the order of preference */
	size_t nlimit;
};

struct model {
	struct places *places;
	uint64_t seed;
	int64_t now;
	unsigned long n[NLIMIT]; /* as said last */
	unsigned long sessions[NLIMIT];
	unsigned long ending[NLIMIT];  /* of these */
	struct waiter waiter[NCLIENT]; /* in the order of arrival */
	size_t nwaiter;
	size_t taken, refused, queued, full, served, expired, left;
};

/* A number below n.  The seed is fixed, so a failure can be repeated. */
static size_t
below(struct model *m, size_t n)
{
	m->seed = m->seed * 6364136223846793005 + 1442695040888963407;
	return (size_t)(m->seed >> 33) % n;
}

static size_t
limit_number(const char *name)
{
	size_t i = 0;

	while (strcmp(names[i], name) != 0)
		i++;
	return i;
}

static bool
waits_for(const struct waiter *w, size_t limit)
{
	for (size_t i = 0; i < w->nlimit; i++)
		if (w->limit[i] == limit)
			return true;
	return false;
}

static unsigned long
count_waiting(const struct model *m, size_t limit)
{
	unsigned long n = 0;

	for (size_t i = 0; i < m->nwaiter; i++)
		n += waits_for(&m->waiter[i], limit);
	return n;
}

static void
forget(struct model *m, size_t i)
{
	for (m->nwaiter--; i < m->nwaiter; i++)
		m->waiter[i] = m->waiter[i + 1];
}

static void
forget_client(struct model *m, uint64_t client)
{
	for (size_t i = 0; i < m->nwaiter; i++)
		if (m->waiter[i].client == client)
			forget(m, i--);
}

/* Mostly the same number for a limit. */
static unsigned long
say_n(struct model *m, size_t limit)
{
	return below(m, 20) ? limit + 1 : below(m, 6);
}

static void
take(struct model *m)
{
	size_t limit = below(m, NLIMIT);
	unsigned long n = say_n(m, limit);
	bool is_free = count_waiting(m, limit) == 0 && m->sessions[limit] < n;

	m->n[limit] = n;
	assert_int_equal(places_take(m->places, names[limit], n), is_free);
	m->sessions[limit] += is_free;
	m->taken += is_free;
	m->refused += !is_free;
}

static void
release(struct model *m)
{
	size_t limit = below(m, NLIMIT);

	if (m->sessions[limit] == m->ending[limit])
		return;
	m->sessions[limit]--;
	places_release(m->places, names[limit]);
}

static void
end(struct model *m)
{
	size_t limit = below(m, NLIMIT);

	if (m->sessions[limit] == m->ending[limit])
		return;
	m->ending[limit]++;
	places_end(m->places, names[limit]);
}

static void
ended(struct model *m)
{
	size_t limit = below(m, NLIMIT);

	if (m->ending[limit] == 0)
		return;
	m->ending[limit]--;
	m->sessions[limit]--;
	places_ended(m->places, names[limit]);
}

static unsigned long
most_waiting(const struct model *m, size_t limit)
{
	unsigned long n = m->n[limit];
	unsigned long left = m->sessions[limit] - m->ending[limit];

	return left < n ? n + (n - left) : n;
}

static void
start_to_wait(struct model *m)
{
	struct cache_candidate c[NCANDIDATE];
	struct waiter w = { .client = below(m, NCLIENT) };
	size_t n = below(m, NCANDIDATE) + 1;

	w.until = m->now + (int64_t)below(m, 100);
	forget_client(m, w.client);
	for (size_t i = 0; i < n; i++) {
		size_t limit = below(m, NLIMIT);
		bool has_limit = below(m, 8) > 0;

		c[i] = (struct cache_candidate){
			.key = "",
			.limit = has_limit ? names[limit] : "",
			.n = has_limit ? say_n(m, limit) : 0,
		};
		if (!has_limit)
			continue;
		m->n[limit] = c[i].n;
		if (!waits_for(&w, limit) &&
		    count_waiting(m, limit) < most_waiting(m, limit))
			w.limit[w.nlimit++] = limit;
	}
	assert_int_equal(places_wait(m->places, w.client, c, n, w.until),
	    w.nlimit > 0);
	if (w.nlimit > 0)
		m->waiter[m->nwaiter++] = w;
	m->queued += w.nlimit > 0;
	m->full += w.nlimit == 0;
}

static void
leave(struct model *m)
{
	uint64_t client = below(m, NCLIENT);
	size_t before = m->nwaiter;

	places_leave(m->places, client);
	forget_client(m, client);
	m->left += m->nwaiter < before;
}

/* The first waiter with a limit that has a place, and that limit. */
static bool
find_next(const struct model *m, size_t *at, size_t *limit)
{
	for (*at = 0; *at < m->nwaiter; ++*at)
		for (size_t i = 0; i < m->waiter[*at].nlimit; i++) {
			*limit = m->waiter[*at].limit[i];
			if (m->sessions[*limit] < m->n[*limit])
				return true;
		}
	return false;
}

static void
serve(struct model *m)
{
	size_t at, limit;
	uint64_t client;
	const char *name;

	while (find_next(m, &at, &limit)) {
		assert_true(places_next(m->places, &client, &name));
		assert_int_equal(client, m->waiter[at].client);
		assert_int_equal(limit_number(name), limit);
		m->sessions[limit]++;
		m->served++;
		forget(m, at);
	}
	assert_false(places_next(m->places, &client, &name));
}

static void
expire(struct model *m)
{
	uint64_t client;

	m->now += (int64_t)below(m, 20);
	for (size_t i = 0; i < m->nwaiter;) {
		if (m->waiter[i].until > m->now) {
			i++;
			continue;
		}
		assert_true(places_expire(m->places, m->now, &client));
		assert_int_equal(client, m->waiter[i].client);
		m->expired++;
		forget(m, i);
	}
	assert_false(places_expire(m->places, m->now, &client));
}

/* Each limit of the model is there, and no other. */
static void
compare_limits(const struct model *m)
{
	unsigned long sessions, waiting;
	size_t n = 0;
	const char *name;

	for (; places_at(m->places, n, &name, &sessions, &waiting); n++) {
		size_t limit = limit_number(name);

		assert_int_equal(sessions, m->sessions[limit]);
		assert_int_equal(waiting, count_waiting(m, limit));
		assert_true(sessions + waiting > 0);
	}
	for (size_t limit = 0; limit < NLIMIT; limit++) {
		unsigned long w = count_waiting(m, limit);

		n -= m->sessions[limit] + w > 0;
		assert_int_equal(places_lack(m->places, names[limit]),
		    w > 0 && m->sessions[limit] - m->ending[limit] + w >
				 m->n[limit]);
		assert_int_equal(places_has_ending(m->places, names[limit]),
		    m->ending[limit] > 0);
	}
	assert_int_equal(n, 0);
}

static void
compare_waiters(const struct model *m)
{
	int64_t end = INT64_MAX;
	uint64_t client;

	for (size_t i = 0; i < m->nwaiter; i++) {
		assert_true(places_waiting(m->places, i, &client));
		assert_int_equal(client, m->waiter[i].client);
		for (size_t k = 0; k < m->waiter[i].nlimit; k++)
			assert_string_equal(places_wanted(m->places, i, k),
			    names[m->waiter[i].limit[k]]);
		assert_null(places_wanted(m->places, i, m->waiter[i].nlimit));
		if (m->waiter[i].until < end)
			end = m->waiter[i].until;
	}
	assert_false(places_waiting(m->places, m->nwaiter, &client));
	assert_int_equal(places_next_end(m->places), end);
}

/* When all sessions end, one after the other, everybody gets a place. */
static void
end_all(struct model *m)
{
	for (size_t limit = 0; limit < NLIMIT; limit++)
		if (m->n[limit] == 0 && count_waiting(m, limit) > 0) {
			m->n[limit] = 1;
			(void)places_take(m->places, names[limit], 1);
		}
	serve(m);
	for (size_t limit = 0; limit < NLIMIT; limit++)
		while (m->sessions[limit] > 0) {
			m->sessions[limit]--;
			if (m->ending[limit] > 0) {
				m->ending[limit]--;
				places_ended(m->places, names[limit]);
			} else {
				places_release(m->places, names[limit]);
			}
			serve(m);
		}
	assert_int_equal(m->nwaiter, 0);
	compare_limits(m);
	compare_waiters(m);
}

static void
random_calls_return_what_the_model_says(void **state)
{
	static void (*const calls[])(struct model *) = { take, take, release,
		release, release, end, end, ended, start_to_wait, start_to_wait,
		leave, serve, serve, expire };
	static struct model m;

	(void)state;
	m = (struct model){ .places = places_create(), .seed = 1 };
	for (size_t i = 1; i <= STEPS; i++) {
		calls[below(&m, sizeof calls / sizeof *calls)](&m);
		compare_limits(&m);
		compare_waiters(&m);
		if (i % 1000 == 0)
			end_all(&m);
	}
	/* All that can happen has happened, and more than a few times. */
	assert_true(m.taken > 1000 && m.refused > 1000 && m.queued > 1000);
	assert_true(m.full > 100 && m.served > 1000 && m.expired > 1000);
	assert_true(m.left > 100);
	places_destroy(m.places);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_calls_return_what_the_model_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
