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
 * The whole handshake.  said gets the text for the status record, whatever
 * the outcome.  TLS_STATUS_READY means, where anchors were given, that the
 * certificate has verified, for that name.
 */
enum tls_status tls_session_handshake(struct tls_session *, struct deadline,
    struct dsn *said);

/* Up to n bytes of clear text; *got of them were moved when DONE. */
enum tls_step tls_session_read(struct tls_session *, void *, size_t n,
    size_t *got);
enum tls_step tls_session_write(struct tls_session *, const void *, size_t n,
    size_t *got);

/* Sends close_notify; does not wait for the server's. */
enum tls_step tls_session_close(struct tls_session *);

/* A step failed for want of memory of ours, which is not the server's doing. */
bool tls_session_lacks_memory(const struct tls_session *);

/* poll() said that the socket is readable: the next read may ask it. */
void tls_session_is_readable(struct tls_session *);

#endif
