/* SPDX-License-Identifier: ISC */
#include "tlsd/tunnel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "testcert.h"

#define MUCH ((size_t)8 << 20)

static struct testcert cert;

/* Everything for one session; the test is at the end clear[0]. */
struct scene {
	struct testserver server;
	int fd[2];
	int clear[2];
	pthread_t tunnel;
	struct tls_result result;
	enum tls_status status;
	enum tls_end ended; /* from the callback */
	int told;
};

/* There is one at a time. */
static struct scene *scene;

static void
tell_end(enum tls_end end, const char *text)
{
	(void)text;
	scene->ended = end;
	scene->told++;
}

static int
set_up(void **state)
{
	(void)state;
	cert = testcert_make(&(struct testcert_spec){ .cn = "x" });
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	testcert_free(&cert);
	return 0;
}

static void *
run_tunnel(void *arg)
{
	struct scene *s = arg;
	struct tlsd_session_params p = { .fd = s->fd[0] };
	struct dsn why = { 0 };
	struct tlsd_session *t = tlsd_session_create(&p, &why);

	s->status = TLS_STATUS_LOCAL;
	if (t != NULL)
		s->status =
		    tlsd_session_handshake(t, deadline_in(10000), &s->result);
	if (s->status == TLS_STATUS_READY)
		tlsd_tunnel_run(t, s->fd[0], s->clear[1], tell_end);
	tlsd_session_destroy(t);
	close(s->fd[0]);
	close(s->clear[1]);
	return NULL;
}

static void
scene_start(struct scene *s)
{
	scene = s;
	s->server.cert = &cert;
	testserver_tcp_pair(s->fd);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s->clear), 0);
	testserver_start(&s->server, s->fd[1]);
	assert_int_equal(pthread_create(&s->tunnel, NULL, run_tunnel, s), 0);
}

static void
scene_end(struct scene *s, enum tls_end want)
{
	pthread_join(s->tunnel, NULL);
	testserver_join(&s->server);
	assert_int_equal(s->status, TLS_STATUS_READY);
	assert_int_equal(s->told, 1);
	assert_int_equal(s->ended, want);
}

static char
pattern(size_t i)
{
	return (char)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

static double
seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
write_all(int fd, const char *data, size_t n)
{
	while (n > 0) {
		ssize_t put = send(fd, data, n, MSG_NOSIGNAL);

		assert_true(put > 0);
		data += put;
		n -= (size_t)put;
	}
}

/* Reads to the end of file, and checks the bytes against the pattern. */
static size_t
read_pattern(int fd)
{
	static char piece[50000];
	size_t n = 0;
	ssize_t got;
	ssize_t i;

	while ((got = read(fd, piece, sizeof piece)) > 0)
		for (i = 0; i < got; i++)
			if (piece[i] != pattern(n++))
				fail_msg("byte %zu differs", n - 1);
	assert_int_equal(got, 0);
	return n;
}

static void
echo(SSL *ssl, struct testserver *t)
{
	char piece[4096];
	size_t got, put;

	while (SSL_read_ex(ssl, piece, sizeof piece, &got) == 1) {
		if (SSL_write_ex(ssl, piece, got, &put) != 1)
			return;
		t->received += got;
	}
	t->got_close_notify = SSL_get_error(ssl, 0) == SSL_ERROR_ZERO_RETURN;
}

static void
test_dialogue(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	size_t i, j;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct scene s = { .server = { .talk = echo,
				       .max_version = versions[i] } };
		char reply[16];

		scene_start(&s);
		for (j = 0; j < 50; j++) {
			write_all(s.clear[0], "EHLO x\r\n", 8);
			assert_int_equal(recv(s.clear[0], reply, 8,
					     MSG_WAITALL),
			    8);
			assert_memory_equal(reply, "EHLO x\r\n", 8);
		}
		close(s.clear[0]);
		scene_end(&s, TLS_END_CLIENT);
		assert_int_equal(s.server.received, 400);
		assert_true(s.server.got_close_notify);
	}
}

