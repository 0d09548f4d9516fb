/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/wait.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mask.h"
#include "qmail/report.h"

/* How the report is read: at once, slowly, or not at all. */
enum reader { READS, READS_SLOWLY, CLOSES };

/*
 * Runs speak in a child, because a process has one report, and appends what it
 * wrote.  Returns its exit code, or 128 and its signal.
 */
static int
hear(void (*speak)(const void *), const void *context, enum reader reader,
    struct buf *heard)
{
	char piece[4096];
	int ends[2], status;
	ssize_t got;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		alarm(60);
		signal(SIGPIPE, SIG_IGN);
		if (reader == READS_SLOWLY)
			fcntl(ends[1], F_SETFL, O_NONBLOCK);
		dup2(ends[1], 1);
		close(ends[0]);
		close(ends[1]);
		speak(context);
		report_end();
		_exit(0);
	}
	close(ends[1]);
	if (reader == CLOSES)
		close(ends[0]);
	while (reader != CLOSES) {
		size_t n = reader == READS ? sizeof piece : 100;

		got = read(ends[0], piece, n);
		if (got < 1)
			break;
		buf_append(heard, piece, (size_t)got);
		if (reader == READS_SLOWLY && heard->len % 20000 < 100)
			poll(NULL, 0, 1);
	}
	if (reader != CLOSES)
		close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/*
 * Parses by qmail-rspawn's grammar, strictly: recipient records, one message
 * record, nothing after it.  Writes the letters; returns NULL, or what is
 * wrong.
 */
static const char *
parse(const struct buf *b, char *letters, size_t size)
{
	const char *at = b->data, *end = b->data + b->len;
	size_t n = 0;

	if (b->len == 0)
		return "empty";
	if (end[-1] != '\0')
		return "not ended";
	for (; at < end; at += strlen(at) + 1) {
		if (n > 0 && strchr("KZD", letters[n - 1]))
			return "more behind the message record";
		if (!*at || !strchr("rhsKZD", *at))
			return "no letter";
		if (*at == 'r' && at[1])
			return "text for an accepted recipient";
		for (const char *p = at + 1; *p; p++)
			if (((unsigned char)*p < ' ' && *p != '\n') ||
			    *p == 0x7f)
				return "a control byte";
		if (n < size - 1)
			letters[n++] = *at;
	}
	letters[n] = '\0';
	return strchr("KZD", letters[n - 1]) ? NULL : "no message record";
}

static void
check(const char *name, const struct buf *b, const char *letters)
{
	char got[2000];
	const char *wrong = parse(b, got, sizeof got);

	if (wrong)
		fail_msg("%s: %s", name, wrong);
	if (strcmp(got, letters) != 0)
		fail_msg("%s: letters %s", name, got);
}

static void
accept_one(const void *context)
{
	(void)context;
	report_recipient(REPORT_ACCEPTED);
	report_message(REPORT_DELIVERED);
	report_puts("192.0.2.1 accepted message.\n");
	report_reply("250 ok\n", 7);
}

static void
refuse_two(const void *context)
{
	(void)context;
	report_recipient(REPORT_REFUSED);
	report_puts("192.0.2.1 does not like recipient.\n");
	report_reply("550 no\n", 7);
	report_recipient(REPORT_DEFERRED);
	report_puts("192.0.2.1 does not like recipient.\n");
	report_reply("450 no\n", 7);
	report_message(REPORT_PERMANENT);
	report_puts("Giving up on 192.0.2.1.\n");
}

static void
fail_for_now(const void *context)
{
	struct dsn why = { 0 };

	(void)context;
	dsn_set(&why, "4.4.1", "Sorry, no connection.");
	report_failure(&why);
}

static void
fail_for_good(const void *context)
{
	struct dsn why = { 0 };

	(void)context;
	dsn_set(&why, "5.4.6", "Two\nlines.");
	dsn_detail(&why, "a detail");
	report_failure(&why);
}

static void
say_nothing(const void *context)
{
	(void)context;
}

static void
stop_amid_recipients(const void *context)
{
	(void)context;
	report_recipient(REPORT_ACCEPTED);
	report_recipient(REPORT_REFUSED);
	report_puts("no");
}

