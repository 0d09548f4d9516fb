/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>
#include <stdio.h>

#include "cache/demand.h"

#include "brokerstage.h"
#include "home.h"
#include "tcppair.h"

/* A guest that has connected; closed at the end of the test. */
static struct guest guest[8];

static int
enter(void **state)
{
	for (size_t i = 0; i < 8; i++)
		guest[i].fd = -1;
	return stage_enter(state);
}

static int
leave(void **state)
{
	for (size_t i = 0; i < 8; i++)
		if (guest[i].fd != -1)
			guest_close(&guest[i]);
	return stage_leave(state) || home_clear(state);
}

/* These many, which the broker has accepted. */
static void
connect_guests(size_t n)
{
	for (size_t i = 0; i < n; i++)
		guest_connect(&guest[i]);
	stage_run();
}

/* A client has asked for these keys, and gone. */
static void
demand(const char *key1, const char *key2)
{
	struct guest g;

	guest_connect(&g);
	if (key1 != NULL) {
		guest_ask(&g, key1);
		assert_int_equal(guest_answer(&g), CACHE_MISS);
	}
	if (key2 != NULL) {
		guest_choose_one(&g, key2, "", 0);
		assert_int_equal(guest_answer(&g), CACHE_PLACE);
	}
	guest_close(&g);
	stage_run();
}

/* A client gives a new connection back. */
static struct server
give_back(struct guest *g, const char *key1, const char *key2,
    unsigned long used)
{
	struct server s;
	int end[2];

	server_connect(&s, end);
	guest_ready(g, key1, key2);
	stage_run();
	guest_keep(g, used, end, 2);
	close(end[0]);
	close(end[1]);
	stage_run();
	return s;
}

/* An idle connection with these keys, which a client asks for later. */
static struct server
make_idle(struct guest *g, const char *key1, const char *key2)
{
	struct server s;

	demand(key1, key2);
	s = give_back(g, key1, key2, 1);
	assert_open(&s);
	return s;
}

static struct cache_counters
counters(void)
{
	struct cache_message m = { .kind = CACHE_LIST };
	struct guest g;
	int kind;

	guest_connect(&g);
	guest_send(&g, &m, NULL, 0);
	while ((kind = guest_answer(&g)) != CACHE_COUNTERS)
		assert_in_range(kind, CACHE_ENTRY, CACHE_LIMIT);
	m = g.heard;
	assert_int_equal(guest_hear(&g), HEARD_NOTHING);
	guest_close(&g);
	stage_run();
	return m.counters;
}

/*
 * Connections.
 */

static void
the_first_answer_has_the_version(void **state)
{
	(void)state;
	connect_guests(1);
	guest_ask(guest, "k");
	assert_int_equal(guest_answer(guest), CACHE_MISS);
	assert_string_equal(guest->heard.version, STAGE_VERSION);
	guest_ask(guest, "k");
	assert_int_equal(guest_answer(guest), CACHE_MISS);
	assert_null(guest->heard.version);
}

static void
a_connection_is_kept_and_lent(void **state)
{
	struct cache_message m = { .kind = CACHE_READY };
	struct server s;
	char byte = 0;
	int end[2];

	(void)state;
	demand("k1", NULL);
	connect_guests(2);
	server_connect(&s, end);
	m.session = (struct cache_session){ .key1 = "k1",
		.key2 = "k2",
		.address = "2001:db8::1",
		.host = "m1.example",
		.extensions = "SIZE 1",
		.tls = "TLSv1.3",
		.lives = 200,
		.mailmax = 9 };
	guest_send(&guest[0], &m, NULL, 0);
	guest_keep(&guest[0], 3, end, 2);
	close(end[0]);
	close(end[1]);
	stage_run();
	assert_int_equal(guest_hear(&guest[0]), HEARD_NOTHING);
	stage_pass(5500);
	guest_ask(&guest[1], "k1");
	assert_int_equal(guest_answer(&guest[1]), CACHE_HIT);
	m = guest[1].heard;
	assert_string_equal(m.session.key1, "k1");
	assert_string_equal(m.session.key2, "k2");
	assert_string_equal(m.session.address, "2001:db8::1");
	assert_string_equal(m.session.host, "m1.example");
	assert_string_equal(m.session.extensions, "SIZE 1");
	assert_string_equal(m.session.tls, "TLSv1.3");
	assert_int_equal(m.session.used, 3);
	assert_int_equal(m.session.lives, 194);
	assert_int_equal(guest[1].ngot, 2);
	assert_int_equal(write(guest[1].got[CACHE_FD_SESSION], "a", 1), 1);
	assert_int_equal(read(s.fd, &byte, 1), 1);
	assert_int_equal(write(guest[1].got[CACHE_FD_STATUS], "b", 1), 1);
	assert_int_equal(read(s.status, &byte, 1), 1);
	assert_int_equal(byte, 'b');
	/* Only this client has it now. */
	guest_close(&guest[1]);
	assert_ended(&s, "");
	server_close(&s);
	assert_int_equal(counters().hits, 1);
	assert_int_equal(counters().kept, 1);
}

/* What the broker has said with the last miss. */
static bool
may_have(struct guest *g, const char *key2)
{
	guest_ask(g, "nobody's");
	assert_int_equal(guest_answer(g), CACHE_MISS);
	assert_non_null(g->heard.keys);
	return keyset_may_have(g->heard.keys, key2);
}

/* That of one in use counts too: it may come back before it is asked for. */
static void
a_miss_says_which_servers_have_no_connection(void **state)
{
	struct server s;
	int end[2];

	(void)state;
	connect_guests(3);
	assert_false(may_have(&guest[2], "k2"));
	demand(NULL, "k2");
	assert_false(may_have(&guest[2], "k2"));
	server_connect(&s, end);
	guest_ready(&guest[0], "k1", "k2");
	assert_true(may_have(&guest[2], "k2"));
	assert_false(may_have(&guest[2], "k1"));
	guest_keep(&guest[0], 1, end, 2);
	close(end[0]);
	close(end[1]);
	assert_true(may_have(&guest[2], "k2"));
	guest_ask(&guest[1], "k1");
	assert_int_equal(guest_answer(&guest[1]), CACHE_HIT);
	assert_true(may_have(&guest[2], "k2"));
	guest_close(&guest[1]);
	stage_run();
	assert_false(may_have(&guest[2], "k2"));
	server_close(&s);
}

/* So the server would have been asked for, had it been worth it. */
static void
what_was_not_asked_about_is_wanted(void **state)
{
	struct server s;
	int end[2];

	(void)state;
	connect_guests(3);
	guest_ready_unasked(&guest[1], NULL, "k3", "k2");
	guest_ready_unasked(&guest[2], NULL, "k4", "");
	stage_run();
	assert_int_equal(counters().misses, 1);
	s = give_back(&guest[0], NULL, "k2", 1);
	assert_open(&s);
	server_close(&s);
	stage_run();
	/* It is not the demand of another. */
	server_connect(&s, end);
	guest_ready_unasked(&guest[0], NULL, "k5", "k5");
	guest_keep(&guest[0], 1, end, 2);
	close(end[0]);
	close(end[1]);
	stage_run();
	assert_ended(&s, "QUIT\r\n");
	server_close(&s);
}

static void
a_connection_in_clear_text_has_one_descriptor(void **state)
{
	int end[2], listening;

	(void)state;
	tcp_pair(end, &listening);
	demand("k1", NULL);
	connect_guests(2);
	guest_ready(&guest[0], "k1", NULL);
	guest_keep(&guest[0], 1, end, 1);
	close(end[0]);
	stage_run();
	guest_ask(&guest[1], "k1");
	assert_int_equal(guest_answer(&guest[1]), CACHE_HIT);
	assert_int_equal(guest[1].ngot, 1);
	close(end[1]);
	close(listening);
}

static void
a_lent_connection_comes_back(void **state)
{
	struct server s;

	(void)state;
	connect_guests(2);
	s = make_idle(&guest[0], "k1", "k2");
	for (unsigned long used = 2; used < 5; used++) {
		guest_choose_one(&guest[1], "k2", "", 0);
		assert_int_equal(guest_answer(&guest[1]), CACHE_HIT);
		demand("k1", NULL);
		guest_keep(&guest[1], used, guest[1].got, 2);
		guest_forget(&guest[1]);
		stage_run();
	}
	assert_open(&s);
	guest_ask(&guest[0], "k1");
	assert_int_equal(guest_answer(&guest[0]), CACHE_HIT);
	assert_int_equal(guest[0].heard.session.used, 4);
	server_close(&s);
}

