/* SPDX-License-Identifier: ISC */
#ifndef IO_DIAL_H
#define IO_DIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

/* Connect to the first of several addresses that accepts a connection. */

/* Delay before the next address is tried (RFC 8305 section 5). */
#define DIAL_STAGGER_MS 250

/* Limit on unsent bytes in the kernel, in bytes, where it can be set. */
#define DIAL_UNSENT_MAX (128 * 1024)

enum dial_state {
	DIAL_UNTRIED,   /* not tried, or given up because another won */
	DIAL_CONNECTED, /* the winner of an earlier call */
	DIAL_FAILED,    /* by the network; error says why */
	DIAL_UNABLE,    /* this machine refused to try; error says why */
	DIAL_SKIPPED,   /* set by the caller: is not connected to */
	DIAL_HELD       /* set by the caller: not in this call */
};

struct dial_target {
	const struct ip *own; /* ours, which it comes from; NULL: any */
	struct ip ip;
	uint16_t port;
	enum dial_state state;
	int error; /* errno of a failed attempt */
};

/* A connection, and the index of its target. */
struct dialed {
	int fd; /* non-blocking, close-on-exec; owned by the caller */
	size_t target;
	int ms; /* from the start of its attempt, in milliseconds */
};

/*
 * Connects to the first target, in the given order, that is DIAL_UNTRIED and
 * accepts.  The next target is started when the one before has failed, or has
 * not connected within DIAL_STAGGER_MS.  Each attempt has timeout_ms; a
 * time-out is DIAL_FAILED with ETIMEDOUT.  The first connection wins, and the
 * others are closed and stay DIAL_UNTRIED.
 *
 * Fills *won, or returns false if no untried target is left.  If the system
 * refuses one target (no descriptor or port left, no such address family, a
 * local firewall), that one is DIAL_UNABLE and the others go on: the error says
 * nothing about the peer.
 */
bool dial_first(struct dial_target *, size_t n, int timeout_ms,
    struct dialed *won);

/*
 * Whether connections can come from this address of ours: 0, or -1 with errno,
 * EADDRNOTAVAIL if this machine does not have it.
 */
int dial_try_own(const struct ip *);

/* Our own address in a connection; false if it cannot be found out. */
bool dial_own(int fd, struct ip *);

#endif
