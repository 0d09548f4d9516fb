/* SPDX-License-Identifier: ISC */
#ifndef TLSD_DANE_H
#define TLSD_DANE_H

#include <stdbool.h>

#include <openssl/ssl.h>

#include "base/dsn.h"
#include "base/tlsa.h"
#include "tls/status.h"

/*
 * Verify the certificate of a server by TLSA records (RFC 6698, 7671, 7672).
 *
 * OpenSSL does that, as soon as a session has one record.  With none it
 * verifies by trust anchors instead and says nothing of it, so a session must
 * count its records, and ask for the one that matched.
 */

/*
 * Whether a record is surely usable, as all digests of the right length are.
 * Of a whole certificate or key that is known only when it has been parsed.
 */
bool tlsd_dane_is_certain(const struct tlsa_set *);

/* Whether any record may be usable, before it is parsed. */
bool tlsd_dane_is_possible(const struct tlsa_set *);

/*
 * Gets a session ready for records.  base is the TLSA base domain, a host name.
 * 0, or -1 with why after a failure of ours.
 */
int tlsd_dane_enable(SSL *, const char *base, struct dsn *why);

/*
 * Adds the usable records, after tlsd_dane_enable().  Parses certificates and
 * keys of strangers.  Returns how many are usable, or -1 with why after a
 * failure of ours.
 */
int tlsd_dane_add(SSL *, const struct tlsa_set *, struct dsn *why);

/*
 * After the handshake: whether the certificate was verified by a record; then
 * its three numbers are set.
 */
bool tlsd_dane_find_match(SSL *, struct tls_result *);

#endif
