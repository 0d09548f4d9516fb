/* SPDX-License-Identifier: ISC */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dns/resolver.h"
#include "dns/transport.h"
#include "fakeclock.h"

/*
 * The resolver with a simulated clock and simulated name servers: a minute
 * costs no time, and each question is recorded with its time.
 */

#define SENT_MAX 4000

/*
 * What a server does with a question: a letter for one with EDNS0, one for one
 * without, one for TCP.  '-' nothing, 'x' it cannot be reached, 'o' it answers,
 * 'd' no data, 'N' no such name, 't' truncated, 'w' an address of another name,
 * 's' SERVFAIL, 'n' NOTIMP, 'r' REFUSED, 'f' FORMERR, 'F' FORMERR with OPT, 'q'
 * FORMERR without the question, 'h' FORMERR and only the header, 'b' BADVERS.
 */
struct behaviour {
	const char *kind;
	int64_t delay_ms;
};

struct sent {
	struct dns_path path;
	void *owner;
	unsigned char byte[DNS_QUESTION_SIZE];
	size_t n;
	int64_t reply_at; /* -1: never, or already done */
};

struct dns_transport {
	dns_on_reply *on_reply;
};

static struct {
	const struct behaviour *server;
	struct sent sent[SENT_MAX];
	size_t nsent;
	bool has_log;
	char log[2000]; /* of time, server and kind of question */
} fake;

struct dns_transport *
dns_transport_create(const struct dns_server *server, size_t n,
    dns_on_reply *on_reply)
{
	struct dns_transport *t = mem_alloc(1, sizeof *t);

	(void)server;
	assert_in_range(n, 1, DNS_SERVERS_MAX);
	t->on_reply = on_reply;
	return t;
}

void
dns_transport_destroy(struct dns_transport *t)
{
	for (size_t i = 0; i < fake.nsent; i++)
		assert_null(fake.sent[i].owner);
	free(t);
}

static char
kind_of(const struct dns_path *path)
{
	if (path->is_tcp)
		return 't';
	return path->has_edns ? 'e' : 'p';
}

static char
behaviour_for(const struct dns_path *path)
{
	const char *kind = fake.server[path->server].kind;

	return path->is_tcp ? kind[2] : kind[!path->has_edns];
}

void
dns_transport_send(struct dns_transport *t, struct dns_path path,
    const unsigned char *message, size_t n, void *owner)
{
	struct sent *s = &fake.sent[fake.nsent++];
	size_t len = strlen(fake.log);

	(void)t;
	assert_true(fake.nsent <= SENT_MAX);
	assert_true(n <= sizeof s->byte);
	assert_int_equal(message[11], path.has_edns);
	*s = (struct sent){ .path = path, .owner = owner, .n = n };
	memcpy(s->byte, message, n);
	s->reply_at = behaviour_for(&path) == '-'
			  ? -1
			  : now_ms + fake.server[path.server].delay_ms;
	if (fake.has_log)
		(void)snprintf(fake.log + len, sizeof fake.log - len,
		    "%s%lld:%zu%c", len > 0 ? " " : "", (long long)now_ms,
		    path.server, kind_of(&path));
}

void
dns_transport_forget(struct dns_transport *t, const void *owner)
{
	(void)t;
	for (size_t i = 0; i < fake.nsent; i++)
		if (fake.sent[i].owner == owner)
			fake.sent[i].owner = NULL;
}

struct packet {
	unsigned char byte[600];
	size_t n;
};

static void
put(struct packet *p, const void *bytes, size_t n)
{
	assert_true(p->n + n <= sizeof p->byte);
	memcpy(p->byte + p->n, bytes, n);
	p->n += n;
}

/* The second byte may be one that cannot be asked for. */
static void
put_alias(struct packet *p, char kind, char rest)
{
	unsigned char data[] = { 2, (unsigned char)kind, (unsigned char)rest,
		0 };

	put(p, "\xc0\x0c\0\5\0\1\0\0\0\1\0\4", 12);
	put(p, data, sizeof data);
	p->byte[7] = 1;
}

