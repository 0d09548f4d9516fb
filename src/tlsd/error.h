/* SPDX-License-Identifier: ISC */
#ifndef TLSD_ERROR_H
#define TLSD_ERROR_H

#include <stdbool.h>

#include "base/dsn.h"

/* Describe errors of the TLS library in a few words. */

#define TLSD_ERROR_LOCAL "4.3.5" /* RFC 3463: system incorrectly configured */
#define TLSD_ERROR_PEER "4.7.5"  /* RFC 3463: cryptographic failure */

/*
 * Sets the text: doing, then the text for an error code of the library.  Always
 * returns -1.
 */
int tlsd_error_set(struct dsn *, const char *status, const char *doing,
    unsigned long code);

/*
 * Whether the first error in the library's queue is a local one that no server
 * can cause (no randomness).  Later errors in the queue are its consequences.
 */
bool tlsd_error_is_local(void);

/*
 * Sets "what: why" as a local failure, from the last error in the library's
 * queue.  Always returns -1.
 */
int tlsd_error_set_local(struct dsn *, const char *what);

#endif
