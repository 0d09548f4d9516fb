/* SPDX-License-Identifier: ISC */
#include "tlsd/bio.h"

#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <errno.h>
#include <string.h>

#include <openssl/bio.h>

#include "io/fdio.h"
#include "base/mem.h"

/*
 * Limit on handshake messages before clear text moves.  A handshake has fewer
 * than ten, a few session tickets follow it, and key updates come once in
 * millions of records.  So a flood of them ends the session, but a server may
 * update its keys with every record.
 */
#define MESSAGES_MAX 64

#define QUICKACK_READS 8 /* enough for handshake, tickets, reply to EHLO */

bool
tlsd_bio_is_flooded(const struct tlsd_bio *s)
{
	return s->messages > MESSAGES_MAX;
}

static bool
must_stop(struct tlsd_bio *s)
{
	if (deadline_passed(s->until))
		s->expired = true;
	return s->expired || tlsd_bio_is_flooded(s);
}

/*
 * A server sends its session tickets first and its reply next.  If it uses
 * Nagle's algorithm, the reply waits until we acknowledge the tickets, which
 * the kernel would delay by 40 ms in each delivery.  The option lasts only for
 * a short time, so it is set with each of the first reads.
 */
static void
acknowledge_at_once(struct tlsd_bio *s)
{
#ifdef TCP_QUICKACK
	int on = 1;

	if (s->reads < QUICKACK_READS) {
		s->reads++;
		(void)setsockopt(s->fd, IPPROTO_TCP, TCP_QUICKACK, &on,
		    sizeof on);
	}
#else
	(void)s;
#endif
}

/* No memory in the kernel is a failure of ours, whatever the call was for. */
static void
note_error(struct tlsd_bio *s)
{
	if (errno == ENOMEM || errno == ENOBUFS)
		mem_exhausted();
	s->error = errno;
}

/* As recv(), into s->ahead. */
static ssize_t
read_ahead(struct tlsd_bio *s)
{
	ssize_t got;

	do
		got = recv(s->fd, s->ahead, sizeof s->ahead, MSG_DONTWAIT);
	while (got == -1 && errno == EINTR);
	/* Not after an error: it may change errno. */
	if (got > 0)
		acknowledge_at_once(s);
	/*
	 * A short read has emptied the socket; poll() reports what comes later.
	 */
	s->drained = got < (ssize_t)sizeof s->ahead;
	s->ahead_start = 0;
	s->ahead_end = got > 0 ? (size_t)got : 0;
	return got;
}

static bool
has_ahead(const struct tlsd_bio *s)
{
	return s->ahead_start < s->ahead_end;
}

static int
take_ahead(struct tlsd_bio *s, char *data, size_t n)
{
	if (n > s->ahead_end - s->ahead_start)
		n = s->ahead_end - s->ahead_start;
	memcpy(data, s->ahead + s->ahead_start, n);
	s->ahead_start += n;
	return (int)n;
}

static int
socket_read(BIO *bio, char *data, int n)
{
	struct tlsd_bio *s = BIO_get_data(bio);
	ssize_t got;

	BIO_clear_retry_flags(bio);
	if (n <= 0 || must_stop(s))
		return -1;
	if (has_ahead(s))
		return take_ahead(s, data, (size_t)n);
	if (s->drained) {
		BIO_set_retry_read(bio);
		return -1;
	}
	got = read_ahead(s);
	if (got > 0)
		return take_ahead(s, data, (size_t)n);
	if (got == 0)
		s->eof = true;
	else if (errno == EAGAIN || errno == EWOULDBLOCK)
		BIO_set_retry_read(bio);
	else
		note_error(s);
	return got == 0 ? 0 : -1;
}

static int
socket_write(BIO *bio, const char *data, int n)
{
	struct tlsd_bio *s = BIO_get_data(bio);
	ssize_t put;

	BIO_clear_retry_flags(bio);
	if (n <= 0)
		return -1;
	do
		put = send(s->fd, data, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (put == -1 && errno == EINTR);
	if (put >= 0)
		return (int)put;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		BIO_set_retry_write(bio);
	else
		note_error(s);
	return -1;
}

static long
socket_ctrl(BIO *bio, int command, long number, void *p)
{
	const struct tlsd_bio *s = BIO_get_data(bio);

	(void)number;
	(void)p;
	if (command == BIO_CTRL_FLUSH)
		return 1;
	if (command == BIO_CTRL_EOF)
		return s->eof;
	return 0;
}

BIO *
tlsd_bio_create(struct tlsd_bio *s)
{
	BIO *bio;

	/* No search by type is done, so it needs no type number of its own. */
	s->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "socket");
	if (s->method == NULL || !BIO_meth_set_read(s->method, socket_read) ||
	    !BIO_meth_set_write(s->method, socket_write) ||
	    !BIO_meth_set_ctrl(s->method, socket_ctrl))
		return NULL;
	bio = BIO_new(s->method);
	if (bio == NULL)
		return NULL;
	BIO_set_data(bio, s);
	BIO_set_init(bio, 1);
	return bio;
}

void
tlsd_bio_finish(struct tlsd_bio *s)
{
	BIO_meth_free(s->method);
}

void
tlsd_bio_is_readable(struct tlsd_bio *s)
{
	s->drained = false;
}

bool
tlsd_bio_wait(struct tlsd_bio *s, short events)
{
	int n = fdio_wait(s->fd, events, s->until);

	tlsd_bio_is_readable(s);
	if (n == 0)
		s->expired = true;
	else if (n == -1)
		note_error(s);
	return n == 1;
}
