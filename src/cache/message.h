/* SPDX-License-Identifier: ISC */
#ifndef CACHE_MESSAGE_H
#define CACHE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "io/pass.h"

/*
 * The messages between a delivery and qmail-remote-cache, one datagram each
 * over a SOCK_SEQPACKET socket: words, each ended by NUL.  The first one is the
 * kind; then come keyword=value words (base/keyword.h); then, in CHOOSE and
 * maybe in READY, the word "--" and three words for each candidate.
 *
 * A delivery has one socket from its start to its end.  What it asks, in order:
 *
 *	ask	Is there an idle connection with this key (key 1)?
 *		Answered by hit, or by miss with the set of those keys 2 that a
 *		connection has, idle or in use (cache/keyset.h).
 *	choose	Which of these servers, all of one preference?
 *		Answered by hit, place or full; before that by queued, if it
 *		has to wait.  What the delivery has got by an earlier choose is
 *		taken back.  It need not be asked about servers without a limit
 *		if none of their keys is in the set: no connection would be
 *		found, unless one has come, and gone idle, since.
 *	gone	The connection that was lent is of no use, and is closed: its
 *		place is free.  Not answered.
 *	ready	This is the session that MAIL will be sent in.  It is not
 *		answered.  Only for a new connection: the broker knows those
 *		that it has lent.  With the servers that were not asked about,
 *		because the delivery would have taken a connection to them.
 *		Without a key the session is for nobody else, and only has its
 *		place.  After it there can only be keep, once.
 *	keep	The session's last transaction was delivered; with the
 *		descriptors of the session.  Not answered: the broker keeps the
 *		connection, or sends QUIT and closes it.
 *
 *	tls	Starts a TLS session, in the qmail-remote-tls that the broker
 *		has: the words of its arguments, and the descriptors that come
 *		with them (tls/request.h).  Not answered: what comes of it shows
 *		at the other ends of these.  At any time before ready.
 *
 * qmail-remote-check asks for a list, and for nothing else.  Answered by one
 * entry for each connection, with its idle seconds in seconds and what it may
 * live on in lives, one limit for each limit with sessions, and counters, the
 * last one.
 *
 * The first answer to a client has the version of the broker.
 */

#define CACHE_MESSAGE_MAX ((size_t)64 * 1024) /* bytes */
/* What a delivery says: its text may be part of an answer, which has more. */
#define CACHE_REQUEST_MAX (CACHE_MESSAGE_MAX - 1024)
#define CACHE_CANDIDATES 64
#define CACHE_WAIT_MAX 3600 /* seconds, for a place */

/* With hit and keep: the session, and the status pipe of qmail-remote-tls. */
#define CACHE_FD_SESSION 0
#define CACHE_FD_STATUS 1 /* only in TLS */

enum cache_kind {
	CACHE_ASK,
	CACHE_CHOOSE,
	CACHE_GONE,
	CACHE_READY,
	CACHE_KEEP,
	CACHE_LIST,
	CACHE_TLS,
	/* Answers. */
	CACHE_HIT,
	CACHE_MISS,
	CACHE_PLACE,
	CACHE_QUEUED,
	CACHE_FULL,
	CACHE_ENTRY,
	CACHE_LIMIT,
	CACHE_COUNTERS
};

/* One address of the preference that is to be connected to, in order. */
struct cache_candidate {
	const char *key;   /* key 2; "": no idle connection is wanted */
	const char *limit; /* the key of a line in control/concurrencyhosts */
			   /* that applies to the host; "": none */
	unsigned long n;   /* sessions that the line allows; 0 without one */
};

/* What is remembered of a session. */
struct cache_session {
	const char *key1;    /* "ready": NULL if it must not be found by it */
	const char *key2;    /* or NULL */
	const char *address; /* of the server, as text */
	const char *host;    /* its name; NULL for an address literal */
	const char *extensions; /* as smtp_ehlo_format(); NULL: none */
	const char *tls;        /* the report's line on TLS; NULL: none */
	unsigned long used;     /* MAIL commands so far */
	unsigned long lives;    /* seconds that it may still be used for */
	unsigned long mailmax;  /* READY: of the server (RFC 9422); 0: none */
};

/* Totals since the broker was started. */
struct cache_counters {
	unsigned long hits;   /* connections that were lent */
	unsigned long misses; /* of CHOOSE and READY, where one was wanted */
	unsigned long kept;
	/* Connections that were ended, by cause. */
	unsigned long by_server;   /* readable while idle: closed, or 421 */
	unsigned long by_idleness; /* timeoutidle */
	unsigned long by_age;      /* 300 s, a TTL, the end of a policy */
	unsigned long by_use;      /* MAILMAX, or 100 messages */
	unsigned long by_room;     /* timeoutidle's second and third line */
	unsigned long by_limit;    /* for a delivery that waited for a place */
	unsigned long unwanted;    /* no other delivery had asked */
};

/* The members that a kind does not have are NULL or 0. */
struct cache_message {
	enum cache_kind kind;
	const char *version;          /* in the first answer */
	struct cache_session session; /* ASK: key1; READY, HIT, ENTRY; KEEP: */
				      /* used, in all */
	const char *keys;             /* MISS: a set, as text; NULL: unknown */
	unsigned long wait;           /* CHOOSE: seconds, for a place */
	unsigned long chosen;         /* HIT after CHOOSE, PLACE: a candidate */
	unsigned long seconds;        /* ENTRY: idle for so long */
	const char *limit;            /* LIMIT: the key of the line; FULL: of */
				      /* the first candidate that has one */
	unsigned long n;              /* LIMIT: sessions, idle ones too */
	unsigned long waiting;        /* LIMIT: deliveries that wait */
	struct cache_counters counters;
	const char *request; /* TLS: words, each ended by NUL */
	size_t nrequest;     /* bytes */

	struct cache_candidate candidate[CACHE_CANDIDATES]; /* CHOOSE, */
							    /* READY */
	size_t ncandidate;
};

/*
 * Writes a message; returns its length, or 0 if it has more than
 * CACHE_MESSAGE_MAX bytes.
 */
size_t cache_message_format(const struct cache_message *,
    char bytes[CACHE_MESSAGE_MAX]);

/*
 * Parses n bytes.  The text of the message points into them.  False if it is
 * not of the form above: an unknown kind or keyword, a keyword that the kind
 * does not have or that is missing, a number that is none, a candidate with a
 * limit of 0 sessions, ...
 */
bool cache_message_parse(struct cache_message *, char *bytes, size_t n);

/*
 * Whether these descriptors, received with hit or keep, are those of a session:
 * a connection by TCP; or both sockets to a qmail-remote-tls, which are local.
 */
bool cache_is_session(const int *fd, size_t nfd);

/* The same for tls: a connection by TCP, and two local sockets. */
bool cache_is_tls_start(const int *fd, size_t nfd);

#endif
