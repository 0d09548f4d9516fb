/* SPDX-License-Identifier: ISC */
#include "cache/places.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* There is one while it has sessions, or somebody waits for it. */
struct limit {
	char *name;
	unsigned long n; /* as said last, by who has read the file last */
	unsigned long sessions;
	unsigned long ending; /* of these */
	unsigned long waiting;
};

struct waiter {
	uint64_t client;
	int64_t until;
	struct limit **limit; /* that it waits for */
	size_t nlimit;
};

struct places {
	struct limit **limit;
	size_t nlimit;
	struct waiter *waiter; /* in order of arrival */
	size_t nwaiter;
};

struct places *
places_create(void)
{
	return mem_alloc(1, sizeof(struct places));
}

void
places_destroy(struct places *places)
{
	for (size_t i = 0; i < places->nwaiter; i++)
		free(places->waiter[i].limit);
	free(places->waiter);
	for (size_t i = 0; i < places->nlimit; i++) {
		free(places->limit[i]->name);
		free(places->limit[i]);
	}
	free(places->limit);
	free(places);
}

static struct limit *
find_limit(const struct places *places, const char *name)
{
	for (size_t i = 0; i < places->nlimit; i++)
		if (strcmp(places->limit[i]->name, name) == 0)
			return places->limit[i];
	return NULL;
}

static struct limit *
add_limit(struct places *places, const char *name)
{
	struct limit *limit = mem_alloc(1, sizeof *limit);

	limit->name = mem_copy(name);
	places->limit = mem_resize(places->limit, places->nlimit + 1,
	    sizeof(struct limit *));
	places->limit[places->nlimit++] = limit;
	return limit;
}

static struct limit *
get_limit(struct places *places, const char *name, unsigned long n)
{
	struct limit *limit = find_limit(places, name);

	if (limit == NULL)
		limit = add_limit(places, name);
	limit->n = n;
	return limit;
}

static void
drop_if_unused(struct places *places, struct limit *limit)
{
	size_t i = 0;

	if (limit->sessions > 0 || limit->waiting > 0)
		return;
	while (places->limit[i] != limit) {
		i++;
		assert(i < places->nlimit);
	}
	places->limit[i] = places->limit[--places->nlimit];
	free(limit->name);
	free(limit);
}

bool
places_take(struct places *places, const char *name, unsigned long n)
{
	struct limit *limit = get_limit(places, name, n);
	bool is_free = limit->waiting == 0 && limit->sessions < n;

	if (is_free)
		limit->sessions++;
	drop_if_unused(places, limit);
	return is_free;
}

void
places_release(struct places *places, const char *name)
{
	struct limit *limit = find_limit(places, name);

	assert(limit != NULL && limit->sessions > 0);
	limit->sessions--;
	drop_if_unused(places, limit);
}

void
places_end(struct places *places, const char *name)
{
	struct limit *limit = find_limit(places, name);

	assert(limit != NULL && limit->ending < limit->sessions);
	limit->ending++;
}

void
places_ended(struct places *places, const char *name)
{
	struct limit *limit = find_limit(places, name);

	assert(limit != NULL && limit->ending > 0);
	limit->ending--;
	places_release(places, name);
}

bool
places_has_ending(const struct places *places, const char *name)
{
	const struct limit *limit = find_limit(places, name);

	return limit != NULL && limit->ending > 0;
}

static bool
waits_for(const struct waiter *waiter, const struct limit *limit)
{
	for (size_t i = 0; i < waiter->nlimit; i++)
		if (waiter->limit[i] == limit)
			return true;
	return false;
}

/*
 * How many may wait: one for each place, and for each of those that become free
 * when sessions that are about to end have ended.
 */
static unsigned long
most_waiting(const struct limit *limit)
{
	unsigned long left = limit->sessions - limit->ending;

	return left < limit->n ? 2 * limit->n - left : limit->n;
}

