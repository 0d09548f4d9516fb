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
 * There are two kinds.  Those in control/ipme are never connected to.  Those of
 * this machine's interfaces that are up, 127.0.0.0/8, 0.0.0.0/8, ::1 and ::
 * tell that an MX host is this machine, but a relay may have one of them.
 */
enum ipme_kind { IPME_NOT, IPME_INTERFACE, IPME_LISTED };

struct ipme {
	struct ip_net *listed;
	size_t nlisted;
	struct ip *interface;
	size_t ninterface;
};

/*
 * Reads path and, if wants_interfaces, the addresses of this machine's
 * interfaces; if the system does not tell them, only the fixed ones are known.
 *
 * A line has addresses and networks as for ip_parse_net() with commas, blanks
 * and tabs between them; '#' begins a comment.  A missing file lists none.
 * -1 with 4.3.0 when the file cannot be read or something in it is no address:
 * the detail has that line.
 */
int ipme_read(struct ipme *, const char *path, bool wants_interfaces,
    struct dsn *why);
enum ipme_kind ipme_kind(const struct ipme *, const struct ip *);
void ipme_finish(struct ipme *);

#endif
