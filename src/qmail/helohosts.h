/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_HELOHOSTS_H
#define QMAIL_HELOHOSTS_H

#include <stddef.h>

#include "base/buf.h"
#include "base/dsn.h"
#include "base/ip.h"
#include "io/fileid.h"

/*
 * Which name is said in EHLO by which address of ours
 * (qmail-remote-control(5), control/helohosts).
 *
 * A list file of lines "address:name".  Valid when zeroed: no address has a
 * name of its own.
 */
struct helohosts {
	struct helohosts_entry *entry;
	size_t n;
	struct buf names;      /* each ended by a NUL */
	struct fileid version; /* if n > 0; zeroed if it is not known */
};

/*
 * Reads path.  The name begins behind the last colon, but it may be an address
 * literal with colons in it; a comment may follow.  An IPv6 address may have
 * brackets.
 *
 * A missing file is an empty list.  -1 with 4.3.0 if the file cannot be read,
 * or if a line has anything else: then the detail has that line.
 */
int helohosts_read(struct helohosts *, const char *path, struct dsn *why);

/* The name for this address of ours, by the last line that has it; or NULL. */
const char *helohosts_find(const struct helohosts *, const struct ip *);

/* Calls the function for each line, in order. */
void helohosts_walk(const struct helohosts *,
    void (*each)(void *data, const struct ip *, const char *name), void *data);

void helohosts_finish(struct helohosts *);

#endif
