/* SPDX-License-Identifier: ISC */
#include "tls/helper.h"

#include <sys/socket.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/fdio.h"
#include "base/spawn.h"
#include "base/str.h"

/* The helper keeps the time itself; this much later it must be stuck. */
#define GRACE_MS 1000

#define NUMBER_SIZE 24

/* Both ends of the clear-text socketpair and of the status pipe. */
struct ends {
	int clear[2];
	int status[2];
};

static struct tls_start
trouble(const char *what, int error)
{
	struct tls_start t = { .status = TLS_STATUS_LOCAL, .fd = -1 };

	snprintf(t.text, sizeof t.text, "%s: %s", what, strerror(error));
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
	    pipe(e->status) == -1)
		return -1;
	for (int i = 0; i < 2; i++)
		if (fdio_set_cloexec(e->clear[i], true) == -1 ||
		    fdio_set_cloexec(e->status[i], true) == -1)
			return -1;
	return fdio_set_nonblocking(e->clear[0]);
}

static pid_t
run(const struct tls_helper *h, int socket, const struct ends *e)
{
	char timeout[NUMBER_SIZE], number[3][NUMBER_SIZE];
	int keep[3] = { socket, e->clear[1], e->status[1] };
	const char *argv[20];
	size_t n = 0;

	argv[n++] = h->program;
	argv[n++] = "-t";
	snprintf(timeout, sizeof timeout, "%lu", h->timeout_s);
	argv[n++] = timeout;
	argv[n++] = "-n";
	argv[n++] = h->name;
	if (h->anchors) {
		argv[n++] = "-v";
		argv[n++] = h->anchors;
		argv[n++] = "-s";
		argv[n++] = h->state;
	}
	if (h->clientcert && h->clientkey) {
		argv[n++] = "-c";
		argv[n++] = h->clientcert;
		argv[n++] = "-k";
		argv[n++] = h->clientkey;
	}
	for (int i = 0; i < 3; i++) {
		snprintf(number[i], sizeof number[i], "%d", keep[i]);
		argv[n++] = number[i];
	}
	argv[n] = NULL;
	/* posix_spawn() only reads the strings; its type is older than const.
	 */
	return spawn_start((char *const *)(const void *)argv, keep, 3);
}

/* The status record, as far as it comes before the deadline. */
static struct tls_start
hear(int fd, struct deadline until)
{
	struct tls_start t = { .fd = -1 };
	char record[TLS_STATUS_SIZE];
	size_t n = 0;
	ssize_t got = 1;

	while (got > 0 && n < sizeof record &&
	       fdio_wait(fd, POLLIN, until) == 1) {
		got = fdio_read(fd, record + n, sizeof record - n);
		if (got > 0)
			n += (size_t)got;
	}
	t.status = tls_status_parse(record, n, t.text);
	return t;
}

/*
 * No handshake, so no helper.  One that ended without a word, killed by a
 * signal or not there to be run, is trouble of ours: it must not pass for a
 * server that fails, or a broken installation would send in clear text.
 */
static struct tls_start
judge_end(struct tls_start t, pid_t pid, struct deadline until)
{
	bool was_late = deadline_passed(until);

	(void)spawn_kill(pid);
	if (t.status != TLS_STATUS_NONE)
		return t;
	t.status = was_late ? TLS_STATUS_FAILED : TLS_STATUS_LOCAL;
	str_copy(t.text, sizeof t.text,
	    was_late ? "timed out" : "qmail-remote-tls cannot run");
	return t;
}

struct tls_start
tls_helper_start(const struct tls_helper *h, int socket)
{
	struct ends e = { { -1, -1 }, { -1, -1 } };
	struct deadline until =
	    deadline_in(1000 * (int64_t)h->timeout_s + GRACE_MS);
	struct tls_start t;
	pid_t pid;

	if (open_ends(&e) == -1) {
		t = trouble("qmail-remote-tls", errno);
		goto out;
	}
	pid = run(h, socket, &e);
	if (pid == -1) {
		t = trouble(h->program, errno);
		goto out;
	}
	/* Or the end of the status pipe would never be seen. */
	close(e.status[1]);
	e.status[1] = -1;
	t = hear(e.status[0], until);
	if (t.status == TLS_STATUS_READY) {
		t.fd = e.clear[0];
		t.pid = pid;
		e.clear[0] = -1;
	} else {
		t = judge_end(t, pid, until);
	}
out:
	close_ends(&e);
	close(socket);
	return t;
}
