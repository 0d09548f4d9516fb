/* SPDX-License-Identifier: ISC */
#include "tls/session.h"

#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "io/fdio.h"
#include "base/ip.h"
#include "base/mem.h"
#include "base/str.h"
#include "tls/anchors.h"
#include "tls/credentials.h"
#include "tls/trouble.h"

#define NAME_SIZE 254 /* of the longest host name with its NUL */
#define LABEL_MAX 63
#define CHAIN_DEPTH 10 /* intermediates; what is longer is an attack */

/*
 * The library's own default, spelled out: some distributions have put another
 * one in its place, and another level.  At level 0 it lets all through that a
 * server may have: SHA-1, small keys, TLS 1.0.
 */
#define CIPHERS "ALL:!COMPLEMENTOFDEFAULT:!eNULL:!aNULL:@SECLEVEL="

/*
 * Post-quantum key exchange, if the server has it; the shares that are sent
 * with the first message stay the small ones, since there are servers that
 * hang on a ClientHello of more than one segment.  OpenSSL before 3.5 knows
 * neither that group nor this syntax, and keeps its default.
 */
#define GROUPS "?X25519MLKEM768:DEFAULT"

/*
 * Handshake messages that the server may send before clear text moves: a
 * handshake has less than ten, a few session tickets follow it, and key updates
 * come once in millions of records.  So a flood of them ends the session, while
 * an eager server may update its keys with every record.
 */
#define MESSAGES_MAX 64

#define EAGER_READS 8 /* handshake, tickets, reply to EHLO */

#define AHEAD_SIZE 8192 /* more than most handshakes */

struct tls_session {
	int fd;
	SSL_CTX *context;
	SSL *ssl;
	BIO_METHOD *socket;
	struct tls_anchors *anchors; /* NULL: nothing is verified */
	char name[NAME_SIZE];        /* "" when it is not a valid name */
	struct ip ip;                /* where name is an address */
	bool is_ip;

	struct deadline until; /* of the handshake */
	bool drained;          /* the socket had no more when last read */
	bool eof;              /* ... nor ever will */
	bool expired;
	bool broken;       /* nothing may be sent any more */
	int error;         /* errno of the socket */
	unsigned messages; /* of the handshake protocol, since text moved */
	unsigned reads;    /* of the first few */
	size_t ahead_start, ahead_end;
	char ahead[AHEAD_SIZE]; /* read, and not asked for yet */
};

/*
 * The socket, as OpenSSL sees it.
 *
 * A BIO of our own, since only down here can a loop in the library be ended
 * that a server keeps going with messages which are ignored (HelloRequest,
 * KeyUpdate): each pass reads from the socket at last.
 *
 * It reads ahead.  The library asks for the five bytes of a record's header,
 * then for the record; versions from 3.2 on do so in a handshake even if told
 * to read ahead themselves.
 */

static bool
is_flooded(const struct tls_session *s)
{
	return s->messages > MESSAGES_MAX;
}

static bool
must_not_go_on(struct tls_session *s)
{
	if (deadline_passed(s->until))
		s->expired = true;
	return s->expired || is_flooded(s);
}

/*
 * A server sends its session tickets first and its reply next.  Where it has
 * Nagle's algorithm on, the reply waits for us to acknowledge the tickets,
 * which the kernel would put off by 40 ms: once, for each delivery.  What it
 * is asked for holds for a little while, so it is asked with each of the
 * first reads.
 */
static void
acknowledge_at_once(struct tls_session *s)
{
#ifdef TCP_QUICKACK
	int on = 1;

	if (s->reads < EAGER_READS) {
		s->reads++;
		(void)setsockopt(s->fd, IPPROTO_TCP, TCP_QUICKACK, &on,
		    sizeof on);
	}
#else
	(void)s;
#endif
}

/* As recv(); what came is in s->ahead. */
static ssize_t
read_ahead(struct tls_session *s)
{
	ssize_t got;

	do
		got = recv(s->fd, s->ahead, sizeof s->ahead, MSG_DONTWAIT);
	while (got == -1 && errno == EINTR);
	/* Only then, since it may change errno. */
	if (got > 0)
		acknowledge_at_once(s);
	/* A short read has emptied the socket; poll() tells of what follows. */
	s->drained = got < (ssize_t)sizeof s->ahead;
	s->ahead_start = 0;
	s->ahead_end = got > 0 ? (size_t)got : 0;
	return got;
}

