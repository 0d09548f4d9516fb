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
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "tls/helper.h"

extern char **environ;

/* This program itself plays the helper; the name it is given is its role. */
static char *self;

#define ROW(name, bytes) \
	{ \
		name, bytes, sizeof bytes - 1 \
	}

/* What a helper says of its handshake, by its role. */
static const struct {
	const char *role;
	const char *record;
	size_t n;
} records[] = {
	ROW("ready", "RTLSv1.3 X, certificate not verified\n"),
	ROW("failed", "Fthe certificate has expired\n"),
	ROW("local", "Lcannot read the key\n"),
	ROW("empty text", "F\n"),
	ROW("unknown letter", "Xwhat\n"),
	ROW("report letter", "Kok\n"),
	ROW("only a line end", "\n"),
	ROW("no line end", "RTLSv1.3 X"),
	ROW("two records", "Fone\nRTLSv1.3 X\n"),
	ROW("more behind the record", "RTLSv1.3 X\nx"),
	ROW("NUL", "Fa\0Kforged\n"),
	ROW("control bytes", "F\033[2J\r\t\x7f\n"),
	ROW("8-bit", "Fcaf\xc3\xa9\n"),
};

struct given {
	int socket, clear, status;
};

static void
tell(const struct given *g, const void *p, size_t n)
{
	if (write(g->status, p, n) != (ssize_t)n)
		_exit(9);
	close(g->status);
}

/* All arguments but the program, and what else came with them. */
static void
tell_arguments(int argc, char **argv, const struct given *g)
{
	char text[200] = "R";
	struct stat st;
	int n = 0;

	for (int i = 1; i < argc - 3; i++) {
		strcat(text, argv[i]);
		strcat(text, i < argc - 4 ? " " : "");
	}
	for (int fd = 3; fd < 256; fd++)
		n += fstat(fd, &st) == 0;
	if (n != 3 || *environ)
		strcat(text, " and more");
	strcat(text, "\n");
	tell(g, text, strlen(text));
}

/* What comes in clear text goes out at the socket, and back. */
static void
echo(const struct given *g)
{
	char c;

	while (read(g->clear, &c, 1) == 1)
		if (write(g->socket, &c, 1) != 1 ||
		    read(g->socket, &c, 1) != 1 || write(g->clear, &c, 1) != 1)
			_exit(9);
	_exit(0);
}

static int
play_helper(int argc, char **argv)
{
	struct given g = { atoi(argv[argc - 3]), atoi(argv[argc - 2]),
		atoi(argv[argc - 1]) };
	const char *role = argv[4];

	alarm(30);
	if (strcmp(role, "arguments") == 0)
		tell_arguments(argc, argv, &g);
	if (strncmp(role, "exits", 5) == 0)
		_exit(atoi(role + 5));
	if (strcmp(role, "crashes") == 0)
		kill(getpid(), SIGKILL);
	if (strcmp(role, "half a record, then nothing") == 0)
		(void)!write(g.status, "RTLSv1", 6);
	if (strcmp(role, "half a record, then crashes") == 0) {
		(void)!write(g.status, "RTLSv1", 6);
		kill(getpid(), SIGKILL);
	}
	if (strncmp(role, "half", 4) == 0 || strcmp(role, "sleeps") == 0)
		for (;;)
			pause();
	if (strcmp(role, "closes its status, sleeps") == 0) {
		close(g.status);
		for (;;)
			pause();
	}
	if (strcmp(role, "too long") == 0) {
		char text[1000];

		memset(text, 'x', sizeof text);
		text[0] = 'R';
		text[sizeof text - 1] = '\n';
		tell(&g, text, sizeof text);
	}
	if (strcmp(role, "ready, then crashes") == 0) {
		tell(&g, "RTLSv1.3 X\n", 11);
		kill(getpid(), SIGKILL);
	}
	for (size_t i = 0; i < sizeof records / sizeof *records; i++)
		if (strcmp(records[i].role, role) == 0)
			tell(&g, records[i].record, records[i].n);
	echo(&g);
	return 9;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int
count_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) != -1;
	return n;
}

static const char *const status_name[] = { "READY", "FAILED", "LOCAL", "NONE" };

/*
 * No handshake: the status, its text, and that nothing is left over: no
 * descriptor, no child, no connection.
 */
