/* SPDX-License-Identifier: ISC */
/* What a session tells of the server's certificate and of ours. */
#include "tlsd/session.h"

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

#include "testcert.h"
#include "tlsd/verify.h"

#define NAME "mx.example"
#define WEAK "ALL:@SECLEVEL=0" /* ciphers, and everything old */

static struct testcert root, other_root;
static char *dir;

static int
set_up(void **state)
{
	(void)state;
	dir = testcert_mkdir();
	root = testcert_make(&(struct testcert_spec){
	    .cn = "Test Root", .is_ca = true });
	other_root = testcert_make(&(struct testcert_spec){
	    .cn = "Other Root", .is_ca = true });
	testcert_append_cert(testcert_file(dir, "anchors.pem"), &root);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	testcert_free(&root);
	testcert_free(&other_root);
	testcert_rmdir(dir);
	return 0;
}

/* One handshake; returns its status. */
static enum tls_status
get_facts(struct tlsd_session_params p, struct testserver *server,
    struct tls_facts *f)
{
	struct tlsd_session *s;
	struct tls_result r;
	struct dsn why = { 0 };
	int fd[2];

	testserver_tcp_pair(fd);
	testserver_start(server, fd[1]);
	p.fd = fd[0];
	s = tlsd_session_create(&p, &why);
	if (s == NULL)
		fail_msg("%s", why.text);
	if (tlsd_session_handshake(s, deadline_in(10000), &r) ==
	    TLS_STATUS_READY)
		tlsd_session_close(s);
	tlsd_session_facts(s, f);
	tlsd_session_destroy(s);
	close(fd[0]);
	testserver_join(server);
	return r.status;
}

static void
assert_fact(const char *what, const struct tls_facts *f, enum tls_fact fact,
    const char *want)
{
	if (f->is_known[fact] != (want != NULL) ||
	    (want != NULL && strcmp(f->text[fact], want) != 0))
		fail_msg("%s: %d \"%s\"", what, (int)fact, f->text[fact]);
}

