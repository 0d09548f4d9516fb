/* SPDX-License-Identifier: ISC */
#include "tlsd/proof.h"

#include <stdio.h>
#include <time.h>

#include <openssl/err.h>

#include "base/str.h"
#include "tlsd/anchors.h"
#include "tlsd/dane.h"
#include "tlsd/describe.h"

#define NO_NAME "no valid server name to verify a certificate for"
#define ALL_UNUSABLE "no TLSA record is usable"

/*
 * OpenSSL's security levels.  With DANE a match has to be enough, also of a
 * short key (RFC 7672 section 3.1.1).
 */
#define DANE_LEVEL 1
#define PKIX_LEVEL 2

static bool
may_use_records(const struct tlsd_proof *p)
{
	return p->tlsa != NULL && tlsd_dane_is_possible(p->tlsa);
}

/* The TLSA base domain is one. */
static bool
is_host(const struct tlsd_name *name)
{
	return name->text[0] != '\0' && !name->is_ip;
}

static struct tlsd_reference
reference(const struct tlsd_proof *p, enum tls_proof how)
{
	if (how == TLS_PROOF_DANE)
		return (struct tlsd_reference){ .name = &p->name,
			.list = p->names };
	if (p->match == NULL)
		return (struct tlsd_reference){ .name = &p->name };
	return (struct tlsd_reference){ .list = p->match, .has_domains = true };
}

/* Anchors were given, whether they could be read or not. */
static bool
has_anchors(const struct tlsd_proof *p)
{
	return p->anchors != NULL || p->no_anchors.status[0] != '\0';
}

/*
 * Before the handshake.
 */

/* Where a record is certain to decide, they are only for the facts. */
static bool
needs_anchors(const struct tlsd_proof *p)
{
	return p->describe != TLS_DESCRIBE_NOTHING || p->tlsa == NULL ||
	       !tlsd_dane_is_certain(p->tlsa);
}

/* Where there are records, it is not known yet whether anchors matter. */
static int
open_anchors(struct tlsd_proof *p, const char *path, const char *statedir,
    struct dsn *why)
{
	p->anchors = tlsd_anchors_open(path, statedir, why);
	if (p->anchors != NULL)
		return 0;
	if (p->describe != TLS_DESCRIBE_ACCEPT && p->tlsa == NULL)
		return -1;
	p->no_anchors = *why;
	return 0;
}

int
tlsd_proof_open(struct tlsd_proof *p, SSL *ssl, const char *anchors,
    const char *statedir, struct dsn *why)
{
	bool uses_dane = may_use_records(p) && is_host(&p->name);

	if (uses_dane && tlsd_dane_enable(ssl, p->name.text, why) == -1)
		return -1;
	if (anchors != NULL && needs_anchors(p) &&
	    open_anchors(p, anchors, statedir, why) == -1)
		return -1;
	/*
	 * Checking the validity calls gmtime(), which reads a file: do that
	 * now.
	 */
	if (uses_dane || p->anchors != NULL)
		tzset();
	return 0;
}

void
tlsd_proof_close(struct tlsd_proof *p)
{
	tlsd_anchors_close(p->anchors);
	X509_free(p->cert);
}

/* The demands of PKIX, in the parameters of a verification. */
static int
require_pkix(const struct tlsd_proof *p, X509_VERIFY_PARAM *param,
    struct dsn *why)
{
	struct tlsd_reference r = reference(p, TLS_PROOF_PKIX);

	/*
	 * A listed certificate is trusted, even if it is signed by another one.
	 */
	X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
	return tlsd_verify_require(param, &r, why);
}

/* What PKIX says of a chain that was not verified so. */
static long
verify_by_anchors(const struct tlsd_proof *p, X509_STORE_CTX *ctx)
{
	struct tlsd_reference r = reference(p, TLS_PROOF_PKIX);
	X509_VERIFY_PARAM *param = X509_VERIFY_PARAM_new();
	long result = X509_V_ERR_UNSPECIFIED;
	struct dsn why;

	if (tlsd_verify_has_name(&r) && param != NULL &&
	    X509_VERIFY_PARAM_set1(param, X509_STORE_CTX_get0_param(ctx)) ==
		1 &&
	    require_pkix(p, param, &why) == 0) {
		X509_VERIFY_PARAM_set_auth_level(param, PKIX_LEVEL);
		result = tlsd_anchors_verify_copy(p->anchors, ctx, param);
	}
	X509_VERIFY_PARAM_free(param);
	ERR_clear_error();
	return result;
}

