/* SPDX-License-Identifier: ISC */
#include "cache/broker.h"

#include <sys/socket.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "cache/lender.h"
#include "cache/request.h"

/*
 * What is polled: these three, then clients, then idle connections, then the
 * ends of those that end.
 */
#define STOP 0
#define LISTENER 1
#define TLS 2
#define CLIENTS 3

#define ACCEPTS 100 /* clients that are accepted in one turn */

struct broker {
	const struct broker_config *config;
	int listener;
	int tls;   /* the socket to qmail-remote-tls; -1: it has ended */
	int spare; /* given up to turn a client away when none is left; or -1 */
	int64_t born;
	int64_t used; /* when there was last a client or a connection */
	struct lender lender;
	struct pollfd *poll;
	struct store_session **idle; /* that are polled */
	size_t npoll, nclient, nidle, size;
};

/*
 * Clients that connect.
 */

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

	for (size_t i = 0; i < ACCEPTS; i++) {
		int fd = accept(b->listener, NULL, NULL);
		bool may_keep;

		if (fd == -1) {
			if (errno == EMFILE || errno == ENFILE)
				turn_away(b);
			return;
		}
		may_keep = config->may_use(config->data, fd);
		if (b->lender.nclient < BROKER_CLIENTS &&
		    (may_keep || config->may_list(config->data, fd)))
			lender_add(&b->lender, fd, may_keep);
		else
			close(fd);
	}
}

/*
 * The qmail-remote-tls is ready, or has ended.  False if that ends us, too.
 */
static bool
hear_tls(struct broker *b)
{
	int fd[PASS_MAX];
	size_t nfd;
	char c;

	if (pass_receive(b->tls, &c, 1, fd, &nfd) == 1) {
		pass_close(fd, nfd);
		b->lender.tls = b->tls;
		return true;
	}
	b->tls = -1;
	return b->lender.tls == -1;
}

/*
 * One turn.
 */

static void
watch(struct broker *b, int fd, short events)
{
	b->poll[b->npoll++] = (struct pollfd){ .fd = fd, .events = events };
}

static void
make_room(struct broker *b)
{
	size_t n = CLIENTS + b->lender.nclient + STORE_MAX + b->lender.nending;

	if (n <= b->size)
		return;
	b->size = 2 * n;
	b->poll = mem_resize(b->poll, b->size, sizeof *b->poll);
	b->idle = mem_resize(b->idle, b->size, sizeof(struct store_session *));
}

/*
 * Without a spare descriptor nobody could be turned away, and would be there
 * again and again.
 */
static void
fill_poll(struct broker *b, int stop)
{
	const struct lender *l = &b->lender;
	struct store_session *s;

	if (b->spare == -1)
		b->spare = dup(b->listener);
	make_room(b);
	b->npoll = 0;
	watch(b, stop, POLLIN);
	watch(b, b->spare == -1 ? -1 : b->listener, POLLIN);
	watch(b, b->tls, POLLIN);
	b->nclient = l->nclient;
	for (size_t i = 0; i < b->nclient; i++) {
		const struct client *c = &l->client[i];

		watch(b, c->fd, c->is_listing ? POLLIN | POLLOUT : POLLIN);
	}
	for (b->nidle = 0; (s = store_at(l->store, b->nidle)) != NULL;) {
		b->idle[b->nidle++] = s;
		watch(b, s->fd, POLLIN);
	}
	for (size_t i = 0; i < l->nending; i++)
		watch(b, l->ending[i]->status, 0);
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
	int64_t now = b->lender.now;
	int64_t next = earlier(lender_next(&b->lender), now + BROKER_TURN_MS);

	if (!lender_is_used(&b->lender))
		next = earlier(next, b->used + BROKER_UNUSED_MS);
	next = earlier(next, b->born + BROKER_LIFE_MS);
	return next > now ? (int)(next - now) : 0;
}

/* A server that has something to say while nobody asked ends the session. */
static void
lose_idle(struct broker *b)
{
	size_t first = CLIENTS + b->nclient;

	for (size_t i = 0; i < b->nidle; i++) {
		if (b->poll[first + i].revents == 0)
			continue;
		store_remove(b->lender.store, b->idle[i]);
		lender_lose(&b->lender, b->idle[i]);
	}
}

/* One may be given up by what another one asks. */
static void
serve_clients(struct broker *b)
{
	for (size_t i = 0; i < b->nclient; i++) {
		struct client *c = &b->lender.client[i];
		short events = b->poll[CLIENTS + i].revents;

		if (c->fd == -1)
			continue;
		if ((events & POLLOUT) != 0)
			request_list(&b->lender, c);
		if ((events & ~POLLOUT) != 0 && c->fd != -1)
			request_receive(&b->lender, c);
	}
}

static void
note_use(struct broker *b)
{
	if (lender_is_used(&b->lender))
		b->used = b->lender.now;
}

bool
broker_turn(struct broker *b, int64_t (*clock)(void), int stop)
{
	fill_poll(b, stop);
	if (poll(b->poll, (nfds_t)b->npoll, time_left(b)) == -1)
		return errno == EINTR;
	b->lender.now = clock();
	note_use(b);
	if (b->poll[STOP].revents != 0 ||
	    (b->poll[TLS].revents != 0 && !hear_tls(b)))
		return false;
	/* First: a client must not be given one of them. */
	lose_idle(b);
	serve_clients(b);
	if (b->poll[LISTENER].revents != 0)
		accept_clients(b);
	lender_settle(&b->lender);
	note_use(b);
	return true;
}

/*
 * Whether there are no sessions under a limit, and nobody waits for one.  The
 * next broker does not know of those that have begun before it, so an old one
 * had better end then.
 */
static bool
has_no_places(const struct broker *b)
{
	const char *limit;
	unsigned long sessions, waiting;

	return !places_at(b->lender.places, 0, &limit, &sessions, &waiting);
}

bool
broker_is_over(const struct broker *b, int64_t now)
{
	return now - b->born >= BROKER_LIFE_MS ||
	       (now - b->born >= BROKER_OLD_MS && has_no_places(b)) ||
	       (!lender_is_used(&b->lender) &&
		   now - b->used >= BROKER_UNUSED_MS);
}

struct broker *
broker_create(const struct broker_config *config, int listener, int64_t now)
{
	struct broker *b = mem_alloc(1, sizeof *b);

	b->config = config;
	b->listener = listener;
	b->tls = config->tls > 0 ? config->tls : -1;
	b->spare = dup(listener);
	b->born = b->used = now;
	lender_init(&b->lender, config, now);
	return b;
}

void
broker_change_limits(struct broker *b)
{
	b->lender.limits++;
	lender_end_idle(&b->lender, &b->lender.counters.by_limit);
}

void
broker_destroy(struct broker *b)
{
	if (b->spare != -1)
		close(b->spare);
	lender_free(&b->lender);
	free(b->poll);
	free(b->idle);
	free(b);
}
