/* SPDX-License-Identifier: ISC */
#ifndef TEST_BROKERSTAGE_H
#define TEST_BROKERSTAGE_H

/*
 * A broker in this process, its clients, and a clock that goes on only when a
 * test says so.  Each turn of the broker waits as long as it wants by this
 * clock, not at all by ours.  Include it after cmocka.h, in one file of a test:
 * the source of cache/broker is part of it.
 */

#include <sys/socket.h>
#include <sys/un.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/broker.h"
#include "cache/message.h"
#include "io/pass.h"
#include "lenderkeys.h"

#define STAGE_SOCKET "broker.sock"
#define STAGE_VERSION "1.2.3"
#define STAGE_TURNS 100000 /* of one test step: more is a loop without end */

static struct {
	struct broker *broker;
	int listener, stop[2];
	int tls; /* of the next broker */
	int64_t now, until;
	bool is_quiet; /* the last wait was for nothing */
	int idle_turns;
	/* Each fails once, or as often, with this. */
	int poll_error, accept_error;
	int accept_fails, dup_fails;
	struct store_limits limits;
	void (*on_limits)(void); /* in the middle of a turn */
	bool may_use, may_list;
	int descriptors;
} stage;

/* Time passes only up to stage.until. */
static inline int
stage_poll(struct pollfd *p, nfds_t n, int timeout)
{
	int ready;

	if (stage.poll_error != 0) {
		errno = stage.poll_error;
		stage.poll_error = 0;
		return -1;
	}
	ready = poll(p, n, 0);
	stage.is_quiet = ready == 0;
	if (!stage.is_quiet)
		return ready;
	/* Who has nothing to do must wait, or be over. */
	stage.idle_turns = timeout > 0 ? 0 : stage.idle_turns + 1;
	assert_true(stage.idle_turns < 10 ||
		    broker_is_over(stage.broker, stage.now));
	if (stage.now + timeout > stage.until)
		timeout = (int)(stage.until - stage.now);
	if (timeout > 0)
		stage.now += timeout;
	return 0;
}

static inline int
stage_accept(int listener, struct sockaddr *address, socklen_t *size)
{
	if (stage.accept_fails > 0) {
		stage.accept_fails--;
		errno = stage.accept_error;
		return -1;
	}
	return accept(listener, address, size);
}

static inline int
stage_dup(int fd)
{
	if (stage.dup_fails > 0) {
		stage.dup_fails--;
		errno = EMFILE;
		return -1;
	}
	return dup(fd);
}

#define poll stage_poll
#define accept stage_accept
#define dup stage_dup
#include "cache/broker.c"
#undef poll
#undef accept
#undef dup

static inline int64_t
stage_clock(void)
{
	return stage.now;
}

static inline void
stage_read_limits(void *data, struct store_limits *limits)
{
	assert_ptr_equal(data, &stage);
	*limits = stage.limits;
	if (stage.on_limits)
		stage.on_limits();
}

static inline bool
stage_may_use(void *data, int fd)
{
	assert_ptr_equal(data, &stage);
	assert_int_not_equal(fd, -1);
	return stage.may_use;
}

static inline bool
stage_may_list(void *data, int fd)
{
	assert_ptr_equal(data, &stage);
	assert_int_not_equal(fd, -1);
	return stage.may_list;
}

static inline int
stage_count_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static inline void
stage_start_broker(void)
{
	static struct broker_config config = {
		.version = STAGE_VERSION,
		.limits = stage_read_limits,
		.may_use = stage_may_use,
		.may_list = stage_may_list,
		.data = &stage,
	};

	config.tls = stage.tls;
	stage.broker = broker_create(&config, stage.listener, stage.now);
}

