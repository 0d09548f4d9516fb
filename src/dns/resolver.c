/* SPDX-License-Identifier: ISC */
#include "dns/resolver.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/random.h"
#include "base/str.h"
#include "dns/transport.h"

#define ID_COUNT 64
#define ALIAS_STEPS_MAX 8

/*
 * Rounds in milliseconds, if resolv.conf has none.  Most answers that come at
 * all come within the first round, and one minute in all is longer than the
 * restart of a server.
 */
static const int64_t default_round[] = { 1000, 3000, 11000, 45000 };
#define ROUND_MAX 45000
#define ROUNDS (sizeof default_round / sizeof *default_round)

struct dns_resolver {
	struct dns_config config;
	struct dns_transport *transport;
	struct question *question; /* a list of the unanswered ones */
	struct deadline until;     /* deadline of the current wait */
	bool has_result;           /* a question has got one in this step */
	bool asks_ad;
	bool is_plain[DNS_SERVERS_MAX]; /* answers only without EDNS0 */
	uint16_t id[ID_COUNT];          /* for later questions, drawn at once */
	size_t nid;
};

/* The state of a question at one server, since it was last asked. */
struct server_state {
	bool has_failed;
	bool was_asked_plain;
	/* What its replies require; done when the transport is idle. */
	bool wants_plain;
	bool wants_tcp[2]; /* [0] without EDNS0, [1] with it */
};

struct question {
	struct dns_resolver *resolver;
	struct question *next;
	struct dns_answer *into; /* no longer valid once it is answered */
	int type;
	char name[DNS_NAME_SIZE]; /* asked for now */
	unsigned nalias;          /* aliases that led to it */
	bool is_begun, is_answered;
	/* Over all answers so far, aliases included: */
	bool is_secure;
	uint32_t ttl_s;
	unsigned round; /* of the schedule */
	size_t first;   /* the first server of a round */
	size_t nasked;  /* number of servers asked in this round */
	size_t server;  /* the server asked last */
	int64_t try_ms; /* its share of the round */
	struct deadline round_end, try_end, plain_at;
	struct server_state state[DNS_SERVERS_MAX];
};

/* The question has its result. */
static void
conclude(struct question *q)
{
	q->into->is_pending = false;
	q->is_answered = true;
	q->resolver->has_result = true;
}

/*
 * An unpredictable ID: together with the port it is all that protects against a
 * forged answer.
 */
static int
draw_id(struct dns_resolver *r, uint16_t *id)
{
	if (r->nid == 0) {
		if (random_bytes(r->id, sizeof r->id) == -1)
			return -1;
		r->nid = ID_COUNT;
	}
	*id = r->id[--r->nid];
	return 0;
}

static void
send_question(struct question *q, struct dns_path path)
{
	struct dns_resolver *r = q->resolver;
	unsigned char message[DNS_QUESTION_SIZE];
	unsigned with = 0;
	uint16_t id;
	size_t n;

	if (draw_id(r, &id) == -1) {
		q->state[path.server].has_failed = true;
		return;
	}
	if (r->config.uses_tcp)
		path.is_tcp = true;
	if (path.has_edns)
		with |= DNS_EDNS;
	if (r->asks_ad)
		with |= DNS_AD;
	n = dns_question_write(message, q->name, q->type, id, with);
	dns_transport_send(r->transport, path, message, n, q);
}

static void
ask_plain(struct question *q, size_t server)
{
	q->state[server].was_asked_plain = true;
	if (server == q->server)
		q->plain_at = deadline_never();
	send_question(q, (struct dns_path){ .server = server });
}

/* The server has replied in time, so it gets its time once more. */
static void
ask_tcp(struct question *q, size_t server, bool has_edns)
{
	if (server == q->server) {
		q->plain_at = deadline_never();
		q->try_end = deadline_in(q->try_ms);
	}
	send_question(q,
	    (struct dns_path){
		.server = server, .is_tcp = true, .has_edns = has_edns });
}

/*
 * Asks the next server of this round; it gets an equal share of the time left.
 */
