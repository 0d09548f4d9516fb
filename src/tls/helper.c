/* SPDX-License-Identifier: ISC */
#include "tls/helper.h"

#include <sys/socket.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/deadline.h"
#include "io/fdio.h"
#include "io/spawn.h"
#include "base/str.h"

/*
 * The helper itself has the time limit; if it is this much later it is stuck.
 */
#define GRACE_MS 1000

#define NAME "qmail-remote-tls"

/* Both ends of the socketpairs for clear text and for status records. */
struct ends {
	int clear[2];
	int status[2];
};

static struct tls_start
local_failure(const char *what, const char *why)
{
	struct tls_start t = { .fd = -1, .status = -1 };

	t.result.status = TLS_STATUS_LOCAL;
	snprintf(t.result.text, sizeof t.result.text, "%s: %s", what, why);
	return t;
}

static void
close_ends(struct ends *e)
{
	int *fd[] = { &e->clear[0], &e->clear[1], &e->status[0],
		&e->status[1] };

	for (size_t i = 0; i < sizeof fd / sizeof fd[0]; i++)
		if (*fd[i] != -1)
			close(*fd[i]);
}

static int
open_ends(struct ends *e)
{
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, e->clear) == -1 ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, e->status) == -1)
		return -1;
	for (int i = 0; i < 2; i++)
		if (fdio_set_cloexec(e->clear[i], true) == -1 ||
		    fdio_set_cloexec(e->status[i], true) == -1)
			return -1;
	return fdio_set_nonblocking(e->clear[0]);
}

static pid_t
run(const struct tls_helper *h, int socket, const struct ends *e, bool waits)
{
	int keep[3] = { socket, e->clear[1], e->status[1] };
	bool has_credentials = h->clientcert && h->clientkey;
	bool has_tlsa = h->tlsa && h->tlsa->n > 0;
	struct buf tlsa = { 0 };
	struct tls_request request = {
		.socket = (unsigned long)socket,
		.clear = (unsigned long)e->clear[1],
		.status = (unsigned long)e->status[1],
		.seconds = h->timeout_s,
		.security = h->security,
		.name = h->name,
		.names = has_tlsa ? h->names : NULL,
		.anchors = h->anchors,
		.match = h->anchors ? h->match : NULL,
		.describe = h->describe,
		.wait = waits,
		.state = h->anchors ? h->state : NULL,
		.cert = has_credentials ? h->clientcert : NULL,
		.key = has_credentials ? h->clientkey : NULL,
	};
	char **argv;
	pid_t pid;

	if (has_tlsa) {
		tlsa_format(h->tlsa, &tlsa);
		request.tlsa = buf_text(&tlsa);
	}
	argv = tls_request_format(&request, h->program);
	pid = spawn_start(argv, keep, 3);
	tls_request_free(argv);
	buf_finish(&tlsa);
	return pid;
}

/*
 * Reads one record with its line end, or what arrives before the deadline and
 * the end of file.  Bytes after the record are left for the next call.
 */
