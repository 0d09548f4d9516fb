/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dns/resolvconf.h"

#define BOTH "options timeout:7 attempts:3\n"

static void
reads_the_options(void **state)
{
	static const struct {
		const char *text;
		unsigned long timeout_s, attempts;
	} cases[] = {
		{ "", 0, 0 },
		{ "nameserver 192.0.2.1\n", 0, 0 },
		{ "nameserver 192.0.2.1\n" BOTH, 7, 3 },
		{ BOTH "nameserver 192.0.2.1", 7, 3 },
		{ "options timeout:7 attempts:3", 7, 3 },
		{ "options\ttimeout:7\trotate  attempts:3 \t\n", 7, 3 },
		{ "options timeout:7\r\noptions attempts:3\r\n", 7, 3 },
		{ BOTH "options timeout:9\n", 9, 3 },
		{ "options timeout:1 timeout:2\n", 2, 2 },
		{ "options attempts:3\n", 5, 3 },
		{ "options timeout:30 attempts:5\n", 30, 5 },
		{ "options timeout:31 attempts:99999999999999999999\n", 30, 5 },
		{ "options timeout:0 attempts:0\n", 0, 0 },
		{ "options timeout:x attempts:-1\n", 0, 0 },
		{ "options timeout: attempts:\n", 0, 0 },
		{ "options timeout attempts\n", 0, 0 },
		{ "options xtimeout:7 attemptsx:3\n", 0, 0 },
		{ "options", 0, 0 },
		{ "optionstimeout:7\n", 0, 0 },
		{ "optionsx timeout:7\n", 0, 0 },
		{ "#options timeout:7\n;" BOTH, 0, 0 },
		{ " " BOTH, 0, 0 },
		{ "search options timeout:7\n", 0, 0 },
	};
	char path[] = "/tmp/schedule-XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	assert_int_not_equal(fd, -1);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t n = strlen(cases[i].text);
		struct dns_config c;

		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, cases[i].text, n, 0), n);
		dns_config_read(&c, path);
		if (c.timeout_s != cases[i].timeout_s ||
		    c.attempts != cases[i].attempts)
			fail_msg("%s: %lu s, %lu attempts", cases[i].text,
			    c.timeout_s, c.attempts);
	}
	close(fd);
	unlink(path);
}

/* Each server as address%zone:port, then the other settings. */
static void
describe(char *text, size_t size, const struct dns_config *c)
{
	char ip[IP_TEXT_SIZE];
	size_t n = 0;

	for (size_t i = 0; i < c->nserver; i++)
		n += (size_t)snprintf(text + n, size - n, "%s%s%%%s:%d",
		    i > 0 ? " " : "", ip_format(&c->server[i].ip, ip),
		    c->server[i].interface, c->server[i].port);
	(void)snprintf(text + n, size - n, "%s%s%s",
	    c->is_rotated ? " rotated" : "", c->uses_tcp ? " tcp" : "",
	    c->is_trusted ? " trusted" : "");
}

#define N "nameserver "

static void
reads_the_servers(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "", "127.0.0.1%:53 trusted" },
		{ N "192.0.2.1\n", "192.0.2.1%:53" },
		{ N "192.0.2.1", "192.0.2.1%:53" },
		{ N "192.0.2.1 # ours\r\n", "192.0.2.1%:53" },
		{ "nameserver\t 2001:db8::1\n", "2001:db8::1%:53" },
		{ N "192.0.2.1\n" N "192.0.2.2\n" N "192.0.2.3\n" N
		    "192.0.2.4\n",
		    "192.0.2.1%:53 192.0.2.2%:53 192.0.2.3%:53" },
		{ N "fe80::1%eth0\n", "fe80::1%eth0:53" },
		{ N "[fe80::1%eth0]:5353\n", "fe80::1%eth0:5353" },
		{ N "[192.0.2.1]:5353\n", "192.0.2.1%:5353" },
		{ N "[2001:db8::1]\n", "2001:db8::1%:53" },
		/* Invalid lines do not use up a place. */
		{ N "\n" N "x\n" N "192.0.2\n" N "192.0.2.9\n",
		    "192.0.2.9%:53" },
		{ N "fe80::1%\n" N "fe80::1%a-name-of-16-bytes\n",
		    "127.0.0.1%:53 trusted" },
		{ N "[192.0.2.1\n" N "[192.0.2.1]:\n" N "[192.0.2.1]:0\n" N
		    "[192.0.2.1]:65536\n" N "[192.0.2.1]:53x\n" N
		    "[192.0.2.1]53\n" N "[192.0.2.1]:x\n",
		    "127.0.0.1%:53 trusted" },
		{ " " N "192.0.2.1\n#" N "192.0.2.1\n;" N "192.0.2.1\n"
		  "nameserver192.0.2.1\nname 192.0.2.1\n",
		    "127.0.0.1%:53 trusted" },
		{ N "127.0.0.1\n" N "127.1.2.3\n" N "::1\n",
		    "127.0.0.1%:53 127.1.2.3%:53 ::1%:53 trusted" },
		{ N "127.0.0.1\n" N "192.0.2.1\n",
		    "127.0.0.1%:53 192.0.2.1%:53" },
		{ N "192.0.2.1\noptions edns0 trust-ad\n",
		    "192.0.2.1%:53 trusted" },
		{ N "192.0.2.1\noptions no-trust-ad trust-adx\n",
		    "192.0.2.1%:53" },
		{ N "192.0.2.1\noptions rotate use-vc\n",
		    "192.0.2.1%:53 rotated tcp" },
	};
	char path[] = "/tmp/resolvconf-XXXXXX", text[400];
	int fd = mkstemp(path);

	(void)state;
	assert_int_not_equal(fd, -1);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t n = strlen(cases[i].text);
		struct dns_config c;

		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, cases[i].text, n, 0), n);
		dns_config_read(&c, path);
		describe(text, sizeof text, &c);
		if (strcmp(text, cases[i].want) != 0)
			fail_msg("%s: %s", cases[i].text, text);
	}
	close(fd);
	unlink(path);
}

static void
has_defaults(void **state)
{
	static const char *const paths[] = { "no such file", "/", "/dev/null" };

	(void)state;
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		struct dns_config c;

		dns_config_read(&c, paths[i]);
		assert_int_equal(c.timeout_s, 0);
		assert_int_equal(c.attempts, 0);
		assert_int_equal(c.nserver, 1);
		assert_true(c.is_trusted);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_options),
		cmocka_unit_test(reads_the_servers),
		cmocka_unit_test(has_defaults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
