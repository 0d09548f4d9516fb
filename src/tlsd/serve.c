/* SPDX-License-Identifier: ISC */
#include "tlsd/serve.h"

#include <sys/wait.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/mem.h"
#include "io/fdio.h"
#include "io/pass.h"

_Static_assert(TLS_FDS <= PASS_MAX, "one message has all descriptors");

struct service {
	const struct serve *config;
	size_t children;
	bool has_crashed; /* one of them */
	bool is_child;    /* this process */
	int code;         /* of the child */
	char bytes[TLS_MESSAGE_MAX];
};

/* By a fault in its own memory; and not because somebody has killed it. */
static bool
is_crash(int status)
{
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT,
		SIGTRAP, SIGSYS };

	if (!WIFSIGNALED(status))
		return false;
	for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
		if (WTERMSIG(status) == crashes[i])
			return true;
	return false;
}

static void
reap(struct service *s)
{
	int status;

	while (s->children > 0 && waitpid(-1, &status, WNOHANG) > 0) {
		s->children--;
		s->has_crashed |= is_crash(status);
	}
}

static void
run_session(struct service *s, size_t n, const int fd[TLS_FDS])
{
	char *argv[TLS_REQUEST_ARGUMENTS + 1];
	int argc = tls_request_split(s->bytes, n, argv);

	close(s->config->socket);
	s->is_child = true;
	s->code = s->config->session(s->config->data, argc, argv, fd);
}

/*
 * Takes one message.  What cannot be served is closed, and so the delivery
 * learns that it has to help itself.  False if there is nobody to serve.
 */
static bool
take(struct service *s)
{
	size_t nfd = 0;
	int fd[PASS_MAX];
	ssize_t n = pass_receive(s->config->socket, s->bytes, sizeof s->bytes,
	    fd, &nfd);

	if (n == 0)
		return false;
	if (n == -1)
		return errno == EAGAIN || errno == EMSGSIZE;
	if (nfd == TLS_FDS && s->children < s->config->limit) {
		pid_t pid = fork();

		if (pid == 0) {
			run_session(s, (size_t)n, fd);
			return false;
		}
		s->children += pid > 0;
	}
	pass_close(fd, nfd);
	return true;
}

bool
serve_run(const struct serve *config, int *code)
{
	struct service *s = mem_alloc(1, sizeof *s);
	struct deadline look = deadline_in(SERVE_TURN_MS);
	bool goes_on = true, is_child;

	s->config = config;
	while (goes_on) {
		int n = fdio_wait(config->socket, POLLIN, look);

		reap(s);
		if (n == -1 || s->has_crashed)
			break;
		if (n == 1)
			goes_on = take(s);
		if (!s->is_child && deadline_passed(look)) {
			goes_on = goes_on && !config->has_changed(config->data);
			look = deadline_in(SERVE_TURN_MS);
		}
	}
	*code = s->code;
	is_child = s->is_child;
	free(s);
	return is_child;
}
