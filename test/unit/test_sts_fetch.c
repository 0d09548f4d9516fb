/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "io/dial.h"
#include "sts/fetch.h"

#include "config.h"
#include "peer.h"

#define HOST "mta-sts.dst.example"

/* Stand-ins for the resolver, the network and the TLS helper. */
static struct {
	/* The DNS. */
	const char *v4, *v6;
	enum dns_outcome outcome; /* of a question without an answer above */
	const char *text;         /* TXT records, separated by '|' */
	struct asked {
		char name[DNS_NAME_SIZE];
		int type;
		struct dns_answer *into;
	} question[8];
	size_t n;
	int64_t wait_ms;

	/* Connections: those that can be made, in order; and what was tried. */
	const char *open;
	int error;
	char dialed[400];
	int dial_ms;

	/* Handshakes: a letter for each. */
	const char *tls;
	char helped[400];

	/* The session. */
	struct peer peer;
	enum tls_end end;
} fake;

struct dns_resolver {
	int unused;
};

static struct dns_resolver resolver;

void
dns_resolver_ask(struct dns_resolver *r, const char *name, int type,
    struct dns_answer *into)
{
	struct asked *a = &fake.question[fake.n++];

	assert_ptr_equal(r, &resolver);
	assert_int_equal(str_copy(a->name, sizeof a->name, name), 0);
	a->type = type;
	a->into = into;
	*into = (struct dns_answer){ .outcome = DNS_TEMPFAIL };
}

/* For TLSA records, which nobody asks for here. */
void
dns_resolver_forget(struct dns_resolver *r, struct dns_answer *into)
{
	(void)r;
	(void)into;
	fail();
}

static void
answer_addresses(struct dns_answer *a, const char *list)
{
	char copy[400], *word, *rest;

	a->outcome = fake.outcome;
	if (!list)
		return;
	a->outcome = DNS_FOUND;
	assert_int_equal(str_copy(copy, sizeof copy, list), 0);
	for (word = strtok_r(copy, " ", &rest); word;
	     word = strtok_r(NULL, " ", &rest)) {
		a->ip = mem_resize(a->ip, a->nip + 1, sizeof *a->ip);
		assert_true(ip_parse(word, strlen(word), &a->ip[a->nip++]));
	}
}

static void
answer_text(struct dns_answer *a)
{
	struct sts_text rest, part;

	a->outcome = fake.outcome;
	if (!fake.text)
		return;
	a->outcome = DNS_FOUND;
	rest = (struct sts_text){ fake.text, strlen(fake.text) };
	while (rest.n > 0) {
		(void)sts_text_cut(&rest, '|', &part);
		a->text = mem_resize(a->text, a->ntext + 1, sizeof *a->text);
		a->text[a->ntext] = (struct buf){ 0 };
		buf_append(&a->text[a->ntext++], part.at, part.n);
	}
}

void
dns_resolver_wait(struct dns_resolver *r, struct deadline until)
{
	(void)r;
	fake.wait_ms = deadline_left(until);
	for (size_t i = 0; i < fake.n; i++) {
		struct asked *a = &fake.question[i];

		if (a->type == DNS_TXT) {
			assert_string_equal(a->name, "_mta-sts.dst.example");
			answer_text(a->into);
			continue;
		}
		assert_string_equal(a->name, HOST);
		answer_addresses(a->into, a->type == DNS_A ? fake.v4 : fake.v6);
	}
	fake.n = 0;
}

bool
dial_first(struct dial_target *t, size_t n, int timeout_ms, struct dialed *won)
{
	fake.dial_ms = timeout_ms;
	for (size_t i = 0; i < n; i++) {
		char text[IP_TEXT_SIZE];

		if (t[i].state != DIAL_UNTRIED)
			continue;
		assert_int_equal(t[i].port, 443);
		ip_format(&t[i].ip, text);
		strcat(strcat(fake.dialed, fake.dialed[0] ? " " : ""), text);
		if (fake.open && strstr(fake.open, text)) {
			t[i].state = DIAL_CONNECTED;
			*won = (struct dialed){ .fd = 77, .target = i };
			return true;
		}
		t[i].state = DIAL_FAILED;
		t[i].error = fake.error;
	}
	return false;
}

