/* SPDX-License-Identifier: ISC */
#include "delivery/lookup.h"

#include "base/deadline.h"
#include "delivery/failure.h"
#include "dns/addr.h"

#define TIMEOUT_MAX 1000000 /* seconds */

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

static int
try_later(struct dsn *why, const char *what, const char *name)
{
	failure_set(why, FAILURE_HOST_UNCERTAIN, "");
	return dsn_detail(why, "no answer for the %s of %s", what,
	    show(name).text);
}

static int
no_such_host(const struct lookup *l, struct dsn *why, const char *because)
{
	failure_set(why, FAILURE_HOST_UNKNOWN, show(l->host).text);
	return dsn_detail(why, "%s", because);
}

static int
no_address(struct dsn *why, const char *because)
{
	failure_set(why, FAILURE_HOST_WITHOUT_ADDRESS, "");
	return dsn_detail(why, "%s", because);
}

/* RFC 7505: whoever runs the domain says so. */
static int
no_mail(const struct lookup *l, struct dsn *why)
{
	return failure_set(why, FAILURE_HOST_TAKES_NO_MAIL, show(l->host).text);
}

static int
no_relay(const struct lookup *l, struct dsn *why)
{
	failure_set(why, FAILURE_HOST_UNCERTAIN, "");
	return dsn_detail(why, "control/smtproutes: the DNS has no relay %s",
	    show(l->host).text);
}

static int
no_more_hosts(struct dsn *why)
{
	failure_set(why, FAILURE_HOST_UNCERTAIN, "");
	return dsn_detail(why, "the best %d MX hosts have no address",
	    MX_HOST_MAX);
}

static int
classify(const struct mx_list *list, const struct lookup *l, struct dsn *why)
{
	enum mx_verdict verdict = mx_list_verdict(list);

	if (l->is_relay && verdict != MX_FOUND && verdict != MX_UNCERTAIN)
		return no_relay(l, why);
	switch (verdict) {
	case MX_FOUND:
		break;
	case MX_UNCERTAIN:
		return try_later(why, "addresses",
		    mx_list_uncertain(list)->name);
	case MX_CUT:
		return no_more_hosts(why);
	case MX_NO_ADDRESS:
		return no_address(why, "no MX host has an address");
	case MX_NO_DOMAIN:
		return no_such_host(l, why, "no such domain");
	case MX_NO_RECORDS:
		return no_such_host(l, why, "no address");
	case MX_DANGLING_ALIAS:
		return no_address(why, "an alias of a name without address");
	}
	return 0;
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

/* The first wave. */
static int
find_hosts(struct mx_list *list, const struct lookup *l, struct dsn *why)
{
	struct dns_answer mx;

	if (l->is_relay) {
		mx_list_implicit(list, l->host);
		return 0;
	}
	dns_resolver_ask(l->resolver, l->host, DNS_MX, &mx);
	dns_resolver_wait(l->resolver, deadline_for(l->timeout_s));
	mx_list_read(list, l->host, &mx);
	dns_answer_finish(&mx);
	if (list->nhost > 0)
		return 0;
	return list->outcome == DNS_TEMPFAIL
		   ? try_later(why, "MX records", l->host)
		   : no_mail(l, why);
}

/* The second wave. */
static void
find_addresses(struct mx_list *list, const struct lookup *l)
{
	struct addr_wave wave;

	addr_wave_begin(&wave, list, l->resolver);
	dns_resolver_wait(l->resolver, deadline_for(l->timeout_s));
	addr_wave_end(&wave);
}

static int
refuse_name(const struct lookup *l, struct dsn *why)
{
	if (!l->is_relay)
		return no_such_host(l, why, "not a domain name");
	failure_set(why, FAILURE_HOST_UNCERTAIN, "");
	return dsn_detail(why, "the relay is not a domain name");
}

int
lookup_hosts(struct mx_list *list, const struct lookup *l, struct dsn *why)
{
	*list = (struct mx_list){ 0 };
	if (mx_list_literal(list, l->host))
		return 0;
	/* Nothing is asked about the root, nor about what is no name. */
	if (l->host[0] == '\0' || !dns_name_is_valid(l->host))
		return refuse_name(l, why);
	if (l->resolver == NULL)
		return try_later(why, "records", l->host);
	if (find_hosts(list, l, why) == -1)
		goto fail;
	find_addresses(list, l);
	if (classify(list, l, why) == -1)
		goto fail;
	return 0;

fail:
	mx_list_finish(list);
	return -1;
}
