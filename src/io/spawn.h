/* SPDX-License-Identifier: ISC */
#ifndef IO_SPAWN_H
#define IO_SPAWN_H

#include <sys/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/deadline.h"

/*
 * Start a helper program, and say how it ended.
 */

struct spawn_end {
	enum {
		SPAWN_RUNS,   /* it has not ended */
		SPAWN_LOST,   /* no such child; somebody else has reaped it */
		SPAWN_EXITED, /* code is the exit code */
		SPAWN_KILLED  /* code is the signal */
	} how;
	int code;
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
 * Kills and reaps.  A child that has closed its descriptors since it is ending
 * ends as it would have: the signal comes too late to change that.
 */
struct spawn_end spawn_kill(pid_t);

/* How the child ended, if it does before the deadline; reaps it then. */
struct spawn_end spawn_wait(pid_t, struct deadline);

/* Reaps all children that end before the deadline, until none is left. */
void spawn_reap(struct deadline);

#define SPAWN_TEXT_SIZE 80

/* "killed by signal 31", "exit code 1". */
void spawn_describe(struct spawn_end, char text[SPAWN_TEXT_SIZE]);

#endif
