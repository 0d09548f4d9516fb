/* SPDX-License-Identifier: ISC */

/*
 * A whole session, from greeting to report.  The input is the server: what it
 * sends, and when, are arbitrary bytes.  No real I/O is done.
 *
 * The simulated server keeps its own log of what it received and what it had
 * sent by then.  From this log alone, by the order of commands and replies, the
 * test decides what the report may say.
 */

#define _GNU_SOURCE

#include <sys/mman.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "delivery/batch.h"
#include "delivery/record.h"
#include "io/fdio.h"
#include "qmail/report.h"

#include "fuzz.h"

/* The linker replaces the functions of io/fdio by these. */
ssize_t __real_fdio_read(int fd, void *, size_t);
ssize_t __wrap_fdio_read(int fd, void *, size_t);
ssize_t __wrap_fdio_write(int fd, const void *, size_t);
int __wrap_fdio_write_all(int fd, const void *, size_t, int64_t stall_ms);
int __wrap_fdio_poll(struct pollfd *, struct deadline);

#define SERVER_FD 1000
#define PROGRESS_FD 1001
#define MESSAGE_MAX 150000
#define RECIPIENTS 5
#define COMMANDS 64

enum server_state { AT_COMMAND, AT_DATA, IN_MAIL_DATA };
enum server_end { IS_OPEN, IS_CLOSED, IS_RESET };

enum verb { HELLO, MAIL, RCPT, DATA, END_OF_DATA, OTHER };

/* A command, and what the server had sent when it was complete. */
struct command {
	enum verb verb;
	size_t said; /* bytes sent by then are not its reply */
	size_t recipient;
	bool is_whole; /* end of mail data: the message was complete */
};

/* One reply of the server. */
struct answer {
	size_t start, end;
	int code; /* 0: there is none, or it is not valid */
};

static struct {
	/* Its behaviour. */
	struct fuzz_input events;
	const char *words;
	size_t len;
	size_t ready; /* bytes that can be read */
	size_t said;  /* bytes that were read */
	size_t seen;  /* available at the last read */
	enum server_end end;

	/* What it received. */
	enum server_state state;
	struct command command[COMMANDS];
	size_t ncommand;
	struct buf line;
	struct buf mail_data; /* of the current transaction */
} server;

static struct {
	struct buf bytes;
	struct buf whole; /* the message as it should arrive */
	size_t at;
	bool is_regular, fails;
} source;

static struct buf written; /* the report */

/* A connection that was used before: what was said before mail data. */
static struct {
	bool is_reused;
	size_t bytes;
} progress;

/* The code of a complete line; -1 if it has none, 0 if it is not valid. */
static int
code_of(const char *line, size_t n)
{
	size_t digits = strspn(line, "0123456789");

	if (n < 3 || digits < 3)
		return -1;
	if (digits > 3)
		return 0;
	return (line[0] - '0') * 100 + (line[1] - '0') * 10 + line[2] - '0';
}

/* Reply number i of the server, found by parsing from the start. */
static struct answer
answer(size_t wanted)
{
	struct answer a = { 0 };
	size_t i = 0;

	for (size_t at = 0; at < server.len;) {
		const char *line = server.words + at;
		const char *lf = memchr(line, '\n', server.len - at);
		int code = lf ? code_of(line, (size_t)(lf - line)) : 0;
		size_t start = at;

		if (code == 0 || (code > 0 && a.code && a.code != code))
			break;
		at = (size_t)(lf + 1 - server.words);
		if (code == -1)
			continue;
		if (a.code == 0)
			a.start = start;
		a.code = code;
		a.end = at;
		if (line[3] == '-')
			continue;
		if (i++ == wanted)
			return a;
		a = (struct answer){ 0 };
	}
	return (struct answer){ 0 };
}

static bool
is_positive(struct answer a)
{
	return a.code / 100 == 2;
}

/* The next event; none if the input has no more. */
static unsigned char
next_event(void)
{
	return fuzz_byte(&server.events);
}

/* Sends one more line that ends a reply, or all that is left. */
static void
say_reply(void)
{
	while (server.ready < server.len) {
		const char *line = server.words + server.ready;
		size_t left = server.len - server.ready;
		const char *lf = memchr(line, '\n', left);
		size_t n = lf ? (size_t)(lf + 1 - line) : left;

		server.ready += n;
		if (n < 4 || line[3] != '-')
			return;
	}
}

