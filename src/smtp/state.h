/* SPDX-License-Identifier: ISC */
#ifndef SMTP_STATE_H
#define SMTP_STATE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Where a session stands: the list of outstanding replies, that is, of the
 * commands that were sent and are not answered yet, and the phase that the
 * server is in when they are.  No I/O.
 *
 * Replies come in the order of the commands (RFC 2920 section 3.1), so a reply
 * is always the one to the oldest outstanding command.  Commands are sent in
 * the order of the enum, and nothing is begun anew before all are answered: so
 * the list is a count for each kind.
 *
 *   phase       command sent               reply to it      next phase
 *   ---------   ------------------------   --------------   ----------
 *   READY       MAIL                       2yz              OPEN
 *                                          another          READY
 *   OPEN        RCPT                       any              OPEN
 *               DATA                       354              MAIL_DATA
 *                                          another          OPEN
 *               RSET                       250              READY
 *                                          another          LOST
 *   MAIL_DATA   END, for somebody          2yz              READY
 *                                          another          OPEN
 *               EMPTY_END, for nobody      any              OPEN
 *
 * As soon as the end of mail data is sent the phase is OPEN.  With PIPELINING,
 * RCPT and DATA are sent before MAIL is answered.  If MAIL is refused then,
 * they are answered in READY, which only a 354 changes.  From each phase what
 * is no reply, none at all, or one too many leads to LOST.
 */

enum smtp_command {
	SMTP_COMMAND_MAIL,
	SMTP_COMMAND_RCPT,
	SMTP_COMMAND_DATA,
	SMTP_COMMAND_END,       /* the end of mail data */
	SMTP_COMMAND_EMPTY_END, /* the same, where no recipient was accepted */
	SMTP_COMMAND_RSET,
	SMTP_COMMAND_NONE
};

enum smtp_phase {
	SMTP_PHASE_READY,     /* no transaction is open */
	SMTP_PHASE_OPEN,      /* one is, or the server may believe it */
	SMTP_PHASE_MAIL_DATA, /* what is sent now is text */
	SMTP_PHASE_LOST       /* nothing that is sent now means anything */
};

/* Valid when zeroed: READY, nothing outstanding. */
struct smtp_state {
	enum smtp_phase phase;
	size_t outstanding[SMTP_COMMAND_NONE];
};

/* The command was handed to the network, or to the output buffer. */
void smtp_state_sent(struct smtp_state *, enum smtp_command);

/* The oldest outstanding command; NONE if there is none. */
enum smtp_command smtp_state_oldest(const struct smtp_state *);

/* How many commands are outstanding. */
size_t smtp_state_count(const struct smtp_state *);

/* The oldest outstanding command was answered with this code. */
void smtp_state_replied(struct smtp_state *, int code);

/* Client and server are not in step any more. */
void smtp_state_lost(struct smtp_state *);

/* What is sent is taken for a command. */
bool smtp_state_takes_commands(const struct smtp_state *);

/*
 * The server may have taken responsibility for the message, and may not have:
 * all of the mail data and its end were handed to the network, there was a
 * recipient, and no reply was read that decides it (RFC 5321 section 4.5.3.2.6,
 * RFC 1047).
 */
bool smtp_state_is_in_doubt(const struct smtp_state *);

#endif
