/* SPDX-License-Identifier: ISC */
#include "delivery/reuse.h"

#include <sys/socket.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"
#include "delivery/failure.h"
#include "delivery/secrets.h"
#include "delivery/sessionkey.h"
#include "io/fdio.h"
#include "tls/helper.h"

/*
 * Of all keys of a question, in bytes; the limits of its CACHE_CANDIDATES need
 * less than 300 bytes each.
 */
#define KEYS_MAX (CACHE_REQUEST_MAX - (size_t)300 * CACHE_CANDIDATES)
/* The same in READY, which also has what is known of the session. */
#define KEYS_UNASKED_MAX ((size_t)8 * 1024)

static bool
has_broker(const struct reuse *r)
{
	return r->client->fd != -1;
}

/*
 * Using a connection.
 */

/* What the child needs; -1 where there is none. */
struct connection {
	int fd[PASS_MAX];
	int secrets;
	bool is_kept; /* by the broker, for the next delivery */
};

/* A server that waits for the next MAIL is told that there is none. */
static void
quit(const struct connection *c)
{
	static const char line[] = "QUIT\r\n";

	(void)send(c->fd[CACHE_FD_SESSION], line, sizeof line - 1,
	    MSG_NOSIGNAL | MSG_DONTWAIT);
}

/*
 * The session has ended when qmail-remote-tls has closed its connection, which
 * takes it a moment; or it goes on, as the broker's.
 */
static void
close_connection(struct connection *c)
{
	int status = c->fd[CACHE_FD_STATUS];

	close(c->fd[CACHE_FD_SESSION]);
	if (status != -1 && !c->is_kept)
		tls_helper_await_end(status, deadline_in(TLS_HELPER_END_MS));
	if (status != -1)
		close(status);
	if (c->secrets != -1)
		close(c->secrets);
}

/* The server repeats credentials that it was shown earlier, too. */
static bool
put_secrets(const struct setup *s, struct connection *c)
{
	const struct login *login = &s->route.login;

	c->secrets = -1;
	if (!login_is_given(login))
		return true;
	c->secrets = secrets_put(&login->credentials);
	return c->secrets != -1;
}

static unsigned long
number(int fd)
{
	return fd == -1 ? 0 : (unsigned long)fd;
}

/*
 * The child gets no socket to the broker: whoever took it over could ask for
 * the connections of others, or leave one that leads elsewhere.
 */
static enum child_end
run(struct child *child, const struct connection *c)
{
	int keep[PASS_MAX + 1];
	size_t n = 0;

	for (size_t i = 0; i < PASS_MAX; i++)
		if (c->fd[i] != -1)
			keep[n++] = c->fd[i];
	if (c->secrets != -1)
		keep[n++] = c->secrets;
	return child_run(child, keep, n);
}

static void
report_death(const struct child *child, enum failure_cause cause)
{
	struct dsn why = { 0 };

	failure_set(&why, cause, child->handoff.address);
	dsn_detail(&why, "%s", child->text);
	report_failure(&why);
	report_end();
}

/* The report is that of the child, or says what became of it. */
static enum reuse_result
finish(const struct child *child, enum child_end end)
{
	switch (end) {
	case CHILD_REPORTED:
		report_forward(buf_text(&child->report), child->report.len);
		return REUSE_REPORTED;
	case CHILD_AGAIN:
		return REUSE_NOT;
	case CHILD_FAILED:
		report_death(child, FAILURE_EXEC);
		return REUSE_REPORTED;
	default:
		report_death(child, FAILURE_CONNECTION_DIED_IN_DOUBT);
		return REUSE_REPORTED;
	}
}

static void
keep(const struct reuse *r, struct connection *c, unsigned long used)
{
	const struct cache_message m = { .kind = CACHE_KEEP,
		.session.used = used };
	size_t n = c->fd[CACHE_FD_STATUS] == -1 ? 1 : 2;

	if (used == 0)
		return;
	c->is_kept = cache_client_tell(r->client, &m, c->fd, n);
	if (!c->is_kept)
		quit(c);
}