static void
ask_next(struct question *q)
{
	struct dns_resolver *r = q->resolver;
	size_t n = r->config.nserver, server = (q->first + q->nasked) % n;

	q->try_ms = deadline_left(q->round_end) / (int64_t)(n - q->nasked);
	q->try_end = deadline_in(q->try_ms);
	q->plain_at = deadline_in(q->try_ms / 2);
	q->server = server;
	q->nasked++;
	q->state[server] = (struct server_state){ 0 };
	if (r->is_plain[server])
		ask_plain(q, server);
	else
		send_question(q,
		    (struct dns_path){ .server = server, .has_edns = true });
}

static int64_t
round_ms(const struct dns_config *c, unsigned round)
{
	int64_t ms = (int64_t)c->timeout_s * 1000;

	if (ms == 0)
		return default_round[round < ROUNDS ? round : ROUNDS - 1];
	while (round-- > 0 && ms < ROUND_MAX)
		ms *= 2;
	return ms * (int64_t)c->nserver;
}

static void
begin_round(struct question *q)
{
	const struct dns_resolver *r = q->resolver;

	q->is_begun = true;
	q->nasked = 0;
	q->round_end = deadline_earlier(r->until,
	    deadline_in(round_ms(&r->config, q->round)));
	ask_next(q);
}

static bool
is_last_round(const struct question *q)
{
	const struct dns_resolver *r = q->resolver;

	/* With a deadline there is no last round. */
	return deadline_left(r->until) == -1 &&
	       q->round + 1 ==
		   (r->config.attempts != 0 ? r->config.attempts : ROUNDS);
}

/* The current server has failed, or its time is over. */
static void
advance(struct question *q)
{
	if (q->nasked < q->resolver->config.nserver) {
		ask_next(q);
	} else if (!deadline_passed(q->round_end)) {
		/* Wait for late answers of servers that have not failed. */
		q->try_end = q->round_end;
		q->plain_at = deadline_never();
	} else if (is_last_round(q)) {
		conclude(q);
	} else {
		q->round++;
		begin_round(q);
	}
}

static void
send_what_replies_ask_for(struct question *q)
{
	for (size_t i = 0; i < q->resolver->config.nserver; i++) {
		struct server_state *s = &q->state[i];

		if (s->wants_plain)
			ask_plain(q, i);
		for (int edns = 0; edns < 2; edns++)
			if (s->wants_tcp[edns])
				ask_tcp(q, i, edns);
		s->wants_plain = s->wants_tcp[0] = s->wants_tcp[1] = false;
	}
}

static bool
have_all_failed(const struct question *q)
{
	for (size_t i = 0; i < q->resolver->config.nserver; i++)
		if (!q->state[i].has_failed)
			return false;
	return true;
}

/* Does whatever is due for a question. */
static void
step(struct question *q)
{
	if (!q->is_begun)
		begin_round(q);
	send_what_replies_ask_for(q);
	if (have_all_failed(q))
		conclude(q);
	else if (q->state[q->server].has_failed || deadline_passed(q->try_end))
		advance(q);
	else if (deadline_passed(q->plain_at))
		ask_plain(q, q->server);
}

/* Asks for the target of an alias. */
static void
follow_alias(struct question *q, const struct dns_answer *answer)
{
	if (++q->nalias > ALIAS_STEPS_MAX ||
	    !dns_name_is_askable(answer->canonical)) {
		conclude(q);
		return;
	}
	q->is_begun = false;
	q->round = 0;
	(void)str_copy(q->name, sizeof q->name, answer->canonical);
	memset(q->state, 0, sizeof q->state);
	dns_transport_forget(q->resolver->transport, q);
}

static void
take_answer(struct question *q, const struct dns_answer *answer)
{
	*q->into = *answer;
	q->into->security = q->is_secure ? DNS_SECURE : DNS_INSECURE;
	q->into->ttl_s = q->ttl_s;
	if (q->nalias > 0 && !answer->is_alias) {
		q->into->is_alias = true;
		(void)str_copy(q->into->canonical, sizeof q->into->canonical,
		    q->name);
	}
	conclude(q);
}

static void
note_failure(struct question *q, const struct dns_path *path)
{
	struct server_state *s = &q->state[path->server];

	if (!path->has_edns)
		s->has_failed = true;
	else if (!s->was_asked_plain)
		s->wants_plain = true;
}

