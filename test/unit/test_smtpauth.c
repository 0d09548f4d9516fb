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

#include "qmail/smtpauth.h"

#include "home.h"
#include "place.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void
put(const char *text)
{
	home_put("smtpauth", text);
}

/* The user, "-" without credentials, or the detail of a failure. */
static const char *
find(const char *relay, uint16_t port)
{
	static char text[1024];
	struct login l = { .file = NULL };
	struct dsn why = { 0 };

	if (smtpauth_find("smtpauth", relay, port, &l, &why) == -1) {
		assert_string_equal(why.status, "4.3.0");
		assert_string_equal(why.text, "Unable to read control files.");
		snprintf(text, sizeof text, "%s", why.detail);
	} else if (login_is_given(&l)) {
		assert_string_equal(l.file, "smtpauth");
		snprintf(text, sizeof text, "%s",
		    buf_text(&l.credentials.user));
	} else
		snprintf(text, sizeof text, "-");
	login_finish(&l);
	return text;
}

struct smtpauth_case {
	const char *text, *relay;
	uint16_t port;
	const char *want;
};

static void
check(const struct smtpauth_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *got;

		put(cases[i].text);
		got = find(cases[i].relay, cases[i].port);
		if (strcmp(got, cases[i].want) != 0)
			fail_msg("%s, %s, %d: %s", cases[i].text,
			    cases[i].relay, (int)cases[i].port, got);
	}
}

static void
knows_where_the_line_is(void **state)
{
	struct login l = { .file = NULL };
	struct dsn why = { 0 };

	(void)state;
	put("# x\nr|u|p\n \tr|v|q\ns|u|p\n");
	assert_int_equal(smtpauth_find("smtpauth", "r", 25, &l, &why), 0);
	check_place("smtpauth", &l.version, l.offset, "r|v|q\n", 6);
	login_finish(&l);
}

static void
finds_the_line_for_a_relay(void **state)
{
	static const struct smtpauth_case cases[] = {
		{ "", "r", 25, "-" },
		{ "s|u|p", "r", 25, "-" },
		{ "r|u|p", "r", 25, "u" },
		{ "r|u|p", "r", 587, "u" },
		{ "R.Example|u|p\r\n", "r.eXample", 25, "u" },
		{ "  r|u|p", "r", 25, "u" },
		{ "r.|u|p", "r", 25, "u" },
		{ "r|u|p", "r.", 25, "u" },
		{ "# r|x|p\nr|u|p", "r", 25, "u" },
		/* No suffixes: a relay has a name. */
		{ ".r|u|p", "a.r", 25, "-" },
		{ "r|u|p", "a.r", 25, "-" },
		{ "a.r|u|p", "r", 25, "-" },
		/* Ports. */
		{ "r;587|u|p", "r", 587, "u" },
		{ "r:587|u|p", "r", 587, "u" },
		{ "r;0587|u|p", "r", 587, "u" },
		{ "r;587|u|p", "r", 25, "-" },
		{ "r;587|u|p", "r", 58, "-" },
		{ ";587|u|p", "r", 587, "u" },
		{ ";587|u|p", "r", 25, "-" },
		/* All relays. */
		{ "|u|p", "r", 25, "u" },
		{ "|u|p", "[2001:db8::1]", 25, "u" },
		/* Which one counts, in any order. */
		{ "r;587|a|p\nr|b|p\n;587|c|p\n|d|p", "r", 587, "a" },
		{ "|d|p\n;587|c|p\nr|b|p\nr;587|a|p", "r", 587, "a" },
		{ "|d|p\n;587|c|p\nr|b|p\nr;587|a|p", "r", 25, "b" },
		{ "r|b|p\n;587|c|p\n", "r", 587, "b" },
		{ "|d|p\n;587|c|p\nr|b|p\nr;587|a|p", "s", 587, "c" },
		{ ";587|c|p\n|d|p\n", "s", 587, "c" },
		{ "|d|p\n;587|c|p\nr|b|p\nr;587|a|p", "s", 25, "d" },
		{ "r|a|p\nr|b|p", "r", 25, "b" },
		{ "r;25|a|p\nR:25|b|p", "r", 25, "b" },
		{ "|a|p\n|b|p", "r", 25, "b" },
		/* Addresses. */
		{ "[192.0.2.1]|u|p", "[192.0.2.1]", 25, "u" },
		{ "192.0.2.1|u|p", "[192.0.2.1]", 25, "u" },
		{ "[192.0.2.1];587|u|p", "192.0.2.001", 587, "u" },
		{ "[2001:db8::1]|u|p", "[IPv6:2001:DB8:0::1]", 25, "u" },
		{ "[2001:db8::1]:587|u|p", "[2001:db8::1]", 587, "u" },
		{ "[2001:db8::2]|u|p", "[2001:db8::1]", 25, "-" },
		{ "192.0.2.1|u|p", "192.0.2.2", 25, "-" },
		{ "192.0.2.1|u|p", "192.0.2.1.example", 25, "-" },
		/* Other lines do not matter. */
		{ "s\ns:x|y\n[|z\nr|u|p", "r", 25, "u" },
		{ "r\nr|u|p", "r", 25, "u" },
		{ "|||\nr|u|p", "r", 25, "u" },
	};

	(void)state;
	check(cases, COUNT(cases));
}

