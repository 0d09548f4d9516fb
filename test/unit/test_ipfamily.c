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

#include "qmail/ipfamily.h"

#include "home.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define REFUSED (-1)

static const struct table_files files = {
	.text = "ipfamily",
	.index = "ipfamily.cdb",
	.lock = "ipfamily.lock",
};

static void
put(const char *text)
{
	home_put(files.text, text);
}

static void
uses_the_matching_line(void **state)
{
	static const struct {
		const char *text;
		const char *next_hop;
		int family;
	} cases[] = {
		{ "", "a", IPFAMILY_64 },
		{ "a:4\n", "a", IPFAMILY_4 },
		{ "a:6\n", "a", IPFAMILY_6 },
		{ "a:46\n", "a", IPFAMILY_46 },
		{ "a:64\n", "a", IPFAMILY_64 },
		{ "a:4\r\n", "a", IPFAMILY_4 },
		{ "a:4 \t\n", "a", IPFAMILY_4 },
		{ "a:4 # no reverse name\n", "a", IPFAMILY_4 },
		{ "a:4\t#\n", "a", IPFAMILY_4 },
		{ "b:4\n", "a", IPFAMILY_64 },
		{ ":4\na:6\n", "a", IPFAMILY_6 },
		{ ":4\n.example:46\n", "mx.example", IPFAMILY_46 },
		{ "192.0.2.1:6\n", "192.0.2.1", IPFAMILY_6 },
		{ "192.0.2.1:6\n", "[192.0.2.1]", IPFAMILY_6 },
		{ ":6\n", "[IPv6:2001:db8::1]", IPFAMILY_6 },
		{ "[192.0.2.1]:6\n", "[192.0.2.1]", IPFAMILY_64 },
		{ ":6\n", "[]", IPFAMILY_6 },
		{ ":6\n", "[", IPFAMILY_6 },
		{ ":6\n", "", IPFAMILY_6 },
		{ "a:\n", "a", REFUSED },
		{ "a\n", "a", IPFAMILY_64 },
		{ "a: 4\n", "a", REFUSED },
		{ "a:5\n", "a", REFUSED },
		{ "a:44\n", "a", REFUSED },
		{ "a:466\n", "a", REFUSED },
		{ "a:4#x\n", "a", REFUSED },
		{ "a:4 x\n", "a", REFUSED },
		{ "a:ipv4\n", "a", REFUSED },
		{ "a:4:6\n", "a", REFUSED },
		{ "b:nonsense\na:4\n", "a", IPFAMILY_4 },
		{ "a:nonsense\na:4\n", "a", IPFAMILY_4 },
		{ "a:4\na:nonsense\n", "a", REFUSED },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct dsn why = { 0 };
		enum ipfamily family = IPFAMILY_4;
		int result;

		put(cases[i].text);
		result =
		    ipfamily_find(&family, &files, cases[i].next_hop, &why);
		if (result == 0)
			result = (int)family;
		if (result != cases[i].family)
			fail_msg("%s, %s: %d", cases[i].text, cases[i].next_hop,
			    result);
		if (result != REFUSED)
			continue;
		assert_string_equal(why.status, "4.3.0");
		assert_string_equal(why.text, "Unable to read control files.");
	}
	assert_int_equal(unlink("ipfamily"), 0);
}

static void
shows_the_line(void **state)
{
	struct dsn why = { 0 };
	enum ipfamily family;

	(void)state;
	put(":4\n.example:ipv4 # x\r\n");
	assert_int_equal(ipfamily_find(&family, &files, "a.example", &why), -1);
	assert_string_equal(why.detail,
	    "ipfamily: not an address family: .example:ipv4 # x");
	assert_int_equal(unlink("ipfamily"), 0);
}

static void
may_be_missing_but_not_unreadable(void **state)
{
	struct dsn why = { 0 };
	enum ipfamily family = IPFAMILY_4;

	(void)state;
	assert_int_equal(ipfamily_find(&family, &files, "a", &why), 0);
	assert_int_equal(family, IPFAMILY_64);
	assert_int_equal(symlink("/dev/null", "ipfamily"), 0);
	assert_int_equal(ipfamily_find(&family, &files, "a", &why), 0);
	assert_int_equal(unlink("ipfamily"), 0);
	assert_int_equal(mkdir("ipfamily", 0700), 0);
	assert_int_equal(ipfamily_find(&family, &files, "a", &why), -1);
	assert_string_equal(why.detail, "ipfamily: Is a directory");
	assert_int_equal(rmdir("ipfamily"), 0);
}

static void
filters_and_orders_by_family(void **state)
{
	static const struct {
		enum ipfamily family;
		bool v4, v6, v4_first;
	} cases[] = {
		{ IPFAMILY_64, true, true, false },
		{ IPFAMILY_46, true, true, true },
		{ IPFAMILY_6, false, true, false },
		{ IPFAMILY_4, true, false, true },
	};
	struct ip v4, v6;

	(void)state;
	assert_true(ip_parse("192.0.2.1", 9, &v4));
	assert_true(ip_parse("2001:db8::1", 11, &v6));
	for (size_t i = 0; i < COUNT(cases); i++) {
		enum ipfamily family = cases[i].family;

		assert_int_equal(ipfamily_has(family, &v4), cases[i].v4);
		assert_int_equal(ipfamily_has(family, &v6), cases[i].v6);
		assert_int_equal(ipfamily_prefers_v4(family),
		    cases[i].v4_first);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uses_the_matching_line),
		cmocka_unit_test(shows_the_line),
		cmocka_unit_test(may_be_missing_but_not_unreadable),
		cmocka_unit_test(filters_and_orders_by_family),
	};

	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
