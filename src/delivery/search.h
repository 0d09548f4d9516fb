/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_SEARCH_H
#define DELIVERY_SEARCH_H

#include "delivery/attempt.h"
#include "delivery/connect.h"
#include "delivery/handoff.h"
#include "delivery/history.h"
#include "delivery/plan.h"
#include "qmail/helohosts.h"

/*
 * Follow a plan until a server is ready for MAIL.
 */
enum search_result {
	SEARCH_READY,
	SEARCH_NONE,  /* the reasons are in the history and the connector */
	SEARCH_LOCAL, /* likewise; the last attempt failed because of us */
	SEARCH_DONE   /* the gate said so: no server is wanted */
};

struct search_config {
	struct attempt_config attempt;
	const struct tcpto *tcpto;
	const struct gate *gate;      /* or NULL */
	unsigned long timeoutconnect; /* seconds, for each connection */
	int notes; /* the memory of addresses, qmail/memory.h; -1: none */

	/* Our name in EHLO: by our address in the connection, or else this. */
	const struct helohosts *helohosts;
	const char *helohost;
	bool wants_own; /* that address is wanted for something else, too */
	bool needs_smtputf8; /* a server that offers it is preferred */
};

/* Starts as { 0 }. */
struct search {
	struct plan in_clear;       /* the plan of a second pass, if any */
	struct connector connector; /* of the last pass */
	struct history history;
	bool needs_smtputf8;  /* as configured */
	struct server server; /* READY */
	size_t address;       /* its place in the connector's plan */
	struct buf before;    /* lines on servers that failed before it */
	char tls[TLS_SENTENCE_SIZE]; /* the report's line on TLS, or "" */
	char text[IP_TEXT_SIZE];     /* the server's address */
	struct buf extensions;       /* as smtp_ehlo_format() */
};

/*
 * Tries each address in up to three connections: again in clear text if TLS
 * failed and the policy allows that, and with HELO if EHLO failed.  If no
 * server is ready then, those whose only fault was to have no TLS are tried
 * once more in clear text, where the policy merely prefers TLS.
 *
 * With needs_smtputf8, a server that is ready but does not offer SMTPUTF8 is
 * left for the next one, if there is another address.  If no server that is
 * reached offers it, the first of these is used all the same.  What is
 * preferred for its TLS comes before that: clear text is tried only after all
 * servers with TLS, with SMTPUTF8 or not.
 *
 * A gate is asked in both passes, and before the way back to a server without
 * SMTPUTF8, but not when an address is connected to once more at once.  After
 * its answer DONE, which gives SEARCH_DONE, or CLOSED, which gives SEARCH_NONE,
 * no connection is begun.
 *
 * After ten times timeoutconnect plus timeoutremote, half an hour by default,
 * no further address is tried, except those of the current preference if none
 * of them has accepted a connection yet, and the same address once more.  This
 * bounds the search whatever the number of addresses is, and however slowly
 * they fail.
 */
enum search_result search_server(struct search *, struct plan *,
    const struct search_config *);

/*
 * Appends the lines on servers that failed so far, for a message that is sent
 * on an idle connection to this address of the connector's plan in place of a
 * new one: history_append_lines().
 */
void search_append_lines(const struct search *, size_t address,
    struct buf *lines);

/* What a session with a server that is ready says of the next search. */
enum search_reach {
	SEARCH_REACHED_FIRST, /* it would come to this host first as well */
	SEARCH_REACHED_LATER, /* a better host, or its look-up, has failed */
	/*
	 * In clear text because of a failure, or without SMTPUTF8: another
	 * search may get a better session, even with this address.
	 */
	SEARCH_REACHED_DOWNGRADED
};

/*
 * Of the server that is ready.  Another address of the same host that has
 * failed does not count: a machine without IPv6 comes to most hosts that way.
 */
enum search_reach search_reach(const struct search *);

/*
 * How the first connection to an address of a plan is used: as the plan says,
 * without what has failed with this server in another delivery, if clear text
 * is allowed.
 */
struct attempt_mode search_first_mode(const struct plan *, size_t address);

/*
 * For a server that is ready: sets the members of the handoff that are about
 * it.  Their text is owned by the search.
 */
void search_hand_over(struct search *, struct handoff *);

/* Frees what the search owns; the connection stays open. */
void search_finish(struct search *);

#endif
