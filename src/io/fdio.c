/* SPDX-License-Identifier: ISC */
/*
 * qmail's programs lock with flock(), which is not in POSIX; nor is syscall().
 */
#define _DEFAULT_SOURCE

#include "io/fdio.h"

#include <sys/file.h>
#include <sys/stat.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif
#include <errno.h>
#include <limits.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#define LOCK_RETRY_MS 10

/*
 * Read at once: from a file, so much more than it is said to have.  It is
 * little, since most files have a few bytes, and what is reserved for them is
 * kept.
 */
#define FILE_PIECE ((size_t)256)
#define PIPE_PIECE ((size_t)4096)

/* Where they must be closed one by one, and there is a greater limit. */
#define DESCRIPTORS_MAX 65536

int
fdio_open(const char *path, int flags, mode_t mode)
{
	return openat(AT_FDCWD, path, flags, mode);
}

int
fdio_set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags == -1)
		return -1;
	return flags & O_NONBLOCK ? 0 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

int
fdio_set_cloexec(int fd, bool on)
{
	return fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0);
}

/* Linux can do it at once since 5.9. */
static bool
close_at_once(int first)
{
#ifdef SYS_close_range
	return syscall(SYS_close_range, (unsigned)first, UINT_MAX, 0U) == 0;
#else
	(void)first;
	return false;
#endif
}

void
fdio_close_from(int first)
{
	long end = sysconf(_SC_OPEN_MAX);

	if (close_at_once(first))
		return;
	if (end == -1 || end > DESCRIPTORS_MAX)
		end = DESCRIPTORS_MAX;
	for (int fd = first; fd < end; fd++)
		close(fd);
}

/* Opens path under the number fd, which is closed.  Returns fd, or -1. */
static int
open_as(int fd, const char *path, int flags)
{
	int opened = open(path, flags);

	if (opened == -1 || opened == fd)
		return opened;
	if (dup2(opened, fd) == -1)
		fd = -1;
	close(opened);
	return fd;
}

/* Gives a closed fd a file behind it; an open one stays as it is. */
static int
fill(int fd, int flags)
{
	return fcntl(fd, F_GETFD) == -1 ? open_as(fd, "/dev/null", flags) : fd;
}

/*
 * If fd 0 was closed, reading the message must fail instead of finding an empty
 * message: so the replacement cannot be read.
 */
static int
fill_input_and_output(void)
{
	return fill(0, O_WRONLY) == -1 || fill(1, O_RDONLY) == -1 ? -1 : 0;
}

int
fdio_fill_standard(void)
{
	if (fill_input_and_output() == -1)
		return -1;
	return fill(2, O_WRONLY) == -1 ? -1 : 0;
}

int
fdio_guard_standard(void)
{
	if (fill_input_and_output() == -1)
		return -1;
	/* Close it first: there may be no free descriptor left. */
	close(2);
	if (open_as(2, "/dev/null", O_WRONLY) == 2)
		return 0;
	/*
	 * Use a copy of fd 0: the message is open for reading only, so writing
	 * to it fails.  If even that is impossible, no other descriptor can get
	 * number 2 either.
	 */
	(void)dup2(0, 2);
	return 0;
}

int
fdio_poll(struct pollfd *p, struct deadline until)
{
	int n;

	do
		n = poll(p, 1, deadline_left(until));
	while (n == -1 && errno == EINTR);
	return n;
}

int
fdio_wait(int fd, short events, struct deadline until)
{
	struct pollfd p = { .fd = fd, .events = events };

	return fdio_poll(&p, until);
}

ssize_t
fdio_read(int fd, void *p, size_t n)
{
	ssize_t got;

	do
		got = read(fd, p, n);
	while (got == -1 && errno == EINTR);
	return got;
}

ssize_t
fdio_write(int fd, const void *p, size_t n)
{
	ssize_t put;

	do
		put = write(fd, p, n);
	while (put == -1 && errno == EINTR);
	return put;
}