struct tls_start
tls_helper_start(const struct tls_helper *h, int socket)
{
	struct tls_start t = { .fd = -1, .status = -1 };
	size_t n = strlen(fake.helped);
	char how = *fake.tls++;

	assert_int_equal(socket, 77);
	assert_string_equal(h->program, "helper");
	snprintf(fake.helped + n, sizeof fake.helped - n, "%s %s %s %lu %s;",
	    h->name, h->anchors, h->state ? h->state : "-", h->security,
	    h->timeout_s > 0 && h->timeout_s <= 15 ? "ok" : "?");
	t.result.status = TLS_STATUS_FAILED;
	(void)str_copy(t.result.text, sizeof t.result.text, "text");
	switch (how) {
	case '+':
		t.result.status = TLS_STATUS_READY;
		t.fd = fake.peer.fd;
		t.status = dup(fake.peer.fd);
		break;
	case 'l':
		t.result.status = TLS_STATUS_LOCAL;
		break;
	case 's':
		t.result.cause = TLS_CAUSE_TIMED_OUT;
		break;
	case 'n':
		t.result.cause = TLS_CAUSE_NAME;
		break;
	case 'e':
		t.result.cause = TLS_CAUSE_EXPIRED;
		break;
	case 't':
		t.result.cause = TLS_CAUSE_NOT_TRUSTED;
		break;
	}
	return t;
}

enum tls_end
tls_helper_end(int status, pid_t pid, char text[TLS_TEXT_SIZE])
{
	(void)status;
	(void)pid;
	snprintf(text, TLS_TEXT_SIZE, "qmail-remote-tls: exit code 111");
	return fake.end;
}

static struct ipme me;

static struct sts_fetch
fetch(void)
{
	memset(&fake, 0, sizeof fake);
	fake.outcome = DNS_NXDOMAIN;
	fake.error = ECONNREFUSED;
	fake.tls = "+";
	return (struct sts_fetch){
		.domain = "dst.example",
		.resolver = &resolver,
		.ipme = &me,
		.helper = "helper",
		.anchors = "anchors",
		.state = "state",
		.until = deadline_in(60000),
	};
}

static void
reads_the_record(void **state)
{
	struct sts_fetch f = fetch();
	struct sts_record r;

	(void)state;
	fake.text = "x|v=STSv1; id=7";
	sts_fetch_record(&f, &r);
	assert_true(r.is_known);
	assert_string_equal(sts_record_id(&r), "7");
	assert_in_range(fake.wait_ms, 10000, 20000);
	fake.text = NULL;
	sts_fetch_record(&f, &r);
	assert_true(r.is_known && r.n == 0);
	fake.outcome = DNS_TEMPFAIL;
	sts_fetch_record(&f, &r);
	assert_false(r.is_known);
	f.resolver = NULL;
	sts_fetch_record(&f, &r);
	assert_false(r.is_known);
}

static bool
refuses(const char *text)
{
	struct ip ip;

	if (!ip_parse(text, strlen(text), &ip))
		fail_msg("%s", text);
	return sts_fetch_refuses(&me, &ip);
}

static void
refuses_local_addresses(void **state)
{
	static const char *const refused[] = { "0.0.0.0", "0.1.2.3", "10.0.0.1",
		"10.255.255.255", "127.0.0.1", "127.9.9.9", "169.254.0.1",
		"172.16.0.1", "172.31.255.255", "192.168.0.1", "224.0.0.1",
		"239.255.255.255", "::", "::1", "fc00::1", "fdff::1", "fe80::1",
		"febf::1", "ff02::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1",
		"198.51.100.7", "2001:db8::7" };
	static const char *const used[] = { "192.0.2.1", "9.255.255.255",
		"11.0.0.0", "128.0.0.1", "126.255.255.255", "169.253.0.1",
		"172.15.0.1", "172.32.0.1", "192.167.0.1", "192.169.0.1",
		"223.255.255.255", "2001:db8::1", "fbff::1", "fec0::1", "::2",
		"::ffff:192.0.2.1", "198.51.100.8" };

	(void)state;
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
		if (!refuses(refused[i]))
			fail_msg("%s", refused[i]);
	for (size_t i = 0; i < sizeof used / sizeof *used; i++)
		if (refuses(used[i]))
			fail_msg("%s", used[i]);
}

