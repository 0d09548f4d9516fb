/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "cache/client.h"

#include "config.h"
#include "home.h"
#include "tcppair.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The directory of the socket is "run", and the current one that of the test.
 */
#define SOCKET "run/cache.sock"
#define BROKER "./broker"
#define NOTE "run/note"

#define LIFE_S 60      /* kills a process that hangs */
#define OTHER_UID 1234 /* no user of this machine in particular */

static const struct cache_client_files files = { SOCKET, BROKER };
static const struct cache_message ask = { .kind = CACHE_ASK,
	.session.key1 = "k" };
static const struct cache_message choose = {
	.kind = CACHE_CHOOSE,
	.ncandidate = 2,
	.candidate = { { "k", "l", 1 }, { "k2", "", 0 } },
};
static const struct cache_message keep = { .kind = CACHE_KEEP };
static const struct cache_message list = { .kind = CACHE_LIST };

/*
 * The broker is a child process that plays a script, for one client.  So that
 * no answer can come too late, however slow the machine is, answers are sent
 * before the question; await_broker() waits for that.  A step is a string; its
 * first byte says what to do:
 *
 *	<text  receive a message, which must begin with this word
 *	>text  send a message: '|' stands for NUL, '$' for our version
 *	1, 2   send hit with this many descriptors of a session: TCP; TLS
 *	0, 3   send hit with none, with three
 *	P      send hit with both ends of a pipe
 *	M      send miss with a descriptor
 *	*      send a message that is too long
 *	F      receive a message with two descriptors
 *	=      end the waiting of await_broker()
 *	~      let 50 ms pass
 *	-      stay, until the client closes
 *
 * After the last step it closes, and ends with 0.
 */
static pid_t broker = -1;
static int ready[2];

static int
listen_here(int backlog)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX,
		.sun_path = SOCKET };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	unlink(SOCKET);
	if (fd == -1 ||
	    bind(fd, (struct sockaddr *)&address, sizeof address) == -1 ||
	    listen(fd, backlog) == -1)
		return -1;
	return fd;
}

static void
expect(int fd, const char *word, size_t expected)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	static char bytes[CACHE_MESSAGE_MAX];
	int got[PASS_MAX];
	size_t nfd;

	if (poll(&p, 1, -1) != 1 ||
	    pass_receive(fd, bytes, sizeof bytes, got, &nfd) <= 0 ||
	    nfd != expected || strcmp(bytes, word) != 0)
		_exit(2);
	pass_close(got, nfd);
}

static void
say(int fd, const char *text, const int *fds, size_t nfd)
{
	struct buf b = { 0 };

	for (; *text; text++) {
		if (*text == '$')
			buf_puts(&b, PROGRAM_VERSION);
		else
			buf_putc(&b, (char)(*text == '|' ? '\0' : *text));
	}
	if (pass_send(fd, b.data, b.len, fds, nfd) == -1)
		_exit(3);
	buf_finish(&b);
}

static void
lend(int fd, char what)
{
	int session[3] = { 0, 0, 0 }, tcp[2], listening;
	size_t n = what == 'P' ? 2 : (size_t)(what - '0');

	tcp_pair(tcp, &listening);
	if (what == '1')
		session[0] = tcp[0];
	else if (what == 'P'
		     ? pipe(session) == -1
		     : socketpair(AF_UNIX, SOCK_STREAM, 0, session) == -1)
		_exit(4);
	say(fd, "hit|version=$|address=192.0.2.1|used=3|lives=7|chosen=0|",
	    session, n);
}

static void
play(int fd, const char *const *step)
{
	static char most[CACHE_MESSAGE_MAX + 1];
	char c;

	for (; *step; step++) {
		switch ((*step)[0]) {
		case '<':
			expect(fd, *step + 1, 0);
			break;
		case '>':
			say(fd, *step + 1, NULL, 0);
			break;
		case 'M':
			say(fd, "miss|version=$|", (const int[]){ 1 }, 1);
			break;
		case '*':
			if (send(fd, most, sizeof most, 0) == -1)
				_exit(5);
			break;
		case 'F':
			expect(fd, "keep", 2);
			break;
		case '=':
			close(ready[1]);
			break;
		case '~':
			poll(NULL, 0, 50);
			break;
		case '-':
			if (recv(fd, &c, 1, 0) != 0)
				_exit(6);
			break;
		default:
			lend(fd, (*step)[0]);
		}
	}
}

