/* SPDX-License-Identifier: ISC */
#ifndef TLSD_PROOF_H
#define TLSD_PROOF_H

#include <stdbool.h>

#include <openssl/ssl.h>

#include "base/dsn.h"
#include "base/tlsa.h"
#include "tls/request.h"
#include "tls/status.h"
#include "tlsd/verify.h"

struct tlsd_anchors;

/*
 * What the certificate of a server has to prove, and whether it does: nothing;
 * a name, by a chain to our trust anchors (PKIX); or what TLSA records say
 * (DANE).
 *
 * The records decide if one of them is usable.  Otherwise the anchors do, if
 * there are any.
 */
struct tlsd_proof {
	/* Set by the caller; borrowed until the handshake has ended. */
	struct tlsd_name name;
	const struct tlsa_set *tlsa; /* NULL: no DANE */
	const char *names;           /* further ones for DANE-TA; or NULL */
	const char *match;           /* for the anchors instead; or NULL */
	enum tls_describe describe;

	/* The rest is private, and zero at first. */
	enum tls_proof wanted; /* NONE, PKIX or DANE */
	bool is_unusable;      /* there are records, but none is usable */
	struct tlsd_anchors *anchors;
	struct dsn no_anchors; /* why there are none, for the facts */

	/* If it is to be described: */
	X509 *cert;
	long pkix, dane; /* X509_V_...; of anchors; of records */
};

/*
 * Reads the anchors, if they may be needed, and prepares the session; anchors
 * and statedir may be NULL.  0, or -1 with why after a failure of ours.
 */
int tlsd_proof_open(struct tlsd_proof *, SSL *, const char *anchors,
    const char *statedir, struct dsn *why);
void tlsd_proof_close(struct tlsd_proof *);

/*
 * Before the handshake: decides what is wanted, and tells the library.  Parses
 * records of strangers, so it belongs into the sandbox.  False if the handshake
 * is not to be tried; then the result says why.
 */
bool tlsd_proof_demand(struct tlsd_proof *, SSL *, struct tls_result *);

/*
 * After a handshake that succeeded: whether what was wanted was proved, and
 * how, or why not.
 */
void tlsd_proof_check(const struct tlsd_proof *, SSL *, struct tls_result *);

/* Of a handshake that failed because of the certificate: why. */
void tlsd_proof_explain(SSL *, struct tls_result *);

/*
 * A failure of ours while anchors were looked up that were to decide; NULL if
 * there was none.
 */
const struct dsn *tlsd_proof_failure(const struct tlsd_proof *);

/* What is known of the certificate, if it is to be described. */
void tlsd_proof_add_facts(const struct tlsd_proof *, SSL *, struct tls_facts *);

#endif
