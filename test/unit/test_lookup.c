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
#include "base/str.h"
#include "delivery/lookup.h"

/*
 * A resolver that answers from the table below, or from the case, and records
 * what it was asked.  Its clock is simulated.
 */

#define MAX 128
#define SCHEDULE_MS 60000 /* the resolver's own limit */
#define TTL 77

static int64_t now_ms;

struct deadline
deadline_in(int64_t ms)
{
	return (struct deadline){ now_ms + ms };
}

struct deadline
deadline_never(void)
{
	return (struct deadline){ INT64_MAX };
}

struct deadline
deadline_earlier(struct deadline a, struct deadline b)
{
	return a.at < b.at ? a : b;
}

static int64_t
left(struct deadline d)
{
	return d.at == INT64_MAX ? -1 : d.at - now_ms;
}

static const struct {
	const char *name;
	int type;
	enum dns_outcome outcome;
	bool is_alias;
	/* Addresses, or preference and name of MX hosts. */
	const char *data;
} zone[] = {
	{ "v4", DNS_A, DNS_FOUND, false, "192.0.2.1" },
	{ "v4", DNS_AAAA, DNS_NODATA, false, "" },
	{ "v6", DNS_A, DNS_NODATA, false, "" },
	{ "v6", DNS_AAAA, DNS_FOUND, false, "2001:db8::1" },
	{ "both", DNS_A, DNS_FOUND, false, "192.0.2.2 192.0.2.3" },
	{ "both", DNS_AAAA, DNS_FOUND, false,
	    "2001:db8::2 2001:db8::3 2001:db8::4 2001:db8::5" },
	{ "half", DNS_A, DNS_FOUND, false, "192.0.2.4" },
	{ "half", DNS_AAAA, DNS_TEMPFAIL, false, "" },
	{ "broken", DNS_A, DNS_FOUND, false, "192.0.2.5" },
	{ "broken", DNS_AAAA, DNS_NXDOMAIN, false, "" },
	{ "nodata", DNS_A, DNS_NODATA, false, "" },
	{ "nodata", DNS_AAAA, DNS_NODATA, false, "" },
	{ "dangling", DNS_A, DNS_NODATA, true, "" },
	{ "dangling", DNS_AAAA, DNS_NODATA, true, "" },
	{ "bad", DNS_A, DNS_TEMPFAIL, false, "" },
	{ "bad", DNS_AAAA, DNS_TEMPFAIL, false, "" },
	{ "unsure", DNS_A, DNS_NODATA, false, "" },
	{ "unsure", DNS_AAAA, DNS_TEMPFAIL, false, "" },
	{ "again", DNS_A, DNS_FOUND, false, "192.0.2.6 192.0.2.1 192.0.2.6" },
	{ "again", DNS_AAAA, DNS_NODATA, false, "" },
	{ "mapped", DNS_A, DNS_FOUND, false, "192.0.2.1 192.0.2.7" },
	{ "mapped", DNS_AAAA, DNS_FOUND, false, "::ffff:192.0.2.7" },
	{ "localhost", DNS_A, DNS_FOUND, false, "192.0.2.8" },
	{ "localhost", DNS_AAAA, DNS_NODATA, false, "" },

	{ "v4", DNS_MX, DNS_NODATA, false, "" },
	{ "both", DNS_MX, DNS_NODATA, true, "" },
	{ "both.", DNS_MX, DNS_NODATA, true, "" },
	{ "nodata", DNS_MX, DNS_NODATA, false, "" },
	{ "dangling", DNS_MX, DNS_NODATA, true, "" },
	{ "bad", DNS_MX, DNS_TEMPFAIL, false, "" },
	{ "unsure", DNS_MX, DNS_NODATA, false, "" },
	{ "late", DNS_MX, DNS_NODATA, false, "" },
	{ "mx.one", DNS_MX, DNS_FOUND, false, "10 both" },
	{ "mx.order", DNS_MX, DNS_FOUND, false, "30 v4 10 both 20 v6" },
	{ "mx.null", DNS_MX, DNS_FOUND, false, "0 ." },
	{ "mx.nulls", DNS_MX, DNS_FOUND, false, "0 . 5 ." },
	{ "mx.nullandmore", DNS_MX, DNS_FOUND, false, "0 . 10 v4" },
	{ "mx.twice", DNS_MX, DNS_FOUND, false, "20 v6 10 v4 15 V6 30 v4" },
	{ "mx.half", DNS_MX, DNS_FOUND, false, "10 half" },
	{ "mx.broken", DNS_MX, DNS_FOUND, false, "10 broken" },
	{ "mx.onebad", DNS_MX, DNS_FOUND, false, "10 bad 20 gone 30 v4" },
	{ "mx.bad", DNS_MX, DNS_FOUND, false, "10 bad 20 gone 30 nodata" },
	{ "mx.unsure", DNS_MX, DNS_FOUND, false, "10 unsure 20 gone" },
	{ "mx.gone", DNS_MX, DNS_FOUND, false, "10 gone 20 nodata" },
	{ "mx.dangling", DNS_MX, DNS_FOUND, false, "10 dangling" },
	{ "mx.again", DNS_MX, DNS_FOUND, false, "10 v4 20 again 30 mapped" },
	{ "mx.literal", DNS_MX, DNS_FOUND, false,
	    "30 192.0.2.1 10 192.0.2.9 20 v4 40 2001:db8::1" },
	{ "mx.single", DNS_MX, DNS_FOUND, false, "10 localhost" },
	{ "mx.odd", DNS_MX, DNS_FOUND, false,
	    "1 a\\032b 2 a\\.b 3 a/b 4 ? 5 a\\000 6 *.v4 7 v4" },
	{ "mx.onlyodd", DNS_MX, DNS_FOUND, false, "1 a\\032b" },
};

