/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "attempt_stage.h"

static void
verifies_by_anchors(void **state)
{
	static const struct policy_cell cells[] = {
		/* control/tlsstrictness. */
		{ { NAMED(PROVE, TLS_FROM_STRICTNESS) }, UP_TO_TLS "t+pkix e+",
		    NULL, ATTEMPT_READY, "", "2 anchors=/anchors",
		    "TLSv1.3 X, certificate verified for mx.example", "" },
		/* A line of control/tlspolicy, with each of its attributes. */
		{ { NAMED(PROVE, TLS_FROM_RULE) }, UP_TO_TLS "t+pkix e+", NULL,
		    ATTEMPT_READY, "", "2 anchors=/anchors",
		    "TLSv1.3 X, certificate verified for mx.example", "" },
		{ { NAMED(PROVE, TLS_FROM_RULE), .names = "a.example,.b" },
		    UP_TO_TLS "t+pkix e+", NULL, ATTEMPT_READY, "",
		    "2 anchors=/anchors match=a.example,.b",
		    "TLSv1.3 X, certificate verified for mx.example", "" },
		{ { NAMED(PROVE, TLS_FROM_RULE), .anchors = "/own" },
		    UP_TO_TLS "t+pkix e+", NULL, ATTEMPT_READY, "",
		    "2 anchors=/own",
		    "TLSv1.3 X, certificate verified for mx.example", "" },
		{ { NAMED(PROVE, TLS_FROM_RULE), .names = "a.example",
		      .anchors = "/own" },
		    UP_TO_TLS "t-", NULL, ATTEMPT_NEXT, "tls",
		    "2 anchors=/own match=a.example", "no cipher", "" },
		/* control/tlshosts. */
		{ { NAMED(PROVE, TLS_FROM_HOSTFILE), .anchors = "/pem" },
		    UP_TO_TLS "t+pkix e+", NULL, ATTEMPT_READY, "",
		    "2 anchors=/pem",
		    "TLSv1.3 X, certificate verified for mx.example", "" },
		/* MTA-STS. */
		{ { NAMED(PROVE, TLS_FROM_STS_ENFORCE) }, UP_TO_TLS "t+pkix e+",
		    NULL, ATTEMPT_READY, "", "2 anchors=/anchors",
		    "TLSv1.3 X, MTA-STS, certificate verified for mx.example",
		    "" },
		{ { NAMED(PROVE, TLS_FROM_STS_ENFORCE) }, UP_TO_TLS "t-", NULL,
		    ATTEMPT_NEXT, "tls", "2 anchors=/anchors", "no cipher",
		    "" },
		{ { NAMED(PROVE, TLS_FROM_STS_ENFORCE) }, "g+ e+", NULL,
		    ATTEMPT_NEXT, "not offered", "", "", "quit close100" },
	};

	(void)state;
	check_policies(cells, sizeof cells / sizeof *cells);
}

