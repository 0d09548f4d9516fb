/* SPDX-License-Identifier: ISC */
#ifndef TLS_REQUEST_H
#define TLS_REQUEST_H

#include <stdbool.h>

/*
 * What qmail-remote-tls is to do: its argument vector, described in
 * qmail-remote-tls(8).  Both sides of it are here.
 */
struct tls_request {
	unsigned long socket;   /* descriptor of the connection */
	unsigned long clear;    /* ... of the clear text */
	unsigned long status;   /* ... for status records */
	unsigned long seconds;  /* for the whole handshake */
	unsigned long security; /* OpenSSL's level; at 0 also TLS 1.0 and 1.1 */
	const char *name;       /* the server's, for SNI and verification */
	const char *anchors;    /* the certificate must verify; or NULL */
	const char *state;      /* directory for compiled anchors; or NULL */
	const char *cert;       /* our own certificate and key; or NULL, */
	const char *key;        /* both */
};

#define TLS_SECONDS_MAX 604800 /* a week */
#define TLS_SECURITY_MAX 2

/* The argument vector, ended by NULL; to be freed by tls_request_free(). */
char **tls_request_format(const struct tls_request *, const char *program);

void tls_request_free(char **argv);

/*
 * Reads an argument vector.  False if anything is missing, unknown, given
 * twice or not a number where there has to be one.  Text points into argv.
 */
bool tls_request_parse(struct tls_request *, int argc, char **argv);

#endif
