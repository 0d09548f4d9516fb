/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "attempt_stage.h"

/*
 * Implicit TLS, and AUTH.
 */

#define IN_TLS "TLSv1.3 X, certificate verified for mx.example"

/* What a server of port 465 is asked; nothing of it is in clear text. */
#define IMPLICIT(l) NAMED(l, TLS_FROM_STRICTNESS), .is_implicit = true

static const struct policy_cell implicit[] = {
	{ { IMPLICIT(MUST) }, "t+ g+ e+", NULL, ATTEMPT_READY, "", "1",
	    HANDSHAKE, "" },
	{ { IMPLICIT(PROVE) }, "t+pkix g+ e+", NULL, ATTEMPT_READY, "",
	    "2 anchors=/anchors", IN_TLS, "" },
	/* STARTTLS is not sent, even if it is offered there. */
	{ { IMPLICIT(MUST) }, "t+ g+ e+tls", NULL, ATTEMPT_READY, "", "1",
	    HANDSHAKE, "" },
	{ { IMPLICIT(MUST) }, "t+ g+ e-500 h+", NULL, ATTEMPT_READY, "", "1",
	    HANDSHAKE, "" },
	/* After any failure the next address is tried, never clear text. */
	{ { IMPLICIT(MUST) }, "t-", NULL, ATTEMPT_NEXT, "tls", "1", "no cipher",
	    "" },
	{ { NAMED(MUST, TLS_FROM_STS_TESTING), .is_implicit = true }, "t~",
	    NULL, ATTEMPT_NEXT, "tls", "1 anchors=/anchors accept", "timed out",
	    "anchors" },
	{ { IMPLICIT(MUST) }, "tm", NULL, ATTEMPT_LOCAL, "setup", "1",
	    "no cipher", "" },
	{ { IMPLICIT(MUST) }, "t+ gx", NULL, ATTEMPT_NEXT, "tls", "1",
	    DIED_AFTER "closed by the server", "stop101" },
	{ { IMPLICIT(MUST) }, "t+ g-554", NULL, ATTEMPT_NEXT, "greeting", "1",
	    HANDSHAKE, "quit close101 close102" },
	{ { IMPLICIT(MUST) }, "t+ g!", NULL, ATTEMPT_NEXT, "greeting", "1",
	    HANDSHAKE, "close101 close102" },
	{ { IMPLICIT(MUST) }, "t+ g+ ex", NULL, ATTEMPT_NEXT, "tls", "1",
	    DIED_AFTER "closed by the server", "stop101" },
	{ { IMPLICIT(MUST) }, "t+ g+ e-500 h-500", NULL, ATTEMPT_NEXT, "hello",
	    "1", HANDSHAKE, "quit close101 close102" },
	{ { IMPLICIT(MUST) }, "t+ g+ e-421", NULL, ATTEMPT_NEXT, "hello", "1",
	    HANDSHAKE, "quit close101 close102" },
};

static void
speaks_tls_from_the_first_byte(void **state)
{
	(void)state;
	check_policies(implicit, sizeof implicit / sizeof *implicit);
}

struct auth_cell {
	struct tls_policy policy;
	enum credentials_kind kind;
	const char *script, *seen;
	enum attempt_result result;
	const char *failure, *reply, *tls, *log;
};

#define PASSWORD CREDENTIALS_PASSWORD
#define TOKEN CREDENTIALS_TOKEN
#define VERIFIED \
	{ \
		NAMED(PROVE, TLS_FROM_STRICTNESS) \
	}
#define VERIFIED_AT_ONCE \
	{ \
		IMPLICIT(PROVE) \
	}
/* Up to EHLO in TLS. */
#define UP_TO_AUTH UP_TO_TLS "t+pkix "

