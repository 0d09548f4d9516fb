/* SPDX-License-Identifier: ISC */
#define _DEFAULT_SOURCE /* realpath() */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>
#include <sys/stat.h>
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

#include "base/str.h"
#include "io/fdio.h"
#include "sts/cache.h"
#include "sts/lookup.h"
#include "sts/request.h"

static char home[] = "/tmp/test_sts_lookup.XXXXXX";

/*
 * The test program itself is qmail-remote-sts; the first label of the domain
 * says how it behaves.
 */
static char *self;

static int64_t
now(void)
{
	return (int64_t)time(NULL);
}

static void
make_entry(struct sts_entry *e, const char *domain, const char *id,
    int64_t fetched)
{
	struct sts_policy p = { STS_MODE_TESTING, 86400, { 0 }, { 0 } };

	(void)str_copy(e->domain, sizeof e->domain, domain);
	buf_puts(&p.mx, "a.example\n");
	sts_entry_succeed(e, id, &p, fetched);
	e->used = fetched;
}

static bool
has_role(const struct sts_request *r, const char *role)
{
	return strncmp(r->domain, role, strlen(role)) == 0;
}

static void
say(const struct sts_request *r, const struct buf *text)
{
	if (r->out != 0) {
		(void)fdio_write_all((int)r->out, text->data, text->len, 5000);
		close((int)r->out);
	}
	if (r->lock != 0 && sts_cache_write(".", r->domain, (int)r->lock,
				text->data, text->len) == -1)
		_exit(9);
}

static void
play(const struct sts_request *r)
{
	const struct sts_failure why = { STS_CAUSE_FETCH, "told to" };
	struct sts_entry e = { .failures = 0 };
	struct buf text = { 0 };

	if (has_role(r, "hangs"))
		pause();
	if (has_role(r, "dies"))
		_exit(1);
	if (has_role(r, "slow"))
		poll(NULL, 0, 300);
	(void)sts_cache_read(&e, ".", r->domain);
	if (has_role(r, "fails")) {
		(void)str_copy(e.domain, sizeof e.domain, r->domain);
		sts_entry_fail(&e, &why, now());
	} else
		make_entry(&e, r->domain, r->id, now());
	sts_entry_format(&e, &text);
	if (has_role(r, "nonsense"))
		buf_puts(&text, "more\n");
	while (has_role(r, "endless") && text.len < 2 * STS_ENTRY_MAX)
		buf_puts(&text, "more\n");
	say(r, &text);
}

/*
 * As the program does: it forks, and the first process ends.  The file says how
 * often that was done, and is locked while one runs.
 */
static int
play_program(const struct sts_request *r)
{
	int fd = open("started", O_WRONLY | O_CREAT | O_APPEND, 0600);

	if (fd == -1 || fdio_lock(fd, FDIO_LOCK_SHARED, 5000) == -1 ||
	    write(fd, r->id, 1) != 1 || fork() != 0)
		_exit(0);
	signal(SIGPIPE, SIG_IGN);
	alarm(3);
	play(r);
	_exit(0);
}

/* How often the program has run. */
static size_t
started(void)
{
	struct stat st;

	return stat("started", &st) == 0 ? (size_t)st.st_size : 0;
}

/* Waits until none runs. */
static void
settle(void)
{
	int fd = open("started", O_RDONLY);

	if (fd == -1)
		return;
	assert_int_equal(fdio_lock(fd, FDIO_LOCK_EXCLUSIVE, 20000), 0);
	close(fd);
}

static int
count_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) != -1;
	return n;
}

static struct sts_config config;
static int descriptors;

static int
enter_home(void **state)
{
	(void)state;
	return !mkdtemp(home) || chdir(home) == -1;
}

static int
leave_home(void **state)
{
	(void)state;
	return chdir("/") == -1 || rmdir(home) == -1;
}

static int
set_up(void **state)
{
	(void)state;
	config =
	    (struct sts_config){ .state = ".", .program = self, .wait_s = 20 };
	descriptors = count_descriptors();
	return 0;
}

