/* SPDX-License-Identifier: ISC */
#ifndef DNS_NAME_H
#define DNS_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "base/wire.h"

/*
 * Domain names, as text and as they are in messages.
 */

#define DNS_NAME_SIZE 256  /* text of a name, no trailing dot, with its NUL */
#define DNS_HEADER_SIZE 12 /* of a message: no name begins before it ends */

/*
 * A name as in a message, but not compressed: for each label its length and
 * its bytes, the root's empty one at the end.
 */
struct dns_name {
	unsigned char byte[255];
	size_t len;
};

/*
 * Can there be such a name?  It is absolute, with or without a dot at its end,
 * "" for the root; its bytes are taken as they are, without escapes.  False
 * for an empty label, one of more than 63 bytes, or more than 253 bytes in
 * all.
 */
bool dns_name_is_valid(const char *name);

/*
 * Can this name be asked for?  Those with escapes cannot, and of the rest newer
 * versions of the resolver's library send just letters, digits and -_./ and *.
 */
bool dns_name_is_askable(const char *name);

/*
 * Reads text as dns_name_is_valid() describes it; false if it is not.
 */
bool dns_name_from_text(struct dns_name *, const char *);

/*
 * Makes text of DNS_NAME_SIZE bytes, with escapes (RFC 1035 section 5.1) only
 * for bytes that are no printable ASCII character, blanks, dots inside of
 * labels and backslashes.  Where that does not fit, it is "?".
 */
void dns_name_to_text(const struct dns_name *, char *text);

/* ASCII case does not matter (RFC 4343), here and below. */
bool dns_name_equal(const struct dns_name *, const struct dns_name *);

/* Is it the zone's own name, or one below it? */
bool dns_name_is_within(const struct dns_name *, const struct dns_name *zone);

/*
 * Reads a name, which may be compressed (RFC 1035 section 4.1.4), out of a
 * message that the cursor starts with.  One that is malformed makes the cursor
 * bad.
 */
void dns_name_read(struct wire *, struct dns_name *);

#endif
