/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_SECRETS_H
#define DELIVERY_SECRETS_H

#include <stdbool.h>

#include "base/credentials.h"

/*
 * Hand the credentials that a server was shown to qmail-remote-io, which masks
 * them where the server repeats them.
 *
 * They are in a pipe that was filled and closed before, and not in an argument
 * or the environment, which other users can read (proc(5)).  In it are: the
 * digit of the kind, the user, a NUL, the secret, a NUL.
 */

/* A descriptor to read from, which stays open over exec; or -1 with errno. */
int secrets_put(const struct credentials *);

/* Reads them and closes the descriptor.  False if it has anything else. */
bool secrets_take(int fd, struct credentials *);

#endif