static void
judges_failures(void **state)
{
	static const struct {
		const char *role;
		enum tls_status want;
		const char *text; /* NULL: any but none */
		unsigned long timeout_s;
		double least, most; /* seconds that it takes */
	} cases[] = {
		{ "failed", TLS_STATUS_FAILED, "the certificate has expired",
		    20, 0, 10 },
		{ "local", TLS_STATUS_LOCAL, "cannot read the key", 20, 0, 10 },
		{ "empty text", TLS_STATUS_FAILED, "", 20, 0, 10 },
		{ "exits 0", TLS_STATUS_LOCAL, NULL, 20, 0, 10 },
		{ "exits 1", TLS_STATUS_LOCAL, NULL, 20, 0, 10 },
		{ "exits 127", TLS_STATUS_LOCAL, NULL, 20, 0, 10 },
		{ "crashes", TLS_STATUS_LOCAL, NULL, 20, 0, 10 },
		{ "half a record, then crashes", TLS_STATUS_LOCAL, NULL, 20, 0,
		    10 },
		{ "closes its status, sleeps", TLS_STATUS_LOCAL, NULL, 20, 0,
		    10 },
		{ "unknown letter", TLS_STATUS_LOCAL, NULL, 20, 0, 10 },
		{ "report letter", TLS_STATUS_LOCAL, NULL, 20, 0, 10 },
		{ "only a line end", TLS_STATUS_LOCAL, NULL, 20, 0, 10 },
		{ "no line end", TLS_STATUS_LOCAL, NULL, 20, 0, 10 },
		{ "two records", TLS_STATUS_LOCAL, NULL, 20, 0, 10 },
		{ "more behind the record", TLS_STATUS_LOCAL, NULL, 20, 0, 10 },
		{ "too long", TLS_STATUS_LOCAL, NULL, 20, 0, 10 },
		{ "NUL", TLS_STATUS_FAILED, "a?Kforged", 20, 0, 10 },
		{ "control bytes", TLS_STATUS_FAILED, "?[2J???", 20, 0, 10 },
		{ "8-bit", TLS_STATUS_FAILED, "caf??", 20, 0, 10 },
		{ "sleeps", TLS_STATUS_FAILED, NULL, 0, 0.9, 10 },
		{ "sleeps", TLS_STATUS_FAILED, NULL, 1, 1.9, 10 },
		{ "half a record, then nothing", TLS_STATUS_FAILED, NULL, 0,
		    0.9, 10 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tls_helper h = { .program = self,
			.name = cases[i].role,
			.timeout_s = cases[i].timeout_s };
		int before = count_descriptors(), pair[2];
		double start = now(), took;
		struct tls_start t;
		char c;

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		fcntl(pair[0], F_SETFD, FD_CLOEXEC);
		fcntl(pair[1], F_SETFD, FD_CLOEXEC);
		t = tls_helper_start(&h, pair[0]);
		took = now() - start;
		if (t.status != cases[i].want || t.fd != -1)
			fail_msg("%s: %s, %s", cases[i].role,
			    status_name[t.status], t.text);
		if (cases[i].text ? strcmp(t.text, cases[i].text) != 0
				  : t.text[0] == '\0')
			fail_msg("%s: %s", cases[i].role, t.text);
		if (took < cases[i].least || took > cases[i].most)
			fail_msg("%s: took %.1f s", cases[i].role, took);
		/* The server sees the end: nobody has the connection. */
		if (read(pair[1], &c, 1) != 0)
			fail_msg("%s: the connection is open", cases[i].role);
		close(pair[1]);
		if (count_descriptors() != before)
			fail_msg("%s: a descriptor is left", cases[i].role);
		if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD)
			fail_msg("%s: a child is left", cases[i].role);
	}
}

static void
needs_a_program(void **state)
{
	static const char *const programs[] = { "/nonexistent/helper", "/",
		"/dev/null", "" };

	(void)state;
	for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
		struct tls_helper h = {
			.program = programs[i], .name = "ready", .timeout_s = 20
		};
		int before = count_descriptors();
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		double start = now();
		struct tls_start t = tls_helper_start(&h, fd);

		if (t.status != TLS_STATUS_LOCAL || t.fd != -1 || !t.text[0])
			fail_msg("%s: %s, %s", programs[i],
			    status_name[t.status], t.text);
		if (count_descriptors() != before)
			fail_msg("%s: a descriptor is left", programs[i]);
		if (waitpid(-1, NULL, WNOHANG) != -1)
			fail_msg("%s: a child is left", programs[i]);
		if (now() - start > 10)
			fail_msg("%s: waited", programs[i]);
	}
}

