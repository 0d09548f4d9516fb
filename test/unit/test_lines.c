/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "qmail/lines.h"

#include "home.h"
#include "place.h"

static void
put(const char *text, size_t n)
{
	home_write("file", text, n);
}

/* "number:line|" for each. */
static const char *
all(void)
{
	static char text[200];
	struct lines l = { .ncounted = 0 };
	const char *line;
	size_t n;

	assert_int_equal(lines_read(&l, "file"), 0);
	text[0] = '\0';
	while (lines_next(&l, &line, &n)) {
		size_t at = strlen(text);

		snprintf(text + at, sizeof text - at, "%zu:%.*s|",
		    lines_number(&l), (int)n, line);
		check_place("file", &l.version, lines_offset(&l, line), line,
		    n);
	}
	assert_false(lines_next(&l, &line, &n));
	lines_finish(&l);
	assert_null(l.text.data);
	return text;
}

static void
counts_lines(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "", "" },
		{ "\n\n", "" },
		{ "a", "1:a|" },
		{ "a\nb c\n", "1:a|2:b c|" },
		{ "# x\n\n  \n a \t\r\n#\nb", "4:a|6:b|" },
		{ "\xef\xbb\xbf"
		  "a\n# x\n\tb",
		    "1:a|3:b|" },
		{ " # x\n", "1:# x|" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		put(cases[i].text, strlen(cases[i].text));
		if (strcmp(all(), cases[i].want) != 0)
			fail_msg("%s: %s", cases[i].text, all());
	}
	unlink("file");
	assert_string_equal(all(), "");
}

/* Whether it is asked for at each line or not. */
static void
counts_lines_that_were_not_asked_for(void **state)
{
	struct lines l = { .ncounted = 0 };
	const char *line;
	size_t n;

	(void)state;
	put("a\n# x\nb\n\nc\n", 11);
	assert_int_equal(lines_read(&l, "file"), 0);
	for (int i = 0; i < 3; i++)
		assert_true(lines_next(&l, &line, &n));
	assert_int_equal(lines_number(&l), 5);
	assert_int_equal(lines_number(&l), 5);
	lines_finish(&l);
	unlink("file");
}

static void
fails_if_it_cannot_be_read(void **state)
{
	struct lines l = { .ncounted = 0 };

	(void)state;
	assert_int_equal(mkdir("file", 0700), 0);
	assert_int_equal(lines_read(&l, "file"), -1);
	assert_int_equal(errno, EISDIR);
	lines_finish(&l);
	assert_int_equal(rmdir("file"), 0);
	put("", 0);
	assert_int_equal(truncate("file", ((off_t)16 << 20) + 1), 0);
	assert_int_equal(lines_read(&l, "file"), -1);
	assert_int_equal(errno, EFBIG);
	lines_finish(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_lines),
		cmocka_unit_test(counts_lines_that_were_not_asked_for),
		cmocka_unit_test(fails_if_it_cannot_be_read),
	};

	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
