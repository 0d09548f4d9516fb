/* SPDX-License-Identifier: ISC */
#ifndef PROG_CANDIDATES_H
#define PROG_CANDIDATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/dial.h"
#include "base/dsn.h"
#include "dns/mx.h"
#include "qmail/ipme.h"
#include "qmail/tcpto.h"

/*
 * The addresses that may be connected to, in the order of trying.
 */

/* The worst of a longer list are left out. */
#define CANDIDATES_MAX 128

struct candidate {
	const struct mx_host *host; /* of the mx_list */
	bool was_known;             /* tcpto has a record of the address */
	bool is_noted;              /* how it ended is in tcpto */
	bool is_skipped;            /* for what tcpto says */
	bool had_no_tls;            /* connected, but TLS could not be had */
};

struct candidates {
	struct dial_target *target; /* target[i] belongs to candidate[i] */
	struct candidate *candidate;
	size_t n;
	struct deadline until; /* no address is tried after it */
};

struct candidates_wanted {
	bool is_relay;
	bool is_named; /* a host is judged by its name, not by address alone */
	uint16_t port;
	int64_t search_ms; /* how long to look for a server that will do */
};

/*
 * Takes the addresses of list in order, without those that are our own; with
 * is_relay only those that control/ipme lists are.  Else no MX host as good
 * as one of ours or worse is taken (RFC 5321 section 5.1).  An address of
 * several hosts is taken for each of them with is_named, else for the first.
 * -1 with stock's 5.4.6 when that leaves none, or 4.1.2 when a better host
 * may be there but could not be looked up.
 */
int candidates_choose(struct candidates *, const struct mx_list *,
    const struct ipme *, const struct candidates_wanted *, struct dsn *why);

/*
 * Connects to the first candidate that is left and answers, one preference
 * after the other, and keeps tcpto informed.  Returns as dial_first(); false
 * also when the time for all of them is over.
 */
bool candidates_dial(struct candidates *, const struct tcpto *,
    unsigned long timeout_s, struct dialed *won);

/* Connects to the i-th candidate once more. */
bool candidates_redial(struct candidates *, size_t i, unsigned long timeout_s,
    int *fd);

/*
 * Makes those with had_no_tls untried again.  False if there are none.
 */
bool candidates_reconsider(struct candidates *);

#endif