static void
fail_to_read(void)
{
	fail_msg("the limits were read");
}

/* Most mail is one message to a server, so that must cost little. */
static void
an_unwanted_connection_is_ended(void **state)
{
	struct server s;

	(void)state;
	connect_guests(1);
	stage.on_limits = fail_to_read;
	guest_ask(guest, "k1");
	s = give_back(guest, "k1", "k2", 1);
	assert_ended(&s, "QUIT\r\n");
	server_close(&s);
	assert_int_equal(counters().unwanted, 1);
	/* The demand of another, but too long ago. */
	demand("k1", "k2");
	stage_pass(DEMAND_MS);
	s = give_back(guest, "k1", "k2", 1);
	assert_ended(&s, "QUIT\r\n");
	server_close(&s);
	assert_int_equal(counters().unwanted, 2);
}

static void
what_is_over_is_not_kept(void **state)
{
	struct cache_message m = { .kind = CACHE_READY };
	struct server s;
	int end[2];

	(void)state;
	connect_guests(1);
	demand("k1", NULL);
	stage.limits.idle_s = 0;
	s = give_back(guest, "k1", NULL, 1);
	assert_ended(&s, "QUIT\r\n");
	server_close(&s);
	stage.limits.idle_s = 60;
	s = give_back(guest, "k1", NULL, STORE_USES);
	assert_ended(&s, "QUIT\r\n");
	server_close(&s);
	server_connect(&s, end);
	m.session = (struct cache_session){ .key1 = "k1", .address = "x" };
	guest_renew(guest);
	guest_send(guest, &m, NULL, 0);
	guest_keep(guest, 1, end, 2);
	close(end[0]);
	close(end[1]);
	stage_run();
	assert_ended(&s, "QUIT\r\n");
	server_close(&s);
	assert_int_equal(counters().by_idleness, 1);
	assert_int_equal(counters().by_use, 1);
	assert_int_equal(counters().by_age, 1);
	assert_int_equal(counters().kept, 0);
}

static void
there_is_no_room_for_more(void **state)
{
	struct server s[4];

	(void)state;
	connect_guests(1);
	stage.limits.total = 2;
	s[0] = make_idle(guest, "a", NULL);
	s[1] = make_idle(guest, "b", NULL);
	/* The one that has been idle the longest makes room. */
	s[2] = make_idle(guest, "c", NULL);
	assert_ended(&s[0], "QUIT\r\n");
	assert_open(&s[1]);
	stage.limits.per_key = 0;
	s[3] = give_back(guest, "b", NULL, 1);
	assert_ended(&s[3], "QUIT\r\n");
	assert_open(&s[1]);
	assert_int_equal(counters().by_room, 2);
	assert_int_equal(counters().kept, 3);
	for (size_t i = 0; i < 4; i++)
		server_close(&s[i]);
}

static void
those_beyond_the_limit_of_a_key_end_soon(void **state)
{
	struct server first, second;

	(void)state;
	connect_guests(1);
	stage.limits.per_key = 1;
	first = make_idle(guest, "k1", NULL);
	second = give_back(guest, "k1", NULL, 1);
	stage_pass(1999);
	assert_open(&second);
	stage_pass(1);
	assert_ended(&second, "QUIT\r\n");
	assert_open(&first);
	assert_int_equal(counters().by_idleness, 1);
	server_close(&first);
	server_close(&second);
}

static void
an_idle_connection_ends_by_time(void **state)
{
	struct server s;

	(void)state;
	connect_guests(1);
	s = make_idle(guest, "k1", NULL);
	stage_pass(59999);
	assert_open(&s);
	stage_pass(1);
	assert_ended(&s, "QUIT\r\n");
	server_close(&s);
	assert_int_equal(counters().by_idleness, 1);
	stage.limits.idle_s = 1000;
	s = make_idle(guest, "k1", NULL);
	stage_pass(299999);
	assert_open(&s);
	stage_pass(1);
	assert_ended(&s, "QUIT\r\n");
	server_close(&s);
	assert_int_equal(counters().by_age, 1);
}

static void
a_server_that_ends_it_is_noticed(void **state)
{
	struct server s[2];

	(void)state;
	connect_guests(1);
	s[0] = make_idle(guest, "k1", NULL);
	s[1] = make_idle(guest, "k2", NULL);
	server_close(&s[0]);
	assert_int_equal(send(s[1].fd, "421 bye\r\n", 9, 0), 9);
	/* At once, though a client asks for it at the same time. */
	guest_ask(guest, "k2");
	assert_int_equal(guest_answer(guest), CACHE_MISS);
	assert_int_equal(counters().by_server, 2);
	assert_ended(&s[1], "");
	server_close(&s[1]);
	/* Before it comes back. */
	demand("k3", NULL);
	server_connect(&s[0], guest[1].got);
	assert_int_equal(send(s[0].fd, "421 bye\r\n", 9, 0), 9);
	guest_ready(guest, "k3", NULL);
	guest_keep(guest, 1, guest[1].got, 2);
	pass_close(guest[1].got, 2);
	stage_run();
	assert_ended(&s[0], "");
	assert_int_equal(counters().by_server, 3);
	server_close(&s[0]);
}

static struct server talker;

static void
say_something(void)
{
	stage.on_limits = NULL;
	assert_int_equal(send(talker.fd, "421 bye\r\n", 9, 0), 9);
}

static void
a_server_that_ends_it_at_the_last_moment_is_noticed(void **state)
{
	struct server s;
	int end[2];

	(void)state;
	connect_guests(3);
	talker = make_idle(&guest[0], "k1", NULL);
	demand("k2", NULL);
	/* In the turn in which the third client asks for it. */
	stage.on_limits = say_something;
	server_connect(&s, end);
	guest_ready(&guest[1], "k2", NULL);
	stage_run();
	guest_keep(&guest[1], 1, end, 2);
	guest_ask(&guest[2], "k1");
	close(end[0]);
	close(end[1]);
	assert_int_equal(guest_answer(&guest[2]), CACHE_MISS);
	assert_int_equal(counters().by_server, 1);
	server_close(&s);
	server_close(&talker);
}

/* Closes its socket just when it is to get something. */
static struct guest *leaver;

static void
close_leaver(void)
{
	stage.on_limits = NULL;
	guest_close(leaver);
}

static void
a_client_that_has_gone_does_not_get_it(void **state)
{
	struct server s[2];
	int end[2];

	(void)state;
	connect_guests(3);
	s[0] = make_idle(&guest[0], "k1", NULL);
	leaver = &guest[2];
	demand("k2", NULL);
	stage.on_limits = close_leaver;
	server_connect(&s[1], end);
	guest_ready(&guest[1], "k2", NULL);
	stage_run();
	guest_keep(&guest[1], 1, end, 2);
	close(end[0]);
	close(end[1]);
	guest_ask(&guest[2], "k1");
	stage_run();
	assert_ended(&s[0], "QUIT\r\n");
	assert_open(&s[1]);
	assert_int_equal(counters().unwanted, 1);
	server_close(&s[0]);
	server_close(&s[1]);
}

/*
 * Places.
 */

static void
places_are_given_in_order(void **state)
{
	(void)state;
	connect_guests(6);
	for (size_t i = 0; i < 5; i++) {
		guest_choose_one(&guest[i], "", "x", 2);
		assert_int_equal(guest_answer(&guest[i]), i < 2   ? CACHE_PLACE
							  : i < 4 ? CACHE_QUEUED
								  : CACHE_FULL);
	}
	assert_string_equal(guest[4].heard.limit, "x");
	/* Another limit is another matter. */
	guest_choose_one(&guest[5], "", "y", 1);
	assert_int_equal(guest_answer(&guest[5]), CACHE_PLACE);
	guest_close(&guest[1]);
	assert_int_equal(guest_answer(&guest[2]), CACHE_PLACE);
	assert_int_equal(guest_hear(&guest[3]), HEARD_NOTHING);
	/* Nobody who comes later is before the one that waits. */
	guest_choose_one(&guest[4], "", "x", 2);
	guest_ask(&guest[0], "k");
	assert_int_equal(guest_answer(&guest[3]), CACHE_PLACE);
	assert_int_equal(guest_hear(&guest[4]), CACHE_QUEUED);
	assert_int_equal(guest_hear(&guest[4]), HEARD_NOTHING);
	guest_close(&guest[4]);
	stage_run();
	guest_close(&guest[3]);
	stage_run();
	/* All that there was is free again, and not more. */
	guest_choose_one(&guest[0], "", "x", 2);
	guest_choose_one(&guest[5], "", "x", 2);
	stage_run();
	assert_int_equal(guest_hear(&guest[0]), CACHE_MISS);
	assert_int_equal(guest_hear(&guest[0]), CACHE_PLACE);
	assert_int_equal(guest_hear(&guest[5]), CACHE_QUEUED);
	guest_close(&guest[2]);
	assert_int_equal(guest_answer(&guest[5]), CACHE_PLACE);
}

