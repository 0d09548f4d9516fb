/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_PLAN_H
#define DELIVERY_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dsn.h"
#include "base/ip.h"
#include "dns/mx.h"
#include "qmail/ipfamily.h"
#include "qmail/ipme.h"
#include "qmail/memory.h"
#include "tls/policy.h"

/*
 * Where a message may go: MX hosts in order, each with its addresses.
 *
 * Addresses that are left out stay in the plan, with the reason, for reports.
 * Making a plan asks nobody anything.
 */

/* The first addresses of a longer list are used. */
#define PLAN_ADDRESS_MAX 128

/* Whether an address is used, or why not. */
enum plan_use {
	PLAN_USED,
	PLAN_OWN,        /* of this machine, or in control/ipme */
	PLAN_NOT_BETTER, /* its host is no better MX host than this machine */
	PLAN_FAMILY,     /* not of a family that control/ipfamily allows */
	PLAN_POLICY, /* its host cannot meet the TLS policy, which says why */
	PLAN_SOURCE, /* we cannot connect from our address for this family */
	PLAN_DUPLICATE, /* a host before it has the same address and policy */
	PLAN_TOO_MANY,  /* there are PLAN_ADDRESS_MAX before it */
	PLAN_TIMED_OUT  /* recently; set by the connector */
};

struct plan_host {
	const char *name; /* of the mx_list; a literal's plain form */
	unsigned preference;
	bool is_literal;
	enum dns_outcome outcome; /* of the look-up of its addresses */
	bool is_secure;           /* DNSSEC: the MX records and the addresses */
	struct tls_policy policy;
};

struct plan_address {
	size_t host; /* its place in the plan */
	struct ip ip;
	enum plan_use use;
	int64_t noted[MEMORY_KINDS]; /* when, in Unix time; 0: not */
};

/* What connections of one address family come from. */
struct plan_source {
	const struct ip *ip; /* NULL: the system chooses */
	const char *fault;   /* why that is impossible; or NULL */
};

/* Addresses in the order of trying; those of equal preference are together. */
struct plan {
	struct plan_host *host;
	size_t nhost;
	struct plan_address *address;
	size_t naddress;
	uint16_t port;
	struct plan_source source[2]; /* IPv6, IPv4 */
};

/* All that a plan depends on, besides the hosts. */
struct plan_config {
	const struct ipme *ipme;
	const struct memory *memory;
	int64_t now; /* Unix time */
	enum ipfamily family;
	bool is_relay; /* the hosts are a relay of ours, not MX hosts */
	const struct tls_situation *situation; /* one for each host */
	uint16_t port;
	struct plan_source source[2]; /* IPv6, IPv4 */
};

/*
 * Makes a plan, which borrows the names in the list, and the sources.  Left out
 * are our own addresses (of a relay only those in control/ipme), hosts that are
 * no better than one of ours (RFC 5321 section 5.1), addresses of a family that
 * is not wanted or whose source is not usable, and those of several hosts for
 * all but the first, unless the name decides what the server has to prove.
 * Within a host IPv6 and IPv4 take turns; an address whose sessions stalled
 * recently goes behind the others.
 *
 * -1 when no address is left: with stock's 5.4.6, with 4.1.2 when a better
 * host may be there but could not be looked up, with 4.4.1 when a file of ours
 * leaves none, or with 4.7.5 when no host can meet the TLS policy.  The plan is
 * whole all the same.
 */
int plan_make(struct plan *, const struct mx_list *, const struct plan_config *,
    struct dsn *why);

/* What a connection to this address comes from. */
const struct plan_source *plan_source(const struct plan *, const struct ip *);

/* Whether this is why all hosts that are better than we are were left out. */
bool plan_is_skipped(const struct plan *, enum tls_skip);

/*
 * Makes the plan of a second pass: the same hosts in clear text, with just the
 * addresses that are marked in retry (one for each address of the first).
 * False if there are none.
 */
bool plan_in_clear(struct plan *, const struct plan *first, const bool *retry);

void plan_finish(struct plan *);

#endif