static bool
has_ahead(const struct tls_session *s)
{
	return s->ahead_start < s->ahead_end;
}

static int
take_ahead(struct tls_session *s, char *data, size_t n)
{
	if (n > s->ahead_end - s->ahead_start)
		n = s->ahead_end - s->ahead_start;
	memcpy(data, s->ahead + s->ahead_start, n);
	s->ahead_start += n;
	return (int)n;
}

static int
socket_read(BIO *bio, char *data, int n)
{
	struct tls_session *s = BIO_get_data(bio);
	ssize_t got;

	BIO_clear_retry_flags(bio);
	if (n <= 0 || must_not_go_on(s))
		return -1;
	if (has_ahead(s))
		return take_ahead(s, data, (size_t)n);
	if (s->drained) {
		BIO_set_retry_read(bio);
		return -1;
	}
	got = read_ahead(s);
	if (got > 0)
		return take_ahead(s, data, (size_t)n);
	if (got == 0)
		s->eof = true;
	else if (errno == EAGAIN || errno == EWOULDBLOCK)
		BIO_set_retry_read(bio);
	else
		s->error = errno;
	return got == 0 ? 0 : -1;
}

static int
socket_write(BIO *bio, const char *data, int n)
{
	struct tls_session *s = BIO_get_data(bio);
	ssize_t put;

	BIO_clear_retry_flags(bio);
	if (n <= 0)
		return -1;
	do
		put = send(s->fd, data, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (put == -1 && errno == EINTR);
	if (put >= 0)
		return (int)put;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		BIO_set_retry_write(bio);
	else
		s->error = errno;
	return -1;
}

static long
socket_ctrl(BIO *bio, int command, long number, void *p)
{
	const struct tls_session *s = BIO_get_data(bio);

	(void)number;
	(void)p;
	if (command == BIO_CTRL_FLUSH)
		return 1;
	if (command == BIO_CTRL_EOF)
		return s->eof;
	return 0;
}

static BIO *
socket_bio(struct tls_session *s)
{
	BIO *bio;

	/* Nobody looks for it, so it needs no number of its own. */
	s->socket = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "socket");
	if (s->socket == NULL || !BIO_meth_set_read(s->socket, socket_read) ||
	    !BIO_meth_set_write(s->socket, socket_write) ||
	    !BIO_meth_set_ctrl(s->socket, socket_ctrl))
		return NULL;
	bio = BIO_new(s->socket);
	if (bio == NULL)
		return NULL;
	BIO_set_data(bio, s);
	BIO_set_init(bio, 1);
	return bio;
}

static const char *
verify_text(const struct tls_session *s)
{
	long result = SSL_get_verify_result(s->ssl);

	if (SSL_get0_peer_certificate(s->ssl) == NULL && result == X509_V_OK)
		return "no certificate";
	if (result == X509_V_ERR_HOSTNAME_MISMATCH ||
	    result == X509_V_ERR_IP_ADDRESS_MISMATCH)
		return "name mismatch";
	return X509_verify_cert_error_string(result);
}

/* The code of RFC 8460 section 4.3 for what the verification found. */
static enum tls_cause
verify_cause(const struct tls_session *s)
{
	switch (SSL_get_verify_result(s->ssl)) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return TLS_CAUSE_NAME;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return TLS_CAUSE_EXPIRED;
	default:
		return TLS_CAUSE_NOT_TRUSTED;
	}
}

static void
tell_not_verified(const struct tls_session *s, struct tls_result *r)
{
	r->status = TLS_STATUS_FAILED;
	r->cause = verify_cause(s);
	snprintf(r->text, sizeof r->text, "certificate verify failed: %s",
	    verify_text(s));
}

/* Memory that the kernel has not for a call: no server causes that. */
static bool
lacks_memory(const struct tls_session *s)
{
	return tls_trouble_is_out_of_memory() || s->error == ENOMEM ||
	       s->error == ENOBUFS;
}

/* A failure of ours, with why; false if there is none. */
static bool
is_our_failure(const struct tls_session *s, struct dsn *why)
{
	const struct dsn *trouble =
	    s->anchors != NULL ? tls_anchors_trouble(s->anchors) : NULL;

	if (lacks_memory(s))
		dsn_set(why, TLS_TROUBLE_LOCAL, "TLS: out of memory");
	else if (tls_trouble_is_local())
		tls_trouble_local(why, "TLS");
	else if (trouble != NULL)
		*why = *trouble;
	else
		return false;
	return true;
}