static void
nobody_waits_for_longer_than_it_said(void **state)
{
	(void)state;
	connect_guests(2);
	guest_choose_one(&guest[0], "", "x", 1);
	stage_run();
	guest_choose_one(&guest[1], "", "x", 1);
	assert_int_equal(guest_answer(&guest[1]), CACHE_QUEUED);
	stage_pass(9999);
	assert_int_equal(guest_hear(&guest[1]), HEARD_NOTHING);
	stage_pass(1);
	assert_int_equal(guest_hear(&guest[1]), CACHE_FULL);
	assert_string_equal(guest[1].heard.limit, "x");
	/* And no longer: the place is nobody's. */
	guest_close(&guest[0]);
	assert_int_equal(guest_answer(&guest[1]), HEARD_NOTHING);
	guest_choose_one(&guest[1], "", "x", 1);
	assert_int_equal(guest_answer(&guest[1]), CACHE_PLACE);
}

static void
a_place_at_the_last_moment_is_given(void **state)
{
	(void)state;
	connect_guests(2);
	guest_choose_one(&guest[0], "", "x", 1);
	stage_run();
	guest_choose_one(&guest[1], "", "x", 1);
	assert_int_equal(guest_answer(&guest[1]), CACHE_QUEUED);
	stage_pass(9999);
	stage.now++;
	guest_close(&guest[0]);
	assert_int_equal(guest_answer(&guest[1]), CACHE_PLACE);
	assert_int_equal(guest_hear(&guest[1]), HEARD_NOTHING);
}

static void
a_waiting_client_may_do_something_else(void **state)
{
	(void)state;
	connect_guests(3);
	guest_choose_one(&guest[0], "", "x", 1);
	stage_run();
	guest_choose_one(&guest[1], "", "x", 1);
	assert_int_equal(guest_answer(&guest[1]), CACHE_QUEUED);
	guest_choose_one(&guest[1], "", "y", 1);
	assert_int_equal(guest_answer(&guest[1]), CACHE_PLACE);
	guest_choose_one(&guest[2], "", "x", 1);
	assert_int_equal(guest_answer(&guest[2]), CACHE_QUEUED);
	guest_ask(&guest[2], "k");
	assert_int_equal(guest_answer(&guest[2]), CACHE_MISS);
	guest_close(&guest[0]);
	assert_int_equal(guest_answer(&guest[1]), HEARD_NOTHING);
	assert_int_equal(guest_hear(&guest[2]), HEARD_NOTHING);
	/* Its place of y is free again. */
	guest_choose_one(&guest[1], "", "x", 1);
	assert_int_equal(guest_answer(&guest[1]), CACHE_PLACE);
	guest_choose_one(&guest[2], "", "y", 1);
	assert_int_equal(guest_answer(&guest[2]), CACHE_PLACE);
}

static void
a_client_that_goes_while_it_waits_gets_nothing(void **state)
{
	(void)state;
	connect_guests(4);
	for (size_t i = 0; i < 3; i++) {
		guest_choose_one(&guest[i], "", "x", 2);
		stage_run();
	}
	guest_choose_one(&guest[3], "", "x", 2);
	stage_run();
	/* All at once; the first that waits among them. */
	guest_close(&guest[2]);
	guest_close(&guest[0]);
	assert_int_equal(guest_answer(&guest[3]), CACHE_QUEUED);
	assert_int_equal(guest_hear(&guest[3]), CACHE_PLACE);
}

static void
more_places_wake_those_who_wait(void **state)
{
	(void)state;
	connect_guests(4);
	guest_choose_one(&guest[0], "", "x", 1);
	stage_run();
	guest_choose_one(&guest[1], "", "x", 1);
	assert_int_equal(guest_answer(&guest[1]), CACHE_QUEUED);
	guest_choose_one(&guest[2], "", "x", 2);
	assert_int_equal(guest_answer(&guest[1]), CACHE_PLACE);
	assert_int_equal(guest_hear(&guest[2]), CACHE_QUEUED);
	assert_int_equal(guest_hear(&guest[2]), HEARD_NOTHING);
}

static void
another_server_with_a_place_is_taken(void **state)
{
	const struct cache_candidate c[] = { { "", "x", 1 }, { "", "y", 1 } };
	const struct cache_candidate none[] = { { "", "x", 1 }, { "", "", 0 } };

	(void)state;
	connect_guests(4);
	for (unsigned long i = 0; i < 2; i++) {
		guest_choose(&guest[i], 10, c, 2);
		assert_int_equal(guest_answer(&guest[i]), CACHE_PLACE);
		assert_int_equal(guest[i].heard.chosen, i);
	}
	guest_choose(&guest[2], 10, c, 2);
	assert_int_equal(guest_answer(&guest[2]), CACHE_QUEUED);
	guest_choose(&guest[3], 10, none, 2);
	assert_int_equal(guest_answer(&guest[3]), CACHE_PLACE);
	assert_int_equal(guest[3].heard.chosen, 1);
	/* What it waits for is either. */
	guest_close(&guest[1]);
	assert_int_equal(guest_answer(&guest[2]), CACHE_PLACE);
	assert_int_equal(guest[2].heard.chosen, 1);
}

/*
 * Places and connections.
 */

/* An idle connection that takes a place. */
static struct server
make_idle_with_place(struct guest *g, const char *key2, const char *limit,
    unsigned long n)
{
	struct server s;

	guest_choose_one(g, "", limit, n);
	assert_int_equal(guest_answer(g), CACHE_PLACE);
	s = make_idle(g, NULL, key2);
	return s;
}

static void
a_lent_connection_has_its_place(void **state)
{
	const struct cache_candidate c[] = { { "", "", 0 }, { "none", "", 0 },
		{ "k", "x", 1 } };
	struct server s;

	(void)state;
	connect_guests(3);
	s = make_idle_with_place(&guest[0], "k", "x", 1);
	guest_choose(&guest[1], 10, c, 3);
	assert_int_equal(guest_answer(&guest[1]), CACHE_HIT);
	assert_int_equal(guest[1].heard.chosen, 2);
	guest_choose_one(&guest[2], "", "x", 1);
	assert_int_equal(guest_answer(&guest[2]), CACHE_QUEUED);
	guest_close(&guest[1]);
	assert_int_equal(guest_answer(&guest[2]), CACHE_PLACE);
	assert_int_equal(counters().hits, 1);
	server_close(&s);
}

static void
a_miss_is_counted_once(void **state)
{
	const struct cache_candidate c[] = { { "a", "", 0 }, { "b", "", 0 } };

	(void)state;
	connect_guests(1);
	guest_ask(guest, "k1");
	guest_choose(guest, 10, c, 2);
	guest_choose_one(guest, "", "", 0);
	stage_run();
	assert_int_equal(counters().misses, 1);
}

/* The only place of x is that of an idle session; the second guest wants it. */
static struct server
let_one_wait_for_an_end(void)
{
	struct server s;

	connect_guests(2);
	s = make_idle_with_place(&guest[0], "k", "x", 1);
	guest_choose_one(&guest[1], "other", "x", 1);
	assert_int_equal(guest_answer(&guest[1]), CACHE_QUEUED);
	return s;
}

static void
an_idle_connection_makes_room_for_another_key(void **state)
{
	struct server s;

	(void)state;
	s = let_one_wait_for_an_end();
	assert_ended(&s, "QUIT\r\n");
	assert_int_equal(counters().by_limit, 1);
	assert_int_equal(guest_hear(&guest[1]), HEARD_NOTHING);
	/* Now the server has one connection less. */
	server_close(&s);
	assert_int_equal(guest_answer(&guest[1]), CACHE_PLACE);
}