/* Whether it verifies: told in each way, and decisive only in one. */
static void
test_verdicts(void **state)
{
	static const struct testcert_spec good = { .cn = "x",
		.san = "DNS:" NAME };
	static const struct testcert_spec bad = { .cn = "x",
		.san = "DNS:other.example" };
	static const struct testcert_spec weak = {
		.cn = "x", .san = "DNS:" NAME, .rsa_bits = 1024
	};
	static const struct testcert_spec old = {
		.cn = "x", .san = "DNS:" NAME, .from_days = -2, .to_days = -1
	};
	static const char missing[] =
	    "cannot read trust anchors in /nonexistent: "
	    "No such file or directory";
	static const char damaged[] = "a block without END";
	static const struct {
		const char *what;
		const struct testcert_spec *spec;
		const char *anchors, *name;
		enum tls_describe describe;
		enum tls_status want;
		const char *verdict; /* NULL: not known */
		enum tls_cause cause;
	} cases[] = {
		{ "not asked", &good, "anchors.pem", NAME, TLS_DESCRIBE_NOTHING,
		    TLS_STATUS_READY, NULL, 0 },
		{ "verified", &good, "anchors.pem", NAME, TLS_DESCRIBE,
		    TLS_STATUS_READY, "", TLS_CAUSE_NONE },
		{ "not verified", &bad, "anchors.pem", NAME, TLS_DESCRIBE,
		    TLS_STATUS_FAILED, "name mismatch", TLS_CAUSE_NAME },
		{ "no anchors", &bad, NULL, NAME, TLS_DESCRIBE,
		    TLS_STATUS_READY, NULL, 0 },
		{ "accepted, verifies", &good, "anchors.pem", NAME,
		    TLS_DESCRIBE_ACCEPT, TLS_STATUS_READY, "", TLS_CAUSE_NONE },
		{ "accepted, does not verify", &bad, "anchors.pem", NAME,
		    TLS_DESCRIBE_ACCEPT, TLS_STATUS_READY, "name mismatch",
		    TLS_CAUSE_NAME },
		/* As it would be if a verified certificate were required. */
		{ "accepted, short key", &weak, "anchors.pem", NAME,
		    TLS_DESCRIBE_ACCEPT, TLS_STATUS_READY,
		    "EE certificate key too weak", TLS_CAUSE_NOT_TRUSTED },
		{ "accepted, not trusted", &good, "other.pem", NAME,
		    TLS_DESCRIBE_ACCEPT, TLS_STATUS_READY,
		    "unable to get local issuer certificate",
		    TLS_CAUSE_NOT_TRUSTED },
		{ "accepted, no name", &good, "anchors.pem", "..",
		    TLS_DESCRIBE_ACCEPT, TLS_STATUS_READY,
		    "no valid server name to verify a certificate for",
		    TLS_CAUSE_NAME },
		{ "accepted, address", &good, "anchors.pem", "192.0.2.1",
		    TLS_DESCRIBE_ACCEPT, TLS_STATUS_READY, "name mismatch",
		    TLS_CAUSE_NAME },
		{ "accepted, no file of anchors", &good, "/nonexistent", NAME,
		    TLS_DESCRIBE_ACCEPT, TLS_STATUS_READY, missing,
		    TLS_CAUSE_LOCAL },
		{ "accepted, no anchors", &good, NULL, NAME,
		    TLS_DESCRIBE_ACCEPT, TLS_STATUS_READY, NULL, 0 },
		{ "damaged directory", &good, "", NAME, TLS_DESCRIBE,
		    TLS_STATUS_LOCAL, damaged, TLS_CAUSE_LOCAL },
		{ "accepted, damaged directory", &good, "", NAME,
		    TLS_DESCRIBE_ACCEPT, TLS_STATUS_READY, damaged,
		    TLS_CAUSE_LOCAL },
		{ "accepted, expired", &old, "anchors.pem", NAME,
		    TLS_DESCRIBE_ACCEPT, TLS_STATUS_READY,
		    "certificate has expired", TLS_CAUSE_EXPIRED },
	};
	char hashed[4200], in_hashed[4300];
	unsigned long hash = X509_NAME_hash_ex(X509_get_subject_name(root.cert),
	    NULL, NULL, NULL);

	(void)state;
	snprintf(hashed, sizeof hashed, "%s/%08lx.0", dir, hash);
	snprintf(in_hashed, sizeof in_hashed,
	    "cannot read trust anchors in %s: line 2: %s", hashed, damaged);
	testcert_append_text(hashed, "\n-----BEGIN CERTIFICATE-----\nAAAA\n");
	testcert_append_cert(testcert_file(dir, "other.pem"), &other_root);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct testcert_spec spec = *cases[i].spec;
		struct testserver server = { .ciphers = WEAK };
		struct tlsd_session_params p = { .name = cases[i].name,
			.describe = cases[i].describe };
		struct testcert leaf;
		struct tls_facts f;
		char path[4200];
		const char *verdict = cases[i].verdict;

		if (cases[i].anchors != NULL) {
			snprintf(path, sizeof path, "%s/%s", dir,
			    cases[i].anchors);
			p.anchors =
			    verdict == missing ? cases[i].anchors : path;
		}
		if (verdict == damaged)
			verdict = in_hashed;
		spec.issuer = &root;
		leaf = testcert_make(&spec);
		server.cert = &leaf;
		if (get_facts(p, &server, &f) != cases[i].want)
			fail_msg("%s", cases[i].what);
		assert_fact(cases[i].what, &f, TLS_FACT_VERDICT, verdict);
		if (verdict != NULL && f.verdict != cases[i].cause)
			fail_msg("%s: cause %d", cases[i].what, f.verdict);
		/* A failure to verify is told with the certificate. */
		assert_fact(cases[i].what, &f, TLS_FACT_ISSUER,
		    p.describe != TLS_DESCRIBE_NOTHING ? "CN=Test Root" : NULL);
		assert_fact(cases[i].what, &f, TLS_FACT_DANE, NULL);
		testcert_free(&leaf);
	}
	assert_int_equal(unlink(hashed), 0);
}

/* As when anchors cannot be read: it says nothing about the server. */
static void
test_want_of_memory(void **state)
{
	(void)state;
	assert_int_equal(tlsd_verify_cause(X509_V_ERR_OUT_OF_MEM),
	    TLS_CAUSE_LOCAL);
	assert_int_equal(tlsd_verify_cause(X509_V_ERR_UNSPECIFIED),
	    TLS_CAUSE_NOT_TRUSTED);
}

