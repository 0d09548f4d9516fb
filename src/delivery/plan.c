/* SPDX-License-Identifier: ISC */
#include "delivery/plan.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "delivery/failure.h"

static bool
is_own(const struct ipme *me, const struct ip *ip, bool is_relay)
{
	enum ipme_kind kind = ipme_kind(me, ip);

	return kind == IPME_LISTED || (kind == IPME_INTERFACE && !is_relay);
}

/* :: and ::1, which some domains publish if they have no IPv6 address. */
static bool
is_placeholder(const struct ip *ip)
{
	static const unsigned char zeros[sizeof ip->byte - 1];

	return memcmp(ip->byte, zeros, sizeof zeros) == 0 &&
	       ip->byte[sizeof zeros] <= 1;
}

/*
 * A host is this machine if one of its addresses is ours; a placeholder counts
 * only if the host has no address of another machine.
 */
static bool
is_this_machine(const struct mx_host *host, const struct ipme *me)
{
	bool is_all_own = host->nip > 0;

	for (size_t i = 0; i < host->nip; i++) {
		const struct ip *ip = &host->ip[i];

		if (!is_own(me, ip, false))
			is_all_own = false;
		else if (!is_placeholder(ip) || is_own(me, ip, true))
			return true;
	}
	return is_all_own;
}

/* The best preference at which we are an MX host ourselves. */
static unsigned
own_preference(const struct mx_list *list, const struct plan_config *config)
{
	for (size_t i = 0; i < list->nhost && !config->is_relay; i++)
		if (is_this_machine(&list->host[i], config->ipme))
			return list->host[i].preference;
	return UINT_MAX;
}

/* A plan in the making. */
struct making {
	struct plan *plan;
	const struct mx_list *list;
	const struct plan_config *config;
	unsigned limit;                /* of preference: our own */
	size_t used[PLAN_ADDRESS_MAX]; /* places of addresses */
	size_t nused;
};

/* The host whose addresses are being added. */
static struct plan_host *
last_host(const struct making *m)
{
	return &m->plan->host[m->plan->nhost - 1];
}

/* Of two policies that do not verify the server: whether they are the same. */
static bool
is_same_policy(const struct tls_policy *a, const struct tls_policy *b)
{
	return a->level == b->level &&
	       tls_policy_allows_clear(a) == tls_policy_allows_clear(b);
}

/*
 * The session would be the same one again, unless another policy holds for it,
 * or the certificate has to prove another name.
 */
static bool
is_duplicate(const struct making *m, const struct ip *ip)
{
	const struct tls_policy *policy = &last_host(m)->policy;

	if (tls_policy_verifies(policy) ||
	    policy->source == TLS_FROM_STS_TESTING)
		return false;
	for (size_t i = 0; i < m->nused; i++) {
		const struct plan_address *a = &m->plan->address[m->used[i]];

		if (ip_equal(&a->ip, ip) &&
		    is_same_policy(&m->plan->host[a->host].policy, policy))
			return true;
	}
	return false;
}

static enum plan_use
use_of(const struct making *m, const struct ip *ip)
{
	if (is_own(m->config->ipme, ip, m->config->is_relay))
		return PLAN_OWN;
	if (last_host(m)->preference >= m->limit)
		return PLAN_NOT_BETTER;
	if (!ipfamily_has(m->config->family, ip))
		return PLAN_FAMILY;
	if (last_host(m)->policy.skip != TLS_SKIP_NOT)
		return PLAN_POLICY;
	if (plan_source(m->plan, ip)->fault != NULL)
		return PLAN_SOURCE;
	if (m->nused == PLAN_ADDRESS_MAX)
		return PLAN_TOO_MANY;
	return is_duplicate(m, ip) ? PLAN_DUPLICATE : PLAN_USED;
}

static int64_t
noted(const struct plan_config *config, const struct ip *ip,
    enum memory_kind kind)
{
	return memory_find(config->memory, ip, kind, config->now);
}

static void
add_address(struct making *m, const struct ip *ip)
{
	struct plan *p = m->plan;
	struct plan_address *a = &p->address[p->naddress];

	a->host = p->nhost - 1;
	a->ip = *ip;
	a->use = use_of(m, ip);
	for (size_t kind = 0; kind < MEMORY_KINDS; kind++)
		a->noted[kind] = noted(m->config, ip, (enum memory_kind)kind);
	if (a->use == PLAN_USED)
		m->used[m->nused++] = p->naddress;
	p->naddress++;
}

static size_t
next_of_family(const struct mx_host *host, size_t i, bool v4)
{
	while (i < host->nip && ip_is_v4(&host->ip[i]) != v4)
		i++;
	return i;
}

/* One of each family in turns. */
static void
take_turns(const struct mx_host *host, bool v4, const struct ip **ordered)
{
	size_t next[2] = { 0, 0 }, n = 0;

	for (; n < host->nip; v4 = !v4) {
		size_t i = next_of_family(host, next[v4], v4);

		next[v4] = i + 1;
		if (i < host->nip)
			ordered[n++] = &host->ip[i];
	}
}

static bool
is_secure(const struct mx_list *list, const struct mx_host *host)
{
	return list->security == DNS_SECURE && host->security == DNS_SECURE;
}

