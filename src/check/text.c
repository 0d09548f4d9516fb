/* SPDX-License-Identifier: ISC */
/* What is found, as text for a person. */
#include "check/view.h"

#include <stdio.h>
#include <string.h>

/* The first word of a line; later lines of the same kind have none. */
static void
begin_line(struct view *v, const char *label)
{
	out_begin(&v->out);
	printf(*label == ' ' ? "  %-9s " : "%-9s ", label + (*label == ' '));
}

static void
put_line(struct view *v, const char *label, const char *text)
{
	begin_line(v, label);
	out_text(text);
	out_end(&v->out);
}

/* Several lines, with the label before the first one. */
static void
put_lines(struct view *v, const char *label, const char *text, size_t n)
{
	while (n > 0) {
		const char *line_end = memchr(text, '\n', n);
		size_t len = line_end ? (size_t)(line_end - text) : n;

		begin_line(v, label);
		out_bytes(text, len);
		out_end(&v->out);
		label = *label == ' ' ? " " : "";
		text += len;
		n -= len;
		if (n > 0) {
			text++;
			n--;
		}
	}
}

static void
begin(struct view *v, const char *host)
{
	put_line(v, "to", host);
	out_wait(&v->out, "control files");
}

static void
show_route(struct view *v, const struct setup *s)
{
	begin_line(v, "route");
	if (setup_is_relayed(s)) {
		out_text(buf_text(&s->route.relay));
		printf(", port %u", s->route.port);
	} else
		printf("the MX hosts of the domain, port %u", s->route.port);
	if (s->route.file != NULL) {
		printf(", by %s, line of \"", s->route.file);
		out_text(buf_text(&s->route.key));
		putchar('"');
	}
	out_end(&v->out);
}

/* A line for each warning. */
static void
put_warnings(struct view *v, const char *lines)
{
	while (*lines != '\0') {
		size_t n = strcspn(lines, "\n");

		out_colour(&v->out, OUT_YELLOW);
		fputs("  warning: ", stdout);
		out_colour(&v->out, OUT_PLAIN);
		out_bytes(lines, n);
		out_end(&v->out);
		lines += n + (lines[n] != '\0');
	}
}

/* Never the secret. */
static void
show_login(struct view *v, const struct setup *s)
{
	const struct login *login = &s->route.login;
	struct buf warnings = { 0 };

	if (s->route.unread.len > 0) {
		begin_line(v, "AUTH");
		fputs("not known: this user cannot read ", stdout);
		out_text(buf_text(&s->route.unread));
		out_end(&v->out);
	}
	if (!login_is_given(login))
		return;
	begin_line(v, "AUTH");
	fputs("as \"", stdout);
	out_text(buf_text(&login->credentials.user));
	printf("\", with a %s, by %s",
	    login->token.len > 0 ? "token" : "password", login->file);
	out_end(&v->out);
	view_exposed(s, &warnings);
	put_warnings(v, buf_text(&warnings));
	buf_finish(&warnings);
}

/* A line, if there is something to say. */
static void
put_if_any(struct view *v, const char *label, struct buf *text)
{
	if (text->len > 0)
		put_line(v, label, buf_text(text));
	buf_finish(text);
}

static void
show_rule(struct view *v, const struct tlspolicy *rule)
{
	begin_line(v, "TLS");
	fputs("by control/tlspolicy, line \"", stdout);
	out_text(buf_text(&rule->line));
	putchar('"');
	out_end(&v->out);
}

/* Without trust anchors TLS is used with those that have it from elsewhere. */
static void
show_exceptions(struct view *v, const struct situation *s)
{
	static const char *const when[2][2] = {
		{ "never", "only by control/tlshosts" },
		{ "only by TLSA records",
		    "only by TLSA records or control/tlshosts" },
	};

	begin_line(v, "TLS");
	printf("%s: there is no control/trustanchors",
	    when[s->wants_tlsa][s->files.has_pems]);
	out_end(&v->out);
}

/* Whether something demands TLS that is no file for it. */
static bool
is_raised(const struct setup *s)
{
	return s->situation_config.has_credentials ||
	       s->situation_config.is_implicit_tls;
}

/* What holds if no line of control/tlspolicy does. */
static const char *
usual_policy(const struct setup *s)
{
	static const char *const what[] = {
		"strictness 0: where the server offers it, unverified",
		"strictness 1: servers with TLS first, unverified",
		"strictness 2: verified, or the message waits",
	};
	const struct control *c = &s->control;
	bool verifies = c->tlsstrictness >= 2 && c->trustanchors.len > 0;

	if (s->situation_config.has_credentials)
		return "verified, or the message waits: there are credentials";
	if (s->situation_config.is_implicit_tls && !verifies)
		return "from the first byte, unverified: port 465";
	return what[c->tlsstrictness > 2 ? 2 : c->tlsstrictness];
}

