/* SPDX-License-Identifier: ISC */

/*
 * Verification by TLSA records, in whole sessions (RFC 7672).  What each module
 * does there: tlsd/dane, tlsd/proof, tlsd/verify.
 */

#include "tlsd/dane.h"

#include "danetest.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tlsd/proof.h"

/*
 * The table: what RFC 7672 says of each record and chain, written down here
 * without regard to the library.
 */

enum target { LEAF, MIDDLE, ROOT, STRANGER, TARGETS };

struct cell {
	enum leaf leaf;
	int sent; /* certificates after the leaf: middle, root */
	enum target target;
	int usage, selector, matching;
};

/* Whether a chain from the leaf leads to what the record names. */
static bool
leads_to_record(const struct cell *c)
{
	/* A record with the whole certificate or key brings it along. */
	bool brings = c->matching == 0;

	if (c->leaf == SELF_SIGNED)
		/* Its key is a trust anchor that has signed it. */
		return c->target == LEAF && c->selector == 1 && brings;
	switch (c->target) {
	case MIDDLE:
		return c->sent >= 1 || brings;
	case ROOT:
		return c->sent >= 2 || (c->sent == 1 && brings);
	default:
		return false;
	}
}

/* What is expected, and if it is a failure which. */
static const char *
expectation(const struct cell *c, enum tls_cause *cause)
{
	static const struct {
		const char *text;
		enum tls_cause cause;
	} of_leaf[LEAVES] = {
		[EXPIRED] = { "certificate has expired", TLS_CAUSE_EXPIRED },
		[EARLY] = { "certificate is not yet valid",
		    TLS_CAUSE_NOT_TRUSTED },
		[WRONG_NAME] = { "name mismatch", TLS_CAUSE_NAME },
		[CLIENT_ONLY] = { "certificate purpose",
		    TLS_CAUSE_NOT_TRUSTED },
		[OF_SHA1] = { "CA signature digest algorithm too weak",
		    TLS_CAUSE_NOT_TRUSTED },
	};
	bool matches = c->usage == 3 ? c->target == LEAF : leads_to_record(c);

	if (!matches) {
		*cause = TLS_CAUSE_HANDSHAKE;
		return NO_MATCH;
	}
	/*
	 * The library takes a certificate that a key from a record has signed
	 * for the end of the chain, and looks at no digest there.
	 */
	if (c->leaf == OF_SHA1 && c->target == MIDDLE && c->sent == 0 &&
	    c->selector == 1)
		return NULL;
	*cause = of_leaf[c->leaf].cause;
	return c->usage == 3 ? NULL : of_leaf[c->leaf].text;
}

static void
check_cell(const struct cell *c, int version)
{
	const struct testcert *of[TARGETS] = { &leaf[c->leaf], &middle, &root,
		&stranger };
	struct testserver server = { .cert = &leaf[c->leaf],
		.chain = c->sent >= 1 ? &middle : NULL,
		.root = c->sent >= 2 ? &root : NULL,
		.max_version = version,
		.ciphers = WEAK };
	struct tlsa_set set = { 0 };
	struct tlsd_session_params p = {
		.name = NAME, .security = 1, .tlsa = &set
	};
	enum tls_cause cause;
	const char *want = expectation(c, &cause);
	struct tls_result r;
	bool ok;

	add(&set, of[c->target], c->usage, c->selector, c->matching);
	r = shake_hands(p, &server, NULL);
	if (want == NULL)
		ok = r.status == TLS_STATUS_READY &&
		     r.proof == TLS_PROOF_DANE && r.usage == c->usage &&
		     r.selector == c->selector && r.matching == c->matching &&
		     strcmp(r.verified, c->usage == 2 ? NAME : "") == 0;
	else
		ok = r.status == TLS_STATUS_FAILED && r.cause == cause &&
		     strstr(r.text, want) != NULL &&
		     (version == TLS1_3_VERSION || !server.shook_hands);
	if (!ok)
		fail_msg("leaf %d, %d sent, target %d, %d %d %d, %x: status %d"
			 " cause %d \"%s\" \"%s\", not \"%s\"",
		    c->leaf, c->sent, c->target, c->usage, c->selector,
		    c->matching, (unsigned)version, r.status, r.cause, r.text,
		    r.verified, want != NULL ? want : "ready");
	tlsa_finish(&set);
}

static void
check_leaf(enum leaf l, int version)
{
	struct cell c = { .leaf = l };
	int sent = l == SELF_SIGNED ? 1 : 3;

	for (int i = 0; i < sent * TARGETS * 12; i++) {
		c.matching = i % 3;
		c.selector = i / 3 % 2;
		c.usage = 2 + i / 6 % 2;
		c.target = (enum target)(i / 12 % TARGETS);
		c.sent = i / 12 / TARGETS;
		check_cell(&c, version);
	}
}

