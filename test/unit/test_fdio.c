/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <sys/wait.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/fdio.h"

static char dir[] = "/tmp/test_fdio.XXXXXX";

static int
set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	alarm(120);
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int
tear_down(void **state)
{
	static const char *const names[] = { "empty", "some", "limit", "above",
		"large", "fifo", "link", "null", "lock" };

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		unlink(names[i]);
	rmdir("dir");
	return rmdir(dir);
}

static void
make_file(const char *name, size_t n)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	for (size_t i = 0; i < n; i++)
		putc((int)(i * 7 % 251), f);
	assert_int_equal(fclose(f), 0);
}

static void
reads_files(void **state)
{
	static const struct {
		const char *name;
		size_t limit;
		int error; /* 0: it can be read */
		size_t n;
	} cases[] = {
		{ "empty", 100, 0, 0 },
		{ "empty", 0, 0, 0 },
		{ "some", 100, 0, 7 },
		{ "link", 100, 0, 7 },
		{ "limit", 4096, 0, 4096 },
		{ "limit", 4095, EFBIG, 0 },
		{ "above", 4096, EFBIG, 0 },
		{ "above", SIZE_MAX, 0, 4097 },
		{ "large", 3000000, 0, 3000000 },
		{ "large", 2999999, EFBIG, 0 },
		{ "missing", 100, ENOENT, 0 },
		{ "", 100, ENOENT, 0 },
		{ "dir", 100, EISDIR, 0 },
		{ "fifo", 100, EINVAL, 0 }, /* it does not block */
		{ "/dev/null", 100, 0, 0 },
		{ "null", 0, 0, 0 }, /* a link to /dev/null */
		{ "/dev/zero", 100, EINVAL, 0 },
		{ "some/file", 100, ENOTDIR, 0 },
	};

	(void)state;
	make_file("empty", 0);
	make_file("some", 7);
	make_file("limit", 4096);
	make_file("above", 4097);
	make_file("large", 3000000);
	assert_int_equal(mkdir("dir", 0700), 0);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_int_equal(symlink("some", "link"), 0);
	assert_int_equal(symlink("/dev/null", "null"), 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf b = { 0 };
		int got;

		buf_puts(&b, "before");
		errno = 0;
		got = fdio_read_file(cases[i].name, cases[i].limit, &b);
		if (got != (cases[i].error ? -1 : 0) ||
		    (got == -1 && errno != cases[i].error))
			fail_msg("%s up to %zu: %d, errno %d", cases[i].name,
			    cases[i].limit, got, errno);
		if (b.data[b.len] != '\0' || memcmp(b.data, "before", 6) != 0)
			fail_msg("%s: the buffer is spoilt", cases[i].name);
		if (got == 0 && b.len != 6 + cases[i].n)
			fail_msg("%s: %zu bytes", cases[i].name, b.len - 6);
		for (size_t j = 0; got == 0 && j < cases[i].n; j++)
			if (b.data[6 + j] != (char)(j * 7 % 251))
				fail_msg("%s: byte %zu", cases[i].name, j);
		buf_finish(&b);
	}
}

static void
reads_up_to_the_end(void **state)
{
	struct buf b = { 0 };
	struct stat st;
	int fd, ends[2];

	(void)state;
	make_file("some", 5000);
	fd = fdio_open_file("some", &st);
	assert_true(fd != -1);
	/* The file has grown, then shrunk, since fstat(). */
	st.st_size = 10;
	assert_int_equal(fdio_read_to_end(fd, &st, 10000, &b), 0);
	assert_int_equal(b.len, 5000);
	st.st_size = 20000;
	assert_int_equal(lseek(fd, 1000, SEEK_SET), 1000);
	assert_int_equal(fdio_read_to_end(fd, &st, 20000, &b), 0);
	assert_int_equal(b.len, 9000);
	assert_int_equal(fdio_read_to_end(fd, &st, 19999, &b), -1);
	assert_int_equal(errno, EFBIG);
	close(fd);

	/* A read may return less than was asked for. */
	assert_int_equal(pipe(ends), 0);
	if (fork() == 0) {
		for (int i = 0; i < 5; i++) {
			if (write(ends[1], "0123456789", 10) != 10)
				_exit(1);
			poll(NULL, 0, 5);
		}
		_exit(0);
	}
	close(ends[1]);
	buf_cut(&b, 0);
	st.st_size = 50;
	assert_int_equal(fdio_read_to_end(ends[0], &st, 50, &b), 0);
	assert_int_equal(b.len, 50);
	close(ends[0]);
	buf_finish(&b);
}

