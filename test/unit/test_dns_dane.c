/* SPDX-License-Identifier: ISC */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "dns/dane.h"

/*
 * The TLSA records of one host.  Which hosts they are asked for, and how long
 * they are waited for, is tested with whole look-ups in test_lookup.c.
 */

#define OWN_TTL 50
#define EXPANDED_TTL 40
#define LINK_TTL 30

/* What happened: names asked for, "w" waits, "x" a question is given up. */
static char events[400];

static void
note(const char *event)
{
	size_t n = strlen(events);

	assert_true(n + strlen(event) + 1 < sizeof events);
	(void)snprintf(events + n, sizeof events - n, "%s%s", n > 0 ? " " : "",
	    event);
}

void
dns_resolver_ask(struct dns_resolver *r, const char *name, int type,
    struct dns_answer *into)
{
	assert_null(r);
	if (type == DNS_CNAME)
		note("CNAME");
	else
		assert_int_equal(type, DNS_TLSA);
	note(name);
	*into =
	    (struct dns_answer){ .outcome = DNS_TEMPFAIL, .is_pending = true };
}

void
dns_resolver_forget(struct dns_resolver *r, struct dns_answer *into)
{
	assert_null(r);
	assert_true(into->is_pending);
	into->is_pending = false;
	note("x");
}

/*
 * An answer as text: F found, d no data, N no such name, ? failed; then '+' if
 * it is secure, and the name that its alias leads to.  Found TLSA records have
 * the TTL as their data.
 */
static struct dns_answer
answer(const char *text, uint8_t ttl_s)
{
	static const char letters[] = "FdN?";
	struct dns_answer a = { .ttl_s = ttl_s };

	a.outcome = (enum dns_outcome)(strchr(letters, *text++) - letters);
	if (*text == '+') {
		a.security = DNS_SECURE;
		text++;
	}
	a.is_alias = *text != '\0';
	assert_int_equal(str_copy(a.canonical, sizeof a.canonical, text), 0);
	if (a.outcome == DNS_FOUND && ttl_s > 0)
		assert_true(tlsa_add(&a.tlsa, 3, 1, 1, &ttl_s, 1));
	return a;
}

/* "-" never comes. */
static void
take(struct dns_answer *pending, const char *text, uint8_t ttl_s)
{
	if (pending->is_pending && *text != '-')
		*pending = answer(text, ttl_s);
}

