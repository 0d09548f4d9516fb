/* SPDX-License-Identifier: ISC */
/* Everything about TLS: what a domain may want, and a zone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "delivery/lookup.h"
#include "fakeresolver.h"

enum {
	TLSA = 1,
	STS = 2,
	TLSRPT = 4,
	STS_WAITS = 8,
	UNTRUSTED = 16, /* the resolver */
	RELAY = 32
};

#define HOST(name, how) \
	{ name, DNS_A, how, "192.0.2.1", 5 }, \
	{ \
		name, DNS_AAAA, "d+", "", 5 \
	}
#define MX(domain, how, data) \
	{ \
		domain, DNS_MX, how, data, 5 \
	}
#define RECORD(name, how, delay) \
	{ \
		"_25._tcp." name, DNS_TLSA, how, name, delay \
	}

static const struct row tls_rows[] = {
	MX("plain", "F", "10 mx"),
	MX("secure", "F+", "10 mx"),
	MX("alias", "F+target", "10 mx"),
	MX("two", "F+", "10 mx 20 slow 30 plainhost"),
	MX("literal", "F+", "5 192.0.2.9 10 mx 20 a\\032b"),
	HOST("mx", "F+"),
	RECORD("mx", "F+", 9),
	{ "_2525._tcp.mx", DNS_TLSA, "F+", "other port", 5 },

	MX("self", "d+", ""),
	HOST("self", "F+"),
	RECORD("self", "F+", 5),
	MX("selfnx", "N+", ""),
	HOST("selfnx", "F+"),
	RECORD("selfnx", "d+", 5),
	MX("selfplain", "d", ""),
	HOST("selfplain", "F+"),

	/* Secure MX records, and a host that never answers the question. */
	MX("plainhost", "F+", "10 plainhost"),
	{ "plainhost", DNS_A, "F", "192.0.2.2", 5 },
	{ "plainhost", DNS_AAAA, "d", "", 7 },
	RECORD("plainhost", "-", 0),
	MX("half", "F+", "10 half"),
	{ "half", DNS_A, "F+", "192.0.2.2", 5 },
	{ "half", DNS_AAAA, "?", "", 7 },
	RECORD("half", "F+", 900),
	MX("late", "F+", "10 late"),
	{ "late", DNS_A, "-", "", 0 },
	{ "late", DNS_AAAA, "F+", "2001:db8::1", 5 },
	RECORD("late", "F+", 5),
	MX("lost", "-", ""),
	MX("gone", "F+", "10 gone"),
	{ "gone", DNS_A, "N+", "", 5 },
	{ "gone", DNS_AAAA, "N+", "", 5 },
	RECORD("gone", "-", 0),
	MX("slow", "F+", "10 slow"),
	HOST("slow", "F+"),
	RECORD("slow", "-", 0),
	MX("bogus", "F+", "10 bogus"),
	HOST("bogus", "F+"),
	RECORD("bogus", "?", 5),
	MX("forged", "F+", "10 forged"),
	HOST("forged", "F+"),
	RECORD("forged", "F", 5),

	/* Aliases. */
	MX("c", "F+", "10 c 20 mx"),
	{ "c", DNS_A, "F+t", "192.0.2.3", 5 },
	{ "c", DNS_AAAA, "d+t", "", 5 },
	RECORD("c", "-", 0),
	RECORD("t", "F+", 5),
	MX("d", "F+", "10 d"),
	{ "d", DNS_A, "F+u", "192.0.2.3", 5 },
	{ "d", DNS_AAAA, "d+u", "", 5 },
	RECORD("d", "F+", 5),
	RECORD("u", "N+", 5),
	MX("e", "F+", "10 e"),
	{ "e", DNS_A, "Ft", "192.0.2.3", 5 },
	{ "e", DNS_AAAA, "dt", "", 5 },
	{ "e", DNS_CNAME, "F+t", "", 5 },
	RECORD("e", "F+", 300),
	MX("f", "F+", "10 f"),
	{ "f", DNS_A, "Ft", "192.0.2.3", 5 },
	{ "f", DNS_AAAA, "dt", "", 5 },
	{ "f", DNS_CNAME, "Ft", "", 5 },
	RECORD("f", "-", 0),
	MX("g", "F+", "10 g"),
	{ "g", DNS_A, "F+t", "192.0.2.3", 5 },
	{ "g", DNS_AAAA, "-", "", 0 },
	RECORD("g", "-", 0),

	/* TXT records. */
	{ "_mta-sts.plain", DNS_TXT, "F", "sts", 3 },
	{ "_smtp._tls.plain", DNS_TXT, "F", "rpt", 3 },
	{ "_mta-sts.secure", DNS_TXT, "F", "sts", 12 },
	{ "_smtp._tls.secure", DNS_TXT, "-", "", 0 },
	{ "_mta-sts.mx", DNS_TXT, "F+", "relay", 3 },
	{ "_smtp._tls.mx", DNS_TXT, "d", "", 3 },
	{ "_mta-sts.half", DNS_TXT, "F", "late", 1990 },
	{ "_smtp._tls.half", DNS_TXT, "F", "late", 1000 },
	{ "_mta-sts.slow", DNS_TXT, "-", "", 0 },
	{ "_smtp._tls.slow", DNS_TXT, "F", "rpt", 30 },
	{ "_mta-sts.self", DNS_TXT, "?", "", 1 },
	{ "_smtp._tls.self", DNS_TXT, "?", "", 1 },
	{ "_mta-sts.gone", DNS_TXT, "F", "sts", 3 },
	{ "_smtp._tls.gone", DNS_TXT, "-", "", 0 },
	{ 0 },
};