static int
clear_home(void **state)
{
	(void)state;
	settle();
	/* Nothing is left: no descriptor, and no child. */
	assert_int_equal(count_descriptors(), descriptors);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	return system("rm -rf ./*");
}

static const struct sts_record unknown = { .is_known = false };
static const struct sts_record absent = { .is_known = true };
static const struct sts_record one = { true, 1, "1" };
static const struct sts_record two = { true, 1, "2" };

/*
 * Puts an entry of this age with id 1 into the cache, with a lock that is
 * released then.
 */
static int
write_entry(const char *domain, int fd, int64_t age, unsigned long failures)
{
	struct sts_entry e = { .failures = 0 };
	struct buf text = { 0 };
	int result;

	make_entry(&e, domain, "1", now() - age);
	if (failures > 0) {
		e.failures = failures;
		e.tried = now();
		e.failure.cause = STS_CAUSE_LOCAL;
	}
	sts_entry_format(&e, &text);
	result = sts_cache_write(".", domain, fd, text.data, text.len);
	close(fd);
	buf_finish(&text);
	sts_entry_finish(&e);
	return result;
}

static void
put_entry(const char *domain, int64_t age, unsigned long failures)
{
	int64_t since;
	int fd;

	settle();
	assert_int_equal(sts_lock_take(".", domain, &fd, &since),
	    STS_LOCK_TAKEN);
	assert_int_equal(write_entry(domain, fd, age, failures), 0);
}

/* The age of the entry in the cache; -1 if there is none. */
static int64_t
age_in_cache(const char *domain)
{
	struct sts_entry e = { .failures = 0 };
	int64_t age = -1;

	if (sts_cache_read(&e, ".", domain) == 0)
		age = now() - e.fetched;
	sts_entry_finish(&e);
	return age;
}

static struct sts_lookup
look_up(const char *domain, const struct sts_record *record)
{
	struct sts_lookup l;

	sts_lookup_begin(&l, &config, domain, now());
	sts_lookup_find(&l, record);
	return l;
}

/* Checks the result, and how often the program has run so far. */
static void
is(struct sts_lookup *l, enum sts_source source, size_t times)
{
	const struct sts_policy *p = sts_lookup_policy(l);

	assert_int_equal(started(), times);
	assert_int_equal(l->source, source);
	if (source == STS_SOURCE_NONE) {
		assert_null(p);
		assert_int_equal(l->expires, 0);
	} else {
		assert_non_null(p);
		assert_int_equal(p->mode, STS_MODE_TESTING);
		assert_true(sts_policy_matches(p, "a.example"));
		assert_in_range(l->expires, now(), now() + 86400);
	}
	sts_lookup_finish(l);
	assert_null(sts_lookup_policy(l));
}

static void
fetches_what_is_not_there(void **state)
{
	struct sts_lookup l = look_up("Good.example.", &one);

	(void)state;
	assert_string_equal(l.domain, "good.example");
	assert_string_equal(l.entry.id, "1");
	assert_false(l.is_refreshing);
	is(&l, STS_SOURCE_FETCHED, 1);
	/* The next delivery finds it, once it is written. */
	settle();
	l = look_up("good.example", &one);
	is(&l, STS_SOURCE_CACHE, 1);
}

static void
uses_what_is_there(void **state)
{
	const struct sts_record *const records[] = { &unknown, &absent, &one };
	struct sts_lookup l;

	(void)state;
	put_entry("good.example", 60, 0);
	for (size_t i = 0; i < 3; i++) {
		sts_lookup_begin(&l, &config, "good.example", now());
		/* Before the DNS has answered. */
		assert_non_null(sts_lookup_policy(&l));
		sts_lookup_find(&l, records[i]);
		assert_false(l.is_refreshing);
		is(&l, STS_SOURCE_CACHE, 0);
	}
}

