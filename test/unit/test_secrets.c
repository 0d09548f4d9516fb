/* SPDX-License-Identifier: ISC */
#define _DEFAULT_SOURCE /* explicit_bzero() */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "io/fdio.h"

/* Two calls that can fail; they do where there is an error. */
static struct {
	int set_nonblocking, write_all;
} fault;

static int
fake_set_nonblocking(int fd)
{
	errno = fault.set_nonblocking;
	return errno ? -1 : fdio_set_nonblocking(fd);
}

static int
fake_write_all(int fd, const void *data, size_t n, int64_t stall_ms)
{
	errno = fault.write_all;
	return errno ? -1 : fdio_write_all(fd, data, n, stall_ms);
}

#define fdio_set_nonblocking fake_set_nonblocking
#define fdio_write_all fake_write_all
#undef _DEFAULT_SOURCE /* the module defines it again */
#include "delivery/secrets.c"

static char text[10000];

/* "1", a user that is one byte too long, "s". */
static char long_user[CREDENTIALS_USER_MAX + 5];

static void
check_through(enum credentials_kind kind, size_t nuser, size_t nsecret)
{
	struct credentials c = { .kind = kind }, back = { 0 };
	int fd;

	memset(text, 'x', sizeof text);
	buf_append(&c.user, text, nuser);
	buf_append(&c.secret, text, nsecret);
	fd = secrets_put(&c);
	assert_true(fd > 2);
	/* It is for the next program. */
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
	assert_true(secrets_take(fd, &back));
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(back.kind, kind);
	assert_int_equal(back.user.len, nuser);
	assert_int_equal(back.secret.len, nsecret);
	assert_memory_equal(back.user.data, c.user.data, nuser);
	assert_memory_equal(back.secret.data, c.secret.data, nsecret);
	credentials_finish(&c);
	credentials_finish(&back);
}

static void
come_through(void **state)
{
	(void)state;
	check_through(CREDENTIALS_PASSWORD, 4, 6);
	check_through(CREDENTIALS_TOKEN, 1, 1);
	check_through(CREDENTIALS_PASSWORD, CREDENTIALS_USER_MAX,
	    CREDENTIALS_SECRET_MAX);
}

/* What a descriptor has is not believed. */
static void
rejects_anything_else(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
	} cases[] = {
		{ "", 0 },
		{ "1", 1 },
		{ "1user", 5 },
		{ "1user\0", 6 },
		{ "1user\0secret", 12 },
		{ "1user\0secret\0x", 14 },
		{ "1user\0secret\0\0", 14 },
		{ "0user\0secret\0", 13 },
		{ "3user\0secret\0", 13 },
		{ "user\0secret\0", 12 },
		{ "1\0secret\0", 9 },
		{ "1user\0\0", 7 },
		{ text, sizeof text },
		{ long_user, sizeof long_user },
	};

	(void)state;
	memset(text, 'x', sizeof text);
	text[0] = '1';
	text[4] = text[sizeof text - 1] = '\0';
	memset(long_user, 'x', sizeof long_user);
	long_user[0] = '1';
	long_user[CREDENTIALS_USER_MAX + 2] = '\0';
	long_user[CREDENTIALS_USER_MAX + 4] = '\0';
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct credentials back = { 0 };
		int fd[2];

		assert_int_equal(pipe(fd), 0);
		assert_int_equal(write(fd[1], cases[i].bytes, cases[i].n),
		    (ssize_t)cases[i].n);
		close(fd[1]);
		if (secrets_take(fd[0], &back))
			fail_msg("case %zu", i);
		assert_null(back.user.data);
		assert_null(back.secret.data);
	}
}

static void
tells_what_could_not_be_done(void **state)
{
	struct credentials c = { .kind = CREDENTIALS_TOKEN }, none = { 0 };
	struct rlimit before, few = { 0 };

	(void)state;
	buf_puts(&c.user, "user");
	buf_puts(&c.secret, "secret");
	getrlimit(RLIMIT_NOFILE, &before);
	few = before;
	few.rlim_cur = 3;
	setrlimit(RLIMIT_NOFILE, &few);
	assert_int_equal(secrets_put(&c), -1);
	assert_int_equal(errno, EMFILE);
	setrlimit(RLIMIT_NOFILE, &before);
	fault.set_nonblocking = EBADF;
	assert_int_equal(secrets_put(&c), -1);
	assert_int_equal(errno, EBADF);
	fault.set_nonblocking = 0;
	/* The pipe takes less than usual. */
	fault.write_all = ETIMEDOUT;
	assert_int_equal(secrets_put(&c), -1);
	assert_int_equal(errno, ETIMEDOUT);
	fault.write_all = 0;
	/* One that was not handed over, or is a directory. */
	assert_false(secrets_take(1000, &none));
	assert_false(secrets_take(open("/", O_RDONLY), &none));
	credentials_finish(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(come_through),
		cmocka_unit_test(rejects_anything_else),
		cmocka_unit_test(tells_what_could_not_be_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
