/* SPDX-License-Identifier: ISC */
#ifndef TLSD_CONTEXT_H
#define TLSD_CONTEXT_H

#include <openssl/ssl.h>

#include "base/dsn.h"

/*
 * Set up the library, always in the same way: its configuration file and the
 * defaults of a distribution do not matter.  The context is for a client and
 * verifies nothing yet.
 *
 * Must be called before any other function of the library: from then on the
 * library allocates by base/mem's rules, so running out of memory ends the
 * program.
 *
 * security is OpenSSL's level, 0 to 2; at 0 TLS 1.0 and 1.1 are allowed too.
 * NULL with why after a failure of ours.
 */
SSL_CTX *tlsd_context_create(int security, struct dsn *why);

#endif
