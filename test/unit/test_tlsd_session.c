/* SPDX-License-Identifier: ISC */
#include "tlsd/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cmocka.h>

#include "testcert.h"

#define NAME "mx.example"
#define WEAK "ALL:@SECLEVEL=0" /* ciphers, and everything old */

/* The certificates; created once. */
static struct testcert root, other_root, middle, lookalike_middle;
static char *dir;
static char anchors[4096];
static char own_cert[4096], own_key[4096];

static int
set_up(void **state)
{
	(void)state;
	dir = testcert_mkdir();
	root = testcert_make(&(struct testcert_spec){
	    .cn = "Test Root", .is_ca = true });
	other_root = testcert_make(&(struct testcert_spec){
	    .cn = "Other Root", .is_ca = true });
	middle = testcert_make(&(struct testcert_spec){
	    .cn = "Test Middle", .is_ca = true, .issuer = &root });
	lookalike_middle = testcert_make(&(struct testcert_spec){
	    .cn = "No CA", .issuer = &root });
	strcpy(anchors, testcert_file(dir, "anchors.pem"));
	testcert_append_cert(anchors, &root);
	strcpy(own_cert, testcert_file(dir, "own-cert.pem"));
	strcpy(own_key, testcert_file(dir, "own-key.pem"));
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	testcert_free(&root);
	testcert_free(&other_root);
	testcert_free(&middle);
	testcert_free(&lookalike_middle);
	testcert_rmdir(dir);
	return 0;
}

static enum tls_cause last_cause; /* of the last handshake */

/* The result of the handshake, as in a report. */
static enum tls_status
take_hands(struct tlsd_session *s, struct deadline until, struct dsn *said)
{
	char sentence[TLS_SENTENCE_SIZE];
	struct tls_result r;

	(void)tlsd_session_handshake(s, until, &r);
	last_cause = r.cause;
	tls_result_describe(&r, "", sentence);
	dsn_set(said, "", "%s", sentence);
	return r.status;
}

/* One handshake with the server; returns its status, the text in said. */
static enum tls_status
shake_hands(struct tlsd_session_params p, struct testserver *server,
    struct dsn *said)
{
	struct tlsd_session *s;
	enum tls_status status = TLS_STATUS_LOCAL;
	int fd[2];

	testserver_tcp_pair(fd);
	testserver_start(server, fd[1]);
	p.fd = fd[0];
	if (p.anchors != NULL)
		p.security = 2;
	s = tlsd_session_create(&p, said);
	if (s != NULL) {
		status = take_hands(s, deadline_in(10000), said);
		if (status == TLS_STATUS_READY)
			tlsd_session_close(s);
	}
	tlsd_session_destroy(s);
	close(fd[0]);
	testserver_join(server);
	return status;
}

struct name_case {
	const char *what;
	const char *name; /* expected */
	struct testcert_spec spec;
	enum tls_status want;
	const char *text;
};

#define VERIFIED "certificate verified for "
#define MISMATCH "certificate verify failed: name mismatch"

