/* SPDX-License-Identifier: ISC */
#ifndef TEST_PEER_H
#define TEST_PEER_H

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"

/*
 * The other end of a socketpair: a child process that plays a script, and
 * records every byte that it receives.
 *
 * A step of a script is a string; its first byte says what to do:
 *	>text  send it
 *	<text  read exactly this, or the script fails
 *	.      read up to the end of mail data
 *	/      end our output, but go on reading
 *	!      close the connection now, without reading any more
 *	-      stay, and read no more, until killed
 * After the last step the peer reads until the other side closes.
 */
struct peer {
	int fd; /* our end, non-blocking */
	int record;
	pid_t pid;
};

#define PEER_LIFE_S 60 /* kills a test that hangs */

static inline _Noreturn void
peer_die(const char *what)
{
	perror(what);
	abort();
}

/* Functions for the child. */
static inline void
peer_say(int fd, const void *p, size_t n)
{
	const char *at = p;

	while (n > 0) {
		ssize_t put = write(fd, at, n);

		if (put <= 0)
			_exit(2);
		at += put;
		n -= (size_t)put;
	}
}

static inline ssize_t
peer_hear(int fd, int record, void *p, size_t n)
{
	ssize_t got = read(fd, p, n);

	if (got > 0 && write(record, p, (size_t)got) != got)
		_exit(3);
	return got;
}

static inline void
peer_hear_just(int fd, int record, const char *text)
{
	char c;

	for (; *text; text++)
		if (peer_hear(fd, record, &c, 1) != 1 || c != *text)
			_exit(4);
}

/* The final dot is a line of its own. */
static inline void
peer_hear_mail_data(int fd, int record)
{
	char last[5] = { 'x', 'x', 'x', '\r', '\n' };

	do {
		memmove(last, last + 1, 4);
		if (peer_hear(fd, record, last + 4, 1) != 1)
			_exit(5);
	} while (memcmp(last, "\r\n.\r\n", 5) != 0);
}

static inline void
peer_listen(int fd, int record)
{
	char piece[4096];

	while (peer_hear(fd, record, piece, sizeof piece) > 0)
		;
}

static inline void
peer_play(int fd, int record, const void *script)
{
	const char *const *step = script;

	for (; *step; step++) {
		switch ((*step)[0]) {
		case '>':
			peer_say(fd, *step + 1, strlen(*step + 1));
			break;
		case '<':
			peer_hear_just(fd, record, *step + 1);
			break;
		case '.':
			peer_hear_mail_data(fd, record);
			break;
		case '/':
			shutdown(fd, SHUT_WR);
			break;
		case '!':
			_exit(0);
		case '-':
			pause();
			break;
		default:
			_exit(6);
		}
	}
	peer_listen(fd, record);
}

/* Functions for the parent. */

/*
 * Starts a peer that runs play; size, if not 0, is the size of its socket
 * buffers.
 */
static inline struct peer
peer_start(void (*play)(int fd, int record, const void *context),
    const void *context, int size)
{
	struct peer p;
	FILE *record = tmpfile();
	int pair[2];

	signal(SIGPIPE, SIG_IGN);
	alarm(PEER_LIFE_S * 5);
	if (!record || (p.record = dup(fileno(record))) == -1)
		peer_die("tmpfile");
	fclose(record);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == -1)
		peer_die("socketpair");
	for (int i = 0; i < 2 && size > 0; i++) {
		setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
		setsockopt(pair[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	}
	p.fd = pair[0];
	p.pid = fork();
	if (p.pid == -1)
		peer_die("fork");
	if (p.pid == 0) {
		alarm(PEER_LIFE_S);
		close(pair[0]);
		play(pair[1], p.record, context);
		_exit(0);
	}
	close(pair[1]);
	fcntl(p.fd, F_SETFL, O_NONBLOCK);
	return p;
}

/*
 * Closes, and appends what the peer has read.  Returns 0 if it finished its
 * script; otherwise its exit code, or 128 and its signal.
 */
static inline int
peer_end(struct peer *p, struct buf *heard)
{
	char piece[4096];
	ssize_t got;
	int status;

	close(p->fd);
	if (waitpid(p->pid, &status, 0) != p->pid)
		peer_die("waitpid");
	if (lseek(p->record, 0, SEEK_SET) != 0)
		peer_die("lseek");
	while ((got = read(p->record, piece, sizeof piece)) > 0)
		buf_append(heard, piece, (size_t)got);
	close(p->record);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#endif
