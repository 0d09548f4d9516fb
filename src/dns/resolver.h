/* SPDX-License-Identifier: ISC */
#ifndef DNS_RESOLVER_H
#define DNS_RESOLVER_H

#include "base/deadline.h"
#include "dns/resolvconf.h"
#include "dns/message.h"

/*
 * Ask many questions at once.
 *
 * Names are absolute; no search list, no hosts file, no environment.  A
 * question goes to one server after the other, in rounds, until one of them
 * answers; a late answer to an earlier try counts.  How long a round lasts is
 * what resolv.conf says (for each server "timeout", doubled in each round, and
 * as many rounds as "attempts"), or else 1, 3, 11 and 45 seconds, in equal
 * parts for the servers in it.  If all of them have failed in the last try of
 * each, it ends at once.
 *
 * A question carries EDNS0.  A server that answers it with an error, or not at
 * all in half the time it has, is asked without (RFC 6891 section 6.2.2).  A
 * truncated answer is asked for over TCP.  An answer that is an alias and no
 * more is followed by the same question for what it leads to, up to 8 times.
 */
struct dns_resolver;

/*
 * The configuration is copied.  With wants_security, servers that are trusted
 * are asked for the AD bit; otherwise all answers are DNS_INSECURE.  NULL when
 * the resolver cannot be set up: temporary.
 */
struct dns_resolver *dns_resolver_create(const struct dns_config *,
    bool wants_security);

/*
 * The answer is there after dns_resolver_wait(), which also sends the
 * question.  *into stays where it is until then.  A name that cannot be asked
 * at all (empty label, label over 63 bytes, over 253 in all) is DNS_NXDOMAIN
 * at once, as in stock.  "" asks for the root.
 */
void dns_resolver_ask(struct dns_resolver *, const char *name, int type,
    struct dns_answer *into);

/*
 * Waits until all questions are answered.  A deadline takes the place of the
 * number of rounds: questions are repeated until it has passed.  What is
 * unanswered then is DNS_TEMPFAIL.
 */
void dns_resolver_wait(struct dns_resolver *, struct deadline);

void dns_resolver_destroy(struct dns_resolver *);

#endif
