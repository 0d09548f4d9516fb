/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE /* flock(), syscall(), AT_EMPTY_PATH */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sts/cache.h"

#include "home.h"

#define DOMAIN "dst.example"
#define ENTRY \
	"qmail-remote-sts 1\ndomain " DOMAIN "\nid 1\nfetched 1\ntried 1 0\n" \
	"used 1\nmax-age 86400\nmode none\nend\n"

/*
 * Stand-ins for system calls: they fail with this error if it is set, and do
 * something before a lock is tried, or while it is waited for.
 */
static struct {
	int flock, fstat, ftruncate;
	void (*before_flock)(void), (*at_poll)(void);
} fault;

int
poll(struct pollfd *fds, nfds_t n, int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

	if (fault.at_poll)
		fault.at_poll();
	return (int)syscall(SYS_ppoll, fds, n, ms == -1 ? NULL : &t, NULL, 0L);
}

int
ftruncate(int fd, off_t length)
{
	errno = fault.ftruncate;
	return fault.ftruncate ? -1 : (int)syscall(SYS_ftruncate, fd, length);
}

int
flock(int fd, int operation)
{
	if (fault.before_flock)
		fault.before_flock();
	errno = fault.flock;
	return fault.flock ? -1 : (int)syscall(SYS_flock, fd, operation);
}

int
fstat(int fd, struct stat *st)
{
	errno = fault.fstat;
	return fault.fstat ? -1 : fstatat(fd, "", st, AT_EMPTY_PATH);
}

static int
clear_home(void **state)
{
	memset(&fault, 0, sizeof fault);
	return home_clear(state);
}

/* Reads the entry of the domain and frees it. */
static int
read_entry(const char *state, const char *domain)
{
	struct sts_entry e = { .failures = 0 };
	int result = sts_cache_read(&e, state, domain);

	if (result == -1)
		assert_true(e.domain[0] == '\0' && !e.has_policy);
	else
		assert_string_equal(e.domain, domain);
	sts_entry_finish(&e);
	return result;
}

static int
take(void)
{
	int64_t since;
	int fd;

	assert_int_equal(sts_lock_take(".", DOMAIN, &fd, &since),
	    STS_LOCK_TAKEN);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	return fd;
}

static void
is_busy(void)
{
	int64_t since = 0;
	int fd = 0;

	assert_int_equal(sts_lock_take(".", DOMAIN, &fd, &since),
	    STS_LOCK_BUSY);
	assert_int_equal(fd, -1);
	assert_true(since > time(NULL) - 60 && since < time(NULL) + 60);
}

static void
reads_an_entry(void **state)
{
	(void)state;
	assert_int_equal(read_entry(".", DOMAIN), -1);
	home_put("sts-" DOMAIN, ENTRY);
	assert_int_equal(read_entry(".", DOMAIN), 0);
	assert_int_equal(read_entry(home, DOMAIN), 0);
	assert_int_equal(read_entry("/nowhere", DOMAIN), -1);
	assert_int_equal(read_entry(".", "a.example"), -1);
	/* That of another domain. */
	home_put("sts-a.example", ENTRY);
	assert_int_equal(read_entry(".", "a.example"), -1);
}

static void
ignores_what_is_no_entry(void **state)
{
	static char garbage[STS_ENTRY_MAX + 2];

	(void)state;
	home_put("sts-" DOMAIN, "");
	assert_int_equal(read_entry(".", DOMAIN), -1);
	home_put("sts-" DOMAIN, "garbage\n");
	assert_int_equal(read_entry(".", DOMAIN), -1);
	home_put("sts-" DOMAIN, ENTRY "x");
	assert_int_equal(read_entry(".", DOMAIN), -1);
	memset(garbage, 'x', sizeof garbage - 1);
	home_put("sts-" DOMAIN, garbage);
	assert_int_equal(read_entry(".", DOMAIN), -1);
	unlink("sts-" DOMAIN);

	/* Nothing but a regular file is read, and no link is followed. */
	home_put("target", ENTRY);
	assert_int_equal(symlink("target", "sts-" DOMAIN), 0);
	assert_int_equal(read_entry(".", DOMAIN), -1);
	unlink("sts-" DOMAIN);
	assert_int_equal(mkfifo("sts-" DOMAIN, 0600), 0);
	assert_int_equal(read_entry(".", DOMAIN), -1);
	unlink("sts-" DOMAIN);
	assert_int_equal(mkdir("sts-" DOMAIN, 0700), 0);
	assert_int_equal(read_entry(".", DOMAIN), -1);
	rmdir("sts-" DOMAIN);
}

