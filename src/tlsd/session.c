/* SPDX-License-Identifier: ISC */
#include "tlsd/session.h"

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/mem.h"
#include "base/str.h"
#include "tlsd/anchors.h"
#include "tlsd/bio.h"
#include "tlsd/context.h"
#include "tlsd/credentials.h"
#include "tlsd/describe.h"
#include "tlsd/error.h"
#include "tlsd/verify.h"

#define NO_NAME "no valid server name to verify a certificate for"

struct tlsd_session {
	struct tlsd_bio bio;
	SSL_CTX *context;
	SSL *ssl;
	struct tlsd_anchors *anchors; /* NULL: nothing is verified */
	struct tlsd_name name;
	bool is_demanding; /* the certificate must verify */
	bool broken;       /* nothing may be sent */

	/* If it is to be described: */
	enum tls_describe describe;
	X509 *cert;            /* of the server, or NULL */
	long verdict;          /* X509_V_... */
	struct dsn no_anchors; /* why there are none */
};

/* Failures. */

static void
set_not_verified(const struct tlsd_session *s, struct tls_result *r)
{
	r->status = TLS_STATUS_FAILED;
	r->cause = tlsd_verify_cause(s->ssl);
	snprintf(r->text, sizeof r->text, "certificate verify failed: %s",
	    tlsd_verify_text(s->ssl));
}

/* Finds a failure of ours; false if there is none. */
static bool
find_local_failure(const struct tlsd_session *s, struct dsn *why)
{
	const struct dsn *failure =
	    s->anchors != NULL ? tlsd_anchors_failure(s->anchors) : NULL;

	if (tlsd_error_is_local())
		tlsd_error_set_local(why, "TLS");
	else if (failure != NULL)
		*why = *failure;
	else
		return false;
	return true;
}

static void
set_peer_failure(const struct tlsd_session *s, struct dsn *why)
{
	unsigned long code = ERR_peek_last_error();

	if (s->bio.expired)
		dsn_set(why, TLSD_ERROR_PEER, TLS_TEXT_TIMED_OUT);
	else if (tlsd_bio_is_flooded(&s->bio))
		dsn_set(why, TLSD_ERROR_PEER, "too many handshake messages");
	else if (code != 0)
		tlsd_error_set(why, TLSD_ERROR_PEER, "", code);
	else if (s->bio.error != 0)
		dsn_set(why, TLSD_ERROR_PEER, "%s", strerror(s->bio.error));
	else
		dsn_set(why, TLSD_ERROR_PEER, "connection closed");
}

enum tls_end
tlsd_session_failure(const struct tlsd_session *s, char text[TLS_TEXT_SIZE])
{
	struct dsn why = { 0 };
	enum tls_end end = TLS_END_LOCAL;

	if (!find_local_failure(s, &why)) {
		end = TLS_END_BROKEN;
		set_peer_failure(s, &why);
	}
	(void)str_copy(text, TLS_TEXT_SIZE, why.text);
	return end;
}

static bool
is_verify_failure(unsigned long code)
{
	return ERR_GET_LIB(code) == ERR_LIB_SSL &&
	       ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED;
}

/* Sets why the handshake failed, and on which side. */
static void
set_failure(const struct tlsd_session *s, struct tls_result *r)
{
	unsigned long code = ERR_peek_last_error();

	r->status = TLS_STATUS_FAILED;
	if (tlsd_session_failure(s, r->text) == TLS_END_LOCAL)
		r->status = TLS_STATUS_LOCAL;
	else if (is_verify_failure(code))
		set_not_verified(s, r);
}

/* Set-up. */

static bool
has_name(const struct tlsd_session *s)
{
	return s->name.text[0] != '\0';
}

