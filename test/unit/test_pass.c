/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE /* SO_PASSCRED */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "io/pass.h"

#include "tcppair.h"

static int pair[2];

static int
make_pair(void **state)
{
	(void)state;
	return socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair);
}

static int
close_pair(void **state)
{
	(void)state;
	close(pair[0]);
	close(pair[1]);
	return 0;
}

/* The lowest number that is free: it changes if a descriptor is left open. */
static int
lowest_free(void)
{
	int fd = dup(pair[0]);

	close(fd);
	return fd;
}

/* Sends so many descriptors in one message, in our own way. */
static void
send_any(const char *text, size_t n, const int *fd, size_t nfd)
{
	union {
		char bytes[CMSG_SPACE(8 * sizeof(int))];
		struct cmsghdr align;
	} room = { { 0 } };
	char copy[16];
	struct iovec part = { copy, n };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };
	struct cmsghdr *c;

	memcpy(copy, text, n);
	m.msg_control = room.bytes;
	m.msg_controllen = CMSG_SPACE(nfd * sizeof(int));
	c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(nfd * sizeof(int));
	memcpy(CMSG_DATA(c), fd, nfd * sizeof(int));
	assert_int_equal(sendmsg(pair[0], &m, MSG_DONTWAIT), n);
}

static void
passes_bytes(void **state)
{
	char bytes[8];
	int fd[PASS_MAX];
	size_t nfd = 7;

	(void)state;
	assert_int_equal(pass_send(pair[0], "a", 1, NULL, 0), 0);
	assert_int_equal(pass_send(pair[0], "bc\0d", 4, NULL, 0), 0);
	assert_int_equal(pass_send(pair[0], "12345678", 8, NULL, 0), 0);
	/* One message each. */
	assert_int_equal(pass_receive(pair[1], bytes, 8, fd, &nfd), 1);
	assert_memory_equal(bytes, "a", 1);
	assert_int_equal(nfd, 0);
	assert_int_equal(pass_receive(pair[1], bytes, 8, fd, &nfd), 4);
	assert_memory_equal(bytes, "bc\0d", 4);
	assert_int_equal(pass_receive(pair[1], bytes, 8, fd, &nfd), 8);
	assert_memory_equal(bytes, "12345678", 8);
}

static void
passes_descriptors(void **state)
{
	int ends[2], sent[PASS_MAX], fd[PASS_MAX];
	char bytes[8], c = 0;
	size_t nfd;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	for (size_t n = 1; n <= PASS_MAX; n++) {
		for (size_t i = 0; i < n; i++)
			sent[i] = ends[1];
		assert_int_equal(pass_send(pair[0], "x", 1, sent, n), 0);
		assert_int_equal(pass_receive(pair[1], bytes, 8, fd, &nfd), 1);
		assert_int_equal(nfd, n);
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(fcntl(fd[i], F_GETFD), FD_CLOEXEC);
			assert_int_equal(write(fd[i], "y", 1), 1);
			assert_int_equal(read(ends[0], &c, 1), 1);
			assert_int_equal(c, 'y');
		}
		pass_close(fd, nfd);
	}
	/* They are copies: nothing else writes to the pipe now. */
	close(ends[1]);
	assert_int_equal(read(ends[0], &c, 1), 0);
	close(ends[0]);
}

static void
never_waits(void **state)
{
	static char most[32768];
	int fd[PASS_MAX];
	char bytes[8];
	size_t nfd, n = 0;

	(void)state;
	alarm(20);
	assert_int_equal(pass_receive(pair[1], bytes, 8, fd, &nfd), -1);
	assert_true(errno == EAGAIN);
	while (n < 1000 && pass_send(pair[0], most, sizeof most, NULL, 0) == 0)
		n++;
	assert_true(n > 0 && n < 1000);
	assert_true(errno == EAGAIN);
	alarm(0);
}

static void
says_that_the_other_side_has_closed(void **state)
{
	int fd[PASS_MAX];
	char bytes[8];
	size_t nfd = 7;

	(void)state;
	close(pair[0]);
	assert_int_equal(pass_receive(pair[1], bytes, 8, fd, &nfd), 0);
	assert_int_equal(nfd, 0);
	/* Without SIGPIPE. */
	assert_int_equal(pass_send(pair[1], "x", 1, NULL, 0), -1);
	assert_int_equal(errno, EPIPE);
	pair[0] = pair[1];
	assert_int_equal(pass_send(0x7fff, "x", 1, NULL, 0), -1);
	assert_int_equal(errno, EBADF);
}

