/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_TLSRPT_H
#define DELIVERY_TLSRPT_H

#include "base/buf.h"
#include "delivery/search.h"
#include "delivery/situation.h"

/*
 * Tell a collector of TLS reports (RFC 8460) how TLS with the hosts of a
 * delivery went: one datagram with one JSON object, in the format of libtlsrpt
 * 0.5.
 */

/*
 * Appends the datagram for a search that has ended.  Nothing if the domain has
 * no TLSRPT record, or several, or if nothing is known: no host got as far as
 * STARTTLS, and none was left out by its policy.
 *
 * A failure is told once: not again for the attempt in clear text that it
 * caused.  Hosts that are left out count if they come before the server that
 * was ready.  If the policy is long, only the first hosts are told of, so that
 * the datagram can be sent.
 */
void tlsrpt_format(struct buf *json, const struct situation *,
    const struct mx_list *, const struct plan *, const struct search *);

/*
 * Sends it to the socket at path.  Never waits; if nobody receives it, it is
 * lost.
 */
void tlsrpt_send(const char *path, const struct buf *json);

#endif
