/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/fdio.h"
#include "qmail/route.h"

#include "place.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/*
 * The meaning of entries in smtproutes; how one is found is tested in
 * test_table.c.
 */

static char home[] = "/tmp/test_route.XXXXXX";

/* There is no directory for an index. */
static const struct table_files files = {
	.text = "smtproutes", .index = "no/cdb", .lock = "no/lock"
};

struct route_case {
	const char *text;
	const char *host;
	const char *relay; /* NULL: refused */
	int port;
};

static const struct route_case cases[] = {
	/* No route. */
	{ "", "a", "", 25 },
	{ "b:r", "a", "", 25 },
	{ "a:", "a", "", 25 },
	/* Ports. */
	{ ":r:26 # hi", "a", "r", 26 },
	{ ":r:26\t#", "a", "r", 26 },
	{ ":[::1]:26 # hi", "a", "[::1]", 26 },
	{ "a::26 # hi", "a", "", 26 },
	{ ":r:00026", "a", "r", 26 },
	{ ":r:65535", "a", "r", 65535 },
	{ ":r:65536", "a", NULL, 0 },
	{ ":r:65561", "a", NULL, 0 },
	{ ":r:4294967321", "a", NULL, 0 },
	{ ":r:18446744073709551641", "a", NULL, 0 },
	{ ":r:0", "a", NULL, 0 },
	{ ":r:", "a", NULL, 0 },
	{ ":r:smtp", "a", NULL, 0 },
	{ ":r: 26", "a", NULL, 0 },
	{ ":r:-1", "a", NULL, 0 },
	{ ":r:+26", "a", NULL, 0 },
	{ ":r::26", "a", NULL, 0 },
	{ "b:r:\na:s\n", "a", "s", 25 },
	{ "a::26", "a", "", 26 },
	{ "a::", "a", NULL, 0 },
	{ "a:::26", "a", NULL, 0 },
	/* A file with CR LF. */
	{ "a:r\r\n", "a", "r", 25 },
	{ "a:r:26\r\n", "a", "r", 26 },
	{ "a:\r\n", "a", "", 25 },
	{ "a::26\r\n", "a", "", 26 },
	{ "a:r \r\n", "a", "r", 25 },
	{ "a:[::1]\r\n", "a", "[::1]", 25 },
	{ "a:r:\r\n", "a", NULL, 0 },
	{ "#a:s\r\n\r\na:r\r\n", "a", "r", 25 },
	{ "a:r \r \t\r\n", "a", "r", 25 },
	{ "a:r:26 # hi\r\n", "a", "r", 26 },
	/* Address literals. */
	{ ":[127.0.0.1]:26", "a", "[127.0.0.1]", 26 },
	{ ":[127.0.0.1]", "a", "[127.0.0.1]", 25 },
	{ ":[::1]:26", "a", "[::1]", 26 },
	{ ":[::1]", "a", "[::1]", 25 },
	{ ":[2001:DB8::1]:26", "a", "[2001:DB8::1]", 26 },
	{ ":[IPv6:2001:db8::1]:26", "a", "[IPv6:2001:db8::1]", 26 },
	{ ":[ipv6:2001:db8::1]", "a", "[ipv6:2001:db8::1]", 25 },
	{ ":[::1]:", "a", NULL, 0 },
	{ ":[::1]26", "a", NULL, 0 },
	{ ":[2001:470::1]x:25", "a", NULL, 0 },
	{ ":[2001:470::1", "a", NULL, 0 },
	{ ":[1.2.3.4:25", "a", NULL, 0 },
	{ ":[1.2.3.256]:25", "a", NULL, 0 },
	{ ":1.2.3.256:25", "a", NULL, 0 },
	{ ":448.0.2.1", "a", NULL, 0 },
	{ ":1.2.3", "a", "1.2.3", 25 },
	{ ":1.2.3.4x", "a", "1.2.3.4x", 25 },
	{ ":2001:db8::1", "a", NULL, 0 },
	{ ":2001:470::1", "a", NULL, 0 },
	{ ":::1", "a", NULL, 0 },
	{ "[2001:db8::1]:r:26", "[2001:db8::1]", "r", 26 },
	{ "[2001:DB8::1]:[::1]:26", "[2001:db8::1]", "[::1]", 26 },
	{ "[IPv6:2001:db8::1]:r", "[ipv6:2001:db8::1]", "r", 25 },
	{ "[2001:db8::1]:r:26", "[2001", "", 25 },
	{ "[2001:db8::1]::26", "[2001:db8::1]", "", 26 },
	{ "[2001:db8::1]:", "[2001:db8::1]", "", 25 },
	{ "[2001:db8::1]", "[2001:db8::1]", "", 25 },
	{ "[foo:r:26", "[foo", "r", 26 },
	{ "[foo:[1.2.3.4]:26", "[foo", "[1.2.3.4]", 26 },
	{ "[2001:r", "[2001", "r", 25 },
	{ ".4]:r:26", "[::1.2.3.4]", "r", 26 },
	/* A semicolon before the port. */
	{ ":r;587", "a", "r", 587 },
	{ ":r;587 # hi", "a", "r", 587 },
	{ ":[1.2.3.4];587", "a", "[1.2.3.4]", 587 },
	{ ":[2001:db8::1];587", "a", "[2001:db8::1]", 587 },
	{ "a:;26", "a", "", 26 },
	{ ":r;", "a", NULL, 0 },
	{ ":r;0", "a", NULL, 0 },
	{ ":2001:db8::1;587", "a", NULL, 0 },
	/* Credentials. */
	{ ":r:587|user|pass", "a", "r", 587 },
	{ ":r;587|user|pass", "a", "r", 587 },
	{ ":r|user|pass", "a", "r", 25 },
	{ ":r|user|pa:ss # x", "a", "r", 25 },
	{ ":[r]:587|user|pass", "a", NULL, 0 },
	{ ":[1.2.3.4]:587|user|pass", "a", "[1.2.3.4]", 587 },
	{ ":[::1]|user|pass", "a", "[::1]", 25 },
	{ ":r:587|user", "a", NULL, 0 },
	{ ":r:587|user|", "a", NULL, 0 },
	{ ":r:587||pass", "a", NULL, 0 },
	{ ":r:587 |user|pass", "a", NULL, 0 },
	{ ":r:|user|pass", "a", NULL, 0 },
	/* They would go to whatever servers the DNS names. */
	{ "a::587|user|pass", "a", NULL, 0 },
	{ "a:|user|pass", "a", NULL, 0 },
	/* Syntax of other programs after a relay or its port. */
	{ ":r:587 user pass", "a", NULL, 0 },
	{ ":r:587\tuser pass # x", "a", NULL, 0 },
	{ ":r:587:user:pass", "a", NULL, 0 },
	{ ":r:587:", "a", NULL, 0 },
	{ ":r:587/ssl", "a", NULL, 0 },
	{ ":r:587#hi", "a", NULL, 0 },
	{ ":r:587tls", "a", NULL, 0 },
	{ ":r:587,s:25", "a", NULL, 0 },
	{ ":r,s", "a", NULL, 0 },
	{ ":r/587", "a", NULL, 0 },
	{ ":user:pass@r", "a", NULL, 0 },
	{ ":user@r", "a", NULL, 0 },
	{ ":smtp:[r]:587", "a", NULL, 0 },
	{ ":[r]:587", "a", NULL, 0 },
	{ ":\"r\"", "a", NULL, 0 },
	{ ":*", "a", NULL, 0 },
	/* Lines for which stock bounces the mail. */
	{ ":r\xc3\xa9", "a", NULL, 0 },
	{ ":r # hi", "a", NULL, 0 },
	{ ": r:26", "a", NULL, 0 },
	{ ":r\rx", "a", NULL, 0 },
};

