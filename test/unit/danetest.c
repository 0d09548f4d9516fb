/* SPDX-License-Identifier: ISC */
#include "danetest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"

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

struct testcert leaf[LEAVES], middle, root, stranger;
static char *dir;
char anchors[4096];

const char *
file(const char *name)
{
	return testcert_file(dir, name);
}

struct testcert
issue(struct testcert_spec spec)
{
	spec.issuer = &middle;
	return testcert_make(&spec);
}

int
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

int
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

void
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

void
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

struct tls_result
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

struct tls_result
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

void
expect(const char *what, const struct tls_result *r, const char *want)
{
	char text[TLS_TEXT_SIZE + 32];

	if (strcmp(summarize(r, text), want) != 0)
		fail_msg("%s: \"%s\", not \"%s\"", what, text, want);
}
