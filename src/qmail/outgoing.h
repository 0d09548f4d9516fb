/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_OUTGOING_H
#define QMAIL_OUTGOING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/dsn.h"
#include "base/ip.h"
#include "qmail/table.h"

/*
 * Which address of ours connections to a destination come from
 * (qmail-remote-control(5), control/outgoingip and outgoingip6).
 *
 * A table (qmail/table.h) of lines "next-hop:address" and "address", to be read
 * with is_strict and has_addresses; one file for each address family.
 */
struct outgoing {
	bool is_given;   /* false: the system chooses the address */
	struct ip ip;    /* if it is given */
	struct buf line; /* the one that matches, for a person; or empty */
};

/*
 * Finds our address for a next hop: the relay if there is a route, otherwise
 * the host.  The struct has to be zeroed, and then to be finished in any case.
 *
 * Brackets around a next hop are ignored.  An address may have brackets, and a
 * comment may follow.  The unspecified address (0.0.0.0, ::) leaves the choice
 * to the system, as if no line matched.
 *
 * -1 with 4.3.0 if the file cannot be read, or if the matching line has
 * anything but an address of this family that can be connected from: then the
 * detail has that line.
 */
int outgoing_find(struct outgoing *, const struct table_files *, bool is_v4,
    const char *next_hop, struct dsn *why);

/* Frees the line, also after a failure. */
void outgoing_finish(struct outgoing *);

/*
 * Parses the n bytes of an entry's value.  Returns what is wrong with it; NULL
 * if it is valid.  *is_given is false for the unspecified address.
 */
const char *outgoing_parse(const char *value, size_t n, bool is_v4, struct ip *,
    bool *is_given);

#endif
