/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/idn.h"
#include "qmail/concurrencyhosts.h"

#include "home.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const char path[] = "concurrencyhosts";

static void
read_text(struct concurrencyhosts *c, const char *text)
{
	struct dsn why = { 0 };

	home_put(path, text);
	assert_int_equal(concurrencyhosts_read(c, path, &why), 0);
}

/* "key:n" of the line for a host, or "none". */
static const char *
find(const char *text, const char *host)
{
	static char found[2048];
	const struct concurrencyhosts_line *line;
	struct concurrencyhosts c;

	read_text(&c, text);
	line = concurrencyhosts_find(&c, host);
	snprintf(found, sizeof found, "none");
	if (line != NULL)
		snprintf(found, sizeof found, "%s:%lu", line->key, line->n);
	concurrencyhosts_finish(&c);
	assert_null(c.line);
	return found;
}

struct lookup {
	const char *text;
	const char *host;
	const char *want;
};

static void
find_all(const struct lookup *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *got = find(cases[i].text, cases[i].host);

		if (strcmp(got, cases[i].want) != 0)
			fail_msg("%s, %s: %s", cases[i].text, cases[i].host,
			    got);
	}
}

static void
finds_the_longest_key(void **state)
{
	static const struct lookup cases[] = {
		{ "", "mx.example", "none" },
		{ "mx.example:3\n", "mx.example", "mx.example:3" },
		{ "mx.example:3", "mx.example", "mx.example:3" },
		{ "mx.example:3\n", "a.mx.example", "none" },
		{ "mx.example:3\n", "xmx.example", "none" },
		{ "mx.example:3\n", "example", "none" },
		{ "mx.example:3\n", "mx.example.com", "none" },
		{ ".example:3\n", "mx.example", ".example:3" },
		{ ".example:3\n", "a.mx.example", ".example:3" },
		{ ".example:3\n", "example", "none" },
		{ ".example:3\n", "mxexample", "none" },
		{ ".example:3\n.mx.example:4\n", "a.mx.example",
		    ".mx.example:4" },
		{ ".mx.example:4\n.example:3\n", "a.mx.example",
		    ".mx.example:4" },
		{ ".mx.example:4\n.example:3\n", "mx.example", ".example:3" },
		{ "mx.example:5\n.example:3\n", "mx.example", "mx.example:5" },
		{ ".example:3\nmx.example:5\n", "mx.example", "mx.example:5" },
		/* The last of the same. */
		{ ".example:3\n.example:4\n", "mx.example", ".example:4" },
		{ "mx.example:3\nMX.Example.:4\n", "mx.example",
		    "mx.example:4" },
		{ "mx.example:4\nmx.example:0\n", "mx.example",
		    "mx.example:4" },
	};

	(void)state;
	find_all(cases, COUNT(cases));
}

static void
does_not_mind_how_a_name_is_written(void **state)
{
	static const struct lookup cases[] = {
		{ "MX.Example:3\n", "mx.example", "mx.example:3" },
		{ "mx.example:3\n", "MX.EXAMPLE", "mx.example:3" },
		{ "mx.example.:3\n", "mx.example", "mx.example:3" },
		{ "mx.example:3\n", "mx.example.", "mx.example:3" },
		{ ".Example.:3\n", "Mx.Example.", ".example:3" },
		{ "a-b_c.1:3\n", "a-b_c.1", "a-b_c.1:3" },
		{ "192.0.2.1:3\n", "192.0.2.1", "192.0.2.1:3" },
		{ "[192.0.2.1]:3\n", "192.0.2.1", "192.0.2.1:3" },
		{ "192.0.2.1:3\n", "[192.0.2.1]", "192.0.2.1:3" },
		{ "[IPv6:2001:DB8:0::1]:3\n", "2001:db8::1", "2001:db8::1:3" },
		{ "2001:db8::1:3\n", "[2001:db8::1]", "2001:db8::1:3" },
		{ "2001:DB8:0::1:3\n", "2001:db8::1", "2001:db8::1:3" },
		{ "192.0.2.1:3\n", "192.0.2.10", "none" },
		{ ".2.1:3\n", "192.0.2.1", ".2.1:3" },
		{ "mx.example:3\n", "", "none" },
		{ "mx.example:3\n", ".", "none" },
	};

	(void)state;
	find_all(cases, COUNT(cases));
	if (!idn_is_supported())
		return;
	assert_string_equal(find("mx.B\xc3\xbc"
				 "cher.example:3\n",
				"mx.xn--bcher-kva.example"),
	    "mx.xn--bcher-kva.example:3");
	assert_string_equal(find(".b\xc3\xbc"
				 "cher.example:3\n",
				"mx.xn--bcher-kva.example"),
	    ".xn--bcher-kva.example:3");
}

