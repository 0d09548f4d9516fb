/* SPDX-License-Identifier: ISC */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <sys/uio.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dns/resolver.h"
#include "dns/transport.h"

/*
 * The resolver with real sockets, and a name server at a free port.  What it
 * does with a question is the first label of the name.  Over TCP it answers one
 * question on each connection.
 */

#define MANY 40
/* The second byte of the type in a question about forged.example. */
#define TYPE_AT 29

static struct {
	int udp, tcp;
	struct dns_config config;
	bool has_wrong_flags;     /* a question without RD, AD or EDNS0 */
	struct sockaddr_in asker; /* of the last question over UDP */
	unsigned id[MANY];        /* of the questions kept until the end */
	unsigned held;
	struct {
		unsigned char byte[512];
		struct sockaddr_in from;
	} hold[MANY];
} server;

static bool
is_called(const unsigned char *question, const char *label)
{
	return question[12] == strlen(label) &&
	       memcmp(question + 13, label, question[12]) == 0;
}

static bool
has_edns(const unsigned char *question)
{
	return question[11] == 1;
}

/* Turns the question into an answer: 192.0.2.1, or only an rcode. */
static size_t
make_answer(unsigned char *p, unsigned rcode)
{
	static const unsigned char record[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0,
		1, 0, 4, 192, 0, 2, 1 };
	static const unsigned char badvers[] = { 0, 0, 41, 4, 0xd0, 1, 0, 0, 0,
		0, 0 };
	size_t n = 12;

	/* Removes the OPT record after the question. */
	while (p[n] != 0)
		n += p[n] + 1u;
	n += 5;
	p[2] |= 0x80;
	p[3] = (unsigned char)(0x80 | (p[3] & 0x20) | (rcode & 15));
	p[7] = rcode == 0;
	p[11] = rcode == 16;
	if (rcode == 0) {
		memcpy(p + n, record, sizeof record);
		n += sizeof record;
	} else if (rcode == 16) {
		memcpy(p + n, badvers, sizeof badvers);
		n += sizeof badvers;
	}
	return n;
}

static void
reply(const unsigned char *p, size_t n, const struct sockaddr_in *to)
{
	(void)!sendto(server.udp, p, n, 0, (const struct sockaddr *)to,
	    sizeof *to);
}

/* Collects MANY questions, then answers the last one first. */
static void
reply_backwards(const unsigned char *p, size_t n,
    const struct sockaddr_in *from)
{
	memcpy(server.hold[server.held].byte, p, n);
	server.id[server.held] = (unsigned)p[0] << 8 | p[1];
	server.hold[server.held++].from = *from;
	if (server.held < MANY)
		return;
	while (server.held-- > 0)
		reply(server.hold[server.held].byte,
		    make_answer(server.hold[server.held].byte, 0),
		    &server.hold[server.held].from);
	server.held = 0;
}

static void
serve_udp(void)
{
	unsigned char p[5000] = { 0 };
	struct sockaddr_in from;
	socklen_t len = sizeof from;
	ssize_t got =
	    recvfrom(server.udp, p, 400, 0, (struct sockaddr *)&from, &len);
	size_t n = (size_t)got;

	if (got < 12)
		return;
	server.asker = from;
	if (p[2] != 1 || p[3] != 0x20)
		server.has_wrong_flags = true;
	if (is_called(p, "drop") || (is_called(p, "noedns") && has_edns(p)))
		return;
	if (is_called(p, "header") && has_edns(p)) {
		p[2] |= 0x80;
		p[3] = 0x81;
		memset(p + 4, 0, 8);
		reply(p, 12, &from);
		return;
	}
	if (is_called(p, "backwards")) {
		reply_backwards(p, n, &from);
		return;
	}
	if (is_called(p, "short")) {
		reply(p, 0, &from);
		reply(p, 1, &from);
		reply(p, 11, &from);
	}
	if (is_called(p, "cut")) {
		p[2] |= 0x80;
		reply(p, 12, &from);
		p[2] &= 0x7f;
	}
	if (is_called(p, "echo"))
		reply(p, n, &from);
	if (is_called(p, "servfail"))
		n = make_answer(p, 2);
	else if (is_called(p, "nx"))
		n = make_answer(p, 3);
	else if (is_called(p, "formerr") && has_edns(p))
		n = make_answer(p, 1);
	else if (is_called(p, "badvers") && has_edns(p))
		n = make_answer(p, 16);
	else
		n = make_answer(p, 0);
	if (is_called(p, "wrongid") || is_called(p, "forged") ||
	    is_called(p, "stale")) {
		p[0] ^= 1;
		reply(p, n, &from);
		p[0] ^= 1;
	}
	/* Too short, after a datagram that the rest of it could come from. */
	if (is_called(p, "stale"))
		reply(p, 12, &from);
	if (is_called(p, "forged")) {
		p[13] = 'F' + 1;
		reply(p, n, &from);
		p[13] = 'f';
		p[TYPE_AT]++;
		reply(p, n, &from);
		p[TYPE_AT]--;
		p[TYPE_AT + 2]++;
		reply(p, n, &from);
		p[TYPE_AT + 2]--;
		p[5]++;
		reply(p, n, &from);
		p[5]--;
	}
	if (is_called(p, "tcp") || is_called(p, "tcpdead") ||
	    is_called(p, "tcpid") || is_called(p, "tcphalf") ||
	    is_called(p, "tcphold") || is_called(p, "tcpudp"))
		p[2] |= 2;
	/* Denials that are too long to be read whole. */
	if (is_called(p, "long512"))
		n = 512;
	if (is_called(p, "long5000"))
		n = 5000;
	if (n > 500)
		p[7] = 0;
	reply(p, n, &from);
}