/* "c3" is an alias of "c2" and so on; "l0" and "l1" of each other. */
static void
put_answer(struct packet *p)
{
	char kind = (char)p->byte[13], rest = (char)p->byte[14];

	if (p->byte[12] == 2 && kind == 'c' && rest > '0') {
		put_alias(p, kind, (char)(rest - 1));
	} else if (p->byte[12] == 2 && kind == 'l') {
		put_alias(p, kind, rest ^ 1);
	} else if (p->byte[12] == 2 && kind == 'o') {
		put_alias(p, ' ', ' ');
	} else {
		put(p, "\xc0\x0c\0\1\0\1\0\0\0\1\0\4\xc0\0\2\1", 16);
		p->byte[7] = 1;
	}
}

/* Turns the question into a reply; the AD bit is as in the question. */
static void
make_reply(struct packet *p, char what)
{
	static const struct {
		char what;
		unsigned char rcode;
	} rcodes[] = { { 'N', 3 }, { 's', 2 }, { 'n', 4 }, { 'r', 5 },
		{ 'f', 1 }, { 'F', 1 }, { 'q', 1 }, { 'h', 1 } };

	if (p->byte[11] == 1)
		p->n -= 11;
	p->byte[2] |= 0x80;
	p->byte[3] |= 0x80;
	p->byte[11] = 0;
	for (size_t i = 0; i < sizeof rcodes / sizeof *rcodes; i++)
		if (rcodes[i].what == what)
			p->byte[3] |= rcodes[i].rcode;
	if (what == 'o')
		put_answer(p);
	if (what == 'w')
		put(p, "\1w\0\0\1\0\1\0\0\0\1\0\4\xc0\0\2\1", 17);
	p->byte[7] = what == 'o' || what == 'w';
	if (what == 't')
		p->byte[2] |= 2;
	if (what == 'F' || what == 'b') {
		put(p, "\0\0\x29\4\xd0\0\0\0\0\0\0", 11);
		p->byte[p->n - 6] = what == 'b';
		p->byte[11] = 1;
	}
	if (what == 'q' || what == 'h')
		p->byte[5] = 0;
	if (what == 'h')
		p->n = 12;
}

static void
deliver(struct dns_transport *t, struct sent *s)
{
	char what = behaviour_for(&s->path);
	struct packet p = { .n = s->n };

	memcpy(p.byte, s->byte, s->n);
	s->reply_at = -1;
	if (s->owner == NULL)
		return;
	make_reply(&p, what);
	t->on_reply(s->owner, &s->path, what == 'x' ? NULL : p.byte, p.n);
}

void
dns_transport_run(struct dns_transport *t, struct deadline until)
{
	struct sent *first = NULL;

	for (size_t i = 0; i < fake.nsent; i++) {
		struct sent *s = &fake.sent[i];

		if (s->reply_at != -1 && s->reply_at <= until.at &&
		    (first == NULL || s->reply_at < first->reply_at))
			first = s;
	}
	if (first != NULL && first->reply_at > now_ms)
		now_ms = first->reply_at;
	else if (first == NULL)
		now_ms = until.at;
	if (first != NULL)
		deliver(t, first);
}

struct asking {
	unsigned long timeout_s, attempts;
	int64_t limit_ms; /* 0: none */
	bool is_rotated, uses_tcp;
	struct behaviour server[DNS_SERVERS_MAX];
};

static struct dns_config
config_for(const struct asking *a)
{
	struct dns_config c = { .timeout_s = a->timeout_s,
		.attempts = a->attempts,
		.is_rotated = a->is_rotated,
		.uses_tcp = a->uses_tcp,
		.is_trusted = true };

	while (c.nserver < DNS_SERVERS_MAX && a->server[c.nserver].kind)
		c.nserver++;
	return c;
}

static struct dns_resolver *
begin(const struct asking *a)
{
	struct dns_config c = config_for(a);
	struct dns_resolver *r;

	fake.server = a->server;
	fake.nsent = 0;
	fake.has_log = true;
	fake.log[0] = '\0';
	now_ms = 0;
	r = dns_resolver_create(&c, true);
	assert_non_null(r);
	return r;
}

static struct deadline
limit(const struct asking *a)
{
	return a->limit_ms == 0 ? deadline_never() : deadline_in(a->limit_ms);
}

