/* SPDX-License-Identifier: ISC */

/* The names that count with TLSA records, and what is told of both ways. */

#include "danetest.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Names.
 */

#define MISMATCH "certificate verify failed: name mismatch"

/* RFC 7672 section 3.2.2: which names DANE-TA accepts. */
static void
names_for_a_trust_anchor(void **state)
{
	static const struct {
		const char *san, *names, *want;
	} cases[] = {
		{ "DNS:" NAME, NULL, "dane 2 1 1 " NAME },
		{ "DNS:" NAME, "", "dane 2 1 1 " NAME },
		{ "DNS:" NAME, "example.com", "dane 2 1 1 " NAME },
		{ "DNS:example.com", NULL, MISMATCH },
		{ "DNS:example.com", "example.com", "dane 2 1 1 example.com" },
		{ "DNS:example.com", "a.example,example.com.,b.example",
		    "dane 2 1 1 example.com" },
		{ "DNS:example.com", "a.example,b.example", MISMATCH },
		{ "DNS:*.example.com", "a.example.com",
		    "dane 2 1 1 a.example.com" },
		{ "DNS:a.example.com,DNS:b.example.com",
		    "b.example.com,a.example.com", "dane 2 1 1 b.example.com" },
		/* Names that are none, and what only anchors accept. */
		{ "DNS:example.com", ",,..,a b,192.0.2.1,,example.com",
		    "dane 2 1 1 example.com" },
		{ "DNS:a.example.com", ".example.com", MISMATCH },
		{ "DNS:example.com", ".example.com", MISMATCH },
		{ "IP:192.0.2.1", "192.0.2.1", MISMATCH },
		{ "DNS:192.0.2.1", "192.0.2.1", MISMATCH },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct testcert cert = issue((struct testcert_spec){
		    .cn = "x", .san = cases[i].san });
		struct testserver server = { .cert = &cert, .chain = &middle };
		struct tlsa_set set = { 0 };
		struct tls_result r;

		add_all(&set, "211m");
		r = shake_hands((struct tlsd_session_params){ .name = NAME,
				    .security = 1,
				    .names = cases[i].names,
				    .tlsa = &set },
		    &server, NULL);
		expect(cases[i].san, &r, cases[i].want);
		assert_string_equal(server.sni, NAME);
		tlsa_finish(&set);
		testcert_free(&cert);
	}
}

