/* SPDX-License-Identifier: ISC */
/*
 * Records the system calls that violate the sandbox.  Linked into programs for
 * the tests only, together with a sandbox that raises SIGSYS where the real one
 * kills.
 *
 * /srv/violations gets a line for each.  The programs that qmail-remote starts
 * cannot open it, so they inherit the descriptor.
 */
#define _GNU_SOURCE

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TOLD 90 /* a number that programs do not use */

static void
record(int signal, siginfo_t *info, void *context)
{
	char line[40];
	int n =
	    snprintf(line, sizeof line, "system call %d\n", info->si_syscall);

	(void)signal;
	(void)context;
	if (n > 0 && write(TOLD, line, (size_t)n) == -1)
		_exit(98);
	_exit(99);
}

__attribute__((constructor)) static void
prepare(void)
{
	struct sigaction action = { .sa_sigaction = record,
		.sa_flags = SA_SIGINFO };
	int fd;

	sigemptyset(&action.sa_mask);
	sigaction(SIGSYS, &action, NULL);
	if (fcntl(TOLD, F_GETFD) != -1)
		return;
	fd = open("/srv/violations", O_WRONLY | O_APPEND | O_CREAT, 0666);
	(void)fcntl(fd, F_DUPFD, TOLD);
	close(fd);
}