static size_t
read_record(int fd, char record[TLS_RECORD_SIZE], struct deadline until,
    bool *has_ended)
{
	const char *line_end = NULL;
	size_t n = 0;

	*has_ended = false;
	while (line_end == NULL && n < TLS_RECORD_SIZE &&
	       fdio_wait(fd, POLLIN, until) == 1) {
		ssize_t got =
		    recv(fd, record + n, TLS_RECORD_SIZE - n, MSG_PEEK);

		if (got > 0) {
			line_end = memchr(record + n, '\n', (size_t)got);
			if (line_end != NULL)
				got = line_end + 1 - (record + n);
			got = fdio_read(fd, record + n, (size_t)got);
		}
		*has_ended = got == 0;
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	return n;
}

/*
 * Reads the record with the result, and facts about certificates before it.
 * True at end of file.
 */
static bool
read_result(const struct tls_helper *h, int fd, struct deadline until,
    struct tls_result *result)
{
	char record[TLS_RECORD_SIZE];
	bool has_ended;
	size_t n = read_record(fd, record, until, &has_ended);

	for (int i = 0; i < TLS_FACTS && h->facts != NULL &&
			tls_fact_parse(h->facts, record, n);
	     i++)
		n = read_record(fd, record, until, &has_ended);
	(void)tls_result_parse(result, record, n);
	return has_ended;
}

static void
describe(struct spawn_end end, char text[TLS_TEXT_SIZE])
{
	char how[SPAWN_TEXT_SIZE];

	spawn_describe(end, how);
	snprintf(text, TLS_TEXT_SIZE, "%s: %s", NAME, how);
}

/* TLS_STATUS_NONE, and the helper runs; or LOCAL. */
static struct tls_start
launch(const struct tls_helper *h, int socket, bool waits)
{
	struct ends e = { { -1, -1 }, { -1, -1 } };
	struct tls_start t = { .result.status = TLS_STATUS_NONE };

	if (open_ends(&e) == -1)
		t = local_failure(NAME, strerror(errno));
	else if ((t.pid = run(h, socket, &e, waits)) == -1)
		t = local_failure(h->program, strerror(errno));
	else {
		t.fd = e.clear[0];
		t.status = e.status[0];
		e.clear[0] = e.status[0] = -1;
	}
	/* Otherwise the end of file of the status would never be seen. */
	close_ends(&e);
	return t;
}

/*
 * There is no TLS session, so the helper is killed.  If it ended without a
 * record, could not be run, or wrote nothing in time, that is a failure of
 * ours.  It must not be taken for a failure of the server, or a broken
 * installation would send in clear text.
 */
static void
give_up(struct tls_start *t, bool has_ended)
{
	/* If it was already ending, this returns its own exit code. */
	struct spawn_end end = spawn_kill(t->pid);

	close(t->fd);
	close(t->status);
	t->fd = t->status = -1;
	if (t->result.status != TLS_STATUS_NONE)
		return;
	*t = local_failure(NAME, "no valid status");
	if (has_ended && (end.how != SPAWN_EXITED || end.code != 0))
		describe(end, t->result.text);
}

/* Waits for the result of the handshake, at most this many milliseconds. */
static void
await_result(const struct tls_helper *h, struct tls_start *t, int64_t ms)
{
	bool has_ended = read_result(h, t->status, deadline_in(ms), &t->result);

	if (t->result.status != TLS_STATUS_READY)
		give_up(t, has_ended);
}

static int64_t
handshake_ms(const struct tls_helper *h)
{
	return 1000 * (int64_t)h->timeout_s + GRACE_MS;
}

struct tls_start
tls_helper_start(const struct tls_helper *h, int socket)
{
	struct tls_start t = launch(h, socket, false);

	close(socket);
	if (t.result.status == TLS_STATUS_NONE)
		await_result(h, &t, handshake_ms(h));
	return t;
}

struct tls_start
tls_helper_prepare(const struct tls_helper *h, int socket)
{
	return launch(h, socket, true);
}

void
tls_helper_handshake(const struct tls_helper *h, struct tls_start *t,
    int socket)
{
	bool is_told;

	close(socket);
	if (t->result.status != TLS_STATUS_NONE)
		return;
	/* If it has ended, it may have said why. */
	is_told = send(t->fd, "", 1, MSG_NOSIGNAL) == 1;
	await_result(h, t, is_told ? handshake_ms(h) : GRACE_MS);
}

/* How it ended; of a process that is not our child only whether it did. */
static struct spawn_end
find_end(pid_t pid, bool has_ended, struct deadline until)
{
	if (pid != 0)
		return spawn_wait(pid, until);
	return (struct spawn_end){ has_ended ? SPAWN_LOST : SPAWN_RUNS, 0 };
}

enum tls_end
tls_helper_end(int status, pid_t pid, char text[TLS_TEXT_SIZE])
{
	struct deadline until = deadline_in(GRACE_MS);
	char record[TLS_RECORD_SIZE];
	bool has_ended;
	size_t n = read_record(status, record, until, &has_ended);
	enum tls_end end = tls_end_parse(record, n, text);

	if (end == TLS_END_NONE)
		describe(find_end(pid, has_ended, until), text);
	return end;
}

void
tls_helper_stop(struct tls_start *t)
{
	if (t->fd == -1)
		return;
	close(t->fd);
	close(t->status);
	t->fd = t->status = -1;
	(void)spawn_kill(t->pid);
}
