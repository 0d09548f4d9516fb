/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_IPFAMILY_H
#define QMAIL_IPFAMILY_H

#include <stdbool.h>

#include "base/dsn.h"
#include "base/ip.h"
#include "qmail/table.h"

/*
 * Which addresses of its servers a destination is reached by
 * (qmail-remote-control(5), control/ipfamily): those of one family, or of both
 * and which comes first.
 */
enum ipfamily { IPFAMILY_64, IPFAMILY_46, IPFAMILY_6, IPFAMILY_4 };

/*
 * Finds the family for a next hop: the relay where a route gave one, else the
 * host; brackets around it do not count.  The value of an entry is 4, 6, 46 or
 * 64, and a comment may follow; without an entry that fits it is IPFAMILY_64.
 * -1 with 4.3.0 when the file cannot be read or the entry that fits says
 * anything else; the detail has that entry.
 */
int ipfamily_find(enum ipfamily *, const struct table_files *,
    const char *next_hop, struct dsn *why);

bool ipfamily_has(enum ipfamily, const struct ip *);

/* IPv4 comes first. */
bool ipfamily_prefers_v4(enum ipfamily);

#endif
