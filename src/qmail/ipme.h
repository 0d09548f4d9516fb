/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_IPME_H
#define QMAIL_IPME_H

#include <stdbool.h>
#include <stddef.h>

#include "base/dsn.h"
#include "base/ip.h"

/*
 * Recognise our own addresses.
 *
 * Two kinds: those that control/ipme lists are never connected to, whatever
 * leads there; those of this machine's interfaces that are up, 127.0.0.0/8,
 * 0.0.0.0/8, ::1 and :: make an MX host this host, but an administrator may
 * well name one of them as a relay.
 */
enum ipme_kind { IPME_NOT, IPME_INTERFACE, IPME_LISTED };

struct ipme {
	struct ip_net *listed;
	size_t nlisted;
	struct ip *interface;
	size_t ninterface;
};

/*
 * Reads path and, where that matters, asks the system for its interfaces; if
 * it does not tell, only the addresses that are everybody's own are known.
 *
 * A line holds addresses and networks as of ip_parse_net() with commas, blanks
 * and tabs between them; '#' begins a comment.  A missing file lists none.
 * -1 with 4.3.0 when the file cannot be read or something in it is no address:
 * the detail has that line.
 */
int ipme_read(struct ipme *, const char *path, bool wants_interfaces,
    struct dsn *why);
enum ipme_kind ipme_kind(const struct ipme *, const struct ip *);
void ipme_finish(struct ipme *);

#endif