static void
reads_as_qmail_reads_lists(void **state)
{
	static const struct lookup cases[] = {
		{ "\xef\xbb\xbf"
		  "a:3\n",
		    "a", "a:3" },
		{ "#a:3\n\n \n\t# a:3\n", "a", "none" },
		{ "#b:3\n  a:3 \t\r\n", "a", "a:3" },
		{ "a:3 # see: b:4\n", "a", "a:3" },
		{ "a:3\t#\n", "a", "a:3" },
		{ "a:003\n", "a", "a:3" },
		{ "a:1\n", "a", "a:1" },
		{ "a:100000\n", "a", "a:100000" },
		{ "a:100001\n", "a", "a:100000" },
		{ "a:99999999999999999999999\n", "a", "a:100000" },
		{ "wait:3\n", "wait", "wait:3" },
	};

	(void)state;
	find_all(cases, COUNT(cases));
}

/* Each behind a line that is right, and before one. */
static const char *const nonsense[] = {
	"a",
	"a:",
	"a: 5",
	"a :5",
	"a:5x",
	"a:5#x",
	"a:5 x",
	"a:0",
	"a:-1",
	"a:+1",
	"a:0x5",
	"a:1.5",
	"a:b",
	"a:b:5",
	":5",
	".:5",
	"..:5",
	"[]:5",
	"[a]:5",
	"*.a:5",
	"a/24:5",
	"a\x01:5",
	"a\x7f:5",
	"\xff:5",
	"a 5",
	"wait",
	"wait x",
	"wait 5x",
	"wait 5 6",
	"wait -1",
	"Wait 5",
	"waiting 5",
	"wai 5",
};

static void
limits_nothing_by_nonsense(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(nonsense); i++) {
		struct concurrencyhosts c;
		char text[100];

		snprintf(text, sizeof text, "x:1\n%s\ny:2\n", nonsense[i]);
		read_text(&c, text);
		if (c.nline != 2 || c.wait_s != CONCURRENCYHOSTS_WAIT)
			fail_msg("%s", nonsense[i]);
		assert_string_equal(c.line[0].key, "x");
		assert_string_equal(c.line[1].key, "y");
		assert_int_equal(c.line[1].n, 2);
		concurrencyhosts_finish(&c);
	}
}

