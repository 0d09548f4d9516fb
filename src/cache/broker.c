/* SPDX-License-Identifier: ISC */
#include "cache/broker.h"

#include <sys/socket.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cache/places.h"
#include "io/fdio.h"

struct client {
	int fd; /* -1: it has closed, or must not go on */
	uint64_t id;
	bool may_keep; /* and not only ask for a list */
	bool knows_version;
	char *place; /* the limit of the place that it has; or NULL */
	struct store_session *session; /* that it uses; or NULL */
	/* CHOOSE, while it waits; its text is in bytes. */
	struct cache_message *waits;
	char *bytes;
};

struct broker {
	const struct broker_config *config;
	int listener;
	int spare; /* given up to turn a client away when none is left */
	int64_t born;
	int64_t used; /* when there was last a client or a connection */
	int64_t now;
	uint64_t last_id;
	struct store *store;
	struct places *places;
	struct client *client; /* in order of arrival */
	size_t nclient, size;
	struct pollfd *poll;
	struct store_session **polled; /* the idle ones in it */
	size_t npoll_size;
	struct cache_counters counters;
	char bytes[CACHE_MESSAGE_MAX]; /* of the message that is dealt with */
};

static char *
copy(const char *text)
{
	size_t n = strlen(text) + 1;

	return memcpy(mem_alloc(n, 1), text, n);
}

/*
 * Ending connections.
 */

static void
close_session(struct store_session *s)
{
	if (s->fd != -1)
		close(s->fd);
	if (s->status != -1)
		close(s->status);
	s->fd = s->status = -1;
}

/* Frees one that is not in use any more. */
static void
drop_session(struct broker *b, struct store_session *s)
{
	close_session(s);
	if (s->limit != NULL)
		places_release(b->places, s->limit);
	store_session_free(s);
}

