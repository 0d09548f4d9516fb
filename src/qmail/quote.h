/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_QUOTE_H
#define QMAIL_QUOTE_H

#include "base/buf.h"

/*
 * Quote a mailbox for the wire.
 *
 * Appends the address, without the angle brackets, as it stands in MAIL and
 * RCPT: split at the last '@', the local part in double quotes by stock's
 * rule, the host part as it is.  Without '@' it is copied.  The double-bounce
 * sender "#@[]" becomes the null reverse-path.
 *
 * -1 (and nothing appended) when the address could end its command early or
 * start another: CR or LF anywhere, or a control byte, blank, '<' or '>' in
 * the host part, or in an address without '@' (RFC 5321 section 4.1.2 has no
 * way to write those).
 */
int quote_mailbox(struct buf *, const char *address);

#endif
