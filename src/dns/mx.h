/* SPDX-License-Identifier: ISC */
#ifndef DNS_MX_H
#define DNS_MX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "dns/message.h"

/*
 * The hosts that take mail for a domain (RFC 5321 section 5.1), and what it
 * means if none of them can be found.  Nothing here asks questions.
 */

#define MX_HOST_MAX 100    /* hosts looked up, the best ones */
#define MX_HOST_IP_MAX 128 /* addresses kept of one host */

/* A host keeps its place also when it has no address. */
struct mx_host {
	char name[DNS_NAME_SIZE]; /* no trailing dot; a literal's plain form */
	unsigned preference;      /* 0 for an implicit MX, relay, [literal] */
	bool is_literal;          /* name is an address, not a domain name */

	/*
	 * Of its addresses, IPv6 and IPv4 taken together; DNS_TEMPFAIL until
	 * they are looked up.
	 */
	enum dns_outcome outcome;
	enum dns_security security;
	bool is_alias;
	char canonical[DNS_NAME_SIZE]; /* what the alias leads to, or "" */
	uint32_t ttl_s;
	struct ip *ip; /* IPv6 and IPv4 in turns, IPv6 first */
	size_t nip;
};

/* Starts as { 0 }. */
struct mx_list {
	struct mx_host *host; /* by preference, equal ones shuffled */
	size_t nhost;
	bool is_cut; /* there are worse hosts that are not in the list */

	/* It is the host itself: a relay, or a domain without MX records. */
	bool is_implicit;

	/* Of the answer for the MX records, or for there being none. */
	enum dns_outcome outcome;
	enum dns_security security;
	char canonical[DNS_NAME_SIZE]; /* what the domain is an alias of */
	uint32_t ttl_s;
};

/*
 * Takes the hosts out of the answer for the MX records of the domain, which
 * is put in order for it: each host once, where it is best.  If it has no MX
 * records, or does not exist, the domain itself is the only host: there are
 * servers that know no name but for the type they were made for, so nothing is
 * denied before the addresses have been.  An answer of DNS_FOUND without any
 * host is a null MX (RFC 7505).
 */
void mx_list_read(struct mx_list *, const char *domain, struct dns_answer *);

/* The host itself, and never its MX hosts. */
void mx_list_implicit(struct mx_list *, const char *host);

/*
 * If text is an address, as a literal or without brackets, it becomes the only
 * host, with that address.
 */
bool mx_list_literal(struct mx_list *, const char *text);

/* What all hosts together come to, once their addresses are looked up. */
enum mx_verdict {
	MX_FOUND,      /* there is an address */
	MX_UNCERTAIN,  /* of a host nothing is known: see mx_list_uncertain() */
	MX_CUT,        /* none has an address, but there are more hosts */
	MX_NO_ADDRESS, /* no MX host has one */
	MX_NO_DOMAIN,  /* the implicit host does not exist */
	MX_NO_RECORDS, /* it has no addresses */
	MX_DANGLING_ALIAS /* and is an alias of a name without */
};

enum mx_verdict mx_list_verdict(const struct mx_list *);

/* The first host of which nothing is known, or NULL. */
const struct mx_host *mx_list_uncertain(const struct mx_list *);

void mx_list_finish(struct mx_list *);

#endif
