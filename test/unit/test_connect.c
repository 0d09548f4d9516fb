/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Fakes of io/dial and qmail/tcpto. */
#include "io/dial.h"
#include "qmail/tcpto.h"

static bool fake_dial(struct dial_target *, size_t, int, struct dialed *);
static bool fake_skips(const struct tcpto *, const struct ip *, int64_t,
    bool *);
static void fake_timed_out(const struct tcpto *, const struct ip *, int64_t);
static void fake_answered(const struct tcpto *, const struct ip *);

#define dial_first fake_dial
#define tcpto_skips fake_skips
#define tcpto_timed_out fake_timed_out
#define tcpto_answered fake_answered
#include "delivery/connect.c"

#define ADDRESSES_MAX 8

static const struct tcpto files = { "tcpto", "tcpto6", false };

/*
 * The plan is written as "1g 1h 2b": the preference, and what is at the
 * address: g accepts, b refuses, h is a black hole, u this machine refuses; a
 * capital letter is a second name of the last address of that kind.  '-' after
 * it: the plan does not use it; 'p': its host cannot meet the policy; 't':
 * tcpto says that it is to be skipped; 'k': tcpto has a record of it.
 */
static struct {
	char kind[ADDRESSES_MAX + 1];
	char mark[ADDRESSES_MAX + 1];
	char log[200]; /* what was done, as text */
	int timeout_ms;
	const char *answers;     /* of the gate; see ask() */
	struct connector *ended; /* its time is over after a question */
} world;

static struct plan_host hosts[ADDRESSES_MAX];
static struct plan_address addresses[ADDRESSES_MAX];

static void
say_word(const char *word)
{
	size_t n = strlen(world.log);

	snprintf(world.log + n, sizeof world.log - n, "%s%s", n ? " " : "",
	    word);
}

static void
say(const char *what, const struct ip *ip)
{
	char word[20];

	snprintf(word, sizeof word, "%s%d", what, ip->byte[15]);
	say_word(word);
}

/*
 * The last byte of an address is its place in the plan, or that of its first
 * name.
 */
static char
kind_of(const struct ip *ip)
{
	return world.kind[ip->byte[15]];
}

static bool
fake_dial(struct dial_target *t, size_t n, int timeout_ms, struct dialed *won)
{
	world.timeout_ms = timeout_ms;
	for (size_t i = 0; i < n; i++) {
		char kind = kind_of(&t[i].ip);

		if (t[i].state != DIAL_UNTRIED)
			continue;
		assert_int_equal(t[i].port, 26);
		say("dial", &t[i].ip);
		t[i].state = kind == 'g'   ? DIAL_CONNECTED
			     : kind == 'u' ? DIAL_UNABLE
					   : DIAL_FAILED;
		t[i].error = kind == 'h'   ? ETIMEDOUT
			     : kind == 'u' ? EMFILE
					   : ECONNREFUSED;
		if (kind != 'g')
			continue;
		won->fd = 100 + t[i].ip.byte[15];
		won->target = i;
		return true;
	}
	return false;
}

static bool
fake_skips(const struct tcpto *tcpto, const struct ip *ip, int64_t now,
    bool *known)
{
	char mark = world.mark[ip->byte[15]];

	assert_ptr_equal(tcpto, &files);
	assert_true(now > 1600000000);
	*known = mark == 't' || mark == 'k';
	return mark == 't';
}

static void
fake_timed_out(const struct tcpto *tcpto, const struct ip *ip, int64_t now)
{
	assert_ptr_equal(tcpto, &files);
	assert_true(now > 1600000000);
	say("timeout", ip);
}

static void
fake_answered(const struct tcpto *tcpto, const struct ip *ip)
{
	assert_ptr_equal(tcpto, &files);
	say("forget", ip);
}

/*
 * A word for each question: a letter for each address that is asked about, o
 * for one that is let through and h for one that is held back; or D for done,
 * or C for closed.  After the last word the gate is open.
 */
