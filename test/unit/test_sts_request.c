/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "sts/request.h"

static int
count(char **argv)
{
	int n = 0;

	while (argv[n])
		n++;
	return n;
}

static void
parses_what_it_formats(void **state)
{
	const struct sts_request request = { "dst.example", "1", 3, 4, 5 };
	char **argv = sts_request_format(&request, "program");
	struct sts_request r;

	(void)state;
	assert_string_equal(argv[0], "program");
	assert_int_equal(count(argv), 6);
	assert_true(sts_request_parse(&r, count(argv), argv));
	assert_string_equal(r.domain, "dst.example");
	assert_string_equal(r.id, "1");
	assert_int_equal(r.lock, 3);
	assert_int_equal(r.place, 4);
	assert_int_equal(r.out, 5);
	sts_request_free(argv);
}

static void
leaves_out_what_there_is_not(void **state)
{
	const struct sts_request request = { "dst.example", "1", 0, 0, 0 };
	char **argv = sts_request_format(&request, "program");
	struct sts_request r;

	(void)state;
	assert_int_equal(count(argv), 3);
	assert_string_equal(argv[1], "domain=dst.example");
	assert_string_equal(argv[2], "id=1");
	assert_true(sts_request_parse(&r, count(argv), argv));
	assert_int_equal(r.lock, 0);
	assert_int_equal(r.place, 0);
	assert_int_equal(r.out, 0);
	sts_request_free(argv);
}

static void
refuses_all_others(void **state)
{
	static const char *const words[][4] = {
		{ "domain=a" },
		{ "id=1" },
		{ "domain=a", "id=1", "id=2" },
		{ "domain=a", "id=1", "more" },
		{ "domain=a", "id=1", "more=1" },
		{ "domain=a", "id=1", "lock=x" },
		{ "domain=a", "id=1", "lock=2" },
		{ "domain=a", "id=1", "place=1" },
		{ "domain=a", "id=1", "out=1" },
		{ "domain=a", "id=1", "out=2147483648" },
	};
	struct sts_request r;
	char program[] = "program";
	char *none[] = { program, NULL };

	(void)state;
	assert_false(sts_request_parse(&r, 1, none));
	assert_false(sts_request_parse(&r, 0, none + 1));
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		char copy[4][32] = { "program" };
		char *argv[5] = { copy[0] };
		int n = 0;

		for (; n < 3 && words[i][n]; n++) {
			strcpy(copy[n + 1], words[i][n]);
			argv[n + 1] = copy[n + 1];
		}
		if (sts_request_parse(&r, n + 1, argv))
			fail_msg("%s %s %s", argv[1], argv[2], argv[3]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_what_it_formats),
		cmocka_unit_test(leaves_out_what_there_is_not),
		cmocka_unit_test(refuses_all_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
