/* SPDX-License-Identifier: ISC */
#ifndef TLS_HELPER_H
#define TLS_HELPER_H

#include <sys/types.h>

#include "tls/status.h"

/*
 * Start qmail-remote-tls on a connection, and read what it says of its
 * handshake and of the end of its session.
 */
struct tls_helper {
	const char *program;
	const char *name;       /* the server's, for SNI and verification */
	const char *anchors;    /* to verify by, or NULL: no verification */
	const char *state;      /* directory for compiled anchors */
	const char *clientcert; /* both, or NULL */
	const char *clientkey;
	unsigned long security;  /* as in struct tls_request */
	unsigned long timeout_s; /* for the whole handshake */
};

struct tls_start {
	struct tls_result result;
	int fd;     /* clear text, non-blocking; -1 unless READY */
	int status; /* where the last word is to be read; -1 unless READY */
	pid_t pid;  /* of the helper, when READY */
};

/*
 * Hands the connection to a helper: socket is closed here in any case.  What
 * could not be done on our side is TLS_STATUS_LOCAL, and so is a helper that
 * ends without a word or says nothing in time.
 */
struct tls_start tls_helper_start(const struct tls_helper *, int socket);

/*
 * How a session ended that reads end of file or cannot be written to: the
 * helper has told it before it closed the clear text, or it has died.  That
 * is TLS_END_NONE, a fault of ours, and the text says how ("qmail-remote-tls:
 * killed by signal 31").  Waits no longer than a second, for a helper that
 * does neither.
 */
enum tls_end tls_helper_end(int status, pid_t, char text[TLS_TEXT_SIZE]);

/* Ends the helper of a session that is given up, and closes its descriptors. */
void tls_helper_stop(struct tls_start *);

#endif