static struct dns_answer
ask(const struct asking *a, const char *name)
{
	struct dns_resolver *r = begin(a);
	struct dns_answer answer;

	dns_resolver_ask(r, name, DNS_A, &answer);
	dns_resolver_wait(r, limit(a));
	dns_resolver_destroy(r);
	return answer;
}

/* Without a limit, each try has 20 s; so delays are visible. */
#define SLOW 20, 1, 0, false, false

static const struct {
	const char *what;
	struct asking asking;
	enum dns_outcome outcome;
	int64_t ms; /* when it ends */
	const char *log;
} cases[] = {
	{ "an answer", { SLOW, { { "o--", 7 } } }, DNS_FOUND, 7, "0:0e" },
	{ "no data", { SLOW, { { "d--", 7 } } }, DNS_NODATA, 7, "0:0e" },
	{ "no such name", { SLOW, { { "N--", 7 } } }, DNS_NXDOMAIN, 7, "0:0e" },

	/* The schedule. */
	{ "silence", { 0, 0, 0, false, false, { { "---", 0 } } }, DNS_TEMPFAIL,
	    60000,
	    "0:0e 500:0p 1000:0e 2500:0p 4000:0e 9500:0p 15000:0e 37500:0p" },
	{ "silence of two",
	    { 0, 0, 0, false, false, { { "---", 0 }, { "---", 0 } } },
	    DNS_TEMPFAIL, 60000,
	    "0:0e 250:0p 500:1e 750:1p 1000:0e 1750:0p 2500:1e 3250:1p "
	    "4000:0e 6750:0p 9500:1e 12250:1p 15000:0e 26250:0p 37500:1e "
	    "48750:1p" },
	{ "silence, resolv.conf", { 2, 3, 0, false, false, { { "---", 0 } } },
	    DNS_TEMPFAIL, 14000,
	    "0:0e 1000:0p 2000:0e 4000:0p 6000:0e 10000:0p" },
	{ "silence of two, resolv.conf",
	    { 2, 1, 0, false, false, { { "---", 0 }, { "---", 0 } } },
	    DNS_TEMPFAIL, 4000, "0:0e 1000:0p 2000:1e 3000:1p" },
	{ "silence, a limit", { 0, 0, 5000, false, false, { { "---", 0 } } },
	    DNS_TEMPFAIL, 5000, "0:0e 500:0p 1000:0e 2500:0p 4000:0e 4500:0p" },
	{ "silence, a limit beyond resolv.conf",
	    { 1, 1, 8000, false, false, { { "---", 0 } } }, DNS_TEMPFAIL, 8000,
	    "0:0e 500:0p 1000:0e 2000:0p 3000:0e 5000:0p 7000:0e 7500:0p" },
	{ "silence, a limit beyond the rounds",
	    { 0, 0, 100000, false, false, { { "---", 0 } } }, DNS_TEMPFAIL,
	    100000,
	    "0:0e 500:0p 1000:0e 2500:0p 4000:0e 9500:0p 15000:0e 37500:0p "
	    "60000:0e 80000:0p" },
	{ "silence, a limit below the first round",
	    { 5, 2, 1000, false, false, { { "---", 0 } } }, DNS_TEMPFAIL, 1000,
	    "0:0e 500:0p" },
	{ "a late answer counts",
	    { 0, 0, 0, false, false, { { "o--", 14000 } } }, DNS_FOUND, 14000,
	    "0:0e 500:0p 1000:0e 2500:0p 4000:0e 9500:0p" },
	{ "a late answer of another",
	    { 0, 0, 0, false, false, { { "o--", 700 }, { "---", 0 } } },
	    DNS_FOUND, 700, "0:0e 250:0p 500:1e" },

	/* Servers that fail, and others that do not. */
	{ "refused", { SLOW, { { "xx-", 0 } } }, DNS_TEMPFAIL, 0, "0:0e 0:0p" },
	{ "refused, a limit", { 0, 0, 9000, false, false, { { "xx-", 0 } } },
	    DNS_TEMPFAIL, 0, "0:0e 0:0p" },
	{ "all fail", { SLOW, { { "ss-", 3 }, { "rr-", 4 } } }, DNS_TEMPFAIL,
	    14, "0:0e 3:0p 6:1e 10:1p" },
	{ "one fails", { SLOW, { { "ss-", 3 }, { "o--", 4 } } }, DNS_FOUND, 10,
	    "0:0e 3:0p 6:1e" },
	{ "two fail", { SLOW, { { "ss-", 3 }, { "xx-", 0 }, { "o--", 4 } } },
	    DNS_FOUND, 10, "0:0e 3:0p 6:1e 6:1p 6:2e" },
	{ "one is silent", { SLOW, { { "---", 0 }, { "o--", 4 } } }, DNS_FOUND,
	    20004, "0:0e 10000:0p 20000:1e" },
	{ "one is silent, one fails: each round is as long as ever",
	    { 0, 0, 4000, false, false, { { "---", 0 }, { "ss-", 1 } } },
	    DNS_TEMPFAIL, 4000,
	    "0:0e 250:0p 500:1e 501:1p 1000:0e 1750:0p 2500:1e 2501:1p" },
	{ "one fails, one is silent",
	    { 0, 0, 1000, false, false, { { "ss-", 0 }, { "---", 0 } } },
	    DNS_TEMPFAIL, 1000, "0:0e 0:0p 0:1e 500:1p" },

	/* Servers that fail with EDNS0. */
	{ "EDNS0: silence", { SLOW, { { "-o-", 5 } } }, DNS_FOUND, 10005,
	    "0:0e 10000:0p" },
	{ "EDNS0: FORMERR", { SLOW, { { "fo-", 5 } } }, DNS_FOUND, 10,
	    "0:0e 5:0p" },
	{ "EDNS0: FORMERR with OPT", { SLOW, { { "Fo-", 5 } } }, DNS_FOUND, 10,
	    "0:0e 5:0p" },
	{ "EDNS0: FORMERR without question", { SLOW, { { "qo-", 5 } } },
	    DNS_FOUND, 10, "0:0e 5:0p" },
	{ "EDNS0: FORMERR of 12 bytes", { SLOW, { { "ho-", 5 } } }, DNS_FOUND,
	    10, "0:0e 5:0p" },
	{ "EDNS0: NOTIMP", { SLOW, { { "no-", 5 } } }, DNS_FOUND, 10,
	    "0:0e 5:0p" },
	{ "EDNS0: SERVFAIL", { SLOW, { { "so-", 5 } } }, DNS_FOUND, 10,
	    "0:0e 5:0p" },
	{ "EDNS0: REFUSED", { SLOW, { { "ro-", 5 } } }, DNS_FOUND, 10,
	    "0:0e 5:0p" },
	{ "EDNS0: BADVERS", { SLOW, { { "bo-", 5 } } }, DNS_FOUND, 10,
	    "0:0e 5:0p" },
	{ "EDNS0: unreachable", { SLOW, { { "xo-", 5 } } }, DNS_FOUND, 10,
	    "0:0e 5:0p" },
	{ "EDNS0: useless answers", { SLOW, { { "wo-", 5 } } }, DNS_FOUND, 10,
	    "0:0e 5:0p" },
	{ "useless answers", { SLOW, { { "ww-", 5 } } }, DNS_TEMPFAIL, 10,
	    "0:0e 5:0p" },

	/* TCP. */
	{ "truncated", { SLOW, { { "t-o", 5 } } }, DNS_FOUND, 10, "0:0e 5:0t" },
	{ "truncated without EDNS0", { SLOW, { { "fto", 5 } } }, DNS_FOUND, 15,
	    "0:0e 5:0p 10:0t" },
	{ "truncated over TCP", { SLOW, { { "ttt", 5 } } }, DNS_TEMPFAIL, 20,
	    "0:0e 5:0t 10:0p 15:0t" },
	{ "TCP fails", { SLOW, { { "ttx", 5 }, { "o--", 5 } } }, DNS_FOUND, 25,
	    "0:0e 5:0t 10:0p 15:0t 20:1e" },
	{ "TCP is silent", { SLOW, { { "t--", 5 }, { "o--", 5 } } }, DNS_FOUND,
	    20010, "0:0e 5:0t 20005:1e" },
	{ "TCP only", { 20, 1, 0, false, true, { { "xxo", 5 } } }, DNS_FOUND, 5,
	    "0:0t" },
};

