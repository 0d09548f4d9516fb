/* SPDX-License-Identifier: ISC */
#ifndef TLSD_VERIFY_H
#define TLSD_VERIFY_H

#include <stdbool.h>

#include <openssl/ssl.h>

#include "base/dsn.h"
#include "base/ip.h"
#include "tls/status.h"

/*
 * Whether a server is who it has to be.
 */

#define TLSD_NAME_SIZE 254 /* of the longest host name with its NUL */

/* The name of a server; valid when zeroed. */
struct tlsd_name {
	char text[TLSD_NAME_SIZE]; /* "" when it is not a valid name */
	struct ip ip;              /* where it is an address */
	bool is_ip;
};

/* From a host name, an address or an address literal; a dot at its end goes. */
void tlsd_name_parse(struct tlsd_name *, const char *text);

/* Any certificate will do, and none is looked at. */
void tlsd_verify_disable(SSL_CTX *);

/*
 * The name must be in the subjectAltName, for what it is; the subject's
 * common name never counts (RFC 9525 section 6.3), and a wildcard only as
 * the whole of the leftmost label.  0, or -1 with why.
 */
int tlsd_verify_require(SSL *, const struct tlsd_name *, struct dsn *why);

/*
 * The verdict, in our own words: the handshake's return is not enough (a
 * server that proves itself without a certificate, CVE-2024-12797), nor is
 * the verify result, which is fine where there was nothing to verify.
 */
bool tlsd_verify_is_good(SSL *);

/* If it is not: why, in words, and the code of RFC 8460 section 4.3. */
const char *tlsd_verify_text(SSL *);
enum tls_cause tlsd_verify_cause(SSL *);

#endif
