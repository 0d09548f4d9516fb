/* SPDX-License-Identifier: ISC */
#ifndef SMTP_REPLY_H
#define SMTP_REPLY_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Parse one reply (RFC 5321 section 4.2).
 *
 * The parser is fed bytes and does no I/O, so the same code serves the
 * dialogue, the unit tests and the fuzzer.  A line of a reply is three digits,
 * and then '-' if another line follows, or anything but a digit on the last
 * line.  All lines have the same code.  A line ends at LF; CRs are ignored.
 *
 * A line that does not begin with three digits has no code; an empty line has
 * none either.  Some servers send such lines before a reply and inside it.
 * They are skipped, but kept in the text for the report, except for empty ones.
 *
 * A reply is malformed if it has a fourth digit, different codes, or more than
 * SMTP_REPLY_MAX bytes, skipped lines included.
 */

#define SMTP_REPLY_TEXT 5000      /* bytes kept for the report */
#define SMTP_REPLY_MAX (1 << 20)  /* bytes in all */
#define SMTP_REPLY_LINE_SIZE 1000 /* bytes of one line kept */

enum smtp_reply_state {
	SMTP_REPLY_MORE, /* more bytes are needed */
	SMTP_REPLY_LINE, /* a line with a code ended, and another follows */
	SMTP_REPLY_DONE, /* the last line ended */
	SMTP_REPLY_MALFORMED
};

/* Valid when zeroed, or after smtp_reply_reset(). */
struct smtp_reply {
	int code;     /* 0 until the first line has one */
	size_t size;  /* bytes read */
	size_t lines; /* complete lines with a code */

	/* The current line, or the one that has just ended. */
	size_t column; /* bytes so far, CRs included */
	bool line_has_no_code;
	int line_code;
	bool is_continued; /* the code is followed by '-' */
	bool line_is_cut;  /* longer than line[] */
	size_t linelen;
	char line[SMTP_REPLY_LINE_SIZE]; /* text after the code */

	/* For the report: all lines with their codes, ended by LF. */
	size_t len;
	char text[SMTP_REPLY_TEXT];
};

/* Empties it, for the next reply. */
void smtp_reply_reset(struct smtp_reply *);

/*
 * Parses bytes up to the end of one line that has a code.  Returns how many of
 * the n bytes it took, at least one if n is not 0; *state is the state of the
 * reply.  After DONE or MALFORMED the reply must be reset before more is added.
 */
size_t smtp_reply_add(struct smtp_reply *, const char *, size_t n,
    enum smtp_reply_state *state);

/*
 * Skips lines that have no code, for input that comes while no reply is
 * expected: they become part of the next reply.  Returns how many of the n
 * bytes it took.  The byte after them, if any, begins a line that may have a
 * code, or would make the reply too long.
 */
size_t smtp_reply_skip(struct smtp_reply *, const char *, size_t n);

/*
 * Complete lines were read, but none has a code.  Their text shows which kind
 * of server it is.
 */
bool smtp_reply_has_no_code(const struct smtp_reply *);

/*
 * In a complete reply: lines without a code came before the first one with a
 * code.
 */
bool smtp_reply_begins_without_code(const struct smtp_reply *);

/* The first digit of the code: 2, 3, 4, 5, or another; 0 without a code. */
int smtp_reply_class(const struct smtp_reply *);

#endif