static void
on_reply(void *owner, const struct dns_path *path, const unsigned char *bytes,
    size_t n)
{
	struct question *q = owner;
	struct dns_answer answer = { 0 };
	enum dns_reply reply = DNS_REPLY_FAILED;

	if (q->is_answered)
		return;
	if (bytes != NULL)
		reply = dns_answer_parse(&answer, q->name, q->type, bytes, n);
	if (reply == DNS_REPLY_TRUNCATED && !path->is_tcp) {
		q->state[path->server].wants_tcp[path->has_edns] = true;
		return;
	}
	if (reply != DNS_REPLY_FINAL && reply != DNS_REPLY_ALIAS) {
		note_failure(q, path);
		return;
	}
	q->resolver->is_plain[path->server] = !path->has_edns;
	if (answer.security != DNS_SECURE)
		q->is_secure = false;
	if (answer.ttl_s < q->ttl_s)
		q->ttl_s = answer.ttl_s;
	if (reply == DNS_REPLY_ALIAS)
		follow_alias(q, &answer);
	else
		take_answer(q, &answer);
}

struct dns_resolver *
dns_resolver_create(const struct dns_config *config, bool wants_security)
{
	struct dns_resolver *r = mem_alloc(1, sizeof *r);

	r->config = *config;
	r->asks_ad = wants_security && config->is_trusted;
	r->transport =
	    dns_transport_create(r->config.server, r->config.nserver, on_reply);
	if (r->transport != NULL)
		return r;
	free(r);
	return NULL;
}

bool
dns_resolver_knows_security(const struct dns_resolver *r)
{
	return r->asks_ad;
}

static void
forget(struct question *q)
{
	dns_transport_forget(q->resolver->transport, q);
	free(q);
}

static void
forget_all(struct dns_resolver *r)
{
	struct question *q;

	while ((q = r->question) != NULL) {
		r->question = q->next;
		forget(q);
	}
}

void
dns_resolver_destroy(struct dns_resolver *r)
{
	if (r == NULL)
		return;
	forget_all(r);
	dns_transport_destroy(r->transport);
	free(r);
}

void
dns_resolver_ask(struct dns_resolver *r, const char *name, int type,
    struct dns_answer *into)
{
	struct question *q;

	*into = (struct dns_answer){ .outcome = DNS_TEMPFAIL };
	if (!dns_name_is_valid(name)) {
		into->outcome = DNS_NXDOMAIN;
		return;
	}
	into->is_pending = true;
	q = mem_alloc(1, sizeof *q);
	*q = (struct question){ .resolver = r,
		.next = r->question,
		.into = into,
		.type = type,
		.is_secure = r->asks_ad,
		.ttl_s = INT32_MAX };
	if (r->config.is_rotated)
		q->first = random_below(r->config.nserver);
	(void)str_copy(q->name, sizeof q->name, name);
	r->question = q;
}

/* Steps all questions; returns when the next step is due. */
static struct deadline
step_all(struct dns_resolver *r)
{
	struct deadline next = r->until;
	struct question **at = &r->question, *q;

	while ((q = *at) != NULL) {
		if (!q->is_answered)
			step(q);
		if (q->is_answered) {
			*at = q->next;
			forget(q);
			continue;
		}
		next = deadline_earlier(next, q->try_end);
		next = deadline_earlier(next, q->plain_at);
		at = &q->next;
	}
	return next;
}

bool
dns_resolver_wait_some(struct dns_resolver *r, struct deadline until)
{
	struct deadline next;

	r->until = until;
	r->has_result = false;
	if (deadline_passed(until))
		return false;
	next = step_all(r);
	if (r->question == NULL)
		return false;
	/* The caller may not want to wait for the others. */
	if (!r->has_result)
		dns_transport_run(r->transport, next);
	return true;
}

void
dns_resolver_wait(struct dns_resolver *r, struct deadline until)
{
	while (dns_resolver_wait_some(r, until))
		;
	/* The others stay DNS_TEMPFAIL, set by dns_resolver_ask(). */
	for (struct question *q = r->question; q != NULL; q = q->next)
		if (!q->is_answered)
			conclude(q);
	forget_all(r);
}

void
dns_resolver_forget(struct dns_resolver *r, struct dns_answer *into)
{
	struct question **at = &r->question, *q;

	while ((q = *at) != NULL && (q->is_answered || q->into != into))
		at = &q->next;
	if (q == NULL)
		return;
	into->is_pending = false;
	*at = q->next;
	forget(q);
}
