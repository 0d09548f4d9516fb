/* SPDX-License-Identifier: ISC */
#ifndef STS_CACHE_H
#define STS_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/deadline.h"
#include "sts/entry.h"

/*
 * The files of policies in the state directory.  Names of domains are as
 * sts_domain_read() makes them.
 *
 *	sts-DOMAIN	an entry, see sts/entry
 *	sts.new-DOMAIN	the next one, while it is fetched; flock()ed by whoever
 *			fetches.  Its mtime is when the fetch began
 *	sts.lock.N	flock()ed during a fetch, by at most one for each N
 *
 * An entry is replaced by a rename, so readers take no lock.  If a fetch is
 * killed, its file stays, without a lock, and the next fetch uses it.
 */

#define STS_FETCHES_MAX 8 /* at once */

/*
 * Reads the entry of a domain into a zeroed one.  -1 if there is none that can
 * be used; then the entry stays zeroed.
 */
int sts_cache_read(struct sts_entry *, const char *state, const char *domain);

/* Removes the entry; the caller has the lock. */
void sts_cache_remove(const char *state, const char *domain);

/*
 * The right to fetch the policy of a domain.  It lasts as long as a process has
 * the descriptor, which is close-on-exec and may be given to another program.
 * The file is marked with the time at which the lock was taken: so others know
 * whether to wait for the fetch.
 */
enum sts_lock {
	/* *fd is the file sts.new-DOMAIN, open for writing, and marked */
	STS_LOCK_TAKEN,
	STS_LOCK_BUSY, /* another process is fetching, since *since */
	STS_LOCK_NONE  /* there can be no such file: fetch without */
};

/* *fd is -1 if the lock is not taken; *since is a Unix time. */
enum sts_lock sts_lock_take(const char *state, const char *domain, int *fd,
    int64_t *since);

/*
 * Waits until nobody fetches the policy of the domain.  False if the deadline
 * passes first.
 */
bool sts_lock_wait(const char *state, const char *domain, struct deadline);

/* Gives up the lock: removes its file and closes the descriptor. */
void sts_lock_drop(const char *state, const char *domain, int fd);

/*
 * One of the places for fetches, as a close-on-exec descriptor.  STS_LOCK_BUSY
 * if all are taken.
 */
enum sts_lock sts_place_take(const char *state, int *fd);

/*
 * Writes n bytes, an entry as text, into the file of the lock, syncs it, and
 * puts it in place.  The descriptor stays open, and stays the lock, until the
 * caller closes it.  0, or -1 with errno if the old entry is still in place.
 * Needs no right but to write to the descriptor and to rename.
 */
int sts_cache_write(const char *state, const char *domain, int fd, const void *,
    size_t n);

/*
 * What a file in the state directory is: sets the domain of an entry, or of a
 * file that is or was being written.  Other names are STS_FILE_OTHER.
 */
enum sts_file { STS_FILE_OTHER, STS_FILE_ENTRY, STS_FILE_NEW };

enum sts_file sts_file_of(const char *name, char domain[STS_DOMAIN_SIZE]);

#endif
