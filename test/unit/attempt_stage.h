/* SPDX-License-Identifier: ISC */
#ifndef TEST_ATTEMPT_STAGE_H
#define TEST_ATTEMPT_STAGE_H

/*
 * The modules delivery/attempt and delivery/handshake with a server and a
 * helper that follow a script.  Include it after cmocka.h.
 */

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
static void fake_settle(struct tls_start *);
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
#define tls_helper_settle fake_settle
#define tls_helper_stop fake_stop
#define close fake_close
#include "delivery/attempt.c"
#include "delivery/handshake.c"

#define CONNECTION 100
#define CLEAR 101  /* clear text, from the helper */
#define STATUS 102 /* its status pipe */

/*
 * What the server does, one word for each step, in the order of the steps.  The
 * letter is the step:
 *	g greeting, e EHLO, h HELO, s STARTTLS, t handshake, a AUTH
 * Behind it is what comes of it, with the code of the reply if there is one:
 *	+	success
 *	-	refused
 *	!	malformed
 *	^	unsolicited
 *	x	no reply
 *	m	no reply, because we have no memory
 * After e+ what EHLO offers:
 *	tls, utf8, "tls,utf8"	STARTTLS, SMTPUTF8, or both
 *	plain, xoauth2, other	AUTH with this mechanism; other: an unknown one
 * Of a handshake + is done, - failed, ~ timed out, and m failed because of us.
 * After t+ how the certificate was verified: pkix, dane, unusable (no TLSA
 * record is), or unusable-pkix.
 *
 * In "seen" is what does not follow a command:
 *	early	input before EHLO in TLS
 *	late	an unsolicited reply before MAIL
 *	gone	the connection is closed before MAIL
 *	half	half a line has come before MAIL
 *	hangs	more input, or the end, follows a refusal of STARTTLS
 *	silent	no reply to EHLO in TLS, on a connection that stays open
 *	server, broken, local, nobody	the helper's record of the end
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
	bool is_unsettled;      /* a session may still be stopped */
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
	f->verdict =
	    *world.verdict != '\0' ? TLS_CAUSE_EXPIRED : TLS_CAUSE_NONE;
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

/* Only looked for: this is what tls/helper does with it. */
static bool
fake_pass(void *data, const char *request, size_t n, const int fd[TLS_FDS])
{
	(void)data;
	(void)request;
	(void)n;
	(void)fd;
	return false;
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
	assert_true(h->pass == fake_pass && h->pass_data == &world);
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
		world.is_unsettled = true;
		return t;
	}
	t.result.status = *word == 'm' ? TLS_STATUS_LOCAL : TLS_STATUS_FAILED;
	if (*word == '~')
		t.result.cause = TLS_CAUSE_TIMED_OUT;
	strcpy(t.result.text, *word == '~' ? "timed out" : "no cipher");
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
	world.waits = world.is_unsettled = false;
	t->fd = t->status = -1;
}

static void
fake_settle(struct tls_start *t)
{
	(void)t;
	world.is_unsettled = false;
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
	.pass = fake_pass,
	.pass_data = &world,
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

static inline void
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
	assert_false(world.is_unsettled);
	if (*world.script != '\0')
		fail_msg("%d %s: not done: %s", c->level, c->script,
		    world.script);
}

static inline void
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
		NAMED(l, TLS_FROM_STS_TESTING), .is_unlisted = why \
	}

#define OLD "TLS 1.2 or later is needed"
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

static inline void
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
	assert_false(world.is_unsettled);
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

static inline void
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

#endif
