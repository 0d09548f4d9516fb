/* SPDX-License-Identifier: ISC */
#ifndef IO_FDIO_H
#define IO_FDIO_H

#include <sys/stat.h>
#include <sys/types.h>
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
 * turned to /dev/null, since whatever is printed there would end up in the
 * report, and a closed 0 or 1 is taken by a descriptor that can neither be
 * read from nor written to, so that no socket ever gets its number.
 * Returns 0, or -1 with errno when the report could not be kept clean.
 */
int fdio_guard_standard(void);

/* Waits for events (POLLIN, POLLOUT) on fd.  1 ready, 0 deadline, -1 errno. */
int fdio_wait(int fd, short events, struct deadline);

/* read() and write() that go on after EINTR. */
ssize_t fdio_read(int fd, void *, size_t);
ssize_t fdio_write(int fd, const void *, size_t);

/*
 * Reads just n bytes at an offset, which the descriptor's own is no part of.
 * 0, or -1 with errno; EIO when the file ends before.
 */
int fdio_read_at(int fd, uint64_t offset, void *, size_t n);

/*
 * Writes all, also to a non-blocking descriptor; each piece must get on
 * within stall_ms.  0, or -1 with errno (ETIMEDOUT when it stalled).
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
 * Appends what is left of an open file to buf; st is what fstat() said of it.
 * A read may return less than there is, so the end is where no more comes, or
 * where one came short that reached the size.  0, or -1 with errno: EFBIG when
 * there are more than limit bytes.
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
