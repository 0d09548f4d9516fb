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
 * read as far as there is room: otherwise a peer that does not read until its
 * replies are read would cause a deadlock.
 */

#define STREAM_IN_SIZE 8192
#define STREAM_OUT_SIZE 16384

enum stream_status {
	STREAM_OK,
	STREAM_CLOSED,  /* the peer ended the connection */
	STREAM_TIMEOUT, /* the deadline passed */
	STREAM_INPUT,   /* the peer sent something before it should */
	STREAM_ERROR    /* reset or worse; error is errno */
};

struct stream {
	int fd;
	int error;
	bool has_dropped_output; /* output was dropped, since the connection
				    broke */
	size_t in_start, in_end;
	size_t out_start, out_end;
	char in[STREAM_IN_SIZE];
	char out[STREAM_OUT_SIZE];
};

/* Uses fd, which stays the caller's to close. */
void stream_init(struct stream *, int fd);

/* Unread input; its length by *n. */
const char *stream_input(const struct stream *, size_t *n);

/* Whether there is unread input in the buffer; the socket is not looked at. */
bool stream_has_unread(const struct stream *);
void stream_consume(struct stream *, size_t n);

/* Room for output that has not been written. */
size_t stream_room(const struct stream *);

/* Appends to the output; n must not be more than stream_room(). */
void stream_put(struct stream *, const void *, size_t n);

/* Output that has not been written yet. */
bool stream_is_pending(const struct stream *);

/*
 * Waits until output was written, or input was read if there is room for it.
 * Input that was read before stays, whatever it returns.
 */
enum stream_status stream_move(struct stream *, struct deadline);

/*
 * Writes the bytes from *at up to end past the output buffer, which must be
 * empty, and moves *at; each piece must be written within stall_ms.
 * STREAM_INPUT as soon as there is input, which is looked for whenever the
 * peer makes us wait; the call may be repeated.
 */
enum stream_status stream_send(struct stream *, const char **at,
    const char *end, int64_t stall_ms);

/* Writes all pending output; input may arrive meanwhile. */
enum stream_status stream_flush(struct stream *, struct deadline);

/* Reads what the peer has sent so far, without waiting; is anything unread? */
bool stream_has_input(struct stream *);

/* The same; is nothing unread, and the connection not closed? */
bool stream_is_quiet(struct stream *);

/* The peer has ended the connection, or it broke; no wait either. */
bool stream_has_ended(struct stream *);

#endif
