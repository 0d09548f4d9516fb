/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdbool.h>

#include "io/fdio.h"
#include "base/mem.h"
#include "io/stream.h"

#include "peer.h"

static const char *const status_name[] = { "OK", "CLOSED", "TIMEOUT", "SPOKE",
	"ERROR" };

static struct stream stream;
static int other; /* the other end of the pair, in this process */

static int
set_up(void **state)
{
	int pair[2], size = 1;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	alarm(240);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	fdio_set_nonblocking(pair[0]);
	other = pair[1];
	memset(&stream, 0xff, sizeof stream);
	stream_init(&stream, pair[0]);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	close(stream.fd);
	if (other != -1)
		close(other);
	return 0;
}

static void
must_be(const char *what, enum stream_status got, enum stream_status want)
{
	if (got != want)
		fail_msg("%s: %s", what, status_name[got]);
}

static void
must_hold(const char *text)
{
	size_t n;
	const char *p = stream_input(&stream, &n);

	if (n != strlen(text) || memcmp(p, text, n) != 0)
		fail_msg("input is %.*s", (int)n, p);
}

static void
say(const char *text)
{
	assert_int_equal(write(other, text, strlen(text)), strlen(text));
}

/* Writes until the socket is full; returns how much was written. */
static size_t
stuff(void)
{
	static const char much[4096];
	size_t n = 0;
	ssize_t put;

	while ((put = write(stream.fd, much, sizeof much)) > 0)
		n += (size_t)put;
	return n;
}

static void
takes_input(void **state)
{
	(void)state;
	must_hold("");
	assert_false(stream_has_input(&stream));
	say("abc");
	assert_true(stream_has_input(&stream));
	must_hold("abc");
	stream_consume(&stream, 2);
	must_hold("c");
	say("def");
	must_be("fill", stream_move(&stream, deadline_in(10000)), STREAM_OK);
	must_hold("cdef");
	stream_consume(&stream, 4);
	must_hold("");
	must_be("silence", stream_move(&stream, deadline_in(20)),
	    STREAM_TIMEOUT);
	must_be("no time", stream_move(&stream, deadline_in(0)),
	    STREAM_TIMEOUT);
	say("g");
	close(other);
	other = -1;
	must_be("last byte", stream_move(&stream, deadline_in(10000)),
	    STREAM_OK);
	must_be("end", stream_move(&stream, deadline_in(10000)), STREAM_CLOSED);
	must_hold("g");
	assert_true(stream_has_input(&stream));
	assert_true(stream_has_ended(&stream));
}

/* Neither silence nor unread input is the end. */
static void
distinguishes_the_end_from_silence(void **state)
{
	(void)state;
	assert_false(stream_has_ended(&stream));
	say("a");
	assert_false(stream_has_ended(&stream));
	must_hold("a");
	shutdown(other, SHUT_RD);
	assert_false(stream_has_ended(&stream));
	/* Only a write finds out that the reader is gone. */
	stream_put(&stream, "b", 1);
	must_be("flush", stream_flush(&stream, deadline_in(1000)),
	    STREAM_ERROR);
	assert_true(stream_has_ended(&stream));
}

/* Input beyond the buffer stays in the socket, and is not lost. */
static void
takes_what_it_has_room_for(void **state)
{
	char all[3 * STREAM_IN_SIZE + 1];
	size_t n, done = 0;

	(void)state;
	for (size_t i = 0; i < sizeof all; i++)
		all[i] = (char)('a' + i % 23);
	peer_say(other, all, sizeof all);
	while (done < sizeof all) {
		const char *p = stream_input(&stream, &n);

		if (done + n < sizeof all)
			must_be("fill",
			    stream_move(&stream, deadline_in(10000)),
			    STREAM_OK);
		p = stream_input(&stream, &n);
		if (n > STREAM_IN_SIZE || memcmp(p, all + done, n) != 0)
			fail_msg("%zu bytes at %zu", n, done);
		/* An odd length, so that the rest must be moved. */
		n = n > 1000 ? n - 1000 : n;
		stream_consume(&stream, n);
		done += n;
	}
}

static void
gives_output(void **state)
{
	char got[16] = "";
	size_t room = stream_room(&stream);

	(void)state;
	assert_int_equal(room, STREAM_OUT_SIZE);
	assert_false(stream_is_pending(&stream));
	stream_put(&stream, "abc", 3);
	stream_put(&stream, "", 0);
	stream_put(&stream, "de", 2);
	assert_int_equal(stream_room(&stream), room - 5);
	assert_true(stream_is_pending(&stream));
	must_be("flush", stream_flush(&stream, deadline_in(10000)), STREAM_OK);
	assert_false(stream_is_pending(&stream));
	assert_int_equal(stream_room(&stream), room);
	assert_int_equal(read(other, got, sizeof got), 5);
	assert_string_equal(got, "abcde");
}

/* Always in order, wherever the buffer wraps. */
static void
keeps_the_order(void **state)
{
	static char all[200000], got[200000];
	size_t put = 0, heard = 0, step = 1;

	(void)state;
	for (size_t i = 0; i < sizeof all; i++)
		all[i] = (char)(i * 7 % 251);
	while (heard < sizeof all) {
		size_t n = sizeof all - put;
		ssize_t r;

		step = step * 5 % 4093;
		if (n > step)
			n = step;
		if (n > stream_room(&stream))
			n = stream_room(&stream);
		stream_put(&stream, all + put, n);
		put += n;
		stream_move(&stream, deadline_in(0));
		n = step % 3000 + 1;
		if (n > sizeof got - heard)
			n = sizeof got - heard;
		r = recv(other, got + heard, n, MSG_DONTWAIT);
		heard += r > 0 ? (size_t)r : 0;
	}
	assert_memory_equal(got, all, sizeof all);
}

