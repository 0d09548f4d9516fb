/* SPDX-License-Identifier: ISC */
/*
 * The floor for a large message: copies fd 0 in memory once and nothing else.
 * With
 *	copy ADDRESS PORT
 * it also sends it to an IPv4 server that accepts commands unchecked.  This
 * shows what the kernel needs to move that much data over a connection.
 */
#define _DEFAULT_SOURCE

#include <sys/socket.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE 65536
#define REPLIES 6 /* greeting, HELO, MAIL, RCPT, DATA, end of mail data */

static const char commands[] = "HELO me.example\r\nMAIL FROM:<>\r\n"
			       "RCPT TO:<b@dst.example>\r\nDATA\r\n";

static int
dial(const char *address, const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons((unsigned short)atoi(port)) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1 || fd == -1 ||
	    connect(fd, (const struct sockaddr *)&to, sizeof to) == -1)
		_exit(1);
	return fd;
}

static void
send_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t put = write(fd, p, n);

		if (put == -1)
			_exit(1);
		p += put;
		n -= (size_t)put;
	}
}

static void
await_replies(int fd)
{
	char in[4096];
	int left = REPLIES;

	while (left > 0) {
		ssize_t got = read(fd, in, sizeof in);

		if (got <= 0)
			_exit(1);
		for (ssize_t i = 0; i < got; i++)
			left -= in[i] == '\n';
	}
}

int
main(int argc, char **argv)
{
	static char in[PIECE], out[PIECE];
	ssize_t got;
	int fd = argc == 3 ? dial(argv[1], argv[2]) : -1;

	if (fd != -1)
		send_all(fd, commands, strlen(commands));
	while ((got = read(0, in, sizeof in)) > 0) {
		memcpy(out, in, (size_t)got);
		/* So that the compiler cannot remove the copy. */
		__asm__ volatile("" : : "r"(out) : "memory");
		if (fd != -1)
			send_all(fd, out, (size_t)got);
	}
	if (fd != -1) {
		send_all(fd, "\r\n.\r\n", 5);
		await_replies(fd);
		send_all(fd, "QUIT\r\n", 6);
	}
	return 0;
}
