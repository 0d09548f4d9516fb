/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>

#include "delivery/batch.h"

#include "transact.h"

/* Recipients in one transaction or several, with a scripted server. */

#define MAIL "MAIL FROM:<s@x>\r\n"
#define TO(n) "RCPT TO:<" #n "@x>\r\n"
#define DATA "DATA\r\n"
#define ONE(n) "<" MAIL TO(n) DATA
#define TAKEN ">250\r\n250\r\n354\r\n", "."

static char *const names[] = { (char[]){ "0@x" }, (char[]){ "1@x" },
	(char[]){ "2@x" } };

static char long_name[SMTP_PATH_MAX + 10];
static char *const odd_names[] = { (char[]){ "0@x\n" }, (char[]){ "0@x" },
	long_name, (char[]){ "1@x" }, (char[]){ "2@x>" } };

static const struct batch_sender sender = { "s@x", false };
static const struct smtp_ehlo nothing; /* is offered */

struct script {
	const char *name;
	uint64_t rcptmax, mailmax;
	size_t nrecipient;
	const char *script[20];
	size_t nattempted, nrun;
	const char *verdicts; /* a accepted, p permanent, t temporary, - none */
	const char *ends; /* first letter of the outcome of each transaction */
	const char *reply[3]; /* expected replies kept; NULL: not checked */
};

static char
letter_of(const struct verdict *v)
{
	switch (v->kind) {
	case VERDICT_ACCEPTED:
		return 'a';
	case VERDICT_REFUSED:
		return v->is_permanent ? 'p' : 't';
	case VERDICT_UNSENDABLE:
		return 'u';
	default:
		return '-';
	}
}

static bool
is_text(struct outcome_text text, const char *want)
{
	return text.len == strlen(want) &&
	       (text.len == 0 || memcmp(text.bytes, want, text.len) == 0);
}

static void
check_attempts(const struct script *c, const struct outcome *o)
{
	static const char letter[] = { [SMTP_DIED] = 'd',
		[SMTP_MALFORMED] = 'm',
		[SMTP_REFUSED] = 'r',
		[SMTP_DONE] = 'D' };
	size_t nrun = 0;

	if (o->nattempted != c->nattempted)
		fail_msg("%s: %zu transactions", c->name, o->nattempted);
	for (size_t i = 0; i < o->nattempted; i++) {
		const struct attempted *a = &o->attempted[i];

		if (!a->has_run)
			continue;
		if (letter[a->result.outcome] != c->ends[nrun])
			fail_msg("%s: transaction %zu: %c", c->name, i,
			    letter[a->result.outcome]);
		nrun++;
	}
	if (nrun != c->nrun)
		fail_msg("%s: %zu have run", c->name, nrun);
	for (size_t i = 0; i < 3 && c->reply[i]; i++)
		if (!is_text(o->attempted[i].reply, c->reply[i]))
			fail_msg("%s: reply %zu: %.*s", c->name, i,
			    (int)o->attempted[i].reply.len,
			    o->attempted[i].reply.bytes);
}

