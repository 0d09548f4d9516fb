/* SPDX-License-Identifier: ISC */
#include "delivery/lookup.h"

#include <stdio.h>

#include "base/deadline.h"
#include "delivery/failure.h"
#include "dns/addr.h"

#define TIMEOUT_MAX 1000000 /* seconds */
#define STS_WAIT_MS 2000

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
	return dsn_detail(why, "%s: the DNS has no relay %s", l->relay_file,
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

static void
give_up(const struct lookup *l, struct dns_answer *a)
{
	if (a->is_pending)
		dns_resolver_forget(l->resolver, a);
}

static void
ask_text(const struct lookup *l, const char *prefix, struct dns_answer *into)
{
	char name[2 * DNS_NAME_SIZE];

	(void)snprintf(name, sizeof name, "%s.%s", prefix, l->host);
	dns_resolver_ask(l->resolver, name, DNS_TXT, into);
}

/* Asks for the TXT records that are wanted. */
static void
ask_texts(const struct lookup *l)
{
	if (l->wants_sts)
		ask_text(l, "_mta-sts", &l->texts->sts);
	if (l->wants_tlsrpt)
		ask_text(l, "_smtp._tls", &l->texts->tlsrpt);
}

static void
wait_for_sts(const struct lookup *l, struct deadline until)
{
	while (l->texts->sts.is_pending &&
	       dns_resolver_wait_some(l->resolver, until))
		;
}

/* The first wave. */
static int
find_hosts(struct mx_list *list, const struct lookup *l, struct dsn *why)
{
	struct deadline until = deadline_for(l->timeout_s);
	struct dns_answer mx;

	if (l->is_relay) {
		mx_list_implicit(list, l->host);
		return 0;
	}
	dns_resolver_ask(l->resolver, l->host, DNS_MX, &mx);
	while (mx.is_pending && dns_resolver_wait_some(l->resolver, until))
		;
	give_up(l, &mx);
	mx_list_read(list, l->host, &mx);
	dns_answer_finish(&mx);
	if (list->nhost > 0)
		return 0;
	return list->outcome == DNS_TEMPFAIL
		   ? try_later(why, "MX records", l->host)
		   : no_mail(l, why);
}

/*
 * TLSA records of a host that an insecure answer named would prove nothing: a
 * forger names another host.  A relay is named in a file of ours (RFC 7672
 * section 2.2.2).
 */
static bool
has_secure_hosts(const struct mx_list *list, const struct lookup *l)
{
	return dns_resolver_knows_security(l->resolver) &&
	       (l->is_relay || list->security == DNS_SECURE);
}

static void
wait_for_wave(const struct addr_wave *wave, const struct lookup *l)
{
	struct deadline until = deadline_for(l->timeout_s);

	while (!addr_wave_is_over(wave) &&
	       dns_resolver_wait_some(l->resolver, until))
		;
}

/* The second wave, and the third. */
static void
find_addresses(struct mx_list *list, const struct lookup *l)
{
	struct addr_wave wave;

	addr_wave_begin(&wave, list, l->resolver);
	if (l->wants_tlsa && has_secure_hosts(list, l))
		addr_wave_ask_tlsa(&wave, l->port);
	wait_for_wave(&wave, l);
	if (addr_wave_ask_aliases(&wave))
		wait_for_wave(&wave, l);
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

static int
find(struct mx_list *list, const struct lookup *l, struct dsn *why)
{
	if (find_hosts(list, l, why) == -1)
		return -1;
	find_addresses(list, l);
	return classify(list, l, why);
}

static int
find_with_texts(struct mx_list *list, const struct lookup *l, struct dsn *why)
{
	struct deadline until = deadline_earlier(deadline_for(l->timeout_s),
	    deadline_in(STS_WAIT_MS));
	int result;

	ask_texts(l);
	result = find(list, l, why);
	if (result == 0 && l->sts_must_wait)
		wait_for_sts(l, until);
	give_up(l, &l->texts->sts);
	give_up(l, &l->texts->tlsrpt);
	return result;
}

static void
clear_texts(struct lookup_texts *texts)
{
	static const struct dns_answer unknown = { .outcome = DNS_TEMPFAIL };

	if (texts != NULL)
		*texts = (struct lookup_texts){ unknown, unknown };
}

int
lookup_hosts(struct mx_list *list, const struct lookup *l, struct dsn *why)
{
	int result;

	*list = (struct mx_list){ 0 };
	clear_texts(l->texts);
	if (mx_list_literal(list, l->host))
		return 0;
	/* Nothing is asked about the root, nor about what is no name. */
	if (l->host[0] == '\0' || !dns_name_is_valid(l->host))
		return refuse_name(l, why);
	if (l->resolver == NULL)
		return try_later(why, "records", l->host);
	result = l->texts == NULL ? find(list, l, why)
				  : find_with_texts(list, l, why);
	if (result == -1)
		mx_list_finish(list);
	return result;
}

void
lookup_texts_finish(struct lookup_texts *texts)
{
	dns_answer_finish(&texts->sts);
	dns_answer_finish(&texts->tlsrpt);
}