static void
hands_over_clear_text(void **state)
{
	struct tls_helper h = {
		.program = self, .name = "ready", .timeout_s = 20
	};
	int before = count_descriptors(), pair[2];
	struct tls_start t;
	struct pollfd p = { .events = POLLIN };
	char c = 'q';

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	fcntl(pair[1], F_SETFD, FD_CLOEXEC);
	t = tls_helper_start(&h, pair[0]);
	assert_int_equal(t.status, TLS_STATUS_READY);
	assert_string_equal(t.text, "TLSv1.3 X, certificate not verified");
	assert_true(fcntl(t.fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(t.fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(count_descriptors(), before + 2);

	assert_int_equal(write(t.fd, &c, 1), 1);
	assert_int_equal(read(pair[1], &c, 1), 1);
	assert_int_equal(c, 'q');
	c = 'a';
	assert_int_equal(write(pair[1], &c, 1), 1);
	p.fd = t.fd;
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(read(t.fd, &c, 1), 1);
	assert_int_equal(c, 'a');

	/* It goes away with its clear end, since nobody else has that. */
	close(t.fd);
	assert_int_equal(waitpid(t.pid, NULL, 0), t.pid);
	close(pair[1]);
}

static void
sees_a_later_crash(void **state)
{
	struct tls_helper h = {
		.program = self, .name = "ready, then crashes", .timeout_s = 20
	};
	struct tls_start t =
	    tls_helper_start(&h, socket(AF_UNIX, SOCK_STREAM, 0));
	struct pollfd p = { .fd = t.fd, .events = POLLIN };
	char c;

	(void)state;
	assert_int_equal(t.status, TLS_STATUS_READY);
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(read(t.fd, &c, 1), 0);
	close(t.fd);
	assert_int_equal(waitpid(t.pid, NULL, 0), t.pid);
}

static void
gives_its_arguments(void **state)
{
	static const struct {
		struct tls_helper helper;
		const char *text;
	} cases[] = {
		{ { .timeout_s = 60 }, "-t 60 -n arguments" },
		{ { .anchors = "/a", .state = "/s", .timeout_s = 7 },
		    "-t 7 -n arguments -v /a -s /s" },
		{ { .clientcert = "/c", .clientkey = "/k", .timeout_s = 7 },
		    "-t 7 -n arguments -c /c -k /k" },
		{ { .clientcert = "/c", .timeout_s = 7 }, "-t 7 -n arguments" },
		{ { .clientkey = "/k", .timeout_s = 7 }, "-t 7 -n arguments" },
		{ { .anchors = "/a",
		      .state = "/s",
		      .clientcert = "/c",
		      .clientkey = "/k",
		      .timeout_s = 604800 },
		    "-t 604800 -n arguments -v /a -s /s -c /c -k /k" },
	};

	(void)state;
	setenv("SECRET", "x", 1);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tls_helper h = cases[i].helper;
		struct tls_start t;

		h.program = self;
		h.name = "arguments";
		t = tls_helper_start(&h, socket(AF_UNIX, SOCK_STREAM, 0));
		if (t.status != TLS_STATUS_READY ||
		    strcmp(t.text, cases[i].text) != 0)
			fail_msg("%s: %s", cases[i].text, t.text);
		close(t.fd);
		waitpid(t.pid, NULL, 0);
	}
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(judges_failures),
		cmocka_unit_test(needs_a_program),
		cmocka_unit_test(hands_over_clear_text),
		cmocka_unit_test(sees_a_later_crash),
		cmocka_unit_test(gives_its_arguments),
	};

	if (argc > 7 && strcmp(argv[1], "-t") == 0)
		return play_helper(argc, argv);
	self = argv[0];
	/* What our parent left open is not of our making. */
	for (int fd = 3; fd < 256; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	signal(SIGPIPE, SIG_IGN);
	alarm(240);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