static const struct auth_cell auth_cells[] = {
	{ VERIFIED, PASSWORD, UP_TO_AUTH "e+plain a+", "", ATTEMPT_READY, "",
	    "", IN_TLS, "" },
	{ VERIFIED, TOKEN, UP_TO_AUTH "e+xoauth2 a+", "", ATTEMPT_READY, "", "",
	    IN_TLS, "" },
	{ DANE(OR_VERIFY), PASSWORD, UP_TO_TLS "t+dane e+plain a+", "",
	    ATTEMPT_READY, "", "", "TLSv1.3 X, DANE (3 1 1)", "" },
	{ { NAMED(MUST, TLS_FROM_RULE) }, PASSWORD, UP_TO_TLS "t+ e+plain a+",
	    "", ATTEMPT_READY, "", "", HANDSHAKE, "" },
	/* Only a line of encrypt lets them go to anybody. */
	{ { NAMED(MUST, TLS_FROM_STRICTNESS) }, PASSWORD, UP_TO_TLS "t+ e+", "",
	    ATTEMPT_NO_TLS, "tls", "",
	    "the server is not verified, and does not get the credentials",
	    "stop101" },
	{ { NAMED(MUST, TLS_FROM_HOSTFILE) }, PASSWORD, UP_TO_TLS "t+ e+plain",
	    "", ATTEMPT_NEXT, "tls", "",
	    "the server is not verified, and does not get the credentials",
	    "stop101" },
	{ DANE(OR_ENCRYPT), PASSWORD, UP_TO_TLS "t+unusable e+plain", "",
	    ATTEMPT_NEXT, "tls", "",
	    "the server is not verified, and does not get the credentials",
	    "stop101" },
	/* Without TLS they are not sent, and no mail. */
	{ VERIFIED, PASSWORD, "g+ e+plain", "", ATTEMPT_NEXT, "not offered", "",
	    "", "quit close100" },
	{ VERIFIED, PASSWORD, "g+ e+tls s-454", "", ATTEMPT_NEXT, "starttls",
	    "454 *\n", "", "quit close100" },
	/* There is no mechanism; the reply to EHLO is shown. */
	{ VERIFIED, PASSWORD, UP_TO_AUTH "e+", "", ATTEMPT_NEXT, "no AUTH",
	    "250 *\n", IN_TLS, "quit close101 close102" },
	{ VERIFIED, PASSWORD, UP_TO_AUTH "e-500 h+", "", ATTEMPT_NEXT,
	    "no AUTH", "250 *\n", IN_TLS, "quit close101 close102" },
	{ VERIFIED, TOKEN, UP_TO_AUTH "e+other", "", ATTEMPT_NEXT,
	    "no mechanism", "250 *\n", IN_TLS, "quit close101 close102" },
	{ VERIFIED, PASSWORD, UP_TO_AUTH "e+xoauth2", "", ATTEMPT_NEXT,
	    "token wanted", "250 *\n", IN_TLS, "quit close101 close102" },
	{ VERIFIED, TOKEN, UP_TO_AUTH "e+plain", "", ATTEMPT_NEXT,
	    "password wanted", "250 *\n", IN_TLS, "quit close101 close102" },
	/* A definite refusal ends the delivery. */
	{ VERIFIED, PASSWORD, UP_TO_AUTH "e+plain a-535", "", ATTEMPT_LOCAL,
	    "credentials", "535 *\n", IN_TLS, "quit close101 close102" },
	{ VERIFIED, PASSWORD, UP_TO_AUTH "e+plain a-534", "", ATTEMPT_LOCAL,
	    "credentials", "534 *\n", IN_TLS, "quit close101 close102" },
	{ VERIFIED, TOKEN, UP_TO_AUTH "e+xoauth2 a-530", "", ATTEMPT_LOCAL,
	    "credentials", "530 *\n", IN_TLS, "quit close101 close102" },
	/* After any other failure the next address is tried. */
	{ VERIFIED, PASSWORD, UP_TO_AUTH "e+plain a-454", "", ATTEMPT_NEXT,
	    "auth", "454 *\n", IN_TLS, "quit close101 close102" },
	{ VERIFIED, PASSWORD, UP_TO_AUTH "e+plain a-421", "", ATTEMPT_NEXT,
	    "auth", "421 *\n", IN_TLS, "quit close101 close102" },
	{ VERIFIED, PASSWORD, UP_TO_AUTH "e+plain a!334", "", ATTEMPT_NEXT,
	    "auth", "334 *\n", IN_TLS, "close101 close102" },
	{ VERIFIED, PASSWORD, UP_TO_AUTH "e+plain ax", "server", ATTEMPT_NEXT,
	    "died", "", "", "close101 close102" },
	{ VERIFIED, PASSWORD, UP_TO_AUTH "e+plain ax", "silent", ATTEMPT_NEXT,
	    "died", "", "", "close101 close102" },
	/* But not if it is our own. */
	{ VERIFIED, PASSWORD, UP_TO_AUTH "e+plain ax", "nobody", ATTEMPT_LOCAL,
	    "setup", "", "why", "stop101" },
	{ VERIFIED, PASSWORD, UP_TO_AUTH "e+plain am", "", ATTEMPT_LOCAL,
	    "setup", "", "out of memory", "stop101" },
	/* Before MAIL. */
	{ VERIFIED, PASSWORD, UP_TO_AUTH "e+plain a+", "late", ATTEMPT_NEXT,
	    "hello", "421 *\n", IN_TLS, "close101 close102" },
	{ VERIFIED, PASSWORD, UP_TO_AUTH "e+plain a+", "gone", ATTEMPT_NEXT,
	    "died", "", "", "close101 close102" },
};

/* The secret is what the fake servers say. */
static void
use_credentials(struct credentials *c, enum credentials_kind kind)
{
	*c = (struct credentials){ .kind = kind };
	buf_puts(&c->user, "user.example");
	buf_puts(&c->secret, "text");
	config.credentials = c;
}

