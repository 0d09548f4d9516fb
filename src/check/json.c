/* SPDX-License-Identifier: ISC */
/* What is found, as JSON: one object, on one line, for each destination. */
#include "check/view.h"

#include <limits.h>
#include <string.h>

static void
begin(struct view *v, const char *host)
{
	v->out.needs_comma = false;
	v->is_within_attempts = false;
	out_open(&v->out, NULL, '{');
	out_json_text(&v->out, "host", host);
}

/* What the control files say about our addresses. */
static void
put_sources(struct out *out, const struct setup *s)
{
	char text[IP_TEXT_SIZE];

	out_open(out, "outgoing", '[');
	for (size_t i = 0; i < 2; i++) {
		const struct outgoing *o = &s->outgoing[i];

		if (o->line.len == 0)
			continue;
		out_open(out, NULL, '{');
		out_json_text(out, "file", s->files->sources[i].text);
		out_json_text(out, "line", buf_text(&o->line));
		if (o->is_given)
			out_json_text(out, "address", ip_format(&o->ip, text));
		out_json_text(out, "fault", buf_text(&s->source_fault[i]));
		out_close(out, '}');
	}
	out_close(out, ']');
}

/* Never the secret. */
static void
put_login(struct out *out, const struct setup *s)
{
	const struct login *login = &s->route.login;
	struct buf warnings = { 0 };

	if (!login_is_given(login) && s->route.unread.len == 0)
		return;
	out_open(out, "credentials", '{');
	if (s->route.unread.len > 0)
		out_json_text(out, "unreadable", buf_text(&s->route.unread));
	else {
		out_json_text(out, "user", buf_text(&login->credentials.user));
		out_json_text(out, "kind",
		    login->token.len > 0 ? "token" : "password");
		out_json_text(out, "file", login->file);
		view_exposed(s, &warnings);
		out_json_lines(out, "warnings", buf_text(&warnings),
		    warnings.len);
		buf_finish(&warnings);
	}
	out_close(out, '}');
}

static void
setup(struct view *v, const struct setup *s)
{
	struct out *out = &v->out;
	struct buf dane = { 0 };

	if (strcmp(s->host, buf_text(&s->domain)) != 0)
		out_json_text(out, "domain", buf_text(&s->domain));
	out_open(out, "route", '{');
	if (setup_is_relayed(s))
		out_json_text(out, "relay", buf_text(&s->route.relay));
	out_json_number(out, "port", s->route.port);
	if (s->route.file != NULL) {
		out_json_text(out, "file", s->route.file);
		out_json_text(out, "key", buf_text(&s->route.key));
	}
	out_close(out, '}');
	put_login(out, s);
	put_sources(out, s);
	out_open(out, "policy", '{');
	out_json_text(out, "trustanchors", buf_text(&s->control.trustanchors));
	out_json_number(out, "tlsstrictness",
	    (long long)s->control.tlsstrictness);
	out_json_text(out, "tlspolicy", buf_text(&s->situation.rule.line));
	view_dane(s, &dane);
	out_json_text(out, "dane", buf_text(&dane));
	buf_finish(&dane);
	out_close(out, '}');
}

static void
put_remembered(struct out *out, const struct plan_address *a, int64_t now)
{
	out_open(out, "remembered", '[');
	for (int i = 0; i < MEMORY_KINDS; i++) {
		enum memory_kind kind = (enum memory_kind)i;

		if (a->noted[kind] == 0)
			continue;
		out_open(out, NULL, '{');
		out_json_text(out, "what", view_noted(kind));
		out_json_number(out, "seconds_left",
		    a->noted[kind] + memory_lifetime(kind) - now);
		out_close(out, '}');
	}
	out_close(out, ']');
}

static void
put_address(struct out *out, const struct setup *s,
    const struct plan_address *a, int64_t now)
{
	int64_t since = tcpto_skipped_since(&s->files->tcpto, &a->ip, now);
	char text[IP_TEXT_SIZE];

	out_open(out, NULL, '{');
	out_json_text(out, "address", ip_format(&a->ip, text));
	if (a->use != PLAN_USED)
		out_json_text(out, "left_out", view_left_out(a->use));
	if (since != 0) {
		out_json_number(out, "timed_out_seconds_ago", now - since);
		out_json_number(out, "skipped_for_at_most_seconds",
		    since + TCPTO_SKIP_MAX_S - now);
	}
	put_remembered(out, a, now);
	out_close(out, '}');
}

