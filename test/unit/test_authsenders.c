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

#include "base/idn.h"
#include "qmail/authsenders.h"

#include "home.h"
#include "place.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void
put(const char *text)
{
	home_put("senders", text);
}

/* "relay port user", "-" without a line, or the detail of a failure. */
static const char *
find(const char *sender)
{
	static char text[1024];
	struct route r = { .port = 0 };
	struct dsn why = { 0 };

	if (authsenders_find("senders", sender, &r, &why) == -1) {
		assert_string_equal(why.status, "4.3.0");
		assert_string_equal(why.text, "Unable to read control files.");
		snprintf(text, sizeof text, "%s", why.detail);
	} else if (r.file != NULL) {
		assert_string_equal(r.file, "senders");
		snprintf(text, sizeof text, "%s %d %s", buf_text(&r.relay),
		    (int)r.port, buf_text(&r.login.credentials.user));
		check_place("senders", &r.login.version, r.login.offset,
		    buf_text(&r.key), r.key.len);
	} else
		snprintf(text, sizeof text, "-");
	route_finish(&r);
	return text;
}

struct senders_case {
	const char *text, *sender, *want;
};

static void
check(const struct senders_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		put(cases[i].text);
		if (strcmp(find(cases[i].sender), cases[i].want) != 0)
			fail_msg("%s, %s: %s", cases[i].text, cases[i].sender,
			    find(cases[i].sender));
	}
}

static void
finds_the_line_for_a_sender(void **state)
{
	static const struct senders_case cases[] = {
		{ "", "a@b.example", "-" },
		{ "a@b.example:r:587|u|p", "a@b.example", "r 587 u" },
		{ "a@b.example:r;587|u|p", "a@b.example", "r 587 u" },
		{ "a@b.example:r|u|p", "a@b.example", "r 25 u" },
		{ "a@b.example:r", "a@b.example", "r 25 " },
		{ "a@b.example:r:26 # x\r\n", "a@b.example", "r 26 " },
		{ "a@b.example:[2001:db8::1]:587|u|p:q|r", "a@b.example",
		    "[2001:db8::1] 587 u" },
		{ " A@B.Example:r\n", "a@b.eXample", "r 25 " },
		/* The route stays. */
		{ "a@b.example:|u|p", "a@b.example", " 25 u" },
		{ "a@b.example|u|p:q", "a@b.example", " 25 u" },
		{ "a@b.example:", "a@b.example", " 25 " },
		/* Keys. */
		{ "@b.example:r", "a@b.example", "r 25 " },
		{ "@b.example:r", "a@c.b.example", "-" },
		{ ".example:r", "a@b.example", "r 25 " },
		{ ".b.example:r", "a@c.b.example", "r 25 " },
		{ ".b.example:r", "a@b.example", "-" },
		{ "b.example:r", "a@b.example", "-" },
		{ ":r", "a@b.example", "r 25 " },
		{ ":r", "a", "r 25 " },
		{ "a:r", "a", "r 25 " },
		{ "@:r", "a", "-" },
		/* Neither is a domain of the sender. */
		{ ".a@b.example:r", "x.a@b.example", "-" },
		{ "@b@c.example:r", "a@b@c.example", "-" },
		{ "@c.example:r", "a@b@c.example", "r 25 " },
		{ "a@b@c.example:r", "a@b@c.example", "r 25 " },
		{ "xa@b.example:r", "a@b.example", "-" },
		{ "a@b.example:r", "xa@b.example", "-" },
		/* Which one counts, in any order. */
		{ ":x\n.example:y\n@b.example:z\na@b.example:r", "a@b.example",
		    "r 25 " },
		{ "a@b.example:r\n@b.example:z\n.example:y\n:x", "a@b.example",
		    "r 25 " },
		{ ":x\n.example:y\n@b.example:z\na@b.example:r", "c@b.example",
		    "z 25 " },
		{ "@b.example:z\n.example:y\n:x", "c@b.example", "z 25 " },
		{ ".example:y\n.b.example:z\n:x", "c@a.b.example", "z 25 " },
		{ "@b.example:y\n@B.example:z", "c@b.example", "z 25 " },
		/* Other lines do not matter. */
		{ "x\n|\nx:r:0\na@b.example:r", "a@b.example", "r 25 " },
		{ "a@b.example\na@b.example:r", "a@b.example", "r 25 " },
	};

	(void)state;
	check(cases, COUNT(cases));
}

