/* SPDX-License-Identifier: ISC */
/*
 * Starts a program as qmail-rspawn does, for rspawn.py:
 *	launch CWD CLOSED LIMITS UID GID PROGRAM ARGV...
 *
 * CWD is where it is started; CLOSED is a list of descriptors to be closed,
 *"0,2" say; LIMITS is one of resource limits, "7:5,9:1000000" say; UID and GID
 *are numbers, or "-" for who we are.  Descriptors 0 to 2 are given, others are
 *closed.
 *
 * A small program of its own, since to fork a process of the size of the tests
 * costs more than a delivery.
 */
#define _GNU_SOURCE

#include <sys/resource.h>
#include <sys/stat.h>

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What qmail-rspawn takes for a trouble that passes. */
static int
exit_code(int error)
{
	switch (error) {
	case ENOMEM:
	case EIO:
	case ETXTBSY:
	case EAGAIN:
	case ENFILE:
	case EMFILE:
	case ENOSPC:
	case ESTALE:
		return 111;
	default:
		return 100;
	}
}

static void
die(void)
{
	_exit(exit_code(errno));
}

static void
set_signals(void)
{
	sigset_t blocked;

	signal(SIGPIPE, SIG_IGN);
	/* Ignored below nohup and in the background of a shell. */
	signal(SIGINT, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
}

static void
close_all(const char *list)
{
	char *end;

	close_range(3, ~0U, 0);
	for (; *list != '\0'; list = *end == ',' ? end + 1 : end)
		close((int)strtol(list, &end, 10));
}

static void
set_limits(const char *list)
{
	char *end;

	for (; *list != '\0'; list = *end == ',' ? end + 1 : end) {
		int what = (int)strtol(list, &end, 10);
		struct rlimit limit;

		limit.rlim_cur = limit.rlim_max = strtoul(end + 1, &end, 10);
		if (setrlimit(what, &limit) == -1)
			die();
	}
}

static void
become(const char *user, const char *group)
{
	uid_t uid = (uid_t)strtoul(user, NULL, 10);
	gid_t gid = (gid_t)strtoul(group, NULL, 10);

	if (strcmp(user, "-") != 0 &&
	    (setgroups(1, &gid) == -1 || setresgid(gid, gid, gid) == -1 ||
		setresuid(uid, uid, uid) == -1))
		die();
}

int
main(int argc, char **argv)
{
	if (argc < 8)
		return 100;
	umask(077);
	set_signals();
	close_all(argv[2]);
	if (chdir(argv[1]) == -1)
		die();
	set_limits(argv[3]);
	become(argv[4], argv[5]);
	execv(argv[6], argv + 7);
	die();
}
