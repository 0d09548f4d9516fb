/* SPDX-License-Identifier: ISC */
#include "testcert.h"

#include <sys/socket.h>
#include <netinet/in.h>
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/x509v3.h>

#define DAY 86400L

/* A test that cannot set the scene is of no use: it ends there. */
static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "testcert: %s failed\n", what);
	ERR_print_errors_fp(stderr);
	abort();
}

static void
add_extension(X509 *cert, X509V3_CTX *ctx, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, ctx, nid, value);

	must(e != NULL && X509_add_ext(cert, e, -1) == 1, value);
	X509_EXTENSION_free(e);
}

static void
add_nul_san(X509 *cert, const char *text)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *value = ASN1_IA5STRING_new();
	char *copy = strdup(text);
	size_t n = strlen(text);

	*strchr(copy, '|') = '\0';
	must(ASN1_STRING_set(value, copy, (int)n) == 1, "ASN1_STRING_set");
	GENERAL_NAME_set0_value(name, GEN_DNS, value);
	must(sk_GENERAL_NAME_push(names, name) > 0, "push");
	must(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) == 1,
	    "X509_add1_ext_i2d");
	GENERAL_NAMES_free(names);
	free(copy);
}

static void
add_extensions(X509 *cert, X509 *issuer, const struct testcert_spec *spec)
{
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	add_extension(cert, &ctx, NID_basic_constraints,
	    spec->is_ca ? "critical,CA:TRUE" : "CA:FALSE");
	add_extension(cert, &ctx, NID_subject_key_identifier, "hash");
	add_extension(cert, &ctx, NID_authority_key_identifier, "keyid");
	if (spec->is_ca)
		add_extension(cert, &ctx, NID_key_usage,
		    "critical,keyCertSign,cRLSign");
	if (spec->san != NULL)
		add_extension(cert, &ctx, NID_subject_alt_name, spec->san);
	if (spec->nul_san != NULL)
		add_nul_san(cert, spec->nul_san);
	if (spec->usage != NULL)
		add_extension(cert, &ctx, NID_ext_key_usage, spec->usage);
}

struct testcert
testcert_make(const struct testcert_spec *spec)
{
	static long serial = 1;
	struct testcert c = { X509_new(), spec->rsa_bits > 0
					      ? EVP_RSA_gen(spec->rsa_bits)
					      : EVP_EC_gen("P-256") };
	const struct testcert *by = spec->issuer != NULL ? spec->issuer : &c;
	X509_NAME *name = X509_get_subject_name(c.cert);
	long from = spec->from_days * DAY;
	long to = spec->to_days * DAY;

	must(c.cert != NULL && c.key != NULL, "key");
	if (from == 0 && to == 0) {
		from = -3600;
		to = DAY;
	}
	X509_set_version(c.cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(c.cert), serial++);
	X509_gmtime_adj(X509_getm_notBefore(c.cert), from);
	X509_gmtime_adj(X509_getm_notAfter(c.cert), to);
	if (spec->end != NULL)
		ASN1_STRING_set(X509_getm_notAfter(c.cert), spec->end, -1);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
	    (const unsigned char *)spec->cn, -1, -1, 0);
	X509_set_issuer_name(c.cert, X509_get_subject_name(by->cert));
	X509_set_pubkey(c.cert, c.key);
	add_extensions(c.cert, by->cert, spec);
	must(X509_sign(c.cert, by->key,
		 spec->is_sha1 ? EVP_sha1() : EVP_sha256()) > 0,
	    "X509_sign");
	return c;
}

void
testcert_free(struct testcert *c)
{
	X509_free(c->cert);
	EVP_PKEY_free(c->key);
	c->cert = NULL;
	c->key = NULL;
}

static FILE *
append_to(const char *path)
{
	FILE *f = fopen(path, "a");

	must(f != NULL, path);
	return f;
}

void
testcert_append_cert(const char *path, const struct testcert *c)
{
	FILE *f = append_to(path);

	must(PEM_write_X509(f, c->cert) == 1, path);
	fclose(f);
}

void
testcert_append_key(const char *path, const struct testcert *c,
    const char *passphrase)
{
	FILE *f = append_to(path);
	const EVP_CIPHER *cipher =
	    passphrase != NULL ? EVP_aes_128_cbc() : NULL;

	must(PEM_write_PKCS8PrivateKey(f, c->key, cipher, NULL, 0, NULL,
		 (void *)(size_t)passphrase) == 1,
	    path);
	fclose(f);
}

void
testcert_append_text(const char *path, const char *text)
{
	FILE *f = append_to(path);

	must(fputs(text, f) >= 0, path);
	fclose(f);
}

char *
testcert_mkdir(void)
{
	const char *tmp = getenv("TMPDIR");
	char path[4096];

	snprintf(path, sizeof path, "%s/qmail-remote-test.XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	must(mkdtemp(path) != NULL, path);
	return strdup(path);
}

const char *
testcert_file(const char *dir, const char *name)
{
	static char paths[4][4096];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof paths[0], "%s/%s", dir, name);
	return path;
}

