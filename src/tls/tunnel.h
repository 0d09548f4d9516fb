/* SPDX-License-Identifier: ISC */
#ifndef TLS_TUNNEL_H
#define TLS_TUNNEL_H

#include "tls/session.h"

/*
 * Moves bytes between the descriptor clear, one end of a stream socket pair,
 * and a session over the socket server, until either side has ended.
 *
 * When clear ends, what came through it is sent, and close_notify after it;
 * the server's answers to that are not waited for.  When the server ends,
 * all that it sent in the session is delivered, and then the other end of
 * clear reads end of file and can write no more.  Neither descriptor is
 * closed.
 *
 * -1 if it was want of memory of ours that ended it.
 */
int tls_tunnel_run(struct tls_session *, int server, int clear);

#endif
