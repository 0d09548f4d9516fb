/* SPDX-License-Identifier: ISC */
#ifndef IO_FILEID_H
#define IO_FILEID_H

#include <sys/stat.h>
#include <stdbool.h>

#include "base/buf.h"

/*
 * Which file, and which version of it, something was read from.
 *
 * Two versions that were written within one tick of the file system's clock,
 * to the same inode and with the same size, cannot be told apart.
 */
struct fileid {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec written; /* mtime */
	struct timespec changed; /* ctime: times and modes, too */
};

/* From stat() or fstat(). */
struct fileid fileid_of(const struct stat *);

/* Of the file at a path, or of what a link there leads to.  -1 with errno. */
int fileid_read(struct fileid *, const char *path);

bool fileid_is_equal(const struct fileid *, const struct fileid *);

/* Appends it as one word. */
void fileid_format(const struct fileid *, struct buf *);

#endif