#define L63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa."
#define LONG_NAME L63 L63 L63 "example.com" /* and its dot: 203 bytes */
#define LONGEST \
	L63 L63 L63 \
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* match=: names that the anchors accept in place of the server's. */
static void
names_to_match(void **state)
{
	static const struct {
		const char *san, *match, *want;
	} cases[] = {
		{ "DNS:" NAME, "example.com", MISMATCH },
		{ "DNS:example.com", "example.com", "pkix example.com" },
		{ "DNS:example.com", "example.org,example.com.",
		    "pkix example.com" },
		{ "DNS:a.example.com", ".example.com", "pkix a.example.com" },
		{ "DNS:A.Example.COM", ".example.com", "pkix A.Example.COM" },
		{ "DNS:a.example.com", ".example.com.", "pkix a.example.com" },
		{ "DNS:*.example.com", ".example.com", "pkix *.example.com" },
		{ "DNS:*.example.com", "a.example.com", "pkix a.example.com" },
		{ "DNS:example.com", ".example.com", MISMATCH },
		{ "DNS:b.a.example.com", ".example.com", MISMATCH },
		{ "DNS:*.a.example.com", ".example.com", MISMATCH },
		{ "DNS:aexample.com", ".example.com", MISMATCH },
		{ "DNS:a.example.com", "..example.com", NULL },
		{ "DNS:a.example.com", ".", NULL },
		{ "DNS:a.example.com", "", NULL },
		{ "DNS:a.example.com", ",", NULL },
		{ "DNS:a.example.com", "*.example.com", NULL },
		{ "DNS:a.example.com", LONGEST ",a.example.com",
		    "pkix a.example.com" },
		{ "DNS:a.example.com", LONGEST, MISMATCH },
		{ "DNS:a.example.com", LONGEST "a", NULL },
		{ "DNS:a.example.com", "." LONG_NAME, MISMATCH },
		/* With its dot it is longer than a name may be. */
		{ "DNS:a.example.com", "." LONGEST, NULL },
		{ "IP:192.0.2.1", "192.0.2.1", NULL },
		{ "DNS:a.example.com,DNS:b.example.com",
		    ".example.com,b.example.com", "pkix a.example.com" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct testcert cert = issue((struct testcert_spec){
		    .cn = "x", .san = cases[i].san });
		struct testserver server = { .cert = &cert, .chain = &middle };
		struct tls_result r =
		    shake_hands((struct tlsd_session_params){ .name = NAME,
				    .security = 2,
				    .anchors = anchors,
				    .match = cases[i].match },
			&server, NULL);

		expect(cases[i].match, &r,
		    cases[i].want != NULL
			? cases[i].want
			: "no valid server name to verify a certificate for");
		if (cases[i].want != NULL)
			assert_string_equal(server.sni, NAME);
		else
			assert_int_equal(r.cause, TLS_CAUSE_NAME);
		testcert_free(&cert);
	}
}

/* Names of the anchors, and those of DANE-TA, do not mix. */
static void
names_of_each_way_are_apart(void **state)
{
	struct testcert cert = issue((struct testcert_spec){
	    .cn = "x", .san = "DNS:example.com" });
	static const struct {
		const char *records, *names, *match, *want;
	} cases[] = {
		{ "211m", NULL, "example.com", MISMATCH },
		{ "211m", "example.com", "a.example",
		    "dane 2 1 1 example.com" },
		{ "111l", "example.com", NULL, MISMATCH },
		{ "111l", NULL, "example.com", "unusable example.com" },
		{ "200m", "a.example", "example.com", MISMATCH },
		{ "3-0-0-00", "a.example", "example.com",
		    "unusable example.com" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct testserver server = { .cert = &cert, .chain = &middle };
		struct tlsa_set set = { 0 };
		struct tls_result r;

		add_all(&set, cases[i].records);
		r = shake_hands((struct tlsd_session_params){ .name = NAME,
				    .security = 1,
				    .tlsa = &set,
				    .names = cases[i].names,
				    .anchors = anchors,
				    .match = cases[i].match },
		    &server, NULL);
		expect(cases[i].records, &r, cases[i].want);
		tlsa_finish(&set);
	}
	testcert_free(&cert);
}

/* There is no DANE for what is not a host name (RFC 7672 section 2.2). */
static void
needs_a_base_domain(void **state)
{
	static const char *const names[] = { "", "192.0.2.1", "[192.0.2.1]",
		"2001:db8::1", ".example", "a..b", "a b" };
	struct tlsa_set set = { 0 };

	(void)state;
	add_all(&set, "311l");
	for (size_t i = 0; i < COUNT(names); i++) {
		struct tls_result r =
		    verify((struct tlsd_session_params){ .name = names[i],
			       .names = NAME,
			       .tlsa = &set },
			GOOD);

		expect(names[i], &r,
		    "no valid server name to verify a certificate for");
		assert_int_equal(r.cause, TLS_CAUSE_NAME);
	}
	tlsa_finish(&set);
}

/*
 * Facts.
 */

struct facts_case {
	const char *records;
	const char *anchors; /* a file name, or NULL */
	enum tls_describe describe;
	enum leaf leaf;
	/* NULL: not known */
	const char *want, *dane, *tlsa, *pkix;
};

static void
check_fact(const struct facts_case *c, const struct tls_facts *f,
    enum tls_fact fact, const char *want)
{
	if (f->is_known[fact] != (want != NULL) ||
	    (want != NULL && strncmp(f->text[fact], want, strlen(want)) != 0) ||
	    (want != NULL && *want == '\0' && f->text[fact][0] != '\0'))
		fail_msg("%s, leaf %d, fact %d: \"%s\"", c->records, c->leaf,
		    (int)fact, f->text[fact]);
}

/* The verdict of each way, whichever decides. */
static void
each_verdict(void **state)
{
	static const char weak[] = "EE certificate key too weak";
	static const char unknown[] = "unable to get local issuer certificate";
	static const struct facts_case cases[] = {
		{ "311l", "anchors.pem", TLS_DESCRIBE, GOOD, "dane 3 1 1", "",
		    "3 1 1", "" },
		{ "311l", "anchors.pem", TLS_DESCRIBE_ACCEPT, GOOD,
		    "dane 3 1 1", "", "3 1 1", "" },
		{ "311l", NULL, TLS_DESCRIBE, GOOD, "dane 3 1 1", "", "3 1 1",
		    NULL },
		{ "311l", "anchors.pem", TLS_DESCRIBE_NOTHING, GOOD,
		    "dane 3 1 1", NULL, NULL, NULL },
		{ "311s", "anchors.pem", TLS_DESCRIBE, GOOD, NO_MATCH, NO_MATCH,
		    NULL, "" },
		{ "311w", "anchors.pem", TLS_DESCRIBE, WRONG_NAME, "dane 3 1 1",
		    "", "3 1 1", "name mismatch" },
		{ "211m", "anchors.pem", TLS_DESCRIBE, WRONG_NAME, MISMATCH,
		    "name mismatch", NULL, "name mismatch" },
		{ "211m", "other.pem", TLS_DESCRIBE, GOOD, "dane 2 1 1 " NAME,
		    "", "2 1 1", unknown },
		{ "211m", "/nonexistent", TLS_DESCRIBE, GOOD,
		    "dane 2 1 1 " NAME, "", "2 1 1",
		    "cannot read trust anchors in " },
		{ "200m", "/nonexistent", TLS_DESCRIBE, GOOD,
		    "dane 2 0 0 " NAME, "", "2 0 0",
		    "cannot read trust anchors in " },
		{ "200m", "anchors.pem", TLS_DESCRIBE, OF_RSA1024,
		    "dane 2 0 0 " NAME, "", "2 0 0", weak },
		/* No record is usable. */
		{ "111l", "anchors.pem", TLS_DESCRIBE, GOOD, "unusable " NAME,
		    "no TLSA record is usable", NULL, "" },
		{ "111l", "anchors.pem", TLS_DESCRIBE, WRONG_NAME, MISMATCH,
		    "no TLSA record is usable", NULL, "name mismatch" },
		{ "111l", "anchors.pem", TLS_DESCRIBE_ACCEPT, WRONG_NAME,
		    "unusable", "no TLSA record is usable", NULL,
		    "name mismatch" },
		{ "111l", "/nonexistent", TLS_DESCRIBE_ACCEPT, GOOD, "unusable",
		    "no TLSA record is usable", NULL,
		    "cannot read trust anchors in " },
		{ "111l", NULL, TLS_DESCRIBE, GOOD, "unusable",
		    "no TLSA record is usable", NULL, NULL },
	};

	(void)state;
	testcert_append_cert(file("other.pem"), &stranger);
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct facts_case *c = &cases[i];
		struct testserver server = { .cert = &leaf[c->leaf],
			.chain = &middle,
			.ciphers = WEAK };
		char path[4096];
		struct tlsa_set set = { 0 };
		struct tlsd_session_params p = { .name = NAME,
			.security = 1,
			.tlsa = &set,
			.describe = c->describe };
		struct tls_facts f;
		struct tls_result r;

		if (c->anchors != NULL) {
			strcpy(path, c->anchors[0] == '/' ? c->anchors
							  : file(c->anchors));
			p.anchors = path;
		}
		add_all(&set, c->records);
		r = shake_hands(p, &server, &f);
		expect(c->records, &r, c->want);
		check_fact(c, &f, TLS_FACT_DANE, c->dane);
		check_fact(c, &f, TLS_FACT_TLSA, c->tlsa);
		check_fact(c, &f, TLS_FACT_VERDICT, c->pkix);
		tlsa_finish(&set);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_for_a_trust_anchor),
		cmocka_unit_test(names_to_match),
		cmocka_unit_test(names_of_each_way_are_apart),
		cmocka_unit_test(needs_a_base_domain),
		cmocka_unit_test(each_verdict),
	};

	alarm(120);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
