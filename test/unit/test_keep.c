/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cache/message.h"
#include "delivery/keep.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* A session that can be kept, and the other ends of its descriptors. */
struct stage {
	struct handoff handoff;
	struct attempted last;
	int server, helper, broker;
};

static struct smtp_session session;
static char bytes[CACHE_MESSAGE_MAX];

static void
pair(int type, unsigned long *ours, int *other)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, type, 0, ends), 0);
	assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
	*ours = (unsigned long)ends[0];
	*other = ends[1];
}

static void
set_stage(struct stage *s)
{
	*s = (struct stage){
		.last = { true, { SMTP_END_MAIL_DATA, SMTP_DONE, false, 1 },
		    250, { NULL, 0 } },
	};
	pair(SOCK_STREAM, &s->handoff.fd, &s->server);
	pair(SOCK_STREAM, &s->handoff.status, &s->helper);
	pair(SOCK_SEQPACKET, &s->handoff.cache, &s->broker);
	smtp_session_init(&session, (int)s->handoff.fd, 60);
	session.mails = 7;
}

static void
close_if_open(int fd)
{
	if (fd > 0)
		close(fd);
}

static void
clear_stage(struct stage *s)
{
	close_if_open((int)s->handoff.fd);
	close_if_open((int)s->handoff.status);
	close_if_open((int)s->handoff.cache);
	close_if_open(s->server);
	close_if_open(s->helper);
	close_if_open(s->broker);
}

/* What the broker gets: the message, and descriptors of the same sockets. */
static void
expect_kept(struct stage *s, bool with_tls)
{
	static struct cache_message message;
	size_t nfd = PASS_MAX;
	int fd[PASS_MAX];
	ssize_t n = pass_receive(s->broker, bytes, sizeof bytes, fd, &nfd);
	char c;

	assert_true(n > 0);
	assert_true(cache_message_parse(&message, bytes, (size_t)n));
	assert_int_equal(message.kind, CACHE_KEEP);
	assert_int_equal(message.session.used, 7);
	assert_int_equal(nfd, with_tls ? 2 : 1);

	/* The session lives on after its delivery has ended. */
	close((int)s->handoff.fd);
	assert_int_equal(write(fd[CACHE_FD_SESSION], "Q", 1), 1);
	assert_int_equal(read(s->server, &c, 1), 1);
	assert_int_equal(c, 'Q');
	if (with_tls) {
		close((int)s->handoff.status);
		assert_int_equal(write(s->helper, "e", 1), 1);
		assert_int_equal(read(fd[CACHE_FD_STATUS], &c, 1), 1);
		assert_int_equal(c, 'e');
		close(fd[CACHE_FD_STATUS]);
	}
	close(fd[CACHE_FD_SESSION]);
	s->handoff.fd = s->handoff.status = 0;
}

static void
hands_over_a_session_in_tls(void **state)
{
	struct stage s;

	(void)state;
	set_stage(&s);
	assert_true(keep_session(&s.handoff, &session, &s.last, bytes));
	expect_kept(&s, true);
	clear_stage(&s);
}

static void
hands_over_a_session_in_clear_text(void **state)
{
	struct stage s;
	char c;

	(void)state;
	set_stage(&s);
	close((int)s.handoff.status);
	s.handoff.status = 0;
	assert_true(keep_session(&s.handoff, &session, &s.last, bytes));
	/* Nothing was said to the server, QUIT for example. */
	assert_int_equal(read(s.server, &c, 1), -1);
	assert_int_equal(errno, EAGAIN);
	expect_kept(&s, false);
	clear_stage(&s);
}

/* Each makes the session, or the broker, one that nothing is handed over to. */
static void
without_broker(struct stage *s)
{
	close((int)s->handoff.cache);
	s->handoff.cache = 0;
}

static void
with_refused_message(struct stage *s)
{
	s->last.result.outcome = SMTP_REFUSED;
}

static void
with_refused_recipients(struct stage *s)
{
	s->last.result.end = SMTP_END_NONE_ACCEPTED;
}

static void
with_refused_parameters(struct stage *s)
{
	(void)s;
	session.has_refused_parameters = true;
}