static enum gate_answer
ask(void *data, const struct plan *p, size_t first, size_t end, bool *may,
    const char **why)
{
	enum gate_answer answer = GATE_OPEN;
	char places[ADDRESSES_MAX + 4] = "ask";

	assert_ptr_equal(data, &world);
	assert_true(first < end && end <= p->naddress);
	for (size_t i = first; i < end; i++)
		if (may[i - first])
			places[strlen(places)] = (char)('0' + i);
	say_word(places);
	if (world.ended != NULL)
		world.ended->until = deadline_in(0);
	if (*world.answers == 'D')
		answer = GATE_DONE;
	if (*world.answers == 'C') {
		answer = GATE_CLOSED;
		*why = ".example:1";
	}
	for (size_t i = first; i < end && *world.answers >= 'h'; i++)
		if (may[i - first])
			may[i - first] = *world.answers++ == 'o';
	world.answers += strcspn(world.answers, " ");
	world.answers += *world.answers == ' ';
	return answer;
}

static const struct gate gate = { ask, &world };

static struct plan
read_plan(const char *text)
{
	struct plan p = { .host = hosts, .address = addresses, .port = 26 };

	memset(&world, 0, sizeof world);
	memset(addresses, 0, sizeof addresses);
	for (; *text; text += strcspn(text, " "), text += *text == ' ') {
		size_t i = p.naddress++;
		struct plan_address *a = &addresses[i];
		char lower = (char)(text[1] | 0x20);

		hosts[i].preference = (unsigned)(*text - '0');
		a->host = i;
		a->ip.byte[15] = (unsigned char)i;
		world.kind[i] = lower;
		for (size_t k = 0; k < i && text[1] != lower; k++)
			if (world.kind[k] == lower)
				a->ip.byte[15] = (unsigned char)k;
		if (text[2] != ' ' && text[2])
			world.mark[i] = text[2];
		if (text[2] == '-')
			a->use = PLAN_FAMILY;
		if (text[2] == 'p')
			a->use = PLAN_POLICY;
		hosts[i].policy.skip =
		    text[2] == 'p' ? TLS_SKIP_STS : TLS_SKIP_NOT;
	}
	p.nhost = p.naddress;
	return p;
}

