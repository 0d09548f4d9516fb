/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "delivery/search.h"
#include "delivery/secrets.h"
#include "delivery/sessionkey.h"
#include "io/fdio.h"
#include "io/pass.h"
#include "qmail/report.h"

#include "home.h"
#include "tcppair.h"

/*
 * Keys, the search and the report are fakes.  The broker is the other end of a
 * socket pair: its answers are there before it is asked.
 */
static void fake_next_hop(const struct setup *, struct buf *);
static void fake_address(const struct setup *, const struct plan *, size_t,
    const char *, struct buf *);
static unsigned long fake_lives(const struct setup *, const struct plan *,
    size_t, int64_t);
static enum search_reach fake_reach(const struct search *);
static void fake_lines(const struct search *, size_t, struct buf *);
static int fake_put(const struct credentials *);
static int fake_cloexec(int, bool);
static void fake_failure(const struct dsn *);
static void fake_forward(const char *, size_t);
static void fake_end(void);

#define sessionkey_by_next_hop fake_next_hop
#define sessionkey_by_address fake_address
#define sessionkey_lives fake_lives
#define search_reach(search) fake_reach(search)
#define search_append_lines fake_lines
#define secrets_put fake_put
#define fdio_set_cloexec fake_cloexec
#define report_failure fake_failure
#define report_forward fake_forward
#define report_end fake_end
#include "delivery/reuse.c"

#define ADDRESSES (CACHE_CANDIDATES + 6)

static struct {
	const char *key1;
	const char *before; /* lines on servers that failed */
	bool has_no_key2, has_long_keys, has_no_secrets, cannot_keep;
	unsigned long lives;
	enum search_reach reach;
	struct buf report;
	bool loses_broker;
	int broker; /* its end of the socket pair */
	int server; /* the other end of a connection that is lent */
	int listening;

	struct cache_client client;
	struct setup setup;
	struct search search;
	struct reuse reuse;
	struct gate gate;
	struct plan plan;
	struct plan_host host[2];
	struct plan_address address[ADDRESSES];
	bool may[ADDRESSES];
	char recipient[10], *recipients[3];
} world;

static char bytes[CACHE_MESSAGE_MAX];
static struct cache_message asked;

static void
fake_next_hop(const struct setup *s, struct buf *key)
{
	assert_ptr_equal(s, &world.setup);
	buf_cut(key, 0);
	buf_puts(key, world.key1);
}

static void
fake_address(const struct setup *s, const struct plan *plan, size_t i,
    const char *limit, struct buf *key)
{
	const struct concurrencyhosts_line *line =
	    concurrencyhosts_find(&world.reuse.limits,
		plan->host[plan->address[i].host].name);

	assert_string_equal(limit, line != NULL ? line->key : "");
	assert_ptr_equal(s, &world.setup);
	assert_ptr_equal(plan, &world.plan);
	if (!world.has_no_key2)
		buf_printf(key, "key of %zu", i);
	while (world.has_long_keys && key->len < SESSIONKEY_MAX)
		buf_putc(key, 'x');
}

static unsigned long
fake_lives(const struct setup *s, const struct plan *plan, size_t i,
    int64_t now)
{
	assert_ptr_equal(s, &world.setup);
	assert_ptr_equal(plan, &world.plan);
	assert_int_equal(i, world.search.address);
	assert_true(now > 1600000000);
	return world.lives;
}

static enum search_reach
fake_reach(const struct search *s)
{
	assert_ptr_equal(s, &world.search);
	return world.reach;
}

static void
fake_lines(const struct search *s, size_t i, struct buf *lines)
{
	assert_ptr_equal(s, &world.search);
	assert_true(i < world.plan.naddress);
	if (world.before != NULL)
		buf_puts(lines, world.before);
}

static int
fake_put(const struct credentials *c)
{
	assert_ptr_equal(c, &world.setup.route.login.credentials);
	return world.has_no_secrets ? -1 : open("secrets", O_RDONLY);
}

static int
fake_cloexec(int fd, bool is_set)
{
	if (world.cannot_keep)
		return -1;
	return fcntl(fd, F_SETFD, is_set ? FD_CLOEXEC : 0);
}

static void
fake_failure(const struct dsn *why)
{
	buf_printf(&world.report, "%s: %s %s", why->status, why->text,
	    why->detail);
}