static void
reads_a_pipe_up_to_its_end(void **state)
{
	char text[6000];
	struct buf b = { 0 };
	int ends[2];

	(void)state;
	memset(text, 'x', sizeof text);
	/* There is no end while somebody can write. */
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], text, sizeof text), sizeof text);
	assert_int_equal(fdio_read_pipe(ends[0], sizeof text, deadline_in(20),
			     &b),
	    -1);
	assert_int_equal(errno, ETIMEDOUT);
	assert_int_equal(b.len, sizeof text);
	/* It appends; the limit is for what comes now. */
	assert_int_equal(write(ends[1], text, sizeof text), sizeof text);
	assert_int_equal(close(ends[1]), 0);
	assert_int_equal(fdio_read_pipe(ends[0], sizeof text, deadline_in(9000),
			     &b),
	    0);
	assert_int_equal(b.len, 2 * sizeof text);
	assert_int_equal(strlen(buf_text(&b)), b.len);
	close(ends[0]);
	/* One byte too much. */
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], text, sizeof text), sizeof text);
	close(ends[1]);
	buf_cut(&b, 0);
	assert_int_equal(fdio_read_pipe(ends[0], sizeof text - 1,
			     deadline_in(9000), &b),
	    -1);
	assert_int_equal(errno, EFBIG);
	close(ends[0]);
	assert_int_equal(fdio_read_pipe(-1, 1, deadline_in(0), &b), -1);
	buf_finish(&b);
}

static void
reads_at_an_offset(void **state)
{
	struct stat st;
	char data[8];
	int fd;

	(void)state;
	make_file("some", 7);
	fd = fdio_open_file("some", &st);
	assert_int_equal(fdio_read_at(fd, 0, data, 7), 0);
	assert_int_equal(data[6], 42);
	assert_int_equal(fdio_read_at(fd, 6, data, 1), 0);
	assert_int_equal(data[0], 42);
	assert_int_equal(fdio_read_at(fd, 100, data, 0), 0);
	assert_int_equal(fdio_read_at(fd, 0, data, 8), -1);
	assert_int_equal(errno, EIO);
	assert_int_equal(fdio_read_at(fd, 7, data, 1), -1);
	assert_int_equal(errno, EIO);
	assert_int_equal(fdio_read_at(fd, UINT64_MAX, data, 1), -1);
	assert_int_equal(errno, EINVAL);
	/* The descriptor's own offset has not changed. */
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
	close(fd);
}

static void
sets_flags(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(fdio_set_cloexec(ends[0], true), 0);
	assert_true(fcntl(ends[0], F_GETFD) & FD_CLOEXEC);
	assert_int_equal(fdio_set_cloexec(ends[0], false), 0);
	assert_false(fcntl(ends[0], F_GETFD) & FD_CLOEXEC);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fdio_set_nonblocking(ends[0]), 0);
		assert_true(fcntl(ends[0], F_GETFL) & O_NONBLOCK);
	}
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(fdio_set_nonblocking(ends[0]), -1);
	assert_int_equal(fdio_set_cloexec(ends[0], true), -1);
	assert_int_equal(errno, EBADF);
}

static void
waits(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(fdio_wait(ends[0], POLLIN, deadline_in(0)), 0);
	assert_int_equal(fdio_wait(ends[0], POLLIN, deadline_in(20)), 0);
	assert_int_equal(fdio_wait(ends[1], POLLOUT, deadline_never()), 1);
	assert_int_equal(write(ends[1], "x", 1), 1);
	assert_int_equal(fdio_wait(ends[0], POLLIN, deadline_in(0)), 1);
	close(ends[0]);
	close(ends[1]);
}

static volatile sig_atomic_t alarms;

static void
count_alarm(int signal_number)
{
	(void)signal_number;
	alarms++;
}

/* A14: a signal does not end a wait. */
static void
continues_after_a_signal(void **state)
{
	struct sigaction count = { .sa_handler = count_alarm };
	char c = 0;
	int ends[2];
	pid_t pid, parent = getpid();

	(void)state;
	sigaction(SIGUSR1, &count, NULL);
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		for (int i = 0; i < 20; i++) {
			kill(parent, SIGUSR1);
			poll(NULL, 0, 5);
		}
		_exit(write(ends[1], "x", 1) == 1 ? 0 : 1);
	}
	assert_int_equal(fdio_wait(ends[0], POLLIN, deadline_in(30000)), 1);
	assert_int_equal(fdio_read(ends[0], &c, 1), 1);
	assert_int_equal(c, 'x');
	assert_true(alarms > 0);
	while (waitpid(pid, NULL, 0) == -1)
		;
	close(ends[0]);
	close(ends[1]);
}

