/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "smtp/auth.h"
#include "smtp/session.h"
#include "tls/helper.h"

/* Fakes of the session, the helper and close(). */
static void fake_init(struct smtp_session *, int, unsigned long);
static enum smtp_outcome fake_greeting(struct smtp_session *);
static enum smtp_outcome fake_ehlo(struct smtp_session *, const char *);
static enum smtp_outcome fake_helo(struct smtp_session *, const char *);
static enum smtp_outcome fake_send_starttls(struct smtp_session *,
    struct deadline);
static enum smtp_outcome fake_starttls_reply(struct smtp_session *,
    struct deadline);
static enum smtp_outcome fake_silence(struct smtp_session *);
static enum smtp_outcome fake_unsolicited(struct smtp_session *);
static enum smtp_outcome fake_auth(struct smtp_session *, enum smtp_mechanism,
    const struct credentials *);
static void fake_quit(struct smtp_session *);
static bool fake_lacks_memory(const struct smtp_session *);
static bool fake_is_within_line(const struct smtp_session *);
static bool fake_has_ended(struct smtp_session *);
static bool fake_has_input(struct stream *);
static bool fake_is_quiet(struct stream *);
static struct tls_start fake_start(const struct tls_helper *, int);
static struct tls_start fake_prepare(const struct tls_helper *, int);
static void fake_handshake(const struct tls_helper *, struct tls_start *, int);
static enum tls_end fake_end(int, pid_t, char[TLS_TEXT_SIZE]);
static void fake_stop(struct tls_start *);
static int fake_close(int);

#define smtp_session_init fake_init
#define smtp_session_greeting fake_greeting
#define smtp_session_ehlo fake_ehlo
#define smtp_session_helo fake_helo
#define smtp_session_send_starttls fake_send_starttls
#define smtp_session_starttls_reply fake_starttls_reply
#define smtp_session_expect_silence fake_silence
#define smtp_session_show_unsolicited fake_unsolicited
#define smtp_auth fake_auth
#define smtp_session_quit fake_quit
#define smtp_session_lacks_memory fake_lacks_memory
#define smtp_session_is_within_line fake_is_within_line
#define smtp_session_has_ended fake_has_ended
#define stream_has_input fake_has_input
#define stream_is_quiet fake_is_quiet
#define tls_helper_start fake_start
#define tls_helper_prepare fake_prepare
#define tls_helper_handshake fake_handshake
#define tls_helper_end fake_end
#define tls_helper_stop fake_stop
#define close fake_close
#include "delivery/attempt.c"
#include "delivery/handshake.c"

#define CONNECTION 100
#define CLEAR 101  /* clear text, from the helper */
#define STATUS 102 /* its status pipe */

/*
 * What the server does, one word for each step, in the order of the steps:
 *	g greeting, e EHLO, h HELO, s STARTTLS, t handshake, a AUTH
 * and after the letter, with the reply's code if there is one:
 *	+ success (e+tls: STARTTLS is offered; e+utf8: SMTPUTF8;
 *	e+tls,utf8: both; e+plain, e+xoauth2, e+other:
 *	AUTH with this mechanism, or one that we do not know), - refused, !
 *malformed, ^ unsolicited, x no reply, m no reply because we have no memory For
 *a handshake: + done, - failed, ~ timed out, m failed because of us; and after
 *+ how the certificate was verified: pkix, dane, unusable (no TLSA record is),
 *unusable-pkix.  Then words for input that does not follow a command: early
 *input before EHLO in TLS late    an unsolicited reply before MAIL gone    the
 *connection is closed before MAIL half    half a line has come before MAIL
 *hangs   more input, or the end, follows a refusal of STARTTLS silent  no reply
 *to EHLO in TLS, on an open connection server, broken, local, nobody   the
 *helper's record of the end
 */
static struct {
	const char *script; /* the words not played yet */
	const char *seen;
	char log[200]; /* records quit, stop, and closed descriptors */
	bool lacks_memory;
	char helper[200];    /* what the helper is to verify, if it is used */
	const char *verdict; /* a fact that it tells, or NULL */
	bool has_sent_starttls; /* and the reply is under way */
	bool waits;             /* a helper, for its connection */
} world;

static void
say(const char *what, int fd)
{
	size_t n = strlen(world.log);
	char number[12] = "";

	if (fd > 0)
		snprintf(number, sizeof number, "%d", fd);
	snprintf(world.log + n, sizeof world.log - n, "%s%s%s", n ? " " : "",
	    what, number);
}

static bool
sees(const char *word)
{
	return strstr(world.seen, word) != NULL;
}

/* The next word of the script, which must be for this step. */
static const char *
next(char step)
{
	const char *word = world.script;

	if (*word != step)
		fail_msg("%c where the script has: %s", step, word);
	world.script += strcspn(word, " ");
	world.script += *world.script == ' ';
	return word + 1;
}

static void
set_reply(struct smtp_session *s, const char *code)
{
	smtp_reply_reset(&s->reply);
	if (*code == '\0' || *code == ' ')
		return;
	s->reply.code = atoi(code);
	s->reply.len = (size_t)snprintf(s->reply.text, sizeof s->reply.text,
	    "%d text\n", s->reply.code);
}