/* Connects, and checks what was tried; returns the reason, or NULL. */
static const struct sts_failure *
connect_to(const struct sts_fetch *f, const char *dialed)
{
	static struct sts_failure why;
	struct tls_start session;

	if (sts_fetch_connect(f, &session, &why) == 0) {
		assert_int_equal(session.result.status, TLS_STATUS_READY);
		close(session.status);
		assert_string_equal(fake.dialed, dialed);
		return NULL;
	}
	assert_string_equal(fake.dialed, dialed);
	return &why;
}

static void
is_refused(const struct sts_failure *why, enum sts_cause cause,
    const char *reason)
{
	assert_non_null(why);
	assert_string_equal(why->reason, reason);
	assert_int_equal(why->cause, cause);
}

static void
connects_to_one_address(void **state)
{
	struct sts_fetch f = fetch();

	(void)state;
	fake.v4 = "192.0.2.1 192.0.2.2";
	fake.v6 = "2001:db8::1";
	fake.open = "192.0.2.1";
	assert_null(connect_to(&f, "2001:db8::1 192.0.2.1"));
	assert_string_equal(fake.helped, HOST " anchors state 2 ok;");
	assert_in_range(fake.dial_ms, 10000, 15000);

	f = fetch();
	f.state = NULL;
	f.until = deadline_in(500);
	fake.v4 = fake.open = "192.0.2.1";
	assert_null(connect_to(&f, "192.0.2.1"));
	assert_string_equal(fake.helped, HOST " anchors - 2 ok;");
	assert_in_range(fake.dial_ms, 1, 500);
	assert_in_range(fake.wait_ms, 1, 500);
}

static void
leaves_out_local_addresses(void **state)
{
	struct sts_fetch f = fetch();

	(void)state;
	fake.v4 = "10.0.0.1 198.51.100.7 192.0.2.1 127.0.0.1";
	fake.v6 = "fc00::1 ::1";
	fake.open = "192.0.2.1 10.0.0.1 198.51.100.7 127.0.0.1 fc00::1 ::1";
	assert_null(connect_to(&f, "192.0.2.1"));

	f = fetch();
	fake.v4 = fake.open = "10.0.0.1";
	is_refused(connect_to(&f, ""), STS_CAUSE_FETCH,
	    HOST " has only addresses of local networks");
}

static void
tries_so_many_addresses(void **state)
{
	struct sts_fetch f = fetch();
	char list[400] = "192.0.2.100";

	(void)state;
	for (int i = 101; i < 120; i++)
		snprintf(list + strlen(list), sizeof list - strlen(list),
		    " 192.0.2.%d", i);
	fake.v4 = list;
	is_refused(connect_to(&f,
		       "192.0.2.100 192.0.2.101 192.0.2.102 192.0.2.103 "
		       "192.0.2.104 192.0.2.105 192.0.2.106 192.0.2.107 "
		       "192.0.2.108 192.0.2.109 192.0.2.110 192.0.2.111 "
		       "192.0.2.112 192.0.2.113 192.0.2.114 192.0.2.115"),
	    STS_CAUSE_FETCH, HOST " (192.0.2.100): Connection refused");
}

