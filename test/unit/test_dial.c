/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <netinet/in.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Its system calls come here first. */
static int try_socket(int, int, int);
static int try_connect(int, const struct sockaddr *, socklen_t);
static int try_poll(struct pollfd *, nfds_t, int);
static int try_bind(int, const struct sockaddr *, socklen_t);

#define bind try_bind
#define socket try_socket
#define connect try_connect
#define poll try_poll
#include "io/dial.c"
#undef bind
#undef socket
#undef connect
#undef poll

#define TARGETS_MAX 8
#define QUEUE_MAX 16
#define NO_WINNER SIZE_MAX

/* The errno values with which calls fail; 0: the call is made. */
static struct {
	int connect_to_refused; /* connect() to the closed port */
	int socket;             /* socket() */
	int socket_after;       /* for this number of calls */
	int poll;               /* the next poll() */
	int bind;               /* bind() */
} fault;

static int
fail_with(int error)
{
	errno = error;
	return -1;
}

static int
try_socket(int domain, int type, int protocol)
{
	if (fault.socket && fault.socket_after-- <= 0)
		return fail_with(fault.socket);
	return socket(domain, type, protocol);
}

static int
try_bind(int fd, const struct sockaddr *own, socklen_t len)
{
	return fault.bind ? fail_with(fault.bind) : bind(fd, own, len);
}

static int
try_poll(struct pollfd *p, nfds_t n, int ms)
{
	int error = fault.poll;

	fault.poll = 0;
	return error ? fail_with(error) : poll(p, n, ms);
}

/*
 * Loopback ports of this test.  A port that is bound but not listening refuses;
 * one whose queue is full drops packets, as a black hole does.
 */
enum port { GOOD, BAD, HOLE, NPORT };

static struct {
	int fd[NPORT];
	uint16_t number[NPORT];
	int queue[QUEUE_MAX];
	bool has_hole;
} ports;

static int
try_connect(int fd, const struct sockaddr *to, socklen_t len)
{
	struct sockaddr_in sin;

	memcpy(&sin, to, sizeof sin);
	if (fault.connect_to_refused &&
	    ntohs(sin.sin_port) == ports.number[BAD])
		return fail_with(fault.connect_to_refused);
	return connect(fd, to, len);
}

static struct sockaddr_in
address(uint16_t port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_port = htons(port) };

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return sin;
}

static void
open_port(enum port port)
{
	struct sockaddr_in sin = address(0);
	socklen_t len = sizeof sin;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&sin, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	ports.fd[port] = fd;
	ports.number[port] = ntohs(sin.sin_port);
}

/* Fills the queue of the black hole until a connection does not complete. */
static bool
fill_queue(void)
{
	struct sockaddr_in sin = address(ports.number[HOLE]);

	for (size_t i = 0; i < QUEUE_MAX; i++) {
		struct pollfd p = { .events = POLLOUT };

		ports.queue[i] = p.fd = socket(AF_INET, SOCK_STREAM, 0);
		fcntl(p.fd, F_SETFL, O_NONBLOCK);
		connect(p.fd, (struct sockaddr *)&sin, sizeof sin);
		if (poll(&p, 1, 200) == 0)
			return true;
	}
	return false;
}

static int
set_up(void **state)
{
	(void)state;
	for (int i = 0; i < NPORT; i++)
		open_port((enum port)i);
	listen(ports.fd[GOOD], 64);
	listen(ports.fd[HOLE], 0);
	ports.has_hole = fill_queue();
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	for (int i = 0; i < NPORT; i++)
		close(ports.fd[i]);
	for (size_t i = 0; i < QUEUE_MAX; i++)
		if (ports.queue[i] > 0)
			close(ports.queue[i]);
	return 0;
}

static int
count_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) != -1;
	return n;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/*
 * g accepts, b refuses, h is a black hole; capital letters are skipped, f
 * failed before.
 */
static size_t
make_targets(const char *kinds, struct dial_target *t)
{
	size_t n = strlen(kinds);

	memset(t, 0, TARGETS_MAX * sizeof *t);
	for (size_t i = 0; i < n; i++) {
		char kind = kinds[i];

		ip_parse("127.0.0.1", 9, &t[i].ip);
		t[i].port = ports.number[strchr("hH", kind)   ? HOLE
					 : strchr("bB", kind) ? BAD
							      : GOOD];
		if (strchr("GBH", kind))
			t[i].state = DIAL_SKIPPED;
		if (kind == 'l')
			t[i].state = DIAL_HELD;
		if (kind == 'f') {
			t[i].state = DIAL_FAILED;
			t[i].error = EHOSTUNREACH;
		}
		if (kind == 'c')
			t[i].state = DIAL_CONNECTED;
	}
	return n;
}