static void
fake_forward(const char *s, size_t n)
{
	buf_append(&world.report, s, n);
	/* The broker ends just then. */
	if (world.loses_broker)
		(void)shutdown(world.broker, SHUT_RDWR);
}

static void
fake_end(void)
{
	buf_puts(&world.report, " (end)");
}

/*
 * The delivery.
 */

/* Two MX hosts of one preference, m0 with the even addresses. */
static void
make_plan(void)
{
	world.host[0] = (struct plan_host){ .name = "m0.one.example" };
	world.host[1] = (struct plan_host){ .name = "m1.two.example" };
	for (size_t i = 0; i < ADDRESSES; i++) {
		world.address[i].host = i % 2;
		world.may[i] = true;
	}
	world.plan = (struct plan){ .host = world.host,
		.nhost = 2,
		.address = world.address,
		.naddress = 4,
		.port = 25 };
}

static void
begin(const char *limits)
{
	int pair[2];
	struct dsn why;

	memset(&world, 0, sizeof world);
	memset(&asked, 0, sizeof asked);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(fcntl(pair[i], F_SETFD, FD_CLOEXEC), 0);
	world.key1 = "key 1";
	world.lives = ULONG_MAX;
	world.broker = pair[1];
	world.client =
	    (struct cache_client){ .fd = pair[0], .has_version = true };
	world.setup.control.timeoutremote = 7;
	snprintf(world.recipient, sizeof world.recipient, "a@b");
	world.recipients[0] = world.recipients[1] = world.recipient;
	world.setup.envelope.address = world.recipients;
	make_plan();
	world.reuse = (struct reuse){ .program_io = "./program",
		.client = &world.client,
		.setup = &world.setup,
		.is_wanted = true };
	home_put("concurrencyhosts", limits);
	home_put("secrets", "");
	assert_int_equal(concurrencyhosts_read(&world.reuse.limits,
			     "concurrencyhosts", &why),
	    0);
	world.gate = reuse_gate(&world.reuse, &world.search);
	world.search.connector.plan = &world.plan;
}

static void
close_world(void)
{
	reuse_finish(&world.reuse);
	assert_int_equal(world.client.fd, -1);
	if (world.broker > 0)
		close(world.broker);
	if (world.server > 0) {
		close(world.server);
		close(world.listening);
	}
	buf_finish(&world.report);
}

/* qmail-remote-io: it keeps what it was given in the file "words". */
static void
program(const char *script)
{
	char text[1000];

	snprintf(text, sizeof text,
	    "#!/bin/sh\n"
	    "for word; do case $word in --) break ;;\n"
	    "progress=*) progress=${word#progress=} ;;\n"
	    "cache=*|fd=*|status=*|secrets=*) echo \"${word%%=*}\"\n"
	    "  test -e /proc/self/fd/${word#*=} || exit 1 ;;\n"
	    "*) echo \"$word\" ;;\n"
	    "esac; done >words\n%s\n",
	    script);
	home_put("program", text);
	assert_int_equal(chmod("program", 0700), 0);
}

static void
expect_words(const char *want)
{
	char got[1000];
	FILE *f = fopen("words", "r");
	size_t n;

	assert_non_null(f);
	n = fread(got, 1, sizeof got - 1, f);
	got[n] = '\0';
	fclose(f);
	assert_string_equal(got, want);
}

static void
expect_report(const char *want, size_t n)
{
	assert_int_equal(world.report.len, n);
	if (n > 0)
		assert_memory_equal(world.report.data, want, n);
}

/*
 * The broker.
 */

static void
say(const struct cache_message *m, const int *fd, size_t nfd)
{
	size_t n = cache_message_format(m, bytes);

	assert_true(n > 0);
	assert_int_equal(pass_send(world.broker, bytes, n, fd, nfd), 0);
}

static void
say_kind(enum cache_kind kind)
{
	const struct cache_message m = { .kind = kind };

	say(&m, NULL, 0);
}

/* A miss, and the keys that a connection may have: the one of address i. */
static void
say_only(int i)
{
	static struct keyset keys;
	const struct cache_message m = { .kind = CACHE_MISS,
		.keys = keys.text };
	char key[20];

	keyset_init(&keys);
	snprintf(key, sizeof key, "key of %d", i);
	if (i >= 0)
		keyset_add(&keys, key);
	say(&m, NULL, 0);
}

static void
say_place(unsigned long chosen)
{
	const struct cache_message m = { .kind = CACHE_PLACE,
		.chosen = chosen };

	say(&m, NULL, 0);
}

