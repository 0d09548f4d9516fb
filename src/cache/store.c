/* SPDX-License-Identifier: ISC */
#include "cache/store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/random.h"

/*
 * That a key was asked for, by one client and, before that, by another.  Who
 * asked earlier than these two does not matter: of any two clients one is not
 * the client that wants to know.
 *
 * Only a hash of the key is kept.  So the memory for all of them is bounded by
 * their number alone, while keys may have 16 KB each.  If two keys have the
 * same hash, a connection is kept that nobody needs; it is not found by the
 * wrong key.  The hash begins with a random number, so that nobody who chooses
 * names of domains can choose keys with the same hash.
 */
struct demand {
	uint64_t hash;
	uint64_t client;     /* the last one that asked */
	int64_t until;       /* its demand counts */
	int64_t other_until; /* that of the last one that was another */
};

struct store {
	/* The one that has been idle for the longest time is the first. */
	struct store_session *session[STORE_MAX];
	size_t nsession;
	struct demand demand[STORE_DEMANDS];
	size_t ndemand;
	uint64_t seed;
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

	/* Without a source it is 0: the hashes can be foreseen then. */
	(void)random_bytes(&store->seed, sizeof store->seed);
	return store;
}

void
store_destroy(struct store *store)
{
	for (size_t i = 0; i < store->nsession; i++)
		store_session_free(store->session[i]);
	free(store);
}

/* FNV-1a with another start. */
static uint64_t
hash(const struct store *store, const char *key)
{
	uint64_t h = store->seed;

	for (; *key != '\0'; key++)
		h = (h ^ (unsigned char)*key) * 0x100000001b3;
	return h;
}

static struct demand *
find_demand(struct store *store, uint64_t key)
{
	for (size_t i = 0; i < store->ndemand; i++)
		if (store->demand[i].hash == key)
			return &store->demand[i];
	return NULL;
}

/* A new place, or that of the oldest one if there are too many. */
static struct demand *
add_demand(struct store *store)
{
	struct demand *oldest = store->demand;

	if (store->ndemand < STORE_DEMANDS)
		return &store->demand[store->ndemand++];
	for (size_t i = 1; i < STORE_DEMANDS; i++)
		if (store->demand[i].until < oldest->until)
			oldest = &store->demand[i];
	return oldest;
}

void
store_demand(struct store *store, const char *key, uint64_t client, int64_t now)
{
	uint64_t h = hash(store, key);
	struct demand *d = find_demand(store, h);

	if (d == NULL) {
		d = add_demand(store);
		d->hash = h;
		d->client = client;
		d->other_until = INT64_MIN;
	} else if (d->client != client) {
		d->client = client;
		d->other_until = d->until;
	}
	d->until = now + STORE_DEMAND_MS;
}

/* Whether another client has asked for the key, which may be NULL, lately. */
static bool
is_wanted(struct store *store, const char *key, uint64_t client, int64_t now)
{
	const struct demand *d;

	if (key == NULL)
		return false;
	d = find_demand(store, hash(store, key));
	if (d == NULL)
		return false;
	return now < (d->client == client ? d->other_until : d->until);
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
refuse(struct store *store, const struct store_session *session,
    uint64_t client, const struct store_limits *limits, int64_t now)
{
	enum store_end why = store_check(session, limits, now);

	if (why != STORE_KEPT)
		return why;
	if (!is_wanted(store, session->key1, client, now) &&
	    !is_wanted(store, session->key2, client, now))
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
idle_time(const struct store *store, const struct store_session *session,
    const struct store_limits *limits)
{
	bool is_spare = is_full(store, 1, session->key1, limits->per_key) ||
			is_full(store, 2, session->key2, limits->per_key);

	return is_spare && limits->idle_s > STORE_SPARE_S ? STORE_SPARE_S
							  : limits->idle_s;
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
	if (store->nsession == at_most(limits->total))
		*evicted = take_out(store, 0);
	session->idle_since = now;
	session->idle_ends = later(now, idle_time(store, session, limits));
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