static void
show_policy(struct view *v, const struct setup *s)
{
	struct buf dane = { 0 };

	if (s->situation.rule.level != TLSPOLICY_ABSENT)
		show_rule(v, &s->situation.rule);
	else if (s->control.trustanchors.len == 0 && !is_raised(s))
		show_exceptions(v, &s->situation);
	else
		put_line(v, "TLS", usual_policy(s));
	view_dane(s, &dane);
	put_if_any(v, "DANE", &dane);
}

/* Our address for a family, if the control files say something about it. */
static void
show_source(struct view *v, const struct setup *s, size_t i)
{
	const struct outgoing *o = &s->outgoing[i];
	char text[IP_TEXT_SIZE];

	if (o->line.len == 0)
		return;
	begin_line(v, "source");
	printf("%s, by %s, line \"",
	    o->is_given ? ip_format(&o->ip, text) : "any address",
	    s->files->sources[i].text);
	out_text(buf_text(&o->line));
	putchar('"');
	if (s->source_fault[i].len > 0)
		fputs(": no connection can come from it", stdout);
	out_end(&v->out);
}

static void
show_setup(struct view *v, const struct setup *s)
{
	if (strcmp(s->host, buf_text(&s->domain)) != 0)
		put_line(v, "domain", buf_text(&s->domain));
	show_route(v, s);
	show_login(v, s);
	for (size_t i = 0; i < 2; i++)
		show_source(v, s, i);
	show_policy(v, s);
	out_wait(&v->out, "the DNS");
}

/* A line below an address. */
static void
begin_note(struct view *v)
{
	begin_line(v, "");
	fputs("      ", stdout);
}

static void
show_skipped(struct view *v, int64_t since, int64_t now)
{
	int64_t min = since + TCPTO_SKIP_MIN_S - now;
	int64_t max = since + TCPTO_SKIP_MAX_S - now;

	begin_note(v);
	printf("timed out %lld minutes ago, skipped for another %lld to %lld "
	       "minutes",
	    (long long)(now - since) / 60, (long long)(min > 0 ? min : 0) / 60,
	    (long long)max / 60);
	out_end(&v->out);
}

static void
show_address(struct view *v, const struct setup *s,
    const struct plan_address *a, int64_t now)
{
	char text[IP_TEXT_SIZE];
	int64_t since;

	begin_line(v, "");
	printf("   %s", ip_format(&a->ip, text));
	if (a->use != PLAN_USED)
		printf(" left out: %s", view_left_out(a->use));
	out_end(&v->out);
	since = tcpto_skipped_since(&s->files->tcpto, &a->ip, now);
	if (a->use == PLAN_USED && since != 0)
		show_skipped(v, since, now);
	for (int i = 0; i < MEMORY_KINDS; i++) {
		enum memory_kind kind = (enum memory_kind)i;

		if (a->noted[kind] == 0)
			continue;
		begin_note(v);
		printf("remembered for another %lld minutes: %s",
		    (long long)(a->noted[kind] + memory_lifetime(kind) - now) /
			60,
		    view_noted(kind));
		out_end(&v->out);
	}
}

/* The records of a host, and what its policy is if it has one of its own. */
static void
show_host_policy(struct view *v, const struct setup *s, size_t i)
{
	const struct tls_policy *p = &s->plan.host[i].policy;
	const struct tlsa_set *set = &s->list.host[i].tlsa.set;

	for (size_t k = 0; k < set->n; k++) {
		struct buf text = { 0 };

		view_tlsa(set, k, &text);
		begin_line(v, "");
		fputs("   TLSA ", stdout);
		out_bytes(text.data, text.len);
		out_end(&v->out);
		buf_finish(&text);
	}
	if (p->skip == TLS_SKIP_NOT && p->source == TLS_FROM_STRICTNESS)
		return;
	begin_line(v, "");
	if (p->skip != TLS_SKIP_NOT)
		printf("   left out: %s", tls_skip_text(p->skip));
	else
		printf("   %s, by %s", view_level(p->level),
		    view_source(p->source));
	out_end(&v->out);
}

static void
show_idle(struct view *v, size_t connections)
{
	begin_line(v, "idle");
	printf("connections to this next hop: %zu", connections);
	out_end(&v->out);
}

/* How many sessions there may be with the host at a time. */
static void
show_limit(struct view *v, const char *host)
{
	const struct concurrencyhosts_line *line =
	    concurrencyhosts_find(v->limits, host);

	if (line == NULL)
		return;
	begin_line(v, "");
	printf("   sessions: at most %lu, by control/concurrencyhosts, line "
	       "of \"",
	    line->n);
	out_text(line->key);
	putchar('"');
	out_end(&v->out);
}

