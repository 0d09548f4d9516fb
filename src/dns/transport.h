/* SPDX-License-Identifier: ISC */
#ifndef DNS_TRANSPORT_H
#define DNS_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/deadline.h"
#include "dns/resolvconf.h"

/*
 * Carries single questions to single name servers, and their replies back.
 *
 * Nothing is repeated, no other server is asked and no reply is looked into:
 * that is the resolver's business.  A reply comes from the address that was
 * asked, with the ID of the question and with the same question in it.
 */
struct dns_transport;

/* Where a question goes, and how. */
struct dns_path {
	size_t server;
	bool is_tcp;   /* on a connection of its own */
	bool has_edns; /* the message has an OPT record, its last one */
};

/*
 * Called when a reply is there, which is borrowed for the call, or, with
 * NULL, when the server cannot be reached or closes the connection.  It must
 * not call the transport but for dns_transport_forget().
 */
typedef void dns_on_reply(void *owner, const struct dns_path *,
    const unsigned char *reply, size_t n);

/*
 * The n servers are borrowed.  NULL when the library cannot be set up:
 * temporary.
 */
struct dns_transport *dns_transport_create(const struct dns_server *, size_t n,
    dns_on_reply *);
void dns_transport_destroy(struct dns_transport *);

/*
 * The message is copied, and leaves with the next dns_transport_run().  Its
 * owner hears of it once, or never if there is no reply within a minute.
 */
void dns_transport_send(struct dns_transport *, struct dns_path,
    const unsigned char *message, size_t n, void *owner);

/* The owner is told no more of what was sent for it. */
void dns_transport_forget(struct dns_transport *, const void *owner);

/*
 * Sends what is to be sent and takes in what has come; waits for that until
 * the deadline, but not after a reply.
 */
void dns_transport_run(struct dns_transport *, struct deadline);

#endif
