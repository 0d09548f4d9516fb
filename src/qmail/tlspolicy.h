/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_TLSPOLICY_H
#define QMAIL_TLSPOLICY_H

#include <stddef.h>

#include "base/buf.h"
#include "base/dsn.h"
#include "qmail/table.h"

/*
 * Which TLS the administrator demands for a destination
 * (qmail-remote-control(5), control/tlspolicy).
 *
 * A table (qmail/table.h) of lines next-hop:level[:attribute=value...], to be
 * read with is_strict.
 */
enum tlspolicy_level {
	TLSPOLICY_ABSENT, /* no line matches */
	TLSPOLICY_NONE,
	TLSPOLICY_MAY,
	TLSPOLICY_ENCRYPT,
	TLSPOLICY_VERIFY,
	TLSPOLICY_DANE,
	TLSPOLICY_DANE_ONLY
};

#define TLSPOLICY_VALUE_MAX 8192 /* bytes of a level with its attributes */

/* Valid when zeroed. */
struct tlspolicy {
	enum tlspolicy_level level;

	/*
	 * Of TLSPOLICY_VERIFY; empty: not given.  The names are separated by
	 * commas, and a dot at the start of one stands for any one label and
	 * that dot.
	 */
	struct buf match;
	struct buf anchors; /* a path, as in control/trustanchors */

	struct buf line; /* the one that matches, for a person */
};

/*
 * Finds the policy for a next hop: the relay if there is a route, otherwise the
 * host.  Brackets around it are ignored.
 *
 * -1 with 4.3.0 if the file cannot be read, or if the matching line is not of
 * this form: the level or an attribute is unknown, the level does not use that
 * attribute, ...  It was meant to be a policy, and mail must not be sent under
 * a weaker one.  The detail has the reason and the line.
 */
int tlspolicy_find(struct tlspolicy *, const struct table_files *,
    const char *next_hop, struct dsn *why);
void tlspolicy_finish(struct tlspolicy *);

/* What is wrong with the n bytes of an entry's value; NULL if it is valid. */
const char *tlspolicy_fault(const char *value, size_t n);

#endif
