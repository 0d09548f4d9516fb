/* SPDX-License-Identifier: ISC */
#include "tlsd/verify.h"

#include <assert.h>
#include <string.h>

#include <openssl/x509v3.h>

#include "base/str.h"
#include "tlsd/error.h"

#define LABEL_MAX 63
#define CHAIN_DEPTH 10 /* intermediates; a longer chain is an attack */

/* The last one is about names that begin with a dot, and no others. */
#define HOST_FLAGS \
	(X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | \
	    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | \
	    X509_CHECK_FLAG_SINGLE_LABEL_SUBDOMAINS)

/*
 * Names.
 */

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

/* Copies a host name without a dot at its end; nothing if it is not valid. */
static void
copy_host(struct tlsd_name *name, const char *text, size_t n)
{
	if (n > 0 && text[n - 1] == '.')
		n--;
	if (n < sizeof name->text && is_host_name(text, n))
		memcpy(name->text, text, n);
}

static void
parse(struct tlsd_name *name, const char *text, size_t n)
{
	if (ip_parse(text, n, &name->ip) ||
	    ip_parse_literal(text, n, &name->ip)) {
		name->is_ip = true;
		ip_format(&name->ip, name->text);
		return;
	}
	copy_host(name, text, n);
}

void
tlsd_name_parse(struct tlsd_name *name, const char *text)
{
	parse(name, text, strlen(text));
}

/* The dot, and a domain; nothing if that is not valid or too long. */
static void
parse_domain(struct tlsd_name *name, const char *text, size_t n)
{
	struct tlsd_name domain = { 0 };

	copy_host(&domain, text + 1, n - 1);
	n = strlen(domain.text);
	if (n == 0 || n + 1 >= sizeof name->text)
		return;
	name->text[0] = '.';
	memcpy(name->text + 1, domain.text, n);
}

/* The next valid host name of a list, or domain; false at its end. */
static bool
take_name(const char **list, bool has_domains, struct tlsd_name *name)
{
	while (*list != NULL && **list != '\0') {
		const char *start = *list;
		size_t n = strcspn(start, ",");

		*list += n + (start[n] == ',');
		*name = (struct tlsd_name){ 0 };
		if (has_domains && *start == '.')
			parse_domain(name, start, n);
		else
			parse(name, start, n);
		if (name->text[0] != '\0' && !name->is_ip)
			return true;
	}
	return false;
}

static bool
has_single_name(const struct tlsd_reference *r)
{
	return r->name != NULL && r->name->text[0] != '\0';
}

bool
tlsd_verify_has_name(const struct tlsd_reference *r)
{
	const char *list = r->list;
	struct tlsd_name name;

	return has_single_name(r) || take_name(&list, r->has_domains, &name);
}

/*
 * Demands.
 */

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

static int
require_name(X509_VERIFY_PARAM *param, const struct tlsd_name *name)
{
	bool v4 = ip_is_v4(&name->ip);

	if (name->is_ip)
		return X509_VERIFY_PARAM_set1_ip(param,
		    name->ip.byte + (v4 ? 12 : 0), v4 ? 4 : 16);
	return X509_VERIFY_PARAM_add1_host(param, name->text,
	    strlen(name->text));
}

static int
require_names(X509_VERIFY_PARAM *param, const struct tlsd_reference *r)
{
	const char *list = r->list;
	struct tlsd_name name;
	int ok = X509_VERIFY_PARAM_set1_host(param, NULL, 0);

	if (ok == 1 && has_single_name(r))
		ok = require_name(param, r->name);
	while (ok == 1 && take_name(&list, r->has_domains, &name))
		ok = require_name(param, &name);
	return ok;
}

int
tlsd_verify_require(X509_VERIFY_PARAM *param, const struct tlsd_reference *r,
    struct dsn *why)
{
	/* Without a name, any name would do. */
	assert(tlsd_verify_has_name(r));
	X509_VERIFY_PARAM_set_hostflags(param, HOST_FLAGS);
	X509_VERIFY_PARAM_set_depth(param, CHAIN_DEPTH);
	if (require_names(param, r) != 1 ||
	    X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER) != 1)
		return tlsd_error_set_local(why, "TLS");
	return 0;
}

/*
 * Results.
 */

/* Whether the certificate is for this name; then that is copied. */
static bool
is_for(SSL *ssl, const struct tlsd_name *name, char text[TLS_NAME_SIZE])
{
	X509 *cert = SSL_get0_peer_certificate(ssl);
	char *found = NULL;

	if (!name->is_ip &&
	    X509_check_host(cert, name->text, 0, HOST_FLAGS, &found) != 1)
		return false;
	(void)str_copy(text, TLS_NAME_SIZE,
	    name->text[0] == '.' ? found : name->text);
	OPENSSL_free(found);
	return true;
}

void
tlsd_verify_find_name(SSL *ssl, const struct tlsd_reference *r,
    char text[TLS_NAME_SIZE])
{
	const char *list = r->list;
	struct tlsd_name name;

	if (has_single_name(r) && is_for(ssl, r->name, text))
		return;
	while (take_name(&list, r->has_domains, &name))
		if (is_for(ssl, &name, text))
			return;
	assert(false);
}

const char *
tlsd_verify_text(long result)
{
	if (result == X509_V_ERR_HOSTNAME_MISMATCH ||
	    result == X509_V_ERR_IP_ADDRESS_MISMATCH)
		return "name mismatch";
	if (result == X509_V_ERR_DANE_NO_MATCH)
		return "certificate matches no TLSA record";
	return X509_verify_cert_error_string(result);
}

enum tls_cause
tlsd_verify_cause(long result)
{
	switch (result) {
	case X509_V_ERR_OUT_OF_MEM:
		return TLS_CAUSE_LOCAL;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return TLS_CAUSE_NAME;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return TLS_CAUSE_EXPIRED;
	case X509_V_ERR_DANE_NO_MATCH:
		return TLS_CAUSE_HANDSHAKE;
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
