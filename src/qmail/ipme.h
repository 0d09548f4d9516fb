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
 * leads there; those of this machine's interfaces that are up, and the
 * unspecified addresses, make an MX host this host, as in stock, but an
 * administrator may well name one of them as a relay.
 */
enum ipme_kind { IPME_NOT, IPME_INTERFACE, IPME_LISTED };

struct ipme {
	struct ip *listed;
	size_t nlisted;
	struct ip *interface;
	size_t ninterface;
};

/*
 * Reads path (one address a line, any textual form, brackets allowed; a line
 * that is no address is ignored; a missing file lists none) and, where that
 * matters, asks the system for its interfaces.  -1 with 4.3.0 when the file
 * cannot be read or the system does not say.
 */
int ipme_read(struct ipme *, const char *path, bool wants_interfaces,
    struct dsn *why);
enum ipme_kind ipme_kind(const struct ipme *, const struct ip *);
void ipme_finish(struct ipme *);

#endif