static void
say_full(const char *limit)
{
	const struct cache_message m = { .kind = CACHE_FULL, .limit = limit };

	say(&m, NULL, 0);
}

/* A connection in clear text. */
static void
lend(unsigned long chosen)
{
	const struct cache_message m = { .kind = CACHE_HIT,
		.chosen = chosen,
		.session = { .key2 = "k",
		    .address = "192.0.2.7",
		    .host = "mx.example",
		    .extensions = "PIPELINING",
		    .used = 3,
		    .lives = 100 } };
	int end[2];

	tcp_pair(end, &world.listening);
	say(&m, &end[0], 1);
	close(end[0]);
	world.server = end[1];
	/* Nothing but what it is given is to be open in qmail-remote-io. */
	assert_int_equal(fcntl(end[1], F_SETFD, FD_CLOEXEC), 0);
	assert_int_equal(fcntl(world.listening, F_SETFD, FD_CLOEXEC), 0);
}

/* One through qmail-remote-tls, and the other ends of its descriptors. */
struct through_tls {
	int session, status;
};

static struct through_tls
lend_through_tls(void)
{
	const struct cache_message m = { .kind = CACHE_HIT,
		.session = { .key2 = "k",
		    .address = "192.0.2.7",
		    .tls = "TLSv1.3",
		    .used = 1,
		    .lives = 100 } };
	int session[2], status[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, session), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, status), 0);
	say(&m, (int[]){ session[0], status[0] }, 2);
	close(session[0]);
	close(status[0]);
	return (struct through_tls){ session[1], status[1] };
}

static void
close_tls(const struct through_tls *t)
{
	close(t->session);
	close(t->status);
}

/* One whose qmail-remote-tls has ended. */
static void
lend_in_tls(void)
{
	struct through_tls t = lend_through_tls();

	close_tls(&t);
}

/*
 * A qmail-remote-tls that ends when the clear text does: then there is a byte
 * to read.
 */
static int
lend_by_a_helper(void)
{
	struct through_tls t = lend_through_tls();
	int ended[2];
	char c;

	assert_int_equal(pipe(ended), 0);
	if (fork() == 0) {
		close(world.broker);
		close(world.client.fd);
		while (read(t.session, &c, 1) > 0)
			;
		_exit(write(ended[1], "x", 1) != 1);
	}
	close_tls(&t);
	close(ended[1]);
	return ended[0];
}

/* The next message to the broker; false if there is none. */
static bool
hear(void)
{
	int fd[PASS_MAX];
	size_t nfd = 0;
	ssize_t n = pass_receive(world.broker, bytes, sizeof bytes, fd, &nfd);

	if (n <= 0)
		return false;
	assert_int_equal(nfd, 0);
	assert_true(cache_message_parse(&asked, bytes, (size_t)n));
	return true;
}

static void
expect_question(enum cache_kind kind)
{
	assert_true(hear());
	assert_int_equal(asked.kind, kind);
}

static void
expect_candidate(size_t i, const char *key, const char *limit, unsigned long n)
{
	assert_true(i < asked.ncandidate);
	assert_string_equal(asked.candidate[i].key, key);
	assert_string_equal(asked.candidate[i].limit, limit);
	assert_int_equal(asked.candidate[i].n, n);
}

static enum gate_answer
ask_gate(const char **why)
{
	return world.gate.ask(world.gate.data, &world.plan, 0,
	    world.plan.naddress, world.may, why);
}

static void
expect_open(void)
{
	const char *why = NULL;

	assert_int_equal(ask_gate(&why), GATE_OPEN);
	assert_null(why);
}

/* Which addresses may be connected to, as digits of their places. */
static void
expect_may(const char *want)
{
	char got[ADDRESSES + 1];
	size_t n = 0;

	for (size_t i = 0; i < world.plan.naddress; i++)
		if (world.may[i])
			got[n++] = (char)('0' + i);
	got[n] = '\0';
	assert_string_equal(got, want);
}

static enum reuse_result
by_next_hop(void)
{
	return reuse_by_next_hop(&world.reuse, &world.setup);
}

/*
 * Before the DNS is asked.
 */

