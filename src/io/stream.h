/* SPDX-License-Identifier: ISC */
#ifndef IO_STREAM_H
#define IO_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/deadline.h"

/*
 * Buffered bytes in and out over one descriptor, under deadlines.
 *
 * The descriptor is non-blocking.  While output waits for the peer, input is
 * taken in as far as there is room, so that a peer which does not read until
 * its replies are read is no dead-lock.
 */

#define STREAM_IN_SIZE 8192
#define STREAM_OUT_SIZE 16384

enum stream_status {
	STREAM_OK,
	STREAM_CLOSED,  /* the peer ended the connection */
	STREAM_TIMEOUT, /* the deadline passed */
	STREAM_SPOKE,   /* the peer spoke while it should have listened */
	STREAM_ERROR    /* reset or worse; error is errno */
};

struct stream {
	int fd;
	int error;
	bool has_lost; /* output was dropped, since the connection broke */
	size_t in_start, in_end;
	size_t out_start, out_end;
	char in[STREAM_IN_SIZE];
	char out[STREAM_OUT_SIZE];
};

/* Takes over fd (it is not closed by the stream). */
void stream_init(struct stream *, int fd);

/* Unread input; its length by *n. */
const char *stream_input(const struct stream *, size_t *n);

/* Some of it is there already; the socket is not looked at. */
bool stream_has_unread(const struct stream *);
void stream_consume(struct stream *, size_t n);

/* Room for output that has not been written. */
size_t stream_room(const struct stream *);

/* Appends to the output; n must not be more than stream_room(). */
void stream_put(struct stream *, const void *, size_t n);

/* Output that has not been written yet. */
bool stream_is_pending(const struct stream *);

/*
 * Waits until something moved: output written, or input read if there is
 * room for it.  Whatever it returns, input that was read before is still
 * there to be looked at.
 */
enum stream_status stream_move(struct stream *, struct deadline);

/*
 * Writes the bytes from *at up to end past the output buffer, which must be
 * empty, and moves *at; each piece must get on within stall_ms.  STREAM_SPOKE
 * as soon as there is input: it is looked for wherever the peer makes us
 * wait, and may be asked for more than once.
 */
enum stream_status stream_send(struct stream *, const char **at,
    const char *end, int64_t stall_ms);

/* Writes all pending output; input may arrive meanwhile. */
enum stream_status stream_flush(struct stream *, struct deadline);

/* Takes what the peer sent so far, without waiting: anything unread? */
bool stream_has_input(struct stream *);

/* Likewise: nothing unread, and the connection not ended? */
bool stream_is_quiet(struct stream *);

/* The peer has ended the connection, or it broke; no wait either. */
bool stream_has_ended(struct stream *);

#endif
