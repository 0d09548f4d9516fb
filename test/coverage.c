/* SPDX-License-Identifier: ISC */
/*
 * Linked into the programs and tests of a coverage build only: also writes the
 * counters if a process ends by _exit() or executes another program.
 */
#define _GNU_SOURCE

#include <sys/syscall.h>
#include <gcov.h>
#include <unistd.h>

void
_exit(int code)
{
	__gcov_dump();
	for (;;)
		syscall(SYS_exit_group, code);
}

int
execve(const char *path, char *const argv[], char *const envp[])
{
	__gcov_dump();
	__gcov_reset();
	return (int)syscall(SYS_execve, path, argv, envp);
}
