/* SPDX-License-Identifier: ISC */

/*
 * Verification by TLSA records, in whole sessions (RFC 7672).  What each module
 * does there: tlsd/dane, tlsd/proof, tlsd/verify.
 */

#include "tlsd/dane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "tlsd/proof.h"
#include "tlsd/session.h"
#include "testcert.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define NAME "mx.example"
#define WEAK "ALL:@SECLEVEL=0" /* ciphers, and everything old */
#define NO_MATCH "certificate matches no TLSA record"

/*
 * The certificates: leaf, middle, root; each leaf is signed by middle, but for
 * the one that is self-signed.
 */
enum leaf {
	GOOD,
	EXPIRED,
	EARLY,
	WRONG_NAME,
	CLIENT_ONLY,
	OF_SHA1,
	OF_RSA1024,
	SELF_SIGNED,
	LEAVES
};

static const struct testcert_spec specs[LEAVES] = {
	[GOOD] = { .cn = "x", .san = "DNS:" NAME },
	[EXPIRED] = { .cn = "x",
	    .san = "DNS:" NAME,
	    .from_days = -9,
	    .to_days = -1 },
	[EARLY] = { .cn = "x",
	    .san = "DNS:" NAME,
	    .from_days = 1,
	    .to_days = 9 },
	[WRONG_NAME] = { .cn = NAME, .san = "DNS:elsewhere.example" },
	[CLIENT_ONLY] = { .cn = "x",
	    .san = "DNS:" NAME,
	    .usage = "clientAuth" },
	[OF_SHA1] = { .cn = "x", .san = "DNS:" NAME, .is_sha1 = true },
	[OF_RSA1024] = { .cn = "x", .san = "DNS:" NAME, .rsa_bits = 1024 },
	[SELF_SIGNED] = { .cn = "x", .san = "DNS:" NAME },
};

static struct testcert leaf[LEAVES], middle, root, stranger;
static char *dir;
static char anchors[4096];

