/* SPDX-License-Identifier: ISC */
#ifndef TEST_HOME_H
#define TEST_HOME_H

/*
 * A directory of its own for a test of files, which is the current directory
 * meanwhile.  home_enter() and home_leave() are for the whole program,
 * home_clear() is for after each test.  Include it after cmocka.h.
 */

#include <sys/stat.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char home[] = "/tmp/test.XXXXXX";

static inline int
home_enter(void **state)
{
	(void)state;
	return !mkdtemp(home) || chdir(home) == -1;
}

static inline int
home_clear(void **state)
{
	(void)state;
	return system("rm -rf ./*");
}

static inline int
home_leave(void **state)
{
	return home_clear(state) || chdir("/") == -1 || rmdir(home) == -1;
}

static inline void
home_write(const char *name, const char *data, size_t n)
{
	FILE *f = fopen(name, "w");

	assert_true(f && fwrite(data, 1, n, f) == n && fclose(f) == 0);
}

static inline void
home_put(const char *name, const char *text)
{
	home_write(name, text, strlen(text));
}

/* Whether there is anything of this name. */
static inline bool
home_has(const char *name)
{
	struct stat st;

	return lstat(name, &st) == 0;
}

#endif