static void
say(size_t n)
{
	size_t left = server.len - server.ready;

	server.ready += n < left ? n : left;
}

/* An event at a call; the amount is for the caller. */
static unsigned char
let_it_happen(void)
{
	unsigned char event = next_event(), amount = event >> 3;

	switch (event & 7) {
	case 1:
		for (unsigned i = 0; i <= amount; i++)
			say_reply();
		break;
	case 2:
		say((size_t)amount + 1);
		break;
	case 3:
		say(server.len);
		break;
	case 4:
		if (amount == 31)
			server.end = IS_CLOSED;
		if (amount == 30)
			server.end = IS_RESET;
		break;
	}
	return event;
}

static bool
is_short(unsigned char event)
{
	return (event & 7) == 5;
}

static void
note(enum verb verb, size_t recipient)
{
	struct command *c = &server.command[server.ncommand];

	CHECK(server.ncommand < COMMANDS);
	c->verb = verb;
	/* After DATA, input is checked before the end of mail data is sent. */
	c->said = verb == END_OF_DATA ? server.seen : server.said;
	c->recipient = recipient;
	c->is_whole = false;
	server.ncommand++;
}

/* At the end of mail data: is the message complete? */
static void
note_end(void)
{
	const struct buf *got = &server.mail_data, *whole = &source.whole;

	note(END_OF_DATA, 0);
	server.command[server.ncommand - 1].is_whole =
	    whole->len == got->len &&
	    memcmp(buf_text(whole), buf_text(got), whole->len) == 0;
}

static void
take_command(const char *line)
{
	if (strncmp(line, "EHLO ", 5) == 0 || strncmp(line, "HELO ", 5) == 0) {
		note(HELLO, 0);
	} else if (strncmp(line, "MAIL FROM:<", 11) == 0) {
		buf_cut(&server.mail_data, 0);
		note(MAIL, 0);
	} else if (strncmp(line, "RCPT TO:<r", 10) == 0) {
		note(RCPT, (size_t)(line[10] - '0'));
	} else if (strcmp(line, "DATA") == 0) {
		note(DATA, 0);
		server.state = AT_DATA;
	} else {
		CHECK(strcmp(line, "STARTTLS") == 0 ||
		      strcmp(line, "RSET") == 0 || strcmp(line, "QUIT") == 0);
		note(OTHER, 0);
	}
}

static bool
ends_with(const struct buf *b, const char *s)
{
	size_t n = strlen(s);

	return b->len >= n && memcmp(b->data + b->len - n, s, n) == 0;
}

/* A line of mail data; a leading dot is removed. */
static void
take_mail_data(const struct buf *line)
{
	size_t dot = line->data[0] == '.';

	if (strcmp(line->data, ".\r\n") == 0) {
		note_end();
		server.state = AT_COMMAND;
	} else {
		CHECK(!progress.is_reused || progress.bytes == 1);
		buf_append(&server.mail_data, line->data + dot,
		    line->len - dot);
	}
}

static void
take_line(struct buf *line)
{
	CHECK(ends_with(line, "\r\n"));
	if (server.state == IN_MAIL_DATA) {
		take_mail_data(line);
	} else {
		buf_cut(line, line->len - 2);
		CHECK(strlen(line->data) == line->len);
		CHECK(!strpbrk(line->data, "\r\n"));
		take_command(line->data);
	}
	buf_cut(line, 0);
}

/* Returns how many of the n bytes were processed. */
static size_t
take_bytes(const char *p, size_t n)
{
	const char *lf = memchr(p, '\n', n);

	if (server.state == AT_DATA)
		server.state = answer(server.ncommand).code == 354
				   ? IN_MAIL_DATA
				   : AT_COMMAND;
	n = lf ? (size_t)(lf + 1 - p) : n;
	buf_append(&server.line, p, n);
	if (lf)
		take_line(&server.line);
	return n;
}

ssize_t
__wrap_fdio_write(int fd, const void *data, size_t n)
{
	unsigned char event;
	const char *p = data;

	if (fd == PROGRESS_FD) {
		progress.bytes += n;
		return (ssize_t)n;
	}
	event = let_it_happen();
	CHECK(fd == SERVER_FD);
	if (server.end != IS_OPEN) {
		errno = EPIPE;
		return -1;
	}
	if (is_short(event)) {
		size_t some = (size_t)(event >> 3) * 100;

		if (some == 0) {
			errno = EAGAIN;
			return -1;
		}
		n = n < some ? n : some;
	}
	for (size_t i = 0; i < n;)
		i += take_bytes(p + i, n - i);
	return (ssize_t)n;
}

