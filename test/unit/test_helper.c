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

#include "tls/helper.h"
#include "tls/request.h"

#define NAME "qmail-remote-tls: "

extern char **environ;

/* The test program itself is the helper; the server's name selects its role. */
static char *self;

#define ROW(name, bytes) \
	{ \
		name, bytes, sizeof bytes - 1 \
	}

#define IMPATIENT "impatient: "

#define FACTS "C names mx.example\nC issuer CN=x\n"
#define READY "R TLSv1.3 X Y none -\n"
#define LONG \
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" \
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

/* The status record of a helper, by its role. */
static const struct {
	const char *role;
	const char *record;
	size_t n;
} records[] = {
	ROW("ready", "R TLSv1.3 X Y none -\n"),
	ROW("ready, told the end", "R TLSv1.3 X Y none -\nE broken reset\n"),
	ROW("ready, told our fault",
	    "R TLSv1.3 X Y none -\nE local no memory\n"),
	ROW("ready, nonsense at the end", "R TLSv1.3 X Y none -\nE fine\n"),
	ROW("ready, exits 111", "R TLSv1.3 X Y none -\n"),
	ROW("ready, crashes", "R TLSv1.3 X Y none -\n"),
	ROW("ready, stays silent", "R TLSv1.3 X Y none -\n"),
	ROW("failed", "F certificate-expired it has expired\n"),
	ROW("local", "L cannot read the key\n"),
	ROW("empty text", "F validation-failure \n"),
	ROW("unknown letter", "X what\n"),
	ROW("report letter", "K ok\n"),
	ROW("end of a session", "E server \n"),
	ROW("only a line end", "\n"),
	ROW("no line end", "R TLSv1.3 X"),
	ROW("NUL", "F validation-failure a\0Kforged\n"),
	ROW("control bytes", "F validation-failure \033[2J\r\t\x7f\n"),
	ROW("8-bit", "F validation-failure caf\xc3\xa9\n"),
	ROW("facts", FACTS READY),
	ROW("facts, failed", FACTS "F certificate-expired it has expired\n"),
	ROW("facts, local", FACTS "L cannot read the key\n"),
	ROW("every fact",
	    FACTS FACTS "C dane \nC tlsa 3 1 1\nC verdict local no\n" READY),
	ROW("too many facts", FACTS FACTS FACTS FACTS READY),
	ROW("facts and no result", FACTS),
	ROW("garbage after facts", FACTS "C colour red\n" READY),
	ROW("garbage before facts", "C\n" FACTS READY),
	ROW("end after facts", FACTS "E server \n"),
	ROW("NUL in a fact", "C issuer a\0b\n" READY),
	ROW("a fact that is too long", "C issuer " LONG LONG "\n" READY),
};

_Static_assert(TLS_FACTS == 7, "rows with all facts, and more, fit");

struct given {
	int socket, clear, status;
};

static void
tell(const struct given *g, const void *p, size_t n)
{
	if (write(g->status, p, n) != (ssize_t)n)
		_exit(9);
}

/* Its arguments, environment and descriptors. */
static void
tell_request(const struct tls_request *r, const struct given *g)
{
	char text[TLS_RECORD_SIZE];
	struct stat st;
	int n = 0, len;

	for (int fd = 3; fd < 256; fd++)
		n += fstat(fd, &st) == 0;
	len = snprintf(text, sizeof text,
	    "L %lu,%lu,%s,%s,%s,%s,%lu,%s;%s;%s%s\n", r->seconds, r->security,
	    r->anchors ? r->anchors : "", r->state ? r->state : "",
	    r->cert ? r->cert : "", r->key ? r->key : "", r->describe,
	    r->tlsa ? r->tlsa : "", r->names ? r->names : "",
	    r->match ? r->match : "", n != 3 || *environ ? " and more" : "");
	tell(g, text, (size_t)len);
}

/* Copies between the clear text and the socket. */
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

