/* SPDX-License-Identifier: ISC */
#ifndef STS_POLICY_H
#define STS_POLICY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "sts/failure.h"
#include "sts/text.h"

/* The policy of a domain (RFC 8461 section 3.2). */

#define STS_BODY_MAX ((size_t)65536) /* bytes of a policy file */
#define STS_MAX_AGE_S 31557600UL     /* a year: more is taken as that */

enum sts_mode { STS_MODE_NONE, STS_MODE_TESTING, STS_MODE_ENFORCE };

/* It owns its texts; valid when zeroed. */
struct sts_policy {
	enum sts_mode mode;
	unsigned long max_age_s;

	/*
	 * The patterns for names of MX hosts, and all lines of the policy file
	 * as TLS reports quote them.  Each ends with LF: see sts_text_line().
	 */
	struct buf mx;
	struct buf lines;
};

/*
 * Parses a policy file of n bytes into a zeroed policy.  -1 with
 * sts-policy-invalid if it is larger than STS_BODY_MAX, has no version STSv1,
 * no valid mode or max_age, or no mx though the mode is not none; then the
 * policy stays zeroed.
 *
 * Lines end with LF or CRLF.  Unknown keys, and lines that are not of the form
 * "key: value", are ignored.  If a key other than mx is repeated, the first one
 * counts.  A value of mx that is not a host name, or "*." and a host name,
 * matches nothing, as if it were not there.
 */
int sts_policy_parse(struct sts_policy *, const char *, size_t n,
    struct sts_failure *why);

/*
 * Whether a pattern matches the name of an MX host, as it is in the MX record
 * (section 4.1).  "*." stands for exactly one label; the case, and a dot at the
 * end, do not matter.  The mode is not looked at.
 */
bool sts_policy_matches(const struct sts_policy *, const char *host);

/* A host name, or "*." and a host name; an address is neither. */
bool sts_pattern_is_valid(struct sts_text);

/* "none", "testing", "enforce". */
const char *sts_mode_name(enum sts_mode);
bool sts_mode_parse(enum sts_mode *, struct sts_text);

/* Frees the texts; the policy is zeroed again. */
void sts_policy_finish(struct sts_policy *);

#endif