static void
verifies_by_tlsa_records(void **state)
{
	static const struct policy_cell cells[] = {
		{ DANE(OR_ENCRYPT), UP_TO_TLS "t+dane e+", NULL, ATTEMPT_READY,
		    "", DANE_HELPER, "TLSv1.3 X, DANE (3 1 1)", "" },
		{ DANE(OR_ENCRYPT), UP_TO_TLS "t-", NULL, ATTEMPT_NEXT, "tls",
		    DANE_HELPER, "no cipher", "" },
		{ DANE(OR_ENCRYPT), UP_TO_TLS "tm", NULL, ATTEMPT_LOCAL,
		    "setup", DANE_HELPER, "no cipher", "" },
		{ DANE(OR_ENCRYPT), "g+ e+", NULL, ATTEMPT_NEXT, "not offered",
		    "", "", "quit close100" },
		{ DANE(OR_ENCRYPT), "g+ e+tls s-454", NULL, ATTEMPT_NEXT,
		    "starttls", "", "", "quit close100" },
		{ DANE(OR_ENCRYPT), "g+ e-500", NULL, ATTEMPT_NEXT, "hello", "",
		    "", "quit close100" },
		{ DANE(OR_ENCRYPT), UP_TO_TLS "t+dane e-500 h-500", NULL,
		    ATTEMPT_NEXT, "hello", DANE_HELPER,
		    "TLSv1.3 X, DANE (3 1 1)", "quit close101 close102" },
		/* OpenSSL can use none of them. */
		{ DANE(OR_ENCRYPT), UP_TO_TLS "t+unusable e+", NULL,
		    ATTEMPT_READY, "", DANE_HELPER,
		    "TLSv1.3 X, DANE records unusable, certificate not "
		    "verified",
		    "" },
		/* Then the certificate is verified for the name of the MX. */
		{ DANE(OR_VERIFY), UP_TO_TLS "t+unusable-pkix e+", NULL,
		    ATTEMPT_READY, "",
		    "2 tlsa names=mx.example,dst.example anchors=/anchors "
		    "match=mxname.example",
		    "TLSv1.3 X, MTA-STS, DANE records unusable, certificate "
		    "verified for mx.example",
		    "" },
		{ DANE(OR_STRICT(TLS_FROM_STRICTNESS)),
		    UP_TO_TLS "t+unusable-pkix e+", NULL, ATTEMPT_READY, "",
		    "2 tlsa names=mx.example,dst.example anchors=/anchors "
		    "match=mxname.example",
		    "TLSv1.3 X, DANE records unusable, certificate verified "
		    "for mx.example",
		    "" },
		{ DANE(OR_STRICT(TLS_FROM_STS_TESTING)),
		    UP_TO_TLS "t+unusable-pkix e+", NULL, ATTEMPT_READY, "",
		    "2 tlsa names=mx.example,dst.example anchors=/anchors "
		    "match=mxname.example",
		    "TLSv1.3 X, MTA-STS testing, DANE records unusable, "
		    "certificate verified for mx.example",
		    "" },
		{ DANE(OR_VERIFY), UP_TO_TLS "t+dane e+", NULL, ATTEMPT_READY,
		    "",
		    "2 tlsa names=mx.example,dst.example anchors=/anchors "
		    "match=mxname.example",
		    "TLSv1.3 X, DANE (3 1 1)", "" },
		/* Then the host must not be used. */
		{ DANE(OR_SKIP(TLS_LEVEL_DANE, TLS_SKIP_DANE_UNUSABLE)),
		    UP_TO_TLS "t+unusable", NULL, ATTEMPT_NEXT, "tls",
		    DANE_HELPER, ALL_UNUSABLE, "stop101" },
		{ DANE(OR_SKIP(TLS_LEVEL_DANE, TLS_SKIP_DANE_UNUSABLE)),
		    UP_TO_TLS "t+dane e+", NULL, ATTEMPT_READY, "", DANE_HELPER,
		    "TLSv1.3 X, DANE (3 1 1)", "" },
		{ DANE(OR_SKIP(PROVE, TLS_SKIP_STS)), UP_TO_TLS "t+unusable",
		    NULL, ATTEMPT_NEXT, "tls", DANE_HELPER, NOT_LISTED,
		    "stop101" },
		{ DANE(OR_SKIP(PROVE, TLS_SKIP_ANCHORS)),
		    UP_TO_TLS "t+unusable", NULL, ATTEMPT_NEXT, "tls",
		    DANE_HELPER,
		    "its certificate has to be verified, and there are no "
		    "trust anchors",
		    "stop101" },
		/* That none can be used was known before: the same lines. */
		{ { NAMED(MUST, TLS_FROM_DANE), .is_without_usable = true },
		    UP_TO_TLS "t+ e+", NULL, ATTEMPT_READY, "", "1",
		    "TLSv1.3 X, DANE records unusable, certificate not "
		    "verified",
		    "" },
		{ { NAMED(PROVE, TLS_FROM_STS_ENFORCE),
		      .is_without_usable = true },
		    UP_TO_TLS "t+pkix e+", NULL, ATTEMPT_READY, "",
		    "2 anchors=/anchors",
		    "TLSv1.3 X, MTA-STS, DANE records unusable, certificate "
		    "verified for mx.example",
		    "" },
		{ { NAMED(PROVE, TLS_FROM_STRICTNESS),
		      .is_without_usable = true },
		    UP_TO_TLS "t+pkix e+", NULL, ATTEMPT_READY, "",
		    "2 anchors=/anchors",
		    "TLSv1.3 X, DANE records unusable, certificate verified "
		    "for mx.example",
		    "" },
		{ { NAMED(PROVE, TLS_FROM_STS_TESTING),
		      .is_without_usable = true },
		    UP_TO_TLS "t+pkix e+", "", ATTEMPT_READY, "",
		    "2 anchors=/anchors describe",
		    "TLSv1.3 X, MTA-STS testing, DANE records unusable, "
		    "certificate verified for mx.example",
		    "anchors" },
	};

	(void)state;
	check_policies(cells, sizeof cells / sizeof *cells);
}

