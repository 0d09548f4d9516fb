/* SPDX-License-Identifier: ISC */
#include "io/dial.h"

#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "base/deadline.h"
#include "io/fdio.h"

/*
 * Limit on attempts at the same time.  At one per DIAL_STAGGER_MS this is
 * reached only where no address answers; a slot is freed when its attempt ends.
 */
#define ATTEMPTS_MAX 64

struct attempt {
	size_t target;
	struct deadline until; /* timeout_ms after its start */
};

struct race {
	struct dial_target *target;
	size_t ntarget;
	int timeout_ms;
	size_t next;             /* the first target not looked at yet */
	size_t n;                /* attempts in progress */
	struct deadline stagger; /* when the next attempt may start */
	struct attempt attempt[ATTEMPTS_MAX];
	struct pollfd poll[ATTEMPTS_MAX];
};

enum start { START_CONNECTED, START_WAITING, START_FAILED };

/* Errors reported by the peer or the network. */
static bool
is_from_network(int error)
{
	return error == ECONNREFUSED || error == ECONNRESET ||
	       error == ECONNABORTED || error == ETIMEDOUT ||
	       error == EHOSTUNREACH || error == ENETUNREACH;
}

/* All other errors come from this machine and say nothing about the peer. */
static void
set_failed(struct dial_target *t, int error)
{
	t->state = is_from_network(error) ? DIAL_FAILED : DIAL_UNABLE;
	t->error = error;
}

/*
 * Linux chooses a port at once, and gives it to one connection only, unless it
 * is told that connect() follows: then as many connections are possible as
 * without an address.
 */
static int
bind_own(int fd, const struct ip *own)
{
	struct sockaddr_storage ss;
	socklen_t len = ip_sockaddr(own, 0, &ss);
#ifdef IP_BIND_ADDRESS_NO_PORT
	int on = 1;

	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on,
	    sizeof on);
#endif
	return bind(fd, (struct sockaddr *)&ss, len);
}

static enum start
start_attempt(struct dial_target *t, int *fd)
{
	struct sockaddr_storage ss;
	socklen_t len = ip_sockaddr(&t->ip, t->port, &ss);
	int error;

	*fd = socket(ss.ss_family, SOCK_STREAM, 0);
	if (*fd == -1) {
		set_failed(t, errno);
		return START_FAILED;
	}
	if (fdio_set_cloexec(*fd, true) == -1 ||
	    fdio_set_nonblocking(*fd) == -1 ||
	    (t->own && bind_own(*fd, t->own) == -1))
		goto fail;
	if (connect(*fd, (struct sockaddr *)&ss, len) == 0)
		return START_CONNECTED;
	if (errno == EINPROGRESS || errno == EINTR)
		return START_WAITING;
fail:
	error = errno;
	close(*fd);
	set_failed(t, error);
	return START_FAILED;
}

/* Closes attempt i and moves the last one to its place. */
static void
drop_attempt(struct race *r, size_t i)
{
	close(r->poll[i].fd);
	r->n--;
	r->attempt[i] = r->attempt[r->n];
	r->poll[i] = r->poll[r->n];
}

static void
drop_all(struct race *r)
{
	while (r->n > 0)
		drop_attempt(r, r->n - 1);
}

/* Best effort: failure only costs speed. */
static void
set_options(int fd)
{
	int on = 1, unsent = DIAL_UNSENT_MAX;

	/*
	 * We write whole commands and buffers, so Nagle's algorithm would only
	 * delay them.
	 */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
#ifdef TCP_NOTSENT_LOWAT
	/*
	 * Otherwise, on a slow link, the kernel could hold megabytes that are
	 * still to be sent while the time limit for the reply is running.
	 */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent,
	    sizeof unsent);
#else
	(void)unsent;
#endif
}

/* Takes attempt i as the winner and ends the race. */
static void
take_winner(struct race *r, size_t i, struct dialed *won)
{
	won->fd = r->poll[i].fd;
	won->target = r->attempt[i].target;
	won->ms = r->timeout_ms - deadline_left(r->attempt[i].until);
	set_options(won->fd);
	r->target[won->target].state = DIAL_CONNECTED;
	r->n--;
	r->attempt[i] = r->attempt[r->n];
	r->poll[i] = r->poll[r->n];
	drop_all(r);
}