/* What is wrong with a message, and nothing of it is left open. */
static void
refuses_messages(void **state)
{
	static const struct {
		const char *name;
		size_t n, nfd;
		ssize_t result;
	} cases[] = {
		{ "as long as allowed", 4, 1, 4 },
		{ "too long", 5, 0, -1 },
		{ "too long, with descriptors", 5, 2, -1 },
		{ "one descriptor too many", 1, PASS_MAX + 1, -1 },
		{ "many descriptors too many", 1, 8, -1 },
		/* This can be taken for the end. */
		{ "empty", 0, 0, 0 },
		{ "empty, with descriptors", 0, 2, 0 },
	};
	const int fds[8] = { 0, 1, 2, 0, 1, 2, 0, 1 };
	int before = lowest_free();

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int fd[PASS_MAX];
		char bytes[4];
		size_t nfd = 7;
		ssize_t got;

		send_any("12345", cases[i].n, fds, cases[i].nfd);
		got = pass_receive(pair[1], bytes, 4, fd, &nfd);
		if (got != cases[i].result)
			fail_msg("%s: %zd", cases[i].name, got);
		if (got == -1)
			assert_int_equal(errno, EMSGSIZE);
		assert_int_equal(nfd, got > 0 ? cases[i].nfd : 0);
		pass_close(fd, nfd);
		assert_int_equal(lowest_free(), before);
	}
}

static void
refuses_descriptors_without_room(void **state)
{
	const int fds[2] = { 0, 1 };
	struct rlimit old, few;
	int fd[PASS_MAX];
	int before = lowest_free();
	char bytes[4];
	size_t nfd = 7;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	send_any("x", 1, fds, 2);
	/* One has room, the other has none. */
	few.rlim_cur = (rlim_t)before + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_int_equal(pass_receive(pair[1], bytes, 4, fd, &nfd), -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_int_equal(nfd, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(lowest_free(), before);
}

#ifdef SO_PASSCRED
/* The kernel may put other things in front of the descriptors. */
static void
ignores_other_things(void **state)
{
	int on = 1, fd[PASS_MAX];
	int before = lowest_free();
	char bytes[4];
	size_t nfd = 7;

	(void)state;
	setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
	assert_int_equal(pass_send(pair[0], "x", 1, NULL, 0), 0);
	assert_int_equal(pass_receive(pair[1], bytes, 4, fd, &nfd), 1);
	assert_int_equal(nfd, 0);
	assert_int_equal(lowest_free(), before);
}
#endif

/* Which kinds of descriptors are connected stream sockets. */
static void
knows_streams(void **state)
{
	int tcp[2], local[2], datagram[2], ends[2], listening, fresh, closed;

	(void)state;
	tcp_pair(tcp, &listening);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, local), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, datagram), 0);
	assert_int_equal(pipe(ends), 0);
	fresh = socket(AF_UNIX, SOCK_STREAM, 0);
	closed = dup(0);
	close(closed);
	{
		const struct {
			const char *name;
			int fd;
			bool is_local, is_tcp;
		} cases[] = {
			{ "TCP", tcp[0], false, true },
			{ "TCP, accepted", tcp[1], false, true },
			{ "TCP, listening", listening, false, false },
			{ "local", local[0], true, false },
			{ "local, not connected", fresh, false, false },
			{ "datagram", datagram[0], false, false },
			{ "packets", pair[0], false, false },
			{ "pipe", ends[0], false, false },
			{ "closed", closed, false, false },
		};

		for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
			if (pass_is_local_stream(cases[i].fd) !=
				cases[i].is_local ||
			    pass_is_tcp_stream(cases[i].fd) != cases[i].is_tcp)
				fail_msg("%s", cases[i].name);
	}
	pass_close(tcp, 2);
	pass_close(local, 2);
	pass_close(datagram, 2);
	pass_close(ends, 2);
	close(listening);
	close(fresh);
}

static void
knows_the_user_of_the_other_side(void **state)
{
	uid_t uid = 12345;

	(void)state;
	assert_int_equal(pass_peer(pair[0], &uid), 0);
	assert_int_equal(uid, geteuid());
	uid = 12345;
	assert_int_equal(pass_peer(0x7fff, &uid), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(uid, 12345);
}

/* Not of this process, but of the one that made the connection. */
static void
knows_another_user(void **state)
{
	struct rlimit none = { 0, 0 };
	int status = -1;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	pid = fork();
	if (pid == 0) {
		uid_t uid = 12345;
		int own[2];

		(void)setrlimit(RLIMIT_CORE, &none);
		if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, own) == -1 ||
		    setuid(65534) == -1 || pass_peer(own[0], &uid) == -1)
			_exit(1);
		_exit(uid == 0 ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int
main(void)
{
#define TEST(function) \
	cmocka_unit_test_setup_teardown(function, make_pair, close_pair)
	const struct CMUnitTest tests[] = {
		TEST(passes_bytes),
		TEST(passes_descriptors),
		TEST(never_waits),
		TEST(says_that_the_other_side_has_closed),
		TEST(refuses_messages),
		TEST(refuses_descriptors_without_room),
#ifdef SO_PASSCRED
		TEST(ignores_other_things),
#endif
		TEST(knows_streams),
		TEST(knows_the_user_of_the_other_side),
		TEST(knows_another_user),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
