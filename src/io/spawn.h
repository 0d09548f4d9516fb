/* SPDX-License-Identifier: ISC */
#ifndef IO_SPAWN_H
#define IO_SPAWN_H

#include <sys/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/deadline.h"

/* Start a helper program, and find out how it ended. */

struct spawn_end {
	enum {
		SPAWN_RUNS,   /* has not ended */
		SPAWN_LOST,   /* no such child: it was reaped elsewhere */
		SPAWN_EXITED, /* code is the exit code */
		SPAWN_KILLED  /* code is the signal */
	} how;
	int code;
};

/*
 * Runs argv[0], a path (PATH is not searched), with an empty environment,
 * /dev/null on 0, 1 and 2, no signal blocked, and SIGPIPE not ignored.  Of all
 * other close-on-exec descriptors it gets only those in keep[0..nkeep), under
 * the same numbers.  Returns the pid, or -1 with errno; a missing program may
 * also show as exit code 127.
 */
pid_t spawn_start(char *const argv[], const int *keep, size_t nkeep);

/*
 * The same for a program at this path, whose descriptors 0, 1 and 2 are copies
 * of these three; /dev/null on all if standard is NULL.
 */
pid_t spawn_start_on(const char *program, char *const argv[],
    const int *standard, const int *keep, size_t nkeep);

/*
 * Runs argv[0] in the same way, but for itself: not as a child, in a session of
 * its own, and with no descriptor but 0, 1 and 2.  Nobody learns how it ends.
 * False if it cannot be run, as far as that is known before the deadline.
 */
bool spawn_detached(char *const argv[], struct deadline);

/*
 * Kills the child with SIGKILL and reaps it.  A child that is already ending
 * keeps its own exit code: the signal comes too late to change it.
 */
struct spawn_end spawn_kill(pid_t);

/*
 * Waits for the end of the child and reaps it; SPAWN_RUNS if the deadline
 * passes first.
 */
struct spawn_end spawn_wait(pid_t, struct deadline);

/*
 * Reaps all children that end before the deadline; returns at once if none is
 * left.
 */
void spawn_reap(struct deadline);

#define SPAWN_TEXT_SIZE 80

/*
 * In a child: it is killed when its parent ends from now on, where the system
 * can do that (Linux).  A parent that has ended before makes no difference.
 */
void spawn_end_with_parent(void);

/* Describes it: "killed by signal 31", "exit code 1". */
void spawn_describe(struct spawn_end, char text[SPAWN_TEXT_SIZE]);

#endif