static bool
find_next(struct race *r)
{
	while (r->next < r->ntarget && r->target[r->next].state != DIAL_UNTRIED)
		r->next++;
	return r->next < r->ntarget;
}

/*
 * Milliseconds until an attempt times out or the next one may start; -1 for
 * none.
 */
static int
wait_ms(struct race *r)
{
	bool may_start = r->n < ATTEMPTS_MAX && find_next(r);
	struct deadline until = may_start ? r->stagger : deadline_never();

	for (size_t i = 0; i < r->n; i++)
		until = deadline_earlier(until, r->attempt[i].until);
	return deadline_left(until);
}

/*
 * Looks at every attempt once.  Returns true if one is connected, with its
 * index in *which.  Attempts that failed or timed out are dropped; *ended is
 * set if there was one.
 */
static bool
check_attempts(struct race *r, size_t *which, bool *ended)
{
	for (size_t i = 0; i < r->n;) {
		struct attempt *a = &r->attempt[i];
		int error = 0;
		socklen_t len = sizeof error;

		if (r->poll[i].revents == 0) {
			if (!deadline_passed(a->until)) {
				i++;
				continue;
			}
			error = ETIMEDOUT;
		} else if (getsockopt(r->poll[i].fd, SOL_SOCKET, SO_ERROR,
			       &error, &len) == -1) {
			error = errno;
		}
		if (error == 0) {
			*which = i;
			return true;
		}
		set_failed(&r->target[a->target], error);
		drop_attempt(r, i);
		*ended = true;
	}
	return false;
}

/*
 * Starts one attempt, or more if they fail at once.  True if the last one is
 * connected already.
 */
static bool
start_due(struct race *r)
{
	while (r->n < ATTEMPTS_MAX && find_next(r)) {
		struct attempt *a = &r->attempt[r->n];
		struct pollfd *p = &r->poll[r->n];
		enum start how = start_attempt(&r->target[r->next], &p->fd);

		a->target = r->next++;
		if (how == START_FAILED)
			continue;
		p->events = POLLOUT;
		a->until = deadline_in(r->timeout_ms);
		r->n++;
		r->stagger = deadline_in(DIAL_STAGGER_MS);
		return how == START_CONNECTED;
	}
	return false;
}

/* poll() failed, so the attempts in progress cannot be waited for. */
static void
give_up(struct race *r, int error)
{
	while (r->n > 0) {
		set_failed(&r->target[r->attempt[r->n - 1].target], error);
		drop_attempt(r, r->n - 1);
	}
}

bool
dial_first(struct dial_target *t, size_t n, int timeout_ms, struct dialed *won)
{
	struct race r = { .target = t, .ntarget = n, .timeout_ms = timeout_ms };
	bool is_due = true; /* start an attempt now, without the delay */

	for (;;) {
		size_t which;

		if (is_due || deadline_passed(r.stagger)) {
			if (start_due(&r)) {
				take_winner(&r, r.n - 1, won);
				return true;
			}
			is_due = false;
		}
		if (r.n == 0)
			return false;
		for (size_t i = 0; i < r.n; i++)
			r.poll[i].revents = 0;
		if (poll(r.poll, (nfds_t)r.n, wait_ms(&r)) == -1 &&
		    errno != EINTR) {
			give_up(&r, errno);
			is_due = true;
		}
		if (check_attempts(&r, &which, &is_due)) {
			take_winner(&r, which, won);
			return true;
		}
	}
}

int
dial_try_own(const struct ip *own)
{
	int fd = socket(ip_is_v4(own) ? AF_INET : AF_INET6, SOCK_STREAM, 0);
	int result, saved;

	if (fd == -1)
		return -1;
	result = bind_own(fd, own);
	saved = errno;
	close(fd);
	errno = saved;
	return result;
}

bool
dial_own(int fd, struct ip *ip)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;

	return getsockname(fd, (struct sockaddr *)&ss, &len) == 0 &&
	       ip_from_sockaddr((const struct sockaddr *)&ss, ip);
}
