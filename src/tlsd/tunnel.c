/* SPDX-License-Identifier: ISC */
#include "tlsd/tunnel.h"

#include <sys/socket.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"

/* Four full records: the clear side is read less often than the server. */
#define PIECE 65536

/*
 * The program at the clear side has its own deadlines, and ends a session by
 * closing the clear side.  So this limit is only a last resort.
 */
#define IDLE_MS (INT64_C(24) * 3600 * 1000)

/*
 * After one side has ended: time to send what is left, or for the other to end.
 */
#define DRAIN_MS (INT64_C(10) * 1000)

/*
 * One end of the tunnel.
 *
 * Steps never wait.  After WANT_READ and WANT_WRITE the descriptor must be
 * polled for that before the step is tried again.
 */
struct end {
	int fd;
	struct tlsd_session *session; /* NULL: the clear side */
	bool drained;                 /* the last read emptied it */
	bool hung_up;                 /* poll() has reported it */
};

/*
 * One direction.  States: OPEN; EOF after its source has ended; ENDED after the
 * rest is delivered and its sink has been told; BROKEN if its sink is gone.
 */
enum flow_state { FLOW_OPEN, FLOW_EOF, FLOW_ENDED, FLOW_BROKEN };

struct flow {
	struct tunnel *tunnel;
	enum flow_state state;
	struct end *from, *to;
	short from_wants, to_wants; /* poll events to wait for; 0: none */
	size_t start, end;          /* bytes read but not written */
	char data[PIECE];
};

#define HANGUP (POLLERR | POLLHUP | POLLNVAL)

struct tunnel {
	struct end server, clear;
	struct flow out; /* clear to server */
	struct flow in;  /* server to clear */
	struct deadline until;
	bool was_draining; /* is_draining() when until was set */
	tlsd_tunnel_on_end *on_end;
	enum tls_end ended; /* what on_end was given */
};

/* Only the first reason counts: later ones are its consequences. */
static void
report_end(struct tunnel *t, enum tls_end end, const char *text)
{
	if (t->ended != TLS_END_NONE)
		return;
	t->ended = end;
	t->on_end(end, text);
}

/* Reports the end after the last read or write at e. */
static void
end_reached(struct tunnel *t, const struct end *e, enum tlsd_step step)
{
	char text[TLS_TEXT_SIZE] = "";
	enum tls_end end = TLS_END_CLIENT;

	if (e->session != NULL)
		end = step == TLSD_STEP_EOF
			  ? TLS_END_SERVER
			  : tlsd_session_failure(e->session, text);
	report_end(t, end, text);
}

static enum tlsd_step
step_of_errno(enum tlsd_step blocked)
{
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return blocked;
	/*
	 * No memory in the kernel is a failure of ours, whatever the call was
	 * for.
	 */
	if (errno == ENOMEM || errno == ENOBUFS)
		mem_exhausted();
	return TLSD_STEP_FAILED;
}

static enum tlsd_step
clear_read(struct end *e, void *data, size_t n, size_t *got)
{
	ssize_t r;

	if (e->drained)
		return TLSD_STEP_WANT_READ;
	do
		r = recv(e->fd, data, n, MSG_DONTWAIT);
	while (r == -1 && errno == EINTR);
	e->drained = r < (ssize_t)n;
	if (r == -1)
		return step_of_errno(TLSD_STEP_WANT_READ);
	*got = (size_t)r;
	return r == 0 ? TLSD_STEP_EOF : TLSD_STEP_DONE;
}

