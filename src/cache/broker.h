/* SPDX-License-Identifier: ISC */
#ifndef CACHE_BROKER_H
#define CACHE_BROKER_H

#include <stdbool.h>
#include <stdint.h>

#include "cache/store.h"

/*
 * Answer deliveries, and hold their connections between two of them
 * (cache/message.h).
 *
 * A client is a delivery that has connected.  What it was given, a place or a
 * connection, is its own until it hands the connection back or closes its
 * socket.  Times are milliseconds of one clock.
 */

#define BROKER_CLIENTS 2000    /* more are turned away */
#define BROKER_UNUSED_MS 30000 /* without a client, connection or question */
#define BROKER_OLD_MS 3000000  /* and no session has a place of a limit */
#define BROKER_LIFE_MS 3600000 /* however much it is used */
#define BROKER_TURN_MS 2000    /* longest turn */

/* All is borrowed. */
struct broker_config {
	const char *version;
	/*
	 * A socket to a qmail-remote-tls that serves sessions, and says so by a
	 * message when it is ready; or 0.
	 */
	int tls;
	/* Fills in control/timeoutidle as it is now. */
	void (*limits)(void *data, struct store_limits *);
	/*
	 * Whether a client that connects may be one: it may keep connections,
	 * or only ask for a list.
	 */
	bool (*may_use)(void *data, int socket);
	bool (*may_list)(void *data, int socket);
	void *data;
};

struct broker;

/* For a listening socket, non-blocking, which stays the caller's. */
struct broker *broker_create(const struct broker_config *, int listener,
    int64_t now);

/*
 * Waits until a client or a server says something, something is due by time, or
 * there is input at stop, a descriptor; and deals with it.  clock says what
 * time it is then.  False if there was input at stop, if the waiting failed, or
 * if the qmail-remote-tls has ended after it was ready: the next broker has a
 * new one.
 */
bool broker_turn(struct broker *, int64_t (*clock)(void), int stop);

/* It has not been used for BROKER_UNUSED_MS, or is as old as it may become. */
bool broker_is_over(const struct broker *, int64_t now);

/*
 * control/concurrencyhosts, which the keys have, has changed, so no delivery
 * can use a connection that was made before.  Ends those that are idle, and
 * later those that are in use.
 */
void broker_change_limits(struct broker *);

/* QUIT to each idle connection; closes all, and frees. */
void broker_destroy(struct broker *);

#endif
