/* SPDX-License-Identifier: ISC */
#ifndef TLSD_VERIFY_H
#define TLSD_VERIFY_H

#include <stdbool.h>

#include <openssl/ssl.h>

#include "base/dsn.h"
#include "base/ip.h"
#include "tls/status.h"

/* Check the certificate of a server. */

#define TLSD_NAME_SIZE 254 /* longest host name with its NUL */

/* The reference identifier of a server (RFC 9525); valid when zeroed. */
struct tlsd_name {
	char text[TLSD_NAME_SIZE]; /* "" if the name is not valid */
	struct ip ip;              /* if it is an address */
	bool is_ip;
};

/*
 * Parses a host name, an address or an address literal; a dot at the end is
 * removed.
 */
void tlsd_name_parse(struct tlsd_name *, const char *text);

/* Accepts any certificate, without looking at it. */
void tlsd_verify_disable(SSL_CTX *);

/*
 * Requires the name in the subjectAltName, as a dNSName or an iPAddress
 * according to what it is.  The subject's common name never counts (RFC 9525
 * section 6.3), and a wildcard only as the whole of the leftmost label.  0, or
 * -1 with why.
 */
int tlsd_verify_require(SSL *, const struct tlsd_name *, struct dsn *why);

/*
 * Whether the certificate was verified.  A successful handshake is not enough
 * (a server that authenticates without a certificate, CVE-2024-12797), nor is
 * the verify result, which is also good if there was nothing to verify.
 */
bool tlsd_verify_is_good(SSL *);

/*
 * If it was not: the reason as text, and the result type of RFC 8460 section
 * 4.3.  The text is also there for a result of the library (X509_V_ERR_...).
 */
const char *tlsd_verify_text(SSL *);
const char *tlsd_verify_result_text(long result);
enum tls_cause tlsd_verify_cause(SSL *);

#endif
