/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_IPFAMILY_H
#define QMAIL_IPFAMILY_H

#include <stdbool.h>

#include "base/dsn.h"
#include "base/ip.h"
#include "qmail/table.h"

/*
 * Which addresses of a server are used for a destination
 * (qmail-remote-control(5), control/ipfamily): those of one family, or of both
 * and which family comes first.
 */
enum ipfamily { IPFAMILY_64, IPFAMILY_46, IPFAMILY_6, IPFAMILY_4 };

/*
 * Finds the family for a next hop: the relay if there is a route, otherwise the
 * host.  Brackets around it are ignored.  The value of an entry is 4, 6, 46 or
 * 64, and a comment may follow; without a matching entry it is IPFAMILY_64.  -1
 * with 4.3.0 if the file cannot be read, or if the matching entry has any other
 * value; then the detail has that entry.
 */
int ipfamily_find(enum ipfamily *, const struct table_files *,
    const char *next_hop, struct dsn *why);

/* What is wrong with the n bytes of an entry's value; NULL if it is valid. */
const char *ipfamily_fault(const char *value, size_t n);

/* Whether addresses of this kind are used at all. */
bool ipfamily_has(enum ipfamily, const struct ip *);

/* Whether IPv4 comes first. */
bool ipfamily_prefers_v4(enum ipfamily);

#endif