static void
one_in_clear_text_makes_room_at_once(void **state)
{
	int end[2], listening;

	(void)state;
	connect_guests(2);
	tcp_pair(end, &listening);
	guest_choose_one(&guest[0], "", "x", 1);
	assert_int_equal(guest_answer(&guest[0]), CACHE_PLACE);
	demand("k1", NULL);
	guest_ready(&guest[0], "k1", "k");
	guest_keep(&guest[0], 1, end, 1);
	stage_run();
	guest_choose_one(&guest[1], "other", "x", 1);
	assert_int_equal(guest_answer(&guest[1]), CACHE_QUEUED);
	assert_int_equal(guest_hear(&guest[1]), CACHE_PLACE);
	close(end[0]);
	close(end[1]);
	close(listening);
}

static void
an_end_takes_a_second_at_most(void **state)
{
	struct server s;

	(void)state;
	s = let_one_wait_for_an_end();
	stage_pass(LENDER_ENDING_MS - 1);
	assert_int_equal(guest_hear(&guest[1]), HEARD_NOTHING);
	stage_pass(1);
	assert_int_equal(guest_hear(&guest[1]), CACHE_PLACE);
	server_close(&s);
}

/* Also by one that is not to wait for others. */
static void
an_end_is_waited_for(void **state)
{
	const struct cache_candidate c = { "other", "x", 2 };
	struct server s;

	(void)state;
	connect_guests(5);
	s = make_idle_with_place(&guest[0], "k", "x", 2);
	guest_choose_one(&guest[1], "", "x", 2);
	assert_int_equal(guest_answer(&guest[1]), CACHE_PLACE);
	/* The second one might be the first to get it. */
	for (size_t i = 2; i < 4; i++) {
		guest_choose(&guest[i], 0, &c, 1);
		assert_int_equal(guest_answer(&guest[i]), CACHE_QUEUED);
		assert_int_equal(guest_hear(&guest[i]), HEARD_NOTHING);
	}
	server_close(&s);
	assert_int_equal(guest_answer(&guest[2]), CACHE_PLACE);
	stage_pass(LENDER_ENDING_MS);
	assert_int_equal(guest_hear(&guest[3]), CACHE_FULL);
	guest_choose(&guest[4], 0, &c, 1);
	assert_int_equal(guest_answer(&guest[4]), CACHE_QUEUED);
	assert_int_equal(guest_hear(&guest[4]), CACHE_FULL);
}

static void
each_that_waits_ends_one(void **state)
{
	static const char *const keys[] = { "k", "l", "m" };
	struct server s[3];

	(void)state;
	connect_guests(5);
	for (size_t i = 0; i < 3; i++)
		s[i] = make_idle_with_place(&guest[i], keys[i], "x", 3);
	for (size_t i = 0; i < 2; i++) {
		assert_open(&s[i]);
		guest_choose_one(&guest[3 + i], "other", "x", 3);
		assert_int_equal(guest_answer(&guest[3 + i]), CACHE_QUEUED);
		assert_ended(&s[i], "QUIT\r\n");
	}
	assert_open(&s[2]);
	server_close(&s[1]);
	assert_int_equal(guest_answer(&guest[3]), CACHE_PLACE);
	assert_int_equal(guest_hear(&guest[4]), HEARD_NOTHING);
	server_close(&s[0]);
	assert_int_equal(guest_answer(&guest[4]), CACHE_PLACE);
	server_close(&s[2]);
}

/* Its server has closed, but its helper may not have noticed. */
static void
a_lost_one_takes_its_place_until_its_helper_ends(void **state)
{
	struct server s;

	(void)state;
	connect_guests(2);
	s = make_idle_with_place(&guest[0], "k", "x", 1);
	assert_int_equal(send(s.fd, "421\r\n", 5, 0), 5);
	guest_choose_one(&guest[1], "k", "x", 1);
	assert_int_equal(guest_answer(&guest[1]), CACHE_QUEUED);
	server_close(&s);
	assert_int_equal(guest_answer(&guest[1]), CACHE_PLACE);
	assert_int_equal(counters().by_server, 1);
}

/* In one turn: two for the places of idle ones, and two behind them. */
static void
as_many_wait_as_without_idle_ones(void **state)
{
	struct server s[2];
	int got[5] = { 0 };

	(void)state;
	connect_guests(7);
	s[0] = make_idle_with_place(&guest[0], "k", "x", 2);
	s[1] = make_idle_with_place(&guest[1], "l", "x", 2);
	for (size_t i = 0; i < 5; i++)
		guest_choose_one(&guest[2 + i], "other", "x", 2);
	stage_run();
	for (size_t i = 0; i < 5; i++)
		got[i] = guest_hear(&guest[2 + i]);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(got[i], CACHE_QUEUED);
	assert_int_equal(got[4], CACHE_FULL);
	for (size_t i = 0; i < 2; i++) {
		assert_ended(&s[i], "QUIT\r\n");
		server_close(&s[i]);
		assert_int_equal(guest_answer(&guest[2 + i]), CACHE_PLACE);
		assert_int_equal(guest_hear(&guest[4 + i]), HEARD_NOTHING);
	}
}

/* It waits for the limit that has no waiters yet. */
static void
a_place_that_another_gets_is_not_counted_on(void **state)
{
	const struct cache_candidate both[] = { { "p", "x", 1 },
		{ "q", "y", 1 } };
	struct server s[2];

	(void)state;
	connect_guests(5);
	s[0] = make_idle_with_place(&guest[0], "k", "x", 1);
	s[1] = make_idle_with_place(&guest[1], "l", "y", 1);
	guest_choose_one(&guest[2], "other", "x", 1);
	assert_int_equal(guest_answer(&guest[2]), CACHE_QUEUED);
	assert_ended(&s[0], "QUIT\r\n");
	guest_choose(&guest[3], 10, both, 2);
	assert_int_equal(guest_answer(&guest[3]), CACHE_QUEUED);
	assert_ended(&s[1], "QUIT\r\n");
	server_close(&s[0]);
	assert_int_equal(guest_answer(&guest[2]), CACHE_PLACE);
	assert_int_equal(guest_hear(&guest[3]), HEARD_NOTHING);
	server_close(&s[1]);
	assert_int_equal(guest_answer(&guest[3]), CACHE_PLACE);
	assert_int_equal(guest[3].heard.chosen, 1);
}

static void
what_was_made_under_other_limits_is_ended(void **state)
{
	struct server s[3];
	int end[2];

	(void)state;
	connect_guests(3);
	s[0] = make_idle_with_place(&guest[0], "k", "x", 1);
	s[1] = make_idle(&guest[1], "k1", NULL);
	server_connect(&s[2], end);
	demand("k2", NULL);
	guest_ready(&guest[2], "k2", NULL);
	stage_run();
	broker_change_limits(stage.broker);
	for (size_t i = 0; i < 2; i++) {
		assert_ended(&s[i], "QUIT\r\n");
		server_close(&s[i]);
	}
	/* One that was in use. */
	guest_keep(&guest[2], 1, end, 2);
	pass_close(end, 2);
	stage_run();
	assert_ended(&s[2], "QUIT\r\n");
	server_close(&s[2]);
	assert_int_equal(counters().by_limit, 3);
	/* And one that was made since. */
	s[0] = give_back(&guest[0], "k2", NULL, 1);
	assert_open(&s[0]);
	server_close(&s[0]);
}

static void
the_broker_may_end_before_a_session(void **state)
{
	struct server s;

	(void)state;
	s = let_one_wait_for_an_end();
	broker_destroy(stage.broker);
	stage.broker = NULL;
	assert_int_equal(guest_hear(&guest[1]), HEARD_END);
	server_close(&s);
}

static void
all_in_the_way_of_a_lower_limit_are_ended(void **state)
{
	static const char *const keys[] = { "k", "l", "m" };
	struct server s[3];

	(void)state;
	connect_guests(5);
	for (size_t i = 0; i < 3; i++)
		s[i] = make_idle_with_place(&guest[i], keys[i], "x", 3);
	guest_choose_one(&guest[3], "other", "x", 1);
	assert_int_equal(guest_answer(&guest[3]), CACHE_QUEUED);
	for (size_t i = 0; i < 3; i++) {
		assert_ended(&s[i], "QUIT\r\n");
		assert_int_equal(guest_answer(&guest[3]), HEARD_NOTHING);
		server_close(&s[i]);
	}
	assert_int_equal(guest_answer(&guest[3]), CACHE_PLACE);
	assert_int_equal(counters().by_limit, 3);
}

