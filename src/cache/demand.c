/* SPDX-License-Identifier: ISC */
#include "cache/demand.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"
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
struct entry {
	uint64_t hash;
	uint64_t client;       /* the last one that asked */
	int64_t until;         /* its demand counts */
	int64_t other_until;   /* that of the last one that was another */
	uint16_t next;         /* with this bucket; NOBODY: the last one */
	uint16_t older, newer; /* asked before this one, and after it */
};

#define NOBODY 0 /* also stands between the newest and the oldest entry */
#define BUCKET_BITS 11

struct demand {
	struct entry entry[1 + DEMAND_KEYS];
	uint16_t used; /* entries */
	uint16_t bucket[1 << BUCKET_BITS];
	uint64_t seed;
};

struct demand *
demand_create(void)
{
	struct demand *d = mem_alloc(1, sizeof *d);

	/* Without a source it is 0: the hashes can be foreseen then. */
	(void)random_bytes(&d->seed, sizeof d->seed);
	return d;
}

void
demand_destroy(struct demand *d)
{
	free(d);
}

/* Where all bits of the hash count: those at its ends are not mixed well. */
static size_t
bucket_of(uint64_t hash)
{
	return (size_t)((hash ^ (hash >> 32)) * 0x9e3779b97f4a7c15 >>
			(64 - BUCKET_BITS));
}

static uint16_t
find(const struct demand *d, uint64_t hash)
{
	uint16_t i = d->bucket[bucket_of(hash)];

	while (i != NOBODY && d->entry[i].hash != hash)
		i = d->entry[i].next;
	return i;
}

static void
leave_order(struct demand *d, uint16_t i)
{
	const struct entry *e = &d->entry[i];

	d->entry[e->older].newer = e->newer;
	d->entry[e->newer].older = e->older;
}

static void
become_newest(struct demand *d, uint16_t i)
{
	struct entry *e = &d->entry[i], *end = &d->entry[NOBODY];

	e->older = end->older;
	e->newer = NOBODY;
	d->entry[end->older].newer = i;
	end->older = i;
}

static void
leave_bucket(struct demand *d, uint16_t i)
{
	uint16_t *at = &d->bucket[bucket_of(d->entry[i].hash)];

	while (*at != i)
		at = &d->entry[*at].next;
	*at = d->entry[i].next;
}

/* A new entry, or the oldest one if there are too many; in no order. */
static uint16_t
take_entry(struct demand *d)
{
	uint16_t i;

	if (d->used < DEMAND_KEYS)
		return ++d->used;
	i = d->entry[NOBODY].newer;
	leave_order(d, i);
	leave_bucket(d, i);
	return i;
}

static uint16_t
add(struct demand *d, uint64_t hash, uint64_t client)
{
	uint16_t i = take_entry(d);
	uint16_t *bucket = &d->bucket[bucket_of(hash)];

	d->entry[i] = (struct entry){ .hash = hash,
		.client = client,
		.other_until = INT64_MIN,
		.next = *bucket };
	*bucket = i;
	return i;
}

void
demand_note(struct demand *d, const char *key, uint64_t client, int64_t now)
{
	uint64_t hash = str_hash(d->seed, key);
	uint16_t i = find(d, hash);
	struct entry *e;

	if (i == NOBODY)
		i = add(d, hash, client);
	else
		leave_order(d, i);
	e = &d->entry[i];
	if (e->client != client) {
		e->client = client;
		e->other_until = e->until;
	}
	e->until = now + DEMAND_MS;
	become_newest(d, i);
}

bool
demand_is_there(const struct demand *d, const char *key, uint64_t client,
    int64_t now)
{
	uint16_t i = find(d, str_hash(d->seed, key));
	const struct entry *e = &d->entry[i];

	return i != NOBODY &&
	       now < (e->client == client ? e->other_until : e->until);
}