static void
tell_peer_failure(const struct tls_session *s, struct dsn *why)
{
	unsigned long code = ERR_peek_last_error();

	if (s->expired)
		dsn_set(why, TLS_TROUBLE_PEER, TLS_TEXT_TIMED_OUT);
	else if (is_flooded(s))
		dsn_set(why, TLS_TROUBLE_PEER, "too many handshake messages");
	else if (code != 0)
		tls_trouble_tell(why, TLS_TROUBLE_PEER, "", code);
	else if (s->error != 0)
		dsn_set(why, TLS_TROUBLE_PEER, "%s", strerror(s->error));
	else
		dsn_set(why, TLS_TROUBLE_PEER, "connection closed");
}

enum tls_end
tls_session_failure(const struct tls_session *s, char text[TLS_TEXT_SIZE])
{
	struct dsn why = { 0 };
	enum tls_end end = TLS_END_LOCAL;

	if (!is_our_failure(s, &why)) {
		end = TLS_END_BROKEN;
		tell_peer_failure(s, &why);
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

/* Why the handshake failed, and whose fault it was. */
static void
tell_failure(const struct tls_session *s, struct tls_result *r)
{
	unsigned long code = ERR_peek_last_error();

	r->status = TLS_STATUS_FAILED;
	if (tls_session_failure(s, r->text) == TLS_END_LOCAL)
		r->status = TLS_STATUS_LOCAL;
	else if (is_verify_failure(code))
		tell_not_verified(s, r);
}

/*
 * The name of the server.
 */

/*
 * Letters, digits, '-' and '_' in labels of 1 to 63.  No empty label: the
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

static void
take_name(struct tls_session *s, const char *name)
{
	size_t n = strlen(name);

	if (ip_parse(name, n, &s->ip) || ip_parse_literal(name, n, &s->ip)) {
		s->is_ip = true;
		ip_format(&s->ip, s->name);
		return;
	}
	if (n > 0 && name[n - 1] == '.')
		n--;
	if (n < sizeof s->name && is_host_name(name, n))
		memcpy(s->name, name, n);
}

static bool
has_name(const struct tls_session *s)
{
	return s->name[0] != '\0';
}

/*
 * Verification.
 */

/*
 * The library builds and verifies a chain even for a session that accepts
 * any certificate.  That is work for nothing, and hostile chains are best
 * not looked at.
 */
static int
skip_verification(X509_STORE_CTX *ctx, void *unused)
{
	(void)unused;
	X509_STORE_CTX_set_error(ctx, X509_V_ERR_UNSPECIFIED);
	return 1;
}

static int
use_anchors(struct tls_session *s, const char *path, const char *statedir,
    struct dsn *why)
{
	s->anchors = tls_anchors_open(path, statedir, why);
	if (s->anchors == NULL)
		return -1;
	SSL_CTX_set_verify(s->context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(s->context, tls_anchors_verify,
	    s->anchors);
	if (SSL_CTX_set1_verify_cert_store(s->context,
		tls_anchors_store(s->anchors)) != 1)
		return tls_trouble_local(why, path);
	/* Validity is looked at with gmtime(), which reads a file: now. */
	tzset();
	return 0;
}

/*
 * The name must be in the subjectAltName, for what it is; the subject's
 * common name never counts (RFC 9525 section 6.3), and a wildcard only as
 * the whole of the leftmost label.
 */
static int
demand_name(struct tls_session *s, struct dsn *why)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(s->ssl);
	bool v4 = ip_is_v4(&s->ip);
	int ok;

	X509_VERIFY_PARAM_set_hostflags(param,
	    X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
		X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	X509_VERIFY_PARAM_set_depth(param, CHAIN_DEPTH);
	/* What is listed is trusted, be it signed by somebody else or not. */
	X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
	if (s->is_ip)
		ok = X509_VERIFY_PARAM_set1_ip(param,
		    s->ip.byte + (v4 ? 12 : 0), v4 ? 4 : 16);
	else
		ok = X509_VERIFY_PARAM_set1_host(param, s->name,
		    strlen(s->name));
	if (ok != 1 ||
	    X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER) != 1)
		return tls_trouble_local(why, s->name);
	return 0;
}

/*
 * The verdict, in our own words: the handshake's return is not enough (a
 * server that proves itself without a certificate, CVE-2024-12797), nor is
 * the verify result, which is fine where there was nothing to verify.
 */
static bool
is_verified(const struct tls_session *s)
{
	return SSL_get0_peer_certificate(s->ssl) != NULL &&
	       SSL_get_verify_result(s->ssl) == X509_V_OK;
}

/*
 * Setting up.
 */

static void
count_message(int writing, int version, int type, const void *data, size_t n,
    SSL *ssl, void *session)
{
	struct tls_session *s = session;

	(void)version;
	(void)data;
	(void)n;
	(void)ssl;
	if (!writing && type == SSL3_RT_HANDSHAKE)
		s->messages++;
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
 * No configuration file: what it says of TLS is meant for others, and it
 * costs two milliseconds.  No clearing up at exit either, and no table of
 * ciphers by their old names, which TLS does not use.
 */
static int
create_context(struct tls_session *s, int security, struct dsn *why)
{
	static const uint64_t crypto =
	    OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS |
	    OPENSSL_INIT_NO_ADD_ALL_CIPHERS | OPENSSL_INIT_NO_ATEXIT;

	tls_trouble_watch_memory();
	if (OPENSSL_init_crypto(crypto, NULL) != 1 ||
	    OPENSSL_init_ssl(crypto | OPENSSL_INIT_NO_LOAD_SSL_STRINGS, NULL) !=
		1)
		return tls_trouble_local(why, "cannot start OpenSSL");
	s->context = SSL_CTX_new(TLS_client_method());
	if (s->context == NULL || !set_security(s->context, security))
		return tls_trouble_local(why, "cannot start OpenSSL");
	SSL_CTX_set_options(s->context,
	    SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
	/* The chain that we present is the one in the file. */
	SSL_CTX_set_mode(s->context, SSL_MODE_ENABLE_PARTIAL_WRITE |
					 SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					 SSL_MODE_NO_AUTO_CHAIN);
	SSL_CTX_set_session_cache_mode(s->context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(s->context, SSL_VERIFY_NONE, NULL);
	return 0;
}

static int
create_connection(struct tls_session *s, struct dsn *why)
{
	BIO *bio;

	s->ssl = SSL_new(s->context);
	if (s->ssl == NULL)
		return tls_trouble_local(why, "TLS");
	bio = socket_bio(s);
	if (bio == NULL)
		return tls_trouble_local(why, "TLS");
	SSL_set_bio(s->ssl, bio, bio);
	SSL_set_connect_state(s->ssl);
	SSL_set_msg_callback(s->ssl, count_message);
	SSL_set_msg_callback_arg(s->ssl, s);
	/* RFC 6066 section 3: host names only, never literal addresses. */
	if (has_name(s) && !s->is_ip &&
	    SSL_set_tlsext_host_name(s->ssl, s->name) != 1)
		return tls_trouble_local(why, s->name);
	return 0;
}

struct tls_session *
tls_session_create(const struct tls_session_params *p, struct dsn *why)
{
	struct tls_session *s = mem_alloc(1, sizeof *s);

	s->fd = p->fd;
	s->until = deadline_never();
	if (p->name != NULL)
		take_name(s, p->name);
	if (create_context(s, p->security, why) == -1)
		goto fail;
	if (p->cert != NULL && p->key != NULL &&
	    tls_credentials_use(s->context, p->cert, p->key, why) == -1)
		goto fail;
	if (p->anchors == NULL)
		SSL_CTX_set_cert_verify_callback(s->context, skip_verification,
		    NULL);
	else if (use_anchors(s, p->anchors, p->statedir, why) == -1)
		goto fail;
	if (create_connection(s, why) == -1)
		goto fail;
	if (s->anchors != NULL && has_name(s) && demand_name(s, why) == -1)
		goto fail;
	return s;

fail:
	tls_session_destroy(s);
	return NULL;
}

void
tls_session_destroy(struct tls_session *s)
{
	if (s == NULL)
		return;
	SSL_free(s->ssl);
	SSL_CTX_free(s->context);
	BIO_meth_free(s->socket);
	tls_anchors_close(s->anchors);
	free(s);
}

/*
 * Steps.
 */

/* What a call that returned result wants; FAILED covers its own causes. */
static enum tls_step
judge(struct tls_session *s, int result)
{
	switch (SSL_get_error(s->ssl, result)) {
	case SSL_ERROR_NONE:
		return TLS_STEP_DONE;
	case SSL_ERROR_WANT_READ:
		return TLS_STEP_WANT_READ;
	case SSL_ERROR_WANT_WRITE:
		return TLS_STEP_WANT_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		return TLS_STEP_EOF;
	default:
		s->broken = true;
		return TLS_STEP_FAILED;
	}
}

void
tls_session_is_readable(struct tls_session *s)
{
	s->drained = false;
}

/* Waits for what step wants; false when the deadline passed. */
static bool
wait_for(struct tls_session *s, enum tls_step step)
{
	short events = step == TLS_STEP_WANT_READ ? POLLIN : POLLOUT;
	int n = fdio_wait(s->fd, events, s->until);

	tls_session_is_readable(s);
	if (n == 0)
		s->expired = true;
	else if (n == -1)
		s->error = errno;
	return n == 1;
}

/* "" where the key exchange had none, as with RSA or a group of the server. */
static void
take_group(const struct tls_session *s, char group[TLS_WORD_SIZE])
{
	long id = SSL_get_negotiated_group(s->ssl);
	const char *name =
	    id != NID_undef ? SSL_group_to_name(s->ssl, (int)id) : NULL;

	group[0] = '\0';
	if (name == NULL)
		return;
	(void)str_copy(group, TLS_WORD_SIZE, name);
	/* As RFC 7748 spells it: "x25519" until OpenSSL 3.4. */
	if (group[0] == 'x')
		group[0] = 'X';
}

static void
tell_success(const struct tls_session *s, struct tls_result *r)
{
	if (s->anchors != NULL && !is_verified(s)) {
		tell_not_verified(s, r);
		return;
	}
	r->status = TLS_STATUS_READY;
	(void)str_copy(r->version, sizeof r->version, SSL_get_version(s->ssl));
	(void)str_copy(r->cipher, sizeof r->cipher,
	    SSL_get_cipher_name(s->ssl));
	take_group(s, r->group);
	if (s->anchors != NULL)
		(void)str_copy(r->verified, sizeof r->verified, s->name);
}

/* Steps until it is over or its time is. */
static enum tls_step
shake_hands(struct tls_session *s)
{
	enum tls_step step;
	int result;

	/* The server waits for our hello: poll() first, then ask. */
	s->drained = true;
	do {
		ERR_clear_error();
		result = SSL_do_handshake(s->ssl);
		step = result == 1 ? TLS_STEP_DONE : judge(s, result);
	} while ((step == TLS_STEP_WANT_READ || step == TLS_STEP_WANT_WRITE) &&
		 wait_for(s, step));
	return step;
}

enum tls_status
tls_session_handshake(struct tls_session *s, struct deadline until,
    struct tls_result *r)
{
	*r = (struct tls_result){ .status = TLS_STATUS_FAILED };
	/* Names are the DNS's: a bad one is no trouble of ours. */
	if (s->anchors != NULL && !has_name(s)) {
		r->cause = TLS_CAUSE_NAME;
		(void)str_copy(r->text, sizeof r->text,
		    "no valid server name to verify a certificate for");
		return r->status;
	}
	s->until = until;
	if (shake_hands(s) == TLS_STEP_DONE)
		tell_success(s, r);
	else
		tell_failure(s, r);
	s->until = deadline_never();
	return r->status;
}

enum tls_step
tls_session_read(struct tls_session *s, void *data, size_t n, size_t *got)
{
	int result;

	ERR_clear_error();
	result = SSL_read_ex(s->ssl, data, n, got);
	if (result != 1)
		return judge(s, result);
	s->messages = 0;
	return TLS_STEP_DONE;
}

enum tls_step
tls_session_write(struct tls_session *s, const void *data, size_t n,
    size_t *got)
{
	int result;

	ERR_clear_error();
	result = SSL_write_ex(s->ssl, data, n, got);
	if (result != 1)
		return judge(s, result);
	s->messages = 0;
	return TLS_STEP_DONE;
}

enum tls_step
tls_session_close(struct tls_session *s)
{
	int result;

	if (s->broken)
		return TLS_STEP_FAILED;
	ERR_clear_error();
	result = SSL_shutdown(s->ssl);
	/* 0: sent, and the server's is yet to come. */
	return result >= 0 ? TLS_STEP_DONE : judge(s, result);
}