static void
nothing_is_asked_without_a_broker_or_a_key(void **state)
{
	(void)state;
	begin("");
	world.reuse.is_wanted = false;
	assert_int_equal(by_next_hop(), REUSE_NOT);
	assert_false(hear());
	close_world();

	begin("");
	world.key1 = "";
	assert_int_equal(by_next_hop(), REUSE_NOT);
	assert_false(hear());
	close_world();

	begin("");
	cache_client_close(&world.client);
	assert_int_equal(by_next_hop(), REUSE_NOT);
	expect_open();
	close_world();
}

static void
without_a_hit_the_delivery_goes_on(void **state)
{
	(void)state;
	begin("");
	say_kind(CACHE_MISS);
	assert_int_equal(by_next_hop(), REUSE_NOT);
	expect_question(CACHE_ASK);
	assert_string_equal(asked.session.key1, "key 1");
	assert_int_not_equal(world.client.fd, -1);
	close_world();

	/* It says nothing. */
	begin("");
	assert_int_equal(by_next_hop(), REUSE_NOT);
	assert_int_equal(world.client.fd, -1);
	close_world();
}

static void
a_connection_is_used(void **state)
{
	static const char report[] = "r\0Kyes\n";

	(void)state;
	begin("");
	program("printf 'r\\0Kyes\\n\\0'");
	lend(0);
	assert_int_equal(by_next_hop(), REUSE_REPORTED);
	expect_report(report, sizeof report);
	expect_words("fd\naddress=192.0.2.7\nhost=mx.example\ntimeout=7\n"
		     "extensions=PIPELINING\nused=3\n");
	close_world();

	begin("");
	lend_in_tls();
	assert_int_equal(by_next_hop(), REUSE_REPORTED);
	expect_words("fd\naddress=192.0.2.7\ntimeout=7\ntls=TLSv1.3\nstatus\n"
		     "used=1\n");
	close_world();
}

/* The next message to the broker, with these many descriptors. */
static void
expect_keep(unsigned long used, size_t want)
{
	int fd[PASS_MAX];
	size_t nfd = 0;
	ssize_t n = pass_receive(world.broker, bytes, sizeof bytes, fd, &nfd);

	assert_true(n > 0);
	assert_true(cache_message_parse(&asked, bytes, (size_t)n));
	assert_int_equal(asked.kind, CACHE_KEEP);
	assert_int_equal(asked.session.used, used);
	assert_int_equal(nfd, want);
	pass_close(fd, nfd);
}

/* By us: what talks to the server has no socket to the broker. */
static void
a_connection_is_given_back(void **state)
{
	static const char script[] = "printf 'Kyes\\n\\0'\n"
				     "printf '\\0004' "
				     ">/proc/self/fd/$progress";
	char line[20];

	(void)state;
	begin("");
	program(script);
	lend(0);
	assert_int_equal(by_next_hop(), REUSE_REPORTED);
	expect_question(CACHE_ASK);
	expect_keep(4, 1);
	close_world();

	begin("");
	program(script);
	lend_in_tls();
	assert_int_equal(by_next_hop(), REUSE_REPORTED);
	expect_question(CACHE_ASK);
	expect_keep(4, 2);
	close_world();

	begin("");
	program("printf 'Kyes\\n\\0'");
	lend(0);
	assert_int_equal(by_next_hop(), REUSE_REPORTED);
	expect_question(CACHE_ASK);
	assert_false(hear());
	close_world();

	/* That is no trouble of the delivery, and the server is told. */
	begin("");
	world.loses_broker = true;
	program(script);
	lend(0);
	assert_int_equal(by_next_hop(), REUSE_REPORTED);
	assert_int_equal(read(world.server, line, sizeof line), 6);
	assert_memory_equal(line, "QUIT\r\n", 6);
	assert_int_equal(world.report.len, strlen("Kyes\n") + 1);
	close_world();
}

/* Before the broker is told, or the delivery ends. */
static void
a_session_that_is_over_is_waited_for(void **state)
{
	static const char *const scripts[] = { "exit 99",
		"printf 'Zno\\n\\0'" };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct pollfd p = { .events = POLLIN };

		begin("");
		program(scripts[i]);
		p.fd = lend_by_a_helper();
		assert_int_equal(by_next_hop(),
		    i == 0 ? REUSE_NOT : REUSE_REPORTED);
		assert_int_equal(poll(&p, 1, 0), 1);
		assert_true((p.revents & POLLIN) != 0);
		close(p.fd);
		wait(NULL);
		close_world();
	}
}