static void
has_none_without_a_record(void **state)
{
	struct sts_lookup l = look_up("good.example", &unknown);

	(void)state;
	is(&l, STS_SOURCE_NONE, 0);
	l = look_up("good.example", &absent);
	is(&l, STS_SOURCE_NONE, 0);
	put_entry("good.example", 86402, 0);
	l = look_up("good.example", &absent);
	is(&l, STS_SOURCE_NONE, 0);
}

static void
has_none_where_it_cannot_be(void **state)
{
	static const char *const domains[] = { "192.0.2.1", "[192.0.2.1]",
		"a/b", "" };
	struct sts_lookup l;

	(void)state;
	for (size_t i = 0; i < sizeof domains / sizeof *domains; i++) {
		l = look_up(domains[i], &one);
		assert_string_equal(l.domain, "");
		assert_false(sts_lookup_refetch(&l));
		is(&l, STS_SOURCE_NONE, 0);
	}
	config.wait_s = 0;
	put_entry("good.example", 60, 0);
	l = look_up("good.example", &one);
	assert_string_equal(l.domain, "");
	is(&l, STS_SOURCE_NONE, 0);
}

static void
fetches_for_a_new_id(void **state)
{
	struct sts_lookup l;

	(void)state;
	put_entry("good.example", 60, 0);
	l = look_up("good.example", &two);
	assert_string_equal(l.entry.id, "2");
	is(&l, STS_SOURCE_FETCHED, 1);
}

static void
keeps_the_old_policy_if_the_fetch_fails(void **state)
{
	struct sts_lookup l;

	(void)state;
	put_entry("fails.example", 60, 0);
	l = look_up("fails.example", &two);
	assert_string_equal(l.entry.id, "1");
	assert_int_equal(l.entry.failure.cause, STS_CAUSE_FETCH);
	is(&l, STS_SOURCE_CACHE, 1);
	/* It is not tried again for some time. */
	settle();
	l = look_up("fails.example", &two);
	assert_int_equal(l.entry.failure.cause, STS_CAUSE_FETCH);
	is(&l, STS_SOURCE_CACHE, 1);
}

static void
goes_on_without_if_the_fetch_fails(void **state)
{
	static const char *const domains[] = { "dies.example",
		"nonsense.example", "endless.example" };
	struct sts_lookup l = look_up("fails.example", &one);
	size_t n = 1;

	(void)state;
	assert_string_equal(l.entry.failure.reason, "told to");
	is(&l, STS_SOURCE_NONE, 1);
	settle();
	l = look_up("fails.example", &one);
	is(&l, STS_SOURCE_NONE, 1);
	for (size_t i = 0; i < sizeof domains / sizeof *domains; i++) {
		l = look_up(domains[i], &one);
		is(&l, STS_SOURCE_NONE, ++n);
	}
	/* The program is not there. */
	config.program = "./missing";
	l = look_up("good.example", &one);
	is(&l, STS_SOURCE_NONE, n);
	assert_int_equal(access("sts.new-good.example", F_OK), -1);
	put_entry("good.example", 50000, 0);
	l = look_up("good.example", &one);
	assert_false(l.is_refreshing);
	is(&l, STS_SOURCE_CACHE, n);
}

static void
does_not_wait_longer_than_it_may(void **state)
{
	struct sts_lookup l;
	int64_t since;
	int fd;

	(void)state;
	config.wait_s = 1;
	l = look_up("hangs.example", &one);
	is(&l, STS_SOURCE_NONE, 1);
	put_entry("good.example", 60, 0);
	assert_int_equal(sts_lock_take(".", "good.example", &fd, &since),
	    STS_LOCK_TAKEN);
	l = look_up("good.example", &two);
	is(&l, STS_SOURCE_CACHE, 1);
	close(fd);
}

