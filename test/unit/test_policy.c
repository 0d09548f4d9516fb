/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>

#include "tls/policy.h"

/* All cases: the decision and its consequences. */
static void
decides(void **state)
{
	static const struct {
		bool has_anchors;
		unsigned long strictness;
		enum tls_level want;
		bool tries, demands, verifies, falls_back;
	} cases[] = {
		{ false, 0, TLS_LEVEL_NONE, 0, 0, 0, 0 },
		{ false, 1, TLS_LEVEL_NONE, 0, 0, 0, 0 },
		{ false, 2, TLS_LEVEL_NONE, 0, 0, 0, 0 },
		{ true, 0, TLS_LEVEL_MAY, 1, 0, 0, 1 },
		{ true, 1, TLS_LEVEL_ENCRYPT, 1, 1, 0, 0 },
		{ true, 2, TLS_LEVEL_VERIFY, 1, 1, 1, 0 },
		{ true, 3, TLS_LEVEL_VERIFY, 1, 1, 1, 0 },
		{ true, ULONG_MAX, TLS_LEVEL_VERIFY, 1, 1, 1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tls_situation s = { .has_anchors = cases[i].has_anchors,
			.strictness = cases[i].strictness,
			.name = "mx.example" };
		struct tls_policy p = tls_policy_choose(&s);

		assert_string_equal(p.name, "mx.example");
		if (p.level != cases[i].want ||
		    tls_policy_tries(&p) != cases[i].tries ||
		    tls_policy_requires(&p) != cases[i].demands ||
		    tls_policy_verifies(&p) != cases[i].verifies ||
		    tls_policy_falls_back(&p) != cases[i].falls_back)
			fail_msg("anchors %d, strictness %lu: %d",
			    cases[i].has_anchors, cases[i].strictness,
			    (int)p.level);
	}
}

/* Where TLS is mandatory, there is never a fallback to clear text. */
static void
never_both_demands_and_falls_back(void **state)
{
	static const enum tls_level levels[] = { TLS_LEVEL_NONE, TLS_LEVEL_MAY,
		TLS_LEVEL_ENCRYPT, TLS_LEVEL_VERIFY };

	(void)state;
	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
		struct tls_policy p = { .level = levels[i] };

		if (tls_policy_requires(&p) && tls_policy_falls_back(&p))
			fail_msg("level %d", (int)levels[i]);
		if (tls_policy_verifies(&p) && !tls_policy_requires(&p))
			fail_msg("level %d", (int)levels[i]);
		if (tls_policy_requires(&p) && !tls_policy_tries(&p))
			fail_msg("level %d", (int)levels[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decides),
		cmocka_unit_test(never_both_demands_and_falls_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