static void
asking(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dns_answer a = ask(&cases[i].asking, "name");

		if (a.outcome != cases[i].outcome || now_ms != cases[i].ms ||
		    strcmp(fake.log, cases[i].log) != 0)
			fail_msg("%s: %d after %lld ms: %s", cases[i].what,
			    (int)a.outcome, (long long)now_ms, fake.log);
		assert_int_equal(a.nip, a.outcome == DNS_FOUND);
		dns_answer_finish(&a);
	}
}

static void
aliases_are_followed_8_times(void **state)
{
	static const struct asking good = { SLOW, { { "o--", 1 } } };
	static const struct {
		const char *name, *canonical;
		enum dns_outcome outcome;
		int64_t ms;
	} names[] = {
		{ "c0", "", DNS_FOUND, 1 },
		{ "c1", "c0", DNS_FOUND, 2 },
		{ "c8", "c0", DNS_FOUND, 9 },
		{ "c9", "", DNS_TEMPFAIL, 9 },
		{ "l0", "", DNS_TEMPFAIL, 9 },
		/* A name with blanks is not asked for. */
		{ "oo", "", DNS_TEMPFAIL, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct dns_answer a = ask(&good, names[i].name);

		if (a.outcome != names[i].outcome || now_ms != names[i].ms)
			fail_msg("%s: %d after %lld ms", names[i].name,
			    (int)a.outcome, (long long)now_ms);
		assert_string_equal(a.canonical, names[i].canonical);
		assert_int_equal(a.is_alias, a.canonical[0] != '\0');
		if (a.outcome == DNS_FOUND)
			assert_int_equal(a.security, DNS_SECURE);
		dns_answer_finish(&a);
	}
}

/*
 * If it was not asked for, or the server is not trusted, the AD bit is ignored.
 */
static void
ad_bit_counts_only_if_wanted_and_trusted(void **state)
{
	static const struct asking good = { SLOW, { { "o--", 1 } } };

	(void)state;
	for (int i = 0; i < 4; i++) {
		bool wants = i & 1, is_trusted = i & 2;
		struct dns_config c = config_for(&good);
		struct dns_resolver *r = begin(&good);
		struct dns_answer a;

		dns_resolver_destroy(r);
		c.is_trusted = is_trusted;
		r = dns_resolver_create(&c, wants);
		assert_int_equal(dns_resolver_knows_security(r),
		    wants && is_trusted);
		dns_resolver_ask(r, "c2", DNS_A, &a);
		dns_resolver_wait(r, deadline_never());
		assert_int_equal(fake.sent[0].byte[3],
		    wants && is_trusted ? 0x20 : 0);
		assert_int_equal(a.security,
		    wants && is_trusted ? DNS_SECURE : DNS_INSECURE);
		assert_int_equal(a.ttl_s, 1);
		dns_answer_finish(&a);
		dns_resolver_destroy(r);
	}
}

static void
the_limit_is_for_all_aliases_together(void **state)
{
	static const struct asking slow = { 0, 0, 3000, false, false,
		{ { "o--", 800 } } };
	struct dns_answer a = ask(&slow, "c8");

	(void)state;
	assert_int_equal(a.outcome, DNS_TEMPFAIL);
	assert_int_equal(now_ms, 3000);
}

/* Once a server has shown it, no time is lost again. */
static void
a_server_without_edns_is_remembered(void **state)
{
	static const struct asking plain = { SLOW, { { "-o-", 1 } } };
	struct dns_resolver *r = begin(&plain);
	struct dns_answer a[3];

	(void)state;
	dns_resolver_ask(r, "one", DNS_A, &a[0]);
	dns_resolver_wait(r, deadline_never());
	dns_resolver_ask(r, "two", DNS_A, &a[1]);
	dns_resolver_ask(r, "three", DNS_A, &a[2]);
	dns_resolver_wait(r, deadline_never());
	assert_string_equal(fake.log, "0:0e 10000:0p 10001:0p 10001:0p");
	dns_resolver_destroy(r);
	for (size_t i = 0; i < 3; i++)
		dns_answer_finish(&a[i]);
}

static void
rotation_begins_with_any_server(void **state)
{
	static const struct asking rotated = { 20, 1, 0, true, false,
		{ { "o--", 1 }, { "o--", 1 }, { "o--", 1 } } };
	bool was_first[3] = { false };

	(void)state;
	/* With probability 10^-35 one of them is never first. */
	for (int i = 0; i < 200; i++) {
		struct dns_answer a = ask(&rotated, "name");

		was_first[fake.sent[0].path.server] = true;
		dns_answer_finish(&a);
	}
	assert_true(was_first[0] && was_first[1] && was_first[2]);
}

static void
a_day_without_replies_is_handled(void **state)
{
	static const struct asking silent = { 0, 0, 86400000, false, false,
		{ { "---", 0 } } };
	struct dns_resolver *r = begin(&silent);
	struct dns_answer a;

	(void)state;
	fake.has_log = false;
	dns_resolver_ask(r, "name", DNS_A, &a);
	dns_resolver_wait(r, limit(&silent));
	dns_resolver_destroy(r);
	assert_int_equal(a.outcome, DNS_TEMPFAIL);
	assert_int_equal(now_ms, 86400000);
	assert_in_range(fake.nsent, 3800, SENT_MAX);
}

static void
invalid_names_are_not_sent(void **state)
{
	static const struct asking good = { SLOW, { { "o--", 1 } } };
	static const char *const names[] = { "a..b", ".", ".a" };

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct dns_answer a = ask(&good, names[i]);

		assert_int_equal(a.outcome, DNS_NXDOMAIN);
		assert_string_equal(fake.log, "");
	}
}

