/* SPDX-License-Identifier: ISC */
#include "cache/client.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/fdio.h"
#include "io/pass.h"
#include "io/spawn.h"

#include "config.h"

#define TRY_AGAIN_MS 1 /* nothing tells when a socket is there */

/* Sets of kinds. */
#define IN(kind) (1U << (kind))

/* The answers that a message can have. */
static unsigned
answers_to(enum cache_kind kind)
{
	switch (kind) {
	case CACHE_ASK:
		return IN(CACHE_HIT) | IN(CACHE_MISS);
	case CACHE_CHOOSE:
		return IN(CACHE_HIT) | IN(CACHE_PLACE) | IN(CACHE_FULL) |
		       IN(CACHE_QUEUED);
	case CACHE_LIST:
		return IN(CACHE_ENTRY) | IN(CACHE_LIMIT) | IN(CACHE_COUNTERS);
	default:
		return 0;
	}
}

/*
 * Tries once.  Returns a connected socket, or -1 with errno.  If too many
 * connections wait to be accepted, a blocking connect() would wait.
 */
static int
connect_once(const struct sockaddr_un *address)
{
	int fd =
	    socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int saved;

	if (fd == -1 ||
	    connect(fd, (const struct sockaddr *)address, sizeof *address) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/* The directory that the socket is in; false: there is none. */
static bool
find_directory(const struct sockaddr_un *address, struct sockaddr_un *directory,
    struct stat *st)
{
	char *end;

	*directory = *address;
	end = strrchr(directory->sun_path, '/');
	if (!end)
		return false;
	*end = '\0';
	return stat(directory->sun_path, st) == 0;
}

/*
 * Its user starts the broker, and never root; and only where it could make its
 * socket, or each delivery would wait for one.
 */
static bool
may_start(const struct sockaddr_un *address)
{
	struct sockaddr_un directory;
	struct stat st;

	return geteuid() != 0 && find_directory(address, &directory, &st) &&
	       st.st_uid == geteuid() &&
	       faccessat(AT_FDCWD, directory.sun_path, W_OK, AT_EACCESS) == 0;
}

/* posix_spawn() only reads its arguments; their type is older than const. */
static bool
start(const struct sockaddr_un *address, const char *program,
    struct deadline until)
{
	char *const argv[] = { (char *)(uintptr_t)program, NULL };

	return may_start(address) && spawn_detached(argv, until);
}

static bool
nobody_listens(int error)
{
	return error == ENOENT || error == ECONNREFUSED;
}

/* Returns a connected socket, or -1. */
static int
connect_before(const struct sockaddr_un *address, struct deadline until)
{
	int fd = connect_once(address);

	while (fd == -1 && (errno == EAGAIN || nobody_listens(errno)) &&
	       !deadline_passed(until)) {
		poll(NULL, 0, TRY_AGAIN_MS);
		fd = connect_once(address);
	}
	return fd;
}

/*
 * Takes over a socket, if the broker is one of this user.  0, or -1 with errno.
 */
static int
take(struct cache_client *c, int fd, uid_t user)
{
	uid_t peer = (uid_t)-1;

	if (fd == -1)
		return -1;
	/* If that fails, it is the number that no user has. */
	(void)pass_peer(fd, &peer);
	if (peer != user) {
		close(fd);
		errno = EPERM;
		return -1;
	}
	c->fd = fd;
	return 0;
}

static bool
set_address(struct sockaddr_un *address, const char *path)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return str_copy(address->sun_path, sizeof address->sun_path, path) == 0;
}

void
cache_client_open(struct cache_client *c,
    const struct cache_client_files *files)
{
	struct deadline until = deadline_in(CACHE_CLIENT_MS);
	struct sockaddr_un address;
	int fd;

	if (!set_address(&address, files->socket))
		return;
	fd = connect_once(&address);
	if (fd == -1 && nobody_listens(errno) &&
	    !start(&address, files->program, until))
		return;
	if (fd == -1)
		fd = connect_before(&address, until);
	(void)take(c, fd, geteuid());
}

int
cache_client_join(struct cache_client *c, const char *path)
{
	struct sockaddr_un address, directory;
	struct stat st;

	/* For what is no path of a socket. */
	errno = ENOENT;
	if (!set_address(&address, path) ||
	    !find_directory(&address, &directory, &st))
		return -1;
	return take(c, connect_once(&address), st.st_uid);
}

/*
 * False if there is no broker, or it cannot be sent.  The bytes are allocated
 * once, and not zeroed: few of them are used.
 */
static bool
send_message(struct cache_client *c, const struct cache_message *m,
    const int *fd, size_t nfd)
{
	size_t n;

	if (c->fd == -1)
		return false;
	if (!c->bytes)
		c->bytes = mem_resize(NULL, 1, CACHE_MESSAGE_MAX);
	n = cache_message_format(m, c->bytes);
	return n > 0 && pass_send(c->fd, c->bytes, n, fd, nfd) == 0;
}

/*
 * The first answer has to have our version: another one may mean something else
 * by the same words.
 */
static bool
is_of_our_version(struct cache_client *c)
{
	if (!c->has_version)
		c->has_version = c->answer.version && strcmp(c->answer.version,
							  PROGRAM_VERSION) == 0;
	return c->has_version;
}

/* The candidates of a question; without any of its own an answer names 0. */
static size_t
candidates(const struct cache_message *m)
{
	return m->ncandidate > 0 ? m->ncandidate : 1;
}

/*
 * Whether n bytes are an answer to the message, of these kinds, with these
 * descriptors.
 */
static bool
is_answer(struct cache_client *c, const struct cache_message *m, ssize_t n,
    unsigned kinds, const int *fd, size_t nfd)
{
	if (n <= 0 || !cache_message_parse(&c->answer, c->bytes, (size_t)n) ||
	    !is_of_our_version(c) || (kinds & IN(c->answer.kind)) == 0 ||
	    c->answer.chosen >= candidates(m))
		return false;
	return c->answer.kind == CACHE_HIT ? cache_is_session(fd, nfd)
					   : nfd == 0;
}

/* False: there is no broker any more. */
static bool
receive(struct cache_client *c, const struct cache_message *m, unsigned kinds,
    struct deadline until, int fd[PASS_MAX])
{
	int got[PASS_MAX];
	size_t nfd = 0;
	ssize_t n = -1;

	if (fdio_wait(c->fd, POLLIN, until) == 1)
		n = pass_receive(c->fd, c->bytes, CACHE_MESSAGE_MAX, got, &nfd);
	if (!is_answer(c, m, n, kinds, got, nfd)) {
		pass_close(got, nfd);
		cache_client_close(c);
		return false;
	}
	for (size_t i = 0; i < PASS_MAX; i++)
		fd[i] = i < nfd ? got[i] : -1;
	return true;
}

bool
cache_client_ask(struct cache_client *c, const struct cache_message *m,
    int fd[PASS_MAX])
{
	unsigned kinds = answers_to(m->kind);
	int64_t first_ms =
	    m->kind == CACHE_LIST ? CACHE_CLIENT_LIST_MS : CACHE_CLIENT_MS;
	int64_t wait_ms = (int64_t)m->wait * 1000 + CACHE_CLIENT_LATE_MS;

	for (size_t i = 0; i < PASS_MAX; i++)
		fd[i] = -1;
	if (!send_message(c, m, NULL, 0)) {
		cache_client_close(c);
		return false;
	}
	if (!receive(c, m, kinds, deadline_in(first_ms), fd))
		return false;
	if (c->answer.kind != CACHE_QUEUED)
		return true;
	kinds &= ~IN(CACHE_QUEUED);
	return receive(c, m, kinds, deadline_in(wait_ms), fd);
}

bool
cache_client_next(struct cache_client *c)
{
	static const struct cache_message list = { .kind = CACHE_LIST };
	int none[PASS_MAX];

	return c->fd != -1 && receive(c, &list, answers_to(CACHE_LIST),
				  deadline_in(CACHE_CLIENT_LIST_MS), none);
}

bool
cache_client_tell(struct cache_client *c, const struct cache_message *m,
    const int *fd, size_t nfd)
{
	return send_message(c, m, fd, nfd);
}

void
cache_client_close(struct cache_client *c)
{
	if (c->fd != -1)
		close(c->fd);
	free(c->bytes);
	*c = (struct cache_client){ .fd = -1 };
}