static void
follows_the_plan(void **state)
{
	static const struct {
		const char *plan;
		const char *log; /* of one call for each connection */
	} cases[] = {
		{ "", "" },
		{ "1g", "dial0 fd0" },
		{ "1g 1g", "dial0 fd0 dial1 fd1" },
		{ "1b 1g", "dial0 dial1 fd1" },
		{ "1b 2g", "dial0 dial1 fd1" },
		{ "1g 2g", "dial0 fd0 dial1 fd1" },
		{ "1b 2b", "dial0 dial1" },
		{ "1g- 1g 2g-", "dial1 fd1" },
		{ "1b- 1b", "dial1" },
		{ "1gp 1g 2gp", "dial1 fd1" },
		/* What is recorded in tcpto. */
		{ "1h 1g", "dial0 dial1 timeout0 fd1" },
		{ "1h 2g", "dial0 timeout0 dial1 fd1" },
		{ "1bk 2g", "dial0 forget0 dial1 fd1" },
		{ "1gk", "dial0 forget0 fd0" },
		{ "1gk 1hk", "dial0 forget0 fd0 dial1 timeout1" },
		{ "1uk 1g", "dial0 dial1 fd1" },
		{ "1gt", "" },
		{ "1gt 1g", "dial1 fd1" },
		{ "1gt 2g", "dial1 fd1" },
		/* Several names of one address. */
		{ "1h 1H 2g", "dial0 dial0 timeout0 timeout0 dial2 fd2" },
		{ "1h 2H 3g", "dial0 timeout0 dial2 fd2" },
		{ "1u 2U 3g", "dial0 dial2 fd2" },
		{ "1b 1h 2H 3g", "dial0 dial1 timeout1 dial3 fd3" },
		{ "1bk 2B 3g", "dial0 forget0 dial2 fd2" },
		{ "1g 2G", "dial0 fd0 dial0 fd0" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct plan p = read_plan(cases[i].plan);
		struct connector c;
		struct dialed won;

		connector_begin(&c, &p, &files, NULL, 5, deadline_never());
		while (connector_next(&c, &won)) {
			assert_int_equal(c.target[won.target].state,
			    DIAL_CONNECTED);
			assert_int_equal(won.fd,
			    100 + p.address[won.target].ip.byte[15]);
			say("fd", &p.address[won.target].ip);
		}
		if (strcmp(world.log, cases[i].log) != 0)
			fail_msg("%s: %s", cases[i].plan, world.log);
		if (world.log[0])
			assert_int_equal(world.timeout_ms, 5000);
		connector_finish(&c);
	}
}

/*
 * One call for each connection, and one more.  What was in the connector before
 * does not matter.
 */
static void
follow(struct connector *c, struct plan *p, const char *answers)
{
	struct dialed won;

	memset(c, 0xff, sizeof *c);
	world.answers = answers;
	connector_begin(c, p, &files, &gate, 5, deadline_never());
	while (connector_next(c, &won))
		say("fd", &p->address[won.target].ip);
	assert_int_equal(won.fd, -1);
	assert_false(connector_next(c, &won));
}

static void
asks_the_gate_before_each_preference(void **state)
{
	static const struct {
		const char *plan;
		const char *answers;
		const char *log;
	} cases[] = {
		{ "", "", "" },
		{ "1g 2g", "", "ask0 dial0 fd0 ask1 dial1 fd1" },
		{ "1b 1g", "", "ask01 dial0 dial1 fd1" },
		{ "1g 1g", "", "ask01 dial0 fd0 ask1 dial1 fd1" },
		/* Asked again about those that it holds back. */
		{ "1g 1g", "ho", "ask01 dial1 fd1 ask0 dial0 fd0" },
		{ "1g 1b", "ho", "ask01 dial1 ask0 dial0 fd0" },
		{ "1b 1b", "ho o", "ask01 dial1 ask0 dial0" },
		{ "1b 1b 1g", "hho ho o",
		    "ask012 dial2 fd2 ask01 dial1 ask0 dial0" },
		/* All of a preference come before a worse one. */
		{ "1g 1b 2g", "ho",
		    "ask01 dial1 ask0 dial0 fd0 ask2 dial2 fd2" },
		{ "1b 1b 1b 2g", "oho o",
		    "ask012 dial0 dial2 ask1 dial1 ask3 dial3 fd3" },
		/* Only about those that would be connected to. */
		{ "1g- 1gp 1gt 1g", "", "ask3 dial3 fd3" },
		{ "1gt 2g-", "", "" },
		{ "1gt 1g 1g 1g-", "ho", "ask12 dial2 fd2 ask1 dial1 fd1" },
		{ "1h 2H 3g", "", "ask0 dial0 timeout0 ask2 dial2 fd2" },
		{ "1h 1H 2g", "oh", "ask01 dial0 timeout0 ask2 dial2 fd2" },
		/* What is held back is not recorded in tcpto. */
		{ "1hk 1g", "ho", "ask01 dial1 fd1 ask0 dial0 timeout0" },
		{ "1gk 1g", "ho D", "ask01 dial1 fd1 ask0" },
		/* Nothing is connected to any more. */
		{ "1g 2g", "D", "ask0" },
		{ "1b 2g 3g", "o D", "ask0 dial0 ask1" },
		{ "1g 1g 2g", "C", "ask01" },
		{ "1g 1g 2g", "oo C", "ask01 dial0 fd0 ask1" },
		{ "1b 1b 2g", "ho C", "ask01 dial1 ask0" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct plan p = read_plan(cases[i].plan);
		bool is_closed = strchr(cases[i].answers, 'C') != NULL;
		struct connector c;

		follow(&c, &p, cases[i].answers);
		if (strcmp(world.log, cases[i].log) != 0)
			fail_msg("%s, %s: %s", cases[i].plan, cases[i].answers,
			    world.log);
		assert_int_equal(c.answer == GATE_CLOSED, is_closed);
		if (is_closed)
			assert_string_equal(c.why, ".example:1");
		else
			assert_null(c.why);
		connector_finish(&c);
	}
}

/* It is not a failure, and it does not stay so. */
static void
holds_an_address_back_for_one_round(void **state)
{
	struct plan p = read_plan("1g 1g");
	struct connector c;
	struct dialed won;

	(void)state;
	world.answers = "ho D";
	connector_begin(&c, &p, &files, &gate, 5, deadline_never());
	assert_true(connector_next(&c, &won));
	assert_int_equal(won.target, 1);
	assert_int_equal(c.target[0].state, DIAL_UNTRIED);
	assert_false(connector_has_failed(&c, 0));
	assert_false(connector_next(&c, &won));
	assert_int_equal(c.target[0].state, DIAL_UNTRIED);
	connector_finish(&c);
}

/* What was asked about is connected to all the same. */
static void
asks_nothing_after_the_deadline(void **state)
{
	struct plan p = read_plan("1b 1g 2g");
	struct connector c;

	(void)state;
	world.ended = &c;
	follow(&c, &p, "oh");
	assert_string_equal(world.log, "ask01 dial0");
	connector_finish(&c);
}

static void
connects_once_more_without_a_question(void **state)
{
	struct plan p = read_plan("1g 1g");
	struct connector c;
	struct dialed won;

	(void)state;
	world.answers = "oh";
	connector_begin(&c, &p, &files, &gate, 5, deadline_never());
	assert_true(connector_next(&c, &won));
	assert_true(connector_again(&c, 0, &won));
	assert_string_equal(world.log, "ask01 dial0 dial0");
	connector_finish(&c);
}

/* Others have been tried since: what the gate allowed them is no answer. */
static void
asks_the_gate_on_the_way_back(void **state)
{
	static const struct {
		const char *answers;
		bool is_made;
		enum gate_answer answer;
		const char *log;
	} cases[] = {
		{ "o o o", true, GATE_OPEN,
		    "ask0 dial0 ask1 dial1 ask0 dial0" },
		{ "o o D", false, GATE_DONE, "ask0 dial0 ask1 dial1 ask0" },
		{ "o o C", false, GATE_CLOSED, "ask0 dial0 ask1 dial1 ask0" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct plan p = read_plan("1g 2g");
		struct connector c;
		struct dialed won;

		world.answers = cases[i].answers;
		connector_begin(&c, &p, &files, &gate, 5, deadline_never());
		assert_true(connector_next(&c, &won));
		assert_true(connector_next(&c, &won));
		assert_int_equal(connector_return(&c, 0, &won),
		    cases[i].is_made);
		assert_int_equal(c.answer, cases[i].answer);
		assert_string_equal(world.log, cases[i].log);
		/* It was connected to before. */
		assert_int_equal(c.target[0].state, DIAL_CONNECTED);
		connector_finish(&c);
	}
}

static void
gives_the_reason(void **state)
{
	struct plan p = read_plan("1b 1h 1u 1gt 1g 2g");
	static const char *const late = "not tried, the others took too long";
	struct connector c;
	struct dialed won;

	(void)state;
	connector_begin(&c, &p, &files, NULL, 5, deadline_never());
	assert_string_equal(connector_reason(&c, 0), late);
	assert_true(connector_next(&c, &won));
	assert_int_equal(won.target, 4);
	assert_string_equal(connector_reason(&c, 0), strerror(ECONNREFUSED));
	assert_string_equal(connector_reason(&c, 1), strerror(ETIMEDOUT));
	assert_string_equal(connector_reason(&c, 2), strerror(EMFILE));
	assert_string_equal(connector_reason(&c, 3),
	    "skipped, it timed out lately");
	assert_int_equal(p.address[3].use, PLAN_TIMED_OUT);
	assert_null(connector_reason(&c, 4));
	for (size_t i = 0; i < p.naddress; i++)
		assert_int_equal(connector_has_failed(&c, i), i < 4);
	assert_string_equal(connector_reason(&c, 5), late);
	connector_finish(&c);
}

/* It counts as one that has failed, so a report tells of it. */
static void
gives_the_reason_of_a_host_that_the_policy_leaves_out(void **state)
{
	struct plan p = read_plan("1gp 2g 3g-");
	struct connector c;
	struct dialed won;

	(void)state;
	connector_begin(&c, &p, &files, NULL, 5, deadline_never());
	assert_true(connector_next(&c, &won));
	assert_int_equal(won.target, 1);
	assert_true(connector_has_failed(&c, 0));
	assert_string_equal(connector_reason(&c, 0),
	    "the MTA-STS policy of the domain does not list it");
	assert_false(connector_has_failed(&c, 2));
	connector_finish(&c);
}

/* For each family; what could not be connected from is told of. */
static void
connects_from_our_address(void **state)
{
	struct plan p = read_plan("1g 2g 3g");
	struct ip own = { .byte = { 1 } };
	struct connector c;
	struct dialed won;

	(void)state;
	p.source[0].ip = &own;
	p.source[1].fault = "control/outgoingip: x";
	p.address[1].ip = ip_from_v4((const unsigned char[4]){ 0, 0, 0, 1 });
	p.address[1].use = PLAN_SOURCE;
	connector_begin(&c, &p, &files, NULL, 5, deadline_never());
	assert_ptr_equal(c.target[0].own, &own);
	assert_null(c.target[1].own);
	assert_true(connector_next(&c, &won));
	assert_true(connector_next(&c, &won));
	assert_int_equal(won.target, 2);
	assert_true(connector_has_failed(&c, 1));
	assert_string_equal(connector_reason(&c, 1), "control/outgoingip: x");
	connector_finish(&c);
}

/* By then tcpto has the result. */
static void
gives_the_reason_of_an_address_with_another_name(void **state)
{
	struct plan p = read_plan("1h 2g 3H");
	struct connector c;
	struct dialed won;

	(void)state;
	connector_begin(&c, &p, &files, NULL, 5, deadline_never());
	assert_true(connector_next(&c, &won));
	world.mark[0] = 't';
	assert_false(connector_next(&c, &won));
	assert_string_equal(connector_reason(&c, 2), strerror(ETIMEDOUT));
	assert_int_equal(p.address[2].use, PLAN_USED);
	connector_finish(&c);
}

static void
connects_once_more(void **state)
{
	struct plan p = read_plan("1g 1b");
	struct connector c;
	struct dialed won;

	(void)state;
	connector_begin(&c, &p, &files, NULL, 5, deadline_never());
	assert_true(connector_next(&c, &won));
	assert_true(connector_again(&c, 0, &won));
	assert_int_equal(won.fd, 100);
	assert_int_equal(won.target, 0);
	world.kind[0] = 'b';
	assert_false(connector_again(&c, 0, &won));
	assert_string_equal(connector_reason(&c, 0), strerror(ECONNREFUSED));
	connector_finish(&c);
}

/* Attempts in progress are not ended, but no other is begun. */
static void
starts_nothing_after_the_deadline(void **state)
{
	struct plan p = read_plan("1g 2g");
	struct connector c;
	struct dialed won;

	(void)state;
	connector_begin(&c, &p, &files, NULL, 5, deadline_in(0));
	assert_false(connector_next(&c, &won));
	assert_string_equal(world.log, "");
	connector_finish(&c);
}

static void
bounds_the_time_limit(void **state)
{
	struct plan p = read_plan("1g");
	struct connector c;
	struct dialed won;

	(void)state;
	connector_begin(&c, &p, &files, NULL, ULONG_MAX, deadline_never());
	assert_true(connector_next(&c, &won));
	assert_int_equal(world.timeout_ms, INT_MAX);
	connector_finish(&c);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows_the_plan),
		cmocka_unit_test(asks_the_gate_before_each_preference),
		cmocka_unit_test(holds_an_address_back_for_one_round),
		cmocka_unit_test(asks_nothing_after_the_deadline),
		cmocka_unit_test(connects_once_more_without_a_question),
		cmocka_unit_test(asks_the_gate_on_the_way_back),
		cmocka_unit_test(gives_the_reason),
		cmocka_unit_test(
		    gives_the_reason_of_a_host_that_the_policy_leaves_out),
		cmocka_unit_test(connects_from_our_address),
		cmocka_unit_test(
		    gives_the_reason_of_an_address_with_another_name),
		cmocka_unit_test(connects_once_more),
		cmocka_unit_test(starts_nothing_after_the_deadline),
		cmocka_unit_test(bounds_the_time_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
