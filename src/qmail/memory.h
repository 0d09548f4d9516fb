/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_MEMORY_H
#define QMAIL_MEMORY_H

#include <stdint.h>

#include "base/ip.h"

/*
 * Remember, for some hours, what the server at an address could not bear, so
 * that the next delivery does without.
 *
 * One file of 256 records of 32 bytes: the address (16 bytes, IPv4 mapped),
 * then a time for each kind of note in the order below, in seconds since 1970
 * and 4 bytes, least significant first; 0 is none.  The size never changes.
 * Times from the future and from before the kind's time is over count for
 * nothing.  It is a help, never a condition: whatever goes wrong with the file,
 * the delivery goes on as if nothing were remembered.
 */
enum memory_kind {
	MEMORY_PIPELINING, /* commands sent together were not all answered */
	MEMORY_STALL,      /* mail data stalled, or no reply to its end came */
	MEMORY_EHLO, /* EHLO was answered by a hang-up, HELO then delivered */
	MEMORY_TLS,  /* a TLS handshake hung until its time was over */
	MEMORY_KINDS
};

/* How long each kind is remembered, in seconds. */
#define MEMORY_PIPELINING_S 14400
#define MEMORY_STALL_S 14400
#define MEMORY_EHLO_S 1800
#define MEMORY_TLS_S 1800

#define MEMORY_SIZE 8192 /* of the file, in bytes */

/* The file as it was at one moment; all zero: nothing is remembered. */
struct memory {
	unsigned char byte[MEMORY_SIZE];
	int64_t cleared; /* what was noted before counts for nothing */
};

/*
 * Opens the file for reading and notes, and makes it if it is missing.  A
 * close-on-exec descriptor, or -1.
 */
int memory_open(const char *path);

/* Reads the whole file; a descriptor of -1 is one that remembers nothing. */
void memory_read(struct memory *, int fd);

/* When it was noted, in Unix time; 0 if it was not, or is not remembered. */
int64_t memory_find(const struct memory *, const struct ip *, enum memory_kind,
    int64_t now);

/*
 * Notes it, under flock(), in the place of the oldest record if there is no
 * room.  Uses nothing but the descriptor, which may be -1.
 */
void memory_note(int fd, const struct ip *, enum memory_kind, int64_t now);

#endif
