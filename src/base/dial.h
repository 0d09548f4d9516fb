/* SPDX-License-Identifier: ISC */
#ifndef BASE_DIAL_H
#define BASE_DIAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

/*
 * Connect to the first of several addresses that answers.
 */

#define DIAL_STAGGER_MS 1000 /* lead of one address over the next */

/* Bytes written that the kernel may hold back, where it can be told so. */
#define DIAL_UNSENT_MAX (128 * 1024)

enum dial_state {
	DIAL_UNTRIED,   /* no attempt, or one given up because another won */
	DIAL_CONNECTED, /* the winner of an earlier call */
	DIAL_FAILED,    /* error says why; ETIMEDOUT is a time-out */
	DIAL_BARRED     /* set by the caller: never to be connected to */
};

struct dial_target {
	struct ip ip;
	uint16_t port;
	enum dial_state state;
	int error; /* an errno value, of a failed attempt */
};

/*
 * Connects to the first target, in the order given, that is DIAL_UNTRIED and
 * answers: a target is started when the one before it has failed or has not
 * connected within DIAL_STAGGER_MS, each has timeout_ms, the first connection
 * wins and the others are given up (they stay DIAL_UNTRIED).
 *
 * Returns a non-blocking close-on-exec descriptor and sets *winner, or -1
 * when no target is left untried.  EMFILE and the like at socket(), and a
 * poll() that fails, are not the peer's fault: they return -2 with errno, and
 * what was not connected to stays untried.
 */
int dial_first(struct dial_target *, size_t n, int timeout_ms, size_t *winner);

#endif