static void
test_described(void **state)
{
	static const struct {
		const char *san, *names;
	} cases[] = {
		{ "DNS:a.example,DNS:*.b.example", "a.example,*.b.example" },
		{ "IP:192.0.2.1,DNS:a.example,IP:2001:db8::1",
		    "192.0.2.1,a.example,2001:db8::1" },
		{ "email:a@a.example,DNS:a.example,URI:http://b.example",
		    "a.example" },
		{ "email:a@a.example", "" },
		{ NULL, "" },
		/* An address of five bytes, first and last. */
		{ "DER:30:09:87:05:01:02:03:04:05:82:00", "" },
		{ "DER:30:0a:82:01:61:87:05:01:02:03:04:05", "a" },
		/* Control bytes, and bytes above ASCII. */
		{ "DER:30:06:82:04:61:0a:7f:ff", "a???" },
		/* Not of this form at all. */
		{ "DER:04:00", "" },
	};
	static const struct testcert_spec odd = { .cn = "a\nR b\x7f\xc3\xa4",
		.nul_san = "a|b" };
	struct tlsd_session_params p = { .name = NAME,
		.describe = TLS_DESCRIBE };
	struct testserver server = { 0 };
	struct testcert leaf;
	struct tls_facts f;
	char many[1000] = "DNS:a0.example";

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		leaf = testcert_make(&(struct testcert_spec){
		    .cn = "x", .san = cases[i].san });
		server = (struct testserver){ .cert = &leaf };
		assert_int_equal(get_facts(p, &server, &f), TLS_STATUS_READY);
		assert_fact("names", &f, TLS_FACT_NAMES, cases[i].names);
		assert_fact("issuer", &f, TLS_FACT_ISSUER, "CN=x");
		assert_int_equal(strlen(f.text[TLS_FACT_EXPIRES]),
		    strlen("2027-01-31 12:00:00 UTC"));
		assert_fact("own", &f, TLS_FACT_OWN_EXPIRES, NULL);
		testcert_free(&leaf);
	}
	leaf = testcert_make(&(struct testcert_spec){
	    .cn = "x", .end = "tomorrow" });
	server = (struct testserver){ .cert = &leaf };
	/* OpenSSL 3.5.9 does not read such a certificate any more. */
	if (get_facts(p, &server, &f) == TLS_STATUS_READY)
		assert_fact("no time", &f, TLS_FACT_EXPIRES, "");
	testcert_free(&leaf);
	/* What a server chose to write in them. */
	leaf = testcert_make(&odd);
	server = (struct testserver){ .cert = &leaf };
	assert_int_equal(get_facts(p, &server, &f), TLS_STATUS_READY);
	assert_fact("NUL", &f, TLS_FACT_NAMES, "a?b");
	for (const char *c = f.text[TLS_FACT_ISSUER]; *c != '\0'; c++)
		assert_true(*c >= ' ' && *c <= '~');
	testcert_free(&leaf);

	for (int i = 1; i < 50; i++)
		snprintf(many + strlen(many), sizeof many - strlen(many),
		    ",DNS:a%d.example", i);
	leaf = testcert_make(&(struct testcert_spec){ .cn = "x", .san = many });
	server = (struct testserver){ .cert = &leaf };
	assert_int_equal(get_facts(p, &server, &f), TLS_STATUS_READY);
	assert_int_equal(strlen(f.text[TLS_FACT_NAMES]), TLS_TEXT_SIZE - 1);
	testcert_free(&leaf);
}

/* Where anchors decide, it is a failure of ours if they cannot be read. */
static void
test_no_anchors(void **state)
{
	static const enum tls_describe describe[] = { TLS_DESCRIBE_NOTHING,
		TLS_DESCRIBE };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct tlsd_session_params p = { .fd = -1,
			.name = NAME,
			.anchors = "/nonexistent",
			.describe = describe[i] };
		struct dsn said = { 0 };

		assert_null(tlsd_session_create(&p, &said));
		assert_string_equal(said.text,
		    "cannot read trust anchors in /nonexistent: "
		    "No such file or directory");
	}
}

/* Our own certificate is described without a server. */
static void
test_own_described(void **state)
{
	struct testcert own = testcert_make(&(struct testcert_spec){
	    .cn = "client", .from_days = -9, .to_days = -1 });
	static const enum tls_describe describe[] = { TLS_DESCRIBE_NOTHING,
		TLS_DESCRIBE, TLS_DESCRIBE_ACCEPT };
	char path[4096];

	(void)state;
	strcpy(path, testcert_file(dir, "own.pem"));
	testcert_append_cert(path, &own);
	testcert_append_key(path, &own, NULL);
	for (int i = 0; i < 3; i++) {
		struct tlsd_session_params p = { .name = NAME,
			.cert = path,
			.key = path,
			.describe = describe[i] };
		struct dsn said = { 0 };
		struct tlsd_session *s;
		struct tls_result r;
		struct tls_facts f;
		int fd[2];

		testserver_tcp_pair(fd);
		close(fd[1]);
		p.fd = fd[0];
		s = tlsd_session_create(&p, &said);
		assert_non_null(s);
		assert_int_equal(tlsd_session_handshake(s, deadline_in(10000),
				     &r),
		    TLS_STATUS_FAILED);
		tlsd_session_facts(s, &f);
		assert_int_equal(f.is_known[TLS_FACT_OWN_EXPIRES], i > 0);
		assert_int_equal(strlen(f.text[TLS_FACT_OWN_EXPIRES]),
		    i > 0 ? strlen("2027-01-31 12:00:00 UTC") : 0);
		for (int fact = 0; fact < TLS_FACT_OWN_EXPIRES; fact++)
			assert_false(f.is_known[fact]);
		tlsd_session_destroy(s);
		close(fd[0]);
	}
	testcert_free(&own);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_want_of_memory),
		cmocka_unit_test(test_described),
		cmocka_unit_test(test_no_anchors),
		cmocka_unit_test(test_own_described),
	};

	alarm(120);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
