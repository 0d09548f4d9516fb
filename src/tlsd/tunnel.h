/* SPDX-License-Identifier: ISC */
#ifndef TLSD_TUNNEL_H
#define TLSD_TUNNEL_H

#include "tlsd/session.h"

/*
 * Move bytes between the descriptor clear, one end of a stream socketpair, and
 * a TLS session over the socket server, until one side has ended.
 *
 * Everything that has arrived from the server is passed on before more is sent
 * to it, and in one piece if it fits.  So a reader that looks for unsolicited
 * bytes after a reply sees them.
 *
 * When clear ends, everything that came through it is sent, then close_notify;
 * replies to that are not waited for.  When the server ends, everything that it
 * sent in the session is passed on; then the other end of clear reads end of
 * file and cannot write any more.  Neither descriptor is closed.
 *
 * The callback is called once with the way in which the session ended, before
 * the other end of clear can see it.
 */
typedef void tlsd_tunnel_on_end(enum tls_end, const char *text);

/* Runs until the session has ended; the callback has been called then. */
void tlsd_tunnel_run(struct tlsd_session *, int server, int clear,
    tlsd_tunnel_on_end *);

#endif
