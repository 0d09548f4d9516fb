/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <string.h>
#include <unistd.h>

#include "cache/client.h"
#include "delivery/prestart.h"
#include "io/pass.h"

#define REQUEST "/helper\0name=mx.example\0wait=1"

/* A client, and the end of its socket that the broker would have. */
static int
open_client(struct cache_client *c)
{
	int end[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, end), 0);
	*c = (struct cache_client){ .fd = end[0] };
	return end[1];
}

static void
asks_the_broker(void **state)
{
	static const char want[] = "tls\0name=mx.example\0wait=1";
	struct cache_client c;
	struct cache_message m;
	int broker = open_client(&c), fd[PASS_MAX];
	const int given[TLS_FDS] = { 0, 1, 2 };
	char bytes[200];
	size_t nfd;
	ssize_t n;

	(void)state;
	assert_true(prestart_pass(&c, REQUEST, sizeof REQUEST, given));
	n = pass_receive(broker, bytes, sizeof bytes, fd, &nfd);
	assert_int_equal(n, sizeof want);
	assert_memory_equal(bytes, want, sizeof want);
	assert_int_equal(nfd, TLS_FDS);
	assert_true(cache_message_parse(&m, bytes, (size_t)n));
	assert_int_equal(m.kind, CACHE_TLS);
	pass_close(fd, nfd);
	cache_client_close(&c);
	close(broker);
}

static void
does_without_a_broker(void **state)
{
	const int given[TLS_FDS] = { 0, 1, 2 };
	struct cache_client c = { .fd = -1 };

	(void)state;
	assert_false(prestart_pass(&c, REQUEST, sizeof REQUEST, given));
	close(open_client(&c));
	assert_false(prestart_pass(&c, REQUEST, sizeof REQUEST, given));
	cache_client_close(&c);
}

/* The broker is kept: only this cannot be asked. */
static void
leaves_out_what_is_too_long(void **state)
{
	/* One byte too long. */
	static char request[2 + CACHE_REQUEST_MAX - sizeof "tls" + 1];
	const int given[TLS_FDS] = { 0, 1, 2 };
	struct cache_client c;
	int broker = open_client(&c);

	(void)state;
	memset(request, 'x', sizeof request);
	request[1] = request[sizeof request - 1] = '\0';
	assert_false(prestart_pass(&c, request, sizeof request, given));
	assert_int_not_equal(c.fd, -1);
	assert_true(prestart_pass(&c, request, sizeof request - 1, given));
	cache_client_close(&c);
	close(broker);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(asks_the_broker),
		cmocka_unit_test(does_without_a_broker),
		cmocka_unit_test(leaves_out_what_is_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