/* The level is that of control/tlsstrictness; the verdict changes nothing. */
static void
tests_what_mta_sts_would_enforce(void **state)
{
	static const struct {
		struct policy_cell cell;
		enum attempt_fault fault;
		bool is_verified;
	} cases[] = {
		{ { TESTING(MAY, false), UP_TO_TLS "t+ e+", "", ATTEMPT_READY,
		      "", "0 anchors=/anchors accept",
		      "TLSv1.3 X, MTA-STS testing, certificate verified for "
		      "mx.example",
		      "anchors" },
		    ATTEMPT_FAULT_NONE, true },
		{ { TESTING(MAY, false), UP_TO_TLS "t+ e+", "name mismatch",
		      ATTEMPT_READY, "", "0 anchors=/anchors accept",
		      "TLSv1.3 X, MTA-STS testing: name mismatch, certificate "
		      "not verified",
		      "anchors" },
		    ATTEMPT_FAULT_CERTIFICATE, false },
		/* A host that the policy does not list. */
		{ { TESTING(MAY, true), UP_TO_TLS "t+ e+", "", ATTEMPT_READY,
		      "", "0 anchors=/anchors accept",
		      "TLSv1.3 X, MTA-STS testing: " NOT_LISTED
		      ", certificate not verified",
		      "anchors" },
		    ATTEMPT_FAULT_UNLISTED, false },
		/* Mandatory TLS would not have been possible. */
		{ { TESTING(MAY, false), UP_TO_TLS "t+1.0 e+", "",
		      ATTEMPT_READY, "", "0 anchors=/anchors accept",
		      "TLSv1 X, MTA-STS testing: " OLD
		      ", certificate not verified",
		      "anchors" },
		    ATTEMPT_FAULT_VERSION, false },
		{ { TESTING(MAY, false), UP_TO_TLS "t+1.1 e+", "",
		      ATTEMPT_READY, "", "0 anchors=/anchors accept",
		      "TLSv1.1 X, MTA-STS testing: " OLD
		      ", certificate not verified",
		      "anchors" },
		    ATTEMPT_FAULT_VERSION, false },
		/* There is no verdict. */
		{ { TESTING(MAY, false), UP_TO_TLS "t+ e+", NULL, ATTEMPT_READY,
		      "", "0 anchors=/anchors accept",
		      "TLSv1.3 X, MTA-STS testing, certificate not verified",
		      "anchors" },
		    ATTEMPT_FAULT_NONE, false },
		/* Strictness 1 and 2. */
		{ { TESTING(MUST, false), UP_TO_TLS "t+ e+", "name mismatch",
		      ATTEMPT_READY, "", "1 anchors=/anchors accept",
		      "TLSv1.3 X, MTA-STS testing: name mismatch, certificate "
		      "not verified",
		      "anchors" },
		    ATTEMPT_FAULT_CERTIFICATE, false },
		{ { TESTING(PROVE, false), UP_TO_TLS "t+pkix e+", "",
		      ATTEMPT_READY, "", "2 anchors=/anchors describe",
		      "TLSv1.3 X, MTA-STS testing, certificate verified for "
		      "mx.example",
		      "anchors" },
		    ATTEMPT_FAULT_NONE, true },
		{ { TESTING(PROVE, true), UP_TO_TLS "t+pkix e+", "",
		      ATTEMPT_READY, "", "2 anchors=/anchors describe",
		      "TLSv1.3 X, MTA-STS testing: " NOT_LISTED
		      ", certificate verified for mx.example",
		      "anchors" },
		    ATTEMPT_FAULT_UNLISTED, true },
		/* Without TLS there is nothing to test. */
		{ { TESTING(MAY, false), "g+ e+", "", ATTEMPT_READY, "", "", "",
		      "" },
		    ATTEMPT_FAULT_NONE, false },
		{ { TESTING(MAY, true), "g+ e+tls s-454", "", ATTEMPT_READY, "",
		      "", "STARTTLS refused (454), sent in clear text", "" },
		    ATTEMPT_FAULT_NONE, false },
		{ { TESTING(MAY, false), UP_TO_TLS "t-", "", ATTEMPT_AGAIN,
		      "tls", "0 anchors=/anchors accept", "no cipher",
		      "anchors" },
		    ATTEMPT_FAULT_NONE, false },
		{ { TESTING(PROVE, false), UP_TO_TLS "t-", "", ATTEMPT_NEXT,
		      "tls", "2 anchors=/anchors describe", "no cipher",
		      "anchors" },
		    ATTEMPT_FAULT_NONE, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct attempt_mode mode;
		struct attempt a;

		check_policies(&cases[i].cell, 1);
		follow_policy(&cases[i].cell, &mode, &a);
		if (a.test.fault != cases[i].fault)
			fail_msg("case %zu: %d", i, a.test.fault);
		if (a.test.fault == ATTEMPT_FAULT_CERTIFICATE)
			assert_int_equal(a.test.cause, TLS_CAUSE_EXPIRED);
		assert_int_equal(a.tls.status == TLS_STATUS_READY &&
				     tls_result_is_verified(&a.tls),
		    cases[i].is_verified);
		attempt_finish(&a);
	}
}

/* A TLS report says then that the records cannot be used. */
static void
tells_that_the_records_were_unusable(void **state)
{
	static const struct policy_cell refused = {
		DANE(OR_SKIP(TLS_LEVEL_DANE, TLS_SKIP_DANE_UNUSABLE)),
		UP_TO_TLS "t+unusable", NULL, ATTEMPT_NEXT, "tls", "", "", ""
	};
	struct attempt_mode mode;
	struct attempt a;

	(void)state;
	follow_policy(&refused, &mode, &a);
	assert_int_equal(a.tls.status, TLS_STATUS_FAILED);
	assert_int_equal(a.tls.proof, TLS_PROOF_UNUSABLE);
	attempt_finish(&a);
}

/*
 * After a failure of TLS: AGAIN is the same connection in clear text, and
 * NO_TLS makes the host one of the second pass.
 */
static void
allows_clear_text_by_the_policy(void **state)
{
	static const char *const scripts[] = { "g+ e+", "g+ e-500", "g+ ex",
		"g+ e+tls s-554", "g+ e+tls sx", "g+ e+tls s!", UP_TO_TLS "t-",
		UP_TO_TLS "t~", UP_TO_TLS "t+ e-421", UP_TO_TLS "t+ e!",
		UP_TO_TLS "t+ ex" };
	static const struct {
		struct tls_policy policy;
		enum attempt_result result;
	} cases[] = {
		{ { NAMED(MUST, TLS_FROM_STRICTNESS) }, ATTEMPT_NO_TLS },
		{ { NAMED(MUST, TLS_FROM_STS_TESTING) }, ATTEMPT_NO_TLS },
		{ { NAMED(MUST, TLS_FROM_RULE) }, ATTEMPT_NEXT },
		{ { NAMED(MUST, TLS_FROM_HOSTFILE) }, ATTEMPT_NEXT },
		{ { NAMED(MUST, TLS_FROM_DANE) }, ATTEMPT_NEXT },
		{ { NAMED(PROVE, TLS_FROM_STRICTNESS) }, ATTEMPT_NEXT },
		{ { NAMED(PROVE, TLS_FROM_STS_TESTING) }, ATTEMPT_NEXT },
		{ { NAMED(PROVE, TLS_FROM_STS_ENFORCE) }, ATTEMPT_NEXT },
		{ { NAMED(PROVE, TLS_FROM_RULE) }, ATTEMPT_NEXT },
		{ DANE(OR_ENCRYPT), ATTEMPT_NEXT },
		{ DANE(OR_VERIFY), ATTEMPT_NEXT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (size_t k = 0; k < sizeof scripts / sizeof *scripts; k++) {
			const struct policy_cell c = {
				.policy = cases[i].policy,
				.script = scripts[k],
				.result = cases[i].result,
			};
			struct attempt_mode mode;
			struct attempt a;

			follow_policy(&c, &mode, &a);
			/* The policy does not get weaker. */
			assert_int_equal(mode.policy.level, c.policy.level);
			attempt_finish(&a);
		}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(verifies_by_anchors),
		cmocka_unit_test(verifies_by_tlsa_records),
		cmocka_unit_test(tests_what_mta_sts_would_enforce),
		cmocka_unit_test(tells_that_the_records_were_unusable),
		cmocka_unit_test(allows_clear_text_by_the_policy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
