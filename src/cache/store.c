/* SPDX-License-Identifier: ISC */
#include "cache/store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cache/demand.h"

struct store {
	/* The one that has been idle for the longest time is the first. */
	struct store_session *session[STORE_MAX];
	size_t nsession;
	struct demand *demand;
};

/* May be NULL. */
static char *
copy(const char *text)
{
	return text != NULL ? mem_copy(text) : NULL;
}

/* So many seconds later; at most the life of a connection. */
static int64_t
later(int64_t now, unsigned long seconds)
{
	if (seconds > STORE_LIFE_S)
		seconds = STORE_LIFE_S;
	return now + (int64_t)seconds * 1000;
}

struct store_session *
store_session_make(const struct cache_session *from, int64_t now)
{
	struct store_session *session = mem_alloc(1, sizeof *session);

	session->key1 = copy(from->key1);
	session->key2 = copy(from->key2);
	session->address = copy(from->address);
	session->host = copy(from->host);
	session->extensions = copy(from->extensions);
	session->tls = copy(from->tls);
	session->used = from->used;
	session->ends = later(now, from->lives);
	session->fd = -1;
	session->status = -1;
	return session;
}

void
store_session_free(struct store_session *session)
{
	free(session->key1);
	free(session->key2);
	free(session->address);
	free(session->host);
	free(session->extensions);
	free(session->tls);
	free(session->limit);
	free(session);
}

struct store *
store_create(void)
{
	struct store *store = mem_alloc(1, sizeof *store);

	store->demand = demand_create();
	return store;
}

void
store_destroy(struct store *store)
{
	for (size_t i = 0; i < store->nsession; i++)
		store_session_free(store->session[i]);
	demand_destroy(store->demand);
	free(store);
}

void
store_demand(struct store *store, const char *key, uint64_t client, int64_t now)
{
	demand_note(store->demand, key, client, now);
}

bool
store_is_wanted(const struct store *store, const struct store_session *session,
    uint64_t client, int64_t now)
{
	const struct demand *d = store->demand;

	return (session->key1 != NULL &&
		   demand_is_there(d, session->key1, client, now)) ||
	       (session->key2 != NULL &&
		   demand_is_there(d, session->key2, client, now));
}

static bool
has_key(const struct store_session *session, int number, const char *key)
{
	const char *own = number == 1 ? session->key1 : session->key2;

	return own != NULL && strcmp(own, key) == 0;
}

/* Whether there are so many with this key, which may be NULL, already. */
static bool
is_full(const struct store *store, int number, const char *key,
    unsigned long per_key)
{
	unsigned long n = 0;

	if (key == NULL)
		return false;
	for (size_t i = 0; i < store->nsession; i++)
		if (has_key(store->session[i], number, key))
			n++;
	return n >= per_key;
}

static unsigned long
at_most(unsigned long total)
{
	return total < STORE_MAX ? total : STORE_MAX;
}

/*
 * If control/timeoutidle allows fewer connections than before, there may be
 * more than that: then there is no room until enough of them have ended.
 */
static bool
has_room(const struct store *store, const struct store_limits *limits)
{
	return limits->total > 0 && limits->per_key > 0 &&
	       store->nsession <= at_most(limits->total);
}

static bool
is_used_up(const struct store_session *session)
{
	uint64_t most = session->mailmax ? session->mailmax : STORE_USES;

	return session->used >= most;
}

enum store_end
store_check(const struct store_session *session,
    const struct store_limits *limits, int64_t now)
{
	if (limits->idle_s == 0)
		return STORE_IDLE;
	if (is_used_up(session))
		return STORE_USED;
	return session->ends <= now ? STORE_OLD : STORE_KEPT;
}

/* Why it is not to be kept. */
static enum store_end
refuse(const struct store *store, const struct store_session *session,
    uint64_t client, const struct store_limits *limits, int64_t now)
{
	enum store_end why = store_check(session, limits, now);

	if (why != STORE_KEPT)
		return why;
	if (!store_is_wanted(store, session, client, now))
		return STORE_UNWANTED;
	if (!has_room(store, limits))
		return STORE_NO_ROOM;
	return STORE_KEPT;
}

static struct store_session *
take_out(struct store *store, size_t i)
{
	struct store_session *session = store->session[i];

	store->nsession--;
	memmove(&store->session[i], &store->session[i + 1],
	    (store->nsession - i) * sizeof(struct store_session *));
	return session;
}

/* In seconds. */
static unsigned long
idle_time(const struct store_session *session,
    const struct store_limits *limits)
{
	return session->is_spare && limits->idle_s > STORE_SPARE_S
		   ? STORE_SPARE_S
		   : limits->idle_s;
}

/*
 * The one that this one takes the room of; NULL: there is none.  Many spare
 * ones of one key must not cost the others theirs.
 */
static struct store_session *
take_for(struct store *store, const struct store_session *session)
{
	for (size_t i = 0; i < store->nsession; i++)
		if (store->session[i]->is_spare)
			return take_out(store, i);
	return session->is_spare ? NULL : take_out(store, 0);
}

enum store_end
store_keep(struct store *store, struct store_session *session, uint64_t client,
    const struct store_limits *limits, int64_t now,
    struct store_session **evicted)
{
	enum store_end why = refuse(store, session, client, limits, now);

	*evicted = NULL;
	if (why != STORE_KEPT)
		return why;
	session->is_spare = is_full(store, 1, session->key1, limits->per_key) ||
			    is_full(store, 2, session->key2, limits->per_key);
	if (store->nsession == at_most(limits->total)) {
		*evicted = take_for(store, session);
		if (*evicted == NULL)
			return STORE_NO_ROOM;
	}
	session->idle_since = now;
	session->idle_ends = later(now, idle_time(session, limits));
	if (session->idle_ends > session->ends)
		session->idle_ends = session->ends;
	store->session[store->nsession++] = session;
	return STORE_KEPT;
}

struct store_session *
store_take(struct store *store, int number, const char *key, int64_t now)
{
	for (size_t i = store->nsession; i-- > 0;)
		if (now < store->session[i]->idle_ends &&
		    has_key(store->session[i], number, key))
			return take_out(store, i);
	return NULL;
}

void
store_remove(struct store *store, struct store_session *session)
{
	size_t i = 0;

	while (store->session[i] != session) {
		i++;
		assert(i < store->nsession);
	}
	(void)take_out(store, i);
}

struct store_session *
store_find_limit(const struct store *store, const char *limit)
{
	for (size_t i = 0; i < store->nsession; i++) {
		const char *own = store->session[i]->limit;

		if (own != NULL && strcmp(own, limit) == 0)
			return store->session[i];
	}
	return NULL;
}

struct store_session *
store_expire(struct store *store, int64_t now, enum store_end *why)
{
	for (size_t i = 0; i < store->nsession; i++) {
		const struct store_session *session = store->session[i];

		if (session->idle_ends > now)
			continue;
		*why = session->ends <= now ? STORE_OLD : STORE_IDLE;
		return take_out(store, i);
	}
	return NULL;
}

int64_t
store_next(const struct store *store)
{
	int64_t next = INT64_MAX;

	for (size_t i = 0; i < store->nsession; i++)
		if (store->session[i]->idle_ends < next)
			next = store->session[i]->idle_ends;
	return next;
}

struct store_session *
store_at(const struct store *store, size_t i)
{
	return i < store->nsession ? store->session[i] : NULL;
}