/* It was meant for this relay: mail is not sent without. */
static void
refuses_a_malformed_line(void **state)
{
	static const struct smtpauth_case cases[] = {
		{ "r", "r", 25, "smtpauth: no '|' behind the relay: r" },
		{ "r;587", "r", 587, "smtpauth: no '|' behind the relay: r" },
		{ "r;587", "r", 25, "-" },
		{ "r|u|p\nr", "r", 25, "smtpauth: no '|' behind the relay: r" },
		{ "r;587 # x", "r", 25,
		    "smtpauth: no '|' behind the relay: r" },
		{ "r u hunter2", "r", 25,
		    "smtpauth: text behind the relay: r" },
		{ "r\tu|hunter2", "r", 25,
		    "smtpauth: text behind the relay: r" },
		{ "r;587 u hunter2", "r", 587,
		    "smtpauth: text behind the port: r" },
		{ "r:587:u:hunter2", "r", 25,
		    "smtpauth: text behind the port: r" },
		{ "r:u:hunter2", "r", 25, "smtpauth: no usable port: r" },
		{ "r;|u|hunter2", "r", 25, "smtpauth: no usable port: r" },
		{ "r;0|u|hunter2", "r", 25, "smtpauth: no usable port: r" },
		{ "r;65536|u|hunter2", "r", 25, "smtpauth: no usable port: r" },
		{ "r|u", "r", 25, "smtpauth: no '|' behind the user name: r" },
		{ "r|u:hunter2", "r", 25,
		    "smtpauth: no '|' behind the user name: r" },
		{ "r|u|", "r", 25, "smtpauth: no password: r" },
		{ "r||hunter2", "r", 25, "smtpauth: no user name: r" },
		{ "||hunter2", "r", 25, "smtpauth: no user name: " },
		{ ":hunter2|u|p", "r", 25, "smtpauth: no usable port: " },
		{ "r|u|token=", "r", 25, "smtpauth: no path of a token: r" },
		{ "2001:db8::1|u|p", "[2001:DB8:0::1]", 25,
		    "smtpauth: IPv6 address without brackets: 2001:db8::1" },
		{ "2001:db8::1;587|u|p", "[2001:db8::1]", 587,
		    "smtpauth: IPv6 address without brackets: 2001:db8::1" },
		{ "2001:db8::1 u p", "[2001:db8::1]", 587,
		    "smtpauth: IPv6 address without brackets: 2001:db8::1" },
		{ "2001:db8::1|u|p", "[2001:db8::2]", 25, "-" },
		{ "r|u|p\nr;587|u", "r", 587,
		    "smtpauth: no '|' behind the user name: r" },
	};

	(void)state;
	check(cases, COUNT(cases));
}

static void
may_be_missing_but_not_unreadable(void **state)
{
	(void)state;
	unlink("smtpauth");
	assert_string_equal(find("r", 25), "-");
	assert_int_equal(mkdir("smtpauth", 0700), 0);
	assert_string_equal(find("r", 25), "smtpauth: Is a directory");
	assert_int_equal(rmdir("smtpauth"), 0);
}

static void
add(void *data, size_t line, const char *fault, const char *token)
{
	char *text = data;
	size_t n = strlen(text);

	snprintf(text + n, 400 - n, "%zu:%s:%s\n", line,
	    fault != NULL ? fault : "", token);
}

static void
goes_through_all_lines(void **state)
{
	char text[400] = "";

	(void)state;
	put("# x\nr|u|hunter2\n\nr|u|token=/t\nhunter2\n;x|u|p\n|u|p");
	assert_int_equal(smtpauth_walk("smtpauth", add, text), 0);
	assert_string_equal(text, "2::\n4::/t\n5:no '|' behind the relay:\n"
				  "6:no usable port:\n7::\n");
	unlink("smtpauth");
	assert_int_equal(smtpauth_walk("smtpauth", add, text), 0);
	assert_int_equal(smtpauth_walk(".", add, text), -1);
	assert_int_equal(errno, EISDIR);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_where_the_line_is),
		cmocka_unit_test(finds_the_line_for_a_relay),
		cmocka_unit_test(refuses_a_malformed_line),
		cmocka_unit_test(may_be_missing_but_not_unreadable),
		cmocka_unit_test(goes_through_all_lines),
	};

	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
