/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "delivery/attempt.h"
#include "delivery/connect.h"
#include "qmail/helohosts.h"
#include "qmail/memory.h"

/* Fakes of connections, attempts and the memory of addresses. */
static void fake_begin(struct connector *, struct plan *, const struct tcpto *,
    const struct gate *, unsigned long, struct deadline);
static bool fake_next(struct connector *, struct dialed *);
static bool fake_again(struct connector *, size_t, struct dialed *);
static bool fake_return(struct connector *, size_t, struct dialed *);
static enum attempt_result fake_make(const struct attempt_config *,
    struct smtp_session *, struct attempt_mode *, int, struct attempt *,
    struct server *);
static void fake_note(int, const struct ip *, enum memory_kind, int64_t);
static bool fake_own(int, struct ip *);
static const char *fake_name(const struct helohosts *, const struct ip *);

#define connector_begin fake_begin
#define connector_next fake_next
#define connector_again fake_again
#define connector_return fake_return
#define attempt_make fake_make
#define memory_note fake_note
#define dial_own fake_own
#define helohosts_find fake_name
#include "delivery/search.c"

#define ADDRESSES 4

static struct {
	/*
	 * The results of the attempts, one letter for each: R ready, N next
	 * server, T no TLS, U no SMTPUTF8, L local failure, and three that are
	 * tried again: A, H after a handshake that hung, F after one that
	 * failed.  Between them an answer of the gate: D done, C closed.
	 */
	const char *script;
	const struct gate *gate;
	size_t next;  /* place in the plan of the next connection */
	int refuses;  /* redials of this address, or -1 */
	bool is_late; /* all time is over */
	char log[200];
	struct attempt_mode mode; /* as passed to the first attempt */
} world;

static const struct helohosts no_names;
static struct plan_host hosts[ADDRESSES];
static struct plan_address addresses[ADDRESSES];

static void
say(const char *what, size_t i)
{
	size_t n = strlen(world.log);

	snprintf(world.log + n, sizeof world.log - n, "%s%s%zu", n ? " " : "",
	    what, i);
}

static void
fake_begin(struct connector *c, struct plan *plan, const struct tcpto *tcpto,
    const struct gate *gate, unsigned long timeout_s, struct deadline until)
{
	assert_ptr_equal(gate, world.gate);
	assert_null(tcpto);
	assert_int_equal(timeout_s, 60);
	/* Ten times timeoutconnect and timeoutremote. */
	assert_true(until.at <= deadline_in(1800000).at &&
		    until.at > deadline_in(1800000 - 60000).at);
	c->plan = plan;
	c->answer = GATE_OPEN;
	c->until = world.is_late ? deadline_in(0) : until;
	c->target = mem_alloc(plan->naddress, sizeof *c->target);
	for (size_t i = 0; i < plan->naddress; i++)
		c->target[i].state = DIAL_CONNECTED;
	world.next = 0;
	say("plan", plan->naddress);
}

/* The answer of the gate, where the script has one. */
static bool
is_open(struct connector *c)
{
	if (world.script != NULL &&
	    (*world.script == 'D' || *world.script == 'C'))
		c->answer = *world.script++ == 'D' ? GATE_DONE : GATE_CLOSED;
	return c->answer == GATE_OPEN;
}

static bool
fake_next(struct connector *c, struct dialed *won)
{
	won->fd = 100 + (int)world.next;
	won->target = world.next;
	won->ms = (int)world.next;
	return world.next++ < c->plan->naddress && is_open(c);
}

static bool
fake_again(struct connector *c, size_t i, struct dialed *won)
{
	assert_true(i < c->plan->naddress);
	say("again", i);
	won->fd = 200;
	won->target = i;
	won->ms = 7;
	return world.refuses != (int)i;
}

static bool
fake_return(struct connector *c, size_t i, struct dialed *won)
{
	if (!is_open(c)) {
		say("asked", i);
		return false;
	}
	say("return", i);
	won->fd = 200;
	won->target = i;
	won->ms = 7;
	return world.refuses != (int)i;
}

/*
 * What two servers can do, and which of them gets a message that needs
 * SMTPUTF8, and how.  The letters of a server: t TLS, u SMTPUTF8, x it cannot
 * be used.
 */
static const char *const *servers;

