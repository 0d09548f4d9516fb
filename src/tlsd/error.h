/* SPDX-License-Identifier: ISC */
#ifndef TLSD_ERROR_H
#define TLSD_ERROR_H

#include <stdbool.h>

#include "base/dsn.h"

/*
 * Say in few words what the TLS library's errors mean.
 */

#define TLSD_ERROR_LOCAL "4.3.5" /* our own configuration */
#define TLSD_ERROR_PEER "4.7.5"  /* RFC 3463: cryptographic failure */

/* doing, then the text for an error code of the library.  Always -1. */
int tlsd_error_set(struct dsn *, const char *status, const char *doing,
    unsigned long code);

/*
 * Trouble of the library's own, that no server causes: no randomness, if that
 * is the first error in its queue; what it led to comes after it.
 */
bool tlsd_error_is_local(void);

/* "what: why", from the library's queue, as trouble of ours.  Always -1. */
int tlsd_error_set_local(struct dsn *, const char *what);

#endif
