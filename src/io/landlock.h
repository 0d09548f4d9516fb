/* SPDX-License-Identifier: ISC */
#ifndef IO_LANDLOCK_H
#define IO_LANDLOCK_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The part of the sandbox that restricts files, signals and TCP sockets, for
 * io/sandbox alone.  What one of these takes away, a later one cannot give
 * back.  A kernel without Landlock leaves all as it is, and an older one what
 * it has no name for: file truncation before 6.2, TCP before 6.7, signals and
 * abstract Unix sockets before 6.12.
 */

/*
 * Files are written, made and removed beneath this directory, and these n
 * files written to; reading and executing stay.  Connections are made, but
 * none accepted; signals go to children only.
 */
void landlock_keep_writes(const char *directory, const char *const *file,
    size_t n);

/* Files are read beneath this directory, /usr and /etc, and that is all. */
void landlock_keep_reading(const char *directory);

/* No files, no connections, no signals.  False where there is no Landlock. */
bool landlock_keep_nothing(void);

#endif