static void
replaces_an_entry(void **state)
{
	struct stat st;
	int fd;

	(void)state;
	home_put("sts-" DOMAIN, "old");
	umask(0077);
	fd = take();
	assert_true(home_has("sts.new-" DOMAIN));
	assert_int_equal(sts_cache_write(".", DOMAIN, fd, ENTRY, strlen(ENTRY)),
	    0);
	assert_int_equal(read_entry(".", DOMAIN), 0);
	assert_false(home_has("sts.new-" DOMAIN));
	/* The group can read it. */
	assert_int_equal(stat("sts-" DOMAIN, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	close(fd);
	sts_cache_remove(".", DOMAIN);
	assert_int_equal(read_entry(".", DOMAIN), -1);
	sts_cache_remove(".", DOMAIN);
}

static void
keeps_the_old_entry_if_writing_fails(void **state)
{
	int fd = take(), full = open("/dev/full", O_WRONLY), pair[2];

	(void)state;
	home_put("sts-" DOMAIN, ENTRY);
	/* A full disk: the descriptor leads to a device that is full. */
	assert_true(full != -1);
	assert_int_equal(sts_cache_write(".", DOMAIN, full, "x", 1), -1);
	assert_int_equal(read_entry(".", DOMAIN), 0);
	assert_false(home_has("sts.new-" DOMAIN));
	close(full);
	close(fd);

	fd = take();
	close(fd);
	fd = open("sts.new-" DOMAIN, O_RDONLY);
	assert_int_equal(sts_cache_write(".", DOMAIN, fd, "x", 1), -1);
	assert_false(home_has("sts.new-" DOMAIN));
	close(fd);

	/* Somebody has removed the new file. */
	fd = take();
	assert_int_equal(unlink("sts.new-" DOMAIN), 0);
	assert_int_equal(sts_cache_write(".", DOMAIN, fd, "x", 1), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(read_entry(".", DOMAIN), 0);
	close(fd);
	assert_int_equal(pipe(pair), 0);
	assert_int_equal(sts_cache_write(".", DOMAIN, pair[1], "x", 1), -1);
	close(pair[0]);
	close(pair[1]);
	assert_int_equal(read_entry(".", DOMAIN), 0);
}

/* A limit on the size of files is like a full disk. */
static void
keeps_the_old_entry_if_there_is_no_room(void **state)
{
	struct rlimit old, small;
	int fd = take(), result;

	(void)state;
	home_put("sts-" DOMAIN, ENTRY);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	small.rlim_cur = 20;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	result = sts_cache_write(".", DOMAIN, fd, ENTRY, strlen(ENTRY));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(result, -1);
	assert_int_equal(read_entry(".", DOMAIN), 0);
	assert_false(home_has("sts.new-" DOMAIN));
	close(fd);
}

static void
locks_one_domain(void **state)
{
	int64_t since;
	int fd = take(), other;

	(void)state;
	is_busy();
	assert_int_equal(sts_lock_take(".", "a.example", &other, &since),
	    STS_LOCK_TAKEN);
	sts_lock_drop(".", "a.example", other);
	assert_false(home_has("sts.new-a.example"));
	sts_lock_drop(".", DOMAIN, fd);
	assert_false(home_has("sts.new-" DOMAIN));
	fd = take();
	sts_lock_drop(".", DOMAIN, fd);
}

static void
tells_since_when_it_is_locked(void **state)
{
	static const struct timespec times[2] = { { 7, 0 }, { 7, 0 } };
	int64_t since;
	int fd = take(), other;

	(void)state;
	assert_int_equal(futimens(fd, times), 0);
	assert_int_equal(sts_lock_take(".", DOMAIN, &other, &since),
	    STS_LOCK_BUSY);
	assert_int_equal(since, 7);
	/* The next fetch does not take over the time of one that was killed. */
	close(fd);
	fd = take();
	is_busy();
	sts_lock_drop(".", DOMAIN, fd);
}

static void
mark_now(void)
{
	assert_int_equal(utimensat(AT_FDCWD, "sts.new-" DOMAIN, NULL, 0), 0);
}

/* Another process has the lock, and has not marked the file yet. */
static void
looks_again_at_an_old_mark(void **state)
{
	static const struct timespec times[2] = { { 7, 0 }, { 7, 0 } };
	int fd;

	(void)state;
	home_put("sts.new-" DOMAIN, "");
	fd = open("sts.new-" DOMAIN, O_RDWR);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(futimens(fd, times), 0);
	fault.at_poll = mark_now;
	is_busy();
	close(fd);
}

static void
uses_the_file_of_a_fetch_that_was_killed(void **state)
{
	int fd;

	(void)state;
	home_put("sts.new-" DOMAIN, ENTRY ENTRY "garbage");
	fd = take();
	assert_int_equal(sts_cache_write(".", DOMAIN, fd, ENTRY, strlen(ENTRY)),
	    0);
	close(fd);
	assert_int_equal(read_entry(".", DOMAIN), 0);
}

static void
goes_without_a_lock(void **state)
{
	static const char name[] = "sts.new-" DOMAIN;
	int64_t since;
	int fd = 0;

	(void)state;
	assert_int_equal(sts_lock_take("/nowhere", DOMAIN, &fd, &since),
	    STS_LOCK_NONE);
	assert_int_equal(fd, -1);
	assert_int_equal(mkdir(name, 0700), 0);
	assert_int_equal(sts_lock_take(".", DOMAIN, &fd, &since),
	    STS_LOCK_NONE);
	rmdir(name);
	assert_int_equal(mkfifo(name, 0600), 0);
	assert_int_equal(sts_lock_take(".", DOMAIN, &fd, &since),
	    STS_LOCK_NONE);
	assert_int_equal(fd, -1);
	unlink(name);
	home_put("target", "x");
	assert_int_equal(symlink("target", name), 0);
	assert_int_equal(sts_lock_take(".", DOMAIN, &fd, &since),
	    STS_LOCK_NONE);
	unlink(name);
	assert_true(sts_lock_wait("/nowhere", DOMAIN, deadline_in(0)));
	/* A file system without locks. */
	fault.flock = ENOLCK;
	assert_int_equal(sts_lock_take(".", DOMAIN, &fd, &since),
	    STS_LOCK_NONE);
	assert_int_equal(sts_place_take(".", &fd), STS_LOCK_NONE);
	assert_int_equal(fd, -1);
	fault.fstat = EIO;
	assert_int_equal(sts_lock_take(".", DOMAIN, &fd, &since),
	    STS_LOCK_NONE);
}

/* The lock is what counts. */
static void
has_the_lock_without_a_mark(void **state)
{
	int64_t since;
	int fd;

	(void)state;
	home_put("sts.new-" DOMAIN, "x");
	fault.ftruncate = EIO;
	assert_int_equal(sts_lock_take(".", DOMAIN, &fd, &since),
	    STS_LOCK_TAKEN);
	fault.ftruncate = 0;
	sts_lock_drop(".", DOMAIN, fd);
	assert_false(home_has("sts.new-" DOMAIN));
}

/* A child that does what the letters say that it reads from a pipe. */
#define TALK 201 /* the child's descriptor for replies */

struct child {
	pid_t pid;
	int to, from;
};

static void
act(char what, int *fd)
{
	int64_t since;
	char c = 'x';

	switch (what) {
	case 't': /* take */
		c = (char)('0' + (int)sts_lock_take(".", DOMAIN, fd, &since));
		break;
	case 'w': /* write, and let go */
		if (sts_cache_write(".", DOMAIN, *fd, ENTRY, strlen(ENTRY)))
			_exit(2);
		close(*fd);
		break;
	case 'u': /* wait until it is free */
		c = sts_lock_wait(".", DOMAIN, deadline_in(10000)) ? 'y' : 'n';
		break;
	default:
		_exit(3);
	}
	if (write(TALK, &c, 1) != 1)
		_exit(4);
}

static struct child
start(void)
{
	struct child child;
	int down[2], up[2], fd = -1;
	char c;

	assert_true(pipe(down) == 0 && pipe(up) == 0);
	child.pid = fork();
	assert_true(child.pid != -1);
	if (child.pid == 0) {
		alarm(60);
		if (dup2(up[1], TALK) == -1)
			_exit(5);
		close(down[1]);
		close(up[0]);
		close(up[1]);
		while (read(down[0], &c, 1) == 1)
			act(c, &fd);
		_exit(0);
	}
	close(down[0]);
	close(up[1]);
	child.to = down[1];
	child.from = up[0];
	return child;
}

static void
tell(struct child *child, char what)
{
	assert_int_equal(write(child->to, &what, 1), 1);
}

/* What it replies; 0 if that takes longer than so many milliseconds. */
static char
hear(struct child *child, int ms)
{
	struct pollfd p = { .fd = child->from, .events = POLLIN };
	char c = 0;

	if (poll(&p, 1, ms) == 1 && read(child->from, &c, 1) != 1)
		c = 0;
	return c;
}

static void
stop(struct child *child)
{
	kill(child->pid, SIGKILL);
	assert_int_equal(waitpid(child->pid, NULL, 0), child->pid);
	close(child->to);
	close(child->from);
}

static void
others_wait_until_the_entry_is_there(void **state)
{
	struct child fetcher = start(), other = start();

	(void)state;
	tell(&fetcher, 't');
	assert_int_equal(hear(&fetcher, 10000), '0' + STS_LOCK_TAKEN);
	tell(&other, 't');
	assert_int_equal(hear(&other, 10000), '0' + STS_LOCK_BUSY);
	tell(&other, 'u');
	assert_int_equal(hear(&other, 50), 0);
	assert_false(sts_lock_wait(".", DOMAIN, deadline_in(20)));
	tell(&fetcher, 'w');
	assert_int_equal(hear(&fetcher, 10000), 'x');
	assert_int_equal(hear(&other, 10000), 'y');
	assert_int_equal(read_entry(".", DOMAIN), 0);
	stop(&fetcher);
	stop(&other);
}

static void
a_fetch_that_is_killed_has_no_lock(void **state)
{
	struct child fetcher = start(), other = start();

	(void)state;
	tell(&fetcher, 't');
	assert_int_equal(hear(&fetcher, 10000), '0' + STS_LOCK_TAKEN);
	tell(&other, 'u');
	assert_int_equal(hear(&other, 50), 0);
	stop(&fetcher);
	assert_int_equal(hear(&other, 10000), 'y');
	assert_true(home_has("sts.new-" DOMAIN));
	tell(&other, 't');
	assert_int_equal(hear(&other, 10000), '0' + STS_LOCK_TAKEN);
	stop(&other);
}

/*
 * A process that opens the file while it is locked, and locks it when it has
 * been renamed, must not write to what is the entry now.
 */
static void
a_file_that_was_renamed_is_no_lock(void **state)
{
	int fd = take(), late = open("sts.new-" DOMAIN, O_RDWR);
	struct stat entry, lock;

	(void)state;
	assert_int_equal(sts_cache_write(".", DOMAIN, fd, ENTRY, strlen(ENTRY)),
	    0);
	close(fd);
	assert_int_equal(flock(late, LOCK_EX | LOCK_NB), 0);
	fd = take();
	assert_true(fstat(late, &entry) == 0 && fstat(fd, &lock) == 0);
	assert_true(entry.st_ino != lock.st_ino);
	sts_lock_drop(".", DOMAIN, fd);
	close(late);
}

static int moves;

static void
rename_once(void)
{
	if (moves++ == 0)
		(void)rename("sts.new-" DOMAIN, "sts-" DOMAIN);
}

static void
replace_always(void)
{
	moves++;
	(void)unlink("sts.new-" DOMAIN);
	home_put("sts.new-" DOMAIN, "x");
}

/* The same, while this process is about to lock it. */
static void
tries_again_if_the_file_moves(void **state)
{
	struct stat entry, lock;
	int64_t since;
	int fd;

	(void)state;
	moves = 0;
	fault.before_flock = rename_once;
	fd = take();
	assert_int_equal(stat("sts-" DOMAIN, &entry), 0);
	assert_int_equal(fstat(fd, &lock), 0);
	assert_true(entry.st_ino != lock.st_ino);
	sts_lock_drop(".", DOMAIN, fd);
	/* But not for ever. */
	moves = 0;
	fault.before_flock = replace_always;
	assert_int_equal(sts_lock_take(".", DOMAIN, &fd, &since),
	    STS_LOCK_NONE);
	assert_int_equal(fd, -1);
	assert_in_range(moves, 2, 10);
}

static void
has_so_many_places(void **state)
{
	int fd[STS_FETCHES_MAX], more;

	(void)state;
	for (int i = 0; i < STS_FETCHES_MAX; i++) {
		assert_int_equal(sts_place_take(".", &fd[i]), STS_LOCK_TAKEN);
		assert_true(fcntl(fd[i], F_GETFD) & FD_CLOEXEC);
	}
	assert_true(home_has("sts.lock.0") && home_has("sts.lock.7"));
	assert_int_equal(sts_place_take(".", &more), STS_LOCK_BUSY);
	assert_int_equal(more, -1);
	close(fd[3]);
	assert_int_equal(sts_place_take(".", &fd[3]), STS_LOCK_TAKEN);
	for (int i = 0; i < STS_FETCHES_MAX; i++)
		close(fd[i]);
	assert_int_equal(sts_place_take("/nowhere", &more), STS_LOCK_NONE);
	assert_int_equal(more, -1);
	/* One place is no file. */
	unlink("sts.lock.0");
	assert_int_equal(mkdir("sts.lock.0", 0700), 0);
	assert_int_equal(sts_place_take(".", &more), STS_LOCK_TAKEN);
	close(more);
}

static void
knows_its_files(void **state)
{
	static const struct {
		const char *name;
		enum sts_file file;
		const char *domain;
	} names[] = {
		{ "sts-dst.example", STS_FILE_ENTRY, "dst.example" },
		{ "sts-new-dst.example", STS_FILE_ENTRY, "new-dst.example" },
		{ "sts.new-dst.example", STS_FILE_NEW, "dst.example" },
		{ "sts.lock.0", STS_FILE_OTHER, NULL },
		{ "sts-", STS_FILE_OTHER, NULL },
		{ "sts-.example", STS_FILE_OTHER, NULL },
		{ "sts-DST.example", STS_FILE_OTHER, NULL },
		{ "sts-dst.example.", STS_FILE_OTHER, NULL },
		{ "sts-dst.example~", STS_FILE_OTHER, NULL },
		{ "sts.new-", STS_FILE_OTHER, NULL },
		{ "smtproutes.cdb", STS_FILE_OTHER, NULL },
		{ "..", STS_FILE_OTHER, NULL },
	};
	char domain[STS_DOMAIN_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (sts_file_of(names[i].name, domain) != names[i].file)
			fail_msg("%s", names[i].name);
		if (names[i].domain)
			assert_string_equal(domain, names[i].domain);
	}
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, clear_home)
	const struct CMUnitTest tests[] = {
		TEST(reads_an_entry),
		TEST(ignores_what_is_no_entry),
		TEST(replaces_an_entry),
		TEST(keeps_the_old_entry_if_writing_fails),
		TEST(keeps_the_old_entry_if_there_is_no_room),
		TEST(locks_one_domain),
		TEST(tells_since_when_it_is_locked),
		TEST(looks_again_at_an_old_mark),
		TEST(uses_the_file_of_a_fetch_that_was_killed),
		TEST(goes_without_a_lock),
		TEST(has_the_lock_without_a_mark),
		TEST(others_wait_until_the_entry_is_there),
		TEST(a_fetch_that_is_killed_has_no_lock),
		TEST(a_file_that_was_renamed_is_no_lock),
		TEST(tries_again_if_the_file_moves),
		TEST(has_so_many_places),
		TEST(knows_its_files),
	};

	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