static int
enter_home(void **state)
{
	(void)state;
	return !mkdtemp(home) || chdir(home) == -1;
}

static int
leave_home(void **state)
{
	(void)state;
	unlink(files.text);
	return chdir("/") == -1 || rmdir(home) == -1;
}

static void
put_text(const char *text)
{
	int fd = open(files.text, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd != -1);
	assert_int_equal(fdio_write_all(fd, text, strlen(text), 1000), 0);
	assert_int_equal(close(fd), 0);
}

/* "relay port", or the status and detail of the failure. */
static const char *
find(const char *host)
{
	static char text[1100];
	struct route r = { 0 };
	struct dsn why = { 0 };

	if (route_find(host, &files, &r, &why) == 0)
		snprintf(text, sizeof text, "%s %d", buf_text(&r.relay),
		    (int)r.port);
	else
		snprintf(text, sizeof text, "%s %s", why.status, why.detail);
	route_finish(&r);
	return text;
}

static void
check(const struct route_case *c)
{
	static const char refused[] = "4.4.1 smtproutes: ";
	const char *got = find(c->host);
	char want[100];

	if (c->relay)
		snprintf(want, sizeof want, "%s %d", c->relay, c->port);
	if (c->relay ? strcmp(got, want) != 0
		     : strncmp(got, refused, sizeof refused - 1) != 0)
		fail_msg("%s, %s: %s", c->text, c->host, got);
}

static void
parses_relays_and_ports(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		put_text(cases[i].text);
		check(&cases[i]);
	}
}