static void
read_pattern_of_client(SSL *ssl, struct testserver *t)
{
	static char piece[65536];
	size_t got, i;

	while (SSL_read_ex(ssl, piece, sizeof piece, &got) == 1)
		for (i = 0; i < got; i++)
			if (piece[i] != pattern(t->received++))
				t->arg = t; /* differs */
	t->got_close_notify = SSL_get_error(ssl, 0) == SSL_ERROR_ZERO_RETURN;
}

/* Everything written before the end arrives, however late it is read. */
static void
test_much_out(void **state)
{
	struct scene s = { .server = { .talk = read_pattern_of_client } };
	char *much = malloc(MUCH);
	size_t i, piece;

	(void)state;
	for (i = 0; i < MUCH; i++)
		much[i] = pattern(i);
	scene_start(&s);
	for (i = 0; i < MUCH; i += piece) {
		piece = 1 + (i * 7919) % 100000;
		if (piece > MUCH - i)
			piece = MUCH - i;
		write_all(s.clear[0], much + i, piece);
	}
	close(s.clear[0]);
	scene_end(&s, TLS_END_CLIENT);
	assert_int_equal(s.server.received, MUCH);
	assert_null(s.server.arg);
	assert_true(s.server.got_close_notify);
	free(much);
}

static void
send_pattern(SSL *ssl, struct testserver *t)
{
	char *much = malloc(MUCH);
	size_t i, put;

	for (i = 0; i < MUCH; i++)
		much[i] = pattern(i);
	for (i = 0; i < MUCH; i += put)
		if (SSL_write_ex(ssl, much + i, MUCH - i, &put) != 1)
			break;
	t->received = i;
	free(much);
}

static void
test_much_in(void **state)
{
	size_t i;

	(void)state;
	/* Ended by close_notify, or only by the end of TCP. */
	for (i = 0; i < 2; i++) {
		struct scene s = { .server = { .talk = send_pattern,
				       .no_close_notify = i == 1 } };

		scene_start(&s);
		testserver_pause(100);
		assert_int_equal(read_pattern(s.clear[0]), MUCH);
		scene_end(&s, i == 1 ? TLS_END_BROKEN : TLS_END_SERVER);
		close(s.clear[0]);
	}
}

static void
greet(SSL *ssl, struct testserver *t)
{
	size_t put;

	SSL_write_ex(ssl, "221 bye\r\n", 9, &put);
	testserver_read_all(ssl, t);
}

/* QUIT, then close; also with the reply unread, that is, with a reset. */
static void
test_quit(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < 40; i++) {
		struct scene s = { .server = { .talk = greet } };
		double start = seconds(CLOCK_MONOTONIC);

		scene_start(&s);
		if (i % 2 == 1)
			testserver_pause(20);
		write_all(s.clear[0], "QUIT\r\n", 6);
		close(s.clear[0]);
		scene_end(&s, TLS_END_CLIENT);
		assert_int_equal(s.server.received, 6);
		assert_memory_equal(s.server.data, "QUIT\r\n", 6);
		assert_true(s.server.got_close_notify);
		assert_true(seconds(CLOCK_MONOTONIC) - start < 5);
	}
}

static void
say_goodbye(SSL *ssl)
{
	size_t put;

	SSL_write_ex(ssl, "421 so long\r\n", 13, &put);
}

static void
hang_up(SSL *ssl, struct testserver *t)
{
	size_t got;

	/* A close with unread bytes is a reset, and the 421 may be lost. */
	SSL_read_ex(ssl, t->data, 14, &got);
	say_goodbye(ssl);
	if (t->arg == NULL)
		return;
	/* close_notify, and then bytes that must never be taken for a reply. */
	SSL_shutdown(ssl);
	assert_int_equal(write(t->fd, "250 injected\r\n", 14), 14);
	testserver_pause(50);
}

/* The last reply, then end of file; nothing can be written after it. */
static void
check_goodbye(struct scene *s)
{
	int fd = s->clear[0];
	char reply[64];
	size_t n = 0;
	ssize_t got;

	while ((got = read(fd, reply + n, sizeof reply - n)) > 0)
		n += (size_t)got;
	assert_int_equal(got, 0);
	/* The callback was called before. */
	assert_int_equal(s->told, 1);
	assert_int_equal(n, 13);
	assert_memory_equal(reply, "421 so long\r\n", 13);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
}

