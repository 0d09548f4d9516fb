/* SPDX-License-Identifier: ISC */
#include "cache/request.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"

/*
 * Idle connections, and places.
 */

/* A connection with this key whose server has said nothing; or NULL. */
static struct store_session *
take_idle(struct lender *l, int number, const char *key)
{
	struct store_session *s;

	while ((s = store_take(l->store, number, key, l->now)) != NULL) {
		if (lender_is_quiet(s->fd))
			return s;
		lender_lose(l, s);
	}
	return NULL;
}

static void
lend_or_quit(struct lender *l, struct client *c, struct store_session *s,
    unsigned long chosen)
{
	if (!lender_lend(l, c, s, chosen))
		lender_quit(l, s, &l->counters.unwanted);
}

static void
ask(struct lender *l, struct client *c, const struct cache_message *m)
{
	struct cache_message miss = { .kind = CACHE_MISS,
		.keys = l->keys.text };
	const char *key = m->session.key1;
	struct store_session *s;

	lender_take_back(l, c);
	store_demand(l->store, key, c->id, l->now);
	s = take_idle(l, 1, key);
	if (s != NULL)
		lend_or_quit(l, c, s, 0);
	else
		(void)lender_answer(l, c, &miss);
}

/* Whether it wants an idle connection at all. */
static bool
demand(struct lender *l, const struct client *c, const struct cache_message *m)
{
	bool wants_idle = false;

	for (size_t i = 0; i < m->ncandidate; i++) {
		if (*m->candidate[i].key == '\0')
			continue;
		store_demand(l->store, m->candidate[i].key, c->id, l->now);
		wants_idle = true;
	}
	return wants_idle;
}

static bool
choose_idle(struct lender *l, struct client *c, const struct cache_message *m)
{
	for (size_t i = 0; i < m->ncandidate; i++) {
		struct store_session *s;

		if (*m->candidate[i].key == '\0')
			continue;
		s = take_idle(l, 2, m->candidate[i].key);
		if (s == NULL)
			continue;
		lend_or_quit(l, c, s, i);
		return true;
	}
	return false;
}

static bool
choose_place(struct lender *l, struct client *c, const struct cache_message *m)
{
	for (size_t i = 0; i < m->ncandidate; i++) {
		const struct cache_candidate *x = &m->candidate[i];

		if (*x->limit != '\0' &&
		    !places_take(l->places, x->limit, x->n))
			continue;
		lender_give_place(l, c, x->limit, i);
		return true;
	}
	return false;
}

/*
 * For how long the client may wait.  Also one that is not to wait for other
 * deliveries waits for an idle connection to end, since that takes no longer
 * than a moment and gives it a place.
 */
static int64_t
wait_ms(const struct lender *l, const struct cache_message *m)
{
	int64_t ms = 1000 * (int64_t)m->wait;

	for (size_t i = 0; ms < LENDER_ENDING_MS && i < m->ncandidate; i++) {
		const char *limit = m->candidate[i].limit;

		if (places_has_ending(l->places, limit) ||
		    store_find_limit(l->store, limit) != NULL)
			ms = LENDER_ENDING_MS;
	}
	return ms;
}

/* Keeps the message, whose n bytes it was parsed from. */
static void
wait_for_place(struct lender *l, struct client *c,
    const struct cache_message *m, const char *bytes, size_t n)
{
	struct cache_message answer = { .kind = CACHE_QUEUED };
	char *text;

	if (!places_wait(l->places, c->id, m->candidate, m->ncandidate,
		l->now + wait_ms(l, m))) {
		answer.kind = CACHE_FULL;
		/* It has one: otherwise there would be a place. */
		answer.limit = m->candidate[0].limit;
		(void)lender_answer(l, c, &answer);
		return;
	}
	c->waits = mem_alloc(1, sizeof *c->waits + n);
	text = memcpy(c->waits + 1, bytes, n);
	(void)cache_message_parse(c->waits, text, n);
	(void)lender_answer(l, c, &answer);
	lender_make_way(l);
}