static enum tlsd_step
clear_write(struct end *e, const void *data, size_t n, size_t *put)
{
	ssize_t r;

	do
		r = send(e->fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (r == -1 && errno == EINTR);
	if (r == -1)
		return step_of_errno(TLSD_STEP_WANT_WRITE);
	*put = (size_t)r;
	return TLSD_STEP_DONE;
}

/*
 * Reads and discards what has arrived.  Otherwise closing fd would send a
 * reset, and the other side could lose the end of our data that it has not read
 * yet.
 */
static void
discard(int fd)
{
	char waste[16384];
	int i;

	/* The limit is for a peer that sends as fast as it is read. */
	for (i = 0; i < 64; i++)
		if (recv(fd, waste, sizeof waste, MSG_DONTWAIT) <= 0)
			return;
}

static enum tlsd_step
clear_finish(struct end *e)
{
	if (shutdown(e->fd, SHUT_RDWR) == -1)
		return TLSD_STEP_FAILED;
	discard(e->fd);
	return TLSD_STEP_DONE;
}

static enum tlsd_step
server_finish(struct end *e)
{
	enum tlsd_step step = tlsd_session_close(e->session);

	if (step == TLSD_STEP_DONE)
		discard(e->fd);
	return step;
}

static enum tlsd_step
end_read(struct end *e, void *data, size_t n, size_t *got)
{
	if (e->session != NULL)
		return tlsd_session_read(e->session, data, n, got);
	return clear_read(e, data, n, got);
}

static enum tlsd_step
end_write(struct end *e, const void *data, size_t n, size_t *put)
{
	if (e->session != NULL)
		return tlsd_session_write(e->session, data, n, put);
	return clear_write(e, data, n, put);
}

/* Tells this end that nothing more will be written. */
static enum tlsd_step
end_finish(struct end *e)
{
	return e->session != NULL ? server_finish(e) : clear_finish(e);
}

static void
end_is_readable(struct end *e)
{
	e->drained = false;
	if (e->session != NULL)
		tlsd_session_is_readable(e->session);
}

/* The poll events that the step needs before it can continue; 0: none. */
static short
wants_of(enum tlsd_step step)
{
	if (step == TLSD_STEP_WANT_READ)
		return POLLIN;
	return step == TLSD_STEP_WANT_WRITE ? POLLOUT : 0;
}

static bool
is_over_after(enum tlsd_step step)
{
	return step == TLSD_STEP_EOF || step == TLSD_STEP_FAILED;
}

/* Reads everything that has arrived, as long as there is room. */
static bool
flow_fill(struct flow *f)
{
	enum tlsd_step step = TLSD_STEP_DONE;

	f->start = f->end = 0;
	while (step == TLSD_STEP_DONE && f->end < sizeof f->data) {
		size_t got = 0;

		step = end_read(f->from, f->data + f->end,
		    sizeof f->data - f->end, &got);
		f->end += got;
	}
	f->from_wants = wants_of(step);
	/* No more input will come, so deliver the rest. */
	if (is_over_after(step)) {
		f->state = FLOW_EOF;
		end_reached(f->tunnel, f->from, step);
	}
	return f->end > 0 || f->state == FLOW_EOF;
}

static bool
flow_drain(struct flow *f)
{
	size_t put = 0;
	enum tlsd_step step =
	    end_write(f->to, f->data + f->start, f->end - f->start, &put);

	f->to_wants = wants_of(step);
	if (f->to_wants != 0)
		return false;
	f->start += put;
	if (step != TLSD_STEP_DONE) {
		f->state = FLOW_BROKEN;
		end_reached(f->tunnel, f->to, step);
	}
	return true;
}

static bool
flow_finish(struct flow *f)
{
	f->to_wants = wants_of(end_finish(f->to));
	if (f->to_wants != 0)
		return false;
	f->state = FLOW_ENDED;
	return true;
}

/* Does what is possible without waiting, once; false if that was nothing. */
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

/* The poll events that the flow waits for at this end; 0: none. */
static short
wants_at(const struct flow *f, const struct end *e)
{
	if (f->state > FLOW_EOF)
		return 0;
	if (f->start < f->end || f->state == FLOW_EOF)
		return f->to == e ? f->to_wants : 0;
	return f->from == e ? f->from_wants : 0;
}

/* After poll(): what the flow waited for at this end may be tried again. */
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
 * Waits for the events that the flows want.  An end that has hung up, and that
 * no flow waits for, is left out; otherwise poll() would return at once, for
 * ever.
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
	/* poll() can only fail for lack of memory. */
	if (n == -1)
		mem_exhausted();
	if (n == 0) {
		report_end(t, TLS_END_BROKEN, "nothing came for too long");
		return false;
	}
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
 * If clear has ended, nobody reads what the server sends.  poll() reports the
 * hang-up even while the rest of clear's data cannot be sent, and so is not
 * read.
 *
 * If the server has ended, or cannot be written to, the program at clear must
 * not go on writing as if the bytes were delivered; but everything that the
 * server has sent still counts.
 */
static void
propagate_end(struct tunnel *t)
{
	if ((t->out.state == FLOW_EOF || t->clear.hung_up) &&
	    t->in.state < FLOW_ENDED) {
		t->in.state = FLOW_BROKEN;
		report_end(t, TLS_END_CLIENT, "");
	}
	if (t->in.state == FLOW_EOF && t->out.state == FLOW_OPEN) {
		t->out.state = FLOW_BROKEN;
		/* Reply to its close_notify, if that is possible. */
		(void)tlsd_session_close(t->server.session);
	}
	if (t->out.state == FLOW_BROKEN && t->in.state < FLOW_ENDED)
		shutdown(t->clear.fd, SHUT_RD);
}

/*
 * Only one flow is left, and its source should end soon, or its sink should
 * take the rest.  The last data of the server has no such limit: its reader has
 * deadlines.
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
is_over(const struct tunnel *t)
{
	if (t->out.state == FLOW_ENDED || t->in.state == FLOW_ENDED)
		return true;
	return t->out.state == FLOW_BROKEN && t->in.state == FLOW_BROKEN;
}

void
tlsd_tunnel_run(struct tlsd_session *session, int server, int clear,
    tlsd_tunnel_on_end *on_end)
{
	struct tunnel *t = mem_alloc(1, sizeof *t);

	t->server.fd = server;
	t->server.session = session;
	t->clear.fd = clear;
	t->out.tunnel = t->in.tunnel = t;
	t->out.from = t->in.to = &t->clear;
	t->out.to = t->in.from = &t->server;
	t->until = deadline_in(IDLE_MS);
	t->on_end = on_end;
	while (!is_over(t)) {
		bool moved = flow_step(&t->in);

		moved = flow_step(&t->out) || moved;
		propagate_end(t);
		set_deadline(t, moved);
		if (moved ? deadline_passed(t->until) : !tunnel_wait(t))
			break;
	}
	free(t);
}
