/* SPDX-License-Identifier: ISC */
#ifndef DNS_ADDR_H
#define DNS_ADDR_H

#include <stdbool.h>
#include <stdint.h>

#include "dns/mx.h"
#include "dns/resolver.h"

/*
 * Look up the addresses of all hosts of a list at once, and, if wanted, their
 * TLSA records.
 */
struct addr_wave {
	struct mx_list *list;
	struct dns_resolver *resolver;
	/* One for each host, owned by the wave. */
	struct addr_answers *answers;
	struct dane_lookup *dane; /* NULL: TLSA records are not wanted */
};

/*
 * Asks for the IPv6 and IPv4 addresses of all hosts.  Address literals have
 * theirs already.  MX hosts whose names cannot be asked for stay DNS_TEMPFAIL,
 * because they may exist.  List and resolver are borrowed until
 * addr_wave_end().  In between the caller waits, and may ask other questions in
 * the same wave.
 */
void addr_wave_begin(struct addr_wave *, struct mx_list *,
    struct dns_resolver *);

/*
 * Asks for the TLSA records of all hosts for this TCP port, in the same wave.
 * The caller knows that the list itself is secure.
 */
void addr_wave_ask_tlsa(struct addr_wave *, uint16_t port);

/*
 * Whether the caller need not wait any more; some questions may be pending all
 * the same.
 */
bool addr_wave_is_over(const struct addr_wave *);

/*
 * Begins the wave after that, for the TLSA records of hosts that are aliases.
 * False if there is nothing to ask.
 */
bool addr_wave_ask_aliases(struct addr_wave *);

/*
 * Stores the addresses and the TLSA records in the list, which owns them then,
 * and frees the answers.  Questions that are pending have failed.  A host is
 * secure if all answers that arrived are secure.  It has a canonical name if
 * the answers with addresses agree on it.
 */
void addr_wave_end(struct addr_wave *);

#endif