/* The state of each target as a letter, and its error. */
static void
show_states(const struct dial_target *t, size_t n, char *text)
{
	for (size_t i = 0; i < n; i++) {
		switch (t[i].state) {
		case DIAL_UNTRIED:
			text[i] = '.';
			break;
		case DIAL_CONNECTED:
			text[i] = 'C';
			break;
		case DIAL_SKIPPED:
			text[i] = 'B';
			break;
		case DIAL_HELD:
			text[i] = 'l';
			break;
		case DIAL_UNABLE:
			text[i] = 'u';
			break;
		case DIAL_FAILED:
			text[i] = t[i].error == ECONNREFUSED   ? 'r'
				  : t[i].error == ETIMEDOUT    ? 't'
				  : t[i].error == EHOSTUNREACH ? 'f'
							       : '?';
			break;
		}
	}
	text[n] = '\0';
}

static void
check_winner(const char *name, int fd, uint16_t port)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof sin;

	if (!(fcntl(fd, F_GETFL) & O_NONBLOCK))
		fail_msg("%s: blocks", name);
	if (!(fcntl(fd, F_GETFD) & FD_CLOEXEC))
		fail_msg("%s: not close-on-exec", name);
	if (getpeername(fd, (struct sockaddr *)&sin, &len) != 0 ||
	    ntohs(sin.sin_port) != port)
		fail_msg("%s: connected to something else", name);
	close(fd);
}

static void
first_connection_wins(void **state)
{
	static const struct {
		const char *name;
		const char *targets;
		int timeout_ms;
		size_t winner;
		const char *states;
		double least, most; /* limit in seconds */
	} cases[] = {
		{ "none", "", 5000, NO_WINNER, "", 0, 0.5 },
		{ "good", "g", 5000, 0, "C", 0, 0.9 },
		{ "first of two", "gg", 5000, 0, "C.", 0, 0.9 },
		{ "A1 refused", "b", 5000, NO_WINNER, "r", 0, 0.9 },
		{ "A1 all refused", "bbbbb", 5000, NO_WINNER, "rrrrr", 0, 0.9 },
		{ "refused, then good", "bg", 5000, 1, "rC", 0, 0.9 },
		{ "refused thrice, then good", "bbbgg", 5000, 3, "rrrC.", 0,
		    0.9 },
		{ "skipped", "G", 5000, NO_WINNER, "B", 0, 0.5 },
		{ "held", "l", 5000, NO_WINNER, "l", 0, 0.5 },
		{ "good, held before it", "lg", 5000, 1, "lC", 0, 0.9 },
		{ "skipped, then good", "GGg", 5000, 2, "BBC", 0, 0.9 },
		{ "good, skipped among them", "bGBg", 5000, 3, "rBBC", 0, 0.9 },
		{ "failed before", "f", 5000, NO_WINNER, "f", 0, 0.5 },
		{ "winner of before", "cg", 5000, 1, "CC", 0, 0.9 },
		{ "failed and connected before", "fcbg", 5000, 3, "fCrC", 0,
		    0.9 },
		{ "A2 hole", "h", 400, NO_WINNER, "t", 0.3, 3 },
		{ "A3 hole, then good: the stagger", "hg", 5000, 1, ".C", 0.24,
		    0.9 },
		{ "hole that times out, then good", "hg", 150, 1, "tC", 0.1,
		    0.9 },
		{ "hole, refused, good", "hbg", 5000, 2, ".rC", 0.24, 0.9 },
		{ "two holes, then good", "hhg", 5000, 2, "..C", 0.49, 1.5 },
		{ "two holes", "hh", 1500, NO_WINNER, "tt", 1.7, 4 },
		{ "skipped hole costs nothing", "Hg", 5000, 1, "BC", 0, 0.9 },
		{ "A8 hole behind the winner", "gh", 5000, 0, "C.", 0, 0.9 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dial_target t[TARGETS_MAX];
		size_t n = make_targets(cases[i].targets, t);
		struct dialed won = { .fd = -1, .target = NO_WINNER };
		char states[TARGETS_MAX + 1];
		int before = count_descriptors();
		double start = now(), took;
		bool any;

		if (strchr(cases[i].targets, 'h') && !ports.has_hole)
			continue;
		any = dial_first(t, n, cases[i].timeout_ms, &won);
		took = now() - start;
		show_states(t, n, states);
		if (any != (cases[i].winner != NO_WINNER) ||
		    won.target != cases[i].winner)
			fail_msg("%s: returned %d", cases[i].name, any);
		if (strcmp(states, cases[i].states) != 0)
			fail_msg("%s: states %s", cases[i].name, states);
		if (count_descriptors() != before + any)
			fail_msg("%s: a descriptor is left", cases[i].name);
		if (took < cases[i].least || took > cases[i].most)
			fail_msg("%s: took %.2f s", cases[i].name, took);
		if (any)
			check_winner(cases[i].name, won.fd, t[won.target].port);
	}
}

/* Repeated calls go through all targets. */
static void
continues_after_each_winner(void **state)
{
	struct dial_target t[TARGETS_MAX];
	size_t n = make_targets("gbgGg", t);
	struct dialed won;
	static const size_t want[] = { 0, 2, 4 };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_true(dial_first(t, n, 5000, &won));
		assert_int_equal(won.target, want[i]);
		close(won.fd);
	}
	assert_false(dial_first(t, n, 5000, &won));
}

