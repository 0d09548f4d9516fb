/* SPDX-License-Identifier: ISC */
#define _DEFAULT_SOURCE /* explicit_bzero() */

#include "io/stream.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "io/fdio.h"

void
stream_init(struct stream *s, int fd)
{
	s->fd = fd;
	s->error = 0;
	s->has_dropped_output = false;
	s->in_start = s->in_end = 0;
	s->out_start = s->out_end = 0;
}

const char *
stream_input(const struct stream *s, size_t *n)
{
	*n = s->in_end - s->in_start;
	return s->in + s->in_start;
}

/* Whether the buffer has unread input; does not look at the socket. */
static bool
has_unread(const struct stream *s)
{
	return s->in_end > s->in_start;
}

void
stream_consume(struct stream *s, size_t n)
{
	assert(n <= s->in_end - s->in_start);
	s->in_start += n;
	if (s->in_start == s->in_end)
		s->in_start = s->in_end = 0;
}

size_t
stream_room(const struct stream *s)
{
	return sizeof s->out - (s->out_end - s->out_start);
}

void
stream_put(struct stream *s, const void *p, size_t n)
{
	assert(n <= stream_room(s));
	if (n > sizeof s->out - s->out_end) {
		memmove(s->out, s->out + s->out_start,
		    s->out_end - s->out_start);
		s->out_end -= s->out_start;
		s->out_start = 0;
	}
	memcpy(s->out + s->out_end, p, n);
	s->out_end += n;
}

void
stream_wipe_written(struct stream *s)
{
	explicit_bzero(s->out, s->out_start);
	explicit_bzero(s->out + s->out_end, sizeof s->out - s->out_end);
}

bool
stream_is_pending(const struct stream *s)
{
	return s->out_start < s->out_end;
}

static size_t
unread(const struct stream *s)
{
	return s->in_end - s->in_start;
}

static bool
has_room_for_input(const struct stream *s)
{
	return unread(s) < sizeof s->in;
}

static bool
would_block(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK;
}

/*
 * Reads once; there must be room for input.  STREAM_OK if there is nothing to
 * read.
 */
static enum stream_status
take_input(struct stream *s)
{
	ssize_t got;

	if (s->in_end == sizeof s->in) {
		memmove(s->in, s->in + s->in_start, unread(s));
		s->in_end -= s->in_start;
		s->in_start = 0;
	}
	got = fdio_read(s->fd, s->in + s->in_end, sizeof s->in - s->in_end);
	if (got > 0) {
		s->in_end += (size_t)got;
		return STREAM_OK;
	}
	if (got == 0)
		return STREAM_CLOSED;
	if (would_block())
		return STREAM_OK;
	s->error = errno;
	return STREAM_ERROR;
}

static enum stream_status
give_output(struct stream *s)
{
	ssize_t put =
	    fdio_write(s->fd, s->out + s->out_start, s->out_end - s->out_start);

	if (put == -1 && !would_block()) {
		s->error = errno;
		return STREAM_ERROR;
	}
	if (put > 0)
		s->out_start += (size_t)put;
	if (s->out_start == s->out_end)
		s->out_start = s->out_end = 0;
	return STREAM_OK;
}

/*
 * Called when a write has failed.  Reads what the peer has sent before:
 * a server that refuses and closes the connection while we write has its reply
 * read before the broken connection is reported.  Returns failure if there is
 * no new input.
 */
static enum stream_status
read_remaining_input(struct stream *s, enum stream_status failure)
{
	size_t before = unread(s);
	enum stream_status status = STREAM_OK;

	while (status == STREAM_OK && has_room_for_input(s)) {
		size_t n = unread(s);

		status = take_input(s);
		if (status == STREAM_OK && unread(s) == n)
			break;
	}
	if (unread(s) == before)
		return failure;
	s->has_dropped_output = s->has_dropped_output || stream_is_pending(s);
	s->out_start = s->out_end = 0;
	return STREAM_OK;
}

static enum stream_status
wait_for(struct stream *s, struct pollfd *p, struct deadline until)
{
	int n = fdio_poll(p, until);

	if (n == -1) {
		s->error = errno;
		return STREAM_ERROR;
	}
	return n == 0 ? STREAM_TIMEOUT : STREAM_OK;
}

/* For data that is not in the output buffer. */
static enum stream_status
wait_to_send(struct stream *s, struct deadline until)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN | POLLOUT };
	enum stream_status status = wait_for(s, &p, until);

	return status == STREAM_OK && p.revents & POLLIN ? take_input(s)
							 : status;
}

enum stream_status
stream_move(struct stream *s, struct deadline until)
{
	struct pollfd p = { .fd = s->fd };
	enum stream_status status;

	/* Usually all of it can be written at once, without poll(). */
	if (stream_is_pending(s)) {
		size_t before = s->out_end - s->out_start;

		status = give_output(s);
		if (status != STREAM_OK)
			return read_remaining_input(s, status);
		if (s->out_end - s->out_start < before)
			return STREAM_OK;
	}
	if (has_room_for_input(s))
		p.events |= POLLIN;
	if (stream_is_pending(s))
		p.events |= POLLOUT;
	status = wait_for(s, &p, until);
	if (status == STREAM_OK && p.events & POLLIN &&
	    p.revents & (POLLIN | POLLHUP | POLLERR))
		status = take_input(s);
	return status;
}

enum stream_status
stream_send(struct stream *s, const char **at, const char *end,
    int64_t stall_ms)
{
	assert(!stream_is_pending(s));
	while (*at < end) {
		ssize_t put = fdio_write(s->fd, *at, (size_t)(end - *at));
		enum stream_status status = STREAM_OK;

		if (put >= 0) {
			*at += put;
			continue;
		}
		if (!would_block()) {
			s->error = errno;
			status = read_remaining_input(s, STREAM_ERROR);
		} else if (!has_unread(s)) {
			status = wait_to_send(s, deadline_in(stall_ms));
		}
		if (has_unread(s))
			return STREAM_INPUT;
		if (status != STREAM_OK)
			return status;
	}
	return STREAM_OK;
}

enum stream_status
stream_flush(struct stream *s, struct deadline until)
{
	enum stream_status status = STREAM_OK;

	while (status == STREAM_OK && stream_is_pending(s))
		status = stream_move(s, until);
	return status;
}

bool
stream_is_quiet(struct stream *s)
{
	return unread(s) == 0 && take_input(s) == STREAM_OK && unread(s) == 0;
}

bool
stream_has_input(struct stream *s)
{
	if (!has_unread(s))
		(void)take_input(s);
	return has_unread(s);
}

bool
stream_has_ended(struct stream *s)
{
	return s->error != 0 ||
	       (has_room_for_input(s) && take_input(s) != STREAM_OK);
}