static void
describe_tlsa(char *text, size_t size, const struct mx_list *list)
{
	static const char *const outcomes[] = { "-", "none", "found",
		"failed" };
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; i < list->nhost; i++) {
		const struct dns_tlsa *t = &list->host[i].tlsa;

		n += (size_t)snprintf(text + n, size - n, "%s%s",
		    i > 0 ? "; " : "", outcomes[t->outcome]);
		if (t->base[0] != '\0')
			n += (size_t)snprintf(text + n, size - n, " %s",
			    t->base);
		assert_true(n < size);
		assert_int_equal(t->set.n, t->outcome == DNS_TLSA_FOUND);
		if (t->outcome == DNS_TLSA_FOUND)
			assert_int_equal(t->ttl_s, TTL);
	}
}

static const struct {
	const char *host;
	unsigned wants;
	unsigned long timeout_s;
	uint16_t port;
	const char *tlsa; /* of each host; NULL: no host is found */
	const char *sts, *tlsrpt;
	size_t questions, waves;
	int64_t ms;
} tls_cases[] = {
#define NO_TEXT "?", "?"
	{ "secure", TLSA, 0, 25, "found mx", NO_TEXT, 4, 2, 14 },
	{ "alias", TLSA, 0, 25, "found mx", NO_TEXT, 4, 2, 14 },
	{ "secure", TLSA, 0, 2525, "found mx", NO_TEXT, 4, 2, 10 },
	{ "secure", 0, 0, 25, "-", NO_TEXT, 3, 2, 10 },
	{ "secure", TLSA | UNTRUSTED, 0, 25, "-", NO_TEXT, 3, 2, 10 },
	{ "plain", TLSA, 0, 25, "-", NO_TEXT, 3, 2, 10 },
	/* A relay is as good as a secure MX record. */
	{ "mx", TLSA | RELAY, 0, 25, "found mx", NO_TEXT, 3, 1, 9 },
	{ "mx.", TLSA | RELAY, 0, 25, "found mx", NO_TEXT, 3, 1, 9 },
	{ "mx", TLSA | RELAY | UNTRUSTED, 0, 25, "-", NO_TEXT, 2, 1, 5 },
	{ "mx", RELAY, 0, 25, "-", NO_TEXT, 2, 1, 5 },
	/* So is a secure answer that there is none. */
	{ "self", TLSA, 0, 25, "found self", NO_TEXT, 4, 2, 10 },
	{ "selfnx", TLSA, 0, 25, "none", NO_TEXT, 4, 2, 10 },
	{ "selfplain", TLSA, 0, 25, "-", NO_TEXT, 3, 2, 10 },

	{ "plainhost", TLSA, 0, 25, "-", NO_TEXT, 4, 2, 12 },
	{ "half", TLSA, 0, 25, "found half", NO_TEXT, 4, 2, 905 },
	{ "gone", TLSA, 0, 25, NULL, NO_TEXT, 4, 2, 10 },
	{ "slow", TLSA, 0, 25, "failed slow", NO_TEXT, 4, 2, 60005 },
	{ "slow", TLSA, 7, 25, "failed slow", NO_TEXT, 4, 2, 7005 },
	/* An address family that is not known is not one that is insecure. */
	{ "late", TLSA, 3, 25, "found late", NO_TEXT, 4, 2, 3005 },
	{ "late", 0, 3, 25, "-", NO_TEXT, 3, 2, 3005 },
	{ "lost", TLSA | STS | STS_WAITS, 3, 25, NULL, "none", "?", 2, 1,
	    3000 },
	{ "bogus", TLSA, 0, 25, "failed bogus", NO_TEXT, 4, 2, 10 },
	{ "forged", TLSA, 0, 25, "none", NO_TEXT, 4, 2, 10 },
	{ "two", TLSA, 7, 25, "found mx; failed slow; -", NO_TEXT, 10, 2,
	    7005 },
	{ "literal", TLSA, 0, 25, "-; found mx; -", NO_TEXT, 4, 2, 14 },
	{ "[192.0.2.1]", TLSA | STS | TLSRPT | STS_WAITS, 0, 25, "-", NO_TEXT,
	    0, 0, 0 },
	{ "[192.0.2.1]", TLSA | STS | TLSRPT | RELAY, 0, 25, "-", NO_TEXT, 0, 0,
	    0 },
	{ "a..b", TLSA | STS | TLSRPT, 0, 25, NULL, NO_TEXT, 0, 0, 0 },

	{ "c", TLSA, 0, 25, "found t; found mx", NO_TEXT, 8, 3, 19 },
	{ "d", TLSA, 0, 25, "found d", NO_TEXT, 5, 3, 15 },
	{ "e", TLSA, 0, 25, "found e", NO_TEXT, 5, 3, 305 },
	{ "f", TLSA, 0, 25, "-", NO_TEXT, 5, 3, 15 },
	{ "c", 0, 0, 25, "-; -", NO_TEXT, 5, 2, 10 },
	{ "c", TLSA | RELAY, 0, 25, "found t", NO_TEXT, 4, 2, 10 },
	/* An address that does not come does not come later either. */
	{ "g", TLSA, 2, 25, "found t", NO_TEXT, 5, 3, 2010 },

	/* TXT records come along. */
	{ "plain", STS | TLSRPT, 0, 25, "-", "sts", "rpt", 5, 2, 10 },
	{ "plain", STS, 0, 25, "-", "sts", "?", 4, 2, 10 },
	{ "plain", TLSRPT, 0, 25, "-", "?", "rpt", 4, 2, 10 },
	{ "secure", STS | TLSRPT, 0, 25, "-", "?", "?", 5, 2, 10 },
	{ "secure", TLSA | STS | TLSRPT, 0, 25, "found mx", "sts", "?", 6, 2,
	    14 },
	{ "secure", STS | TLSRPT | STS_WAITS, 0, 25, "-", "sts", "?", 5, 2,
	    12 },
	{ "secure", TLSRPT | STS_WAITS, 0, 25, "-", "?", "?", 4, 2, 10 },
	{ "half", STS | TLSRPT | STS_WAITS, 0, 25, "-", "late", "late", 5, 2,
	    1990 },
	{ "half", STS | TLSRPT, 0, 25, "-", "?", "?", 5, 2, 12 },
	{ "slow", STS | TLSRPT | STS_WAITS, 0, 25, "-", "?", "rpt", 5, 2,
	    2000 },
	{ "slow", STS | STS_WAITS, 1, 25, "-", "?", "?", 4, 2, 1000 },
	/* The address wave took longer than 2 s. */
	{ "slow", TLSA | STS | STS_WAITS, 7, 25, "failed slow", "?", "?", 5, 2,
	    7005 },
	{ "self", STS | TLSRPT | STS_WAITS, 0, 25, "-", "failed", "failed", 5,
	    2, 10 },
	{ "mx", STS | TLSRPT | RELAY, 0, 25, "-", "relay", "none", 4, 1, 5 },
	/* Of a domain without a host; nothing is waited for. */
	{ "gone", STS | TLSRPT | STS_WAITS, 0, 25, NULL, "sts", "?", 5, 2, 10 },
	{ "nowhere", STS | TLSRPT | STS_WAITS, 0, 25, NULL, "none", "none", 5,
	    2, 0 },
};

