/* SPDX-License-Identifier: ISC */
#ifndef SMTP_MAILDATA_H
#define SMTP_MAILDATA_H

#include "smtp/message.h"
#include "smtp/session.h"

/*
 * Send the mail data of a message after the 354 reply to DATA, and read the
 * reply to the end of mail data (RFC 5321 section 4.1.1.4).
 */

/*
 * The outcome of a well-formed reply: 2yz is DONE, 4yz and 5yz are REFUSED, any
 * other code is MALFORMED.
 */
enum smtp_outcome smtp_classify_reply(const struct smtp_reply *);

/*
 * Sends the mail data and its end.  DONE only for a 2yz reply that was read
 * after all of it was written.  If the message cannot be read to its end, the
 * end of mail data is not sent: the outcome is DIED and the message's
 * has_failed is set.  The session's state says whether the end of mail data was
 * sent.
 */
enum smtp_outcome smtp_maildata_send(struct smtp_session *,
    struct smtp_message *);

#endif
