/* SPDX-License-Identifier: ISC */
#include "tls/helper.h"

#include <sys/socket.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/deadline.h"
#include "base/mem.h"
#include "io/fdio.h"
#include "io/spawn.h"
#include "base/str.h"

#include "config.h"

/*
 * The helper itself has the time limit; if it is this much later it is stuck.
 */
#define GRACE_MS 1000

/*
 * A helper that was started by another process begins at once when it gets the
 * connection.  If it has not begun after so long it is stopped, or gone.
 */
#define BEGIN_MS 100

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

/*
 * The arguments, to be freed by tls_request_free().  version is NULL for a
 * helper of our own.
 */
static char **
describe_request(const struct tls_helper *h, int socket, const struct ends *e,
    bool waits, const char *version)
{
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
		.version = version,
		.state = h->anchors ? h->state : NULL,
		.cert = has_credentials ? h->clientcert : NULL,
		.key = has_credentials ? h->clientkey : NULL,
	};
	char **argv;

	if (has_tlsa) {
		tlsa_format(h->tlsa, &tlsa);
		request.tlsa = buf_text(&tlsa);
	}
	argv = tls_request_format(&request, h->program);
	buf_finish(&tlsa);
	return argv;
}

static pid_t
run(const struct tls_helper *h, int socket, const struct ends *e, bool waits)
{
	int keep[3] = { socket, e->clear[1], e->status[1] };
	char **argv = describe_request(h, socket, e, waits, NULL);
	pid_t pid = spawn_start(argv, keep, 3);

	tls_request_free(argv);
	return pid;
}

static bool
pass(const struct tls_helper *h, int socket, const struct ends *e)
{
	const int fd[TLS_FDS] = {
		[TLS_FD_SOCKET] = socket,
		[TLS_FD_CLEAR] = e->clear[1],
		[TLS_FD_STATUS] = e->status[1],
	};
	char **argv = describe_request(h, socket, e, true, PROGRAM_VERSION);
	char *bytes = mem_alloc(TLS_MESSAGE_MAX, 1);
	size_t n = tls_request_join(argv, bytes);
	bool is_passed = n > 0 && h->pass(h->pass_data, bytes, n, fd);

	free(bytes);
	tls_request_free(argv);
	return is_passed;
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
 * A helper that another process has started.
 */

/* TLS_STATUS_NONE if it was asked for one; LOCAL if there is nobody to ask. */
static struct tls_start
launch_passed(const struct tls_helper *h, int socket)
{
	struct ends e = { { -1, -1 }, { -1, -1 } };
	struct tls_start t = { .result.status = TLS_STATUS_LOCAL };

	if (open_ends(&e) == 0 && pass(h, socket, &e)) {
		t = (struct tls_start){
			.result.status = TLS_STATUS_NONE,
			.fd = e.clear[0],
			.status = e.status[0],
			.is_passed = true,
			.clear = e.clear[1],
			.connection = -1,
		};
		e.clear[0] = e.clear[1] = e.status[0] = -1;
	}
	close_ends(&e);
	return t;
}

void
tls_helper_await_end(int status, struct deadline until)
{
	char bytes[TLS_RECORD_SIZE];

	while (fdio_wait(status, POLLIN, until) == 1 &&
	       fdio_read(status, bytes, sizeof bytes) > 0)
		;
}

/*
 * Ends a helper that is not our child, and so cannot be killed.  If it has not
 * read the byte that lets it begin, it reads end of file in place of it.
 */
static void
end_passed(struct tls_start *t)
{
	if (t->clear != -1)
		close(t->clear);
	if (t->connection != -1)
		(void)shutdown(t->connection, SHUT_RDWR);
	close(t->fd);
	tls_helper_await_end(t->status,
	    deadline_in(t->connection == -1 ? BEGIN_MS : GRACE_MS));
	close(t->status);
	tls_helper_settle(t);
	t->fd = t->status = -1;
}

/* Sends the byte that it waits for before it begins; false if it has ended. */
static bool
send_byte(const struct tls_start *t)
{
	ssize_t sent;

	do
		sent = send(t->fd, "", 1, MSG_NOSIGNAL);
	while (sent == -1 && errno == EINTR);
	return sent == 1;
}

/*
 * Gives it the connection.  The byte for that can be read only once: by the
 * helper, which then begins, or by us, and then it cannot begin any more.
 */
static bool
lets_begin(struct tls_start *t)
{
	bool has_begun;
	char byte;

	if (!send_byte(t))
		return false;
	(void)fdio_wait(t->status, POLLIN, deadline_in(BEGIN_MS));
	has_begun = recv(t->clear, &byte, 1, MSG_DONTWAIT) != 1;
	if (has_begun) {
		close(t->clear);
		t->clear = -1;
	}
	return has_begun;
}

void
tls_helper_settle(struct tls_start *t)
{
	if (t->is_passed && t->connection != -1) {
		close(t->connection);
		t->connection = -1;
	}
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
	struct spawn_end end = { SPAWN_LOST, 0 };

	if (t->is_passed)
		end_passed(t);
	else {
		/* If it was already ending, this returns its own exit code. */
		end = spawn_kill(t->pid);
		close(t->fd);
		close(t->status);
		t->fd = t->status = -1;
	}
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

/* One of our own, with the handshake. */
static struct tls_start
start_own(const struct tls_helper *h, int socket)
{
	struct tls_start t = launch(h, socket, false);

	close(socket);
	if (t.result.status == TLS_STATUS_NONE)
		await_result(h, &t, handshake_ms(h));
	return t;
}

struct tls_start
tls_helper_start(const struct tls_helper *h, int socket)
{
	struct tls_start t = { .result.status = TLS_STATUS_LOCAL };

	if (h->pass != NULL)
		t = launch_passed(h, socket);
	if (t.result.status == TLS_STATUS_NONE)
		tls_helper_handshake(h, &t, socket);
	else
		t = start_own(h, socket);
	return t;
}

struct tls_start
tls_helper_prepare(const struct tls_helper *h, int socket)
{
	struct tls_start t = { .result.status = TLS_STATUS_LOCAL };

	if (h->pass != NULL)
		t = launch_passed(h, socket);
	return t.result.status == TLS_STATUS_NONE ? t : launch(h, socket, true);
}

static void
perform_passed(const struct tls_helper *h, struct tls_start *t, int socket)
{
	if (!lets_begin(t)) {
		end_passed(t);
		*t = start_own(h, socket);
		return;
	}
	t->connection = socket;
	await_result(h, t, handshake_ms(h));
}

void
tls_helper_handshake(const struct tls_helper *h, struct tls_start *t,
    int socket)
{
	if (t->is_passed) {
		perform_passed(h, t, socket);
		return;
	}
	close(socket);
	if (t->result.status != TLS_STATUS_NONE)
		return;
	/* If it has ended, it may have said why. */
	await_result(h, t, send_byte(t) ? handshake_ms(h) : GRACE_MS);
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
	if (t->is_passed) {
		end_passed(t);
		return;
	}
	close(t->fd);
	close(t->status);
	t->fd = t->status = -1;
	(void)spawn_kill(t->pid);
}