static void
credentials_are_handed_over_to_be_hidden(void **state)
{
	(void)state;
	begin("");
	program("printf 'Kyes\\n\\0'");
	world.setup.route.login.credentials.kind = CREDENTIALS_PASSWORD;
	lend(0);
	assert_int_equal(by_next_hop(), REUSE_REPORTED);
	expect_words("fd\naddress=192.0.2.7\nhost=mx.example\ntimeout=7\n"
		     "extensions=PIPELINING\nsecrets\nused=3\n");
	close_world();

	/* Without them the connection is not used. */
	begin("");
	world.setup.route.login.credentials.kind = CREDENTIALS_PASSWORD;
	world.has_no_secrets = true;
	lend(0);
	assert_int_equal(by_next_hop(), REUSE_NOT);
	expect_report("", 0);
	close_world();
}

static void
a_dead_connection_is_the_last_one_that_is_asked_for(void **state)
{
	char byte;

	(void)state;
	begin("");
	program("exit 99");
	lend(0);
	assert_int_equal(by_next_hop(), REUSE_NOT);
	expect_report("", 0);
	expect_question(CACHE_ASK);
	/* It is closed. */
	assert_int_equal(read(world.server, &byte, 1), 0);
	/* The place that it may have is given back, before the DNS is asked. */
	expect_question(CACHE_GONE);
	expect_open();
	assert_false(hear());
	close_world();
}

static void
a_death_is_reported(void **state)
{
	static const char failed[] =
	    "4.3.0: Unable to run qmail-remote-io. "
	    "qmail-remote-io: killed by signal 9 (end)";
	static const char in_doubt[] =
	    "4.4.2: Connected to 192.0.2.7 but connection died. "
	    "Possible duplicate! qmail-remote-io: killed by signal 9 (end)";

	(void)state;
	begin("");
	program("kill -9 $$");
	lend(0);
	assert_int_equal(by_next_hop(), REUSE_REPORTED);
	expect_report(failed, sizeof failed - 1);
	close_world();

	begin("");
	program("echo >/proc/self/fd/$progress; kill -9 $$");
	lend(0);
	assert_int_equal(by_next_hop(), REUSE_REPORTED);
	expect_report(in_doubt, sizeof in_doubt - 1);
	close_world();
}

/*
 * The gate.
 */

static void
each_address_is_a_candidate(void **state)
{
	(void)state;
	begin(".one.example:5\nwait 3\n");
	world.may[1] = false;
	say_place(0);
	expect_open();
	expect_question(CACHE_CHOOSE);
	assert_int_equal(asked.wait, 3);
	assert_int_equal(asked.ncandidate, 3);
	expect_candidate(0, "", ".one.example", 5);
	expect_candidate(1, "", ".one.example", 5);
	expect_candidate(2, "", "", 0);
	close_world();

	begin(".one.example:5\n");
	world.plan.naddress = ADDRESSES;
	say_kind(CACHE_MISS);
	assert_int_equal(by_next_hop(), REUSE_NOT);
	say_place(0);
	expect_open();
	expect_question(CACHE_ASK);
	expect_question(CACHE_CHOOSE);
	assert_int_equal(asked.ncandidate, CACHE_CANDIDATES);
	expect_candidate(0, "key of 0", ".one.example", 5);
	expect_candidate(1, "key of 1", "", 0);
	/* No place was asked for under the limits of the others. */
	for (size_t i = CACHE_CANDIDATES; i < ADDRESSES; i++)
		assert_false(world.may[i]);
	close_world();
}

/* A message that is too long would mean that there is no broker. */
static void
keys_that_do_not_fit_are_left_out(void **state)
{
	(void)state;
	begin("");
	world.has_long_keys = true;
	say_kind(CACHE_MISS);
	assert_int_equal(by_next_hop(), REUSE_NOT);
	say_place(0);
	expect_open();
	expect_question(CACHE_ASK);
	expect_question(CACHE_CHOOSE);
	assert_int_equal(asked.ncandidate, 4);
	assert_int_equal(strlen(asked.candidate[0].key), SESSIONKEY_MAX);
	assert_int_equal(strlen(asked.candidate[1].key), SESSIONKEY_MAX);
	expect_candidate(2, "", "", 0);
	expect_candidate(3, "", "", 0);
	close_world();
}

