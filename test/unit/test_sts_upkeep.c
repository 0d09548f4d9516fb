/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE /* flock(), syscall() */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/file.h>
#include <sys/syscall.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "sts/cache.h"
#include "sts/upkeep.h"

#include "home.h"

#define NOW INT64_C(1795923600)
#define DAY INT64_C(86400)

/* More than one look at the directory takes. */
#define MANY (2 * STS_TIDY_MAX)

/*
 * The entry of a domain: the age of its policy, when it was last used, and the
 * failed fetches since then.  Its max_age is a week.
 */
static void
put_entry(const char *domain, int64_t age, int64_t used, unsigned failures)
{
	char name[80], text[400], *at = text;
	int64_t when = NOW - age;

	snprintf(name, sizeof name, "sts-%s", domain);
	at += sprintf(at, "qmail-remote-sts 1\ndomain %s\nid 1\n", domain);
	at += sprintf(at, "fetched %" PRId64 "\n", when);
	at += sprintf(at, "tried %" PRId64 " %u\n", when, failures);
	at += sprintf(at, "used %" PRId64 "\n", NOW - used);
	if (failures > 0)
		at += sprintf(at, "failed local x\n");
	sprintf(at, "max-age 604800\nmode none\nend\n");
	home_put(name, text);
}

/* Something that happens just before a lock is taken. */
static void (*before_flock)(void);

int
flock(int fd, int operation)
{
	if (before_flock)
		before_flock();
	return (int)syscall(SYS_flock, fd, operation);
}

static void
tells_what_is_to_be_done(void **state)
{
	static const struct {
		const char *name;
		int64_t age, used;
		unsigned failures;
		enum sts_upkeep what;
	} cases[] = {
		{ "fresh", DAY / 2, 0, 0, STS_UPKEEP_NOTHING },
		{ "old", 2 * DAY, 0, 0, STS_UPKEEP_REFRESH },
		{ "old, and used a month ago", 2 * DAY, 29 * DAY, 0,
		    STS_UPKEEP_REFRESH },
		{ "old, and not used", 2 * DAY, 31 * DAY, 0,
		    STS_UPKEEP_NOTHING },
		{ "failed long ago", 2 * DAY, 0, 1, STS_UPKEEP_REFRESH },
		{ "expired", 8 * DAY, 0, 0, STS_UPKEEP_REMOVE },
		{ "from the future", -DAY, 0, 0, STS_UPKEEP_REFRESH },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		enum sts_upkeep what;

		put_entry("a.example", cases[i].age, cases[i].used,
		    cases[i].failures);
		what = sts_upkeep_of(".", "a.example", NOW);
		if (what != cases[i].what)
			fail_msg("%s: %d", cases[i].name, (int)what);
	}
	home_put("sts-a.example", "garbage");
	assert_int_equal(sts_upkeep_of(".", "a.example", NOW),
	    STS_UPKEEP_REMOVE);
	assert_int_equal(sts_upkeep_of(".", "b.example", NOW),
	    STS_UPKEEP_REMOVE);
}

static void
lists_the_files_of_policies(void **state)
{
	struct buf names = { 0 };
	size_t n = 0;

	(void)state;
	home_put("sts-a.example", "");
	home_put("sts.new-b.example", "");
	home_put("sts.lock.0", "");
	home_put("sts-Upper.example", "");
	home_put("smtproutes.cdb", "");
	assert_int_equal(sts_upkeep_list(".", &names), 0);
	for (size_t i = 0; i < names.len; i += strlen(names.data + i) + 1) {
		assert_true(strcmp(names.data + i, "sts-a.example") == 0 ||
			    strcmp(names.data + i, "sts.new-b.example") == 0);
		n++;
	}
	assert_int_equal(n, 2);
	buf_finish(&names);
	assert_int_equal(sts_upkeep_list("/nowhere", &names), -1);
	assert_int_equal(errno, ENOENT);
	buf_finish(&names);
}

static void
removes_what_is_of_no_use(void **state)
{
	(void)state;
	put_entry("old.example", 8 * DAY, 0, 0);
	put_entry("due.example", 2 * DAY, 0, 0);
	put_entry("fresh.example", 0, 0, 0);
	home_put("sts-damaged.example", "garbage");
	home_put("sts.new-killed.example", "x");
	home_put("other", "x");
	sts_upkeep_tidy(".", NOW);
	assert_false(home_has("sts-old.example"));
	assert_false(home_has("sts-damaged.example"));
	assert_false(home_has("sts.new-killed.example"));
	assert_false(home_has("sts.new-old.example"));
	assert_true(home_has("sts-due.example"));
	assert_true(home_has("sts-fresh.example"));
	assert_true(home_has("other"));
	sts_upkeep_clean(".", "other", NOW);
	assert_true(home_has("other"));
	sts_upkeep_tidy("/nowhere", NOW);
}

static void
leaves_what_is_being_fetched(void **state)
{
	int64_t since;
	int fd;

	(void)state;
	put_entry("a.example", 8 * DAY, 0, 0);
	assert_int_equal(sts_lock_take(".", "a.example", &fd, &since),
	    STS_LOCK_TAKEN);
	sts_upkeep_tidy(".", NOW);
	assert_true(home_has("sts-a.example"));
	assert_true(home_has("sts.new-a.example"));
	sts_lock_drop(".", "a.example", fd);
	sts_upkeep_tidy(".", NOW);
	assert_false(home_has("sts-a.example"));
}

static void
fetch_again(void)
{
	put_entry("a.example", 0, 0, 0);
}

static void
leaves_what_has_just_been_fetched(void **state)
{
	(void)state;
	put_entry("a.example", 8 * DAY, 0, 0);
	before_flock = fetch_again;
	sts_upkeep_tidy(".", NOW);
	before_flock = NULL;
	assert_true(home_has("sts-a.example"));
	assert_false(home_has("sts.new-a.example"));
}

static size_t
count_files(void)
{
	struct buf names = { 0 };
	size_t n = 0;

	assert_int_equal(sts_upkeep_list(".", &names), 0);
	for (size_t i = 0; i < names.len; i++)
		n += names.data[i] == '\0';
	buf_finish(&names);
	return n;
}

static void
finds_nothing_in_an_empty_directory(void **state)
{
	(void)state;
	sts_upkeep_tidy(".", NOW);
	assert_int_equal(count_files(), 0);
}

/* So much at a time, and everything after some time. */
static void
looks_at_a_part_of_many(void **state)
{
	int times = 0;

	(void)state;
	for (int i = 0; i < MANY; i++) {
		char domain[40];

		snprintf(domain, sizeof domain, "d%d.example", i);
		put_entry(domain, 8 * DAY, 0, 0);
	}
	sts_upkeep_tidy(".", NOW);
	assert_int_equal(count_files(), MANY - STS_TIDY_MAX);
	/* One that is fresh, at any place, stops nothing. */
	put_entry("fresh.example", 0, 0, 0);
	while (count_files() > 1 && times++ < 100)
		sts_upkeep_tidy(".", NOW);
	assert_int_equal(count_files(), 1);
	assert_true(home_has("sts-fresh.example"));
	sts_upkeep_tidy(".", NOW);
}

#define TEST(f) cmocka_unit_test_teardown(f, home_clear)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(tells_what_is_to_be_done),
		TEST(lists_the_files_of_policies),
		TEST(removes_what_is_of_no_use),
		TEST(leaves_what_is_being_fetched),
		TEST(leaves_what_has_just_been_fetched),
		TEST(finds_nothing_in_an_empty_directory),
		TEST(looks_at_a_part_of_many),
	};

	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