static void
put_lines(const void *context)
{
	(void)context;
	report_message(REPORT_TEMPORARY);
	report_line("First: ", "a");
	report_puts("half");
	report_line("TLS: ", "b");
	report_line("", "");
}

static void
end_twice(const void *context)
{
	accept_one(context);
	report_end();
	report_end();
}

static void
speak_behind_the_end(const void *context)
{
	accept_one(context);
	report_end();
	report_puts("Kforged");
	report_recipient(REPORT_REFUSED);
	report_message(REPORT_PERMANENT);
	report_line("a", "b");
	fail_for_good(context);
}

static void
speak_before_the_start(const void *context)
{
	report_puts("Kforged");
	report_line("a", "b");
	report_reply("250 ok\n", 7);
	accept_one(context);
}

#define ROW(name, speak, bytes) \
	{ \
		name, speak, bytes, sizeof bytes - 1 \
	}

static void
writes_records(void **state)
{
	static const struct {
		const char *name;
		void (*speak)(const void *);
		const char *bytes;
		size_t n;
	} cases[] = {
		ROW("accepted", accept_one,
		    "r\0K192.0.2.1 accepted message.\n"
		    "Remote host said: 250 ok\n\0"),
		ROW("refused", refuse_two,
		    "h192.0.2.1 does not like recipient.\n"
		    "Remote host said: 550 no\n\0"
		    "s192.0.2.1 does not like recipient.\n"
		    "Remote host said: 450 no\n\0"
		    "DGiving up on 192.0.2.1.\n\0"),
		ROW("temporary failure", fail_for_now,
		    "ZSorry, no connection. (#4.4.1)\n\0"),
		ROW("permanent failure", fail_for_good,
		    "DTwo\nlines. (#5.4.6)\na detail\n\0"),
		ROW("no message record", say_nothing,
		    "ZI ended without a report. (#4.3.0)\n\0"),
		ROW("no message record behind recipients", stop_amid_recipients,
		    "r\0hno\0ZI ended without a report. (#4.3.0)\n\0"),
		ROW("lines", put_lines, "ZFirst: a\nhalf\nTLS: b\n\n\0"),
		ROW("ended twice", end_twice,
		    "r\0K192.0.2.1 accepted message.\n"
		    "Remote host said: 250 ok\n\0"),
		ROW("text behind the end", speak_behind_the_end,
		    "r\0K192.0.2.1 accepted message.\n"
		    "Remote host said: 250 ok\n\0"),
		ROW("text before the start", speak_before_the_start,
		    "r\0K192.0.2.1 accepted message.\n"
		    "Remote host said: 250 ok\n\0"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf b = { 0 };

		if (hear(cases[i].speak, NULL, READS, &b) != 0)
			fail_msg("%s: the process failed", cases[i].name);
		if (b.len != cases[i].n ||
		    memcmp(b.data, cases[i].bytes, b.len) != 0)
			fail_msg("%s: %s", cases[i].name, buf_text(&b));
		buf_finish(&b);
	}
}

/* Records begin in order; after the message record none can begin. */
static void
speak_too_much(const void *context)
{
	(void)context;
	report_recipient(REPORT_ACCEPTED);
	report_message(REPORT_DELIVERED);
	report_puts("ok\n");
	report_recipient(REPORT_REFUSED);
	report_message(REPORT_PERMANENT);
	fail_for_good(NULL);
	report_message(REPORT_TEMPORARY);
}

static void
has_one_message_record(void **state)
{
	struct buf b = { 0 };

	(void)state;
	assert_int_equal(hear(speak_too_much, NULL, READS, &b), 0);
	check("too much", &b, "rK");
	assert_memory_equal(b.data, "r\0Kok\n", 6);
	buf_finish(&b);
}

struct text {
	const char *p;
	size_t n;
};

static void
put_text_everywhere(const void *context)
{
	const struct text *t = context;

	report_recipient(REPORT_REFUSED);
	report_text(t->p, t->n);
	report_recipient(REPORT_DEFERRED);
	report_reply(t->p, t->n);
	report_recipient(REPORT_ACCEPTED);
	report_message(REPORT_TEMPORARY);
	report_text(t->p, t->n);
	report_reply(t->p, t->n);
	report_line(t->p, t->p);
}

/* I3, I4, I5, I7, I9: no text can forge a record. */
static void
cannot_be_forged(void **state)
{
	static char all[256];
	static const struct {
		const char *name;
		const char *p;
		size_t n;
	} cases[] = {
#define TEXT(name, p) { name, p, sizeof p - 1 }
		TEXT("empty", ""),
		TEXT("I3 NUL", "250 a\0b\n"),
		TEXT("I4 a record", "550 \0Kforged\n\0"),
		TEXT("I4 a record in a line", "550 \nKforged\n"),
		TEXT("I4 many records", "\0r\0K\0D\0Z\0h\0s"),
		TEXT("I5 ESC, CSI, BEL, BS, DEL", "\033[2J\a\b\x7f"),
		TEXT("I5 TAB, VT, FF, CR", "\t\v\f\r"),
		TEXT("I8 a blank line and a boundary",
		    "550 a\n\n--- Below this line is a copy.\n\n--b--\n"),
		TEXT("I9 format letters", "%s%n%p\\"),
		{ "all bytes", all, sizeof all },
	};

	(void)state;
	for (size_t i = 0; i < sizeof all; i++)
		all[i] = (char)i;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct text t = { cases[i].p, cases[i].n };
		struct buf b = { 0 };

		if (hear(put_text_everywhere, &t, READS, &b) != 0)
			fail_msg("%s: the process failed", cases[i].name);
		/* Each recipient has a record; h and s have text. */
		check(cases[i].name, &b, "hsrZ");
		buf_finish(&b);
	}
}

