/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_LOOKUP_H
#define DELIVERY_LOOKUP_H

#include <stdbool.h>

#include "base/dsn.h"
#include "dns/mx.h"
#include "dns/resolver.h"

/*
 * Find the hosts that mail goes to, and their addresses, in the DNS.
 */
struct lookup {
	const char *host;              /* a domain, or a relay */
	bool is_relay;                 /* the host itself, never its MX hosts */
	struct dns_resolver *resolver; /* NULL: it could not be set up */
	unsigned long timeout_s;       /* for each wave of questions, or 0 */
};

/*
 * In two waves of questions: the MX records, then the addresses of all hosts.
 * Without a time limit the schedule of the resolver ends each of them.
 *
 * -1 with the status and sentence of stock: 4.1.2, 5.1.2, 5.4.4, and 5.1.10
 * for a null MX (RFC 7505); of a relay always 4.1.2, since it comes from a
 * file of ours, and a mistake there or in our zone bounces no mail.
 */
int lookup_hosts(struct mx_list *, const struct lookup *, struct dsn *why);

#endif