struct asked {
	char name[DNS_NAME_SIZE + 16]; /* also of one that cannot exist */
	int type;
	struct dns_answer *into; /* NULL: it has its result */
	int64_t due_ms;
};

/*
 * The rows that a case has instead of the zone; others do not exist.  How: as
 * outcome F found, d no data, N no such name, ? failed, '-' never answered;
 * then '+' if it is secure, and the name that its alias leads to.
 */
struct row {
	const char *name;
	int type;
	const char *how;
	const char *data; /* as in the zone, or one text or TLSA record */
	int64_t delay_ms;
};

static struct {
	struct asked question[2 * MAX];
	size_t n, waves;
	bool has_waited; /* so the next question begins a wave */
	bool backwards, knows_security;
	struct deadline until;
	void (*special)(struct dns_answer *, const char *, int);
	const struct row *row; /* ends with one without a name */
} fake;

struct dns_resolver {
	int unused;
};

static struct dns_resolver resolver;

bool
dns_resolver_knows_security(const struct dns_resolver *r)
{
	assert_ptr_equal(r, &resolver);
	return fake.knows_security;
}

static const struct row *
find_row(const struct asked *q)
{
	const struct row *row = fake.row;

	while (row != NULL && row->name != NULL &&
	       (row->type != q->type || strcmp(row->name, q->name) != 0))
		row++;
	return row != NULL && row->name != NULL ? row : NULL;
}

void
dns_resolver_ask(struct dns_resolver *r, const char *name, int type,
    struct dns_answer *into)
{
	struct asked *a = &fake.question[fake.n++];
	const struct row *row;

	assert_ptr_equal(r, &resolver);
	assert_true(fake.n <= 2 * MAX);
	assert_int_equal(str_copy(a->name, sizeof a->name, name), 0);
	a->type = type;
	a->into = into;
	row = find_row(a);
	a->due_ms = now_ms + (row == NULL ? 0 : row->delay_ms);
	if (row != NULL && row->how[0] == '-')
		a->due_ms = now_ms + SCHEDULE_MS;
	if (fake.n == 1 || fake.has_waited)
		fake.waves++;
	fake.has_waited = false;
	*into =
	    (struct dns_answer){ .outcome = DNS_TEMPFAIL, .is_pending = true };
}

void
dns_resolver_forget(struct dns_resolver *r, struct dns_answer *into)
{
	assert_ptr_equal(r, &resolver);
	assert_true(into->is_pending);
	for (size_t i = 0; i < fake.n; i++)
		if (fake.question[i].into == into)
			fake.question[i].into = NULL;
	into->is_pending = false;
}

static void
add_mx(struct dns_answer *a, unsigned preference, const char *name)
{
	struct dns_mx *mx;

	a->outcome = DNS_FOUND;
	a->mx = mem_resize(a->mx, a->nmx + 1, sizeof *a->mx);
	mx = &a->mx[a->nmx++];
	mx->preference = (uint16_t)preference;
	assert_int_equal(str_copy(mx->name, sizeof mx->name, name), 0);
}

static void
add_ip(struct dns_answer *a, struct ip ip)
{
	a->outcome = DNS_FOUND;
	a->ip = mem_resize(a->ip, a->nip + 1, sizeof *a->ip);
	a->ip[a->nip++] = ip;
}

static void
fill(struct dns_answer *a, int type, const char *data)
{
	char copy[256], *word, *rest, *name;
	struct ip ip;

	assert_int_equal(str_copy(copy, sizeof copy, data), 0);
	for (word = strtok_r(copy, " ", &rest); word != NULL;
	     word = strtok_r(NULL, " ", &rest)) {
		if (type == DNS_MX) {
			name = strtok_r(NULL, " ", &rest);
			add_mx(a, (unsigned)atoi(word),
			    strcmp(name, ".") == 0 ? "" : name);
		} else {
			assert_true(ip_parse(word, strlen(word), &ip));
			add_ip(a, ip);
		}
	}
}

static void
fill_from_row(struct dns_answer *a, const struct row *row)
{
	static const char letters[] = "FdN?-";
	const char *how = row->how;

	a->outcome = (enum dns_outcome)(strchr(letters, *how++) - letters);
	a->ttl_s = TTL;
	if (row->how[0] == '-')
		a->outcome = DNS_TEMPFAIL;
	if (*how == '+') {
		a->security = DNS_SECURE;
		how++;
	}
	a->is_alias = *how != '\0';
	assert_int_equal(str_copy(a->canonical, sizeof a->canonical, how), 0);
	if (a->outcome != DNS_FOUND || row->type == DNS_CNAME)
		return;
	if (row->type == DNS_TLSA) {
		assert_true(tlsa_add(&a->tlsa, 3, 1, 1, row->data,
		    strlen(row->data)));
	} else if (row->type == DNS_TXT) {
		a->text = mem_alloc(1, sizeof *a->text);
		buf_puts(a->text, row->data);
		a->ntext = 1;
	} else {
		fill(a, row->type, row->data);
	}
}

