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

/*
 * Descriptor flags, whole files, whole writes.
 */

/* 0, or -1 with errno. */
int fdio_set_nonblocking(int fd);
int fdio_set_cloexec(int fd, bool on);

/*
 * Makes 0, 1 and 2 safe for a program that qmail-rspawn started: fd 2 is
 * redirected to /dev/null, since qmail-rspawn takes what is printed there for
 * a part of the report, and a closed 0 or 1 is replaced by a descriptor that
 * can neither be read from nor written to, so that no socket gets its number.
 * Returns 0, or -1 with errno when fd 2 still leads into the report.
 */
int fdio_guard_standard(void);

/* poll() of one descriptor, that goes on after EINTR. */
int fdio_poll(struct pollfd *, struct deadline);

/* Waits for events (POLLIN, POLLOUT) on fd.  1 ready, 0 deadline, -1 errno. */
int fdio_wait(int fd, short events, struct deadline);

/* read() and write(), repeated after EINTR. */
ssize_t fdio_read(int fd, void *, size_t);
ssize_t fdio_write(int fd, const void *, size_t);

/*
 * Reads exactly n bytes at an offset; the descriptor's own offset is not used.
 * 0, or -1 with errno; EIO when the file ends before.
 */
int fdio_read_at(int fd, uint64_t offset, void *, size_t n);

/*
 * Writes all, also to a non-blocking descriptor; each piece must be written
 * within stall_ms.  0, or -1 with errno (ETIMEDOUT when it was not).
 */
int fdio_write_all(int fd, const void *, size_t, int64_t stall_ms);

/*
 * Opens a regular file for reading and describes it in *st.  A link to
 * /dev/null stands for an empty file.  Never blocks on a FIFO.  A descriptor
 * that is close-on-exec, or -1 with errno: ENOENT, EISDIR, EINVAL when it is
 * neither file nor directory, ...
 */
int fdio_open_file(const char *path, struct stat *st);

/*
 * Appends the rest of an open file to buf; st is the result of fstat().  A read
 * may return less than there is, so the end is where a read returns nothing, or
 * less than asked for at the size in st.  0, or -1 with errno: EFBIG when there
 * are more than limit bytes.
 */
int fdio_read_to_end(int fd, const struct stat *st, size_t limit, struct buf *);

/*
 * Appends the whole of a file to buf.  0, or -1 with errno: those of the two
 * functions above.
 */
int fdio_read_file(const char *path, size_t limit, struct buf *);

/*
 * An flock(), shared or exclusive; tries for at most ms milliseconds, since a
 * stopped process must not stop ours.  0, or -1 with errno.
 */
enum fdio_lock { FDIO_LOCK_SHARED, FDIO_LOCK_EXCLUSIVE };

int fdio_lock(int fd, enum fdio_lock, int ms);
void fdio_unlock(int fd);

#endif
