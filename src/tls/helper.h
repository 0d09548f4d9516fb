/* SPDX-License-Identifier: ISC */
#ifndef TLS_HELPER_H
#define TLS_HELPER_H

#include <sys/types.h>

#include "tls/status.h"

/*
 * Start qmail-remote-tls on a connection, and hear how its handshake went.
 */
struct tls_helper {
	const char *program;
	const char *name;       /* the server's, for SNI and verification */
	const char *anchors;    /* to verify by, or NULL: no verification */
	const char *state;      /* directory for compiled anchors */
	const char *clientcert; /* both, or NULL */
	const char *clientkey;
	unsigned long timeout_s; /* for the whole handshake */
};

struct tls_start {
	enum tls_status status;
	char text[TLS_STATUS_SIZE];
	int fd;    /* clear text, non-blocking; -1 unless READY */
	pid_t pid; /* of the helper, when READY */
};

/*
 * Hands the connection to a helper: socket is closed here in any case.  What
 * could not be done on our side is TLS_STATUS_LOCAL, and so is a helper that
 * ends without a word; one that says nothing in time is TLS_STATUS_FAILED.
 */
struct tls_start tls_helper_start(const struct tls_helper *, int socket);

#endif
