/* SPDX-License-Identifier: ISC */
#include "cache/lender.h"

#include <sys/socket.h>
#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

/*
 * Sessions.
 */

bool
lender_is_quiet(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 0;
}

static void
close_session(struct store_session *s)
{
	if (s->fd != -1)
		close(s->fd);
	if (s->status != -1)
		close(s->status);
	s->fd = s->status = -1;
}

/* Its status socket has no other end when its qmail-remote-tls has ended. */
static void
begin_end(struct lender *l, struct store_session *s)
{
	close(s->fd);
	s->fd = -1;
	places_end(l->places, s->limit);
	s->ends = l->now + LENDER_ENDING_MS;
	if (l->nending == l->ending_size) {
		l->ending_size = 2 * l->ending_size + 16;
		l->ending = mem_resize(l->ending, l->ending_size,
		    sizeof(struct store_session *));
	}
	l->ending[l->nending++] = s;
}

static void
drop_session(struct lender *l, struct store_session *s)
{
	keyset_remove(&l->keys, s->key2);
	if (s->limit != NULL && s->status != -1) {
		begin_end(l, s);
		return;
	}
	close_session(s);
	if (s->limit != NULL)
		places_release(l->places, s->limit);
	store_session_free(s);
}

static void
free_ending(struct lender *l, struct store_session *s)
{
	close_session(s);
	places_ended(l->places, s->limit);
	store_session_free(s);
}

static bool
has_ended(int status)
{
	struct pollfd p = { .fd = status };

	return poll(&p, 1, 0) == 1;
}

static void
free_ended(struct lender *l)
{
	size_t left = 0;

	for (size_t i = 0; i < l->nending; i++) {
		struct store_session *s = l->ending[i];

		if (s->ends <= l->now || has_ended(s->status))
			free_ending(l, s);
		else
			l->ending[left++] = s;
	}
	l->nending = left;
}

void
lender_take_session(struct lender *l, struct client *c, struct store_session *s)
{
	if (c->session != NULL)
		drop_session(l, c->session);
	keyset_add(&l->keys, s->key2);
	s->limits = l->limits;
	c->session = s;
}

/* RFC 5321 section 4.1.1.10; the reply is not waited for. */
void
lender_quit(struct lender *l, struct store_session *s, unsigned long *counter)
{
	static const char line[] = "QUIT\r\n";

	++*counter;
	(void)send(s->fd, line, sizeof line - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	drop_session(l, s);
}

void
lender_lose(struct lender *l, struct store_session *s)
{
	l->counters.by_server++;
	drop_session(l, s);
}

unsigned long *
lender_counter(struct lender *l, enum store_end why)
{
	unsigned long *const counter[] = {
		[STORE_KEPT] = &l->counters.kept,
		[STORE_UNWANTED] = &l->counters.unwanted,
		[STORE_IDLE] = &l->counters.by_idleness,
		[STORE_OLD] = &l->counters.by_age,
		[STORE_USED] = &l->counters.by_use,
		[STORE_NO_ROOM] = &l->counters.by_room,
	};

	return counter[why];
}

/*
 * Answers.
 */

void
lender_give_up(struct client *c)
{
	if (c->fd != -1)
		close(c->fd);
	c->fd = -1;
}

int
lender_send(const struct lender *l, struct client *c, struct cache_message *m,
    const int *fd, size_t nfd)
{
	size_t n;

	m->version = c->knows_version ? NULL : l->config->version;
	n = cache_message_format(m, l->out);
	/* CACHE_REQUEST_MAX sees to it. */
	assert(n > 0);
	if (pass_send(c->fd, l->out, n, fd, nfd) == -1)
		return -1;
	c->knows_version = true;
	return 0;
}

bool
lender_answer(const struct lender *l, struct client *c, struct cache_message *m)
{
	if (lender_send(l, c, m, NULL, 0) == 0)
		return true;
	lender_give_up(c);
	return false;
}

void
lender_describe(const struct lender *l, const struct store_session *s,
    struct cache_message *m)
{
	int64_t left = s->ends - l->now;

	m->session = (struct cache_session){ .key1 = s->key1,
		.key2 = s->key2,
		.address = s->address,
		.host = s->host,
		.extensions = s->extensions,
		.tls = s->tls,
		.used = s->used,
		.lives = left > 0 ? (unsigned long)(left / 1000) : 0 };
}

/*
 * Connections and places.
 */

bool
lender_lend(struct lender *l, struct client *c, struct store_session *s,
    unsigned long chosen)
{
	struct cache_message m = { .kind = CACHE_HIT, .chosen = chosen };
	int fd[] = { s->fd, s->status };

	lender_describe(l, s, &m);
	if (lender_send(l, c, &m, fd, s->status == -1 ? 1 : 2) == -1) {
		lender_give_up(c);
		return false;
	}
	l->counters.hits++;
	close_session(s);
	c->place = s->limit;
	s->limit = NULL;
	c->session = s;
	return true;
}

void
lender_give_place(struct lender *l, struct client *c, const char *limit,
    unsigned long chosen)
{
	struct cache_message m = { .kind = CACHE_PLACE, .chosen = chosen };

	if (*limit != '\0')
		c->place = mem_copy(limit);
	(void)lender_answer(l, c, &m);
}

void
lender_stop_waiting(struct lender *l, struct client *c)
{
	if (c->waits == NULL)
		return;
	places_leave(l->places, c->id);
	free(c->waits);
	c->waits = NULL;
}

void
lender_take_back(struct lender *l, struct client *c)
{
	lender_stop_waiting(l, c);
	if (c->session != NULL)
		drop_session(l, c->session);
	c->session = NULL;
	if (c->place != NULL)
		places_release(l->places, c->place);
	free(c->place);
	c->place = NULL;
}

/* There is one: who waits in places is a client. */
static struct client *
find_client(const struct lender *l, uint64_t id)
{
	struct client *c = l->client;

	while (c->id != id)
		c++;
	return c;
}

struct client *
lender_waiting(const struct lender *l, size_t i)
{
	uint64_t id;

	return places_waiting(l->places, i, &id) ? find_client(l, id) : NULL;
}

/*
 * Clients.
 */

void
lender_add(struct lender *l, int fd, bool may_keep)
{
	if (l->nclient == l->size) {
		l->size = 2 * l->size + 16;
		l->client = mem_resize(l->client, l->size, sizeof *l->client);
	}
	l->client[l->nclient++] = (struct client){
		.fd = fd, .id = ++l->last_id, .may_keep = may_keep
	};
}

static void
remove_closed(struct lender *l)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->nclient; i++) {
		struct client *c = &l->client[i];

		if (c->fd == -1)
			lender_take_back(l, c);
		else
			l->client[kept++] = *c;
	}
	l->nclient = kept;
}

