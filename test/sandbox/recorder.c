/* SPDX-License-Identifier: ISC */
/*
 * Which call a program was to be killed for.
 *
 * Linked into programs for the tests only, together with a sandbox that
 * raises SIGSYS where the real one kills.  A file in the state directory, open
 * since before the sandbox, gets a line for each.
 */
#define _GNU_SOURCE

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int told = -1;

static void
record(int signal, siginfo_t *info, void *context)
{
	char line[40];
	int n =
	    snprintf(line, sizeof line, "system call %d\n", info->si_syscall);

	(void)signal;
	(void)context;
	if (n > 0 && write(told, line, (size_t)n) == -1)
		_exit(98);
	_exit(99);
}

__attribute__((constructor)) static void
prepare(void)
{
	struct sigaction action = { .sa_sigaction = record,
		.sa_flags = SA_SIGINFO };
	int fd = open("/srv/qmail/run/qmail-remote/violations",
	    O_WRONLY | O_APPEND | O_CREAT, 0666);

	told = fcntl(fd, F_DUPFD_CLOEXEC, 90);
	close(fd);
	sigemptyset(&action.sa_mask);
	sigaction(SIGSYS, &action, NULL);
}
