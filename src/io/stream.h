/* SPDX-License-Identifier: ISC */
#ifndef IO_STREAM_H
#define IO_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/deadline.h"

/*
 * Buffered input and output over one descriptor, under deadlines.
 *
 * The descriptor is non-blocking.  While output waits for the peer, input is
 * read as long as there is room for it.  Otherwise a peer that does not read
 * until its replies are read would cause a deadlock.
 */

#define STREAM_IN_SIZE 8192
#define STREAM_OUT_SIZE 16384

enum stream_status {
	STREAM_OK,
	STREAM_CLOSED,  /* the peer closed the connection */
	STREAM_TIMEOUT, /* the deadline passed */
	STREAM_INPUT,   /* input arrived before all was sent */
	STREAM_ERROR    /* reset or another error; errno is in error */
};

struct stream {
	int fd;
	int error;
	bool has_dropped_output; /* the connection broke */
	size_t in_start, in_end;
	size_t out_start, out_end;
	char in[STREAM_IN_SIZE];
	char out[STREAM_OUT_SIZE];
};

/* Uses fd, which must be non-blocking and stays the caller's to close. */
void stream_init(struct stream *, int fd);

/* The unread input, borrowed until the next call; *n is its length. */
const char *stream_input(const struct stream *, size_t *n);

/* Removes n bytes of the unread input; n must not be more than there is. */
void stream_consume(struct stream *, size_t n);

/* How many bytes can be added to the output. */
size_t stream_room(const struct stream *);

/* Appends to the output; n must not be more than stream_room(). */
void stream_put(struct stream *, const void *, size_t n);

/* Overwrites what was written, for instance a secret. */
void stream_wipe_written(struct stream *);

/* Whether there is output that has not been written yet. */
bool stream_is_pending(const struct stream *);

/*
 * Waits until some output was written, or some input was read if there is room
 * for it.  Input that was read stays in the buffer, whatever is returned.
 */
enum stream_status stream_move(struct stream *, struct deadline);

/*
 * Writes the bytes from *at to end directly, not through the output buffer,
 * which must be empty; moves *at.  Each piece must be written within stall_ms
 * milliseconds.  STREAM_INPUT as soon as there is input, which is looked for
 * only when the peer makes us wait; the call may be repeated.
 */
enum stream_status stream_send(struct stream *, const char **at,
    const char *end, int64_t stall_ms);

/* Writes all pending output; input may arrive in the meantime. */
enum stream_status stream_flush(struct stream *, struct deadline);

/*
 * Reads what the peer has sent so far, without waiting.  Is there unread input?
 */
bool stream_has_input(struct stream *);

/* The same.  Is there no unread input, and is the connection still open? */
bool stream_is_quiet(struct stream *);

/* Whether the peer has closed the connection, or it broke; does not wait. */
bool stream_has_ended(struct stream *);

#endif