static void
unanswered_questions_can_be_destroyed(void **state)
{
	static const struct asking good = { SLOW, { { "o--", 1 } } };
	struct dns_resolver *r = begin(&good);
	struct dns_answer a;

	(void)state;
	dns_resolver_wait(r, deadline_never());
	dns_resolver_ask(r, "name", DNS_A, &a);
	dns_resolver_wait(r, deadline_in(0));
	assert_int_equal(a.outcome, DNS_TEMPFAIL);
	dns_resolver_ask(r, "name", DNS_A, &a);
	dns_resolver_destroy(r);
	dns_resolver_destroy(NULL);
	assert_string_equal(fake.log, "");
}

/* "c3" takes four times as long as "name". */
static void
answers_are_taken_one_by_one(void **state)
{
	static const struct asking good = { SLOW, { { "o--", 1 } } };
	struct dns_resolver *r = begin(&good);
	struct dns_answer a, b;

	(void)state;
	dns_resolver_ask(r, "name", DNS_A, &a);
	dns_resolver_ask(r, "c3", DNS_A, &b);
	assert_true(a.is_pending && b.is_pending);
	assert_int_equal(b.outcome, DNS_TEMPFAIL);
	while (a.is_pending)
		assert_true(dns_resolver_wait_some(r, deadline_never()));
	assert_int_equal(now_ms, 1);
	assert_int_equal(a.outcome, DNS_FOUND);
	assert_true(b.is_pending);
	assert_int_equal(b.outcome, DNS_TEMPFAIL);

	/* An answer belongs to the caller, who may use its memory again. */
	dns_answer_finish(&a);
	memset(&a, 0xaa, sizeof a);
	while (b.is_pending)
		assert_true(dns_resolver_wait_some(r, deadline_never()));
	assert_int_equal(now_ms, 4);
	assert_int_equal(b.outcome, DNS_FOUND);
	for (size_t i = 0; i < sizeof a; i++)
		assert_int_equal(((unsigned char *)&a)[i], 0xaa);
	dns_resolver_forget(r, &b);
	assert_int_equal(b.nip, 1);
	assert_false(dns_resolver_wait_some(r, deadline_never()));
	dns_answer_finish(&b);
	dns_resolver_destroy(r);
}

