/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_ROUTE_H
#define QMAIL_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/dsn.h"
#include "qmail/login.h"
#include "qmail/table.h"

/*
 * Find the smtproutes entry for a host (qmail-remote-control(5),
 * control/smtproutes).
 *
 * A table (qmail/table.h) of lines domain:relay:port|user|password.  The value,
 * relay:port|user|password, is of the same form in control/authsenders and
 * control/smtpauth.  There may be a semicolon in front of the port.
 */
struct route {
	struct buf relay; /* empty: use the MX records of the host */
	uint16_t port;
	bool has_port;      /* it is in the line; else it is 25 */
	struct login login; /* the credentials in the line */
	const char *file;   /* with the line; NULL: no line matches */
	struct buf key;     /* of that line, for a person */

	/* Of qmail/relay.h: a file with passwords that was passed over. */
	struct buf unread;
};

/*
 * What stock says if it cannot connect, and so of a line that cannot be used.
 * delivery/failure, above this layer, says it of everything else.
 */
#define ROUTE_STATUS "4.4.1"
#define ROUTE_SENTENCE "Sorry, I wasn't able to establish an SMTP connection."

#define ROUTE_PORT 25 /* if the line has none */
#define ROUTE_PORT_MAX 65535

/*
 * Finds the route for host.  Without a match, or without the file, the relay is
 * empty and the port is 25.  The relay is as written, with its brackets; an
 * empty relay may have a port, but no credentials: they would go to whatever
 * server the DNS names.
 *
 * -1 with 4.3.0 if the file cannot be read.  -1 with 4.4.1 (stock's code; stock
 * tries port 0) if the matching line has an invalid port, relay or credentials,
 * or anything but a comment (a blank, then '#') after the port.  The detail
 * then has the file, the reason, the key and the relay's name, and nothing that
 * follows: it may be a password.
 */
int route_find(const char *host, const struct table_files *, struct route *,
    struct dsn *why);
void route_finish(struct route *);

/* What is wrong with the n bytes of an entry's value; NULL if it is valid. */
const char *route_fault(const char *value, size_t n);

/*
 * Parses such a value into *route, which is empty; returns what is wrong with
 * it, or NULL.  The relay may be empty, whatever follows.
 */
const char *route_parse(const char *value, size_t n, struct route *);

/*
 * The length of the relay at the start of a value: up to the first colon,
 * semicolon, '|' or blank that is not in the brackets of an address.  An IPv6
 * address without brackets is one relay, though not a valid one.
 */
size_t route_relay_length(const char *value, size_t n);

#endif
