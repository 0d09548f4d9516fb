/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_QUOTE_H
#define QMAIL_QUOTE_H

#include "base/buf.h"

/*
 * Quote a mailbox for MAIL and RCPT.
 *
 * Appends the address without angle brackets.  It is split at the last '@'; the
 * local part is put in double quotes by stock's rule, the host part is copied.
 * An address without '@' is copied.
 *
 * -1 (and nothing appended) if the address could end its command early or start
 * another one: CR or LF anywhere, or a control byte, blank, '<' or '>' in the
 * host part, or in an address without '@'.  RFC 5321 section 4.1.2 has no
 * syntax for those.
 */
int quote_mailbox(struct buf *, const char *address);

/*
 * The same for MAIL.  The sender of a double bounce, "#@[]", becomes the null
 * reverse-path (RFC 5321 section 4.5.5).
 */
int quote_sender(struct buf *, const char *address);

#endif
