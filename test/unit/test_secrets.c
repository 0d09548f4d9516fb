/* SPDX-License-Identifier: ISC */
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

#include "delivery/secrets.h"

static char text[10000];

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
	};

	(void)state;
	memset(text, 'x', sizeof text);
	text[0] = '1';
	text[4] = text[sizeof text - 1] = '\0';
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
tells_that_there_is_no_descriptor(void **state)
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
		cmocka_unit_test(tells_that_there_is_no_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
