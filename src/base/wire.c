/* SPDX-License-Identifier: ISC */
#include "base/wire.h"

void
wire_init(struct wire *w, const void *data, size_t n)
{
	w->start = data;
	w->at = w->start;
	w->end = n > 0 ? w->start + n : w->start;
	w->bad = false;
}

size_t
wire_left(const struct wire *w)
{
	return (size_t)(w->end - w->at);
}

const unsigned char *
wire_bytes(struct wire *w, size_t n)
{
	const unsigned char *here = w->at;

	/* After one failure all further reads fail. */
	if (w->bad || n > wire_left(w)) {
		w->bad = true;
		return NULL;
	}
	if (n > 0)
		w->at += n;
	return here;
}

uint8_t
wire_u8(struct wire *w)
{
	const unsigned char *p = wire_bytes(w, 1);

	return p == NULL ? 0 : p[0];
}

uint16_t
wire_u16(struct wire *w)
{
	const unsigned char *p = wire_bytes(w, 2);

	return p == NULL ? 0 : (uint16_t)(p[0] << 8 | p[1]);
}

uint32_t
wire_u32(struct wire *w)
{
	const unsigned char *p = wire_bytes(w, 4);

	if (p == NULL)
		return 0;
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}