/* RFC 5321 section 4.1.1.10; the reply is not waited for. */
static void
quit(struct broker *b, struct store_session *s)
{
	static const char line[] = "QUIT\r\n";

	(void)send(s->fd, line, sizeof line - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	drop_session(b, s);
}

static void
count_end(struct broker *b, enum store_end why)
{
	switch (why) {
	case STORE_UNWANTED:
		b->counters.unwanted++;
		break;
	case STORE_IDLE:
		b->counters.by_idleness++;
		break;
	case STORE_OLD:
		b->counters.by_age++;
		break;
	case STORE_USED:
		b->counters.by_use++;
		break;
	case STORE_NO_ROOM:
		b->counters.by_room++;
		break;
	case STORE_KEPT:
		break;
	}
}

/* A server that has something to say while nobody asked ends the session. */
static bool
is_quiet(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 0;
}

/*
 * Answers.
 */

/* A client that does not read its answers is none any more. */
static void
give_up(struct client *c)
{
	if (c->fd != -1)
		close(c->fd);
	c->fd = -1;
}

static bool
answer(const struct broker *b, struct client *c, struct cache_message *m,
    const int *fd, size_t nfd)
{
	char bytes[CACHE_MESSAGE_MAX];
	size_t n;

	m->version = c->knows_version ? NULL : b->config->version;
	n = cache_message_format(m, bytes);
	if (n == 0 || pass_send(c->fd, bytes, n, fd, nfd) == -1) {
		give_up(c);
		return false;
	}
	c->knows_version = true;
	return true;
}

static void
answer_kind(const struct broker *b, struct client *c, enum cache_kind kind)
{
	struct cache_message m = { .kind = kind };

	(void)answer(b, c, &m, NULL, 0);
}

static void
set_description(struct cache_session *d, const struct store_session *s)
{
	*d = (struct cache_session){ .key1 = s->key1,
		.key2 = s->key2,
		.address = s->address,
		.host = s->host,
		.extensions = s->extensions,
		.tls = s->tls,
		.used = s->used };
}

/* Milliseconds left, as seconds. */
static unsigned long
seconds_until(const struct broker *b, int64_t end)
{
	return end > b->now ? (unsigned long)((end - b->now) / 1000) : 0;
}

/* Lends an idle connection to a client. */
static void
lend(struct broker *b, struct client *c, struct store_session *s,
    unsigned long chosen)
{
	struct cache_message m = { .kind = CACHE_HIT, .chosen = chosen };
	int fd[] = { s->fd, s->status };

	set_description(&m.session, s);
	m.session.lives = seconds_until(b, s->ends);
	if (!answer(b, c, &m, fd, s->status == -1 ? 1 : 2)) {
		b->counters.unwanted++;
		quit(b, s);
		return;
	}
	b->counters.hits++;
	close_session(s);
	c->place = s->limit;
	s->limit = NULL;
	c->session = s;
}

/*
 * Places.
 */

static void
give_place(struct broker *b, struct client *c, const char *limit,
    unsigned long chosen)
{
	struct cache_message m = { .kind = CACHE_PLACE, .chosen = chosen };

	if (*limit != '\0')
		c->place = copy(limit);
	(void)answer(b, c, &m, NULL, 0);
}

static void
stop_waiting(struct broker *b, struct client *c)
{
	if (c->waits == NULL)
		return;
	places_leave(b->places, c->id);
	free(c->waits);
	free(c->bytes);
	c->waits = NULL;
	c->bytes = NULL;
}

static struct client *
find_client(const struct broker *b, uint64_t id)
{
	for (size_t i = 0; i < b->nclient; i++)
		if (b->client[i].id == id)
			return &b->client[i];
	return NULL;
}

static size_t
find_limit(const struct cache_message *m, const char *limit)
{
	for (size_t i = 0; i < m->ncandidate; i++)
		if (strcmp(m->candidate[i].limit, limit) == 0)
			return i;
	return 0;
}

/* Gives places that are free to those who wait. */
static void
serve_waiting(struct broker *b)
{
	const char *limit;
	uint64_t id;

	while (places_next(b->places, &id, &limit)) {
		struct client *c = find_client(b, id);
		size_t chosen = find_limit(c->waits, limit);
		char *place = copy(limit);

		stop_waiting(b, c);
		give_place(b, c, place, chosen);
		free(place);
	}
}

/* Takes back what a client has. */
static void
take_back(struct broker *b, struct client *c)
{
	stop_waiting(b, c);
	if (c->session != NULL)
		drop_session(b, c->session);
	c->session = NULL;
	if (c->place != NULL)
		places_release(b->places, c->place);
	free(c->place);
	c->place = NULL;
}

/*
 * What a client asks.
 */

/* A connection with this key whose server has said nothing; or NULL. */
static struct store_session *
take_idle(struct broker *b, int number, const char *key)
{
	struct store_session *s;

	while ((s = store_take(b->store, number, key, b->now)) != NULL) {
		if (is_quiet(s->fd))
			return s;
		b->counters.by_server++;
		drop_session(b, s);
	}
	return NULL;
}

static void
ask(struct broker *b, struct client *c, const struct cache_message *m)
{
	const char *key = m->session.key1;
	struct store_session *s;

	take_back(b, c);
	s = take_idle(b, 1, key);
	store_demand(b->store, key, c->id, b->now);
	if (s != NULL) {
		lend(b, c, s, 0);
		return;
	}
	answer_kind(b, c, CACHE_MISS);
}

static bool
choose_idle(struct broker *b, struct client *c, const struct cache_message *m)
{
	for (size_t i = 0; i < m->ncandidate; i++) {
		const char *key = m->candidate[i].key;
		struct store_session *s;

		if (*key == '\0')
			continue;
		s = take_idle(b, 2, key);
		if (s == NULL)
			continue;
		lend(b, c, s, i);
		return true;
	}
	return false;
}

static bool
choose_place(struct broker *b, struct client *c, const struct cache_message *m)
{
	for (size_t i = 0; i < m->ncandidate; i++) {
		const struct cache_candidate *x = &m->candidate[i];

		if (*x->limit != '\0' &&
		    !places_take(b->places, x->limit, x->n))
			continue;
		give_place(b, c, x->limit, i);
		return true;
	}
	return false;
}

/* An idle connection that this client cannot use takes a place that it can. */
static bool
choose_place_of_idle(struct broker *b, struct client *c,
    const struct cache_message *m)
{
	for (size_t i = 0; i < m->ncandidate; i++) {
		struct store_session *s =
		    store_find_limit(b->store, m->candidate[i].limit);

		if (s == NULL)
			continue;
		store_remove(b->store, s);
		b->counters.by_limit++;
		quit(b, s);
		if (choose_place(b, c, m))
			return true;
	}
	return false;
}

/* Keeps the message, whose n bytes it was parsed from. */
static void
wait_for_place(struct broker *b, struct client *c,
    const struct cache_message *m, const char *bytes, size_t n)
{
	struct cache_message full = { .kind = CACHE_FULL };

	if (!places_wait(b->places, c->id, m->candidate, m->ncandidate,
		b->now + 1000 * (int64_t)m->wait)) {
		full.limit = m->candidate[0].limit;
		(void)answer(b, c, &full, NULL, 0);
		return;
	}
	c->bytes = memcpy(mem_alloc(n, 1), bytes, n);
	c->waits = mem_alloc(1, sizeof *c->waits);
	(void)cache_message_parse(c->waits, c->bytes, n);
	answer_kind(b, c, CACHE_QUEUED);
}

static void
choose(struct broker *b, struct client *c, const struct cache_message *m,
    const char *bytes, size_t n)
{
	bool is_served, wants_idle = false;

	take_back(b, c);
	is_served = choose_idle(b, c, m);
	for (size_t i = 0; i < m->ncandidate; i++) {
		const char *key = m->candidate[i].key;

		if (*key == '\0')
			continue;
		store_demand(b->store, key, c->id, b->now);
		wants_idle = true;
	}
	b->counters.misses += wants_idle && !is_served;
	if (!is_served && !choose_place(b, c, m) &&
	    !choose_place_of_idle(b, c, m))
		wait_for_place(b, c, m, bytes, n);
}

/*
 * A connection comes back.
 */

/* The first client that waits and has its key gets it. */
static bool
lend_to_waiting(struct broker *b, struct store_session *s)
{
	uint64_t id;

	for (size_t i = 0; places_waiting(b->places, i, &id); i++) {
		struct client *c = find_client(b, id);
		const struct cache_message *m = c->waits;

		for (size_t k = 0; k < m->ncandidate; k++) {
			if (s->key2 == NULL ||
			    strcmp(m->candidate[k].key, s->key2) != 0)
				continue;
			stop_waiting(b, c);
			lend(b, c, s, k);
			return true;
		}
	}
	return false;
}

/* Whether somebody waits for the place that this one takes. */
static bool
is_in_the_way(const struct broker *b, const struct store_session *s)
{
	const char *limit;

	for (size_t i = 0; (limit = places_wanted(b->places, i)) != NULL; i++)
		if (s->limit != NULL && strcmp(s->limit, limit) == 0)
			return true;
	return false;
}

static void
keep_idle(struct broker *b, struct store_session *s, uint64_t client)
{
	struct store_session *evicted;
	struct store_limits limits;
	enum store_end end;

	if (is_in_the_way(b, s)) {
		b->counters.by_limit++;
		quit(b, s);
		return;
	}
	b->config->limits(b->config->data, &limits);
	end = store_keep(b->store, s, client, &limits, b->now, &evicted);
	if (evicted != NULL) {
		count_end(b, STORE_NO_ROOM);
		quit(b, evicted);
	}
	count_end(b, end);
	if (end == STORE_KEPT)
		b->counters.kept++;
	else
		quit(b, s);
}

static void
keep(struct broker *b, struct client *c, const struct cache_message *m,
    const int *fd, size_t *nfd)
{
	struct store_session *s = c->session;

	if (s == NULL || !cache_is_session(fd, *nfd)) {
		give_up(c);
		return;
	}
	s->fd = fd[CACHE_FD_SESSION];
	s->status = *nfd == 2 ? fd[CACHE_FD_STATUS] : -1;
	*nfd = 0;
	s->used = m->session.used;
	s->limit = c->place;
	c->place = NULL;
	c->session = NULL;
	if (!is_quiet(s->fd)) {
		b->counters.by_server++;
		drop_session(b, s);
	} else if (!lend_to_waiting(b, s))
		keep_idle(b, s, c->id);
}

static void
ready(struct broker *b, struct client *c, const struct cache_message *m)
{
	if (c->session != NULL)
		drop_session(b, c->session);
	c->session = store_session_make(&m->session, b->now);
	c->session->mailmax = m->session.mailmax;
}

static void
list(struct broker *b, struct client *c)
{
	struct cache_message m = { .kind = CACHE_ENTRY };
	const struct store_session *s;

	for (size_t i = 0; (s = store_at(b->store, i)) != NULL; i++) {
		set_description(&m.session, s);
		m.session.lives = seconds_until(b, s->ends);
		m.seconds = (unsigned long)((b->now - s->idle_since) / 1000);
		if (!answer(b, c, &m, NULL, 0))
			return;
	}
	m = (struct cache_message){ .kind = CACHE_LIMIT };
	for (size_t i = 0; places_at(b->places, i, &m.limit, &m.n, &m.waiting);
	     i++)
		if (!answer(b, c, &m, NULL, 0))
			return;
	m = (struct cache_message){ .kind = CACHE_COUNTERS,
		.counters = b->counters };
	(void)answer(b, c, &m, NULL, 0);
}

static void
deal_with(struct broker *b, struct client *c, char *bytes, size_t n,
    const int *fd, size_t *nfd)
{
	struct cache_message m;
	char *whole = memcpy(mem_alloc(n, 1), bytes, n);
	bool is_ok = cache_message_parse(&m, bytes, n) &&
		     (*nfd > 0) == (m.kind == CACHE_KEEP) &&
		     (c->may_keep || m.kind == CACHE_LIST);

	switch (is_ok ? m.kind : CACHE_MISS) {
	case CACHE_ASK:
		ask(b, c, &m);
		break;
	case CACHE_CHOOSE:
		choose(b, c, &m, whole, n);
		break;
	case CACHE_READY:
		ready(b, c, &m);
		break;
	case CACHE_KEEP:
		keep(b, c, &m, fd, nfd);
		break;
	case CACHE_LIST:
		list(b, c);
		break;
	default:
		give_up(c);
		break;
	}
	free(whole);
}

/* One message, so that no client keeps the others waiting. */
static void
receive(struct broker *b, struct client *c)
{
	int fd[PASS_MAX];
	size_t nfd = 0;
	ssize_t n = pass_receive(c->fd, b->bytes, sizeof b->bytes, fd, &nfd);

	if (n > 0)
		deal_with(b, c, b->bytes, (size_t)n, fd, &nfd);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		give_up(c);
	pass_close(fd, nfd);
}

/*
 * Clients come and go.
 */

static void
add_client(struct broker *b, int fd, bool may_keep)
{
	if (b->nclient == b->size) {
		b->size = 2 * b->size + 16;
		b->client = mem_resize(b->client, b->size, sizeof *b->client);
	}
	b->client[b->nclient++] = (struct client){
		.fd = fd, .id = ++b->last_id, .may_keep = may_keep
	};
}

/* No descriptor is left: the spare one is used to turn the client away. */
static void
turn_away(struct broker *b)
{
	close(b->spare);
	b->spare = accept(b->listener, NULL, NULL);
	if (b->spare != -1)
		close(b->spare);
	b->spare = dup(b->listener);
}

static void
accept_clients(struct broker *b)
{
	const struct broker_config *config = b->config;

	for (size_t i = 0; i < BROKER_CLIENTS; i++) {
		int fd = accept(b->listener, NULL, NULL);
		bool may_keep;

		if (fd == -1) {
			if (errno == EMFILE || errno == ENFILE)
				turn_away(b);
			return;
		}
		may_keep = config->may_use(config->data, fd);
		if (b->nclient < BROKER_CLIENTS &&
		    (may_keep || config->may_list(config->data, fd)) &&
		    fdio_set_cloexec(fd, true) == 0 &&
		    fdio_set_nonblocking(fd) == 0)
			add_client(b, fd, may_keep);
		else
			close(fd);
	}
}

static void
remove_closed(struct broker *b)
{
	size_t kept = 0;

	for (size_t i = 0; i < b->nclient; i++) {
		struct client *c = &b->client[i];

		if (c->fd == -1)
			take_back(b, c);
		else
			b->client[kept++] = *c;
	}
	b->nclient = kept;
}

/*
 * What is due.
 */

static void
expire(struct broker *b)
{
	struct cache_message full = { .kind = CACHE_FULL };
	struct store_session *s;
	enum store_end why;
	uint64_t id;

	while ((s = store_expire(b->store, b->now, &why)) != NULL) {
		count_end(b, why);
		quit(b, s);
	}
	while (places_expire(b->places, b->now, &id)) {
		struct client *c = find_client(b, id);
		char *limit = copy(c->waits->candidate[0].limit);

		stop_waiting(b, c);
		full.limit = limit;
		(void)answer(b, c, &full, NULL, 0);
		free(limit);
	}
}

static bool
has_closed(const struct broker *b)
{
	for (size_t i = 0; i < b->nclient; i++)
		if (b->client[i].fd == -1)
			return true;
	return false;
}

/* What one client leaves, another gets; and that one may be gone too. */
static void
settle(struct broker *b)
{
	do {
		remove_closed(b);
		expire(b);
		serve_waiting(b);
	} while (has_closed(b));
}

static bool
is_used(const struct broker *b)
{
	return b->nclient > 0 || store_at(b->store, 0) != NULL;
}

static int64_t
earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* As the timeout of poll(). */
static int
time_left(const struct broker *b)
{
	int64_t next =
	    earlier(store_next(b->store), places_next_end(b->places));

	if (!is_used(b))
		next = earlier(next, b->used + BROKER_UNUSED_MS);
	next = earlier(next, b->born + BROKER_LIFE_MS);
	next = earlier(next, b->now + BROKER_TURN_MS);
	next = next > b->now ? next - b->now : 0;
	return next < INT_MAX ? (int)next : INT_MAX;
}

/*
 * One turn.
 */

static void
watch(struct broker *b, size_t n, int fd)
{
	b->poll[n] = (struct pollfd){ .fd = fd, .events = POLLIN };
}

/* Returns how many clients are watched; *idle idle connections follow them. */
static size_t
fill_poll(struct broker *b, int stop, size_t *idle)
{
	struct store_session *s;
	size_t n = 0;

	while (store_at(b->store, n) != NULL)
		n++;
	n += b->nclient + 2;
	if (n > b->npoll_size) {
		b->npoll_size = 2 * n;
		b->poll = mem_resize(b->poll, b->npoll_size, sizeof *b->poll);
		b->polled = mem_resize(b->polled, b->npoll_size,
		    sizeof(struct store_session *));
	}
	watch(b, 0, stop);
	watch(b, 1, b->listener);
	for (n = 0; n < b->nclient; n++)
		watch(b, 2 + n, b->client[n].fd);
	for (*idle = 0; (s = store_at(b->store, *idle)) != NULL; (*idle)++) {
		b->polled[*idle] = s;
		watch(b, 2 + n + *idle, s->fd);
	}
	return n;
}

bool
broker_turn(struct broker *b, int64_t (*clock)(void), int stop)
{
	size_t idle, clients = fill_poll(b, stop, &idle);
	int n = poll(b->poll, (nfds_t)(2 + clients + idle), time_left(b));

	b->now = clock();
	if (n == -1)
		return errno == EINTR || errno == EAGAIN;
	if (b->poll[0].revents != 0)
		return false;
	/* Before a client is given one of them. */
	for (size_t i = 0; i < idle; i++) {
		if (b->poll[2 + clients + i].revents == 0)
			continue;
		store_remove(b->store, b->polled[i]);
		b->counters.by_server++;
		drop_session(b, b->polled[i]);
	}
	if (b->poll[1].revents != 0)
		accept_clients(b);
	for (size_t i = 0; i < clients; i++)
		if (b->poll[2 + i].revents != 0 && b->client[i].fd != -1)
			receive(b, &b->client[i]);
	settle(b);
	if (is_used(b))
		b->used = b->now;
	return true;
}

bool
broker_is_over(const struct broker *b, int64_t now)
{
	return now - b->born >= BROKER_LIFE_MS ||
	       (!is_used(b) && now - b->used >= BROKER_UNUSED_MS);
}

struct broker *
broker_create(const struct broker_config *config, int listener, int64_t now)
{
	struct broker *b = mem_alloc(1, sizeof *b);

	b->config = config;
	b->listener = listener;
	b->spare = dup(listener);
	b->born = b->used = b->now = now;
	b->store = store_create();
	b->places = places_create();
	return b;
}

void
broker_destroy(struct broker *b)
{
	struct store_session *s;

	for (size_t i = 0; i < b->nclient; i++) {
		give_up(&b->client[i]);
		take_back(b, &b->client[i]);
	}
	while ((s = store_at(b->store, 0)) != NULL) {
		store_remove(b->store, s);
		quit(b, s);
	}
	if (b->spare != -1)
		close(b->spare);
	store_destroy(b->store);
	places_destroy(b->places);
	free(b->client);
	free(b->poll);
	free(b->polled);
	free(b);
}
