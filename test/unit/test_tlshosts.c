/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qmail/tlshosts.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define PEMS "control/tlshosts/"
#define EXCEPTIONS "control/notlshosts/"

static char home[] = "/tmp/test_tlshosts.XXXXXX";

static int
enter_home(void **state)
{
	(void)state;
	return !mkdtemp(home) || chdir(home) == -1 ||
	       mkdir("control", 0700) == -1;
}

static int
leave_home(void **state)
{
	(void)state;
	return rmdir("control") == -1 || chdir("/") == -1 || rmdir(home) == -1;
}

static int
make_directories(void **state)
{
	(void)state;
	return mkdir(PEMS, 0700) == -1 || mkdir(EXCEPTIONS, 0700) == -1;
}

static int
remove_directories(void **state)
{
	(void)state;
	unlink(PEMS "exhaustivelist");
	return rmdir(PEMS) == -1 || rmdir(EXCEPTIONS) == -1;
}

static void
put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	size_t n = strlen(text);

	assert_true(fd != -1);
	assert_int_equal(write(fd, text, n), n);
	assert_int_equal(close(fd), 0);
}

/* What is found, with the path of a .pem; or the detail of a failure. */
static const char *
find_with(const struct tlshosts *t, const char *name)
{
	static const char *const words[] = { "absent", "clear", "encrypt",
		"verify " };
	static char text[1024];
	struct buf pem = { 0 };
	enum tlshosts_kind kind = TLSHOSTS_VERIFY;
	struct dsn why = { 0 };

	if (tlshosts_find(t, name, &kind, &pem, &why) == -1) {
		assert_string_equal(why.status, "4.3.0");
		assert_string_equal(why.text, "Unable to read control files.");
		snprintf(text, sizeof text, "%s", why.detail);
	} else
		snprintf(text, sizeof text, "%s%s", words[kind],
		    buf_text(&pem));
	buf_finish(&pem);
	return text;
}

static const char *
find(const char *name)
{
	struct tlshosts t = { .has_pems = false };
	struct dsn why = { 0 };

	assert_int_equal(tlshosts_inspect(&t, &why), 0);
	return find_with(&t, name);
}

static bool
is_exhaustive(void)
{
	struct tlshosts t = { .is_exhaustive = true };
	struct dsn why = { 0 };

	assert_int_equal(tlshosts_inspect(&t, &why), 0);
	return t.is_exhaustive;
}

static void
finds_nothing_without_directories(void **state)
{
	(void)state;
	assert_string_equal(find("mx.example"), "absent");
	assert_false(is_exhaustive());
	assert_int_equal(mkdir(EXCEPTIONS, 0700), 0);
	put(EXCEPTIONS "mx.example", "");
	assert_string_equal(find("mx.example"), "clear");
	assert_string_equal(find("MX.example."), "clear");
	assert_string_equal(find("mx2.example"), "absent");
	assert_int_equal(unlink(EXCEPTIONS "mx.example"), 0);
	assert_int_equal(rmdir(EXCEPTIONS), 0);
	assert_int_equal(mkdir(PEMS, 0700), 0);
	put(PEMS "mx.example.pem", "x");
	assert_string_equal(find("mx.example"),
	    "verify " PEMS "mx.example.pem");
	assert_string_equal(find("mx.example."),
	    "verify " PEMS "mx.example.pem");
	assert_string_equal(find("mx2.example"), "absent");
	assert_int_equal(unlink(PEMS "mx.example.pem"), 0);
	assert_int_equal(rmdir(PEMS), 0);
}

static void
prefers_the_pem(void **state)
{
	(void)state;
	put(EXCEPTIONS "mx.example", "");
	assert_string_equal(find("mx.example"), "clear");
	put(PEMS "mx.example.pem", "");
	assert_string_equal(find("mx.example"), "encrypt");
	put(PEMS "mx.example.pem", "\n");
	assert_string_equal(find("mx.example"),
	    "verify " PEMS "mx.example.pem");
	assert_int_equal(unlink(PEMS "mx.example.pem"), 0);
	assert_int_equal(symlink("/dev/null", PEMS "mx.example.pem"), 0);
	assert_string_equal(find("mx.example"), "encrypt");
	assert_int_equal(unlink(PEMS "mx.example.pem"), 0);
	assert_int_equal(unlink(EXCEPTIONS "mx.example"), 0);
	assert_string_equal(find("mx.example"), "absent");
}

static void
sees_the_exhaustive_list(void **state)
{
	(void)state;
	assert_false(is_exhaustive());
	put(PEMS "exhaustivelist", "");
	assert_true(is_exhaustive());
	assert_string_equal(find("exhaustivelist"), "absent");
}

/* As the name is, or in lower case; a .pem in either beats notlshosts. */
static void
tries_both_spellings(void **state)
{
	(void)state;
	put(EXCEPTIONS "MX.Example", "");
	assert_string_equal(find("MX.Example"), "clear");
	assert_string_equal(find("mx.example"), "absent");
	assert_string_equal(find("MX.EXAMPLE"), "absent");
	put(PEMS "mx.example.pem", "");
	assert_string_equal(find("MX.Example"), "encrypt");
	assert_string_equal(find("MX.EXAMPLE"), "encrypt");
	put(PEMS "MX.Example.pem", "x");
	assert_string_equal(find("MX.Example"),
	    "verify " PEMS "MX.Example.pem");
	assert_int_equal(unlink(PEMS "MX.Example.pem"), 0);
	assert_int_equal(unlink(PEMS "mx.example.pem"), 0);
	assert_int_equal(unlink(EXCEPTIONS "MX.Example"), 0);
	put(EXCEPTIONS "mx.example", "");
	assert_string_equal(find("MX.Example"), "clear");
	assert_int_equal(unlink(EXCEPTIONS "mx.example"), 0);
}