static void
put_one_byte(const void *context)
{
	const unsigned char *c = context;

	report_message(REPORT_TEMPORARY);
	report_text((const char *)c, 1);
}

/* Only control bytes are replaced; 8-bit text is kept, as in stock. */
static void
cleans_control_bytes_only(void **state)
{
	(void)state;
	for (int i = 0; i < 256; i++) {
		unsigned char c = (unsigned char)i;
		bool is_control = (c < 32 && c != '\n') || c == 127;
		struct buf b = { 0 };

		assert_int_equal(hear(put_one_byte, &c, READS, &b), 0);
		if (b.len != 3 || b.data[1] != (is_control ? '?' : (char)c))
			fail_msg("byte %d: %s", i, buf_text(&b));
		buf_finish(&b);
	}
}

static void
put_reply(const void *context)
{
	const struct text *t = context;

	report_message(REPORT_TEMPORARY);
	report_puts("x\n");
	report_reply(t->p, t->n);
	report_line("TLS: ", "y");
}

/* A reply is cut at 5000 bytes; the next text begins on a new line. */
static void
cuts_a_reply(void **state)
{
	static char reply[20000];
	static const size_t sizes[] = { 0, 1, 4999, 5000, 5001, sizeof reply };

	(void)state;
	memset(reply, 'r', sizeof reply);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		size_t n = sizes[i];
		struct text t = { reply, n };
		struct buf b = { 0 }, want = { 0 };

		buf_puts(&want, "Zx\n");
		if (n > REPORT_REPLY_MAX)
			n = REPORT_REPLY_MAX;
		if (n > 0) {
			buf_puts(&want, "Remote host said: ");
			buf_append(&want, reply, n);
			buf_puts(&want, "\n");
		}
		buf_append(&want, "TLS: y\n", 8);
		assert_int_equal(hear(put_reply, &t, READS, &b), 0);
		if (b.len != want.len || memcmp(b.data, want.data, b.len) != 0)
			fail_msg("reply of %zu: %zu bytes", sizes[i], b.len);
		buf_finish(&b);
		buf_finish(&want);
	}
}

#define MANY 1000

static void
refuse_many(const void *context)
{
	static char reply[REPORT_REPLY_MAX];

	(void)context;
	memset(reply, 'x', sizeof reply);
	for (int i = 0; i < MANY; i++) {
		report_recipient(REPORT_REFUSED);
		report_puts("sentence\n");
		report_reply(reply, sizeof reply);
	}
	report_message(REPORT_PERMANENT);
	report_puts("given up\n");
}