static void
put_policy(struct out *out, const struct setup *s, size_t i)
{
	const struct tls_policy *p = &s->plan.host[i].policy;
	const struct tlsa_set *set = &s->list.host[i].tlsa.set;

	out_open(out, "policy", '{');
	out_json_text(out, "level", view_level(p->level));
	out_json_text(out, "source", view_source(p->source));
	if (p->skip != TLS_SKIP_NOT)
		out_json_text(out, "left_out", tls_skip_text(p->skip));
	out_close(out, '}');
	out_open(out, "tlsa", '[');
	for (size_t k = 0; k < set->n; k++) {
		struct buf text = { 0 };

		view_tlsa(set, k, &text);
		out_json_bytes(out, NULL, text.data, text.len);
		buf_finish(&text);
	}
	out_close(out, ']');
}

static void
idle(struct view *v, size_t connections)
{
	out_json_number(&v->out, "idle", (long long)connections);
}

/* How many sessions there may be with the host at a time. */
static void
put_limit(struct view *v, const char *host)
{
	const struct concurrencyhosts_line *line =
	    concurrencyhosts_find(v->limits, host);

	if (line == NULL)
		return;
	out_open(&v->out, "limit", '{');
	out_json_text(&v->out, "key", line->key);
	out_json_number(&v->out, "sessions", (long long)line->n);
	out_close(&v->out, '}');
}

static void
hosts(struct view *v, const struct setup *s, int64_t now)
{
	static const char *const outcomes[] = {
		[DNS_FOUND] = "found",
		[DNS_NODATA] = "no address",
		[DNS_NXDOMAIN] = "no address",
		[DNS_TEMPFAIL] = "no answer",
	};
	const struct plan *p = &s->plan;
	struct out *out = &v->out;
	struct buf sts = { 0 };

	view_sts(s, now, &sts);
	out_json_text(out, "mta_sts", buf_text(&sts));
	buf_finish(&sts);
	out_open(out, "hosts", '[');
	for (size_t i = 0; i < p->nhost; i++) {
		const struct plan_host *h = &p->host[i];

		out_open(out, NULL, '{');
		out_json_text(out, "name", h->name);
		out_json_number(out, "preference", h->preference);
		out_json_text(out, "dns", outcomes[h->outcome]);
		out_json_bool(out, "secure", h->is_secure);
		put_policy(out, s, i);
		put_limit(v, h->name);
		out_open(out, "addresses", '[');
		for (size_t k = 0; k < p->naddress; k++)
			if (p->address[k].host == i)
				put_address(out, s, &p->address[k], now);
		out_close(out, ']');
		out_close(out, '}');
	}
	out_close(out, ']');
}

static void
begin_attempt(struct view *v, const char *host, const struct ip *ip)
{
	struct out *out = &v->out;
	char text[IP_TEXT_SIZE];

	if (!v->is_within_attempts)
		out_open(out, "attempts", '[');
	v->is_within_attempts = true;
	out_open(out, NULL, '{');
	if (host)
		out_json_text(out, "host", host);
	out_json_text(out, "address", ip_format(ip, text));
}

static void
attempt_begins(struct view *v, const struct attempt *a)
{
	char text[IP_TEXT_SIZE];

	begin_attempt(v, a->host, &a->ip);
	out_json_text(&v->out, "from", ip_format(&a->own, text));
	out_json_text(&v->out, "helo", a->helohost);
	out_json_number(&v->out, "connect_ms", a->connect_ms);
	out_open(&v->out, "steps", '[');
}

static void
put_names(struct out *out, const char *names)
{
	out_open(out, "names", '[');
	while (*names != '\0') {
		size_t n = strcspn(names, ",");

		out_json_bytes(out, NULL, names, n);
		names += n + (names[n] != '\0');
	}
	out_close(out, ']');
}

/* What one way of verifying says, if it was asked. */
static void
put_verdict(struct out *out, const char *key, const struct tls_facts *f,
    enum tls_fact fact)
{
	const char *why = f->text[fact];