static void
every_record_with_every_chain(void **state)
{
	(void)state;
	for (int l = 0; l < LEAVES; l++) {
		check_leaf((enum leaf)l, TLS1_2_VERSION);
		check_leaf((enum leaf)l, TLS1_3_VERSION);
	}
}

/* Records and certificates: what comes of them. */
struct set_case {
	const char *what, *records;
	enum leaf leaf;
	const char *want;
};

static void
check_sets(const struct set_case *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct tlsa_set set = { 0 };
		struct tls_result r;

		add_all(&set, c[i].records);
		r = verify((struct tlsd_session_params){ .tlsa = &set },
		    c[i].leaf);
		expect(c[i].what, &r, c[i].want);
		tlsa_finish(&set);
	}
}

#define BYTES_8 "0000000000000000"
#define DIGEST_31 BYTES_8 BYTES_8 BYTES_8 "00000000000000"
#define DIGEST_32 DIGEST_31 "00"
#define DIGEST_33 DIGEST_32 "00"

/* RFC 7672 section 3.1, RFC 7671 sections 5 and 9. */
static void
several_records(void **state)
{
	static const struct set_case cases[] = {
		{ "roll-over", "311s 311l", GOOD, "dane 3 1 1" },
		{ "EE matches, TA does not", "211s 311w", WRONG_NAME,
		    "dane 3 1 1" },
		{ "TA matches, EE does not", "311s 211m", GOOD,
		    "dane 2 1 1 " NAME },
		{ "TA matches, EE does not, wrong name", "311s 211m",
		    WRONG_NAME, "certificate verify failed: name mismatch" },
		{ "neither matches", "311s 211s", GOOD, NO_MATCH },
		{ "the strongest digest decides", "311l 312s", GOOD, NO_MATCH },
		{ "the strongest digest matches", "311s 312l", GOOD,
		    "dane 3 1 2" },
		{ "and the whole always may", "310l 312s", GOOD, "dane 3 1 0" },
		{ "each selector for itself", "301l 312s", GOOD, "dane 3 0 1" },
		{ "each usage for itself", "311l 212s", GOOD, "dane 3 1 1" },
		{ "a stronger digest that is too short",
		    "311l 3-1-2-" DIGEST_32, GOOD, "dane 3 1 1" },
		{ "unusable ones beside", "0-0-1-" DIGEST_32 " 3-0-0-00 311l",
		    GOOD, "dane 3 1 1" },
		{ "PKIX-EE beside", "111l 311s", GOOD, NO_MATCH },
		{ "the same twice", "311l 311l", GOOD, "dane 3 1 1" },
	};

	(void)state;
	check_sets(cases, COUNT(cases));
}

static const char *const unusable[] = {
	"001m",
	"011m",
	"101l",
	"111l",
	"4-1-1-" DIGEST_32,
	"255-1-1-" DIGEST_32,
	"3-2-1-" DIGEST_32,
	"3-255-1-" DIGEST_32,
	"3-1-3-" DIGEST_32,
	"3-1-255-" DIGEST_32,
	"3-1-1-" DIGEST_31,
	"3-1-1-" DIGEST_33,
	"3-1-2-" DIGEST_32,
	"3-1-1-",
	"3-0-0-",
	"2-1-0-",
	"3-0-0-00",
	"2-0-0-3003020100",
	"3-1-0-3003020100",
	"2-1-0-" DIGEST_32,
	"2-0-1-" DIGEST_31,
};

/*
 * RFC 7672 section 2.2: TLS is required, and nothing else; or what the caller
 * requires otherwise.
 */
static void
unusable_records(void **state)
{
	(void)state;
	for (size_t i = 0; i <= COUNT(unusable); i++) {
		struct tlsd_session_params p = { .security = 2 };
		struct tlsa_set set = { 0 };
		const char *what = i < COUNT(unusable) ? unusable[i] : "all";
		struct tls_result r;

		if (i < COUNT(unusable))
			add_all(&set, unusable[i]);
		else
			for (size_t k = 0; k < COUNT(unusable); k++)
				add_all(&set, unusable[k]);
		p.tlsa = &set;
		r = verify(p, WRONG_NAME);
		expect(what, &r, "unusable");
		r = verify(p, SELF_SIGNED);
		expect(what, &r, "unusable");
		p.anchors = anchors;
		r = verify(p, GOOD);
		expect(what, &r, "unusable " NAME);
		r = verify(p, WRONG_NAME);
		expect(what, &r, "certificate verify failed: name mismatch");
		/* By anchors at the level that was asked for. */
		r = verify(p, OF_RSA1024);
		expect(what, &r,
		    "certificate verify failed: EE certificate key too weak");
		p.anchors = "/nonexistent";
		r = verify(p, GOOD);
		expect(what, &r,
		    "local: cannot read trust anchors in /nonexistent: No "
		    "such file or directory");
		add_all(&set, "311l");
		r = verify(p, GOOD);
		expect(what, &r, "dane 3 1 1");
		tlsa_finish(&set);
	}
}

