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

void
fileid_format(const struct fileid *id, struct buf *b)
{
	buf_printf(b, "%ju-%ju-%jd-%jd.%09ld-%jd.%09ld", (uintmax_t)id->device,
	    (uintmax_t)id->inode, (intmax_t)id->size,
	    (intmax_t)id->written.tv_sec, (long)id->written.tv_nsec,
	    (intmax_t)id->changed.tv_sec, (long)id->changed.tv_nsec);
}