static void
start_broker(const char *const *script)
{
	int listening = listen_here(5);

	assert_int_not_equal(listening, -1);
	assert_int_equal(pipe(ready), 0);
	broker = fork();
	assert_int_not_equal(broker, -1);
	if (broker == 0) {
		alarm(LIFE_S);
		close(ready[0]);
		play(accept(listening, NULL, NULL), script);
		_exit(0);
	}
	close(listening);
	close(ready[1]);
}

static void
await_broker(void)
{
	char c;

	assert_int_equal(read(ready[0], &c, 1), 0);
	close(ready[0]);
	ready[0] = -1;
}

/* 0 if it has played all of its script. */
static int
end_broker(void)
{
	int status = -1;

	if (ready[0] != -1)
		close(ready[0]);
	assert_int_equal(waitpid(broker, &status, 0), broker);
	broker = ready[0] = -1;
	return status;
}

/* The directory of the test, and that of the socket. */
static void
give_directory(uid_t uid)
{
	assert_int_equal(chown(".", uid, (gid_t)-1), 0);
	assert_int_equal(chown("run", uid, (gid_t)-1), 0);
}

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int
make_run(void **state)
{
	(void)state;
	alarm(LIFE_S);
	return mkdir("run", 0777);
}

static int
clear_run(void **state)
{
	if (broker != -1) {
		kill(broker, SIGKILL);
		(void)end_broker();
	}
	return home_clear(state);
}

/* Open descriptors; it changes if one is left open. */
static int
count_open(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) != -1;
	return n;
}

static void
asks_and_is_answered(void **state)
{
	static const char *const script[] = { ">miss|version=$|",
		">place|chosen=1|", ">miss|version=other|", "=", "<ask",
		"<choose", "<ask", "-", NULL };
	struct cache_client c = { .fd = -1 };
	int before = count_open(), fd[PASS_MAX] = { 7, 7, 7 };

	(void)state;
	start_broker(script);
	cache_client_open(&c, &files);
	assert_int_not_equal(c.fd, -1);
	assert_int_equal(fcntl(c.fd, F_GETFD), FD_CLOEXEC);
	await_broker();
	assert_true(cache_client_ask(&c, &ask, fd));
	assert_int_equal(c.answer.kind, CACHE_MISS);
	for (size_t i = 0; i < PASS_MAX; i++)
		assert_int_equal(fd[i], -1);
	assert_true(cache_client_ask(&c, &choose, fd));
	assert_int_equal(c.answer.kind, CACHE_PLACE);
	assert_int_equal(c.answer.chosen, 1);
	/* Its first answer had our version. */
	assert_true(cache_client_ask(&c, &ask, fd));
	cache_client_close(&c);
	assert_int_equal(c.fd, -1);
	assert_null(c.bytes);
	assert_int_equal(end_broker(), 0);
	assert_int_equal(count_open(), before);
}