static long
result_of(int ok, X509_STORE_CTX *ctx)
{
	return ok ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
}

/* Keeps the certificate and what each way of verifying says. */
static int
verify_and_keep(X509_STORE_CTX *ctx, void *proof)
{
	struct tlsd_proof *p = proof;
	int ok = 1;

	X509_free(p->cert);
	p->cert = X509_STORE_CTX_get0_cert(ctx);
	if (p->cert != NULL)
		X509_up_ref(p->cert);
	if (p->wanted == TLS_PROOF_DANE) {
		ok = X509_verify_cert(ctx) == 1;
		p->dane = result_of(ok, ctx);
	} else if (p->wanted == TLS_PROOF_PKIX) {
		ok = tlsd_anchors_verify(ctx, p->anchors);
		p->pkix = result_of(ok, ctx);
	} else
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_UNSPECIFIED);
	if (p->wanted != TLS_PROOF_PKIX && p->anchors != NULL)
		p->pkix = verify_by_anchors(p, ctx);
	return ok;
}

/* Without a callback the library verifies as it does by itself: DANE. */
static void
set_callback(struct tlsd_proof *p, SSL_CTX *context)
{
	if (p->describe != TLS_DESCRIBE_NOTHING)
		SSL_CTX_set_cert_verify_callback(context, verify_and_keep, p);
	else if (p->wanted == TLS_PROOF_PKIX)
		SSL_CTX_set_cert_verify_callback(context, tlsd_anchors_verify,
		    p->anchors);
	else if (p->wanted == TLS_PROOF_NONE)
		tlsd_verify_disable(context);
}

static int
demand_dane(const struct tlsd_proof *p, SSL *ssl, struct dsn *why)
{
	struct tlsd_reference r = reference(p, TLS_PROOF_DANE);

	SSL_set_security_level(ssl, DANE_LEVEL);
	return tlsd_verify_require(SSL_get0_param(ssl), &r, why);
}

static int
demand_pkix(const struct tlsd_proof *p, SSL *ssl, struct dsn *why)
{
	if (SSL_set1_verify_cert_store(ssl, tlsd_anchors_store(p->anchors)) !=
	    1)
		return dsn_set(why, "4.3.0", "out of memory");
	return require_pkix(p, SSL_get0_param(ssl), why);
}

/* Decides what is wanted, by the records that are usable. */
static int
decide(struct tlsd_proof *p, SSL *ssl, struct dsn *why)
{
	int usable = 0;

	if (may_use_records(p))
		usable = tlsd_dane_add(ssl, p->tlsa, why);
	if (usable == -1)
		return -1;
	p->is_unusable = p->tlsa != NULL && usable == 0;
	if (usable > 0)
		p->wanted = TLS_PROOF_DANE;
	if (usable > 0 || p->describe == TLS_DESCRIBE_ACCEPT)
		return 0;
	if (p->anchors != NULL)
		p->wanted = TLS_PROOF_PKIX;
	*why = p->no_anchors;
	return why->status[0] == '\0' ? 0 : -1;
}

/* Always false. */
static bool
fail_locally(struct tls_result *r, const struct dsn *why)
{
	r->status = TLS_STATUS_LOCAL;
	(void)str_copy(r->text, sizeof r->text, why->text);
	return false;
}

/* Names come from the DNS: an invalid one is not a failure of ours. */
static bool
fail_nameless(struct tls_result *r)
{
	r->status = TLS_STATUS_FAILED;
	r->cause = TLS_CAUSE_NAME;
	(void)str_copy(r->text, sizeof r->text, NO_NAME);
	return false;
}

bool
tlsd_proof_demand(struct tlsd_proof *p, SSL *ssl, struct tls_result *r)
{
	struct tlsd_reference pkix = reference(p, TLS_PROOF_PKIX);
	struct dsn why = { 0 };
	int result = 0;

	if (may_use_records(p) && !is_host(&p->name))
		return fail_nameless(r);
	if (decide(p, ssl, &why) == -1)
		return fail_locally(r, &why);
	if (p->wanted == TLS_PROOF_PKIX && !tlsd_verify_has_name(&pkix))
		return fail_nameless(r);
	if (p->wanted == TLS_PROOF_DANE)
		result = demand_dane(p, ssl, &why);
	else if (p->wanted == TLS_PROOF_PKIX)
		result = demand_pkix(p, ssl, &why);
	if (result == -1)
		return fail_locally(r, &why);
	if (p->wanted != TLS_PROOF_NONE)
		SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	set_callback(p, SSL_get_SSL_CTX(ssl));
	return true;
}

