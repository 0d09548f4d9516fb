/* SPDX-License-Identifier: ISC */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>

/*
 * A growable byte string, owned by whoever declares it; valid when zeroed.
 *
 * After every buf_ call data[len] is a NUL, so text can be passed to the C
 * library; the bytes before it may contain NULs too.  data is NULL until
 * something was appended; buf_text() is never NULL.  There is no limit on the
 * size here: a caller that reads from the network must limit it.
 */
struct buf {
	char *data;
	size_t len;
	size_t cap;
};

/*
 * Each of these appends: n bytes, a C string, one byte, or what printf() would
 * write.
 */
void buf_append(struct buf *, const void *, size_t);
void buf_puts(struct buf *, const char *);
void buf_putc(struct buf *, char);

/* Formats as printf(); appends nothing if that fails. */
void buf_printf(struct buf *, const char *, ...)
    __attribute__((format(printf, 2, 3), nonnull(2)));

/*
 * Makes room for n more bytes at data + len and returns that place.  The caller
 * writes there and adds to len itself.
 */
char *buf_reserve(struct buf *, size_t n);

/* Shortens the string to len bytes, which must not be more than it has. */
void buf_cut(struct buf *, size_t len);

/*
 * The bytes as a C string, "" if there are none.  Valid until the next change.
 */
const char *buf_text(const struct buf *);

/* Frees the bytes; the struct is empty again. */
void buf_finish(struct buf *);

/*
 * The same for a secret: overwrites the bytes first.  If the string has grown,
 * bytes of it may be left where it was before; buf_reserve() all of it first.
 */
void buf_wipe(struct buf *);

#endif