static void
set_extensions(struct smtp_ehlo *e, const char *word)
{
	*e = (struct smtp_ehlo){ 0 };
	if (strncmp(word, "+tls", 4) == 0)
		e->extensions = SMTP_EXT_STARTTLS;
	if (strncmp(word, "+utf8", 5) == 0 ||
	    strncmp(word, "+tls,utf8", 9) == 0)
		e->extensions |= SMTP_EXT_SMTPUTF8;
	if (strncmp(word, "+plain", 6) == 0)
		smtp_ehlo_add(e, "AUTH PLAIN", 10);
	if (strncmp(word, "+xoauth2", 8) == 0)
		smtp_ehlo_add(e, "AUTH XOAUTH2", 12);
	if (strncmp(word, "+other", 6) == 0)
		smtp_ehlo_add(e, "AUTH CRAM-MD5", 13);
}

static enum smtp_outcome
play(struct smtp_session *s, char step)
{
	const char *word = next(step);

	set_reply(s, *word == '+' ? "250" : word + 1);
	set_extensions(&s->ehlo, word);
	world.lacks_memory = *word == 'm';
	switch (*word) {
	case '+':
		return SMTP_DONE;
	case '-':
		return SMTP_REFUSED;
	case '!':
		return SMTP_MALFORMED;
	case '^':
		return SMTP_UNSOLICITED;
	default:
		return SMTP_DIED;
	}
}

static void
fake_init(struct smtp_session *s, int fd, unsigned long timeout_s)
{
	memset(s, 0, sizeof *s);
	s->stream.fd = fd;
	assert_int_equal(timeout_s, 1200);
}

static enum smtp_outcome
fake_greeting(struct smtp_session *s)
{
	assert_int_equal(s->stream.fd,
	    s->is_through_helper ? CLEAR : CONNECTION);
	return play(s, 'g');
}

static enum smtp_outcome
fake_ehlo(struct smtp_session *s, const char *name)
{
	assert_string_equal(name, "me.example");
	assert_int_equal(s->stream.fd,
	    s->is_through_helper ? CLEAR : CONNECTION);
	return play(s, 'e');
}

static enum smtp_outcome
fake_helo(struct smtp_session *s, const char *name)
{
	assert_string_equal(name, "me.example");
	return play(s, 'h');
}

/* The server has seen the command, unless there was input before it. */
static enum smtp_outcome
fake_send_starttls(struct smtp_session *s, struct deadline until)
{
	(void)until;
	assert_false(world.waits);
	if (strncmp(world.script, "s^", 2) == 0)
		return play(s, 's');
	world.has_sent_starttls = true;
	return SMTP_DONE;
}

/* The helper gets ready in the meantime. */
static enum smtp_outcome
fake_starttls_reply(struct smtp_session *s, struct deadline until)
{
	(void)until;
	assert_true(world.waits);
	world.has_sent_starttls = false;
	return play(s, 's');
}

/* Only in TLS. */
static enum smtp_outcome
fake_auth(struct smtp_session *s, enum smtp_mechanism mechanism,
    const struct credentials *c)
{
	assert_int_equal(s->stream.fd, CLEAR);
	assert_true(s->is_through_helper);
	assert_int_equal(mechanism, c->kind == CREDENTIALS_PASSWORD
					? SMTP_MECHANISM_PLAIN
					: SMTP_MECHANISM_XOAUTH2);
	return play(s, 'a');
}

static enum smtp_outcome
fake_silence(struct smtp_session *s)
{
	(void)s;
	assert_false(world.waits);
	return sees("late")   ? SMTP_MALFORMED
	       : sees("gone") ? SMTP_DIED
			      : SMTP_DONE;
}

static enum smtp_outcome
fake_unsolicited(struct smtp_session *s)
{
	set_reply(s, "421");
	return SMTP_MALFORMED;
}

static void
fake_quit(struct smtp_session *s)
{
	(void)s;
	assert_false(world.waits);
	say("quit", 0);
}

static bool
fake_lacks_memory(const struct smtp_session *s)
{
	(void)s;
	return world.lacks_memory;
}

static bool
fake_is_within_line(const struct smtp_session *s)
{
	(void)s;
	return sees("half");
}

static bool
fake_has_ended(struct smtp_session *s)
{
	(void)s;
	return !sees("silent");
}

static bool
fake_has_input(struct stream *s)
{
	(void)s;
	return sees("early");
}

static bool
fake_is_quiet(struct stream *s)
{
	(void)s;
	assert_false(world.waits);
	return !sees("hangs");
}

/* "1 tlsa names=a,b anchors=/anchors match=c": the security level first. */
static void
show_helper(const struct tls_helper *h)
{
	snprintf(world.helper, sizeof world.helper, "%lu%s%s%s%s%s%s%s%s",
	    h->security, h->tlsa != NULL ? " tlsa" : "",
	    h->names != NULL ? " names=" : "", h->names != NULL ? h->names : "",
	    h->anchors != NULL ? " anchors=" : "",
	    h->anchors != NULL ? h->anchors : "",
	    h->match != NULL ? " match=" : "", h->match != NULL ? h->match : "",
	    h->describe == TLS_DESCRIBE          ? " describe"
	    : h->describe == TLS_DESCRIBE_ACCEPT ? " accept"
						 : "");
}

