/* SPDX-License-Identifier: ISC */
#ifndef TLSD_SESSION_H
#define TLSD_SESSION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/deadline.h"
#include "base/dsn.h"
#include "base/tlsa.h"
#include "tls/request.h"
#include "tls/status.h"

/*
 * One TLS session, client side, over a connected stream socket.
 *
 * The order of calls: create, which reads all files; handshake; then read and
 * write in any order, and close.  After create no file is opened, unless the
 * anchors are a directory.
 */

struct tlsd_session;
struct tlsd_warm;

/* The text and records are borrowed until the handshake has ended. */
struct tlsd_session_params {
	struct tlsd_warm *warm; /* a context is taken from it; NULL: created */
	int fd;                 /* borrowed; only the handshake waits for it */
	int security;           /* 0 to 2, see tls_policy_security() */
	const char *name;       /* of the server: host name or address */
	const struct tlsa_set *tlsa; /* to verify with; NULL: no DANE */
	const char *names;    /* further ones for DANE-TA: "a,b"; or NULL */
	const char *anchors;  /* to verify with; NULL: no verification */
	const char *match;    /* names for them instead: "a,.b"; or NULL */
	const char *statedir; /* for the anchors' index; or NULL */
	enum tls_describe describe;
	const char *cert; /* our own, as PEM files; or both NULL */
	const char *key;
};

/*
 * The result of a read, a write or a close.  After WANT_READ and WANT_WRITE the
 * socket must be polled for that before the same call is made again.
 */
enum tlsd_step {
	TLSD_STEP_DONE,
	TLSD_STEP_WANT_READ,
	TLSD_STEP_WANT_WRITE,
	TLSD_STEP_EOF,   /* close_notify: no more input */
	TLSD_STEP_FAILED /* no more input or output is possible */
};

/* NULL with why after a failure of ours: TLS_STATUS_LOCAL. */
struct tlsd_session *tlsd_session_create(const struct tlsd_session_params *,
    struct dsn *why);
void tlsd_session_destroy(struct tlsd_session *);

/* Whether anchors may be read in the handshake, if they are a directory. */
bool tlsd_session_has_anchors(const struct tlsd_session *);

/*
 * Does the whole handshake before the deadline.  TLS_STATUS_READY means that
 * the certificate was verified: by the TLSA records, if any of them is usable,
 * otherwise by the anchors, if they were given.
 */
enum tls_status tlsd_session_handshake(struct tlsd_session *, struct deadline,
    struct tls_result *);

/*
 * After the handshake, whatever its result: what was asked for by describe, and
 * what each way of verifying says.  With TLS_DESCRIBE_ACCEPT the session does
 * not depend on the anchors, nor on whether they can be read.
 */
void tlsd_session_facts(const struct tlsd_session *, struct tls_facts *);

/* Move up to n bytes of clear text; *got is their number if DONE. */
enum tlsd_step tlsd_session_read(struct tlsd_session *, void *, size_t n,
    size_t *got);
enum tlsd_step tlsd_session_write(struct tlsd_session *, const void *, size_t n,
    size_t *got);

/* Sends close_notify; does not wait for that of the server. */
enum tlsd_step tlsd_session_close(struct tlsd_session *);

/*
 * Why the last step was FAILED; call it before the next step.  text describes
 * it.  TLS_END_LOCAL for a failure of ours, otherwise TLS_END_BROKEN.
 */
enum tls_end tlsd_session_failure(const struct tlsd_session *,
    char text[TLS_TEXT_SIZE]);

/* poll() said that the socket is readable: the next read tries it again. */
void tlsd_session_is_readable(struct tlsd_session *);

#endif
