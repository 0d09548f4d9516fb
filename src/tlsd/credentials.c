/* SPDX-License-Identifier: ISC */
#include "tlsd/credentials.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/buf.h"
#include "io/fdio.h"
#include "tlsd/error.h"

#define PEM_LIMIT (1 << 20) /* bytes of a certificate or key file */

/* Nobody can enter a passphrase; notes that there is one. */
static int
refuse_passphrase(char *text, int size, int writing, void *asked)
{
	(void)text;
	(void)size;
	(void)writing;
	*(bool *)asked = true;
	return -1;
}

/* Reads a file into *text and returns a BIO over it; NULL with why. */
static BIO *
open_pem(const char *path, struct buf *text, struct dsn *why)
{
	BIO *bio;

	if (fdio_read_file(path, PEM_LIMIT, text) == -1) {
		dsn_set(why, TLSD_ERROR_LOCAL, "cannot read %s: %s", path,
		    strerror(errno));
		return NULL;
	}
	bio = BIO_new_mem_buf(buf_text(text), (int)text->len);
	if (bio == NULL)
		tlsd_error_set_local(why, path);
	return bio;
}

static EVP_PKEY *
read_key(const char *path, struct dsn *why)
{
	struct buf text = { 0 };
	BIO *bio = open_pem(path, &text, why);
	EVP_PKEY *key = NULL;
	bool asked = false;

	if (bio == NULL)
		goto out;
	key = PEM_read_bio_PrivateKey(bio, NULL, refuse_passphrase, &asked);
	/* The callback is not called for old formats. */
	if (key == NULL && strstr(buf_text(&text), "ENCRYPTED") != NULL)
		asked = true;
	if (key == NULL && asked)
		dsn_set(why, TLSD_ERROR_LOCAL,
		    "cannot use %s: the key is encrypted", path);
	else if (key == NULL)
		dsn_set(why, TLSD_ERROR_LOCAL, "cannot use %s: no private key",
		    path);

out:
	BIO_free(bio);
	if (text.data != NULL)
		OPENSSL_cleanse(text.data, text.cap);
	buf_finish(&text);
	return key;
}

/*
 * Reads certificates up to the end of the file; false if not all could be read.
 */
static bool
read_issuers(BIO *bio, STACK_OF(X509) * chain)
{
	X509 *cert;
	bool is_end;

	while ((cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		if (sk_X509_push(chain, cert) == 0) {
			X509_free(cert);
			return false;
		}
	}
	is_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
	ERR_clear_error();
	return is_end;
}

/* Reads our certificate; the rest of its chain is appended to chain. */
static X509 *
read_chain(const char *path, STACK_OF(X509) * chain, struct dsn *why)
{
	struct buf text = { 0 };
	BIO *bio = open_pem(path, &text, why);
	X509 *cert = NULL;

	if (bio == NULL)
		goto out;
	cert = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
	if (cert == NULL) {
		dsn_set(why, TLSD_ERROR_LOCAL, "cannot use %s: no certificate",
		    path);
		goto out;
	}
	if (!read_issuers(bio, chain)) {
		dsn_set(why, TLSD_ERROR_LOCAL,
		    "cannot use %s: a certificate of the chain is damaged",
		    path);
		X509_free(cert);
		cert = NULL;
	}

out:
	BIO_free(bio);
	buf_finish(&text);
	return cert;
}

int
tlsd_credentials_use(SSL_CTX *context, const char *certpath,
    const char *keypath, struct dsn *why)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	X509 *cert = NULL;
	EVP_PKEY *key = NULL;
	int result = -1;

	if (chain == NULL)
		return tlsd_error_set_local(why, "TLS");
	cert = read_chain(certpath, chain, why);
	if (cert == NULL)
		goto out;
	key = read_key(keypath, why);
	if (key == NULL)
		goto out;
	if (X509_check_private_key(cert, key) != 1) {
		dsn_set(why, TLSD_ERROR_LOCAL,
		    "cannot use %s: not the key of the certificate in %s",
		    keypath, certpath);
		goto out;
	}
	if (SSL_CTX_use_cert_and_key(context, cert, key, chain, 1) != 1) {
		tlsd_error_set_local(why, certpath);
		goto out;
	}
	result = 0;

out:
	EVP_PKEY_free(key);
	X509_free(cert);
	sk_X509_pop_free(chain, X509_free);
	return result;
}
