/* SPDX-License-Identifier: ISC */
#ifndef TEST_LISTFILE_H
#define TEST_LISTFILE_H

#include <sys/stat.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "io/compiled.h"
#include "io/fdio.h"
#include "qmail/table.h"

/* List files for tests of qmail/table, and their indexes. */

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define PIECE(s) s, sizeof(s) - 1

static inline void
put(const char *path, const void *data, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd != -1);
	assert_int_equal(fdio_write_all(fd, data, n, 1000), 0);
	assert_int_equal(close(fd), 0);
}

static inline void
remove_files(const struct table_files *f)
{
	unlink(f->text);
	unlink(f->index);
	unlink(f->lock);
}

/*
 * A forged index: valid except for what it says.  Whoever can write it can make
 * one.
 */
static inline void
forge_with(const struct table_files *f, const struct stat *st, const char *key,
    const struct compiled_place *place)
{
	int fd = open(f->text, O_RDONLY);
	struct compiling *c = compiling_begin(f->index, f->lock, fd, st);

	assert_non_null(c);
	if (place)
		compiling_add(c, key, strlen(key), place);
	assert_int_equal(compiling_end(c, fd), 0);
	assert_int_equal(close(fd), 0);
}

/* What table_walk() tells of each entry. */
struct walked {
	char text[200];
	size_t n;
};

static inline void
walk(void *data, const char *key, size_t nkey, const char *value, size_t nvalue)
{
	struct walked *w = data;

	w->n += (size_t)snprintf(w->text + w->n, sizeof w->text - w->n,
	    "<%.*s|%.*s>", (int)nkey, key, value ? (int)nvalue : 1,
	    value ? value : "-");
}

#endif
