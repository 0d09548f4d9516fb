/* SPDX-License-Identifier: ISC */

/*
 * The resolver over its transport, with name servers that reply whatever they
 * like.  Only a right answer, to the right question in the right way, may be
 * believed; every question ends in time; nobody waits in a loop that does
 * nothing; and nothing stays open.
 */

#include <sys/socket.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "dns/message.h"
#include "io/fdio.h"
#include "io/random.h"

#include "fakeclock.h"
#include "fuzz.h"

#define SERVERS 2
#define QUESTIONS 12
#define SOCKETS 256
#define LIMIT_MS 70000

static struct fuzz_input in;
static int turns; /* since time passed */
static unsigned nrandom;

/* The other ends of the sockets, and what was sent there. */
static struct {
	int fd;
	bool is_tcp;
	unsigned char question[2 + DNS_QUESTION_SIZE];
	size_t n;
} far[SOCKETS];
static size_t nfar, nopen_tcp;

/*
 * Stands in for the system.
 */

/* IDs: a forged one, with another high bit, is not that of another question. */
int
random_bytes(void *into, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((unsigned char *)into)[i] = (unsigned char)(nrandom++ & 0x7f);
	return 0;
}

size_t
random_below(size_t n)
{
	return nrandom++ % n;
}

static int
make_socket(int family, int type, int protocol)
{
	int pair[2];

	CHECK(family == AF_INET && protocol == 0);
	if (nfar == SOCKETS || fuzz_byte(&in) == 0xff) {
		errno = EMFILE;
		return -1;
	}
	CHECK(socketpair(AF_UNIX, type, 0, pair) == 0);
	far[nfar].fd = pair[1];
	far[nfar].is_tcp = type == SOCK_STREAM;
	far[nfar++].n = 0;
	return pair[0];
}

static int
begin_connection(int fd, const struct sockaddr *to, socklen_t len)
{
	CHECK(fd != -1 && to->sa_family == AF_INET && len > 0);
	errno = fuzz_byte(&in) == 0xff ? ECONNREFUSED : EINPROGRESS;
	return -1;
}

/* Waits for nothing: time passes instead. */
static int
look(struct pollfd *p, nfds_t n, int timeout)
{
	int ready = poll(p, n, 0);

	CHECK(timeout >= 0 && timeout <= LIMIT_MS);
	nopen_tcp = 0;
	for (nfds_t i = SERVERS; i < n; i++)
		nopen_tcp += p[i].fd != -1;
	CHECK(nopen_tcp <= 8);
	if (ready == 0 && timeout > 0) {
		now_ms += timeout;
		turns = 0;
	}
	CHECK(++turns < 3000);
	return ready;
}

static ssize_t
read_or_fail(int fd, void *into, size_t n)
{
	if (fuzz_byte(&in) != 0xff)
		return fdio_read(fd, into, n);
	errno = ECONNREFUSED;
	return -1;
}

static ssize_t
write_or_fail(int fd, const void *from, size_t n)
{
	unsigned char what = fuzz_byte(&in);

	if (what < 0xfe)
		return fdio_write(fd, from, n);
	errno = what == 0xfe ? ENOBUFS : ECONNREFUSED;
	return -1;
}

#define socket make_socket
#define connect begin_connection
#define poll look
#define fdio_read read_or_fail
#define fdio_write write_or_fail
#include "dns/transport.c"
#undef socket
#undef connect
#undef poll
#undef fdio_read
#undef fdio_write

#include "dns/resolver.h"

/*
 * The name servers.
 */

static const unsigned char right_ip[] = { 192, 0, 2, 1 };
static const unsigned char wrong_ip[] = { 203, 0, 113, 1 };

/* Puts an answer with this address behind a copy of the question. */
static size_t
make_answer(unsigned char *into, const unsigned char *question, size_t n,
    const unsigned char *ip)
{
	static const unsigned char record[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0,
		60, 0, 4 };
	size_t end = find_question_end(question, n);

	memcpy(into, question, end);
	into[2] = 0x81;
	into[3] = 0x80;
	into[7] = 1;
	into[11] = 0;
	memcpy(into + end, record, sizeof record);
	memcpy(into + end + sizeof record, ip, 4);
	return end + sizeof record + 4;
}

/* Bytes that may not be changed by one who does not know the question. */
static size_t
choose_secret(size_t question_end)
{
	size_t i = fuzz_byte(&in) % (2 + question_end - HEADER_SIZE);

	return i < 2 ? i : HEADER_SIZE + i - 2;
}