/* The last answer comes together with the deadline. */
static void
an_answer_at_the_deadline_counts(void **state)
{
	static const struct asking good = { SLOW, { { "o--", 1 } } };
	struct dns_resolver *r = begin(&good);
	struct dns_answer a, b;

	(void)state;
	dns_resolver_ask(r, "c3", DNS_A, &b);
	dns_resolver_ask(r, "name", DNS_A, &a);
	dns_resolver_wait(r, deadline_in(1));
	assert_int_equal(a.outcome, DNS_FOUND);
	assert_int_equal(b.outcome, DNS_TEMPFAIL);
	assert_false(a.is_pending || b.is_pending);
	dns_answer_finish(&a);
	dns_resolver_destroy(r);
}

/* A question that fails is not found out only when another is answered. */
static void
failures_are_told_at_once(void **state)
{
	static const struct asking silent = { SLOW, { { "---", 0 } } };
	static const struct asking good = { SLOW, { { "o--", 1 } } };
	struct dns_resolver *r = begin(&silent);
	struct dns_answer a, b;

	(void)state;
	dns_resolver_ask(r, "name", DNS_A, &a);
	while (dns_resolver_wait_some(r, deadline_in(10000 - now_ms)))
		;
	assert_int_equal(now_ms, 10000);
	assert_true(a.is_pending);
	dns_resolver_ask(r, "later", DNS_A, &b);
	while (a.is_pending)
		assert_true(dns_resolver_wait_some(r, deadline_never()));
	/* The deadline has ended its only round. */
	assert_int_equal(now_ms, 10000);
	assert_int_equal(a.outcome, DNS_TEMPFAIL);
	assert_true(b.is_pending);
	dns_resolver_wait(r, deadline_in(1000));
	assert_int_equal(now_ms, 11000);
	assert_false(b.is_pending);
	assert_int_equal(b.outcome, DNS_TEMPFAIL);
	dns_resolver_destroy(r);

	r = begin(&good);
	dns_resolver_ask(r, "oo", DNS_A, &a);
	dns_resolver_ask(r, "c3", DNS_A, &b);
	while (a.is_pending)
		assert_true(dns_resolver_wait_some(r, deadline_never()));
	assert_int_equal(now_ms, 1);
	assert_int_equal(a.outcome, DNS_TEMPFAIL);
	dns_resolver_destroy(r);
}