static void
choose(struct lender *l, struct client *c, const struct cache_message *m,
    const char *bytes, size_t n)
{
	bool wants_idle;

	lender_take_back(l, c);
	wants_idle = demand(l, c, m);
	if (choose_idle(l, c, m))
		return;
	l->counters.misses += wants_idle;
	if (!choose_place(l, c, m))
		wait_for_place(l, c, m, bytes, n);
}

/*
 * A connection comes back.
 */

/* The first client that waits and has the key of this session; or NULL. */
static struct client *
find_waiting(const struct lender *l, const char *key, size_t *chosen)
{
	struct client *c;

	for (size_t i = 0; (c = lender_waiting(l, i)) != NULL; i++) {
		const struct cache_message *m = c->waits;

		for (*chosen = 0; *chosen < m->ncandidate; ++*chosen)
			if (strcmp(m->candidate[*chosen].key, key) == 0)
				return c;
	}
	return NULL;
}

static bool
lend_to_waiting(struct lender *l, struct store_session *s)
{
	struct client *c;
	size_t chosen;

	/* An empty key is that of candidates that want no connection. */
	if (s->key2 == NULL || *s->key2 == '\0')
		return false;
	while ((c = find_waiting(l, s->key2, &chosen)) != NULL) {
		lender_stop_waiting(l, c);
		if (lender_lend(l, c, s, chosen))
			return true;
	}
	return false;
}

/*
 * Nobody waits, and nobody else has asked for it: it is not kept, whatever is
 * in control/timeoutidle.
 */
static bool
is_for_nobody(const struct lender *l, const struct store_session *s,
    uint64_t client)
{
	return lender_waiting(l, 0) == NULL &&
	       !store_is_wanted(l->store, s, client, l->now);
}

static void
put_back(struct lender *l, struct store_session *s, uint64_t client)
{
	struct store_session *evicted = NULL;
	struct store_limits limits;
	enum store_end why;

	/* It could be found by nobody, see broker_change_limits(). */
	if (s->limits != l->limits) {
		lender_quit(l, s, &l->counters.by_limit);
		return;
	}
	if (is_for_nobody(l, s, client)) {
		lender_quit(l, s, &l->counters.unwanted);
		return;
	}
	l->config->limits(l->config->data, &limits);
	why = store_check(s, &limits, l->now);
	if (why == STORE_KEPT) {
		if (lend_to_waiting(l, s))
			return;
		if (s->limit != NULL && places_lack(l->places, s->limit)) {
			lender_quit(l, s, &l->counters.by_limit);
			return;
		}
		why =
		    store_keep(l->store, s, client, &limits, l->now, &evicted);
	}
	if (evicted != NULL)
		lender_quit(l, evicted, &l->counters.by_room);
	if (why == STORE_KEPT)
		l->counters.kept++;
	else
		lender_quit(l, s, lender_counter(l, why));
}

static void
keep(struct lender *l, struct client *c, const struct cache_message *m,
    const int *fd, size_t *nfd)
{
	struct store_session *s = c->session;

	if (s == NULL || !cache_is_session(fd, *nfd)) {
		lender_give_up(c);
		return;
	}
	s->fd = fd[CACHE_FD_SESSION];
	if (*nfd > CACHE_FD_STATUS)
		s->status = fd[CACHE_FD_STATUS];
	*nfd = 0;
	s->used = m->session.used;
	s->limit = c->place;
	c->place = NULL;
	c->session = NULL;
	if (lender_is_quiet(s->fd))
		put_back(l, s, c->id);
	else
		lender_lose(l, s);
}

/* Who waits has no session. */
static void
ready(struct lender *l, struct client *c, const struct cache_message *m)
{
	struct store_session *s;

	if (c->waits != NULL) {
		lender_give_up(c);
		return;
	}
	s = store_session_make(&m->session, l->now);
	s->mailmax = m->session.mailmax;
	lender_take_session(l, c, s);
	l->counters.misses += demand(l, c, m);
}

/*
 * The list.
 */

/*
 * The next message, and what counts how many of its kind were sent; NULL for
 * the last one.
 */
