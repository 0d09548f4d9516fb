/* SPDX-License-Identifier: ISC */
#ifndef SMTP_MAILDATA_H
#define SMTP_MAILDATA_H

#include "smtp/message.h"
#include "smtp/session.h"

/*
 * Send the mail data of a message after DATA, or in chunks (BDAT, RFC 3030),
 * and read the reply to its end.
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

/* After 354.  DONE only for a reply read after all of it was written. */
struct smtp_maildata smtp_maildata_send(struct smtp_session *,
    struct smtp_message *);

/*
 * Instead of DATA, when the server offers CHUNKING: chunks follow each other
 * without waiting where it offers PIPELINING as well.  DONE only when every
 * chunk was accepted, the last one after all of it was written.
 */
struct smtp_maildata smtp_maildata_send_chunks(struct smtp_session *,
    struct smtp_message *);

/*
 * A message that is held in memory as one last chunk, with its command, into
 * out, which must have room for SMTP_MAILDATA_CHUNK bytes.  Returns its size.
 */
#define SMTP_MAILDATA_CHUNK (2 * SMTP_MESSAGE_SMALL + 64)
size_t smtp_maildata_chunk(const struct smtp_message *, char *out);

#endif
