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

#include "qmail/outgoing.h"

#include "home.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const struct table_files files = {
	.text = "outgoingip",
	.index = "outgoingip.cdb",
	.lock = "outgoingip.lock",
	.is_strict = true,
	.has_addresses = true,
};

static void
put(const char *text)
{
	home_put(files.text, text);
}

/* The address, "any", or the detail of a failure. */
static const char *
find(bool is_v4, const char *next_hop)
{
	static char text[1024];
	struct outgoing o = { .is_given = false };
	struct dsn why = { 0 };

	if (outgoing_find(&o, &files, is_v4, next_hop, &why) == -1) {
		assert_string_equal(why.status, "4.3.0");
		assert_string_equal(why.text, "Unable to read control files.");
		snprintf(text, sizeof text, "%s", why.detail);
	} else if (o.is_given)
		ip_format(&o.ip, text);
	else
		strcpy(text, "any");
	outgoing_finish(&o);
	return text;
}

static void
uses_the_matching_line(void **state)
{
	static const struct {
		bool is_v4;
		const char *text;
		const char *next_hop;
		const char *want;
	} cases[] = {
		{ true, "", "a", "any" },
		{ true, "192.0.2.1\n", "a", "192.0.2.1" },
		{ true, "192.0.2.1\r\n", "a", "192.0.2.1" },
		{ true,
		    "\xef\xbb\xbf"
		    "192.0.2.1\n",
		    "a", "192.0.2.1" },
		{ true, "192.0.2.1", "[2001:db8::1]", "192.0.2.1" },
		{ true, "# ours\n\n192.0.2.1 # x\n", "a", "192.0.2.1" },
		{ true, "[192.0.2.1]\n", "a", "192.0.2.1" },
		{ true, "192.0.2.001\n", "a", "192.0.2.1" },
		{ true, "::ffff:192.0.2.1\n", "a", "192.0.2.1" },
		{ true, "127.0.0.1\n", "a", "127.0.0.1" },
		{ true, "169.254.0.1\n", "a", "169.254.0.1" },
		{ true, "223.255.255.255\n", "a", "223.255.255.255" },
		{ true, "0.0.0.0\n", "a", "any" },
		{ true, "192.0.2.1\na:0.0.0.0\n", "a", "any" },
		{ true, "192.0.2.1\na:192.0.2.2\n", "a", "192.0.2.2" },
		{ true, "192.0.2.1\na:192.0.2.2\n", "b", "192.0.2.1" },
		{ true, "192.0.2.1\na:192.0.2.2\n", "a.", "192.0.2.2" },
		{ true, "192.0.2.1\nA.:192.0.2.2\n", "a", "192.0.2.2" },
		{ true, "192.0.2.1\n192.0.2.2\n", "a", "192.0.2.2" },
		{ true, ".a:192.0.2.2\n", "b.a", "192.0.2.2" },
		{ true, ".a:192.0.2.2\n", "a", "any" },
		{ true, "10.0.0.1:192.0.2.2\n", "[10.0.0.1]", "192.0.2.2" },
		{ true, "10.0.0.1:192.0.2.2\n", "10.0.0.001", "192.0.2.2" },
		{ true, "[10.0.0.1]:192.0.2.2\n", "[10.0.0.1]", "any" },
		{ false, "2001:db8::1\n", "a", "2001:db8::1" },
		{ false, "[2001:DB8:0::1]\n", "a", "2001:db8::1" },
		{ false, "[IPv6:2001:db8::1]\n", "a", "2001:db8::1" },
		{ false, "::1\n", "a", "::1" },
		{ false, "::\n", "a", "any" },
		{ false, "0:0:0:0:0:0:0:0\n", "a", "any" },
		{ false, "2001:db8::1\na.b:::\n", "a.b", "any" },
		{ false, "a.b:2001:db8::1 # x\n", "a.b", "2001:db8::1" },
		{ false, "a:[2001:db8::1]\n", "a", "2001:db8::1" },
		{ false, "10.0.0.1:2001:db8::1\n", "10.0.0.1", "2001:db8::1" },
		{ false, "fec0::1\n", "a", "fec0::1" },
		{ false, "fe00::1\n", "a", "fe00::1" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *got;

		put(cases[i].text);
		got = find(cases[i].is_v4, cases[i].next_hop);
		if (strcmp(got, cases[i].want) != 0)
			fail_msg("%s, %s: %s", cases[i].text, cases[i].next_hop,
			    got);
	}
	assert_int_equal(unlink(files.text), 0);
}

/* Only the line that applies matters; it is shown as it is. */
static void
refuses_what_is_no_address(void **state)
{
	static const struct {
		bool is_v4;
		const char *line;
		const char *fault;
	} cases[] = {
		{ true, "192.0.2.300", "not an address" },
		{ true, "192.0.2.1/24", "not an address" },
		{ true, "192.0.2.1,192.0.2.2", "not an address" },
		{ true, "mail.our.example", "not an address" },
		{ true, "eth0", "not an address" },
		{ true, "a 192.0.2.1", "not an address" },
		{ true, ".x 192.0.2.1", "not an address" },
		{ true, "a:", "not an address" },
		{ true, "a: 192.0.2.1", "not an address" },
		{ true, "a:192.0.2.1:25", "not an address" },
		{ true, "192.0.2.1 192.0.2.2", "text behind the address" },
		{ true, "192.0.2.1 a:192.0.2.2", "text behind the address" },
		{ true, "a:192.0.2.1 x", "text behind the address" },
		{ true, "192.0.2.1#x", "not an address" },
		{ true, "2001:db8::1", "not an IPv4 address" },
		{ true, "::", "not an IPv4 address" },
		{ true, "224.0.0.1", "a multicast or broadcast address" },
		{ true, "255.255.255.255", "a multicast or broadcast address" },
		{ false, "192.0.2.1", "not an IPv6 address" },
		{ false, "::ffff:192.0.2.1", "not an IPv6 address" },
		{ false, "0.0.0.0", "not an IPv6 address" },
		{ false, "2001:db8::1/64", "not an address" },
		{ false, "2001:db8:::1", "not an address" },
		{ false, "2001:db8::1 2001:db8::2", "text behind the address" },
		{ false, "fe80::1", "a link-local address" },
		{ false, "febf::1", "a link-local address" },
		{ false, "fe80::1%eth0", "not an address" },
		{ false, "ff02::1", "a multicast or broadcast address" },
		{ false, "a.example:x", NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char text[100], want[200] = "any";
		const char *got;

		snprintf(text, sizeof text, "%s\n", cases[i].line);
		put(text);
		got = find(cases[i].is_v4, "a");
		if (cases[i].fault)
			snprintf(want, sizeof want, "outgoingip: %s: %s",
			    cases[i].fault, cases[i].line);
		if (strcmp(got, want) != 0)
			fail_msg("%s: %s", cases[i].line, got);
	}
	assert_int_equal(unlink(files.text), 0);
}

static void
keeps_the_line(void **state)
{
	static const char *const lines[] = { "192.0.2.1 # x", "a:192.0.2.1",
		":0.0.0.0" };

	(void)state;
	for (size_t i = 0; i < COUNT(lines); i++) {
		struct outgoing o = { .is_given = false };
		struct dsn why = { 0 };

		put(lines[i]);
		assert_int_equal(outgoing_find(&o, &files, true, "a", &why), 0);
		assert_string_equal(buf_text(&o.line), lines[i]);
		outgoing_finish(&o);
	}
	assert_int_equal(unlink(files.text), 0);
}

static void
may_be_missing_but_not_unreadable(void **state)
{
	(void)state;
	assert_string_equal(find(true, "a"), "any");
	assert_int_equal(symlink("/dev/null", files.text), 0);
	assert_string_equal(find(true, "a"), "any");
	assert_int_equal(unlink(files.text), 0);
	assert_int_equal(mkdir(files.text, 0700), 0);
	assert_string_equal(find(true, "a"), "outgoingip: Is a directory");
	assert_int_equal(rmdir(files.text), 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(uses_the_matching_line),
		cmocka_unit_test(refuses_what_is_no_address),
		cmocka_unit_test(keeps_the_line),
		cmocka_unit_test(may_be_missing_but_not_unreadable),
	};

	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
