/* SPDX-License-Identifier: ISC */
#ifndef TEST_TCPPAIR_H
#define TEST_TCPPAIR_H

/* A TCP connection over the loopback interface.  Include it after cmocka.h. */

#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

/* Both ends, and the socket that listens. */
static inline void
tcp_pair(int end[2], int *listening)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t size = sizeof in;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*listening = socket(AF_INET, SOCK_STREAM, 0);
	end[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(*listening, (struct sockaddr *)&in, sizeof in),
	    0);
	assert_int_equal(listen(*listening, 1), 0);
	assert_int_equal(getsockname(*listening, (struct sockaddr *)&in, &size),
	    0);
	assert_int_equal(connect(end[0], (struct sockaddr *)&in, sizeof in), 0);
	end[1] = accept(*listening, NULL, NULL);
	assert_int_not_equal(end[1], -1);
}

#endif
