/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_SMTPAUTH_H
#define QMAIL_SMTPAUTH_H

#include <stddef.h>
#include <stdint.h>

#include "base/dsn.h"
#include "qmail/login.h"

/*
 * Find the credentials for a relay (qmail-remote-control(5), control/smtpauth).
 *
 * A file of lines relay|user|password or relay;port|user|password, of the form
 * of a route (qmail/route.h).  The line with the relay's name counts more than
 * one with no name, which is for all relays, and among those one with the port
 * more than one without; of equal ones the last.  A relay that is an address
 * may be written in any way; an IPv6 address needs its brackets, as in a route.
 *
 * There is no index: a file with passwords is read as it is, each time.
 */

/*
 * Finds the credentials for a relay, as it is written in a route.  *login is
 * empty, and remains so if no line matches, or if there is no such file.
 *
 * -1 with 4.3.0 if the file cannot be read, or if the line that matches is not
 * of this form: it was meant to be for this relay.  A port that cannot be read
 * may be any.  The detail has the reason and the relay, but nothing else of the
 * line: it may be a password.
 */
int smtpauth_find(const char *path, const char *relay, uint16_t port,
    struct login *, struct dsn *why);

/*
 * Calls the function for each line of the file, in order: with its number from
 * 1, what is wrong with it, or NULL, and the path of its token, or "".  0, or
 * -1 with errno if the file cannot be read; a missing file is an empty one.
 */
int smtpauth_walk(const char *path,
    void (*each)(void *data, size_t line, const char *fault, const char *token),
    void *data);

#endif
