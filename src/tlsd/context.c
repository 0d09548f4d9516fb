/* SPDX-License-Identifier: ISC */
#include "tlsd/context.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "base/mem.h"
#include "tlsd/error.h"

/*
 * The library's own default, written out, because some distributions have
 * changed it and the level.  At level 0 it allows everything that an old server
 * may have: SHA-1, small keys, TLS 1.0.
 */
#define CIPHERS "ALL:!COMPLEMENTOFDEFAULT:!eNULL:!aNULL:@SECLEVEL="

/*
 * Post-quantum key exchange, if the server supports it.  The key shares in the
 * first message stay the small ones, because some servers hang on a ClientHello
 * of more than one segment.  OpenSSL before 3.5 knows neither this group nor
 * this syntax, and keeps its default.
 */
#define GROUPS "?X25519MLKEM768:DEFAULT"

/*
 * If the library gets no memory, that must not be taken for a fault of the
 * server or a bad certificate; and it does not always leave an error.
 */

static void *
check_memory(void *p, size_t n)
{
	if (p == NULL && n > 0)
		mem_exhausted();
	return p;
}

static void *
own_malloc(size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return check_memory(malloc(n), n);
}

static void *
own_realloc(void *p, size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return check_memory(realloc(p, n), n);
}

static void
own_free(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	free(p);
}

static void
use_our_allocator(void)
{
	/* Fails if the library has allocated already. */
	(void)CRYPTO_set_mem_functions(own_malloc, own_realloc, own_free);
}

static bool
set_security(SSL_CTX *context, int level)
{
	char ciphers[sizeof CIPHERS + 4];
	int oldest = level == 0 ? TLS1_VERSION : TLS1_2_VERSION;

	snprintf(ciphers, sizeof ciphers, CIPHERS "%d", level);
	if (level == 0)
		SSL_CTX_set_options(context, SSL_OP_LEGACY_SERVER_CONNECT);
	if (!SSL_CTX_set_min_proto_version(context, oldest) ||
	    !SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) ||
	    !SSL_CTX_set_cipher_list(context, ciphers))
		return false;
	ERR_set_mark();
	(void)SSL_CTX_set1_groups_list(context, GROUPS);
	ERR_pop_to_mark();
	return true;
}

/*
 * No configuration file: its TLS settings are meant for other programs, and it
 * costs two milliseconds.  No cleanup at exit either, and no table of ciphers
 * by their old names, which TLS does not use.
 */
SSL_CTX *
tlsd_context_create(int security, struct dsn *why)
{
	static const uint64_t crypto =
	    OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS |
	    OPENSSL_INIT_NO_ADD_ALL_CIPHERS | OPENSSL_INIT_NO_ATEXIT;
	SSL_CTX *context = NULL;

	use_our_allocator();
	if (OPENSSL_init_crypto(crypto, NULL) != 1 ||
	    OPENSSL_init_ssl(crypto | OPENSSL_INIT_NO_LOAD_SSL_STRINGS, NULL) !=
		1)
		goto fail;
	context = SSL_CTX_new(TLS_client_method());
	if (context == NULL || !set_security(context, security))
		goto fail;
	SSL_CTX_set_options(context,
	    SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
	/* The chain that we present is exactly the one in the file. */
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_NO_AUTO_CHAIN);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
	return context;

fail:
	(void)tlsd_error_set_local(why, "cannot start OpenSSL");
	SSL_CTX_free(context);
	return NULL;
}