static _Noreturn void
sleep_for_ever(void)
{
	for (;;)
		pause();
}

static void
play_before_a_record(const char *role, const struct given *g)
{
	if (strncmp(role, "exits", 5) == 0)
		_exit(atoi(role + 5));
	if (strcmp(role, "crashes") == 0) {
		/* A sanitizer would turn the signal into an exit code. */
		signal(SIGSEGV, SIG_DFL);
		kill(getpid(), SIGSEGV);
	}
	if (strncmp(role, "half a record", 13) == 0)
		tell(g, "R TLSv1", 7);
	if (strcmp(role, "half a record, then crashes") == 0)
		kill(getpid(), SIGKILL);
	if (strcmp(role, "closes its status, sleeps") == 0)
		close(g->status);
	if (strncmp(role, "half", 4) == 0 || strstr(role, "sleeps"))
		sleep_for_ever();
	if (strcmp(role, "too long") == 0) {
		char text[1000];

		memset(text, 'x', sizeof text);
		memcpy(text, "L ", 2);
		text[sizeof text - 1] = '\n';
		tell(g, text, sizeof text);
	}
}

/* After READY: closes the clear text in various ways. */
static void
play_end(const char *role, const struct given *g)
{
	close(g->clear);
	if (strstr(role, "exits 111"))
		_exit(111);
	if (strstr(role, "crashes"))
		kill(getpid(), SIGSYS);
	if (strstr(role, "silent"))
		sleep_for_ever();
	_exit(0);
}

/* As qmail-remote-tls; an impatient one fails before it gets there. */
static const char *
wait_for_connection(const struct tls_request *r, const struct given *g)
{
	size_t n = strlen(IMPATIENT);
	char c;

	if (strncmp(r->name, IMPATIENT, n) == 0)
		return r->name + n;
	if (r->wait && read(g->clear, &c, 1) != 1)
		_exit(0);
	return r->name;
}

