/* SPDX-License-Identifier: ISC */
#include "delivery/setup.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "delivery/failure.h"
#include "delivery/lookup.h"

#define SUBMISSIONS_PORT 465 /* RFC 8314 section 7.3 */

bool
setup_is_relayed(const struct setup *s)
{
	return s->route.relay.len > 0;
}

const char *
setup_next_hop(const struct setup *s)
{
	return setup_is_relayed(s) ? buf_text(&s->route.relay)
				   : buf_text(&s->domain);
}

static int
read_situation(struct setup *s, struct dsn *why)
{
	const struct setup_files *files = s->files;

	s->situation_config = (struct situation_config){
		.control = &s->control,
		.policies = &files->policies,
		.sts = {
			.state = files->state,
			.program = files->sts,
			.wait_s = s->control.mtasts,
			.is_read_only = files->are_read_only,
		},
		.next_hop = setup_next_hop(s),
		.is_relay = setup_is_relayed(s),
		.is_trusted = s->dns.is_trusted,
		.is_implicit_tls = s->route.port == SUBMISSIONS_PORT,
		.has_credentials = login_is_given(&s->route.login),
		.message = s->message,
	};
	return situation_read(&s->situation, &s->situation_config,
	    (int64_t)time(NULL), why);
}

static void
explain_source(struct setup *s, size_t i, int error)
{
	const char *reason = error == EADDRNOTAVAIL
				 ? "not an address of this machine"
				 : strerror(error);

	buf_printf(&s->source_fault[i], "%s: %s: %s", s->files->sources[i].text,
	    reason, buf_text(&s->outgoing[i].line));
}

/* What is said about a family that is not used does not matter. */
static int
read_sources(struct setup *s, struct dsn *why)
{
	for (size_t i = 0; i < 2; i++) {
		struct outgoing *o = &s->outgoing[i];

		if (s->family == (i == 0 ? IPFAMILY_4 : IPFAMILY_6))
			continue;
		if (outgoing_find(o, &s->files->sources[i], i == 1,
			setup_next_hop(s), why) == -1)
			return -1;
		if (o->is_given && dial_try_own(&o->ip) == -1)
			explain_source(s, i, errno);
	}
	return helohosts_read(&s->helohosts, "control/helohosts", why);
}

int
setup_read(struct setup *s, struct dsn *why)
{
	const struct setup_files *files = s->files;

	if (control_read(&s->control, why) == -1 ||
	    envelope_append_domain(&s->domain, s->host,
		FAILURE_RECIPIENT_UNSENDABLE, why) == -1 ||
	    relay_find(&files->relays, buf_text(&s->domain), s->sender,
		&s->route, why) == -1)
		return -1;
	if (ipfamily_find(&s->family, &files->families, setup_next_hop(s),
		why) == -1 ||
	    read_sources(s, why) == -1)
		return -1;
	dns_config_read(&s->dns, "/etc/resolv.conf");
	return read_situation(s, why);
}

int
setup_read_envelope(struct setup *s, char *const *envelope, struct dsn *why)
{
	return envelope_read(&s->envelope, envelope, why);
}

/* A relay may have the address of one of our interfaces. */
int
setup_read_own(struct setup *s, struct dsn *why)
{
	return ipme_read(&s->ipme, "control/ipme", !setup_is_relayed(s), why);
}

static int
find_hosts(struct setup *s, struct dsn *why)
{
	struct lookup lookup = { .host = setup_next_hop(s),
		.is_relay = setup_is_relayed(s),
		.relay_file = s->route.file,
		.timeout_s = s->control.timeoutdns,
		.port = s->route.port };
	int result;

	situation_want(&s->situation, &lookup);
	lookup.resolver = dns_resolver_create(&s->dns, lookup.wants_tlsa);
	result = lookup_hosts(&s->list, &lookup, why);
	dns_resolver_destroy(lookup.resolver);
	return result;
}

static void
read_memory(struct setup *s, struct memory *memory)
{
	s->notes = -1;
	if (s->files->are_read_only)
		(void)memory_load(memory, s->files->memory);
	else {
		s->notes = memory_open(s->files->memory);
		memory_read(memory, s->notes);
	}
	memory->cleared = tcpto_cleared(&s->files->tcpto);
}

/* A domain may have changed its MX hosts and its policy at the same time. */
static bool
has_newer_policy(struct setup *s)
{
	return plan_is_skipped(&s->plan, TLS_SKIP_STS) &&
	       situation_refetch(&s->situation, &s->list);
}

static struct plan_source
source(const struct setup *s, size_t i)
{
	const struct outgoing *o = &s->outgoing[i];

	return (struct plan_source){ .ip = o->is_given ? &o->ip : NULL,
		.fault = s->source_fault[i].data };
}

int
setup_plan(struct setup *s, struct dsn *why)
{
	struct memory memory;
	struct plan_config config = {
		.ipme = &s->ipme,
		.memory = &memory,
		.now = s->asked = (int64_t)time(NULL),
		.family = s->family,
		.is_relay = setup_is_relayed(s),
		.port = s->route.port,
		.source = { source(s, 0), source(s, 1) },
	};
	int result;

	if (find_hosts(s, why) == -1 ||
	    situation_find(&s->situation, &s->list, why) == -1)
		return -1;
	read_memory(s, &memory);
	config.situation = s->situation.of;
	result = plan_make(&s->plan, &s->list, &config, why);
	if (result == -1 && has_newer_policy(s)) {
		plan_finish(&s->plan);
		result = plan_make(&s->plan, &s->list, &config, why);
	}
	return result;
}

/* A file may hold both the chain and its key. */
static const char *
key_path(const struct control *c)
{
	return c->clientkey.len > 0 ? c->clientkey.data : c->clientcert.data;
}

struct search_config
setup_search_config(const struct setup *s)
{
	const struct setup_files *files = s->files;
	const struct control *c = &s->control;

	return (struct search_config){
		.attempt = {
			.timeout_s = c->timeoutremote,
			.helper = files->helper,
			.timeout_handshake_s = c->timeoutconnect,
			.anchors = buf_text(&c->trustanchors),
			.state = files->are_read_only ? NULL : files->state,
			.clientcert = c->clientcert.len > 0
					  ? c->clientcert.data
					  : NULL,
			.clientkey = key_path(c),
			.credentials = login_is_given(&s->route.login)
					   ? &s->route.login.credentials
					   : NULL,
		},
		.tcpto = &files->tcpto,
		.timeoutconnect = c->timeoutconnect,
		.notes = s->notes,
		.helohost = buf_text(&c->helohost),
		.helohosts = &s->helohosts,
		.wants_own = s->situation.wants_tlsrpt,
		.needs_smtputf8 = s->envelope.needs_smtputf8,
	};
}
