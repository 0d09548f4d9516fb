/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_ROUTE_H
#define QMAIL_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/dsn.h"
#include "qmail/table.h"

/*
 * The smtproutes entry for a host (qmail-remote(8), control/smtproutes).
 *
 * A table (qmail/table.h) of lines domain:relay:port.
 */
struct route {
	struct buf relay; /* empty: by the MX records of the host itself */
	uint16_t port;
};

/*
 * Finds the route for host.  No match and a missing file give an empty relay
 * and port 25.  The relay is as written, with its brackets; an empty relay may
 * come with a port.
 * -1 with 4.3.0 when the text cannot be read, and with 4.4.1 (as in stock,
 * which then tries port 0) when the matching line has an invalid port or relay,
 * or anything but a comment (a blank, then '#') behind the port.  The detail
 * then has the file, the reason, the key and the relay's name, and nothing of
 * what follows: it may be a password.
 */
int route_find(const char *host, const struct table_files *, struct route *,
    struct dsn *why);
void route_finish(struct route *);

#endif