/* Runs it with the faults set, and clears them. */
static void
expect_states(const char *targets, int timeout_ms, const char *states)
{
	struct dial_target t[TARGETS_MAX];
	size_t n = make_targets(targets, t);
	struct dialed won;
	char got[TARGETS_MAX + 1];
	int before = count_descriptors();

	if (dial_first(t, n, timeout_ms, &won))
		close(won.fd);
	memset(&fault, 0, sizeof fault);
	show_states(t, n, got);
	assert_string_equal(got, states);
	assert_int_equal(count_descriptors(), before);
}

/* If the system refuses one address, the others are tried. */
static void
continues_after_local_errors(void **state)
{
	static const int errors[] = { EACCES, EPERM, EMFILE, ENFILE, ENOBUFS,
		ENOMEM, EADDRNOTAVAIL, EADDRINUSE, EAFNOSUPPORT,
		EPROTONOSUPPORT, EINVAL, EAGAIN, ENETDOWN };

	(void)state;
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
		fault.connect_to_refused = errors[i];
		expect_states("bbg", 5000, "uuC");
		fault.socket = errors[i];
		expect_states("gb", 5000, "uu");
		fault.socket = errors[i];
		fault.socket_after = 1;
		expect_states("bg", 5000, "ru");
	}
}

/* The state has the errno of the system. */
static void
keeps_the_error(void **state)
{
	struct dial_target t[TARGETS_MAX];
	size_t n = make_targets("b", t);
	struct dialed won;

	(void)state;
	fault.connect_to_refused = EPERM;
	assert_false(dial_first(t, n, 5000, &won));
	memset(&fault, 0, sizeof fault);
	assert_int_equal(t[0].state, DIAL_UNABLE);
	assert_int_equal(t[0].error, EPERM);
}

/* The first attempt has its whole time. */
static void
gives_the_first_attempt_its_whole_time(void **state)
{
	(void)state;
	if (!ports.has_hole)
		return;
	fault.socket = EMFILE;
	fault.socket_after = 1;
	expect_states("hg", 1500, "tu");
	fault.connect_to_refused = EADDRNOTAVAIL;
	expect_states("hb", 1500, "tu");
}

/* Errors from the network count as errors of the peer. */
static void
distinguishes_network_from_local_errors(void **state)
{
	(void)state;
	fault.connect_to_refused = EHOSTUNREACH;
	expect_states("bg", 5000, "fC");
	fault.connect_to_refused = ETIMEDOUT;
	expect_states("bg", 5000, "tC");
	fault.connect_to_refused = ENETUNREACH;
	expect_states("bg", 5000, "?C");
}

static void
continues_when_poll_fails(void **state)
{
	(void)state;
	if (!ports.has_hole)
		return;
	fault.poll = ENOMEM;
	expect_states("hg", 5000, "uC");
	fault.poll = EINTR;
	expect_states("hg", 150, "tC");
}