/* In an empty directory of its own, which is the current one. */
static inline int
stage_enter(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX,
		.sun_path = STAGE_SOCKET };

	(void)state;
	memset(&stage, 0, sizeof stage);
	stage.descriptors = stage_count_descriptors();
	stage.now = stage.until = 1000000;
	stage.limits = (struct store_limits){ 60, 20, 2 };
	stage.may_use = true;
	stage.listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	if (fcntl(stage.listener, F_SETFL, O_NONBLOCK) == -1 ||
	    bind(stage.listener, (struct sockaddr *)&address, sizeof address) ==
		-1 ||
	    listen(stage.listener, 4096) == -1 || pipe(stage.stop) == -1)
		return -1;
	stage_start_broker();
	return 0;
}

/* Nothing may be left open. */
static inline int
stage_leave(void **state)
{
	(void)state;
	if (stage.broker != NULL)
		broker_destroy(stage.broker);
	close(stage.listener);
	close(stage.stop[0]);
	close(stage.stop[1]);
	if (unlink(STAGE_SOCKET) == -1)
		return -1;
	return stage_count_descriptors() != stage.descriptors;
}

/* The keys 2 that it names are those of all sessions. */
static inline void
stage_check_keys(void)
{
	static struct keyset want;
	const struct lender *l = &stage.broker->lender;

	lenderkeys_collect(l, &want);
	assert_memory_equal(&want, &l->keys, sizeof want);
}

static inline bool
stage_turn(void)
{
	bool goes_on = broker_turn(stage.broker, stage_clock, stage.stop[0]);

	stage_check_keys();
	return goes_on;
}

/* Until there is nothing to do, at this moment. */
static inline void
stage_run(void)
{
	int turns = 0;

	do {
		assert_true(stage_turn());
		assert_true(++turns < STAGE_TURNS);
	} while (!stage.is_quiet);
}

/* This time passes, and what is due happens. */
static inline void
stage_pass(int64_t ms)
{
	int turns = 0;

	stage.until = stage.now + ms;
	while (stage.now < stage.until) {
		assert_true(stage_turn());
		assert_true(++turns < STAGE_TURNS);
	}
	stage_run();
}

/*
 * A client.
 */

enum { HEARD_NOTHING = -1, HEARD_END = -2 };

struct guest {
	int fd;
	bool has_kept; /* the end of a delivery */
	struct cache_message heard;
	char bytes[CACHE_MESSAGE_MAX];
	int got[PASS_MAX];
	size_t ngot;
};

static inline void
guest_connect(struct guest *g)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX,
		.sun_path = STAGE_SOCKET };

	g->ngot = 0;
	g->has_kept = false;
	g->fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	assert_int_not_equal(g->fd, -1);
	assert_int_equal(connect(g->fd, (struct sockaddr *)&address,
			     sizeof address),
	    0);
}

/* What it has received, descriptors too. */
static inline void
guest_forget(struct guest *g)
{
	pass_close(g->got, g->ngot);
	g->ngot = 0;
}

static inline void
guest_close(struct guest *g)
{
	guest_forget(g);
	close(g->fd);
	g->fd = -1;
}

static inline void
guest_send(const struct guest *g, const struct cache_message *m, const int *fd,
    size_t nfd)
{
	static char bytes[CACHE_MESSAGE_MAX];
	size_t n = cache_message_format(m, bytes);

	assert_int_not_equal(n, 0);
	assert_int_equal(pass_send(g->fd, bytes, n, fd, nfd), 0);
}

/* The kind of the next answer that is there. */
static inline int
guest_hear(struct guest *g)
{
	ssize_t n;

	guest_forget(g);
	n = pass_receive(g->fd, g->bytes, sizeof g->bytes, g->got, &g->ngot);
	if (n == 0 || (n == -1 && errno == ECONNRESET))
		return HEARD_END;
	if (n == -1) {
		assert_int_equal(errno, EAGAIN);
		return HEARD_NOTHING;
	}
	assert_true(cache_message_parse(&g->heard, g->bytes, (size_t)n));
	assert_int_equal(g->ngot > 0, g->heard.kind == CACHE_HIT);
	return (int)g->heard.kind;
}

/* The next answer after the broker has done what there is to do. */
static inline int
guest_answer(struct guest *g)
{
	stage_run();
	return guest_hear(g);
}

