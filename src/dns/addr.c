/* SPDX-License-Identifier: ISC */
#include "dns/addr.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "dns/dane.h"

struct addr_answers {
	struct dns_answer v6, v4;
};

static bool
is_to_be_asked(const struct mx_list *list, const struct mx_host *host)
{
	return !host->is_literal &&
	       (list->is_implicit || dns_name_is_askable(host->name));
}

void
addr_wave_begin(struct addr_wave *w, struct mx_list *list,
    struct dns_resolver *resolver)
{
	size_t i;

	*w = (struct addr_wave){ .list = list, .resolver = resolver };
	w->answers = mem_alloc(list->nhost, sizeof *w->answers);
	for (i = 0; i < list->nhost; i++) {
		const char *name = list->host[i].name;

		if (!is_to_be_asked(list, &list->host[i]))
			continue;
		dns_resolver_ask(resolver, name, DNS_AAAA, &w->answers[i].v6);
		dns_resolver_ask(resolver, name, DNS_A, &w->answers[i].v4);
	}
}

void
addr_wave_ask_tlsa(struct addr_wave *w, uint16_t port)
{
	w->dane = mem_alloc(w->list->nhost, sizeof *w->dane);
	for (size_t i = 0; i < w->list->nhost; i++) {
		if (!is_to_be_asked(w->list, &w->list->host[i]))
			continue;
		w->dane[i].resolver = w->resolver;
		w->dane[i].name = w->list->host[i].name;
		w->dane[i].port = port;
		w->dane[i].v6 = &w->answers[i].v6;
		w->dane[i].v4 = &w->answers[i].v4;
		dane_ask(&w->dane[i]);
	}
}

bool
addr_wave_is_over(const struct addr_wave *w)
{
	for (size_t i = 0; i < w->list->nhost; i++) {
		const struct addr_answers *a = &w->answers[i];

		if (!is_to_be_asked(w->list, &w->list->host[i]))
			continue;
		if (a->v6.is_pending || a->v4.is_pending ||
		    (w->dane != NULL && dane_is_waiting(&w->dane[i])))
			return false;
	}
	return true;
}

/* Questions for addresses that are pending have failed. */
static void
give_up(const struct addr_wave *w, struct addr_answers *a)
{
	if (a->v6.is_pending)
		dns_resolver_forget(w->resolver, &a->v6);
	if (a->v4.is_pending)
		dns_resolver_forget(w->resolver, &a->v4);
}

bool
addr_wave_ask_aliases(struct addr_wave *w)
{
	bool has_asked = false;

	for (size_t i = 0; w->dane != NULL && i < w->list->nhost; i++) {
		if (!is_to_be_asked(w->list, &w->list->host[i]))
			continue;
		give_up(w, &w->answers[i]);
		if (dane_ask_more(&w->dane[i]))
			has_asked = true;
	}
	return has_asked;
}

static bool
has_ip(const struct mx_host *host, const struct ip *ip)
{
	size_t k;

	for (k = 0; k < host->nip; k++)
		if (ip_equal(&host->ip[k], ip))
			return true;
	return false;
}

static void
add_ip(struct mx_host *host, const struct dns_answer *from, size_t k)
{
	if (k >= from->nip || host->nip == MX_HOST_IP_MAX ||
	    has_ip(host, &from->ip[k]))
		return;
	host->ip[host->nip++] = from->ip[k];
}

static void
add_addresses(struct mx_host *host, const struct addr_answers *a)
{
	size_t k;

	host->ip = mem_alloc(MX_HOST_IP_MAX, sizeof *host->ip);
	for (k = 0; k < a->v6.nip || k < a->v4.nip; k++) {
		add_ip(host, &a->v6, k);
		add_ip(host, &a->v4, k);
	}
}

static enum dns_outcome
outcome_of(enum dns_outcome v4, enum dns_outcome v6)
{
	if (v4 == DNS_FOUND || v6 == DNS_FOUND)
		return DNS_FOUND;
	if (v4 == DNS_TEMPFAIL || v6 == DNS_TEMPFAIL)
		return DNS_TEMPFAIL;
	if (v4 == DNS_NXDOMAIN || v6 == DNS_NXDOMAIN)
		return DNS_NXDOMAIN;
	return DNS_NODATA;
}

/* An answer that did not arrive does not count. */
static bool
is_secure(const struct dns_answer *a)
{
	return a->outcome == DNS_TEMPFAIL || a->security == DNS_SECURE;
}

static uint32_t
ttl_of(const struct dns_answer *a)
{
	return a->outcome == DNS_TEMPFAIL ? UINT32_MAX : a->ttl_s;
}

/*
 * The name that owns the addresses; "" if the two answers have different ones.
 */
static const char *
canonical_of(const struct addr_answers *a)
{
	if (a->v4.outcome != DNS_FOUND)
		return a->v6.canonical;
	if (a->v6.outcome != DNS_FOUND ||
	    (strlen(a->v4.canonical) == strlen(a->v6.canonical) &&
		str_case_equal(a->v4.canonical, a->v6.canonical,
		    strlen(a->v4.canonical))))
		return a->v4.canonical;
	return "";
}

static void
set_result(struct mx_host *host, const struct addr_answers *a)
{
	uint32_t ttl4 = ttl_of(&a->v4), ttl6 = ttl_of(&a->v6);

	host->outcome = outcome_of(a->v4.outcome, a->v6.outcome);
	host->is_alias = a->v4.is_alias || a->v6.is_alias;
	if (host->outcome == DNS_TEMPFAIL)
		return;
	if (is_secure(&a->v4) && is_secure(&a->v6))
		host->security = DNS_SECURE;
	host->ttl_s = ttl4 < ttl6 ? ttl4 : ttl6;
	(void)str_copy(host->canonical, sizeof host->canonical,
	    canonical_of(a));
	if (host->outcome == DNS_FOUND)
		add_addresses(host, a);
}

void
addr_wave_end(struct addr_wave *w)
{
	size_t i;

	for (i = 0; i < w->list->nhost; i++) {
		struct addr_answers *a = &w->answers[i];
		struct mx_host *host = &w->list->host[i];

		if (!is_to_be_asked(w->list, host))
			continue;
		give_up(w, a);
		set_result(host, a);
		if (w->dane != NULL)
			dane_end(&w->dane[i], &host->tlsa);
		dns_answer_finish(&a->v6);
		dns_answer_finish(&a->v4);
	}
	free(w->answers);
	free(w->dane);
	w->answers = NULL;
	w->dane = NULL;
}