static void
says_why_it_cannot_connect(void **state)
{
	struct sts_fetch f = fetch();

	(void)state;
	is_refused(connect_to(&f, ""), STS_CAUSE_FETCH, HOST " has no address");
	f = fetch();
	fake.outcome = DNS_TEMPFAIL;
	is_refused(connect_to(&f, ""), STS_CAUSE_FETCH,
	    "no answer for the addresses of " HOST);
	f = fetch();
	f.resolver = NULL;
	is_refused(connect_to(&f, ""), STS_CAUSE_LOCAL,
	    "the resolver cannot be set up");
	f = fetch();
	fake.v4 = "192.0.2.1";
	fake.error = 0;
	is_refused(connect_to(&f, "192.0.2.1"), STS_CAUSE_FETCH,
	    HOST " (192.0.2.1): timed out");
	f = fetch();
	fake.v4 = "192.0.2.1";
	f.until = deadline_in(0);
	is_refused(connect_to(&f, ""), STS_CAUSE_FETCH,
	    HOST " (192.0.2.1): timed out");
}

static void
says_why_there_is_no_tls(void **state)
{
	static const struct {
		const char *tls;
		enum sts_cause cause;
	} rows[] = {
		{ "-", STS_CAUSE_FETCH },
		{ "s", STS_CAUSE_FETCH },
		{ "n", STS_CAUSE_WEBPKI },
		{ "e", STS_CAUSE_WEBPKI },
		{ "t", STS_CAUSE_WEBPKI },
		{ "l", STS_CAUSE_LOCAL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sts_fetch f = fetch();

		fake.v4 = fake.open = "192.0.2.1";
		fake.tls = rows[i].tls;
		is_refused(connect_to(&f, "192.0.2.1"), rows[i].cause,
		    "TLS: text");
	}
}

/* The next address is tried if the certificate of one does not verify. */
static void
tries_addresses_until_one_is_verified(void **state)
{
	struct sts_fetch f = fetch();

	(void)state;
	fake.v4 = "192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4";
	fake.open = "192.0.2.1 192.0.2.3 192.0.2.4";
	fake.tls = "n+";
	assert_null(connect_to(&f, "192.0.2.1 192.0.2.2 192.0.2.3"));

	/* The last session's reason, not that of the last connection. */
	f = fetch();
	fake.v4 = "192.0.2.1 192.0.2.2 192.0.2.3";
	fake.open = "192.0.2.1 192.0.2.2";
	fake.tls = "-n";
	is_refused(connect_to(&f, "192.0.2.1 192.0.2.2 192.0.2.3"),
	    STS_CAUSE_WEBPKI, "TLS: text");
}

#define POLICY "version: STSv1\nmode: none\nmax_age: 7\n"
#define REPLY "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
#define REQUEST \
	"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: " HOST "\r\n" \
	"User-Agent: qmail-remote/" PROGRAM_VERSION "\r\n" \
	"Accept: text/plain\r\nConnection: close\r\n\r\n"

/* Asks a scripted host; returns the reason of a failure, or NULL. */
static const struct sts_failure *
ask(struct sts_fetch *f, const char *const *script)
{
	static struct sts_failure why;
	struct sts_policy policy = { .max_age_s = 0 };
	struct tls_start session = { .pid = 1 };
	struct buf heard = { 0 };
	int result;

	fake.peer = peer_start(peer_play, script, 0);
	session.fd = dup(fake.peer.fd);
	session.status = dup(fake.peer.fd);
	result = sts_fetch_policy(f, &session, &policy, &why);
	assert_true(session.fd == -1 && session.status == -1);
	(void)peer_end(&fake.peer, &heard);
	assert_int_equal(strncmp(REQUEST, buf_text(&heard), heard.len), 0);
	buf_finish(&heard);
	assert_int_equal(policy.max_age_s, result == 0 ? 7 : 0);
	sts_policy_finish(&policy);
	return result == 0 ? NULL : &why;
}

static void
fetches_a_policy(void **state)
{
	const char *length[] = { "<" REQUEST,
		">" REPLY "Content-Length: 37\r\n\r\n", ">" POLICY, NULL };
	const char *closed[] = { "<" REQUEST, ">" REPLY "\r\n" POLICY, "/",
		NULL };
	struct sts_fetch f = fetch();

	(void)state;
	assert_int_equal(strlen(POLICY), 37);
	assert_null(ask(&f, length));
	f = fetch();
	fake.end = TLS_END_SERVER;
	assert_null(ask(&f, closed));
}

static void
says_why_there_is_no_policy(void **state)
{
	const char *cut[] = { "<" REQUEST, ">" REPLY "\r\n" POLICY, "/", NULL };
	const char *half[] = { "<" REQUEST,
		">" REPLY "Content-Length: 99\r\n\r\n" POLICY, "/", NULL };
	const char *html[] = { "<" REQUEST, ">HTTP/1.1 404 Not Found\r\n\r\n",
		NULL };
	const char *invalid[] = { "<" REQUEST,
		">" REPLY "Content-Length: 2\r\n\r\nhi", NULL };
	const char *gone[] = { "!", NULL };
	const char *silent[] = { "<" REQUEST, ">" REPLY, NULL };
	struct sts_fetch f = fetch();

	(void)state;
	fake.end = TLS_END_BROKEN;
	is_refused(ask(&f, cut), STS_CAUSE_FETCH, "the reply was cut off");
	f = fetch();
	fake.end = TLS_END_SERVER;
	is_refused(ask(&f, half), STS_CAUSE_FETCH, "the reply was cut off");
	f = fetch();
	is_refused(ask(&f, html), STS_CAUSE_FETCH, "the host replied 404");
	f = fetch();
	is_refused(ask(&f, invalid), STS_CAUSE_INVALID,
	    "the policy has no version STSv1");
	f = fetch();
	fake.end = TLS_END_BROKEN;
	is_refused(ask(&f, gone), STS_CAUSE_FETCH, "the reply was cut off");
	f = fetch();
	fake.end = TLS_END_NONE;
	is_refused(ask(&f, cut), STS_CAUSE_LOCAL,
	    "qmail-remote-tls: exit code 111");
	f = fetch();
	fake.end = TLS_END_LOCAL;
	is_refused(ask(&f, cut), STS_CAUSE_LOCAL,
	    "qmail-remote-tls: exit code 111");
	f = fetch();
	f.until = deadline_in(50);
	is_refused(ask(&f, silent), STS_CAUSE_FETCH,
	    "the host took too long to reply");
}

/* More than the buffers hold is read; no byte prolongs the time. */
static void
limits_size_and_time(void **state)
{
	static char big[40000];
	const char *large[] = { "<" REQUEST, ">" REPLY "\r\n", big, big, NULL };
	const char *drip[1003] = { "<" REQUEST, ">" REPLY "\r\n" };
	struct sts_fetch f = fetch();

	(void)state;
	memset(big, '#', sizeof big - 1);
	big[0] = '>';
	is_refused(ask(&f, large), STS_CAUSE_FETCH, "the reply is too long");
	for (size_t i = 2; i < 1002; i++)
		drip[i] = ">x";
	f = fetch();
	f.until = deadline_in(100);
	fake.end = TLS_END_BROKEN;
	is_refused(ask(&f, drip), STS_CAUSE_FETCH,
	    "the host took too long to reply");
}

static int
set_up(void **state)
{
	static struct ip_net listed;

	(void)state;
	if (!ip_parse_net("198.51.100.7", 12, &listed))
		return -1;
	me.listed = &listed;
	me.nlisted = 1;
	me.interface = malloc(sizeof *me.interface);
	me.ninterface = 1;
	return me.interface && ip_parse("2001:db8::7", 11, &me.interface[0])
		   ? 0
		   : -1;
}

static int
tear_down(void **state)
{
	(void)state;
	free(me.interface);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_record),
		cmocka_unit_test(refuses_local_addresses),
		cmocka_unit_test(connects_to_one_address),
		cmocka_unit_test(leaves_out_local_addresses),
		cmocka_unit_test(tries_so_many_addresses),
		cmocka_unit_test(says_why_it_cannot_connect),
		cmocka_unit_test(says_why_there_is_no_tls),
		cmocka_unit_test(tries_addresses_until_one_is_verified),
		cmocka_unit_test(fetches_a_policy),
		cmocka_unit_test(says_why_there_is_no_policy),
		cmocka_unit_test(limits_size_and_time),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
