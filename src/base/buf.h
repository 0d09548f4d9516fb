/* SPDX-License-Identifier: ISC */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>

/*
 * A growable byte string that the holder owns; valid when zeroed.
 *
 * After any buf_ call that returns, data[len] is a NUL, so that text can be
 * handed to the C library; the bytes before it may contain NULs too.
 * data is NULL until something was appended; buf_text() is never NULL.
 * Growth is not limited here: a caller that reads from the network limits it.
 */
struct buf {
	char *data;
	size_t len;
	size_t cap;
};

void buf_append(struct buf *, const void *, size_t);
void buf_puts(struct buf *, const char *);
void buf_putc(struct buf *, char);

/* Formats as printf. */
void buf_printf(struct buf *, const char *, ...)
    __attribute__((format(printf, 2, 3), nonnull(2)));

/* Makes room for n more bytes at data + len and returns that place. */
char *buf_reserve(struct buf *, size_t n);

/* Cuts to len bytes; len must not be more than there are. */
void buf_cut(struct buf *, size_t len);

/* The bytes as a C string, "" when there are none. */
const char *buf_text(const struct buf *);

void buf_finish(struct buf *);

#endif
