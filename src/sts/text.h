/* SPDX-License-Identifier: ISC */
#ifndef STS_TEXT_H
#define STS_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/*
 * A piece of text that is not ended by a NUL: it may contain any bytes.  They
 * are borrowed.
 */
struct sts_text {
	const char *at; /* not NULL */
	size_t n;
};

struct sts_text sts_text_of(const struct buf *);

/*
 * Takes the bytes up to the separator as the part, and removes both.  Returns
 * false if there is no separator: then the part is all of the rest.
 */
bool sts_text_cut(struct sts_text *rest, char separator, struct sts_text *part);

/*
 * Takes the next line, which ends with LF or CRLF or at the end of the text.
 * The line end is not part of it.  False if nothing is left.
 */
bool sts_text_line(struct sts_text *rest, struct sts_text *line);

/* Without the blanks and tabs at both ends. */
struct sts_text sts_text_trim(struct sts_text);

/* Whether it is this word, with the same case or with any. */
bool sts_text_is(struct sts_text, const char *word);
bool sts_text_is_like(struct sts_text, const char *word);

/* Removes this word at the start; false if the text does not begin with it. */
bool sts_text_skip(struct sts_text *, const char *word);

#endif
