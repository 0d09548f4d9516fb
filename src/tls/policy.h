/* SPDX-License-Identifier: ISC */
#ifndef TLS_POLICY_H
#define TLS_POLICY_H

#include <stdbool.h>

/*
 * Decide what TLS one MX host must do; pure.
 *
 * It is asked anew for every MX host, so that what is decided for one never
 * leaks to another.
 */

enum tls_level {
	TLS_LEVEL_NONE,    /* clear text, STARTTLS is not tried */
	TLS_LEVEL_MAY,     /* opportunistic (RFC 7435) */
	TLS_LEVEL_ENCRYPT, /* mandatory, whoever the peer is */
	TLS_LEVEL_VERIFY   /* mandatory, and the peer proves its name */
};

/* All that the decision depends on. */
struct tls_situation {
	bool has_anchors;         /* control/trustanchors names something */
	unsigned long strictness; /* control/tlsstrictness */
	const char *name;         /* the MX host's, or an address literal */
};

struct tls_policy {
	enum tls_level level;
	const char *name; /* for SNI, and what the certificate has to prove */
};

/* The policy borrows the name. */
struct tls_policy tls_policy_choose(const struct tls_situation *);

bool tls_policy_tries(const struct tls_policy *);
bool tls_policy_requires(const struct tls_policy *);
bool tls_policy_verifies(const struct tls_policy *);

/*
 * OpenSSL's security level: 0, with TLS from 1.0 on, where clear text would do
 * and so any encryption is better than none; 1, with TLS 1.2 or later, where
 * it is demanded; 2 (112 bits, no SHA-1) where a certificate has to prove
 * something.
 */
unsigned long tls_policy_security(const struct tls_policy *);

/* When TLS fails: the same address once more, in clear text. */
bool tls_policy_falls_back(const struct tls_policy *);

#endif