/* A real file or pipe, whose reads may fail near its end. */
static ssize_t
read_source(int fd, void *data, size_t n)
{
	ssize_t got = __real_fdio_read(fd, data, n);

	source.at += got > 0 ? (size_t)got : 0;
	if (source.fails && source.bytes.len - source.at < 10) {
		errno = EIO;
		return -1;
	}
	return got;
}

ssize_t
__wrap_fdio_read(int fd, void *data, size_t n)
{
	unsigned char event;

	if (fd != SERVER_FD)
		return read_source(fd, data, n);
	event = let_it_happen();
	server.seen = server.ready;
	if (server.end == IS_RESET) {
		errno = ECONNRESET;
		return -1;
	}
	if (is_short(event) && n > (size_t)(event >> 3) + 1)
		n = (size_t)(event >> 3) + 1;
	if (n > server.ready - server.said)
		n = server.ready - server.said;
	if (n == 0 && server.end == IS_OPEN) {
		errno = EAGAIN;
		return -1;
	}
	if (n > 0)
		memcpy(data, server.words + server.said, n);
	server.said += n;
	return (ssize_t)n;
}

int
__wrap_fdio_poll(struct pollfd *p, struct deadline until)
{
	unsigned char event = let_it_happen();

	CHECK(p->fd == SERVER_FD);
	p->revents = 0;
	if (deadline_passed(until) || (event & 7) == 7)
		return 0;
	if (p->events == POLLIN && server.ready == server.said &&
	    server.end == IS_OPEN) {
		say_reply();
		if (server.ready == server.said)
			server.end = IS_CLOSED;
	}
	if (server.ready > server.said || server.end != IS_OPEN)
		p->revents = POLLIN;
	p->revents |= POLLOUT;
	p->revents &= p->events;
	return p->revents != 0;
}

int
__wrap_fdio_write_all(int fd, const void *data, size_t n, int64_t stall)
{
	CHECK(fd == 1 && stall > 0);
	buf_append(&written, data, n);
	return 0;
}

/* The program's main is not called. */

static void
forget_everything(void)
{
	buf_finish(&server.line);
	buf_finish(&server.mail_data);
	memset(&server, 0, sizeof server);
	buf_cut(&source.bytes, 0);
	buf_cut(&source.whole, 0);
	source.at = 0;
	buf_cut(&written, 0);
	progress.is_reused = false;
	progress.bytes = 0;
	report_begin();
}

/* The first bytes are from the input; a large message repeats them. */
static void
make_message(const char *s, size_t n, unsigned char kind)
{
	/* Rarely a large one: they take long. */
	static const size_t sizes[] = { 0, 0, 0, 0, 0, 0, 33000, 66000 };
	size_t size = kind == 0xff ? 140000 : sizes[kind & 7];
	const char *at, *end;

	do
		buf_append(&source.bytes, s, n);
	while (n > 0 && source.bytes.len < size);
	CHECK(source.bytes.len < MESSAGE_MAX);
	source.is_regular = !(kind & 8);
	source.fails = kind & 16;
	at = buf_text(&source.bytes);
	for (end = at + source.bytes.len; at < end; at++) {
		const char *lf = memchr(at, '\n', (size_t)(end - at));
		const char *stop = lf ? lf : end;
		size_t start = source.whole.len;

		if (lf && lf > at && lf[-1] == '\r')
			stop--;
		buf_append(&source.whole, at, (size_t)(stop - at));
		for (; start < source.whole.len; start++)
			if (source.whole.data[start] == '\r')
				source.whole.data[start] = ' ';
		buf_puts(&source.whole, "\r\n");
		at = lf ? lf : end;
	}
}

/* EHLO, and HELO if that is refused. */
static enum smtp_outcome
say_my_name(struct smtp_session *s)
{
	enum smtp_outcome outcome = smtp_session_ehlo(s, "me");

	return outcome == SMTP_REFUSED ? smtp_session_helo(s, "me") : outcome;
}

static enum smtp_outcome
starttls(struct smtp_session *s)
{
	struct deadline until = smtp_session_hello_deadline(s);
	enum smtp_outcome outcome = smtp_session_send_starttls(s, until);

	return outcome == SMTP_DONE ? smtp_session_starttls_reply(s, until)
				    : outcome;
}