static void
answer(struct asked *q)
{
	struct dns_answer *into = q->into;
	const struct row *row = find_row(q);
	size_t i;

	q->into = NULL;
	*into = (struct dns_answer){ .outcome = DNS_NXDOMAIN };
	if (fake.special != NULL) {
		fake.special(into, q->name, q->type);
		return;
	}
	if (row != NULL)
		fill_from_row(into, row);
	for (i = 0; fake.row == NULL && i < sizeof zone / sizeof zone[0]; i++) {
		if (q->type != zone[i].type || strcmp(q->name, zone[i].name))
			continue;
		into->outcome = zone[i].outcome;
		into->is_alias = zone[i].is_alias;
		fill(into, q->type, zone[i].data);
	}
}

static size_t
count_pending(void)
{
	size_t n = 0;

	for (size_t i = 0; i < fake.n; i++)
		n += fake.question[i].into != NULL;
	return n;
}

/* Answers all that are due at the earliest time. */
bool
dns_resolver_wait_some(struct dns_resolver *r, struct deadline until)
{
	int64_t due_ms = INT64_MAX;

	assert_ptr_equal(r, &resolver);
	fake.until = until;
	for (size_t i = 0; i < fake.n; i++)
		if (fake.question[i].into != NULL &&
		    fake.question[i].due_ms < due_ms)
			due_ms = fake.question[i].due_ms;
	if (due_ms == INT64_MAX)
		return false;
	fake.has_waited = true;
	if (due_ms >= until.at) {
		if (until.at > now_ms)
			now_ms = until.at;
		return false;
	}
	if (due_ms > now_ms)
		now_ms = due_ms;
	for (size_t i = 0; i < fake.n; i++) {
		struct asked *q =
		    &fake.question[fake.backwards ? fake.n - 1 - i : i];

		if (q->into != NULL && q->due_ms <= now_ms)
			answer(q);
	}
	return true;
}

static void
describe(char *text, size_t size, const struct mx_list *list)
{
	char ip[IP_TEXT_SIZE];
	size_t n = 0, i, k;

	text[0] = '\0';
	for (i = 0; i < list->nhost; i++) {
		const struct mx_host *h = &list->host[i];

		n += (size_t)snprintf(text + n, size - n, "%s%u %s%s",
		    i > 0 ? "; " : "", h->preference, h->name,
		    h->is_literal ? "!" : "");
		assert_true(n < size);
		assert_true(h->outcome == DNS_FOUND || h->nip == 0);
		for (k = 0; k < h->nip; k++) {
			n += (size_t)snprintf(text + n, size - n, " %s",
			    ip_format(&h->ip[k], ip));
			assert_true(n < size);
		}
	}
}

#define ANY_HOST "Sorry, I couldn't find any host by that name."
#define HOST_NAMED(h) "Sorry, I couldn't find any host named " h "."
#define NO_ADDRESS "Sorry, I couldn't find a mail exchanger or IP address."

static const struct {
	const char *host;
	bool is_relay;
	const char *status; /* NULL: found, and text is the list */
	const char *text;
	size_t questions;
} cases[] = {
	{ "mx.one", false, NULL,
	    "10 both 2001:db8::2 192.0.2.2 2001:db8::3 192.0.2.3 "
	    "2001:db8::4 2001:db8::5",
	    3 },
	{ "mx.order", false, NULL,
	    "10 both 2001:db8::2 192.0.2.2 2001:db8::3 192.0.2.3 "
	    "2001:db8::4 2001:db8::5; 20 v6 2001:db8::1; 30 v4 192.0.2.1",
	    7 },
	{ "v4", false, NULL, "0 v4 192.0.2.1", 3 },
	{ "both.", false, NULL,
	    "0 both 2001:db8::2 192.0.2.2 2001:db8::3 192.0.2.3 "
	    "2001:db8::4 2001:db8::5",
	    3 },
	{ "mx.null", false, "5.1.10", "Sorry, mx.null does not accept mail.",
	    1 },
	{ "mx.nulls", false, "5.1.10", "Sorry, mx.nulls does not accept mail.",
	    1 },
	{ "mx.nullandmore", false, NULL, "10 v4 192.0.2.1", 3 },
	{ "mx.twice", false, NULL, "10 v4 192.0.2.1; 15 V6", 5 },
	{ "mx.half", false, NULL, "10 half 192.0.2.4", 3 },
	{ "mx.broken", false, NULL, "10 broken 192.0.2.5", 3 },
	{ "mx.onebad", false, NULL, "10 bad; 20 gone; 30 v4 192.0.2.1", 7 },
	{ "mx.bad", false, "4.1.2", ANY_HOST, 7 },
	{ "mx.unsure", false, "4.1.2", ANY_HOST, 5 },
	{ "mx.gone", false, "5.4.4", NO_ADDRESS, 5 },
	{ "mx.dangling", false, "5.4.4", NO_ADDRESS, 3 },
	{ "mx.again", false, NULL,
	    "10 v4 192.0.2.1; 20 again 192.0.2.6 192.0.2.1; "
	    "30 mapped 192.0.2.7 192.0.2.1",
	    7 },
	{ "mx.literal", false, NULL,
	    "10 192.0.2.9! 192.0.2.9; 20 v4 192.0.2.1; 30 192.0.2.1! "
	    "192.0.2.1; "
	    "40 2001:db8::1! 2001:db8::1",
	    3 },
	{ "mx.single", false, NULL, "10 localhost 192.0.2.8", 3 },
	{ "mx.odd", false, NULL,
	    "1 a\\032b; 2 a\\.b; 3 a/b; 4 ?; 5 a\\000; 6 *.v4; "
	    "7 v4 192.0.2.1",
	    7 },
	/* A name that was not looked up is not denied. */
	{ "mx.onlyodd", false, "4.1.2", ANY_HOST, 1 },
	{ "gone", false, "5.1.2", HOST_NAMED("gone"), 3 },
	{ "late", false, "5.1.2", HOST_NAMED("late"), 3 },
	{ "nodata", false, "5.1.2", HOST_NAMED("nodata"), 3 },
	{ "dangling", false, "5.4.4", NO_ADDRESS, 3 },
	{ "bad", false, "4.1.2", ANY_HOST, 1 },
	{ "unsure", false, "4.1.2", ANY_HOST, 3 },
	{ "a b!~\xc3\xa9\t\x7f.x", false, "5.1.2", HOST_NAMED("a?b!~????.x"),
	    3 },
	{ "[192.0.2.1]x", false, "5.1.2", HOST_NAMED("[192.0.2.1]x"), 3 },

	{ "", false, "5.1.2", HOST_NAMED(""), 0 },
	{ ".", false, "5.1.2", HOST_NAMED("."), 0 },
	{ "a..b", false, "5.1.2", HOST_NAMED("a..b"), 0 },
	{ "v4..", true, "4.1.2", ANY_HOST, 0 },
	{ "192.0.2.1", false, NULL, "0 192.0.2.1! 192.0.2.1", 0 },
	{ "[192.0.2.1]", false, NULL, "0 192.0.2.1! 192.0.2.1", 0 },
	{ "[IPv6:2001:db8::1]", false, NULL, "0 2001:db8::1! 2001:db8::1", 0 },
	{ "[2001:DB8:0::1]", false, NULL, "0 2001:db8::1! 2001:db8::1", 0 },

	/* A relay is named in a control file: no mail bounces because of it. */
	{ "v4", true, NULL, "0 v4 192.0.2.1", 2 },
	{ "v4.", true, NULL, "0 v4 192.0.2.1", 2 },
	{ "mx.one", true, "4.1.2", ANY_HOST, 2 },
	{ "nodata", true, "4.1.2", ANY_HOST, 2 },
	{ "dangling", true, "4.1.2", ANY_HOST, 2 },
	{ "bad", true, "4.1.2", ANY_HOST, 2 },
	{ "[192.0.2.1]", true, NULL, "0 192.0.2.1! 192.0.2.1", 0 },
	{ "", true, "4.1.2", ANY_HOST, 0 },
};

