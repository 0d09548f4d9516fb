/* SPDX-License-Identifier: ISC */
#ifndef TESTCERT_H
#define TESTCERT_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

/* Certificates created at run time, and a server that uses them. */

struct testcert {
	X509 *cert;
	EVP_PKEY *key;
};

struct testcert_spec {
	const char *cn;
	const char
	    *san; /* as in openssl.cnf: "DNS:a.example,IP:::1"; or NULL */
	const char *end;        /* the text of notAfter, if it is not a time */
	const char *nul_san;    /* a dNSName with a NUL for its "|" */
	int from_days, to_days; /* days from now; both 0: valid for a day */
	bool is_ca;
	bool is_sha1;      /* signed with SHA-1; otherwise SHA-256 */
	unsigned rsa_bits; /* 0: an elliptic curve key */
	const char *usage; /* extendedKeyUsage, or NULL */
	const struct testcert *issuer; /* NULL: self-signed */
};

struct testcert testcert_make(const struct testcert_spec *);
void testcert_free(struct testcert *);

/* Append to the file, which is created if it is missing. */
void testcert_append_cert(const char *path, const struct testcert *);
void testcert_append_key(const char *path, const struct testcert *,
    const char *passphrase);
void testcert_append_text(const char *path, const char *text);

/* Creates a directory for the test's files; the second removes it and them. */
char *testcert_mkdir(void);
void testcert_rmdir(char *);

/* The path of a file in it; valid until four more were asked for. */
const char *testcert_file(const char *dir, const char *name);

/* A TLS server on fd, in a thread; it closes fd at the end. */
struct testserver {
	/* Set before it is started. */
	const struct testcert *cert;
	const struct testcert *chain; /* another certificate to send, or NULL */
	const struct testcert *root;  /* and one more after it, or NULL */
	const struct testcert
	    *client_ca;  /* require a client certificate of this issuer */
	int max_version; /* 0: the newest */
	int min_version;
	const char *ciphers; /* for TLS 1.2 and older; NULL: the default */
	const char *sigalgs; /* the only signature algorithms, or NULL */
	bool has_small_dh;   /* a Diffie-Hellman group of 1024 bits */
	/*
	 * Called after the handshake; when it returns, the session is ended by
	 * close_notify.
	 */
	void (*talk)(SSL *, struct testserver *);
	void *arg;
	bool no_close_notify;

	/* Set when it has ended. */
	bool shook_hands;
	char sni[256];
	size_t received;       /* bytes of clear text that were read */
	bool got_close_notify; /* they ended with it */
	char data[4096];       /* the first of them */

	int fd;
	unsigned long thread;
};

void testserver_start(struct testserver *, int fd);
void testserver_join(struct testserver *);

/* For talk: reads until the client ends the session, and counts. */
void testserver_read_all(SSL *, struct testserver *);

void testserver_pause(int ms);

/*
 * A connected pair of TCP sockets on the loopback interface; [0] is
 * non-blocking.
 */
void testserver_tcp_pair(int fd[2]);

#endif