/* Joins those who wait for this limit, unless as many do as may. */
static void
join(struct places *places, struct waiter *waiter,
    const struct cache_candidate *candidate)
{
	struct limit *limit;

	if (candidate->limit[0] == '\0')
		return;
	limit = get_limit(places, candidate->limit, candidate->n);
	if (!waits_for(waiter, limit) && limit->waiting < most_waiting(limit)) {
		waiter->limit[waiter->nlimit++] = limit;
		limit->waiting++;
	}
	drop_if_unused(places, limit);
}

bool
places_wait(struct places *places, uint64_t client,
    const struct cache_candidate *candidate, size_t n, int64_t until)
{
	struct waiter waiter = { .client = client, .until = until };

	places_leave(places, client);
	waiter.limit = mem_alloc(n, sizeof(struct limit *));
	for (size_t i = 0; i < n; i++)
		join(places, &waiter, &candidate[i]);
	if (waiter.nlimit == 0) {
		free(waiter.limit);
		return false;
	}
	places->waiter = mem_resize(places->waiter, places->nwaiter + 1,
	    sizeof *places->waiter);
	places->waiter[places->nwaiter++] = waiter;
	return true;
}

bool
places_lack(const struct places *places, const char *name)
{
	const struct limit *limit = find_limit(places, name);

	return limit != NULL && limit->waiting > 0 &&
	       limit->sessions - limit->ending + limit->waiting > limit->n;
}

/* The waiter waits no more.  Returns its client. */
static uint64_t
remove_waiter(struct places *places, size_t i)
{
	struct waiter waiter = places->waiter[i];

	places->nwaiter--;
	memmove(&places->waiter[i], &places->waiter[i + 1],
	    (places->nwaiter - i) * sizeof *places->waiter);
	for (size_t k = 0; k < waiter.nlimit; k++) {
		waiter.limit[k]->waiting--;
		drop_if_unused(places, waiter.limit[k]);
	}
	free(waiter.limit);
	return waiter.client;
}

void
places_leave(struct places *places, uint64_t client)
{
	for (size_t i = 0; i < places->nwaiter; i++) {
		if (places->waiter[i].client != client)
			continue;
		(void)remove_waiter(places, i);
		return;
	}
}

/* The first limit that it waits for and that has a place; NULL: none has. */
static struct limit *
find_place(const struct waiter *waiter)
{
	for (size_t i = 0; i < waiter->nlimit; i++)
		if (waiter->limit[i]->sessions < waiter->limit[i]->n)
			return waiter->limit[i];
	return NULL;
}

bool
places_next(struct places *places, uint64_t *client, const char **name)
{
	for (size_t i = 0; i < places->nwaiter; i++) {
		struct limit *limit = find_place(&places->waiter[i]);

		if (limit == NULL)
			continue;
		limit->sessions++;
		*name = limit->name;
		*client = remove_waiter(places, i);
		return true;
	}
	return false;
}

bool
places_expire(struct places *places, int64_t now, uint64_t *client)
{
	for (size_t i = 0; i < places->nwaiter; i++) {
		if (places->waiter[i].until > now)
			continue;
		*client = remove_waiter(places, i);
		return true;
	}
	return false;
}

int64_t
places_next_end(const struct places *places)
{
	int64_t end = INT64_MAX;

	for (size_t i = 0; i < places->nwaiter; i++)
		if (places->waiter[i].until < end)
			end = places->waiter[i].until;
	return end;
}

bool
places_waiting(const struct places *places, size_t i, uint64_t *client)
{
	if (i >= places->nwaiter)
		return false;
	*client = places->waiter[i].client;
	return true;
}

const char *
places_wanted(const struct places *places, size_t i, size_t k)
{
	if (i >= places->nwaiter || k >= places->waiter[i].nlimit)
		return NULL;
	return places->waiter[i].limit[k]->name;
}

bool
places_at(const struct places *places, size_t i, const char **name,
    unsigned long *sessions, unsigned long *waiting)
{
	if (i >= places->nlimit)
		return false;
	*name = places->limit[i]->name;
	*sessions = places->limit[i]->sessions;
	*waiting = places->limit[i]->waiting;
	return true;
}
