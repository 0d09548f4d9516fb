/* SPDX-License-Identifier: ISC */
#include "check/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "delivery/failure.h"
#include "delivery/sessionkey.h"
#include "io/fdio.h"
#include "io/spawn.h"
#include "qmail/concurrencyhosts.h"

#define REAP_MS 1000

/* What the functions that observe a delivery need. */
struct observer {
	struct view *view;
	int64_t since; /* when the present phase began, in ms */
	bool sent_ehlo;
};

static int64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
begins(void *data, const struct attempt *a)
{
	struct observer *o = data;

	if (o->view->attempt_begins)
		o->view->attempt_begins(o->view, a);
	o->sent_ehlo = false;
	o->since = now_ms();
}

/* HELO follows an EHLO that was refused, or is the first command. */
static const char *
name_of(const struct observer *o, const struct attempt *a)
{
	static const char *const names[] = {
		[ATTEMPT_IN_GREETING] = "greeting",
		[ATTEMPT_IN_HELLO] = "EHLO",
		[ATTEMPT_IN_STARTTLS] = "STARTTLS",
		[ATTEMPT_IN_HANDSHAKE] = "handshake",
		[ATTEMPT_IN_GREETING_TLS] = "greeting",
		[ATTEMPT_IN_HELLO_TLS] = "EHLO",
		[ATTEMPT_IN_AUTH] = "AUTH",
	};

	if (a->phase == ATTEMPT_IN_HELLO && (a->used_helo || o->sent_ehlo))
		return "HELO";
	return names[a->phase];
}

static void
phase_has_ended(void *data, const struct attempt *a, const char *reply,
    size_t n, const struct tls_facts *facts)
{
	struct observer *o = data;
	struct check_step step = {
		.name = name_of(o, a),
		.ms = now_ms() - o->since,
		.reply = reply,
		.n = n,
		.facts = facts,
	};

	if (o->view->step)
		o->view->step(o->view, a, &step);
	o->sent_ehlo = a->phase == ATTEMPT_IN_HELLO;
	o->since = now_ms();
}

static void
has_ended(void *data, const struct attempt *a, enum attempt_result result,
    const struct server *server)
{
	struct observer *o = data;

	if (o->view->attempt_ends)
		o->view->attempt_ends(o->view, a, result, server);
}

static enum check_verdict
conclude(const struct probe *p, const struct check_result *result)
{
	if (p->view->result)
		p->view->result(p->view, result);
	if (p->view->end)
		p->view->end(p->view);
	return result->verdict;
}

/* No server was looked for, or there is no address. */
static enum check_verdict
conclude_without_server(const struct probe *p, const struct dsn *why)
{
	char reason[sizeof why->text + sizeof why->status + 8];
	struct check_result r = {
		.verdict =
		    dsn_is_temporary(why) ? CHECK_DEFERRED : CHECK_BOUNCED,
		.reason = reason,
		.detail = why->detail,
	};

	snprintf(reason, sizeof reason, "%s (#%s)", why->text, why->status);
	return conclude(p, &r);
}

static enum check_verdict
conclude_ready(const struct probe *p, const struct attempt *ready)
{
	struct check_result r = {
		.verdict = CHECK_DELIVERED,
		.ready = ready,
		.reason = "",
		.detail = "",
	};

	return conclude(p, &r);
}

/* The sentence of a report, without its line end. */
static enum check_verdict
conclude_failed(const struct probe *p, const struct attempt *decisive)
{
	char text[FAILURE_TEXT_SIZE], address[IP_TEXT_SIZE];
	char tls[TLS_SENTENCE_SIZE];
	struct buf detail = { 0 };
	struct check_result r = { .verdict = CHECK_DEFERRED };

	if (decisive != NULL) {
		failure_line(text, decisive->cause,
		    ip_format(&decisive->ip, address), "");
		attempt_describe_tls(decisive, tls);
		if (decisive->nreply > 0)
			buf_append(&detail, decisive->reply, decisive->nreply);
		else
			buf_puts(&detail, tls);
	} else
		failure_line(text, FAILURE_NOT_CONNECTED, "", "");
	text[strcspn(text, "\n")] = '\0';
	r.reason = text;
	r.detail = buf_text(&detail);
	conclude(p, &r);
	buf_finish(&detail);
	return CHECK_DEFERRED;
}

/* Addresses to which there was no connection. */
static void
show_unconnected(struct view *view, const struct connector *c)
{
	for (size_t i = 0; i < c->plan->naddress; i++)
		if (connector_has_failed(c, i) && view->unconnected)
			view->unconnected(view, c, i);
}

