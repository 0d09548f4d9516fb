/* SPDX-License-Identifier: ISC */
#ifndef TLSD_CREDENTIALS_H
#define TLSD_CREDENTIALS_H

#include <openssl/ssl.h>

#include "base/dsn.h"

/*
 * Use our own certificate and key for servers that ask for one.
 *
 * cert is a PEM file with the certificate and the rest of its chain; key is one
 * with its private key, and may be the same file.  An encrypted key cannot be
 * used: nobody can enter its passphrase.  0, or -1 with 4.3.5 and the path.
 */
int tlsd_credentials_use(SSL_CTX *, const char *cert, const char *key,
    struct dsn *why);

#endif
