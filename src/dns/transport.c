/* SPDX-License-Identifier: ISC */
#include "dns/transport.h"

#include <sys/socket.h>
#include <netinet/in.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/fdio.h"

/*
 * Questions over UDP that are under way to one server at once.  They fit into
 * the receive buffer of the server as most systems make it, and the replies
 * into ours.  Others wait for replies, but not for longer than a server needs
 * to take questions out of its buffer.
 */
#define UDP_AT_ONCE 128
#define UDP_PLACE_MS 100
#define RECEIVE_BUFFER (1 << 20) /* the kernel may give less */

/*
 * Each connection takes up to 64 KB, for the largest answer.  Others wait until
 * one ends; one that has taken longer than this ends if others wait.
 */
#define TCP_MAX 8
#define TCP_PLACE_MS 2000

/* Time for a reply; longer than any round of the resolver. */
#define REPLY_MS 60000

/* Longer replies are cut, and asked for over TCP. */
#define UDP_MAX 4096
#define UDP_PLAIN_MAX 512

/* Datagrams read at once: whoever sends more does not keep us here. */
#define DATAGRAMS_MAX 256

/* A message: its header, and what follows the name in its question. */
#define HEADER_SIZE 12
#define COUNT_AT 4
#define TYPE_AND_CLASS 4

/* Bits of the third byte of a message. */
#define QR_BIT 0x80
#define TC_BIT 0x02

/* Over TCP a message follows its length (RFC 1035 section 4.2.2). */
#define PREFIX 2

enum state {
	NEW,
	SENT, /* over TCP: connecting, sending or receiving */
	ENDED
};

struct exchange {
	struct exchange *next;
	void *owner; /* NULL: cancelled */
	struct dns_path path;
	enum state state;
	size_t question_end; /* offset in the message */

	/* Set when it is sent. */
	struct deadline until; /* for the reply */
	bool has_place;        /* for which others wait, until: */
	struct deadline place_until;

	/* Only over TCP. */
	int fd; /* of its connection, or -1 */
	size_t nsent;
	struct buf reply; /* with its prefix */

	size_t n;
	unsigned char prefixed[]; /* the message, with its prefix */
};

struct dns_transport {
	const struct dns_server *server;
	size_t nserver;
	dns_on_reply *on_reply;
	int udp[DNS_SERVERS_MAX];     /* a socket for each server, or -1 */
	struct exchange *exchange;    /* a list of all, oldest first */
	struct exchange **last;       /* the end of that list */
	size_t nudp[DNS_SERVERS_MAX]; /* places taken at each server */
	size_t nconnection;
	bool has_reply; /* since dns_transport_run() was called */
};

/*
 * A link-local address is only complete with its interface (RFC 4007 section
 * 11).
 */
static void
set_zone(struct sockaddr_storage *to, const struct dns_server *server)
{
	struct sockaddr_in6 *in6 = (void *)to;

	if (to->ss_family == AF_INET6 && server->interface[0] != '\0')
		in6->sin6_scope_id = if_nametoindex(server->interface);
}

/*
 * A socket that is connected to the server, or begins to be.  So the kernel
 * drops datagrams from elsewhere, and says if the server refuses ours.  Each
 * socket gets a random port.
 */
static int
open_socket(const struct dns_server *server, int type)
{
	static const int size = RECEIVE_BUFFER;
	struct sockaddr_storage to;
	socklen_t len = ip_sockaddr(&server->ip, server->port, &to);
	int fd = socket(to.ss_family, type, 0);

	if (fd == -1)
		return -1;
	set_zone(&to, server);
	if (type == SOCK_DGRAM)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	if (fdio_set_cloexec(fd, true) == 0 && fdio_set_nonblocking(fd) == 0 &&
	    (connect(fd, (struct sockaddr *)&to, len) == 0 ||
		errno == EINPROGRESS || errno == EINTR))
		return fd;
	close(fd);
	return -1;
}

