/* SPDX-License-Identifier: ISC */
#ifndef IO_COMPILED_H
#define IO_COMPILED_H

#include <sys/stat.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A cdb that tells where in a source file the entries of each key are.
 *
 * It is an index and must not be trusted: whoever could write to it once may
 * have put anything there.  A value is a place in the source; what is used is
 * read from there, after a check that the place is of the right kind and has
 * the key that was asked for.  An entry that the index lacks is not noticed.
 *
 * A record inside names the source: device, inode, size, mtime and ctime in
 * nanoseconds, and the size of the cdb itself.  Readers take no lock: the
 * cdb is written under a temporary name, synced and renamed.  It only saves
 * time: if it is missing, stale, damaged or not writable, the source is read.
 */

struct compiled;

/* A range of bytes of the source. */
struct compiled_place {
	uint64_t offset, length;
};

#define COMPILED_KEY_MAX 1024 /* bytes; longer keys are not in an index */
#define COMPILED_LENGTH_MAX ((uint64_t)16 << 20) /* of a place */

enum compiled_result { COMPILED_FOUND, COMPILED_ABSENT, COMPILED_DAMAGED };

/*
 * Opens the cdb at path if it was compiled from just the file that source
 * (fstat() of the open file) describes; NULL when it is not to be used for
 * any reason.  Nothing that is there under this name makes it block.
 */
struct compiled *compiled_open(const char *path, const struct stat *source);
void compiled_close(struct compiled *);

/*
 * The n-th place (from 0) that was added under key, the last one first; it is
 * inside the source.  Checksums show what accidents have done to the
 * file, also to a key that seems absent: COMPILED_DAMAGED.  So it is for
 * keys that are too long, and for what comes after 64 records of one hash:
 * memory and time are bounded, whatever the file is.
 */
enum compiled_result compiled_find(struct compiled *, const void *key,
    size_t keylen, unsigned n, struct compiled_place *);

/*
 * Compiling.  begin takes the lock at lockpath without waiting; NULL when
 * another process compiles, or when nothing can be written.
 *
 * source is fstat() of sourcefd, and nothing of it may have been read yet: two
 * changes within one tick of the file system's clock leave the same times, so
 * the bytes must be read after the tick of the last change.  For a source that
 * changed less than two seconds ago begin waits 50 ms, and returns NULL if it
 * has changed again; where times are whole seconds it returns NULL at once.
 */
struct compiling;

struct compiling *compiling_begin(const char *path, const char *lockpath,
    int sourcefd, const struct stat *source);

/* Failures show at the end. */
void compiling_add(struct compiling *, const void *key, size_t keylen,
    const struct compiled_place *);

/*
 * Puts the cdb in place, unless the source at sourcefd is no longer as it
 * was at the begin; releases lock and memory.  0, or -1 (nothing changed).
 */
int compiling_end(struct compiling *, int sourcefd);

/* Gives up: removes the temporary file, releases lock and memory. */
void compiling_abort(struct compiling *);

#endif
