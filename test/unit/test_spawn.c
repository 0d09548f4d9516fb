/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <sys/wait.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "io/spawn.h"

extern char **environ;

/* The test program itself is started, with the name of an action. */
static char *self;

#define FD_MAX 64

/* In the helper: writes what it was given, as text, to fd. */
static void
tell_all(int fd)
{
	struct buf b = { 0 };
	struct stat null, st;
	sigset_t blocked;

	stat("/dev/null", &null);
	for (int i = 0; i < FD_MAX; i++) {
		if (fstat(i, &st) == -1)
			continue;
		buf_printf(&b, "%d%s ", i,
		    st.st_rdev == null.st_rdev ? "null" : "");
	}
	for (char **e = environ; *e; e++)
		buf_printf(&b, "%s ", *e);
	sigprocmask(SIG_SETMASK, NULL, &blocked);
	for (int i = 1; i < 32; i++)
		if (sigismember(&blocked, i) == 1)
			buf_printf(&b, "blocks %d ", i);
	if (signal(SIGPIPE, SIG_IGN) == SIG_IGN)
		buf_puts(&b, "ignores SIGPIPE ");
	if (write(fd, b.data, b.len) != (ssize_t)b.len)
		_exit(9);
	_exit(0);
}

/* The same, and its place among processes, to a file that is complete. */
static void
note_all(const char *path)
{
	char new[80];
	int fd, status = 1;

	snprintf(new, sizeof new, "%s.new", path);
	fd = open(new, O_RDWR | O_CREAT | O_EXCL, 0600);
	dprintf(fd, "%ld ", (long)getsid(0));
	if (fork() == 0)
		tell_all(fd);
	wait(&status);
	_exit(status != 0 || rename(new, path) == -1);
}

static int
act(char **argv)
{
	int n = atoi(argv[2]);

	alarm(30);
	if (strcmp(argv[1], "--tell") == 0)
		tell_all(n);
	if (strcmp(argv[1], "--note") == 0)
		note_all(argv[2]);
	if (strcmp(argv[1], "--exit") == 0)
		_exit(n);
	if (strcmp(argv[1], "--die") == 0) {
		signal(n, SIG_DFL);
		kill(getpid(), n);
	}
	if (strcmp(argv[1], "--stay") == 0) {
		char c;

		/*
		 * Waits until it is killed; then the other end reads end of
		 * file.
		 */
		if (write(n, "x", 1) != 1 || read(n, &c, 1) != 0)
			pause();
	}
	return 99;
}

static pid_t
start(const char *what, int number, const int *keep, size_t nkeep)
{
	char text[24], verb[24];
	char *argv[] = { self, verb, text, NULL };

	snprintf(verb, sizeof verb, "%s", what);
	snprintf(text, sizeof text, "%d", number);
	return spawn_start(argv, keep, nkeep);
}

/* Waits until the child has ended, without reaping it. */
static pid_t
await_end(pid_t pid)
{
	siginfo_t info;

	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	return pid;
}

/*
 * /dev/null on 0 to 2, of the other descriptors only those that are kept, no
 * variable, no blocked signal, SIGPIPE not ignored; whatever we have ourselves.
 */
static void
passes_only_kept_descriptors(void **state)
{
	sigset_t all, old;
	int ends[2], kept;
	struct spawn_end end;
	char told[1000] = "", want[100];
	int keep[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	kept = fcntl(ends[1], F_DUPFD_CLOEXEC, 40);
	for (int fd = 20; fd < 40; fd++)
		fcntl(ends[0], F_DUPFD_CLOEXEC, fd);
	fcntl(ends[0], F_SETFD, FD_CLOEXEC);
	fcntl(ends[1], F_SETFD, FD_CLOEXEC);
	setenv("SECRET", "x", 1);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	signal(SIGPIPE, SIG_IGN);

	keep[0] = kept;
	keep[1] = ends[1];
	pid = start("--tell", kept, keep, 2);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &old, NULL);
	assert_true(pid > 0);
	assert_true(fcntl(kept, F_GETFD) & FD_CLOEXEC);
	close(ends[1]);
	close(kept);
	assert_true(read(ends[0], told, sizeof told - 1) > 0);
	snprintf(want, sizeof want, "0null 1null 2null %d %d ", ends[1], kept);
	assert_string_equal(told, want);
	end = spawn_wait(pid, deadline_never());
	assert_int_equal(end.how, SPAWN_EXITED);
	assert_int_equal(end.code, 0);
	for (int fd = 20; fd < 40; fd++)
		close(fd);
	close(ends[0]);
}