/* The verdict of MTA-STS in testing mode needs no observer. */
static void
tell_facts(struct tls_facts *f)
{
	f->is_known[TLS_FACT_ISSUER] = true;
	if (world.verdict == NULL)
		return;
	f->is_known[TLS_FACT_VERDICT] = true;
	strcpy(f->text[TLS_FACT_VERDICT], world.verdict);
}

static void
set_proof(struct tls_result *r, const char *word)
{
	size_t n = strcspn(word, " ");

	if (n >= 4 && strncmp(word + n - 4, "pkix", 4) == 0) {
		r->proof = TLS_PROOF_PKIX;
		strcpy(r->verified, "mx.example");
	}
	if (strncmp(word, "unusable", 8) == 0)
		r->proof = TLS_PROOF_UNUSABLE;
	if (strncmp(word, "dane", 4) != 0)
		return;
	r->proof = TLS_PROOF_DANE;
	r->usage = 3;
	r->selector = r->matching = 1;
}

/* TLS 1.3, but where the script says otherwise. */
static void
set_version(struct tls_result *r, const char *word)
{
	const char *version = "TLSv1.3";

	if (strncmp(word, "+1.0", 4) == 0)
		version = "TLSv1";
	if (strncmp(word, "+1.1", 4) == 0)
		version = "TLSv1.1";
	strcpy(r->version, version);
}

static struct tls_start
fake_start(const struct tls_helper *h, int socket)
{
	struct tls_start t = { .result = { .status = TLS_STATUS_READY },
		.fd = CLEAR,
		.status = STATUS,
		.pid = 7 };
	const char *word = next('t');

	assert_int_equal(socket, CONNECTION);
	assert_string_equal(h->name, "mx.example");
	assert_int_equal(h->timeout_s, 60);
	/* There are anchors only if a certificate is verified, or looked at. */
	if (h->describe == TLS_DESCRIBE_NOTHING) {
		assert_null(h->facts);
		assert_int_equal(h->anchors != NULL, h->security == 2);
	} else {
		assert_int_equal(h->describe == TLS_DESCRIBE_ACCEPT,
		    h->security != 2);
		assert_non_null(h->facts);
		say(h->anchors != NULL ? "anchors" : "no-anchors", 0);
		tell_facts(h->facts);
	}
	show_helper(h);
	set_version(&t.result, word);
	strcpy(t.result.cipher, "X");
	if (*word == '+') {
		set_proof(&t.result, word + 1);
		return t;
	}
	t.result.status = *word == 'm' ? TLS_STATUS_LOCAL : TLS_STATUS_FAILED;
	strcpy(t.result.text, *word == '~' ? TLS_TEXT_TIMED_OUT : "no cipher");
	t.fd = t.status = -1;
	return t;
}

/* It is told the same before and after the reply to STARTTLS. */
static struct tls_start
fake_prepare(const struct tls_helper *h, int socket)
{
	struct tls_start t = { .result = { .status = TLS_STATUS_NONE },
		.fd = CLEAR,
		.status = STATUS,
		.pid = 7 };

	assert_int_equal(socket, CONNECTION);
	assert_true(world.has_sent_starttls);
	world.waits = true;
	show_helper(h);
	return t;
}

static void
fake_handshake(const struct tls_helper *h, struct tls_start *t, int socket)
{
	char prepared[sizeof world.helper];

	assert_int_equal(t->status, STATUS);
	assert_true(world.waits);
	world.waits = false;
	strcpy(prepared, world.helper);
	*t = fake_start(h, socket);
	assert_string_equal(world.helper, prepared);
}

static enum tls_end
fake_end(int status, pid_t pid, char text[TLS_TEXT_SIZE])
{
	assert_int_equal(status, STATUS);
	assert_int_equal(pid, 7);
	strcpy(text, "why");
	return sees("server")   ? TLS_END_SERVER
	       : sees("broken") ? TLS_END_BROKEN
	       : sees("local")  ? TLS_END_LOCAL
				: TLS_END_NONE;
}

/* One that waited has had no effect. */
static void
fake_stop(struct tls_start *t)
{
	if (world.waits)
		world.helper[0] = '\0';
	else
		say("stop", t->fd);
	world.waits = false;
	t->fd = t->status = -1;
}

static int
fake_close(int fd)
{
	assert_false(world.waits);
	say("close", fd);
	return 0;
}

/* Some tests change it, and change it back. */
static struct attempt_config config = {
	.timeout_s = 1200,
	.helper = "/helper",
	.timeout_handshake_s = 60,
	.anchors = "/anchors",
	.state = "/state",
};

