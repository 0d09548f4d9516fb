/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_LOOKUP_H
#define DELIVERY_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/dsn.h"
#include "dns/mx.h"
#include "dns/resolver.h"

/*
 * Find the hosts that mail goes to, and their addresses, in the DNS; and what
 * it says about their TLS.
 */

/*
 * TXT records of the domain or relay.  An answer that was not wanted, or has
 * not arrived in time, is DNS_TEMPFAIL.  Valid when zeroed.
 */
struct lookup_texts {
	struct dns_answer sts;    /* _mta-sts (RFC 8461 section 3.1) */
	struct dns_answer tlsrpt; /* _smtp._tls (RFC 8460 section 3) */
};

struct lookup {
	const char *host;              /* a domain, or a relay */
	bool is_relay;                 /* the host itself, never its MX hosts */
	const char *relay_file;        /* the control file that names it */
	struct dns_resolver *resolver; /* NULL: it could not be set up */
	unsigned long timeout_s;       /* for each wave of questions, or 0 */

	bool wants_tlsa; /* DANE; needs a resolver that knows security */
	uint16_t port;   /* of the servers, for their TLSA records */

	bool wants_sts, wants_tlsrpt; /* TXT records */
	bool sts_must_wait;           /* no policy is known so far */
	struct lookup_texts *texts;   /* if any of them is wanted */
};

/*
 * In two waves of questions: the MX records, then the addresses of all hosts.
 * Without a time limit the schedule of the resolver ends each of them.
 *
 * TLSA records are asked for together with the addresses, if the MX records (or
 * the answer that there are none) are secure, or if it is a relay.  Hosts that
 * are aliases take a third wave then; see dns/dane.  Their results are in the
 * list, and change nothing else in it.
 *
 * TXT records are asked for at the start.  They are not waited for, except that
 * with sts_must_wait the answer for _mta-sts has 2 s in all, but not longer
 * than the time limit.  What has arrived when the hosts are known is stored,
 * and belongs to the caller, also in case of a failure.  For an address literal
 * nothing is asked.
 *
 * -1 with the status and sentence of stock: 4.1.2, 5.1.2, 5.4.4, and 5.1.10
 * for a null MX (RFC 7505); of a relay always 4.1.2, since it comes from a
 * file of ours, and a mistake there or in our zone bounces no mail.
 */
int lookup_hosts(struct mx_list *, const struct lookup *, struct dsn *why);

/* Frees the records. */
void lookup_texts_finish(struct lookup_texts *);

#endif