int
fdio_read_at(int fd, uint64_t offset, void *data, size_t n)
{
	char *p = data;

	while (n > 0) {
		ssize_t got = pread(fd, p, n, (off_t)offset);

		if (got == -1 && errno == EINTR)
			continue;
		if (got == 0)
			errno = EIO;
		if (got <= 0)
			return -1;
		p += got;
		offset += (uint64_t)got;
		n -= (size_t)got;
	}
	return 0;
}

int
fdio_write_all(int fd, const void *data, size_t n, int64_t stall_ms)
{
	const char *p = data;

	while (n > 0) {
		ssize_t put = fdio_write(fd, p, n);

		if (put > 0) {
			p += put;
			n -= (size_t)put;
			continue;
		}
		if (put == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
			return -1;
		switch (fdio_wait(fd, POLLOUT, deadline_in(stall_ms))) {
		case 0:
			errno = ETIMEDOUT;
			return -1;
		case -1:
			return -1;
		}
	}
	return 0;
}

/*
 * Whether it is the null device.  Administrators disable a control file by a
 * link to it.
 */
static bool
is_null_device(const struct stat *st)
{
	struct stat null;

	return S_ISCHR(st->st_mode) && stat("/dev/null", &null) == 0 &&
	       null.st_rdev == st->st_rdev;
}

int
fdio_open_file(const char *path, struct stat *st)
{
	int fd =
	    fdio_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
	int fault = 0;

	if (fd == -1)
		return -1;
	if (fstat(fd, st) == -1)
		fault = errno;
	else if (S_ISDIR(st->st_mode))
		fault = EISDIR;
	else if (!S_ISREG(st->st_mode) && !is_null_device(st))
		fault = EINVAL;
	if (fault == 0)
		return fd;
	close(fd);
	errno = fault;
	return -1;
}

int
fdio_read_to_end(int fd, const struct stat *st, size_t limit, struct buf *b)
{
	uint64_t expected = st->st_size > 0 ? (uint64_t)st->st_size : 0;
	size_t size = 0;

	while (expected <= limit) {
		size_t piece = size < expected ? (size_t)expected - size : 0;
		ssize_t got;

		/*
		 * Ask for more than is left, so that a short read shows the
		 * end.
		 */
		piece += FILE_PIECE;
		got = fdio_read(fd, buf_reserve(b, piece), piece);
		if (got == -1)
			return -1;
		size += (size_t)got;
		b->len += (size_t)got;
		b->data[b->len] = '\0';
		if (size > limit)
			break;
		if (got == 0 || ((size_t)got < piece && size >= expected))
			return 0;
	}
	errno = EFBIG;
	return -1;
}

int
fdio_read_file(const char *path, size_t limit, struct buf *b)
{
	struct stat st;
	int fd = fdio_open_file(path, &st);
	int result, saved;

	if (fd == -1)
		return -1;
	result = fdio_read_to_end(fd, &st, limit, b);
	saved = errno;
	close(fd);
	errno = saved;
	return result;
}

int
fdio_read_pipe(int fd, size_t limit, struct deadline until, struct buf *b)
{
	size_t size = 0;
	ssize_t got = 1;

	while (got > 0 && size <= limit) {
		int ready = fdio_wait(fd, POLLIN, until);

		if (ready == 0)
			errno = ETIMEDOUT;
		if (ready != 1)
			return -1;
		got = fdio_read(fd, buf_reserve(b, PIPE_PIECE), PIPE_PIECE);
		if (got == -1)
			return -1;
		size += (size_t)got;
		b->len += (size_t)got;
		b->data[b->len] = '\0';
	}
	if (got == 0)
		return 0;
	errno = EFBIG;
	return -1;
}

int
fdio_lock(int fd, enum fdio_lock how, int ms)
{
	int operation = how == FDIO_LOCK_SHARED ? LOCK_SH : LOCK_EX;
	struct deadline until = ms == -1 ? deadline_never() : deadline_in(ms);

	while (flock(fd, ms == -1 ? operation : operation | LOCK_NB) == -1) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -1;
		if (deadline_passed(until)) {
			errno = EWOULDBLOCK;
			return -1;
		}
		poll(NULL, 0, LOCK_RETRY_MS);
	}
	return 0;
}

void
fdio_unlock(int fd)
{
	(void)flock(fd, LOCK_UN);
}