static const char *const failures[] = {
	[FAILURE_NONE] = "",
	[FAILURE_CONNECTION_DIED] = "died",
	[FAILURE_GREETING] = "greeting",
	[FAILURE_HELLO] = "hello",
	[FAILURE_STARTTLS_NOT_OFFERED] = "not offered",
	[FAILURE_STARTTLS_REFUSED] = "starttls",
	[FAILURE_TLS] = "tls",
	[FAILURE_TLS_SETUP] = "setup",
	[FAILURE_AUTH_NOT_OFFERED] = "no AUTH",
	[FAILURE_AUTH_MECHANISM] = "no mechanism",
	[FAILURE_AUTH_TOKEN_WANTED] = "token wanted",
	[FAILURE_AUTH_PASSWORD_WANTED] = "password wanted",
	[FAILURE_AUTH] = "auth",
	[FAILURE_CREDENTIALS] = "credentials",
	[FAILURE_SMTPUTF8_NOT_OFFERED] = "utf8",
	[FAILURE_MEMORY_IN_SESSION] = "memory",
};

static bool needs_smtputf8; /* the envelope, in the cells that are checked */

struct cell {
	enum tls_level level;
	bool only_helo;
	const char *script, *seen;
	enum attempt_result result;
	const char *failure, *reply, *tls, *log;
};

#define NONE TLS_LEVEL_NONE
#define MAY TLS_LEVEL_MAY
#define MUST TLS_LEVEL_ENCRYPT
#define PROVE TLS_LEVEL_VERIFY

#define HANDSHAKE "TLSv1.3 X, certificate not verified"
#define DIED_AFTER "the connection died after the handshake: "

static void
run(const struct cell *c, struct attempt_mode *mode, struct attempt *a,
    struct server *server)
{
	static struct smtp_session session;

	memset(&world, 0, sizeof world);
	world.script = c->script;
	world.seen = c->seen;
	memset(server, 0xff, sizeof *server);
	*a = (struct attempt){ .helohost = "me.example" };
	*mode = (struct attempt_mode){
		.policy = { .level = c->level, .name = "mx.example" },
		.only_helo = c->only_helo,
		.needs_smtputf8 = needs_smtputf8,
	};
	if (attempt_make(&config, &session, mode, CONNECTION, a, server) !=
	    c->result)
		fail_msg("%d %s: result", c->level, c->script);
	assert_false(world.waits);
	if (*world.script != '\0')
		fail_msg("%d %s: not done: %s", c->level, c->script,
		    world.script);
}

static void
check(const struct cell *cells, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct cell *c = &cells[i];
		char tls[TLS_SENTENCE_SIZE];
		struct attempt_mode mode;
		struct server server;
		struct attempt a;

		run(c, &mode, &a, &server);
		attempt_describe_tls(&a, tls);
		if (strcmp(failures[a.cause], c->failure) != 0)
			fail_msg("%d %s: %s", c->level, c->script,
			    failures[a.cause]);
		if (a.cause != FAILURE_NONE &&
		    (strncmp(a.reply ? a.reply : "", c->reply,
			 strlen(c->reply)) != 0 ||
			a.nreply != (*c->reply ? strlen(c->reply) + 6 : 0)))
			fail_msg("%d %s: reply %.*s", c->level, c->script,
			    (int)a.nreply, a.reply ? a.reply : "");
		if (strcmp(tls, c->tls) != 0)
			fail_msg("%d %s: TLS: %s", c->level, c->script, tls);
		if (strcmp(world.log, c->log) != 0)
			fail_msg("%d %s: %s", c->level, c->script, world.log);
		assert_int_equal(a.is_local, c->result == ATTEMPT_LOCAL);
		assert_int_equal(a.used_helo, c->only_helo);
		attempt_finish(&a);
	}
}

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
		    TLS_TEXT_TIMED_OUT, "" },
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

/*
 * Policies of all sources.
 */

static const struct tlsa_set records = { .n = 1 };

#define NAMED(l, s) .level = l, .name = "mx.example", .source = s
#define DANE(how) \
	{ \
		NAMED(TLS_LEVEL_DANE, TLS_FROM_DANE), \
		    .tlsa = &records, .names = "mx.example,dst.example", \
		    .unusable = how \
	}
#define OR_ENCRYPT \
	{ \
		.level = TLS_LEVEL_ENCRYPT, .source = TLS_FROM_DANE \
	}
#define OR_VERIFY \
	{ \
		.level = TLS_LEVEL_VERIFY, .source = TLS_FROM_STS_ENFORCE, \
		.name = "mxname.example" \
	}
#define OR_STRICT(s) \
	{ \
		.level = TLS_LEVEL_VERIFY, .source = s, \
		.name = "mxname.example" \
	}
#define OR_SKIP(l, why) \
	{ \
		.level = l, .source = TLS_FROM_RULE, .skip = why, \
		.name = "mxname.example" \
	}
#define TESTING(l, why) \
	{ \
		NAMED(l, TLS_FROM_STS_TESTING), .testing = why \
	}

#define NOT_LISTED "the MTA-STS policy of the domain does not list it"
#define ALL_UNUSABLE \
	"control/tlspolicy demands DANE, and none of its TLSA records can be " \
	"used"

