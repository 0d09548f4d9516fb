/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_HANDSHAKE_H
#define DELIVERY_HANDSHAKE_H

#include "delivery/attempt.h"
#include "tls/helper.h"

/*
 * Do a TLS handshake as a policy demands it, and say what its result means
 * under that policy.
 */
struct handshake {
	struct tls_helper helper; /* what it is to do */
	struct tls_start tls;     /* with the result */
	struct tls_facts facts;   /* if there is an observer, or for tests */
	enum tls_source source;   /* of what was demanded */
	struct attempt_test test; /* as in struct attempt */
};

/*
 * The connection is closed, or belongs to the helper.  If the status of the
 * result is READY, the caller owns what is in tls.
 */
void handshake_make(struct handshake *, const struct attempt_config *,
    const struct tls_policy *, int connection);

/*
 * The same in two steps.  A helper gets ready, and does not use the connection.
 * Then either it does the handshake, or it ends, and the connection stays the
 * caller's.  The struct must not be copied between the steps.
 */
void handshake_prepare(struct handshake *, const struct attempt_config *,
    const struct tls_policy *, int connection);
void handshake_perform(struct handshake *, const struct tls_policy *,
    int connection);
void handshake_cancel(struct handshake *);

#endif
