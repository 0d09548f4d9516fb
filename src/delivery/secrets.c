/* SPDX-License-Identifier: ISC */
#define _DEFAULT_SOURCE /* explicit_bzero() */

#include "delivery/secrets.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "io/fdio.h"

/* A pipe holds more: 64 KB on Linux and the BSDs. */
#define TEXT_SIZE (CREDENTIALS_USER_MAX + CREDENTIALS_SECRET_MAX + 3)

static void
format(struct buf *b, const struct credentials *c)
{
	(void)buf_reserve(b, TEXT_SIZE);
	buf_putc(b, (char)('0' + c->kind));
	buf_append(b, c->user.data, c->user.len);
	buf_putc(b, '\0');
	buf_append(b, c->secret.data, c->secret.len);
	buf_putc(b, '\0');
}

int
secrets_put(const struct credentials *c)
{
	struct buf text = { 0 };
	int fd[2], error = 0;

	if (pipe(fd) == -1)
		return -1;
	format(&text, c);
	if (fdio_set_nonblocking(fd[1]) == -1 ||
	    fdio_write_all(fd[1], text.data, text.len, 0) == -1)
		error = errno;
	buf_wipe(&text);
	close(fd[1]);
	if (error == 0)
		return fd[0];
	close(fd[0]);
	errno = error;
	return -1;
}

/* One piece that is ended by a NUL; what is behind it, or NULL. */
static const char *
take_piece(const char *at, const char *end, size_t max, struct buf *into)
{
	const char *nul = memchr(at, '\0', (size_t)(end - at));
	size_t n;

	if (nul == NULL)
		return NULL;
	n = (size_t)(nul - at);
	if (n == 0 || n > max)
		return NULL;
	(void)buf_reserve(into, n);
	buf_append(into, at, n);
	return nul + 1;
}

static bool
parse(struct credentials *c, const char *at, const char *end)
{
	if (at == end || (*at != '0' + CREDENTIALS_PASSWORD &&
			     *at != '0' + CREDENTIALS_TOKEN))
		return false;
	c->kind = (enum credentials_kind)(*at - '0');
	at = take_piece(at + 1, end, CREDENTIALS_USER_MAX, &c->user);
	if (at != NULL)
		at = take_piece(at, end, CREDENTIALS_SECRET_MAX, &c->secret);
	return at == end;
}

bool
secrets_take(int fd, struct credentials *c)
{
	char text[TEXT_SIZE + 1];
	size_t n = 0;
	ssize_t got;
	bool ok;

	/* Nobody writes to it any more, so no read waits. */
	do {
		got = fdio_read(fd, text + n, sizeof text - n);
		n += got > 0 ? (size_t)got : 0;
	} while (got > 0 && n < sizeof text);
	close(fd);
	ok = got == 0 && parse(c, text, text + n);
	explicit_bzero(text, sizeof text);
	if (!ok)
		credentials_finish(c);
	return ok;
}
