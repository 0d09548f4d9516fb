/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_SESSIONKEY_H
#define DELIVERY_SESSIONKEY_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "delivery/plan.h"
#include "delivery/setup.h"

/*
 * The keys by which a connection is found again (cache/message.h).
 *
 * A key has all that the trust in a session, and what is said in it before
 * MAIL, depend on: a delivery gets only a session that it would have made in
 * the same way itself.  It is text, one line "name value" for each field, with
 * control bytes and '%' as %XX, so that two different lists of fields never
 * make the same key.  A file is in it by its path and version (io/fileid.h); no
 * secret is ever in it: credentials are their file and the place of the line.
 * If a file cannot be looked at, there is no key.  Also in both keys is the
 * version of control/concurrencyhosts, for the places that connections take.
 *
 * Keys are to be made before a connection is.  If a file is replaced between
 * the two, the session goes by the older version, and no delivery that sees the
 * newer one finds it.
 *
 * Key 1 is known before the DNS is asked: next hop, port, our name in EHLO, our
 * addresses, client certificate, credentials, address families, SMTPUTF8, and
 * what the TLS policy depends on here: the matching line of control/tlspolicy,
 * the host files, dane, mtasts, tlsstrictness, trust anchors, TLS-Required, the
 * MTA-STS policy if one is in the cache.
 *
 * Key 2 is of one address of a plan: the address, the port, our name, our
 * address, client certificate, credentials, SMTPUTF8, and the policy itself:
 * level, source, names, anchors, the TLSA records, whether TLS is implicit, and
 * whether only HELO is said.  The name of the server is in it only where it is
 * verified, and trust anchors where they decide, or are to be tested.
 */

#define SESSIONKEY_MAX 16384 /* bytes; without a key nothing is kept */

/*
 * For a setup that was read, with its envelope and limits, and before
 * setup_plan().  The key replaces what is in the buf, which is empty if there
 * is none.
 */
void sessionkey_by_next_hop(const struct setup *, struct buf *key);

/*
 * For an address of a plan, with the mode that its first attempt has
 * (search_first_mode()), under this limit: the key of a line of
 * control/concurrencyhosts, or "".  Empty if the host is not to be used.
 */
void sessionkey_by_address(const struct setup *, const struct plan *,
    size_t address, const char *limit, struct buf *key);

/*
 * Seconds for which a session with this address of the plan may be used: until
 * the TTL of its TLSA records, which counts from when they were asked for, or
 * its MTA-STS policy has ended; or ULONG_MAX if it depends on neither.
 */
unsigned long sessionkey_lives(const struct setup *, const struct plan *,
    size_t address, int64_t now);

#endif
