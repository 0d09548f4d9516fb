/* SPDX-License-Identifier: ISC */
#define _DEFAULT_SOURCE /* explicit_bzero() */

#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

char *
buf_reserve(struct buf *b, size_t n)
{
	size_t cap = b->cap ? b->cap : 64;

	/* The sum would overflow: let mem_resize() report it. */
	if (n >= SIZE_MAX / 2 - b->len)
		b->data = mem_resize(b->data, SIZE_MAX, 2);
	while (cap < b->len + n + 1)
		cap *= 2;
	if (cap > b->cap) {
		b->data = mem_resize(b->data, cap, 1);
		b->cap = cap;
	}
	b->data[b->len] = '\0';
	return b->data + b->len;
}

void
buf_append(struct buf *b, const void *p, size_t n)
{
	char *end = buf_reserve(b, n);

	if (n)
		memcpy(end, p, n);
	b->len += n;
	b->data[b->len] = '\0';
}

void
buf_puts(struct buf *b, const char *s)
{
	buf_append(b, s, strlen(s));
}

void
buf_putc(struct buf *b, char c)
{
	buf_append(b, &c, 1);
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	size_t room = 64;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(buf_reserve(b, room), room, fmt, args);
	va_end(args);
	if (n >= (int)room) {
		room = (size_t)n + 1;
		va_start(args, fmt);
		n = vsnprintf(buf_reserve(b, room), room, fmt, args);
		va_end(args);
	}
	if (n > 0)
		b->len += (size_t)n;
	b->data[b->len] = '\0';
}

void
buf_cut(struct buf *b, size_t len)
{
	assert(len <= b->len);
	if (!b->data)
		return;
	b->len = len;
	b->data[len] = '\0';
}

const char *
buf_text(const struct buf *b)
{
	return b->data ? b->data : "";
}

void
buf_finish(struct buf *b)
{
	free(b->data);
	*b = (struct buf){ 0 };
}

void
buf_wipe(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->cap);
	buf_finish(b);
}
