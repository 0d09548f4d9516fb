/* SPDX-License-Identifier: ISC */
#ifndef QMAIL_QUOTE_H
#define QMAIL_QUOTE_H

#include "base/buf.h"

/*
 * Quote a mailbox for the wire.
 *
 * Appends the address, without the angle brackets, as it stands in MAIL and
 * RCPT: split at the last '@', the local part in double quotes by stock's
 * rule, the host part as it is.  Without '@' it is copied.
 *
 * -1 (and nothing appended) when the address could end its command early or
 * start another: CR or LF anywhere, or a control byte, blank, '<' or '>' in
 * the host part, or in an address without '@' (RFC 5321 section 4.1.2 has no
 * way to write those).
 */
int quote_mailbox(struct buf *, const char *address);

/*
 * The same for MAIL: the sender of a double bounce, "#@[]", becomes the null
 * reverse-path (RFC 5321 section 4.5.5).
 */
int quote_sender(struct buf *, const char *address);

#endif
