/* SPDX-License-Identifier: ISC */
#ifndef CHECK_HELD_H
#define CHECK_HELD_H

#include <stdbool.h>
#include <stddef.h>

#include "cache/client.h"

/*
 * What qmail-remote-cache holds for the next messages, and what it has counted.
 *
 * Its answers are not trusted: text is cut after HELD_TEXT_MAX bytes, or a
 * key's after SESSIONKEY_MAX, there are at most HELD_ANSWERS of them, and they
 * come within HELD_MS, and what one more takes.  Otherwise there is no answer.
 */

#define HELD_TEXT_MAX 1000 /* bytes */
#define HELD_ANSWERS 4000
#define HELD_MS 1000

enum held_state {
	HELD_NO_BROKER,
	HELD_NOT_ALLOWED,     /* this user may not ask it */
	HELD_OF_ANOTHER_USER, /* and not of the state directory's owner */
	HELD_NO_ANSWER,       /* not in time, or not of this version */
	HELD_KNOWN
};

/* An idle connection. */
struct held_connection {
	char *address; /* of the server, as text */
	char *host;    /* its name; NULL: none */
	char *tls;     /* as in a report; NULL: in clear text */
	char *key1;    /* delivery/sessionkey.h; NULL: none */
	unsigned long messages;
	unsigned long idle_s;
	unsigned long lives_s; /* at most */
};

/* A line of control/concurrencyhosts, as the broker has it. */
struct held_limit {
	char *key;
	unsigned long sessions, waiting;
	unsigned long allowed; /* by the file now; 0: it has no such line */
};

/* Zeroed before use, but for client.fd, which is -1. */
struct held {
	enum held_state state;
	struct cache_client client;
	/* If that is HELD_KNOWN. */
	struct held_connection *connection;
	struct held_limit *limit;
	size_t nconnection, nlimit;
	struct cache_counters counters;
};

/*
 * Connects to the broker's socket.  To be called with the rights of a delivery,
 * and before the sandbox is entered.  No broker is started.
 */
void held_join(struct held *, const char *socket);

/*
 * Asks the broker, if held_join() has connected to one.  The state is
 * HELD_KNOWN if it has told all in time; otherwise it stays as held_join() has
 * set it.
 */
void held_read(struct held *);

/* How many connections have this key 1. */
size_t held_count(const struct held *, const char *key1);

void held_finish(struct held *);

#endif