static void
writes_all(void **state)
{
	static char much[1000000];
	size_t heard = 0;
	ssize_t got;
	int ends[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		fdio_set_nonblocking(ends[1]);
		_exit(fdio_write_all(ends[1], much, sizeof much, 10000) == 0
			  ? 0
			  : 1);
	}
	close(ends[1]);
	while ((got = read(ends[0], much, 1000)) > 0)
		heard += (size_t)got;
	assert_int_equal(heard, sizeof much);
	close(ends[0]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void
sets_errno_when_it_cannot_write(void **state)
{
	static const char much[1000000];
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(fdio_write_all(ends[1], much, 0, 20), 0);
	fdio_set_nonblocking(ends[1]);
	assert_int_equal(fdio_write_all(ends[1], much, sizeof much, 20), -1);
	assert_int_equal(errno, ETIMEDOUT);
	close(ends[0]);
	assert_int_equal(fdio_write_all(ends[1], much, 1, 20), -1);
	assert_int_equal(errno, EPIPE);
	close(ends[1]);
	assert_int_equal(fdio_write_all(ends[1], much, 1, 20), -1);
	assert_int_equal(errno, EBADF);
}

static void
locks(void **state)
{
	int fd = open("lock", O_RDWR | O_CREAT, 0600);
	int again = open("lock", O_RDWR);
	struct deadline until;

	(void)state;
	assert_int_equal(fdio_lock(fd, FDIO_LOCK_EXCLUSIVE, 0), 0);
	assert_int_equal(fdio_lock(fd, FDIO_LOCK_EXCLUSIVE, 0), 0);
	until = deadline_in(50);
	assert_int_equal(fdio_lock(again, FDIO_LOCK_EXCLUSIVE, 50), -1);
	assert_int_equal(errno, EWOULDBLOCK);
	assert_true(deadline_passed(until));
	fdio_unlock(fd);
	assert_int_equal(fdio_lock(again, FDIO_LOCK_EXCLUSIVE, 0), 0);
	fdio_unlock(again);
	assert_int_equal(fdio_lock(fd, FDIO_LOCK_EXCLUSIVE, 0), 0);
	close(fd);
	assert_int_equal(fdio_lock(again, FDIO_LOCK_EXCLUSIVE, 0), 0);
	close(again);
	assert_int_equal(fdio_lock(again, FDIO_LOCK_EXCLUSIVE, 0), -1);
	assert_int_equal(errno, EBADF);
}

/* In a child: what 0, 1 and 2 can be used for, as bits of its exit code. */
static int
guard(int (*protect)(void), int closed)
{
	struct stat null, st;
	int ends[2], status, code = 0;
	char c;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		int in = open("/dev/zero", O_RDONLY);

		dup2(in, 0);
		dup2(ends[1], 1);
		dup2(ends[1], 2);
		for (int fd = 0; fd <= 2; fd++)
			if (closed >> fd & 1)
				close(fd);
		if (protect() != 0)
			_exit(128);
		code |= read(0, &c, 1) == 1 ? 1 : 0;
		code |= write(1, "1", 1) == 1 ? 2 : 0;
		(void)!write(2, "2", 1);
		stat("/dev/null", &null);
		if (fstat(2, &st) == 0 && st.st_rdev == null.st_rdev)
			code |= 4;
		/* No socket gets a number below 3. */
		if (open("/dev/null", O_RDONLY) > 2)
			code |= 8;
		_exit(code);
	}
	close(ends[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	code = WEXITSTATUS(status);
	if (read(ends[0], &c, 1) == 1) {
		code |= c == '1' ? 16 : 32;
		if (read(ends[0], &c, 1) == 1)
			code |= 32;
	}
	close(ends[0]);
	return code;
}

static void
closes_all_from_a_number_on(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		const int fds[] = { 40, 41, 42, 90, 200 };

		for (size_t i = 0; i < 5; i++)
			if (dup2(0, fds[i]) != fds[i])
				_exit(1);
		fdio_close_from(41);
		for (size_t i = 1; i < 5; i++)
			if (fcntl(fds[i], F_GETFD) != -1)
				_exit(2);
		_exit(fcntl(40, F_GETFD) == -1 || fcntl(1, F_GETFD) == -1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
guards_standard_descriptors(void **state)
{
	(void)state;
	for (int closed = 0; closed < 8; closed++) {
		int want = 4 | 8;

		if (!(closed & 1))
			want |= 1; /* the message can be read */
		if (!(closed & 2))
			want |= 2 | 16; /* the report can be written */
		/* Nothing written to fd 2 reaches the report. */
		assert_int_equal(guard(fdio_guard_standard, closed), want);
	}
}

static void
fills_closed_standard_descriptors(void **state)
{
	(void)state;
	for (int closed = 0; closed < 8; closed++) {
		int want = 8;

		if (!(closed & 1))
			want |= 1;
		if (!(closed & 2))
			want |= 2 | 16;
		want |= closed & 4 ? 4 : 32; /* an open fd 2 is kept */
		assert_int_equal(guard(fdio_fill_standard, closed), want);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_files),
		cmocka_unit_test(reads_up_to_the_end),
		cmocka_unit_test(reads_a_pipe_up_to_its_end),
		cmocka_unit_test(reads_at_an_offset),
		cmocka_unit_test(sets_flags),
		cmocka_unit_test(waits),
		cmocka_unit_test(continues_after_a_signal),
		cmocka_unit_test(writes_all),
		cmocka_unit_test(sets_errno_when_it_cannot_write),
		cmocka_unit_test(locks),
		cmocka_unit_test(closes_all_from_a_number_on),
		cmocka_unit_test(guards_standard_descriptors),
		cmocka_unit_test(fills_closed_standard_descriptors),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
