/* SPDX-License-Identifier: ISC */
#ifndef STS_UPKEEP_H
#define STS_UPKEEP_H

#include <stdint.h>

#include "base/buf.h"

/*
 * Keep the files of policies in order: which of them are to be fetched again
 * although no delivery asks for them, and which are of no use any more.
 */

/*
 * Appends the names of all files of policies in the state directory, each ended
 * by a NUL, in any order.  0, or -1 with errno if it cannot be read.
 */
int sts_upkeep_list(const char *state, struct buf *names);

/* What is to be done with the entry of a domain at this Unix time. */
enum sts_upkeep {
	STS_UPKEEP_NOTHING,
	STS_UPKEEP_REFRESH, /* fetch the policy again */
	STS_UPKEEP_REMOVE   /* it is of no use, or damaged, or not there */
};

enum sts_upkeep sts_upkeep_of(const char *state, const char *domain,
    int64_t now);

/*
 * Removes the file of this name if it is an entry to be removed, or the file of
 * a fetch that was killed; but not while the policy is being fetched.
 */
void sts_upkeep_clean(const char *state, const char *name, int64_t now);

/*
 * The same for some of all files, at most STS_TIDY_MAX: a random piece of the
 * list, so that every file has its turn.
 */
#define STS_TIDY_MAX 256

void sts_upkeep_tidy(const char *state, int64_t now);

#endif
