/* SPDX-License-Identifier: ISC */
#ifndef TLSD_SERVE_H
#define TLSD_SERVE_H

#include <stdbool.h>
#include <stddef.h>

#include "tls/request.h"

/*
 * Fork for each session that is asked for by message.
 *
 * The parent holds nothing of a session: it closes the descriptors when the
 * child has them, and reads no file of a delivery.  All children have the same
 * layout of memory, so when one crashes the service ends, and nobody can find
 * the layout by trying.
 */

#define SERVE_TURN_MS 2000 /* longest time without a look at has_changed */

struct serve {
	int socket;   /* of type SOCK_SEQPACKET, see io/pass.h */
	size_t limit; /* sessions at a time; more are turned away */
	/* Runs in the child; returns its exit code. */
	int (*session)(void *data, int argc, char **argv,
	    const int fd[TLS_FDS]);
	/* Whether the service is out of date. */
	bool (*has_changed)(const void *data);
	void *data;
};

/*
 * Serves until the other side of the socket has closed, a session has crashed,
 * or the service is out of date: then it returns false.  Sessions go on.  True
 * in a child, whose session has ended with this code.
 */
bool serve_run(const struct serve *, int *code);

#endif