	if (!f->is_known[fact])
		return;
	out_open(out, key, '{');
	out_json_bool(out, "verifies", *why == '\0');
	out_json_text(out, "reason", why);
	if (fact == TLS_FACT_DANE && f->is_known[TLS_FACT_TLSA])
		out_json_text(out, "record", f->text[TLS_FACT_TLSA]);
	out_close(out, '}');
}

static void
put_certificate(struct out *out, const struct tls_facts *f)
{
	out_open(out, "certificate", '{');
	put_names(out, f->text[TLS_FACT_NAMES]);
	out_json_text(out, "issuer", f->text[TLS_FACT_ISSUER]);
	out_json_text(out, "expires", f->text[TLS_FACT_EXPIRES]);
	put_verdict(out, "pkix", f, TLS_FACT_VERDICT);
	put_verdict(out, "dane", f, TLS_FACT_DANE);
	out_close(out, '}');
}

static void
step(struct view *v, const struct attempt *a, const struct check_step *s)
{
	struct out *out = &v->out;

	out_open(out, NULL, '{');
	out_json_text(out, "step", s->name);
	if (a->phase == ATTEMPT_IN_AUTH)
		out_json_text(out, "mechanism",
		    smtp_mechanism_name(a->mechanism));
	out_json_number(out, "ms", s->ms);
	out_json_lines(out, "reply", s->reply, s->n);
	if (s->facts != NULL && s->facts->is_known[TLS_FACT_NAMES])
		put_certificate(out, s->facts);
	out_close(out, '}');
}

static void
put_tls(struct out *out, const struct attempt *a)
{
	char sentence[TLS_SENTENCE_SIZE];
	const struct tls_result *r = &a->tls;

	view_tls(a, sentence);
	if (sentence[0] == '\0')
		return;
	out_open(out, "tls", '{');
	if (r->status == TLS_STATUS_READY) {
		out_json_text(out, "version", r->version);
		out_json_text(out, "cipher", r->cipher);
		out_json_text(out, "group", r->group);
		out_json_text(out, "verified_for", r->verified);
	}
	out_json_text(out, "text", sentence);
	out_close(out, '}');
}

static void
attempt_ends(struct view *v, const struct attempt *a,
    enum attempt_result result, const struct server *server)
{
	char text[FAILURE_TEXT_SIZE];
	struct buf extensions = { 0 };
	struct out *out = &v->out;
	bool is_ready = a->cause == FAILURE_NONE;

	out_close(out, ']');
	if (is_ready) {
		smtp_ehlo_format(&server->ehlo, &extensions);
		out_json_text(out, "extensions", buf_text(&extensions));
		buf_finish(&extensions);
	}
	put_tls(out, a);
	out_json_text(out, "outcome",
	    is_ready ? "ready" : failure_brief(text, a->cause));
	out_json_lines(out, "reply", a->nreply > 0 ? a->reply : "", a->nreply);
	out_json_bool(out, "again", result == ATTEMPT_AGAIN);
	out_close(out, '}');
}

static void
unconnected(struct view *v, const struct connector *c, size_t i)
{
	const struct plan_address *a = &c->plan->address[i];
	const struct plan_host *h = &c->plan->host[a->host];

	begin_attempt(v, h->is_literal ? NULL : h->name, &a->ip);
	out_json_text(&v->out, "outcome", connector_reason(c, i));
	out_close(&v->out, '}');
}

/* The enhanced status code at the end of a sentence (RFC 3463). */
static void
put_status(struct out *out, const char *reason)
{
	const char *code = strstr(reason, "(#");

	if (code != NULL)
		out_json_bytes(out, "status", code + 2, strcspn(code + 2, ")"));
}