/*
 * Sends the message over the connection of the broker's last answer.  host is
 * NULL if the server is known by its address only.
 */
static enum reuse_result
use(struct reuse *r, const int fd[PASS_MAX], const char *host,
    const char *before)
{
	const struct cache_session *s = &r->client->answer.session;
	const struct setup *setup = r->setup;
	struct connection c = { .secrets = -1 };
	enum reuse_result result = REUSE_NOT;
	struct child child = { .program = r->program_io,
		.handoff = {
		    .fd = number(fd[CACHE_FD_SESSION]),
		    .status = number(fd[CACHE_FD_STATUS]),
		    .timeout_s = setup->control.timeoutremote,
		    .address = s->address,
		    .host = host,
		    .extensions = s->extensions,
		    .tls = s->tls,
		    .before = before,
		    .used = s->used,
		    .envelope = setup->envelope.address,
		} };

	/* Another one would probably be dead, too. */
	r->asks = false;
	/* The place that the connection takes, if it takes one. */
	r->has_place = true;
	memcpy(c.fd, fd, sizeof c.fd);
	if (put_secrets(setup, &c)) {
		child.handoff.secrets = number(c.secrets);
		result = finish(&child, run(&child, &c));
		keep(r, &c, child.used);
	}
	close_connection(&c);
	buf_finish(&child.report);
	return result;
}

/* Others may wait for its place, and asking the DNS takes time. */
static void
tell_gone(struct reuse *r)
{
	static const struct cache_message gone = { .kind = CACHE_GONE };

	r->has_place = !cache_client_tell(r->client, &gone, NULL, 0);
}

static void
note_miss(struct reuse *r)
{
	const struct cache_message *answer = &r->client->answer;

	if (answer->keys != NULL)
		(void)str_copy(r->keys, sizeof r->keys, answer->keys);
}

enum reuse_result
reuse_by_next_hop(struct reuse *r, const struct setup *setup)
{
	struct cache_message ask = { .kind = CACHE_ASK };
	int fd[PASS_MAX];

	r->setup = setup;
	r->asks = r->is_wanted;
	if (!has_broker(r) || !r->is_wanted)
		return REUSE_NOT;
	sessionkey_by_next_hop(setup, &r->key1);
	if (r->key1.len == 0)
		return REUSE_NOT;
	ask.session.key1 = r->key1.data;
	if (!cache_client_ask(r->client, &ask, fd))
		return REUSE_NOT;
	if (r->client->answer.kind != CACHE_HIT) {
		note_miss(r);
		return REUSE_NOT;
	}
	if (use(r, fd, r->client->answer.session.host, NULL) == REUSE_REPORTED)
		return REUSE_REPORTED;
	tell_gone(r);
	return REUSE_NOT;
}

/*
 * Choosing one of several servers.
 */

static const struct concurrencyhosts_line *
limit_of(const struct reuse *r, const struct plan *plan, size_t address)
{
	return concurrencyhosts_find(&r->limits,
	    plan->host[plan->address[address].host].name);
}

static void
finish_choice(struct reuse_choice *c)
{
	for (size_t i = 0; i < c->message.ncandidate; i++)
		buf_finish(&c->key[i]);
	c->message.ncandidate = 0;
	c->length = 0;
}

/*
 * The key is made now, also if it is only used for what comes later; but none
 * that would make the message longer than it can be.
 */
static void
make_key(struct reuse *r, const struct plan *plan, size_t address,
    const char *limit, struct buf *key)
{
	struct reuse_choice *c = &r->choice;

	*key = (struct buf){ 0 };
	if (!r->is_wanted)
		return;
	sessionkey_by_address(r->setup, plan, address, limit, key);
	if (c->length + key->len > KEYS_MAX)
		buf_finish(key);
	c->length += key->len;
}