/* Local parts are as they are. */
static void
compares_domains_as_a_labels(void **state)
{
	static const struct senders_case cases[] = {
		{ "@b\xc3\xbc.example:r", "a@b\xc3\xbc.example", "r 25 " },
		{ "@b\xc3\xbc.example:r", "a@xn--b-eha.example", "r 25 " },
		{ "@xn--b-eha.example:r", "a@B\xc3\x9c.example", "r 25 " },
		{ ".b\xc3\xbc.example:r", "a@c.xn--b-eha.example", "r 25 " },
		{ "\xc3\xbc@b\xc3\xbc.example:r", "\xc3\xbc@xn--b-eha.example",
		    "r 25 " },
		{ "\xc3\xbc@b.example:r", "\xc3\xbc@b.example", "r 25 " },
		{ "\xc3\xbc@b.example:r", "xn--tda@b.example", "-" },
		{ "@b\xff:r", "a@b\xff", "r 25 " },
		{ "@xn--b-eha.example:r\n@b\xc3\xbc.example:s",
		    "a@b\xc3\xbc.example", "s 25 " },
		/* Its A-labels are longer. */
		{ "@b\xc3\xbc.example:r\n.b\xc3\xbc.example:s\n:t",
		    "a@b\xc3\xbc.example", "r 25 " },
	};

	(void)state;
	if (idn_is_supported())
		check(cases, COUNT(cases));
}

static void
refuses_a_malformed_line(void **state)
{
	static const struct senders_case cases[] = {
		{ "a@b", "a@b", "senders: no colon behind the sender: a@b" },
		{ "a@b r", "a@b", "senders: no colon behind the sender: a@b" },
		{ "a@b :r", "a@b", "senders: no colon behind the sender: a@b" },
		{ "a@b:r:hunter2", "a@b", "senders: no usable port: a@b" },
		{ "a@b:r:587 u hunter2", "a@b",
		    "senders: text behind the port: a@b" },
		{ "a@b:r|u", "a@b",
		    "senders: no '|' behind the user name: a@b" },
		{ "a@b:r|u|", "a@b", "senders: no password: a@b" },
		{ "a@b::587", "a@b", "senders: a port without a relay: a@b" },
		{ "a@b::587|u|hunter2", "a@b",
		    "senders: a port without a relay: a@b" },
		{ "a@b:r/s|u|hunter2", "a@b", "senders: not a host name: a@b" },
		{ ":r:0", "a@b", "senders: no usable port: " },
	};

	(void)state;
	check(cases, COUNT(cases));
}

static void
may_be_missing_but_not_unreadable(void **state)
{
	(void)state;
	unlink("senders");
	assert_string_equal(find("a@b"), "-");
	assert_int_equal(mkdir("senders", 0700), 0);
	assert_string_equal(find("a@b"), "senders: Is a directory");
	assert_int_equal(rmdir("senders"), 0);
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
	put("# x\na@b:r|u|hunter2\n\n@b|u|token=/t\nhunter2\na@b::26\n:r");
	assert_int_equal(authsenders_walk("senders", add, text), 0);
	assert_string_equal(text, "2::\n4::/t\n5:no colon behind the sender:\n"
				  "6:a port without a relay:\n7::\n");
	unlink("senders");
	assert_int_equal(authsenders_walk("senders", add, text), 0);
	assert_int_equal(authsenders_walk(".", add, text), -1);
	assert_int_equal(errno, EISDIR);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_line_for_a_sender),
		cmocka_unit_test(compares_domains_as_a_labels),
		cmocka_unit_test(refuses_a_malformed_line),
		cmocka_unit_test(may_be_missing_but_not_unreadable),
		cmocka_unit_test(goes_through_all_lines),
	};

	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
