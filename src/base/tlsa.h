/* SPDX-License-Identifier: ISC */
#ifndef BASE_TLSA_H
#define BASE_TLSA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * TLSA records (RFC 6698): what the DNS says of the certificate or key of a
 * server.
 */

#define TLSA_RECORDS_MAX 64
#define TLSA_BYTES_MAX ((size_t)48 << 10) /* of all records together */

/* Usages that a client of SMTP uses (RFC 7672 section 3.1). */
#define TLSA_USAGE_TA 2 /* DANE-TA: a trust anchor */
#define TLSA_USAGE_EE 3 /* DANE-EE: the certificate of the server */

struct tlsa {
	uint8_t usage, selector, matching;
	size_t at, n; /* where its data is in the set */
};

/* A set of records with their data; valid when zeroed. */
struct tlsa_set {
	struct tlsa *record;
	size_t n;
	struct buf data;
};

/*
 * Adds a record with a copy of its n bytes of data.  False if the set is full;
 * then it does not change.
 */
bool tlsa_add(struct tlsa_set *, uint8_t usage, uint8_t selector,
    uint8_t matching, const void *data, size_t n);

/* The data of record i. */
const unsigned char *tlsa_data(const struct tlsa_set *, size_t i);

/*
 * Whether a client can use record i, as far as that can be seen without
 * parsing a certificate: usage 2 or 3, selector 0 or 1, matching type 0, or 1
 * or 2 with the length of that digest (RFC 7672 sections 2.2 and 3.1.3).
 */
bool tlsa_is_usable(const struct tlsa_set *, size_t i);

/*
 * Appends the set as one word: "3-1-1-HEX", records separated by commas; and
 * parses it into an empty set.  False if the word is not of this form, or too
 * large.
 */
void tlsa_format(const struct tlsa_set *, struct buf *);
bool tlsa_parse(struct tlsa_set *, const char *word);

/* Frees the records; the set is empty again. */
void tlsa_finish(struct tlsa_set *);

#endif