static const struct name_case names[] = {
	{ "good", NAME, { .cn = "x", .san = "DNS:" NAME }, TLS_STATUS_READY,
	    VERIFIED NAME },
	{ "trailing dot", NAME ".", { .cn = "x", .san = "DNS:" NAME },
	    TLS_STATUS_READY, VERIFIED NAME },
	{ "case", "MX.Example", { .cn = "x", .san = "DNS:mX.eXAMPLE" },
	    TLS_STATUS_READY, VERIFIED "MX.Example" },
	{ "second name", NAME, { .cn = "x", .san = "DNS:a.example,DNS:" NAME },
	    TLS_STATUS_READY, VERIFIED },
	{ "RSA of 1024 bits", NAME,
	    { .cn = "x", .san = "DNS:" NAME, .rsa_bits = 1024 },
	    TLS_STATUS_FAILED,
	    "certificate verify failed: EE certificate key "
	    "too weak" },
	{ "SHA-1", NAME, { .cn = "x", .san = "DNS:" NAME, .is_sha1 = true },
	    TLS_STATUS_FAILED,
	    "certificate verify failed: CA signature digest "
	    "algorithm too weak" },
	{ "wrong name", NAME, { .cn = "x", .san = "DNS:mx.example.org" },
	    TLS_STATUS_FAILED, MISMATCH },
	{ "CN only", NAME, { .cn = NAME }, TLS_STATUS_FAILED, MISMATCH },
	{ "CN, other SAN", NAME, { .cn = NAME, .san = "DNS:a.example" },
	    TLS_STATUS_FAILED, MISMATCH },
	{ "CN, e-mail SAN", NAME, { .cn = NAME, .san = "email:a@" NAME },
	    TLS_STATUS_FAILED, MISMATCH },
	{ "suffix", NAME, { .cn = "x", .san = "DNS:example" },
	    TLS_STATUS_FAILED, MISMATCH },
	{ "subdomain", NAME, { .cn = "x", .san = "DNS:a." NAME },
	    TLS_STATUS_FAILED, MISMATCH },
	{ "wildcard", "mx.example.com",
	    { .cn = "x", .san = "DNS:*.example.com" }, TLS_STATUS_READY,
	    VERIFIED },
	{ "wildcard, two labels", "a.mx.example.com",
	    { .cn = "x", .san = "DNS:*.example.com" }, TLS_STATUS_FAILED,
	    MISMATCH },
	{ "wildcard, apex", "example.com",
	    { .cn = "x", .san = "DNS:*.example.com" }, TLS_STATUS_FAILED,
	    MISMATCH },
	{ "partial wildcard", "mx1.example.com",
	    { .cn = "x", .san = "DNS:mx*.example.com" }, TLS_STATUS_FAILED,
	    MISMATCH },
	{ "wildcard TLD", "example.com", { .cn = "x", .san = "DNS:*.com" },
	    TLS_STATUS_FAILED, MISMATCH },
	{ "bare wildcard", NAME, { .cn = "x", .san = "DNS:*" },
	    TLS_STATUS_FAILED, MISMATCH },
	{ "inner wildcard", "mx.a.example.com",
	    { .cn = "x", .san = "DNS:mx.*.example.com" }, TLS_STATUS_FAILED,
	    MISMATCH },
	{ "NUL in SAN", NAME, { .cn = "x", .nul_san = NAME "|.evil.example" },
	    TLS_STATUS_FAILED, MISMATCH },
	{ "NUL at the end", NAME, { .cn = "x", .nul_san = NAME "|" },
	    TLS_STATUS_FAILED, MISMATCH },
	{ "IPv4", "192.0.2.1", { .cn = "x", .san = "IP:192.0.2.1" },
	    TLS_STATUS_READY, VERIFIED "192.0.2.1" },
	{ "other IPv4", "192.0.2.1", { .cn = "x", .san = "IP:192.0.2.2" },
	    TLS_STATUS_FAILED, MISMATCH },
	{ "IPv4 as DNS name", "192.0.2.1",
	    { .cn = "x", .san = "DNS:192.0.2.1" }, TLS_STATUS_FAILED,
	    MISMATCH },
	{ "IPv4 as CN", "192.0.2.1", { .cn = "192.0.2.1" }, TLS_STATUS_FAILED,
	    MISMATCH },
	{ "IPv6", "2001:db8::1", { .cn = "x", .san = "IP:2001:DB8:0:0::1" },
	    TLS_STATUS_READY, VERIFIED "2001:db8::1" },
	{ "other IPv6", "2001:db8::1", { .cn = "x", .san = "IP:2001:db8::2" },
	    TLS_STATUS_FAILED, MISMATCH },
	{ "literal", "[192.0.2.1]", { .cn = "x", .san = "IP:192.0.2.1" },
	    TLS_STATUS_READY, VERIFIED "192.0.2.1" },
	{ "expired", NAME,
	    { .cn = "x", .san = "DNS:" NAME, .from_days = -9, .to_days = -1 },
	    TLS_STATUS_FAILED,
	    "certificate verify failed: certificate has expired" },
	{ "not yet valid", NAME,
	    { .cn = "x", .san = "DNS:" NAME, .from_days = 1, .to_days = 9 },
	    TLS_STATUS_FAILED,
	    "certificate verify failed: certificate is not yet valid" },
	{ "usage: server", NAME,
	    { .cn = "x", .san = "DNS:" NAME, .usage = "serverAuth" },
	    TLS_STATUS_READY, VERIFIED },
	{ "usage: client", NAME,
	    { .cn = "x", .san = "DNS:" NAME, .usage = "clientAuth" },
	    TLS_STATUS_FAILED, "certificate verify failed: " },
};

