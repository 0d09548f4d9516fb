/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdbool.h>

#include "base/mem.h"
#include "smtp/transaction.h"

#include "transact.h"

/* Mail data after DATA, with any message and any server. */

/* A server that accepts the group, then behaves as the case says. */
struct amid {
	const char *name;
	size_t message_size;
	size_t hear;     /* of the mail data */
	const char *say; /* then sends this, */
	bool read_on;    /* and reads all, sending nothing */
	bool hang_up;    /* or closes the connection; or does nothing */
	int truncate_fd; /* the message shrinks or grows meanwhile */
	off_t truncate_to;
	unsigned long timeout_s;
	enum smtp_end end;
	enum smtp_outcome outcome;
};

static void
peer_amid(int fd, int record, const void *context)
{
	const struct amid *a = context;
	char c;

	for (int i = 0; i < 3; i++)
		hear_line(fd, record);
	peer_say(fd, "250\r\n250\r\n354\r\n", 15);
	for (size_t i = 0; i < a->hear; i++)
		if (peer_hear(fd, record, &c, 1) != 1)
			_exit(7);
	if (a->truncate_to && ftruncate(a->truncate_fd, a->truncate_to) != 0)
		_exit(8);
	if (a->say)
		peer_say(fd, a->say, strlen(a->say));
	if (a->hang_up)
		_exit(0);
	if (a->read_on)
		peer_listen(fd, record);
	else
		pause();
}

/*
 * What can happen while mail data is sent.  The message is never sent
 * completely, so there is no doubt and no delivery.
 */
