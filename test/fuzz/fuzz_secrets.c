/* SPDX-License-Identifier: ISC */

/*
 * The contents of the pipe with credentials that qmail-remote-io reads: what is
 * accepted is written again as it came.
 */

#include <string.h>
#include <unistd.h>

#include "delivery/secrets.h"

#include "fuzz.h"

#define PIPE_MAX ((size_t)32 << 10) /* a pipe holds more */

static int
fill_pipe(const unsigned char *data, size_t size)
{
	int fd[2];

	CHECK(pipe(fd) == 0);
	CHECK(write(fd[1], data, size) == (ssize_t)size);
	close(fd[1]);
	return fd[0];
}

static void
check_size(const struct buf *b, size_t max)
{
	CHECK(b->len > 0 && b->len <= max);
	CHECK(memchr(b->data, '\0', b->len) == NULL);
}

static void
check_same(const struct buf *a, const struct buf *b)
{
	CHECK(a->len == b->len && memcmp(a->data, b->data, a->len) == 0);
}

/* The input is nothing but these credentials. */
static void
check_written(const struct credentials *c, const unsigned char *data,
    size_t size)
{
	size_t user = c->user.len, secret = c->secret.len;

	CHECK(size == 1 + user + 1 + secret + 1);
	CHECK(data[0] == '0' + c->kind);
	CHECK(memcmp(data + 1, c->user.data, user) == 0);
	CHECK(data[1 + user] == '\0');
	CHECK(memcmp(data + 1 + user + 1, c->secret.data, secret) == 0);
	CHECK(data[size - 1] == '\0');
}

static void
check_again(const struct credentials *c)
{
	struct credentials again = { 0 };
	int fd = secrets_put(c);

	CHECK(fd != -1 && secrets_take(fd, &again));
	CHECK(again.kind == c->kind);
	check_same(&again.user, &c->user);
	check_same(&again.secret, &c->secret);
	credentials_finish(&again);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct credentials c = { 0 };
	int lowest = fuzz_lowest_free();

	if (size > PIPE_MAX)
		return 0;
	if (secrets_take(fill_pipe(data, size), &c)) {
		CHECK(c.kind == CREDENTIALS_PASSWORD ||
		      c.kind == CREDENTIALS_TOKEN);
		check_size(&c.user, CREDENTIALS_USER_MAX);
		check_size(&c.secret, CREDENTIALS_SECRET_MAX);
		check_written(&c, data, size);
		check_again(&c);
	} else
		CHECK(c.kind == CREDENTIALS_NONE && c.user.len == 0 &&
		      c.secret.len == 0);
	CHECK(fuzz_lowest_free() == lowest);
	credentials_finish(&c);
	return 0;
}
