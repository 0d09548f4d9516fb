/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>

#include "brokerstage.h"
#include "home.h"
#include "tcppair.h"

#define REQUEST "name=mx.example\0wait=1"

/* The end of the socket that a qmail-remote-tls would have. */
static int service;
static struct guest guest;

/* A broker that has the other end. */
static int
enter(void **state)
{
	int end[2];

	if (stage_enter(state) != 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, end) == -1)
		return -1;
	broker_destroy(stage.broker);
	stage.tls = end[0];
	service = end[1];
	stage_start_broker();
	guest_connect(&guest);
	stage_run();
	return 0;
}

static int
leave(void **state)
{
	guest_close(&guest);
	close(stage.tls);
	if (service != -1)
		close(service);
	return stage_leave(state) || home_clear(state);
}

static void
say_ready(void)
{
	assert_int_equal(pass_send(service, "", 1, NULL, 0), 0);
	stage_run();
}

static void
close_service(void)
{
	close(service);
	service = -1;
}

/* A connection, and the ends that a session has, and those of the delivery. */
struct start {
	int given[PASS_MAX], kept[PASS_MAX], listening;
};

static void
make_start(struct start *s)
{
	int pair[2];

	tcp_pair(pair, &s->listening);
	for (int i = 0; i < PASS_MAX; i++) {
		if (i > 0)
			assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0,
					     pair),
			    0);
		s->given[i] = pair[0];
		s->kept[i] = pair[1];
	}
}

static void
ask(struct start *s, size_t nfd)
{
	struct cache_message m = { .kind = CACHE_TLS,
		.request = REQUEST,
		.nrequest = sizeof REQUEST };

	guest_send(&guest, &m, s->given, nfd);
	pass_close(s->given, PASS_MAX);
	stage_run();
}

/* Nobody has what was given, and the service has not heard of it. */
static void
was_dropped(struct start *s)
{
	char c;

	for (int i = 0; i < PASS_MAX; i++)
		assert_int_equal(recv(s->kept[i], &c, 1, MSG_DONTWAIT), 0);
	if (service != -1)
		assert_int_equal(recv(service, &c, 1, MSG_DONTWAIT), -1);
	pass_close(s->kept, PASS_MAX);
	close(s->listening);
}

static void
passes_a_request_on(void **state)
{
	static const char want[] = "tls\0" REQUEST;
	int fd[PASS_MAX];
	struct start s;
	char bytes[100], c;
	size_t nfd;

	(void)state;
	say_ready();
	make_start(&s);
	ask(&s, PASS_MAX);
	assert_int_equal(pass_receive(service, bytes, sizeof bytes, fd, &nfd),
	    sizeof want);
	assert_memory_equal(bytes, want, sizeof want);
	assert_int_equal(nfd, PASS_MAX);
	for (int i = 0; i < PASS_MAX; i++) {
		assert_int_equal(write(fd[i], "x", 1), 1);
		assert_int_equal(read(s.kept[i], &c, 1), 1);
	}
	pass_close(fd, nfd);
	was_dropped(&s);
	/* It is not answered, and the client stays. */
	assert_int_equal(guest_answer(&guest), HEARD_NOTHING);
}

static void
drops_what_comes_too_early(void **state)
{
	struct start s;

	(void)state;
	make_start(&s);
	ask(&s, PASS_MAX);
	was_dropped(&s);
	assert_int_equal(guest_answer(&guest), HEARD_NOTHING);
}

/* Neither are other descriptors passed on, nor fewer. */
static void
drops_what_is_no_session(void **state)
{
	struct start s;
	int first;

	(void)state;
	say_ready();
	make_start(&s);
	ask(&s, PASS_MAX - 1);
	was_dropped(&s);
	for (int i = 1; i < PASS_MAX; i++) {
		make_start(&s);
		first = s.given[0];
		s.given[0] = s.given[i];
		s.given[i] = first;
		ask(&s, PASS_MAX);
		was_dropped(&s);
	}
}

/* Its queue is full: it is stopped. */
static void
drops_what_is_not_read(void **state)
{
	struct start s;

	(void)state;
	say_ready();
	while (pass_send(stage.tls, REQUEST, 1, NULL, 0) == 0)
		;
	make_start(&s);
	ask(&s, PASS_MAX);
	for (int i = 0; i < PASS_MAX; i++) {
		char c;

		assert_int_equal(recv(s.kept[i], &c, 1, MSG_DONTWAIT), 0);
	}
	pass_close(s.kept, PASS_MAX);
	close(s.listening);
}

static void
goes_on_if_it_never_was_ready(void **state)
{
	struct start s;

	(void)state;
	close_service();
	stage_run();
	make_start(&s);
	ask(&s, PASS_MAX);
	was_dropped(&s);
	guest_ask(&guest, "k1");
	assert_int_equal(guest_answer(&guest), CACHE_MISS);
}

static void
ends_with_one_that_was_ready(void **state)
{
	(void)state;
	say_ready();
	close_service();
	assert_false(stage_turn());
}

/* A client must not send a request without descriptors. */
static void
refuses_a_request_without_descriptors(void **state)
{
	struct cache_message m = { .kind = CACHE_TLS,
		.request = REQUEST,
		.nrequest = sizeof REQUEST };

	(void)state;
	guest_send(&guest, &m, NULL, 0);
	assert_int_equal(guest_answer(&guest), HEARD_END);
}

#define TLS_TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TLS_TEST(passes_a_request_on),
		TLS_TEST(drops_what_comes_too_early),
		TLS_TEST(drops_what_is_no_session),
		TLS_TEST(drops_what_is_not_read),
		TLS_TEST(goes_on_if_it_never_was_ready),
		TLS_TEST(ends_with_one_that_was_ready),
		TLS_TEST(refuses_a_request_without_descriptors),
	};

	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
