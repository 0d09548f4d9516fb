/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_TLSHOSTS_H
#define QMAIL_TLSHOSTS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/dsn.h"

/*
 * The files named after MX hosts and relays that the widespread TLS patch for
 * qmail reads (qmail-remote-control(5)):
 *
 *	control/notlshosts/NAME		no TLS with this host
 *	control/tlshosts/NAME.pem	TLS, verified with these certificates
 *	control/tlshosts/exhaustivelist	no TLS with a host without such a .pem
 *
 * An empty .pem demands TLS without verification.
 */

/* Which of them there are; valid when zeroed: none. */
struct tlshosts {
	bool has_pems;       /* the directory control/tlshosts */
	bool has_exceptions; /* the directory control/notlshosts */
	bool is_exhaustive;  /* control/tlshosts/exhaustivelist */
};

/* -1 with 4.3.0 if that cannot be found out. */
int tlshosts_inspect(struct tlshosts *, struct dsn *why);

enum tlshosts_kind {
	TLSHOSTS_ABSENT, /* there is no file for this host */
	TLSHOSTS_CLEAR,  /* only in notlshosts */
	TLSHOSTS_ENCRYPT,
	TLSHOSTS_VERIFY
};

/*
 * Finds the file for a host, under its name as it is or in lower case, and
 * appends the path of a .pem that is not empty.
 *
 * A name has no file if it is longer than 251 bytes, begins with a dot, or has
 * anything but letters, digits, '-', '_' and '.': it comes from the DNS, and
 * could lead anywhere.  -1 with 4.3.0 if it cannot be found out what there is,
 * or if the .pem cannot be opened.
 */
int tlshosts_find(const struct tlshosts *, const char *name,
    enum tlshosts_kind *, struct buf *pem, struct dsn *why);

#endif