static void
says_how_it_ended(void **state)
{
	static const struct {
		const char *name;
		const char *what;
		int number;
		int want;
		int code;
		const char *text;
	} cases[] = {
		{ "exit 0", "--exit", 0, SPAWN_EXITED, 0, "exit code 0" },
		{ "exit 1", "--exit", 1, SPAWN_EXITED, 1, "exit code 1" },
		{ "exit 127", "--exit", 127, SPAWN_EXITED, 127,
		    "exit code 127: a library is missing or there is not "
		    "enough memory" },
		{ "exit 255", "--exit", 255, SPAWN_EXITED, 255,
		    "exit code 255" },
		{ "killed", "--die", SIGKILL, SPAWN_KILLED, SIGKILL,
		    "killed by signal 9" },
		{ "terminated", "--die", SIGTERM, SPAWN_KILLED, SIGTERM,
		    "killed by signal 15" },
		{ "broken pipe", "--die", SIGPIPE, SPAWN_KILLED, SIGPIPE,
		    "killed by signal 13" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		pid_t pid = start(cases[i].what, cases[i].number, NULL, 0);
		struct spawn_end got = spawn_wait(pid, deadline_never());
		char text[SPAWN_TEXT_SIZE];

		if ((int)got.how != cases[i].want || got.code != cases[i].code)
			fail_msg("%s: %d, %d", cases[i].name, (int)got.how,
			    got.code);
		spawn_describe(got, text);
		assert_string_equal(text, cases[i].text);
	}
}

static void
runs_existing_programs_only(void **state)
{
	static const struct {
		const char *program;
		bool is_there;
	} cases[] = {
		{ "/bin/true", true },
		{ "/nonexistent/helper", false },
		{ "/dev/null", false },
		{ "/", false },
		{ "true", false }, /* PATH is not searched */
		{ "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char program[64];
		char *argv[] = { program, NULL };
		struct spawn_end end;
		pid_t pid;

		strcpy(program, cases[i].program);
		errno = 0;
		pid = spawn_start(argv, NULL, 0);
		if (pid == -1) {
			if (cases[i].is_there || errno == 0)
				fail_msg("%s: errno %d", program, errno);
			continue;
		}
		end = spawn_wait(pid, deadline_never());
		if (end.how != SPAWN_EXITED ||
		    end.code != (cases[i].is_there ? 0 : 127))
			fail_msg("%s: exit code %d", program, end.code);
	}
}

static void
refuses_to_keep_what_is_closed(void **state)
{
	int keep[] = { 63 };
	struct spawn_end end;
	pid_t pid;

	(void)state;
	close(63);
	pid = start("--exit", 0, keep, 1);
	if (pid != -1) {
		end = spawn_wait(pid, deadline_never());
		assert_int_equal(end.how, SPAWN_EXITED);
		assert_int_equal(end.code, 127);
	}
}

static void
kills_and_reaps(void **state)
{
	int ends[2];
	struct spawn_end end;
	char c;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	fcntl(ends[0], F_SETFD, FD_CLOEXEC);
	pid = start("--stay", ends[1], &ends[1], 1);
	close(ends[1]);
	assert_int_equal(read(ends[0], &c, 1), 1);
	end = spawn_wait(pid, deadline_in(20));
	assert_int_equal(end.how, SPAWN_RUNS);
	end = spawn_kill(pid);
	assert_int_equal(end.how, SPAWN_KILLED);
	assert_int_equal(end.code, SIGKILL);
	assert_int_equal(read(ends[0], &c, 1), 0);
	assert_int_equal(kill(pid, 0), -1);
	close(ends[0]);

	/* A child that has ended, or is ending, keeps its exit code. */
	for (int n = 0; n < 50; n++) {
		assert_int_equal(pipe(ends), 0);
		fcntl(ends[0], F_SETFD, FD_CLOEXEC);
		pid = start("--exit", n, &ends[1], 1);
		close(ends[1]);
		assert_int_equal(read(ends[0], &c, 1), 0);
		end = spawn_kill(pid);
		assert_int_equal(end.how, SPAWN_EXITED);
		assert_int_equal(end.code, n);
		close(ends[0]);
	}

	/* A child that was reaped elsewhere does not block. */
	pid = start("--exit", 0, NULL, 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	end = spawn_wait(pid, deadline_never());
	assert_int_equal(end.how, SPAWN_LOST);
}

static void
runs_on_its_own(void **state)
{
	char path[] = "/tmp/spawn.XXXXXX", verb[] = "--note", text[200];
	char *argv[] = { self, verb, path, NULL };
	int open_one = dup(0), status;
	char *rest;
	long session;
	ssize_t n;
	int fd;

	(void)state;
	assert_true(open_one > 2);
	close(mkstemp(path));
	unlink(path);
	setenv("SECRET", "x", 1);
	assert_true(spawn_detached(argv, deadline_never()));
	/* It is no child of ours. */
	assert_int_equal(waitpid(-1, &status, 0), -1);
	while ((fd = open(path, O_RDONLY)) == -1)
		poll(NULL, 0, 1);
	n = read(fd, text, sizeof text - 1);
	assert_true(n > 0);
	text[n] = '\0';
	session = strtol(text, &rest, 10);
	assert_int_not_equal(session, getsid(0));
	/* The last one is the file itself. */
	assert_string_equal(rest, " 0null 1null 2null 3 ");
	unlink(path);
	close(fd);
	close(open_one);
}

static void
does_not_run_what_cannot_be_run(void **state)
{
	static char missing[] = "/nonexistent/broker", null[] = "/dev/null";
	char verb[] = "--exit", number[] = "0";
	char *argv[] = { missing, NULL };
	char *ends_at_once[] = { self, verb, number, NULL };

	(void)state;
	assert_false(spawn_detached(argv, deadline_never()));
	argv[0] = null;
	assert_false(spawn_detached(argv, deadline_never()));
	/* Without time it may have been started; no child of ours is left. */
	(void)spawn_detached(ends_at_once, deadline_in(0));
	assert_int_equal(waitpid(-1, NULL, 0), -1);
}

static void
reaps_all_that_end(void **state)
{
	int ends[2];
	char c;
	pid_t stays;

	(void)state;
	/* No child at all. */
	spawn_reap(deadline_never());
	for (int n = 0; n < 3; n++)
		start("--exit", n, NULL, 0);
	spawn_reap(deadline_never());
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);

	assert_int_equal(pipe(ends), 0);
	fcntl(ends[0], F_SETFD, FD_CLOEXEC);
	stays = start("--stay", ends[1], &ends[1], 1);
	close(ends[1]);
	assert_int_equal(read(ends[0], &c, 1), 1);
	await_end(start("--exit", 0, NULL, 0));
	spawn_reap(deadline_in(20));
	assert_int_equal(waitpid(-1, NULL, WNOHANG), 0);
	(void)spawn_kill(stays);
	close(ends[0]);
}

#ifdef __linux__
static void
ends_with_its_parent(void **state)
{
	int ends[2];
	char c;
	pid_t parent;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	parent = fork();
	if (parent == 0) {
		if (fork() != 0)
			pause();
		spawn_end_with_parent();
		if (write(ends[1], "x", 1) == 1)
			pause();
		_exit(0);
	}
	close(ends[1]);
	assert_int_equal(read(ends[0], &c, 1), 1);
	(void)spawn_kill(parent);
	assert_int_equal(read(ends[0], &c, 1), 0);
	close(ends[0]);
}
#endif

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(passes_only_kept_descriptors),
		cmocka_unit_test(says_how_it_ended),
		cmocka_unit_test(runs_existing_programs_only),
		cmocka_unit_test(refuses_to_keep_what_is_closed),
		cmocka_unit_test(kills_and_reaps),
		cmocka_unit_test(runs_on_its_own),
		cmocka_unit_test(does_not_run_what_cannot_be_run),
		cmocka_unit_test(reaps_all_that_end),
#ifdef __linux__
		cmocka_unit_test(ends_with_its_parent),
#endif
	};

	if (argc == 3 && strncmp(argv[1], "--", 2) == 0)
		return act(argv);
	self = argv[0];
	/* Descriptors left open by our parent do not count. */
	for (int fd = 3; fd < 256; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	alarm(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