static void
test_names(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	size_t i, v;

	(void)state;
	for (i = 0; i < sizeof names / sizeof *names; i++) {
		const struct name_case *c = &names[i];
		struct testcert_spec spec = c->spec;
		struct testcert leaf;

		spec.issuer = &root;
		leaf = testcert_make(&spec);
		for (v = 0; v < 2; v++) {
			struct testserver server = { .cert = &leaf,
				.max_version = versions[v],
				.ciphers = WEAK,
				.talk = testserver_read_all };
			struct dsn said = { 0 };
			enum tls_status got = shake_hands(
			    (struct tlsd_session_params){
				.name = c->name, .anchors = anchors },
			    &server, &said);

			if (got != c->want ||
			    strstr(said.text, c->text) == NULL ||
			    server.received != 0)
				fail_msg("%s, %x: %d \"%s\", %zu bytes",
				    c->what, (unsigned)versions[v], got,
				    said.text, server.received);
			/*
			 * A failure must end before the server's handshake
			 * succeeds.
			 */
			if (got == TLS_STATUS_FAILED &&
			    versions[v] == TLS1_2_VERSION)
				assert_false(server.shook_hands);
		}
		testcert_free(&leaf);
	}
}

/* Without anchors any certificate is accepted, and the file is not opened. */
static void
test_unverified(void **state)
{
	struct testcert leaf = testcert_make(&(struct testcert_spec){
	    .cn = "x", .from_days = -9, .to_days = -1 });
	struct testserver server = { .cert = &leaf };
	struct dsn said = { 0 };

	(void)state;
	assert_int_equal(shake_hands((struct tlsd_session_params){ .name =
								       NAME },
			     &server, &said),
	    TLS_STATUS_READY);
	/* From OpenSSL 3.5 on the group is X25519MLKEM768. */
	assert_ptr_equal(strstr(said.text,
			     "TLSv1.3 TLS_AES_256_GCM_SHA384 X25519"),
	    said.text);
	assert_non_null(strstr(said.text, ", certificate not verified"));
	assert_true(server.shook_hands);
	testcert_free(&leaf);
}

static void
test_chains(void **state)
{
	struct testcert by_root = testcert_make(&(struct testcert_spec){
	    .cn = "a", .san = "DNS:" NAME, .issuer = &root });
	struct testcert by_middle = testcert_make(&(struct testcert_spec){
	    .cn = "b", .san = "DNS:" NAME, .issuer = &middle });
	struct testcert by_other = testcert_make(&(struct testcert_spec){
	    .cn = "c", .san = "DNS:" NAME, .issuer = &other_root });
	struct testcert by_no_ca = testcert_make(&(struct testcert_spec){
	    .cn = "d", .san = "DNS:" NAME, .issuer = &lookalike_middle });
	struct testcert alone = testcert_make(&(struct testcert_spec){
	    .cn = "e", .san = "DNS:" NAME });
	const struct {
		const char *what;
		const struct testcert *cert, *chain;
		enum tls_status want;
		const char *text;
	} cases[] = {
		{ "direct", &by_root, NULL, TLS_STATUS_READY, VERIFIED },
		{ "with a stranger", &by_root, &other_root, TLS_STATUS_READY,
		    VERIFIED },
		{ "one intermediate", &by_middle, &middle, TLS_STATUS_READY,
		    VERIFIED },
		{ "missing intermediate", &by_middle, NULL, TLS_STATUS_FAILED,
		    "certificate verify failed: unable to get local issuer" },
		{ "unknown root", &by_other, &other_root, TLS_STATUS_FAILED,
		    "certificate verify failed: self-signed certificate in" },
		{ "self-signed", &alone, NULL, TLS_STATUS_FAILED,
		    "certificate verify failed: self-signed certificate" },
		{ "issuer is no CA", &by_no_ca, &lookalike_middle,
		    TLS_STATUS_FAILED, "certificate verify failed: " },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct testserver server = { .cert = cases[i].cert,
			.chain = cases[i].chain };
		struct dsn said = { 0 };
		enum tls_status got =
		    shake_hands((struct tlsd_session_params){ .name = NAME,
				    .anchors = anchors },
			&server, &said);

		if (got != cases[i].want ||
		    strstr(said.text, cases[i].text) == NULL)
			fail_msg("%s: %d \"%s\"", cases[i].what, got,
			    said.text);
	}
	testcert_free(&by_root);
	testcert_free(&by_middle);
	testcert_free(&by_other);
	testcert_free(&by_no_ca);
	testcert_free(&alone);
}

