/* SPDX-License-Identifier: ISC */
#include "dns/mx.h"

#include <stdlib.h>
#include <string.h>

#include "base/deadline.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/str.h"
#include "dns/resolver.h"

#define TIMEOUT_MAX 1000000 /* seconds */
#define RESOLV_CONF "/etc/resolv.conf"

struct lookup {
	const char *host;
	unsigned long timeout_s;
	struct dns_resolver *resolver;
	struct mx_list *list;
	struct dsn *why;
	bool is_implicit; /* host stands for itself */
	bool is_cut;      /* there are MX hosts that were not asked about */
	bool is_alias;    /* it leads to a name that has no address */
};

/* The answers for the addresses of one host. */
struct addresses {
	struct dns_answer v4, v6;
};

/* Host names for a sentence: a blank would look like the end of the name. */
struct shown {
	char text[400];
};

static struct shown
show(const char *name)
{
	struct shown s;
	size_t i;

	for (i = 0; i < sizeof s.text - 1 && name[i] != '\0'; i++)
		s.text[i] = name[i] < 33 || name[i] > 126 ? '?' : name[i];
	s.text[i] = '\0';
	return s;
}

/* The sentences are stock's. */

static int
try_later(const struct lookup *l, const char *what, const char *name)
{
	dsn_set(l->why, "4.1.2",
	    "Sorry, I couldn't find any host by that name.");
	return dsn_detail(l->why, "no answer for the %s of %s", what,
	    show(name).text);
}

static int
no_such_host(const struct lookup *l, const char *because)
{
	dsn_set(l->why, "5.1.2", "Sorry, I couldn't find any host named %s.",
	    show(l->host).text);
	return dsn_detail(l->why, "%s", because);
}

static int
no_address(const struct lookup *l, const char *because)
{
	dsn_set(l->why, "5.4.4",
	    "Sorry, I couldn't find a mail exchanger or IP address.");
	return dsn_detail(l->why, "%s", because);
}

/* RFC 7505: whoever runs the domain says so. */
static int
no_mail(const struct lookup *l)
{
	return dsn_set(l->why, "5.1.10", "Sorry, %s does not accept mail.",
	    show(l->host).text);
}

static struct deadline
deadline_for(unsigned long timeout_s)
{
	if (timeout_s == 0)
		return deadline_never();
	if (timeout_s > TIMEOUT_MAX)
		timeout_s = TIMEOUT_MAX;
	return deadline_in((int64_t)timeout_s * 1000);
}

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

	/* An IPv6 address without brackets is no domain name either. */
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

/* Puts any of the equally good records from first on in the first place. */
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

/* Hosts in order, each once, where it is best; true if some were left out. */
static bool
add_mx(struct mx_list *list, struct dns_answer *answer)
{
	const struct dns_mx *mx;
	size_t i;

	qsort(answer->mx, answer->nmx, sizeof *answer->mx, by_preference);
	for (i = 0; i < answer->nmx && list->nhost < MX_HOST_MAX; i++) {
		mx = draw(answer->mx + i, answer->mx + answer->nmx);
		/* "." is no host; alone, it is a null MX. */
		if (mx->name[0] == '\0' || has_host(list, mx->name) ||
		    add_literal(list, mx->name, mx->preference))
			continue;
		add_host(list, mx->name, mx->preference);
	}
	return i < answer->nmx;
}

/* The first wave. */
static int
find_hosts(struct lookup *l)
{
	struct dns_answer mx;
	int result = 0;

	dns_resolver_ask(l->resolver, l->host, DNS_MX, &mx);
	dns_resolver_wait(l->resolver, deadline_for(l->timeout_s));
	switch (mx.outcome) {
	case DNS_FOUND:
		l->is_cut = add_mx(l->list, &mx);
		if (l->list->nhost == 0)
			result = no_mail(l);
		break;
	case DNS_NODATA:
	case DNS_NXDOMAIN:
		/*
		 * There are servers that know no name but for the type they
		 * were made for: like stock we do not bounce mail before the
		 * addresses have been denied as well.
		 */
		l->is_implicit = true;
		break;
	case DNS_TEMPFAIL:
		result = try_later(l, "MX records", l->host);
		break;
	}
	dns_answer_finish(&mx);
	return result;
}