static void
serve_tcp(void)
{
	unsigned char p[512];
	int fd = accept(server.tcp, NULL, NULL);
	ssize_t got = recv(fd, p, 2, MSG_WAITALL);
	size_t n;

	if (got == 2)
		got = recv(fd, p + 2, p[1], MSG_WAITALL);
	/* A forged denial, with everything right. */
	if (got > 12 && is_called(p + 2, "tcpudp")) {
		n = make_answer(p + 2, 3);
		reply(p + 2, n, &server.asker);
	}
	if (got > 12 && !is_called(p + 2, "tcpdead") &&
	    !is_called(p + 2, "tcphold")) {
		n = make_answer(p + 2, 0);
		p[1] = (unsigned char)n;
		if (is_called(p + 2, "tcpid"))
			p[2] ^= 1;
		if (is_called(p + 2, "tcphalf"))
			n /= 2;
		(void)!send(fd, p, n + 2, 0);
	}
	/* The end of the test closes it. */
	if (got <= 12 || !is_called(p + 2, "tcphold"))
		(void)close(fd);
}

static void *
serve(void *unused)
{
	struct pollfd fds[] = { { server.udp, POLLIN, 0 },
		{ server.tcp, POLLIN, 0 } };

	(void)unused;
	while (poll(fds, 2, -1) > 0) {
		if (fds[0].revents != 0)
			serve_udp();
		if (fds[1].revents != 0)
			serve_tcp();
	}
	return NULL;
}

/* At the port of the other socket, if there is one. */
static int
listen_at(int type)
{
	struct dns_server *to = &server.config.server[0];
	struct sockaddr_storage here;
	socklen_t len = ip_sockaddr(&to->ip, to->port, &here);
	int fd = socket(AF_INET, type, 0);

	if (fd == -1 || bind(fd, (const struct sockaddr *)&here, len) == -1 ||
	    getsockname(fd, (struct sockaddr *)&here, &len) == -1)
		return -1;
	to->port = ntohs(((struct sockaddr_in *)(void *)&here)->sin_port);
	if (type == SOCK_STREAM && listen(fd, MANY) == -1)
		return -1;
	return fd;
}

/* A port that is free for UDP may be used for TCP. */
static int
listen_at_both(void)
{
	for (int i = 0; i < 100; i++) {
		server.config.server[0].port = 0;
		server.tcp = listen_at(SOCK_STREAM);
		server.udp = listen_at(SOCK_DGRAM);
		if (server.tcp != -1 && server.udp != -1)
			return 0;
		(void)close(server.tcp);
		(void)close(server.udp);
	}
	return -1;
}

static int
set_up(void **state)
{
	static const unsigned char loopback[] = { 127, 0, 0, 1 };
	pthread_t thread;

	(void)state;
	server.config.nserver = 1;
	server.config.is_trusted = true;
	server.config.server[0].ip = ip_from_v4(loopback);
	if (listen_at_both() == -1 ||
	    pthread_create(&thread, NULL, serve, NULL) != 0)
		return -1;
	(void)pthread_detach(thread);
	/* None of these variables may matter. */
	(void)setenv("LOCALDOMAIN", "y.example", 1);
	(void)setenv("RES_OPTIONS", "ndots:7", 1);
	return 0;
}