static int
play_helper(const struct tls_request *r)
{
	struct given g = { (int)r->socket, (int)r->clear, (int)r->status };
	const char *role;

	alarm(30);
	role = wait_for_connection(r, &g);
	if (strcmp(role, "arguments") == 0)
		tell_request(r, &g);
	play_before_a_record(role, &g);
	for (size_t i = 0; i < sizeof records / sizeof *records; i++)
		if (strcmp(records[i].role, role) == 0)
			tell(&g, records[i].record, records[i].n);
	if (strncmp(role, "ready, ", 7) == 0)
		play_end(role, &g);
	if (strcmp(role, "ready") != 0)
		_exit(0);
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

/* Waits until the helper has ended. */
static void
await_end(const struct tls_start *t)
{
	siginfo_t info;

	assert_int_equal(waitid(P_PID, (id_t)t->pid, &info, WEXITED | WNOWAIT),
	    0);
}

/*
 * The ways to a handshake: at once; by a helper that waits for its connection;
 * by one that waits for nothing, and has ended before it gets the connection.
 *
 * And those in which a helper is passed on to a service: which does not want
 * it; closes it, because it is full; is stopped; is asked at once; in time; or
 * has started one that has ended before it gets the connection.
 */
enum way {
	AT_ONCE,
	PREPARED,
	ENDED,
	REFUSED,
	DROPPED,
	STOPPED,
	PASSED_AT_ONCE,
	PASSED,
	PASSED_ENDED,
	WAYS
};

static bool
is_by_service(enum way way)
{
	return way == PASSED_AT_ONCE || way == PASSED;
}

/* What a service that is stopped has. */
static int unread[TLS_FDS] = { -1, -1, -1 };

static void
drop_unread(void)
{
	for (int i = 0; i < TLS_FDS; i++) {
		close(unread[i]);
		unread[i] = -1;
	}
}

/* A helper that is not our child, and has only what was passed. */
static _Noreturn void
run_as_service(const char *request, size_t n, const int fd[TLS_FDS])
{
	char bytes[TLS_MESSAGE_MAX];
	char *argv[TLS_REQUEST_ARGUMENTS + 1];
	struct tls_request r;

	memcpy(bytes, request, n);
	if (fork() != 0)
		_exit(0);
	for (int i = 3; i < 256; i++)
		if (i != fd[0] && i != fd[1] && i != fd[2])
			close(i);
	if (!tls_request_parse(&r, tls_request_split(bytes, n, argv), argv) ||
	    (int)r.socket != fd[TLS_FD_SOCKET] ||
	    (int)r.clear != fd[TLS_FD_CLEAR] ||
	    (int)r.status != fd[TLS_FD_STATUS] || !r.wait)
		_exit(9);
	_exit(play_helper(&r));
}

static bool
pass_on(void *data, const char *request, size_t n, const int fd[TLS_FDS])
{
	enum way way = *(const enum way *)data;
	pid_t pid;

	if (way == REFUSED)
		return false;
	if (way == STOPPED)
		for (int i = 0; i < TLS_FDS; i++)
			unread[i] = fcntl(fd[i], F_DUPFD_CLOEXEC, 0);
	if (way == DROPPED || way == STOPPED)
		return true;
	pid = fork();
	if (pid == 0)
		run_as_service(request, n, fd);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return true;
}

/* Waits until the passed helper has closed its status, with what it wrote. */
static void
await_end_of_status(const struct tls_start *t)
{
	struct pollfd p = { .fd = t->status, .events = 0 };

	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_true(p.revents & POLLHUP);
}

static struct tls_start
shake_hands(struct tls_helper *h, enum way way, int socket)
{
	bool is_impatient = way == ENDED || way == PASSED_ENDED;
	char name[100];
	struct tls_start t;

	if (way >= REFUSED) {
		h->pass = pass_on;
		h->pass_data = &way;
	}
	if (way == AT_ONCE || way == PASSED_AT_ONCE)
		return tls_helper_start(h, socket);
	snprintf(name, sizeof name, "%s%s", is_impatient ? IMPATIENT : "",
	    h->name);
	h->name = name;
	t = tls_helper_prepare(h, socket);
	assert_int_equal(t.result.status, TLS_STATUS_NONE);
	assert_int_equal(t.is_passed, way >= DROPPED);
	if (way == ENDED)
		await_end(&t);
	if (way == PASSED_ENDED)
		await_end_of_status(&t);
	tls_helper_handshake(h, &t, socket);
	return t;
}

static const char *const status_name[] = { "READY", "FAILED", "LOCAL", "NONE" };

/* How a helper of a service ended is not known. */
static const char *
text_of_service(const char *role, const char *text)
{
	bool has_ended =
	    strncmp(role, "exits", 5) == 0 || strstr(role, "crashes") != NULL;

	return has_ended ? NAME "ended for an unknown reason" : text;
}

/* Those that take their time would do so in each of these ways. */
static bool
is_of_interest(enum way way, const char *role)
{
	bool is_slow = strstr(role, "sleeps") || strstr(role, "then nothing");

	if (way == STOPPED)
		return strcmp(role, "local") == 0;
	return !is_slow || way == AT_ONCE || way == PREPARED || way == PASSED;
}

/*
 * A failed handshake: its status and text, and that no descriptor, child or
 * connection is left.
 */
static void
classify_failures(enum way way)
{
	static const struct {
		const char *role;
		enum tls_status want;
		const char *text; /* NULL: any but "" */
		unsigned long timeout_s;
		double least, most; /* how long it takes, in seconds */
	} cases[] = {
		{ "failed", TLS_STATUS_FAILED, "it has expired", 20, 0, 10 },
		{ "local", TLS_STATUS_LOCAL, "cannot read the key", 20, 0, 10 },
		{ "empty text", TLS_STATUS_FAILED, "", 20, 0, 10 },
		{ "exits 0", TLS_STATUS_LOCAL, NAME "no valid status", 20, 0,
		    10 },
		{ "exits 1", TLS_STATUS_LOCAL, NAME "exit code 1", 20, 0, 10 },
		{ "exits 127", TLS_STATUS_LOCAL,
		    NAME "exit code 127: a library is missing or there is not "
			 "enough memory",
		    20, 0, 10 },
		{ "crashes", TLS_STATUS_LOCAL, NAME "killed by signal 11", 20,
		    0, 10 },
		{ "half a record, then crashes", TLS_STATUS_LOCAL,
		    NAME "killed by signal 9", 20, 0, 10 },
		{ "closes its status, sleeps", TLS_STATUS_LOCAL, NULL, 20, 0,
		    10 },
		{ "unknown letter", TLS_STATUS_LOCAL, NULL, 20, 0, 10 },
		{ "report letter", TLS_STATUS_LOCAL, NULL, 20, 0, 10 },
		{ "end of a session", TLS_STATUS_LOCAL, NULL, 20, 0, 10 },
		{ "only a line end", TLS_STATUS_LOCAL, NULL, 20, 0, 10 },
		{ "no line end", TLS_STATUS_LOCAL, NULL, 20, 0, 10 },
		{ "too long", TLS_STATUS_LOCAL, NULL, 20, 0, 10 },
		{ "NUL", TLS_STATUS_FAILED, "a?Kforged", 20, 0, 10 },
		{ "control bytes", TLS_STATUS_FAILED, "?[2J???", 20, 0, 10 },
		{ "8-bit", TLS_STATUS_FAILED, "caf??", 20, 0, 10 },
		/* It would have reported the time-out if it had run. */
		{ "sleeps", TLS_STATUS_LOCAL, NAME "no valid status", 1, 1.9,
		    10 },
		{ "half a record, then nothing", TLS_STATUS_LOCAL,
		    NAME "no valid status", 1, 1.9, 10 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tls_helper h = { .program = self,
			.name = cases[i].role,
			.timeout_s = cases[i].timeout_s };
		const char *text = cases[i].text;
		int before = count_descriptors(), pair[2];
		double start = now(), took;
		struct tls_start t;
		char c;

		if (!is_of_interest(way, cases[i].role))
			continue;
		if (is_by_service(way))
			text = text_of_service(cases[i].role, text);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		fcntl(pair[0], F_SETFD, FD_CLOEXEC);
		fcntl(pair[1], F_SETFD, FD_CLOEXEC);
		t = shake_hands(&h, way, pair[0]);
		took = now() - start;
		if (t.result.status != cases[i].want || t.fd != -1)
			fail_msg("%s: %s, %s", cases[i].role,
			    status_name[t.result.status], t.result.text);
		if (text ? strcmp(t.result.text, text) != 0
			 : t.result.text[0] == '\0')
			fail_msg("%s: %s", cases[i].role, t.result.text);
		if (way == STOPPED)
			drop_unread();
		if (took < cases[i].least || took > cases[i].most)
			fail_msg("%s: took %.1f s", cases[i].role, took);
		/*
		 * The server reads end of file: no process has the connection.
		 */
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
classifies_failures(void **state)
{
	(void)state;
	for (enum way way = 0; way < WAYS; way++)
		classify_failures(way);
}

/* The facts that come before the result, if they were asked for. */
static void
reads_facts(void **state)
{
	static const struct {
		const char *role;
		enum tls_status want;
		bool asks;
		const char *issuer; /* NULL: not known */
	} cases[] = {
		{ "facts", TLS_STATUS_READY, true, "CN=x" },
		{ "facts", TLS_STATUS_LOCAL, false, NULL },
		{ "ready", TLS_STATUS_READY, true, NULL },
		{ "failed", TLS_STATUS_FAILED, true, NULL },
		{ "facts, failed", TLS_STATUS_FAILED, true, "CN=x" },
		{ "facts, local", TLS_STATUS_LOCAL, true, "CN=x" },
		{ "every fact", TLS_STATUS_READY, true, "CN=x" },
		{ "too many facts", TLS_STATUS_LOCAL, true, "CN=x" },
		{ "facts and no result", TLS_STATUS_LOCAL, true, "CN=x" },
		{ "garbage after facts", TLS_STATUS_LOCAL, true, "CN=x" },
		{ "garbage before facts", TLS_STATUS_LOCAL, true, NULL },
		{ "end after facts", TLS_STATUS_LOCAL, true, "CN=x" },
		{ "NUL in a fact", TLS_STATUS_READY, true, "a?b" },
		{ "a fact that is too long", TLS_STATUS_LOCAL, true, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tls_facts facts = { 0 };
		struct tls_helper h = { .program = self,
			.name = cases[i].role,
			.describe = TLS_DESCRIBE,
			.facts = cases[i].asks ? &facts : NULL,
			.timeout_s = 20 };
		struct tls_start t =
		    tls_helper_start(&h, socket(AF_UNIX, SOCK_STREAM, 0));

		if (t.result.status != cases[i].want)
			fail_msg("%s: %s, %s", cases[i].role,
			    status_name[t.result.status], t.result.text);
		if (facts.is_known[TLS_FACT_ISSUER] !=
			(cases[i].issuer != NULL) ||
		    (cases[i].issuer &&
			strcmp(facts.text[TLS_FACT_ISSUER], cases[i].issuer)))
			fail_msg("%s: %s", cases[i].role,
			    facts.text[TLS_FACT_ISSUER]);
		if (t.result.status == TLS_STATUS_READY)
			tls_helper_stop(&t);
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
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
		struct tls_start waiting;

		if (t.result.status != TLS_STATUS_LOCAL || t.fd != -1 ||
		    !t.result.text[0])
			fail_msg("%s: %s, %s", programs[i],
			    status_name[t.result.status], t.result.text);
		/* This failure counts only if there is to be TLS. */
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		waiting = tls_helper_prepare(&h, fd);
		tls_helper_handshake(&h, &waiting, fd);
		assert_int_equal(waiting.result.status, TLS_STATUS_LOCAL);
		assert_string_equal(waiting.result.text, t.result.text);
		tls_helper_stop(&waiting);
		if (count_descriptors() != before)
			fail_msg("%s: a descriptor is left", programs[i]);
		if (waitpid(-1, NULL, WNOHANG) != -1)
			fail_msg("%s: a child is left", programs[i]);
		if (now() - start > 10)
			fail_msg("%s: waited", programs[i]);
	}
}

static void
hand_over_clear_text(enum way way)
{
	struct tls_helper h = {
		.program = self, .name = "ready", .timeout_s = 20
	};
	int before = count_descriptors(), pair[2];
	struct tls_start t;
	struct pollfd p = { .events = POLLIN };
	char c = 'q';

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	fcntl(pair[1], F_SETFD, FD_CLOEXEC);
	t = shake_hands(&h, way, pair[0]);
	assert_int_equal(t.result.status, TLS_STATUS_READY);
	assert_string_equal(t.result.version, "TLSv1.3");
	assert_string_equal(t.result.group, "Y");
	assert_true(fcntl(t.fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(t.fd, F_GETFD) & FD_CLOEXEC);
	tls_helper_settle(&t);
	if (way == STOPPED)
		drop_unread();
	assert_int_equal(count_descriptors(), before + 3);

	assert_int_equal(write(t.fd, &c, 1), 1);
	assert_int_equal(read(pair[1], &c, 1), 1);
	assert_int_equal(c, 'q');
	c = 'a';
	assert_int_equal(write(pair[1], &c, 1), 1);
	p.fd = t.fd;
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(read(t.fd, &c, 1), 1);
	assert_int_equal(c, 'a');

	/* tls_helper_stop() ends the helper and reaps it. */
	tls_helper_stop(&t);
	assert_int_equal(read(pair[1], &c, 1), 0);
	close(pair[1]);
	assert_int_equal(count_descriptors(), before);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void
hands_over_clear_text(void **state)
{
	(void)state;
	for (enum way way = 0; way < WAYS; way++)
		if (way != ENDED && way != PASSED_ENDED)
			hand_over_clear_text(way);
}

/*
 * A session of a passed helper that is given up: the helper ends, even if it
 * does not look at the clear text.
 */
static void
ends_a_session_of_a_service(void **state)
{
	enum way way = PASSED;
	struct tls_helper h = { .program = self,
		.name = "ready",
		.timeout_s = 20,
		.pass = pass_on,
		.pass_data = &way };
	int before = count_descriptors(), pair[2];
	struct tls_start t;
	char c = 'q';

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	t = tls_helper_start(&h, pair[0]);
	assert_int_equal(t.result.status, TLS_STATUS_READY);
	assert_int_equal(t.pid, 0);
	/* It waits for the answer of the server. */
	assert_int_equal(write(t.fd, &c, 1), 1);
	assert_int_equal(read(pair[1], &c, 1), 1);
	tls_helper_stop(&t);
	assert_int_equal(t.fd, -1);
	assert_int_equal(read(pair[1], &c, 1), 0);
	assert_int_equal(write(pair[1], &c, 1), -1);
	close(pair[1]);
	tls_helper_stop(&t);
	assert_int_equal(count_descriptors(), before);
}

/* A request that is too long for a message. */
static void
passes_only_what_fits(void **state)
{
	enum way way = PASSED;
	char *name = calloc(TLS_MESSAGE_MAX + 1, 1);
	struct tls_helper h = { .program = self,
		.name = name,
		.timeout_s = 20,
		.pass = pass_on,
		.pass_data = &way };
	int before = count_descriptors();
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct tls_start t;

	(void)state;
	memset(name, 'x', TLS_MESSAGE_MAX);
	t = tls_helper_prepare(&h, fd);
	assert_int_equal(t.result.status, TLS_STATUS_NONE);
	assert_false(t.is_passed);
	tls_helper_stop(&t);
	close(fd);
	assert_int_equal(count_descriptors(), before);
	free(name);
}

/*
 * If a helper that waits is stopped, in whatever state it is, the connection is
 * ours alone, and nothing was read from it or written to it.
 */
static void
leave_the_connection_alone(enum way way)
{
	static const char *const roles[] = { "ready", IMPATIENT "local",
		IMPATIENT "crashes", IMPATIENT "sleeps" };

	/* One of a service that is stuck has it, but does not use it. */
	size_t n = sizeof roles / sizeof *roles - (way == PASSED);

	for (size_t i = 0; i < n; i++) {
		struct tls_helper h = {
			.program = self, .name = roles[i], .timeout_s = 20
		};
		bool has_ended = i == 1 || i == 2;
		int before = count_descriptors(), pair[2];
		struct tls_start t;
		char text[10];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		fcntl(pair[0], F_SETFD, FD_CLOEXEC);
		fcntl(pair[1], F_SETFD, FD_CLOEXEC);
		assert_int_equal(write(pair[1], "no", 2), 2);
		if (way >= REFUSED) {
			h.pass = pass_on;
			h.pass_data = &way;
		}
		t = tls_helper_prepare(&h, pair[0]);
		if (has_ended && way == PREPARED)
			await_end(&t);
		if (has_ended && way == PASSED)
			await_end_of_status(&t);
		tls_helper_stop(&t);
		if (way == STOPPED)
			drop_unread();
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
		assert_int_equal(count_descriptors(), before + 2);
		tls_helper_stop(&t);

		assert_int_equal(read(pair[0], text, sizeof text), 2);
		assert_memory_equal(text, "no", 2);
		close(pair[0]);
		assert_int_equal(read(pair[1], text, sizeof text), 0);
		close(pair[1]);
	}
}

static void
leaves_the_connection_alone(void **state)
{
	static const enum way ways[] = { PREPARED, REFUSED, DROPPED, STOPPED,
		PASSED };

	(void)state;
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
		leave_the_connection_alone(ways[i]);
}

/* How a session ended, and on which side.  Does not depend on time. */
static void
reads_how_a_session_ended(void **state)
{
	static const struct {
		const char *role;
		enum tls_end want;
		const char *text;
	} cases[] = {
		{ "ready, told the end", TLS_END_BROKEN, "reset" },
		{ "ready, told our fault", TLS_END_LOCAL, "no memory" },
		{ "ready, nonsense at the end", TLS_END_NONE,
		    NAME "exit code 0" },
		{ "ready, exits 111", TLS_END_NONE, NAME "exit code 111" },
		{ "ready, crashes", TLS_END_NONE, NAME "killed by signal 31" },
		{ "ready, stays silent", TLS_END_NONE, NAME "does not answer" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tls_helper h = {
			.program = self, .name = cases[i].role, .timeout_s = 20
		};
		struct tls_start t =
		    tls_helper_start(&h, socket(AF_UNIX, SOCK_STREAM, 0));
		struct pollfd p = { .fd = t.fd, .events = POLLIN };
		char text[TLS_TEXT_SIZE], c;
		enum tls_end end;

		if (t.result.status != TLS_STATUS_READY)
			fail_msg("%s: %s", cases[i].role, t.result.text);
		assert_int_equal(poll(&p, 1, 10000), 1);
		assert_int_equal(read(t.fd, &c, 1), 0);
		end = tls_helper_end(t.status, t.pid, text);
		if (end != cases[i].want || strcmp(text, cases[i].text) != 0)
			fail_msg("%s: %d, %s", cases[i].role, (int)end, text);
		tls_helper_stop(&t);
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	}
}

/* A helper that another process has started: how it ended cannot be known. */
static void
reads_how_the_session_of_another_helper_ended(void **state)
{
	static const struct {
		const char *name;
		size_t len; /* bytes of its record; the longest: all */
		bool is_open;
		enum tls_end want;
		const char *text;
	} cases[] = {
		{ "a record", TLS_RECORD_SIZE, false, TLS_END_LOCAL, "full" },
		{ "part of one", 3, false, TLS_END_NONE,
		    NAME "ended for an unknown reason" },
		{ "none", 0, false, TLS_END_NONE,
		    NAME "ended for an unknown reason" },
		{ "it is stuck", 0, true, TLS_END_NONE,
		    NAME "does not answer" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char record[TLS_RECORD_SIZE], text[TLS_TEXT_SIZE];
		size_t n = tls_end_format(record, TLS_END_LOCAL, "full");
		enum tls_end end;
		int ends[2];

		if (n > cases[i].len)
			n = cases[i].len;
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
		assert_int_equal(write(ends[1], record, n), n);
		if (!cases[i].is_open)
			close(ends[1]);
		end = tls_helper_end(ends[0], 0, text);
		if (end != cases[i].want || strcmp(text, cases[i].text) != 0)
			fail_msg("%s: %d, %s", cases[i].name, (int)end, text);
		close(ends[0]);
		if (cases[i].is_open)
			close(ends[1]);
	}
}

/* Its records are not wanted any more. */
static void
waits_for_the_end_of_a_helper(void **state)
{
	char record[TLS_RECORD_SIZE], byte;
	size_t n = tls_end_format(record, TLS_END_CLIENT, "");
	int ends[2];
	pid_t pid;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		close(ends[0]);
		/* Until the test has seen that it is not waited for. */
		(void)!read(ends[1], &byte, 1);
		_exit(write(ends[1], record, n) != (ssize_t)n);
	}
	close(ends[1]);
	tls_helper_await_end(ends[0], deadline_in(0));
	assert_int_equal(write(ends[0], "", 1), 1);
	tls_helper_await_end(ends[0], deadline_never());
	assert_int_equal(recv(ends[0], &byte, 1, MSG_DONTWAIT), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(ends[0]);
}

static void
passes_all_arguments(void **state)
{
	static struct tlsa_set tlsa, none;
	static const struct {
		struct tls_helper helper;
		const char *text;
	} cases[] = {
		{ { .timeout_s = 60 }, "60,0,,,,,0,;;" },
		{ { .anchors = "/a",
		      .state = "/s",
		      .security = 2,
		      .timeout_s = 7 },
		    "7,2,/a,/s,,,0,;;" },
		{ { .state = "/s", .security = 1, .timeout_s = 7 },
		    "7,1,,,,,0,;;" },
		{ { .clientcert = "/c", .clientkey = "/k", .timeout_s = 7 },
		    "7,0,,,/c,/k,0,;;" },
		{ { .clientcert = "/c", .timeout_s = 7 }, "7,0,,,,,0,;;" },
		{ { .clientkey = "/k", .timeout_s = 7 }, "7,0,,,,,0,;;" },
		{ { .anchors = "/a",
		      .state = "/s",
		      .clientcert = "/c",
		      .clientkey = "/k",
		      .timeout_s = 604800 },
		    "604800,0,/a,/s,/c,/k,0,;;" },
		{ { .tlsa = &tlsa,
		      .names = "a,b",
		      .security = 1,
		      .timeout_s = 7,
		      .describe = TLS_DESCRIBE },
		    "7,1,,,,,1,3-1-1-00ff,2-0-0-30;a,b;" },
		{ { .tlsa = &tlsa,
		      .anchors = "/a",
		      .match = "a,.b",
		      .security = 2,
		      .timeout_s = 7,
		      .describe = TLS_DESCRIBE_ACCEPT },
		    "7,2,/a,,,,2,3-1-1-00ff,2-0-0-30;;a,.b" },
		{ { .tlsa = &none,
		      .names = "a,b",
		      .match = "a,.b",
		      .security = 1,
		      .timeout_s = 7 },
		    "7,1,,,,,0,;;" },
	};

	(void)state;
	assert_true(tlsa_parse(&tlsa, "3-1-1-00ff,2-0-0-30"));
	setenv("SECRET", "x", 1);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tls_helper h = cases[i].helper;
		struct tls_start t;

		h.program = self;
		h.name = "arguments";
		t = tls_helper_start(&h, socket(AF_UNIX, SOCK_STREAM, 0));
		assert_int_equal(t.result.status, TLS_STATUS_LOCAL);
		if (strcmp(t.result.text, cases[i].text) != 0)
			fail_msg("%s: %s", cases[i].text, t.result.text);
	}
	tlsa_finish(&tlsa);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(classifies_failures),
		cmocka_unit_test(reads_facts),
		cmocka_unit_test(needs_a_program),
		cmocka_unit_test(hands_over_clear_text),
		cmocka_unit_test(ends_a_session_of_a_service),
		cmocka_unit_test(passes_only_what_fits),
		cmocka_unit_test(leaves_the_connection_alone),
		cmocka_unit_test(reads_how_a_session_ended),
		cmocka_unit_test(reads_how_the_session_of_another_helper_ended),
		cmocka_unit_test(waits_for_the_end_of_a_helper),
		cmocka_unit_test(passes_all_arguments),
	};

	struct tls_request r;

	if (tls_request_parse(&r, argc, argv))
		return play_helper(&r);
	self = argv[0];
	/* Descriptors left open by our parent do not count. */
	for (int fd = 3; fd < 256; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	signal(SIGPIPE, SIG_IGN);
	alarm(240);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
