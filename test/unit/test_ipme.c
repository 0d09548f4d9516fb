/* SPDX-License-Identifier: ISC */
#define _DEFAULT_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The test has its own getifaddrs(). */
#undef _DEFAULT_SOURCE

static int ask_interfaces(struct ifaddrs **);

#define getifaddrs ask_interfaces
#include "qmail/ipme.c"
#undef getifaddrs

#define COUNT(a) (sizeof(a) / sizeof *(a))

static bool tells_no_interfaces;

static int
ask_interfaces(struct ifaddrs **list)
{
	errno = EAFNOSUPPORT;
	return tells_no_interfaces ? -1 : getifaddrs(list);
}

static char home[] = "/tmp/test_ipme.XXXXXX";

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
	return chdir("/") == -1 || rmdir(home) == -1;
}

static void
put(const char *data, size_t n)
{
	int fd = open("ipme", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd != -1);
	assert_int_equal(write(fd, data, n), n);
	assert_int_equal(close(fd), 0);
}

static enum ipme_kind
kind(const struct ipme *me, const char *text)
{
	struct ip ip;

	if (!ip_parse(text, strlen(text), &ip))
		fail_msg("%s is no address", text);
	return ipme_kind(me, &ip);
}

static void
reads_any_textual_form(void **state)
{
	static const char list[] =
	    "\xef\xbb\xbf"
	    "198.51.100.1\n"
	    "# 198.51.100.2\n"
	    "[198.51.100.3] \t\n"
	    "\n"
	    "2001:DB8:0:0:0:0:0:1\n"
	    "[2001:db8::2]\n"
	    "[IPv6:2001:db8::3]\n"
	    "::ffff:198.51.100.4\n"
	    "198.51.100.5\r\n"
	    "198.051.100.006\n"
	    "127.0.0.1\n"
	    "198.51.100.7 # a comment, 198.51.100.17\n"
	    " \t198.51.100.8\t\r\n"
	    "\0"
	    "198.51.100.9\n"
	    "198.51.100.10,198.51.100.11 ,\t198.51.100.12 2001:db8::4#, x\n"
	    " ,\t, \n"
	    "  # 198.51.100.13\n"
	    "203.0.113.77/28, [2001:db8:1::]/48\r\n"
	    "[2001:db8::5]";
	static const struct {
		const char *ip;
		enum ipme_kind kind;
	} cases[] = {
		{ "198.51.100.1", IPME_LISTED },
		{ "::ffff:198.51.100.1", IPME_LISTED },
		{ "198.51.100.2", IPME_NOT },
		{ "198.51.100.3", IPME_LISTED },
		{ "2001:db8::1", IPME_LISTED },
		{ "2001:db8::2", IPME_LISTED },
		{ "2001:db8::3", IPME_LISTED },
		{ "198.51.100.4", IPME_LISTED },
		{ "198.51.100.5", IPME_LISTED },
		{ "198.51.100.6", IPME_LISTED },
		{ "127.0.0.1", IPME_LISTED },
		{ "198.51.100.7", IPME_LISTED },
		{ "198.51.100.17", IPME_NOT },
		{ "198.51.100.8", IPME_LISTED },
		{ "198.51.100.9", IPME_NOT },
		{ "198.51.100.10", IPME_LISTED },
		{ "198.51.100.11", IPME_LISTED },
		{ "198.51.100.12", IPME_LISTED },
		{ "2001:db8::4", IPME_LISTED },
		{ "198.51.100.13", IPME_NOT },
		{ "203.0.113.63", IPME_NOT },
		{ "203.0.113.64", IPME_LISTED },
		{ "203.0.113.79", IPME_LISTED },
		{ "203.0.113.80", IPME_NOT },
		{ "2001:db8:1:ffff::1", IPME_LISTED },
		{ "2001:db8:2::1", IPME_NOT },
		{ "2001:db8::5", IPME_LISTED },
	};
	struct ipme me = { 0 };
	struct dsn why = { 0 };

	(void)state;
	put(list, sizeof list - 1);
	assert_int_equal(ipme_read(&me, "ipme", true, &why), 0);
	for (size_t i = 0; i < COUNT(cases); i++)
		if (kind(&me, cases[i].ip) != cases[i].kind)
			fail_msg("%s: %d", cases[i].ip, kind(&me, cases[i].ip));
	ipme_finish(&me);
	assert_int_equal(unlink("ipme"), 0);
}