static int
look_up(struct mx_list *list, const char *host, bool is_relay,
    unsigned long timeout_s, struct dsn *why)
{
	struct lookup l = { .host = host,
		.is_relay = is_relay,
		.relay_file = "control/smtproutes",
		.resolver = &resolver,
		.timeout_s = timeout_s };
	int result = lookup_hosts(list, &l, why);

	assert_int_equal(count_pending(), 0);
	return result;
}

static void
check_case(size_t i)
{
	char text[1024];
	struct mx_list list;
	struct dsn why = { 0 };
	int result;

	fake.n = fake.waves = 0;
	fake.has_waited = false;
	result = look_up(&list, cases[i].host, cases[i].is_relay, 0, &why);
	if (result == 0)
		describe(text, sizeof text, &list);
	else
		(void)str_copy(text, sizeof text, why.text);
	if ((result == 0) != (cases[i].status == NULL) ||
	    strcmp(text, cases[i].text) != 0 ||
	    (result != 0 && strcmp(why.status, cases[i].status) != 0))
		fail_msg("%s: %s %s", cases[i].host, why.status, text);
	if (fake.n != cases[i].questions || fake.waves > 2)
		fail_msg("%s: %zu questions", cases[i].host, fake.n);
	if (result == -1 && (list.host != NULL || list.nhost != 0))
		fail_msg("%s: a list all the same", cases[i].host);
	mx_list_finish(&list);
	mx_list_finish(&list);
}

static void
lookups(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++)
		check_case(i);
}

static void
order_of_answers_does_not_matter(void **state)
{
	(void)state;
	fake.backwards = true;
	lookups(state);
	fake.backwards = false;
}

static void
no_resolver_is_temporary(void **state)
{
	struct lookup l = { .host = "v4" };
	struct mx_list list;
	struct dsn why = { 0 };

	(void)state;
	assert_int_equal(lookup_hosts(&list, &l, &why), -1);
	assert_string_equal(why.status, "4.1.2");
	assert_string_equal(why.text, ANY_HOST);
	l.host = "[192.0.2.1]";
	assert_int_equal(lookup_hosts(&list, &l, &why), 0);
	mx_list_finish(&list);
}

static void
seconds_bound_each_wave(void **state)
{
	static const unsigned long seconds[] = { 1, 60, 4294967295, -1UL };
	struct mx_list list;
	struct dsn why = { 0 };
	size_t i;

	(void)state;
	fake.n = 0;
	assert_int_equal(look_up(&list, "v4", false, 0, &why), 0);
	assert_int_equal(left(fake.until), -1);
	mx_list_finish(&list);
	for (i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
		assert_int_equal(look_up(&list, "v4", false, seconds[i], &why),
		    0);
		assert_true(left(fake.until) > 0);
		if (seconds[i] <= 60)
			assert_int_equal(left(fake.until), seconds[i] * 1000);
		mx_list_finish(&list);
	}
}

static void
equal_hosts(struct dns_answer *a, const char *name, int type)
{
	int i;

	if (type == DNS_MX) {
		fill(a, type, "10 a 5 first 10 b 10 c 10 d 50 last");
		return;
	}
	for (i = 0; name[0] != "abcdfl"[i]; i++)
		;
	if (type == DNS_A)
		add_ip(a, ip_from_v4((unsigned char[4]){
			      10, 0, 0, (unsigned char)i }));
}

