/* SPDX-License-Identifier: ISC */
#ifndef DNS_MX_H
#define DNS_MX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "base/tlsa.h"
#include "dns/message.h"

/*
 * The hosts that accept mail for a domain (RFC 5321 section 5.1), and what it
 * means if none of them can be found.  Nothing here sends questions.
 */

#define MX_HOST_MAX 100    /* best hosts that are looked up */
#define MX_HOST_IP_MAX 128 /* addresses kept of one host */

/* What the DNS says about the TLS of a host (RFC 7672 section 2). */
enum dns_tlsa_outcome {
	DNS_TLSA_UNASKED, /* the host is insecure, or this was not wanted */
	DNS_TLSA_NONE,    /* no records, or they are insecure: no DANE */
	DNS_TLSA_FOUND,   /* secure records */
	DNS_TLSA_FAILED   /* not known: the host must not be used */
};

/* Valid when zeroed. */
struct dns_tlsa {
	enum dns_tlsa_outcome outcome;
	struct tlsa_set set; /* if FOUND */
	/*
	 * If FOUND or FAILED: the TLSA base domain (RFC 7672 section 2.2.3),
	 * which is the name for SNI and the first reference identifier.
	 */
	char base[DNS_NAME_SIZE];
	uint32_t ttl_s; /* the least TTL of the answers that decided it */
};

/* A host stays in the list even if it has no address. */
struct mx_host {
	char name[DNS_NAME_SIZE]; /* no trailing dot, no brackets */
	unsigned preference; /* 0 for an implicit MX, a relay or an address */
	bool is_literal;     /* name is an address, not a domain name */

	/*
	 * The result for its IPv6 and IPv4 addresses together; DNS_TEMPFAIL
	 * until they are looked up.
	 */
	enum dns_outcome outcome;
	enum dns_security security;
	bool is_alias;
	char canonical[DNS_NAME_SIZE]; /* target of the alias, or "" */
	uint32_t ttl_s;
	struct ip *ip; /* alternating, IPv6 first */
	size_t nip;

	struct dns_tlsa tlsa;
};

/* Valid when zeroed. */
struct mx_list {
	struct mx_host *host; /* by preference; equal ones in random order */
	size_t nhost;
	bool is_cut; /* some worse hosts are not in the list */

	/*
	 * The only host is the name itself: a relay, or a domain without MX
	 * records.
	 */
	bool is_implicit;

	/*
	 * From the answer to the question for the MX records.  If these were
	 * found and are secure, canonical is a reference identifier for DANE-TA
	 * too (RFC 7672 section 3.2.2).
	 */
	enum dns_outcome outcome;
	enum dns_security security;
	char canonical[DNS_NAME_SIZE]; /* target of the domain's alias, or "" */
	uint32_t ttl_s;
};

/*
 * Fills the list from the answer for the MX records of the domain; sorts the
 * records in the answer.  Each host is listed once, with its best preference.
 *
 * If the domain has no MX records, or does not exist, the domain itself is the
 * only host.  Some servers know no name except for the record type they were
 * made for, so nothing is denied before the address questions are.  An answer
 * of DNS_FOUND without a host is a null MX (RFC 7505).
 */
void mx_list_read(struct mx_list *, const char *domain, struct dns_answer *);

/* Makes the host itself the only one; its MX records do not matter. */
void mx_list_implicit(struct mx_list *, const char *host);

/*
 * If text is an address, with or without brackets, makes it the only host, with
 * that address.  False otherwise.
 */
bool mx_list_literal(struct mx_list *, const char *text);

/* The result for all hosts together, once their addresses are looked up. */
enum mx_verdict {
	MX_FOUND,         /* a host has an address */
	MX_UNCERTAIN,     /* unknown for some host: mx_list_uncertain() */
	MX_CUT,           /* none has an address, but the list is cut */
	MX_NO_ADDRESS,    /* no MX host has an address */
	MX_NO_DOMAIN,     /* the implicit host does not exist */
	MX_NO_RECORDS,    /* the implicit host has no address */
	MX_DANGLING_ALIAS /* it is an alias of a name without address */
};

/* Only valid after addr_wave_end(). */
enum mx_verdict mx_list_verdict(const struct mx_list *);

/* The first host whose addresses are not known (DNS_TEMPFAIL), or NULL. */
const struct mx_host *mx_list_uncertain(const struct mx_list *);

/* Frees the hosts and all they own; the list is empty again. */
void mx_list_finish(struct mx_list *);

#endif