static void
questions_can_be_given_up(void **state)
{
	static const struct asking good = { SLOW, { { "o--", 1 } } };
	struct dns_resolver *r = begin(&good);
	struct dns_answer a[3];

	(void)state;
	for (size_t i = 0; i < 3; i++)
		dns_resolver_ask(r, "c3", DNS_A, &a[i]);
	assert_true(dns_resolver_wait_some(r, deadline_never()));
	for (int i = 0; i < 2; i++) {
		dns_resolver_forget(r, &a[1]);
		assert_false(a[1].is_pending);
		assert_int_equal(a[1].outcome, DNS_TEMPFAIL);
	}
	dns_resolver_wait(r, deadline_never());
	assert_int_equal(a[0].outcome, DNS_FOUND);
	assert_int_equal(a[1].outcome, DNS_TEMPFAIL);
	assert_int_equal(a[2].outcome, DNS_FOUND);
	dns_answer_finish(&a[0]);
	dns_answer_finish(&a[2]);
	dns_resolver_destroy(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(asking),
		cmocka_unit_test(aliases_are_followed_8_times),
		cmocka_unit_test(ad_bit_counts_only_if_wanted_and_trusted),
		cmocka_unit_test(the_limit_is_for_all_aliases_together),
		cmocka_unit_test(a_server_without_edns_is_remembered),
		cmocka_unit_test(rotation_begins_with_any_server),
		cmocka_unit_test(a_day_without_replies_is_handled),
		cmocka_unit_test(invalid_names_are_not_sent),
		cmocka_unit_test(unanswered_questions_can_be_destroyed),
		cmocka_unit_test(answers_are_taken_one_by_one),
		cmocka_unit_test(an_answer_at_the_deadline_counts),
		cmocka_unit_test(failures_are_told_at_once),
		cmocka_unit_test(questions_can_be_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
