/* SPDX-License-Identifier: ISC */
#ifndef TLSD_CONTEXT_H
#define TLSD_CONTEXT_H

#include <openssl/ssl.h>

#include "base/dsn.h"

/*
 * The library, set up in one way whatever its configuration and its
 * distribution's defaults are; a client that verifies nothing yet.
 *
 * To be called before anything else of the library is: from then on it gets
 * memory as base/mem does, so want of it ends the program.
 *
 * security is OpenSSL's level, 0 to 2; at 0 also TLS 1.0 and 1.1 are spoken.
 * NULL, with why, for a reason of our own.
 */
SSL_CTX *tlsd_context_create(int security, struct dsn *why);

#endif
