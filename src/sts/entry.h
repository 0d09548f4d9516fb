/* SPDX-License-Identifier: ISC */
#ifndef STS_ENTRY_H
#define STS_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "sts/domain.h"
#include "sts/failure.h"
#include "sts/policy.h"
#include "sts/record.h"

/*
 * What is remembered about the policy of a domain, as text; and what it means
 * at a point in time.  Pure: no I/O.
 *
 *	qmail-remote-sts 1
 *	domain dst.example
 *	id 20261129			of the record that it was fetched for
 *	fetched 1795923600		the last successful fetch (Unix time)
 *	tried 1795923600 0		the last fetch; failed ones since then
 *	used 1795923600			the last fetch for a delivery
 *	failed sts-webpki-invalid TEXT	why the last fetch failed
 *	max-age 86400
 *	mode enforce
 *	mx *.dst.example		for each pattern
 *	text version: STSv1		for each line of the policy
 *	end
 *
 * Without a policy there are no lines "id", "fetched", "max-age", "mode", "mx"
 * and "text"; without a failure there is none with "failed".  "used" is as
 * "tried" if it is missing.
 */

#define STS_ENTRY_MAX ((size_t)512 << 10) /* bytes of the text */

/* A policy is fetched again at this age, or at half of its max_age. */
#define STS_REFRESH_S 86400
/* Wait after a failed fetch; it doubles with each, up to the maximum. */
#define STS_BACKOFF_S 300
#define STS_BACKOFF_MAX_S 3600
/* What is of no use any more is removed after this time. */
#define STS_USELESS_S 86400
/* Without a delivery for so long a policy is not kept fresh. */
#define STS_UNUSED_S (30 * 86400)

/* Owns its policy; zeroed: nothing is remembered. */
struct sts_entry {
	char domain[STS_DOMAIN_SIZE];
	bool has_policy;
	char id[STS_ID_SIZE];
	int64_t fetched;
	struct sts_policy policy;
	int64_t tried;
	unsigned long failures;
	struct sts_failure failure; /* if there are failures */
	int64_t used;
};

/* Appends the text. */
void sts_entry_format(const struct sts_entry *, struct buf *);

/*
 * Parses n bytes into a zeroed entry.  -1 if they are not exactly of this form,
 * or of another domain; then the entry stays zeroed.
 */
int sts_entry_parse(struct sts_entry *, const char *domain, const char *,
    size_t n);

/* Frees the policy; the entry is zeroed again. */
void sts_entry_finish(struct sts_entry *);

/*
 * Whether there is a policy that has not expired, and the Unix time at which it
 * expires.  One from the future counts as fetched now.
 */
bool sts_entry_is_valid(const struct sts_entry *, int64_t now);
int64_t sts_entry_expires(const struct sts_entry *, int64_t now);

/* Whether its fetch was longer than so many seconds ago. */
bool sts_entry_is_older(const struct sts_entry *, int64_t now, int64_t s);

/*
 * Whether it is too early to try again after a failure.  One that is far in the
 * future does not count, or it might count for years: a clock was wrong.
 */
bool sts_entry_is_waiting(const struct sts_entry *, int64_t now);

/* What a delivery does that has this entry and finds this record. */
enum sts_need {
	STS_NEED_NOTHING, /* goes on with a valid policy, or without one */
	STS_NEED_REFRESH, /* does not wait for the fetch that it starts */
	STS_NEED_FETCH    /* needs a policy that is not there */
};

/*
 * Without a valid policy, or with one of another id, a record causes a fetch; a
 * policy of some age is refreshed (RFC 8461 section 3.3), also if the DNS has
 * not answered: whoever keeps its answers away must not make the policy expire.
 * If it has answered that there is no record, the policy lasts until it
 * expires.
 */
enum sts_need sts_entry_need(const struct sts_entry *,
    const struct sts_record *, int64_t now);

/* Whether a policy is to be kept fresh although no delivery asks for it. */
bool sts_entry_is_due(const struct sts_entry *, int64_t now);

/* Whether nothing in it is of use any more. */
bool sts_entry_is_useless(const struct sts_entry *, int64_t now);

/*
 * Notes the result of a fetch.  Success takes over the policy, and leaves a
 * zeroed one.  After a failure a policy stays that has not expired.
 */
void sts_entry_succeed(struct sts_entry *, const char *id, struct sts_policy *,
    int64_t now);
void sts_entry_fail(struct sts_entry *, const struct sts_failure *,
    int64_t now);

#endif