static void
equal_preferences_are_shuffled(void **state)
{
	/* How often host h was at place p, in 4000: expected is 1000. */
	unsigned count[4][4] = { { 0 } };
	struct mx_list list;
	struct dsn why = { 0 };
	unsigned i, p;

	(void)state;
	fake.special = equal_hosts;
	for (i = 0; i < 4000; i++) {
		fake.n = 0;
		assert_int_equal(look_up(&list, "x", false, 0, &why), 0);
		assert_int_equal(list.nhost, 6);
		assert_string_equal(list.host[0].name, "first");
		assert_string_equal(list.host[5].name, "last");
		for (p = 0; p < 4; p++) {
			assert_int_equal(list.host[p + 1].preference, 10);
			count[list.host[p + 1].name[0] - 'a'][p]++;
		}
		mx_list_finish(&list);
	}
	/* 200 is 7 standard deviations. */
	for (i = 0; i < 4; i++)
		for (p = 0; p < 4; p++)
			assert_in_range(count[i][p], 800, 1200);
	fake.special = NULL;
}

static void
abundance(struct dns_answer *a, const char *name, int type)
{
	unsigned i, n = (unsigned)atoi(name + 1);
	char host[16];

	for (i = DNS_MX_MAX; type == DNS_MX && i > 0; i--) {
		(void)snprintf(host, sizeof host, "h%u", i / 2);
		add_mx(a, i, host);
	}
	for (i = 0; type != DNS_MX && i < DNS_IP_MAX; i++)
		add_ip(a, ip_from_v4((unsigned char[4]){ (unsigned char)type,
			      (unsigned char)n, 0, (unsigned char)i }));
}

static void
many_records_are_bounded(void **state)
{
	struct mx_list list;
	struct dsn why = { 0 };
	size_t i;

	(void)state;
	fake.special = abundance;
	fake.n = 0;
	assert_int_equal(look_up(&list, "x", false, 0, &why), 0);
	assert_int_equal(list.nhost, MX_HOST_MAX);
	assert_int_equal(fake.n, 1 + 2 * MX_HOST_MAX);
	for (i = 0; i < list.nhost; i++) {
		assert_int_equal(list.host[i].preference, i == 0 ? 1 : 2 * i);
		assert_int_equal(list.host[i].nip, MX_HOST_IP_MAX);
		/* Each family has its share. */
		assert_int_equal(list.host[i].ip[0].byte[12], DNS_AAAA);
		assert_int_equal(list.host[i].ip[1].byte[12], DNS_A);
	}
	mx_list_finish(&list);
	fake.special = NULL;
}

/* More hosts than are looked up, and none that was has an address. */
static void
many_without_address(struct dns_answer *a, const char *name, int type)
{
	char host[16];

	(void)name;
	for (unsigned i = 0; type == DNS_MX && i <= MX_HOST_MAX; i++) {
		(void)snprintf(host, sizeof host, "h%u", i);
		add_mx(a, i, host);
	}
}

static void
hosts_that_were_not_looked_up_are_no_bounce(void **state)
{
	struct mx_list list;
	struct dsn why = { 0 };

	(void)state;
	fake.special = many_without_address;
	fake.n = 0;
	assert_int_equal(look_up(&list, "x", false, 0, &why), -1);
	fake.special = NULL;
	assert_int_equal(fake.n, 1 + 2 * MX_HOST_MAX);
	assert_string_equal(why.status, "4.1.2");
	assert_string_equal(why.text, ANY_HOST);
	assert_string_equal(why.detail,
	    "the best 100 MX hosts have no address");
	assert_null(list.host);
}

static void
a_long_host_keeps_the_sentence_whole(void **state)
{
	char host[5000];
	struct mx_list list;
	struct dsn why = { 0 };

	(void)state;
	memset(host, 'x', sizeof host - 1);
	host[sizeof host - 1] = '\0';
	assert_int_equal(look_up(&list, host, false, 0, &why), -1);
	assert_string_equal(why.status, "5.1.2");
	assert_int_equal(why.text[strlen(why.text) - 1], '.');
	memset(host, '1', sizeof host - 1);
	memcpy(host + sizeof host - 7, ".1.1.1", 6);
	(void)look_up(&list, host, false, 0,
	    &why); /* any result, but no overrun */
	mx_list_finish(&list);
}

/* Everything about TLS: what a domain may want, and a zone. */

enum {
	TLSA = 1,
	STS = 2,
	TLSRPT = 4,
	STS_WAITS = 8,
	UNTRUSTED = 16, /* the resolver */
	RELAY = 32
};

#define HOST(name, how) \
	{ name, DNS_A, how, "192.0.2.1", 5 }, \
	{ \
		name, DNS_AAAA, "d+", "", 5 \
	}
#define MX(domain, how, data) \
	{ \
		domain, DNS_MX, how, data, 5 \
	}
#define RECORD(name, how, delay) \
	{ \
		"_25._tcp." name, DNS_TLSA, how, name, delay \
	}