static void
add_candidate(struct reuse *r, const struct plan *plan, size_t address)
{
	const struct concurrencyhosts_line *line = limit_of(r, plan, address);
	const char *limit = line ? line->key : "";
	struct reuse_choice *c = &r->choice;
	size_t n = c->message.ncandidate++;

	make_key(r, plan, address, limit, &c->key[n]);
	c->address[n] = address;
	c->message.candidate[n] = (struct cache_candidate){
		.key = r->asks ? buf_text(&c->key[n]) : "",
		.limit = limit,
		.n = line ? line->n : 0,
	};
}

/* More addresses than a question has room for are for a later one. */
static void
make_choice(struct reuse *r, const struct plan *plan, size_t first, size_t end,
    bool *may)
{
	struct reuse_choice *c = &r->choice;

	finish_choice(c);
	c->message.kind = CACHE_CHOOSE;
	c->message.wait = r->limits.wait_s;
	for (size_t i = first; i < end; i++) {
		bool has_room = c->message.ncandidate < CACHE_CANDIDATES;

		may[i - first] = may[i - first] && has_room;
		if (may[i - first])
			add_candidate(r, plan, i);
	}
}

/* Whether the broker might have a connection with this key. */
static bool
may_be_found(const struct reuse *r, const char *key)
{
	return *key != '\0' && (r->choice.length > KEYS_UNASKED_MAX ||
				   keyset_may_have(r->keys, key));
}

/*
 * Whether there is an idle connection, or a place, to ask for; or a place to
 * give back, which others may wait for.  Where there is nothing, no answer has
 * to be waited for: the broker learns of the keys later.
 */
static bool
has_question(const struct reuse *r)
{
	const struct cache_message *m = &r->choice.message;

	if (r->has_place)
		return true;
	for (size_t i = 0; i < m->ncandidate; i++)
		if (*m->candidate[i].limit != '\0' ||
		    may_be_found(r, m->candidate[i].key))
			return true;
	return false;
}

/* Only servers under the limit of which we have a place are connected to. */
static void
restrict_to(struct reuse *r, const struct plan *plan, size_t first, size_t end,
    bool *may, const char *limit)
{
	for (size_t i = first; i < end; i++) {
		const struct concurrencyhosts_line *line = limit_of(r, plan, i);

		may[i - first] =
		    may[i - first] && strcmp(line ? line->key : "", limit) == 0;
	}
	r->has_place = *limit != '\0';
}

/* The broker says that there are as many sessions as this limit allows. */
static enum gate_answer
close_gate(struct reuse *r, const struct cache_message *asked,
    const char *limit, const char **why)
{
	const struct cache_candidate *full = &asked->candidate[0];

	for (size_t i = 0; i < asked->ncandidate; i++)
		if (strcmp(asked->candidate[i].limit, limit) == 0)
			full = &asked->candidate[i];
	snprintf(r->why, sizeof r->why, "%.200s:%lu", full->limit, full->n);
	*why = r->why;
	return GATE_CLOSED;
}

/* Sends the message over an idle connection to this address of the plan. */
static enum reuse_result
use_idle(struct reuse *r, const struct plan *plan, size_t address,
    const int fd[PASS_MAX])
{
	const struct plan_host *host = &plan->host[plan->address[address].host];
	struct buf before = { 0 };
	enum reuse_result result;

	search_append_lines(r->search, address, &before);
	result = use(r, fd, host->is_literal ? NULL : host->name,
	    before.len > 0 ? before.data : NULL);
	buf_finish(&before);
	return result;
}

static enum gate_answer
decide(struct reuse *r, const struct plan *plan, size_t first, size_t end,
    bool *may, const char **why)
{
	const struct cache_message *asked = &r->choice.message;
	const struct cache_message *answer = &r->client->answer;
	int fd[PASS_MAX];

	make_choice(r, plan, first, end, may);
	r->choice.is_asked = has_question(r);
	if (!r->choice.is_asked || !cache_client_ask(r->client, asked, fd))
		return GATE_OPEN;
	switch (answer->kind) {
	case CACHE_HIT:
		if (use_idle(r, plan, r->choice.address[answer->chosen], fd) ==
		    REUSE_REPORTED)
			return GATE_DONE;
		/* The connection was dead: now asks only for a place. */
		return decide(r, plan, first, end, may, why);
	case CACHE_FULL:
		return close_gate(r, asked, answer->limit, why);
	default: /* CACHE_PLACE, the only other answer */
		restrict_to(r, plan, first, end, may,
		    asked->candidate[answer->chosen].limit);
		return GATE_OPEN;
	}
}