struct dns_transport *
dns_transport_create(const struct dns_server *server, size_t n,
    dns_on_reply *on_reply)
{
	struct dns_transport *t;

	if (n > DNS_SERVERS_MAX)
		return NULL;
	t = mem_alloc(1, sizeof *t);
	t->server = server;
	t->nserver = n;
	t->on_reply = on_reply;
	t->last = &t->exchange;
	for (size_t i = 0; i < n; i++)
		t->udp[i] = -1;
	return t;
}

static void
close_connection(struct dns_transport *t, struct exchange *e)
{
	if (e->fd == -1)
		return;
	close(e->fd);
	e->fd = -1;
	t->nconnection--;
}

static void
free_exchange(struct dns_transport *t, struct exchange *e)
{
	close_connection(t, e);
	buf_finish(&e->reply);
	free(e);
}

void
dns_transport_destroy(struct dns_transport *t)
{
	struct exchange *e;

	if (t == NULL)
		return;
	while ((e = t->exchange) != NULL) {
		t->exchange = e->next;
		free_exchange(t, e);
	}
	for (size_t i = 0; i < t->nserver; i++)
		if (t->udp[i] != -1)
			close(t->udp[i]);
	free(t);
}

/* Where the question of a message of ours ends; its name is not compressed. */
static size_t
find_question_end(const unsigned char *message, size_t n)
{
	size_t at = HEADER_SIZE;

	while (at < n && message[at] != 0)
		at += message[at] + 1u;
	return at + 1 + TYPE_AND_CLASS;
}

void
dns_transport_send(struct dns_transport *t, struct dns_path path,
    const unsigned char *message, size_t n, void *owner)
{
	struct exchange *e = mem_alloc(1, sizeof *e + PREFIX + n);

	*t->last = e;
	t->last = &e->next;
	e->owner = owner;
	e->path = path;
	e->question_end = find_question_end(message, n);
	e->fd = -1;
	e->n = PREFIX + n;
	e->prefixed[0] = (unsigned char)(n >> 8);
	e->prefixed[1] = (unsigned char)n;
	memcpy(e->prefixed + PREFIX, message, n);
}

void
dns_transport_forget(struct dns_transport *t, const void *owner)
{
	struct exchange *e;

	for (e = t->exchange; e != NULL; e = e->next)
		if (e->owner == owner)
			e->owner = NULL;
}

static void
end(struct dns_transport *t, struct exchange *e, const unsigned char *reply,
    size_t n)
{
	e->state = ENDED;
	if (e->owner == NULL)
		return;
	t->has_reply = true;
	t->on_reply(e->owner, &e->path, reply, n);
}

static void
fail(struct dns_transport *t, struct exchange *e)
{
	end(t, e, NULL, 0);
}

/*
 * Whether it is a reply with the ID and the question of the exchange.  Anything
 * else may be forged, or be late for another question, and is passed over.
 */
static bool
answers(const struct exchange *e, const unsigned char *reply, size_t n)
{
	const unsigned char *message = e->prefixed + PREFIX;
	size_t type_at = e->question_end - TYPE_AND_CLASS;

	return n >= e->question_end && memcmp(reply, message, 2) == 0 &&
	       (reply[2] & QR_BIT) != 0 &&
	       memcmp(reply + COUNT_AT, message + COUNT_AT, 2) == 0 &&
	       str_case_equal((const char *)reply + HEADER_SIZE,
		   (const char *)message + HEADER_SIZE,
		   type_at - HEADER_SIZE) &&
	       memcmp(reply + type_at, message + type_at, TYPE_AND_CLASS) == 0;
}

static bool
waits_at(const struct exchange *e, size_t server)
{
	return e->state == SENT && !e->path.is_tcp && e->path.server == server;
}

static void
take_datagram(struct dns_transport *t, size_t server, unsigned char *reply,
    size_t n)
{
	struct exchange *e = t->exchange;

	while (e != NULL && !(waits_at(e, server) && answers(e, reply, n)))
		e = e->next;
	if (e == NULL)
		return;
	/* Cut by us, or by a server that assumes 512 bytes. */
	if (n == UDP_MAX || n == UDP_PLAIN_MAX)
		reply[2] |= TC_BIT;
	end(t, e, reply, n);
}

