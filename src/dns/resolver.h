/* SPDX-License-Identifier: ISC */
#ifndef DNS_RESOLVER_H
#define DNS_RESOLVER_H

#include "base/deadline.h"
#include "dns/rr.h"

/*
 * Ask many questions at once.
 *
 * Names are absolute; no search list, no hosts file, no environment.  Every
 * question carries EDNS0 and the AD bit (RFC 6840 section 5.7), and goes to
 * TCP by itself when the answer is truncated.
 */
struct dns_resolver;

/* NULL when the resolver cannot be set up: temporary. */
struct dns_resolver *dns_resolver_create(void);

/*
 * Sends the question now; the answer is there after dns_resolver_wait().
 * *into stays where it is until then.  A name that cannot be sent at all
 * (empty label, label over 63 bytes, over 253 in all) is DNS_NXDOMAIN at
 * once, as in stock.  "" asks for the root.
 */
void dns_resolver_ask(struct dns_resolver *, const char *name, int type,
    struct dns_answer *into);

/*
 * Waits until all questions are answered or the deadline has passed; what is
 * unanswered then is DNS_TEMPFAIL.
 */
void dns_resolver_wait(struct dns_resolver *, struct deadline);

void dns_resolver_destroy(struct dns_resolver *);

#endif
