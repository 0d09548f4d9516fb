/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "delivery/record.h"
#include "qmail/report.h"
#include "tls/status.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define TEXT(s) \
	{ \
		s, sizeof s - 1 \
	}
#define NO_TEXT \
	{ \
		NULL, 0 \
	}

/* How qmail-remote-tls ended. */
struct helper {
	enum tls_end end; /* its last status record; NONE: there was none */
	int code;
	bool is_foreign; /* a child of another process */
};

/* Everything that a report depends on. */
struct told {
	const struct verdict *verdict;
	size_t nverdict;
	const struct attempted *attempted;
	size_t nattempted;
	const char *host, *before, *tls;
	bool is_closed; /* the connection */
	const struct helper *helper;
};

static void
start_helper(const struct helper *helper, struct handoff *h)
{
	char record[TLS_RECORD_SIZE];
	int ends[2];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	pid = fork();
	if (pid == 0) {
		size_t n = 0;

		if (helper->end != TLS_END_NONE)
			n = tls_end_format(record, helper->end, "its words");
		if (send(ends[1], record, n, 0) != (ssize_t)n)
			_exit(99);
		_exit(helper->code);
	}
	close(ends[1]);
	h->helper = helper->is_foreign ? 0 : (unsigned long)pid;
	h->status = (unsigned long)ends[0];
}

static void
tell(const struct told *t)
{
	static struct smtp_session session;
	const struct outcome o = { .verdict = t->verdict,
		.nverdict = t->nverdict,
		.attempted = t->attempted,
		.nattempted = t->nattempted };
	struct handoff h = { .address = "192.0.2.1",
		.host = t->host,
		.before = t->before,
		.tls = t->tls };
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	smtp_session_init(&session, ends[0], 1);
	if (t->is_closed)
		close(ends[1]);
	if (t->helper)
		start_helper(t->helper, &h);
	record_outcome(&o, &h, &session);
	report_end();
}

/*
 * The report is written by a child, because a process has only one.  In it '|'
 * stands for the NUL that ends a record.
 */
static void
check(const char *name, const struct told *t, const char *want)
{
	struct buf heard = { 0 };
	char piece[4096];
	int ends[2], status;
	ssize_t got;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		alarm(60);
		dup2(ends[1], 1);
		close(ends[0]);
		close(ends[1]);
		tell(t);
		_exit(0);
	}
	close(ends[1]);
	while ((got = read(ends[0], piece, sizeof piece)) > 0)
		buf_append(&heard, piece, (size_t)got);
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	for (size_t i = 0; i < heard.len; i++)
		if (heard.data[i] == '\0')
			heard.data[i] = '|';
	if (strcmp(buf_text(&heard), want) != 0)
		fail_msg("%s: %s", name, buf_text(&heard));
	buf_finish(&heard);
}

static const struct verdict accepted = { VERDICT_ACCEPTED, false, 0, NO_TEXT };
static const struct verdict none = { VERDICT_NONE, false, 0, NO_TEXT };
static const struct attempted delivered = { true,
	{ SMTP_END_MAIL_DATA, SMTP_DONE, false, 1 }, 250, TEXT("250 ok\n") };
static const struct attempted nobody_accepted = { true,
	{ SMTP_END_NONE_ACCEPTED, SMTP_REFUSED, false, 0 }, 0, NO_TEXT };
static const struct attempted unreadable = { true,
	{ SMTP_END_MESSAGE, SMTP_DIED, false, 1 }, 0, NO_TEXT };
static const struct attempted died = { true,
	{ SMTP_END_MAIL_DATA, SMTP_DIED, false, 1 }, 0, NO_TEXT };
static const struct attempted in_doubt = { true,
	{ SMTP_END_MAIL_DATA, SMTP_DIED, true, 1 }, 0, NO_TEXT };
static const struct attempted too_large = { true,
	{ SMTP_END_TOO_LARGE, SMTP_REFUSED, false, 0 }, 0, NO_TEXT };

