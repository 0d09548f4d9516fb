/* SPDX-License-Identifier: ISC */
#ifndef TLSD_BIO_H
#define TLSD_BIO_H

#include <stdbool.h>
#include <stddef.h>

#include "base/deadline.h"

struct bio_st;
struct bio_method_st;

#define TLSD_AHEAD_SIZE 8192 /* more than most handshakes */

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
 *
 * Nothing here waits but tlsd_bio_wait().  Want of memory in the kernel ends
 * the program by mem_exhausted().
 */
struct tlsd_bio {
	int fd; /* borrowed */
	struct bio_method_st *method;
	struct deadline until; /* of the handshake; after that never */
	bool drained;          /* the socket had no more when last read */
	bool eof;              /* ... nor ever will */
	bool expired;          /* until has passed */
	int error;             /* errno of the socket */
	unsigned messages;     /* of the handshake protocol, since text moved */
	unsigned reads;        /* of the first few */
	size_t ahead_start, ahead_end;
	char ahead[TLSD_AHEAD_SIZE]; /* read, and not asked for yet */
};

/* For SSL_set_bio(); NULL if that cannot be made.  The state is borrowed. */
struct bio_st *tlsd_bio_create(struct tlsd_bio *);

/* Once no BIO uses it any more. */
void tlsd_bio_finish(struct tlsd_bio *);

/* poll() said that the socket is readable: the next read may ask it. */
void tlsd_bio_is_readable(struct tlsd_bio *);

/* Waits for poll events; false when the deadline passed, or poll() failed. */
bool tlsd_bio_wait(struct tlsd_bio *, short events);

/* The server sends handshake messages and nothing else. */
bool tlsd_bio_is_flooded(const struct tlsd_bio *);

#endif