/* One that is not there any more, or not in order, is asked no more. */
static void
gives_up_a_broker(void **state)
{
	static const struct {
		const char *name;
		const struct cache_message *message;
		const char *script[6];
	} cases[] = {
		{ "closes", &ask, { "=" } },
		{ "closes before the answer", &ask, { "=", "<ask" } },
		{ "does not answer", &ask, { "=", "<ask", "-" } },
		{ "no version", &ask, { ">miss|", "=", "<ask" } },
		{ "other version", &ask,
		    { ">miss|version=$.1|", "=", "<ask" } },
		{ "empty version", &ask, { ">miss|version=|", "=", "<ask" } },
		{ "malformed", &ask,
		    { ">miss|version=$|used=1|", "=", "<ask" } },
		{ "too long", &ask, { "*", "=", "<ask" } },
		{ "no answer at all", &ask, { ">ask|key1=k|", "=", "<ask" } },
		{ "to another question", &ask,
		    { ">place|version=$|chosen=0|", "=", "<ask" } },
		{ "to what has none", &keep,
		    { ">miss|version=$|", "=", "<keep" } },
		{ "to a list", &choose,
		    { ">limit|version=$|limit=l|n=1|waiting=0|", "=",
			"<choose" } },
		{ "queued, though it only asks", &ask,
		    { ">queued|version=$|", "=", "<ask" } },
		{ "queued twice", &choose,
		    { ">queued|version=$|", ">queued|", "=", "<choose" } },
		{ "queued for ever", &choose,
		    { ">queued|version=$|", "=", "<choose", "-" } },
		{ "a place that is none", &choose,
		    { ">place|version=$|chosen=2|", "=", "<choose" } },
		{ "hit, no session", &ask, { "0", "=", "<ask" } },
		{ "hit, no sockets", &ask, { "P", "=", "<ask" } },
		{ "hit, three descriptors", &ask, { "3", "=", "<ask" } },
		{ "miss with a descriptor", &ask, { "M", "=", "<ask" } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct cache_client c = { .fd = -1 };
		int before = count_open(), fd[PASS_MAX] = { 7, 7, 7 };

		start_broker(cases[i].script);
		cache_client_open(&c, &files);
		assert_int_not_equal(c.fd, -1);
		await_broker();
		if (cache_client_ask(&c, cases[i].message, fd) || c.fd != -1 ||
		    c.bytes || c.has_version || fd[0] != -1)
			fail_msg("%s", cases[i].name);
		/* Its end shows that the script was played, and we closed. */
		if (end_broker() != 0)
			fail_msg("%s: script", cases[i].name);
		assert_false(cache_client_ask(&c, &ask, fd));
		assert_false(cache_client_next(&c));
		assert_false(cache_client_tell(&c, &ask, NULL, 0));
		cache_client_close(&c);
		assert_int_equal(count_open(), before);
	}
}

/* One that is stopped costs the wait for one answer, not for each. */
static void
waits_for_a_stopped_broker_once(void **state)
{
	static const char *const script[] = { "<ask", "-", NULL };
	struct cache_client c = { .fd = -1 };
	int fd[PASS_MAX];
	int64_t start;

	(void)state;
	start_broker(script);
	kill(broker, SIGSTOP);
	cache_client_open(&c, &files);
	assert_int_not_equal(c.fd, -1);
	start = now_ms();
	assert_false(cache_client_ask(&c, &ask, fd));
	assert_true(now_ms() - start >= CACHE_CLIENT_MS - 1);
	assert_int_equal(c.fd, -1);
	kill(broker, SIGCONT);
	assert_int_equal(end_broker(), 0);
}

static void
takes_over_a_session(void **state)
{
	static const char *const clear[] = { "1", "=", "<ask", "-", NULL };
	static const char *const tls[] = { "2", "=", "<ask", "-", NULL };

	(void)state;
	for (size_t n = 1; n <= 2; n++) {
		struct cache_client c = { .fd = -1 };
		int fd[PASS_MAX] = { 7, 7, 7 };

		start_broker(n == 1 ? clear : tls);
		cache_client_open(&c, &files);
		await_broker();
		assert_true(cache_client_ask(&c, &ask, fd));
		assert_int_equal(c.answer.kind, CACHE_HIT);
		assert_string_equal(c.answer.session.address, "192.0.2.1");
		assert_int_equal(c.answer.session.used, 3);
		for (size_t i = 0; i < PASS_MAX; i++) {
			if (i >= n)
				assert_int_equal(fd[i], -1);
			else
				assert_int_equal(fcntl(fd[i], F_GETFD),
				    FD_CLOEXEC);
		}
		pass_close(fd, n);
		cache_client_close(&c);
		assert_int_equal(end_broker(), 0);
	}
}

/* It takes longer than it was to wait, as on a machine that has much to do. */
static void
waits_for_a_broker_that_is_late(void **state)
{
	static const char *const script[] = { ">queued|version=$|", "=",
		"<choose", "~", ">full|limit=l|", "-", NULL };
	struct cache_client c = { .fd = -1 };
	int fd[PASS_MAX];

	(void)state;
	assert_int_equal(choose.wait, 0);
	start_broker(script);
	cache_client_open(&c, &files);
	await_broker();
	assert_true(cache_client_ask(&c, &choose, fd));
	assert_int_equal(c.answer.kind, CACHE_FULL);
	cache_client_close(&c);
	assert_int_equal(end_broker(), 0);
}

/* The place comes later than an answer may. */
static void
waits_for_a_place(void **state)
{
	static const char *const script[] = { ">queued|version=$|", "=",
		"<choose", "~", ">place|chosen=0|", "-", NULL };
	struct cache_client c = { .fd = -1 };
	struct cache_message m = choose;
	int fd[PASS_MAX];

	(void)state;
	m.wait = LIFE_S;
	start_broker(script);
	cache_client_open(&c, &files);
	await_broker();
	assert_true(cache_client_ask(&c, &m, fd));
	assert_int_equal(c.answer.kind, CACHE_PLACE);
	cache_client_close(&c);
	assert_int_equal(end_broker(), 0);
}

static void
reads_a_list(void **state)
{
	static const char *const script[] = {
		">entry|version=$|address=192.0.2.1|used=1|lives=2|seconds=3|",
		">limit|limit=.example|n=1|waiting=2|",
		">counters|hits=1|misses=2|kept=3|server=4|idleness=5|age=6|"
		"use=7|room=8|limit=9|unwanted=10|",
		">miss|", "=", "<list", "-", NULL
	};
	struct cache_client c = { .fd = -1 };
	int fd[PASS_MAX];

	(void)state;
	start_broker(script);
	assert_int_equal(cache_client_join(&c, SOCKET), 0);
	assert_int_not_equal(c.fd, -1);
	await_broker();
	assert_true(cache_client_ask(&c, &list, fd));
	assert_int_equal(c.answer.kind, CACHE_ENTRY);
	assert_true(cache_client_next(&c));
	assert_int_equal(c.answer.kind, CACHE_LIMIT);
	assert_string_equal(c.answer.limit, ".example");
	assert_true(cache_client_next(&c));
	assert_int_equal(c.answer.kind, CACHE_COUNTERS);
	assert_int_equal(c.answer.counters.unwanted, 10);
	/* That is no part of a list. */
	assert_false(cache_client_next(&c));
	assert_int_equal(c.fd, -1);
	assert_int_equal(end_broker(), 0);
}

static void
tells_without_an_answer(void **state)
{
	static const char *const script[] = { "<ready", "F", "-", NULL };
	const struct cache_message opened = { .kind = CACHE_READY,
		.session.address = "192.0.2.1" };
	struct cache_client c = { .fd = -1 };
	int session[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, session), 0);
	start_broker(script);
	cache_client_open(&c, &files);
	assert_true(cache_client_tell(&c, &opened, NULL, 0));
	assert_true(cache_client_tell(&c, &keep, session, 2));
	assert_int_not_equal(c.fd, -1);
	/* They are still ours. */
	assert_int_equal(close(session[0]), 0);
	assert_int_equal(close(session[1]), 0);
	cache_client_close(&c);
	assert_int_equal(end_broker(), 0);
}