/* A denial, an error or a truncated answer may be believed. */
static size_t
make_reply(unsigned char *into, const unsigned char *question, size_t n)
{
	size_t end = find_question_end(question, n), len, at;

	switch (fuzz_byte(&in) % 8) {
	case 0:
		return make_answer(into, question, n, right_ip);
	case 1: /* forged: one bit is wrong, and not the case of a letter */
		len = make_answer(into, question, n, wrong_ip);
		into[choose_secret(end)] ^= 0x80;
		return len;
	case 2: /* forged: it is a question */
		len = make_answer(into, question, n, wrong_ip);
		into[2] &= 0x7f;
		return len;
	case 3: /* forged: another number of questions */
		len = make_answer(into, question, n, wrong_ip);
		into[5] ^= fuzz_byte(&in) | 1;
		return len;
	case 4: /* cut */
		len = make_answer(into, question, n, wrong_ip);
		return fuzz_byte(&in) % len;
	case 5: /* any flags, without a record */
		len = make_answer(into, question, n, wrong_ip) - 16;
		into[2] = fuzz_byte(&in);
		into[3] = fuzz_byte(&in);
		into[7] = 0;
		return len;
	case 6: /* truncated */
		len = make_answer(into, question, n, wrong_ip);
		into[2] |= 2;
		return len;
	default: /* anything */
		at = fuzz_byte(&in) * 2u;
		memset(into, 0, at);
		if (at > 0)
			memcpy(into, question, at < n ? at : n);
		for (len = 0; len < at && in.left > 0; len++)
			into[len] ^= fuzz_byte(&in);
		into[at] = 0;
		/* It must not be a right answer with a wrong address. */
		return at > end ? end : at;
	}
}

static void
reply_datagram(size_t i)
{
	unsigned char reply[2048];
	size_t n = make_reply(reply, far[i].question, far[i].n);

	(void)!send(far[i].fd, reply, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void
reply_stream(size_t i)
{
	unsigned char reply[2 + 2048] = { 0 };
	const unsigned char *question = far[i].question + PREFIX;
	size_t n = make_reply(reply + PREFIX, question, far[i].n - PREFIX);
	size_t part;

	reply[0] = (unsigned char)(n >> 8);
	reply[1] = (unsigned char)n;
	n += PREFIX;
	part = fuzz_byte(&in);
	if (part > n)
		part = n;
	(void)!send(far[i].fd, reply, part, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (fuzz_byte(&in) % 4 != 0)
		(void)!send(far[i].fd, reply + part, n - part,
		    MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		far[i].n = 0; /* the next reply would be taken for the rest */
}

static void
hear(size_t i)
{
	unsigned char *into = far[i].question;
	size_t n = far[i].is_tcp ? far[i].n : 0;
	ssize_t got =
	    recv(far[i].fd, into + n, sizeof far[i].question - n, MSG_DONTWAIT);

	if (got > 0)
		far[i].n = n + (size_t)got;
}

static bool
is_asked(size_t i)
{
	size_t n = far[i].n;
	const unsigned char *q = far[i].question;

	return far[i].is_tcp
		   ? n > PREFIX &&
			 n == expected(&(struct buf){
				  .data = (char *)(uintptr_t)q, .len = n })
		   : n > 0;
}

/* What one server does. */
static void
act(size_t i)
{
	unsigned char what = fuzz_byte(&in);

	if (far[i].fd == -1)
		return;
	if (what % 8 == 7 && far[i].is_tcp) {
		close(far[i].fd);
		far[i].fd = -1;
		return;
	}
	hear(i);
	if (what % 8 < 6 && is_asked(i)) {
		if (far[i].is_tcp)
			reply_stream(i);
		else
			reply_datagram(i);
	}
}

static void
act_all(void)
{
	for (int n = fuzz_byte(&in) % 4; n > 0 && nfar > 0; n--)
		act(fuzz_byte(&in) % nfar);
}

static void
check_and_finish(struct dns_answer *answer)
{
	struct ip right = ip_from_v4(right_ip);

	CHECK(!answer->is_pending);
	CHECK((answer->outcome == DNS_FOUND) == (answer->nip > 0));
	for (size_t i = 0; i < answer->nip; i++)
		CHECK(ip_equal(&answer->ip[i], &right));
	dns_answer_finish(answer);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static const char *const names[] = { "a.example", "b.example", "c" };
	struct dns_config config = { .nserver = SERVERS };
	struct dns_answer answer[QUESTIONS];
	int free_before = fuzz_lowest_free();
	struct dns_resolver *r;
	unsigned n;

	in = (struct fuzz_input){ data, size };
	now_ms = 0;
	turns = 0;
	nrandom = 0;
	nfar = 0;
	for (size_t i = 0; i < SERVERS; i++)
		config.server[i] =
		    (struct dns_server){ .ip = ip_from_v4(right_ip),
			    .port = 53 };
	config.uses_tcp = fuzz_byte(&in) % 8 == 7;
	r = dns_resolver_create(&config, false);
	n = fuzz_byte(&in) % QUESTIONS + 1;
	for (unsigned i = 0; i < n; i++)
		dns_resolver_ask(r, names[i % 3], DNS_A, &answer[i]);
	while (in.left > 0 &&
	       dns_resolver_wait_some(r, deadline_in(LIMIT_MS - now_ms)))
		act_all();
	dns_resolver_wait(r, deadline_in(0));
	CHECK(now_ms <= LIMIT_MS);
	dns_resolver_destroy(r);
	for (unsigned i = 0; i < n; i++)
		check_and_finish(&answer[i]);
	for (size_t i = 0; i < nfar; i++)
		if (far[i].fd != -1)
			close(far[i].fd);
	CHECK(fuzz_lowest_free() == free_before);
	return 0;
}
