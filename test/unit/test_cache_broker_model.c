/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <stdio.h>

#include "brokerstage.h"
#include "home.h"

/*
 * Many clients that do random things, several of them in each turn.  Whatever
 * happens, what a broker promises must hold.
 */

#define STEPS 20000
#define NCLIENT 14
#define NLIMIT 2
#define NKEY 3
#define NCONNECTION 100
#define WAIT_S 10
#define NONE (-1)

/* The number of places is one more than the limit's own number. */
static const char *const limits[NLIMIT] = { "x", "y" };
static const char *const keys[NKEY] = { "k", "l", "m" };

/* ENDING: the broker has closed it, and its TLS helper has not. */
enum state { FREE, HELD, IDLE, ENDING };

/* A session with a server. */
struct connection {
	enum state state;
	struct server server;
	ino_t inode; /* of the client's end, wherever it is */
	int limit;   /* of the place that it takes while it is idle */
	int key;
	bool has_talked; /* the server: it must not be lent any more */
	int64_t idle_since;
	int64_t ends; /* ENDING: it takes its place no longer than that */
};

struct person {
	struct guest guest;
	bool is_there, waits;
	bool has_asked, has_chosen; /* in this turn */
	int connection;             /* that it has been lent */
	int limit;                  /* of the place that it has */
	/* What it has chosen from. */
	size_t n;
	int limit_of[3], key_of[3];
	unsigned long turn; /* in which it has chosen */
	int64_t until;
};

static struct model {
	struct person person[NCLIENT];
	struct connection connection[NCONNECTION];
	uint64_t seed;
	unsigned long turn;
	size_t hits, places, queued, full, served, ended, lost, kept, late;
} m;

/* A number below n.  The seed is fixed, so a failure can be repeated. */
static size_t
below(size_t n)
{
	m.seed = m.seed * 6364136223846793005 + 1442695040888963407;
	return (size_t)(m.seed >> 33) % n;
}

static ino_t
inode_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

static int
find_connection(ino_t inode)
{
	for (int i = 0; i < NCONNECTION; i++)
		if (m.connection[i].state != FREE &&
		    m.connection[i].inode == inode)
			return i;
	fail();
	return NONE;
}

static int
new_connection(int end[2])
{
	int i = 0;

	while (m.connection[i].state != FREE)
		assert_true(++i < NCONNECTION);
	m.connection[i] = (struct connection){ .state = HELD };
	server_connect(&m.connection[i].server, end);
	m.connection[i].inode = inode_of(end[CACHE_FD_SESSION]);
	return i;
}

static void
forget_connection(int i)
{
	server_close(&m.connection[i].server);
	m.connection[i].state = FREE;
}

/* What a client has, it has no more. */
static void
let_go(struct person *p)
{
	guest_forget(&p->guest);
	if (p->connection != NONE)
		forget_connection(p->connection);
	p->connection = p->limit = NONE;
	p->waits = false;
}

/*
 * What clients and servers do.
 */

static void
come_or_go(struct person *p)
{
	if (p->is_there) {
		let_go(p);
		guest_close(&p->guest);
	} else {
		guest_connect(&p->guest);
		p->connection = p->limit = NONE;
		p->waits = p->has_asked = p->has_chosen = false;
	}
	p->is_there = !p->is_there;
}

static void
go_sometimes(struct person *p)
{
	if (!p->is_there || below(3) == 0)
		come_or_go(p);
}

static void
ask(struct person *p)
{
	if (!p->is_there || p->has_asked || p->waits)
		return;
	p->has_asked = true;
	let_go(p);
	guest_ask(&p->guest, keys[below(NKEY)]);
}

/* Only one of them in a turn: so it is known who was first. */
static void
choose(struct person *p)
{
	struct cache_candidate c[3];

	for (size_t i = 0; i < NCLIENT; i++)
		if (m.person[i].has_chosen)
			return;
	if (!p->is_there || p->has_asked || p->waits)
		return;
	p->has_asked = true;
	let_go(p);
	p->n = below(5) > 0 ? 1 : below(2) + 2;
	for (size_t i = 0; i < p->n; i++) {
		int limit = below(20) > 0 ? (int)below(NLIMIT) : NONE;
		int key = below(3) == 0 ? (int)below(NKEY) : NONE;

		p->limit_of[i] = limit;
		p->key_of[i] = key;
		c[i].limit = limit == NONE ? "" : limits[limit];
		c[i].n = (unsigned long)(limit + 1);
		c[i].key = key == NONE ? "" : keys[key];
	}
	p->has_chosen = true;
	p->turn = m.turn;
	guest_choose(&p->guest, WAIT_S, c, p->n);
}