/* Nor for a fetch that was waited for already. */
static void
does_not_wait_twice(void **state)
{
	struct sts_lookup l;
	struct deadline until;

	(void)state;
	config.wait_s = 1;
	put_entry("hangs.example", 400, 0);
	until = deadline_in(1800);
	l = look_up("hangs.example", &two);
	assert_false(sts_lookup_refetch(&l));
	assert_false(deadline_passed(until));
	is(&l, STS_SOURCE_CACHE, 1);
}

static void
refreshes_what_is_old(void **state)
{
	struct sts_lookup l;

	(void)state;
	put_entry("slow.example", 50000, 0);
	l = look_up("slow.example", &one);
	assert_true(l.is_refreshing);
	is(&l, STS_SOURCE_CACHE, 1);
	/* Nobody starts another one meanwhile. */
	l = look_up("slow.example", &one);
	is(&l, STS_SOURCE_CACHE, 1);
	settle();
	assert_true(age_in_cache("slow.example") < 100);
	l = look_up("slow.example", &one);
	assert_false(l.is_refreshing);
	is(&l, STS_SOURCE_CACHE, 1);
}

/* Whoever suppresses the record does not make the policy expire. */
static void
refreshes_without_an_answer(void **state)
{
	struct sts_lookup l;

	(void)state;
	put_entry("good.example", 50000, 0);
	l = look_up("good.example", &absent);
	assert_false(l.is_refreshing);
	is(&l, STS_SOURCE_CACHE, 0);
	l = look_up("good.example", &unknown);
	assert_true(l.is_refreshing);
	is(&l, STS_SOURCE_CACHE, 1);
	settle();
	assert_true(age_in_cache("good.example") < 100);
}

static void
sees_what_others_have_fetched(void **state)
{
	struct sts_lookup l;

	(void)state;
	sts_lookup_begin(&l, &config, "good.example", now());
	put_entry("good.example", -3, 0);
	sts_lookup_find(&l, &one);
	is(&l, STS_SOURCE_CACHE, 0);
	assert_int_equal(access("sts.new-good.example", F_OK), -1);
}