static void
test_server_ends(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		struct scene s = { .server = { .talk = hang_up,
				       .no_close_notify = i == 1,
				       .arg = i == 2 ? &cert : NULL } };

		scene_start(&s);
		write_all(s.clear[0], "MAIL FROM:<>\r\n", 14);
		check_goodbye(&s);
		scene_end(&s, i == 1 ? TLS_END_BROKEN : TLS_END_SERVER);
		close(s.clear[0]);
	}
}

/*
 * Writes as much as fits while the other side does not read.  On a busy machine
 * the tunnel may not run for a while, and has room for more afterwards.
 */
static void
fill(int fd)
{
	static const char piece[65536];
	int idle = 0;

	while (idle < 40) {
		if (send(fd, piece, sizeof piece, MSG_NOSIGNAL | MSG_DONTWAIT) >
		    0) {
			idle = 0;
			continue;
		}
		idle++;
		testserver_pause(50);
	}
}

static void
say_goodbye_unasked(SSL *ssl, struct testserver *t)
{
	while (t->arg == NULL)
		testserver_pause(10);
	say_goodbye(ssl);
	SSL_shutdown(ssl);
	testserver_pause(500);
}

/* Unread data of ours must not turn the end into a reset. */
static void
test_server_ends_while_we_write(void **state)
{
	struct scene s = { .server = { .talk = say_goodbye_unasked } };

	(void)state;
	scene_start(&s);
	fill(s.clear[0]);
	s.server.arg = &cert;
	check_goodbye(&s);
	scene_end(&s, TLS_END_SERVER);
	close(s.clear[0]);
}

/* The server does not read: the tunnel ends all the same, without using CPU. */
static void
deaf(SSL *ssl, struct testserver *t)
{
	(void)ssl;
	while (t->arg == NULL)
		testserver_pause(10);
}

static void
test_drain_is_bounded(void **state)
{
	struct scene s = { .server = { .talk = deaf } };
	double start, busy;

	(void)state;
	scene_start(&s);
	fill(s.clear[0]);
	start = seconds(CLOCK_MONOTONIC);
	busy = seconds(CLOCK_PROCESS_CPUTIME_ID);
	close(s.clear[0]);
	pthread_join(s.tunnel, NULL);
	assert_int_equal(s.ended, TLS_END_CLIENT);
	assert_true(seconds(CLOCK_MONOTONIC) - start > 9);
	assert_true(seconds(CLOCK_MONOTONIC) - start < 12);
	assert_true(seconds(CLOCK_PROCESS_CPUTIME_ID) - busy < 1);
	s.server.arg = &cert;
	testserver_join(&s.server);
}

/* Waiting for either side uses no CPU. */
static void
test_idle_costs_nothing(void **state)
{
	struct scene s = { .server = { .talk = echo } };
	double busy;
	char c;

	(void)state;
	scene_start(&s);
	write_all(s.clear[0], "x", 1);
	assert_int_equal(read(s.clear[0], &c, 1), 1);
	busy = seconds(CLOCK_PROCESS_CPUTIME_ID);
	testserver_pause(500);
	assert_true(seconds(CLOCK_PROCESS_CPUTIME_ID) - busy < 0.05);
	close(s.clear[0]);
	scene_end(&s, TLS_END_CLIENT);
}

static void
flood(SSL *ssl, struct testserver *t)
{
	size_t i;

	for (i = 0; i < 100000; i++) {
		if (SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1 ||
		    SSL_do_handshake(ssl) != 1)
			break;
		t->received++;
	}
}

static void
test_key_update_flood(void **state)
{
	struct scene s = { .server = { .talk = flood } };

	(void)state;
	scene_start(&s);
	assert_int_equal(read_pattern(s.clear[0]), 0);
	scene_end(&s, TLS_END_BROKEN);
	close(s.clear[0]);
	assert_true(s.server.received < 100000);
}

