/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_RELAY_H
#define QMAIL_RELAY_H

#include <stdbool.h>

#include "base/dsn.h"
#include "qmail/route.h"
#include "qmail/table.h"

/*
 * Find the relay for a message and the credentials for it: by its sender, by
 * its host, and by the relay.
 *
 *	control/authsenders	for the sender: a relay, credentials or both
 *	control/smtpauth	for the relay: credentials
 *	control/smtproutes	for the host: a relay, perhaps with credentials
 *
 * A relay of authsenders counts before that of smtproutes; of the credentials
 * the first of these three counts.  They are for a relay only, never for the MX
 * hosts of a domain: the DNS could name anybody.
 */
struct relay_files {
	struct table_files routes; /* control/smtproutes */
	const char *senders;       /* control/authsenders */
	const char *auth;          /* control/smtpauth */

	/*
	 * For a user who only looks, and may not read files with passwords: is
	 * told of them and goes on without credentials.
	 */
	bool may_lack_rights;
};

/*
 * Finds the relay for a message to host; *route is zeroed, and its login is
 * then what counts.  The sender is NULL if it is not known, and a null sender
 * if it is "", or "#@[]" as that of a double bounce.  For neither of them there
 * is a line in authsenders.
 *
 * -1 as authsenders_find(), route_find(), smtpauth_find() and
 * login_read_token().
 */
int relay_find(const struct relay_files *, const char *host, const char *sender,
    struct route *, struct dsn *why);

#endif