/* One that is not keeps the outcome of a host that nothing is known of. */
static bool
is_to_be_asked(const struct lookup *l, const struct mx_host *host)
{
	return !host->is_literal &&
	       (l->is_implicit || dns_name_is_askable(host->name));
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

static enum dns_outcome
outcome_of(const struct addresses *found)
{
	enum dns_outcome v4 = found->v4.outcome, v6 = found->v6.outcome;

	if (v4 == DNS_FOUND || v6 == DNS_FOUND)
		return DNS_FOUND;
	if (v4 == DNS_TEMPFAIL || v6 == DNS_TEMPFAIL)
		return DNS_TEMPFAIL;
	if (v4 == DNS_NXDOMAIN || v6 == DNS_NXDOMAIN)
		return DNS_NXDOMAIN;
	return DNS_NODATA;
}

static void
settle(const struct lookup *l, struct mx_host *host,
    const struct addresses *found)
{
	size_t k;

	if (!is_to_be_asked(l, host))
		return;
	host->outcome = outcome_of(found);
	if (host->outcome != DNS_FOUND)
		return;
	host->ip = mem_alloc(MX_HOST_IP_MAX, sizeof *host->ip);
	for (k = 0; k < found->v6.nip || k < found->v4.nip; k++) {
		add_ip(host, &found->v6, k);
		add_ip(host, &found->v4, k);
	}
}

static void
ask_addresses(struct lookup *l, struct addresses *found)
{
	const struct mx_host *host = l->list->host;
	size_t i;

	for (i = 0; i < l->list->nhost; i++) {
		if (!is_to_be_asked(l, &host[i]))
			continue;
		dns_resolver_ask(l->resolver, host[i].name, DNS_AAAA,
		    &found[i].v6);
		dns_resolver_ask(l->resolver, host[i].name, DNS_A,
		    &found[i].v4);
	}
	dns_resolver_wait(l->resolver, deadline_for(l->timeout_s));
}

/* The second wave: the addresses of all hosts. */
static void
find_addresses(struct lookup *l)
{
	struct addresses *found = mem_alloc(l->list->nhost, sizeof *found);
	size_t i;

	ask_addresses(l, found);
	for (i = 0; i < l->list->nhost; i++) {
		settle(l, &l->list->host[i], &found[i]);
		if (found[i].v4.is_alias || found[i].v6.is_alias)
			l->is_alias = true;
		dns_answer_finish(&found[i].v4);
		dns_answer_finish(&found[i].v6);
	}
	free(found);
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

/* One good host is enough; one that may be good later makes it temporary. */
static int
judge(const struct lookup *l)
{
	const struct mx_host *unsure = find_outcome(l->list, DNS_TEMPFAIL);

	if (find_outcome(l->list, DNS_FOUND) != NULL)
		return 0;
	if (unsure != NULL)
		return try_later(l, "addresses", unsure->name);
	if (l->is_cut) {
		try_later(l, "addresses", l->host);
		return dsn_detail(l->why,
		    "the best %d MX hosts have no address", MX_HOST_MAX);
	}
	if (!l->is_implicit)
		return no_address(l, "no MX host has an address");
	if (find_outcome(l->list, DNS_NXDOMAIN) != NULL)
		return no_such_host(l, "no such domain");
	if (l->is_alias)
		return no_address(l, "an alias of a name without address");
	return no_such_host(l, "no address");
}

static int
ask(struct lookup *l)
{
	if (!l->is_implicit && find_hosts(l) == -1)
		return -1;
	if (l->is_implicit)
		add_host(l->list, l->host, 0);
	find_addresses(l);
	return judge(l);
}

/* A relay comes from a file of ours: nonsense there bounces no mail. */
static int
refuse_name(const struct lookup *l)
{
	if (!l->is_implicit)
		return no_such_host(l, "not a domain name");
	try_later(l, "addresses", l->host);
	return dsn_detail(l->why, "the relay is not a domain name");
}

static int
look_up(struct lookup *l)
{
	struct dns_config config;
	int result;

	*l->list = (struct mx_list){ 0 };
	if (add_literal(l->list, l->host, 0))
		return 0;
	/* Nothing is asked about the root, nor about what is no name. */
	if (l->host[0] == '\0' || !dns_name_is_valid(l->host))
		return refuse_name(l);
	dns_config_read(&config, RESOLV_CONF);
	l->resolver = dns_resolver_create(&config, false);
	if (l->resolver == NULL)
		return try_later(l, "records", l->host);
	result = ask(l);
	dns_resolver_destroy(l->resolver);
	if (result == -1)
		mx_list_finish(l->list);
	return result;
}

int
mx_lookup(struct mx_list *list, const char *host, unsigned long timeout_s,
    struct dsn *why)
{
	struct lookup l = {
		.list = list, .host = host, .timeout_s = timeout_s, .why = why
	};

	return look_up(&l);
}

int
mx_lookup_relay(struct mx_list *list, const char *relay,
    unsigned long timeout_s, struct dsn *why)
{
	struct lookup l = { .list = list,
		.host = relay,
		.timeout_s = timeout_s,
		.why = why,
		.is_implicit = true };

	return look_up(&l);
}

void
mx_list_finish(struct mx_list *list)
{
	size_t i;

	for (i = 0; i < list->nhost; i++)
		free(list->host[i].ip);
	free(list->host);
	*list = (struct mx_list){ 0 };
}
