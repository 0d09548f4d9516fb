/* SPDX-License-Identifier: ISC */
#ifndef TLS_TROUBLE_H
#define TLS_TROUBLE_H

#include <stdbool.h>

#include "base/dsn.h"

/*
 * Say in few words what the TLS library's errors mean.
 */

#define TLS_TROUBLE_LOCAL "4.3.5" /* our own configuration */
#define TLS_TROUBLE_PEER "4.7.5"  /* RFC 3463: cryptographic failure */

/* doing, then the text for an error code of the library.  Always -1. */
int tls_trouble_tell(struct dsn *, const char *status, const char *doing,
    unsigned long code);

/*
 * To be called before anything of the library is: has it tell of memory that
 * it could not get, since it does not always leave an error, and what fails
 * for that must not pass for a server's fault, or a bad certificate.
 */
void tls_trouble_watch_memory(void);
bool tls_trouble_is_out_of_memory(void);

/*
 * Trouble of the library's own, that no server causes: memory, or an error
 * that is the first in its queue; what that led to comes after it.
 */
bool tls_trouble_is_local(void);

/* "what: why", from the library's queue, as trouble of ours.  Always -1. */
int tls_trouble_local(struct dsn *, const char *what);

#endif