/* An invalid name must not mean that no name is checked. */
static void
test_no_name(void **state)
{
	static const char *const bad[] = { "", ".", "..", ".example", "a!b",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"a"
		"a.example",
		"mx..example", "mx.example..", "a b", "mx.example\n", "[",
		"[192.0.2.1", "*.example", NULL };
	char longer[300];
	size_t i;

	(void)state;
	memset(longer, 'x', sizeof longer);
	longer[sizeof longer - 1] = '\0';
	for (i = 0; i <= sizeof bad / sizeof *bad; i++) {
		const char *name =
		    i < sizeof bad / sizeof *bad ? bad[i] : longer;
		struct tlsd_session_params p = {
			.fd = -1, .name = name, .anchors = anchors
		};
		struct dsn said = { 0 };

		struct tlsd_session *s = tlsd_session_create(&p, &said);

		assert_non_null(s);
		if (take_hands(s, deadline_never(), &said) != TLS_STATUS_FAILED)
			fail_msg("\"%s\"", name != NULL ? name : "(NULL)");
		assert_string_equal(said.text,
		    "no valid server name to verify a certificate for");
		tlsd_session_destroy(s);
	}
}

static void
test_sni(void **state)
{
	static const struct {
		const char *name, *sni;
	} cases[] = {
		{ NAME, NAME },
		{ NAME ".", NAME },
		{ "mx_1.example", "mx_1.example" },
		{ "mx-1.example", "mx-1.example" },
		{ "192.0.2.1", "" },
		{ "[192.0.2.1]", "" },
		{ "2001:db8::1", "" },
		{ "[IPv6:2001:db8::1]", "" },
		{ "", "" },
		{ "no name", "" },
		{ NULL, "" },
	};
	struct testcert leaf =
	    testcert_make(&(struct testcert_spec){ .cn = "x" });
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct testserver server = { .cert = &leaf };
		struct dsn said = { 0 };

		assert_int_equal(shake_hands(
				     (struct tlsd_session_params){
					 .name = cases[i].name },
				     &server, &said),
		    TLS_STATUS_READY);
		assert_string_equal(server.sni, cases[i].sni);
	}
	testcert_free(&leaf);
}

/*
 * Features of old servers.  Where clear text is allowed, all of them are better
 * than nothing (level 0); where TLS is mandatory, some are refused (level 1).
 */
