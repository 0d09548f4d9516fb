/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "io/fdio.h"

#include "home.h"

static int fake_cloexec(int, bool);

#define fdio_set_cloexec fake_cloexec
#include "delivery/child.c"

static unsigned failing; /* the call of it that fails; 0: none */

static int
fake_cloexec(int fd, bool is_set)
{
	if (failing > 0 && --failing == 0)
		return -1;
	return fcntl(fd, F_SETFD, is_set ? FD_CLOEXEC : 0);
}

/* The program is a shell script here; $progress is the descriptor. */
static const char prologue[] = "#!/bin/sh\n"
			       "for word; do case $word in\n"
			       "progress=*) progress=${word#progress=} ;;\n"
			       "fd=*) fd=${word#fd=} ;;\n"
			       "--) break ;;\n"
			       "esac; done\n";
static char *const envelope[] = { (char[]){ "a@b" }, (char[]){ "c@d" }, NULL };

static struct child child;

static enum child_end
run(const char *script)
{
	int fd = open("held", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char text[2000];
	enum child_end end;

	assert_int_not_equal(fd, -1);
	snprintf(text, sizeof text, "%s%s\n", prologue, script);
	home_put("program", text);
	assert_int_equal(chmod("program", 0700), 0);
	buf_finish(&child.report);
	child = (struct child){
		.program = "./program",
		.handoff = { .fd = (unsigned long)fd,
		    .timeout_s = 10,
		    .address = "192.0.2.1",
		    .envelope = (char **)(uintptr_t)envelope },
	};
	end = child_run(&child, &fd, 1);
	close(fd);
	return end;
}

static void
a_whole_report_counts_however_it_ends(void **state)
{
	static const char report[] = "r\0Kyes\n";

	(void)state;
	assert_int_equal(run("printf 'r\\0Kyes\\n\\0'"), CHILD_REPORTED);
	assert_int_equal(child.report.len, sizeof report);
	assert_memory_equal(child.report.data, report, sizeof report);
	/* It was not short of memory when it had the report: all texts fit. */
	assert_true(child.report.cap > 65536 + 5000);
	assert_int_equal(run("printf 'Zno\\n\\0'; exit 3"), CHILD_REPORTED);
	assert_int_equal(run("printf 'Kyes\\n\\0'; kill -9 $$"),
	    CHILD_REPORTED);
	assert_int_equal(run("eval \"echo >&$progress\"; printf 'Kyes\\n\\0'; "
			     "exit 99"),
	    CHILD_REPORTED);
}

#define BEGIN "eval \"printf '\\\\0' >&$progress\"; "
#define USED(text) "eval \"printf " text " >&$progress\"; "
#define YES "printf 'Kyes\\n\\0'; "

/* Nothing but a number, behind the byte, from a child that ends well. */
static void
it_says_that_another_message_may_follow(void **state)
{
	(void)state;
	assert_int_equal(run(YES BEGIN USED("12")), CHILD_REPORTED);
	assert_int_equal(child.used, 12);
	assert_int_equal(run(YES BEGIN), CHILD_REPORTED);
	assert_int_equal(child.used, 0);
	assert_int_equal(run(YES), CHILD_REPORTED);
	assert_int_equal(child.used, 0);
	assert_int_equal(run(YES BEGIN USED("x")), CHILD_REPORTED);
	assert_int_equal(child.used, 0);
	assert_int_equal(run(YES BEGIN USED("99999999999")), CHILD_REPORTED);
	assert_in_range(child.used, 0, INT_MAX);
	assert_int_equal(run(YES BEGIN USED("1") "exit 1"), CHILD_REPORTED);
	assert_int_equal(child.used, 0);
	assert_int_equal(run(YES BEGIN USED("1") "kill -9 $$"), CHILD_REPORTED);
	assert_int_equal(child.used, 0);
	/* Without a report nothing is known of the session. */
	assert_int_equal(run(BEGIN USED("1")), CHILD_IN_DOUBT);
	assert_int_equal(child.used, 0);
}

static void
it_asks_for_another_connection(void **state)
{
	(void)state;
	assert_int_equal(run("exit 99"), CHILD_AGAIN);
	assert_int_equal(child.report.len, 0);
}

static void
a_death_without_mail_data_is_told(void **state)
{
	(void)state;
	assert_int_equal(run("kill -9 $$"), CHILD_FAILED);
	assert_string_equal(child.text, "qmail-remote-io: killed by signal 9");
	assert_int_equal(run("exit 0"), CHILD_FAILED);
	assert_string_equal(child.text, "qmail-remote-io: exit code 0");
	assert_int_equal(run("printf 'Kyes\\n'; exit 0"), CHILD_FAILED);
	assert_int_equal(run("printf 'r\\0'; exit 99"), CHILD_FAILED);
}

static void
after_mail_data_it_is_in_doubt(void **state)
{
	(void)state;
	assert_int_equal(run("eval \"echo >&$progress\"; kill -9 $$"),
	    CHILD_IN_DOUBT);
	assert_string_equal(child.text, "qmail-remote-io: killed by signal 9");
	assert_int_equal(run("eval \"echo >&$progress\"; exit 99"),
	    CHILD_IN_DOUBT);
	assert_int_equal(run("eval \"echo >&$progress\"; printf 'r\\0Kye'; "
			     "exit 0"),
	    CHILD_IN_DOUBT);
}

static void
it_has_the_descriptors(void **state)
{
	(void)state;
	assert_int_equal(run("eval \"echo x >&$fd\"; exit 99"), CHILD_AGAIN);
	assert_int_equal(run("test -s held && exit 99"), CHILD_AGAIN);
}

static enum child_end
run_program(const char *path)
{
	buf_finish(&child.report);
	child = (struct child){ .program = path,
		.handoff = { .fd = 3,
		    .timeout_s = 10,
		    .address = "192.0.2.1",
		    .envelope = (char **)(uintptr_t)envelope } };
	return child_run(&child, NULL, 0);
}

static void
without_a_child_it_asks_for_another_connection(void **state)
{
	struct rlimit before, few;

	(void)state;
	assert_int_equal(run_program("./missing"), CHILD_AGAIN);

	/* Too few descriptors for the pipes. */
	home_put("program", "#!/bin/sh\nprintf 'Kyes\\n\\0'\n");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	for (few = before, few.rlim_cur = 3; few.rlim_cur < 6; few.rlim_cur++) {
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		assert_int_equal(run_program("./program"), CHILD_AGAIN);
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);

	/* The program must not have the ends of the pipes that are ours. */
	for (unsigned i = 1; i <= 4; i++) {
		failing = i;
		assert_int_equal(run_program("./program"), CHILD_AGAIN);
		assert_int_equal(failing, 0);
	}
	assert_int_equal(run_program("./program"), CHILD_REPORTED);
	buf_finish(&child.report);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_report_counts_however_it_ends),
		cmocka_unit_test(it_says_that_another_message_may_follow),
		cmocka_unit_test(it_asks_for_another_connection),
		cmocka_unit_test(a_death_without_mail_data_is_told),
		cmocka_unit_test(after_mail_data_it_is_in_doubt),
		cmocka_unit_test(it_has_the_descriptors),
		cmocka_unit_test(
		    without_a_child_it_asks_for_another_connection),
	};

	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
