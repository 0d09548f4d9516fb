/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/pass.h"
#include "tlsd/serve.h"

#define LIMIT 2
#define CODE 77 /* of a session */

/* A service in a process of its own, and our end of its socket. */
struct stage {
	pid_t pid;
	int fd;
};

static bool is_outdated;

static bool
has_changed(const void *data)
{
	return *(const bool *)data;
}

static int
count_descriptors(void)
{
	struct stat st;
	int n = 0;

	for (int fd = 3; fd < 256; fd++)
		n += fstat(fd, &st) == 0;
	return n;
}

/*
 * Tells its process id and how many descriptors it has; then does what its
 * first argument says, when its clear text has ended.
 */
static int
play_session(void *data, int argc, char **argv, const int fd[TLS_FDS])
{
	int facts[2] = { getpid(), count_descriptors() };
	char c;

	assert_ptr_equal(data, &is_outdated);
	alarm(30);
	if (argc != 2 || strcmp(argv[0], "tls") != 0 || argv[2] != NULL)
		return 1;
	if (write(fd[TLS_FD_STATUS], facts, sizeof facts) != sizeof facts)
		return 1;
	while (read(fd[TLS_FD_CLEAR], &c, 1) == 1)
		;
	signal(SIGSEGV, SIG_DFL);
	if (strcmp(argv[1], "crashes") == 0)
		kill(getpid(), SIGSEGV);
	if (strcmp(argv[1], "is killed") == 0)
		kill(getpid(), SIGKILL);
	return CODE;
}

static struct stage
open_stage(void)
{
	struct serve serve = { .limit = LIMIT,
		.session = play_session,
		.has_changed = has_changed,
		.data = &is_outdated };
	struct stage s;
	int code, end[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, end), 0);
	s.pid = fork();
	if (s.pid == 0) {
		alarm(60);
		for (int fd = 3; fd < 256; fd++)
			if (fd != end[1])
				close(fd);
		serve.socket = end[1];
		_exit(serve_run(&serve, &code) ? code : 0);
	}
	close(end[1]);
	s.fd = end[0];
	return s;
}

/* The service has ended, as it should. */
static void
close_stage(struct stage *s)
{
	int status;

	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	if (s->fd != -1)
		close(s->fd);
}

struct session {
	int clear, status;
	int server; /* our end of what would be the connection */
	int facts[2];
};

static void
ask(const struct stage *s, struct session *x, const char *words, size_t n)
{
	int pair[TLS_FDS][2], theirs[TLS_FDS];

	for (int i = 0; i < TLS_FDS; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair[i]),
		    0);
		theirs[i] = pair[i][1];
	}
	assert_int_equal(pass_send(s->fd, words, n, theirs, TLS_FDS), 0);
	pass_close(theirs, TLS_FDS);
	x->server = pair[TLS_FD_SOCKET][0];
	x->clear = pair[TLS_FD_CLEAR][0];
	x->status = pair[TLS_FD_STATUS][0];
}

#define ASK(stage, session, role) \
	ask(stage, session, "tls\0" role, sizeof "tls\0" role)

static void
await_start(struct session *x)
{
	assert_int_equal(read(x->status, x->facts, sizeof x->facts),
	    sizeof x->facts);
}

/* Nobody has its descriptors any more. */
static void
await_end(struct session *x)
{
	char c;

	shutdown(x->clear, SHUT_WR);
	assert_int_equal(read(x->status, &c, 1), 0);
	assert_int_equal(read(x->server, &c, 1), 0);
	close(x->clear);
	close(x->status);
	close(x->server);
}

static void
serves_several_at_a_time(void **state)
{
	struct stage s = open_stage();
	struct session a, b, c;
	char byte;

	(void)state;
	ASK(&s, &a, "ends");
	await_start(&a);
	ASK(&s, &b, "ends");
	await_start(&b);
	assert_int_not_equal(a.facts[0], b.facts[0]);
	assert_int_not_equal(a.facts[0], s.pid);
	/* Only its own. */
	assert_int_equal(a.facts[1], TLS_FDS);
	assert_int_equal(b.facts[1], TLS_FDS);
	/* One more than the limit. */
	ASK(&s, &c, "ends");
	assert_int_equal(read(c.status, &byte, 1), 0);
	await_end(&c);
	await_end(&a);
	await_end(&b);
	close(s.fd);
	s.fd = -1;
	close_stage(&s);
}

/* And goes on, in a session that was begun. */
static void
ends_with_its_socket(void **state)
{
	struct stage s = open_stage();
	struct session a;

	(void)state;
	ASK(&s, &a, "ends");
	await_start(&a);
	close(s.fd);
	s.fd = -1;
	close_stage(&s);
	assert_int_equal(write(a.clear, "x", 1), 1);
	await_end(&a);
}

static void
ignores_what_is_no_request(void **state)
{
	static char big[TLS_MESSAGE_MAX + 1];
	struct stage s = open_stage();
	struct session a;
	char c;

	(void)state;
	assert_int_equal(pass_send(s.fd, "tls", 4, NULL, 0), 0);
	assert_int_equal(pass_send(s.fd, "tls", 4, &s.fd, 1), 0);
	/* The words are looked at only in the child. */
	ask(&s, &a, "x", 1);
	assert_int_equal(read(a.status, &c, 1), 0);
	await_end(&a);
	ask(&s, &a, big, sizeof big);
	assert_int_equal(read(a.status, &c, 1), 0);
	await_end(&a);
	ASK(&s, &a, "ends");
	await_start(&a);
	await_end(&a);
	close(s.fd);
	s.fd = -1;
	close_stage(&s);
}

/* The next service has another layout of memory. */
static void
ends_when_a_session_crashes(void **state)
{
	struct stage s = open_stage();
	struct session a;

	(void)state;
	ASK(&s, &a, "is killed");
	await_start(&a);
	await_end(&a);
	ASK(&s, &a, "ends");
	await_start(&a);
	await_end(&a);
	ASK(&s, &a, "crashes");
	await_start(&a);
	await_end(&a);
	close_stage(&s);
}

static void
ends_when_it_is_out_of_date(void **state)
{
	struct stage s;

	(void)state;
	is_outdated = true;
	s = open_stage();
	is_outdated = false;
	close_stage(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(serves_several_at_a_time),
		cmocka_unit_test(ends_with_its_socket),
		cmocka_unit_test(ignores_what_is_no_request),
		cmocka_unit_test(ends_when_a_session_crashes),
		cmocka_unit_test(ends_when_it_is_out_of_date),
	};

	signal(SIGPIPE, SIG_IGN);
	alarm(100);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