static void
test_old_servers(void **state)
{
	static const struct {
		const char *what;
		struct testcert_spec spec;
		struct testserver server;
		enum tls_status at[2]; /* level */
		const char *text;      /* at level 1, if that fails */
	} cases[] = {
		{ "TLS 1.0", { .cn = "x" },
		    { .max_version = TLS1_VERSION, .ciphers = WEAK },
		    { TLS_STATUS_READY, TLS_STATUS_FAILED },
		    "no TLS version in common" },
		{ "TLS 1.1", { .cn = "x" },
		    { .max_version = TLS1_1_VERSION, .ciphers = WEAK },
		    { TLS_STATUS_READY, TLS_STATUS_FAILED },
		    "no TLS version in common" },
		{ "TLS 1.0, RSA key exchange, 1024 bits, SHA-1",
		    { .cn = "x", .rsa_bits = 1024, .is_sha1 = true },
		    { .max_version = TLS1_VERSION,
			.ciphers = "AES128-SHA:@SECLEVEL=0" },
		    { TLS_STATUS_READY, TLS_STATUS_FAILED },
		    "no TLS version in common" },
		{ "RSA of 1024 bits", { .cn = "x", .rsa_bits = 1024 },
		    { .max_version = TLS1_2_VERSION, .ciphers = WEAK },
		    { TLS_STATUS_READY, TLS_STATUS_READY }, NULL },
		{ "RSA of 512 bits", { .cn = "x", .rsa_bits = 512 },
		    { .max_version = TLS1_VERSION,
			.ciphers = "AES128-SHA:@SECLEVEL=0" },
		    { TLS_STATUS_READY, TLS_STATUS_FAILED },
		    "no TLS version in common" },
		{ "Diffie-Hellman of 1024 bits",
		    { .cn = "x", .rsa_bits = 2048 },
		    { .max_version = TLS1_2_VERSION,
			.ciphers = "DHE-RSA-AES128-SHA:@SECLEVEL=0",
			.has_small_dh = true },
		    { TLS_STATUS_READY, TLS_STATUS_READY }, NULL },
		{ "signs with SHA-1", { .cn = "x", .rsa_bits = 2048 },
		    { .max_version = TLS1_2_VERSION,
			.ciphers = "ECDHE-RSA-AES128-SHA:@SECLEVEL=0",
			.sigalgs = "RSA+SHA1" },
		    { TLS_STATUS_READY, TLS_STATUS_FAILED },
		    "the server says: handshake failure" },
		{ "certificate signed with SHA-1",
		    { .cn = "x", .rsa_bits = 2048, .is_sha1 = true },
		    { .max_version = TLS1_2_VERSION, .ciphers = WEAK },
		    { TLS_STATUS_READY, TLS_STATUS_READY }, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct testcert leaf = testcert_make(&cases[i].spec);

		for (int level = 0; level < 2; level++) {
			struct testserver server = cases[i].server;
			struct tlsd_session_params p = { .name = NAME,
				.security = level };
			struct dsn said = { 0 };
			enum tls_status got;

			server.cert = &leaf;
			got = shake_hands(p, &server, &said);
			if (got != cases[i].at[level] ||
			    server.shook_hands != (got == TLS_STATUS_READY))
				fail_msg("%s, level %d: %s", cases[i].what,
				    level, said.text);
			if (got == TLS_STATUS_FAILED &&
			    strcmp(said.text, cases[i].text) != 0)
				fail_msg("%s: %s", cases[i].what, said.text);
		}
		testcert_free(&leaf);
	}
}

/* Reads the client's first flight, as far as it comes in one piece. */
static size_t
read_client_hello(int security, const char *name)
{
	struct tlsd_session_params p = { .security = security, .name = name };
	struct dsn said = { 0 };
	struct tlsd_session *s;
	char hello[4096];
	ssize_t n;
	int fd[2];

	testserver_tcp_pair(fd);
	p.fd = fd[0];
	s = tlsd_session_create(&p, &said);
	assert_non_null(s);
	(void)take_hands(s, deadline_in(20), &said);
	n = read(fd[1], hello, sizeof hello);
	tlsd_session_destroy(s);
	close(fd[0]);
	close(fd[1]);
	/* Exactly one record: the length is in bytes 3 and 4. */
	assert_true(n > 5);
	assert_int_equal(n,
	    5 + (unsigned char)hello[3] * 256 + (unsigned char)hello[4]);
	return (size_t)n;
}

/*
 * Some servers hang on a ClientHello that does not fit one segment, whatever
 * groups the library would offer at once.
 */
static void
test_client_hello_is_small(void **state)
{
	char longest[254];

	(void)state;
	for (size_t i = 0; i < sizeof longest; i++)
		longest[i] = i % 64 == 63 ? '.' : 'x';
	longest[sizeof longest - 1] = '\0';
	for (int level = 0; level <= 2; level++) {
		assert_in_range(read_client_hello(level, NAME), 100, 599);
		assert_in_range(read_client_hello(level, longest), 350, 900);
	}
}

/*
 * A handshake with a peer that sent these bytes, then closed, or did nothing.
 */
static enum tls_status
shake_hands_with(const char *bytes, size_t n, bool closes, struct dsn *said)
{
	struct tlsd_session_params p = { .name = NAME };
	struct tlsd_session *s;
	enum tls_status status;
	int fd[2];

	testserver_tcp_pair(fd);
	p.fd = fd[0];
	s = tlsd_session_create(&p, said);
	assert_non_null(s);
	if (n > 0)
		assert_int_equal(write(fd[1], bytes, n), n);
	if (closes)
		shutdown(fd[1], SHUT_WR);
	status = take_hands(s, deadline_in(300), said);
	tlsd_session_destroy(s);
	close(fd[0]);
	close(fd[1]);
	return status;
}

static void
test_no_server(void **state)
{
	/* A HelloRequest, which a client ignores during its handshake. */
	static const char hello_request[] = "\x16\x03\x03\0\x04\0\0\0";
	static char flood[9000];
	static const struct {
		const char *what;
		const char *bytes;
		size_t n;
		bool closes;
		const char *text;
	} cases[] = {
		{ "silence", "", 0, false, "timed out" },
		{ "close", "", 0, true, "connection closed" },
		{ "text", "454 TLS not available\r\n", 23, false,
		    "the server does not speak TLS" },
		{ "text, close", "454 no\r\n", 8, true,
		    "the server does not speak TLS" },
		{ "part of a record, silence", "\x16\x03\x03", 3, false,
		    "timed out" },
		{ "part of a record, close", "\x16\x03\x03\0", 4, true,
		    "connection closed" },
		{ "alert", "\x15\x03\x03\0\x02\x02\x28", 7, false,
		    "handshake failure" },
		{ "unrecognized name", "\x15\x03\x03\0\x02\x02\x70", 7, false,
		    "unrecognized name" },
		{ "long record", "\x16\x03\x03\xff\xff", 5, false, "" },
		{ "flood", flood, sizeof flood, false,
		    "too many handshake messages" },
	};
	size_t i;

	(void)state;
	for (i = 0; i + 9 <= sizeof flood; i += 9)
		memcpy(flood + i, hello_request, 9);
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dsn said = { 0 };
		enum tls_status got = shake_hands_with(cases[i].bytes,
		    cases[i].n, cases[i].closes, &said);

		if (got != TLS_STATUS_FAILED || said.text[0] == '\0' ||
		    strstr(said.text, cases[i].text) == NULL)
			fail_msg("%s: %d \"%s\"", cases[i].what, got,
			    said.text);
		if (last_cause != (strcmp(cases[i].text, "timed out") == 0
					  ? TLS_CAUSE_TIMED_OUT
					  : TLS_CAUSE_HANDSHAKE))
			fail_msg("%s: cause %d", cases[i].what, last_cause);
	}
}