static enum attempt_result
fake_server(const struct attempt_mode *mode, struct attempt *a)
{
	const char *can = servers[a->ip.byte[15]];
	bool has_tls = strchr(can, 't') != NULL;

	a->cause = FAILURE_HELLO;
	a->tls.status = TLS_STATUS_NONE;
	if (strchr(can, 'x') != NULL)
		return ATTEMPT_NEXT;
	if (tls_policy_requires(&mode->policy) && !has_tls)
		return tls_policy_allows_clear(&mode->policy) ? ATTEMPT_NO_TLS
							      : ATTEMPT_NEXT;
	if (tls_policy_tries(&mode->policy) && has_tls)
		a->tls.status = TLS_STATUS_READY;
	a->cause = FAILURE_SMTPUTF8_NOT_OFFERED;
	if (mode->needs_smtputf8 && strchr(can, 'u') == NULL)
		return ATTEMPT_NO_SMTPUTF8;
	a->cause = FAILURE_NONE;
	return ATTEMPT_READY;
}

static enum attempt_result
fake_make(const struct attempt_config *config, struct smtp_session *session,
    struct attempt_mode *mode, int fd, struct attempt *a, struct server *s)
{
	char letter;

	assert_non_null(session);
	assert_int_equal(config->timeout_s, 1200);
	if (servers != NULL)
		return fake_server(mode, a);
	letter = *world.script++;
	if (world.log[0] != '\0' && strchr(world.log, ' ') == NULL)
		world.mode = *mode;
	say(fd == 200 ? "retry" : "try", a->ip.byte[15]);
	a->cause = letter == 'R'   ? FAILURE_NONE
		   : letter == 'U' ? FAILURE_SMTPUTF8_NOT_OFFERED
				   : FAILURE_HELLO;
	a->tls.status = TLS_STATUS_NONE;
	a->used_helo = mode->only_helo;
	s->fd = fd;
	s->ehlo.extensions = SMTP_EXT_PIPELINING;
	if (letter == 'H' || letter == 'F') {
		a->phase = ATTEMPT_IN_HANDSHAKE;
		a->tls.status = TLS_STATUS_FAILED;
		a->tls.cause =
		    letter == 'H' ? TLS_CAUSE_TIMED_OUT : TLS_CAUSE_HANDSHAKE;
	}
	switch (letter) {
	case 'R':
		return ATTEMPT_READY;
	case 'T':
		return ATTEMPT_NO_TLS;
	case 'U':
		return ATTEMPT_NO_SMTPUTF8;
	case 'L':
		return ATTEMPT_LOCAL;
	case 'A':
	case 'H':
	case 'F':
		return ATTEMPT_AGAIN;
	default:
		return ATTEMPT_NEXT;
	}
}

static void
fake_note(int fd, const struct ip *ip, enum memory_kind kind, int64_t now)
{
	assert_int_equal(fd, 9);
	assert_int_equal(kind, MEMORY_TLS);
	assert_true(now > 1600000000);
	say("note", ip->byte[15]);
}

/* That of the connection with number 102 cannot be found out. */
static bool
fake_own(int fd, struct ip *ip)
{
	if (fd == 102)
		return false;
	ip->byte[15] = (unsigned char)fd;
	return true;
}

/* Of 100 and 200; an address that is not known is not looked up. */
static const char *
fake_name(const struct helohosts *h, const struct ip *ip)
{
	int number = ip->byte[15];

	(void)h;
	assert_int_not_equal(number, 0);
	return number == 100 ? "first" : number == 200 ? "again" : NULL;
}

static struct plan
make_plan(size_t naddress, enum tls_level level)
{
	static const char names[][2] = { "a", "b", "c", "d" };
	struct plan p = {
		.host = hosts,
		.nhost = naddress,
		.address = addresses,
		.naddress = naddress,
		.port = 25,
	};

	memset(addresses, 0, sizeof addresses);
	for (size_t i = 0; i < naddress; i++) {
		hosts[i] = (struct plan_host){ .name = names[i],
			.policy = { .level = level, .name = names[i] } };
		addresses[i].host = i;
		addresses[i].ip.byte[15] = (unsigned char)i;
	}
	return p;
}

static enum search_result
run(struct search *s, struct plan *p, const char *script, int refuses)
{
	static const struct search_config config = {
		.attempt = { .timeout_s = 1200 },
		.timeoutconnect = 60,
		.notes = 9,
		.helohosts = &no_names,
		.helohost = "me.example",
	};

	memset(s, 0, sizeof *s);
	memset(&world, 0, sizeof world);
	world.script = script;
	world.refuses = refuses;
	return search_server(s, p, &config);
}