/* No wait; what cannot be sent ends the talk. */
static void
gives_up_where_it_cannot_send(void **state)
{
	static const char *const script[] = { "-", NULL };
	static char key[CACHE_MESSAGE_MAX];
	struct cache_message m = { .kind = CACHE_ASK, .session.key1 = key };
	struct cache_client c = { .fd = -1 };
	int fd[PASS_MAX];

	(void)state;
	start_broker(script);
	cache_client_open(&c, &files);
	memset(key, 'k', sizeof key - 1);
	assert_false(cache_client_ask(&c, &m, fd));
	assert_int_equal(c.fd, -1);
	assert_int_equal(end_broker(), 0);

	start_broker(script);
	kill(broker, SIGSTOP);
	cache_client_open(&c, &files);
	key[sizeof key / 2] = '\0';
	/* But a place is kept where only this cannot be told. */
	for (int i = 0; i < 1000 && cache_client_tell(&c, &m, NULL, 0); i++)
		;
	assert_false(cache_client_tell(&c, &m, NULL, 0));
	assert_int_not_equal(c.fd, -1);
	assert_false(cache_client_ask(&c, &m, fd));
	assert_int_equal(c.fd, -1);
}

/* One of another user, for one client. */
static void
start_broker_of_another_user(void)
{
	static const char *const script[] = { "-", NULL };

	give_directory(OTHER_UID);
	assert_int_equal(seteuid(OTHER_UID), 0);
	start_broker(script);
	assert_int_equal(seteuid(0), 0);
}

