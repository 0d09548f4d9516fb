/* SPDX-License-Identifier: ISC */
#include "dns/mx.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/random.h"
#include "base/str.h"

static struct mx_host *
add_host(struct mx_list *list, const char *name, unsigned preference)
{
	struct mx_host *host;
	size_t n;

	list->host =
	    mem_resize(list->host, list->nhost + 1, sizeof *list->host);
	host = &list->host[list->nhost++];
	*host = (struct mx_host){ .preference = preference,
		.outcome = DNS_TEMPFAIL };
	(void)str_copy(host->name, sizeof host->name, name);
	n = strlen(host->name);
	if (n > 0 && host->name[n - 1] == '.')
		host->name[n - 1] = '\0';
	return host;
}

static bool
add_literal(struct mx_list *list, const char *text, unsigned preference)
{
	struct mx_host *host;
	size_t n = strlen(text);
	struct ip ip;

	/* An IPv6 address without brackets cannot be a domain name either. */
	if (!ip_parse_literal(text, n, &ip) && !ip_parse(text, n, &ip))
		return false;
	host = add_host(list, "", preference);
	ip_format(&ip, host->name);
	host->is_literal = true;
	host->outcome = DNS_FOUND;
	host->ip = mem_alloc(1, sizeof *host->ip);
	host->ip[0] = ip;
	host->nip = 1;
	return true;
}

static bool
has_host(const struct mx_list *list, const char *name)
{
	size_t n = strlen(name), i;

	for (i = 0; i < list->nhost; i++)
		if (strlen(list->host[i].name) == n &&
		    str_case_equal(list->host[i].name, name, n))
			return true;
	return false;
}

static int
by_preference(const void *a, const void *b)
{
	const struct dns_mx *x = a, *y = b;

	return (int)x->preference - (int)y->preference;
}

/* Moves a random one of the records with the same preference to first. */
static const struct dns_mx *
draw(struct dns_mx *first, const struct dns_mx *end)
{
	struct dns_mx *drawn, swap;
	size_t n = 1;

	while (first + n < end && first[n].preference == first->preference)
		n++;
	drawn = first + random_below(n);
	swap = *first;
	*first = *drawn;
	*drawn = swap;
	return first;
}

static void
add_records(struct mx_list *list, struct dns_answer *answer)
{
	const struct dns_mx *mx;
	size_t i;

	qsort(answer->mx, answer->nmx, sizeof *answer->mx, by_preference);
	for (i = 0; i < answer->nmx && list->nhost < MX_HOST_MAX; i++) {
		mx = draw(answer->mx + i, answer->mx + answer->nmx);
		/* "." is not a host; as the only record it is a null MX. */
		if (mx->name[0] == '\0' || has_host(list, mx->name) ||
		    add_literal(list, mx->name, mx->preference))
			continue;
		add_host(list, mx->name, mx->preference);
	}
	list->is_cut = i < answer->nmx;
}

void
mx_list_read(struct mx_list *list, const char *domain,
    struct dns_answer *answer)
{
	list->outcome = answer->outcome;
	list->security = answer->security;
	list->ttl_s = answer->ttl_s;
	(void)str_copy(list->canonical, sizeof list->canonical,
	    answer->canonical);
	if (answer->outcome == DNS_FOUND)
		add_records(list, answer);
	else if (answer->outcome != DNS_TEMPFAIL)
		mx_list_implicit(list, domain);
}

void
mx_list_implicit(struct mx_list *list, const char *host)
{
	list->is_implicit = true;
	(void)add_host(list, host, 0);
}

bool
mx_list_literal(struct mx_list *list, const char *text)
{
	return add_literal(list, text, 0);
}

static const struct mx_host *
find_outcome(const struct mx_list *list, enum dns_outcome outcome)
{
	size_t i;

	for (i = 0; i < list->nhost; i++)
		if (list->host[i].outcome == outcome)
			return &list->host[i];
	return NULL;
}

const struct mx_host *
mx_list_uncertain(const struct mx_list *list)
{
	return find_outcome(list, DNS_TEMPFAIL);
}

static enum mx_verdict
implicit_verdict(const struct mx_list *list)
{
	if (find_outcome(list, DNS_NXDOMAIN) != NULL)
		return MX_NO_DOMAIN;
	return list->host[0].is_alias ? MX_DANGLING_ALIAS : MX_NO_RECORDS;
}

/*
 * One host with an address is enough; one that may get one later makes the
 * result uncertain.
 */
enum mx_verdict
mx_list_verdict(const struct mx_list *list)
{
	if (find_outcome(list, DNS_FOUND) != NULL)
		return MX_FOUND;
	if (mx_list_uncertain(list) != NULL)
		return MX_UNCERTAIN;
	if (list->is_cut)
		return MX_CUT;
	return list->is_implicit ? implicit_verdict(list) : MX_NO_ADDRESS;
}

void
mx_list_finish(struct mx_list *list)
{
	size_t i;

	for (i = 0; i < list->nhost; i++) {
		free(list->host[i].ip);
		tlsa_finish(&list->host[i].tlsa.set);
	}
	free(list->host);
	*list = (struct mx_list){ 0 };
}