static void
follows_a_plan(void **state)
{
	static const struct {
		size_t naddress;
		const char *script;
		int refuses;
		enum search_result result;
		const char *log;
	} cases[] = {
		{ 0, "", -1, SEARCH_NONE, "plan0" },
		{ 1, "R", -1, SEARCH_READY, "plan1 try0" },
		{ 2, "NR", -1, SEARCH_READY, "plan2 try0 try1" },
		{ 2, "NN", -1, SEARCH_NONE, "plan2 try0 try1" },
		{ 2, "L", -1, SEARCH_LOCAL, "plan2 try0" },
		/* The same address once more. */
		{ 2, "AR", -1, SEARCH_READY, "plan2 try0 again0 retry0" },
		{ 2, "AAR", -1, SEARCH_READY,
		    "plan2 try0 again0 retry0 again0 retry0" },
		{ 2, "AR", 0, SEARCH_READY, "plan2 try0 again0 try1" },
		{ 2, "ANR", -1, SEARCH_READY, "plan2 try0 again0 retry0 try1" },
		/* A handshake that hung is remembered. */
		{ 1, "HR", -1, SEARCH_READY, "plan1 try0 note0 again0 retry0" },
		{ 1, "FR", -1, SEARCH_READY, "plan1 try0 again0 retry0" },
		/* The second pass. */
		{ 2, "TR", -1, SEARCH_READY, "plan2 try0 try1" },
		{ 2, "TNR", -1, SEARCH_READY, "plan2 try0 try1 plan1 try0" },
		{ 2, "NTN", -1, SEARCH_NONE, "plan2 try0 try1 plan1 try1" },
		{ 2, "TTNR", -1, SEARCH_READY,
		    "plan2 try0 try1 plan2 try0 try1" },
		{ 2, "TL", -1, SEARCH_LOCAL, "plan2 try0 try1" },
		{ 1, "TL", -1, SEARCH_LOCAL, "plan1 try0 plan1 try0" },
		/* The first one without SMTPUTF8, if none offers it. */
		{ 2, "UR", -1, SEARCH_READY, "plan2 try0 try1" },
		{ 2, "UNR", -1, SEARCH_READY,
		    "plan2 try0 try1 return0 retry0" },
		{ 3, "NUUR", -1, SEARCH_READY,
		    "plan3 try0 try1 try2 return1 retry1" },
		{ 2, "UUNR", -1, SEARCH_READY,
		    "plan2 try0 try1 return0 retry0 return1 retry1" },
		{ 2, "UUR", 0, SEARCH_READY,
		    "plan2 try0 try1 return0 return1 retry1" },
		{ 1, "UN", -1, SEARCH_NONE, "plan1 try0 return0 retry0" },
		{ 2, "UNL", -1, SEARCH_LOCAL,
		    "plan2 try0 try1 return0 retry0" },
		{ 2, "UL", -1, SEARCH_LOCAL, "plan2 try0 try1" },
		{ 1, "AUAR", -1, SEARCH_READY,
		    "plan1 try0 again0 retry0 return0 retry0 again0 retry0" },
		/* It comes before all in clear text. */
		{ 3, "TUTR", -1, SEARCH_READY,
		    "plan3 try0 try1 try2 return1 retry1" },
		{ 2, "TUNUR", -1, SEARCH_READY,
		    "plan2 try0 try1 return1 retry1 plan1 try0 return0 "
		    "retry0" },
		{ 2, "TNUR", -1, SEARCH_READY,
		    "plan2 try0 try1 plan1 try0 return0 retry0" },
		{ 2, "UTTR", -1, SEARCH_READY,
		    "plan2 try0 try1 return0 retry0 plan2 try0" },
		/* The gate ends the search. */
		{ 2, "D", -1, SEARCH_DONE, "plan2" },
		{ 2, "ND", -1, SEARCH_DONE, "plan2 try0" },
		{ 2, "UD", -1, SEARCH_DONE, "plan2 try0" },
		{ 2, "TD", -1, SEARCH_DONE, "plan2 try0" },
		{ 2, "TND", -1, SEARCH_DONE, "plan2 try0 try1 plan1" },
		{ 2, "C", -1, SEARCH_NONE, "plan2" },
		{ 2, "NC", -1, SEARCH_NONE, "plan2 try0" },
		{ 2, "UC", -1, SEARCH_NONE, "plan2 try0" },
		{ 2, "TC", -1, SEARCH_NONE, "plan2 try0" },
		{ 2, "TNC", -1, SEARCH_NONE, "plan2 try0 try1 plan1" },
		{ 2, "UND", -1, SEARCH_DONE, "plan2 try0 try1 asked0" },
		{ 2, "UUC", -1, SEARCH_NONE, "plan2 try0 try1 asked0" },
		{ 2, "UTC", -1, SEARCH_NONE, "plan2 try0 try1 asked0" },
		{ 2, "UUND", -1, SEARCH_DONE,
		    "plan2 try0 try1 return0 retry0 asked1" },
		{ 2, "TTUC", -1, SEARCH_NONE, "plan2 try0 try1 plan2 try0" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct plan p = make_plan(cases[i].naddress, TLS_LEVEL_ENCRYPT);
		struct search s;

		if (run(&s, &p, cases[i].script, cases[i].refuses) !=
			cases[i].result ||
		    *world.script != '\0' ||
		    strcmp(world.log, cases[i].log) != 0)
			fail_msg("%s: %s", cases[i].script, world.log);
		search_finish(&s);
	}
}

static void
prefers_tls_and_then_smtputf8(void **state)
{
	static const struct {
		enum tls_level level;
		bool may_be_clear; /* in the end, as at strictness 1 */
		const char *servers[2];
		const char *want; /* its number, and + if in TLS; or - */
	} cases[] = {
		{ TLS_LEVEL_NONE, 1, { "t", "u" }, "1" },
		{ TLS_LEVEL_NONE, 1, { "", "t" }, "0" },
		{ TLS_LEVEL_NONE, 1, { "u", "u" }, "0" },
		{ TLS_LEVEL_NONE, 1, { "x", "t" }, "1" },
		/* Strictness 0: TLS is no reason for another server. */
		{ TLS_LEVEL_MAY, 1, { "t", "u" }, "1" },
		{ TLS_LEVEL_MAY, 1, { "", "tu" }, "1+" },
		{ TLS_LEVEL_MAY, 1, { "u", "tu" }, "0" },
		{ TLS_LEVEL_MAY, 1, { "t", "" }, "0+" },
		{ TLS_LEVEL_MAY, 1, { "", "t" }, "0" },
		/* Strictness 1: a server with TLS first. */
		{ TLS_LEVEL_ENCRYPT, 1, { "t", "tu" }, "1+" },
		{ TLS_LEVEL_ENCRYPT, 1, { "tu", "tu" }, "0+" },
		{ TLS_LEVEL_ENCRYPT, 1, { "u", "t" }, "1+" },
		{ TLS_LEVEL_ENCRYPT, 1, { "t", "u" }, "0+" },
		{ TLS_LEVEL_ENCRYPT, 1, { "t", "t" }, "0+" },
		{ TLS_LEVEL_ENCRYPT, 1, { "", "u" }, "1" },
		{ TLS_LEVEL_ENCRYPT, 1, { "", "" }, "0" },
		{ TLS_LEVEL_ENCRYPT, 1, { "x", "u" }, "1" },
		{ TLS_LEVEL_ENCRYPT, 1, { "x", "" }, "1" },
		/* TLS is demanded. */
		{ TLS_LEVEL_ENCRYPT, 0, { "u", "t" }, "1+" },
		{ TLS_LEVEL_ENCRYPT, 0, { "t", "tu" }, "1+" },
		{ TLS_LEVEL_ENCRYPT, 0, { "u", "" }, "-" },
		{ TLS_LEVEL_VERIFY, 0, { "u", "t" }, "1+" },
		{ TLS_LEVEL_VERIFY, 0, { "t", "u" }, "0+" },
		{ TLS_LEVEL_VERIFY, 0, { "u", "u" }, "-" },
		{ TLS_LEVEL_DANE, 0, { "u", "t" }, "1+" },
	};
	const struct search_config config = {
		.attempt = { .timeout_s = 1200 },
		.timeoutconnect = 60,
		.notes = 9,
		.helohosts = &no_names,
		.needs_smtputf8 = true,
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct plan p = make_plan(2, cases[i].level);
		struct search s = { .address = 0 };
		char got[3] = "-";

		memset(&world, 0, sizeof world);
		world.refuses = -1;
		servers = cases[i].servers;
		for (size_t k = 0; k < 2; k++)
			hosts[k].policy.source = cases[i].may_be_clear
						     ? TLS_FROM_STRICTNESS
						     : TLS_FROM_RULE;
		if (search_server(&s, &p, &config) == SEARCH_READY) {
			const struct attempt *a =
			    &s.history.attempt[s.history.n - 1];

			got[0] = (char)('0' + a->ip.byte[15]);
			got[1] = a->tls.status == TLS_STATUS_READY ? '+' : '\0';
		}
		if (strcmp(got, cases[i].want) != 0)
			fail_msg("case %zu: %s", i, got);
		servers = NULL;
		search_finish(&s);
	}
}

/* The only server need not be left, and connected to once more. */
static void
needs_smtputf8_only_where_there_is_a_choice(void **state)
{
	static const struct {
		size_t naddress;
		bool needs;
		enum plan_use second;
		bool want;
	} cases[] = {
		{ 1, true, PLAN_USED, false },
		{ 2, true, PLAN_USED, true },
		{ 3, true, PLAN_USED, true },
		{ 3, true, PLAN_OWN, true },
		{ 2, true, PLAN_POLICY, false },
		{ 2, false, PLAN_USED, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct search_config config = {
			.attempt = { .timeout_s = 1200 },
			.timeoutconnect = 60,
			.notes = 9,
			.helohosts = &no_names,
			.needs_smtputf8 = cases[i].needs,
		};
		struct plan p = make_plan(cases[i].naddress, TLS_LEVEL_NONE);
		struct search s = { .address = 0 };

		addresses[1].use = cases[i].second;
		memset(&world, 0, sizeof world);
		world.script = "R";
		assert_int_equal(search_server(&s, &p, &config), SEARCH_READY);
		if (world.mode.needs_smtputf8 != cases[i].want)
			fail_msg("case %zu", i);
		search_finish(&s);
	}
}

static void
does_not_go_back_when_the_time_is_over(void **state)
{
	static const struct search_config config = {
		.attempt = { .timeout_s = 1200 },
		.timeoutconnect = 60,
		.notes = 9,
		.helohosts = &no_names,
	};
	struct plan p = make_plan(2, TLS_LEVEL_NONE);
	struct search s = { .address = 0 };

	(void)state;
	memset(&world, 0, sizeof world);
	world.script = "UU";
	world.is_late = true;
	assert_int_equal(search_server(&s, &p, &config), SEARCH_NONE);
	assert_string_equal(world.log, "plan2 try0 try1");
	assert_int_equal(history_decisive(&s.history)->cause,
	    FAILURE_SMTPUTF8_NOT_OFFERED);
	search_finish(&s);
}

/* What failed before is not tried a second time with the same server. */
static void
takes_a_server_without_smtputf8_as_it_was(void **state)
{
	struct plan p = make_plan(1, TLS_LEVEL_MAY);
	struct attempt a = { .used_helo = true,
		.cleartext = { .reason = CLEARTEXT_REFUSED, .code = 454 } };
	struct attempt_mode mode = mode_of(&p, &a);

	(void)state;
	assert_true(mode.only_helo);
	assert_false(mode.needs_smtputf8);
	assert_int_equal(mode.policy.level, TLS_LEVEL_NONE);
	assert_int_equal(mode.cleartext.code, 454);
	a = (struct attempt){ .address = 0 };
	mode = mode_of(&p, &a);
	assert_false(mode.only_helo);
	assert_int_equal(mode.policy.level, TLS_LEVEL_MAY);
	assert_int_equal(mode.cleartext.reason, CLEARTEXT_NO_REASON);
}

static void
tries_the_second_pass_in_clear_text(void **state)
{
	struct plan p = make_plan(1, TLS_LEVEL_ENCRYPT);
	struct search s;

	(void)state;
	assert_int_equal(run(&s, &p, "TR", -1), SEARCH_READY);
	assert_int_equal(s.connector.plan->host[0].policy.level,
	    TLS_LEVEL_NONE);
	assert_int_equal(s.history.pass, 1);
	search_finish(&s);
}

static void
asks_the_gate_in_both_passes(void **state)
{
	static const struct gate gate;
	static const struct search_config config = {
		.attempt = { .timeout_s = 1200 },
		.gate = &gate,
		.timeoutconnect = 60,
		.notes = 9,
		.helohosts = &no_names,
	};
	struct plan p = make_plan(1, TLS_LEVEL_ENCRYPT);
	struct search s = { .address = 0 };

	(void)state;
	memset(&world, 0, sizeof world);
	world.script = "TR";
	world.gate = &gate;
	assert_int_equal(search_server(&s, &p, &config), SEARCH_READY);
	assert_string_equal(world.log, "plan1 try0 plan1 try0");
	search_finish(&s);
}

static void
knows_how_the_server_was_reached(void **state)
{
	static const struct {
		const char *script;
		size_t host; /* of the second address */
		enum cleartext_reason reason;
		bool needs_smtputf8;
		unsigned extensions;
		enum search_reach want;
	} cases[] = {
		{ "R", 1, 0, false, 0, SEARCH_REACHED_FIRST },
		{ "NR", 1, 0, false, 0, SEARCH_REACHED_LATER },
		{ "NNR", 1, 0, false, 0, SEARCH_REACHED_LATER },
		{ "AR", 1, 0, false, 0, SEARCH_REACHED_FIRST },
		/* The first address of the same host has failed. */
		{ "NR", 0, 0, false, 0, SEARCH_REACHED_FIRST },
		{ "NNR", 0, 0, false, 0, SEARCH_REACHED_LATER },
		/* In clear text: the handshake failed, or there is no TLS. */
		{ "R", 1, CLEARTEXT_HANDSHAKE, false, 0,
		    SEARCH_REACHED_DOWNGRADED },
		{ "NR", 1, CLEARTEXT_AVOIDS_EHLO, false, 0,
		    SEARCH_REACHED_DOWNGRADED },
		{ "TNNR", 1, 0, false, 0, SEARCH_REACHED_DOWNGRADED },
		{ "R", 1, 0, true, SMTP_EXT_SMTPUTF8, SEARCH_REACHED_FIRST },
		{ "R", 1, 0, true, SMTP_EXT_SIZE, SEARCH_REACHED_DOWNGRADED },
		{ "NR", 1, 0, true, SMTP_EXT_SMTPUTF8, SEARCH_REACHED_LATER },
		{ "NUNR", 1, 0, true, 0, SEARCH_REACHED_DOWNGRADED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct search_config config = {
			.attempt = { .timeout_s = 1200 },
			.timeoutconnect = 60,
			.notes = 9,
			.helohosts = &no_names,
			.needs_smtputf8 = cases[i].needs_smtputf8,
		};
		struct plan p = make_plan(3, TLS_LEVEL_ENCRYPT);
		struct search s = { .address = 0 };

		addresses[1].host = cases[i].host;
		memset(&world, 0, sizeof world);
		world.script = cases[i].script;
		world.refuses = -1;
		assert_int_equal(search_server(&s, &p, &config), SEARCH_READY);
		s.history.attempt[s.history.n - 1].cleartext.reason =
		    cases[i].reason;
		s.server.ehlo.extensions = cases[i].extensions;
		if (search_reach(&s) != cases[i].want)
			fail_msg("case %zu", i);
		search_finish(&s);
	}
}

/* The first host has no address, for this reason. */
static void
knows_of_better_hosts_without_an_address(void **state)
{
	static const struct {
		enum dns_outcome outcome;
		unsigned preference; /* of the second */
		enum search_reach want;
	} cases[] = {
		{ DNS_TEMPFAIL, 1, SEARCH_REACHED_LATER },
		{ DNS_TEMPFAIL, 0, SEARCH_REACHED_FIRST },
		{ DNS_NODATA, 1, SEARCH_REACHED_FIRST },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct plan p = make_plan(2, TLS_LEVEL_ENCRYPT);
		struct search s;

		p.naddress = 1;
		addresses[0].host = 1;
		hosts[0].outcome = cases[i].outcome;
		hosts[1].preference = cases[i].preference;
		assert_int_equal(run(&s, &p, "R", -1), SEARCH_READY);
		if (search_reach(&s) != cases[i].want)
			fail_msg("case %zu", i);
		search_finish(&s);
	}
}

/* Of a search that is still going on. */
static void
tells_what_failed_so_far(void **state)
{
	struct plan p = make_plan(3, TLS_LEVEL_MAY);
	struct buf lines = { 0 };
	struct search s;

	(void)state;
	assert_int_equal(run(&s, &p, "ND", -1), SEARCH_DONE);
	search_append_lines(&s, 0, &lines);
	assert_string_equal(buf_text(&lines), "");
	search_append_lines(&s, 2, &lines);
	assert_string_equal(buf_text(&lines), "a (::): my name was rejected");
	buf_finish(&lines);
	search_finish(&s);
}

/* Our address in each connection, also where it is needed for a report only. */
static void
notes_our_own_address_if_it_is_wanted(void **state)
{
	static const struct ip none;

	(void)state;
	for (int is_wanted = 0; is_wanted <= 1; is_wanted++) {
		const struct search_config config = {
			.attempt = { .timeout_s = 1200 },
			.timeoutconnect = 60,
			.notes = 9,
			.helohosts = &no_names,
			.wants_own = is_wanted,
		};
		struct plan p = make_plan(3, TLS_LEVEL_MAY);
		struct search s = { .address = 0 };

		memset(&world, 0, sizeof world);
		world.script = "NAR";
		world.refuses = -1;
		assert_int_equal(search_server(&s, &p, &config), SEARCH_READY);
		assert_int_equal(s.history.n, 3);
		assert_int_equal(s.history.attempt[0].own.byte[15],
		    is_wanted ? 100 : 0);
		assert_int_equal(s.history.attempt[1].own.byte[15],
		    is_wanted ? 101 : 0);
		assert_int_equal(s.history.attempt[2].own.byte[15],
		    is_wanted ? 200 : 0);
		search_finish(&s);

		world.script = "NNR";
		assert_int_equal(search_server(&s, &p, &config), SEARCH_READY);
		assert_true(ip_equal(&s.history.attempt[2].own, &none));
		search_finish(&s);
	}
}

/* By our address in each connection, if that can be found out. */
static void
chooses_our_name(void **state)
{
	static const char *const want[] = { "first", "me.example", "again",
		"me.example" };
	const struct helohosts names = { .n = 1 };
	const struct search_config config = {
		.attempt = { .timeout_s = 1200 },
		.timeoutconnect = 60,
		.notes = 9,
		.helohosts = &names,
		.helohost = "me.example",
	};
	struct plan p = make_plan(3, TLS_LEVEL_MAY);
	struct search s = { .address = 0 };

	(void)state;
	memset(&world, 0, sizeof world);
	world.script = "NANR";
	world.refuses = -1;
	assert_int_equal(search_server(&s, &p, &config), SEARCH_READY);
	for (size_t i = 0; i < sizeof want / sizeof *want; i++)
		assert_string_equal(s.history.attempt[i].helohost, want[i]);
	search_finish(&s);
}

/* Notes of other deliveries count if clear text is allowed. */
static void
avoids_what_failed_before(void **state)
{
	static const struct {
		enum tls_level level;
		int64_t ehlo, tls;
		bool only_helo;
		enum tls_level then;
		enum cleartext_reason reason;
	} cases[] = {
		{ TLS_LEVEL_MAY, 0, 0, false, TLS_LEVEL_MAY, 0 },
		{ TLS_LEVEL_MAY, 1, 0, true, TLS_LEVEL_NONE,
		    CLEARTEXT_AVOIDS_EHLO },
		{ TLS_LEVEL_MAY, 0, 1, false, TLS_LEVEL_NONE,
		    CLEARTEXT_AVOIDS_HANDSHAKE },
		{ TLS_LEVEL_MAY, 1, 1, true, TLS_LEVEL_NONE,
		    CLEARTEXT_AVOIDS_EHLO },
		{ TLS_LEVEL_NONE, 1, 1, true, TLS_LEVEL_NONE, 0 },
		{ TLS_LEVEL_NONE, 0, 1, false, TLS_LEVEL_NONE, 0 },
		{ TLS_LEVEL_ENCRYPT, 1, 1, false, TLS_LEVEL_ENCRYPT, 0 },
		{ TLS_LEVEL_VERIFY, 1, 1, false, TLS_LEVEL_VERIFY, 0 },
		{ TLS_LEVEL_DANE, 1, 1, false, TLS_LEVEL_DANE, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct plan p = make_plan(1, cases[i].level);
		struct search s;

		addresses[0].noted[MEMORY_EHLO] = cases[i].ehlo;
		addresses[0].noted[MEMORY_TLS] = cases[i].tls;
		assert_int_equal(run(&s, &p, "R", -1), SEARCH_READY);
		if (world.mode.only_helo != cases[i].only_helo ||
		    world.mode.policy.level != cases[i].then ||
		    world.mode.cleartext.reason != cases[i].reason)
			fail_msg("case %zu", i);
		search_finish(&s);
	}
}

static void
begins(void *data, const struct attempt *a)
{
	assert_ptr_equal(data, &world);
	assert_int_equal(a->connect_ms, a->ip.byte[15]);
	say("begins", a->ip.byte[15]);
}

static void
has_ended(void *data, const struct attempt *a, enum attempt_result result,
    const struct server *server)
{
	assert_ptr_equal(data, &world);
	assert_int_equal(server->fd, 100 + a->ip.byte[15]);
	say(result == ATTEMPT_READY ? "ready" : "failed", a->ip.byte[15]);
}

static void
calls_the_observer_for_each_attempt(void **state)
{
	static const struct attempt_observer observer = { begins, NULL,
		has_ended, &world };
	static const struct search_config config = {
		.attempt = { .observer = &observer, .timeout_s = 1200 },
		.timeoutconnect = 60,
		.notes = 9,
		.helohosts = &no_names,
		.helohost = "me.example",
	};
	struct plan p = make_plan(2, TLS_LEVEL_MAY);
	struct search s = { .address = 0 };

	(void)state;
	memset(&world, 0, sizeof world);
	world.script = "NR";
	assert_int_equal(search_server(&s, &p, &config), SEARCH_READY);
	assert_string_equal(world.log,
	    "plan2 begins0 try0 failed0 begins1 try1 ready1");
	search_finish(&s);
}

static void
passes_on_all_that_is_known(void **state)
{
	struct plan p = make_plan(2, TLS_LEVEL_MAY);
	struct handoff h = { 0 };
	struct search s;

	(void)state;
	assert_int_equal(run(&s, &p, "NR", -1), SEARCH_READY);
	s.server.status = 5;
	s.server.helper = 6;
	s.history.attempt[1].cleartext.reason = CLEARTEXT_NO_REPLY;
	search_hand_over(&s, &h);
	assert_int_equal(h.fd, 101);
	assert_string_equal(h.address, "::1");
	assert_string_equal(h.host, "b");
	assert_non_null(strstr(h.extensions, "PIPELINING"));
	assert_string_equal(h.tls, "no reply to STARTTLS, sent in clear text");
	assert_int_equal(h.status, 5);
	assert_int_equal(h.helper, 6);
	assert_string_equal(h.before, "a (::): my name was rejected");
	assert_int_equal(h.helo, 0);
	search_finish(&s);
}

static void
passes_on_only_what_is_known(void **state)
{
	struct plan p = make_plan(1, TLS_LEVEL_MAY);
	struct handoff h = { 0 };
	struct search s;

	(void)state;
	hosts[0].is_literal = true;
	addresses[0].noted[MEMORY_PIPELINING] = 1;
	assert_int_equal(run(&s, &p, "R", -1), SEARCH_READY);
	search_hand_over(&s, &h);
	assert_null(h.host);
	assert_null(h.tls);
	assert_null(h.before);
	/* Commands one by one: caused by a note. */
	assert_true(h.extensions == NULL ||
		    strstr(h.extensions, "PIPELINING") == NULL);
	search_finish(&s);
}

/* Only a delivery without the note has found out that EHLO fails. */
static void
reports_that_helo_was_needed(void **state)
{
	struct plan p = make_plan(1, TLS_LEVEL_NONE);
	struct handoff h = { 0 };
	struct search s;

	(void)state;
	assert_int_equal(run(&s, &p, "R", -1), SEARCH_READY);
	s.history.attempt[0].used_helo = true;
	search_hand_over(&s, &h);
	assert_int_equal(h.helo, 1);
	search_finish(&s);
	addresses[0].noted[MEMORY_EHLO] = 1;
	assert_int_equal(run(&s, &p, "R", -1), SEARCH_READY);
	assert_true(s.history.attempt[0].used_helo);
	search_hand_over(&s, &h);
	assert_int_equal(h.helo, 0);
	search_finish(&s);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows_a_plan),
		cmocka_unit_test(prefers_tls_and_then_smtputf8),
		cmocka_unit_test(takes_a_server_without_smtputf8_as_it_was),
		cmocka_unit_test(needs_smtputf8_only_where_there_is_a_choice),
		cmocka_unit_test(does_not_go_back_when_the_time_is_over),
		cmocka_unit_test(tries_the_second_pass_in_clear_text),
		cmocka_unit_test(asks_the_gate_in_both_passes),
		cmocka_unit_test(knows_how_the_server_was_reached),
		cmocka_unit_test(knows_of_better_hosts_without_an_address),
		cmocka_unit_test(tells_what_failed_so_far),
		cmocka_unit_test(chooses_our_name),
		cmocka_unit_test(avoids_what_failed_before),
		cmocka_unit_test(notes_our_own_address_if_it_is_wanted),
		cmocka_unit_test(calls_the_observer_for_each_attempt),
		cmocka_unit_test(passes_on_all_that_is_known),
		cmocka_unit_test(passes_on_only_what_is_known),
		cmocka_unit_test(reports_that_helo_was_needed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
