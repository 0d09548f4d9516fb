/* SPDX-License-Identifier: ISC */
#ifndef STS_LOOKUP_H
#define STS_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/deadline.h"
#include "sts/entry.h"

/*
 * Find the MTA-STS policy that applies to a delivery: in the cache, or by
 * starting qmail-remote-sts, which fetches it and outlives the delivery.
 *
 * A delivery does this:
 *
 *	sts_lookup_begin(&l, &config, next_hop, now);
 *	... asks for the TXT records of _mta-sts.DOMAIN if l.domain is not "",
 *	    and waits for the answer only if !sts_lookup_policy(&l)
 *	sts_record_read(&record, &answer);
 *	sts_lookup_find(&l, &record);
 *	policy = sts_lookup_policy(&l);
 *	... uses it for each MX host; if none of them matches:
 *	if (sts_lookup_refetch(&l))
 *		... decides again with sts_lookup_policy(&l)
 *	sts_lookup_finish(&l);
 *
 * Nothing here fails: what goes wrong means that an older policy applies, or
 * none, as RFC 8461 section 3.3 says.
 */

/* The same for all domains; all is borrowed. */
struct sts_config {
	const char *state;   /* the state directory */
	const char *program; /* the path of qmail-remote-sts */

	/*
	 * control/mtasts: seconds that fetches may hold the delivery in all,
	 * whoever has started them.  0: there is no MTA-STS.
	 */
	unsigned long wait_s;

	/* Nothing is written, and nothing refreshed without waiting for it. */
	bool is_read_only;
};

enum sts_source {
	STS_SOURCE_NONE,   /* no policy applies */
	STS_SOURCE_CACHE,  /* it was in the cache */
	STS_SOURCE_FETCHED /* it has just been fetched */
};

struct sts_lookup {
	const struct sts_config *config;

	/* As sts_domain_read() makes it; "": it cannot have a policy. */
	char domain[STS_DOMAIN_SIZE];
	int64_t now;              /* when the lookup began, Unix time */
	struct deadline until;    /* for fetches, from sts_lookup_find() on */
	struct sts_record record; /* as it was given to sts_lookup_find() */

	/* The result. */
	enum sts_source source;
	int64_t expires;    /* of the policy that applies, Unix time */
	bool is_refreshing; /* a fetch was started that nobody waits for */
	struct sts_entry entry;
	/*
	 * entry.failure says why the last fetch failed, if its cause is not
	 * STS_CAUSE_NONE; with a policy from the cache, too.
	 */
};

/*
 * Reads the cache.  The domain is the next hop: of a recipient, or a relay; now
 * is the Unix time.  The config is borrowed until sts_lookup_finish().
 */
void sts_lookup_begin(struct sts_lookup *, const struct sts_config *,
    const char *domain, int64_t now);

/*
 * The policy that applies, as far as is known yet; NULL if there is none.  Its
 * mode may also be STS_MODE_NONE.  Valid until the next call.
 */
const struct sts_policy *sts_lookup_policy(const struct sts_lookup *);

/*
 * Decides by what the DNS says, see sts_entry_need().  If a fetch is needed,
 * starts one, or finds that another delivery has; waits for it as long as the
 * config says, but not for one that another has started longer ago than that.
 * If STS_FETCHES_MAX other fetches are under way, goes on without.
 */
void sts_lookup_find(struct sts_lookup *, const struct sts_record *);

/*
 * For a policy that matches no MX host: fetches it again, although the record
 * has not changed, if it is from the cache, older than five minutes, and no
 * fetch has just failed.  Waits for what is left of that time.  True if a newer
 * policy applies now.
 */
bool sts_lookup_refetch(struct sts_lookup *);

/* Frees the policy. */
void sts_lookup_finish(struct sts_lookup *);

#endif