static struct dns_resolver *
create(void)
{
	struct dns_resolver *r = dns_resolver_create(&server.config, true);

	assert_non_null(r);
	return r;
}

static enum dns_outcome
ask_one(const char *name)
{
	struct dns_resolver *r = create();
	struct dns_answer a;
	enum dns_outcome outcome;

	dns_resolver_ask(r, name, DNS_A, &a);
	dns_resolver_wait(r, deadline_in(20000));
	dns_resolver_destroy(r);
	outcome = a.outcome;
	if (outcome == DNS_FOUND)
		assert_int_equal(a.security, DNS_SECURE);
	dns_answer_finish(&a);
	return outcome;
}

static void
answers_of_all_kinds(void **state)
{
	static const struct {
		const char *name;
		enum dns_outcome outcome;
	} cases[] = {
		{ "good.example", DNS_FOUND },
		{ "good.example.", DNS_FOUND },
		{ "single", DNS_FOUND },
		{ "GOOD.example", DNS_FOUND },
		{ "", DNS_FOUND },
		{ "nx.example", DNS_NXDOMAIN },
		{ "servfail.example", DNS_TEMPFAIL },
		{ "formerr.example", DNS_FOUND },
		{ "badvers.example", DNS_FOUND },
		{ "tcp.example", DNS_FOUND },
		{ "header.example", DNS_FOUND },
		{ "noedns.example", DNS_FOUND },
		{ "tcpdead.example", DNS_TEMPFAIL },
		{ "tcpid.example", DNS_TEMPFAIL },
		{ "tcphalf.example", DNS_TEMPFAIL },
		{ "tcpudp.example", DNS_FOUND },
		{ "long512.example", DNS_FOUND },
		{ "long5000.example", DNS_FOUND },
		{ "echo.example", DNS_FOUND },
		{ "wrongid.example", DNS_FOUND },
		{ "forged.example", DNS_FOUND },
		{ "short.example", DNS_FOUND },
		{ "cut.example", DNS_FOUND },
		{ "stale.example", DNS_FOUND },
		{ "a (b).example", DNS_FOUND },
		{ "a..example", DNS_NXDOMAIN },
		{ ".", DNS_NXDOMAIN },
	};
	size_t i;
	enum dns_outcome outcome;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		outcome = ask_one(cases[i].name);
		if (outcome != cases[i].outcome)
			fail_msg("%s: %d", cases[i].name, (int)outcome);
	}
	assert_false(server.has_wrong_flags);
}

/*
 * The IDs of those questions are far apart, in no direction, and all over the
 * range.  Random IDs fail this once in some billion times.
 */
static void
check_ids(void)
{
	unsigned near = 0, up = 0, high = 0, low = 0;

	for (size_t i = 1; i < MANY; i++) {
		int step = (int)server.id[i] - (int)server.id[i - 1];

		near += step > -16 && step < 16;
		up += step > 0;
		high |= server.id[i];
		low |= ~server.id[i];
	}
	assert_in_range(near, 0, 5);
	assert_in_range(up, 3, MANY - 4);
	assert_int_equal(high & 0xffff, 0xffff);
	assert_int_equal(low & 0xffff, 0xffff);
}

static void
ask_many(const char *label)
{
	struct dns_resolver *r = create();
	struct dns_answer a[MANY];
	char name[32];
	unsigned i;

	for (i = 0; i < MANY; i++) {
		(void)snprintf(name, sizeof name, "%s.n%u", label, i);
		dns_resolver_ask(r, name, DNS_A, &a[i]);
	}
	dns_resolver_wait(r, deadline_in(20000));
	for (i = 0; i < MANY; i++) {
		assert_int_equal(a[i].outcome, DNS_FOUND);
		dns_answer_finish(&a[i]);
	}
	dns_resolver_destroy(r);
}

static void
many_at_once_in_any_order(void **state)
{
	(void)state;
	ask_many("backwards");
	check_ids();
}

static void
many_truncated_answers_at_once(void **state)
{
	(void)state;
	ask_many("tcp");
}

