/* SPDX-License-Identifier: ISC */
#ifndef BASE_COMPILED_H
#define BASE_COMPILED_H

#include <sys/stat.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * A cdb compiled from a source file, that knows of which file.
 *
 * A record inside names the source: device, inode, size, mtime and ctime in
 * nanoseconds, and the size of the cdb itself.  Readers take no lock: the
 * cdb is written under a temporary name, synced and renamed.  It is a help,
 * never a condition: when it is missing, stale, damaged or not writable the
 * reader goes to the source.
 */

struct compiled;

enum compiled_result { COMPILED_FOUND, COMPILED_ABSENT, COMPILED_DAMAGED };

/*
 * Opens the cdb at path if it was compiled from just the file that source
 * (of stat()) describes; NULL when it is not to be used for any reason.
 */
struct compiled *compiled_open(const char *path, const struct stat *source);
void compiled_close(struct compiled *);

/*
 * The n-th value (from 0) that was added under key, in the order of adding.
 * *value is borrowed until compiled_close().  Every answer, that a key is
 * absent too, has been checked against checksums: what is not as it was
 * written is COMPILED_DAMAGED.
 */
enum compiled_result compiled_find(struct compiled *, const void *key,
    size_t keylen, unsigned n, const void **value, size_t *len);

/*
 * Compiling.  begin takes the lock at lockpath without waiting; NULL when
 * another process compiles, when nothing can be written, or when the source
 * changed less than two seconds ago: a change within the same tick of a
 * coarse file system clock would go unseen, so a warm file is read as it is.
 * source must be of the very bytes that are compiled (fstat of the open file
 * before reading).
 */
struct compiling;

struct compiling *compiling_begin(const char *path, const char *lockpath,
    const struct stat *source);

/* Values under one key keep their order.  Failures show at the end. */
void compiling_add(struct compiling *, const void *key, size_t keylen,
    const void *value, size_t len);

/*
 * Puts the cdb in place, unless the source at sourcefd is no longer as it
 * was at the begin; releases lock and memory.  0, or -1 (nothing changed).
 */
int compiling_end(struct compiling *, int sourcefd);

/* Gives up: removes the temporary file, releases lock and memory. */
void compiling_abort(struct compiling *);

#endif
