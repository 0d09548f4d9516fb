/* SPDX-License-Identifier: ISC */
#ifndef TLSD_BIO_H
#define TLSD_BIO_H

#include <stdbool.h>
#include <stddef.h>

#include "base/deadline.h"

struct bio_st;
struct bio_method_st;

#define TLSD_AHEAD_SIZE 8192 /* bytes; more than most handshakes */

/*
 * The socket, as a BIO for OpenSSL.
 *
 * It is our own, because only here can a loop in the library be ended that a
 * server keeps running with messages that are ignored (HelloRequest,
 * KeyUpdate): each pass reads from the socket in the end.
 *
 * It reads ahead.  The library asks for the five bytes of a record's header,
 * then for the record; versions from 3.2 on do so in a handshake even if they
 * are told to read ahead themselves.
 *
 * Only tlsd_bio_wait() waits.  If the kernel has no memory, mem_exhausted()
 * ends the program.
 */
struct tlsd_bio {
	int fd; /* borrowed */
	struct bio_method_st *method;
	struct deadline until; /* of the handshake; never after it */
	bool drained;          /* the last read emptied the socket */
	bool eof;              /* end of file was read */
	bool expired;          /* the deadline has passed */
	int error;             /* errno of the socket */
	unsigned messages; /* handshake messages since the last clear text */
	unsigned reads;    /* counts the first few reads */
	size_t ahead_start, ahead_end;
	char ahead[TLSD_AHEAD_SIZE]; /* read, not yet passed on */
};

/*
 * Creates a BIO for SSL_set_bio(), which borrows the struct; NULL on failure.
 */
struct bio_st *tlsd_bio_create(struct tlsd_bio *);

/* Call it when no BIO uses the struct any more. */
void tlsd_bio_finish(struct tlsd_bio *);

/* poll() said that the socket is readable: the next read tries it again. */
void tlsd_bio_is_readable(struct tlsd_bio *);

/* Waits for poll events; false if the deadline passed or poll() failed. */
bool tlsd_bio_wait(struct tlsd_bio *, short events);

/* Whether the server sends too many handshake messages and nothing else. */
bool tlsd_bio_is_flooded(const struct tlsd_bio *);

#endif