static const struct row tls_rows[] = {
	MX("plain", "F", "10 mx"),
	MX("secure", "F+", "10 mx"),
	MX("alias", "F+target", "10 mx"),
	MX("two", "F+", "10 mx 20 slow 30 plainhost"),
	MX("literal", "F+", "5 192.0.2.9 10 mx 20 a\\032b"),
	HOST("mx", "F+"),
	RECORD("mx", "F+", 9),
	{ "_2525._tcp.mx", DNS_TLSA, "F+", "other port", 5 },

	MX("self", "d+", ""),
	HOST("self", "F+"),
	RECORD("self", "F+", 5),
	MX("selfnx", "N+", ""),
	HOST("selfnx", "F+"),
	RECORD("selfnx", "d+", 5),
	MX("selfplain", "d", ""),
	HOST("selfplain", "F+"),

	/* Secure MX records, and a host that never answers the question. */
	MX("plainhost", "F+", "10 plainhost"),
	{ "plainhost", DNS_A, "F", "192.0.2.2", 5 },
	{ "plainhost", DNS_AAAA, "d", "", 7 },
	RECORD("plainhost", "-", 0),
	MX("half", "F+", "10 half"),
	{ "half", DNS_A, "F+", "192.0.2.2", 5 },
	{ "half", DNS_AAAA, "?", "", 7 },
	RECORD("half", "F+", 900),
	MX("late", "F+", "10 late"),
	{ "late", DNS_A, "-", "", 0 },
	{ "late", DNS_AAAA, "F+", "2001:db8::1", 5 },
	RECORD("late", "F+", 5),
	MX("lost", "-", ""),
	MX("gone", "F+", "10 gone"),
	{ "gone", DNS_A, "N+", "", 5 },
	{ "gone", DNS_AAAA, "N+", "", 5 },
	RECORD("gone", "-", 0),
	MX("slow", "F+", "10 slow"),
	HOST("slow", "F+"),
	RECORD("slow", "-", 0),
	MX("bogus", "F+", "10 bogus"),
	HOST("bogus", "F+"),
	RECORD("bogus", "?", 5),
	MX("forged", "F+", "10 forged"),
	HOST("forged", "F+"),
	RECORD("forged", "F", 5),

	/* Aliases. */
	MX("c", "F+", "10 c 20 mx"),
	{ "c", DNS_A, "F+t", "192.0.2.3", 5 },
	{ "c", DNS_AAAA, "d+t", "", 5 },
	RECORD("c", "-", 0),
	RECORD("t", "F+", 5),
	MX("d", "F+", "10 d"),
	{ "d", DNS_A, "F+u", "192.0.2.3", 5 },
	{ "d", DNS_AAAA, "d+u", "", 5 },
	RECORD("d", "F+", 5),
	RECORD("u", "N+", 5),
	MX("e", "F+", "10 e"),
	{ "e", DNS_A, "Ft", "192.0.2.3", 5 },
	{ "e", DNS_AAAA, "dt", "", 5 },
	{ "e", DNS_CNAME, "F+t", "", 5 },
	RECORD("e", "F+", 300),
	MX("f", "F+", "10 f"),
	{ "f", DNS_A, "Ft", "192.0.2.3", 5 },
	{ "f", DNS_AAAA, "dt", "", 5 },
	{ "f", DNS_CNAME, "Ft", "", 5 },
	RECORD("f", "-", 0),
	MX("g", "F+", "10 g"),
	{ "g", DNS_A, "F+t", "192.0.2.3", 5 },
	{ "g", DNS_AAAA, "-", "", 0 },
	RECORD("g", "-", 0),

	/* TXT records. */
	{ "_mta-sts.plain", DNS_TXT, "F", "sts", 3 },
	{ "_smtp._tls.plain", DNS_TXT, "F", "rpt", 3 },
	{ "_mta-sts.secure", DNS_TXT, "F", "sts", 12 },
	{ "_smtp._tls.secure", DNS_TXT, "-", "", 0 },
	{ "_mta-sts.mx", DNS_TXT, "F+", "relay", 3 },
	{ "_smtp._tls.mx", DNS_TXT, "d", "", 3 },
	{ "_mta-sts.half", DNS_TXT, "F", "late", 1990 },
	{ "_smtp._tls.half", DNS_TXT, "F", "late", 1000 },
	{ "_mta-sts.slow", DNS_TXT, "-", "", 0 },
	{ "_smtp._tls.slow", DNS_TXT, "F", "rpt", 30 },
	{ "_mta-sts.self", DNS_TXT, "?", "", 1 },
	{ "_smtp._tls.self", DNS_TXT, "?", "", 1 },
	{ "_mta-sts.gone", DNS_TXT, "F", "sts", 3 },
	{ "_smtp._tls.gone", DNS_TXT, "-", "", 0 },
	{ 0 },
};

static void
describe_tlsa(char *text, size_t size, const struct mx_list *list)
{
	static const char *const outcomes[] = { "-", "none", "found",
		"failed" };
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; i < list->nhost; i++) {
		const struct dns_tlsa *t = &list->host[i].tlsa;

		n += (size_t)snprintf(text + n, size - n, "%s%s",
		    i > 0 ? "; " : "", outcomes[t->outcome]);
		if (t->base[0] != '\0')
			n += (size_t)snprintf(text + n, size - n, " %s",
			    t->base);
		assert_true(n < size);
		assert_int_equal(t->set.n, t->outcome == DNS_TLSA_FOUND);
		if (t->outcome == DNS_TLSA_FOUND)
			assert_int_equal(t->ttl_s, TTL);
	}
}

