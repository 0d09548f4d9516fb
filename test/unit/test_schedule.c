/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dns/schedule.h"

#define BOTH "options timeout:7 attempts:3\n"

static void
reads_the_options(void **state)
{
	static const struct {
		const char *text;
		unsigned long timeout_s, attempts;
	} cases[] = {
		{ "", 5, 2 },
		{ "nameserver 192.0.2.1\n", 5, 2 },
		{ "nameserver 192.0.2.1\n" BOTH, 7, 3 },
		{ BOTH "nameserver 192.0.2.1", 7, 3 },
		{ "options timeout:7 attempts:3", 7, 3 },
		{ "options\ttimeout:7\trotate  attempts:3 \t\n", 7, 3 },
		{ "options timeout:7\r\noptions attempts:3\r\n", 7, 3 },
		{ BOTH "options timeout:9\n", 9, 3 },
		{ "options timeout:1 timeout:2\n", 2, 2 },
		{ "options timeout:30 attempts:5\n", 30, 5 },
		{ "options timeout:31 attempts:99999999999999999999\n", 30, 5 },
		{ "options timeout:0 attempts:0\n", 5, 2 },
		{ "options timeout:x attempts:-1\n", 5, 2 },
		{ "options timeout: attempts:\n", 5, 2 },
		{ "options timeout attempts\n", 5, 2 },
		{ "options xtimeout:7 attemptsx:3\n", 5, 2 },
		{ "options", 5, 2 },
		{ "optionstimeout:7\n", 5, 2 },
		{ "optionsx timeout:7\n", 5, 2 },
		{ "#options timeout:7\n;" BOTH, 5, 2 },
		{ " " BOTH, 5, 2 },
		{ "search options timeout:7\n", 5, 2 },
	};
	char path[] = "/tmp/schedule-XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	assert_int_not_equal(fd, -1);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t n = strlen(cases[i].text);
		struct dns_schedule s;

		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, cases[i].text, n, 0), n);
		s = dns_schedule_read(path);
		if (s.timeout_s != cases[i].timeout_s ||
		    s.attempts != cases[i].attempts)
			fail_msg("%s: %lu s, %lu attempts", cases[i].text,
			    s.timeout_s, s.attempts);
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
		struct dns_schedule s = dns_schedule_read(paths[i]);

		assert_int_equal(s.timeout_s, 5);
		assert_int_equal(s.attempts, 2);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_options),
		cmocka_unit_test(has_defaults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