static size_t *
describe_next(const struct lender *l, struct client *c, struct cache_message *m)
{
	const struct store_session *s = store_at(l->store, c->nentry);

	*m = (struct cache_message){ .kind = CACHE_COUNTERS,
		.counters = l->counters };
	if (s != NULL) {
		m->kind = CACHE_ENTRY;
		lender_describe(l, s, m);
		m->seconds = (unsigned long)((l->now - s->idle_since) / 1000);
		return &c->nentry;
	}
	if (!places_at(l->places, c->nlimit, &m->limit, &m->n, &m->waiting))
		return NULL;
	m->kind = CACHE_LIMIT;
	return &c->nlimit;
}

void
request_list(struct lender *l, struct client *c)
{
	struct cache_message m;
	size_t *sent;

	do {
		sent = describe_next(l, c, &m);
		if (lender_send(l, c, &m, NULL, 0) == -1) {
			if (errno != EAGAIN)
				lender_give_up(c);
			return;
		}
		if (sent != NULL)
			++*sent;
	} while (sent != NULL);
	c->is_listing = false;
}

static void
list(struct lender *l, struct client *c)
{
	c->is_listing = true;
	c->nentry = c->nlimit = 0;
	request_list(l, c);
}

/*
 * What is not passed on is closed, so the delivery sees at once that it has to
 * start its own.
 */
static void
start_tls(const struct lender *l, const char *bytes, size_t n, const int *fd,
    size_t nfd)
{
	if (l->tls != -1 && cache_is_tls_start(fd, nfd))
		(void)pass_send(l->tls, bytes, n, fd, nfd);
}

/*
 * Any message.
 */

static bool
has_descriptors(enum cache_kind kind)
{
	return kind == CACHE_KEEP || kind == CACHE_TLS;
}

/*
 * A delivery that has announced its session becomes qmail-remote-io, which its
 * server may have taken over: it can only leave that session here, once.  And
 * who asks for the list, which has the keys of others, can do nothing else.
 */
static bool
is_in_order(const struct client *c, enum cache_kind kind)
{
	if (!c->has_spoken)
		return true;
	switch (c->said) {
	case CACHE_READY:
		return kind == CACHE_KEEP;
	case CACHE_KEEP:
		return false;
	default:
		return (kind == CACHE_LIST) == (c->said == CACHE_LIST);
	}
}

static void
deal_with(struct lender *l, struct client *c, char *bytes, size_t n,
    const int *fd, size_t *nfd)
{
	struct cache_message m;
	bool is_ok =
	    n <= CACHE_REQUEST_MAX && cache_message_parse(&m, bytes, n) &&
	    (*nfd > 0) == has_descriptors(m.kind) &&
	    (c->may_keep || m.kind == CACHE_LIST) && is_in_order(c, m.kind);

	if (is_ok) {
		c->has_spoken = true;
		c->said = m.kind;
	}
	switch (is_ok ? m.kind : CACHE_MISS) {
	case CACHE_ASK:
		ask(l, c, &m);
		break;
	case CACHE_CHOOSE:
		choose(l, c, &m, bytes, n);
		break;
	case CACHE_GONE:
		lender_take_back(l, c);
		break;
	case CACHE_READY:
		ready(l, c, &m);
		break;
	case CACHE_KEEP:
		keep(l, c, &m, fd, nfd);
		break;
	case CACHE_LIST:
		list(l, c);
		break;
	case CACHE_TLS:
		start_tls(l, bytes, n, fd, *nfd);
		break;
	default:
		lender_give_up(c);
		break;
	}
}

void
request_receive(struct lender *l, struct client *c)
{
	int fd[PASS_MAX];
	size_t nfd = 0;
	ssize_t n = pass_receive(c->fd, l->in, CACHE_MESSAGE_MAX, fd, &nfd);

	if (n > 0)
		deal_with(l, c, l->in, (size_t)n, fd, &nfd);
	else if (n == 0 || errno != EAGAIN)
		lender_give_up(c);
	pass_close(fd, nfd);
}
