/* SPDX-License-Identifier: ISC */
#ifndef SMTP_REPLY_H
#define SMTP_REPLY_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Assemble one reply from bytes (RFC 5321 section 4.2).
 *
 * The parser is fed bytes and never does I/O, so the same code serves the
 * dialogue, the unit tests and the fuzzer.  A line of a reply is three digits
 * and then '-' where another line follows, or anything but a digit on the last
 * one; all of them have the same code.  A line ends at LF; CRs are dropped.
 *
 * A line that does not begin with three digits has no code, an empty one too.
 * Servers are known that send such lines before a reply and inside it.  They
 * are skipped, and stay in the text that is shown, but for empty ones.
 *
 * Malformed is a reply with a fourth digit behind three, with different codes,
 * or with more than SMTP_REPLY_MAX bytes, skipped ones included.
 */

#define SMTP_REPLY_TEXT 5000      /* bytes of text kept, the rest is read */
#define SMTP_REPLY_MAX (1 << 20)  /* bytes in all */
#define SMTP_REPLY_LINE_SIZE 1000 /* of a line kept for looking at */

enum smtp_reply_state {
	SMTP_REPLY_MORE, /* all bytes taken, more are needed */
	SMTP_REPLY_LINE, /* a line with a code ended, and another follows */
	SMTP_REPLY_DONE, /* the last line ended */
	SMTP_REPLY_MALFORMED
};

/* Valid when zeroed, or after smtp_reply_reset(). */
struct smtp_reply {
	int code;     /* 0 until the first line's is known */
	size_t size;  /* bytes taken, all of them */
	size_t lines; /* that ended and have a code */

	/* The line under way, or the one that has just ended. */
	size_t column; /* its bytes so far, CRs included */
	bool line_has_no_code;
	int line_code;
	bool is_continued; /* its code is followed by '-' */
	bool line_is_cut;  /* it was longer than what line[] keeps */
	size_t linelen;
	char line[SMTP_REPLY_LINE_SIZE]; /* text behind the code */

	/* All lines with their codes, ended by LF; for the report. */
	size_t len;
	char text[SMTP_REPLY_TEXT];
};

void smtp_reply_reset(struct smtp_reply *);

/*
 * Takes bytes up to the end of one line that has a code.  Returns how many of
 * the n it took, at least one if n is not 0; *state says where the reply
 * stands.  After DONE or MALFORMED the reply must be reset before more is
 * added.
 */
size_t smtp_reply_add(struct smtp_reply *, const char *, size_t n,
    enum smtp_reply_state *state);

/*
 * Takes lines that have no code, and no others.  For what comes while no reply
 * is waited for: it becomes part of the next one.  Returns how many of the n
 * bytes it took; the next one, if any, begins a line that may have a code, or
 * makes the reply too long.
 */
size_t smtp_reply_skip(struct smtp_reply *, const char *, size_t n);

/* Whole lines have come, and none of them has a code: it shows who is there. */
bool smtp_reply_has_no_code(const struct smtp_reply *);

/* Of a whole reply: text without a code came before its first line. */
bool smtp_reply_begins_without_code(const struct smtp_reply *);

/* First digit of the code: 2, 3, 4, 5, or another. */
int smtp_reply_class(const struct smtp_reply *);

#endif