#define DANE_HELPER "1 tlsa names=mx.example,dst.example"

/* Greeting, EHLO and STARTTLS; the handshake comes next. */
#define UP_TO_TLS "g+ e+tls s+ "

struct policy_cell {
	struct tls_policy policy;
	const char *script, *verdict;
	enum attempt_result result;
	const char *failure, *helper, *tls, *log;
};

static void
follow_policy(const struct policy_cell *c, struct attempt_mode *mode,
    struct attempt *a)
{
	static struct smtp_session session;
	enum attempt_result result;
	struct server server;

	memset(&world, 0, sizeof world);
	world.script = c->script;
	world.seen = "server";
	world.verdict = c->verdict;
	*a = (struct attempt){ .helohost = "me.example" };
	*mode = (struct attempt_mode){ .policy = c->policy };
	result = attempt_make(&config, &session, mode, CONNECTION, a, &server);
	assert_false(world.waits);
	if (result != c->result || *world.script != '\0')
		fail_msg("level %d, source %d, %s: %d, not done: %s",
		    c->policy.level, c->policy.source, c->script, result,
		    world.script);
	assert_int_equal(a->source, strstr(c->script, "t+unusable e+") ||
					    strstr(c->script, "t+unusable-pkix")
					? c->policy.unusable.source
					: c->policy.source);
}

static void
check_policies(const struct policy_cell *cells, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct policy_cell *c = &cells[i];
		char tls[TLS_SENTENCE_SIZE];
		struct attempt_mode mode;
		struct attempt a;

		follow_policy(c, &mode, &a);
		attempt_describe_tls(&a, tls);
		if (strcmp(failures[a.cause], c->failure) != 0)
			fail_msg("%zu %s: %s", i, c->script, failures[a.cause]);
		if (strcmp(world.helper, c->helper) != 0)
			fail_msg("%zu %s: helper: %s", i, c->script,
			    world.helper);
		if (strcmp(tls, c->tls) != 0)
			fail_msg("%zu %s: TLS: %s", i, c->script, tls);
		if (strcmp(world.log, c->log) != 0)
			fail_msg("%zu %s: %s", i, c->script, world.log);
		attempt_finish(&a);
	}
}

static void
verifies_by_anchors(void **state)
{
	static const struct policy_cell cells[] = {
		/* control/tlsstrictness. */
		{ { NAMED(PROVE, TLS_FROM_STRICTNESS) }, UP_TO_TLS "t+pkix e+",
		    NULL, ATTEMPT_READY, "", "2 anchors=/anchors",
		    "TLSv1.3 X, certificate verified for mx.example", "" },
		/* A line of control/tlspolicy, with each of its attributes. */
		{ { NAMED(PROVE, TLS_FROM_RULE) }, UP_TO_TLS "t+pkix e+", NULL,
		    ATTEMPT_READY, "", "2 anchors=/anchors",
		    "TLSv1.3 X, certificate verified for mx.example", "" },
		{ { NAMED(PROVE, TLS_FROM_RULE), .names = "a.example,.b" },
		    UP_TO_TLS "t+pkix e+", NULL, ATTEMPT_READY, "",
		    "2 anchors=/anchors match=a.example,.b",
		    "TLSv1.3 X, certificate verified for mx.example", "" },
		{ { NAMED(PROVE, TLS_FROM_RULE), .anchors = "/own" },
		    UP_TO_TLS "t+pkix e+", NULL, ATTEMPT_READY, "",
		    "2 anchors=/own",
		    "TLSv1.3 X, certificate verified for mx.example", "" },
		{ { NAMED(PROVE, TLS_FROM_RULE), .names = "a.example",
		      .anchors = "/own" },
		    UP_TO_TLS "t-", NULL, ATTEMPT_NEXT, "tls",
		    "2 anchors=/own match=a.example", "no cipher", "" },
		/* control/tlshosts. */
		{ { NAMED(PROVE, TLS_FROM_HOSTFILE), .anchors = "/pem" },
		    UP_TO_TLS "t+pkix e+", NULL, ATTEMPT_READY, "",
		    "2 anchors=/pem",
		    "TLSv1.3 X, certificate verified for mx.example", "" },
		/* MTA-STS. */
		{ { NAMED(PROVE, TLS_FROM_STS_ENFORCE) }, UP_TO_TLS "t+pkix e+",
		    NULL, ATTEMPT_READY, "", "2 anchors=/anchors",
		    "TLSv1.3 X, MTA-STS, certificate verified for mx.example",
		    "" },
		{ { NAMED(PROVE, TLS_FROM_STS_ENFORCE) }, UP_TO_TLS "t-", NULL,
		    ATTEMPT_NEXT, "tls", "2 anchors=/anchors", "no cipher",
		    "" },
		{ { NAMED(PROVE, TLS_FROM_STS_ENFORCE) }, "g+ e+", NULL,
		    ATTEMPT_NEXT, "not offered", "", "", "quit close100" },
	};

	(void)state;
	check_policies(cells, sizeof cells / sizeof *cells);
}