static const struct {
	const char *v6, *v4;
	const char *own; /* after "late " it comes last */
	const char *expanded, *link;
	enum dns_tlsa_outcome outcome;
	const char *base;
	uint32_t ttl_s;
	uint8_t data; /* of the record; 0: none */
	const char *events;
} cases[] = {
#define ASKS "_26._tcp.host"
#define NOT "-", "-"
	/* The name itself. */
	{ "F+", "F+", "F+", NOT, DNS_TLSA_FOUND, "host", 50, 50, ASKS " w" },
	{ "F+", "F+", "F+t", NOT, DNS_TLSA_FOUND, "host", 50, 50, ASKS " w" },
	{ "F+", "F+", "F", NOT, DNS_TLSA_NONE, "", 50, 0, ASKS " w" },
	{ "F+", "F+", "Ft", NOT, DNS_TLSA_NONE, "", 50, 0, ASKS " w" },
	{ "F+", "F+", "d+", NOT, DNS_TLSA_NONE, "", 50, 0, ASKS " w" },
	{ "F+", "F+", "N+", NOT, DNS_TLSA_NONE, "", 50, 0, ASKS " w" },
	{ "F+", "F+", "N", NOT, DNS_TLSA_NONE, "", 50, 0, ASKS " w" },
	{ "F+", "F+", "?", NOT, DNS_TLSA_FAILED, "host", 50, 0, ASKS " w" },
	{ "F+", "F+", "-", NOT, DNS_TLSA_FAILED, "host", 0, 0, ASKS " w x" },

	/* One secure family is enough. */
	{ "F+", "F", "F+", NOT, DNS_TLSA_FOUND, "host", 50, 50, ASKS " w" },
	{ "F", "F+", "F+", NOT, DNS_TLSA_FOUND, "host", 50, 50, ASKS " w" },
	{ "d", "F+", "F+", NOT, DNS_TLSA_FOUND, "host", 50, 50, ASKS " w" },
	{ "?", "F+", "F+", NOT, DNS_TLSA_FOUND, "host", 50, 50, ASKS " w" },
	{ "F+", "?", "F+", NOT, DNS_TLSA_FOUND, "host", 50, 50, ASKS " w" },
	{ "F", "d+", "F+", NOT, DNS_TLSA_FOUND, "host", 50, 50, ASKS " w" },
	{ "d+", "F", "F+", NOT, DNS_TLSA_FOUND, "host", 50, 50, ASKS " w" },

	/* Insecure, or without address: the answer is not waited for. */
	{ "F", "F", "-", NOT, DNS_TLSA_UNASKED, "", 0, 0, ASKS " x" },
	{ "F", "F", "F+", NOT, DNS_TLSA_UNASKED, "", 0, 0, ASKS },
	{ "F", "?+", "?", NOT, DNS_TLSA_UNASKED, "", 0, 0, ASKS },
	{ "d", "F", "-", NOT, DNS_TLSA_UNASKED, "", 0, 0, ASKS " x" },
	{ "d+", "d+", "-", NOT, DNS_TLSA_UNASKED, "", 0, 0, ASKS " x" },
	{ "N+t", "N+t", "-", NOT, DNS_TLSA_UNASKED, "", 0, 0, ASKS " x" },
	{ "?", "?", "-", NOT, DNS_TLSA_UNASKED, "", 0, 0, ASKS " x" },

/* A secure alias: the expanded name, then the name. */
#define EXPANDS " _26._tcp.t w"
	{ "F+t", "F+t", "F+", "F+", "-", DNS_TLSA_FOUND, "t", 40, 40,
	    ASKS EXPANDS },
	{ "F+t", "F+t", "-", "F+", "-", DNS_TLSA_FOUND, "t", 40, 40,
	    ASKS EXPANDS " x" },
	{ "F+t", "F+t", "F+", "d+", "-", DNS_TLSA_FOUND, "host", 40, 50,
	    ASKS EXPANDS },
	{ "F+t", "F+t", "late F+", "N+", "-", DNS_TLSA_FOUND, "host", 40, 50,
	    ASKS EXPANDS " w" },
	{ "F+t", "F+t", "F+", "F", "-", DNS_TLSA_FOUND, "host", 40, 50,
	    ASKS EXPANDS },
	{ "F+t", "F+t", "d+", "d+", "-", DNS_TLSA_NONE, "", 40, 0,
	    ASKS EXPANDS },
	{ "F+t", "F+t", "?", "d+", "-", DNS_TLSA_FAILED, "host", 40, 0,
	    ASKS EXPANDS },
	{ "F+t", "F+t", "-", "d+", "-", DNS_TLSA_FAILED, "host", 0, 0,
	    ASKS EXPANDS " w x" },
	{ "F+t", "F+t", "F+", "?", "-", DNS_TLSA_FAILED, "t", 40, 0,
	    ASKS EXPANDS },
	{ "F+t", "F+t", "late F+", "?", "-", DNS_TLSA_FAILED, "t", 40, 0,
	    ASKS EXPANDS },
	{ "F+t", "F+t", "F+", "-", "-", DNS_TLSA_FAILED, "t", 0, 0,
	    ASKS EXPANDS " x" },
	{ "F+t", "d+t", "-", "F+", "-", DNS_TLSA_FOUND, "t", 40, 40,
	    ASKS EXPANDS " x" },
	{ "d+t", "F+t", "-", "F+", "-", DNS_TLSA_FOUND, "t", 40, 40,
	    ASKS EXPANDS " x" },
	{ "?", "F+t", "-", "F+", "-", DNS_TLSA_FOUND, "t", 40, 40,
	    ASKS EXPANDS " x" },
	/* Of different chains the secure one counts, then the one of IPv6. */
	{ "Fu", "F+t", "-", "F+", "-", DNS_TLSA_FOUND, "t", 40, 40,
	    ASKS EXPANDS " x" },
	{ "F+t", "Fu", "-", "F+", "-", DNS_TLSA_FOUND, "t", 40, 40,
	    ASKS EXPANDS " x" },
	{ "F+t", "F+u", "-", "F+", "-", DNS_TLSA_FOUND, "t", 40, 40,
	    ASKS EXPANDS " x" },
	{ "d+u", "F+t", "-", "F+", "-", DNS_TLSA_FOUND, "t", 40, 40,
	    ASKS EXPANDS " x" },
	{ "d+t", "Fu", "-", "F+", "-", DNS_TLSA_FOUND, "t", 40, 40,
	    ASKS EXPANDS " x" },
	/* A name that cannot be asked for. */
	{ "F+a\\032b", "F+a\\032b", "-", NOT, DNS_TLSA_FAILED, "a\\032b", 0, 0,
	    ASKS " x" },
	{ "F+?", "F+?", "F+", NOT, DNS_TLSA_FAILED, "?", 0, 0, ASKS },

/* An insecure alias: the name, if its link is secure. */
#define LINKS " CNAME host w"
	{ "Ft", "Ft", "F+", "-", "F+t", DNS_TLSA_FOUND, "host", 30, 50,
	    ASKS LINKS },
	{ "Ft", "Ft", "late F+", "-", "F+t", DNS_TLSA_FOUND, "host", 30, 50,
	    ASKS LINKS " w" },
	{ "Ft", "?", "F+", "-", "F+t", DNS_TLSA_FOUND, "host", 30, 50,
	    ASKS LINKS },
	{ "d", "Ft", "F+", "-", "F+t", DNS_TLSA_FOUND, "host", 30, 50,
	    ASKS LINKS },
	{ "Ft", "Ft", "d+", "-", "F+t", DNS_TLSA_NONE, "", 30, 0, ASKS LINKS },
	{ "Ft", "Ft", "F", "-", "F+t", DNS_TLSA_NONE, "", 30, 0, ASKS LINKS },
	{ "Ft", "Ft", "?", "-", "F+t", DNS_TLSA_FAILED, "host", 30, 0,
	    ASKS LINKS },
	{ "Ft", "Ft", "-", "-", "F+t", DNS_TLSA_FAILED, "host", 0, 0,
	    ASKS LINKS " w x" },
	{ "Ft", "Ft", "F+", "-", "d+", DNS_TLSA_FOUND, "host", 30, 50,
	    ASKS LINKS },
	{ "Ft", "Ft", "F+", "-", "Ft", DNS_TLSA_UNASKED, "", 0, 0, ASKS LINKS },
	{ "Ft", "Ft", "-", "-", "Ft", DNS_TLSA_UNASKED, "", 0, 0,
	    ASKS LINKS " x" },
	{ "Ft", "Ft", "F+", "-", "d", DNS_TLSA_UNASKED, "", 0, 0, ASKS LINKS },
	{ "Ft", "Ft", "F+", "-", "?", DNS_TLSA_FAILED, "host", 30, 0,
	    ASKS LINKS },
	{ "Ft", "Ft", "-", "-", "-", DNS_TLSA_FAILED, "host", 0, 0,
	    ASKS LINKS " x x" },
};