static void
refuses_a_line_that_is_no_address(void **state)
{
	static const struct {
		const char *text;
		const char *line;
	} cases[] = {
		{ "198.51.100.1\nme.example\n", "me.example" },
		{ "300.1.1.1\n", "300.1.1.1" },
		{ "[2001:db8::4\n", "[2001:db8::4" },
		{ "198.51.100.1 a comment\n", "198.51.100.1 a comment" },
		{ "198.51.100.0/0 # all\r\n", "198.51.100.0/0 # all" },
		{ "::/0", "::/0" },
		{ "198.51.100.0/33", "198.51.100.0/33" },
		{ "198.51.100.1;198.51.100.2", "198.51.100.1;198.51.100.2" },
		{ "198.51.100.1-9", "198.51.100.1-9" },
		{ "fe80::1%eth0", "fe80::1%eth0" },
		{ "192.0.2.1\n\xff\n", "?" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct ipme me = { 0 };
		struct dsn why = { 0 };
		char want[100] = "ipme: not an address: ";

		put(cases[i].text, strlen(cases[i].text));
		assert_int_equal(ipme_read(&me, "ipme", true, &why), -1);
		assert_string_equal(why.status, "4.3.0");
		assert_string_equal(why.text, "Unable to read control files.");
		assert_string_equal(why.detail, strcat(want, cases[i].line));
		ipme_finish(&me);
	}
	assert_int_equal(unlink("ipme"), 0);
}

/* 127.0.0.0/8 is ours although most of it is on no interface and not listed. */
static void
recognises_loopback_addresses(void **state)
{
	static const struct {
		const char *ip;
		enum ipme_kind kind;
	} cases[] = {
		{ "127.0.0.1", IPME_INTERFACE },
		{ "127.0.0.2", IPME_INTERFACE },
		{ "127.255.255.255", IPME_INTERFACE },
		{ "::ffff:127.3.2.1", IPME_INTERFACE },
		{ "126.255.255.255", IPME_NOT },
		{ "128.0.0.0", IPME_NOT },
		{ "0.0.0.0", IPME_INTERFACE },
		{ "0.1.2.3", IPME_INTERFACE },
		{ "0.255.255.255", IPME_INTERFACE },
		{ "::ffff:0.0.0.9", IPME_INTERFACE },
		{ "1.0.0.0", IPME_NOT },
		{ "::", IPME_INTERFACE },
		{ "::1", IPME_INTERFACE },
		{ "::2", IPME_NOT },
		{ "::127.0.0.1", IPME_NOT },
		{ "1::1", IPME_NOT },
	};
	struct ipme me = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (kind(&me, cases[i].ip) != cases[i].kind)
			fail_msg("%s: %d", cases[i].ip, kind(&me, cases[i].ip));
}

/*
 * A line that begins with a NUL is ignored; a NUL inside a line is not an
 * address.
 */
static void
handles_nuls(void **state)
{
	static const char passed_by[] = "\0\n\0x\n198.51.100.2";
	static const char wrong[] = "198.51.100.1\0x\n198.51.100.2";
	struct ipme me = { 0 };
	struct dsn why = { 0 };

	(void)state;
	put(passed_by, sizeof passed_by - 1);
	assert_int_equal(ipme_read(&me, "ipme", true, &why), 0);
	assert_int_equal(kind(&me, "198.51.100.2"), IPME_LISTED);
	ipme_finish(&me);
	put(wrong, sizeof wrong - 1);
	assert_int_equal(ipme_read(&me, "ipme", true, &why), -1);
	ipme_finish(&me);
	assert_int_equal(unlink("ipme"), 0);
}

static void
works_without_a_list(void **state)
{
	struct ipme me = { 0 };
	struct dsn why = { 0 };

	(void)state;
	assert_int_equal(ipme_read(&me, "ipme", true, &why), 0);
	assert_int_equal(me.nlisted, 0);
	assert_int_equal(kind(&me, "0.0.0.0"), IPME_INTERFACE);
	assert_int_equal(kind(&me, "198.51.100.1"), IPME_NOT);
	ipme_finish(&me);
}

static void
refuses_an_unreadable_list(void **state)
{
	struct ipme me = { 0 };
	struct dsn why = { 0 };

	(void)state;
	assert_int_equal(mkdir("ipme", 0700), 0);
	assert_int_equal(ipme_read(&me, "ipme", true, &why), -1);
	assert_string_equal(why.status, "4.3.0");
	assert_string_equal(why.text, "Unable to read control files.");
	assert_string_equal(why.detail, "ipme: Is a directory");
	ipme_finish(&me);
	assert_int_equal(rmdir("ipme"), 0);
	assert_int_equal(mkfifo("ipme", 0600), 0);
	assert_int_equal(ipme_read(&me, "ipme", true, &why), -1);
	ipme_finish(&me);
	assert_int_equal(unlink("ipme"), 0);
}

/*
 * The source address that the kernel chooses is ours.  Nothing is sent:
 * connecting a datagram socket only chooses a route.
 */
static void
recognises_interface_addresses(void **state)
{
	static const char *const there[] = { "127.0.0.1", "::1", "198.51.100.1",
		"2001:db8::1" };
	struct ipme me = { 0 };
	struct dsn why = { 0 };

	(void)state;
	assert_int_equal(ipme_read(&me, "ipme", true, &why), 0);
	for (size_t i = 0; i < COUNT(there); i++) {
		struct sockaddr_storage ss;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct ip to, from;
		char text[IP_TEXT_SIZE];
		socklen_t len;
		int fd;

		assert_true(ip_parse(there[i], strlen(there[i]), &to));
		len = ip_sockaddr(&to, 9, &ss);
		fd = socket(ss.ss_family, SOCK_DGRAM, 0);
		if (fd == -1)
			continue;
		if (connect(fd, (struct sockaddr *)&ss, len) == -1) {
			close(fd); /* this machine has no such network */
			continue;
		}
		len = sizeof ss;
		assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len),
		    0);
		assert_int_equal(close(fd), 0);
		memcpy(&v4, &ss, sizeof v4);
		memcpy(&v6, &ss, sizeof v6);
		from = ip_is_v4(&to) ? ip_from_v4((void *)&v4.sin_addr)
				     : ip_from_v6((void *)&v6.sin6_addr);
		if (ipme_kind(&me, &from) != IPME_INTERFACE)
			fail_msg("%s is ours", ip_format(&from, text));
	}
	ipme_finish(&me);
}

/* As in a service that must not open netlink sockets. */
static void
works_without_interfaces(void **state)
{
	struct ipme me = { 0 };
	struct dsn why = { 0 };

	(void)state;
	tells_no_interfaces = true;
	assert_int_equal(ipme_read(&me, "nowhere", true, &why), 0);
	tells_no_interfaces = false;
	assert_int_equal(me.ninterface, 0);
	assert_int_equal(kind(&me, "127.0.0.1"), IPME_INTERFACE);
	ipme_finish(&me);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_any_textual_form),
		cmocka_unit_test(refuses_a_line_that_is_no_address),
		cmocka_unit_test(recognises_loopback_addresses),
		cmocka_unit_test(handles_nuls),
		cmocka_unit_test(works_without_a_list),
		cmocka_unit_test(refuses_an_unreadable_list),
		cmocka_unit_test(recognises_interface_addresses),
		cmocka_unit_test(works_without_interfaces),
	};

	return cmocka_run_group_tests(tests, enter_home, leave_home);
}