/* Connections are not wanted, but there are limits. */
static void
limits_count_without_connections(void **state)
{
	(void)state;
	begin("m1.two.example:1\n");
	world.reuse.is_wanted = false;
	assert_int_equal(by_next_hop(), REUSE_NOT);
	say_place(1);
	expect_open();
	expect_question(CACHE_CHOOSE);
	expect_candidate(0, "", "", 0);
	expect_candidate(1, "", "m1.two.example", 1);
	expect_may("13");
	close_world();
}

/* Before hosts without a limit are connected to. */
static void
a_place_is_given_back(void **state)
{
	(void)state;
	begin("m1.two.example:1\n");
	world.reuse.is_wanted = false;
	world.may[0] = world.may[2] = false;
	assert_int_equal(by_next_hop(), REUSE_NOT);
	say_place(0);
	expect_open();
	expect_question(CACHE_CHOOSE);
	expect_candidate(0, "", "m1.two.example", 1);
	for (size_t i = 0; i < world.plan.naddress; i++)
		world.may[i] = i % 2 == 0;
	say_place(0);
	expect_open();
	expect_question(CACHE_CHOOSE);
	expect_candidate(0, "", "", 0);
	expect_may("02");
	expect_open();
	assert_false(hear());
	close_world();
}

static void
only_hosts_with_a_place_are_connected_to(void **state)
{
	(void)state;
	begin(".one.example:5\n");
	say_place(1);
	expect_open();
	expect_may("13");
	assert_false(world.reuse.has_place);
	/* They have failed, and the others are asked for. */
	for (size_t i = 0; i < world.plan.naddress; i++)
		world.may[i] = i % 2 == 0;
	say_place(0);
	expect_open();
	expect_may("02");
	assert_true(world.reuse.has_place);
	close_world();
}

static void
a_full_limit_closes_the_gate(void **state)
{
	const char *why = NULL;

	(void)state;
	begin(".one.example:5\nm1.two.example:2\n");
	say_full("m1.two.example");
	assert_int_equal(ask_gate(&why), GATE_CLOSED);
	assert_string_equal(why, "m1.two.example:2");
	close_world();

	/* A limit that it was not asked about. */
	begin(".one.example:5\n");
	say_full("other.example");
	assert_int_equal(ask_gate(&why), GATE_CLOSED);
	assert_string_equal(why, ".one.example:5");
	close_world();
}

static void
an_idle_connection_is_used_in_place_of_a_new_one(void **state)
{
	const char *why = NULL;

	(void)state;
	begin("");
	program("printf 'Kyes\\n\\0'");
	say_kind(CACHE_MISS);
	assert_int_equal(by_next_hop(), REUSE_NOT);
	lend(1);
	assert_int_equal(ask_gate(&why), GATE_DONE);
	/* The plan knows the host by this name. */
	expect_words("fd\naddress=192.0.2.7\nhost=m1.two.example\ntimeout=7\n"
		     "extensions=PIPELINING\nused=3\n");
	close_world();

	begin("");
	world.before = "Tried before: it\n";
	world.host[0].is_literal = true;
	say_kind(CACHE_MISS);
	assert_int_equal(by_next_hop(), REUSE_NOT);
	lend(2);
	assert_int_equal(ask_gate(&why), GATE_DONE);
	expect_words("fd\naddress=192.0.2.7\ntimeout=7\n"
		     "extensions=PIPELINING\nbefore=Tried before: it\n\n"
		     "used=3\n");
	close_world();
}

static void
after_a_dead_one_a_place_is_asked_for(void **state)
{
	(void)state;
	begin(".one.example:5\n");
	program("exit 99");
	say_kind(CACHE_MISS);
	assert_int_equal(by_next_hop(), REUSE_NOT);
	expect_question(CACHE_ASK);
	lend(1);
	say_place(0);
	expect_open();
	expect_question(CACHE_CHOOSE);
	expect_candidate(0, "key of 0", ".one.example", 5);
	expect_question(CACHE_CHOOSE);
	expect_candidate(0, "", ".one.example", 5);
	expect_candidate(1, "", "", 0);
	expect_may("02");
	close_world();
}

static struct handoff
hand_over(void)
{
	struct handoff h = { .address = "192.0.2.7",
		.host = "m1.two.example",
		.extensions = "SIZE",
		.tls = "TLSv1.3" };

	reuse_hand_over(&world.reuse, &h);
	return h;
}