static void
no_idle_connection_is_enough(void **state)
{
	struct server s;

	(void)state;
	connect_guests(3);
	s = make_idle_with_place(&guest[0], "k", "x", 2);
	guest_choose_one(&guest[1], "", "x", 2);
	assert_int_equal(guest_answer(&guest[1]), CACHE_PLACE);
	/* One place remains, which another one has. */
	guest_choose_one(&guest[2], "", "x", 1);
	assert_int_equal(guest_answer(&guest[2]), CACHE_QUEUED);
	assert_ended(&s, "QUIT\r\n");
	server_close(&s);
}

/* Two have the places of x, and two with these keys wait for one. */
static void
let_two_wait(const char *third, const char *fourth)
{
	connect_guests(4);
	for (size_t i = 0; i < 4; i++) {
		const char *key = i < 2 ? "" : i == 2 ? third : fourth;

		guest_choose_one(&guest[i], key, "x", 2);
		assert_int_equal(guest_answer(&guest[i]),
		    i < 2 ? CACHE_PLACE : CACHE_QUEUED);
	}
}

/* The delivery goes on, but the connection has gone. */
static void
the_place_of_a_dead_connection_is_free(void **state)
{
	struct server s;

	(void)state;
	connect_guests(4);
	demand("k1", NULL);
	guest_choose_one(&guest[0], "", "x", 1);
	assert_int_equal(guest_answer(&guest[0]), CACHE_PLACE);
	s = give_back(&guest[0], "k1", "k2", 1);
	guest_ask(&guest[1], "k1");
	assert_int_equal(guest_answer(&guest[1]), CACHE_HIT);
	guest_choose_one(&guest[2], "", "x", 1);
	assert_int_equal(guest_answer(&guest[2]), CACHE_QUEUED);
	guest_forget(&guest[1]);
	guest_say_gone(&guest[1]);
	assert_int_equal(guest_answer(&guest[2]), CACHE_PLACE);
	assert_int_equal(guest_hear(&guest[1]), HEARD_NOTHING);
	assert_false(may_have(&guest[3], "k2"));
	/* A new connection may be kept. */
	server_close(&s);
	s = give_back(&guest[1], "k1", NULL, 1);
	assert_open(&s);
	server_close(&s);
}

static void
what_comes_back_goes_to_the_first_that_has_its_key(void **state)
{
	struct server s;

	(void)state;
	let_two_wait("k", "l");
	s = give_back(&guest[0], NULL, "l", 1);
	assert_open(&s);
	assert_int_equal(guest_hear(&guest[3]), CACHE_HIT);
	assert_int_equal(guest[3].heard.chosen, 0);
	assert_int_equal(guest_hear(&guest[2]), HEARD_NOTHING);
	guest_keep(&guest[3], 2, guest[3].got, 2);
	guest_forget(&guest[3]);
	stage_run();
	assert_ended(&s, "QUIT\r\n");
	server_close(&s);
	assert_int_equal(guest_answer(&guest[2]), CACHE_PLACE);
	assert_int_equal(counters().by_limit, 1);
}

static void
of_two_with_its_key_the_first_gets_it(void **state)
{
	struct server s;

	(void)state;
	let_two_wait("k", "k");
	s = give_back(&guest[0], "k1", "k", 1);
	assert_int_equal(guest_hear(&guest[2]), CACHE_HIT);
	assert_int_equal(guest_hear(&guest[3]), HEARD_NOTHING);
	server_close(&s);
}

static void
one_of_several_keys_is_enough(void **state)
{
	const struct cache_candidate c[] = { { "a", "x", 2 }, { "b", "y", 1 },
		{ "k", "x", 2 } };
	struct server s;

	(void)state;
	let_two_wait("l", "m");
	guest_choose_one(&guest[3], "", "y", 1);
	assert_int_equal(guest_answer(&guest[3]), CACHE_PLACE);
	guest_connect(&guest[4]);
	guest_choose(&guest[4], 10, c, 3);
	assert_int_equal(guest_answer(&guest[4]), CACHE_QUEUED);
	s = give_back(&guest[0], "k1", "k", 1);
	assert_int_equal(guest_hear(&guest[4]), CACHE_HIT);
	assert_int_equal(guest[4].heard.chosen, 2);
	server_close(&s);
}

static void
what_nobody_can_use_makes_room(void **state)
{
	static const char *const key2[] = { "m", NULL, "" };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct server s;

		/* An empty key means that it wants no connection. */
		let_two_wait("", "l");
		demand("k1", NULL);
		s = give_back(&guest[0], "k1", key2[i], 1);
		assert_ended(&s, "QUIT\r\n");
		server_close(&s);
		assert_int_equal(guest_answer(&guest[2]), CACHE_PLACE);
		assert_int_equal(guest_hear(&guest[3]), HEARD_NOTHING);
		for (size_t k = 0; k < 4; k++)
			guest_close(&guest[k]);
	}
	stage_run();
	assert_int_equal(counters().by_limit, 3);
}

static void
what_is_over_goes_to_nobody(void **state)
{
	struct server s;

	(void)state;
	let_two_wait("k", "k");
	s = give_back(&guest[0], "k1", "k", STORE_USES);
	assert_ended(&s, "QUIT\r\n");
	server_close(&s);
	assert_int_equal(guest_answer(&guest[2]), CACHE_PLACE);
	assert_int_equal(guest_hear(&guest[3]), HEARD_NOTHING);
	assert_int_equal(counters().by_use, 1);
}

static void
what_is_not_in_the_way_stays(void **state)
{
	struct server s;

	(void)state;
	let_two_wait("k", "k");
	guest_connect(&guest[4]);
	s = make_idle_with_place(&guest[4], "m", "y", 1);
	assert_open(&s);
	server_close(&s);
	s = make_idle(&guest[4], "k1", NULL);
	assert_open(&s);
	server_close(&s);
}

static void
the_next_gets_what_one_that_has_gone_does_not(void **state)
{
	struct server s;
	int end[2];

	(void)state;
	let_two_wait("k", "k");
	leaver = &guest[2];
	stage.on_limits = close_leaver;
	server_connect(&s, end);
	guest_ready(&guest[0], NULL, "k");
	stage_run();
	guest_keep(&guest[0], 1, end, 2);
	close(end[0]);
	close(end[1]);
	assert_int_equal(guest_answer(&guest[3]), CACHE_HIT);
	server_close(&s);
}

static void
the_next_gets_what_one_that_was_given_up_does_not(void **state)
{
	struct server s;
	int end[2];

	(void)state;
	connect_guests(4);
	for (size_t i = 0; i < 4; i++) {
		guest_choose_one(&guest[(i + 2) % 4], "k", "x", 2);
		stage_run();
	}
	server_connect(&s, end);
	guest_ready(&guest[2], NULL, "k");
	stage_run();
	/* In this order, in one turn. */
	assert_int_equal(guest_hear(&guest[0]), CACHE_QUEUED);
	assert_int_equal(send(guest[0].fd, "x", 1, 0), 1);
	guest_keep(&guest[2], 1, end, 2);
	pass_close(end, 2);
	assert_int_equal(guest_answer(&guest[0]), HEARD_END);
	assert_int_equal(guest_hear(&guest[1]), CACHE_QUEUED);
	assert_int_equal(guest_hear(&guest[1]), CACHE_HIT);
	assert_open(&s);
	server_close(&s);
}

static void
the_next_gets_the_place_of_one_that_has_gone(void **state)
{
	int end[2], listening;

	(void)state;
	let_two_wait("k", "l");
	leaver = &guest[2];
	stage.on_limits = close_leaver;
	/* In clear text the place is free in the same turn. */
	tcp_pair(end, &listening);
	guest_ready(&guest[0], NULL, "m");
	stage_run();
	guest_keep(&guest[0], 1, end, 1);
	assert_int_equal(guest_answer(&guest[3]), CACHE_PLACE);
	pass_close(end, 2);
	close(listening);
}

static void
a_connection_may_be_given_back_unused(void **state)
{
	struct server s;

	(void)state;
	connect_guests(3);
	guest_choose_one(&guest[0], "", "x", 1);
	stage_run();
	s = make_idle(&guest[0], "new", NULL);
	guest_ask(&guest[1], "new");
	assert_int_equal(guest_answer(&guest[1]), CACHE_HIT);
	guest_choose_one(&guest[2], "", "x", 1);
	assert_int_equal(guest_answer(&guest[2]), CACHE_QUEUED);
	/* It does not use it, and wants another server. */
	guest_choose_one(&guest[1], "", "", 0);
	guest_forget(&guest[1]);
	assert_int_equal(guest_answer(&guest[2]), CACHE_PLACE);
	server_close(&s);
}