static enum gate_answer
ask(void *data, const struct plan *plan, size_t first, size_t end, bool *may,
    const char **why)
{
	struct reuse *r = data;

	return has_broker(r) ? decide(r, plan, first, end, may, why)
			     : GATE_OPEN;
}

struct gate
reuse_gate(struct reuse *r, struct search *search)
{
	r->search = search;
	return (struct gate){ .ask = ask, .data = r };
}

/*
 * Leaving a connection to others.
 */

static unsigned long
least(unsigned long a, unsigned long b)
{
	return a < b ? a : b;
}

/* The key of an address in the last question to the broker; or NULL. */
static const char *
key_of(const struct reuse *r, size_t address)
{
	const struct reuse_choice *c = &r->choice;

	for (size_t i = 0; i < c->message.ncandidate; i++)
		if (c->address[i] == address && c->key[i].len > 0)
			return c->key[i].data;
	return NULL;
}

/* The servers to which a connection was wanted, if the broker was not asked. */
static void
add_unasked(const struct reuse *r, struct cache_message *m)
{
	const struct cache_message *choice = &r->choice.message;

	if (r->choice.is_asked)
		return;
	m->ncandidate = choice->ncandidate;
	memcpy(m->candidate, choice->candidate, sizeof m->candidate);
}

/* Tells the broker what the session is; false if it is for nobody else. */
static bool
describe(struct reuse *r, const struct handoff *h)
{
	const struct search *s = r->search;
	enum search_reach reach = search_reach(s);
	const char *key2 = key_of(r, s->address);
	struct cache_message m = { .kind = CACHE_READY };

	if (!r->is_wanted || !r->client->has_version || key2 == NULL ||
	    reach == SEARCH_REACHED_DOWNGRADED)
		return false;
	m.session = (struct cache_session){
		.key1 = reach == SEARCH_REACHED_FIRST && r->key1.len > 0
			    ? r->key1.data
			    : NULL,
		.key2 = key2,
		.address = h->address,
		.host = h->host,
		.extensions = h->extensions,
		.tls = h->tls,
		/* Cut to 32 bits it is no greater, or 0 for none. */
		.mailmax = (unsigned long)s->server.ehlo.mailmax,
		.lives = least(STORE_LIFE_S,
		    sessionkey_lives(r->setup, s->connector.plan, s->address,
			(int64_t)time(NULL))),
	};
	add_unasked(r, &m);
	return cache_client_tell(r->client, &m, NULL, 0);
}

/*
 * Announces a session without keys, which only has its place: after that
 * nothing can be asked over this socket, which qmail-remote-io will have.
 * False if the broker was not told.
 */
static bool
announce_place(const struct reuse *r, const struct handoff *h)
{
	const struct cache_message m = { .kind = CACHE_READY,
		.session.address = h->address };

	return cache_client_tell(r->client, &m, NULL, 0);
}

void
reuse_hand_over(struct reuse *r, struct handoff *h)
{
	bool is_described, is_needed;

	if (!has_broker(r))
		return;
	is_described = describe(r, h);
	/* A place is ours for as long as the socket is open. */
	is_needed = is_described || (r->has_place && announce_place(r, h));
	if (is_needed && fdio_set_cloexec(r->client->fd, false) == 0 &&
	    is_described)
		h->cache = (unsigned long)r->client->fd;
}

void
reuse_finish(struct reuse *r)
{
	concurrencyhosts_finish(&r->limits);
	finish_choice(&r->choice);
	buf_finish(&r->key1);
	cache_client_close(r->client);
}
