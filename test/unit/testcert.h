/* SPDX-License-Identifier: ISC */
#ifndef TESTCERT_H
#define TESTCERT_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

/*
 * Certificates made at run time, and a server to present them.
 */

struct testcert {
	X509 *cert;
	EVP_PKEY *key;
};

struct testcert_spec {
	const char *cn;
	const char
	    *san; /* as in openssl.cnf: "DNS:a.example,IP:::1"; or NULL */
	const char *nul_san;    /* a dNSName up to its "|", which becomes NUL */
	int from_days, to_days; /* from now; both 0: valid for a day */
	bool is_ca;
	bool is_sha1;                  /* signed so; else SHA-256 */
	unsigned rsa_bits;             /* 0: an elliptic curve key */
	const char *usage;             /* extendedKeyUsage, or NULL */
	const struct testcert *issuer; /* NULL: self-signed */
};

struct testcert testcert_make(const struct testcert_spec *);
void testcert_free(struct testcert *);

/* Append to the file, that is made when missing. */
void testcert_append_cert(const char *path, const struct testcert *);
void testcert_append_key(const char *path, const struct testcert *,
    const char *passphrase);
void testcert_append_text(const char *path, const char *text);

/* A directory for the test's files, removed with them by the second. */
char *testcert_mkdir(void);
void testcert_rmdir(char *);

/*
 * A TLS server on fd, in a thread; it closes fd at the end.
 */
struct testserver {
	/* Set before the start. */
	const struct testcert *cert;
	const struct testcert *chain;     /* one more to send, or NULL */
	const struct testcert *client_ca; /* demand a certificate of this one */
	int max_version;                  /* 0: the newest */
	int min_version;
	const char *ciphers; /* of TLS 1.2 and older; NULL: the default */
	const char *sigalgs; /* the only ones that it signs with, or NULL */
	bool has_small_dh;   /* a Diffie-Hellman group of 1024 bits */
	/* After the handshake; returning ends the session by close_notify. */
	void (*talk)(SSL *, struct testserver *);
	void *arg;
	bool no_close_notify;

	/* Set by the end. */
	bool shook_hands;
	char sni[256];
	size_t received;       /* bytes of clear text */
	bool got_close_notify; /* as the end of those */
	char data[4096];       /* the first of them */

	int fd;
	unsigned long thread;
};

void testserver_start(struct testserver *, int fd);
void testserver_join(struct testserver *);

/* For talk: reads until the client's end, counting. */
void testserver_read_all(SSL *, struct testserver *);

void testserver_pause(int ms);

/* A connected pair of stream sockets over loopback TCP, non-blocking at [0]. */
void testserver_tcp_pair(int fd[2]);

#endif
