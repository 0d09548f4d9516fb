/* SPDX-License-Identifier: ISC */
#ifndef STS_FETCH_H
#define STS_FETCH_H

#include <stdbool.h>

#include "base/deadline.h"
#include "dns/resolver.h"
#include "qmail/ipme.h"
#include "sts/failure.h"
#include "sts/policy.h"
#include "sts/record.h"
#include "tls/helper.h"

/*
 * Fetch the policy of a domain over HTTPS (RFC 8461 section 3.3).
 *
 * In two steps: sts_fetch_connect() asks the DNS, opens sockets and starts the
 * TLS helper; sts_fetch_policy() only reads and writes.  In between the caller
 * can give up all rights that the second step does not need.
 */

struct sts_fetch {
	const char *domain;            /* as sts_domain_read() makes it */
	struct dns_resolver *resolver; /* NULL: it could not be set up */
	const struct ipme *ipme;       /* our own addresses */
	const char *helper;            /* the path of qmail-remote-tls */
	const char *anchors;           /* trust anchors to verify with */
	const char *state; /* directory for the index of the anchors, or NULL */
	struct deadline until; /* for all of both steps */
};

/*
 * Asks for the record of the domain; the result is zeroed if there is no
 * answer.
 */
void sts_fetch_record(const struct sts_fetch *, struct sts_record *);

/*
 * Whether a policy host must not have this address: it is our own, or would
 * lead into the local network.  Otherwise anybody who has a domain could make
 * us send requests to it.
 */
bool sts_fetch_refuses(const struct ipme *, const struct ip *);

/*
 * Connects to mta-sts.DOMAIN, and verifies its certificate for that name.
 * Tries its addresses until one of them gets so far, but for those that are
 * refused.  Fills *session, of which the caller owns the descriptors then.  -1
 * with the reason.
 */
int sts_fetch_connect(const struct sts_fetch *, struct tls_start *session,
    struct sts_failure *why);

/*
 * Asks for the policy, reads the reply, and parses it into a zeroed policy.
 * Closes the descriptors of the session; the helper then ends by itself.  -1
 * with the reason; then the policy stays zeroed.
 */
int sts_fetch_policy(const struct sts_fetch *, struct tls_start *session,
    struct sts_policy *, struct sts_failure *why);

#endif