static void
connects_by_ipv6(void **state)
{
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6 };
	socklen_t len = sizeof sin6;
	struct dial_target t = { 0 };
	int listener = socket(AF_INET6, SOCK_STREAM, 0);
	struct dialed won;
	struct ip own;

	(void)state;
	sin6.sin6_addr = in6addr_loopback;
	if (listener == -1 ||
	    bind(listener, (struct sockaddr *)&sin6, len) != 0 ||
	    listen(listener, 8) != 0 ||
	    getsockname(listener, (struct sockaddr *)&sin6, &len) != 0)
		return;
	ip_parse("::1", 3, &t.ip);
	t.port = ntohs(sin6.sin6_port);
	assert_true(dial_first(&t, 1, 5000, &won));
	assert_int_equal(t.state, DIAL_CONNECTED);
	assert_true(dial_own(won.fd, &own));
	assert_true(ip_equal(&own, &t.ip));
	close(won.fd);
	close(listener);
}

/* The others go on if one of our addresses is not there. */
static void
connects_from_an_address_of_ours(void **state)
{
	struct dial_target t[TARGETS_MAX];
	struct ip own, here, elsewhere;
	struct dialed won;

	(void)state;
	assert_true(ip_parse("127.0.0.9", 9, &here));
	assert_true(ip_parse("192.0.2.1", 9, &elsewhere));
	assert_int_equal(dial_try_own(&here), 0);
	make_targets("gg", t);
	t[0].own = t[1].own = &here;
	assert_true(dial_first(t, 2, 5000, &won));
	assert_true(dial_own(won.fd, &own));
	assert_true(ip_equal(&own, &here));
	close(won.fd);

	fault.bind = EADDRNOTAVAIL;
	make_targets("gg", t);
	t[0].own = &elsewhere;
	assert_int_equal(dial_try_own(&elsewhere), -1);
	assert_int_equal(errno, EADDRNOTAVAIL);
	assert_true(dial_first(t, 2, 5000, &won));
	assert_int_equal(won.target, 1);
	assert_int_equal(t[0].state, DIAL_UNABLE);
	assert_int_equal(t[0].error, EADDRNOTAVAIL);
	close(won.fd);
	fault.bind = 0;

	fault.socket = EMFILE;
	assert_int_equal(dial_try_own(&here), -1);
	assert_int_equal(errno, EMFILE);
	fault.socket = 0;
}

/* Then connections to several servers can have the same port. */
static void
leaves_the_port_to_connect(void **state)
{
#ifdef IP_BIND_ADDRESS_NO_PORT
	struct sockaddr_in sin;
	socklen_t len = sizeof sin;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct ip here;

	(void)state;
	assert_true(ip_parse("127.0.0.1", 9, &here));
	assert_int_equal(bind_own(fd, &here), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	assert_int_equal(sin.sin_port, 0);
	assert_int_equal(sin.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
	close(fd);
#else
	(void)state;
#endif
}

static void
tells_our_own_address(void **state)
{
	struct dial_target t[TARGETS_MAX];
	struct dialed won;
	struct ip ip;
	int pipes[2], local;

	(void)state;
	make_targets("g", t);
	assert_true(dial_first(t, 1, 5000, &won));
	assert_true(dial_own(won.fd, &ip));
	assert_true(ip_equal(&ip, &t[0].ip));
	close(won.fd);
	/* Of what is no connection, or has no address, there is none. */
	assert_int_equal(pipe(pipes), 0);
	assert_false(dial_own(pipes[0], &ip));
	close(pipes[0]);
	close(pipes[1]);
	local = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_not_equal(local, -1);
	assert_false(dial_own(local, &ip));
	close(local);
	assert_false(dial_own(-1, &ip));
}

/* From the start of the attempt that won, not of the first one. */
static void
measures_the_time_to_connect(void **state)
{
	struct dial_target t[TARGETS_MAX];
	struct dialed won;
	double start = now();

	(void)state;
	if (!ports.has_hole)
		return;
	make_targets("hhg", t);
	assert_true(dial_first(t, 3, 5000, &won));
	assert_true(won.ms >= 0);
	assert_true(won.ms <= (now() - start) * 1000 - 2 * DIAL_STAGGER_MS + 1);
	close(won.fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_connection_wins),
		cmocka_unit_test(continues_after_each_winner),
		cmocka_unit_test(continues_after_local_errors),
		cmocka_unit_test(keeps_the_error),
		cmocka_unit_test(gives_the_first_attempt_its_whole_time),
		cmocka_unit_test(distinguishes_network_from_local_errors),
		cmocka_unit_test(continues_when_poll_fails),
		cmocka_unit_test(connects_by_ipv6),
		cmocka_unit_test(connects_from_an_address_of_ours),
		cmocka_unit_test(leaves_the_port_to_connect),
		cmocka_unit_test(tells_our_own_address),
		cmocka_unit_test(measures_the_time_to_connect),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