static void
runs_transactions(void **state)
{
	static const struct script cases[] = {
		{ "all in one", 0, 0, 2,
		    { "<" MAIL TO(0) TO(1) DATA,
			">250\r\n250\r\n250\r\n354\r\n", ".", ">250 ok\r\n" },
		    1, 1, "aa", "D", { "250 ok\n" } },
		{ "as many as RCPTMAX", 2, 0, 2,
		    { "<" MAIL TO(0) TO(1) DATA,
			">250\r\n250\r\n550\r\n354\r\n", ".", ">250 ok\r\n" },
		    1, 1, "ap", "D", { "250 ok\n" } },
		{ "one by one", 1, 0, 2,
		    { ONE(0), TAKEN, ">250 first\r\n", ONE(1), TAKEN,
			">250 second\r\n" },
		    2, 2, "aa", "DD", { "250 first\n", "250 second\n" } },
		{ "a rest", 2, 0, 3,
		    { "<" MAIL TO(0) TO(1) DATA,
			">250\r\n250\r\n250\r\n354\r\n", ".", ">554 no\r\n",
			"<RSET\r\n", ">250\r\n", ONE(2), TAKEN, ">250 ok\r\n" },
		    2, 2, "aaa", "rD", { "554 no\n", "250 ok\n" } },
		{ "the second of three that were delivered", 1, 0, 3,
		    { ONE(0), TAKEN, ">250 first\r\n", ONE(1), TAKEN,
			">250 second\r\n", ONE(2), TAKEN, ">250 third\r\n" },
		    3, 3, "aaa", "DDD", { "250 first\n", "", "250 third\n" } },
		{ "552 after an accepted one", 1, 0, 2,
		    { ONE(0), TAKEN, ">250\r\n", ONE(1),
			">250\r\n552 enough\r\n503\r\n" },
		    2, 2, "at", "Dr", { "250\n" } },
		{ "552 alone", 0, 0, 1,
		    { ONE(0), ">250\r\n552 full\r\n503\r\n" }, 1, 1, "p", "r",
		    { NULL } },
		{ "530", 0, 0, 1, { ONE(0), ">250\r\n530 log in\r\n503\r\n" },
		    1, 1, "t", "r", { NULL } },
		{ "no second after a broken one", 1, 0, 3,
		    { ONE(0), TAKEN, ">250\r\n", ONE(1), "/" }, 3, 2, "a--",
		    "Dd", { "250\n", "", "" } },
		{ "MAILMAX", 1, 1, 3, { ONE(0), TAKEN, ">250\r\n" }, 3, 3,
		    "a--", "Drr", { "250\n", "", "" } },
		{ "lines that are no reply", 0, 0, 1,
		    { ONE(0), ">250\r\n250\r\n354\r\n", ".", ">hello\r\n",
			"/" },
		    1, 1, "a", "d", { "hello\n" } },
		{ "part of a reply", 0, 0, 1,
		    { ONE(0), ">250\r\n250\r\n354\r\n", ".", ">250-x\r\n",
			"/" },
		    1, 1, "a", "d", { "" } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct script *c = &cases[i];
		struct peer p = peer_start(peer_play, c->script, 0);
		int fd = make_file(message, strlen(message)), end;
		struct buf heard = { 0 };
		struct outcome o;
		struct batch b;

		smtp_session_init(&session, p.fd, 30);
		session.ehlo.extensions = SMTP_EXT_PIPELINING;
		session.ehlo.mailmax = c->mailmax;
		session.ehlo.rcptmax = c->rcptmax;
		batch_prepare(&b, names, c->nrecipient, &session.ehlo);
		smtp_message_open(&mail, fd, false);
		batch_run(&b, &sender, &session, &mail);
		o = batch_outcome(&b, &session, &mail);
		assert_true(o.is_pipelined);
		end = peer_end(&p, &heard);
		close(fd);
		if (end != 0)
			fail_msg("%s: the peer (%d) heard %s", c->name, end,
			    buf_text(&heard));
		buf_finish(&heard);
		for (size_t j = 0; j < o.nverdict; j++)
			if (letter_of(&o.verdict[j]) != c->verdicts[j])
				fail_msg("%s: recipient %zu: %c", c->name, j,
				    letter_of(&o.verdict[j]));
		check_attempts(c, &o);
		assert_ptr_equal(batch_last(&b), &b.attempted[c->nrun - 1]);
		batch_finish(&b);
	}
}

/* Another connection will be made for all recipients. */
static void
ends_with_a_stale_transaction(void **state)
{
	static const char *const script[] = { ONE(0),
		">452 enough\r\n503\r\n503\r\n", NULL };
	struct peer p = peer_start(peer_play, script, 0);
	int fd = make_file(message, strlen(message));
	struct buf heard = { 0 };
	struct batch b;

	(void)state;
	smtp_session_init(&session, p.fd, 30);
	session.ehlo.extensions = SMTP_EXT_PIPELINING;
	session.ehlo.rcptmax = 1;
	session.is_reused = true;
	batch_prepare(&b, names, 2, &session.ehlo);
	smtp_message_open(&mail, fd, false);
	batch_run(&b, &sender, &session, &mail);
	assert_int_equal(peer_end(&p, &heard), 0);
	assert_string_equal(buf_text(&heard), script[0] + 1);
	assert_int_equal(b.nattempted, 2);
	assert_ptr_equal(batch_last(&b), &b.attempted[0]);
	assert_int_equal(batch_last(&b)->result.outcome, SMTP_STALE);
	assert_false(b.attempted[1].has_run);
	buf_finish(&heard);
	batch_finish(&b);
	close(fd);
}

/* All recipients together go over a new connection, where there is one. */
static void
wants_a_connection_with_room_for_all(void **state)
{
	static const char *const all[] = { ONE(0), TAKEN, ">250\r\n", ONE(1),
		TAKEN, ">250\r\n", NULL };
	static const char *const none[] = { NULL };
	static const struct {
		uint64_t mails, mailmax;
		const char *const *script;
		enum smtp_outcome outcome;
	} cases[] = {
		{ 1, 3, all, SMTP_DONE },
		{ 2, 3, none, SMTP_STALE },
		{ 2, 0, all, SMTP_DONE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct peer p = peer_start(peer_play, cases[i].script, 0);
		int fd = make_file(message, strlen(message));
		struct buf heard = { 0 };
		struct batch b;

		smtp_session_init(&session, p.fd, 30);
		session.ehlo.extensions = SMTP_EXT_PIPELINING;
		session.ehlo.rcptmax = 1;
		session.ehlo.mailmax = cases[i].mailmax;
		session.mails = cases[i].mails;
		session.is_reused = true;
		batch_prepare(&b, names, 2, &session.ehlo);
		smtp_message_open(&mail, fd, false);
		batch_run(&b, &sender, &session, &mail);
		assert_int_equal(batch_last(&b)->result.outcome,
		    cases[i].outcome);
		assert_int_equal(peer_end(&p, &heard), 0);
		buf_finish(&heard);
		batch_finish(&b);
		close(fd);
	}
}

/* A recipient that no command can hold is left out, and keeps its index. */
static void
leaves_out_unsendable_recipients(void **state)
{
	static const char *const script[] = { ONE(0), TAKEN, ">250 a\r\n",
		ONE(1), TAKEN, ">250 b\r\n", NULL };
	struct peer p = peer_start(peer_play, script, 0);
	int fd = make_file(message, strlen(message));
	struct buf heard = { 0 };
	struct batch b;

	(void)state;
	memset(long_name, 'x', sizeof long_name - 1);
	smtp_session_init(&session, p.fd, 30);
	session.ehlo.extensions = SMTP_EXT_PIPELINING;
	session.ehlo.rcptmax = 1;
	batch_prepare(&b, odd_names, 5, &session.ehlo);
	smtp_message_open(&mail, fd, false);
	batch_run(&b, &sender, &session, &mail);
	assert_int_equal(peer_end(&p, &heard), 0);
	assert_int_equal(b.nattempted, 2);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(letter_of(&b.verdict[i]), i % 2 ? 'a' : 'u');
	assert_int_equal(b.verdict[1].attempt, 0);
	assert_int_equal(b.verdict[3].attempt, 1);
	buf_finish(&heard);
	batch_finish(&b);
	close(fd);
}

/*
 * SMTPUTF8 is asked for where it is offered, for each transaction with an
 * address in UTF-8.  Otherwise addresses go as from stock, with quotes.
 */
static void
asks_for_smtputf8_where_an_address_needs_it(void **state)
{
	static char text[][8] = { "0@x", "\xc3\xa9@x", "\xe9@x", "a@\xc3\xa9" };
	char *const recipients[] = { text[0], text[1], text[2], text[3] };
	static const struct {
		unsigned extensions;
		const char *sender;
		bool needs_smtputf8;
		const char *script[20];
	} cases[] = {
		{ SMTP_EXT_PIPELINING | SMTP_EXT_SMTPUTF8, "s@x", false,
		    { ONE(0), TAKEN, ">250\r\n",
			"<MAIL FROM:<s@x> SMTPUTF8\r\n"
			"RCPT TO:<\xc3\xa9@x>\r\n" DATA,
			TAKEN, ">250\r\n",
			"<" MAIL "RCPT TO:<\"\xe9\"@x>\r\n" DATA, TAKEN,
			">250\r\n" } },
		{ SMTP_EXT_PIPELINING | SMTP_EXT_SMTPUTF8, "\xc3\xa9@x", true,
		    { "<MAIL FROM:<\xc3\xa9@x> SMTPUTF8\r\n" TO(0) DATA, TAKEN,
			">250\r\n",
			"<MAIL FROM:<\xc3\xa9@x> SMTPUTF8\r\n"
			"RCPT TO:<\xc3\xa9@x>\r\n" DATA,
			TAKEN, ">250\r\n",
			"<MAIL FROM:<\xc3\xa9@x> SMTPUTF8\r\n"
			"RCPT TO:<\"\xe9\"@x>\r\n" DATA,
			TAKEN, ">250\r\n" } },
		{ SMTP_EXT_PIPELINING, "s@x", true,
		    { ONE(0), TAKEN, ">250\r\n",
			"<" MAIL "RCPT TO:<\"\xc3\xa9\"@x>\r\n" DATA, TAKEN,
			">250\r\n", "<" MAIL "RCPT TO:<\"\xe9\"@x>\r\n" DATA,
			TAKEN, ">250\r\n" } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct batch_sender from = { cases[i].sender,
			cases[i].needs_smtputf8 };
		struct peer p = peer_start(peer_play, cases[i].script, 0);
		int fd = make_file(message, strlen(message));
		struct buf heard = { 0 };
		struct batch b;

		smtp_session_init(&session, p.fd, 30);
		session.ehlo.extensions = cases[i].extensions;
		session.ehlo.rcptmax = 1;
		batch_prepare(&b, recipients, 4, &session.ehlo);
		smtp_message_open(&mail, fd, false);
		batch_run(&b, &from, &session, &mail);
		if (peer_end(&p, &heard) != 0)
			fail_msg("case %zu: %s", i, buf_text(&heard));
		for (size_t k = 0; k < 4; k++)
			assert_int_equal(letter_of(&b.verdict[k]),
			    k < 3 ? 'a' : 'u');
		buf_finish(&heard);
		batch_finish(&b);
		close(fd);
	}
}

static void
sends_the_longest_path_that_a_command_can_hold(void **state)
{
	static char fits[SMTP_PATH_MAX + 1], too_long[SMTP_PATH_MAX + 2];
	static char *const recipients[] = { too_long, fits };
	struct batch b;

	(void)state;
	memset(fits, 'x', sizeof fits - 1);
	memset(too_long, 'x', sizeof too_long - 1);
	batch_prepare(&b, recipients, 2, &nothing);
	assert_int_equal(b.verdict[0].kind, VERDICT_UNSENDABLE);
	assert_int_equal(b.verdict[1].kind, VERDICT_NONE);
	assert_int_equal(b.npath, 1);
	assert_string_equal(b.path[0], fits);
	batch_finish(&b);
}

/* Without a recipient nothing is sent. */
static void
sends_nothing_without_recipients(void **state)
{
	static const char *const script[] = { NULL };
	struct peer p = peer_start(peer_play, script, 0);
	struct buf heard = { 0 };
	struct outcome o;
	struct batch b;

	(void)state;
	smtp_session_init(&session, p.fd, 30);
	batch_prepare(&b, odd_names, 1, &nothing);
	smtp_message_open(&mail, -1, false);
	batch_run(&b, &sender, &session, &mail);
	o = batch_outcome(&b, &session, &mail);
	peer_end(&p, &heard);
	assert_int_equal(heard.len, 0);
	assert_int_equal(o.nattempted, 1);
	assert_int_equal(o.attempted[0].result.end, SMTP_END_NONE_ACCEPTED);
	batch_finish(&b);
}

/* The server's limit is known, so no transaction is begun. */
static void
sends_nothing_that_is_too_large(void **state)
{
	static const char *const script[] = { NULL };
	struct peer p = peer_start(peer_play, script, 0);
	int fd = make_file(message, strlen(message));
	struct buf heard = { 0 };
	struct outcome o;
	struct batch b;

	(void)state;
	smtp_session_init(&session, p.fd, 30);
	session.ehlo.extensions = SMTP_EXT_SIZE;
	session.ehlo.size = 10;
	/* Looks like a reply to the commands that are not sent. */
	session.reply.code = 550;
	session.reply.len = strlen("550 no\n");
	memcpy(session.reply.text, "550 no\n", session.reply.len);
	session.ehlo.rcptmax = 1;
	batch_prepare(&b, names, 2, &session.ehlo);
	smtp_message_open(&mail, fd, true);
	batch_run(&b, &sender, &session, &mail);
	o = batch_outcome(&b, &session, &mail);
	peer_end(&p, &heard);
	assert_int_equal(heard.len, 0);
	assert_int_equal(o.nattempted, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(letter_of(&o.verdict[i]), '-');
		assert_true(o.attempted[i].has_run);
		assert_int_equal(o.attempted[i].result.end, SMTP_END_TOO_LARGE);
		assert_int_equal(o.attempted[i].code, 0);
		assert_int_equal(o.attempted[i].reply.len, 0);
	}
	assert_false(o.is_pipelined);
	assert_int_equal(o.size_limit, 10);
	assert_int_equal(o.size,
	    strlen(mail_data) - strlen("..") - strlen(".\r\n"));
	batch_finish(&b);
	close(fd);
}

/* A message that cannot be rewound is sent only once. */
static void
reads_a_pipe_once(void **state)
{
	static const char *const script[] = { ONE(0), TAKEN, ">250 a\r\n",
		NULL };
	struct peer p = peer_start(peer_play, script, 0);
	struct buf heard = { 0 };
	struct batch b;
	int pair[2];

	(void)state;
	assert_int_equal(pipe(pair), 0);
	assert_int_equal(write(pair[1], "x\n", 2), 2);
	close(pair[1]);
	smtp_session_init(&session, p.fd, 30);
	session.ehlo.extensions = SMTP_EXT_PIPELINING;
	session.ehlo.rcptmax = 1;
	batch_prepare(&b, names, 3, &session.ehlo);
	smtp_message_open(&mail, pair[0], false);
	batch_run(&b, &sender, &session, &mail);
	assert_int_equal(peer_end(&p, &heard), 0);
	assert_int_equal(b.attempted[1].result.end, SMTP_END_MESSAGE);
	assert_true(b.attempted[1].has_run);
	assert_false(b.attempted[2].has_run);
	buf_finish(&heard);
	batch_finish(&b);
	close(pair[0]);
}

#define RECIPIENTS 200
#define LONG_REPLY 2000
#define DELIVERED 150

/* Reads up to DATA; replies to RSET at once, to the others all together. */
static void
hear_group(int fd, int record)
{
	char line[64] = { 0 };
	size_t n = 0;

	while (strcmp(line, "DATA\r\n") != 0) {
		memset(line, 0, sizeof line);
		n = 0;
		do
			if (n == sizeof line - 1 ||
			    peer_hear(fd, record, line + n, 1) != 1)
				_exit(7);
		while (line[n++] != '\n');
		if (strcmp(line, "RSET\r\n") == 0)
			peer_say(fd, "250\r\n", 5);
	}
}

/* Refuses each message except the last one, with long replies. */
static void
peer_talks_much(int fd, int record, const void *context)
{
	char reply[LONG_REPLY];

	(void)context;
	memset(reply, 'x', sizeof reply);
	memcpy(reply, "554 ", 4);
	memcpy(reply + sizeof reply - 2, "\r\n", 2);
	for (int i = 1; i <= RECIPIENTS; i++) {
		hear_group(fd, record);
		peer_say(fd, "250\r\n250\r\n354\r\n", 15);
		peer_hear_mail_data(fd, record);
		if (i == DELIVERED)
			peer_say(fd, "250 this one\r\n", 14);
		else
			peer_say(fd, reply, sizeof reply);
	}
	peer_listen(fd, record);
}

/* Even after many long replies, the reply to the delivered message is kept. */
static void
keeps_the_reply_that_counts(void **state)
{
	static char text[RECIPIENTS][16];
	static char *recipients[RECIPIENTS];
	struct peer p;
	int fd = make_file(message, strlen(message));
	struct buf heard = { 0 };
	struct outcome_message m;
	struct outcome o;
	struct batch b;
	size_t kept = 0;

	(void)state;
	for (int i = 0; i < RECIPIENTS; i++) {
		snprintf(text[i], sizeof text[i], "%d@x", i);
		recipients[i] = text[i];
	}
	p = peer_start(peer_talks_much, NULL, 0);
	smtp_session_init(&session, p.fd, 30);
	session.ehlo.extensions = SMTP_EXT_PIPELINING;
	session.ehlo.rcptmax = 1;
	batch_prepare(&b, recipients, RECIPIENTS, &session.ehlo);
	smtp_message_open(&mail, fd, false);
	batch_run(&b, &sender, &session, &mail);
	o = batch_outcome(&b, &session, &mail);
	peer_end(&p, &heard);
	outcome_message(&o, &m);
	assert_int_equal(m.kind, REPORT_DELIVERED);
	assert_int_equal(m.reply.len, strlen("250 this one\n"));
	assert_memory_equal(m.reply.bytes, "250 this one\n", m.reply.len);
	for (size_t i = 0; i + 1 < o.nattempted; i++)
		kept += o.attempted[i].reply.len;
	assert_true(kept <= BATCH_KEPT_MAX);
	buf_finish(&heard);
	batch_finish(&b);
	close(fd);
}

/* Two sessions in one process do not affect each other. */
static void
two_sessions_do_not_affect_each_other(void **state)
{
	static const char *const script_a[] = { ONE(0),
		">250\r\n250\r\n451\r\n", "<RSET\r\n", ">250\r\n", ONE(0),
		TAKEN, ">250 a\r\n", NULL };
	static const char *const script_b[] = { ONE(0), TAKEN, ">250 b\r\n",
		ONE(0), ">250\r\n550\r\n503\r\n", NULL };
	static struct smtp_session s[2];
	static struct smtp_message m[2];
	struct peer p[2] = { peer_start(peer_play, script_a, 0),
		peer_start(peer_play, script_b, 0) };
	struct buf heard = { 0 };
	struct batch b[4];
	int fd[2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		fd[i] = make_file(message, strlen(message));
		smtp_session_init(&s[i], p[i].fd, 30);
		s[i].ehlo.extensions = SMTP_EXT_PIPELINING;
		smtp_message_open(&m[i], fd[i], false);
	}
	for (int i = 0; i < 4; i++)
		batch_prepare(&b[i], names, 1, &nothing);

	batch_run(&b[0], &sender, &s[0], &m[0]);
	assert_int_equal(s[0].state.phase, SMTP_PHASE_OPEN);
	assert_int_equal(b[0].attempted[0].result.end, SMTP_END_DATA);
	batch_run(&b[1], &sender, &s[1], &m[1]);
	assert_int_equal(s[1].state.phase, SMTP_PHASE_READY);
	assert_int_equal(s[0].state.phase, SMTP_PHASE_OPEN);
	assert_int_equal(b[1].attempted[0].code, 250);
	batch_run(&b[2], &sender, &s[0], &m[0]);
	assert_int_equal(s[0].state.phase, SMTP_PHASE_READY);
	assert_int_equal(b[2].attempted[0].result.outcome, SMTP_DONE);
	batch_run(&b[3], &sender, &s[1], &m[1]);
	assert_int_equal(s[1].state.phase, SMTP_PHASE_OPEN);
	assert_int_equal(b[3].attempted[0].result.end, SMTP_END_NONE_ACCEPTED);

	/* The child started last has a copy of the other's end. */
	for (int i = 1; i >= 0; i--) {
		assert_int_equal(peer_end(&p[i], &heard), 0);
		close(fd[i]);
	}
	for (int i = 0; i < 4; i++)
		batch_finish(&b[i]);
	buf_finish(&heard);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_transactions),
		cmocka_unit_test(ends_with_a_stale_transaction),
		cmocka_unit_test(wants_a_connection_with_room_for_all),
		cmocka_unit_test(leaves_out_unsendable_recipients),
		cmocka_unit_test(asks_for_smtputf8_where_an_address_needs_it),
		cmocka_unit_test(
		    sends_the_longest_path_that_a_command_can_hold),
		cmocka_unit_test(sends_nothing_without_recipients),
		cmocka_unit_test(sends_nothing_that_is_too_large),
		cmocka_unit_test(reads_a_pipe_once),
		cmocka_unit_test(keeps_the_reply_that_counts),
		cmocka_unit_test(two_sessions_do_not_affect_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
