/* SPDX-License-Identifier: ISC */
#ifndef DNS_RESOLVER_H
#define DNS_RESOLVER_H

#include "base/deadline.h"
#include "dns/resolvconf.h"
#include "dns/message.h"

/*
 * Ask many questions at once.
 *
 * Names are absolute; there is no search list, no hosts file and no environment
 * variable.  A question is sent to one server after the other, in rounds, until
 * one of them answers; a late answer to an earlier try counts.  The length of a
 * round comes from resolv.conf ("timeout" for each server, doubled in each
 * round; the number of rounds is "attempts").  Without these options there are
 * rounds of 1, 3, 11 and 45 seconds, divided equally among the servers.  The
 * question ends early if the last try at each server has failed.
 *
 * A question carries EDNS0.  A server that replies with an error, or does not
 * reply within half of its time, is asked again without it (RFC 6891 section
 * 6.2.2).  A truncated answer is asked for over TCP.  If an answer is only an
 * alias, the same question is asked for the target, up to 8 times.
 */
struct dns_resolver;

/*
 * The configuration is copied.  With wants_security, trusted servers are asked
 * for the AD bit; otherwise all answers are DNS_INSECURE.  NULL if the resolver
 * cannot be set up: a temporary failure.
 */
struct dns_resolver *dns_resolver_create(const struct dns_config *,
    bool wants_security);

/* Whether an answer can be DNS_SECURE. */
bool dns_resolver_knows_security(const struct dns_resolver *);

/*
 * Adds a question, which the functions that wait send.  *into is pending, and
 * DNS_TEMPFAIL, until it has its result; until then it must stay valid.  The
 * caller finishes it.  A name that cannot exist (empty label, label over 63
 * bytes, over 253 in all) is DNS_NXDOMAIN at once, as in stock.  "" asks for
 * the root.
 */
void dns_resolver_ask(struct dns_resolver *, const char *name, int type,
    struct dns_answer *into);

/*
 * Waits until all questions are answered.  A deadline replaces the number of
 * rounds: questions are repeated until it has passed.  A question without an
 * answer then is DNS_TEMPFAIL.
 */
void dns_resolver_wait(struct dns_resolver *, struct deadline);

/*
 * The same in steps, for a caller that does not need all the answers: returns
 * at the latest when a question has got its result.  False if there is nothing
 * to wait for: no question is pending, or the deadline has passed.  That ends a
 * round of the questions that are pending; they go on in the next wait.
 */
bool dns_resolver_wait_some(struct dns_resolver *, struct deadline);

/* Gives a question up; it stays DNS_TEMPFAIL.  No effect without a question. */
void dns_resolver_forget(struct dns_resolver *, struct dns_answer *into);

/* Frees it; NULL is allowed. */
void dns_resolver_destroy(struct dns_resolver *);

#endif
