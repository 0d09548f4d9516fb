/* SPDX-License-Identifier: ISC */
#include "tlsd/session.h"

#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/mem.h"
#include "base/str.h"
#include "tlsd/bio.h"
#include "tlsd/context.h"
#include "tlsd/credentials.h"
#include "tlsd/describe.h"
#include "tlsd/error.h"
#include "tlsd/proof.h"
#include "tlsd/warm.h"

struct tlsd_session {
	struct tlsd_bio bio;
	SSL_CTX *context;
	SSL *ssl;
	struct tlsd_proof proof;
	bool broken; /* nothing may be sent */
};

/* Failures. */

/* Finds a failure of ours; false if there is none. */
static bool
find_local_failure(const struct tlsd_session *s, struct dsn *why)
{
	const struct dsn *failure = tlsd_proof_failure(&s->proof);

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
		dsn_set(why, TLSD_ERROR_PEER, "timed out");
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
		tlsd_proof_explain(s->ssl, r);
	else if (s->bio.expired)
		r->cause = TLS_CAUSE_TIMED_OUT;
}

/* Set-up. */

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
	const struct tlsd_name *name = &s->proof.name;
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
	if (name->text[0] != '\0' && !name->is_ip &&
	    SSL_set_tlsext_host_name(s->ssl, name->text) != 1)
		return tlsd_error_set_local(why, name->text);
	return 0;
}

struct tlsd_session *
tlsd_session_create(const struct tlsd_session_params *p, struct dsn *why)
{
	struct tlsd_session *s = mem_alloc(1, sizeof *s);

	s->bio.fd = p->fd;
	s->bio.until = deadline_never();
	s->proof.tlsa = p->tlsa;
	s->proof.names = p->names;
	s->proof.match = p->match;
	s->proof.describe = p->describe;
	if (p->name != NULL)
		tlsd_name_parse(&s->proof.name, p->name);
	s->context = p->warm != NULL ? tlsd_warm_take(p->warm, p->security)
				     : tlsd_context_create(p->security, why);
	if (s->context == NULL)
		goto fail;
	if (p->cert != NULL && p->key != NULL &&
	    tlsd_credentials_use(s->context, p->cert, p->key, why) == -1)
		goto fail;
	if (create_connection(s, why) == -1)
		goto fail;
	if (tlsd_proof_open(&s->proof, s->ssl, p->anchors, p->statedir, why) ==
	    -1)
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
	tlsd_proof_close(&s->proof);
	free(s);
}

bool
tlsd_session_has_anchors(const struct tlsd_session *s)
{
	return s->proof.anchors != NULL;
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
	tlsd_proof_check(&s->proof, s->ssl, r);
	if (r->status != TLS_STATUS_READY)
		return;
	(void)str_copy(r->version, sizeof r->version, SSL_get_version(s->ssl));
	(void)str_copy(r->cipher, sizeof r->cipher,
	    SSL_get_cipher_name(s->ssl));
	take_group(s, r->group);
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
	if (!tlsd_proof_demand(&s->proof, s->ssl, r))
		return r->status;
	s->bio.until = until;
	if (run_handshake(s) == TLSD_STEP_DONE)
		set_success(s, r);
	else
		set_failure(s, r);
	s->bio.until = deadline_never();
	return r->status;
}

void
tlsd_session_facts(const struct tlsd_session *s, struct tls_facts *f)
{
	const X509 *own = SSL_get_certificate(s->ssl);

	*f = (struct tls_facts){ 0 };
	if (s->proof.describe == TLS_DESCRIBE_NOTHING)
		return;
	if (own != NULL) {
		tlsd_describe_expiry(own, f->text[TLS_FACT_OWN_EXPIRES]);
		f->is_known[TLS_FACT_OWN_EXPIRES] = true;
	}
	tlsd_proof_add_facts(&s->proof, s->ssl, f);
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
