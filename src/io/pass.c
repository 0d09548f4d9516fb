/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE /* struct ucred, MSG_CMSG_CLOEXEC */

#include "io/pass.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

/* Room for the descriptors of one message; the kernel drops what is more. */
union room {
	char bytes[CMSG_SPACE(PASS_MAX * sizeof(int))];
	struct cmsghdr align;
};

static void
attach(struct msghdr *m, union room *room, const int *fd, size_t nfd)
{
	struct cmsghdr *c;

	memset(room, 0, sizeof *room);
	m->msg_control = room->bytes;
	/* The type differs between C libraries. */
	m->msg_controllen = (socklen_t)CMSG_SPACE(nfd * sizeof *fd);
	c = CMSG_FIRSTHDR(m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = (socklen_t)CMSG_LEN(nfd * sizeof *fd);
	memcpy(CMSG_DATA(c), fd, nfd * sizeof *fd);
}

int
pass_send(int socket, const void *data, size_t n, const int *fd, size_t nfd)
{
	/* sendmsg() only reads them; the type is older than const. */
	struct iovec part = { .iov_base = (void *)(uintptr_t)data,
		.iov_len = n };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };
	union room room;
	ssize_t sent;

	assert(n > 0 && nfd <= PASS_MAX);
	if (nfd > 0)
		attach(&m, &room, fd, nfd);
	do
		sent = sendmsg(socket, &m, PASS_SEND_FLAGS);
	while (sent == -1 && errno == EINTR);
	return sent == -1 ? -1 : 0;
}

/*
 * Moves the descriptors of a message to fd.  Those for which there is no place
 * are closed; then it returns false.  There is one header for all of them, and
 * it comes first: what else there is has to be asked for (SO_PASSCRED).
 */
static bool
detach(struct msghdr *m, int fd[PASS_MAX], size_t *nfd)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(m);
	size_t n;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return true;
	n = (c->cmsg_len - CMSG_LEN(0)) / sizeof *fd;
	for (size_t i = 0; i < n; i++) {
		int next;

		memcpy(&next, CMSG_DATA(c) + i * sizeof next, sizeof next);
		if (*nfd < PASS_MAX)
			fd[(*nfd)++] = next;
		else
			close(next);
	}
	return n <= PASS_MAX;
}

void
pass_close(const int *fd, size_t nfd)
{
	for (size_t i = 0; i < nfd; i++)
		close(fd[i]);
}

ssize_t
pass_receive(int socket, void *data, size_t size, int fd[PASS_MAX], size_t *nfd)
{
	union room room;
	struct iovec part = { .iov_base = data, .iov_len = size };
	struct msghdr m = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = room.bytes,
		.msg_controllen = sizeof room.bytes,
	};
	ssize_t got;
	bool is_whole;

	*nfd = 0;
	do
		got = recvmsg(socket, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (got == -1 && errno == EINTR);
	if (got == -1)
		return -1;
	is_whole = detach(&m, fd, nfd) &&
		   (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
	if (is_whole && got > 0)
		return got;
	pass_close(fd, *nfd);
	*nfd = 0;
	errno = EMSGSIZE;
	return is_whole ? 0 : -1;
}

/* The address family of a connected stream socket; AF_UNSPEC for all else. */
static sa_family_t
stream_family(int fd)
{
	struct sockaddr_storage peer = { .ss_family = AF_UNSPEC };
	socklen_t size = sizeof peer, type_size = sizeof(int);
	int type;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) == -1 ||
	    type != SOCK_STREAM ||
	    getpeername(fd, (struct sockaddr *)&peer, &size) == -1)
		return AF_UNSPEC;
	return peer.ss_family;
}

bool
pass_is_local_stream(int fd)
{
	return stream_family(fd) == AF_UNIX;
}

bool
pass_is_tcp_stream(int fd)
{
	sa_family_t family = stream_family(fd);

	return family == AF_INET || family == AF_INET6;
}

int
pass_peer(int socket, uid_t *uid)
{
	struct ucred peer;
	socklen_t size = sizeof peer;

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == -1)
		return -1;
	*uid = peer.uid;
	return 0;
}
