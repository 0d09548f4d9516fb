/* SPDX-License-Identifier: ISC */
#ifndef TLSD_SESSION_H
#define TLSD_SESSION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/deadline.h"
#include "base/dsn.h"
#include "tls/status.h"

/*
 * One TLS session, client side, over a connected stream socket.
 *
 * In this order: create, which reads all files; handshake; then read and
 * write in any order, and close.  After create no file is opened any more,
 * unless the anchors are a directory.
 */

struct tlsd_session;

struct tlsd_session_params {
	int fd;               /* borrowed; never waited for but in handshake */
	int security;         /* 0 to 2: see tls_policy_security() */
	const char *name;     /* of the server, a host name or an address */
	const char *anchors;  /* the certificate must verify; or NULL */
	const char *statedir; /* for the anchors' compiled form; or NULL */
	const char *cert;     /* PEM files to present to the server; or NULL */
	const char *key;
};

/*
 * What became of a read, a write or a close.  WANT_READ and WANT_WRITE are
 * what the socket has to be polled for before the same call is made again.
 */
enum tlsd_step {
	TLSD_STEP_DONE,
	TLSD_STEP_WANT_READ,
	TLSD_STEP_WANT_WRITE,
	TLSD_STEP_EOF,   /* close_notify: nothing more will be read */
	TLSD_STEP_FAILED /* nothing more can be read or written */
};

/* NULL, with why, for a reason of our own: TLS_STATUS_LOCAL. */
struct tlsd_session *tlsd_session_create(const struct tlsd_session_params *,
    struct dsn *why);
void tlsd_session_destroy(struct tlsd_session *);

/*
 * The whole handshake.  TLS_STATUS_READY means, where anchors were given, that
 * the certificate has verified, for that name.
 */
enum tls_status tlsd_session_handshake(struct tlsd_session *, struct deadline,
    struct tls_result *);

/* Up to n bytes of clear text; *got of them were moved when DONE. */
enum tlsd_step tlsd_session_read(struct tlsd_session *, void *, size_t n,
    size_t *got);
enum tlsd_step tlsd_session_write(struct tlsd_session *, const void *, size_t n,
    size_t *got);

/* Sends close_notify; does not wait for the server's. */
enum tlsd_step tlsd_session_close(struct tlsd_session *);

/*
 * Why the last step was FAILED, to be asked before the next one: text says it.
 * TLS_END_LOCAL for a failure of ours, TLS_END_BROKEN for all others.
 */
enum tls_end tlsd_session_failure(const struct tlsd_session *,
    char text[TLS_TEXT_SIZE]);

/* poll() said that the socket is readable: the next read may ask it. */
void tlsd_session_is_readable(struct tlsd_session *);

#endif