static void
result(struct view *v, const struct check_result *r)
{
	static const char *const verdicts[] = {
		[CHECK_DELIVERED] = "delivered",
		[CHECK_DEFERRED] = "deferred",
		[CHECK_BOUNCED] = "bounced",
	};
	struct out *out = &v->out;
	char text[IP_TEXT_SIZE];

	if (v->is_within_attempts)
		out_close(out, ']');
	out_open(out, "result", '{');
	out_json_text(out, "verdict", verdicts[r->verdict]);
	if (r->ready != NULL) {
		if (r->ready->host)
			out_json_text(out, "host", r->ready->host);
		out_json_text(out, "address", ip_format(&r->ready->ip, text));
		out_json_text(out, "protection", view_protection(r->ready));
	}
	put_status(out, r->reason);
	out_json_text(out, "reason", r->reason);
	out_json_text(out, "detail", r->detail);
	out_close(out, '}');
}

static void
end(struct view *v)
{
	out_close(&v->out, '}');
	out_end(&v->out);
}

static void
entries_begin(struct view *v)
{
	out_open(&v->out, NULL, '{');
	out_open(&v->out, "entries", '[');
}

static void
entry(struct view *v, const struct check_entry *e)
{
	struct out *out = &v->out;

	out_open(out, NULL, '{');
	out_json_text(out, "name", e->name);
	out_json_text(out, "value", e->value);
	out_json_text(out, "source", e->source);
	out_json_lines(out, "warnings", e->warnings, strlen(e->warnings));
	out_close(out, '}');
}

static void
put_count(struct out *out, const char *key, unsigned long long n)
{
	out_json_number(out, key, n < LLONG_MAX ? (long long)n : LLONG_MAX);
}

static void
put_connections(struct out *out, const struct held *h)
{
	out_open(out, "connections", '[');
	for (size_t i = 0; i < h->nconnection; i++) {
		const struct held_connection *c = &h->connection[i];

		out_open(out, NULL, '{');
		if (c->host)
			out_json_text(out, "host", c->host);
		out_json_text(out, "address", c->address);
		if (c->tls)
			out_json_text(out, "tls", c->tls);
		put_count(out, "messages", c->messages);
		put_count(out, "idle_seconds", c->idle_s);
		put_count(out, "seconds_left", c->lives_s);
		out_close(out, '}');
	}
	out_close(out, ']');
}

static void
put_limits(struct out *out, const struct held *h)
{
	out_open(out, "limits", '[');
	for (size_t i = 0; i < h->nlimit; i++) {
		const struct held_limit *l = &h->limit[i];

		out_open(out, NULL, '{');
		out_json_text(out, "key", l->key);
		put_count(out, "sessions", l->sessions);
		if (l->allowed > 0)
			put_count(out, "allowed", l->allowed);
		put_count(out, "waiting", l->waiting);
		out_close(out, '}');
	}
	out_close(out, ']');
}

static void
put_counters(struct out *out, const struct cache_counters *c)
{
	put_count(out, "found", c->hits);
	put_count(out, "not_found", c->misses);
	put_count(out, "kept", c->kept);
	out_open(out, "ended", '{');
	put_count(out, "by_server", c->by_server);
	put_count(out, "idle", c->by_idleness);
	put_count(out, "old", c->by_age);
	put_count(out, "enough_messages", c->by_use);
	put_count(out, "too_many", c->by_room);
	put_count(out, "delivery_waited", c->by_limit);
	put_count(out, "not_asked_for", c->unwanted);
	out_close(out, '}');
}

static void
entries_end(struct view *v, const struct held *held)
{
	static const char *const states[] = {
		[HELD_NO_BROKER] = "not running",
		[HELD_NOT_ALLOWED] = "not allowed",
		[HELD_OF_ANOTHER_USER] = "another user",
		[HELD_NO_ANSWER] = "no answer",
		[HELD_KNOWN] = "running",
	};
	struct out *out = &v->out;

	out_close(out, ']');
	out_open(out, "cache", '{');
	out_json_text(out, "state", states[held->state]);
	if (held->state == HELD_KNOWN) {
		put_connections(out, held);
		put_limits(out, held);
		put_counters(out, &held->counters);
	}
	out_close(out, '}');
	end(v);
}

const struct view view_json = {
	.begin = begin,
	.setup = setup,
	.idle = idle,
	.hosts = hosts,
	.attempt_begins = attempt_begins,
	.step = step,
	.attempt_ends = attempt_ends,
	.unconnected = unconnected,
	.result = result,
	.end = end,
	.entries_begin = entries_begin,
	.entry = entry,
	.entries_end = entries_end,
};