static void
keep(struct person *p)
{
	struct connection *c;
	int end[2], i = p->connection, key;

	if (!p->is_there || p->waits || p->has_asked)
		return;
	if (i == NONE) {
		key = (int)below(NKEY);
		i = new_connection(end);
		m.connection[i].key = key;
		guest_ready(&p->guest, NULL, keys[key]);
		guest_keep(&p->guest, 1, end, 2);
		pass_close(end, 2);
	} else {
		guest_keep(&p->guest, 1, p->guest.got, 2);
		guest_forget(&p->guest);
	}
	c = &m.connection[i];
	c->state = IDLE;
	c->idle_since = 0;
	c->limit = p->limit;
	p->connection = p->limit = NONE;
	m.kept++;
}

static void
talk(struct person *p)
{
	struct connection *c = &m.connection[below(NCONNECTION)];

	(void)p;
	if (c->state != IDLE || c->has_talked)
		return;
	c->has_talked = true;
	assert_int_equal(send(c->server.fd, "421 bye\r\n", 9, 0), 9);
}

static void
end_helper(struct person *p)
{
	int i = (int)below(NCONNECTION);

	(void)p;
	if (m.connection[i].state == ENDING)
		forget_connection(i);
}

static void
pass_time(struct person *p)
{
	static const int64_t ms[] = { 1, 500, 3000, 12000 };

	(void)p;
	stage.now += ms[below(4)];
}

/*
 * What the broker has answered.
 */

/* A connection that nobody else has, with the key that was asked for. */
static void
take_hit(struct person *p)
{
	int i = find_connection(inode_of(p->guest.got[CACHE_FD_SESSION]));
	struct connection *c = &m.connection[i];

	assert_int_equal(c->state, IDLE);
	assert_false(c->has_talked);
	assert_string_equal(p->guest.heard.session.key2, keys[c->key]);
	if (p->waits || p->has_chosen)
		assert_int_equal(p->key_of[p->guest.heard.chosen], c->key);
	c->state = HELD;
	p->connection = i;
	p->limit = c->limit;
	p->waits = false;
	m.hits++;
}

static bool
waits_for_only(const struct person *p, int limit)
{
	return p->waits && p->n == 1 && p->limit_of[0] == limit;
}

static void
take_place(struct person *p)
{
	p->limit = p->limit_of[p->guest.heard.chosen];
	m.served += p->waits;
	p->waits = false;
	m.places++;
}

static void
take_answer(struct person *p, int kind)
{
	switch (kind) {
	case CACHE_HIT:
		take_hit(p);
		return;
	case CACHE_PLACE:
		take_place(p);
		return;
	case CACHE_QUEUED:
		assert_true(p->has_chosen);
		p->waits = true;
		m.queued++;
		return;
	case CACHE_FULL:
		assert_true(p->has_chosen || p->until <= stage.now);
		p->waits = false;
		m.full++;
		return;
	default:
		assert_int_equal(kind, CACHE_MISS);
	}
}

/* One answer; two to a client that has waited for no time. */
static void
take_answers(void)
{
	for (size_t i = 0; i < NCLIENT; i++) {
		struct person *p = &m.person[i];
		int kind;

		/* The descriptors that it has are not to be forgotten. */
		while (p->is_there && p->connection == NONE &&
		       (kind = guest_hear(&p->guest)) != HEARD_NOTHING)
			take_answer(p, kind);
	}
}

/*
 * What must hold after each turn.
 */

/* Whether the broker waits for its end no more. */
static bool
is_left(const struct connection *c)
{
	char byte;

	return recv(c->server.status, &byte, 1, MSG_DONTWAIT) == 0;
}

/* Some helpers take their time; then the connection takes its place for so
 * long. */
static void
note_end(int i)
{
	struct connection *c = &m.connection[i];

	m.lost += c->has_talked;
	m.ended += !c->has_talked;
	if (c->limit != NONE && below(4) == 0) {
		c->state = ENDING;
		c->ends = stage.now + LENDER_ENDING_MS;
	} else {
		forget_connection(i);
	}
}

static void
check_ending(int i)
{
	const struct connection *c = &m.connection[i];

	assert_int_equal(is_left(c), c->ends <= stage.now);
	if (c->ends > stage.now)
		return;
	m.late++;
	forget_connection(i);
}

