/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_RECORD_H
#define DELIVERY_RECORD_H

#include "delivery/handoff.h"
#include "delivery/outcome.h"
#include "smtp/session.h"

/*
 * Writes the records of an outcome, with what is known of the server and of
 * TLS behind the message's, into the report; that is not ended yet.  Where the
 * connection died under TLS, the helper is asked how.
 */
void record_outcome(const struct outcome *, const struct handoff *,
    struct smtp_session *);

#endif
