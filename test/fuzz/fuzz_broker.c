/* SPDX-License-Identifier: ISC */

/*
 * What clients of qmail-remote-cache do: they connect, say whatever they like,
 * pass descriptors, and go; servers talk, and time passes.  After each step the
 * books of the broker must be right; at the end nothing may be left open.
 */

#include <sys/socket.h>
#include <sys/un.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"
#include "lenderkeys.h"

static int64_t clock_ms;
static bool is_quiet;

/* Waits for nothing. */
static int
look(struct pollfd *p, nfds_t n, int timeout)
{
	int ready = poll(p, n, 0);

	CHECK(timeout >= 0 && timeout <= 2000);
	is_quiet = ready == 0;
	return ready;
}

#define poll look
#include "cache/broker.c"
#undef poll

#define SOCKET "broker.sock"
#define GUESTS 12
#define SERVERS 32
#define TURNS 1000 /* of one step: more is a loop without end */

static int guest[GUESTS];
static int server[SERVERS]; /* the other ends of what was passed */
static size_t nserver;

static int64_t
read_clock(void)
{
	return clock_ms;
}

static void
read_limits(void *data, struct store_limits *limits)
{
	(void)data;
	*limits = (struct store_limits){ 60, 4, 2 };
}

static bool
may(void *data, int fd)
{
	return data == NULL && fd != -1;
}

static int
listen_here(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX,
		.sun_path = SOCKET };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	(void)unlink(SOCKET);
	CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
	CHECK(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
	CHECK(listen(fd, 100) == 0);
	return fd;
}

/*
 * Steps.
 */

static void
come_or_go(int *fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX,
		.sun_path = SOCKET };

	if (*fd != -1) {
		close(*fd);
		*fd = -1;
		return;
	}
	*fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	CHECK(connect(*fd, (struct sockaddr *)&address, sizeof address) == 0);
}

/* Ends of connections, or not quite. */
static size_t
make_descriptors(int fd[PASS_MAX], size_t n)
{
	int pair[2];

	for (size_t i = 0; i < n; i++) {
		if (nserver == SERVERS)
			return i;
		CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
		fd[i] = pair[0];
		server[nserver++] = pair[1];
	}
	return n;
}

static void
speak(int fd, struct fuzz_input *in)
{
	size_t n = fuzz_byte(in), nfd = fuzz_byte(in) % (PASS_MAX + 1);
	int passed[PASS_MAX];
	const char *text;

	if (n == 255)
		n = 20000;
	text = fuzz_bytes(in, &n);
	if (fd == -1 || n == 0)
		return;
	nfd = make_descriptors(passed, nfd);
	(void)pass_send(fd, text, n, passed, nfd);
	pass_close(passed, nfd);
}

