/* SPDX-License-Identifier: ISC */
#ifndef TLSD_TUNNEL_H
#define TLSD_TUNNEL_H

#include "tlsd/session.h"

/*
 * Moves bytes between the descriptor clear, one end of a stream socket pair,
 * and a session over the socket server, until either side has ended.
 *
 * All that the server has sent, as far as it has come, is handed over before
 * anything more is sent to it, and in one piece if it fits: so whoever looks
 * for what came unasked behind a reply sees it.
 *
 * When clear ends, what came through it is sent, and close_notify after it;
 * the server's answers to that are not waited for.  When the server ends,
 * all that it sent in the session is delivered, and then the other end of
 * clear reads end of file and can write no more.  Neither descriptor is
 * closed.
 *
 * How the session ended is told once, before the other end of clear can see
 * that it has.
 */
typedef void tlsd_tunnel_on_end(enum tls_end, const char *text);

void tlsd_tunnel_run(struct tlsd_session *, int server, int clear,
    tlsd_tunnel_on_end *);

#endif
