/* SPDX-License-Identifier: ISC */
#ifndef BASE_WIRE_H
#define BASE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A bounds-checked cursor over big-endian bytes.
 *
 * Reading past the end returns zeros and sets bad, which stays set.  So a
 * parser may read a whole record and check bad once.
 */
struct wire {
	const unsigned char *start;
	const unsigned char *at;
	const unsigned char *end;
	bool bad;
};

/* The n bytes are borrowed. */
void wire_init(struct wire *, const void *, size_t);

/* The next number, of 1, 2 or 4 bytes. */
uint8_t wire_u8(struct wire *);
uint16_t wire_u16(struct wire *);
uint32_t wire_u32(struct wire *);

/*
 * The next n bytes, borrowed from the input; NULL (and bad) if there are fewer.
 */
const unsigned char *wire_bytes(struct wire *, size_t n);

/* How many bytes have not been read. */
size_t wire_left(const struct wire *);

#endif
