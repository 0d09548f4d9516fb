/* SPDX-License-Identifier: ISC */
#ifndef BASE_SPAWN_H
#define BASE_SPAWN_H

#include <sys/types.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Start a helper program, and say how it ended.
 */

enum spawn_end {
	SPAWN_EXITED, /* *code is the exit code */
	SPAWN_KILLED, /* *code is the signal */
	SPAWN_LOST    /* somebody else reaped it */
};

/*
 * Runs argv[0] (a path; nothing is searched) with an empty environment, with
 * /dev/null on 0, 1 and 2, no signal blocked, and of all other close-on-exec
 * descriptors only those in keep[0..nkeep), under the numbers that they have
 * here.  Returns the pid, or -1 with errno; a program that is not there may
 * also show as exit code 127.
 */
pid_t spawn_start(char *const argv[], const int *keep, size_t nkeep);

/*
 * Kills and reaps.  True when the child had ended, or was ending, other than
 * with exit code 0: it had failed.  A SIGKILL that comes from somebody else at
 * the same moment is taken for ours.
 */
bool spawn_kill(pid_t);

/* How the child ended, once its end is certain to come soon; reaps it. */
enum spawn_end spawn_wait(pid_t, int *code);

#endif
