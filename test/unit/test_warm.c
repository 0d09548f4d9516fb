/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <sys/wait.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "tlsd/session.h"
#include "tlsd/warm.h"
#include "testcert.h"

#define RANDOM_SIZE 32
#define SHARE_SIZE 32
#define SESSIONS 3

static struct tlsd_warm *
warm_up(void)
{
	struct dsn why = { 0 };
	struct tlsd_warm *warm = tlsd_warm_up(&why);

	if (warm == NULL)
		fail_msg("%s", why.text);
	return warm;
}

static void
has_a_context_of_each_level(void **state)
{
	struct tlsd_warm *warm = warm_up();

	(void)state;
	for (int level = 0; level <= 2; level++) {
		SSL_CTX *c = tlsd_warm_take(warm, level);

		assert_int_equal(SSL_CTX_get_security_level(c), level);
		/* Nothing of the handshake with itself is left. */
		assert_null(SSL_CTX_get0_certificate(c));
		assert_null(SSL_CTX_get0_privatekey(c));
		assert_int_equal(sk_X509_OBJECT_num(X509_STORE_get0_objects(
				     SSL_CTX_get_cert_store(c))),
		    0);
		SSL_CTX_free(c);
	}
	tlsd_warm_free(warm);
}

/* What each ClientHello has to have of its own. */
struct hello {
	unsigned char random[RANDOM_SIZE];
	unsigned char share[SHARE_SIZE]; /* the public key */
};

/* The key share of X25519 in a ClientHello, which has no other. */
static const unsigned char *
find_share(const unsigned char *p, size_t n)
{
	static const unsigned char head[] = { 0, 0x33, 0, SHARE_SIZE + 6, 0,
		SHARE_SIZE + 4, 0, 0x1d, 0, SHARE_SIZE };

	for (; n >= sizeof head + SHARE_SIZE; p++, n--)
		if (memcmp(p, head, sizeof head) == 0)
			return p + sizeof head;
	return NULL;
}

static void
begin(struct tlsd_warm *warm, struct hello *hello)
{
	SSL_CTX *context = tlsd_warm_take(warm, 0);
	SSL *ssl = SSL_new(context);
	BIO *sent = BIO_new(BIO_s_mem());
	const unsigned char *share;
	char *bytes;
	long n;

	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), sent);
	SSL_set_connect_state(ssl);
	(void)SSL_do_handshake(ssl);
	assert_int_equal(SSL_get_client_random(ssl, hello->random, RANDOM_SIZE),
	    RANDOM_SIZE);
	n = BIO_get_mem_data(sent, &bytes);
	share = find_share((unsigned char *)bytes, (size_t)n);
	assert_non_null(share);
	memcpy(hello->share, share, SHARE_SIZE);
	SSL_free(ssl);
	SSL_CTX_free(context);
}

/* Children draw neither the same random numbers nor the same keys. */
static void
differs_in_each_child(void **state)
{
	struct hello hello[SESSIONS];
	struct tlsd_warm *warm = warm_up();
	int pipes[2];

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	for (int i = 0; i < SESSIONS; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			begin(warm, &hello[i]);
			_exit(write(pipes[1], &hello[i], sizeof hello[i]) !=
			      sizeof hello[i]);
		}
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		assert_int_equal(read(pipes[0], &hello[i], sizeof hello[i]),
		    sizeof hello[i]);
		for (int k = 0; k < i; k++) {
			assert_memory_not_equal(hello[i].random,
			    hello[k].random, RANDOM_SIZE);
			assert_memory_not_equal(hello[i].share, hello[k].share,
			    SHARE_SIZE);
		}
	}
	close(pipes[0]);
	close(pipes[1]);
	tlsd_warm_free(warm);
}

static void
shakes_hands(void **state)
{
	struct testcert cert = testcert_make(&(struct testcert_spec){
	    .cn = "a", .san = "DNS:a.example" });

	(void)state;
	for (int level = 0; level <= 2; level++) {
		struct testserver server = { .cert = &cert };
		struct tlsd_session_params params = { .security = level,
			.name = "a.example" };
		struct dsn why = { 0 };
		struct tlsd_session *session;
		struct tls_result result;
		int fd[2];

		params.warm = warm_up();
		testserver_tcp_pair(fd);
		testserver_start(&server, fd[1]);
		params.fd = fd[0];
		session = tlsd_session_create(&params, &why);
		assert_non_null(session);
		assert_int_equal(tlsd_session_handshake(session,
				     deadline_in(20000), &result),
		    TLS_STATUS_READY);
		(void)tlsd_session_close(session);
		tlsd_session_destroy(session);
		tlsd_warm_free(params.warm);
		close(fd[0]);
		testserver_join(&server);
	}
	testcert_free(&cert);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_a_context_of_each_level),
		cmocka_unit_test(differs_in_each_child),
		cmocka_unit_test(shakes_hands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
