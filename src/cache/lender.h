/* SPDX-License-Identifier: ISC */
#ifndef CACHE_LENDER_H
#define CACHE_LENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/broker.h"
#include "cache/keyset.h"
#include "cache/message.h"
#include "cache/places.h"
#include "cache/store.h"

/*
 * What each client of the broker has, a place or a connection, and which of
 * them wait.  Only for cache/broker and cache/request.
 */

/* The longest time for which the end of a TLS session is waited for. */
#define LENDER_ENDING_MS 1000

struct client {
	int fd; /* -1: given up; removed in the next lender_settle() */
	uint64_t id;
	bool may_keep; /* and not only ask for a list */
	bool knows_version;
	bool has_spoken;
	enum cache_kind said; /* its last message, if it has spoken */
	char *place;          /* the limit of the place that it has; or NULL */
	struct store_session *session; /* that it uses; or NULL */
	struct cache_message *waits;   /* CHOOSE, while it waits; or NULL */
	/* A list that it has asked for, and how much of it has been sent. */
	bool is_listing;
	size_t nentry, nlimit;
};

struct lender {
	const struct broker_config *config;
	int64_t now; /* the caller's to set */
	uint64_t last_id;
	struct store *store;
	struct places *places;
	/* TLS sessions that are about to end, and have their place so long. */
	struct store_session **ending;
	size_t nending, ending_size;
	struct keyset keys;    /* the keys 2 of all sessions, idle or in use */
	struct client *client; /* in order of arrival */
	size_t nclient, size;
	struct cache_counters counters;
	/* CACHE_MESSAGE_MAX bytes each, for the message that is dealt with. */
	char *in, *out;
	unsigned long limits; /* how often they have changed */
	int tls; /* the socket to a qmail-remote-tls that serves; or -1 */
};

void lender_init(struct lender *, const struct broker_config *, int64_t now);

/* Closes all; QUIT to the idle connections. */
void lender_free(struct lender *);

/* A new client, whose descriptor is closed later. */
void lender_add(struct lender *, int fd, bool may_keep);

/* For a client that has closed, or breaks the rules: closes its socket. */
void lender_give_up(struct client *);

/*
 * Sends an answer.  0, or -1 with errno: EAGAIN if the client has not read what
 * was sent before.
 */
int lender_send(const struct lender *, struct client *, struct cache_message *,
    const int *fd, size_t nfd);

/* The same; a client that does not get it is given up. */
bool lender_answer(const struct lender *, struct client *,
    struct cache_message *);

/* Gives a new session to a client, in place of one that it may have. */
void lender_take_session(struct lender *, struct client *,
    struct store_session *);

/* Fills in the members for a session. */
void lender_describe(const struct lender *, const struct store_session *,
    struct cache_message *);

/*
 * Lends an idle connection to a client that has asked for it as the candidate
 * with the number chosen.  If the answer cannot be sent, the client is given
 * up, and the session stays the caller's.
 */
bool lender_lend(struct lender *, struct client *, struct store_session *,
    unsigned long chosen);

/* Gives it a place, which has been taken, of this limit; "": of none. */
void lender_give_place(struct lender *, struct client *, const char *limit,
    unsigned long chosen);

/* Takes back what it has; and it waits no more. */
void lender_take_back(struct lender *, struct client *);
void lender_stop_waiting(struct lender *, struct client *);

/* The i-th of those that wait, in order; NULL behind the last. */
struct client *lender_waiting(const struct lender *, size_t i);

/* Whether the server has said nothing: if it has, the connection is over. */
bool lender_is_quiet(int fd);

/*
 * Ends a session that is not in use: with QUIT, which is counted ...  Its place
 * is free at once in clear text, and in TLS when qmail-remote-tls has closed
 * the connection, or after LENDER_ENDING_MS.
 */
void lender_quit(struct lender *, struct store_session *,
    unsigned long *counter);
/* ... or because the server has ended it. */
void lender_lose(struct lender *, struct store_session *);

/* Ends all idle sessions, with QUIT. */
void lender_end_idle(struct lender *, unsigned long *counter);

/*
 * Ends idle sessions that are in the way of those that wait: the next one that
 * wants to wait must know which places become free.
 */
void lender_make_way(struct lender *);

/* Where it is counted why a connection was not kept, or was. */
unsigned long *lender_counter(struct lender *, enum store_end);

/*
 * Ends what is over by now, gives places that are free to those who wait, and
 * removes the clients that were given up.
 */
void lender_settle(struct lender *);

/* When there is something to settle by time; INT64_MAX: never. */
int64_t lender_next(const struct lender *);

/* Whether there is a client or a connection. */
bool lender_is_used(const struct lender *);

#endif