static void
add_host(struct making *m, const struct mx_host *host)
{
	const struct ip **ordered = mem_alloc(host->nip, sizeof *ordered);
	struct plan *p = m->plan;
	struct plan_host *h = &p->host[p->nhost++];

	h->name = host->name;
	h->preference = host->preference;
	h->is_literal = host->is_literal;
	h->outcome = host->outcome;
	h->is_secure = is_secure(m->list, host);
	h->policy = tls_policy_choose(&m->config->situation[p->nhost - 1]);
	take_turns(host, ipfamily_prefers_v4(m->config->family), ordered);
	for (int stalled = 0; stalled <= 1; stalled++)
		for (size_t i = 0; i < host->nip; i++)
			if ((noted(m->config, ordered[i], MEMORY_STALL) > 0) ==
			    stalled)
				add_address(m, ordered[i]);
	free(ordered);
}

static bool
has_use(const struct plan *p, enum plan_use use)
{
	for (size_t i = 0; i < p->naddress; i++)
		if (p->address[i].use == use)
			return true;
	return false;
}

/* Whether a better host could not be looked up, and may have an address. */
static bool
is_uncertain(const struct making *m)
{
	for (size_t i = 0; i < m->plan->nhost; i++)
		if (m->plan->host[i].preference < m->limit &&
		    m->plan->host[i].outcome == DNS_TEMPFAIL)
			return true;
	return false;
}

static int
refuse_config(const char *what, struct dsn *why)
{
	failure_set(why, FAILURE_NOT_CONNECTED, "");
	return dsn_detail(why, "%s", what);
}

/* "HOST: REASON" for each host that cannot meet the policy. */
static int
refuse_policy(const struct plan *p, struct dsn *why)
{
	struct buf lines = { 0 };

	for (size_t i = 0; i < p->nhost; i++)
		if (p->host[i].policy.skip != TLS_SKIP_NOT)
			buf_printf(&lines, "%s%s: %s",
			    lines.len > 0 ? "\n" : "", p->host[i].name,
			    tls_skip_text(p->host[i].policy.skip));
	failure_set(why, FAILURE_POLICY, "");
	dsn_detail(why, "%s", buf_text(&lines));
	buf_finish(&lines);
	return -1;
}

static int
refuse_sources(const struct plan *p, struct dsn *why)
{
	struct buf lines = { 0 };

	for (size_t i = 0; i < 2; i++)
		if (p->source[i].fault != NULL)
			buf_printf(&lines, "%s%s", lines.len > 0 ? "\n" : "",
			    p->source[i].fault);
	refuse_config(buf_text(&lines), why);
	buf_finish(&lines);
	return -1;
}

static int
none_left(const struct making *m, struct dsn *why)
{
	if (has_use(m->plan, PLAN_POLICY))
		return refuse_policy(m->plan, why);
	if (has_use(m->plan, PLAN_SOURCE))
		return refuse_sources(m->plan, why);
	if (has_use(m->plan, PLAN_FAMILY))
		return refuse_config("control/ipfamily leaves no address.",
		    why);
	if (m->config->is_relay)
		return refuse_config("control/ipme lists the relay.", why);
	if (is_uncertain(m))
		return failure_set(why, FAILURE_HOST_UNCERTAIN, "");
	return failure_set(why, FAILURE_HOST_IS_OURS, "");
}

static size_t
count_addresses(const struct mx_list *list)
{
	size_t n = 0;

	for (size_t i = 0; i < list->nhost; i++)
		n += list->host[i].nip;
	return n;
}

int
plan_make(struct plan *p, const struct mx_list *list,
    const struct plan_config *config, struct dsn *why)
{
	struct making m = { .plan = p,
		.list = list,
		.config = config,
		.limit = own_preference(list, config) };

	*p = (struct plan){ .port = config->port };
	memcpy(p->source, config->source, sizeof p->source);
	p->host = mem_alloc(list->nhost, sizeof *p->host);
	p->address = mem_alloc(count_addresses(list), sizeof *p->address);
	for (size_t i = 0; i < list->nhost; i++)
		add_host(&m, &list->host[i]);
	return m.nused > 0 ? 0 : none_left(&m, why);
}

const struct plan_source *
plan_source(const struct plan *p, const struct ip *ip)
{
	return &p->source[ip_is_v4(ip)];
}

bool
plan_is_skipped(const struct plan *p, enum tls_skip reason)
{
	bool is_skipped = false;

	for (size_t i = 0; i < p->naddress; i++) {
		const struct plan_address *a = &p->address[i];

		if (a->use == PLAN_USED)
			return false;
		if (a->use == PLAN_POLICY)
			is_skipped = p->host[a->host].policy.skip == reason;
		if (a->use == PLAN_POLICY && !is_skipped)
			return false;
	}
	return is_skipped;
}

bool
plan_in_clear(struct plan *p, const struct plan *first, const bool *retry)
{
	*p = (struct plan){ .port = first->port };
	memcpy(p->source, first->source, sizeof p->source);
	p->host = mem_alloc(first->nhost, sizeof *p->host);
	p->address = mem_alloc(first->naddress, sizeof *p->address);
	for (size_t i = 0; i < first->nhost; i++) {
		p->host[p->nhost] = first->host[i];
		p->host[p->nhost++].policy.level = TLS_LEVEL_NONE;
	}
	for (size_t i = 0; i < first->naddress; i++)
		if (retry[i])
			p->address[p->naddress++] = first->address[i];
	return p->naddress > 0;
}

void
plan_finish(struct plan *p)
{
	free(p->host);
	free(p->address);
	*p = (struct plan){ 0 };
}