/* As if it had told that the one that it was lent is gone. */
static void
a_new_session_takes_the_place_of_a_lent_one(void **state)
{
	struct server s[2];
	int end[2];

	(void)state;
	connect_guests(2);
	s[0] = make_idle(&guest[0], "k1", "k");
	guest_ask(&guest[1], "k1");
	assert_int_equal(guest_answer(&guest[1]), CACHE_HIT);
	guest_forget(&guest[1]);
	server_connect(&s[1], end);
	guest_ready(&guest[1], "k1", "l");
	guest_keep(&guest[1], 1, end, 2);
	pass_close(end, 2);
	stage_run();
	assert_true(may_have(&guest[0], "l"));
	assert_false(may_have(&guest[0], "k"));
	for (size_t i = 0; i < 2; i++)
		server_close(&s[i]);
}

/* Sends this as well, and must be given up. */
static void
assert_out_of_order(struct guest *g, const struct cache_message *m,
    const int *fd, size_t nfd)
{
	guest_send(g, m, fd, nfd);
	if (guest_answer(g) != HEARD_END)
		fail_msg("kind %d", (int)m->kind);
	guest_close(g);
}

/* It is then in the hands of the server, maybe. */
static void
who_has_announced_a_session_can_only_leave_it(void **state)
{
	const struct cache_message later[] = {
		{ .kind = CACHE_LIST },
		{ .kind = CACHE_ASK, .session = { .key1 = "k" } },
		{ .kind = CACHE_CHOOSE,
		    .ncandidate = 1,
		    .candidate = { { "k", "", 0 } } },
		{ .kind = CACHE_GONE },
		{ .kind = CACHE_READY,
		    .session = { .key2 = "other", .address = "x" } },
		{ .kind = CACHE_KEEP, .session = { .used = 2 } },
	};
	struct server s, forged;
	int end[2];

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		connect_guests(1);
		guest_ready(&guest[0], "k1", "k");
		stage_run();
		assert_out_of_order(&guest[0], &later[i], NULL, 0);
	}
	/* Nor anything after that. */
	demand("k1", NULL);
	for (size_t i = 0; i < 6; i++) {
		connect_guests(1);
		s = give_back(&guest[0], "k1", "k", 1);
		assert_open(&s);
		server_connect(&forged, end);
		assert_out_of_order(&guest[0], &later[i], end, i == 5 ? 2 : 0);
		pass_close(end, 2);
		assert_ended(&forged, "");
		server_close(&forged);
		server_close(&s);
	}
}

static void
the_list_is_all_that_one_asks_for(void **state)
{
	const struct cache_message list = { .kind = CACHE_LIST };
	const struct cache_message ask = { .kind = CACHE_ASK,
		.session = { .key1 = "k" } };

	(void)state;
	connect_guests(2);
	guest_send(&guest[0], &list, NULL, 0);
	assert_int_equal(guest_answer(&guest[0]), CACHE_COUNTERS);
	guest_send(&guest[0], &list, NULL, 0);
	assert_int_equal(guest_answer(&guest[0]), CACHE_COUNTERS);
	assert_out_of_order(&guest[0], &ask, NULL, 0);
	guest_send(&guest[1], &ask, NULL, 0);
	assert_int_equal(guest_answer(&guest[1]), CACHE_MISS);
	assert_out_of_order(&guest[1], &list, NULL, 0);
}

/*
 * Clients that do not keep to the protocol.
 */

/* Sends this, and must be given up. */
static void
assert_refused(const void *bytes, size_t n, const int *fd, size_t nfd)
{
	struct guest g;

	guest_connect(&g);
	stage_run();
	assert_int_equal(pass_send(g.fd, bytes, n, fd, nfd), 0);
	assert_int_equal(guest_answer(&g), HEARD_END);
	guest_close(&g);
}

static void
nonsense_is_refused(void **state)
{
	static const char *const texts[] = { "nonsense", "miss", "ask",
		"list\n", "keep\0used=1", "keep\0used=1\0x" };
	static const char huge[CACHE_MESSAGE_MAX] = "ask";
	struct guest g;

	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_refused(texts[i], strlen(texts[i]) + 1, NULL, 0);
	/* Not ended, without a connection, with one where there is none. */
	assert_refused("list", 4, NULL, 0);
	assert_refused(texts[4], 12, NULL, 0);
	assert_refused(texts[5], 14, NULL, 0);
	assert_refused(texts[4], 12, stage.stop, 1);
	assert_refused("list", 5, stage.stop, 1);
	assert_refused(huge, sizeof huge, NULL, 0);
	/* An empty message is the end. */
	guest_connect(&g);
	assert_int_equal(send(g.fd, "", 0, 0), 0);
	assert_int_equal(guest_answer(&g), HEARD_END);
	guest_close(&g);
}

static void
too_long_a_message_is_refused(void **state)
{
	static char long_message[CACHE_MESSAGE_MAX + 1];

	(void)state;
	memcpy(long_message, "ask\0key1=", 9);
	memset(long_message + 9, 'x', sizeof long_message - 10);
	assert_refused(long_message, sizeof long_message, NULL, 0);
}

/* It is to be kept, but is no connection. */
static void
assert_not_kept(const int *fd, size_t nfd)
{
	struct guest g;

	guest_connect(&g);
	guest_ready(&g, "k1", NULL);
	stage_run();
	guest_keep(&g, 1, fd, nfd);
	assert_int_equal(guest_answer(&g), HEARD_END);
	guest_close(&g);
}

static void
only_connections_are_kept(void **state)
{
	struct server s;
	int fd[3], datagram[2];

	(void)state;
	demand("k1", NULL);
	server_connect(&s, fd);
	fd[2] = fd[1];
	assert_not_kept(fd, 3);
	assert_not_kept(fd, 1);
	assert_not_kept(stage.stop, 2);
	assert_not_kept(&stage.listener, 1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, datagram), 0);
	assert_not_kept(datagram, 2);
	pass_close(datagram, 2);
	pass_close(fd, 2);
	assert_ended(&s, "");
	server_close(&s);
}

static void
only_one_of_ours_is_kept(void **state)
{
	struct server s;
	int fd[2];

	(void)state;
	server_connect(&s, fd);
	connect_guests(1);
	/* Of no session that it has announced. */
	guest_keep(guest, 1, fd, 2);
	assert_int_equal(guest_answer(guest), HEARD_END);
	pass_close(fd, 2);
	assert_ended(&s, "");
	server_close(&s);
}

static void
who_waits_announces_nothing(void **state)
{
	(void)state;
	let_two_wait("k", "l");
	guest_ready(&guest[2], "k1", "k");
	assert_int_equal(guest_answer(&guest[2]), HEARD_END);
	guest_close(&guest[0]);
	assert_int_equal(guest_answer(&guest[3]), CACHE_PLACE);
}

static void
the_text_of_a_session_leaves_room_for_an_answer(void **state)
{
	static char key[CACHE_MESSAGE_MAX];
	struct server s;

	(void)state;
	connect_guests(2);
	/* The rest of the message has not as many bytes. */
	memset(key, 'x', CACHE_REQUEST_MAX - 60);
	s = make_idle(&guest[0], key, NULL);
	guest_ask(&guest[1], key);
	assert_int_equal(guest_answer(&guest[1]), CACHE_HIT);
	assert_string_equal(guest[1].heard.session.key1, key);
	server_close(&s);
	memset(key, 'x', CACHE_REQUEST_MAX);
	guest_ready(&guest[0], key, NULL);
	assert_int_equal(guest_answer(&guest[0]), HEARD_END);
}

static void
a_client_that_reads_no_answer_is_given_up(void **state)
{
	struct guest *g = guest;
	int n = 0;

	(void)state;
	connect_guests(1);
	do {
		guest_ask(g, "k");
		stage_run();
	} while (stage.broker->lender.nclient == 1 && ++n < 100000);
	assert_true(n > 10 && n < 100000);
	while (guest_hear(g) == CACHE_MISS)
		n--;
	assert_int_equal(n, 0);
}

static void
others_may_not_connect(void **state)
{
	struct guest g;

	(void)state;
	stage.may_use = false;
	guest_connect(&g);
	assert_int_equal(guest_answer(&g), HEARD_END);
	guest_close(&g);
	stage.may_list = true;
	assert_int_equal(counters().hits, 0);
	guest_connect(&g);
	stage_run();
	guest_ask(&g, "k");
	assert_int_equal(guest_answer(&g), HEARD_END);
	guest_close(&g);
}

