/* SPDX-License-Identifier: ISC */
#include "io/spawn.h"

#ifdef __linux__
#include <sys/prctl.h>
#endif
#include <sys/wait.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <unistd.h>

#include "io/fdio.h"

#define POLL_MS 1 /* POSIX has no wait for a child with a deadline */

/* Exit code of the program loader, or of a shell. */
#define NOT_RUN 127
#define NOT_RUN_TEXT ": a library is missing or there is not enough memory"

/*
 * A dup2 action of a descriptor onto itself removes close-on-exec
 * (POSIX.1-2024; glibc, musl and the BSDs do so already).
 */
static int
set_descriptors(posix_spawn_file_actions_t *actions, const int *standard,
    const int *keep, size_t nkeep)
{
	for (int fd = 0; fd <= 2; fd++) {
		int error = standard != NULL
				? posix_spawn_file_actions_adddup2(actions,
				      standard[fd], fd)
				: posix_spawn_file_actions_addopen(actions, fd,
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

/*
 * The posix_spawn() of musl writes to a pipe why a program cannot be run, again
 * and again until that succeeds.  If the parent has been killed, only SIGPIPE
 * ends the child.
 */
static int
set_signals(posix_spawnattr_t *attr)
{
	sigset_t none, broken_pipe;
	int error;

	sigemptyset(&none);
	sigemptyset(&broken_pipe);
	sigaddset(&broken_pipe, SIGPIPE);
	error = posix_spawnattr_setsigmask(attr, &none);
	if (!error)
		error = posix_spawnattr_setsigdefault(attr, &broken_pipe);
	if (!error)
		error = posix_spawnattr_setflags(attr,
		    POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	return error;
}

pid_t
spawn_start_on(const char *program, char *const argv[], const int *standard,
    const int *keep, size_t nkeep)
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
	error = set_descriptors(&actions, standard, keep, nkeep);
	if (!error)
		error = set_signals(&attr);
	if (!error)
		error = posix_spawn(&pid, program, &actions, &attr, argv,
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

pid_t
spawn_start(char *const argv[], const int *keep, size_t nkeep)
{
	return spawn_start_on(argv[0], argv, NULL, keep, nkeep);
}

static struct spawn_end
end_of(pid_t reaped, int status)
{
	if (reaped == 0)
		return (struct spawn_end){ SPAWN_RUNS, 0 };
	if (reaped == -1)
		return (struct spawn_end){ SPAWN_LOST, 0 };
	if (WIFSIGNALED(status))
		return (struct spawn_end){ SPAWN_KILLED, WTERMSIG(status) };
	return (struct spawn_end){ SPAWN_EXITED, WEXITSTATUS(status) };
}

static struct spawn_end
reap(pid_t pid, int options)
{
	int status = 0;
	pid_t reaped;

	do
		reaped = waitpid(pid, &status, options);
	while (reaped == -1 && errno == EINTR);
	return end_of(reaped, status);
}

struct spawn_end
spawn_wait(pid_t pid, struct deadline until)
{
	bool is_bounded = deadline_left(until) != -1;
	struct spawn_end end = reap(pid, is_bounded ? WNOHANG : 0);

	while (end.how == SPAWN_RUNS && !deadline_passed(until)) {
		poll(NULL, 0, POLL_MS);
		end = reap(pid, WNOHANG);
	}
	return end;
}

struct spawn_end
spawn_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	return reap(pid, 0);
}

/* In a child that only starts the program, which then has no parent of ours. */
static _Noreturn void
start_and_exit(char *const argv[])
{
	fdio_close_from(3);
	(void)setsid();
	_exit(spawn_start(argv, NULL, 0) == -1);
}

bool
spawn_detached(char *const argv[], struct deadline until)
{
	struct spawn_end end;
	pid_t pid = fork();

	if (pid == -1)
		return false;
	if (pid == 0)
		start_and_exit(argv);
	end = spawn_wait(pid, until);
	if (end.how == SPAWN_RUNS)
		end = spawn_kill(pid);
	return end.how == SPAWN_EXITED && end.code == 0;
}

void
spawn_reap(struct deadline until)
{
	/* SPAWN_LOST: no child is left. */
	while (spawn_wait(-1, until).how >= SPAWN_EXITED)
		;
}

void
spawn_end_with_parent(void)
{
#ifdef __linux__
	(void)prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0UL, 0UL, 0UL);
#endif
}

void
spawn_describe(struct spawn_end end, char text[SPAWN_TEXT_SIZE])
{
	switch (end.how) {
	case SPAWN_RUNS:
		snprintf(text, SPAWN_TEXT_SIZE, "does not answer");
		break;
	case SPAWN_LOST:
		snprintf(text, SPAWN_TEXT_SIZE, "ended for an unknown reason");
		break;
	case SPAWN_KILLED:
		snprintf(text, SPAWN_TEXT_SIZE, "killed by signal %d",
		    end.code);
		break;
	case SPAWN_EXITED:
		snprintf(text, SPAWN_TEXT_SIZE, "exit code %d%s", end.code,
		    end.code == NOT_RUN ? NOT_RUN_TEXT : "");
		break;
	}
}
