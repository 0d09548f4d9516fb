/* SPDX-License-Identifier: ISC */
#include "tlsd/warm.h"

#include <stdbool.h>
#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/mem.h"
#include "tls/request.h"
#include "tlsd/context.h"

#define STEPS_MAX 10 /* of both sides, until the handshake is done */
#define LEVEL 1
#define MODULUS 256 /* bytes */

struct tlsd_warm {
	SSL_CTX *context[TLS_SECURITY_MAX + 1]; /* by level */
};

/* As most servers have. */
static EVP_PKEY *
make_key(void)
{
	return EVP_EC_gen("P-256");
}

/* Signed by itself. */
static X509 *
make_certificate(EVP_PKEY *key)
{
	static const unsigned char name[] = "warm";
	X509 *x = X509_new();

	if (x != NULL && X509_set_version(x, X509_VERSION_3) == 1 &&
	    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN",
		MBSTRING_ASC, name, -1, -1, 0) == 1 &&
	    X509_set_issuer_name(x, X509_get_subject_name(x)) == 1 &&
	    X509_gmtime_adj(X509_getm_notBefore(x), -3600) != NULL &&
	    X509_gmtime_adj(X509_getm_notAfter(x), 3600) != NULL &&
	    X509_set_pubkey(x, key) == 1 && X509_sign(x, key, EVP_sha256()) > 0)
		return x;
	X509_free(x);
	return NULL;
}

static SSL_CTX *
make_server(void)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	EVP_PKEY *key = make_key();
	X509 *certificate = key != NULL ? make_certificate(key) : NULL;
	bool is_ok = context != NULL && certificate != NULL &&
		     SSL_CTX_use_certificate(context, certificate) == 1 &&
		     SSL_CTX_use_PrivateKey(context, key) == 1;

	X509_free(certificate);
	EVP_PKEY_free(key);
	if (is_ok)
		return context;
	SSL_CTX_free(context);
	return NULL;
}

/* Its chain leads to itself; the outcome does not matter. */
static void
verify(SSL *client)
{
	X509 *leaf = SSL_get1_peer_certificate(client);
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *context = X509_STORE_CTX_new();

	if (leaf != NULL && store != NULL && context != NULL &&
	    X509_STORE_add_cert(store, leaf) == 1 &&
	    X509_STORE_CTX_init(context, store, leaf, NULL) == 1)
		(void)X509_verify_cert(context);
	X509_STORE_CTX_free(context);
	X509_STORE_free(store);
	X509_free(leaf);
}

/* Both sides in turn; and one piece of text, which takes the last keys. */
static void
converse(SSL *client, SSL *server)
{
	char c = 'w';

	for (int i = 0; i < STEPS_MAX &&
			(SSL_in_init(client) != 0 || SSL_in_init(server) != 0);
	     i++) {
		(void)SSL_do_handshake(client);
		(void)SSL_do_handshake(server);
	}
	if (SSL_is_init_finished(client) == 0)
		return;
	(void)SSL_write(client, &c, 1);
	(void)SSL_read(server, &c, 1);
	(void)SSL_write(server, &c, 1);
	(void)SSL_read(client, &c, 1);
	verify(client);
}

static void
shake_hands(SSL_CTX *client_context, SSL_CTX *server_context)
{
	SSL *client = SSL_new(client_context);
	SSL *server = SSL_new(server_context);
	BIO *ends[2] = { NULL, NULL };

	if (client != NULL && server != NULL &&
	    BIO_new_bio_pair(&ends[0], 0, &ends[1], 0) == 1) {
		SSL_set_bio(client, ends[0], ends[0]);
		SSL_set_bio(server, ends[1], ends[1]);
		SSL_set_connect_state(client);
		SSL_set_accept_state(server);
		converse(client, server);
	}
	SSL_free(client);
	SSL_free(server);
}

/*
 * Reads a public key of RSA, in the form that certificates have.  The first one
 * takes longer than others: since OpenSSL 3.2 it is remembered how a kind of
 * key is read.  If it cannot be read, nothing is lost but this time.
 */
static void
read_rsa_key(void)
{
	static const unsigned char start[] = {
		0x30, 0x82, 0x01, 0x22, /* SubjectPublicKeyInfo: */
		0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d,
		0x01, 0x01, 0x01, 0x05, 0x00, /* rsaEncryption, */
		0x03, 0x82, 0x01, 0x0f, 0x00, /* and the key: */
		0x30, 0x82, 0x01, 0x0a,       /* RSAPublicKey: */
		0x02, 0x82, 0x01, 0x01, 0x00, /* a modulus of 2048 bits, */
	};
	static const unsigned char end[] = {
		0x02, 0x03, 0x01, 0x00, 0x01, /* and an exponent */
	};
	unsigned char der[sizeof start + MODULUS + sizeof end];
	const unsigned char *p = der;

	memcpy(der, start, sizeof start);
	/* Any number will do: the key is not used. */
	memset(der + sizeof start, 0xff, MODULUS);
	memcpy(der + sizeof start + MODULUS, end, sizeof end);
	EVP_PKEY_free(d2i_PUBKEY(NULL, &p, sizeof der));
}

static void
load_algorithms(SSL_CTX *client)
{
	SSL_CTX *server = make_server();

	read_rsa_key();
	if (server != NULL)
		shake_hands(client, server);
	SSL_CTX_free(server);
	/* Whatever did not work costs only time. */
	ERR_clear_error();
}

struct tlsd_warm *
tlsd_warm_up(struct dsn *why)
{
	struct tlsd_warm *warm = mem_alloc(1, sizeof *warm);
	/* Not one of those that are used: it remembers the handshake. */
	SSL_CTX *client = tlsd_context_create(LEVEL, why);
	bool is_ok = client != NULL;

	if (is_ok)
		load_algorithms(client);
	SSL_CTX_free(client);
	for (int i = 0; is_ok && i <= TLS_SECURITY_MAX; i++) {
		warm->context[i] = tlsd_context_create(i, why);
		is_ok = warm->context[i] != NULL;
	}
	if (is_ok)
		return warm;
	tlsd_warm_free(warm);
	return NULL;
}

SSL_CTX *
tlsd_warm_take(struct tlsd_warm *warm, int security)
{
	SSL_CTX *context = warm->context[security];

	assert(context != NULL);
	warm->context[security] = NULL;
	return context;
}

void
tlsd_warm_free(struct tlsd_warm *warm)
{
	if (warm == NULL)
		return;
	for (int i = 0; i <= TLS_SECURITY_MAX; i++)
		SSL_CTX_free(warm->context[i]);
	free(warm);
}
