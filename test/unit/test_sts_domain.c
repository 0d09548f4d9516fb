/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "sts/domain.h"

#define LABEL "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz012345678"

static void
takes_names(void **state)
{
	static const char *const names[][2] = {
		{ "dst.example", "dst.example" },
		{ "DST.Example.", "dst.example" },
		{ "xn--bcher-kva.example", "xn--bcher-kva.example" },
		{ "_a-1.b", "_a-1.b" },
		{ "localhost", "localhost" },
		{ "1.2.3.example", "1.2.3.example" },
	};
	char domain[STS_DOMAIN_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (!sts_domain_read(domain, names[i][0]))
			fail_msg("%s", names[i][0]);
		assert_string_equal(domain, names[i][1]);
	}
}

static void
refuses_all_others(void **state)
{
	static const char *const names[] = { "", ".", "..", ".example",
		"a..example", "example..", "../x", "a/b", "a\\b", "a b", "a\n",
		"a\tb", "b\303\274cher.example", "*.example", "a\001",
		"192.0.2.1", "192.0.2.1.", "[192.0.2.1]", "2001:db8::1",
		LABEL "abcd.example" };
	char domain[STS_DOMAIN_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (sts_domain_read(domain, names[i]))
			fail_msg("%s", names[i]);
}

static void
limits_the_length(void **state)
{
	char name[STS_DOMAIN_MAX + 3], domain[STS_DOMAIN_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof name; i++)
		name[i] = i % 61 == 60 ? '.' : 'x';
	name[STS_DOMAIN_MAX - 1] = 'x';
	name[STS_DOMAIN_MAX] = '\0';
	assert_true(sts_domain_read(domain, name));
	assert_string_equal(domain, name);
	name[STS_DOMAIN_MAX] = '.';
	name[STS_DOMAIN_MAX + 1] = '\0';
	assert_true(sts_domain_read(domain, name));
	name[STS_DOMAIN_MAX] = 'x';
	assert_false(sts_domain_read(domain, name));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_names),
		cmocka_unit_test(refuses_all_others),
		cmocka_unit_test(limits_the_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
