/* SPDX-License-Identifier: ISC */
#ifndef DNS_ADDR_H
#define DNS_ADDR_H

#include "dns/mx.h"
#include "dns/resolver.h"

/*
 * The addresses of all hosts of a list, by one wave of questions.
 */
struct addr_wave {
	struct mx_list *list;
	struct addr_answers *answers; /* for each host of the list */
};

/*
 * Asks for the IPv6 and IPv4 addresses of all hosts.  Literals have theirs;
 * MX hosts whose names cannot be asked for stay DNS_TEMPFAIL, since they may
 * be there.  The list is borrowed until addr_wave_end(); in between the caller
 * calls dns_resolver_wait(), and may ask for other things in the same wave.
 */
void addr_wave_begin(struct addr_wave *, struct mx_list *,
    struct dns_resolver *);

/*
 * Puts the addresses into the list.  A host is secure if all answers are that
 * there are; it has a canonical name if those with addresses agree on it.
 */
void addr_wave_end(struct addr_wave *);

#endif
