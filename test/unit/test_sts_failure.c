/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <wchar.h>

#include "sts/failure.h"

static void
keeps_cause_and_clean_text(void **state)
{
	struct sts_failure f = { .cause = STS_CAUSE_NONE };
	char text[2 * STS_REASON_SIZE];

	(void)state;
	assert_int_equal(sts_failure_set(&f, STS_CAUSE_WEBPKI, "a\n%s\xff",
			     "b\x7f"),
	    -1);
	assert_int_equal(f.cause, STS_CAUSE_WEBPKI);
	assert_string_equal(f.reason, "a?b??");
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	assert_int_equal(sts_failure_set(&f, STS_CAUSE_LOCAL, "%s", text), -1);
	assert_int_equal(strlen(f.reason), STS_REASON_SIZE - 1);
	/* No character, so printf() fails. */
	assert_int_equal(sts_failure_set(&f, STS_CAUSE_LOCAL, "%lc",
			     (wint_t)0x110000),
	    -1);
	assert_string_equal(f.reason, "");
}

static void
names_the_causes(void **state)
{
	/* The names of RFC 8460 section 4.3.2.2. */
	static const char *const names[] = { "none", "local",
		"sts-policy-fetch-error", "sts-policy-invalid",
		"sts-webpki-invalid" };
	enum sts_cause cause = STS_CAUSE_NONE;

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct sts_text name = { names[i], strlen(names[i]) };

		assert_string_equal(sts_cause_name((enum sts_cause)i),
		    names[i]);
		assert_true(sts_cause_parse(&cause, name));
		assert_int_equal(cause, i);
		name.n--;
		assert_false(sts_cause_parse(&cause, name));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_cause_and_clean_text),
		cmocka_unit_test(names_the_causes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
