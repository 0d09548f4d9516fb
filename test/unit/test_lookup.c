/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "delivery/lookup.h"
#include "fakeresolver.h"

static int64_t
left(struct deadline d)
{
	return d.at == INT64_MAX ? -1 : d.at - now_ms;
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