/* A byte from time to time does not extend the wait (J3). */
static void *
drip(void *fd)
{
	static const char start[] = "\x16\x03\x03\x40";
	size_t i;

	for (i = 0; i < 5000; i++) {
		char c = i < sizeof start ? start[i] : '\x02';

		if (send(*(int *)fd, &c, 1, MSG_NOSIGNAL) != 1)
			break;
		testserver_pause(1);
	}
	return NULL;
}

static void
test_drip(void **state)
{
	struct tlsd_session_params p = { .name = NAME };
	struct deadline bound = deadline_in(2000);
	struct dsn said = { 0 };
	struct tlsd_session *s;
	pthread_t thread;
	int fd[2];

	(void)state;
	testserver_tcp_pair(fd);
	p.fd = fd[0];
	s = tlsd_session_create(&p, &said);
	assert_non_null(s);
	assert_int_equal(pthread_create(&thread, NULL, drip, &fd[1]), 0);
	assert_int_equal(take_hands(s, deadline_in(300), &said),
	    TLS_STATUS_FAILED);
	assert_string_equal(said.text, "timed out");
	assert_int_equal(last_cause, TLS_CAUSE_TIMED_OUT);
	assert_false(deadline_passed(bound));
	tlsd_session_destroy(s);
	close(fd[0]);
	pthread_join(thread, NULL);
	close(fd[1]);
}

/*
 * Our certificate.
 */

static void
see_client(SSL *ssl, struct testserver *t)
{
	X509 *cert = SSL_get1_peer_certificate(ssl);

	t->arg = cert;
	testserver_read_all(ssl, t);
}

static void
test_client_certificate(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct testcert leaf =
	    testcert_make(&(struct testcert_spec){ .cn = "x" });
	struct testcert own = testcert_make(&(struct testcert_spec){
	    .cn = "client", .issuer = &middle });
	size_t i;

	(void)state;
	testcert_append_cert(own_cert, &own);
	testcert_append_cert(own_cert, &middle);
	testcert_append_key(own_key, &own, NULL);
	for (i = 0; i < 2; i++) {
		struct testserver server = { .cert = &leaf,
			.max_version = versions[i],
			.client_ca = &root,
			.talk = see_client };
		struct dsn said = { 0 };

		assert_int_equal(
		    shake_hands((struct tlsd_session_params){ .name = NAME,
				    .cert = own_cert,
				    .key = own_key },
			&server, &said),
		    TLS_STATUS_READY);
		assert_true(server.shook_hands);
		assert_non_null(server.arg);
		assert_int_equal(X509_cmp(server.arg, own.cert), 0);
		X509_free(server.arg);
	}
	for (i = 0; i < 2; i++) {
		struct testserver server = { .cert = &leaf,
			.max_version = versions[i],
			.client_ca = &root };
		struct dsn said = { 0 };

		/* In TLS 1.3 we learn it only after our side is complete. */
		assert_int_equal(
		    shake_hands((struct tlsd_session_params){ .name = NAME },
			&server, &said),
		    i == 0 ? TLS_STATUS_FAILED : TLS_STATUS_READY);
		assert_false(server.shook_hands);
	}
	testcert_free(&leaf);
	testcert_free(&own);
}

