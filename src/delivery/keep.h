/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_KEEP_H
#define DELIVERY_KEEP_H

#include <stdbool.h>

#include "cache/message.h"
#include "delivery/handoff.h"
#include "delivery/outcome.h"
#include "smtp/session.h"

/*
 * Lets the next delivery have the session of one that has ended.
 *
 * It must find the server waiting for MAIL.  So a session is kept only if its
 * last transaction was delivered (others, and some recipients, may have been
 * refused), no reply is outstanding, and there is no input, not even a line
 * without a code, from the server or from qmail-remote-tls.  A session in which
 * MAIL with parameters was refused is not kept: the next delivery would not
 * know that.
 *
 * On a new connection the session is handed to qmail-remote-cache, by the
 * message "keep" of cache/message.h; on one that was used before, qmail-remote
 * does that when it has read the number of MAIL commands from the pipe for
 * progress (handoff.h).  The handoff has the descriptors.
 *
 * True if the session is kept; then nothing must be sent or read any more.
 * False if it stays the caller's.  Does not wait.  The bytes are room for the
 * message.
 */
bool keep_session(const struct handoff *, struct smtp_session *,
    const struct attempted *last, char bytes[CACHE_MESSAGE_MAX]);

#endif
