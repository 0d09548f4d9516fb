/* SPDX-License-Identifier: ISC */
#ifndef CACHE_REQUEST_H
#define CACHE_REQUEST_H

#include "cache/lender.h"

/* Does what a client of the broker asks (cache/message.h). */

/*
 * Receives one message, no more, so that no client keeps the others waiting.
 * The client is given up if it has closed, or does not keep to the protocol.
 */
void request_receive(struct lender *, struct client *);

/* Sends more of a list to a client that has read the messages before. */
void request_list(struct lender *, struct client *);

#endif
