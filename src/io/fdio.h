/* SPDX-License-Identifier: ISC */
#ifndef IO_FDIO_H
#define IO_FDIO_H

#include <sys/stat.h>
#include <sys/types.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/deadline.h"

/* Descriptor flags, whole files, whole writes, locks. */

/*
 * As open(), with one system call: that of musl sets O_CLOEXEC once more, for
 * kernels that do not know the flag.
 */
int fdio_open(const char *path, int flags, mode_t mode);

/* Each returns 0, or -1 with errno. */
int fdio_set_nonblocking(int fd);
int fdio_set_cloexec(int fd, bool on);

/* Closes all descriptors from this number on. */
void fdio_close_from(int first);

/*
 * Opens /dev/null for each of the descriptors 0, 1 and 2 that is closed, so
 * that no socket gets its number: what is printed would be sent to the server.
 * Reading from such a 0 and writing to such a 1 fails.  Returns 0, or -1 with
 * errno.
 */
int fdio_fill_standard(void);

/*
 * The same for a program that qmail-rspawn started: fd 2 becomes /dev/null also
 * if it is open, because qmail-rspawn takes what is printed there for part of
 * the report.  Returns 0, or -1 with errno if a closed 0 or 1 cannot be
 * replaced; then fd 2 is unchanged and still leads to the report.
 */
int fdio_guard_standard(void);

/* poll() of one descriptor, repeated after EINTR.  As poll(), with errno. */
int fdio_poll(struct pollfd *, struct deadline);

/*
 * Waits for events (POLLIN, POLLOUT) on fd.  1: ready, or an error or hang-up
 * is pending; 0: the deadline has passed; -1: errno.
 */
int fdio_wait(int fd, short events, struct deadline);

/* As read() and write(), but repeated after EINTR. */
ssize_t fdio_read(int fd, void *, size_t);
ssize_t fdio_write(int fd, const void *, size_t);

/*
 * Reads exactly n bytes at an offset, without moving the descriptor's own
 * offset.  0, or -1 with errno; EIO if the file is too short.
 */
int fdio_read_at(int fd, uint64_t offset, void *, size_t n);

/*
 * Writes n bytes, also to a non-blocking descriptor; each piece must be written
 * within stall_ms milliseconds.  0, or -1 with errno, ETIMEDOUT if a piece took
 * longer.
 */
int fdio_write_all(int fd, const void *, size_t, int64_t stall_ms);

/*
 * Opens a regular file for reading and fills *st.  A link to /dev/null counts
 * as an empty file.  A FIFO does not block.  Returns a descriptor that is
 * close-on-exec, or -1 with errno: ENOENT, EISDIR, EINVAL for anything but a
 * file or directory, ...
 */
int fdio_open_file(const char *path, struct stat *st);

/*
 * Appends the rest of an open file to buf; st is the result of fstat().  A read
 * may return less than there is, so the end is where a read returns nothing, or
 * less than was asked for at the size in st.  0, or -1 with errno: EFBIG if
 * there are more than limit bytes.
 */
int fdio_read_to_end(int fd, const struct stat *st, size_t limit, struct buf *);

/*
 * Appends a whole file to buf.  0, or -1 with the errno of fdio_open_file() or
 * fdio_read_to_end().
 */
int fdio_read_file(const char *path, size_t limit, struct buf *);

/*
 * Appends to buf what comes from a pipe, up to its end.  0, or -1 with errno:
 * ETIMEDOUT if the end does not come before the deadline, EFBIG if there are
 * more than limit bytes.
 */
int fdio_read_pipe(int fd, size_t limit, struct deadline, struct buf *);

/*
 * Takes an flock(), which qmail's programs use too.  Tries for at most ms
 * milliseconds, because a stopped process that holds the lock must not stop
 * ours; -1: for ever.  0, or -1 with errno: EWOULDBLOCK if the lock is still
 * held.
 */
enum fdio_lock { FDIO_LOCK_SHARED, FDIO_LOCK_EXCLUSIVE };

int fdio_lock(int fd, enum fdio_lock, int ms);
void fdio_unlock(int fd);

#endif