static void
verifies_by_tlsa_records(void **state)
{
	static const struct policy_cell cells[] = {
		{ DANE(OR_ENCRYPT), UP_TO_TLS "t+dane e+", NULL, ATTEMPT_READY,
		    "", DANE_HELPER, "TLSv1.3 X, DANE (3 1 1)", "" },
		{ DANE(OR_ENCRYPT), UP_TO_TLS "t-", NULL, ATTEMPT_NEXT, "tls",
		    DANE_HELPER, "no cipher", "" },
		{ DANE(OR_ENCRYPT), UP_TO_TLS "tm", NULL, ATTEMPT_LOCAL,
		    "setup", DANE_HELPER, "no cipher", "" },
		{ DANE(OR_ENCRYPT), "g+ e+", NULL, ATTEMPT_NEXT, "not offered",
		    "", "", "quit close100" },
		{ DANE(OR_ENCRYPT), "g+ e+tls s-454", NULL, ATTEMPT_NEXT,
		    "starttls", "", "", "quit close100" },
		{ DANE(OR_ENCRYPT), "g+ e-500", NULL, ATTEMPT_NEXT, "hello", "",
		    "", "quit close100" },
		{ DANE(OR_ENCRYPT), UP_TO_TLS "t+dane e-500 h-500", NULL,
		    ATTEMPT_NEXT, "hello", DANE_HELPER,
		    "TLSv1.3 X, DANE (3 1 1)", "quit close101 close102" },
		/* OpenSSL can use none of them. */
		{ DANE(OR_ENCRYPT), UP_TO_TLS "t+unusable e+", NULL,
		    ATTEMPT_READY, "", DANE_HELPER,
		    "TLSv1.3 X, DANE records unusable, certificate not "
		    "verified",
		    "" },
		/* Then the certificate is verified for the name of the MX. */
		{ DANE(OR_VERIFY), UP_TO_TLS "t+unusable-pkix e+", NULL,
		    ATTEMPT_READY, "",
		    "2 tlsa names=mx.example,dst.example anchors=/anchors "
		    "match=mxname.example",
		    "TLSv1.3 X, MTA-STS, DANE records unusable, certificate "
		    "verified for mx.example",
		    "" },
		{ DANE(OR_STRICT(TLS_FROM_STRICTNESS)),
		    UP_TO_TLS "t+unusable-pkix e+", NULL, ATTEMPT_READY, "",
		    "2 tlsa names=mx.example,dst.example anchors=/anchors "
		    "match=mxname.example",
		    "TLSv1.3 X, DANE records unusable, certificate verified "
		    "for mx.example",
		    "" },
		{ DANE(OR_STRICT(TLS_FROM_STS_TESTING)),
		    UP_TO_TLS "t+unusable-pkix e+", NULL, ATTEMPT_READY, "",
		    "2 tlsa names=mx.example,dst.example anchors=/anchors "
		    "match=mxname.example",
		    "TLSv1.3 X, MTA-STS testing, DANE records unusable, "
		    "certificate verified for mx.example",
		    "" },
		{ DANE(OR_VERIFY), UP_TO_TLS "t+dane e+", NULL, ATTEMPT_READY,
		    "",
		    "2 tlsa names=mx.example,dst.example anchors=/anchors "
		    "match=mxname.example",
		    "TLSv1.3 X, DANE (3 1 1)", "" },
		/* Then the host must not be used. */
		{ DANE(OR_SKIP(TLS_LEVEL_DANE, TLS_SKIP_DANE_UNUSABLE)),
		    UP_TO_TLS "t+unusable", NULL, ATTEMPT_NEXT, "tls",
		    DANE_HELPER, ALL_UNUSABLE, "stop101" },
		{ DANE(OR_SKIP(TLS_LEVEL_DANE, TLS_SKIP_DANE_UNUSABLE)),
		    UP_TO_TLS "t+dane e+", NULL, ATTEMPT_READY, "", DANE_HELPER,
		    "TLSv1.3 X, DANE (3 1 1)", "" },
		{ DANE(OR_SKIP(PROVE, TLS_SKIP_STS)), UP_TO_TLS "t+unusable",
		    NULL, ATTEMPT_NEXT, "tls", DANE_HELPER, NOT_LISTED,
		    "stop101" },
		{ DANE(OR_SKIP(PROVE, TLS_SKIP_ANCHORS)),
		    UP_TO_TLS "t+unusable", NULL, ATTEMPT_NEXT, "tls",
		    DANE_HELPER,
		    "its certificate has to be verified, and there are no "
		    "trust anchors",
		    "stop101" },
		/* That none can be used was known before: the same lines. */
		{ { NAMED(MUST, TLS_FROM_DANE), .is_without_usable = true },
		    UP_TO_TLS "t+ e+", NULL, ATTEMPT_READY, "", "1",
		    "TLSv1.3 X, DANE records unusable, certificate not "
		    "verified",
		    "" },
		{ { NAMED(PROVE, TLS_FROM_STS_ENFORCE),
		      .is_without_usable = true },
		    UP_TO_TLS "t+pkix e+", NULL, ATTEMPT_READY, "",
		    "2 anchors=/anchors",
		    "TLSv1.3 X, MTA-STS, DANE records unusable, certificate "
		    "verified for mx.example",
		    "" },
		{ { NAMED(PROVE, TLS_FROM_STRICTNESS),
		      .is_without_usable = true },
		    UP_TO_TLS "t+pkix e+", NULL, ATTEMPT_READY, "",
		    "2 anchors=/anchors",
		    "TLSv1.3 X, DANE records unusable, certificate verified "
		    "for mx.example",
		    "" },
		{ { NAMED(PROVE, TLS_FROM_STS_TESTING),
		      .is_without_usable = true },
		    UP_TO_TLS "t+pkix e+", "", ATTEMPT_READY, "",
		    "2 anchors=/anchors describe",
		    "TLSv1.3 X, MTA-STS testing, DANE records unusable, "
		    "certificate verified for mx.example",
		    "anchors" },
	};

	(void)state;
	check_policies(cells, sizeof cells / sizeof *cells);
}

