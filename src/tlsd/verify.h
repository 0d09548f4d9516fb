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

/* A reference identifier of a server (RFC 9525); valid when zeroed. */
struct tlsd_name {
	char text[TLSD_NAME_SIZE]; /* "" if the name is not valid */
	struct ip ip;              /* if it is an address */
	bool is_ip;
};

/*
 * All reference identifiers of a server: the certificate has to be for one of
 * them.  Everything is borrowed.
 */
struct tlsd_reference {
	const struct tlsd_name *name; /* NULL: only those of the list */
	const char *list; /* host names, separated by commas; or NULL */
	bool has_domains; /* in the list ".a.example": any one label before */
};

/*
 * Parses a host name, an address or an address literal; a dot at the end is
 * removed.
 */
void tlsd_name_parse(struct tlsd_name *, const char *text);

/* Whether any name is valid.  In a list, those that are not are skipped. */
bool tlsd_verify_has_name(const struct tlsd_reference *);

/* Accepts any certificate, without looking at it. */
void tlsd_verify_disable(SSL_CTX *);

/*
 * Requires one of the names, at least one of which must be valid, in the
 * subjectAltName, as a dNSName or an iPAddress according to what it is.  The
 * subject's common name never counts (RFC 9525 section 6.3), and a wildcard
 * only as the whole of the leftmost label.  Also limits the chain and requires
 * that the certificate may be used by a server.  0, or -1 with why.
 */
int tlsd_verify_require(X509_VERIFY_PARAM *, const struct tlsd_reference *,
    struct dsn *why);

/*
 * Of a certificate that was verified so: the first of the names that it is for.
 * In place of a domain, that is the name in the certificate.
 */
void tlsd_verify_find_name(SSL *, const struct tlsd_reference *,
    char name[TLS_NAME_SIZE]);

/*
 * Whether the certificate was verified.  A successful handshake is not enough
 * (a server that authenticates without a certificate, CVE-2024-12797), nor is
 * the verify result, which is also good if there was nothing to verify.
 */
bool tlsd_verify_is_good(SSL *);

/*
 * For a result of the library that is not X509_V_OK: the reason as text, and
 * the cause; TLS_CAUSE_LOCAL if it says nothing about the server.
 */
const char *tlsd_verify_text(long result);
enum tls_cause tlsd_verify_cause(long result);

#endif
