/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cache/demand.h"
#include "cache/store.h"

/*
 * Many random calls: each must return what a model says, which is simple and
 * slow, and never forgets that a key was asked for.  Sessions that the model
 * does not have are leaks, and the sanitizer finds them.
 */

#define STEPS 40000
#define NKEY 8
#define NCLIENT 4
#define NLIMIT 3
#define MOST 12 /* connections in all */
#define SPARE 7 /* as a status */

/* Any two differ in one byte, or one is the start of the other. */
static const char *const keys[NKEY] = {
	"next example.org\nport 25\n",
	"next example.org\nport 26\n",
	"next example.org\nport 2",
	"next example.org\nport 25\n ",
	"oext example.org\nport 25\n",
	"next example.org port 25\n",
	"next Example.org\nport 25\n",
	"",
};

static const char *const limits[NLIMIT] = { ".a.example", ".b.example",
	"b.example" };

struct model {
	struct store *store;
	uint64_t seed;
	int64_t now;
	struct store_session *idle[MOST]; /* in the order of keeping */
	size_t nidle;
	int64_t asked[NKEY][NCLIENT]; /* when, for the last time */
	struct store_limits most;
	size_t seen[STORE_NO_ROOM + 1]; /* results of store_keep() */
	size_t taken, evicted, expired; /* sessions */
};

/* A number below n.  The seed is fixed, so a failure can be repeated. */
static size_t
below(struct model *m, size_t n)
{
	m->seed = m->seed * 6364136223846793005 + 1442695040888963407;
	return (size_t)(m->seed >> 33) % n;
}

static char *
copy(const char *text)
{
	size_t size = strlen(text) + 1;

	return memcpy(mem_alloc(1, size), text, size);
}

static bool
equal(const char *a, const char *b)
{
	return a != NULL && strcmp(a, b) == 0;
}

static size_t
key_number(const char *key)
{
	size_t i = 0;

	while (strcmp(keys[i], key) != 0)
		i++;
	return i;
}

static bool
is_wanted(const struct model *m, const char *key, size_t client)
{
	if (key == NULL)
		return false;
	for (size_t i = 0; i < NCLIENT; i++)
		if (i != client &&
		    m->now - m->asked[key_number(key)][i] < DEMAND_MS)
			return true;
	return false;
}

static bool
is_full(const struct model *m)
{
	return m->nidle > m->most.total || m->most.total == 0 ||
	       m->most.per_key == 0;
}

/* Whether there are as many with one of its keys as there are to be. */
static bool
is_spare(const struct model *m, const struct store_session *s)
{
	size_t n1 = 0, n2 = 0;

	for (size_t i = 0; i < m->nidle; i++) {
		n1 += s->key1 && equal(m->idle[i]->key1, s->key1);
		n2 += s->key2 && equal(m->idle[i]->key2, s->key2);
	}
	return (s->key1 && n1 >= m->most.per_key) ||
	       (s->key2 && n2 >= m->most.per_key);
}

/* The one that goes for this one; or NULL. */
static struct store_session *
victim(const struct model *m, const struct store_session *s)
{
	for (size_t i = 0; i < m->nidle; i++)
		if (m->idle[i]->status == SPARE)
			return m->idle[i];
	return is_spare(m, s) ? NULL : m->idle[0];
}

static enum store_end
expect(const struct model *m, const struct store_session *s, size_t client)
{
	if (m->most.idle_s == 0)
		return STORE_IDLE;
	if (s->used >= (s->mailmax > 0 ? s->mailmax : 100))
		return STORE_USED;
	if (m->now >= s->ends)
		return STORE_OLD;
	if (!is_wanted(m, s->key1, client) && !is_wanted(m, s->key2, client))
		return STORE_UNWANTED;
	if (is_full(m) || (m->nidle == m->most.total && victim(m, s) == NULL))
		return STORE_NO_ROOM;
	return STORE_KEPT;
}

static bool
is_over(const struct model *m, const struct store_session *s)
{
	return m->now >= s->ends ||
	       m->now >= s->idle_since + 1000 * (int64_t)s->fd;
}

static void
forget(struct model *m, const struct store_session *s)
{
	size_t i = 0;

	while (m->idle[i] != s) {
		i++;
		assert_true(i < m->nidle);
	}
	for (m->nidle--; i < m->nidle; i++)
		m->idle[i] = m->idle[i + 1];
}

/*
 * Each session has its idle time, in seconds, in place of a descriptor, and
 * whether it is a spare one in place of the other.
 */
