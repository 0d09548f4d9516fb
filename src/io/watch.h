/* SPDX-License-Identifier: ISC */
#ifndef IO_WATCH_H
#define IO_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "io/fileid.h"

/*
 * Notice that files were replaced or changed: a program that runs for long ends
 * when it was updated, or one that it starts.
 */

#define WATCH_MAX 8

/* Starts as { 0 }. */
struct watch {
	const char *path[WATCH_MAX];
	struct fileid was[WATCH_MAX];
	bool was_there[WATCH_MAX];
	size_t n;
};

/* Adds a file as it is now.  The path is borrowed.  At most WATCH_MAX. */
void watch_add(struct watch *, const char *path);

/* Whether one of them is another file now, or has come or gone. */
bool watch_has_changed(const struct watch *);

#endif
