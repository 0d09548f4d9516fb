/* SPDX-License-Identifier: ISC */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "dns/mx.h"

/* The order of hosts is tested with whole look-ups in test_lookup.c. */

static struct dns_answer
answer_of(enum dns_outcome outcome, const char *exchange)
{
	struct dns_answer a = { .outcome = outcome,
		.security = DNS_SECURE,
		.canonical = "canonical",
		.ttl_s = 42 };

	if (exchange == NULL)
		return a;
	a.mx = mem_alloc(1, sizeof *a.mx);
	a.nmx = 1;
	assert_int_equal(str_copy(a.mx->name, sizeof a.mx->name, exchange), 0);
	return a;
}

static void
an_answer_makes_a_list(void **state)
{
	static const struct {
		enum dns_outcome outcome;
		const char *exchange;
		const char *host; /* NULL: none */
		bool is_implicit;
	} cases[] = {
		{ DNS_FOUND, "m", "m", false },
		{ DNS_FOUND, "", NULL, false },
		{ DNS_NODATA, NULL, "domain", true },
		{ DNS_NXDOMAIN, NULL, "domain", true },
		{ DNS_TEMPFAIL, NULL, NULL, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dns_answer a =
		    answer_of(cases[i].outcome, cases[i].exchange);
		struct mx_list list = { 0 };

		mx_list_read(&list, "domain.", &a);
		assert_int_equal(list.nhost, cases[i].host != NULL);
		if (cases[i].host != NULL)
			assert_string_equal(list.host[0].name, cases[i].host);
		assert_int_equal(list.is_implicit, cases[i].is_implicit);
		assert_int_equal(list.outcome, cases[i].outcome);
		assert_int_equal(list.security, DNS_SECURE);
		assert_string_equal(list.canonical, "canonical");
		assert_int_equal(list.ttl_s, 42);
		dns_answer_finish(&a);
		mx_list_finish(&list);
	}
}

/* The outcome of each host: F found, d no data, N no such name, ? not known. */
static void
set_outcomes(struct mx_list *list, const char *outcomes)
{
	static const char letters[] = "FdN?";

	list->nhost = strlen(outcomes);
	list->host = mem_alloc(list->nhost, sizeof *list->host);
	for (size_t i = 0; i < list->nhost; i++)
		list->host[i].outcome =
		    (enum dns_outcome)(strchr(letters, outcomes[i]) - letters);
}

static void
all_hosts_make_a_verdict(void **state)
{
	static const struct {
		const char *outcomes;
		bool is_implicit, is_cut, is_alias;
		enum mx_verdict verdict;
	} cases[] = {
		{ "F", false, false, false, MX_FOUND },
		{ "NdF?", false, true, false, MX_FOUND },
		{ "F", true, false, true, MX_FOUND },
		{ "Nd?", false, false, false, MX_UNCERTAIN },
		{ "?", true, false, true, MX_UNCERTAIN },
		{ "?N", false, true, false, MX_UNCERTAIN },
		{ "Nd", false, true, false, MX_CUT },
		{ "Nd", false, false, false, MX_NO_ADDRESS },
		{ "d", false, false, true, MX_NO_ADDRESS },
		{ "N", true, false, false, MX_NO_DOMAIN },
		{ "N", true, false, true, MX_NO_DOMAIN },
		{ "d", true, false, false, MX_NO_RECORDS },
		{ "d", true, false, true, MX_DANGLING_ALIAS },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mx_list list = { .is_implicit = cases[i].is_implicit,
			.is_cut = cases[i].is_cut };
		const char *unknown = strchr(cases[i].outcomes, '?');

		set_outcomes(&list, cases[i].outcomes);
		list.host[0].is_alias = cases[i].is_alias;
		if (mx_list_verdict(&list) != cases[i].verdict)
			fail_msg("%s: %d", cases[i].outcomes,
			    (int)mx_list_verdict(&list));
		assert_ptr_equal(mx_list_uncertain(&list),
		    unknown == NULL ? NULL
				    : &list.host[unknown - cases[i].outcomes]);
		mx_list_finish(&list);
	}
}

static void
literals(void **state)
{
	struct mx_list list = { 0 };

	(void)state;
	assert_false(mx_list_literal(&list, "example.org"));
	assert_int_equal(list.nhost, 0);
	assert_true(mx_list_literal(&list, "[IPv6:2001:DB8::1]"));
	assert_int_equal(list.nhost, 1);
	assert_string_equal(list.host[0].name, "2001:db8::1");
	assert_true(list.host[0].is_literal);
	assert_int_equal(mx_list_verdict(&list), MX_FOUND);
	mx_list_finish(&list);
}

static void
a_list_owns_tlsa_records(void **state)
{
	struct mx_list list = { 0 };

	(void)state;
	mx_list_implicit(&list, "host");
	assert_int_equal(list.host[0].tlsa.outcome, DNS_TLSA_UNASKED);
	assert_true(tlsa_add(&list.host[0].tlsa.set, 3, 1, 1, "x", 1));
	mx_list_finish(&list); /* the sanitizer finds what is left */
	assert_int_equal(list.nhost, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_makes_a_list),
		cmocka_unit_test(all_hosts_make_a_verdict),
		cmocka_unit_test(literals),
		cmocka_unit_test(a_list_owns_tlsa_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
