/* SPDX-License-Identifier: ISC */
#ifndef SMTP_SESSION_H
#define SMTP_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/stream.h"
#include "smtp/ehlo.h"
#include "smtp/reply.h"

/*
 * One session over a stream: greeting, EHLO or HELO, STARTTLS, QUIT.
 *
 * Each step sends its command and reads its reply, under one deadline for
 * the whole reply.  Bytes that came before a command was sent can only be
 * the reply to something else: the session is malformed then, so that no
 * reply is ever taken for the answer to another command.
 */

/* RFC 5321 section 4.5.3.2.1: what the steps before MAIL get at most. */
#define SMTP_HELLO_TIMEOUT_S 300

/* What nobody has set is no success. */
enum smtp_outcome {
	SMTP_DIED,        /* closed, reset, or out of time */
	SMTP_MALFORMED,   /* no reply, or one that nobody asked for */
	SMTP_UNSOLICITED, /* of a greeting command: more than its reply came */
	SMTP_REFUSED,     /* a well-formed reply, but another one */
	SMTP_DONE         /* the reply that the step wants */
};

struct smtp_session {
	struct stream stream;
	struct smtp_reply reply; /* the last one, whole or not */
	bool in_reply;           /* part of it has come, not yet all */
	struct smtp_ehlo ehlo;   /* of the last EHLO, empty after HELO */
	unsigned long timeout_s; /* for one whole reply: timeoutremote */

	uint64_t transactions; /* begun with MAIL */

	/* What an ended transaction left behind: see smtp_session_settle(). */
	size_t owed;    /* replies that will come, and that nobody waits for */
	bool owes_data; /* where owed: the one to DATA is among them */
	bool is_open;   /* the server may take it for still going on */
	bool is_cut;    /* mail data was not ended, or an answer did not come */
};

/* fd is non-blocking; it stays the caller's. */
void smtp_session_init(struct smtp_session *, int fd, unsigned long timeout_s);

/*
 * Takes what input there is, without waiting, until a reply is whole.
 * MORE (never LINE), DONE or MALFORMED.  ehlo, if not NULL, is given every
 * line after the first.
 */
enum smtp_reply_state smtp_session_parse(struct smtp_session *,
    struct smtp_ehlo *ehlo);

/*
 * Shows what came unasked, as far as it is there, as if it were a reply.
 * Always MALFORMED.
 */
enum smtp_outcome smtp_session_unasked(struct smtp_session *);

/*
 * Reads one whole reply into s->reply.  DONE for any well-formed one.
 */
enum smtp_outcome smtp_session_reply(struct smtp_session *, struct deadline,
    struct smtp_ehlo *ehlo);

/*
 * The last reply is "bad sequence of commands", of a server that offers
 * PIPELINING.  To a command that came along with others it speaks of the
 * server, which cannot do what it offers: one by one it would have taken them.
 * So that is no refusal of the mail.
 */
bool smtp_session_is_out_of_sequence(const struct smtp_session *);

/*
 * The connection has ended or broken, as opposed to a server that is silent.
 */
bool smtp_session_has_ended(struct smtp_session *);

/* It was want of memory of ours that broke it. */
bool smtp_session_lacks_memory(const struct smtp_session *);

/* The end of the time for a reply that is waited for from now on. */
struct deadline smtp_session_deadline(const struct smtp_session *);

/* The greeting must be 220. */
enum smtp_outcome smtp_session_greeting(struct smtp_session *);

/*
 * EHLO and HELO must be answered by 250, and by nothing more: UNSOLICITED
 * where bytes are there before the command is sent, or behind its reply.
 * What was learnt from an earlier EHLO is forgotten (RFC 3207 section 4.2).
 */
enum smtp_outcome smtp_session_ehlo(struct smtp_session *,
    const char *helohost);
enum smtp_outcome smtp_session_helo(struct smtp_session *,
    const char *helohost);

/*
 * STARTTLS must be answered by 220, and by not one byte more, be it read
 * already or still in the socket (CVE-2011-0411): MALFORMED otherwise.
 * UNSOLICITED where bytes are there before it is sent.
 */
enum smtp_outcome smtp_session_starttls(struct smtp_session *);

/*
 * Makes room for another transaction: reads the replies that are owed, so
 * that none of them is ever taken for the answer to a later command, and
 * sends RSET where a second MAIL could be one too many (RFC 5321 section
 * 4.1.4).  DIED when the session cannot go on; so it is after an owed 354,
 * since a server that waits for mail data takes commands for it.
 */
enum smtp_outcome smtp_session_settle(struct smtp_session *);

/*
 * Sends QUIT if that can be done without waiting, and would not be taken for
 * mail data; nothing can fail.  A reply to DATA that is still owed is waited
 * for, with all others in the time of one: after a 354 QUIT would be mail data.
 */
void smtp_session_quit(struct smtp_session *);

#endif
