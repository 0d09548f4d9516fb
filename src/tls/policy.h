/* SPDX-License-Identifier: ISC */
#ifndef TLS_POLICY_H
#define TLS_POLICY_H

#include <stdbool.h>

/*
 * Decide which TLS is required for one MX host.  Pure: no I/O, no state.
 *
 * It is called again for every MX host, so a decision for one host never
 * applies to another.
 */

enum tls_level {
	TLS_LEVEL_NONE,    /* clear text; STARTTLS is not tried */
	TLS_LEVEL_MAY,     /* opportunistic (RFC 7435) */
	TLS_LEVEL_ENCRYPT, /* mandatory, with any certificate */
	TLS_LEVEL_VERIFY   /* mandatory, with a verified certificate */
};

/* Everything that the decision depends on. */
struct tls_situation {
	bool has_anchors;         /* control/trustanchors is not empty */
	unsigned long strictness; /* control/tlsstrictness */
	const char *name;         /* the MX host's, or an address literal */
};

struct tls_policy {
	enum tls_level level;
	const char *name; /* for SNI, and what the certificate has to prove */
};

/* The policy borrows the name. */
struct tls_policy tls_policy_choose(const struct tls_situation *);

/*
 * Whether STARTTLS is tried at all; whether TLS is mandatory; whether the
 * certificate must be verified.
 */
bool tls_policy_tries(const struct tls_policy *);
bool tls_policy_requires(const struct tls_policy *);
bool tls_policy_verifies(const struct tls_policy *);

/*
 * OpenSSL's security level.  0, with TLS from 1.0 on, where clear text is
 * allowed, because any encryption is better than none; 1, with TLS 1.2 or
 * later, where TLS is mandatory; 2 (112 bits, no SHA-1) where a certificate is
 * verified.
 */
unsigned long tls_policy_security(const struct tls_policy *);

/* Whether, after TLS failed, the same address is tried once in clear text. */
bool tls_policy_falls_back(const struct tls_policy *);

#endif
