/* SPDX-License-Identifier: ISC */
#ifndef IO_DIAL_H
#define IO_DIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

/*
 * Connect to the first of several addresses that accepts.
 */

/* Lead of one address over the next (RFC 8305 section 5). */
#define DIAL_STAGGER_MS 250

/* Limit for unsent bytes in the kernel, where it has one. */
#define DIAL_UNSENT_MAX (128 * 1024)

enum dial_state {
	DIAL_UNTRIED,   /* no attempt, or one given up because another won */
	DIAL_CONNECTED, /* the winner of an earlier call */
	DIAL_FAILED,    /* error says why; ETIMEDOUT is a time-out */
	DIAL_UNABLE,    /* this machine refused to try; error says why */
	DIAL_SKIPPED    /* set by the caller: never to be connected to */
};

struct dial_target {
	struct ip ip;
	uint16_t port;
	enum dial_state state;
	int error; /* an errno value, of a failed attempt */
};

/* A connection, and which of the targets it is to. */
struct dialed {
	int fd; /* non-blocking, close-on-exec */
	size_t target;
};

/*
 * Connects to the first target, in the order given, that is DIAL_UNTRIED and
 * accepts: a target is started when the one before it has failed or has not
 * connected within DIAL_STAGGER_MS, each has timeout_ms, the first connection
 * wins and the others are closed (they stay DIAL_UNTRIED).
 *
 * Fills *won, or returns false when no target is left untried.  If the system
 * refuses one target (no more descriptors or ports, an address family that it
 * lacks, a firewall of our own), that one is DIAL_UNABLE and the others go on:
 * it says nothing about the peer.
 */
bool dial_first(struct dial_target *, size_t n, int timeout_ms,
    struct dialed *won);

#endif