/* A whole certificate and one byte more, or a certificate without a key. */
static void
unusable_certificates(void **state)
{
	struct tlsa_set whole = { 0 }, set = { 0 };
	unsigned char der[4096];
	size_t n;
	struct tls_result r;

	(void)state;
	add(&whole, &leaf[GOOD], 3, 0, 0);
	n = whole.record[0].n;
	assert_true(n < sizeof der);
	memcpy(der, tlsa_data(&whole, 0), n);
	der[n] = 0;
	for (size_t len = n - 1; len <= n + 1; len++) {
		assert_true(tlsa_add(&set, 3, 0, 0, der, len));
		r = verify((struct tlsd_session_params){ .tlsa = &set }, GOOD);
		expect("a byte more or less", &r,
		    len == n ? "dane 3 0 0" : "unusable");
		tlsa_finish(&set);
	}
	tlsa_finish(&whole);
}

/* A match is enough, whatever the level for other ways of verifying. */
static void
a_short_key_that_matches_is_good(void **state)
{
	struct tlsa_set set = { 0 };
	struct tlsd_session_params p = { .security = 2, .tlsa = &set };
	struct tls_result r;

	(void)state;
	add(&set, &leaf[OF_RSA1024], 3, 1, 1);
	r = verify(p, OF_RSA1024);
	expect("RSA of 1024 bits", &r, "dane 3 1 1");
	tlsa_finish(&set);
}

/* RFC 7672 section 2.2, RFC 8461 section 2: records decide, and only they. */
static void
anchors_do_not_matter_beside_usable_records(void **state)
{
	static const struct {
		const char *records, *want;
	} cases[] = {
		{ "311s", NO_MATCH },
		{ "201s", NO_MATCH },
		{ "300s", NO_MATCH },
		{ "200s", NO_MATCH },
		{ "311l", "dane 3 1 1" },
		{ "300l", "dane 3 0 0" },
		{ "210m", "dane 2 1 0 " NAME },
	};
	static const enum tls_describe describe[] = { TLS_DESCRIBE_NOTHING,
		TLS_DESCRIBE, TLS_DESCRIBE_ACCEPT };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		for (size_t k = 0; k < COUNT(describe); k++) {
			struct tlsa_set set = { 0 };
			struct tlsd_session_params p = { .tlsa = &set,
				.describe = describe[k],
				.anchors = anchors };
			struct tls_result r;

			add_all(&set, cases[i].records);
			r = verify(p, GOOD);
			expect(cases[i].records, &r, cases[i].want);
			/* They may be missing. */
			p.anchors = "/nonexistent/";
			r = verify(p, GOOD);
			expect(cases[i].records, &r, cases[i].want);
			tlsa_finish(&set);
		}
}

/* A directory of anchors must be readable in the handshake only if it is used.
 */