/* No connection to any of them is there, and they have no limit. */
static void
the_gate_is_open_if_there_is_nothing_to_ask_for(void **state)
{
	static const struct {
		const char *limits;
		int only; /* the address that there may be a connection to */
		bool has_long_keys, is_asked;
	} cases[] = {
		{ "", -1, false, false },
		{ "", 7, false, false },
		{ "", 3, false, true },
		{ ".two.example:5\n", -1, false, true },
		{ "", -1, true, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		begin(cases[i].limits);
		world.has_long_keys = cases[i].has_long_keys;
		say_only(cases[i].only);
		assert_int_equal(by_next_hop(), REUSE_NOT);
		expect_question(CACHE_ASK);
		if (cases[i].is_asked)
			say_place(0);
		expect_open();
		if (cases[i].is_asked)
			expect_question(CACHE_CHOOSE);
		assert_false(hear());
		assert_int_not_equal(world.client.fd, -1);
		close_world();
	}
}

/* The broker learns of it once there is a session. */
static void
what_was_not_asked_for_is_told_later(void **state)
{
	(void)state;
	begin("");
	say_only(-1);
	assert_int_equal(by_next_hop(), REUSE_NOT);
	expect_question(CACHE_ASK);
	world.may[2] = false;
	expect_open();
	world.search.address = 1;
	assert_int_not_equal(hand_over().cache, 0);
	expect_question(CACHE_READY);
	assert_string_equal(asked.session.key2, "key of 1");
	assert_int_equal(asked.ncandidate, 3);
	expect_candidate(0, "key of 0", "", 0);
	expect_candidate(1, "key of 1", "", 0);
	expect_candidate(2, "key of 3", "", 0);
	assert_false(hear());
	close_world();
}

static void
an_answer_that_makes_no_sense_is_none(void **state)
{
	(void)state;
	begin(".one.example:5\n");
	say_place(4);
	expect_open();
	expect_may("0123");
	close_world();

	/* No answer at all. */
	begin(".one.example:5\n");
	expect_open();
	expect_may("0123");
	assert_int_equal(world.client.fd, -1);
	close_world();
}

/*
 * A server is ready.
 */

/* The gate has been asked, and there is a session with address 1. */
static void
begin_session(const char *limits)
{
	begin(limits);
	say_kind(CACHE_MISS);
	assert_int_equal(by_next_hop(), REUSE_NOT);
	expect_question(CACHE_ASK);
	say_place(1);
	expect_open();
	expect_question(CACHE_CHOOSE);
	world.search.address = 1;
	world.search.server.ehlo.mailmax = 9;
}

static bool
stays_open(void)
{
	return fcntl(world.client.fd, F_GETFD) == 0;
}

static void
the_broker_is_told_what_the_session_is(void **state)
{
	struct handoff h;

	(void)state;
	begin_session("");
	h = hand_over();
	assert_int_equal(h.cache, world.client.fd);
	assert_true(stays_open());
	expect_question(CACHE_READY);
	assert_string_equal(asked.session.key1, "key 1");
	assert_string_equal(asked.session.key2, "key of 1");
	assert_string_equal(asked.session.address, "192.0.2.7");
	assert_string_equal(asked.session.host, "m1.two.example");
	assert_string_equal(asked.session.extensions, "SIZE");
	assert_string_equal(asked.session.tls, "TLSv1.3");
	/* It has asked before. */
	assert_int_equal(asked.ncandidate, 0);
	assert_int_equal(asked.session.mailmax, 9);
	assert_int_equal(asked.session.lives, STORE_LIFE_S);
	close_world();
}

static void
a_session_lives_no_longer_than_its_policy(void **state)
{
	(void)state;
	begin_session("");
	world.lives = 20;
	(void)hand_over();
	expect_question(CACHE_READY);
	assert_int_equal(asked.session.lives, 20);
	close_world();
}

static void
after_a_better_host_has_failed_it_is_found_by_its_address(void **state)
{
	(void)state;
	begin_session("");
	world.reach = SEARCH_REACHED_LATER;
	assert_int_not_equal(hand_over().cache, 0);
	expect_question(CACHE_READY);
	assert_null(asked.session.key1);
	assert_string_equal(asked.session.key2, "key of 1");
	close_world();
}

/* Its key 1 would be that of all such sessions. */
static void
without_a_key_of_the_next_hop_it_has_none(void **state)
{
	(void)state;
	begin("");
	world.key1 = "";
	assert_int_equal(by_next_hop(), REUSE_NOT);
	say_place(0);
	expect_open();
	expect_question(CACHE_CHOOSE);
	world.search.address = 1;
	assert_int_not_equal(hand_over().cache, 0);
	expect_question(CACHE_READY);
	assert_null(asked.session.key1);
	assert_string_equal(asked.session.key2, "key of 1");
	close_world();
}

static void
expect_for_nobody(bool stays)
{
	assert_int_equal(hand_over().cache, 0);
	/* All that can be asked with its socket then. */
	if (stays) {
		expect_question(CACHE_READY);
		assert_null(asked.session.key1);
		assert_null(asked.session.key2);
	}
	assert_false(hear());
	assert_int_equal(stays_open(), stays);
	close_world();
}

static void
some_sessions_are_for_nobody_else(void **state)
{
	(void)state;
	begin_session("");
	world.reach = SEARCH_REACHED_DOWNGRADED;
	expect_for_nobody(false);

	/* The gate was not asked about it. */
	begin_session("");
	world.search.address = 4;
	expect_for_nobody(false);

	/* Its key is too long. */
	begin("");
	world.has_no_key2 = true;
	say_kind(CACHE_MISS);
	assert_int_equal(by_next_hop(), REUSE_NOT);
	expect_question(CACHE_ASK);
	expect_open();
	expect_for_nobody(false);

	/* Whose messages these are was never said. */
	begin("");
	world.client.has_version = false;
	world.key1 = "";
	expect_open();
	world.search.address = 1;
	expect_for_nobody(false);

	/* But its place is taken until it ends. */
	begin_session(".two.example:1\n");
	world.reach = SEARCH_REACHED_DOWNGRADED;
	expect_for_nobody(true);

	begin_session(".two.example:1\n");
	world.reuse.is_wanted = false;
	expect_for_nobody(true);

	/* That cannot be said. */
	begin_session(".two.example:1\n");
	world.reuse.is_wanted = false;
	assert_int_equal(shutdown(world.broker, SHUT_RDWR), 0);
	expect_for_nobody(false);
}

static void
it_is_not_handed_over_if_that_fails(void **state)
{
	(void)state;
	begin_session("");
	cache_client_close(&world.client);
	assert_int_equal(hand_over().cache, 0);
	close_world();

	/* The broker goes away just now. */
	begin_session("");
	close(world.broker);
	world.broker = 0;
	assert_int_equal(hand_over().cache, 0);
	close_world();

	begin_session("");
	world.cannot_keep = true;
	assert_int_equal(hand_over().cache, 0);
	close_world();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_asked_without_a_broker_or_a_key),
		cmocka_unit_test(without_a_hit_the_delivery_goes_on),
		cmocka_unit_test(a_connection_is_used),
		cmocka_unit_test(a_connection_is_given_back),
		cmocka_unit_test(a_session_that_is_over_is_waited_for),
		cmocka_unit_test(credentials_are_handed_over_to_be_hidden),
		cmocka_unit_test(
		    a_dead_connection_is_the_last_one_that_is_asked_for),
		cmocka_unit_test(a_death_is_reported),
		cmocka_unit_test(each_address_is_a_candidate),
		cmocka_unit_test(keys_that_do_not_fit_are_left_out),
		cmocka_unit_test(limits_count_without_connections),
		cmocka_unit_test(a_place_is_given_back),
		cmocka_unit_test(only_hosts_with_a_place_are_connected_to),
		cmocka_unit_test(a_full_limit_closes_the_gate),
		cmocka_unit_test(
		    an_idle_connection_is_used_in_place_of_a_new_one),
		cmocka_unit_test(after_a_dead_one_a_place_is_asked_for),
		cmocka_unit_test(
		    the_gate_is_open_if_there_is_nothing_to_ask_for),
		cmocka_unit_test(what_was_not_asked_for_is_told_later),
		cmocka_unit_test(an_answer_that_makes_no_sense_is_none),
		cmocka_unit_test(the_broker_is_told_what_the_session_is),
		cmocka_unit_test(a_session_lives_no_longer_than_its_policy),
		cmocka_unit_test(
		    after_a_better_host_has_failed_it_is_found_by_its_address),
		cmocka_unit_test(without_a_key_of_the_next_hop_it_has_none),
		cmocka_unit_test(some_sessions_are_for_nobody_else),
		cmocka_unit_test(it_is_not_handed_over_if_that_fails),
	};

	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