/* What comes after the end of a delivery is another one. */
static inline void
guest_renew(struct guest *g)
{
	if (!g->has_kept)
		return;
	guest_close(g);
	guest_connect(g);
}

static inline void
guest_ask(struct guest *g, const char *key1)
{
	struct cache_message m = { .kind = CACHE_ASK };

	guest_renew(g);
	m.session.key1 = key1;
	guest_send(g, &m, NULL, 0);
}

static inline void
guest_choose(struct guest *g, unsigned long wait,
    const struct cache_candidate *candidate, size_t n)
{
	struct cache_message m = { .kind = CACHE_CHOOSE, .wait = wait };

	guest_renew(g);
	memcpy(m.candidate, candidate, n * sizeof *candidate);
	m.ncandidate = n;
	guest_send(g, &m, NULL, 0);
}

/* One candidate. */
static inline void
guest_choose_one(struct guest *g, const char *key, const char *limit,
    unsigned long n)
{
	struct cache_candidate c = { key, limit, n };

	guest_choose(g, 10, &c, 1);
}

static inline void
guest_ready(struct guest *g, const char *key1, const char *key2)
{
	struct cache_message m = { .kind = CACHE_READY };

	guest_renew(g);
	m.session = (struct cache_session){ .key1 = key1, .key2 = key2 };
	m.session.address = "192.0.2.1";
	m.session.lives = 300;
	guest_send(g, &m, NULL, 0);
}

/* With one server that was not asked about. */
static inline void
guest_ready_unasked(struct guest *g, const char *key1, const char *key2,
    const char *unasked)
{
	struct cache_message m = { .kind = CACHE_READY,
		.ncandidate = 1,
		.candidate = { { unasked, "", 0 } } };

	guest_renew(g);
	m.session = (struct cache_session){ .key1 = key1, .key2 = key2 };
	m.session.address = "192.0.2.1";
	m.session.lives = 300;
	guest_send(g, &m, NULL, 0);
}

static inline void
guest_say_gone(struct guest *g)
{
	const struct cache_message m = { .kind = CACHE_GONE };

	guest_send(g, &m, NULL, 0);
}

static inline void
guest_keep(struct guest *g, unsigned long used, const int *fd, size_t nfd)
{
	struct cache_message m = { .kind = CACHE_KEEP };

	m.session.used = used;
	guest_send(g, &m, fd, nfd);
	g->has_kept = true;
}

/*
 * A connection to a server, as in TLS: both descriptors are local sockets.
 * Only the broker, or a client, has the session's end of it.
 */
struct server {
	int fd; /* the server's end of the session */
	int status;
};

/* Returns the ends of a client. */
static inline void
server_connect(struct server *s, int end[2])
{
	int pair[2], status[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, status), 0);
	*s = (struct server){ pair[0], status[0] };
	end[CACHE_FD_SESSION] = pair[1];
	end[CACHE_FD_STATUS] = status[1];
}

static inline void
server_close(struct server *s)
{
	close(s->fd);
	close(s->status);
	s->fd = s->status = -1;
}

/* All that was said to it: up to the end, if that is there. */
static inline const char *
server_heard(const struct server *s, bool *has_ended)
{
	static char text[100];
	size_t n = 0;
	ssize_t got;

	do {
		got = recv(s->fd, text + n, sizeof text - 1 - n, MSG_DONTWAIT);
		if (got > 0)
			n += (size_t)got;
	} while (got > 0);
	text[n] = '\0';
	/* The end had not read what the server said. */
	*has_ended = got == 0 || errno == ECONNRESET;
	return text;
}

/* With QUIT, or without; or not ended. */
static inline void
assert_ended(const struct server *s, const char *text)
{
	bool has_ended;

	assert_string_equal(server_heard(s, &has_ended), text);
	assert_true(has_ended);
}

static inline void
assert_open(const struct server *s)
{
	bool has_ended;

	assert_string_equal(server_heard(s, &has_ended), "");
	assert_false(has_ended);
}

#endif
