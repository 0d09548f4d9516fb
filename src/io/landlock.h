/* SPDX-License-Identifier: ISC */
#ifndef IO_LANDLOCK_H
#define IO_LANDLOCK_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The part of the sandbox that restricts files, signals and TCP sockets, for
 * io/sandbox only.  A right that is dropped cannot be regained.  Without
 * Landlock in the kernel nothing is restricted, and an older version restricts
 * less: truncation of files from 6.2 on, TCP from 6.7, signals and abstract
 * Unix sockets from 6.12.
 */

/*
 * Files may be written, created and removed only below this directory, and
 * these n files may be written; all may be read and executed.  TCP connections
 * may be made, from any address but from no chosen port; signals may be sent to
 * children only.
 */
void landlock_keep_writes(const char *directory, const char *const *file,
    size_t n);

/* Files may only be read, below this directory, /usr and /etc. */
void landlock_keep_reading(const char *directory);

/*
 * Files may only be read, and removed from this directory; no TCP connections,
 * no signals to other processes.
 */
void landlock_keep_removing(const char *directory);

/*
 * No files, no TCP connections, no signals to other processes.  False if there
 * is no Landlock.
 */
bool landlock_keep_nothing(void);

#endif
