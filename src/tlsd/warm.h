/* SPDX-License-Identifier: ISC */
#ifndef TLSD_WARM_H
#define TLSD_WARM_H

#include <openssl/ssl.h>

#include "base/dsn.h"

/*
 * Start the library completely, for a process that forks for each session: what
 * it has loaded the children need not load, and they share the memory.
 *
 * The library loads an algorithm when it is first used.  So this does a
 * handshake with itself, about a key that is then forgotten.  No secret is
 * left, and no file is read.
 */
struct tlsd_warm;

/* NULL with why if no session would be possible. */
struct tlsd_warm *tlsd_warm_up(struct dsn *why);

/*
 * A context as tlsd_context_create() makes it, which is the caller's: each
 * process can take one.
 */
SSL_CTX *tlsd_warm_take(struct tlsd_warm *, int security);

void tlsd_warm_free(struct tlsd_warm *);

#endif
