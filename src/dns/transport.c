/* SPDX-License-Identifier: ISC */
#define CARES_NO_DEPRECATED /* use the calls that c-ares 1.18 has */

#include "dns/transport.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ares.h>

#include "io/fdio.h"
#include "base/mem.h"

/* Enough for 200 large answers at once; the kernel may give less. */
#define RECEIVE_BUFFER (1 << 20)

/*
 * Each connection takes about 150 KB with the largest answers.  Further
 * questions wait until one ends.
 */
#define TCP_MAX 8

/* Time for a reply; longer than any round of the resolver. */
#define REPLY_MS 60000

/* The library truncates replies larger than this. */
#define UDP_MAX 4096
#define UDP_PLAIN_MAX 512

#define HEADER_SIZE 12

/* Bits of the third and fourth byte of a message. */
#define QR_BIT 0x80
#define TC_BIT 0x02
#define NXDOMAIN 3

/* A c-ares channel with one server. */
struct channel {
	struct dns_transport *transport;
	const struct dns_server *server;
	bool is_tcp;
	ares_channel ares;
	struct channel *next;
};

enum state {
	NEW,
	SENT,
	UNANSWERED, /* is to be sent again */
	ENDED
};

struct exchange {
	struct dns_transport *transport;
	struct exchange *next;
	void *owner; /* NULL: cancelled */
	struct dns_path path;
	enum state state;
	struct deadline until;      /* for the reply, set when it is sent */
	struct channel *connection; /* over TCP, set when it is sent */
	size_t n;
	unsigned char message[];
};

struct socket {
	struct channel *channel;
	struct pollfd poll;
};

struct dns_transport {
	const struct dns_server *server;
	dns_on_reply *on_reply;
	struct channel *channel; /* a list of all */
	struct channel *udp[DNS_SERVERS_MAX][2];
	struct exchange *exchange; /* a list of all, oldest first */
	struct exchange **last;    /* the end of that list */
	size_t nconnection;
	struct socket *socket; /* open sockets, and their poll events */
	size_t nsocket, room;
	bool has_reply; /* since dns_transport_run() was called */
};

static struct socket *
find_socket(struct dns_transport *t, int fd)
{
	size_t i;

	for (i = 0; i < t->nsocket; i++)
		if (t->socket[i].poll.fd == fd)
			return &t->socket[i];
	return NULL;
}

/* The library says what it waits for on a socket; nothing: it is closed. */
static void
on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
	struct channel *c = data;
	struct dns_transport *t = c->transport;
	struct socket *s = find_socket(t, fd);

	if (!readable && !writable) {
		if (s != NULL)
			*s = t->socket[--t->nsocket];
		return;
	}
	if (s == NULL) {
		if (t->nsocket == t->room) {
			t->room = 2 * t->room + 4;
			t->socket =
			    mem_resize(t->socket, t->room, sizeof *t->socket);
		}
		s = &t->socket[t->nsocket++];
		*s = (struct socket){ .channel = c, .poll.fd = fd };
	}
	s->poll.events =
	    (short)((readable ? POLLIN : 0) | (writable ? POLLOUT : 0));
}

/*
 * The sockets are created here, because c-ares does not check whether its own
 * fcntl() failed, and a blocking read would hold us past every deadline.
 */
static ares_socket_t
open_socket(int domain, int type, int protocol, void *data)
{
	static const int size = RECEIVE_BUFFER;
	int fd = socket(domain, type, protocol);

	(void)data;
	if (fd == -1)
		return ARES_SOCKET_BAD;
	if (fdio_set_cloexec(fd, true) == -1 ||
	    fdio_set_nonblocking(fd) == -1) {
		(void)close(fd);
		return ARES_SOCKET_BAD;
	}
	if (type == SOCK_DGRAM)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	return fd;
}

static int
close_socket(ares_socket_t fd, void *data)
{
	(void)data;
	return close(fd);
}

