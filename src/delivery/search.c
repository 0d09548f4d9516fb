/* SPDX-License-Identifier: ISC */
#include "delivery/search.h"

#include <stdlib.h>
#include <time.h>

#include "base/mem.h"

/* What the functions below share. */
struct work {
	struct search *search;
	const struct search_config *config;
	struct smtp_session *session;
	bool *had_no_tls; /* one for each address of the plan */
};

static void
avoid_tls(struct attempt_mode *mode, enum cleartext_reason reason, int64_t when)
{
	if (!tls_policy_tries(&mode->policy))
		return;
	mode->policy.level = TLS_LEVEL_NONE;
	mode->cleartext = (struct cleartext){ .reason = reason, .when = when };
}

struct attempt_mode
search_first_mode(const struct plan *plan, size_t i)
{
	const struct plan_address *address = &plan->address[i];
	int64_t ehlo = address->noted[MEMORY_EHLO];
	int64_t tls = address->noted[MEMORY_TLS];
	struct attempt_mode mode = {
		.policy = plan->host[address->host].policy,
	};

	if (tls_policy_requires(&mode.policy))
		return mode;
	mode.only_helo = ehlo > 0;
	if (ehlo > 0)
		avoid_tls(&mode, CLEARTEXT_AVOIDS_EHLO, ehlo);
	else if (tls > 0)
		avoid_tls(&mode, CLEARTEXT_AVOIDS_HANDSHAKE, tls);
	return mode;
}

/* To be remembered: other deliveries to this address need not wait so long. */
static bool
has_hung(const struct attempt *a, enum attempt_result result)
{
	return result == ATTEMPT_AGAIN && a->phase == ATTEMPT_IN_HANDSHAKE &&
	       a->tls.cause == TLS_CAUSE_TIMED_OUT;
}

/* Our address and our name in this connection. */
static void
set_own(const struct search_config *c, int fd, struct attempt *a)
{
	const char *name = NULL;

	if ((c->wants_own || c->helohosts->n > 0) && dial_own(fd, &a->own))
		name = helohosts_find(c->helohosts, &a->own);
	a->helohost = name ? name : c->helohost;
}

static enum attempt_result
attempt(const struct work *w, struct attempt_mode *mode,
    const struct dialed *won)
{
	const struct attempt_observer *observer = w->config->attempt.observer;
	struct search *s = w->search;
	const struct plan *plan = s->connector.plan;
	const size_t i = won->target;
	const struct plan_host *host = &plan->host[plan->address[i].host];
	struct attempt *a = history_add(&s->history);
	enum attempt_result result;

	a->address = i;
	a->host = host->is_literal ? NULL : host->name;
	a->ip = plan->address[i].ip;
	a->connect_ms = won->ms;
	set_own(w->config, won->fd, a);
	if (observer)
		observer->begins(observer->data, a);
	result = attempt_make(&w->config->attempt, w->session, mode, won->fd, a,
	    &s->server);
	if (observer)
		observer->has_ended(observer->data, a, result, &s->server);
	if (has_hung(a, result))
		memory_note(w->config->notes, &a->ip, MEMORY_TLS,
		    (int64_t)time(NULL));
	return result;
}

/* Uses a connection, and as many to the same address as it takes. */
static enum search_result
try_address(const struct work *w, struct attempt_mode *mode, struct dialed *won)
{
	struct search *s = w->search;
	const size_t i = won->target;
	enum attempt_result result = attempt(w, mode, won);

	while (result == ATTEMPT_AGAIN) {
		if (!connector_again(&s->connector, i, won))
			return SEARCH_NONE;
		result = attempt(w, mode, won);
	}
	s->address = i;
	switch (result) {
	case ATTEMPT_READY:
		return SEARCH_READY;
	case ATTEMPT_LOCAL:
		return SEARCH_LOCAL;
	case ATTEMPT_NO_TLS:
		w->had_no_tls[i] = true;
		return SEARCH_NONE;
	default:
		return SEARCH_NONE;
	}
}

/* Whether there is more than one address to choose from. */
static bool
has_choice(const struct plan *plan)
{
	size_t n = 0;

	for (size_t i = 0; i < plan->naddress && n < 2; i++)
		n += plan->address[i].use == PLAN_USED;
	return n == 2;
}

/* No server is ready, and the gate lets the search go on. */
static bool
goes_on(enum search_result result, const struct connector *c)
{
	return result == SEARCH_NONE && c->answer == GATE_OPEN;
}

static enum search_result
follow_once(const struct work *w)
{
	struct connector *c = &w->search->connector;
	bool needs_smtputf8 = w->config->needs_smtputf8 && has_choice(c->plan);
	enum search_result result = SEARCH_NONE;
	struct dialed won;

	while (result == SEARCH_NONE && connector_next(c, &won)) {
		struct attempt_mode mode =
		    search_first_mode(c->plan, won.target);

		mode.needs_smtputf8 = needs_smtputf8;
		result = try_address(w, &mode, &won);
	}
	return c->answer == GATE_DONE ? SEARCH_DONE : result;
}

/* The mode in which an attempt got ready, but for want of SMTPUTF8. */
static struct attempt_mode
mode_of(const struct plan *plan, const struct attempt *a)
{
	struct attempt_mode mode = {
		.policy = plan->host[plan->address[a->address].host].policy,
		.only_helo = a->used_helo,
	};

	mode.cleartext = a->cleartext;
	if (a->cleartext.reason != CLEARTEXT_NO_REASON)
		mode.policy.level = TLS_LEVEL_NONE;
	return mode;
}

