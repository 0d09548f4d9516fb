/* SPDX-License-Identifier: ISC */
#ifndef SMTP_STATE_H
#define SMTP_STATE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The state of a session: the outstanding replies, that is, the commands that
 * were sent and have no reply yet, and the phase that the server is in.  No
 * I/O.
 *
 * Replies come in the order of the commands (RFC 2920 section 3.1), so a reply
 * always belongs to the oldest outstanding command.  Commands are sent in the
 * order of the enum, and a new sequence begins only when all replies were read.
 * So a count for each kind of command is enough.
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
 *   MAIL_DATA   END, with a recipient      2yz              READY
 *                                          another          OPEN
 *               EMPTY_END, without one     any              OPEN
 *
 * Sending the end of mail data changes the phase to OPEN.  With PIPELINING,
 * RCPT and DATA are sent before the reply to MAIL.  If MAIL is then refused,
 * the replies to them come in phase READY, where only a 354 changes the phase.
 * Input that is not a reply, no reply at all, or one reply too many leads from
 * each phase to LOST.
 */

enum smtp_command {
	SMTP_COMMAND_MAIL,
	SMTP_COMMAND_RCPT,
	SMTP_COMMAND_DATA,
	SMTP_COMMAND_END,       /* the end of mail data */
	SMTP_COMMAND_EMPTY_END, /* the same, if no recipient was accepted */
	SMTP_COMMAND_RSET,
	SMTP_COMMAND_NONE
};

enum smtp_phase {
	SMTP_PHASE_READY,     /* no transaction is open */
	SMTP_PHASE_OPEN,      /* one is, or may be for the server */
	SMTP_PHASE_MAIL_DATA, /* what is sent now is mail data */
	SMTP_PHASE_LOST       /* out of sync: nothing can be sent */
};

/* Valid when zeroed: READY, nothing outstanding. */
struct smtp_state {
	enum smtp_phase phase;
	size_t outstanding[SMTP_COMMAND_NONE];
};

/* The command was sent, or put into the output buffer. */
void smtp_state_sent(struct smtp_state *, enum smtp_command);

/* The oldest outstanding command, or SMTP_COMMAND_NONE. */
enum smtp_command smtp_state_oldest(const struct smtp_state *);

/* How many commands are outstanding. */
size_t smtp_state_count(const struct smtp_state *);

/* The oldest outstanding command got a reply with this code. */
void smtp_state_replied(struct smtp_state *, int code);

/* Client and server are out of sync. */
void smtp_state_lost(struct smtp_state *);

/* Whether the server takes what is sent for a command. */
bool smtp_state_takes_commands(const struct smtp_state *);

/*
 * Whether the server may or may not have taken responsibility for the message:
 * all of the mail data and its end were sent, there was a recipient, and no
 * reply that decides it was read (RFC 5321 section 4.5.3.2.6, RFC 1047).
 */
bool smtp_state_is_in_doubt(const struct smtp_state *);

#endif