static void
handles_events_during_mail_data(void **state)
{
	static const struct amid cases[] = {
		{ "H13 5yz and hangs up", 1 << 20, 1000, "552 big\r\n", false,
		    true, -1, 0, 30, SMTP_END_MAIL_DATA, REFUSED },
		{ "H13 4yz and hangs up", 1 << 20, 1000, "452 full\r\n", false,
		    true, -1, 0, 30, SMTP_END_MAIL_DATA, REFUSED },
		{ "H13 5yz and hangs up, short", 100000, 1000, "552 big\r\n",
		    false, true, -1, 0, 30, SMTP_END_MAIL_DATA, REFUSED },
		{ "H13 5yz, reads no more", 1 << 20, 1000,
		    "552-big\r\n552 x\r\n", false, false, -1, 0, 30,
		    SMTP_END_MAIL_DATA, REFUSED },
		{ "H13 5yz, reads no more, short", 100000, 1000, "552 big\r\n",
		    false, false, -1, 0, 30, SMTP_END_MAIL_DATA, REFUSED },
		{ "H13 5yz, reads on", 1 << 20, 1000, "552 big\r\n", true,
		    false, -1, 0, 30, SMTP_END_MAIL_DATA, REFUSED },
		{ "H13 421 at once", 1 << 20, 1, "421 bye\r\n", false, true, -1,
		    0, 30, SMTP_END_MAIL_DATA, REFUSED },
		{ "H14 250, reads no more", 1 << 20, 1000, "250 ok\r\n", false,
		    false, -1, 0, 30, SMTP_END_MAIL_DATA, BAD },
		{ "H14 250, reads no more, short", 100000, 1000, "250 ok\r\n",
		    false, false, -1, 0, 30, SMTP_END_MAIL_DATA, BAD },
		{ "H14 250, reads on", 1 << 20, 1000, "250 ok\r\n", true, false,
		    -1, 0, 30, SMTP_END_MAIL_DATA, BAD },
		{ "H14 250, reads on, short", 100000, 1000, "250 ok\r\n", true,
		    false, -1, 0, 30, SMTP_END_MAIL_DATA, BAD },
		{ "H14 250 and hangs up", 1 << 20, 1000, "250 ok\r\n", false,
		    true, -1, 0, 30, SMTP_END_MAIL_DATA, BAD },
		{ "354 again", 1 << 20, 1000, "354 ok\r\n", false, false, -1, 0,
		    30, SMTP_END_MAIL_DATA, BAD },
		{ "garbage and hangs up", 1 << 20, 1000, "what?\r\n", false,
		    true, -1, 0, 30, SMTP_END_MAIL_DATA, DIED },
		{ "garbage, reads no more", 1 << 20, 1000, "what?\r\n", false,
		    false, -1, 0, 1, SMTP_END_MAIL_DATA, DIED },
		{ "an empty line and 5yz", 1 << 20, 1000, "\r\n552 big\r\n",
		    false, true, -1, 0, 30, SMTP_END_MAIL_DATA, REFUSED },
		{ "part of a reply and hangs up", 1 << 20, 1000, "552-", false,
		    true, -1, 0, 30, SMTP_END_MAIL_DATA, DIED },
		{ "part of a reply, no more", 1 << 20, 1000, "250 ", false,
		    false, -1, 0, 1, SMTP_END_MAIL_DATA, DIED },
		{ "H33 hangs up", 1 << 20, 1000, NULL, false, true, -1, 0, 30,
		    SMTP_END_MAIL_DATA, DIED },
		{ "H33 hangs up, short", 100000, 1000, NULL, false, true, -1, 0,
		    30, SMTP_END_MAIL_DATA, DIED },
		{ "A16 reads no more", 1 << 20, 1000, NULL, false, false, -1, 0,
		    1, SMTP_END_MAIL_DATA, DIED },
		{ "A16 reads no more, short", 100000, 1000, NULL, false, false,
		    -1, 0, 1, SMTP_END_MAIL_DATA, DIED },
		{ "the message gets shorter", 1 << 20, 1000, NULL, true, false,
		    0, 300000, 30, SMTP_END_MESSAGE, DIED },
		{ "the message gets empty", 1 << 20, 1000, NULL, true, false, 0,
		    1, 30, SMTP_END_MESSAGE, DIED },
		{ "the message gets longer", 1 << 20, 1000, NULL, true, false,
		    0, (1 << 20) + 1, 30, SMTP_END_MESSAGE, DIED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct amid a = cases[i];
		char *text = make_message(a.message_size);
		struct buf heard = { 0 };
		struct smtp_result r;
		struct verdicts v;
		struct peer p;
		int fd = make_file(text, a.message_size);

		a.truncate_fd = fd;
		p = peer_start(peer_amid, &a, 4096);
		r = transact(&p, true, 1, fd, a.timeout_s, &v);
		if (!a.hang_up && !a.read_on)
			kill(p.pid, SIGTERM);
		peer_end(&p, &heard);
		close(fd);
		free(text);
		if (r.end != a.end || r.outcome != a.outcome)
			fail_msg("%s: %s %s", a.name, end_name[r.end],
			    outcome_name[r.outcome]);
		if (r.in_doubt)
			fail_msg("%s: in doubt", a.name);
		if (strcmp(v.seen, "2") != 0)
			fail_msg("%s: verdicts %s", a.name, v.seen);
		if (strstr(buf_text(&heard), "\r\n.\r\n"))
			fail_msg("%s: heard the end of mail data", a.name);
		buf_finish(&heard);
	}
}

/*
 * A server that replies while the client waits for the rest of the message,
 * which comes from a pipe: the reply is there before the last piece is sent.
 */
struct early {
	const char *name;
	const char *say;
	bool hang_up;
	int pipe;
	enum smtp_outcome outcome;
};

static void
peer_before_the_end(int fd, int record, const void *context)
{
	const struct early *e = context;
	struct pollfd mail_data_came = { .fd = fd, .events = POLLIN };
	char *text = make_message(5000);

	for (int i = 0; i < 3; i++)
		hear_line(fd, record);
	peer_say(fd, "250\r\n250\r\n354\r\n", 15);
	do
		peer_say(e->pipe, text, 5000);
	while (poll(&mail_data_came, 1, 0) == 0);
	peer_say(fd, e->say, strlen(e->say));
	if (e->hang_up)
		_exit(0);
	close(e->pipe);
	peer_listen(fd, record);
}

static void
does_not_end_after_an_early_reply(void **state)
{
	static const struct early cases[] = {
		{ "H14 250", "250 ok\r\n", false, -1, BAD },
		{ "354 again", "354 ok\r\n", false, -1, BAD },
		{ "H13 5yz", "552 big\r\n", false, -1, REFUSED },
		{ "H14 250 and hangs up", "250 ok\r\n", true, -1, BAD },
		{ "H33 hangs up", "", true, -1, DIED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct early e = cases[i];
		struct buf heard = { 0 };
		struct smtp_result r;
		struct verdicts v;
		struct peer p;
		int pair[2];

		if (pipe(pair) == -1)
			peer_die("pipe");
		e.pipe = pair[1];
		p = peer_start(peer_before_the_end, &e, 0);
		close(pair[1]);
		r = transact(&p, true, 1, pair[0], 30, &v);
		peer_end(&p, &heard);
		close(pair[0]);
		if (r.end != SMTP_END_MAIL_DATA || r.outcome != e.outcome)
			fail_msg("%s: %s %s", e.name, end_name[r.end],
			    outcome_name[r.outcome]);
		if (r.in_doubt)
			fail_msg("%s: in doubt", e.name);
		if (strstr(buf_text(&heard), "\r\n.\r\n"))
			fail_msg("%s: heard the end of mail data", e.name);
		buf_finish(&heard);
	}
}

static void
reads_any_message(void **state)
{
	static const struct {
		const char *name;
		char kind; /* f file, d directory, c closed, p pipe, n null */
		off_t start;
		const char *heard; /* NULL: the message is unreadable */
	} cases[] = {
		{ "file", 'f', 0, mail_data },
		{ "file, from its middle", 'f', 17, "..\r\nend\r\n.\r\n" },
		{ "file, at its end", 'f', sizeof message - 1, ".\r\n" },
		{ "pipe", 'p', 0, mail_data },
		{ "N10 nothing", 'n', 0, ".\r\n" },
		{ "directory", 'd', 0, NULL },
		{ "not open", 'c', 0, NULL },
		{ "open for writing only", 'w', 0, NULL },
	};
	static const char group[] =
	    "MAIL FROM:<s@x>\r\nRCPT TO:<0@x>\r\nDATA\r\n";

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		static const char *const takes[] = {
			"<MAIL FROM:<s@x>\r\nRCPT TO:<0@x>\r\nDATA\r\n",
			">250\r\n250\r\n354\r\n", ".", ">250\r\n", NULL
		};
		static const char *const waits[] = {
			"<MAIL FROM:<s@x>\r\nRCPT TO:<0@x>\r\nDATA\r\n",
			">250\r\n250\r\n354\r\n", NULL
		};
		const char *want = cases[i].heard;
		struct peer p = peer_start(peer_play, want ? takes : waits, 0);
		struct buf heard = { 0 };
		struct smtp_result r;
		struct verdicts v;
		int fd = -1, pair[2];

		switch (cases[i].kind) {
		case 'f':
			fd = make_file(message, strlen(message));
			lseek(fd, cases[i].start, SEEK_SET);
			break;
		case 'p':
			if (pipe(pair) == -1)
				peer_die("pipe");
			fd = pair[0];
			peer_say(pair[1], message, strlen(message));
			close(pair[1]);
			break;
		case 'd':
			fd = open("/", O_RDONLY);
			break;
		case 'n':
			fd = open("/dev/null", O_RDONLY);
			break;
		case 'w':
			fd = open("/dev/null", O_WRONLY);
			break;
		}
		r = transact(&p, true, 1, fd, 30, &v);
		if (peer_end(&p, &heard) != 0)
			fail_msg("%s: the peer failed", cases[i].name);
		close(fd);
		if (want ? !is_delivered(&r)
			 : r.end != SMTP_END_MESSAGE || r.outcome == DONE ||
			       r.outcome == REFUSED)
			fail_msg("%s: %s %s", cases[i].name, end_name[r.end],
			    outcome_name[r.outcome]);
		if (r.in_doubt)
			fail_msg("%s: in doubt", cases[i].name);
		if (strncmp(buf_text(&heard), group, strlen(group)) != 0 ||
		    strcmp(heard.data + strlen(group), want ? want : "") != 0)
			fail_msg("%s: heard %s", cases[i].name,
			    buf_text(&heard));
		buf_finish(&heard);
	}
}

/* J6: reads this much, then waits for less than the time-out. */
struct pace {
	const char *name;
	size_t message_size;
	size_t piece;
	int rest_ms;
};

static void
peer_take_its_time(int fd, int record, const void *context)
{
	const struct pace *pace = context;
	static char piece[1 << 16];
	char last[5] = { 0 };

	for (int i = 0; i < 3; i++)
		hear_line(fd, record);
	peer_say(fd, "250\r\n250\r\n354\r\n", 15);
	while (memcmp(last, "\r\n.\r\n", 5) != 0) {
		size_t n = 0;

		while (n < pace->piece && memcmp(last, "\r\n.\r\n", 5) != 0) {
			ssize_t got =
			    peer_hear(fd, record, piece, pace->piece - n);

			if (got < 1)
				_exit(7);
			n += (size_t)got;
			for (ssize_t i = got > 5 ? got - 5 : 0; i < got; i++) {
				memmove(last, last + 1, 4);
				last[4] = piece[i];
			}
		}
		if (pace->rest_ms)
			poll(NULL, 0, pace->rest_ms);
	}
	peer_say(fd, "250\r\n", 5);
	peer_listen(fd, record);
}

static void
waits_for_a_slow_reader(void **state)
{
	static const struct pace cases[] = {
		{ "100 KB in small pieces", 100000, 100, 0 },
		{ "5 MB", 5000000, 1 << 16, 0 },
		{ "around the size of a read", 65536, 1 << 16, 0 },
		{ "around the size of a read", 65535, 1 << 16, 0 },
		{ "around the size of a read", 65537, 1 << 16, 0 },
		{ "around two reads", 131072, 1 << 16, 0 },
		{ "J6 longer than the time-out in all", 100000, 16384, 300 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *text = make_message(cases[i].message_size);
		int fd = make_file(text, cases[i].message_size), end;
		struct peer p = peer_start(peer_take_its_time, &cases[i], 4096);
		struct buf heard = { 0 }, want = { 0 };
		struct smtp_result r;
		struct verdicts v;

		r = transact(&p, true, 1, fd, cases[i].rest_ms ? 1 : 30, &v);
		end = peer_end(&p, &heard);
		close(fd);
		if (end != 0 || !is_delivered(&r))
			fail_msg("%s: %s %s, peer %d", cases[i].name,
			    end_name[r.end], outcome_name[r.outcome], end);
		buf_puts(&want, "MAIL FROM:<s@x>\r\nRCPT TO:<0@x>\r\nDATA\r\n");
		for (char *line = text; *line;) {
			size_t n = strcspn(line, "\n");

			buf_append(&want, line, n);
			buf_puts(&want, "\r\n");
			line += n + (line[n] == '\n');
		}
		buf_puts(&want, ".\r\n");
		if (heard.len != want.len ||
		    memcmp(heard.data, want.data, want.len) != 0)
			fail_msg("%s: the peer heard something else",
			    cases[i].name);
		free(text);
		buf_finish(&heard);
		buf_finish(&want);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handles_events_during_mail_data),
		cmocka_unit_test(does_not_end_after_an_early_reply),
		cmocka_unit_test(reads_any_message),
		cmocka_unit_test(waits_for_a_slow_reader),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