static void
a_client_that_says_nothing_stays(void **state)
{
	(void)state;
	connect_guests(1);
	/* A wait may have ended for nothing. */
	request_receive(&stage.broker->lender, stage.broker->lender.client);
	guest_ask(guest, "k");
	assert_int_equal(guest_answer(guest), CACHE_MISS);
}

/*
 * The list.
 */

static void
the_list_has_all(void **state)
{
	struct cache_message m = { .kind = CACHE_LIST };
	struct server s;

	(void)state;
	let_two_wait("k", "l");
	guest_connect(&guest[4]);
	guest_connect(&guest[5]);
	s = make_idle_with_place(&guest[4], "m", "y", 2);
	stage_pass(3000);
	guest_send(&guest[5], &m, NULL, 0);
	assert_int_equal(guest_answer(&guest[5]), CACHE_ENTRY);
	assert_string_equal(guest[5].heard.version, STAGE_VERSION);
	assert_string_equal(guest[5].heard.session.key2, "m");
	assert_int_equal(guest[5].heard.seconds, 3);
	assert_int_equal(guest[5].heard.session.lives, 297);
	assert_int_equal(guest_hear(&guest[5]), CACHE_LIMIT);
	assert_string_equal(guest[5].heard.limit, "x");
	assert_int_equal(guest[5].heard.n, 2);
	assert_int_equal(guest[5].heard.waiting, 2);
	assert_int_equal(guest_hear(&guest[5]), CACHE_LIMIT);
	assert_string_equal(guest[5].heard.limit, "y");
	assert_int_equal(guest[5].heard.n, 1);
	assert_int_equal(guest[5].heard.waiting, 0);
	assert_int_equal(guest_hear(&guest[5]), CACHE_COUNTERS);
	assert_int_equal(guest[5].heard.counters.kept, 1);
	assert_int_equal(guest_hear(&guest[5]), HEARD_NOTHING);
	server_close(&s);
}

static void
what_ends_now_may_be_listed(void **state)
{
	struct cache_message m = { .kind = CACHE_LIST };
	struct server s;

	(void)state;
	connect_guests(2);
	stage.limits.idle_s = 1000;
	s = make_idle(&guest[0], "k", NULL);
	stage.now += 1000 * (STORE_LIFE_S + 1);
	guest_send(&guest[1], &m, NULL, 0);
	assert_int_equal(guest_answer(&guest[1]), CACHE_ENTRY);
	assert_int_equal(guest[1].heard.session.lives, 0);
	assert_int_equal(guest_hear(&guest[1]), CACHE_COUNTERS);
	assert_ended(&s, "QUIT\r\n");
	server_close(&s);
}

/* These many idle connections, whose answers to a list are large. */
static void
make_many_idle(struct server *s, size_t n)
{
	static char host[30001];

	memset(host, 'h', sizeof host - 1);
	stage.limits.total = stage.limits.per_key = n;
	demand("k1", NULL);
	for (size_t i = 0; i < n; i++) {
		struct cache_message m = { .kind = CACHE_READY };
		int end[2];

		m.session = (struct cache_session){
			.key1 = "k1", .address = "x", .host = host, .lives = 300
		};
		server_connect(&s[i], end);
		guest_renew(guest);
		guest_send(guest, &m, NULL, 0);
		stage_run();
		guest_keep(guest, 1, end, 2);
		pass_close(end, 2);
		stage_run();
	}
	assert_int_equal(counters().kept, n);
}

static void
a_long_list_waits_for_its_reader(void **state)
{
	struct cache_message m = { .kind = CACHE_LIST };
	struct server s[30];
	size_t n = 0, batches = 0;
	int kind;

	(void)state;
	connect_guests(3);
	make_many_idle(s, 30);
	guest_send(&guest[1], &m, NULL, 0);
	stage_run();
	while ((kind = guest_hear(&guest[1])) != CACHE_COUNTERS) {
		if (kind == HEARD_NOTHING) {
			batches++;
			kind = guest_answer(&guest[1]);
		}
		assert_int_equal(kind, CACHE_ENTRY);
		n++;
	}
	assert_int_equal(n, 30);
	assert_true(batches > 1);
	/* It goes in the middle of it. */
	guest_send(&guest[1], &m, NULL, 0);
	stage_run();
	guest_close(&guest[1]);
	stage_run();
	assert_int_equal(stage.broker->lender.nclient, 2);
	/* It breaks the rules in the middle of it. */
	guest_send(&guest[2], &m, NULL, 0);
	stage_run();
	assert_int_equal(send(guest[2].fd, "x", 1, 0), 1);
	stage_run();
	assert_int_equal(stage.broker->lender.nclient, 1);
	for (size_t i = 0; i < 30; i++)
		server_close(&s[i]);
}

/*
 * Descriptors.
 */

static void
more_clients_are_turned_away(void **state)
{
	static struct guest many[BROKER_CLIENTS];
	struct rlimit was, r;
	struct guest g;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	r = was;
	r.rlim_cur = 2 * BROKER_CLIENTS + 100;
	if (r.rlim_cur > r.rlim_max || setrlimit(RLIMIT_NOFILE, &r) == -1)
		skip();
	for (size_t i = 0; i < BROKER_CLIENTS; i++) {
		guest_connect(&many[i]);
		/* More than are accepted in one turn. */
		if (i % 120 == 119)
			stage_run();
	}
	stage_run();
	guest_connect(&g);
	assert_int_equal(guest_answer(&g), HEARD_END);
	guest_close(&g);
	guest_ask(&many[BROKER_CLIENTS - 1], "k");
	assert_int_equal(guest_answer(&many[BROKER_CLIENTS - 1]), CACHE_MISS);
	guest_close(&many[0]);
	stage_run();
	guest_connect(&many[0]);
	guest_ask(&many[0], "k");
	assert_int_equal(guest_answer(&many[0]), CACHE_MISS);
	for (size_t i = 0; i < BROKER_CLIENTS; i++)
		guest_close(&many[i]);
	stage_run();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
}

/* No descriptor can be opened any more. */
static void
fill_descriptors(struct rlimit *was)
{
	struct rlimit r;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, was), 0);
	r = *was;
	r.rlim_cur = (rlim_t)dup(0);
	close((int)r.rlim_cur);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &r), 0);
}

static void
without_a_descriptor_clients_are_turned_away(void **state)
{
	struct rlimit was;
	struct server s;
	int end[2];

	(void)state;
	connect_guests(1);
	demand("k1", NULL);
	guest_connect(&guest[1]);
	guest_connect(&guest[2]);
	server_connect(&s, end);
	fill_descriptors(&was);
	assert_int_equal(guest_answer(&guest[1]), HEARD_END);
	assert_int_equal(guest_hear(&guest[2]), HEARD_END);
	/* The others are served; but what cannot be received is not kept. */
	guest_ask(&guest[0], "k");
	assert_int_equal(guest_answer(&guest[0]), CACHE_MISS);
	guest_ready(&guest[0], "k1", NULL);
	stage_run();
	guest_keep(&guest[0], 1, end, 2);
	assert_int_equal(guest_answer(&guest[0]), HEARD_END);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	pass_close(end, 2);
	assert_ended(&s, "");
	server_close(&s);
	guest_close(&guest[0]);
	guest_connect(&guest[0]);
	guest_ask(&guest[0], "k");
	assert_int_equal(guest_answer(&guest[0]), CACHE_MISS);
}

static void
the_system_has_no_descriptor_left(void **state)
{
	(void)state;
	guest_connect(&guest[0]);
	/* Neither this one nor a spare one can be had: it is not looked at. */
	stage.accept_error = ENFILE;
	stage.accept_fails = 2;
	stage.dup_fails = 3;
	stage_run();
	assert_int_equal(stage.accept_fails, 0);
	assert_int_equal(guest_hear(&guest[0]), HEARD_NOTHING);
	/* It waits for a whole turn; then there is one. */
	stage_pass(2 * BROKER_TURN_MS);
	assert_int_equal(stage.dup_fails, 0);
	guest_ask(&guest[0], "k");
	assert_int_equal(guest_answer(&guest[0]), CACHE_MISS);
	/* It may end without. */
	stage.dup_fails = 1;
	broker_destroy(stage.broker);
	stage_start_broker();
	assert_int_equal(stage.dup_fails, 0);
}