static void
reads_how_long_to_wait(void **state)
{
	static const struct {
		const char *text;
		unsigned long seconds;
	} cases[] = {
		{ "", 10 },
		{ "a:3\n", 10 },
		{ "wait 5\n", 5 },
		{ "a:3\nwait 5", 5 },
		{ " wait \t 5 # x\r\na:3\n", 5 },
		{ "wait 0\n", 0 },
		{ "wait 3600\n", 3600 },
		{ "wait 3601\n", 3600 },
		{ "wait 5\nwait 6\n", 6 },
		{ "wait 5\nwait x\n", 5 },
		{ "wait:5\n", 10 },
		{ "# wait 5\n", 10 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct concurrencyhosts c;

		read_text(&c, cases[i].text);
		if (c.wait_s != cases[i].seconds)
			fail_msg("%s: %lu", cases[i].text, c.wait_s);
		concurrencyhosts_finish(&c);
	}
}

static void
may_be_missing_but_not_unreadable(void **state)
{
	struct concurrencyhosts c = { 0 };
	struct dsn why = { 0 };

	(void)state;
	assert_null(concurrencyhosts_find(&c, "a"));
	unlink(path);
	assert_int_equal(concurrencyhosts_read(&c, path, &why), 0);
	assert_int_equal(c.wait_s, CONCURRENCYHOSTS_WAIT);
	assert_null(concurrencyhosts_find(&c, "a"));
	assert_int_equal(symlink("/dev/null", path), 0);
	assert_int_equal(concurrencyhosts_read(&c, path, &why), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(concurrencyhosts_read(&c, path, &why), -1);
	assert_string_equal(why.status, "4.3.0");
	assert_string_equal(why.detail, "concurrencyhosts: Is a directory");
	assert_int_equal(c.nline, 0);
	assert_int_equal(rmdir(path), 0);
}

static void
refuses_a_huge_file(void **state)
{
	struct concurrencyhosts c = { 0 };
	struct dsn why = { 0 };

	(void)state;
	home_put(path, "a:3\n");
	assert_int_equal(truncate(path, (1 << 20) + 1), 0);
	assert_int_equal(concurrencyhosts_read(&c, path, &why), -1);
	assert_string_equal(why.detail, "concurrencyhosts: File too large");
	assert_int_equal(c.nline, 0);
	assert_int_equal(truncate(path, 1 << 20), 0);
	assert_int_equal(concurrencyhosts_read(&c, path, &why), 0);
	assert_int_equal(c.nline, 1);
	concurrencyhosts_finish(&c);
}

static void
collect(void *data, enum concurrencyhosts_kind kind, const char *line, size_t n,
    unsigned long number)
{
	static const char letter[] = {
		[CONCURRENCYHOSTS_LIMIT] = 'l',
		[CONCURRENCYHOSTS_TIME] = 't',
		[CONCURRENCYHOSTS_NONSENSE] = 'x',
	};

	buf_printf(data, "<%lu%c%.*s>", number, letter[kind], (int)n, line);
}

static const char *
walk(struct buf *seen, const char *s)
{
	struct buf text = { 0 };

	buf_puts(&text, s);
	buf_cut(seen, 0);
	concurrencyhosts_walk(&text, collect, seen);
	buf_finish(&text);
	return buf_text(seen);
}

static void
goes_through_all_lines(void **state)
{
	struct buf seen = { 0 };
	char text[100], want[100];

	(void)state;
	assert_string_equal(walk(&seen, ""), "");
	assert_string_equal(walk(&seen, "# x\n\n \n"), "");
	assert_string_equal(walk(&seen,
				"\xef\xbb\xbf"
				"a:3\n # x\n\n  .b:4 # y\r\nc\nwait 5\nd:1"),
	    "<1la:3><4l.b:4 # y><5xc><6twait 5><7ld:1>");
	for (size_t i = 0; i < COUNT(nonsense); i++) {
		snprintf(text, sizeof text, "%s\n", nonsense[i]);
		snprintf(want, sizeof want, "<1x%s>", nonsense[i]);
		assert_string_equal(walk(&seen, text), want);
	}
	buf_finish(&seen);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_longest_key),
		cmocka_unit_test(does_not_mind_how_a_name_is_written),
		cmocka_unit_test(reads_as_qmail_reads_lists),
		cmocka_unit_test(limits_nothing_by_nonsense),
		cmocka_unit_test(reads_how_long_to_wait),
		cmocka_unit_test(may_be_missing_but_not_unreadable),
		cmocka_unit_test(refuses_a_huge_file),
		cmocka_unit_test(goes_through_all_lines),
	};

	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