static void
check_connections(void)
{
	size_t idle = 0, long_idle[NKEY] = { 0 };

	for (int i = 0; i < NCONNECTION; i++) {
		struct connection *c = &m.connection[i];
		const char *text;
		bool has_ended;

		if (c->state == FREE)
			continue;
		if (c->state == ENDING) {
			check_ending(i);
			continue;
		}
		text = server_heard(&c->server, &has_ended);
		if (c->state == HELD || !has_ended) {
			assert_false(has_ended);
			assert_string_equal(text, "");
			if (c->state == IDLE) {
				idle++;
				assert_true(stage.now < c->idle_since + 60000);
				long_idle[c->key] +=
				    stage.now >=
				    c->idle_since + 1000 * STORE_SPARE_S;
			}
			continue;
		}
		assert_string_equal(text, c->has_talked ? "" : "QUIT\r\n");
		note_end(i);
	}
	assert_true(idle <= stage.limits.total);
	for (size_t i = 0; i < NKEY; i++)
		assert_true(long_idle[i] <= stage.limits.per_key);
}

static void
check_limit(int limit)
{
	int held = 0, idle = 0, ending = 0;
	int nwaits = 0;

	for (size_t i = 0; i < NCLIENT; i++) {
		held += m.person[i].is_there && m.person[i].limit == limit;
		nwaits += waits_for_only(&m.person[i], limit);
	}
	for (size_t i = 0; i < NCONNECTION; i++) {
		const struct connection *c = &m.connection[i];

		idle += c->state == IDLE && c->limit == limit;
		ending += c->state == ENDING && c->limit == limit;
	}
	assert_true(held + idle + ending <= limit + 1);
	/* Nobody waits for nothing. */
	if (nwaits > ending)
		assert_int_equal(held + ending, limit + 1);
}

/* Who has got a place that another one waits for has come before it. */
static void
check_order(const int *had)
{
	for (size_t i = 0; i < NCLIENT; i++) {
		const struct person *p = &m.person[i];

		if (!p->is_there || p->limit == NONE || p->limit == had[i] ||
		    p->connection != NONE)
			continue;
		for (size_t k = 0; k < NCLIENT; k++)
			assert_false(waits_for_only(&m.person[k], p->limit) &&
				     m.person[k].turn < p->turn);
	}
}

/* The broker sees now what was done since the last turn. */
static void
note_time(void)
{
	for (size_t i = 0; i < NCLIENT; i++)
		if (m.person[i].has_chosen)
			m.person[i].until = stage.now + 1000 * WAIT_S;
	for (size_t i = 0; i < NCONNECTION; i++)
		if (m.connection[i].idle_since == 0)
			m.connection[i].idle_since = stage.now;
}

static void
run_turn(void)
{
	int had[NCLIENT];

	for (size_t i = 0; i < NCLIENT; i++)
		had[i] = m.person[i].is_there ? m.person[i].limit : NONE;
	note_time();
	stage_run();
	take_answers();
	check_connections();
	/* Places of those that have ended. */
	stage_run();
	take_answers();
	for (int limit = 0; limit < NLIMIT; limit++)
		check_limit(limit);
	check_order(had);
	for (size_t i = 0; i < NCLIENT; i++) {
		struct person *p = &m.person[i];

		assert_true(!p->waits || stage.now < p->until);
		p->has_asked = p->has_chosen = false;
	}
	m.turn++;
}

/* All go, but those that wait: each of them has its turn. */
static void
let_all_go(void)
{
	bool has_waited;

	do {
		has_waited = false;
		for (size_t i = 0; i < NCLIENT; i++) {
			struct person *p = &m.person[i];

			if (p->is_there && !p->waits)
				come_or_go(p);
			has_waited |= p->waits;
		}
		for (int i = 0; i < NCONNECTION; i++)
			if (m.connection[i].state == ENDING)
				forget_connection(i);
		run_turn();
	} while (has_waited);
}

static void
promises_are_kept(void **state)
{
	static void (*const actions[])(struct person *) = { go_sometimes, ask,
		choose, choose, choose, choose, choose, choose, choose, choose,
		keep, keep, talk, pass_time, end_helper, end_helper };

	(void)state;
	stage.limits = (struct store_limits){ 60, 4, 2 };
	m = (struct model){ .seed = 1 };
	for (size_t i = 1; i <= STEPS; i++) {
		for (size_t n = below(6) + 1; n > 0; n--) {
			struct person *p = &m.person[below(NCLIENT)];

			actions[below(sizeof actions / sizeof *actions)](p);
		}
		run_turn();
		if (i % 500 == 0)
			let_all_go();
	}
	/* All that can happen has happened, and more than a few times. */
	assert_true(m.hits > 500 && m.places > 1000 && m.queued > 1000);
	assert_true(m.full > 100 && m.served > 1000 && m.kept > 1000);
	assert_true(m.ended > 1000 && m.lost > 50 && m.late > 50);
	broker_destroy(stage.broker);
	stage.broker = NULL;
	check_connections();
	for (size_t i = 0; i < NCONNECTION; i++)
		assert_int_equal(m.connection[i].state, FREE);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(promises_are_kept, stage_enter,
		    stage_leave),
	};

	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