/* "?" is not there, for whatever reason. */
static const char *
describe_text(const struct dns_answer *a)
{
	assert_int_equal(a->ntext, a->outcome == DNS_FOUND);
	assert_false(a->is_pending);
	if (a->outcome == DNS_FOUND)
		return buf_text(a->text);
	if (a->outcome == DNS_TEMPFAIL)
		return a->ttl_s == TTL ? "failed" : "?";
	return "none";
}

static void
check_tls_case(size_t i)
{
	char tlsa[200] = "";
	const char *want = tls_cases[i].tlsa;
	unsigned wants = tls_cases[i].wants;
	struct lookup_texts texts;
	struct lookup l = { .host = tls_cases[i].host,
		.is_relay = wants & RELAY,
		.relay_file = "control/smtproutes",
		.resolver = &resolver,
		.timeout_s = tls_cases[i].timeout_s,
		.wants_tlsa = wants & TLSA,
		.port = tls_cases[i].port,
		.wants_sts = wants & STS,
		.wants_tlsrpt = wants & TLSRPT,
		.sts_must_wait = wants & STS_WAITS,
		.texts = wants & (STS | TLSRPT) ? &texts : NULL };
	struct mx_list list;
	struct dsn why = { 0 };
	int result;

	fake.n = fake.waves = 0;
	fake.has_waited = false;
	fake.knows_security = !(wants & UNTRUSTED);
	now_ms = 0;
	result = lookup_hosts(&list, &l, &why);
	assert_int_equal(count_pending(), 0);
	describe_tlsa(tlsa, sizeof tlsa, &list);
	if ((result == 0) != (want != NULL) ||
	    (want != NULL && strcmp(tlsa, want) != 0) ||
	    fake.n != tls_cases[i].questions ||
	    fake.waves != tls_cases[i].waves || now_ms != tls_cases[i].ms)
		fail_msg("%s %u: %s, %zu questions, %zu waves, %d ms",
		    tls_cases[i].host, wants, tlsa, fake.n, fake.waves,
		    (int)now_ms);
	mx_list_finish(&list);
	if (l.texts == NULL)
		return;
	if (strcmp(describe_text(&texts.sts), tls_cases[i].sts) != 0 ||
	    strcmp(describe_text(&texts.tlsrpt), tls_cases[i].tlsrpt) != 0)
		fail_msg("%s %u: %s, %s", tls_cases[i].host, wants,
		    describe_text(&texts.sts), describe_text(&texts.tlsrpt));
	lookup_texts_finish(&texts);
}

