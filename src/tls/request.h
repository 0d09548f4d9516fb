/* SPDX-License-Identifier: ISC */
#ifndef TLS_REQUEST_H
#define TLS_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The argument vector of qmail-remote-tls, described in qmail-remote-tls(8):
 * formatted for qmail-remote and parsed for qmail-remote-tls.
 *
 * With tlsa, the certificate is verified by these records (DANE), and by the
 * anchors only if no record is usable.
 */
enum tls_describe {
	TLS_DESCRIBE_NOTHING,
	TLS_DESCRIBE,        /* facts about certificates before the status */
	TLS_DESCRIBE_ACCEPT, /* and anchors are only for the facts */
};

struct tls_request {
	unsigned long socket;   /* descriptor of the connection */
	unsigned long clear;    /* descriptor of the clear text */
	unsigned long status;   /* descriptor for status records */
	unsigned long seconds;  /* seconds for the whole handshake */
	unsigned long security; /* OpenSSL's level, see tls_policy_security() */
	const char *name;       /* of the server, for SNI and verification */
	const char *tlsa;       /* TLSA records, see tlsa_format(); or NULL */
	const char *names;      /* further names for DANE-TA; or NULL */
	const char *anchors;    /* to verify with; NULL: no verification */
	const char *match;      /* names for the anchors instead; or NULL */
	unsigned long describe; /* enum tls_describe */
	unsigned long wait;     /* 1: begin when a byte comes through clear */
	const char *version;    /* of whoever asks a service; or NULL */
	const char *state;      /* directory for the anchors' index; or NULL */
	const char *cert;       /* our own certificate and key: both */
	const char *key;        /* are set, or both are NULL */
};

#define TLS_SECONDS_MAX 604800 /* a week */
#define TLS_SECURITY_MAX 2

#define TLS_REQUEST_ARGUMENTS 17 /* at most, with the program */

/*
 * As a message: the words of the vector, each ended by NUL.  It comes with the
 * three descriptors, in this order; what the words say about them does not
 * count.
 */
#define TLS_MESSAGE_MAX ((size_t)64 * 1024) /* bytes */
enum tls_descriptor { TLS_FD_SOCKET, TLS_FD_CLEAR, TLS_FD_STATUS, TLS_FDS };

/* A qmail-remote-tls that starts once and serves many sessions. */
struct tls_service {
	unsigned long serve; /* descriptor of the socket for messages */
	const char *home;    /* where paths that are not absolute begin */
	const char *state;   /* the only directory with files to write */
};

/*
 * Formats an argument vector, ended by NULL, to be freed by tls_request_free().
 * program is borrowed.
 */
char **tls_request_format(const struct tls_request *, const char *program);

/* Frees an argument vector and its words, but not program. */
void tls_request_free(char **argv);

/*
 * Parses an argument vector.  False if an argument is missing, unknown or given
 * twice, if a number is invalid, or if an argument lacks another: cert and key
 * need each other, tlsa needs a name and security above 0, names need tlsa, and
 * match needs anchors.  Text points into argv.
 */
bool tls_request_parse(struct tls_request *, int argc, char **argv);

/*
 * Writes an argument vector as a message; its length, or 0 if it is longer than
 * TLS_MESSAGE_MAX.
 */
size_t tls_request_join(char *const *argv, char bytes[TLS_MESSAGE_MAX]);

/*
 * The argument vector of a message of n bytes, ended by NULL; it points into
 * them.  Returns the number of words; 0 if they are none, too many, or the last
 * one is not ended.
 */
int tls_request_split(char *bytes, size_t n,
    char *argv[TLS_REQUEST_ARGUMENTS + 1]);

/* The argument vector of the service, as above. */
char **tls_service_format(const struct tls_service *, const char *program);
bool tls_service_parse(struct tls_service *, int argc, char **argv);

#endif