static void
test_client_certificate_unusable(void **state)
{
	struct testcert own =
	    testcert_make(&(struct testcert_spec){ .cn = "client" });
	struct testcert other =
	    testcert_make(&(struct testcert_spec){ .cn = "other" });
	static const struct {
		const char *cert, *key, *text;
	} cases[] = {
		{ "c.pem", "k.pem", NULL },
		{ "gone.pem", "k.pem", "gone.pem: No such file" },
		{ "c.pem", "gone.pem", "gone.pem: No such file" },
		{ "c.pem", "other.pem", "other.pem: not the key of" },
		{ "c.pem", "locked.pem", "locked.pem: the key is encrypted" },
		{ "c.pem", "legacy.pem", "legacy.pem: the key is encrypted" },
		{ "c.pem", "c.pem", "c.pem: no private key" },
		{ "k.pem", "k.pem", "k.pem: no certificate" },
		{ "junk.pem", "k.pem", "junk.pem: no certificate" },
		{ "c.pem", "junk.pem", "junk.pem: no private key" },
		{ "chain.pem", "k.pem", NULL },
		{ "cut.pem", "k.pem", "cut.pem: a certificate of the chain" },
		{ "odd.pem", "k.pem", "odd.pem: a certificate of the chain" },
		{ "", "k.pem", "Is a directory" },
	};
	size_t i;

	(void)state;
	testcert_append_cert(testcert_file(dir, "c.pem"), &own);
	testcert_append_key(testcert_file(dir, "k.pem"), &own, NULL);
	testcert_append_key(testcert_file(dir, "other.pem"), &other, NULL);
	testcert_append_key(testcert_file(dir, "locked.pem"), &own, "secret");
	testcert_append_text(testcert_file(dir, "legacy.pem"),
	    "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
	    "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n"
	    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
	    "-----END EC PRIVATE KEY-----\n");
	testcert_append_text(testcert_file(dir, "junk.pem"),
	    "nothing\n\x01\x02");
	testcert_append_cert(testcert_file(dir, "chain.pem"), &own);
	testcert_append_cert(testcert_file(dir, "chain.pem"), &other);
	testcert_append_text(testcert_file(dir, "chain.pem"), "nothing\n");
	testcert_append_cert(testcert_file(dir, "cut.pem"), &own);
	testcert_append_text(testcert_file(dir, "cut.pem"),
	    "-----BEGIN CERTIFICATE-----\nAAAA\n");
	testcert_append_cert(testcert_file(dir, "odd.pem"), &own);
	testcert_append_text(testcert_file(dir, "odd.pem"),
	    "-----BEGIN CERTIFICATE-----\nAAAA\n"
	    "-----END CERTIFICATE-----\n");
	testcert_append_cert(testcert_file(dir, "odd.pem"), &other);
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		char cert[4096], key[4096];
		struct tlsd_session_params p = {
			.fd = -1, .cert = cert, .key = key
		};
		struct dsn said = { 0 };
		struct tlsd_session *s;

		strcpy(cert, testcert_file(dir, cases[i].cert));
		strcpy(key, testcert_file(dir, cases[i].key));
		s = tlsd_session_create(&p, &said);
		if (cases[i].text == NULL) {
			assert_non_null(s);
			tlsd_session_destroy(s);
		} else if (s != NULL ||
			   strstr(said.text, cases[i].text) == NULL) {
			fail_msg("%s, %s: \"%s\"", cases[i].cert, cases[i].key,
			    said.text);
		}
	}
	testcert_free(&own);
	testcert_free(&other);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_unverified),
		cmocka_unit_test(test_chains),
		cmocka_unit_test(test_no_name),
		cmocka_unit_test(test_sni),
		cmocka_unit_test(test_old_servers),
		cmocka_unit_test(test_client_hello_is_small),
		cmocka_unit_test(test_no_server),
		cmocka_unit_test(test_drip),
		cmocka_unit_test(test_client_certificate),
		cmocka_unit_test(test_client_certificate_unusable),
	};

	alarm(120);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
