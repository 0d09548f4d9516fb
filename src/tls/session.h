/* SPDX-License-Identifier: ISC */
#ifndef TLS_SESSION_H
#define TLS_SESSION_H

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

struct tls_session;

struct tls_session_params {
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
enum tls_step {
	TLS_STEP_DONE,
	TLS_STEP_WANT_READ,
	TLS_STEP_WANT_WRITE,
	TLS_STEP_EOF,   /* close_notify: nothing more will be read */
	TLS_STEP_FAILED /* nothing more can be read or written */
};

/* NULL, with why, for a reason of our own: TLS_STATUS_LOCAL. */
struct tls_session *tls_session_create(const struct tls_session_params *,
    struct dsn *why);
void tls_session_destroy(struct tls_session *);

/*
 * The whole handshake.  TLS_STATUS_READY means, where anchors were given, that
 * the certificate has verified, for that name.
 */
enum tls_status tls_session_handshake(struct tls_session *, struct deadline,
    struct tls_result *);

/* Up to n bytes of clear text; *got of them were moved when DONE. */
enum tls_step tls_session_read(struct tls_session *, void *, size_t n,
    size_t *got);
enum tls_step tls_session_write(struct tls_session *, const void *, size_t n,
    size_t *got);

/* Sends close_notify; does not wait for the server's. */
enum tls_step tls_session_close(struct tls_session *);

/*
 * Why the last step was FAILED, to be asked before the next one: text says it.
 * TLS_END_LOCAL for a failure of ours, TLS_END_BROKEN for all others.
 */
enum tls_end tls_session_failure(const struct tls_session *,
    char text[TLS_TEXT_SIZE]);

/* poll() said that the socket is readable: the next read may ask it. */
void tls_session_is_readable(struct tls_session *);

#endif
