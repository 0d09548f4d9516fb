/* SPDX-License-Identifier: ISC */
#include "qmail/lines.h"

#include <errno.h>

#include "io/fdio.h"
#include "qmail/control.h"

#define TEXT_MAX ((size_t)16 << 20)

int
lines_read(struct lines *l, const char *path)
{
	int result = fdio_read_file(path, TEXT_MAX, &l->text);

	if (result == -1 && errno != ENOENT)
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

void
lines_finish(struct lines *l)
{
	buf_wipe(&l->text);
	*l = (struct lines){ .ncounted = 0 };
}