/* Asks, and answers, in the order of the waves. */
static void
look_up(size_t i, struct dns_tlsa *result)
{
	struct dns_answer v6 = answer(cases[i].v6, 0);
	struct dns_answer v4 = answer(cases[i].v4, 0);
	struct dane_lookup d = {
		.name = "host", .port = 26, .v6 = &v6, .v4 = &v4
	};
	bool is_late = cases[i].own[0] == 'l';
	const char *own = cases[i].own + (is_late ? strlen("late ") : 0);

	events[0] = '\0';
	dane_ask(&d);
	if (dane_is_waiting(&d))
		note("w");
	if (!is_late)
		take(&d.own, own, OWN_TTL);
	assert_false(dane_is_waiting(&d) && *own != '-');
	if (dane_ask_more(&d) && dane_is_waiting(&d))
		note("w");
	take(&d.expanded, cases[i].expanded, EXPANDED_TTL);
	take(&d.link, cases[i].link, LINK_TTL);
	if (!d.expanded.is_pending && !d.link.is_pending && dane_is_waiting(&d))
		note("w");
	take(&d.own, own, OWN_TTL);
	dane_end(&d, result);
}

static void
answers_make_a_result(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dns_tlsa t;

		look_up(i, &t);
		if (t.outcome != cases[i].outcome ||
		    strcmp(t.base, cases[i].base) != 0 ||
		    t.ttl_s != cases[i].ttl_s ||
		    t.set.n != (cases[i].data > 0) ||
		    strcmp(events, cases[i].events) != 0)
			fail_msg("%s, %s, %s, %s, %s: %d %s %u: %s",
			    cases[i].v6, cases[i].v4, cases[i].own,
			    cases[i].expanded, cases[i].link, (int)t.outcome,
			    t.base, (unsigned)t.ttl_s, events);
		if (t.set.n > 0)
			assert_int_equal(tlsa_data(&t.set, 0)[0],
			    cases[i].data);
		tlsa_finish(&t.set);
	}
}

static void
the_longest_names_fit(void **state)
{
	char name[DNS_NAME_SIZE];
	struct dns_answer v6 = answer("F+", 0), v4 = answer("F+", 0);
	struct dane_lookup d = {
		.name = name, .port = 65535, .v6 = &v6, .v4 = &v4
	};
	struct dns_tlsa t;

	(void)state;
	memset(name, 'x', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	events[0] = '\0';
	dane_ask(&d);
	assert_int_equal(strlen(events), strlen("_65535._tcp.") + 255);
	assert_memory_equal(events, "_65535._tcp.x", 13);
	dane_end(&d, &t);
	assert_int_equal(t.outcome, DNS_TLSA_FAILED);
	assert_string_equal(t.base, name);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_make_a_result),
		cmocka_unit_test(the_longest_names_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
