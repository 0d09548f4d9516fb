/* SPDX-License-Identifier: ISC */
#ifndef TLS_REQUEST_H
#define TLS_REQUEST_H

#include <stdbool.h>

/*
 * The argument vector of qmail-remote-tls, described in qmail-remote-tls(8):
 * formatted for qmail-remote and parsed for qmail-remote-tls.
 */
enum tls_describe {
	TLS_DESCRIBE_NOTHING,
	TLS_DESCRIBE,        /* facts about certificates before the status */
	TLS_DESCRIBE_ACCEPT, /* and any certificate will do */
};

struct tls_request {
	unsigned long socket;   /* descriptor of the connection */
	unsigned long clear;    /* descriptor of the clear text */
	unsigned long status;   /* descriptor for status records */
	unsigned long seconds;  /* seconds for the whole handshake */
	unsigned long security; /* OpenSSL's level, see tls_policy_security() */
	const char *name;       /* of the server, for SNI and verification */
	const char *anchors;    /* to verify with; NULL: no verification */
	unsigned long describe; /* enum tls_describe */
	const char *state;      /* directory for the anchors' index; or NULL */
	const char *cert;       /* our own certificate and key: both */
	const char *key;        /* are set, or both are NULL */
};

#define TLS_SECONDS_MAX 604800 /* a week */
#define TLS_SECURITY_MAX 2

/*
 * Formats an argument vector, ended by NULL, to be freed by tls_request_free().
 * program is borrowed.
 */
char **tls_request_format(const struct tls_request *, const char *program);

/* Frees an argument vector and its words, but not program. */
void tls_request_free(char **argv);

/*
 * Parses an argument vector.  False if an argument is missing, unknown or given
 * twice, if a number is invalid, or if only one of cert and key is given.  Text
 * points into argv.
 */
bool tls_request_parse(struct tls_request *, int argc, char **argv);

#endif