static const char *
file(const char *name)
{
	static char path[4096];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

static struct testcert
issue(struct testcert_spec spec)
{
	spec.issuer = &middle;
	return testcert_make(&spec);
}

static int
set_up(void **state)
{
	(void)state;
	dir = testcert_mkdir();
	root = testcert_make(&(struct testcert_spec){
	    .cn = "Test Root", .is_ca = true });
	stranger = testcert_make(&(struct testcert_spec){
	    .cn = "Stranger", .is_ca = true });
	middle = testcert_make(&(struct testcert_spec){
	    .cn = "Test Middle", .is_ca = true, .issuer = &root });
	for (int i = 0; i < LEAVES; i++)
		leaf[i] = i == SELF_SIGNED ? testcert_make(&specs[i])
					   : issue(specs[i]);
	strcpy(anchors, file("anchors.pem"));
	testcert_append_cert(anchors, &root);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	for (int i = 0; i < LEAVES; i++)
		testcert_free(&leaf[i]);
	testcert_free(&middle);
	testcert_free(&root);
	testcert_free(&stranger);
	testcert_rmdir(dir);
	return 0;
}

/*
 * Records.
 */

/* Adds a record of this certificate. */
static void
add(struct tlsa_set *set, const struct testcert *c, int usage, int selector,
    int matching)
{
	unsigned char *der = NULL, digest[EVP_MAX_MD_SIZE];
	unsigned n = sizeof digest;
	int len = selector == 0
		      ? i2d_X509(c->cert, &der)
		      : i2d_X509_PUBKEY(X509_get_X509_PUBKEY(c->cert), &der);
	bool ok;

	assert_true(len > 0);
	if (matching == 0) {
		ok = tlsa_add(set, (uint8_t)usage, (uint8_t)selector, 0, der,
		    (size_t)len);
	} else {
		assert_int_equal(EVP_Digest(der, (size_t)len, digest, &n,
				     matching == 1 ? EVP_sha256()
						   : EVP_sha512(),
				     NULL),
		    1);
		ok = tlsa_add(set, (uint8_t)usage, (uint8_t)selector,
		    (uint8_t)matching, digest, n);
	}
	assert_true(ok);
	OPENSSL_free(der);
}

static const struct testcert *
certificate(char c)
{
	switch (c) {
	case 'l':
		return &leaf[GOOD];
	case 'w':
		return &leaf[WRONG_NAME];
	case 'm':
		return &middle;
	case 'r':
		return &root;
	default:
		return &stranger;
	}
}

/*
 * Adds records as "311l 200m": three numbers, and of which certificate; any
 * other word is one of tlsa_parse().
 */
static void
add_all(struct tlsa_set *set, const char *words)
{
	while (*words != '\0') {
		size_t n = strcspn(words, " ");

		if (n == 4)
			add(set, certificate(words[3]), words[0] - '0',
			    words[1] - '0', words[2] - '0');
		else {
			struct tlsa_set more = { 0 };
			char word[200] = "";

			memcpy(word, words, n);
			assert_true(tlsa_parse(&more, word));
			assert_true(tlsa_add(set, more.record[0].usage,
			    more.record[0].selector, more.record[0].matching,
			    tlsa_data(&more, 0), more.record[0].n));
			tlsa_finish(&more);
		}
		words += n + (words[n] == ' ');
	}
}

/*
 * Handshakes.
 */

/* One handshake with the server, and the facts if facts is not NULL. */
static struct tls_result
shake_hands(struct tlsd_session_params p, struct testserver *server,
    struct tls_facts *facts)
{
	struct tls_result r = { .status = TLS_STATUS_NONE };
	struct dsn why = { 0 };
	struct tlsd_session *s;
	int fd[2];

	testserver_tcp_pair(fd);
	testserver_start(server, fd[1]);
	p.fd = fd[0];
	s = tlsd_session_create(&p, &why);
	if (s == NULL)
		(void)str_copy(r.text, sizeof r.text, why.text);
	else if (tlsd_session_handshake(s, deadline_in(10000), &r) ==
		 TLS_STATUS_READY)
		tlsd_session_close(s);
	if (s != NULL && facts != NULL)
		tlsd_session_facts(s, facts);
	tlsd_session_destroy(s);
	close(fd[0]);
	testserver_join(server);
	return r;
}

/* The same with a server that has this leaf, and middle. */
static struct tls_result
verify(struct tlsd_session_params p, enum leaf l)
{
	struct testserver server = { .cert = &leaf[l],
		.chain = l != SELF_SIGNED ? &middle : NULL,
		.ciphers = WEAK };

	if (p.name == NULL)
		p.name = NAME;
	if (p.security == 0)
		p.security = 1;
	return shake_hands(p, &server, NULL);
}

/* "dane 3 1 1", "dane 2 1 1 mx.example", "unusable", "pkix NAME", why not */
static const char *
summarize(const struct tls_result *r, char text[TLS_TEXT_SIZE + 32])
{
	static const char *const proofs[] = { "none", "pkix", "dane",
		"unusable" };
	int n;

	if (r->status != TLS_STATUS_READY)
		snprintf(text, TLS_TEXT_SIZE + 32, "%s%s",
		    r->status == TLS_STATUS_FAILED ? "" : "local: ", r->text);
	else {
		n = snprintf(text, TLS_TEXT_SIZE, "%s", proofs[r->proof]);
		if (r->proof == TLS_PROOF_DANE)
			n += snprintf(text + n, TLS_TEXT_SIZE, " %u %u %u",
			    r->usage, r->selector, r->matching);
		if (r->verified[0] != '\0')
			snprintf(text + n, 32, " %.30s", r->verified);
	}
	return text;
}

static void
expect(const char *what, const struct tls_result *r, const char *want)
{
	char text[TLS_TEXT_SIZE + 32];

	if (strcmp(summarize(r, text), want) != 0)
		fail_msg("%s: \"%s\", not \"%s\"", what, text, want);
}

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
		cmocka_unit_test(names_for_a_trust_anchor),
		cmocka_unit_test(names_to_match),
		cmocka_unit_test(names_of_each_way_are_apart),
		cmocka_unit_test(needs_a_base_domain),
		cmocka_unit_test(old_versions_are_refused),
		cmocka_unit_test(many_records),
		cmocka_unit_test(each_verdict),
		cmocka_unit_test(success_alone_proves_nothing),
		cmocka_unit_test(failures_of_the_library_are_ours),
	};

	alarm(120);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
