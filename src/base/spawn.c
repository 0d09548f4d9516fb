/* SPDX-License-Identifier: ISC */
#include "base/spawn.h"

#include <sys/wait.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <poll.h>
#include <spawn.h>

#define DYING_MS 10

/*
 * dup2 of a descriptor onto itself is how a spawn file action takes
 * close-on-exec off (POSIX.1-2024; done by glibc, musl and the BSDs already).
 */
static int
set_descriptors(posix_spawn_file_actions_t *actions, const int *keep,
    size_t nkeep)
{
	for (int fd = 0; fd <= 2; fd++) {
		int error = posix_spawn_file_actions_addopen(actions, fd,
		    "/dev/null", O_RDWR, 0);

		if (error)
			return error;
	}
	for (size_t i = 0; i < nkeep; i++) {
		int error =
		    posix_spawn_file_actions_adddup2(actions, keep[i], keep[i]);

		if (error)
			return error;
	}
	return 0;
}

static int
set_signals(posix_spawnattr_t *attr)
{
	sigset_t none;
	int error;

	sigemptyset(&none);
	error = posix_spawnattr_setsigmask(attr, &none);
	if (!error)
		error = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK);
	return error;
}

pid_t
spawn_start(char *const argv[], const int *keep, size_t nkeep)
{
	static char *const environment[] = { NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	pid_t pid = -1;
	int error;

	error = posix_spawn_file_actions_init(&actions);
	if (error)
		goto out;
	error = posix_spawnattr_init(&attr);
	if (error)
		goto out_actions;
	error = set_descriptors(&actions, keep, nkeep);
	if (!error)
		error = set_signals(&attr);
	if (!error)
		error = posix_spawn(&pid, argv[0], &actions, &attr, argv,
		    environment);

	posix_spawnattr_destroy(&attr);
out_actions:
	posix_spawn_file_actions_destroy(&actions);
out:
	if (error) {
		errno = error;
		return -1;
	}
	return pid;
}

enum spawn_end
spawn_wait(pid_t pid, int *code)
{
	int status;
	pid_t reaped;

	do
		reaped = waitpid(pid, &status, 0);
	while (reaped == -1 && errno == EINTR);
	if (reaped == -1)
		return SPAWN_LOST;
	if (WIFSIGNALED(status)) {
		*code = WTERMSIG(status);
		return SPAWN_KILLED;
	}
	*code = WEXITSTATUS(status);
	return SPAWN_EXITED;
}

/* Reaps it if it has ended. */
static bool
has_ended(pid_t pid, bool *failed)
{
	int status;
	pid_t reaped;

	do
		reaped = waitpid(pid, &status, WNOHANG);
	while (reaped == -1 && errno == EINTR);
	*failed = reaped == pid && status != 0;
	return reaped != 0;
}

bool
spawn_kill(pid_t pid)
{
	bool failed = false;
	int code = 0;
	enum spawn_end end;

	/* Its descriptors are closed a moment before it can be reaped. */
	for (int i = 0; i < DYING_MS; i++) {
		if (has_ended(pid, &failed))
			return failed;
		poll(NULL, 0, 1);
	}
	kill(pid, SIGKILL);
	end = spawn_wait(pid, &code);
	return (end == SPAWN_EXITED && code != 0) ||
	       (end == SPAWN_KILLED && code != SIGKILL);
}
