/* SPDX-License-Identifier: ISC */
#define CARES_NO_DEPRECATED /* ares_send() is the call that 1.18 has too */

#include "dns/resolver.h"

#include <sys/time.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <ares.h>

#include "base/mem.h"
#include "base/random.h"
#include "dns/schedule.h"

#define ID_COUNT 64

#define SERVERS_MAX 3 /* in resolv.conf, as others read it */

/* For 200 large answers at once; the kernel gives what it allows. */
#define RECEIVE_BUFFER (1 << 20)

struct dns_resolver {
	ares_channel channel;
	size_t unanswered;
	bool is_ending; /* answers have no place to go to any more */
	struct pollfd *socket;
	size_t nsocket, room;
	uint16_t id[ID_COUNT]; /* of questions to come, drawn in one go */
	size_t nid;
};

struct question {
	struct dns_resolver *resolver;
	struct dns_answer *into;
	int type;
	bool has_edns;
	char name[DNS_NAME_SIZE];
};

static struct pollfd *
find_socket(struct dns_resolver *r, ares_socket_t fd)
{
	size_t i;

	for (i = 0; i < r->nsocket; i++)
		if (r->socket[i].fd == fd)
			return &r->socket[i];
	return NULL;
}

/* The library tells what it waits for on a socket; nothing: forget it. */
static void
on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
	struct dns_resolver *r = data;
	struct pollfd *p = find_socket(r, fd);

	if (!readable && !writable) {
		if (p != NULL)
			*p = r->socket[--r->nsocket];
		return;
	}
	if (p == NULL) {
		if (r->nsocket == r->room) {
			r->room = 2 * r->room + 4;
			r->socket =
			    mem_resize(r->socket, r->room, sizeof *r->socket);
		}
		p = &r->socket[r->nsocket++];
		*p = (struct pollfd){ .fd = fd };
	}
	p->events = (short)((readable ? POLLIN : 0) | (writable ? POLLOUT : 0));
}

/*
 * Reading from a socket that blocks would hold us past every deadline; the
 * library does not look whether its own fcntl() failed.
 */
static int
on_new_socket(ares_socket_t fd, int type, void *data)
{
	int flags = fcntl(fd, F_GETFL);

	(void)type;
	(void)data;
	return flags != -1 && (flags & O_NONBLOCK) ? 0 : -1;
}

/*
 * The servers come from resolv.conf.  So does the schedule, which the library
 * as of 1.18 does not read there; its own is up to 75 seconds.  Names are
 * always absolute, so we say that there are no search domains and no hosts
 * file: that spares the library reading nsswitch.conf and the like to learn of
 * them.
 */
static int
open_channel(struct dns_resolver *r)
{
	struct ares_options options = { 0 };
	char lookups[] = "b";
	int mask = ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_DOMAINS |
		   ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB |
		   ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_RCVBUF;
	struct dns_schedule schedule = dns_schedule_read("/etc/resolv.conf");

	options.flags =
	    ARES_FLAG_EDNS | ARES_FLAG_NOSEARCH | ARES_FLAG_STAYOPEN;
	options.ednspsz = DNS_UDP_SIZE;
	options.timeout = (int)schedule.timeout_s * 1000;
	options.tries = (int)schedule.attempts;
	options.socket_receive_buffer_size = RECEIVE_BUFFER;
	options.lookups = lookups;
	options.sock_state_cb = on_socket_state;
	options.sock_state_cb_data = r;
#ifdef ARES_OPT_QUERY_CACHE
	/* Its key leaves out the AD bit, and we ask everything once. */
	mask |= ARES_OPT_QUERY_CACHE;
	options.qcache_max_ttl = 0;
#endif
	if (ares_init_options(&r->channel, &options, mask) != ARES_SUCCESS)
		return -1;
	ares_set_socket_configure_callback(r->channel, on_new_socket, NULL);
	return 0;
}

struct dns_resolver *
dns_resolver_create(void)
{
	struct dns_resolver *r;

	if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
		return NULL;
	r = mem_alloc(1, sizeof *r);
	if (open_channel(r) == 0)
		return r;
	free(r);
	ares_library_cleanup();
	return NULL;
}

void
dns_resolver_destroy(struct dns_resolver *r)
{
	if (r == NULL)
		return;
	r->is_ending = true;
	ares_destroy(r->channel);
	ares_library_cleanup();
	free(r->socket);
	free(r);
}

/* An ID nobody can guess: with the port, all that an answer is known by. */
static int
draw_id(struct dns_resolver *r, uint16_t *id)
{
	if (r->nid == 0) {
		if (random_bytes(r->id, sizeof r->id) == -1)
			return -1;
		r->nid = ID_COUNT;
	}
	*id = r->id[--r->nid];
	return 0;
}

