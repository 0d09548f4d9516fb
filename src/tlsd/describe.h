/* SPDX-License-Identifier: ISC */
#ifndef TLSD_DESCRIBE_H
#define TLSD_DESCRIBE_H

#include <openssl/x509.h>

#include "tls/status.h"

/* Write what a certificate says, as text for a person. */

/*
 * Each function writes a line of printable ASCII, cut to the size of text:
 * the names of the subjectAltName, separated by commas; the issuer (RFC 4514);
 * the end of its validity: "2027-01-31 12:00:00 UTC".  What the certificate
 * does not have, or has in a form that cannot be read, is "".
 */
void tlsd_describe_names(const X509 *, char text[TLS_TEXT_SIZE]);
void tlsd_describe_issuer(const X509 *, char text[TLS_TEXT_SIZE]);
void tlsd_describe_expiry(const X509 *, char text[TLS_TEXT_SIZE]);

#endif
