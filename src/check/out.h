/* SPDX-License-Identifier: ISC */
#ifndef CHECK_OUT_H
#define CHECK_OUT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Print on standard output, for a person at a terminal or for a program.
 *
 * Text comes from servers and the DNS, so bytes that are not printable ASCII
 * are shown as '?' in text, and as escapes in JSON (RFC 8259).
 */
struct out {
	bool is_terminal;     /* what is waited for is shown meanwhile */
	bool is_coloured;     /* only with is_terminal */
	void (*failed)(void); /* called when nothing can be printed any more */
	bool is_waiting;      /* the last line is of out_wait() */
	bool needs_comma;     /* JSON: before the next value */
};

/* Bytes, or a C string. */
void out_bytes(const char *, size_t);
void out_text(const char *);

/* Removes what out_wait() has shown; called before a line is begun. */
void out_begin(struct out *);

/* Ends a line, and prints it. */
void out_end(struct out *);

/* Shows what is waited for, until the next line; only at a terminal. */
void out_wait(struct out *, const char *what);

enum out_colour { OUT_PLAIN, OUT_GREEN, OUT_YELLOW, OUT_RED };

/* Prints what follows in this colour, if colours are used. */
void out_colour(const struct out *, enum out_colour);

/*
 * JSON: opens an object '{' or an array '[', closes it, or prints a value.  The
 * key is NULL for an element of an array.
 */
void out_open(struct out *, const char *key, char bracket);
void out_close(struct out *, char bracket);
void out_json_bytes(struct out *, const char *key, const char *, size_t);
void out_json_text(struct out *, const char *key, const char *);
void out_json_number(struct out *, const char *key, long long);
void out_json_bool(struct out *, const char *key, bool);

/* An array of the lines of a text. */
void out_json_lines(struct out *, const char *key, const char *, size_t);

#endif
