/* SPDX-License-Identifier: ISC */
#include "tls/tunnel.h"

#include <sys/socket.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"

/* Four full records: the clear side is asked less often than the server. */
#define PIECE 65536

/*
 * Whoever uses the tunnel has deadlines of its own, and ends by closing the
 * clear side.  So this one is no more than a last resort.
 */
#define IDLE_MS (INT64_C(24) * 3600 * 1000)

/* Once an end is gone: to send, or to be told, what is left. */
#define DRAIN_MS (INT64_C(10) * 1000)

/*
 * One end of the tunnel.
 *
 * Steps never wait.  WANT_READ and WANT_WRITE are what the descriptor is to
 * be polled for before the step is tried again.
 */
struct end {
	int fd;
	struct tls_session *session; /* NULL: the clear side */
	bool drained;                /* the last read took all there was */
	bool hung_up;                /* poll() said so */
	bool lacks_memory;           /* the kernel does, for the clear side */
};

/*
 * One direction.  It goes from OPEN to EOF when its source has ended, to
 * ENDED when the rest is delivered and its sink told; to BROKEN when the
 * sink is gone.
 */
enum flow_state { FLOW_OPEN, FLOW_EOF, FLOW_ENDED, FLOW_BROKEN };

struct flow {
	enum flow_state state;
	struct end *from, *to;
	short from_wants, to_wants; /* poll events; 0: try at once */
	size_t start, end;          /* of what was read but not written */
	char data[PIECE];
};

#define HANGUP (POLLERR | POLLHUP | POLLNVAL)

struct tunnel {
	struct end server, clear;
	struct flow out; /* clear to server */
	struct flow in;  /* server to clear */
	struct deadline until;
	bool was_draining; /* when until was set */
	bool lacks_memory; /* ... for poll() */
};

static enum tls_step
step_of_errno(struct end *e, enum tls_step blocked)
{
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return blocked;
	e->lacks_memory = errno == ENOMEM || errno == ENOBUFS;
	return TLS_STEP_FAILED;
}

static enum tls_step
clear_read(struct end *e, void *data, size_t n, size_t *got)
{
	ssize_t r;

	if (e->drained)
		return TLS_STEP_WANT_READ;
	do
		r = recv(e->fd, data, n, MSG_DONTWAIT);
	while (r == -1 && errno == EINTR);
	e->drained = r < (ssize_t)n;
	if (r == -1)
		return step_of_errno(e, TLS_STEP_WANT_READ);
	*got = (size_t)r;
	return r == 0 ? TLS_STEP_EOF : TLS_STEP_DONE;
}