/* c-ares 1.18 does not set the zone of a link-local address. */
static int
connect_socket(ares_socket_t fd, const struct sockaddr *to, ares_socklen_t len,
    void *data)
{
	const struct channel *c = data;
	struct sockaddr_in6 in6;

	if (to->sa_family != AF_INET6 || (size_t)len != sizeof in6)
		return connect(fd, to, len);
	memcpy(&in6, to, sizeof in6);
	if (in6.sin6_scope_id == 0 && c->server->interface[0] != '\0')
		in6.sin6_scope_id = if_nametoindex(c->server->interface);
	return connect(fd, (const struct sockaddr *)&in6, len);
}

/*
 * Skips a datagram that is too short for a message.  Some versions of c-ares
 * take an empty one for the end of a connection, 1.34 a short one: with a
 * forged address, anybody could end all questions.
 */
static ares_ssize_t
receive(ares_socket_t fd, void *into, size_t n, int flags,
    struct sockaddr *from, ares_socklen_t *len, void *data)
{
	const struct channel *c = data;
	ares_socklen_t room = len == NULL ? 0 : *len;
	ares_ssize_t got;

	do {
		if (len != NULL)
			*len = room;
		got = recvfrom(fd, into, n, flags, from, len);
	} while (!c->is_tcp && got >= 0 && got < HEADER_SIZE);
	return got;
}

static ares_ssize_t
send_vector(ares_socket_t fd, const struct iovec *iov, int n, void *data)
{
	(void)data;
	return writev(fd, iov, n);
}

static const struct ares_socket_functions socket_functions = {
	.asocket = open_socket,
	.aclose = close_socket,
	.aconnect = connect_socket,
	.arecvfrom = receive,
	.asendv = send_vector,
};

/* c-ares expects the zone of an address after the port. */
static int
set_address(ares_channel ares, const struct dns_server *server,
    const char *separator, const char *zone)
{
	char ip[IP_TEXT_SIZE], text[IP_TEXT_SIZE + IF_NAMESIZE + 16];
	bool is_v4 = ip_is_v4(&server->ip);

	(void)snprintf(text, sizeof text, "%s%s%s:%d%s%s", is_v4 ? "" : "[",
	    ip_format(&server->ip, ip), is_v4 ? "" : "]", server->port,
	    separator, zone);
	return ares_set_servers_ports_csv(ares, text);
}

/* c-ares 1.18 does not know zones, later versions require them. */
static int
set_server(ares_channel ares, const struct dns_server *server)
{
	if (server->interface[0] != '\0' &&
	    set_address(ares, server, "%", server->interface) == ARES_SUCCESS)
		return ARES_SUCCESS;
	return set_address(ares, server, "", "");
}

/*
 * One try, and every reply as it is.  Everything that the library could read
 * from files is set here, so that it reads none: the server (for now another
 * one), no search domains, no hosts file.
 */
static int
set_up(struct channel *c, const struct dns_path *path)
{
	struct in_addr other = { .s_addr = htonl(INADDR_LOOPBACK) };
	char lookups[] = "b";
	struct ares_options options = {
		.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_STAYOPEN |
			 ARES_FLAG_IGNTC | ARES_FLAG_NOCHECKRESP,
		.ednspsz = UDP_MAX,
		.timeout = REPLY_MS,
		.tries = 1,
		.servers = &other,
		.nservers = 1,
		.lookups = lookups,
		.sock_state_cb = on_socket_state,
		.sock_state_cb_data = c,
	};
	int mask = ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_DOMAINS |
		   ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB |
		   ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SERVERS;

	if (path->is_tcp)
		options.flags |= ARES_FLAG_USEVC;
	else if (path->has_edns)
		options.flags |= ARES_FLAG_EDNS;
#ifdef ARES_OPT_QUERY_CACHE
	/* Off, because its key does not include the AD bit. */
	mask |= ARES_OPT_QUERY_CACHE;
	options.qcache_max_ttl = 0;
#endif
	if (ares_init_options(&c->ares, &options, mask) != ARES_SUCCESS)
		return -1;
	if (set_server(c->ares, c->server) != ARES_SUCCESS) {
		ares_destroy(c->ares);
		return -1;
	}
	/*
	 * After set_server(): with our functions c-ares 1.34 knows no
	 * interfaces.
	 */
	ares_set_socket_functions(c->ares, &socket_functions, c);
	return 0;
}