static void
a_deadline_ends_the_rest(void **state)
{
	struct dns_resolver *r = create();
	struct dns_answer good, lost;
	struct deadline early, late;

	(void)state;
	dns_resolver_ask(r, "good.example", DNS_A, &good);
	dns_resolver_ask(r, "drop.example", DNS_A, &lost);
	early = deadline_in(190);
	late = deadline_in(20000);
	dns_resolver_wait(r, deadline_in(200));
	assert_true(deadline_passed(early));
	assert_false(deadline_passed(late));
	assert_int_equal(good.outcome, DNS_FOUND);
	assert_int_equal(lost.outcome, DNS_TEMPFAIL);
	dns_answer_finish(&good);

	/* It can be used afterwards. */
	dns_resolver_ask(r, "good.example", DNS_A, &good);
	dns_resolver_wait(r, deadline_never());
	assert_int_equal(good.outcome, DNS_FOUND);
	dns_answer_finish(&good);
	dns_resolver_destroy(r);
}

/* All connections wait for a server that says nothing, then they are free. */
static void
questions_given_up_over_tcp(void **state)
{
	struct dns_resolver *r = create();
	struct dns_answer held[MANY], good;
	struct deadline late = deadline_in(20000);

	(void)state;
	for (size_t i = 0; i < MANY; i++)
		dns_resolver_ask(r, "tcphold.example", DNS_A, &held[i]);
	dns_resolver_wait(r, deadline_in(200));
	dns_resolver_ask(r, "tcp.example", DNS_A, &good);
	dns_resolver_wait(r, late);
	assert_int_equal(good.outcome, DNS_FOUND);
	dns_answer_finish(&good);
	dns_resolver_destroy(r);
}

/* Connections that say nothing end where another question waits for them. */
static void
silent_connections_do_not_stop_others(void **state)
{
	struct dns_resolver *r = create();
	struct dns_answer held[MANY], good;
	struct deadline late = deadline_in(20000);

	(void)state;
	/* The last one is asked first. */
	dns_resolver_ask(r, "tcp.example", DNS_A, &good);
	for (size_t i = 0; i < MANY / 4; i++)
		dns_resolver_ask(r, "tcphold.example", DNS_A, &held[i]);
	while (good.is_pending && dns_resolver_wait_some(r, late))
		;
	assert_int_equal(good.outcome, DNS_FOUND);
	dns_answer_finish(&good);
	dns_resolver_destroy(r);
}

static void
a_question_without_an_answer(void **state)
{
	struct dns_resolver *r = create();

	(void)state;
	dns_resolver_wait(r, deadline_never());
	{
		struct dns_answer gone;

		dns_resolver_ask(r, "drop.example", DNS_A, &gone);
	}
	dns_resolver_destroy(r);
	dns_resolver_destroy(NULL);
}

/* Each question fails at once; with another server all are answered. */
static void
a_server_that_refuses(void **state)
{
	struct dns_config good = server.config;
	struct deadline late = deadline_in(20000);

	(void)state;
	server.config.timeout_s = 600;
	server.config.attempts = 1;
	server.config.server[0].port = 1;
	assert_int_equal(ask_one("good.example"), DNS_TEMPFAIL);
	server.config.server[1] = good.server[0];
	server.config.nserver = 2;
	assert_int_equal(ask_one("good.example"), DNS_FOUND);
	ask_many("good");
	assert_false(deadline_passed(late));
	server.config = good;
}

/*
 * The transport alone, with a server that reads when a test lets it, and
 * replies with the question.
 */
static struct {
	int fd;
	struct dns_server server;
	struct dns_transport *transport;
	unsigned nreply, nfailed;
} stage;

static void
count_reply(void *owner, const struct dns_path *path,
    const unsigned char *bytes, size_t n)
{
	(void)owner;
	(void)path;
	(void)n;
	if (bytes == NULL)
		stage.nfailed++;
	else
		stage.nreply++;
}