static enum tls_step
clear_write(struct end *e, const void *data, size_t n, size_t *put)
{
	ssize_t r;

	do
		r = send(e->fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (r == -1 && errno == EINTR);
	if (r == -1)
		return step_of_errno(e, TLS_STEP_WANT_WRITE);
	*put = (size_t)r;
	return TLS_STEP_DONE;
}

/*
 * Takes what arrived and will not be looked at.  Unread, it would turn the
 * close of fd into a reset, which takes with it what the other side has not
 * yet read of our last bytes.
 */
static void
discard(int fd)
{
	char waste[16384];
	int i;

	/* The bound is for a peer that goes on as fast as it is read. */
	for (i = 0; i < 64; i++)
		if (recv(fd, waste, sizeof waste, MSG_DONTWAIT) <= 0)
			return;
}

static enum tls_step
clear_finish(struct end *e)
{
	if (shutdown(e->fd, SHUT_RDWR) == -1)
		return TLS_STEP_FAILED;
	discard(e->fd);
	return TLS_STEP_DONE;
}

static enum tls_step
server_finish(struct end *e)
{
	enum tls_step step = tls_session_close(e->session);

	if (step == TLS_STEP_DONE)
		discard(e->fd);
	return step;
}

static enum tls_step
end_read(struct end *e, void *data, size_t n, size_t *got)
{
	if (e->session != NULL)
		return tls_session_read(e->session, data, n, got);
	return clear_read(e, data, n, got);
}

static enum tls_step
end_write(struct end *e, const void *data, size_t n, size_t *put)
{
	if (e->session != NULL)
		return tls_session_write(e->session, data, n, put);
	return clear_write(e, data, n, put);
}

/* Tells that nothing more will be written. */
static enum tls_step
end_finish(struct end *e)
{
	return e->session != NULL ? server_finish(e) : clear_finish(e);
}

static void
end_is_readable(struct end *e)
{
	e->drained = false;
	if (e->session != NULL)
		tls_session_is_readable(e->session);
}

/* True when the step got somewhere; otherwise *wants says what it needs. */
static bool
has_moved(enum tls_step step, short *wants)
{
	*wants = 0;
	if (step == TLS_STEP_WANT_READ)
		*wants = POLLIN;
	else if (step == TLS_STEP_WANT_WRITE)
		*wants = POLLOUT;
	return *wants == 0;
}

static bool
flow_fill(struct flow *f)
{
	size_t got = 0;
	enum tls_step step = end_read(f->from, f->data, sizeof f->data, &got);

	if (!has_moved(step, &f->from_wants))
		return false;
	f->start = 0;
	f->end = got;
	/* Broken or closed, no more will come: so the rest is delivered. */
	if (step != TLS_STEP_DONE)
		f->state = FLOW_EOF;
	return true;
}

static bool
flow_drain(struct flow *f)
{
	size_t put = 0;
	enum tls_step step =
	    end_write(f->to, f->data + f->start, f->end - f->start, &put);

	if (!has_moved(step, &f->to_wants))
		return false;
	f->start += put;
	if (step != TLS_STEP_DONE)
		f->state = FLOW_BROKEN;
	return true;
}

static bool
flow_finish(struct flow *f)
{
	if (!has_moved(end_finish(f->to), &f->to_wants))
		return false;
	f->state = FLOW_ENDED;
	return true;
}

/* As much as can be done without waiting, once; false when that is nothing. */
static bool
flow_step(struct flow *f)
{
	bool moved = false;

	if (f->state == FLOW_OPEN && f->start == f->end && f->from_wants == 0)
		moved = flow_fill(f);
	if (f->state > FLOW_EOF || f->to_wants != 0)
		return moved;
	if (f->start < f->end)
		return flow_drain(f) || moved;
	if (f->state == FLOW_EOF)
		return flow_finish(f) || moved;
	return moved;
}

/* What the flow waits for at this end, as from_wants and to_wants have it. */
static short
wants_at(const struct flow *f, const struct end *e)
{
	if (f->state > FLOW_EOF)
		return 0;
	if (f->start < f->end || f->state == FLOW_EOF)
		return f->to == e ? f->to_wants : 0;
	return f->from == e ? f->from_wants : 0;
}

/* After poll(): what was waited for at this end may be tried again. */
static void
wake(struct flow *f, const struct end *e, short events)
{
	bool is_over = (events & HANGUP) != 0;

	if (f->from == e && (is_over || (events & f->from_wants) != 0))
		f->from_wants = 0;
	if (f->to == e && (is_over || (events & f->to_wants) != 0))
		f->to_wants = 0;
}

/*
 * Waits for whatever the flows want.  An end that has hung up, and that
 * nothing is wanted of, is left out, or this would return at once, for ever.
 */
static bool
tunnel_wait(struct tunnel *t)
{
	struct end *ends[2] = { &t->server, &t->clear };
	struct pollfd p[2];
	int n;
	int i;

	for (i = 0; i < 2; i++) {
		p[i].events = (short)(wants_at(&t->out, ends[i]) |
				      wants_at(&t->in, ends[i]));
		p[i].fd = -1;
		if (p[i].events != 0 || !ends[i]->hung_up)
			p[i].fd = ends[i]->fd;
		p[i].revents = 0;
	}
	do
		n = poll(p, 2, deadline_left(t->until));
	while (n == -1 && errno == EINTR);
	t->lacks_memory = n == -1;
	if (n <= 0)
		return false;
	for (i = 0; i < 2; i++) {
		if (p[i].revents == 0)
			continue;
		if ((p[i].revents & HANGUP) != 0)
			ends[i]->hung_up = true;
		end_is_readable(ends[i]);
		wake(&t->out, ends[i], p[i].revents);
		wake(&t->in, ends[i], p[i].revents);
	}
	return true;
}

/*
 * What the end of one flow means for the other.
 *
 * Clear has ended: the server's words have no reader any more.  poll() tells
 * even while what is left of it cannot be sent, and so is not read.
 *
 * The server has ended, or cannot be written to: nobody may go on writing to
 * clear as if the bytes went somewhere, but all that the server said still
 * counts.
 */
static void
judge(struct tunnel *t)
{
	if ((t->out.state == FLOW_EOF || t->clear.hung_up) &&
	    t->in.state < FLOW_ENDED)
		t->in.state = FLOW_BROKEN;
	if (t->in.state == FLOW_EOF && t->out.state == FLOW_OPEN) {
		t->out.state = FLOW_BROKEN;
		/* An answer to its close_notify, as far as that can be had. */
		(void)tls_session_close(t->server.session);
	}
	if (t->out.state == FLOW_BROKEN && t->in.state < FLOW_ENDED)
		shutdown(t->clear.fd, SHUT_RD);
}

/*
 * Only one flow is left, and its source is expected to end soon, or its sink
 * to take the rest.  What the server said last is not in a hurry: whoever
 * reads it has deadlines.
 */
static bool
is_draining(const struct tunnel *t)
{
	if (t->in.state == FLOW_BROKEN)
		return true;
	return t->out.state == FLOW_BROKEN && t->in.state == FLOW_OPEN;
}

static void
set_deadline(struct tunnel *t, bool moved)
{
	bool draining = is_draining(t);

	if (draining == t->was_draining && (draining || !moved))
		return;
	t->was_draining = draining;
	t->until = deadline_in(draining ? DRAIN_MS : IDLE_MS);
}

static bool
lacks_memory(const struct tunnel *t)
{
	return t->lacks_memory || t->clear.lacks_memory ||
	       tls_session_lacks_memory(t->server.session);
}

/*
 * For want of memory it ends while the server listens: whoever uses the tunnel
 * learns it from our end, not from a server that waits for what was not sent.
 */
static bool
is_over(const struct tunnel *t)
{
	if (t->out.state == FLOW_BROKEN && lacks_memory(t))
		return true;
	if (t->out.state == FLOW_ENDED || t->in.state == FLOW_ENDED)
		return true;
	return t->out.state == FLOW_BROKEN && t->in.state == FLOW_BROKEN;
}

int
tls_tunnel_run(struct tls_session *session, int server, int clear)
{
	struct tunnel *t = mem_alloc(1, sizeof *t);
	int result;

	t->server.fd = server;
	t->server.session = session;
	t->clear.fd = clear;
	t->out.from = t->in.to = &t->clear;
	t->out.to = t->in.from = &t->server;
	t->until = deadline_in(IDLE_MS);
	while (!is_over(t)) {
		bool moved = flow_step(&t->out);

		moved = flow_step(&t->in) || moved;
		judge(t);
		set_deadline(t, moved);
		if (moved ? deadline_passed(t->until) : !tunnel_wait(t))
			break;
	}
	result = lacks_memory(t) ? -1 : 0;
	free(t);
	return result;
}