static const struct {
	const char *host;
	unsigned wants;
	unsigned long timeout_s;
	uint16_t port;
	const char *tlsa; /* of each host; NULL: no host is found */
	const char *sts, *tlsrpt;
	size_t questions, waves;
	int64_t ms;
} tls_cases[] = {
#define NO_TEXT "?", "?"
	{ "secure", TLSA, 0, 25, "found mx", NO_TEXT, 4, 2, 14 },
	{ "alias", TLSA, 0, 25, "found mx", NO_TEXT, 4, 2, 14 },
	{ "secure", TLSA, 0, 2525, "found mx", NO_TEXT, 4, 2, 10 },
	{ "secure", 0, 0, 25, "-", NO_TEXT, 3, 2, 10 },
	{ "secure", TLSA | UNTRUSTED, 0, 25, "-", NO_TEXT, 3, 2, 10 },
	{ "plain", TLSA, 0, 25, "-", NO_TEXT, 3, 2, 10 },
	/* A relay is as good as a secure MX record. */
	{ "mx", TLSA | RELAY, 0, 25, "found mx", NO_TEXT, 3, 1, 9 },
	{ "mx.", TLSA | RELAY, 0, 25, "found mx", NO_TEXT, 3, 1, 9 },
	{ "mx", TLSA | RELAY | UNTRUSTED, 0, 25, "-", NO_TEXT, 2, 1, 5 },
	{ "mx", RELAY, 0, 25, "-", NO_TEXT, 2, 1, 5 },
	/* So is a secure answer that there is none. */
	{ "self", TLSA, 0, 25, "found self", NO_TEXT, 4, 2, 10 },
	{ "selfnx", TLSA, 0, 25, "none", NO_TEXT, 4, 2, 10 },
	{ "selfplain", TLSA, 0, 25, "-", NO_TEXT, 3, 2, 10 },

	{ "plainhost", TLSA, 0, 25, "-", NO_TEXT, 4, 2, 12 },
	{ "half", TLSA, 0, 25, "found half", NO_TEXT, 4, 2, 905 },
	{ "gone", TLSA, 0, 25, NULL, NO_TEXT, 4, 2, 10 },
	{ "slow", TLSA, 0, 25, "failed slow", NO_TEXT, 4, 2, 60005 },
	{ "slow", TLSA, 7, 25, "failed slow", NO_TEXT, 4, 2, 7005 },
	/* An address family that is not known is not one that is insecure. */
	{ "late", TLSA, 3, 25, "found late", NO_TEXT, 4, 2, 3005 },
	{ "late", 0, 3, 25, "-", NO_TEXT, 3, 2, 3005 },
	{ "lost", TLSA | STS | STS_WAITS, 3, 25, NULL, "none", "?", 2, 1,
	    3000 },
	{ "bogus", TLSA, 0, 25, "failed bogus", NO_TEXT, 4, 2, 10 },
	{ "forged", TLSA, 0, 25, "none", NO_TEXT, 4, 2, 10 },
	{ "two", TLSA, 7, 25, "found mx; failed slow; -", NO_TEXT, 10, 2,
	    7005 },
	{ "literal", TLSA, 0, 25, "-; found mx; -", NO_TEXT, 4, 2, 14 },
	{ "[192.0.2.1]", TLSA | STS | TLSRPT | STS_WAITS, 0, 25, "-", NO_TEXT,
	    0, 0, 0 },
	{ "[192.0.2.1]", TLSA | STS | TLSRPT | RELAY, 0, 25, "-", NO_TEXT, 0, 0,
	    0 },
	{ "a..b", TLSA | STS | TLSRPT, 0, 25, NULL, NO_TEXT, 0, 0, 0 },

	{ "c", TLSA, 0, 25, "found t; found mx", NO_TEXT, 8, 3, 19 },
	{ "d", TLSA, 0, 25, "found d", NO_TEXT, 5, 3, 15 },
	{ "e", TLSA, 0, 25, "found e", NO_TEXT, 5, 3, 305 },
	{ "f", TLSA, 0, 25, "-", NO_TEXT, 5, 3, 15 },
	{ "c", 0, 0, 25, "-; -", NO_TEXT, 5, 2, 10 },
	{ "c", TLSA | RELAY, 0, 25, "found t", NO_TEXT, 4, 2, 10 },
	/* An address that does not come does not come later either. */
	{ "g", TLSA, 2, 25, "found t", NO_TEXT, 5, 3, 2010 },

	/* TXT records come along. */
	{ "plain", STS | TLSRPT, 0, 25, "-", "sts", "rpt", 5, 2, 10 },
	{ "plain", STS, 0, 25, "-", "sts", "?", 4, 2, 10 },
	{ "plain", TLSRPT, 0, 25, "-", "?", "rpt", 4, 2, 10 },
	{ "secure", STS | TLSRPT, 0, 25, "-", "?", "?", 5, 2, 10 },
	{ "secure", TLSA | STS | TLSRPT, 0, 25, "found mx", "sts", "?", 6, 2,
	    14 },
	{ "secure", STS | TLSRPT | STS_WAITS, 0, 25, "-", "sts", "?", 5, 2,
	    12 },
	{ "secure", TLSRPT | STS_WAITS, 0, 25, "-", "?", "?", 4, 2, 10 },
	{ "half", STS | TLSRPT | STS_WAITS, 0, 25, "-", "late", "late", 5, 2,
	    1990 },
	{ "half", STS | TLSRPT, 0, 25, "-", "?", "?", 5, 2, 12 },
	{ "slow", STS | TLSRPT | STS_WAITS, 0, 25, "-", "?", "rpt", 5, 2,
	    2000 },
	{ "slow", STS | STS_WAITS, 1, 25, "-", "?", "?", 4, 2, 1000 },
	/* The address wave took longer than 2 s. */
	{ "slow", TLSA | STS | STS_WAITS, 7, 25, "failed slow", "?", "?", 5, 2,
	    7005 },
	{ "self", STS | TLSRPT | STS_WAITS, 0, 25, "-", "failed", "failed", 5,
	    2, 10 },
	{ "mx", STS | TLSRPT | RELAY, 0, 25, "-", "relay", "none", 4, 1, 5 },
	/* Of a domain without a host; nothing is waited for. */
	{ "gone", STS | TLSRPT | STS_WAITS, 0, 25, NULL, "sts", "?", 5, 2, 10 },
	{ "nowhere", STS | TLSRPT | STS_WAITS, 0, 25, NULL, "none", "none", 5,
	    2, 0 },
};