static void
anchors_are_opened_only_if_they_may_be_needed(void **state)
{
	static const struct {
		const char *records;
		enum tls_describe describe;
		bool want;
	} cases[] = {
		{ "", TLS_DESCRIBE_NOTHING, true },
		{ "311l", TLS_DESCRIBE_NOTHING, false },
		{ "111l", TLS_DESCRIBE_NOTHING, true },
		{ "300l", TLS_DESCRIBE_NOTHING, true },
		{ "300l 311l", TLS_DESCRIBE_NOTHING, false },
		{ "311l", TLS_DESCRIBE, true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct tlsa_set set = { 0 };
		struct tlsd_session_params p = { .fd = -1,
			.name = NAME,
			.security = 1,
			.tlsa = cases[i].records[0] ? &set : NULL,
			.describe = cases[i].describe,
			.anchors = anchors };
		struct dsn why = { 0 };
		struct tlsd_session *s;

		add_all(&set, cases[i].records);
		s = tlsd_session_create(&p, &why);
		assert_non_null(s);
		if (tlsd_session_has_anchors(s) != cases[i].want)
			fail_msg("%s", cases[i].records);
		tlsd_session_destroy(s);
		tlsa_finish(&set);
	}
}

static void
old_versions_are_refused(void **state)
{
	struct testserver server = { .cert = &leaf[GOOD],
		.max_version = TLS1_1_VERSION,
		.ciphers = WEAK };
	struct tlsa_set set = { 0 };
	struct tls_result r;

	(void)state;
	add_all(&set, "311l");
	r = shake_hands((struct tlsd_session_params){ .name = NAME,
			    .security = 1,
			    .tlsa = &set },
	    &server, NULL);
	expect("TLS 1.1", &r, "no TLS version in common");
	tlsa_finish(&set);
}

/* As many as a set can have; the last one matches. */
static void
many_records(void **state)
{
	struct tlsa_set set = { 0 };
	struct tls_result r;

	(void)state;
	for (int i = 0; i < TLSA_RECORDS_MAX - 1; i++)
		add(&set, &stranger, 2 + i % 2, i / 2 % 2, i % 3);
	r = verify((struct tlsd_session_params){ .tlsa = &set }, GOOD);
	expect("none matches", &r, NO_MATCH);
	add(&set, &leaf[GOOD], 3, 1, 2);
	r = verify((struct tlsd_session_params){ .tlsa = &set }, GOOD);
	expect("the last", &r, "dane 3 1 2");
	tlsa_finish(&set);
}

/*
 * What the library is not expected to do.
 */

/*
 * A session that was set up without us: the verify result is good, and nothing
 * was verified.  OpenSSL CVE-2024-12797 was of this kind.
 */
static SSL *
make_unverified(SSL_CTX *context, int fd)
{
	SSL *ssl = SSL_new(context);

	assert_non_null(ssl);
	if (fd != -1) {
		assert_int_equal(SSL_set_fd(ssl, fd), 1);
		while (SSL_connect(ssl) != 1)
			assert_int_equal(SSL_get_error(ssl, -1),
			    SSL_ERROR_WANT_READ);
	}
	SSL_set_verify_result(ssl, X509_V_OK);
	return ssl;
}

static void
success_alone_proves_nothing(void **state)
{
	struct tlsd_proof dane = { .wanted = TLS_PROOF_DANE };
	struct tlsd_proof pkix = { .wanted = TLS_PROOF_PKIX };
	struct testserver server = { .cert = &leaf[GOOD] };
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	struct tls_result r = { 0 };
	SSL *ssl;
	int fd[2];

	(void)state;
	/* No certificate. */
	ssl = make_unverified(context, -1);
	assert_false(tlsd_dane_find_match(ssl, &r));
	tlsd_proof_check(&dane, ssl, &r);
	expect("DANE", &r, "certificate verify failed: no certificate");
	tlsd_proof_check(&pkix, ssl, &r);
	expect("PKIX", &r, "certificate verify failed: no certificate");
	SSL_free(ssl);

	/* A certificate that no record was compared with. */
	testserver_tcp_pair(fd);
	testserver_start(&server, fd[1]);
	ssl = make_unverified(context, fd[0]);
	assert_false(tlsd_dane_find_match(ssl, &r));
	tlsd_proof_check(&dane, ssl, &r);
	assert_int_equal(r.status, TLS_STATUS_FAILED);
	SSL_free(ssl);
	close(fd[0]);
	testserver_join(&server);
	SSL_CTX_free(context);
}

/* A record that the library does not take for a reason of ours is no record. */
static void
failures_of_the_library_are_ours(void **state)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(context);
	struct tlsa_set set = { 0 };
	struct tlsd_proof p = { .tlsa = &set };
	struct dsn why = { 0 };
	struct tls_result r = { 0 };

	(void)state;
	add_all(&set, "311l");
	tlsd_name_parse(&p.name, NAME);
	/* It was not told that there will be any. */
	assert_int_equal(tlsd_dane_add(ssl, &set, &why), -1);
	assert_ptr_equal(strstr(why.text, "DANE: "), why.text);
	assert_false(tlsd_proof_demand(&p, ssl, &r));
	assert_int_equal(r.status, TLS_STATUS_LOCAL);
	assert_string_equal(r.text, why.text);
	/* It was told twice. */
	assert_int_equal(tlsd_dane_enable(ssl, NAME, &why), 0);
	assert_int_equal(tlsd_dane_enable(ssl, NAME, &why), -1);
	assert_int_equal(tlsd_proof_open(&p, ssl, NULL, NULL, &why), -1);
	SSL_free(ssl);
	SSL_CTX_free(context);
	tlsa_finish(&set);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_record_with_every_chain),
		cmocka_unit_test(several_records),
		cmocka_unit_test(unusable_records),
		cmocka_unit_test(unusable_certificates),
		cmocka_unit_test(a_short_key_that_matches_is_good),
		cmocka_unit_test(anchors_do_not_matter_beside_usable_records),
		cmocka_unit_test(anchors_are_opened_only_if_they_may_be_needed),
		cmocka_unit_test(old_versions_are_refused),
		cmocka_unit_test(many_records),
		cmocka_unit_test(success_alone_proves_nothing),
		cmocka_unit_test(failures_of_the_library_are_ours),
	};

	alarm(120);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