static int
use_anchors(struct tlsd_session *s, const char *path, const char *statedir,
    struct dsn *why)
{
	s->anchors = tlsd_anchors_open(path, statedir, why);
	if (s->anchors == NULL)
		return -1;
	if (s->is_demanding)
		SSL_CTX_set_verify(s->context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(s->context, tlsd_anchors_verify,
	    s->anchors);
	if (SSL_CTX_set1_verify_cert_store(s->context,
		tlsd_anchors_store(s->anchors)) != 1)
		return tlsd_error_set_local(why, path);
	/*
	 * Checking the validity calls gmtime(), which reads a file: do that
	 * now.
	 */
	tzset();
	return 0;
}

/* Keeps the certificate and the verdict; accepts all if any will do. */
static int
verify_and_keep(X509_STORE_CTX *ctx, void *session)
{
	struct tlsd_session *s = session;
	int ok = 0;

	X509_free(s->cert);
	s->cert = X509_STORE_CTX_get0_cert(ctx);
	if (s->cert != NULL)
		X509_up_ref(s->cert);
	if (s->anchors != NULL)
		ok = tlsd_anchors_verify(ctx, s->anchors);
	s->verdict = ok == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
	if (s->is_demanding)
		return ok;
	ERR_clear_error();
	X509_STORE_CTX_set_error(ctx, X509_V_ERR_UNSPECIFIED);
	return 1;
}

/* What is demanded of the certificate, or merely looked at. */
static int
set_verification(struct tlsd_session *s, const struct tlsd_session_params *p,
    struct dsn *why)
{
	s->describe = p->describe;
	s->is_demanding =
	    p->anchors != NULL && p->describe != TLS_DESCRIBE_ACCEPT;
	if (p->anchors == NULL)
		tlsd_verify_disable(s->context);
	else if (use_anchors(s, p->anchors, p->statedir, why) == -1) {
		if (s->is_demanding)
			return -1;
		s->no_anchors = *why;
	}
	if (p->describe != TLS_DESCRIBE_NOTHING)
		SSL_CTX_set_cert_verify_callback(s->context, verify_and_keep,
		    s);
	return 0;
}

static void
count_message(int writing, int version, int type, const void *data, size_t n,
    SSL *ssl, void *session)
{
	struct tlsd_session *s = session;

	(void)version;
	(void)data;
	(void)n;
	(void)ssl;
	if (!writing && type == SSL3_RT_HANDSHAKE)
		s->bio.messages++;
}

static int
create_connection(struct tlsd_session *s, struct dsn *why)
{
	BIO *bio;

	s->ssl = SSL_new(s->context);
	if (s->ssl == NULL)
		return tlsd_error_set_local(why, "TLS");
	bio = tlsd_bio_create(&s->bio);
	if (bio == NULL)
		return tlsd_error_set_local(why, "TLS");
	SSL_set_bio(s->ssl, bio, bio);
	SSL_set_connect_state(s->ssl);
	SSL_set_msg_callback(s->ssl, count_message);
	SSL_set_msg_callback_arg(s->ssl, s);
	/* RFC 6066 section 3: host names only, never literal addresses. */
	if (has_name(s) && !s->name.is_ip &&
	    SSL_set_tlsext_host_name(s->ssl, s->name.text) != 1)
		return tlsd_error_set_local(why, s->name.text);
	return 0;
}

struct tlsd_session *
tlsd_session_create(const struct tlsd_session_params *p, struct dsn *why)
{
	struct tlsd_session *s = mem_alloc(1, sizeof *s);

	s->bio.fd = p->fd;
	s->bio.until = deadline_never();
	if (p->name != NULL)
		tlsd_name_parse(&s->name, p->name);
	s->context = tlsd_context_create(p->security, why);
	if (s->context == NULL)
		goto fail;
	if (p->cert != NULL && p->key != NULL &&
	    tlsd_credentials_use(s->context, p->cert, p->key, why) == -1)
		goto fail;
	if (set_verification(s, p, why) == -1)
		goto fail;
	if (create_connection(s, why) == -1)
		goto fail;
	if (s->anchors != NULL && has_name(s) &&
	    tlsd_verify_require(s->ssl, &s->name, why) == -1)
		goto fail;
	return s;

fail:
	tlsd_session_destroy(s);
	return NULL;
}

void
tlsd_session_destroy(struct tlsd_session *s)
{
	if (s == NULL)
		return;
	SSL_free(s->ssl);
	SSL_CTX_free(s->context);
	tlsd_bio_finish(&s->bio);
	tlsd_anchors_close(s->anchors);
	X509_free(s->cert);
	free(s);
}

/*
 * Steps.
 */

/* The step for the return value of a library call. */
static enum tlsd_step
step_of(struct tlsd_session *s, int result)
{
	switch (SSL_get_error(s->ssl, result)) {
	case SSL_ERROR_NONE:
		return TLSD_STEP_DONE;
	case SSL_ERROR_WANT_READ:
		return TLSD_STEP_WANT_READ;
	case SSL_ERROR_WANT_WRITE:
		return TLSD_STEP_WANT_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		return TLSD_STEP_EOF;
	default:
		s->broken = true;
		return TLSD_STEP_FAILED;
	}
}

void
tlsd_session_is_readable(struct tlsd_session *s)
{
	tlsd_bio_is_readable(&s->bio);
}

/*
 * "" if the key exchange had none, as with RSA or a group chosen by the server.
 */
static void
take_group(const struct tlsd_session *s, char group[TLS_WORD_SIZE])
{
	long id = SSL_get_negotiated_group(s->ssl);
	const char *name =
	    id != NID_undef ? SSL_group_to_name(s->ssl, (int)id) : NULL;

	group[0] = '\0';
	if (name == NULL)
		return;
	(void)str_copy(group, TLS_WORD_SIZE, name);
	/* RFC 7748 has "X25519"; OpenSSL until 3.4 has "x25519". */
	if (group[0] == 'x')
		group[0] = 'X';
}

static void
set_success(const struct tlsd_session *s, struct tls_result *r)
{
	if (s->is_demanding && !tlsd_verify_is_good(s->ssl)) {
		set_not_verified(s, r);
		return;
	}
	r->status = TLS_STATUS_READY;
	(void)str_copy(r->version, sizeof r->version, SSL_get_version(s->ssl));
	(void)str_copy(r->cipher, sizeof r->cipher,
	    SSL_get_cipher_name(s->ssl));
	take_group(s, r->group);
	if (s->is_demanding)
		(void)str_copy(r->verified, sizeof r->verified, s->name.text);
}

/* The poll events that the step needs before it can continue; 0: none. */
static short
wants_of(enum tlsd_step step)
{
	if (step == TLSD_STEP_WANT_READ)
		return POLLIN;
	return step == TLSD_STEP_WANT_WRITE ? POLLOUT : 0;
}

/* Repeats the handshake call until it ends or the time is over. */
static enum tlsd_step
run_handshake(struct tlsd_session *s)
{
	enum tlsd_step step;
	int result;

	/*
	 * The server waits for our ClientHello, so do not read before poll().
	 */
	s->bio.drained = true;
	do {
		ERR_clear_error();
		result = SSL_do_handshake(s->ssl);
		step = result == 1 ? TLSD_STEP_DONE : step_of(s, result);
	} while (wants_of(step) != 0 && tlsd_bio_wait(&s->bio, wants_of(step)));
	return step;
}

enum tls_status
tlsd_session_handshake(struct tlsd_session *s, struct deadline until,
    struct tls_result *r)
{
	*r = (struct tls_result){ .status = TLS_STATUS_FAILED };
	/* Names come from the DNS: an invalid one is not a failure of ours. */
	if (s->is_demanding && !has_name(s)) {
		r->cause = TLS_CAUSE_NAME;
		(void)str_copy(r->text, sizeof r->text, NO_NAME);
		return r->status;
	}
	s->bio.until = until;
	if (run_handshake(s) == TLSD_STEP_DONE)
		set_success(s, r);
	else
		set_failure(s, r);
	s->bio.until = deadline_never();
	return r->status;
}

static const char *
verdict_text(const struct tlsd_session *s)
{
	const struct dsn *failure =
	    s->anchors != NULL ? tlsd_anchors_failure(s->anchors) : NULL;

	if (s->no_anchors.status[0] != '\0')
		return s->no_anchors.text;
	if (failure != NULL)
		return failure->text;
	if (!has_name(s))
		return NO_NAME;
	return s->verdict != X509_V_OK ? tlsd_verify_result_text(s->verdict)
				       : "";
}

static void
add_fact(struct tls_facts *f, enum tls_fact fact, const char *text)
{
	(void)str_copy(f->text[fact], sizeof f->text[fact], text);
	f->is_known[fact] = true;
}

void
tlsd_session_facts(const struct tlsd_session *s, struct tls_facts *f)
{
	X509 *own = SSL_get_certificate(s->ssl);
	char text[TLS_TEXT_SIZE];

	*f = (struct tls_facts){ 0 };
	if (s->describe == TLS_DESCRIBE_NOTHING)
		return;
	if (own != NULL) {
		tlsd_describe_expiry(own, text);
		add_fact(f, TLS_FACT_OWN_EXPIRES, text);
	}
	if (s->cert == NULL)
		return;
	tlsd_describe_names(s->cert, text);
	add_fact(f, TLS_FACT_NAMES, text);
	tlsd_describe_issuer(s->cert, text);
	add_fact(f, TLS_FACT_ISSUER, text);
	tlsd_describe_expiry(s->cert, text);
	add_fact(f, TLS_FACT_EXPIRES, text);
	if (s->anchors != NULL || s->no_anchors.status[0] != '\0')
		add_fact(f, TLS_FACT_VERDICT, verdict_text(s));
}

enum tlsd_step
tlsd_session_read(struct tlsd_session *s, void *data, size_t n, size_t *got)
{
	int result;

	ERR_clear_error();
	result = SSL_read_ex(s->ssl, data, n, got);
	if (result != 1)
		return step_of(s, result);
	s->bio.messages = 0;
	return TLSD_STEP_DONE;
}

enum tlsd_step
tlsd_session_write(struct tlsd_session *s, const void *data, size_t n,
    size_t *got)
{
	int result;

	ERR_clear_error();
	result = SSL_write_ex(s->ssl, data, n, got);
	if (result != 1)
		return step_of(s, result);
	s->bio.messages = 0;
	return TLSD_STEP_DONE;
}

enum tlsd_step
tlsd_session_close(struct tlsd_session *s)
{
	int result;

	if (s->broken)
		return TLSD_STEP_FAILED;
	ERR_clear_error();
	result = SSL_shutdown(s->ssl);
	/* 0: sent, but that of the server has not been read. */
	return result >= 0 ? TLSD_STEP_DONE : step_of(s, result);
}