/* The level is that of control/tlsstrictness; the verdict changes nothing. */
static void
tests_what_mta_sts_would_enforce(void **state)
{
	static const struct {
		struct policy_cell cell;
		const char *testing;
		bool is_verified;
	} cases[] = {
		{ { TESTING(MAY, NULL), UP_TO_TLS "t+ e+", "", ATTEMPT_READY,
		      "", "0 anchors=/anchors accept",
		      "TLSv1.3 X, MTA-STS testing, certificate verified for "
		      "mx.example",
		      "anchors" },
		    "", true },
		{ { TESTING(MAY, NULL), UP_TO_TLS "t+ e+", "name mismatch",
		      ATTEMPT_READY, "", "0 anchors=/anchors accept",
		      "TLSv1.3 X, MTA-STS testing: name mismatch, certificate "
		      "not verified",
		      "anchors" },
		    "name mismatch", false },
		/* A host that the policy does not list. */
		{ { TESTING(MAY, NOT_LISTED), UP_TO_TLS "t+ e+", "",
		      ATTEMPT_READY, "", "0 anchors=/anchors accept",
		      "TLSv1.3 X, MTA-STS testing: " NOT_LISTED
		      ", certificate not verified",
		      "anchors" },
		    NOT_LISTED, false },
		/* Mandatory TLS would not have been possible. */
		{ { TESTING(MAY, NULL), UP_TO_TLS "t+1.0 e+", "", ATTEMPT_READY,
		      "", "0 anchors=/anchors accept",
		      "TLSv1 X, MTA-STS testing: " ATTEMPT_TEXT_OLD
		      ", certificate not verified",
		      "anchors" },
		    ATTEMPT_TEXT_OLD, false },
		{ { TESTING(MAY, NULL), UP_TO_TLS "t+1.1 e+", "", ATTEMPT_READY,
		      "", "0 anchors=/anchors accept",
		      "TLSv1.1 X, MTA-STS testing: " ATTEMPT_TEXT_OLD
		      ", certificate not verified",
		      "anchors" },
		    ATTEMPT_TEXT_OLD, false },
		/* There is no verdict. */
		{ { TESTING(MAY, NULL), UP_TO_TLS "t+ e+", NULL, ATTEMPT_READY,
		      "", "0 anchors=/anchors accept",
		      "TLSv1.3 X, MTA-STS testing, certificate not verified",
		      "anchors" },
		    "", false },
		/* Strictness 1 and 2. */
		{ { TESTING(MUST, NULL), UP_TO_TLS "t+ e+", "name mismatch",
		      ATTEMPT_READY, "", "1 anchors=/anchors accept",
		      "TLSv1.3 X, MTA-STS testing: name mismatch, certificate "
		      "not verified",
		      "anchors" },
		    "name mismatch", false },
		{ { TESTING(PROVE, NULL), UP_TO_TLS "t+pkix e+", "",
		      ATTEMPT_READY, "", "2 anchors=/anchors describe",
		      "TLSv1.3 X, MTA-STS testing, certificate verified for "
		      "mx.example",
		      "anchors" },
		    "", true },
		{ { TESTING(PROVE, NOT_LISTED), UP_TO_TLS "t+pkix e+", "",
		      ATTEMPT_READY, "", "2 anchors=/anchors describe",
		      "TLSv1.3 X, MTA-STS testing: " NOT_LISTED
		      ", certificate verified for mx.example",
		      "anchors" },
		    NOT_LISTED, true },
		/* Without TLS there is nothing to test. */
		{ { TESTING(MAY, NULL), "g+ e+", "", ATTEMPT_READY, "", "", "",
		      "" },
		    "", false },
		{ { TESTING(MAY, NOT_LISTED), "g+ e+tls s-454", "",
		      ATTEMPT_READY, "", "",
		      "STARTTLS refused (454), sent in clear text", "" },
		    "", false },
		{ { TESTING(MAY, NULL), UP_TO_TLS "t-", "", ATTEMPT_AGAIN,
		      "tls", "0 anchors=/anchors accept", "no cipher",
		      "anchors" },
		    "", false },
		{ { TESTING(PROVE, NULL), UP_TO_TLS "t-", "", ATTEMPT_NEXT,
		      "tls", "2 anchors=/anchors describe", "no cipher",
		      "anchors" },
		    "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct attempt_mode mode;
		struct attempt a;

		check_policies(&cases[i].cell, 1);
		follow_policy(&cases[i].cell, &mode, &a);
		if (strcmp(a.testing, cases[i].testing) != 0)
			fail_msg("case %zu: %s", i, a.testing);
		assert_int_equal(a.tls.status == TLS_STATUS_READY &&
				     tls_result_is_verified(&a.tls),
		    cases[i].is_verified);
		attempt_finish(&a);
	}
}

/* A TLS report says then that the records cannot be used. */
static void
tells_that_the_records_were_unusable(void **state)
{
	static const struct policy_cell refused = {
		DANE(OR_SKIP(TLS_LEVEL_DANE, TLS_SKIP_DANE_UNUSABLE)),
		UP_TO_TLS "t+unusable", NULL, ATTEMPT_NEXT, "tls", "", "", ""
	};
	struct attempt_mode mode;
	struct attempt a;

	(void)state;
	follow_policy(&refused, &mode, &a);
	assert_int_equal(a.tls.status, TLS_STATUS_FAILED);
	assert_int_equal(a.tls.proof, TLS_PROOF_UNUSABLE);
	attempt_finish(&a);
}

/*
 * After a failure of TLS: AGAIN is the same connection in clear text, and
 * NO_TLS makes the host one of the second pass.
 */
static void
allows_clear_text_by_the_policy(void **state)
{
	static const char *const scripts[] = { "g+ e+", "g+ e-500", "g+ ex",
		"g+ e+tls s-554", "g+ e+tls sx", "g+ e+tls s!", UP_TO_TLS "t-",
		UP_TO_TLS "t~", UP_TO_TLS "t+ e-421", UP_TO_TLS "t+ e!",
		UP_TO_TLS "t+ ex" };
	static const struct {
		struct tls_policy policy;
		enum attempt_result result;
	} cases[] = {
		{ { NAMED(MUST, TLS_FROM_STRICTNESS) }, ATTEMPT_NO_TLS },
		{ { NAMED(MUST, TLS_FROM_STS_TESTING) }, ATTEMPT_NO_TLS },
		{ { NAMED(MUST, TLS_FROM_RULE) }, ATTEMPT_NEXT },
		{ { NAMED(MUST, TLS_FROM_HOSTFILE) }, ATTEMPT_NEXT },
		{ { NAMED(MUST, TLS_FROM_DANE) }, ATTEMPT_NEXT },
		{ { NAMED(PROVE, TLS_FROM_STRICTNESS) }, ATTEMPT_NEXT },
		{ { NAMED(PROVE, TLS_FROM_STS_TESTING) }, ATTEMPT_NEXT },
		{ { NAMED(PROVE, TLS_FROM_STS_ENFORCE) }, ATTEMPT_NEXT },
		{ { NAMED(PROVE, TLS_FROM_RULE) }, ATTEMPT_NEXT },
		{ DANE(OR_ENCRYPT), ATTEMPT_NEXT },
		{ DANE(OR_VERIFY), ATTEMPT_NEXT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (size_t k = 0; k < sizeof scripts / sizeof *scripts; k++) {
			const struct policy_cell c = {
				.policy = cases[i].policy,
				.script = scripts[k],
				.result = cases[i].result,
			};
			struct attempt_mode mode;
			struct attempt a;

			follow_policy(&c, &mode, &a);
			/* The policy does not get weaker. */
			assert_int_equal(mode.policy.level, c.policy.level);
			attempt_finish(&a);
		}
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
	    NULL, ATTEMPT_NEXT, "tls", "1 anchors=/anchors accept",
	    TLS_TEXT_TIMED_OUT, "anchors" },
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
		cmocka_unit_test(leaves_a_server_without_smtputf8),
		cmocka_unit_test(makes_a_server_ready_in_clear_text),
		cmocka_unit_test(reports_what_failed_in_clear_text),
		cmocka_unit_test(requires_tls),
		cmocka_unit_test(starts_tls),
		cmocka_unit_test(verifies_by_anchors),
		cmocka_unit_test(verifies_by_tlsa_records),
		cmocka_unit_test(tests_what_mta_sts_would_enforce),
		cmocka_unit_test(tells_that_the_records_were_unusable),
		cmocka_unit_test(allows_clear_text_by_the_policy),
		cmocka_unit_test(decides_how_to_try_again),
		cmocka_unit_test(fills_the_server_when_ready),
		cmocka_unit_test(calls_the_observer_after_each_phase),
		cmocka_unit_test(speaks_tls_from_the_first_byte),
		cmocka_unit_test(authenticates_in_tls),
		cmocka_unit_test(authenticates_in_implicit_tls),
		cmocka_unit_test(tells_the_observer_no_secret),
		cmocka_unit_test(
		    keeps_lines_without_a_code_when_the_connection_dies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
