/* SPDX-License-Identifier: ISC */
#ifndef DNS_MX_H
#define DNS_MX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/dsn.h"
#include "base/ip.h"
#include "dns/message.h"

/*
 * From a next-hop domain to MX hosts and addresses in order.
 */

#define MX_HOST_MAX 100    /* hosts looked up, the best ones */
#define MX_HOST_IP_MAX 128 /* addresses kept of one host */

/* A host keeps its place also when it has no address. */
struct mx_host {
	char name[DNS_NAME_SIZE]; /* no trailing dot; a literal's plain form */
	unsigned preference;      /* 0 for an implicit MX, relay, [literal] */
	bool is_literal;          /* name is an address, not a domain name */
	enum dns_outcome outcome; /* of its addresses taken together */
	struct ip *ip;            /* IPv6 and IPv4 in turns, IPv6 first */
	size_t nip;
};

struct mx_list {
	struct mx_host *host; /* by preference, equal ones shuffled */
	size_t nhost;
};

/*
 * Resolves host by its MX records (RFC 5321 section 5.1), in two waves of
 * parallel questions, each bounded by timeout_s seconds (0: the resolver's
 * own schedule).  -1 with the status and sentence of stock:
 * 4.1.2, 5.1.2, 5.4.4, and 5.1.10 for a null MX (RFC 7505).
 */
int mx_lookup(struct mx_list *, const char *host, unsigned long timeout_s,
    struct dsn *why);

/* The same for a relay: addresses of the host itself, never its MX. */
int mx_lookup_relay(struct mx_list *, const char *relay,
    unsigned long timeout_s, struct dsn *why);

void mx_list_finish(struct mx_list *);

#endif