/* Such a file is there, or would be if the name were used. */
static void
makes_no_path_of_other_names(void **state)
{
	static const char *const names[] = { "", ".", "..", "../x", "a/b",
		".hidden", "a b", "a\nb", "a$b", "a\xc3\xa9", "a:b", "a*",
		"a\\b", "/etc/passwd", "..%2fx", "a~", "[192.0.2.1]" };
	static const struct tlshosts all = { true, true, false };

	(void)state;
	put("control/x", "");
	put("control/x.pem", "");
	put(EXCEPTIONS ".hidden", "");
	put(EXCEPTIONS "a b", "");
	for (size_t i = 0; i < COUNT(names); i++)
		if (strcmp(find_with(&all, names[i]), "absent") != 0)
			fail_msg("%s", names[i]);
	assert_int_equal(unlink("control/x"), 0);
	assert_int_equal(unlink("control/x.pem"), 0);
	assert_int_equal(unlink(EXCEPTIONS ".hidden"), 0);
	assert_int_equal(unlink(EXCEPTIONS "a b"), 0);
}

static void
limits_the_length_of_a_name(void **state)
{
	char name[253] = { 0 }, path[512];

	(void)state;
	memset(name, 'a', 251);
	snprintf(path, sizeof path, PEMS "%s.pem", name);
	put(path, "");
	assert_string_equal(find(name), "encrypt");
	assert_int_equal(unlink(path), 0);
	name[251] = 'a';
	snprintf(path, sizeof path, EXCEPTIONS "%s", name);
	put(path, "");
	assert_string_equal(find(name), "absent");
	assert_int_equal(unlink(path), 0);
}

/* What is there but cannot be used was meant to be a policy. */
static void
refuses_what_it_cannot_read(void **state)
{
	static const struct tlshosts all = { true, true, false };
	struct tlshosts t = { .has_pems = false };
	struct dsn why = { 0 };

	(void)state;
	assert_int_equal(mkdir(PEMS "a.pem", 0700), 0);
	assert_string_equal(find("a"), PEMS "a.pem: Is a directory");
	assert_int_equal(rmdir(PEMS "a.pem"), 0);
	assert_int_equal(mkdir(PEMS "A.pem", 0700), 0);
	assert_string_equal(find("A"), PEMS "A.pem: Is a directory");
	assert_int_equal(rmdir(PEMS "A.pem"), 0);
	assert_int_equal(mkfifo(PEMS "a.pem", 0600), 0);
	assert_string_equal(find("a"), PEMS "a.pem: Invalid argument");
	assert_int_equal(unlink(PEMS "a.pem"), 0);
	assert_int_equal(symlink("b", EXCEPTIONS "b"), 0);
	assert_string_equal(find("b"),
	    EXCEPTIONS "b: Too many levels of symbolic links");
	assert_string_equal(find("B"),
	    EXCEPTIONS "b: Too many levels of symbolic links");
	assert_int_equal(symlink("B", EXCEPTIONS "B"), 0);
	assert_string_equal(find("B"),
	    EXCEPTIONS "B: Too many levels of symbolic links");
	assert_int_equal(unlink(EXCEPTIONS "B"), 0);
	assert_int_equal(unlink(EXCEPTIONS "b"), 0);

	/* Files in place of the directories. */
	assert_int_equal(remove_directories(NULL), 0);
	put("control/tlshosts", "");
	assert_int_equal(tlshosts_inspect(&t, &why), -1);
	assert_string_equal(why.status, "4.3.0");
	assert_string_equal(why.detail,
	    "control/tlshosts/exhaustivelist: Not a directory");
	assert_string_equal(find_with(&all, "a"),
	    PEMS "a.pem: Not a directory");
	assert_int_equal(unlink("control/tlshosts"), 0);
	assert_int_equal(symlink("tlshosts", "control/tlshosts"), 0);
	assert_int_equal(tlshosts_inspect(&t, &why), -1);
	assert_int_equal(unlink("control/tlshosts"), 0);
	assert_int_equal(symlink("notlshosts", "control/notlshosts"), 0);
	assert_int_equal(tlshosts_inspect(&t, &why), -1);
	assert_string_equal(why.detail,
	    "control/notlshosts: Too many levels of symbolic links");
	assert_int_equal(unlink("control/notlshosts"), 0);
	assert_int_equal(make_directories(NULL), 0);
}

#define WITH_DIRECTORIES(test) \
	cmocka_unit_test_setup_teardown(test, make_directories, \
	    remove_directories)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_nothing_without_directories),
		WITH_DIRECTORIES(prefers_the_pem),
		WITH_DIRECTORIES(sees_the_exhaustive_list),
		WITH_DIRECTORIES(tries_both_spellings),
		WITH_DIRECTORIES(makes_no_path_of_other_names),
		WITH_DIRECTORIES(limits_the_length_of_a_name),
		WITH_DIRECTORIES(refuses_what_it_cannot_read),
	};

	return cmocka_run_group_tests(tests, enter_home, leave_home);
}