static void
shows_the_line(void **state)
{
	static const struct {
		const char *text;
		const char *detail;
	} lines[] = {
		{ "A.example:relay.example:x",
		    "no usable port: A.example:relay.example" },
		{ ".example:::1", "IPv6 address without brackets: .example:" },
		{ ".example:2001:db8::1",
		    "IPv6 address without brackets: .example:2001" },
		{ ":2001:db8::1|u|p", "IPv6 address without brackets: :2001" },
		{ ":2001:db8::1;25", "IPv6 address without brackets: :2001" },
		{ ":[::1", "not an address: :[" },
		{ ":1.2.3.256", "not an address: :1.2.3.256" },
		{ "a.example:|u|p", "credentials without a relay: a.example:" },
		{ ":r|u", "no '|' behind the user name: :r" },
		{ ":r u", "text behind the relay: :r" },
		{ ":r:25 u", "text behind the port: :r" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(lines); i++) {
		char want[200];

		put_text(lines[i].text);
		snprintf(want, sizeof want, "4.4.1 smtproutes: %s",
		    lines[i].detail);
		assert_string_equal(find("a.example"), want);
	}
}

/* Wherever it is; the text before it may be shown. */
static void
hides_passwords(void **state)
{
	static const char *const values[] = { "relay;587|hunter2",
		"relay:587 user hunter2", "relay:587:user:hunter2",
		"relay:hunter2", "relay:hunter2@x", "relay hunter2",
		"relay\thunter2", "[relay|hunter2]:587",
		"[relay]:587|u|hunter2", "[1.2.3.4]hunter2",
		"[::1]:587 hunter2", "[::1 hunter2", ":587|user|hunter2",
		"|hunter2", "|u|hunter2", "\"hunter2\"", "relay/hunter2",
		"relay#hunter2", "relay:587|hunter2", "relay:587||hunter2",
		"relay|u\x01|hunter2" };

	(void)state;
	for (size_t i = 0; i < COUNT(values); i++) {
		char text[100];
		const char *got;

		snprintf(text, sizeof text, ".example:%s\n", values[i]);
		put_text(text);
		got = find("a.example");
		if (strstr(got, "hunter"))
			fail_msg("%s: %s", values[i], got);
		if (!strstr(got, "4.4.1 smtproutes: "))
			fail_msg("%s: %s", values[i], got);
	}
}

static void
has_the_credentials_of_the_line(void **state)
{
	static const char text[] = "a:r:587|user|pa|ss \nb:r|u|token=/t\nc:r\n";
	struct route r = { .port = 0 };
	struct dsn why = { 0 };

	(void)state;
	put_text(text);
	assert_int_equal(route_find("a", &files, &r, &why), 0);
	assert_int_equal(r.login.credentials.kind, CREDENTIALS_PASSWORD);
	assert_string_equal(buf_text(&r.login.credentials.user), "user");
	assert_string_equal(buf_text(&r.login.credentials.secret), "pa|ss");
	assert_string_equal(r.login.file, files.text);
	assert_string_equal(r.file, files.text);
	assert_string_equal(buf_text(&r.key), "a");
	assert_true(r.has_port);
	assert_int_equal(route_find("b", &files, &r, &why), 0);
	assert_int_equal(r.login.credentials.kind, CREDENTIALS_TOKEN);
	assert_string_equal(buf_text(&r.login.token), "/t");
	check_place(files.text, &r.login.version, r.login.offset, "b:r|u|", 6);
	assert_false(r.has_port);
	assert_int_equal(route_find("c", &files, &r, &why), 0);
	assert_false(login_is_given(&r.login));
	assert_int_equal(route_find("d", &files, &r, &why), 0);
	assert_null(r.file);
	assert_int_equal(r.port, 25);
	route_finish(&r);
}

static void
parses_a_value_alone(void **state)
{
	struct route r = { .port = 0 };

	(void)state;
	assert_null(route_parse("|u|p", 4, &r));
	assert_int_equal(r.relay.len, 0);
	assert_int_equal(r.port, 25);
	assert_true(login_is_given(&r.login));
	route_finish(&r);
	assert_null(route_fault("r|u|p", 5));
	assert_string_equal(route_fault("|u|p", 4),
	    "credentials without a relay");
	assert_int_equal(route_relay_length("[::1]:25", 8), 5);
	assert_int_equal(route_relay_length("[::1", 4), 1);
	assert_int_equal(route_relay_length("::1|u:x", 7), 3);
	assert_int_equal(route_relay_length("r:b::c;25", 9), 1);
	assert_int_equal(route_relay_length(":25", 3), 0);
	assert_int_equal(route_relay_length("r", 1), 1);
	assert_int_equal(route_relay_length("r;2", 3), 1);
	assert_int_equal(route_relay_length("r|u|p", 5), 1);
	assert_int_equal(route_relay_length("r x:2", 5), 1);
	assert_int_equal(route_relay_length(":2", 2), 0);
	assert_int_equal(route_relay_length("", 0), 0);
}

static void
shows_the_unreadable_file(void **state)
{
	(void)state;
	unlink(files.text);
	assert_int_equal(symlink("/", files.text), 0);
	assert_string_equal(find("a"), "4.3.0 smtproutes: Is a directory");
	unlink(files.text);
	assert_string_equal(find("a"), " 25");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_relays_and_ports),
		cmocka_unit_test(shows_the_line),
		cmocka_unit_test(hides_passwords),
		cmocka_unit_test(has_the_credentials_of_the_line),
		cmocka_unit_test(parses_a_value_alone),
		cmocka_unit_test(shows_the_unreadable_file),
	};

	return cmocka_run_group_tests(tests, enter_home, leave_home);
}
