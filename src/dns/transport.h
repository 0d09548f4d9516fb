/* SPDX-License-Identifier: ISC */
#ifndef DNS_TRANSPORT_H
#define DNS_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/deadline.h"
#include "dns/resolvconf.h"

/*
 * Carry single questions to single name servers, and their replies back.
 *
 * Nothing is repeated, no other server is asked and no record is parsed: that
 * is the resolver's task.  A reply comes from the address that was asked, with
 * the ID of the question and the same question in it; what else arrives is
 * passed over (RFC 5452 section 9.1).  All questions to one server over UDP are
 * sent from one port, which the system chooses at random.
 */
struct dns_transport;

/* Where a question is sent, and how. */
struct dns_path {
	size_t server;
	bool is_tcp;   /* on a separate connection */
	bool has_edns; /* the message ends with an OPT record */
};

/*
 * Called with a reply, borrowed for the call; or with NULL if the server cannot
 * be reached or closes the connection.  It must not call any function of the
 * transport except dns_transport_forget().
 */
typedef void dns_on_reply(void *owner, const struct dns_path *,
    const unsigned char *reply, size_t n);

/*
 * The n servers are borrowed until dns_transport_destroy().  NULL if there are
 * more than DNS_SERVERS_MAX.
 */
struct dns_transport *dns_transport_create(const struct dns_server *, size_t n,
    dns_on_reply *);
void dns_transport_destroy(struct dns_transport *);

/*
 * Queues a copy of the message; the next dns_transport_run() sends it, or a
 * later one if many are under way.  The callback gets owner once, or never if
 * there is no reply within a minute; over TCP, within two seconds if others
 * wait.
 */
void dns_transport_send(struct dns_transport *, struct dns_path,
    const unsigned char *message, size_t n, void *owner);

/* Cancels all callbacks for this owner. */
void dns_transport_forget(struct dns_transport *, const void *owner);

/*
 * Sends queued messages and receives replies.  Waits for a reply until the
 * deadline, but returns after one has arrived, or when more can be sent.
 */
void dns_transport_run(struct dns_transport *, struct deadline);

#endif
