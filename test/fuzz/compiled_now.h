/* SPDX-License-Identifier: ISC */
#ifndef FUZZ_COMPILED_NOW_H
#define FUZZ_COMPILED_NOW_H

/*
 * The source of io/compiled, made for a target that writes a file and compiles
 * it at once: its clock is ahead, so that the file has come to rest, and it
 * does not sync files, which on a disk would take most of the time.
 */

#include <sys/stat.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int
later(clockid_t clock, struct timespec *t)
{
	int result = clock_gettime(clock, t);

	t->tv_sec += 10;
	return result;
}

static int
no_sync(int fd)
{
	return fd == -1;
}

#define clock_gettime later
#define fsync no_sync
#include "io/compiled.c"
#undef clock_gettime
#undef fsync

#endif