/* No deadlock: input is read while output waits for the peer. */
static void
reads_while_it_writes(void **state)
{
	(void)state;
	stuff();
	stream_put(&stream, "x", 1);
	must_be("nothing moves", stream_move(&stream, deadline_in(20)),
	    STREAM_TIMEOUT);
	must_be("nothing is flushed", stream_flush(&stream, deadline_in(20)),
	    STREAM_TIMEOUT);
	say("abc");
	must_be("input", stream_move(&stream, deadline_in(10000)), STREAM_OK);
	must_hold("abc");
	assert_true(stream_is_pending(&stream));
	say("def");
	must_be("more of it", stream_flush(&stream, deadline_in(20)),
	    STREAM_TIMEOUT);
	must_hold("abcdef");
}

/* Input that came before the connection broke can be read. */
static void
reads_input_after_a_failed_write(void **state)
{
	(void)state;
	stuff();
	stream_put(&stream, "x", 1);
	say("554 bye\r\n");
	shutdown(other, SHUT_RD);
	must_be("flush", stream_flush(&stream, deadline_in(10000)), STREAM_OK);
	must_hold("554 bye\r\n");
	assert_true(stream.has_dropped_output);
	assert_false(stream_is_pending(&stream));
	stream_put(&stream, "y", 1);
	must_be("no words", stream_flush(&stream, deadline_in(10000)),
	    STREAM_ERROR);
	assert_true(stream.error != 0);
	must_hold("554 bye\r\n");
}

static void
reports_a_broken_connection(void **state)
{
	(void)state;
	stream_put(&stream, "x", 1);
	close(other);
	other = -1;
	must_be("flush", stream_flush(&stream, deadline_in(10000)),
	    STREAM_ERROR);
	assert_true(stream.error != 0);
	assert_true(stream_is_pending(&stream));
}

static void
sends_past_the_buffer(void **state)
{
	static char much[1 << 20];
	const char *at = much, *end = much + sizeof much;
	struct deadline soon;
	char got[4] = "";

	(void)state;
	at = "abc";
	must_be("little", stream_send(&stream, &at, at + 3, 10000), STREAM_OK);
	assert_int_equal(*at, '\0');
	assert_int_equal(read(other, got, 4), 3);
	assert_string_equal(got, "abc");

	at = much;
	must_be("stall", stream_send(&stream, &at, end, 20), STREAM_TIMEOUT);
	assert_true(at > much && at < end);

	say("421 x\r\n");
	must_be("spoken to", stream_send(&stream, &at, end, 10000),
	    STREAM_INPUT);
	assert_true(at < end);
	must_hold("421 x\r\n");
	soon = deadline_in(5000);
	must_be("unread words", stream_send(&stream, &at, end, 10000),
	    STREAM_INPUT);
	assert_false(deadline_passed(soon));
	stream_consume(&stream, 7);

	shutdown(other, SHUT_WR);
	must_be("end", stream_send(&stream, &at, end, 10000), STREAM_CLOSED);
	close(other);
	other = -1;
	must_be("broken", stream_send(&stream, &at, end, 10000), STREAM_ERROR);
	assert_true(at < end);
}

static void
reads_input_after_a_failed_send(void **state)
{
	static char much[1 << 20];
	const char *at = much;

	(void)state;
	stuff();
	say("552 big\r\n");
	shutdown(other, SHUT_RD);
	must_be("send", stream_send(&stream, &at, much + sizeof much, 10000),
	    STREAM_INPUT);
	must_hold("552 big\r\n");
}

static void
peer_listen_only(int fd, int record, const void *context)
{
	(void)context;
	peer_listen(fd, record);
}

/* A slow reader gets everything, in order. */
static void
sends_all_of_it(void **state)
{
	size_t n = 3000000;
	char *all = mem_alloc(n, 1);
	const char *at = all;
	struct buf heard = { 0 };
	struct peer p;

	(void)state;
	for (size_t i = 0; i < n; i++)
		all[i] = (char)(i * 7 % 251);
	p = peer_start(peer_listen_only, NULL, 1);
	stream_init(&stream, dup(p.fd));
	must_be("send", stream_send(&stream, &at, all + n, 10000), STREAM_OK);
	close(stream.fd);
	assert_int_equal(peer_end(&p, &heard), 0);
	assert_int_equal(heard.len, n);
	assert_memory_equal(heard.data, all, n);
	buf_finish(&heard);
	free(all);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(takes_input),
		TEST(distinguishes_the_end_from_silence),
		TEST(takes_what_it_has_room_for),
		TEST(gives_output),
		TEST(keeps_the_order),
		TEST(reads_while_it_writes),
		TEST(reads_input_after_a_failed_write),
		TEST(reports_a_broken_connection),
		TEST(sends_past_the_buffer),
		TEST(reads_input_after_a_failed_send),
		cmocka_unit_test(sends_all_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