static void
takes_no_broker_of_another_user(void **state)
{
	struct cache_client c = { .fd = -1 };
	int before = count_open();

	(void)state;
	if (geteuid() != 0)
		skip();
	if (seteuid(OTHER_UID) == -1)
		skip();
	assert_int_equal(seteuid(0), 0);

	start_broker_of_another_user();
	assert_int_equal(chown("run", 0, (gid_t)-1), 0);
	cache_client_open(&c, &files);
	assert_int_equal(c.fd, -1);
	assert_int_equal(end_broker(), 0);

	start_broker_of_another_user();
	assert_int_equal(chown("run", 0, (gid_t)-1), 0);
	assert_int_equal(cache_client_join(&c, SOCKET), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(c.fd, -1);
	assert_int_equal(end_broker(), 0);

	/* Root joins that of the directory's owner. */
	start_broker_of_another_user();
	assert_int_equal(cache_client_join(&c, SOCKET), 0);
	assert_int_not_equal(c.fd, -1);
	cache_client_close(&c);
	assert_int_equal(end_broker(), 0);
	assert_int_equal(count_open(), before);
}

/* connect() itself does not wait; a broker that never accepts is none. */
static void
gives_up_a_broker_that_does_not_accept(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX,
		.sun_path = SOCKET };
	struct cache_client c = { .fd = -1 };
	int listening = listen_here(0), waiting[64];
	int64_t start;
	size_t n = 0;

	(void)state;
	do {
		assert_true(n < COUNT(waiting));
		waiting[n] = socket(AF_UNIX, SOCK_SEQPACKET, 0);
		fcntl(waiting[n], F_SETFL, O_NONBLOCK);
	} while (connect(waiting[n++], (struct sockaddr *)&address,
		     sizeof address) == 0);
	assert_true(errno == EAGAIN);
	start = now_ms();
	cache_client_open(&c, &files);
	assert_int_equal(c.fd, -1);
	/* It has tried again and again. */
	assert_true(now_ms() - start >= CACHE_CLIENT_MS - 1);
	close(accept(listening, NULL, NULL));
	cache_client_open(&c, &files);
	assert_int_not_equal(c.fd, -1);
	cache_client_close(&c);
	pass_close(waiting, n);
	close(listening);
}

/*
 * Starting the broker: this program is copied to BROKER, and knows by its name
 * what to do.  What was started becomes a child of the test when the process
 * has ended that has started it, so nothing is left over.
 */
#define BROKER_LIFE_S 10

static int
be_broker(void)
{
	static const char *const script[] = { "<ask", ">miss|version=$|", "-",
		NULL };
	int listening;

	alarm(BROKER_LIFE_S);
	close(open(NOTE, O_WRONLY | O_CREAT, 0600));
	if (access("run/refuse", F_OK) == 0)
		return 1;
	listening = listen_here(5);
	play(accept(listening, NULL, NULL), script);
	return 0;
}

static void
copy_program(void)
{
	assert_int_equal(system("cp /proc/$PPID/exe " BROKER), 0);
	assert_int_equal(chmod(BROKER, 0755), 0);
}

static bool
opens(const char *socket, const char *program)
{
	const struct cache_client_files f = { socket, program };
	struct cache_client c = { .fd = -1 };
	int fd[PASS_MAX];
	bool result;

	cache_client_open(&c, &f);
	result = c.fd != -1 && cache_client_ask(&c, &ask, fd);
	cache_client_close(&c);
	return result;
}

#define NO_USER 77 /* in a namespace without that user */

/* Whether something was started; waits for the end of all of it. */
static bool
was_started(void)
{
	bool result = false;

	while (wait(NULL) != -1)
		result = true;
	return result;
}

/* Each returns 0, or the number of what failed; as a user that is not root. */

static int
try_usual_start(void)
{
	/* It may take longer than a client waits. */
	while (!opens(SOCKET, BROKER))
		;
	return was_started() && home_has(NOTE) ? 0 : 1;
}

/* A socket that a killed broker has left. */
static int
try_start_beside_stale_socket(void)
{
	close(listen_here(5));
	return try_usual_start();
}

static int
try_broker_that_ends(void)
{
	home_put("run/refuse", "");
	do {
		int64_t start = now_ms();

		if (opens(SOCKET, BROKER))
			return 1;
		/* It has waited for a socket. */
		if (now_ms() - start < CACHE_CLIENT_MS - 1)
			return 2;
		/* On a slow machine there may have been no time for it. */
	} while (!was_started());
	return home_has(NOTE) ? 0 : 3;
}

static int
try_what_is_no_program(void)
{
	if (opens(SOCKET, "run/missing"))
		return 1;
	home_put("run/text", "no program\n");
	if (opens(SOCKET, "run/text"))
		return 2;
	chmod("run/text", 0755);
	if (opens(SOCKET, "run/text"))
		return 3;
	/* On a slow machine a process may be left that tries to run it. */
	(void)was_started();
	return 0;
}

