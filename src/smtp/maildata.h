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
enum smtp_outcome smtp_judge(const struct smtp_reply *);

enum smtp_maildata_end {
	SMTP_MAILDATA_REPLY,     /* the outcome is that of the server's reply */
	SMTP_MAILDATA_UNREADABLE /* the message could not be read to its end */
};

struct smtp_maildata {
	enum smtp_maildata_end end;
	enum smtp_outcome outcome;
	/*
	 * All of the mail data was handed to the network and no well-formed
	 * reply to its end was read: the server may or may not have it.
	 */
	bool in_doubt;
};

/* DONE only for a reply read after all of it was written. */
struct smtp_maildata smtp_maildata_send(struct smtp_session *,
    struct smtp_message *);

#endif
