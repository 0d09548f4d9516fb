/* SPDX-License-Identifier: ISC */
#ifndef IO_PASS_H
#define IO_PASS_H

#include <sys/socket.h>
#include <sys/types.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Send and receive messages with open descriptors over a Unix socket of type
 * SOCK_SEQPACKET (unix(7), SCM_RIGHTS).
 */

#define PASS_MAX 3 /* descriptors of one message */

/* All flags that pass_send() sends with; a filter may allow only these. */
#define PASS_SEND_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL)

/*
 * Sends one message of n bytes, at least one, with copies of up to PASS_MAX
 * descriptors, which stay the caller's.  Does not wait.  0, or -1 with errno:
 * EAGAIN if the other side has not read what was sent before, EPIPE if it has
 * closed, ETOOMANYREFS if more descriptors of this user are under way than
 * RLIMIT_NOFILE of this process, ...
 */
int pass_send(int socket, const void *, size_t n, const int *fd, size_t nfd);

/*
 * Receives one message into a buffer of this size, without waiting.  Its
 * *nfd descriptors, close-on-exec, are the caller's.  Returns its length; 0 if
 * the other side has closed, or has sent an empty message, whose descriptors
 * are closed; or -1 with errno: EAGAIN if there is none, EMSGSIZE if it was too
 * long, had too many descriptors, or this process had no room for them, all of
 * which are closed then.
 */
ssize_t pass_receive(int socket, void *, size_t size, int fd[PASS_MAX],
    size_t *nfd);

/* Closes descriptors that were received. */
void pass_close(const int *fd, size_t nfd);

/*
 * Whether a descriptor is a connected stream socket: a local one (AF_UNIX), or
 * one of TCP over IPv4 or IPv6.
 */
bool pass_is_local_stream(int fd);
bool pass_is_tcp_stream(int fd);

/*
 * The user of the other side: who called connect(), or listen().  0, or -1 with
 * errno.
 */
int pass_peer(int socket, uid_t *uid);

#endif
