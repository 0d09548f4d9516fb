/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_ROUTE_H
#define QMAIL_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/dsn.h"
#include "qmail/table.h"

/*
 * Find the smtproutes entry for a host (qmail-remote-control(5),
 * control/smtproutes).
 *
 * A table (qmail/table.h) of lines domain:relay:port.
 */
struct route {
	struct buf relay; /* empty: use the MX records of the host */
	uint16_t port;
	bool is_found;  /* there is a matching line */
	struct buf key; /* of that line, for a person */
};

/*
 * Finds the route for host.  Without a match, or without the file, the relay is
 * empty and the port is 25.  The relay is as written, with its brackets; an
 * empty relay may have a port.
 *
 * -1 with 4.3.0 if the file cannot be read.  -1 with 4.4.1 (stock's code; stock
 * tries port 0) if the matching line has an invalid port or relay, or anything
 * but a comment (a blank, then '#') after the port.  The detail then has the
 * file, the reason, the key and the relay's name, and nothing that follows: it
 * may be a password.
 */
int route_find(const char *host, const struct table_files *, struct route *,
    struct dsn *why);
void route_finish(struct route *);

/* What is wrong with the n bytes of an entry's value; NULL if it is valid. */
const char *route_fault(const char *value, size_t n);

#endif