static void
show_hosts(struct view *v, const struct setup *s, int64_t now)
{
	const struct plan *p = &s->plan;
	struct buf sts = { 0 };

	view_sts(s, now, &sts);
	put_if_any(v, "MTA-STS", &sts);
	for (size_t i = 0; i < p->nhost; i++) {
		const struct plan_host *h = &p->host[i];

		begin_line(v, i == 0 ? "hosts" : "");
		printf("%u ", h->preference);
		out_text(h->name);
		if (h->outcome == DNS_TEMPFAIL)
			out_text(": the DNS gave no answer");
		else if (h->outcome != DNS_FOUND)
			out_text(": has no address");
		out_end(&v->out);
		show_host_policy(v, s, i);
		show_limit(v, h->name);
		for (size_t k = 0; k < p->naddress; k++)
			if (p->address[k].host == i)
				show_address(v, s, &p->address[k], now);
	}
	out_wait(&v->out, "a connection");
}

static void
attempt_begins(struct view *v, const struct attempt *a)
{
	char text[IP_TEXT_SIZE];

	begin_line(v, "connected");
	view_put_server(a);
	printf(" in %d ms", a->connect_ms);
	out_end(&v->out);
	begin_line(v, " from");
	printf("%s, as ", ip_format(&a->own, text));
	out_text(a->helohost);
	out_end(&v->out);
	out_wait(&v->out, "the greeting");
}

/* The last line of a reply says what the server thinks of the command. */
static void
put_last_line(const char *reply, size_t n)
{
	const char *start = reply;

	for (size_t i = 0; i + 1 < n; i++)
		if (reply[i] == '\n')
			start = reply + i + 1;
	n -= (size_t)(start - reply);
	if (n > 0 && start[n - 1] == '\n')
		n--;
	out_bytes(start, n);
}

static void
show_facts(struct view *v, const struct tls_facts *f)
{
	static const char *const names[TLS_FACTS] = {
		[TLS_FACT_NAMES] = "names",
		[TLS_FACT_ISSUER] = "issuer",
		[TLS_FACT_EXPIRES] = "expires",
		[TLS_FACT_VERDICT] = "PKIX",
		[TLS_FACT_DANE] = "DANE",
		[TLS_FACT_TLSA] = "TLSA record",
		[TLS_FACT_OWN_EXPIRES] = "our own expires",
	};

	for (int i = 0; i < TLS_FACTS; i++) {
		const char *text = f->text[i];

		if (!f->is_known[i])
			continue;
		if ((i == TLS_FACT_VERDICT || i == TLS_FACT_DANE) &&
		    *text == '\0')
			text = "verifies";
		begin_note(v);
		printf("%s: ", names[i]);
		out_text(*text != '\0' ? text : "none");
		out_end(&v->out);
	}
}

static void
step(struct view *v, const struct attempt *a, const struct check_step *s)
{
	char label[16];

	snprintf(label, sizeof label, " %s", s->name);
	begin_line(v, label);
	printf("%4lld ms", (long long)s->ms);
	if (a->phase == ATTEMPT_IN_AUTH)
		printf("  %s%s", smtp_mechanism_name(a->mechanism),
		    s->n > 0 ? ":" : "");
	if (s->n > 0)
		fputs(a->phase == ATTEMPT_IN_AUTH ? " " : "  ", stdout);
	put_last_line(s->reply, s->n);
	out_end(&v->out);
	if (s->facts != NULL)
		show_facts(v, s->facts);
	out_wait(&v->out, "the server");
}

static void
attempt_ends(struct view *v, const struct attempt *a,
    enum attempt_result result, const struct server *server)
{
	char text[FAILURE_TEXT_SIZE], tls[TLS_SENTENCE_SIZE];
	struct buf extensions = { 0 };

	view_tls(a, tls);
	if (tls[0] != '\0')
		put_line(v, " TLS", tls);
	if (a->cause == FAILURE_NONE) {
		smtp_ehlo_format(&server->ehlo, &extensions);
		put_line(v, " offers",
		    extensions.len > 0 ? buf_text(&extensions) : "nothing");
		buf_finish(&extensions);
		put_line(v, " ready", "for MAIL");
	} else {
		put_lines(v, " said", a->reply, a->nreply);
		put_line(v, " failed", failure_brief(text, a->cause));
	}
	if (result == ATTEMPT_AGAIN)
		put_line(v, " again", "this address, in another way");
	out_wait(&v->out, "a connection");
}