#define ACCEPTED "192.0.2.1 accepted message.\nRemote host said: 250 ok\n"
#define DIED "Connected to 192.0.2.1 but connection died. (#4.4.2)\n"
#define IN_DOUBT \
	"Connected to 192.0.2.1 but connection died. Possible duplicate! " \
	"(#4.4.2)\n"

static void
names_the_server_if_it_is_involved(void **state)
{
	static const struct {
		const char *name;
		const struct attempted *a;
		const char *report;
	} cases[] = {
		{ "delivered", &delivered, "r|K" ACCEPTED "|" },
		{ "died", &died, "r|Z" DIED "|" },
		{ "in doubt", &in_doubt, "r|Z" IN_DOUBT "|" },
		{ "nobody accepted", &nobody_accepted,
		    "r|DGiving up on 192.0.2.1.\n|" },
		{ "too large", &too_large,
		    "r|D192.0.2.1 takes messages of 0 bytes, this one has 0. "
		    "(#5.3.4)\n|" },
		{ "unreadable", &unreadable,
		    "r|ZUnable to read message. (#4.3.0)\n|" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct told t = { .verdict = &accepted,
			.nverdict = 1,
			.attempted = cases[i].a,
			.nattempted = 1 };

		check(cases[i].name, &t, cases[i].report);
	}
}

/*
 * The results of recipients after the first one without a reply are not known.
 */
static void
writes_records_up_to_the_first_missing_reply(void **state)
{
	static const struct verdict for_good = { VERDICT_REFUSED, true, 0,
		TEXT("550 no\n") };
	static const struct verdict for_now = { VERDICT_REFUSED, false, 0,
		TEXT("450 no\n") };
	static const struct verdict unsendable = { VERDICT_UNSENDABLE, false, 0,
		NO_TEXT };
	const struct verdict all[] = { for_good, accepted, unsendable, for_now,
		accepted };
	const struct verdict some[] = { accepted, for_good, none, accepted };
	const struct told whole = { .verdict = all,
		.nverdict = COUNT(all),
		.attempted = &delivered,
		.nattempted = 1 };
	const struct told part = { .verdict = some,
		.nverdict = COUNT(some),
		.attempted = &died,
		.nattempted = 1 };

	(void)state;
	check("all", &whole,
	    "h192.0.2.1 does not like recipient.\n"
	    "Remote host said: 550 no\n|"
	    "r|"
	    "hSorry, that address cannot be sent by SMTP. (#5.1.3)\n|"
	    "s192.0.2.1 does not like recipient.\n"
	    "Remote host said: 450 no\n|"
	    "r|"
	    "K" ACCEPTED "|");
	check("some", &part,
	    "r|"
	    "h192.0.2.1 does not like recipient.\n"
	    "Remote host said: 550 no\n|"
	    "Z" DIED "|");
}

/*
 * The message record is K: recipients that did not get the message need a
 * record that says so.
 */
static void
marks_recipients_of_failed_transactions(void **state)
{
	static const struct verdict second = { VERDICT_ACCEPTED, false, 1,
		NO_TEXT };
	const struct verdict verdicts[] = { accepted, second };
	const struct attempted attempted[] = { delivered, in_doubt };
	const struct told t = { .verdict = verdicts,
		.nverdict = 2,
		.attempted = attempted,
		.nattempted = 2 };

	(void)state;
	check("two transactions", &t,
	    "r|"
	    "s192.0.2.1 may have the message. Possible duplicate!\n|"
	    "K" ACCEPTED "|");
}

static void
writes_a_line_for_each_known_fact(void **state)
{
	static const struct {
		const char *host, *before, *tls;
		const char *lines;
	} cases[] = {
		{ NULL, NULL, NULL, "" },
		{ "mx.example", NULL, NULL, "Server: mx.example\n" },
		{ NULL, NULL, "TLSv1.3 X", "TLS: TLSv1.3 X\n" },
		{ NULL, "", NULL, "" },
		{ NULL, "a: no", NULL, "Tried before: a: no\n" },
		{ NULL, "a: no\n", NULL, "Tried before: a: no\n" },
		{ "mx.example", "a: no\nb: never", "TLSv1.3 X",
		    "Server: mx.example\n"
		    "Tried before: a: no\n"
		    "Tried before: b: never\n"
		    "TLS: TLSv1.3 X\n" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct told t = { .verdict = &accepted,
			.nverdict = 1,
			.attempted = &delivered,
			.nattempted = 1,
			.host = cases[i].host,
			.before = cases[i].before,
			.tls = cases[i].tls };
		struct buf want = { 0 };

		buf_printf(&want, "r|K" ACCEPTED "%s|", cases[i].lines);
		check("lines", &t, buf_text(&want));
		buf_finish(&want);
	}
}

/* A line of any length: it is cut if it does not fit, without an overrun. */
static void
cuts_only_a_long_line(void **state)
{
	(void)state;
	for (int n = 997; n <= 1003; n++) {
		struct buf before = { 0 }, want = { 0 };
		struct told t = { .verdict = &accepted,
			.nverdict = 1,
			.attempted = &delivered,
			.nattempted = 1 };
		int shown = n < 999 ? n : 999;

		buf_printf(&before, "%0*d\nb: never", n, 0);
		buf_printf(&want,
		    "r|K" ACCEPTED "Tried before: %0*d\n"
		    "Tried before: b: never\n|",
		    shown, 0);
		t.before = buf_text(&before);
		check("long line", &t, buf_text(&want));
		buf_finish(&before);
		buf_finish(&want);
	}
}

/*
 * If the connection has ended, that may be a failure of our own helper: then
 * the report says so, and otherwise nothing.
 */
static void
distinguishes_helper_failures_from_server_failures(void **state)
{
	static const struct helper silent = { TLS_END_NONE, 3, false };
	static const struct helper local = { TLS_END_LOCAL, 0, false };
	static const struct helper server = { TLS_END_SERVER, 0, false };
	static const struct helper broken = { TLS_END_BROKEN, 0, false };
	static const struct helper far_silent = { TLS_END_NONE, 3, true };
	static const struct helper far_local = { TLS_END_LOCAL, 0, true };
	static const struct helper far_server = { TLS_END_SERVER, 0, true };
	static const struct {
		const char *name;
		const struct attempted *a;
		bool is_closed;
		const struct helper *helper;
		const char *report;
	} cases[] = {
		{ "no helper", &died, true, NULL, "Z" DIED "|" },
		{ "the helper died", &died, true, &silent,
		    "Z" DIED "qmail-remote-tls: exit code 3\n|" },
		{ "the helper died, in doubt", &in_doubt, true, &silent,
		    "Z" IN_DOUBT "qmail-remote-tls: exit code 3\n|" },
		{ "the helper failed", &died, true, &local,
		    "Z" DIED "its words\n|" },
		{ "one that is not our child died", &died, true, &far_silent,
		    "Z" DIED
		    "qmail-remote-tls: ended for an unknown reason\n|" },
		{ "one that is not our child failed", &died, true, &far_local,
		    "Z" DIED "its words\n|" },
		{ "the server closed, not our child", &died, true, &far_server,
		    "Z" DIED "|" },
		{ "the server closed", &died, true, &server, "Z" DIED "|" },
		{ "the connection broke", &died, true, &broken, "Z" DIED "|" },
		{ "the server is silent", &died, false, &local, "Z" DIED "|" },
		{ "delivered before", &delivered, true, &local,
		    "K" ACCEPTED "|" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct told t = { .attempted = cases[i].a,
			.nattempted = 1,
			.is_closed = cases[i].is_closed,
			.helper = cases[i].helper };

		check(cases[i].name, &t, cases[i].report);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_the_server_if_it_is_involved),
		cmocka_unit_test(writes_records_up_to_the_first_missing_reply),
		cmocka_unit_test(marks_recipients_of_failed_transactions),
		cmocka_unit_test(writes_a_line_for_each_known_fact),
		cmocka_unit_test(cuts_only_a_long_line),
		cmocka_unit_test(
		    distinguishes_helper_failures_from_server_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
