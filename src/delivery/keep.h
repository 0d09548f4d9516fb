/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_KEEP_H
#define DELIVERY_KEEP_H

#include <stdbool.h>

#include "cache/message.h"
#include "delivery/handoff.h"
#include "delivery/outcome.h"
#include "smtp/session.h"

/*
 * Hands the session of a delivery that has ended over to qmail-remote-cache, by
 * the message "keep" of cache/message.h.
 *
 * The next delivery must find the server waiting for MAIL.  So a session is
 * handed over only if its last transaction was delivered (others, and some
 * recipients, may have been refused), no reply is outstanding, and there is no
 * input, not even a line without a code, from the server or from
 * qmail-remote-tls.  A session in which MAIL with parameters was refused is
 * not: the next delivery would not know that.
 *
 * The handoff has the descriptors.  True if the session is the broker's; then
 * nothing must be sent or read any more.  False if it stays the caller's.
 * Does not wait.  The bytes are room for the message.
 */
bool keep_session(const struct handoff *, struct smtp_session *,
    const struct attempted *last, char bytes[CACHE_MESSAGE_MAX]);

#endif