/* Up to MAIL, after which no other server can be tried. */
static bool
say_hello(struct smtp_session *session, bool with_tls)
{
	static struct smtp_session s;
	struct buf offered = { 0 };
	bool is_ready;
	size_t unread_bytes;

	smtp_session_init(&s, SERVER_FD, 100);
	is_ready = smtp_session_greeting(&s) == SMTP_DONE &&
		   say_my_name(&s) == SMTP_DONE;
	if (is_ready && with_tls) {
		struct answer last = answer(server.ncommand);

		is_ready = starttls(&s) == SMTP_DONE;
		if (is_ready) {
			struct answer tls = answer(server.ncommand - 1 + 1);

			CHECK(last.code == 0 || tls.code != 0);
			CHECK(tls.code == 220 && tls.end == server.said);
			smtp_session_init(&s, SERVER_FD, 100);
			is_ready = say_my_name(&s) == SMTP_DONE;
		}
	}
	is_ready = is_ready && !smtp_session_is_within_line(&s);
	if (is_ready) {
		/* It would be lost at the exec. */
		(void)stream_input(&s.stream, &unread_bytes);
		CHECK(unread_bytes == 0 && !stream_is_pending(&s.stream));
	}
	smtp_ehlo_format(&s.ehlo, &offered);
	smtp_session_init(session, SERVER_FD, 100);
	smtp_ehlo_parse(&session->ehlo, buf_text(&offered));
	buf_finish(&offered);
	return is_ready;
}

/* The result of a transaction and its recipients by the log. */
struct book {
	bool is_delivered;  /* some transaction */
	bool is_partial;    /* and one of those was not complete */
	bool is_unanswered; /* one was complete, and no reply was read */
	bool has[RECIPIENTS];
	size_t transactions;
};

/* Reply i, if it was read completely. */
static struct answer
read_answer(size_t i)
{
	struct answer a = answer(i);

	return a.end <= server.said ? a : (struct answer){ 0 };
}

/*
 * Evaluates the transaction that begins with command i; returns the index of
 * the next one.
 */
static size_t
judge_transaction(size_t i, struct book *o)
{
	bool is_good = is_positive(read_answer(i + 1)), any = false;
	bool took[RECIPIENTS] = { false };

	o->transactions++;
	for (i++; i < server.ncommand; i++) {
		const struct command *c = &server.command[i];
		struct answer a = read_answer(i + 1);
		bool is_end = c->verb == END_OF_DATA;

		if (c->verb == MAIL)
			break;
		if (c->verb == RCPT && is_positive(a))
			any = took[c->recipient] = true;
		if (c->verb == DATA && a.code != 354)
			is_good = false;
		if (!is_end || !is_good || !any)
			continue;
		if (a.code == 0)
			o->is_unanswered = true;
		if (!is_positive(a) || a.start < c->said)
			continue;
		o->is_delivered = true;
		o->is_partial = o->is_partial || !c->is_whole;
		for (size_t r = 0; r < RECIPIENTS; r++)
			o->has[r] = o->has[r] || took[r];
	}
	return i;
}

static struct book
judge_session(void)
{
	struct book o = { 0 };

	for (size_t i = 0; i < server.ncommand;)
		if (server.command[i].verb == MAIL)
			i = judge_transaction(i, &o);
		else
			i++;
	return o;
}

static bool
was_refused_for_good(void)
{
	/* One more: a reply to mail data that came before its end. */
	for (size_t i = 0; i <= server.ncommand + 1; i++)
		if (read_answer(i).code / 100 == 5 &&
		    read_answer(i).code != 530)
			return true;
	return false;
}

static void
check_record(const char *record)
{
	for (; *record; record++) {
		unsigned char c = (unsigned char)*record;

		CHECK((c >= ' ' && c != 0x7f) || c == '\n');
	}
}

/*
 * The report is valid; recipients reported as accepted have the message if the
 * message record says that it was delivered.
 */