void
testcert_rmdir(char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *e;

	must(dir != NULL, path);
	while ((e = readdir(dir)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			unlinkat(dirfd(dir), e->d_name, 0);
	closedir(dir);
	rmdir(path);
	free(path);
}

/*
 * The server.
 */

static int
see_sni(SSL *ssl, int *alert, void *arg)
{
	struct testserver *t = arg;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	(void)alert;
	snprintf(t->sni, sizeof t->sni, "%s", name != NULL ? name : "");
	return SSL_TLSEXT_ERR_OK;
}

/* The group of RFC 2409 section 6.2. */
static EVP_PKEY *
make_small_dh(void)
{
	OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
	BIGNUM *p = BN_get_rfc2409_prime_1024(NULL), *g = BN_new();
	EVP_PKEY *group = NULL;
	OSSL_PARAM *params;

	BN_set_word(g, 2);
	OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_FFC_P, p);
	OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_FFC_G, g);
	params = OSSL_PARAM_BLD_to_param(b);
	must(EVP_PKEY_fromdata_init(ctx) == 1 &&
		 EVP_PKEY_fromdata(ctx, &group, EVP_PKEY_KEY_PARAMETERS,
		     params) == 1,
	    "Diffie-Hellman group");
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(b);
	EVP_PKEY_CTX_free(ctx);
	BN_free(p);
	BN_free(g);
	return group;
}

static SSL_CTX *
make_context(struct testserver *t)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	must(ctx != NULL, "SSL_CTX_new");
	SSL_CTX_set_min_proto_version(ctx, t->min_version);
	SSL_CTX_set_max_proto_version(ctx, t->max_version);
	if (t->ciphers != NULL)
		must(SSL_CTX_set_cipher_list(ctx, t->ciphers) == 1, "ciphers");
	if (t->sigalgs != NULL)
		must(SSL_CTX_set1_sigalgs_list(ctx, t->sigalgs) == 1,
		    "signature algorithms");
	if (t->has_small_dh)
		must(SSL_CTX_set0_tmp_dh_pkey(ctx, make_small_dh()) == 1, "DH");
	SSL_CTX_set_tlsext_servername_callback(ctx, see_sni);
	SSL_CTX_set_tlsext_servername_arg(ctx, t);
	must(SSL_CTX_use_certificate(ctx, t->cert->cert) == 1 &&
		 SSL_CTX_use_PrivateKey(ctx, t->cert->key) == 1,
	    "server certificate");
	if (t->chain != NULL)
		must(SSL_CTX_add1_chain_cert(ctx, t->chain->cert) == 1,
		    "server chain");
	if (t->root != NULL)
		must(SSL_CTX_add1_chain_cert(ctx, t->root->cert) == 1,
		    "server root");
	if (t->client_ca != NULL) {
		X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx),
		    t->client_ca->cert);
		SSL_CTX_set_verify(ctx,
		    SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	}
	return ctx;
}

static void *
serve(void *arg)
{
	struct testserver *t = arg;
	SSL_CTX *ctx = make_context(t);
	SSL *ssl = SSL_new(ctx);
	bool ok;

	SSL_set_fd(ssl, t->fd);
	ok = SSL_accept(ssl) == 1;
	t->shook_hands = ok;
	if (ok && t->talk != NULL)
		t->talk(ssl, t);
	if (ok && !t->no_close_notify)
		SSL_shutdown(ssl);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(t->fd);
	return NULL;
}

void
testserver_start(struct testserver *t, int fd)
{
	pthread_t thread;

	signal(SIGPIPE, SIG_IGN);
	t->fd = fd;
	must(pthread_create(&thread, NULL, serve, t) == 0, "pthread_create");
	t->thread = (unsigned long)thread;
}

void
testserver_join(struct testserver *t)
{
	pthread_join((pthread_t)t->thread, NULL);
}

void
testserver_read_all(SSL *ssl, struct testserver *t)
{
	char piece[65536];
	size_t got;

	/* Of a write that failed, say; SSL_get_error() looks at it. */
	ERR_clear_error();
	while (SSL_read_ex(ssl, piece, sizeof piece, &got) == 1) {
		if (t->received < sizeof t->data) {
			size_t room = sizeof t->data - t->received;

			memcpy(t->data + t->received, piece,
			    got < room ? got : room);
		}
		t->received += got;
	}
	t->got_close_notify = SSL_get_error(ssl, 0) == SSL_ERROR_ZERO_RETURN;
}

void
testserver_pause(int ms)
{
	poll(NULL, 0, ms);
}

void
testserver_tcp_pair(int fd[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof a;
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(bind(listener, (struct sockaddr *)&a, n) == 0 &&
		 listen(listener, 1) == 0 &&
		 getsockname(listener, (struct sockaddr *)&a, &n) == 0,
	    "listen");
	fd[0] = socket(AF_INET, SOCK_STREAM, 0);
	must(connect(fd[0], (struct sockaddr *)&a, n) == 0, "connect");
	fd[1] = accept(listener, NULL, NULL);
	must(fd[1] != -1, "accept");
	must(fcntl(fd[0], F_SETFL, O_NONBLOCK) == 0, "fcntl");
	close(listener);
}