static bool
would_block(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK;
}

/*
 * The server cannot be reached: the kernel does not say which question that was
 * the reply to.
 */
static void
fail_all(struct dns_transport *t, size_t server)
{
	struct exchange *e;

	for (e = t->exchange; e != NULL; e = e->next)
		if (waits_at(e, server))
			fail(t, e);
}

/* The kernel reports an error first, also before replies that came earlier. */
static void
receive_datagrams(struct dns_transport *t, size_t server)
{
	unsigned char reply[UDP_MAX];
	bool has_failed = false;

	for (int i = 0; i < DATAGRAMS_MAX; i++) {
		ssize_t got = fdio_read(t->udp[server], reply, sizeof reply);

		if (got == -1 && would_block())
			break;
		if (got == -1)
			has_failed = true;
		else
			take_datagram(t, server, reply, (size_t)got);
	}
	if (has_failed)
		fail_all(t, server);
}

static void
set_sent(struct exchange *e, int64_t place_ms)
{
	e->state = SENT;
	e->until = deadline_in(REPLY_MS);
	e->has_place = true;
	e->place_until = deadline_in(place_ms);
}

/*
 * An error may be the reply (ICMP) to an earlier question.  If the system has
 * no room for the question, it is lost, as it could be on the way.
 */
static void
start_udp(struct dns_transport *t, struct exchange *e)
{
	size_t server = e->path.server;
	int *fd = &t->udp[server];

	if (t->nudp[server] == UDP_AT_ONCE)
		return;
	if (*fd == -1)
		*fd = open_socket(&t->server[server], SOCK_DGRAM);
	if (*fd == -1) {
		fail(t, e);
	} else if (fdio_write(*fd, e->prefixed + PREFIX, e->n - PREFIX) != -1 ||
		   would_block() || errno == ENOBUFS || errno == ENOMEM) {
		set_sent(e, UDP_PLACE_MS);
		t->nudp[server]++;
	} else {
		fail_all(t, server);
		fail(t, e);
	}
}

/* The oldest connection comes first in the list. */
static bool
has_room_for_connection(struct dns_transport *t)
{
	struct exchange *e = t->exchange;

	if (t->nconnection < TCP_MAX)
		return true;
	while (e != NULL && (e->fd == -1 || e->has_place))
		e = e->next;
	if (e == NULL)
		return false;
	e->state = ENDED;
	close_connection(t, e);
	return true;
}

static void
start_tcp(struct dns_transport *t, struct exchange *e)
{
	if (!has_room_for_connection(t))
		return;
	e->fd = open_socket(&t->server[e->path.server], SOCK_STREAM);
	if (e->fd == -1) {
		fail(t, e);
		return;
	}
	t->nconnection++;
	set_sent(e, TCP_PLACE_MS);
}

/* One that has no place yet stays as it is. */
static void
start_new(struct dns_transport *t)
{
	struct exchange *e;

	for (e = t->exchange; e != NULL; e = e->next)
		if (e->state == NEW && e->path.is_tcp)
			start_tcp(t, e);
		else if (e->state == NEW)
			start_udp(t, e);
}

/*
 * Looks once which places are still taken: otherwise one could become free
 * after start_new(), and be overlooked in next_step().
 */
static void
count_places(struct dns_transport *t)
{
	struct exchange *e;

	memset(t->nudp, 0, sizeof t->nudp);
	for (e = t->exchange; e != NULL; e = e->next) {
		if (e->has_place && deadline_passed(e->place_until))
			e->has_place = false;
		if (e->has_place && !e->path.is_tcp)
			t->nudp[e->path.server]++;
	}
}