/*
 * No server offers SMTPUTF8: the first of those that are ready without it is
 * used.  What it says of the addresses counts, as when stock sends them.
 */
static enum search_result
follow_without_smtputf8(const struct work *w)
{
	struct search *s = w->search;
	struct connector *c = &s->connector;
	const size_t n = s->history.n;
	enum search_result result = SEARCH_NONE;

	for (size_t i = s->history.pass; i < n && goes_on(result, c); i++) {
		const struct attempt *a = &s->history.attempt[i];
		struct attempt_mode mode = mode_of(c->plan, a);
		struct dialed won;

		if (a->cause == FAILURE_SMTPUTF8_NOT_OFFERED &&
		    !deadline_passed(c->until) &&
		    connector_return(c, a->address, &won))
			result = try_address(w, &mode, &won);
	}
	return c->answer == GATE_DONE ? SEARCH_DONE : result;
}

static enum search_result
follow(const struct work *w)
{
	enum search_result result = follow_once(w);

	return goes_on(result, &w->search->connector)
		   ? follow_without_smtputf8(w)
		   : result;
}

static struct deadline
deadline_of(const struct search_config *c)
{
	return deadline_in(1000 * (10 * (int64_t)c->timeoutconnect +
				      (int64_t)c->attempt.timeout_s));
}

static enum search_result
follow_plans(const struct work *w, struct plan *plan)
{
	const struct search_config *c = w->config;
	struct deadline until = deadline_of(c);
	struct search *s = w->search;
	enum search_result result;

	connector_begin(&s->connector, plan, c->tcpto, c->gate,
	    c->timeoutconnect, until);
	result = follow(w);
	if (!goes_on(result, &s->connector) ||
	    !plan_in_clear(&s->in_clear, plan, w->had_no_tls))
		return result;
	connector_finish(&s->connector);
	connector_begin(&s->connector, &s->in_clear, c->tcpto, c->gate,
	    c->timeoutconnect, until);
	history_begin_pass(&s->history);
	return follow(w);
}

enum search_result
search_server(struct search *s, struct plan *plan,
    const struct search_config *config)
{
	struct work w = {
		.search = s,
		.config = config,
		/* Too large for the stack. */
		.session = mem_resize(NULL, 1, sizeof *w.session),
		.had_no_tls = mem_alloc(plan->naddress, sizeof *w.had_no_tls),
	};
	enum search_result result;

	s->needs_smtputf8 = config->needs_smtputf8;
	result = follow_plans(&w, plan);
	free(w.session);
	free(w.had_no_tls);
	return result;
}

void
search_append_lines(const struct search *s, size_t address, struct buf *lines)
{
	history_append_lines(&s->history, &s->connector, address, lines);
}

/* TLS was to be tried, or SMTPUTF8 is wanted, and the session is without. */
static bool
is_downgraded(const struct search *s)
{
	const struct attempt *a = &s->history.attempt[s->history.n - 1];

	return a->cleartext.reason != CLEARTEXT_NO_REASON ||
	       s->connector.plan == &s->in_clear ||
	       (s->needs_smtputf8 &&
		   !(s->server.ehlo.extensions & SMTP_EXT_SMTPUTF8));
}

/* Whether a better host could not be looked up. */
static bool
has_lost_better(const struct search *s)
{
	const struct plan *plan = s->connector.plan;
	size_t own = plan->address[s->address].host;

	for (size_t i = 0; i < plan->nhost; i++)
		if (plan->host[i].preference < plan->host[own].preference &&
		    plan->host[i].outcome == DNS_TEMPFAIL)
			return true;
	return false;
}

enum search_reach
search_reach(const struct search *s)
{
	if (is_downgraded(s))
		return SEARCH_REACHED_DOWNGRADED;
	if (has_lost_better(s) ||
	    history_has_lines(&s->history, &s->connector, s->address))
		return SEARCH_REACHED_LATER;
	return SEARCH_REACHED_FIRST;
}

void
search_hand_over(struct search *s, struct handoff *h)
{
	const struct attempt *a = &s->history.attempt[s->history.n - 1];
	const int64_t *noted = s->connector.plan->address[s->address].noted;

	if (noted[MEMORY_PIPELINING] > 0)
		s->server.ehlo.extensions &= ~(unsigned)SMTP_EXT_PIPELINING;
	smtp_ehlo_format(&s->server.ehlo, &s->extensions);
	search_append_lines(s, s->address, &s->before);
	attempt_describe_tls(a, s->tls);
	h->fd = (unsigned long)s->server.fd;
	h->address = ip_format(&a->ip, s->text);
	h->host = a->host;
	h->extensions = s->extensions.data;
	h->tls = s->tls[0] != '\0' ? s->tls : NULL;
	h->status = (unsigned long)s->server.status;
	h->helper = (unsigned long)s->server.helper;
	h->before = s->before.len > 0 ? s->before.data : NULL;
	/* Only news is remembered: that EHLO fails was not known before. */
	h->helo = a->used_helo && noted[MEMORY_EHLO] == 0;
}

void
search_finish(struct search *s)
{
	connector_finish(&s->connector);
	plan_finish(&s->in_clear);
	history_finish(&s->history);
	buf_finish(&s->before);
	buf_finish(&s->extensions);
}
