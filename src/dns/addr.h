/* SPDX-License-Identifier: ISC */
#ifndef DNS_ADDR_H
#define DNS_ADDR_H

#include "dns/mx.h"
#include "dns/resolver.h"

/* Look up the addresses of all hosts of a list at once. */
struct addr_wave {
	struct mx_list *list;
	struct addr_answers *answers; /* one for each host; owned by the wave */
};

/*
 * Asks for the IPv6 and IPv4 addresses of all hosts.  Address literals have
 * theirs already.  MX hosts whose names cannot be asked for stay DNS_TEMPFAIL,
 * because they may exist.  The list is borrowed until addr_wave_end().  In
 * between the caller calls dns_resolver_wait(), and may ask other questions in
 * the same wave.
 */
void addr_wave_begin(struct addr_wave *, struct mx_list *,
    struct dns_resolver *);

/*
 * Stores the addresses in the list, which owns them then, and frees the
 * answers.  A host is secure if all answers that arrived are secure.  It has a
 * canonical name if the answers with addresses agree on it.
 */
void addr_wave_end(struct addr_wave *);

#endif