/* Nothing is waited for where no broker could have its socket. */
static int
try_without_rights(void)
{
	bool result;

	if (chmod("run", 0500) == -1)
		return 1;
	result = opens(SOCKET, BROKER);
	if (chmod("run", 0755) == -1)
		return 2;
	return result || was_started() ? 3 : 0;
}

/* Without a directory, and in that of another user. */
static int
try_elsewhere(void)
{
	if (opens("missing/cache.sock", BROKER) || opens("cache.sock", BROKER))
		return 1;
	if (opens("/cache.sock", BROKER) || opens("/tmp/cache.sock", BROKER))
		return 2;
	return was_started() ? 3 : 0;
}

/* Nobody listens there. */
static bool
joins(const char *path)
{
	struct cache_client c = { .fd = -1 };

	errno = 0;
	return cache_client_join(&c, path) != -1 || errno != ENOENT ||
	       c.fd != -1;
}

static int
try_to_join(void)
{
	if (joins(SOCKET) || joins("missing/cache.sock") || joins("cache.sock"))
		return 1;
	return was_started() ? 2 : 0;
}

/* Longer than the address of a socket may be. */
static int
try_long_path(void)
{
	char path[300] = "run/";

	memset(path + 4, 'x', sizeof path - 5);
	if (opens(path, BROKER) || was_started())
		return 1;
	return joins(path) ? 2 : 0;
}

/* No descriptor is left for a socket. */
static int
try_without_descriptors(void)
{
	struct rlimit old, none;
	bool result;

	getrlimit(RLIMIT_NOFILE, &old);
	none = old;
	none.rlim_cur = 0;
	setrlimit(RLIMIT_NOFILE, &none);
	result = opens(SOCKET, BROKER);
	setrlimit(RLIMIT_NOFILE, &old);
	return result || was_started() ? 1 : 0;
}

/*
 * In the directory of the test, which belongs to that user.  The counters of a
 * coverage build are still written by the user that we are.
 */
static int
as_user(int (*attempt)(void), uid_t uid)
{
	int result = NO_USER;

	if (geteuid() != 0)
		return attempt();
	give_directory(uid);
	if (seteuid(uid) == 0)
		result = attempt();
	assert_int_equal(seteuid(0), 0);
	return result;
}

static void
starts_the_broker(void **state)
{
	static const struct {
		const char *name;
		int (*attempt)(void);
	} cases[] = {
		{ "usual", try_usual_start },
		{ "stale socket", try_start_beside_stale_socket },
		{ "ends at once", try_broker_that_ends },
		{ "no program", try_what_is_no_program },
		{ "no rights", try_without_rights },
		{ "other directories", try_elsewhere },
		{ "join", try_to_join },
		{ "long path", try_long_path },
		{ "no descriptors", try_without_descriptors },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		int result;

		copy_program();
		result = as_user(cases[i].attempt, OTHER_UID);
		if (result == NO_USER)
			skip();
		if (result != 0)
			fail_msg("%s: %d", cases[i].name, result);
		assert_int_equal(home_clear(state) | make_run(state), 0);
	}
}

static int
try_as_root(void)
{
	return opens(SOCKET, BROKER) || was_started() ? 1 : 0;
}

static void
root_starts_none(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	copy_program();
	assert_int_equal(as_user(try_as_root, 0), 0);
}

int
main(int argc, char **argv)
{
#define TEST(function) \
	cmocka_unit_test_setup_teardown(function, make_run, clear_run)
	const struct CMUnitTest tests[] = {
		TEST(asks_and_is_answered),
		TEST(gives_up_a_broker),
		TEST(waits_for_a_stopped_broker_once),
		TEST(takes_over_a_session),
		TEST(waits_for_a_broker_that_is_late),
		TEST(waits_for_a_place),
		TEST(reads_a_list),
		TEST(tells_without_an_answer),
		TEST(gives_up_where_it_cannot_send),
		TEST(takes_no_broker_of_another_user),
		TEST(gives_up_a_broker_that_does_not_accept),
		TEST(starts_the_broker),
		TEST(root_starts_none),
	};
#undef TEST

	if (argc == 1 && strcmp(argv[0], BROKER) == 0)
		return be_broker();
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1UL, 0UL, 0UL, 0UL);
	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