/*
 * After the handshake.
 */

void
tlsd_proof_explain(SSL *ssl, struct tls_result *r)
{
	long result = SSL_get_verify_result(ssl);
	const char *text =
	    result != X509_V_OK ? tlsd_verify_text(result) : "no certificate";
	const char *lead = result != X509_V_ERR_DANE_NO_MATCH
			       ? "certificate verify failed: "
			       : "";

	r->cause = tlsd_verify_cause(result);
	r->status =
	    r->cause != TLS_CAUSE_LOCAL ? TLS_STATUS_FAILED : TLS_STATUS_LOCAL;
	snprintf(r->text, sizeof r->text, "%s%s", lead, text);
}

void
tlsd_proof_check(const struct tlsd_proof *p, SSL *ssl, struct tls_result *r)
{
	struct tlsd_reference names = reference(p, p->wanted);
	bool is_proved = p->wanted == TLS_PROOF_DANE
			     ? tlsd_dane_find_match(ssl, r)
			     : tlsd_verify_is_good(ssl);

	if (p->wanted != TLS_PROOF_NONE && !is_proved) {
		tlsd_proof_explain(ssl, r);
		return;
	}
	r->status = TLS_STATUS_READY;
	r->proof = p->is_unusable ? TLS_PROOF_UNUSABLE : p->wanted;
	if (p->wanted == TLS_PROOF_PKIX || r->usage == TLSA_USAGE_TA)
		tlsd_verify_find_name(ssl, &names, r->verified);
}

const struct dsn *
tlsd_proof_failure(const struct tlsd_proof *p)
{
	return p->wanted == TLS_PROOF_PKIX ? tlsd_anchors_failure(p->anchors)
					   : NULL;
}

/*
 * Facts.
 */

static void
add_fact(struct tls_facts *f, enum tls_fact fact, const char *text)
{
	(void)str_copy(f->text[fact], sizeof f->text[fact], text);
	f->is_known[fact] = true;
}

static const char *
verdict(long result)
{
	return result != X509_V_OK ? tlsd_verify_text(result) : "";
}

/* Why the anchors say nothing; NULL: they do. */
static const struct dsn *
anchors_failure(const struct tlsd_proof *p)
{
	return p->anchors != NULL ? tlsd_anchors_failure(p->anchors)
				  : &p->no_anchors;
}

/* The same causes as of a session that depends on the anchors. */
static enum tls_cause
add_verdict_of_pkix(const struct tlsd_proof *p, struct tls_facts *f)
{
	struct tlsd_reference names = reference(p, TLS_PROOF_PKIX);
	const struct dsn *failure = anchors_failure(p);

	if (failure != NULL) {
		add_fact(f, TLS_FACT_VERDICT, failure->text);
		return TLS_CAUSE_LOCAL;
	}
	if (!tlsd_verify_has_name(&names)) {
		add_fact(f, TLS_FACT_VERDICT, NO_NAME);
		return TLS_CAUSE_NAME;
	}
	add_fact(f, TLS_FACT_VERDICT, verdict(p->pkix));
	return p->pkix != X509_V_OK ? tlsd_verify_cause(p->pkix)
				    : TLS_CAUSE_NONE;
}

static void
add_verdicts(const struct tlsd_proof *p, SSL *ssl, struct tls_facts *f)
{
	struct tls_result r;
	char record[sizeof "255 255 255"];

	if (has_anchors(p))
		f->verdict = add_verdict_of_pkix(p, f);
	if (p->tlsa == NULL)
		return;
	add_fact(f, TLS_FACT_DANE,
	    p->is_unusable ? ALL_UNUSABLE : verdict(p->dane));
	if (p->wanted != TLS_PROOF_DANE || !tlsd_dane_find_match(ssl, &r))
		return;
	snprintf(record, sizeof record, "%u %u %u", r.usage, r.selector,
	    r.matching);
	add_fact(f, TLS_FACT_TLSA, record);
}

void
tlsd_proof_add_facts(const struct tlsd_proof *p, SSL *ssl, struct tls_facts *f)
{
	char text[TLS_TEXT_SIZE];

	if (p->cert == NULL)
		return;
	tlsd_describe_names(p->cert, text);
	add_fact(f, TLS_FACT_NAMES, text);
	tlsd_describe_issuer(p->cert, text);
	add_fact(f, TLS_FACT_ISSUER, text);
	tlsd_describe_expiry(p->cert, text);
	add_fact(f, TLS_FACT_EXPIRES, text);
	add_verdicts(p, ssl, f);
}