static void
check_auth_cell(const struct auth_cell *c, size_t number)
{
	static struct smtp_session session;
	struct attempt_mode mode = { .policy = c->policy };
	struct attempt a = { .helohost = "me.example" };
	enum attempt_result result;
	char tls[TLS_SENTENCE_SIZE];
	struct server server;

	memset(&world, 0, sizeof world);
	world.script = c->script;
	world.seen = c->seen;
	result =
	    attempt_make(&config, &session, &mode, CONNECTION, &a, &server);
	attempt_describe_tls(&a, tls);
	if (result != c->result || *world.script != '\0' ||
	    strcmp(failures[a.cause], c->failure) != 0)
		fail_msg("%zu %s: %d, %s, not done: %s", number, c->script,
		    result, failures[a.cause], world.script);
	if (a.nreply != strlen(c->reply) ||
	    memcmp(a.reply ? a.reply : "", c->reply, a.nreply) != 0)
		fail_msg("%zu %s: reply %.*s", number, c->script, (int)a.nreply,
		    a.reply ? a.reply : "");
	if (strcmp(tls, c->tls) != 0 || strcmp(world.log, c->log) != 0)
		fail_msg("%zu %s: TLS: %s, %s", number, c->script, tls,
		    world.log);
	assert_int_equal(a.is_local, result == ATTEMPT_LOCAL);
	assert_int_equal(a.mechanism != 0, strstr(c->script, " a") != NULL);
	if (result == ATTEMPT_READY) {
		assert_int_equal(server.status, STATUS);
		assert_int_equal(server.helper, 7);
	}
	attempt_finish(&a);
}

/* Whatever has let it come so far. */
static void
gives_no_credentials_without_tls(void **state)
{
	struct attempt_mode mode = {
		.policy = { .level = MUST, .source = TLS_FROM_RULE },
	};
	struct attempt a = { .tls.status = TLS_STATUS_NONE };
	const struct work w = { .mode = &mode, .attempt = &a };

	(void)state;
	assert_false(may_have_credentials(&w));
	a.tls.status = TLS_STATUS_FAILED;
	assert_false(may_have_credentials(&w));
	a.tls.status = TLS_STATUS_READY;
	assert_true(may_have_credentials(&w));
}

static void
authenticates_in_tls(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof auth_cells / sizeof *auth_cells; i++) {
		struct credentials c;

		use_credentials(&c, auth_cells[i].kind);
		check_auth_cell(&auth_cells[i], i);
		config.credentials = NULL;
		credentials_finish(&c);
	}
}

/* The same, and in the order of port 465. */
static void
authenticates_in_implicit_tls(void **state)
{
	static const struct auth_cell cells[] = {
		{ VERIFIED_AT_ONCE, PASSWORD, "t+pkix g+ e+plain a+", "",
		    ATTEMPT_READY, "", "", IN_TLS, "" },
		{ VERIFIED_AT_ONCE, PASSWORD, "t+pkix g+ e+plain a-535", "",
		    ATTEMPT_LOCAL, "credentials", "535 *\n", IN_TLS,
		    "quit close101 close102" },
		/* A server that stays silent in place of a greeting. */
		{ VERIFIED_AT_ONCE, PASSWORD, "t+pkix gx", "silent",
		    ATTEMPT_NEXT, "tls", "", "no greeting after the handshake",
		    "stop101" },
		{ VERIFIED_AT_ONCE, PASSWORD, "t-", "", ATTEMPT_NEXT, "tls", "",
		    "no cipher", "" },
	};
	struct credentials c;

	(void)state;
	use_credentials(&c, PASSWORD);
	for (size_t i = 0; i < sizeof cells / sizeof *cells; i++)
		check_auth_cell(&cells[i], i);
	config.credentials = NULL;
	credentials_finish(&c);
}

static void
hear_whole_reply(void *data, const struct attempt *a, const char *reply,
    size_t n, const struct tls_facts *facts)
{
	char text[40];

	(void)data;
	(void)facts;
	snprintf(text, sizeof text, "%d:%.*s", a->phase, (int)(n ? n - 1 : 0),
	    reply);
	say(text, 0);
}

static void
tells_the_observer_no_secret(void **state)
{
	static const struct attempt_observer observer = {
		.phase_has_ended = hear_whole_reply,
	};
	static struct smtp_session session;
	struct attempt_mode mode = { .policy = VERIFIED_AT_ONCE };
	struct attempt a = { .helohost = "me.example" };
	struct credentials c;
	struct server server;

	(void)state;
	use_credentials(&c, PASSWORD);
	config.observer = &observer;
	memset(&world, 0, sizeof world);
	world.script = "t+pkix g+ e+plain a-535";
	world.seen = "";
	(void)attempt_make(&config, &session, &mode, CONNECTION, &a, &server);
	assert_string_equal(world.log,
	    "anchors 3: 4:250 * 5:250 * 6:535 * quit close101 close102");
	config.observer = NULL;
	config.credentials = NULL;
	attempt_finish(&a);
	credentials_finish(&c);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(speaks_tls_from_the_first_byte),
		cmocka_unit_test(gives_no_credentials_without_tls),
		cmocka_unit_test(authenticates_in_tls),
		cmocka_unit_test(authenticates_in_implicit_tls),
		cmocka_unit_test(tells_the_observer_no_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
