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
#include "dns/addr.h"

/*
 * The result of the two answers for one host.  Which questions are asked, and
 * the order of addresses, is tested with whole look-ups in test_lookup.c.
 */

/*
 * An answer as text: F found, d no data, N no such name, ? failed; then '+' if
 * it is secure, and the canonical name.
 */
static struct {
	const char *v4, *v6;
	uint32_t ttl4, ttl6;
} fake;

void
dns_resolver_ask(struct dns_resolver *r, const char *name, int type,
    struct dns_answer *into)
{
	static const char letters[] = "FdN?";
	const char *text = type == DNS_A ? fake.v4 : fake.v6;

	assert_null(r);
	assert_string_equal(name, "host");
	*into = (struct dns_answer){
		.outcome =
		    (enum dns_outcome)(strchr(letters, text[0]) - letters),
		.ttl_s = type == DNS_A ? fake.ttl4 : fake.ttl6
	};
	if (*++text == '+') {
		into->security = DNS_SECURE;
		text++;
	}
	into->is_alias = *text != '\0';
	assert_int_equal(str_copy(into->canonical, sizeof into->canonical,
			     text),
	    0);
	if (into->outcome == DNS_FOUND) {
		into->ip = mem_alloc(1, sizeof *into->ip);
		into->ip->byte[0] = (unsigned char)type;
		into->nip = 1;
	}
}

void
dns_resolver_forget(struct dns_resolver *r, struct dns_answer *into)
{
	(void)r;
	(void)into;
	fail();
}

static const struct {
	const char *v6, *v4;
	enum dns_outcome outcome;
	enum dns_security security;
	const char *canonical;
	bool is_alias;
	uint32_t ttl_s; /* 60 for IPv6, 50 for IPv4 */
	size_t nip;
} cases[] = {
	{ "F+", "F+", DNS_FOUND, DNS_SECURE, "", false, 50, 2 },
	{ "F", "F+", DNS_FOUND, DNS_INSECURE, "", false, 50, 2 },
	{ "F+", "F", DNS_FOUND, DNS_INSECURE, "", false, 50, 2 },
	{ "d+", "F+", DNS_FOUND, DNS_SECURE, "", false, 50, 1 },
	{ "d", "F+", DNS_FOUND, DNS_INSECURE, "", false, 50, 1 },
	{ "F+", "N+", DNS_FOUND, DNS_SECURE, "", false, 50, 1 },
	/* A failed answer is ignored. */
	{ "?", "F+", DNS_FOUND, DNS_SECURE, "", false, 50, 1 },
	{ "F+", "?", DNS_FOUND, DNS_SECURE, "", false, 60, 1 },
	{ "?", "F", DNS_FOUND, DNS_INSECURE, "", false, 50, 1 },
	{ "?", "?", DNS_TEMPFAIL, DNS_INSECURE, "", false, 0, 0 },
	{ "?", "d+", DNS_TEMPFAIL, DNS_INSECURE, "", false, 0, 0 },
	{ "N+", "?", DNS_TEMPFAIL, DNS_INSECURE, "", false, 0, 0 },
	{ "d+", "d+", DNS_NODATA, DNS_SECURE, "", false, 50, 0 },
	{ "N", "d", DNS_NXDOMAIN, DNS_INSECURE, "", false, 50, 0 },
	{ "N", "N", DNS_NXDOMAIN, DNS_INSECURE, "", false, 50, 0 },
	{ "F+a", "F+A", DNS_FOUND, DNS_SECURE, "A", true, 50, 2 },
	{ "F+a", "F+b", DNS_FOUND, DNS_SECURE, "", true, 50, 2 },
	{ "d+a", "F+b", DNS_FOUND, DNS_SECURE, "b", true, 50, 1 },
	{ "F+a", "?b", DNS_FOUND, DNS_SECURE, "a", true, 60, 1 },
	{ "F+a", "F+", DNS_FOUND, DNS_SECURE, "", true, 50, 2 },
	{ "d+a", "d+a", DNS_NODATA, DNS_SECURE, "a", true, 50, 0 },
};

static void
two_answers_make_a_host(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mx_list list = { 0 };
		struct mx_host *host;
		struct addr_wave wave;

		mx_list_implicit(&list, "host");
		host = &list.host[0];
		fake.v4 = cases[i].v4;
		fake.v6 = cases[i].v6;
		fake.ttl4 = 50;
		fake.ttl6 = 60;
		addr_wave_begin(&wave, &list, NULL);
		addr_wave_end(&wave);
		if (host->outcome != cases[i].outcome ||
		    host->security != cases[i].security ||
		    host->is_alias != cases[i].is_alias ||
		    host->ttl_s != cases[i].ttl_s ||
		    host->nip != cases[i].nip ||
		    strcmp(host->canonical, cases[i].canonical) != 0)
			fail_msg("%s %s: %d%s %s %u", cases[i].v6, cases[i].v4,
			    (int)host->outcome,
			    host->security == DNS_SECURE ? "+" : "",
			    host->canonical, host->ttl_s);
		if (host->nip == 2)
			assert_int_equal(host->ip[0].byte[0], DNS_AAAA);
		mx_list_finish(&list);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_answers_make_a_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
