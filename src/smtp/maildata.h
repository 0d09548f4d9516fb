/* SPDX-License-Identifier: ISC */
#ifndef SMTP_MAILDATA_H
#define SMTP_MAILDATA_H

#include "smtp/message.h"
#include "smtp/session.h"

/*
 * Send the mail data of a message after DATA was answered by 354, and read
 * the reply to its end.
 */

/* A well-formed reply of 2yz is DONE, 4yz or 5yz REFUSED, others MALFORMED. */
enum smtp_outcome smtp_classify_reply(const struct smtp_reply *);

/*
 * DONE only for a reply of 2yz read after all of it was written.  Where the
 * message cannot be read to its end it is not ended: DIED, and the message says
 * has_failed.  The session's state tells whether its end has left.
 */
enum smtp_outcome smtp_maildata_send(struct smtp_session *,
    struct smtp_message *);

#endif
