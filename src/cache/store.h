/* SPDX-License-Identifier: ISC */
#ifndef CACHE_STORE_H
#define CACHE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/message.h"

/*
 * The idle connections, and which deliveries have asked for which keys.  Pure:
 * no I/O; descriptors are only numbers here, and times are milliseconds of one
 * clock.
 */

#define STORE_LIFE_S 300 /* of a connection, from "ready" on */
#define STORE_USES 100   /* messages on a connection without MAILMAX */
#define STORE_SPARE_S 2  /* longest idle time of those beyond per_key */
#define STORE_MAX 1000   /* connections, whatever timeoutidle says */

/* control/timeoutidle */
struct store_limits {
	unsigned long idle_s; /* 0: nothing is kept */
	unsigned long total;
	unsigned long per_key; /* for longer than STORE_SPARE_S; 0: none */
};

/* A session that a delivery uses, or that is idle.  Owns its text. */
struct store_session {
	char *key1;                              /* or NULL */
	char *key2;                              /* or NULL */
	char *address, *host, *extensions, *tls; /* NULL where there is none */
	char *limit;          /* of the place that it takes; NULL: none */
	unsigned long limits; /* how often these had changed before it */
	unsigned long used;
	uint64_t mailmax;  /* of the server; 0: none said */
	int64_t ends;      /* whatever happens */
	int64_t idle_ends; /* idle ones */
	int64_t idle_since;
	bool is_spare;  /* idle ones: beyond per_key */
	int fd, status; /* idle ones; status is -1 in clear text */
};

/*
 * Copies a description (READY).  It may be used for as long as it says, at most
 * STORE_LIFE_S.  The caller sets limit and mailmax, and the descriptors before
 * it is kept; these are -1 until then.
 */
struct store_session *store_session_make(const struct cache_session *,
    int64_t now);
void store_session_free(struct store_session *);

struct store;

struct store *store_create(void);
void store_destroy(struct store *);

/*
 * A delivery has asked for this key.  That counts for some time, for
 * connections of all clients but this one (cache/demand.h).
 */
void store_demand(struct store *, const char *key, uint64_t client,
    int64_t now);

/* Whether another delivery has asked for one of the session's keys lately. */
bool store_is_wanted(const struct store *, const struct store_session *,
    uint64_t client, int64_t now);

/* Why a connection is not kept, or not any longer. */
enum store_end {
	STORE_KEPT,
	STORE_UNWANTED, /* no other delivery has asked for a key of it lately */
	STORE_IDLE,
	STORE_OLD,
	STORE_USED,
	STORE_NO_ROOM
};

/*
 * Why a session must not be used for one more message, whoever wants it:
 * STORE_IDLE if nothing is kept, STORE_USED or STORE_OLD; otherwise STORE_KEPT.
 */
enum store_end store_check(const struct store_session *,
    const struct store_limits *, int64_t now);

/*
 * Takes over an idle session of this client, or says why not; then it stays
 * the caller's.  If there are as many as allowed with one of its keys, it is
 * kept, but not for long, as a spare one: where many deliveries are under way,
 * they end at the same time and the next ones begin at the same time.  If there
 * are as many as allowed in all, *evicted, which becomes the caller's to end,
 * is the spare one that has been idle the longest; if there is none, any that
 * has, but not for a spare one, which is refused then.  Otherwise *evicted is
 * NULL.
 */
enum store_end store_keep(struct store *, struct store_session *,
    uint64_t client, const struct store_limits *, int64_t now,
    struct store_session **evicted);

/*
 * Takes the idle session out that has been idle for the shortest time and has
 * this key, unless its time is over; NULL if there is none.  By number: 1 or 2.
 */
struct store_session *store_take(struct store *, int number, const char *key,
    int64_t now);

/* Takes this one out: the server has closed it, for example. */
void store_remove(struct store *, struct store_session *);

/*
 * The one that has been idle for the longest time of those that take a place of
 * this limit; NULL if there is none.
 */
struct store_session *store_find_limit(const struct store *, const char *limit);

/*
 * One whose time is over, taken out; NULL: none.  *why is STORE_OLD or
 * STORE_IDLE.
 */
struct store_session *store_expire(struct store *, int64_t now,
    enum store_end *why);

/* When the next one's time is over; INT64_MAX: none is there. */
int64_t store_next(const struct store *);

/* The i-th idle session, in no order; NULL behind the last. */
struct store_session *store_at(const struct store *, size_t i);

#endif
