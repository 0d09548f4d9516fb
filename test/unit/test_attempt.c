/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "attempt_stage.h"

static void
makes_a_server_ready_in_clear_text(void **state)
{
	static const struct cell cells[] = {
		{ NONE, 0, "g+ e+", "", ATTEMPT_READY, "", "", "", "" },
		{ NONE, 0, "g+ e+tls", "", ATTEMPT_READY, "", "", "", "" },
		{ MAY, 0, "g+ e+", "", ATTEMPT_READY, "", "", "", "" },
		{ NONE, 1, "g+ h+", "", ATTEMPT_READY, "", "", "", "" },
		/* HELO if EHLO is refused. */
		{ NONE, 0, "g+ e-500 h+", "", ATTEMPT_READY, "", "", "", "" },
		{ MAY, 0, "g+ e-550 h+", "", ATTEMPT_READY, "", "", "", "" },
		/* STARTTLS is refused, and the session goes on. */
		{ MAY, 0, "g+ e+tls s-454", "", ATTEMPT_READY, "", "",
		    "STARTTLS refused (454), sent in clear text", "" },
		{ MAY, 0, "g+ e+tls s-501", "", ATTEMPT_READY, "", "",
		    "STARTTLS refused (501), sent in clear text", "" },
	};

	(void)state;
	check(cells, sizeof cells / sizeof *cells);
}

static void
reports_what_failed_in_clear_text(void **state)
{
	static const struct cell cells[] = {
		{ NONE, 0, "gx", "", ATTEMPT_NEXT, "died", "", "", "close100" },
		{ NONE, 0, "g-554", "", ATTEMPT_NEXT, "greeting", "554", "",
		    "quit close100" },
		{ NONE, 0, "g!", "", ATTEMPT_NEXT, "greeting", "", "",
		    "close100" },
		{ NONE, 0, "gm", "", ATTEMPT_LOCAL, "memory", "", "",
		    "close100" },
		/* EHLO. */
		{ NONE, 0, "g+ e-421", "", ATTEMPT_NEXT, "hello", "421", "",
		    "quit close100" },
		{ NONE, 0, "g+ e^220", "", ATTEMPT_NEXT, "hello", "220", "",
		    "close100" },
		{ NONE, 0, "g+ ex", "", ATTEMPT_AGAIN, "died", "", "",
		    "close100" },
		{ NONE, 0, "g+ e!", "", ATTEMPT_AGAIN, "hello", "", "",
		    "close100" },
		{ NONE, 0, "g+ em", "", ATTEMPT_LOCAL, "memory", "", "",
		    "close100" },
		/* HELO on the same connection. */
		{ NONE, 0, "g+ e-500 h-550", "", ATTEMPT_NEXT, "hello", "550",
		    "", "quit close100" },
		{ NONE, 0, "g+ e-500 hx", "", ATTEMPT_AGAIN, "hello", "500", "",
		    "close100" },
		{ NONE, 0, "g+ e-500 h!", "", ATTEMPT_AGAIN, "hello", "", "",
		    "close100" },
		{ NONE, 0, "g+ e-500 hm", "", ATTEMPT_LOCAL, "memory", "", "",
		    "close100" },
		/* HELO on another connection. */
		{ NONE, 1, "g+ h-500", "", ATTEMPT_NEXT, "hello", "500", "",
		    "quit close100" },
		{ NONE, 1, "g+ hx", "", ATTEMPT_NEXT, "died", "", "",
		    "close100" },
		/* Before MAIL. */
		{ NONE, 0, "g+ e+", "late", ATTEMPT_NEXT, "hello", "421", "",
		    "close100" },
		{ NONE, 0, "g+ e+", "half", ATTEMPT_NEXT, "hello", "421", "",
		    "close100" },
		{ NONE, 0, "g+ e+", "gone", ATTEMPT_NEXT, "died", "", "",
		    "close100" },
	};

	(void)state;
	check(cells, sizeof cells / sizeof *cells);
}