static void
unconnected(struct view *v, const struct connector *c, size_t i)
{
	const struct plan_address *a = &c->plan->address[i];
	const struct plan_host *h = &c->plan->host[a->host];
	char text[IP_TEXT_SIZE];

	ip_format(&a->ip, text);
	begin_line(v, "failed");
	if (h->is_literal)
		out_text(text);
	else {
		out_text(h->name);
		printf(" (%s)", text);
	}
	printf(": %s", connector_reason(c, i));
	out_end(&v->out);
}

static void
result(struct view *v, const struct check_result *r)
{
	static const struct {
		enum out_colour colour;
		const char *text;
	} words[] = {
		[CHECK_DELIVERED] = { OUT_GREEN, "delivered" },
		[CHECK_DEFERRED] = { OUT_YELLOW, "deferred" },
		[CHECK_BOUNCED] = { OUT_RED, "bounced" },
	};

	put_lines(v, "reason", r->reason, strlen(r->reason));
	put_lines(v, "", r->detail, strlen(r->detail));
	begin_line(v, "result");
	fputs("a message would be ", stdout);
	out_colour(&v->out, words[r->verdict].colour);
	fputs(words[r->verdict].text, stdout);
	out_colour(&v->out, OUT_PLAIN);
	if (r->ready != NULL) {
		fputs(" through ", stdout);
		view_put_server(r->ready);
		printf(", in %s", view_protection(r->ready));
	}
	out_end(&v->out);
}

static void
entry(struct view *v, const struct check_entry *e)
{
	out_begin(&v->out);
	if (*e->value != '\0' || *e->source != '\0')
		printf("%-38s ", e->name);
	else
		fputs(e->name, stdout);
	out_text(e->value);
	if (*e->source != '\0')
		printf("%s(%s)", *e->value != '\0' ? "  " : "", e->source);
	out_end(&v->out);
	put_warnings(v, e->warnings);
}

/* The first column of what belongs to the entry above. */
static void
begin_detail(struct view *v, const char *name)
{
	out_begin(&v->out);
	fputs("  ", stdout);
	out_text(name);
	printf("%*s ", (int)(strlen(name) < 36 ? 36 - strlen(name) : 0), "");
}

static void
put_connection(struct view *v, const struct held_connection *c)
{
	struct buf name = { 0 };

	if (c->host)
		buf_printf(&name, "%s (%s)", c->host, c->address);
	else
		buf_puts(&name, c->address);
	begin_detail(v, buf_text(&name));
	printf("messages: %lu, idle for %lu s, may be used for %lu s",
	    c->messages, c->idle_s, c->lives_s);
	out_end(&v->out);
	out_begin(&v->out);
	fputs("    ", stdout);
	out_text(c->tls ? c->tls : "clear text");
	out_end(&v->out);
	buf_finish(&name);
}

static void
put_limit(struct view *v, const struct held_limit *l)
{
	begin_detail(v, l->key);
	printf("sessions: %lu", l->sessions);
	if (l->allowed > 0)
		printf(" of %lu", l->allowed);
	printf(", waiting deliveries: %lu", l->waiting);
	out_end(&v->out);
}

/* Only what has happened. */
static void
put_ended(struct view *v, const struct cache_counters *c)
{
	const struct {
		const char *why;
		unsigned long n;
	} ended[] = {
		{ "by the server", c->by_server },
		{ "idle for too long", c->by_idleness },
		{ "too old", c->by_age },
		{ "enough messages", c->by_use },
		{ "too many connections", c->by_room },
		{ "a delivery waited", c->by_limit },
		{ "not asked for", c->unwanted },
	};
	const char *separator = "";

	begin_detail(v, "ended");
	for (size_t i = 0; i < sizeof ended / sizeof *ended; i++) {
		if (ended[i].n == 0)
			continue;
		printf("%s%s: %lu", separator, ended[i].why, ended[i].n);
		separator = ", ";
	}
	fputs(*separator == '\0' ? "none" : "", stdout);
	out_end(&v->out);
}

static void
entries_end(struct view *v, const struct held *held)
{
	const struct cache_counters *c = &held->counters;

	if (held->state != HELD_KNOWN)
		return;
	for (size_t i = 0; i < held->nconnection; i++)
		put_connection(v, &held->connection[i]);
	for (size_t i = 0; i < held->nlimit; i++)
		put_limit(v, &held->limit[i]);
	begin_detail(v, "asked for since it runs");
	printf("found: %lu, not found: %lu, kept: %lu", c->hits, c->misses,
	    c->kept);
	out_end(&v->out);
	put_ended(v, c);
}

const struct view view_text = {
	.begin = begin,
	.setup = show_setup,
	.idle = show_idle,
	.hosts = show_hosts,
	.attempt_begins = attempt_begins,
	.step = step,
	.attempt_ends = attempt_ends,
	.unconnected = unconnected,
	.result = result,
	.entry = entry,
	.entries_end = entries_end,
};