/* "?" is not there, for whatever reason. */
static const char *
describe_text(const struct dns_answer *a)
{
	assert_int_equal(a->ntext, a->outcome == DNS_FOUND);
	assert_false(a->is_pending);
	if (a->outcome == DNS_FOUND)
		return buf_text(a->text);
	if (a->outcome == DNS_TEMPFAIL)
		return a->ttl_s == TTL ? "failed" : "?";
	return "none";
}

static void
check_tls_case(size_t i)
{
	char tlsa[200] = "";
	const char *want = tls_cases[i].tlsa;
	unsigned wants = tls_cases[i].wants;
	struct lookup_texts texts;
	struct lookup l = { .host = tls_cases[i].host,
		.is_relay = wants & RELAY,
		.relay_file = "control/smtproutes",
		.resolver = &resolver,
		.timeout_s = tls_cases[i].timeout_s,
		.wants_tlsa = wants & TLSA,
		.port = tls_cases[i].port,
		.wants_sts = wants & STS,
		.wants_tlsrpt = wants & TLSRPT,
		.sts_must_wait = wants & STS_WAITS,
		.texts = wants & (STS | TLSRPT) ? &texts : NULL };
	struct mx_list list;
	struct dsn why = { 0 };
	int result;

	fake.n = fake.waves = 0;
	fake.has_waited = false;
	fake.knows_security = !(wants & UNTRUSTED);
	now_ms = 0;
	result = lookup_hosts(&list, &l, &why);
	assert_int_equal(count_pending(), 0);
	describe_tlsa(tlsa, sizeof tlsa, &list);
	if ((result == 0) != (want != NULL) ||
	    (want != NULL && strcmp(tlsa, want) != 0) ||
	    fake.n != tls_cases[i].questions ||
	    fake.waves != tls_cases[i].waves || now_ms != tls_cases[i].ms)
		fail_msg("%s %u: %s, %zu questions, %zu waves, %d ms",
		    tls_cases[i].host, wants, tlsa, fake.n, fake.waves,
		    (int)now_ms);
	mx_list_finish(&list);
	if (l.texts == NULL)
		return;
	if (strcmp(describe_text(&texts.sts), tls_cases[i].sts) != 0 ||
	    strcmp(describe_text(&texts.tlsrpt), tls_cases[i].tlsrpt) != 0)
		fail_msg("%s %u: %s, %s", tls_cases[i].host, wants,
		    describe_text(&texts.sts), describe_text(&texts.tlsrpt));
	lookup_texts_finish(&texts);
}

static void
records_about_tls(void **state)
{
	(void)state;
	fake.row = tls_rows;
	for (size_t i = 0; i < sizeof tls_cases / sizeof *tls_cases; i++)
		check_tls_case(i);
	fake.row = NULL;
	fake.knows_security = false;
}

/* For the reference identifiers of DANE-TA. */
static void
the_expanded_next_hop_is_known(void **state)
{
	struct lookup l = { .host = "alias", .resolver = &resolver };
	struct mx_list list;
	struct dsn why = { 0 };

	(void)state;
	fake.row = tls_rows;
	fake.n = 0;
	assert_int_equal(lookup_hosts(&list, &l, &why), 0);
	assert_int_equal(list.outcome, DNS_FOUND);
	assert_int_equal(list.security, DNS_SECURE);
	assert_string_equal(list.canonical, "target");
	mx_list_finish(&list);
	fake.row = NULL;
}

/* Their names are longer than that of the domain. */
static void
long_names_are_asked_for(void **state)
{
	char host[DNS_NAME_SIZE];
	struct lookup_texts texts;
	struct lookup l = { .host = host,
		.resolver = &resolver,
		.wants_sts = true,
		.wants_tlsrpt = true,
		.texts = &texts };
	struct mx_list list;
	struct dsn why = { 0 };

	(void)state;
	for (size_t i = 0; i < 254; i++)
		host[i] = i % 2 ? '.' : 'x';
	host[254] = '\0';
	fake.n = 0;
	fake.row = tls_rows;
	assert_int_equal(lookup_hosts(&list, &l, &why), -1);
	fake.row = NULL;
	assert_int_equal(strlen(fake.question[0].name), 9 + 254);
	assert_int_equal(strlen(fake.question[1].name), 11 + 254);
	lookup_texts_finish(&texts);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lookups),
		cmocka_unit_test(order_of_answers_does_not_matter),
		cmocka_unit_test(no_resolver_is_temporary),
		cmocka_unit_test(seconds_bound_each_wave),
		cmocka_unit_test(equal_preferences_are_shuffled),
		cmocka_unit_test(many_records_are_bounded),
		cmocka_unit_test(hosts_that_were_not_looked_up_are_no_bounce),
		cmocka_unit_test(a_long_host_keeps_the_sentence_whole),
		cmocka_unit_test(records_about_tls),
		cmocka_unit_test(the_expanded_next_hop_is_known),
		cmocka_unit_test(long_names_are_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