static void
records_about_tls(void **state)
{
	(void)state;
	fake.row = tls_rows;
	for (size_t i = 0; i < sizeof tls_cases / sizeof *tls_cases; i++)
		check_tls_case(i);
	fake.row = NULL;
	fake.knows_security = false;
}

/* For the reference identifiers of DANE-TA. */
static void
the_expanded_next_hop_is_known(void **state)
{
	struct lookup l = { .host = "alias", .resolver = &resolver };
	struct mx_list list;
	struct dsn why = { 0 };

	(void)state;
	fake.row = tls_rows;
	fake.n = 0;
	assert_int_equal(lookup_hosts(&list, &l, &why), 0);
	assert_int_equal(list.outcome, DNS_FOUND);
	assert_int_equal(list.security, DNS_SECURE);
	assert_string_equal(list.canonical, "target");
	mx_list_finish(&list);
	fake.row = NULL;
}

/* Their names are longer than that of the domain. */
static void
long_names_are_asked_for(void **state)
{
	char host[DNS_NAME_SIZE];
	struct lookup_texts texts;
	struct lookup l = { .host = host,
		.resolver = &resolver,
		.wants_sts = true,
		.wants_tlsrpt = true,
		.texts = &texts };
	struct mx_list list;
	struct dsn why = { 0 };

	(void)state;
	for (size_t i = 0; i < 254; i++)
		host[i] = i % 2 ? '.' : 'x';
	host[254] = '\0';
	fake.n = 0;
	fake.row = tls_rows;
	assert_int_equal(lookup_hosts(&list, &l, &why), -1);
	fake.row = NULL;
	assert_int_equal(strlen(fake.question[0].name), 9 + 254);
	assert_int_equal(strlen(fake.question[1].name), 11 + 254);
	lookup_texts_finish(&texts);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_about_tls),
		cmocka_unit_test(the_expanded_next_hop_is_known),
		cmocka_unit_test(long_names_are_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