/* Key updates in both directions with each 16 kB are allowed without limit. */
static void
update_keys(SSL *ssl, struct testserver *t)
{
	char piece[16384];
	size_t i, j, put;

	for (i = 0; i < 300; i++) {
		for (j = 0; j < sizeof piece; j++)
			piece[j] = pattern(i * sizeof piece + j);
		if (SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) != 1 ||
		    SSL_write_ex(ssl, piece, sizeof piece, &put) != 1)
			break;
	}
	testserver_read_all(ssl, t);
}

static void
test_key_updates(void **state)
{
	struct scene s = { .server = { .talk = update_keys } };
	char piece[16384];
	size_t i, j;

	(void)state;
	scene_start(&s);
	for (i = 0; i < 300; i++) {
		assert_int_equal(recv(s.clear[0], piece, sizeof piece,
				     MSG_WAITALL),
		    sizeof piece);
		for (j = 0; j < sizeof piece; j++)
			if (piece[j] != pattern(i * sizeof piece + j))
				fail_msg("byte %zu of piece %zu", j, i);
	}
	close(s.clear[0]);
	scene_end(&s, TLS_END_CLIENT);
}

static void
renegotiate(SSL *ssl, struct testserver *t)
{
	size_t put;

	SSL_write_ex(ssl, "a", 1, &put);
	SSL_renegotiate(ssl);
	/* Sends the request, then checks the reaction. */
	SSL_do_handshake(ssl);
	testserver_read_all(ssl, t);
	t->arg =
	    SSL_get_state(ssl) == TLS_ST_OK && SSL_renegotiate_pending(ssl) == 0
		? t
		: NULL;
}

static void
test_renegotiation_is_refused(void **state)
{
	struct scene s = { .server = { .talk = renegotiate,
			       .max_version = TLS1_2_VERSION } };
	char c;

	(void)state;
	scene_start(&s);
	assert_int_equal(read(s.clear[0], &c, 1), 1);
	/* A server that gives up after the refusal. */
	assert_int_equal(read(s.clear[0], &c, 1), 0);
	close(s.clear[0]);
	scene_end(&s, TLS_END_BROKEN);
	assert_null(s.server.arg);
}

/* Records in one segment, as a server may send them. */
static void
say_in_one_segment(SSL *ssl, struct testserver *t)
{
	static const char *const records[] = { "354 go\r\n", "250 false\r\n",
		"421 and so long\r\n" };
	BIO *memory = BIO_new(BIO_s_mem()), *wire = SSL_get_wbio(ssl);
	char *bytes;
	long n;
	size_t put;

	BIO_up_ref(wire);
	BIO_up_ref(memory);
	SSL_set0_wbio(ssl, memory);
	for (size_t i = 0; i < 3; i++)
		SSL_write_ex(ssl, records[i], strlen(records[i]), &put);
	n = BIO_get_mem_data(memory, &bytes);
	(void)!write(t->fd, bytes, (size_t)n);
	SSL_set0_wbio(ssl, wire);
	BIO_free(memory);
	testserver_read_all(ssl, t);
}

/*
 * Everything that has arrived is passed on in one piece: a reader of the first
 * reply always sees what follows it.
 */
static void
test_records_of_one_segment(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	static const char all[] = "354 go\r\n250 false\r\n421 and so long\r\n";

	(void)state;
	for (size_t i = 0; i < 100; i++) {
		struct scene s = { .server = { .talk = say_in_one_segment,
				       .max_version = versions[i % 2] } };
		char piece[sizeof all];

		scene_start(&s);
		assert_int_equal(read(s.clear[0], piece, sizeof piece),
		    sizeof all - 1);
		assert_memory_equal(piece, all, sizeof all - 1);
		close(s.clear[0]);
		scene_end(&s, TLS_END_CLIENT);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogue),
		cmocka_unit_test(test_records_of_one_segment),
		cmocka_unit_test(test_much_out),
		cmocka_unit_test(test_much_in),
		cmocka_unit_test(test_quit),
		cmocka_unit_test(test_server_ends),
		cmocka_unit_test(test_server_ends_while_we_write),
		cmocka_unit_test(test_drain_is_bounded),
		cmocka_unit_test(test_idle_costs_nothing),
		cmocka_unit_test(test_key_update_flood),
		cmocka_unit_test(test_key_updates),
		cmocka_unit_test(test_renegotiation_is_refused),
	};

	alarm(120);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
