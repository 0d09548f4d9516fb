/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_MEMORY_H
#define QMAIL_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

/*
 * Remember for some hours what failed with the server at an address, so that
 * the next delivery avoids it.
 *
 * One file of 256 records of 32 bytes: the address (16 bytes, IPv4 mapped),
 * then a time for each kind in the order below, in seconds since 1970, 4 bytes,
 * least significant byte first; 0 means never.  The size never changes.  Times
 * in the future, and times older than the lifetime of the kind, are ignored.
 * The file only helps: if anything goes wrong with it, the delivery goes on as
 * if nothing were remembered.
 */
enum memory_kind {
	MEMORY_PIPELINING, /* replies to pipelined commands were missing */
	MEMORY_STALL,      /* mail data stalled, or had no reply */
	MEMORY_EHLO,       /* EHLO had no usable reply, HELO delivered */
	MEMORY_TLS,        /* a TLS handshake timed out */
	MEMORY_KINDS
};

/* How long each kind is remembered, in seconds. */
#define MEMORY_PIPELINING_S 14400
#define MEMORY_STALL_S 14400
#define MEMORY_EHLO_S 1800
#define MEMORY_TLS_S 1800

#define MEMORY_RECORDS 256
#define MEMORY_SIZE 8192 /* bytes in the file */

/* How long a kind is remembered, in seconds. */
int64_t memory_lifetime(enum memory_kind);

/* A copy of the file.  All zero: nothing is remembered. */
struct memory {
	unsigned char byte[MEMORY_SIZE];
	int64_t cleared; /* Unix time; older notes are ignored */
};

/*
 * Opens the file for reading and writing, and creates it if it is missing.
 * Returns a close-on-exec descriptor, or -1.
 */
int memory_open(const char *path);

/* Reads the whole file.  If that fails, or fd is -1, nothing is remembered. */
void memory_read(struct memory *, int fd);

/*
 * Reads the file at path, without creating or changing it.  -1 with errno if
 * that fails; EINVAL if it is not a file of this format.  Then nothing is
 * remembered.
 */
int memory_load(struct memory *, const char *path);

/*
 * Stores the address of record i, which is less than MEMORY_RECORDS.  False if
 * the record is free.  All notes of a record in use may be too old.
 */
bool memory_address(const struct memory *, size_t i, struct ip *);

/*
 * The Unix time at which the kind was noted; 0 if it was not, or its lifetime
 * is over.
 */
int64_t memory_find(const struct memory *, const struct ip *, enum memory_kind,
    int64_t now);

/*
 * Notes the kind at this time, under flock(); replaces the oldest record if
 * there is no room.  Uses nothing but the descriptor, which may be -1.
 * Failures are ignored.
 */
void memory_note(int fd, const struct ip *, enum memory_kind, int64_t now);

/*
 * Zeroes the record of an address, under flock().  Returns 1 if that was done,
 * 0 if there was no record, and -1 with errno if the file cannot be opened for
 * reading and writing, locked, read or written.
 */
int memory_forget(const char *path, const struct ip *);

#endif