/* The length of the reply over TCP and of its prefix, as far as it is known. */
static size_t
expected(const struct buf *reply)
{
	const unsigned char *p = (const unsigned char *)reply->data;

	return reply->len < PREFIX ? PREFIX
				   : PREFIX + ((size_t)p[0] << 8 | p[1]);
}

static ssize_t
send_more(struct exchange *e)
{
	ssize_t put =
	    fdio_write(e->fd, e->prefixed + e->nsent, e->n - e->nsent);

	if (put > 0)
		e->nsent += (size_t)put;
	return put;
}

static ssize_t
receive_more(struct exchange *e)
{
	size_t n = expected(&e->reply) - e->reply.len;
	ssize_t got = fdio_read(e->fd, buf_reserve(&e->reply, n), n);

	if (got > 0)
		e->reply.len += (size_t)got;
	return got;
}

/* Its connection is ready: for the question, then for the reply. */
static void
go_on(struct dns_transport *t, struct exchange *e)
{
	ssize_t n = e->nsent < e->n ? send_more(e) : receive_more(e);
	const unsigned char *reply;

	if (n == -1 && would_block())
		return;
	if (n <= 0) {
		fail(t, e);
		return;
	}
	if (e->reply.len < expected(&e->reply))
		return;
	reply = (const unsigned char *)e->reply.data + PREFIX;
	if (answers(e, reply, e->reply.len - PREFIX))
		end(t, e, reply, e->reply.len - PREFIX);
	else
		fail(t, e);
}

/* Fills what to wait for: the servers, then the connections in their order. */
static nfds_t
list_sockets(const struct dns_transport *t, struct pollfd *p)
{
	const struct exchange *e;
	nfds_t n = t->nserver;

	for (size_t i = 0; i < t->nserver; i++)
		p[i] = (struct pollfd){ .fd = t->udp[i], .events = POLLIN };
	for (e = t->exchange; e != NULL; e = e->next)
		if (e->fd != -1)
			p[n++] = (struct pollfd){ .fd = e->fd,
				.events = e->nsent < e->n ? POLLOUT : POLLIN };
	return n;
}

/* Waits at most ms milliseconds; -1: without limit. */
static void
wait_and_receive(struct dns_transport *t, int ms)
{
	struct pollfd p[DNS_SERVERS_MAX + TCP_MAX];
	const struct pollfd *connection = p + t->nserver;
	struct exchange *e;

	if (poll(p, list_sockets(t, p), ms) <= 0)
		return;
	for (size_t i = 0; i < t->nserver; i++)
		if (p[i].revents != 0)
			receive_datagrams(t, i);
	for (e = t->exchange; e != NULL; e = e->next)
		if (e->fd != -1 && (connection++)->revents != 0)
			go_on(t, e);
}

static bool
is_over(const struct exchange *e)
{
	return e->owner == NULL || e->state == ENDED ||
	       (e->state == SENT && deadline_passed(e->until));
}

static void
free_ended(struct dns_transport *t)
{
	struct exchange **at = &t->exchange, *e;

	while ((e = *at) != NULL) {
		if (is_over(e)) {
			*at = e->next;
			free_exchange(t, e);
		} else {
			at = &e->next;
		}
	}
	t->last = at;
}

/* When a reply comes too late, or a place becomes free for which one waits. */
static struct deadline
next_step(const struct dns_transport *t, struct deadline until)
{
	const struct exchange *e;
	bool has_new = false;

	for (e = t->exchange; e != NULL; e = e->next) {
		if (e->state == SENT)
			until = deadline_earlier(until, e->until);
		if (e->state == NEW)
			has_new = true;
	}
	for (e = t->exchange; e != NULL && has_new; e = e->next)
		if (e->state == SENT && e->has_place)
			until = deadline_earlier(until, e->place_until);
	return until;
}

void
dns_transport_run(struct dns_transport *t, struct deadline until)
{
	t->has_reply = false;
	free_ended(t);
	count_places(t);
	start_new(t);
	wait_and_receive(t,
	    t->has_reply ? 0 : deadline_left(next_step(t, until)));
}