static void
within_a_transaction(struct stage *s)
{
	(void)s;
	session.state.phase = SMTP_PHASE_OPEN;
}

static void
with_outstanding_reply(struct stage *s)
{
	(void)s;
	session.state.outstanding[SMTP_COMMAND_EMPTY_END] = 1;
}

static void
with_unsent_bytes(struct stage *s)
{
	(void)s;
	stream_put(&session.stream, "x", 1);
}

static void
say(int fd, const char *text)
{
	size_t n = strlen(text);

	assert_int_equal(write(fd, text, n), n);
}

static void
within_a_line(struct stage *s)
{
	say(s->server, "hel");
	assert_int_equal(smtp_session_expect_silence(&session), SMTP_DONE);
	assert_true(smtp_session_is_within_line(&session));
}

static void
with_a_reply(struct stage *s)
{
	say(s->server, "421 bye\r\n");
}

static void
with_a_line_without_code(struct stage *s)
{
	say(s->server, "\r\n");
}

static void
after_close(struct stage *s)
{
	close(s->server);
	s->server = 0;
}

static void
with_a_status_record(struct stage *s)
{
	say(s->helper, "e");
}

static void
without_helper(struct stage *s)
{
	close(s->helper);
	s->helper = 0;
}

static void
after_the_end_of_the_broker(struct stage *s)
{
	close(s->broker);
	s->broker = 0;
}

static void
with_a_broker_that_does_not_read(struct stage *s)
{
	while (send((int)s->handoff.cache, "x", 1, 0) == 1)
		;
	assert_int_equal(errno, EAGAIN);
}

/* There is no message for the broker, and the session is ours to end. */
/* On a connection that was used before, qmail-remote hands it over. */
static void
tells_how_often_a_session_was_used(void **state)
{
	struct stage s;
	char text[8] = "";
	int ends[2];

	(void)state;
	set_stage(&s);
	without_broker(&s);
	assert_int_equal(pipe(ends), 0);
	s.handoff.progress = (unsigned long)ends[1];
	assert_true(keep_session(&s.handoff, &session, &s.last, bytes));
	assert_int_equal(read(ends[0], text, sizeof text), 1);
	assert_string_equal(text, "7");
	with_refused_message(&s);
	assert_false(keep_session(&s.handoff, &session, &s.last, bytes));
	close(ends[0]);
	/* Nobody reads it. */
	s.last.result.outcome = SMTP_DONE;
	assert_false(keep_session(&s.handoff, &session, &s.last, bytes));
	close(ends[1]);
	clear_stage(&s);
}

static void
keeps_nothing_else(void **state)
{
	static const struct {
		const char *name;
		void (*change)(struct stage *);
	} cases[] = {
		{ "no broker", without_broker },
		{ "message refused", with_refused_message },
		{ "recipients refused", with_refused_recipients },
		{ "parameters refused", with_refused_parameters },
		{ "in a transaction", within_a_transaction },
		{ "outstanding reply", with_outstanding_reply },
		{ "unsent bytes", with_unsent_bytes },
		{ "part of a line", within_a_line },
		{ "421", with_a_reply },
		{ "a line without a code", with_a_line_without_code },
		{ "closed", after_close },
		{ "TLS has ended", with_a_status_record },
		{ "the helper is gone", without_helper },
		{ "the broker is gone", after_the_end_of_the_broker },
		{ "the broker is stuck", with_a_broker_that_does_not_read },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char word[8] = "";
		struct stage s;

		set_stage(&s);
		cases[i].change(&s);
		if (keep_session(&s.handoff, &session, &s.last, bytes))
			fail_msg("%s: kept", cases[i].name);
		if (s.broker > 0 && s.handoff.cache > 0 &&
		    recv(s.broker, word, sizeof word, 0) > 0 && word[0] != 'x')
			fail_msg("%s: the broker was told", cases[i].name);
		clear_stage(&s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hands_over_a_session_in_tls),
		cmocka_unit_test(hands_over_a_session_in_clear_text),
		cmocka_unit_test(tells_how_often_a_session_was_used),
		cmocka_unit_test(keeps_nothing_else),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
