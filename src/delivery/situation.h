/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_SITUATION_H
#define DELIVERY_SITUATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/dsn.h"
#include "delivery/lookup.h"
#include "dns/mx.h"
#include "qmail/control.h"
#include "qmail/tlshosts.h"
#include "qmail/tlspolicy.h"
#include "sts/lookup.h"
#include "tls/policy.h"

/*
 * Find out what the TLS policy of each host depends on: files of the
 * administrator, the message, TLSA records, the MTA-STS policy.
 */

/* All is borrowed. */
struct situation_config {
	const struct control *control;
	const struct table_files *policies; /* control/tlspolicy */
	struct sts_config sts;
	const char *next_hop; /* the relay, or the host */
	bool is_relay;
	bool is_trusted;      /* the resolver: its AD bit can be relied on */
	bool is_implicit_tls; /* the port is one of TLS from the first byte */
	bool has_credentials; /* they will be sent to the server */
	int message;          /* descriptor of the message, or -1 */
};

/* What is known of one host, and of its TLSA records. */
struct situation_host {
	struct buf pem;   /* the path of a file in control/tlshosts */
	struct buf names; /* for DANE-TA, separated by commas */
};

/* Valid when zeroed. */
struct situation {
	/* Known after situation_read(). */
	const struct situation_config *config;
	struct tlspolicy rule;
	struct tlshosts files;
	bool is_not_required; /* TLS-Required: no, and it is obeyed */
	bool is_literal;      /* the next hop is an address */
	bool wants_tlsa, wants_sts, wants_tlsrpt; /* from the DNS */

	/* Known after situation_find(). */
	struct lookup_texts texts;
	struct sts_lookup sts;
	struct situation_host *host;
	struct tls_situation *of; /* one for each host of the list */
	size_t n;
};

/*
 * Reads the files and, if it matters, the header of the message; looks for a
 * policy in the cache of MTA-STS.  -1 with 4.3.0 if a file that is a policy
 * cannot be used.
 */
int situation_read(struct situation *, const struct situation_config *,
    int64_t now, struct dsn *why);

/* Sets what is to be asked besides the hosts and their addresses. */
void situation_want(struct situation *, struct lookup *);

/*
 * Once the hosts are looked up: fetches the MTA-STS policy if that is needed,
 * and describes each host.  -1 as above.
 */
int situation_find(struct situation *, const struct mx_list *, struct dsn *why);

/*
 * After all hosts have been left out because the MTA-STS policy lists none of
 * them: true if a newer policy was fetched; each host is described again.
 */
bool situation_refetch(struct situation *, const struct mx_list *);

/* The policy that applies, or NULL. */
const struct sts_policy *situation_sts(const struct situation *);

void situation_finish(struct situation *);

#endif
