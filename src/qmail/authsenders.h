/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_AUTHSENDERS_H
#define QMAIL_AUTHSENDERS_H

#include <stddef.h>

#include "base/dsn.h"
#include "qmail/route.h"

/*
 * Find the relay and the credentials for a sender (qmail-remote-control(5),
 * control/authsenders).
 *
 * A file of lines sender:relay:port|user|password, whose value is of the form
 * of a route (qmail/route.h).  The keys tried are the whole address, "@" and
 * its domain, each suffix of the domain that begins with a dot, longest first,
 * then the empty key.  ASCII case does not matter, and a domain in UTF-8 is the
 * same as one with A-labels (base/idn.h).  Of several lines with the same key
 * the last one counts.
 *
 * A key ends at the first colon, '|' or blank.  There is no index: a file with
 * passwords is read as it is, each time.
 */

/*
 * Finds the line for a sender, which is not the null one.  *route is empty, and
 * remains so if no line matches, or if there is no such file.  If the relay is
 * empty the route of the host stays, and the credentials are for its relay.
 *
 * -1 with 4.3.0 if the file cannot be read, or if the line that matches is not
 * of this form, or has a port without a relay.  The detail has the reason and
 * the key, but nothing else of the line: it may be a password.
 */
int authsenders_find(const char *path, const char *sender, struct route *,
    struct dsn *why);

/* As smtpauth_walk(). */
int authsenders_walk(const char *path,
    void (*each)(void *data, size_t line, const char *fault, const char *token),
    void *data);

#endif
