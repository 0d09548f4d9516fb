/* SPDX-License-Identifier: ISC */
#include "tlsd/verify.h"

#include <string.h>

#include <openssl/x509v3.h>

#include "base/str.h"
#include "tlsd/error.h"

#define LABEL_MAX 63
#define CHAIN_DEPTH 10 /* intermediates; a longer chain is an attack */

/*
 * Letters, digits, '-' and '_' in labels of 1 to 63 bytes.  No empty label: the
 * library takes a leading dot for "any host below".
 */
static bool
is_host_name(const char *name, size_t n)
{
	size_t label = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		if (name[i] == '.') {
			if (label == 0)
				return false;
			label = 0;
			continue;
		}
		if (!str_is_alnum(name[i]) && name[i] != '-' && name[i] != '_')
			return false;
		if (++label > LABEL_MAX)
			return false;
	}
	return label > 0;
}

void
tlsd_name_parse(struct tlsd_name *name, const char *text)
{
	size_t n = strlen(text);

	if (ip_parse(text, n, &name->ip) ||
	    ip_parse_literal(text, n, &name->ip)) {
		name->is_ip = true;
		ip_format(&name->ip, name->text);
		return;
	}
	if (n > 0 && text[n - 1] == '.')
		n--;
	if (n < sizeof name->text && is_host_name(text, n))
		memcpy(name->text, text, n);
}

/*
 * Otherwise the library builds and verifies a chain even for a session that
 * accepts any certificate.  That is useless work, and hostile chains are better
 * not looked at.
 */
static int
accept_any(X509_STORE_CTX *ctx, void *unused)
{
	(void)unused;
	X509_STORE_CTX_set_error(ctx, X509_V_ERR_UNSPECIFIED);
	return 1;
}

void
tlsd_verify_disable(SSL_CTX *context)
{
	SSL_CTX_set_cert_verify_callback(context, accept_any, NULL);
}

int
tlsd_verify_require(SSL *ssl, const struct tlsd_name *name, struct dsn *why)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	bool v4 = ip_is_v4(&name->ip);
	int ok;

	X509_VERIFY_PARAM_set_hostflags(param,
	    X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
		X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	X509_VERIFY_PARAM_set_depth(param, CHAIN_DEPTH);
	/*
	 * A listed certificate is trusted, even if it is signed by another one.
	 */
	X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
	if (name->is_ip)
		ok = X509_VERIFY_PARAM_set1_ip(param,
		    name->ip.byte + (v4 ? 12 : 0), v4 ? 4 : 16);
	else
		ok = X509_VERIFY_PARAM_set1_host(param, name->text,
		    strlen(name->text));
	if (ok != 1 ||
	    X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER) != 1)
		return tlsd_error_set_local(why, name->text);
	return 0;
}

const char *
tlsd_verify_text(SSL *ssl)
{
	long result = SSL_get_verify_result(ssl);

	if (SSL_get0_peer_certificate(ssl) == NULL && result == X509_V_OK)
		return "no certificate";
	return tlsd_verify_result_text(result);
}

const char *
tlsd_verify_result_text(long result)
{
	if (result == X509_V_ERR_HOSTNAME_MISMATCH ||
	    result == X509_V_ERR_IP_ADDRESS_MISMATCH)
		return "name mismatch";
	return X509_verify_cert_error_string(result);
}

enum tls_cause
tlsd_verify_cause(SSL *ssl)
{
	switch (SSL_get_verify_result(ssl)) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return TLS_CAUSE_NAME;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return TLS_CAUSE_EXPIRED;
	default:
		return TLS_CAUSE_NOT_TRUSTED;
	}
}

bool
tlsd_verify_is_good(SSL *ssl)
{
	return SSL_get0_peer_certificate(ssl) != NULL &&
	       SSL_get_verify_result(ssl) == X509_V_OK;
}