static void on_answer(void *, int, int, unsigned char *, int);

/* Sends it, and it is answered some day; -1: not sent. */
static int
send_question(struct question *q)
{
	struct dns_resolver *r = q->resolver;
	unsigned char packet[DNS_QUESTION_SIZE];
	uint16_t id;
	size_t n;

	if (draw_id(r, &id) == -1)
		return -1;
	n = dns_question_write(packet, q->name, q->type, id, q->has_edns);
	r->unanswered++;
	ares_send(r->channel, packet, (int)n, on_answer, q);
	return 0;
}

/*
 * The versions of the library tell SERVFAIL and "no server" apart in different
 * ways, so whatever comes without a message is temporary, and a message says
 * for itself what it is.  Of the two ways to refuse EDNS0 the library knows
 * FORMERR, but 1.18 of only one question; after it for another, and after
 * BADVERS, we ask again, once.
 */
static void
on_answer(void *data, int status, int timeouts, unsigned char *bytes, int n)
{
	struct question *q = data;
	struct dns_resolver *r = q->resolver;

	(void)timeouts;
	r->unanswered--;
	/* Since 1.26 it sends no name with blanks, brackets and the like. */
	if (!r->is_ending && status == ARES_EBADNAME)
		q->into->outcome = DNS_NXDOMAIN;
	if (!r->is_ending && status == ARES_SUCCESS && bytes != NULL && n > 0) {
		dns_answer_parse(q->into, q->name, q->type, bytes, (size_t)n);
		if (q->into->refuses_edns && q->has_edns) {
			q->has_edns = false;
			if (send_question(q) == 0)
				return;
		}
	}
	free(q);
}

/* The list of sockets may change with each call: work from a copy. */
static void
process(struct dns_resolver *r)
{
	size_t n = r->nsocket, i;
	struct pollfd *ready = mem_resize(NULL, n + 1, sizeof *ready);

	if (n > 0)
		memcpy(ready, r->socket, n * sizeof *ready);
	for (i = 0; i < n; i++) {
		/* An error is learnt by reading. */
		bool in = (ready[i].revents & ~POLLOUT) != 0;
		bool out = (ready[i].revents & POLLOUT) != 0;

		if (in || out)
			ares_process_fd(r->channel,
			    in ? ready[i].fd : ARES_SOCKET_BAD,
			    out ? ready[i].fd : ARES_SOCKET_BAD);
	}
	free(ready);
	/* Time-outs: sending again, or giving up. */
	ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

/*
 * The refusal of a server on this machine is there at once.  Left in the
 * socket it would be told to whoever sends there next, and the question that
 * it is for would wait for its time-out.
 */
static void
learn_refusals(struct dns_resolver *r)
{
	for (int i = 0; i < SERVERS_MAX; i++) {
		if (poll(r->socket, (nfds_t)r->nsocket, 0) <= 0)
			return;
		process(r);
	}
}

void
dns_resolver_ask(struct dns_resolver *r, const char *name, int type,
    struct dns_answer *into)
{
	unsigned char packet[DNS_QUESTION_SIZE];
	struct question *q;

	*into = (struct dns_answer){ .outcome = DNS_TEMPFAIL };
	if (dns_question_write(packet, name, type, 0, true) == 0) {
		into->outcome = DNS_NXDOMAIN;
		return;
	}
	q = mem_alloc(1, sizeof *q);
	*q = (struct question){
		.resolver = r, .into = into, .type = type, .has_edns = true
	};
	memcpy(q->name, name, strlen(name) + 1); /* a possible name fits */
	if (send_question(q) == -1)
		free(q);
	else
		learn_refusals(r);
}

/* Waits for any socket; false when there is nothing left to wait for. */
static bool
wait_once(struct dns_resolver *r, struct deadline until)
{
	struct timeval left;
	int64_t ms;

	if (ares_timeout(r->channel, NULL, &left) == NULL)
		return false;
	ms = (int64_t)left.tv_sec * 1000 + (left.tv_usec + 999) / 1000;
	until = deadline_earlier(until, deadline_in(ms));
	if (poll(r->socket, (nfds_t)r->nsocket, deadline_left(until)) != -1)
		process(r);
	else if (errno != EINTR)
		return false;
	return true;
}

void
dns_resolver_wait(struct dns_resolver *r, struct deadline until)
{
	while (r->unanswered > 0 && !deadline_passed(until))
		if (!wait_once(r, until))
			break;
	/* Ends the rest, which has been DNS_TEMPFAIL from the start. */
	if (r->unanswered > 0)
		ares_cancel(r->channel);
}
