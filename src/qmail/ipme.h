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
 * There are two kinds.  Addresses in control/ipme are never connected to.
 * Addresses of interfaces of this machine that are up, 127.0.0.0/8, 0.0.0.0/8,
 * ::1 and :: show that an MX host is this machine, but a relay may have such an
 * address.
 */
enum ipme_kind { IPME_NOT, IPME_INTERFACE, IPME_LISTED };

/* Valid when zeroed: only the fixed addresses above are ours. */
struct ipme {
	struct ip_net *listed;
	size_t nlisted;
	struct ip *interface;
	size_t ninterface;
};

/*
 * Reads path into the struct, which has to be zeroed; and, if wants_interfaces,
 * the addresses of this machine's interfaces.  If the system does not tell
 * them, only the fixed addresses above are known.
 *
 * A line has addresses and networks as for ip_parse_net(), separated by commas,
 * blanks and tabs; '#' begins a comment.  A missing file is an empty list.  -1
 * with 4.3.0 if the file cannot be read, or if a line has anything else: then
 * the detail has that line.
 */
int ipme_read(struct ipme *, const char *path, bool wants_interfaces,
    struct dsn *why);

/* Whether, and in which way, the address is ours: LISTED if both apply. */
enum ipme_kind ipme_kind(const struct ipme *, const struct ip *);

/* Frees the contents, also after a failure; the struct is zeroed again. */
void ipme_finish(struct ipme *);

#endif