static bool
has_closed(const struct lender *l)
{
	for (size_t i = 0; i < l->nclient; i++)
		if (l->client[i].fd == -1)
			return true;
	return false;
}

/*
 * What is due.
 */

static void
end_idle(struct lender *l)
{
	struct store_session *s;
	enum store_end why;

	while ((s = store_expire(l->store, l->now, &why)) != NULL)
		lender_quit(l, s, lender_counter(l, why));
}

/* Whether the i-th that waits gets a place by sessions that end. */
static bool
gets_place(const struct lender *l, size_t i)
{
	const char *limit;

	for (size_t k = 0; (limit = places_wanted(l->places, i, k)); k++)
		if (!places_lack(l->places, limit))
			return true;
	return false;
}

/* Of the first limit, the one that has been idle for the longest time. */
static bool
end_one_for(struct lender *l, size_t i)
{
	struct store_session *s = NULL;
	const char *limit;

	for (size_t k = 0;
	     s == NULL && (limit = places_wanted(l->places, i, k)); k++)
		s = store_find_limit(l->store, limit);
	if (s == NULL)
		return false;
	store_remove(l->store, s);
	lender_quit(l, s, &l->counters.by_limit);
	return true;
}

/*
 * Idle connections that those who wait cannot use take places that they can.
 * There may be more of them than a limit allows now.
 */
void
lender_make_way(struct lender *l)
{
	for (size_t i = 0; places_wanted(l->places, i, 0) != NULL; i++)
		while (!gets_place(l, i) && end_one_for(l, i))
			;
}

static void
serve_waiting(struct lender *l)
{
	const char *limit;
	uint64_t id;

	while (places_next(l->places, &id, &limit)) {
		struct client *c = find_client(l, id);
		const struct cache_candidate *x = c->waits->candidate;
		unsigned long i = 0;

		/* It waits for one of its candidates' limits. */
		while (strcmp(x[i].limit, limit) != 0)
			i++;
		lender_give_place(l, c, x[i].limit, i);
		lender_stop_waiting(l, c);
	}
}

static void
end_waiting(struct lender *l)
{
	uint64_t id;

	while (places_expire(l->places, l->now, &id)) {
		struct client *c = find_client(l, id);
		struct cache_message full = { .kind = CACHE_FULL };

		full.limit = c->waits->candidate[0].limit;
		(void)lender_answer(l, c, &full);
		lender_stop_waiting(l, c);
	}
}

/*
 * Whose time is over is told so only if there is no place for it now.  What one
 * client leaves, another gets; and that one may be gone too.
 */
void
lender_settle(struct lender *l)
{
	do {
		remove_closed(l);
		end_idle(l);
		free_ended(l);
		lender_make_way(l);
		serve_waiting(l);
		end_waiting(l);
	} while (has_closed(l));
}

int64_t
lender_next(const struct lender *l)
{
	int64_t idle = store_next(l->store);
	int64_t waiting = places_next_end(l->places);

	int64_t next = idle < waiting ? idle : waiting;

	for (size_t i = 0; i < l->nending; i++)
		if (l->ending[i]->ends < next)
			next = l->ending[i]->ends;
	return next;
}

bool
lender_is_used(const struct lender *l)
{
	return l->nclient > 0 || store_at(l->store, 0) != NULL;
}

void
lender_init(struct lender *l, const struct broker_config *config, int64_t now)
{
	*l = (struct lender){ .config = config,
		.now = now,
		.tls = -1,
		.store = store_create(),
		.places = places_create(),
		/* Not local variables, which are zeroed each time. */
		.in = mem_resize(NULL, 1, CACHE_MESSAGE_MAX),
		.out = mem_resize(NULL, 1, CACHE_MESSAGE_MAX) };
	keyset_init(&l->keys);
}

void
lender_end_idle(struct lender *l, unsigned long *counter)
{
	struct store_session *s;

	while ((s = store_at(l->store, 0)) != NULL) {
		store_remove(l->store, s);
		lender_quit(l, s, counter);
	}
}

void
lender_free(struct lender *l)
{
	unsigned long ended = 0;

	for (size_t i = 0; i < l->nclient; i++)
		lender_give_up(&l->client[i]);
	remove_closed(l);
	lender_end_idle(l, &ended);
	for (size_t i = 0; i < l->nending; i++)
		free_ending(l, l->ending[i]);
	free(l->ending);
	store_destroy(l->store);
	places_destroy(l->places);
	free(l->client);
	free(l->in);
	free(l->out);
}
