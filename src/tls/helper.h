/* SPDX-License-Identifier: ISC */
#ifndef TLS_HELPER_H
#define TLS_HELPER_H

#include <sys/types.h>

#include "base/tlsa.h"
#include "tls/request.h"
#include "tls/status.h"

/*
 * Start qmail-remote-tls on a connection, and read its status records.
 *
 * qmail-remote-tls(8) says what the names mean, and when the anchors are used
 * if there are TLSA records.
 */
struct tls_helper {
	const char *program;
	const char *name; /* of the server, for SNI and verification */
	const struct tlsa_set *tlsa; /* NULL or empty: no DANE */
	const char *names;      /* further ones for DANE-TA, "a,b"; or NULL */
	const char *anchors;    /* to verify with; NULL: no verification */
	const char *match;      /* names for them instead, "a,.b"; or NULL */
	const char *state;      /* directory for the index of the anchors */
	const char *clientcert; /* both are set, or both are NULL */
	const char *clientkey;
	enum tls_describe describe;
	struct tls_facts *facts; /* filled if describe is set */
	unsigned long security;  /* see struct tls_request */
	unsigned long timeout_s; /* seconds for the whole handshake */
};

/*
 * A helper.  If it waits for its connection, or the handshake has succeeded,
 * the caller owns both descriptors and the child.
 */
struct tls_start {
	struct tls_result result; /* TLS_STATUS_NONE: it waits */
	int fd;                   /* clear text, non-blocking; otherwise -1 */
	int status;               /* for tls_helper_end(); otherwise -1 */
	pid_t pid;                /* of the helper */
};

/*
 * Starts a helper on the connection and waits for the result of the handshake;
 * closes socket in any case.  A failure on our side is TLS_STATUS_LOCAL, and so
 * is a helper that ends without a status record or writes none in time.
 */
struct tls_start tls_helper_start(const struct tls_helper *, int socket);

/*
 * Starts a helper that gets ready, and waits until the connection is its own:
 * before tls_helper_handshake() it neither reads from socket nor writes to it.
 * socket stays the caller's.  If the helper cannot be started, the result is
 * TLS_STATUS_LOCAL, which may be ignored if there will be no TLS.
 */
struct tls_start tls_helper_prepare(const struct tls_helper *, int socket);

/*
 * The handshake, by a helper that was prepared for the same server and socket.
 * Its time begins now.  Otherwise as tls_helper_start().
 */
void tls_helper_handshake(const struct tls_helper *, struct tls_start *,
    int socket);

/*
 * How a session ended that reads end of file or cannot be written to.  The
 * helper has written a record before it closed the clear text; without one it
 * has died.  That is TLS_END_NONE, a fault of ours, and the text says how
 * ("qmail-remote-tls: killed by signal 31").  Waits at most one second, in case
 * it does neither.  pid 0: the helper is not a child of this process, so how it
 * ended is not known.
 */
enum tls_end tls_helper_end(int status, pid_t pid, char text[TLS_TEXT_SIZE]);

/*
 * Kills a helper that waits, or whose session is given up, and closes both
 * descriptors.  Does nothing if there is none.  Afterwards no process but this
 * one has the connection.
 */
void tls_helper_stop(struct tls_start *);

#endif