static void
requires_tls(void **state)
{
	static const struct cell cells[] = {
		{ MUST, 0, "g+ e+", "", ATTEMPT_NO_TLS, "not offered", "", "",
		    "quit close100" },
		{ PROVE, 0, "g+ e+", "", ATTEMPT_NEXT, "not offered", "", "",
		    "quit close100" },
		/* There is no TLS with HELO. */
		{ MUST, 0, "g+ e-500", "", ATTEMPT_NO_TLS, "hello", "500", "",
		    "quit close100" },
		{ PROVE, 0, "g+ e-500", "", ATTEMPT_NEXT, "hello", "500", "",
		    "quit close100" },
		{ MUST, 0, "g+ ex", "", ATTEMPT_NO_TLS, "died", "", "",
		    "close100" },
		{ MUST, 0, "g+ e-421", "", ATTEMPT_NEXT, "hello", "421", "",
		    "quit close100" },
		{ MUST, 0, "g+ e+tls s-454", "", ATTEMPT_NO_TLS, "starttls",
		    "454", "", "quit close100" },
		{ PROVE, 0, "g+ e+tls s-454", "", ATTEMPT_NEXT, "starttls",
		    "454", "", "quit close100" },
		{ MUST, 0, "g+ e+tls s+ t-", "", ATTEMPT_NO_TLS, "tls", "",
		    "no cipher", "" },
		{ PROVE, 0, "g+ e+tls s+ t-", "", ATTEMPT_NEXT, "tls", "",
		    "no cipher", "" },
		{ MUST, 0, "g+ e+tls s+ t+ e-550 h-550", "", ATTEMPT_NO_TLS,
		    "hello", "550", HANDSHAKE, "quit close101 close102" },
	};

	(void)state;
	check(cells, sizeof cells / sizeof *cells);
}

static void
starts_tls(void **state)
{
	static const struct cell cells[] = {
		{ MAY, 0, "g+ e+tls s+ t+ e+", "", ATTEMPT_READY, "", "",
		    HANDSHAKE, "" },
		{ PROVE, 0, "g+ e+tls s+ t+ e+", "", ATTEMPT_READY, "", "",
		    HANDSHAKE, "" },
		{ MAY, 0, "g+ e+tls s+ t+ e-500 h+", "", ATTEMPT_READY, "", "",
		    HANDSHAKE, "" },
		/* Then the server closes, or sends something unsolicited. */
		{ MAY, 0, "g+ e+tls s+ t+ e+", "gone", ATTEMPT_NEXT, "died", "",
		    "", "close101 close102" },
		{ MAY, 0, "g+ e+tls s+ t+ e+", "late", ATTEMPT_NEXT, "hello",
		    "421", HANDSHAKE, "close101 close102" },
		/* STARTTLS. */
		{ MAY, 0, "g+ e+tls sx", "", ATTEMPT_AGAIN, "died", "", "",
		    "close100" },
		{ MAY, 0, "g+ e+tls s!", "", ATTEMPT_AGAIN, "starttls", "", "",
		    "close100" },
		{ MAY, 0, "g+ e+tls s^220", "", ATTEMPT_NEXT, "starttls", "220",
		    "", "close100" },
		{ MAY, 0, "g+ e+tls sm", "", ATTEMPT_LOCAL, "memory", "", "",
		    "close100" },
		{ MAY, 0, "g+ e+tls s-421", "", ATTEMPT_AGAIN, "starttls",
		    "421", "", "quit close100" },
		{ MAY, 0, "g+ e+tls s-554", "", ATTEMPT_AGAIN, "starttls",
		    "554", "", "quit close100" },
		{ MAY, 0, "g+ e+tls s-250", "", ATTEMPT_AGAIN, "starttls",
		    "250", "", "quit close100" },
		{ MAY, 0, "g+ e+tls s-454", "hangs", ATTEMPT_AGAIN, "starttls",
		    "454", "", "quit close100" },
		/* The handshake. */
		{ MAY, 0, "g+ e+tls s+ t-", "", ATTEMPT_AGAIN, "tls", "",
		    "no cipher", "" },
		{ MAY, 0, "g+ e+tls s+ t~", "", ATTEMPT_AGAIN, "tls", "",
		    "timed out", "" },
		{ MAY, 0, "g+ e+tls s+ tm", "", ATTEMPT_LOCAL, "setup", "",
		    "no cipher", "" },
		/* EHLO in TLS. */
		{ MAY, 0, "g+ e+tls s+ t+", "early", ATTEMPT_AGAIN, "hello",
		    "421", HANDSHAKE, "close101 close102" },
		{ MAY, 0, "g+ e+tls s+ t+ e-421", "", ATTEMPT_AGAIN, "hello",
		    "421", HANDSHAKE, "quit close101 close102" },
		{ MAY, 0, "g+ e+tls s+ t+ e!", "", ATTEMPT_AGAIN, "hello", "",
		    HANDSHAKE, "close101 close102" },
		{ MAY, 0, "g+ e+tls s+ t+ e^250", "", ATTEMPT_NEXT, "hello",
		    "250", HANDSHAKE, "close101 close102" },
		{ MAY, 0, "g+ e+tls s+ t+ e-500 h^500", "", ATTEMPT_AGAIN,
		    "hello", "500", HANDSHAKE, "close101 close102" },
		/* The session ends instead. */
		{ MAY, 0, "g+ e+tls s+ t+ ex", "silent", ATTEMPT_AGAIN, "tls",
		    "", "no reply to EHLO after the handshake", "stop101" },
		{ MAY, 0, "g+ e+tls s+ t+ ex", "server", ATTEMPT_AGAIN, "tls",
		    "", DIED_AFTER "closed by the server", "stop101" },
		{ MAY, 0, "g+ e+tls s+ t+ ex", "broken", ATTEMPT_AGAIN, "tls",
		    "", DIED_AFTER "why", "stop101" },
		{ MAY, 0, "g+ e+tls s+ t+ ex", "local", ATTEMPT_LOCAL, "setup",
		    "", "why", "stop101" },
		{ MAY, 0, "g+ e+tls s+ t+ ex", "nobody", ATTEMPT_LOCAL, "setup",
		    "", "why", "stop101" },
		{ MAY, 0, "g+ e+tls s+ t+ em", "", ATTEMPT_LOCAL, "setup", "",
		    "out of memory", "stop101" },
	};

	(void)state;
	check(cells, sizeof cells / sizeof *cells);
}