static struct channel *
open_channel(struct dns_transport *t, const struct dns_path *path)
{
	struct channel *c = mem_alloc(1, sizeof *c);

	c->transport = t;
	c->server = &t->server[path->server];
	c->is_tcp = path->is_tcp;
	if (set_up(c, path) == -1) {
		free(c);
		return NULL;
	}
	c->next = t->channel;
	t->channel = c;
	return c;
}

static void
close_channel(struct dns_transport *t, struct channel *c)
{
	struct channel **at = &t->channel;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	ares_destroy(c->ares);
	free(c);
}

struct dns_transport *
dns_transport_create(const struct dns_server *server, size_t n,
    dns_on_reply *on_reply)
{
	struct dns_transport *t;

	if (n > DNS_SERVERS_MAX ||
	    ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
		return NULL;
	t = mem_alloc(1, sizeof *t);
	t->server = server;
	t->on_reply = on_reply;
	t->last = &t->exchange;
	return t;
}

void
dns_transport_destroy(struct dns_transport *t)
{
	struct exchange *e, *next;

	if (t == NULL)
		return;
	for (e = t->exchange; e != NULL; e = e->next)
		e->owner = NULL;
	while (t->channel != NULL)
		close_channel(t, t->channel);
	for (e = t->exchange; e != NULL; e = next) {
		next = e->next;
		free(e);
	}
	ares_library_cleanup();
	free(t->socket);
	free(t);
}

void
dns_transport_send(struct dns_transport *t, struct dns_path path,
    const unsigned char *message, size_t n, void *owner)
{
	struct exchange *e = mem_alloc(1, sizeof *e + n);

	*t->last = e;
	t->last = &e->next;
	e->transport = t;
	e->owner = owner;
	e->path = path;
	e->n = n;
	memcpy(e->message, message, n);
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
end(struct exchange *e, const unsigned char *reply, size_t n)
{
	struct dns_transport *t = e->transport;

	e->state = ENDED;
	if (e->owner == NULL)
		return;
	t->has_reply = true;
	t->on_reply(e->owner, &e->path, reply, n);
}

/*
 * Newer versions of the library wait for a reply at most about five times as
 * long as earlier replies took.  Then the question is sent again.
 */
static void
end_without_reply(struct exchange *e)
{
	e->state = deadline_passed(e->until) ? ENDED : UNANSWERED;
}

/*
 * Replies NXDOMAIN, as a server would, to a name with blanks, brackets and so
 * on: since 1.26 the library does not send such names.
 */
static void
deny(struct exchange *e)
{
	e->message[2] |= QR_BIT;
	e->message[3] |= NXDOMAIN;
	end(e, e->message, e->n);
}

static void
on_answer(void *data, int status, int timeouts, unsigned char *reply, int n)
{
	struct exchange *e = data;

	(void)timeouts;
	if (status == ARES_ETIMEOUT) {
		end_without_reply(e);
	} else if (status == ARES_EBADNAME) {
		deny(e);
	} else if (status != ARES_SUCCESS || reply == NULL || n < HEADER_SIZE) {
		end(e, NULL, 0);
	} else {
		/*
		 * Truncated by the library, or by a server that assumes 512
		 * bytes.
		 */
		if (!e->path.is_tcp && n == UDP_PLAIN_MAX)
			reply[2] |= TC_BIT;
		end(e, reply, (size_t)n);
	}
}

/* Lets the library read from and write to the sockets that are ready. */
static void
process(struct dns_transport *t, const struct pollfd *ready,
    struct channel *const *channel, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		/* Reading finds out the error. */
		bool in = (ready[i].revents & ~POLLOUT) != 0;
		bool out = (ready[i].revents & POLLOUT) != 0;
		const struct socket *s = find_socket(t, ready[i].fd);

		if ((in || out) && s != NULL && s->channel == channel[i])
			ares_process_fd(channel[i]->ares,
			    in ? ready[i].fd : ARES_SOCKET_BAD,
			    out ? ready[i].fd : ARES_SOCKET_BAD);
	}
}

/* Waits at most ms milliseconds; -1: without limit. */
static void
poll_sockets(struct dns_transport *t, int ms)
{
	size_t n = t->nsocket, i;
	/* Copies, because each call of the library may change the list. */
	struct pollfd *ready = mem_alloc(n + 1, sizeof *ready);
	struct channel **channel = mem_alloc(n + 1, sizeof(*channel));

	for (i = 0; i < n; i++) {
		ready[i] = t->socket[i].poll;
		channel[i] = t->socket[i].channel;
	}
	if (poll(ready, (nfds_t)n, ms) > 0)
		process(t, ready, channel, n);
	free(ready);
	free(channel);
}

static struct channel *
channel_for(struct dns_transport *t, struct exchange *e)
{
	struct channel **udp;

	if (e->path.is_tcp) {
		if (e->connection == NULL) {
			e->connection = open_channel(t, &e->path);
			t->nconnection += e->connection != NULL;
		}
		return e->connection;
	}
	udp = &t->udp[e->path.server][e->path.has_edns];
	if (*udp == NULL)
		*udp = open_channel(t, &e->path);
	return *udp;
}

/*
 * Sends the question, and looks for an error at once.  The refusal (ICMP) of a
 * server on this machine arrives immediately.  If it stayed in the socket, the
 * next question sent there would get the error, and the question that it is for
 * would wait for its time-out.
 */
static void
start(struct dns_transport *t, struct exchange *e)
{
	struct channel *c = channel_for(t, e);

	if (c == NULL) {
		end(e, NULL, 0);
		return;
	}
	if (e->state == NEW)
		e->until = deadline_in(REPLY_MS);
	e->state = SENT;
	ares_send(c->ares, e->message, (int)e->n, on_answer, e);
	poll_sockets(t, 0);
}

static bool
can_start(const struct dns_transport *t, const struct exchange *e)
{
	if (e->state != NEW && e->state != UNANSWERED)
		return false;
	return !e->path.is_tcp || e->connection != NULL ||
	       t->nconnection < TCP_MAX;
}

/* Closes its TCP connection, if there is one, in any state. */
static void
close_connection(struct dns_transport *t, struct exchange *e)
{
	if (e->connection == NULL)
		return;
	close_channel(t, e->connection);
	e->connection = NULL;
	t->nconnection--;
}

static void
free_ended(struct dns_transport *t)
{
	struct exchange **at = &t->exchange, *e;

	while ((e = *at) != NULL) {
		if (e->owner == NULL || e->state == ENDED)
			close_connection(t, e);
		if (e->owner == NULL && e->state != SENT)
			e->state = ENDED;
		if (e->state == ENDED) {
			*at = e->next;
			free(e);
		} else {
			at = &e->next;
		}
	}
	t->last = at;
}

static int
next_timeout(const struct dns_transport *t, struct deadline until)
{
	const struct channel *c;
	struct timeval left;

	if (t->has_reply)
		return 0;
	for (c = t->channel; c != NULL; c = c->next)
		if (ares_timeout(c->ares, NULL, &left) != NULL)
			until = deadline_earlier(until,
			    deadline_in((int64_t)left.tv_sec * 1000 +
					(left.tv_usec + 999) / 1000));
	return deadline_left(until);
}

void
dns_transport_run(struct dns_transport *t, struct deadline until)
{
	struct exchange *e;
	struct channel *c;

	t->has_reply = false;
	free_ended(t);
	for (e = t->exchange; e != NULL; e = e->next)
		if (can_start(t, e))
			start(t, e);
	poll_sockets(t, next_timeout(t, until));
	for (c = t->channel; c != NULL; c = c->next)
		ares_process_fd(c->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}
