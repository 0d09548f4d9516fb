/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_QUOTE_H
#define QMAIL_QUOTE_H

#include <stdbool.h>

#include "base/buf.h"

/*
 * Whether the server has to know SMTPUTF8 (RFC 6531) to take this address: its
 * local part, or all of it if it has no '@', is UTF-8 and not just ASCII.
 */
bool quote_needs_smtputf8(const char *address);

/*
 * Quote a mailbox for MAIL and RCPT.
 *
 * Appends the address without angle brackets.  It is split at the last '@'; the
 * local part is put in double quotes by stock's rule, the host part is copied.
 * An address without '@' is copied.  With knows_smtputf8, which says that the
 * server does, UTF-8 alone is no reason for the quotes (RFC 6531 section 3.3).
 * The host part has its A-labels by then: one in UTF-8 was refused.
 *
 * -1 (and nothing appended) if the address could end its command early or start
 * another one: CR or LF anywhere, or a control byte, blank, '<' or '>' in the
 * host part, or in an address without '@'.  RFC 5321 section 4.1.2 has no
 * syntax for those.  And so for a host part that is UTF-8 and not just ASCII.
 */
int quote_mailbox(struct buf *, const char *address, bool knows_smtputf8);

/*
 * The same for MAIL.  The sender of a double bounce, "#@[]", becomes the null
 * reverse-path (RFC 5321 section 4.5.5).
 */
int quote_sender(struct buf *, const char *address, bool knows_smtputf8);

#endif