static void
set_stage(unsigned nquestion)
{
	struct sockaddr_in here = { .sin_family = AF_INET };
	unsigned char message[DNS_QUESTION_SIZE];
	socklen_t len = sizeof here;
	size_t n;

	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	stage.nreply = stage.nfailed = 0;
	stage.fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(bind(stage.fd, (struct sockaddr *)&here, len), 0);
	assert_int_equal(getsockname(stage.fd, (struct sockaddr *)&here, &len),
	    0);
	stage.server.ip = server.config.server[0].ip;
	stage.server.port = ntohs(here.sin_port);
	stage.transport = dns_transport_create(&stage.server, 1, count_reply);
	for (unsigned i = 0; i < nquestion; i++) {
		n = dns_question_write(message, "a.example", DNS_A, (uint16_t)i,
		    0);
		dns_transport_send(stage.transport, (struct dns_path){ 0 },
		    message, n, &stage);
	}
}

static void
clear_stage(void)
{
	dns_transport_destroy(stage.transport);
	(void)close(stage.fd);
}

/* Reads the questions that are there; returns how many. */
static unsigned
read_questions(bool answers)
{
	unsigned char p[DNS_QUESTION_SIZE];
	struct sockaddr_in from;
	socklen_t len = sizeof from;
	unsigned count = 0;
	ssize_t n;

	while ((n = recvfrom(stage.fd, p, sizeof p, MSG_DONTWAIT,
		    (struct sockaddr *)&from, &len)) > 0) {
		count++;
		p[2] |= 0x80;
		if (answers)
			(void)!sendto(stage.fd, p, (size_t)n, 0,
			    (struct sockaddr *)&from, len);
	}
	return count;
}

/* More could not be in the buffer of a server, and be lost. */
static void
many_questions_are_sent_as_they_are_answered(void **state)
{
	struct deadline late = deadline_in(20000);

	(void)state;
	set_stage(300);
	while (stage.nreply < 300) {
		dns_transport_run(stage.transport, deadline_in(0));
		assert_in_range(read_questions(true), 0, 128);
		assert_false(deadline_passed(late));
	}
	assert_int_equal(stage.nfailed, 0);
	clear_stage();
}

static void
many_questions_are_sent_to_a_silent_server(void **state)
{
	struct deadline late = deadline_in(20000);
	unsigned n = 0, step;

	(void)state;
	set_stage(300);
	/* Not the last ones: after these it would wait for replies. */
	while (n < 200) {
		dns_transport_run(stage.transport, late);
		step = read_questions(false);
		assert_in_range(step, 0, 128);
		n += step;
		assert_false(deadline_passed(late));
	}
	assert_int_equal(stage.nreply + stage.nfailed, 0);
	clear_stage();
}

/* Fails one call, for the code under test: the count of calls until then. */
static unsigned until_failure;
static int failure;

ssize_t
write(int fd, const void *from, size_t n)
{
	const struct iovec whole = { (void *)(uintptr_t)from, n };

	if (until_failure > 0 && --until_failure == 0) {
		errno = failure;
		return -1;
	}
	return writev(fd, &whole, 1);
}

/* The question is lost, and the others are not given up. */
static void
no_room_to_send(void **state)
{
	static const int cases[] = { EAGAIN, ENOBUFS, ENOMEM };
	struct deadline late = deadline_in(20000);

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		set_stage(3);
		until_failure = 2;
		failure = cases[i];
		while (stage.nreply < 2) {
			dns_transport_run(stage.transport, deadline_in(0));
			(void)read_questions(true);
			assert_false(deadline_passed(late));
		}
		assert_int_equal(until_failure, 0);
		assert_int_equal(stage.nfailed, 0);
		clear_stage();
	}
}

/* The error may belong to any of the questions before. */
static void
a_refusal_at_sending(void **state)
{
	(void)state;
	set_stage(3);
	until_failure = 2;
	failure = ECONNREFUSED;
	dns_transport_run(stage.transport, deadline_in(0));
	assert_int_equal(stage.nfailed, 2);
	clear_stage();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_of_all_kinds),
		cmocka_unit_test(many_at_once_in_any_order),
		cmocka_unit_test(many_truncated_answers_at_once),
		cmocka_unit_test(a_deadline_ends_the_rest),
		cmocka_unit_test(questions_given_up_over_tcp),
		cmocka_unit_test(silent_connections_do_not_stop_others),
		cmocka_unit_test(a_question_without_an_answer),
		cmocka_unit_test(a_server_that_refuses),
		cmocka_unit_test(many_questions_are_sent_as_they_are_answered),
		cmocka_unit_test(many_questions_are_sent_to_a_silent_server),
		cmocka_unit_test(no_room_to_send),
		cmocka_unit_test(a_refusal_at_sending),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
