/* SPDX-License-Identifier: ISC */
#ifndef TLS_STATUS_H
#define TLS_STATUS_H

#include <stddef.h>

/*
 * What qmail-remote-tls says of its handshake, on its status descriptor.
 *
 * One record, then end of file: a letter, printable ASCII text, a line end.
 * Both sides of that line are here, so that they cannot disagree.
 */

#define TLS_STATUS_SIZE 256 /* of a record with its NUL */

enum tls_status {
	TLS_STATUS_READY,  /* text: "TLSv1.3 CIPHER, certificate ..." */
	TLS_STATUS_FAILED, /* the peer's doing; text: why */
	TLS_STATUS_LOCAL,  /* our own: a key or anchors that cannot be read */
	TLS_STATUS_NONE    /* no complete record: the helper died */
};

/* Writes the record into text; what is not printable becomes '?'. */
size_t tls_status_format(char record[TLS_STATUS_SIZE], enum tls_status,
    const char *text);

/*
 * Reads a record of n bytes; text gets its text ("" for TLS_STATUS_NONE),
 * cleaned again: the helper has talked to the network.
 */
enum tls_status tls_status_parse(const char *record, size_t n,
    char text[TLS_STATUS_SIZE]);

#endif
