/* SPDX-License-Identifier: ISC */
#ifndef DNS_NAME_H
#define DNS_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "base/wire.h"

/* Domain names, as text and in messages. */

#define DNS_NAME_SIZE 256  /* bytes of text without trailing dot, with NUL */
#define DNS_HEADER_SIZE 12 /* bytes; no name of a message is inside */

/*
 * A name in wire format (RFC 1035 section 3.1), not compressed: for each label
 * its length and its bytes, and the empty label of the root at the end.
 */
struct dns_name {
	unsigned char byte[255];
	size_t len;
};

/*
 * Can this name exist?  It is absolute, with or without a dot at its end; "" is
 * the root.  Bytes are taken as they are, without escapes.  False for an empty
 * label, a label of more than 63 bytes, or more than 253 bytes in all.
 */
bool dns_name_is_valid(const char *name);

/*
 * Can this name be asked for?  Only one of letters, digits and -_./ and *
 * can, so none that needs escapes.
 */
bool dns_name_is_askable(const char *name);

/* Parses text as dns_name_is_valid() describes it; false if it is not valid. */
bool dns_name_from_text(struct dns_name *, const char *);

/*
 * Writes the name into text, which has DNS_NAME_SIZE bytes.  Escapes (RFC 1035
 * section 5.1) are used only for dots inside labels, backslashes, and bytes
 * other than printable non-blank ASCII.  A name that does not fit is "?".
 */
void dns_name_to_text(const struct dns_name *, char *text);

/* ASCII case does not matter (RFC 4343), here and in the next function. */
bool dns_name_equal(const struct dns_name *, const struct dns_name *);

/* Is the name the zone's own name, or below it? */
bool dns_name_is_within(const struct dns_name *, const struct dns_name *zone);

/*
 * Reads a name, which may be compressed (RFC 1035 section 4.1.4), from a
 * message that begins where the cursor's buffer begins.  A malformed name sets
 * bad in the cursor.
 */
void dns_name_read(struct wire *, struct dns_name *);

#endif
