/* SPDX-License-Identifier: ISC */
#ifndef IO_PASS_H
#define IO_PASS_H

#include <sys/types.h>
#include <stddef.h>

/*
 * Send and receive messages with open descriptors over a Unix socket of type
 * SOCK_SEQPACKET (unix(7), SCM_RIGHTS).
 */

#define PASS_MAX 3 /* descriptors of one message */

/*
 * Sends one message of n bytes, at least one, with copies of up to PASS_MAX
 * descriptors, which stay the caller's.  Does not wait.  0, or -1 with errno:
 * EAGAIN if the other side has not read what was sent before, EPIPE if it has
 * closed.
 */
int pass_send(int socket, const void *, size_t n, const int *fd, size_t nfd);

/*
 * Receives one message into a buffer of this size, without waiting.  Its
 * *nfd descriptors, close-on-exec, are the caller's.  Returns its length; 0 if
 * the other side has closed; or -1 with errno: EAGAIN if there is none,
 * EMSGSIZE if it was too long or had too many descriptors, all of which are
 * closed then.
 */
ssize_t pass_receive(int socket, void *, size_t size, int fd[PASS_MAX],
    size_t *nfd);

#endif
