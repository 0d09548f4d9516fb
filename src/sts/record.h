/* SPDX-License-Identifier: ISC */
#ifndef STS_RECORD_H
#define STS_RECORD_H

#include <stdbool.h>

#include "dns/message.h"
#include "sts/text.h"

/*
 * The MTA-STS record of a domain (RFC 8461 section 3.1): what the TXT records
 * of _mta-sts.DOMAIN say.
 */

#define STS_ID_SIZE 33 /* bytes of an id with its NUL */

/* Valid when zeroed: the DNS has not answered. */
struct sts_record {
	bool is_known; /* it has answered: records, or that there are none */
	unsigned n;    /* records of MTA-STS, well-formed or not */
	char id[STS_ID_SIZE]; /* of the last well-formed one, or "" */
};

/*
 * Adds a TXT record of the answer: its strings, joined.  One that does not
 * begin with "v=STSv1" and a semicolon, between which blanks may be, is of
 * something else and does not count.
 */
void sts_record_add(struct sts_record *, struct sts_text);

/* Adds all TXT records of an answer to a zeroed record. */
void sts_record_read(struct sts_record *, const struct dns_answer *);

/*
 * The id of the policy that the domain has now; "" if it has none, or if that
 * is not known.  Several records, and one that is malformed, are as good as
 * none.
 */
const char *sts_record_id(const struct sts_record *);

/* Whether an id has 1 to 32 letters and digits. */
bool sts_id_is_valid(struct sts_text);

#endif