static void
check_many(const char *name, const struct buf *b)
{
	char letters[MANY + 2];
	size_t sentences = 0;

	memset(letters, 'h', MANY);
	memcpy(letters + MANY, "D", 2);
	check(name, b, letters);
	for (const char *at = b->data; at < b->data + b->len;
	     at += strlen(at) + 1)
		sentences += strncmp(at, "hsentence\n", 10) == 0;
	if (sentences != MANY)
		fail_msg("%s: %zu sentences", name, sentences);
}

/* All remote text together has a limit, the sentences have none (I12). */
static void
limits_all_replies(void **state)
{
	struct buf b = { 0 };
	size_t remote = 0;

	(void)state;
	assert_int_equal(hear(refuse_many, NULL, READS, &b), 0);
	check_many("many", &b);
	for (size_t i = 0; i < b.len; i++)
		remote += b.data[i] == 'x';
	if (remote > 65536 || remote < 60000)
		fail_msg("%zu bytes of remote text", remote);
	buf_finish(&b);
}

/* Nothing is lost if the pipe is full for some time. */
static void
waits_for_its_reader(void **state)
{
	struct buf b = { 0 };

	(void)state;
	assert_int_equal(hear(refuse_many, NULL, READS_SLOWLY, &b), 0);
	check_many("slow reader", &b);
	buf_cut(&b, 0);
	assert_int_equal(hear(refuse_many, NULL, CLOSES, &b), 0);
	assert_int_equal(b.len, 0);
	buf_finish(&b);
}

static void
repeat_a_secret(const void *mask)
{
	report_mask(mask);
	report_message(REPORT_TEMPORARY);
	report_puts("a secret of ours\n");
	report_reply("535 secret\n535 c2VjcmV0, secret secre", 37);
	report_line("TLS: ", "of secret");
	report_mask(NULL);
	report_reply("secret", 6);
}

/* But not in what is our own. */
static void
masks_what_a_server_repeats(void **state)
{
	struct mask mask = { 0 };
	struct buf b = { 0 };

	(void)state;
	mask_add_secret(&mask, "secret", 6);
	assert_int_equal(hear(repeat_a_secret, &mask, READS, &b), 0);
	assert_string_equal(buf_text(&b),
	    "Za secret of ours\nRemote host said: 535 *\n535 *, * *\n"
	    "TLS: of secret\nRemote host said: secret\n");
	mask_finish(&mask);
	buf_finish(&b);
}

#define IS_WHOLE(text) report_is_whole(text, sizeof(text) - 1)

static void
a_whole_report_is_told_from_a_part(void **state)
{
	(void)state;
	assert_true(IS_WHOLE("Kyes\n\0"));
	assert_true(IS_WHOLE("r\0s later\n\0h no\n\0Dno\n\0"));
	assert_true(IS_WHOLE("r\0Zlater\n\0"));
	assert_false(IS_WHOLE(""));
	assert_false(IS_WHOLE("Kyes\n"));
	assert_false(IS_WHOLE("r\0"));
	assert_false(IS_WHOLE("r\0Kyes"));
	assert_false(IS_WHOLE("Kyes\n\0Kyes\n\0"));
	assert_false(IS_WHOLE("Kyes\n\0r\0"));
	assert_false(IS_WHOLE("x\0Kyes\n\0"));
	assert_false(IS_WHOLE("\0Kyes\n\0"));
}

static void
forward(const void *report)
{
	report_forward(report, strlen(report) + 1);
	_exit(0);
}

static void
a_report_of_another_process_is_forwarded(void **state)
{
	struct buf heard = { 0 };

	(void)state;
	assert_int_equal(hear(forward, "Kyes\n", READS_SLOWLY, &heard), 0);
	assert_int_equal(heard.len, sizeof "Kyes\n");
	assert_string_equal(heard.data, "Kyes\n");
	buf_finish(&heard);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_records),
		cmocka_unit_test(has_one_message_record),
		cmocka_unit_test(cannot_be_forged),
		cmocka_unit_test(cleans_control_bytes_only),
		cmocka_unit_test(cuts_a_reply),
		cmocka_unit_test(limits_all_replies),
		cmocka_unit_test(waits_for_its_reader),
		cmocka_unit_test(masks_what_a_server_repeats),
		cmocka_unit_test(a_whole_report_is_told_from_a_part),
		cmocka_unit_test(a_report_of_another_process_is_forwarded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
