/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_REUSE_H
#define DELIVERY_REUSE_H

#include <stdbool.h>

#include "cache/client.h"
#include "cache/keyset.h"
#include "cache/store.h"
#include "delivery/child.h"
#include "delivery/search.h"
#include "delivery/setup.h"
#include "qmail/concurrencyhosts.h"

/*
 * Send a message over a connection that another delivery has left, and keep to
 * the limits of control/concurrencyhosts.
 *
 * What a connection is found by is in delivery/sessionkey.h; what is said to
 * qmail-remote-cache, and when, in cache/message.h.  If the connection turns
 * out to be dead before mail data has left, the delivery goes on as if there
 * had been none, and asks for no other: that server may have closed them all.
 */

/* The last question of the gate. */
struct reuse_choice {
	struct cache_message message; /* its text is in the keys and limits */
	struct buf key[CACHE_CANDIDATES];
	size_t length;                    /* of all keys */
	bool is_asked;                    /* the broker knows of it */
	size_t address[CACHE_CANDIDATES]; /* places in the plan */
};

/* Starts with program_io and client set, and the rest zero. */
struct reuse {
	const char *program_io;      /* the path of qmail-remote-io */
	struct cache_client *client; /* without a broker nothing is done */
	const struct setup *setup;
	struct search *search; /* of reuse_gate() */
	struct concurrencyhosts limits;
	bool is_wanted; /* control/timeoutidle is not 0 */
	bool asks;      /* for connections: none has turned out to be dead */
	bool has_place; /* under a limit, or maybe with a lent connection */
	char keys[KEYSET_SIZE]; /* those that a connection may have; or "" */
	struct buf key1;
	struct reuse_choice choice;
	char why[256]; /* of a gate that is closed */
};

/* Whether the report is written, or the message has to be sent elsewhere. */
enum reuse_result { REUSE_REPORTED, REUSE_NOT };

/*
 * For a setup that was read: looks for a connection to its next hop, before the
 * DNS is asked, and uses it.
 */
enum reuse_result reuse_by_next_hop(struct reuse *, const struct setup *);

/* The gate of a search for this setup (delivery/connect.h). */
struct gate reuse_gate(struct reuse *, struct search *);

/*
 * For a server that is ready: tells the broker what the session is, and puts
 * the socket to the broker into the handoff, where the session may be kept.
 */
void reuse_hand_over(struct reuse *, struct handoff *);

void reuse_finish(struct reuse *);

#endif