/* A child that has the lock, and after some time does this. */
static pid_t
start_other(const char *domain, int (*act)(const char *, int))
{
	int ready[2], fd;
	int64_t since;
	pid_t pid;
	char c;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		alarm(20);
		if (sts_lock_take(".", domain, &fd, &since) != STS_LOCK_TAKEN)
			_exit(1);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		poll(NULL, 0, 200);
		_exit(act(domain, fd) == 0 ? 0 : 1);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static int
succeed(const char *domain, int fd)
{
	return write_entry(domain, fd, 0, 0);
}

static int
fail_to_fetch(const char *domain, int fd)
{
	return write_entry(domain, fd, 86402, 1);
}

static int
end_without_result(const char *domain, int fd)
{
	(void)domain;
	return close(fd);
}

static void
has_ended(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
waits_for_others(void **state)
{
	pid_t pid = start_other("good.example", succeed);
	struct sts_lookup l = look_up("good.example", &one);

	(void)state;
	has_ended(pid);
	is(&l, STS_SOURCE_CACHE, 0);
}

static void
a_failure_of_others_counts(void **state)
{
	pid_t pid = start_other("good.example", fail_to_fetch);
	struct sts_lookup l = look_up("good.example", &one);

	(void)state;
	has_ended(pid);
	is(&l, STS_SOURCE_NONE, 0);
}

static void
fetches_if_others_end_without_result(void **state)
{
	pid_t pid = start_other("good.example", end_without_result);
	struct sts_lookup l = look_up("good.example", &one);

	(void)state;
	has_ended(pid);
	is(&l, STS_SOURCE_FETCHED, 1);
}

static void
does_not_wait_for_a_fetch_that_takes_long(void **state)
{
	static const struct timespec times[2] = { { 7, 0 }, { 7, 0 } };
	struct sts_lookup l;
	int64_t since;
	int fd;

	(void)state;
	assert_int_equal(sts_lock_take(".", "good.example", &fd, &since),
	    STS_LOCK_TAKEN);
	assert_int_equal(futimens(fd, times), 0);
	l = look_up("good.example", &one);
	is(&l, STS_SOURCE_NONE, 0);
	/* Nor for a refresh. */
	sts_lock_drop(".", "good.example", fd);
	put_entry("good.example", 50000, 0);
	assert_int_equal(sts_lock_take(".", "good.example", &fd, &since),
	    STS_LOCK_TAKEN);
	l = look_up("good.example", &one);
	assert_false(l.is_refreshing);
	is(&l, STS_SOURCE_CACHE, 0);
	close(fd);
}

/* Another process that waits, and is stopped when it has the lock. */
static void
does_not_wait_for_others_that_wait(void **state)
{
	struct sts_lookup l;
	int fd;

	(void)state;
	config.wait_s = 1;
	fd = open("sts.new-good.example", O_RDONLY | O_CREAT, 0600);
	assert_int_equal(fdio_lock(fd, FDIO_LOCK_SHARED, 0), 0);
	l = look_up("good.example", &one);
	is(&l, STS_SOURCE_NONE, 0);
	close(fd);
}

static void
goes_on_without_if_all_places_are_taken(void **state)
{
	struct sts_lookup l;
	int fd[STS_FETCHES_MAX];

	(void)state;
	for (int i = 0; i < STS_FETCHES_MAX; i++)
		assert_int_equal(sts_place_take(".", &fd[i]), STS_LOCK_TAKEN);
	l = look_up("good.example", &one);
	is(&l, STS_SOURCE_NONE, 0);
	assert_int_equal(access("sts.new-good.example", F_OK), -1);
	put_entry("good.example", 60, 0);
	l = look_up("good.example", &two);
	is(&l, STS_SOURCE_CACHE, 0);
	for (int i = 0; i < STS_FETCHES_MAX; i++)
		close(fd[i]);
	l = look_up("good.example", &two);
	is(&l, STS_SOURCE_FETCHED, 1);
}

static void
needs_no_state_directory(void **state)
{
	struct sts_lookup l;

	(void)state;
	config.state = "/nowhere";
	l = look_up("good.example", &one);
	is(&l, STS_SOURCE_FETCHED, 1);
	l = look_up("good.example", &one);
	is(&l, STS_SOURCE_FETCHED, 2);
}

/* It would be fetched for each delivery, and kept by none. */
static void
refreshes_nothing_without_a_lock(void **state)
{
	struct sts_lookup l;

	(void)state;
	put_entry("good.example", 50000, 0);
	assert_int_equal(mkdir("sts.new-good.example", 0700), 0);
	l = look_up("good.example", &one);
	assert_false(l.is_refreshing);
	is(&l, STS_SOURCE_CACHE, 0);
}

static void
writes_nothing_if_it_must_not(void **state)
{
	struct sts_lookup l;

	(void)state;
	config.is_read_only = true;
	l = look_up("good.example", &one);
	is(&l, STS_SOURCE_FETCHED, 1);
	assert_int_equal(age_in_cache("good.example"), -1);
	assert_int_equal(access("sts.new-good.example", F_OK), -1);
	assert_int_equal(access("sts.lock.0", F_OK), -1);
	/* What is in the cache is used, and not refreshed. */
	put_entry("good.example", 50000, 0);
	l = look_up("good.example", &one);
	assert_false(l.is_refreshing);
	is(&l, STS_SOURCE_CACHE, 1);
	l = look_up("good.example", &two);
	assert_string_equal(l.entry.id, "2");
	is(&l, STS_SOURCE_FETCHED, 2);
	assert_true(age_in_cache("good.example") >= 50000);
	l = look_up("good.example", &one);
	assert_true(sts_lookup_refetch(&l));
	is(&l, STS_SOURCE_FETCHED, 3);
	assert_true(age_in_cache("good.example") >= 50000);
}

static void
fetches_again_for_a_mismatch(void **state)
{
	struct sts_lookup l;

	(void)state;
	/* Too young. */
	put_entry("good.example", 200, 0);
	l = look_up("good.example", &one);
	assert_false(sts_lookup_refetch(&l));
	is(&l, STS_SOURCE_CACHE, 0);
	put_entry("good.example", 400, 0);
	l = look_up("good.example", &absent);
	assert_true(sts_lookup_refetch(&l));
	/* Once. */
	assert_false(sts_lookup_refetch(&l));
	assert_string_equal(l.entry.id, "1");
	is(&l, STS_SOURCE_FETCHED, 1);
	/* None of what has failed. */
	put_entry("good.example", 400, 1);
	l = look_up("good.example", &one);
	assert_false(sts_lookup_refetch(&l));
	is(&l, STS_SOURCE_CACHE, 1);
	put_entry("fails.example", 400, 0);
	l = look_up("fails.example", &one);
	assert_false(sts_lookup_refetch(&l));
	is(&l, STS_SOURCE_CACHE, 2);
	/* Nor of what was not there. */
	l = look_up("good2.example", &absent);
	assert_false(sts_lookup_refetch(&l));
	is(&l, STS_SOURCE_NONE, 2);
	/* Another process has fetched it. */
	put_entry("good.example", 400, 0);
	l = look_up("good.example", &one);
	put_entry("good.example", 0, 0);
	assert_true(sts_lookup_refetch(&l));
	is(&l, STS_SOURCE_CACHE, 2);
}

/* No descriptor is left for a pipe. */
static void
goes_on_without_descriptors(void **state)
{
	struct rlimit old, few;
	struct sts_lookup l;

	(void)state;
	config.is_read_only = true;
	sts_lookup_begin(&l, &config, "good.example", now());
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	few.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	sts_lookup_find(&l, &one);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	is(&l, STS_SOURCE_NONE, 0);
}

/* One fetch is enough for all deliveries that need the same policy. */
static void
many_need_one_fetch(void **state)
{
	enum { MANY = 40 };
	pid_t pid[MANY];

	(void)state;
	for (int i = 0; i < MANY; i++) {
		pid[i] = fork();
		assert_int_not_equal(pid[i], -1);
		if (pid[i] == 0) {
			struct sts_lookup l = look_up("slow.example", &one);

			_exit(l.source == STS_SOURCE_NONE);
		}
	}
	for (int i = 0; i < MANY; i++) {
		int status;

		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(started(), 1);
}

int
main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, clear_home)
	const struct CMUnitTest tests[] = {
		TEST(fetches_what_is_not_there),
		TEST(uses_what_is_there),
		TEST(has_none_without_a_record),
		TEST(has_none_where_it_cannot_be),
		TEST(fetches_for_a_new_id),
		TEST(keeps_the_old_policy_if_the_fetch_fails),
		TEST(goes_on_without_if_the_fetch_fails),
		TEST(does_not_wait_longer_than_it_may),
		TEST(does_not_wait_twice),
		TEST(refreshes_what_is_old),
		TEST(refreshes_without_an_answer),
		TEST(sees_what_others_have_fetched),
		TEST(waits_for_others),
		TEST(a_failure_of_others_counts),
		TEST(fetches_if_others_end_without_result),
		TEST(does_not_wait_for_a_fetch_that_takes_long),
		TEST(does_not_wait_for_others_that_wait),
		TEST(goes_on_without_if_all_places_are_taken),
		TEST(needs_no_state_directory),
		TEST(refreshes_nothing_without_a_lock),
		TEST(writes_nothing_if_it_must_not),
		TEST(fetches_again_for_a_mismatch),
		TEST(goes_on_without_descriptors),
		TEST(many_need_one_fetch),
	};
	char path[4096];
	struct sts_request request;

	if (sts_request_parse(&request, argc, argv))
		return play_program(&request);
	self = realpath(argv[0], path);
	alarm(100);
	return cmocka_run_group_tests(tests, enter_home, leave_home);
}
