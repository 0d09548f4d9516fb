/* SPDX-License-Identifier: ISC */
#include "io/fileid.h"

#include <inttypes.h>

struct fileid
fileid_of(const struct stat *st)
{
	return (struct fileid){ .device = st->st_dev,
		.inode = st->st_ino,
		.size = st->st_size,
		.written = st->st_mtim,
		.changed = st->st_ctim };
}

int
fileid_read(struct fileid *id, const char *path)
{
	struct stat st;

	if (stat(path, &st) == -1)
		return -1;
	*id = fileid_of(&st);
	return 0;
}

static bool
is_same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool
fileid_is_equal(const struct fileid *a, const struct fileid *b)
{
	return a->device == b->device && a->inode == b->inode &&
	       a->size == b->size && is_same_time(&a->written, &b->written) &&
	       is_same_time(&a->changed, &b->changed);
}

void
fileid_format(const struct fileid *id, struct buf *b)
{
	buf_printf(b, "%ju-%ju-%jd-%jd.%09ld-%jd.%09ld", (uintmax_t)id->device,
	    (uintmax_t)id->inode, (intmax_t)id->size,
	    (intmax_t)id->written.tv_sec, (long)id->written.tv_nsec,
	    (intmax_t)id->changed.tv_sec, (long)id->changed.tv_nsec);
}
