/* SPDX-License-Identifier: ISC */
#ifndef DNS_DANE_H
#define DNS_DANE_H

#include <stdbool.h>
#include <stdint.h>

#include "dns/mx.h"
#include "dns/resolver.h"

/*
 * Look up the TLSA records of one host (RFC 7672 section 2.2): an MX host with
 * secure MX records, the domain itself if a secure answer says that it has
 * none, or a relay.
 *
 * They are asked for together with the addresses, and not waited for if these
 * are insecure: there are servers that do not answer such a question.  One
 * secure address family is enough, because many zones cannot prove that they
 * have no records of the other.
 *
 * If the host is an alias (section 2.1.3), there are more questions, which the
 * caller puts into a wave of their own.  Is the whole chain of aliases secure,
 * the records at its end count, or else those of the host's name.  Is it not,
 * only those of the host's name can count, and only if its own link is secure.
 */
struct dane_lookup {
	/* Set by the caller, and borrowed. */
	struct dns_resolver *resolver;
	const char *name;
	uint16_t port;
	const struct dns_answer *v6, *v4; /* its addresses */

	struct dns_answer own;      /* TLSA records of the name */
	struct dns_answer expanded; /* of the name that its alias leads to */
	struct dns_answer link;     /* its CNAME record */
};

/* Asks for the TLSA records of the name. */
void dane_ask(struct dane_lookup *);

/*
 * Whether an answer is pending that the result depends on, as far as is known.
 * The addresses must not be pending, here and in the next two functions.
 */
bool dane_is_waiting(const struct dane_lookup *);

/*
 * Asks what else there is to ask if the name is an alias, and gives up what is
 * not needed.  False if nothing was asked.
 */
bool dane_ask_more(struct dane_lookup *);

/*
 * Stores the result.  An answer that is pending failed, if it is needed.  Frees
 * all answers but those of the caller.
 */
void dane_end(struct dane_lookup *, struct dns_tlsa *);

#endif
