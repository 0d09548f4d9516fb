/* SPDX-License-Identifier: ISC */
#ifndef CACHE_CLIENT_H
#define CACHE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "cache/message.h"

/*
 * A delivery's side of its talk with qmail-remote-cache.
 *
 * The broker is a help and never a condition: whatever fails here means that
 * there is no broker, and the delivery goes on without it.
 */

#define CACHE_CLIENT_MS 20 /* longest wait for an answer, or for its start */
/*
 * How late the answer may be after QUEUED.  The broker is there, and where many
 * wait there is much to do for the machine: if it only takes a little longer,
 * they must not all go on at once without a place.
 */
#define CACHE_CLIENT_LATE_MS 2000
#define CACHE_CLIENT_LIST_MS 1000 /* for an answer to LIST: no mail waits */

/* All is borrowed. */
struct cache_client_files {
	const char *socket;  /* run/qmail-remote/cache.sock */
	const char *program; /* the path of qmail-remote-cache */
};

/* Starts as { .fd = -1 }. */
struct cache_client {
	int fd;           /* close-on-exec; -1: there is no broker */
	bool has_version; /* the first answer has come, and it was ours */
	/* The last answer; its text is in bytes, up to the next message. */
	struct cache_message answer;
	char *bytes; /* CACHE_MESSAGE_MAX of them; NULL before the first one */
};

/*
 * Connects to the broker, or starts it and connects.  In any case that takes
 * CACHE_CLIENT_MS at most.  It is started only if this process is of the user
 * that owns the socket's directory, which can be written to, and not root; a
 * broker of another user is none.  To be called before the sandbox is entered.
 */
void cache_client_open(struct cache_client *,
    const struct cache_client_files *);

/*
 * Connects to a broker that runs, of the user that owns the socket's directory,
 * and starts none: for qmail-remote-check, which root may run.  0, or -1 with
 * errno: ENOENT or ECONNREFUSED if none runs, EACCES if this user may not ask
 * it, EPERM if it is of another user, EAGAIN if it accepts nobody.
 */
int cache_client_join(struct cache_client *, const char *socket);

/*
 * Sends a message and waits for its answer: CACHE_CLIENT_MS, and after QUEUED
 * as long as the message says and CACHE_CLIENT_LATE_MS more; for an answer to
 * LIST CACHE_CLIENT_LIST_MS.  The answer is one that this message can have. HIT
 * has the session's descriptors in fd, close-on-exec and the caller's: a
 * connected stream socket, and in TLS the status descriptor; all others are -1.
 * False if there is no broker, or none any more: then the socket is closed, and
 * nothing waits for it again.
 */
bool cache_client_ask(struct cache_client *, const struct cache_message *,
    int fd[PASS_MAX]);

/* Waits for the next answer to LIST, in the same way. */
bool cache_client_next(struct cache_client *);

/*
 * Sends a message that has no answer, with nfd descriptors.  False if it cannot
 * be sent.  The socket stays open then, and with it a place that the delivery
 * has.
 */
bool cache_client_tell(struct cache_client *, const struct cache_message *,
    const int *fd, size_t nfd);

/*
 * Closes the socket: what the delivery was given is the broker's again.  The
 * text of the last answer is no longer valid.
 */
void cache_client_close(struct cache_client *);

#endif