static void
keep(struct model *m)
{
	const struct cache_session from = {
		.key1 = below(m, 8) ? keys[below(m, NKEY)] : NULL,
		.key2 = below(m, 8) ? keys[below(m, NKEY)] : NULL,
		.used = below(m, 120),
		.lives = below(m, 60),
	};
	struct store_session *s = store_session_make(&from, m->now), *evicted;
	size_t client = below(m, NCLIENT);
	bool spare = is_spare(m, s);
	enum store_end why;

	s->mailmax = below(m, 4) ? 0 : below(m, 200);
	if (below(m, 2))
		s->limit = copy(limits[below(m, NLIMIT)]);
	why = store_keep(m->store, s, client, &m->most, m->now, &evicted);
	assert_int_equal(why, expect(m, s, client));
	m->seen[why]++;
	if (why != STORE_KEPT) {
		assert_null(evicted);
		store_session_free(s);
		return;
	}
	if (m->nidle == m->most.total) {
		assert_ptr_equal(evicted, victim(m, s));
		m->evicted++;
		forget(m, evicted);
		store_session_free(evicted);
	} else
		assert_null(evicted);
	s->fd = (int)(spare && m->most.idle_s > 2 ? 2 : m->most.idle_s);
	s->status = spare ? SPARE : -1;
	m->idle[m->nidle++] = s;
	assert_true(m->nidle <= m->most.total);
}

static void
take(struct model *m)
{
	int number = (int)below(m, 2) + 1;
	const char *key = keys[below(m, NKEY)];
	struct store_session *s = store_take(m->store, number, key, m->now),
			     *right = NULL;

	for (size_t i = 0; i < m->nidle; i++) {
		struct store_session *of = m->idle[i];

		if (!is_over(m, of) &&
		    equal(number == 1 ? of->key1 : of->key2, key))
			right = of;
	}
	assert_ptr_equal(s, right);
	if (s == NULL)
		return;
	m->taken++;
	forget(m, s);
	store_session_free(s);
}

static void
ask(struct model *m)
{
	size_t key = below(m, NKEY), client = below(m, NCLIENT);

	store_demand(m->store, keys[key], client, m->now);
	m->asked[key][client] = m->now;
}

static void
expire(struct model *m)
{
	enum store_end why;
	struct store_session *s;

	while ((s = store_expire(m->store, m->now, &why)) != NULL) {
		assert_true(is_over(m, s));
		assert_int_equal(why,
		    m->now >= s->ends ? STORE_OLD : STORE_IDLE);
		m->expired++;
		forget(m, s);
		store_session_free(s);
	}
	for (size_t i = 0; i < m->nidle; i++)
		assert_false(is_over(m, m->idle[i]));
}

static void
drop(struct model *m)
{
	struct store_session *s;

	if (m->nidle == 0)
		return;
	s = m->idle[below(m, m->nidle)];
	store_remove(m->store, s);
	forget(m, s);
	store_session_free(s);
}

static void
change_limits(struct model *m)
{
	m->most.idle_s = below(m, 10) ? below(m, 40) : 0;
	m->most.total = below(m, 10) ? below(m, MOST) + 1 : 0;
	m->most.per_key = below(m, 10) ? below(m, 4) + 1 : 0;
}

static void
wait(struct model *m)
{
	m->now += (int64_t)below(m, below(m, 50) ? 500 : 40000);
}

/* The store has the sessions of the model, and no others. */
static void
compare(struct model *m)
{
	const char *limit = limits[below(m, NLIMIT)];
	struct store_session *of_limit = NULL;
	int64_t next = INT64_MAX;
	size_t n = 0;

	while (store_at(m->store, n) != NULL)
		n++;
	assert_int_equal(n, m->nidle);
	for (size_t i = 0; i < n; i++) {
		struct store_session *s = m->idle[i];
		int64_t end = s->idle_since + 1000 * (int64_t)s->fd;

		end = end < s->ends ? end : s->ends;
		next = end < next ? end : next;
		if (of_limit == NULL && equal(s->limit, limit))
			of_limit = s;
	}
	assert_int_equal(store_next(m->store), next);
	assert_ptr_equal(store_find_limit(m->store, limit), of_limit);
}

static void
random_calls_return_what_the_model_says(void **state)
{
	static void (*const calls[])(struct model *) = { ask, ask, ask, keep,
		keep, keep, keep, keep, take, take, expire, drop, wait, wait };
	static struct model m;

	(void)state;
	m = (struct model){ .store = store_create(), .seed = 1 };
	m.now = 2 * DEMAND_MS;
	for (size_t i = 0; i < STEPS; i++) {
		if (i % 100 == 0)
			change_limits(&m);
		calls[below(&m, sizeof calls / sizeof *calls)](&m);
		compare(&m);
	}
	/* All that can happen has happened, and more than a few times. */
	for (size_t i = 0; i <= STORE_NO_ROOM; i++)
		assert_true(m.seen[i] > 100);
	assert_true(m.taken > 100 && m.evicted > 100 && m.expired > 100);
	store_destroy(m.store);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_calls_return_what_the_model_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