/* How to use the next connection to the address. */
static void
decides_how_to_try_again(void **state)
{
	static const struct {
		const char *script;
		bool only_helo;
		enum tls_level level;
		const char *tls;
	} cases[] = {
		{ "g+ ex", true, MAY, "" },
		{ "g+ e!", true, MAY, "" },
		{ "g+ e-500 hx", true, MAY, "" },
		{ "g+ e+tls sx", false, NONE, "no reply to STARTTLS" },
		{ "g+ e+tls s!", false, NONE, "no valid reply to STARTTLS" },
		{ "g+ e+tls s-554", false, NONE, "STARTTLS refused (554)" },
		{ "g+ e+tls s+ t-", false, NONE,
		    "handshake failed (no cipher)" },
		{ "g+ e+tls s+ t+ e-500 h-500", false, NONE,
		    "EHLO refused after the handshake (500)" },
		{ "g+ e+tls s+ t+ e!", false, NONE,
		    "no valid reply to EHLO after the handshake" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct cell c = { .level = MAY,
			.script = cases[i].script,
			.seen = "",
			.result = ATTEMPT_AGAIN };
		char tls[TLS_SENTENCE_SIZE];
		struct attempt_mode mode;
		struct server server;
		struct attempt a;

		run(&c, &mode, &a, &server);
		cleartext_describe(&mode.cleartext, false, tls);
		if (mode.only_helo != cases[i].only_helo ||
		    mode.policy.level != cases[i].level ||
		    strcmp(tls, cases[i].tls) != 0)
			fail_msg("%s: HELO %d, level %d, %s", c.script,
			    mode.only_helo, mode.policy.level, tls);
		attempt_finish(&a);
	}
}

static void
fills_the_server_when_ready(void **state)
{
	static const struct cell in_clear = { MAY, 0, "g+ e+", "",
		ATTEMPT_READY, "", "", "", "" };
	static const struct cell in_tls = { MAY, 0, "g+ e+tls s+ t+ e+tls", "",
		ATTEMPT_READY, "", "", "", "" };
	struct attempt_mode mode;
	struct server server;
	struct attempt a;

	(void)state;
	run(&in_clear, &mode, &a, &server);
	assert_int_equal(server.fd, CONNECTION);
	assert_int_equal(server.status, 0);
	assert_int_equal(server.helper, 0);
	assert_int_equal(server.ehlo.extensions, 0);
	run(&in_tls, &mode, &a, &server);
	assert_int_equal(server.fd, CLEAR);
	assert_int_equal(server.status, STATUS);
	assert_int_equal(server.helper, 7);
	assert_int_equal(server.ehlo.extensions, SMTP_EXT_STARTTLS);
}

/* Lines without a code are reported; a part of a reply is not. */
static void
keeps_lines_without_a_code_when_the_connection_dies(void **state)
{
	static struct smtp_session session;
	struct attempt a = { 0 };
	struct work w = { .session = &session, .attempt = &a };

	(void)state;
	strcpy(session.reply.text, "Go away\n");
	session.reply.len = 8;
	session.reply.size = 9;
	set_died(&w);
	assert_int_equal(a.nreply, 8);
	assert_memory_equal(a.reply, "Go away\n", 8);
	session.reply.code = 220;
	session.reply.lines = 1;
	set_died(&w);
	assert_null(a.reply);
}

/* Phases as their replies, and whether there are facts. */
static void
phase_has_ended(void *data, const struct attempt *a, const char *reply,
    size_t n, const struct tls_facts *facts)
{
	char text[40];

	assert_ptr_equal(data, &world);
	snprintf(text, sizeof text, "%d:%.*s%s", a->phase, n < 3 ? (int)n : 3,
	    reply, facts && facts->is_known[TLS_FACT_ISSUER] ? "facts" : "");
	say(text, 0);
}

static void
calls_the_observer_after_each_phase(void **state)
{
	static const struct attempt_observer observer = {
		.phase_has_ended = phase_has_ended,
		.data = &world,
	};
	static const struct {
		enum tls_level level;
		const char *anchors, *script, *log;
	} cases[] = {
		{ MAY, "/anchors", "g+ e+tls s+ t+ e+",
		    "0:250 1:250 2:250 anchors 3:facts 5:250" },
		{ MAY, "", "g+ e+tls s+ t+ e+",
		    "0:250 1:250 2:250 no-anchors 3:facts 5:250" },
		{ PROVE, "/anchors", "g+ e+tls s+ t-",
		    "0:250 1:250 2:250 anchors 3:facts" },
		{ MAY, "/anchors", "g+ e-500 h+", "0:250 1:500 1:250" },
		{ MAY, "/anchors", "g+ e+tls s-454", "0:250 1:250 2:454" },
		{ NONE, "/anchors", "gx", "0: close100" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct attempt_config c = config;
		struct attempt_mode mode = {
			.policy = { .level = cases[i].level,
			    .name = "mx.example" },
		};
		struct attempt a = { .helohost = "me.example" };
		static struct smtp_session session;
		struct server server;

		c.observer = &observer;
		c.anchors = cases[i].anchors;
		memset(&world, 0, sizeof world);
		world.script = cases[i].script;
		world.seen = "";
		(void)attempt_make(&c, &session, &mode, CONNECTION, &a,
		    &server);
		if (strcmp(world.log, cases[i].log) != 0)
			fail_msg("case %zu: %s", i, world.log);
		attempt_finish(&a);
	}
}

/*
 * Where the envelope needs SMTPUTF8, that is asked last: whatever else is wrong
 * with a server counts before it.  What was offered before TLS does not count.
 */
static void
leaves_a_server_without_smtputf8(void **state)
{
	static const struct cell cells[] = {
		{ NONE, 0, "g+ e+utf8", "", ATTEMPT_READY, "", "", "", "" },
		{ NONE, 0, "g+ e+", "", ATTEMPT_NO_SMTPUTF8, "utf8", "", "",
		    "quit close100" },
		{ NONE, 1, "g+ h+", "", ATTEMPT_NO_SMTPUTF8, "utf8", "", "",
		    "quit close100" },
		{ NONE, 0, "g+ e+", "late", ATTEMPT_NEXT, "hello", "421", "",
		    "close100" },
		{ NONE, 0, "g-554", "", ATTEMPT_NEXT, "greeting", "554", "",
		    "quit close100" },
		{ MAY, 0, "g+ e+tls s+ t+ e+utf8", "", ATTEMPT_READY, "", "",
		    HANDSHAKE, "" },
		{ MAY, 0, "g+ e+tls,utf8 s+ t+ e+", "", ATTEMPT_NO_SMTPUTF8,
		    "utf8", "", HANDSHAKE, "quit close101 close102" },
		{ MAY, 0, "g+ e+tls s-454", "", ATTEMPT_NO_SMTPUTF8, "utf8", "",
		    "STARTTLS refused (454)", "quit close100" },
		{ MAY, 0, "g+ e+tls s+ t-", "", ATTEMPT_AGAIN, "tls", "",
		    "no cipher", "" },
		{ MUST, 0, "g+ e+", "", ATTEMPT_NO_TLS, "not offered", "", "",
		    "quit close100" },
		{ MUST, 0, "g+ e+utf8", "", ATTEMPT_NO_TLS, "not offered", "",
		    "", "quit close100" },
		{ MUST, 0, "g+ e+tls s+ t+ e+", "", ATTEMPT_NO_SMTPUTF8, "utf8",
		    "", HANDSHAKE, "quit close101 close102" },
		{ PROVE, 0, "g+ e+utf8", "", ATTEMPT_NEXT, "not offered", "",
		    "", "quit close100" },
	};

	(void)state;
	needs_smtputf8 = true;
	check(cells, sizeof cells / sizeof *cells);
	needs_smtputf8 = false;
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_a_server_ready_in_clear_text),
		cmocka_unit_test(reports_what_failed_in_clear_text),
		cmocka_unit_test(requires_tls),
		cmocka_unit_test(starts_tls),
		cmocka_unit_test(decides_how_to_try_again),
		cmocka_unit_test(fills_the_server_when_ready),
		cmocka_unit_test(
		    keeps_lines_without_a_code_when_the_connection_dies),
		cmocka_unit_test(calls_the_observer_after_each_phase),
		cmocka_unit_test(leaves_a_server_without_smtputf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
