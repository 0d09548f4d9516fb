/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>

#include "tls/policy.h"

/*
 * With nothing but trustanchors and tlsstrictness, as before there was more:
 * the decision and its consequences.  All combinations are in
 * test_policy_table.c.
 */
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
		TLS_LEVEL_ENCRYPT, TLS_LEVEL_VERIFY, TLS_LEVEL_DANE };

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

static enum tls_dane
state_of(const char *word)
{
	struct tlsa_set set = { 0 };
	enum tls_dane result;

	assert_true(word[0] == '\0' || tlsa_parse(&set, word));
	result = tls_dane_state(&set);
	tlsa_finish(&set);
	return result;
}

#define SHA256 \
	"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* RFC 7672 sections 2.2 and 3.1.3. */
static void
sees_whether_records_are_usable(void **state)
{
	(void)state;
	assert_int_equal(state_of(""), TLS_DANE_ABSENT);
	assert_int_equal(state_of("3-1-1-" SHA256), TLS_DANE_USABLE);
	assert_int_equal(state_of("1-1-1-" SHA256), TLS_DANE_UNUSABLE);
	assert_int_equal(state_of("3-1-1-00,0-0-1-" SHA256), TLS_DANE_UNUSABLE);
	assert_int_equal(state_of("1-1-1-" SHA256 ",2-0-0-30"),
	    TLS_DANE_USABLE);
}

static void
has_a_reason_for_each_skip(void **state)
{
	(void)state;
	assert_string_equal(tls_skip_text(TLS_SKIP_NOT), "");
	for (int i = TLS_SKIP_NOT + 1; i <= TLS_SKIP_UNVERIFIED; i++) {
		assert_string_not_equal(tls_skip_text((enum tls_skip)i), "");
		for (int k = TLS_SKIP_NOT; k < i; k++)
			assert_string_not_equal(tls_skip_text((enum tls_skip)i),
			    tls_skip_text((enum tls_skip)k));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decides),
		cmocka_unit_test(never_both_demands_and_falls_back),
		cmocka_unit_test(sees_whether_records_are_usable),
		cmocka_unit_test(has_a_reason_for_each_skip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
