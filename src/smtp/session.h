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
 * One SMTP session over a stream: greeting, EHLO or HELO, STARTTLS, QUIT.
 *
 * Each step sends its command and reads its reply, under one deadline for the
 * whole reply.  Bytes that arrive before a command is sent cannot be its reply:
 * then the session is malformed.  So no reply is ever taken for the reply to
 * another command.
 */

/* Longest wait for a reply before MAIL (RFC 5321 section 4.5.3.2.1). */
#define SMTP_HELLO_TIMEOUT_S 300

/* Longest wait for the reply to MAIL on a connection that was used before. */
#define SMTP_REUSED_TIMEOUT_S 30

/* Longest wait for replies that cannot change the outcome any more. */
#define SMTP_CLOSING_TIMEOUT_S 2

/* Zero must not mean success. */
enum smtp_outcome {
	SMTP_DIED,        /* the connection was closed, broke, or timed out */
	SMTP_MALFORMED,   /* not a reply, or an unsolicited one */
	SMTP_UNSOLICITED, /* unexpected input at EHLO, HELO or STARTTLS */
	SMTP_STALE,       /* a connection that was used before is not usable */
	SMTP_REFUSED,     /* a well-formed reply with another code */
	SMTP_DONE         /* the expected reply */
};

struct smtp_session {
	struct stream stream;
	struct smtp_reply reply; /* the last one, complete or not */
	bool in_reply;           /* it is not complete yet */
	struct smtp_ehlo ehlo;   /* from the last EHLO; empty after HELO */
	unsigned long timeout_s; /* seconds for a whole reply */
	/*
	 * The descriptor leads to qmail-remote-tls, which has to run before
	 * data that has arrived on this machine can be read here.
	 */
	bool is_through_helper;

	struct smtp_state state;
	bool is_closing;
	struct deadline closing;     /* see smtp_session_closing_deadline() */
	uint64_t mails;              /* MAIL commands on this connection */
	bool has_refused_parameters; /* MAIL with SIZE or BODY failed */

	/*
	 * The connection was used before, and somebody can make a new one if it
	 * turns out not to be usable.  False again after the first transaction.
	 */
	bool is_reused;
	/* Gets one byte before any mail data is sent; -1: none is wanted. */
	int progress;
};

/*
 * A wait with a deadline.  If we are stopped for some time (SIGSTOP, a paused
 * container), the deadline can pass although a reply has arrived long before.
 * So after the deadline there is one last look at what is on this machine.
 */
struct smtp_wait {
	struct deadline until;
	bool is_late; /* the last look was done */
};

/* fd must be non-blocking, and stays the caller's to close. */
void smtp_session_init(struct smtp_session *, int fd, unsigned long timeout_s);

/*
 * Parses the buffered input, without waiting, until a reply is complete.
 * Returns MORE (never LINE), DONE or MALFORMED.  Every line after the first is
 * added to ehlo, if that is not NULL.
 */
enum smtp_reply_state smtp_session_parse(struct smtp_session *,
    struct smtp_ehlo *ehlo);

/*
 * Checks, without waiting, that there is no input while no reply is
 * outstanding.  DONE if there is none except lines without a code, which are
 * skipped.  MALFORMED for an unsolicited reply, or the beginning of one, which
 * is left to be read.  DIED if the connection has ended.
 */
enum smtp_outcome smtp_session_expect_silence(struct smtp_session *);

/*
 * Whether a line without a code has been read in part.  Only this session can
 * tell the rest of it from the beginning of a line.
 */
bool smtp_session_is_within_line(const struct smtp_session *);

/*
 * Puts unsolicited input, as far as it has arrived, into the reply, so that the
 * report shows it.  Always returns MALFORMED.
 */
enum smtp_outcome smtp_session_show_unsolicited(struct smtp_session *);

/* As stream_move(); STREAM_TIMEOUT only after a last look. */
enum stream_status smtp_session_move(struct smtp_session *, struct smtp_wait *);

/*
 * As stream_send(); each piece must be sent within timeoutremote, and again
 * there is a last look.
 */
enum stream_status smtp_session_send(struct smtp_session *, const char **at,
    const char *end);

/*
 * Reads one whole reply into s->reply.  DONE if it is well-formed, whatever its
 * code; otherwise MALFORMED or DIED.
 */
enum smtp_outcome smtp_session_reply(struct smtp_session *, struct deadline,
    struct smtp_ehlo *ehlo);

/*
 * Whether the connection was closed or broke; false if the server is only
 * silent.
 */
bool smtp_session_has_ended(struct smtp_session *);

/* Whether it failed because this machine ran out of memory. */
bool smtp_session_lacks_memory(const struct smtp_session *);

/* The deadline for a reply that is expected from now on: timeoutremote. */
struct deadline smtp_session_deadline(const struct smtp_session *);

/*
 * The same for the first reply on a connection that was used before, which is
 * not waited for as long: a firewall that has forgotten the connection does not
 * say so.
 */
struct deadline smtp_session_reused_deadline(const struct smtp_session *);

/*
 * The deadline for all replies that cannot change the outcome any more.  It
 * starts at the first call and is the same until smtp_session_make_ready().
 */
struct deadline smtp_session_closing_deadline(struct smtp_session *);

/*
 * Sends one command line and reads its reply, both before the deadline.  DONE
 * if the reply is well-formed, whatever its code is; UNSOLICITED if there is
 * input before the line is sent.  verb and argument are the line, without its
 * end; one of at most STREAM_OUT_SIZE bytes can be sent.
 */
enum smtp_outcome smtp_session_command(struct smtp_session *, const char *verb,
    const char *argument, struct deadline);

/* The deadline for a reply before MAIL: at most SMTP_HELLO_TIMEOUT_S. */
struct deadline smtp_session_hello_deadline(const struct smtp_session *);

/* Reads the greeting.  DONE for 220. */
enum smtp_outcome smtp_session_greeting(struct smtp_session *);

/*
 * Sends EHLO or HELO.  DONE for 250 and nothing else; UNSOLICITED if there is
 * input before the command is sent, or after its reply.  The extensions of an
 * earlier EHLO are forgotten (RFC 3207 section 4.2).
 */
enum smtp_outcome smtp_session_ehlo(struct smtp_session *,
    const char *helohost);
enum smtp_outcome smtp_session_helo(struct smtp_session *,
    const char *helohost);

/*
 * Sends STARTTLS; the second function reads the reply.  Both are to be done
 * before the same deadline.
 *
 * DONE when it is sent; UNSOLICITED if there is input before that.  Then DONE
 * for 220 and not one byte more, whether it is in the buffer or still in the
 * socket (CVE-2011-0411): otherwise MALFORMED.
 */
enum smtp_outcome smtp_session_send_starttls(struct smtp_session *,
    struct deadline);
enum smtp_outcome smtp_session_starttls_reply(struct smtp_session *,
    struct deadline);

/*
 * Prepares for another transaction.  Reads the outstanding replies, so that
 * none of them is taken for the reply to a later command, and sends RSET if a
 * transaction may be open, because MAIL must not be sent inside one (RFC 5321
 * section 4.1.4).  DONE, or DIED if the session cannot go on.  After a 354 it
 * cannot: the server would take commands for mail data.
 */
enum smtp_outcome smtp_session_make_ready(struct smtp_session *);

/*
 * Sends QUIT, if that is possible without waiting and if the server would not
 * take it for mail data.  Errors are ignored.  An outstanding reply to DATA is
 * waited for, at most SMTP_CLOSING_TIMEOUT_S: after a 354, QUIT would be mail
 * data.
 */
void smtp_session_quit(struct smtp_session *);

#endif
