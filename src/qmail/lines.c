/* SPDX-License-Identifier: ISC */
#include "qmail/lines.h"

#include <errno.h>
#include <unistd.h>

#include "io/fdio.h"
#include "qmail/control.h"

#define TEXT_MAX ((size_t)16 << 20)

/* The version is that of the very file that is read.  -1 with errno. */
static int
read_text(struct lines *l, const char *path)
{
	struct stat st;
	int fd = fdio_open_file(path, &st);
	int result, saved;

	if (fd == -1)
		return -1;
	l->version = fileid_of(&st);
	result = fdio_read_to_end(fd, &st, TEXT_MAX, &l->text);
	saved = errno;
	close(fd);
	errno = saved;
	return result;
}

int
lines_read(struct lines *l, const char *path)
{
	if (read_text(l, path) == -1 && errno != ENOENT)
		return -1;
	l->at = l->line = l->counted = buf_text(&l->text);
	l->end = l->at + l->text.len;
	l->at += control_bom_length(l->at, l->text.len);
	return 0;
}

bool
lines_next(struct lines *l, const char **line, size_t *n)
{
	size_t blanks;

	if (!control_next(&l->at, l->end, line, n))
		return false;
	l->line = *line;
	blanks = control_blank_length(*line, *n);
	*line += blanks;
	*n -= blanks;
	return true;
}

size_t
lines_number(struct lines *l)
{
	for (; l->counted < l->line; l->counted++)
		l->ncounted += *l->counted == '\n';
	return l->ncounted + 1;
}

uint64_t
lines_offset(const struct lines *l, const char *at)
{
	return (uint64_t)(at - buf_text(&l->text));
}

void
lines_finish(struct lines *l)
{
	buf_wipe(&l->text);
	*l = (struct lines){ .ncounted = 0 };
}
