/* SPDX-License-Identifier: ISC */
#ifndef TLS_HELPER_H
#define TLS_HELPER_H

#include <sys/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/deadline.h"
#include "base/tlsa.h"
#include "tls/request.h"
#include "tls/status.h"

/*
 * Passes the start of a session on to a qmail-remote-tls that runs already: the
 * n bytes of the request as a message, and the descriptors that come with it
 * (tls/request.h), which stay the caller's.  False if there is none.
 */
typedef bool tls_helper_pass(void *data, const char *request, size_t n,
    const int fd[TLS_FDS]);

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

	/*
	 * Tried first, if it is not NULL.  What comes of it never decides
	 * anything: until that helper has begun with the handshake, it is
	 * replaced by one of our own for whatever reason it does not go on.
	 */
	tls_helper_pass *pass;
	void *pass_data;
};

/*
 * A helper.  If it waits for its connection, or the handshake has succeeded,
 * the caller owns both descriptors and the child.
 */
struct tls_start {
	struct tls_result result; /* TLS_STATUS_NONE: it waits */
	int fd;                   /* clear text, non-blocking; otherwise -1 */
	int status;               /* for tls_helper_end(); otherwise -1 */
	pid_t pid;                /* of the helper; 0: not our child */

	/* If it is not our child; both are private. */
	bool is_passed;
	int clear;      /* the helper's end of fd, until it has begun */
	int connection; /* from then on, to end its use; otherwise -1 */
};

/*
 * Starts a helper on the connection and waits for the result of the handshake;
 * closes socket, but for tls_helper_settle().  A failure on our side is
 * TLS_STATUS_LOCAL, and so is a helper that ends without a status record or
 * writes none in time.
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
 * After a handshake that succeeded, when tls_helper_stop() will not be called
 * any more: closes our last reference to the connection.  The caller owns the
 * other descriptors and the child as before.
 */
void tls_helper_settle(struct tls_start *);

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
 * Waits until a helper has ended, and with it its connection, after the clear
 * text was closed.
 */
void tls_helper_await_end(int status, struct deadline until);

/* Longer than it takes to send what the network takes. */
#define TLS_HELPER_END_MS 1000

/*
 * Kills a helper that waits, or whose session is given up, and closes both
 * descriptors.  Does nothing if there is none.  Afterwards no process but this
 * one has the connection.  One that is not our child is ended by closing the
 * clear text and shutting the session's connection down, and waited for; if it
 * is stopped, it may still have the connection, but cannot use it any more.
 */
void tls_helper_stop(struct tls_start *);

#endif