static void
step(struct fuzz_input *in)
{
	unsigned char what = fuzz_byte(in);
	int *fd = &guest[what / 8 % GUESTS];

	switch (what % 8) {
	case 0:
		come_or_go(fd);
		break;
	case 1:
		clock_ms += 100 * (int64_t)fuzz_byte(in);
		break;
	case 2:
		if (nserver > 0)
			(void)send(server[fuzz_byte(in) % nserver], "421", 3,
			    MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	default:
		speak(*fd, in);
		break;
	}
}

/*
 * What must hold.
 */

static void
hear(void)
{
	static char bytes[CACHE_MESSAGE_MAX];
	struct cache_message m;
	int fd[PASS_MAX];
	size_t nfd;
	ssize_t n;

	for (size_t i = 0; i < GUESTS; i++) {
		if (guest[i] == -1)
			continue;
		while ((n = pass_receive(guest[i], bytes, sizeof bytes, fd,
			    &nfd)) > 0) {
			CHECK(cache_message_parse(&m, bytes, (size_t)n));
			CHECK(m.kind >= CACHE_HIT);
			CHECK((m.kind == CACHE_HIT) == (nfd > 0));
			pass_close(fd, nfd);
		}
	}
}

static void
check_clients(const struct lender *l)
{
	for (size_t i = 0; i < l->nclient; i++) {
		const struct client *c = &l->client[i];

		CHECK(c->fd != -1);
		CHECK(!c->waits || (!c->place && !c->session));
		CHECK(!c->session || c->session->fd == -1);
		CHECK(!c->session || c->session->limit == NULL);
	}
}

/* Each place is that of a client or of an idle connection. */
static void
check_limit(const struct lender *l, const char *limit, unsigned long sessions)
{
	const struct store_session *s;

	for (size_t i = 0; i < l->nclient; i++)
		if (l->client[i].place && !strcmp(l->client[i].place, limit))
			sessions--;
	for (size_t i = 0; (s = store_at(l->store, i)) != NULL; i++)
		if (s->limit && strcmp(s->limit, limit) == 0)
			sessions--;
	for (size_t i = 0; i < l->nending; i++)
		if (strcmp(l->ending[i]->limit, limit) == 0)
			sessions--;
	CHECK(sessions == 0);
}

/* It has the keys 2 of all sessions, as often as there are. */
static void
check_keys(const struct lender *l)
{
	static struct keyset want;

	lenderkeys_collect(l, &want);
	CHECK(memcmp(&want, &l->keys, sizeof want) == 0);
}

/* What is idle is in nobody's way, or somebody's end makes room. */
static void
check_waiting(const struct lender *l, size_t i)
{
	bool gets_place = false, is_in_the_way = false;
	const char *limit;

	CHECK(lender_waiting(l, i)->waits != NULL);
	for (size_t k = 0; (limit = places_wanted(l->places, i, k)); k++) {
		gets_place |= !places_lack(l->places, limit);
		is_in_the_way |= store_find_limit(l->store, limit) != NULL;
	}
	CHECK(gets_place || !is_in_the_way);
}

static void
check(const struct lender *l)
{
	unsigned long sessions, waiting;
	const char *limit;
	size_t n = 0, waits = 0;

	check_clients(l);
	check_keys(l);
	for (size_t i = 0; places_at(l->places, i, &limit, &sessions, &waiting);
	     i++)
		check_limit(l, limit, sessions);
	while (lender_waiting(l, n) != NULL)
		check_waiting(l, n++);
	for (size_t i = 0; i < l->nclient; i++)
		waits += l->client[i].waits != NULL;
	CHECK(n == waits);
	for (n = 0; store_at(l->store, n) != NULL; n++)
		CHECK(store_at(l->store, n)->idle_ends > clock_ms);
	CHECK(n <= 4);
	CHECK(lender_next(l) > clock_ms);
}

static void
run(struct broker *b)
{
	int turns = 0;

	do {
		CHECK(broker_turn(b, read_clock, -1));
		hear();
		CHECK(++turns < TURNS);
	} while (!is_quiet);
	check(&b->lender);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static const struct broker_config config = {
		.version = "1.2.3",
		.limits = read_limits,
		.may_use = may,
		.may_list = may,
	};
	static bool is_ready;
	struct fuzz_input in = { data, size };
	int listener, free_before;
	struct broker *b;

	if (!is_ready)
		fuzz_enter_directory();
	is_ready = true;
	free_before = fuzz_lowest_free();
	clock_ms = 0;
	nserver = 0;
	for (size_t i = 0; i < GUESTS; i++)
		guest[i] = -1;
	listener = listen_here();
	b = broker_create(&config, listener, clock_ms);
	while (in.left > 0) {
		/* Several in one turn. */
		for (int n = fuzz_byte(&in) % 4; n >= 0; n--)
			step(&in);
		run(b);
	}
	broker_destroy(b);
	close(listener);
	for (size_t i = 0; i < GUESTS; i++)
		if (guest[i] != -1)
			close(guest[i]);
	pass_close(server, nserver);
	CHECK(fuzz_lowest_free() == free_before);
	return 0;
}