/* Nothing more is wanted of the server. */
static void
quit(const struct server *server)
{
	static const char command[] = "QUIT\r\n";
	ssize_t sent = fdio_write(server->fd, command, sizeof command - 1);

	(void)sent;
	close(server->fd);
	if (server->status != 0)
		close(server->status);
	spawn_reap(deadline_in(REAP_MS));
}

/*
 * It was connected to for this host, or has been shown as failed.  For another
 * host the server has to prove another name.
 */
static bool
was_tried(const struct search *s, const char *host, const struct ip *ip)
{
	const struct history *h = &s->history;
	const struct plan *plan = s->connector.plan;

	for (size_t i = 0; i < h->n; i++)
		if (ip_equal(&h->attempt[i].ip, ip) &&
		    (!h->attempt[i].host ||
			strcmp(h->attempt[i].host, host) == 0))
			return true;
	for (size_t i = 0; i < plan->naddress; i++)
		if (connector_has_failed(&s->connector, i) &&
		    ip_equal(&plan->address[i].ip, ip))
			return true;
	return false;
}

/* Each address that a delivery would not have come to, by itself. */
static void
try_others(struct view *view, const struct plan *plan,
    const struct search *tried, const struct search_config *config)
{
	for (size_t i = 0; i < plan->naddress; i++) {
		struct plan one = *plan;
		struct search s = { .address = 0 };

		one.address = &plan->address[i];
		one.naddress = 1;
		if (one.address->use != PLAN_USED ||
		    was_tried(tried, plan->host[one.address->host].name,
			&one.address->ip))
			continue;
		if (search_server(&s, &one, config) == SEARCH_READY)
			quit(&s.server);
		else
			show_unconnected(view, &s.connector);
		search_finish(&s);
	}
}

static enum check_verdict
search(const struct probe *p, struct setup *setup)
{
	struct observer o = { .view = p->view };
	struct attempt_observer observer = { begins, phase_has_ended, has_ended,
		&o };
	struct search_config config = setup_search_config(setup);
	struct search s = { .address = 0 };
	enum check_verdict verdict;
	enum search_result result;

	config.attempt.observer = &observer;
	config.wants_own = true;
	result = search_server(&s, &setup->plan, &config);
	if (result == SEARCH_READY)
		quit(&s.server);
	show_unconnected(p->view, &s.connector);
	if (p->tries_all)
		try_others(p->view, &setup->plan, &s, &config);
	if (result == SEARCH_READY)
		verdict =
		    conclude_ready(p, &s.history.attempt[s.history.n - 1]);
	else
		verdict = conclude_failed(p, history_decisive(&s.history));
	search_finish(&s);
	return verdict;
}

/* Connections that a delivery would find before it asks the DNS. */
static void
show_idle(const struct probe *p, const struct setup *setup)
{
	struct buf key = { 0 };

	if (p->held->state != HELD_KNOWN || !p->view->idle)
		return;
	sessionkey_by_next_hop(setup, &key);
	p->view->idle(p->view, held_count(p->held, buf_text(&key)));
	buf_finish(&key);
}

static enum check_verdict
run(const struct probe *p, struct concurrencyhosts *limits)
{
	struct setup setup = {
		.files = p->files,
		.host = p->host,
		.sender = p->envelope[0],
		.message = -1,
		.limits = limits,
	};
	struct view *view = p->view;
	struct dsn why = { 0 };
	int result;

	if (view->begin)
		view->begin(view, p->host);
	if (setup_read(&setup, &why) == -1 ||
	    setup_read_own(&setup, &why) == -1 ||
	    concurrencyhosts_read(limits, "control/concurrencyhosts", &why) ==
		-1 ||
	    (p->envelope[0] &&
		setup_read_envelope(&setup, p->envelope, &why) == -1))
		return conclude_without_server(p, &why);
	if (p->strictness >= 0)
		setup.control.tlsstrictness = (unsigned long)p->strictness;
	if (view->setup)
		view->setup(view, &setup);
	if (p->is_offline) {
		if (view->end)
			view->end(view);
		return CHECK_DELIVERED;
	}
	show_idle(p, &setup);
	result = setup_plan(&setup, &why);
	if (view->hosts)
		view->hosts(view, &setup, (int64_t)time(NULL));
	if (result == -1)
		return conclude_without_server(p, &why);
	return search(p, &setup);
}

enum check_verdict
probe_run(const struct probe *p)
{
	struct concurrencyhosts limits = { .nline = 0 };
	enum check_verdict verdict;

	p->view->limits = &limits;
	verdict = run(p, &limits);
	p->view->limits = NULL;
	concurrencyhosts_finish(&limits);
	return verdict;
}
