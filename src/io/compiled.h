/* SPDX-License-Identifier: ISC */
#ifndef IO_COMPILED_H
#define IO_COMPILED_H

#include <sys/stat.h>
#include <stddef.h>
#include <stdint.h>

/*
 * An index of a source file, as a cdb: where in the file the entries of each
 * key are.
 *
 * The index is not trusted: whoever could write to it once may have put
 * anything there.  A value is a place in the source.  What is used is read from
 * the source at that place, after a check that the place is of the right kind
 * and has the key that was asked for.  An entry that is missing from the index
 * is not noticed.
 *
 * A record in the index identifies the source by device, inode, size, mtime and
 * ctime in nanoseconds, and has the size of the cdb itself.  Readers take no
 * lock: the cdb is written under a temporary name, synced and renamed.  It only
 * saves time: if it is missing, stale, damaged or not writable, the source is
 * read.
 */

struct compiled;

/* A range of bytes of the source. */
struct compiled_place {
	uint64_t offset, length;
};

#define COMPILED_KEY_MAX 1024 /* bytes; longer keys are not in an index */
#define COMPILED_LENGTH_MAX ((uint64_t)16 << 20) /* of one place */

enum compiled_result { COMPILED_FOUND, COMPILED_ABSENT, COMPILED_DAMAGED };

/*
 * Opens the cdb at path if it was compiled from exactly the file that source
 * (from fstat() of the open file) describes.  NULL if it cannot be used, for
 * any reason.  Never blocks, whatever kind of file path is.
 */
struct compiled *compiled_open(const char *path, const struct stat *source);

/* Frees it; NULL is allowed. */
void compiled_close(struct compiled *);

/*
 * Finds the n-th place (from 0) of key, the one added last first; it is inside
 * the source.  Checksums detect accidental damage, also for a key that seems to
 * be absent: then the result is COMPILED_DAMAGED.  It is so too for a key that
 * is too long, and after 64 records with the same hash: memory and time are
 * bounded, whatever the file contains.
 */
enum compiled_result compiled_find(struct compiled *, const void *key,
    size_t keylen, unsigned n, struct compiled_place *);

/*
 * Compiling.  compiling_begin() takes the lock at lockpath without waiting.
 * NULL if another process is compiling, or if nothing can be written.
 *
 * source is fstat() of sourcefd.  The caller must not have read anything of the
 * file yet: two changes within one tick of the file system's clock leave the
 * same times, so the bytes must be read after the tick of the last change.  If
 * the source changed less than two seconds ago, compiling_begin() waits 50 ms,
 * and returns NULL if it has changed again.  On a file system with times in
 * whole seconds it returns NULL at once.
 */
struct compiling;

struct compiling *compiling_begin(const char *path, const char *lockpath,
    int sourcefd, const struct stat *source);

/* Adds a place under key.  A failure is reported by compiling_end(). */
void compiling_add(struct compiling *, const void *key, size_t keylen,
    const struct compiled_place *);

/*
 * Puts the cdb in place, unless the source at sourcefd has changed since
 * compiling_begin().  Releases lock and memory in any case.  0, or -1 if
 * nothing was changed.
 */
int compiling_end(struct compiling *, int sourcefd);

/* Gives up: removes the temporary file, releases lock and memory. */
void compiling_abort(struct compiling *);

#endif