static void
another_error_of_accept_is_passed_over(void **state)
{
	(void)state;
	guest_connect(&guest[0]);
	stage.accept_error = ECONNABORTED;
	stage.accept_fails = 1;
	guest_ask(&guest[0], "k");
	assert_int_equal(guest_answer(&guest[0]), CACHE_MISS);
}

/*
 * Its life.
 */

static void
it_ends_when_it_is_not_used(void **state)
{
	struct server s;

	(void)state;
	stage_pass(BROKER_UNUSED_MS - 1);
	assert_false(broker_is_over(stage.broker, stage.now));
	stage_pass(1);
	assert_true(broker_is_over(stage.broker, stage.now));
	/* A client, and then a connection, is a use. */
	connect_guests(1);
	assert_false(broker_is_over(stage.broker, stage.now));
	stage_pass(BROKER_UNUSED_MS);
	assert_false(broker_is_over(stage.broker, stage.now));
	s = make_idle(guest, "k", NULL);
	guest_close(guest);
	stage_pass(59999);
	assert_false(broker_is_over(stage.broker, stage.now));
	stage_pass(1);
	assert_ended(&s, "QUIT\r\n");
	server_close(&s);
	stage_pass(BROKER_UNUSED_MS - 1);
	assert_false(broker_is_over(stage.broker, stage.now));
	stage_pass(1);
	assert_true(broker_is_over(stage.broker, stage.now));
}

static void
it_ends_after_an_hour(void **state)
{
	(void)state;
	connect_guests(1);
	guest_choose_one(guest, "", "x", 1);
	assert_int_equal(guest_answer(guest), CACHE_PLACE);
	stage_pass(BROKER_LIFE_MS - 1);
	assert_false(broker_is_over(stage.broker, stage.now));
	stage_pass(1);
	assert_true(broker_is_over(stage.broker, stage.now));
	/* Whoever runs it may let it go on. */
	guest_ask(guest, "k");
	assert_true(stage_turn());
	assert_int_equal(guest_hear(guest), CACHE_MISS);
}

/* The next one would not know of the places that were given. */
static void
it_ends_earlier_if_nobody_has_a_place(void **state)
{
	(void)state;
	connect_guests(2);
	guest_choose_one(guest, "", "x", 1);
	assert_int_equal(guest_answer(guest), CACHE_PLACE);
	stage_pass(BROKER_OLD_MS - 1);
	guest_choose_one(&guest[1], "", "x", 1);
	assert_int_equal(guest_answer(&guest[1]), CACHE_QUEUED);
	assert_false(broker_is_over(stage.broker, stage.now));
	stage_pass(1);
	assert_false(broker_is_over(stage.broker, stage.now));
	guest_close(guest);
	stage_run();
	assert_false(broker_is_over(stage.broker, stage.now));
	guest_close(&guest[1]);
	stage_run();
	assert_true(broker_is_over(stage.broker, stage.now));
}

static void
it_ends_what_it_has(void **state)
{
	struct server s[2];

	(void)state;
	let_two_wait("k", "l");
	guest_connect(&guest[4]);
	s[0] = make_idle_with_place(&guest[4], "m", "y", 1);
	s[1] = make_idle(&guest[4], "k1", NULL);
	guest_ready(&guest[0], "k1", NULL);
	stage_run();
	broker_destroy(stage.broker);
	stage.broker = NULL;
	for (size_t i = 0; i < 2; i++) {
		assert_ended(&s[i], "QUIT\r\n");
		server_close(&s[i]);
	}
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(guest_hear(&guest[i]), HEARD_END);
}

static void
it_stops_when_it_is_told(void **state)
{
	(void)state;
	stage.poll_error = EINTR;
	assert_true(stage_turn());
	stage.poll_error = EINVAL;
	assert_false(stage_turn());
	assert_int_equal(write(stage.stop[1], "", 1), 1);
	assert_false(stage_turn());
}

#define BROKER_TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		BROKER_TEST(the_first_answer_has_the_version),
		BROKER_TEST(a_connection_is_kept_and_lent),
		BROKER_TEST(a_miss_says_which_servers_have_no_connection),
		BROKER_TEST(what_was_not_asked_about_is_wanted),
		BROKER_TEST(a_connection_in_clear_text_has_one_descriptor),
		BROKER_TEST(a_lent_connection_comes_back),
		BROKER_TEST(an_unwanted_connection_is_ended),
		BROKER_TEST(what_is_over_is_not_kept),
		BROKER_TEST(there_is_no_room_for_more),
		BROKER_TEST(those_beyond_the_limit_of_a_key_end_soon),
		BROKER_TEST(an_idle_connection_ends_by_time),
		BROKER_TEST(a_server_that_ends_it_is_noticed),
		BROKER_TEST(
		    a_server_that_ends_it_at_the_last_moment_is_noticed),
		BROKER_TEST(a_client_that_has_gone_does_not_get_it),
		BROKER_TEST(places_are_given_in_order),
		BROKER_TEST(nobody_waits_for_longer_than_it_said),
		BROKER_TEST(a_place_at_the_last_moment_is_given),
		BROKER_TEST(a_waiting_client_may_do_something_else),
		BROKER_TEST(a_client_that_goes_while_it_waits_gets_nothing),
		BROKER_TEST(more_places_wake_those_who_wait),
		BROKER_TEST(another_server_with_a_place_is_taken),
		BROKER_TEST(a_lent_connection_has_its_place),
		BROKER_TEST(a_miss_is_counted_once),
		BROKER_TEST(an_idle_connection_makes_room_for_another_key),
		BROKER_TEST(one_in_clear_text_makes_room_at_once),
		BROKER_TEST(an_end_takes_a_second_at_most),
		BROKER_TEST(an_end_is_waited_for),
		BROKER_TEST(each_that_waits_ends_one),
		BROKER_TEST(a_lost_one_takes_its_place_until_its_helper_ends),
		BROKER_TEST(a_place_that_another_gets_is_not_counted_on),
		BROKER_TEST(what_was_made_under_other_limits_is_ended),
		BROKER_TEST(as_many_wait_as_without_idle_ones),
		BROKER_TEST(the_broker_may_end_before_a_session),
		BROKER_TEST(all_in_the_way_of_a_lower_limit_are_ended),
		BROKER_TEST(no_idle_connection_is_enough),
		BROKER_TEST(the_place_of_a_dead_connection_is_free),
		BROKER_TEST(what_comes_back_goes_to_the_first_that_has_its_key),
		BROKER_TEST(of_two_with_its_key_the_first_gets_it),
		BROKER_TEST(one_of_several_keys_is_enough),
		BROKER_TEST(what_nobody_can_use_makes_room),
		BROKER_TEST(what_is_over_goes_to_nobody),
		BROKER_TEST(what_is_not_in_the_way_stays),
		BROKER_TEST(the_next_gets_what_one_that_has_gone_does_not),
		BROKER_TEST(the_next_gets_what_one_that_was_given_up_does_not),
		BROKER_TEST(the_next_gets_the_place_of_one_that_has_gone),
		BROKER_TEST(a_connection_may_be_given_back_unused),
		BROKER_TEST(a_new_session_takes_the_place_of_a_lent_one),
		BROKER_TEST(who_has_announced_a_session_can_only_leave_it),
		BROKER_TEST(the_list_is_all_that_one_asks_for),
		BROKER_TEST(nonsense_is_refused),
		BROKER_TEST(too_long_a_message_is_refused),
		BROKER_TEST(only_connections_are_kept),
		BROKER_TEST(only_one_of_ours_is_kept),
		BROKER_TEST(who_waits_announces_nothing),
		BROKER_TEST(the_text_of_a_session_leaves_room_for_an_answer),
		BROKER_TEST(a_client_that_reads_no_answer_is_given_up),
		BROKER_TEST(others_may_not_connect),
		BROKER_TEST(a_client_that_says_nothing_stays),
		BROKER_TEST(the_list_has_all),
		BROKER_TEST(what_ends_now_may_be_listed),
		BROKER_TEST(a_long_list_waits_for_its_reader),
		BROKER_TEST(more_clients_are_turned_away),
		BROKER_TEST(without_a_descriptor_clients_are_turned_away),
		BROKER_TEST(the_system_has_no_descriptor_left),
		BROKER_TEST(another_error_of_accept_is_passed_over),
		BROKER_TEST(it_ends_when_it_is_not_used),
		BROKER_TEST(it_ends_after_an_hour),
		BROKER_TEST(it_ends_earlier_if_nobody_has_a_place),
		BROKER_TEST(it_ends_what_it_has),
		BROKER_TEST(it_stops_when_it_is_told),
	};

	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