static void
check_report(size_t nrecipient, const struct book *o)
{
	const char *at = buf_text(&written), *end = at + written.len;
	char letter[RECIPIENTS];
	bool any = false, doubts = false;
	size_t n = 0;

	CHECK(written.len > 0 && end[-1] == '\0');
	for (; at < end && strchr("rhs", *at); at += strlen(at) + 1) {
		CHECK(n < nrecipient && *at);
		check_record(at);
		doubts = doubts || strstr(at, "Possible duplicate!");
		any = any || *at == 'r';
		letter[n++] = *at;
	}
	CHECK(at < end && *at && strchr("KZD", *at));
	check_record(at);
	doubts = doubts || strstr(at, "Possible duplicate!");
	CHECK(at + strlen(at) + 1 == end);
	if (*at == 'K') {
		CHECK(o->is_delivered && any && n == nrecipient);
		CHECK(!o->is_partial);
		for (size_t i = 0; i < n; i++)
			CHECK(letter[i] != 'r' || o->has[i]);
	}
	if (*at == 'D')
		CHECK(was_refused_for_good() || !any || o->transactions == 0);
	/* A message that the server accepted is not sent again. */
	if (o->is_delivered)
		CHECK(*at == 'K');
	if (o->is_unanswered && server.state == AT_COMMAND)
		CHECK(*at != 'D' && (doubts || o->transactions > 1));
}

/* A new connection can be made: nothing of the message was sent. */
static void
check_stale(void)
{
	CHECK(progress.is_reused && progress.bytes == 0);
	CHECK(written.len == 0);
	CHECK(server.mail_data.len == 0);
	for (size_t i = 0; i < server.ncommand; i++)
		CHECK(server.command[i].verb != END_OF_DATA);
}

/* The message on a descriptor that is a file or a pipe. */
static int
open_source(void)
{
	int pair[2];

	if (source.is_regular) {
		int fd = memfd_create("message", 0);

		CHECK(fd != -1);
		CHECK(pwrite(fd, buf_text(&source.bytes), source.bytes.len,
			  0) == (ssize_t)source.bytes.len);
		return fd;
	}
	CHECK(pipe(pair) == 0 && fcntl(pair[1], F_SETPIPE_SZ, 1 << 18) > 0);
	CHECK(write(pair[1], buf_text(&source.bytes), source.bytes.len) ==
	      (ssize_t)source.bytes.len);
	close(pair[1]);
	return pair[0];
}

/* Whether there is a report. */
static bool
run_delivery(struct smtp_session *s, size_t nrecipient)
{
	static const struct handoff h = { .address = "192.0.2.1" };
	static struct smtp_message message;
	static const struct batch_sender sender = { "sender@example.org",
		false };
	char names[RECIPIENTS][sizeof "r0@example.org"];
	char *recipient[RECIPIENTS];
	struct outcome outcome;
	struct batch batch;
	int fd = open_source();
	bool is_stale;

	for (size_t i = 0; i < nrecipient; i++) {
		recipient[i] = names[i];
		snprintf(names[i], sizeof names[i], "r%zu@example.org", i);
	}
	batch_prepare(&batch, recipient, nrecipient, &s->ehlo);
	smtp_message_open(&message, fd, smtp_transaction_measures(&s->ehlo));
	batch_run(&batch, &sender, s, &message);
	is_stale = batch_last(&batch)->result.outcome == SMTP_STALE;
	if (!is_stale) {
		outcome = batch_outcome(&batch, s, &message);
		record_outcome(&outcome, &h, s);
		report_end();
	}
	smtp_session_quit(s);
	batch_finish(&batch);
	close(fd);
	return !is_stale;
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_input in = { data, size };
	unsigned char what = fuzz_byte(&in), kind = fuzz_byte(&in);
	size_t nrecipient = (size_t)(what & 7) % RECIPIENTS + 1, n;
	static struct smtp_session session;
	struct book outcome;
	const char *part;

	forget_everything();
	n = fuzz_byte(&in);
	server.events.left = n;
	server.events.at = (const unsigned char *)fuzz_bytes(&in, &n);
	server.events.left = n;
	n = fuzz_byte(&in);
	part = fuzz_bytes(&in, &n);
	make_message(part, n, kind);
	server.words = fuzz_string((const char *)in.at, in.left);
	server.len = in.left;
	if (say_hello(&session, what & 8)) {
		progress.is_reused = what & 16;
		session.is_reused = progress.is_reused;
		session.progress = progress.is_reused ? PROGRESS_FD : -1;
		if (run_delivery(&session, nrecipient)) {
			outcome = judge_session();
			check_report(nrecipient, &outcome);
		} else {
			check_stale();
		}
	}
	free((void *)(uintptr_t)server.words);
	return 0;
}
