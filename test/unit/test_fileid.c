/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "io/fileid.h"

#include "home.h"

static const char *
format(const struct fileid *id)
{
	static struct buf b;

	buf_cut(&b, 0);
	fileid_format(id, &b);
	return buf_text(&b);
}

static void
is_one_word(void **state)
{
	const struct fileid id = {
		.device = 1,
		.inode = 2,
		.size = 3,
		.written = { 4, 5 },
		.changed = { 6, 700000000 },
	};
	const struct fileid greatest = {
		.device = UINT64_MAX,
		.inode = (ino_t)-1,
		.size = 0,
		.written = { -1, 999999999 },
	};
	char want[100];

	(void)state;
	assert_string_equal(format(&id), "1-2-3-4.000000005-6.700000000");
	snprintf(want, sizeof want, "%ju-%ju-0--1.999999999-0.000000000",
	    (uintmax_t)UINT64_MAX, (uintmax_t)(ino_t)-1);
	assert_string_equal(format(&greatest), want);
}

static void
is_of_the_file(void **state)
{
	struct fileid id;
	struct stat st;
	char want[100];

	(void)state;
	home_put("a", "12345");
	assert_int_equal(symlink("a", "b"), 0);
	assert_int_equal(stat("a", &st), 0);
	snprintf(want, sizeof want, "%ju-%ju-5-%jd.%09ld-%jd.%09ld",
	    (uintmax_t)st.st_dev, (uintmax_t)st.st_ino,
	    (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
	    (intmax_t)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
	assert_int_equal(fileid_read(&id, "a"), 0);
	assert_string_equal(format(&id), want);
	assert_int_equal(fileid_read(&id, "b"), 0);
	assert_string_equal(format(&id), want);
	id = fileid_of(&st);
	assert_string_equal(format(&id), want);
}

static void
needs_a_file(void **state)
{
	struct fileid id;

	(void)state;
	assert_int_equal(fileid_read(&id, "missing"), -1);
	assert_int_equal(errno, ENOENT);
}

/* Each member counts. */
static void
equals_only_itself(void **state)
{
	const struct fileid id = { 1, 2, 3, { 4, 5 }, { 6, 7 } };
	const struct fileid others[] = {
		{ 9, 2, 3, { 4, 5 }, { 6, 7 } },
		{ 1, 9, 3, { 4, 5 }, { 6, 7 } },
		{ 1, 2, 9, { 4, 5 }, { 6, 7 } },
		{ 1, 2, 3, { 9, 5 }, { 6, 7 } },
		{ 1, 2, 3, { 4, 9 }, { 6, 7 } },
		{ 1, 2, 3, { 4, 5 }, { 9, 7 } },
		{ 1, 2, 3, { 4, 5 }, { 6, 9 } },
	};

	(void)state;
	assert_true(fileid_is_equal(&id, &id));
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		assert_false(fileid_is_equal(&id, &others[i]));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_one_word),
		cmocka_unit_test(is_of_the_file),
		cmocka_unit_test(needs_a_file),
		cmocka_unit_test(equals_only_itself),
	};

	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
