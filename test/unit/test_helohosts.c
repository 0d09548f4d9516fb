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

#include "qmail/helohosts.h"

#include "home.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const char path[] = "helohosts";
static void
put(const char *text)
{
	home_put(path, text);
}

/* The name for an address, "none", or the detail of a failure. */
static const char *
find(const char *address)
{
	static char text[1024];
	struct helohosts h = { .n = 0 };
	struct dsn why = { 0 };
	const char *name;
	struct ip ip;

	assert_true(ip_parse(address, strlen(address), &ip));
	if (helohosts_read(&h, path, &why) == -1) {
		assert_string_equal(why.status, "4.3.0");
		assert_string_equal(why.text, "Unable to read control files.");
		snprintf(text, sizeof text, "%s", why.detail);
	} else {
		name = helohosts_find(&h, &ip);
		snprintf(text, sizeof text, "%s", name ? name : "none");
	}
	helohosts_finish(&h);
	return text;
}

static void
finds_the_name(void **state)
{
	static const struct {
		const char *text;
		const char *address;
		const char *want;
	} cases[] = {
		{ "", "192.0.2.1", "none" },
		{ "192.0.2.1:a.example\n", "192.0.2.1", "a.example" },
		{ "192.0.2.1:a.example\n", "192.0.2.2", "none" },
		{ "192.0.2.1:a.example\r\n", "192.0.2.1", "a.example" },
		{ "192.0.2.1:a.example", "192.0.2.1", "a.example" },
		{ "\xef\xbb\xbf"
		  "192.0.2.1:a\n",
		    "192.0.2.1", "a" },
		{ " 192.0.2.1:a # x\n", "192.0.2.1", "a" },
		{ "# x\n  # y\n\n192.0.2.1:a\t#\n", "192.0.2.1", "a" },
		{ "[192.0.2.1]:a\n", "192.0.2.1", "a" },
		{ "::ffff:192.0.2.1:a\n", "192.0.2.1", "a" },
		{ "192.0.2.001:a\n", "192.0.2.1", "a" },
		{ "192.0.2.1:a\n192.0.2.2:b\n", "192.0.2.2", "b" },
		{ "192.0.2.1:a\n192.0.2.1:b\n", "192.0.2.1", "b" },
		{ "2.1:a\n", "192.0.2.1", "helohosts: not an address: 2.1:a" },
		/* IPv6. */
		{ "[2001:db8::1]:a\n", "2001:db8::1", "a" },
		{ "[IPv6:2001:DB8:0::1]:a\n", "2001:db8::1", "a" },
		{ "2001:db8::1:a.example\n", "2001:db8::1", "a.example" },
		{ "2001:db8::1:beef\n", "2001:db8::1", "beef" },
		{ "2001:db8::1:beef\n", "2001:db8::1:beef", "none" },
		{ "::1:a\n", "::1", "a" },
		/* Names that are address literals. */
		{ "192.0.2.1:[192.0.2.1]\n", "192.0.2.1", "[192.0.2.1]" },
		{ "192.0.2.1:[IPv6:2001:db8::1]\n", "192.0.2.1",
		    "[IPv6:2001:db8::1]" },
		{ "[2001:db8::1]:[IPv6:2001:db8::1]\n", "2001:db8::1",
		    "[IPv6:2001:db8::1]" },
		{ "2001:db8::1:[IPv6:2001:db8::1]\n", "2001:db8::1",
		    "[IPv6:2001:db8::1]" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *got;

		put(cases[i].text);
		got = find(cases[i].address);
		if (strcmp(got, cases[i].want) != 0)
			fail_msg("%s, %s: %s", cases[i].text, cases[i].address,
			    got);
	}
	assert_int_equal(unlink(path), 0);
}

/* Whichever address it is about; mail waits until the line is right. */
static void
refuses_a_line_with_anything_else(void **state)
{
	static const struct {
		const char *line;
		const char *fault;
	} cases[] = {
		{ "192.0.2.2", "no colon behind the address" },
		{ "a.example", "no colon behind the address" },
		{ "[2001:db8::1]", "no colon behind the address" },
		{ "192.0.2.2 a.example", "text behind the name" },
		{ "192.0.2.2: a.example", "text behind the name" },
		{ "192.0.2.2:a b", "text behind the name" },
		{ "192.0.2.2:", "not a host name" },
		{ ":a.example", "not an address" },
		{ "2001:db8::1", "not an address" },
		{ "2001:db8::1:", "not a host name" },
		{ "192.0.2.0/24:a", "not an address" },
		{ "a.example:192.0.2.2", "not an address" },
		{ "192.0.2.2:\x01", "not a host name" },
		{ "192.0.2.2:b\xc3\xbc", "not a host name" },
		{ "fe80::1%eth0:a", "not an address" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char text[100], want[200];
		const char *got;

		snprintf(text, sizeof text, "192.0.2.1:a\n%s\n192.0.2.3:b\n",
		    cases[i].line);
		put(text);
		got = find("192.0.2.1");
		snprintf(want, sizeof want, "helohosts: %s: %s", cases[i].fault,
		    cases[i].line);
		for (char *c = want; *c != '\0'; c++)
			if (*c < ' ' || *c > '~')
				*c = '?';
		if (strcmp(got, want) != 0)
			fail_msg("%s: %s", cases[i].line, got);
	}
	assert_int_equal(unlink(path), 0);
}

static void
limits_the_length_of_a_name(void **state)
{
	char text[300] = "192.0.2.1:";

	(void)state;
	memset(text + strlen(text), 'x', 255);
	put(text);
	assert_string_equal(find("192.0.2.1"), text + strlen("192.0.2.1:"));
	strcat(text, "x");
	put(text);
	assert_non_null(strstr(find("192.0.2.1"), "not a host name: "));
	assert_int_equal(unlink(path), 0);
}

static void
may_be_missing_but_not_unreadable(void **state)
{
	(void)state;
	assert_string_equal(find("192.0.2.1"), "none");
	assert_int_equal(symlink("/dev/null", path), 0);
	assert_string_equal(find("192.0.2.1"), "none");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_string_equal(find("192.0.2.1"), "helohosts: Is a directory");
	assert_int_equal(rmdir(path), 0);
}

static void
collect(void *data, const struct ip *ip, const char *name)
{
	char text[IP_TEXT_SIZE];

	buf_printf(data, "<%s|%s>", ip_format(ip, text), name);
}

static void
goes_through_all_lines(void **state)
{
	struct helohosts h = { .n = 0 };
	struct buf seen = { 0 };
	struct dsn why = { 0 };

	(void)state;
	put("192.0.2.1:a\n::1:b\n192.0.2.1:c\n");
	assert_int_equal(helohosts_read(&h, path, &why), 0);
	helohosts_walk(&h, collect, &seen);
	assert_string_equal(buf_text(&seen),
	    "<192.0.2.1|a><::1|b><192.0.2.1|c>");
	buf_finish(&seen);
	helohosts_finish(&h);
	assert_int_equal(unlink(path), 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_name),
		cmocka_unit_test(refuses_a_line_with_anything_else),
		cmocka_unit_test(limits_the_length_of_a_name),
		cmocka_unit_test(may_be_missing_but_not_unreadable),
		cmocka_unit_test(goes_through_all_lines),
	};

	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
