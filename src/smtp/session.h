/* SPDX-License-Identifier: ISC */
#ifndef SMTP_SESSION_H
#define SMTP_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "io/stream.h"
#include "smtp/ehlo.h"
#include "smtp/reply.h"
#include "smtp/state.h"

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

/* What is waited for that changes no verdict any more gets so long, at most. */
#define SMTP_CLOSING_TIMEOUT_S 2

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
	/*
	 * The descriptor leads to a process of ours, which has to run before
	 * what has arrived on this machine can be read here.
	 */
	bool is_through_helper;

	struct smtp_state state;
	bool is_closing;
	struct deadline closing;     /* see smtp_session_closing_deadline() */
	uint64_t transactions;       /* begun with MAIL */
	bool has_refused_parameters; /* MAIL with parameters failed */
};

/*
 * A wait with an end.  If we are stopped for a while (SIGSTOP, a paused
 * container), the time can be over when a reply has long been there: so what
 * is on this machine by then counts.
 */
struct smtp_wait {
	struct deadline until;
	bool is_late; /* the time was over, and that was a last look */
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
 * Looks at what has come though no reply is outstanding, without waiting.
 * DONE if that is nothing, but for lines that have no code: those are skipped.
 * MALFORMED for a reply that nobody asked for, or the beginning of one, which
 * is left to be read; DIED when the connection has ended.
 */
enum smtp_outcome smtp_session_expect_silence(struct smtp_session *);

/*
 * Part of a line that has no code has come, and its rest is still to come:
 * only this session can tell that from the beginning of a line.
 */
bool smtp_session_is_within_line(const struct smtp_session *);

/*
 * Shows what came unasked, as far as it is there, as if it were a reply.
 * Always MALFORMED.
 */
enum smtp_outcome smtp_session_show_unsolicited(struct smtp_session *);

/* Moves bytes, as stream_move(); TIMEOUT only after a last look. */
enum stream_status smtp_session_move(struct smtp_session *, struct smtp_wait *);

/*
 * Writes the bytes from *at up to end, as stream_send(); each piece must get
 * on within timeoutremote, and again there is a last look.
 */
enum stream_status smtp_session_send(struct smtp_session *, const char **at,
    const char *end);

/*
 * Reads one whole reply into s->reply.  DONE for any well-formed one.
 */
enum smtp_outcome smtp_session_reply(struct smtp_session *, struct deadline,
    struct smtp_ehlo *ehlo);

/*
 * The connection has ended or broken, as opposed to a server that is silent.
 */
bool smtp_session_has_ended(struct smtp_session *);

/* It was want of memory of ours that broke it. */
bool smtp_session_lacks_memory(const struct smtp_session *);

/* The end of the time for a reply that is waited for from now on. */
struct deadline smtp_session_deadline(const struct smtp_session *);

/*
 * The end of the time for all that changes no verdict any more, from the first
 * call on until smtp_session_make_ready().
 */
struct deadline smtp_session_closing_deadline(struct smtp_session *);

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
 * Makes room for another transaction: reads the outstanding replies, so that
 * none of them is ever taken for the answer to a later command, and sends RSET
 * where a second MAIL could be one too many (RFC 5321 section 4.1.4).  DIED
 * when the session cannot go on; so it is after a 354, since a server that
 * waits for mail data takes commands for it.
 */
enum smtp_outcome smtp_session_make_ready(struct smtp_session *);

/*
 * Sends QUIT if that can be done without waiting, and would not be taken for
 * mail data; nothing can fail.  An outstanding reply to DATA is waited for, no
 * longer than SMTP_CLOSING_TIMEOUT_S: after a 354 QUIT would be mail data.
 */
void smtp_session_quit(struct smtp_session *);

#endif
