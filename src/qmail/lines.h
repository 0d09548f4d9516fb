/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_LINES_H
#define QMAIL_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "io/fileid.h"

/*
 * The lines of a control file that may have passwords: it is read whole, each
 * time, and overwritten in memory afterwards.  No index of it is ever written.
 */
struct lines {
	struct buf text;
	struct fileid version;
	const char *at, *end; /* not read yet */
	const char *line;     /* the last one that was read */
	const char *counted;  /* up to here line ends are counted */
	size_t ncounted;
};

/*
 * Reads the file into *lines, which is zeroed; a missing one is empty.  0, or
 * -1 with errno: EFBIG if it has more than 16 MB, ...
 */
int lines_read(struct lines *, const char *path);

/*
 * The next line that is neither empty nor a comment, without blanks at its
 * start and end; borrowed.  False if there is none.
 */
bool lines_next(struct lines *, const char **line, size_t *n);

/* The number of that line in the file, from 1. */
size_t lines_number(struct lines *);

/* Where a byte of such a line is in the file. */
uint64_t lines_offset(const struct lines *, const char *);

/* Overwrites and frees the text. */
void lines_finish(struct lines *);

#endif
