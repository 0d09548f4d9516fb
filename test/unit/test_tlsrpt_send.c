/* SPDX-License-Identifier: ISC */
/* How reports reach the collector; test_tlsrpt.c has what they say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <sys/un.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int try_socket(int, int, int);

#define socket try_socket
#include "delivery/tlsrpt.c"
#undef socket

static bool has_no_sockets;

static int
try_socket(int domain, int type, int protocol)
{
	if (has_no_sockets) {
		errno = EMFILE;
		return -1;
	}
	return socket(domain, type, protocol);
}

static char directory[] = "/tmp/tlsrpt-XXXXXX";
static char path[sizeof directory + 8];

static int
make_directory(void **state)
{
	(void)state;
	/* A call that waits ends the test. */
	alarm(60);
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(path, sizeof path, "%s/socket", directory);
	return 0;
}

static int
remove_directory(void **state)
{
	(void)state;
	return rmdir(directory);
}

/* A collector at the path, which has room for some datagrams. */
static int
listen_at_path(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	assert_int_not_equal(fd, -1);
	strcpy(at.sun_path, path);
	assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static void
stop_listening(int fd)
{
	close(fd);
	unlink(path);
}

static int
count_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) != -1;
	return n;
}

static struct buf
text_of(size_t n, char c)
{
	struct buf text = { 0 };

	memset(buf_reserve(&text, n), c, n);
	text.len = n;
	return text;
}

static void
sends_one_datagram(void **state)
{
	struct buf json = { 0 };
	char got[100];
	int fd = listen_at_path();
	int before = count_descriptors();

	(void)state;
	buf_puts(&json, "{\"d\": \"dst.example\"}");
	tlsrpt_send(path, &json);
	tlsrpt_send(path, &json);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(recv(fd, got, sizeof got, 0), json.len);
		assert_memory_equal(got, json.data, json.len);
	}
	assert_int_equal(recv(fd, got, sizeof got, 0), -1);
	/* Nothing to tell is not an empty datagram. */
	buf_cut(&json, 0);
	tlsrpt_send(path, &json);
	assert_int_equal(recv(fd, got, sizeof got, 0), -1);
	assert_int_equal(count_descriptors(), before);
	buf_finish(&json);
	stop_listening(fd);
}

/* The longest one: a full set of TLSA records, in hexadecimal. */
static void
sends_a_long_datagram(void **state)
{
	struct buf json = text_of(2 * TLSA_BYTES_MAX + 4096, 'x');
	char *got = malloc(json.len + 1);
	int fd = listen_at_path();

	(void)state;
	assert_non_null(got);
	tlsrpt_send(path, &json);
	assert_int_equal(recv(fd, got, json.len + 1, 0), json.len);
	assert_memory_equal(got, json.data, json.len);
	free(got);
	buf_finish(&json);
	stop_listening(fd);
}

static void
loses_what_nobody_receives(void **state)
{
	struct buf json = text_of(1000, 'x');
	char longer[300];
	int before, fd;

	(void)state;
	before = count_descriptors();
	/* No socket, no directory, a path that is too long. */
	tlsrpt_send(path, &json);
	tlsrpt_send("/nowhere/socket", &json);
	memset(longer, 'x', sizeof longer);
	longer[sizeof longer - 1] = '\0';
	tlsrpt_send(longer, &json);
	/* A socket that nobody has open, and a file. */
	close(listen_at_path());
	tlsrpt_send(path, &json);
	unlink(path);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	tlsrpt_send(path, &json);
	unlink(path);
	/* No descriptor is left. */
	fd = listen_at_path();
	has_no_sockets = true;
	tlsrpt_send(path, &json);
	has_no_sockets = false;
	assert_int_equal(recv(fd, longer, sizeof longer, 0), -1);
	stop_listening(fd);
	assert_int_equal(count_descriptors(), before);
	buf_finish(&json);
}

/* Also to a collector of another type. */
static void
loses_what_a_stream_socket_does_not_take(void **state)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct buf json = text_of(10, 'x');
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	strcpy(at.sun_path, path);
	assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(listen(fd, 1), 0);
	tlsrpt_send(path, &json);
	stop_listening(fd);
	buf_finish(&json);
}

#define DATAGRAMS 10000

static void
does_not_wait_for_a_collector_that_reads_nothing(void **state)
{
	struct buf json = text_of(1000, 'x'), large = text_of(1 << 20, 'x');
	int fd = listen_at_path();
	size_t got = 0;
	char text[2000];

	(void)state;
	for (size_t i = 0; i < DATAGRAMS; i++)
		tlsrpt_send(path, &json);
	/* More than any datagram may have. */
	tlsrpt_send(path, &large);
	while (recv(fd, text, sizeof text, 0) == 1000)
		got++;
	assert_true(got > 0 && got < DATAGRAMS);
	stop_listening(fd);
	buf_finish(&json);
	buf_finish(&large);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(sends_one_datagram),
		cmocka_unit_test(sends_a_long_datagram),
		cmocka_unit_test(loses_what_nobody_receives),
		cmocka_unit_test(loses_what_a_stream_socket_does_not_take),
		cmocka_unit_test(
		    does_not_wait_for_a_collector_that_reads_nothing),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
