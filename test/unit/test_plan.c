/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "delivery/plan.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define HOSTS_MAX 4
#define IPS_MAX 8
#define NOW 1700000000

/*
 * Written as "10 a 192.0.2.1 2001:db8::1; 20 b -" and so on: preference, name,
 * addresses in the order of the DNS; '-' is a host without an address, '?' one
 * that could not be looked up.
 */
struct zone {
	struct mx_host host[HOSTS_MAX];
	struct ip ip[HOSTS_MAX][IPS_MAX];
	struct mx_list list;
};

/* One for each host of a zone, all alike. */
static struct tls_situation situations[HOSTS_MAX];

static const struct tls_situation *
situation(unsigned long strictness)
{
	for (size_t i = 0; i < HOSTS_MAX; i++)
		situations[i] = (struct tls_situation){
			.has_anchors = true,
			.strictness = strictness,
			.name = "host",
		};
	return situations;
}

static struct ip
ip(const char *text)
{
	struct ip ip;

	if (!ip_parse(text, strlen(text), &ip))
		fail_msg("%s is no address", text);
	return ip;
}

static void
read_host(struct zone *z, char *text)
{
	struct mx_host *host = &z->host[z->list.nhost];
	struct ip *list = z->ip[z->list.nhost++];
	char *at;
	char *word = strtok_r(text, " ", &at);

	host->preference = (unsigned)atoi(word);
	strcpy(host->name, strtok_r(NULL, " ", &at));
	host->ip = list;
	while ((word = strtok_r(NULL, " ", &at))) {
		if (*word == '?')
			host->outcome = DNS_TEMPFAIL;
		else if (*word == '-')
			host->outcome = DNS_NODATA;
		else
			list[host->nip++] = ip(word);
	}
}

static void
read_zone(struct zone *z, const char *text)
{
	char copy[400], *at, *host;

	memset(z, 0, sizeof *z);
	z->list.host = z->host;
	strcpy(copy, text);
	for (host = strtok_r(copy, ";", &at); host;
	     host = strtok_r(NULL, ";", &at))
		read_host(z, host);
}

/* Our addresses: 192.0.2.99 is listed, 10.0.0.1 on an interface. */
static struct ipme
own_addresses(void)
{
	static struct ip_net listed;
	static struct ip interface;

	listed.ip = ip("192.0.2.99");
	listed.bits = 128;
	interface = ip("10.0.0.1");
	return (struct ipme){ .listed = &listed,
		.nlisted = 1,
		.interface = &interface,
		.ninterface = 1 };
}

/* Of a delivery that knows nothing of the past. */
static struct plan_config
config_of(unsigned long strictness)
{
	static const struct memory nothing;
	static struct ipme me;

	me = own_addresses();
	return (struct plan_config){ .ipme = &me,
		.memory = &nothing,
		.situation = situation(strictness) };
}

static const char *
word_of(enum plan_use use)
{
	static const char *const words[] = {
		[PLAN_USED] = "",
		[PLAN_OWN] = "own",
		[PLAN_NOT_BETTER] = "worse",
		[PLAN_FAMILY] = "family",
		[PLAN_POLICY] = "policy",
		[PLAN_SOURCE] = "source",
		[PLAN_DUPLICATE] = "again",
		[PLAN_TOO_MANY] = "too-many",
		[PLAN_TIMED_OUT] = "timed-out",
	};

	return words[use];
}

/* "a=192.0.2.1 b=10.0.0.1(own)": host, address, why it is not used. */
static const char *
show(const struct plan *p)
{
	static struct buf text;
	char address[IP_TEXT_SIZE];

	buf_cut(&text, 0);
	for (size_t i = 0; i < p->naddress; i++) {
		const struct plan_address *a = &p->address[i];

		buf_printf(&text, "%s%s=%s", i > 0 ? " " : "",
		    p->host[a->host].name, ip_format(&a->ip, address));
		if (a->use != PLAN_USED)
			buf_printf(&text, "(%s)", word_of(a->use));
	}
	return buf_text(&text);
}

struct plan_case {
	const char *zone;
	const char *plan;
	const char *status; /* NULL: there is an address */
	enum ipfamily family;
	unsigned long strictness;
	bool is_relay;
	const char *broken; /* what cannot be connected from: "4", "6", "46" */
};

static const struct plan_case plans[] = {
	{ "0 a 192.0.2.1", "a=192.0.2.1", .status = NULL },
	{ "5 a 2001:db8::1 192.0.2.1 2001:db8::2; 9 b 192.0.2.2",
	    "a=2001:db8::1 a=192.0.2.1 a=2001:db8::2 b=192.0.2.2",
	    .status = NULL },

	/* Our own addresses. */
	{ "5 a 192.0.2.99", "a=192.0.2.99(own)", .status = "5.4.6" },
	{ "5 a 10.0.0.1", "a=10.0.0.1(own)", .status = "5.4.6" },
	{ "5 a 127.0.0.2", "a=127.0.0.2(own)", .status = "5.4.6" },
	{ "5 a 192.0.2.1 10.0.0.1", "a=192.0.2.1(worse) a=10.0.0.1(own)",
	    .status = "5.4.6" },
	{ "5 a 192.0.2.1; 6 b 10.0.0.1 192.0.2.2; 7 c 192.0.2.3",
	    "a=192.0.2.1 b=10.0.0.1(own) b=192.0.2.2(worse) "
	    "c=192.0.2.3(worse)",
	    .status = NULL },
	{ "5 a 192.0.2.1; 5 b 10.0.0.1", "a=192.0.2.1(worse) b=10.0.0.1(own)",
	    .status = "5.4.6" },
	{ "5 a 192.0.2.1 ::1", "a=::1(own) a=192.0.2.1", .status = NULL },
	{ "5 a ::", "a=::(own)", .status = "5.4.6" },
	{ "5 a :: ::1", "a=::(own) a=::1(own)", .status = "5.4.6" },
	{ "5 a 192.0.2.1 127.0.0.1", "a=192.0.2.1(worse) a=127.0.0.1(own)",
	    .status = "5.4.6" },
	{ "4 z ?; 5 a 10.0.0.1", "a=10.0.0.1(own)", .status = "4.1.2" },
	{ "5 a 10.0.0.1; 6 z ?", "a=10.0.0.1(own)", .status = "5.4.6" },
	{ "3 y -; 4 z ?; 5 a 10.0.0.1", "a=10.0.0.1(own)", .status = "4.1.2" },
	{ "5 a 10.0.0.1; 5 z ?", "a=10.0.0.1(own)", .status = "5.4.6" },
	{ "4 z -; 5 a 10.0.0.1", "a=10.0.0.1(own)", .status = "5.4.6" },
	{ "0 r 10.0.0.1", "r=10.0.0.1", .is_relay = true },
	{ "0 r 127.0.0.2", "r=127.0.0.2", .is_relay = true },
	{ "0 r 192.0.2.99", "r=192.0.2.99(own)", .status = "4.4.1",
	    .is_relay = true },
	{ "0 r 192.0.2.99 192.0.2.1", "r=192.0.2.99(own) r=192.0.2.1",
	    .is_relay = true },

	/* Families. */
	{ "5 a 2001:db8::1 192.0.2.1 192.0.2.2",
	    "a=192.0.2.1 a=2001:db8::1 a=192.0.2.2", .family = IPFAMILY_46 },
	{ "5 a 2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2",
	    "a=192.0.2.1 a=2001:db8::1(family) a=192.0.2.2 "
	    "a=2001:db8::2(family)",
	    .family = IPFAMILY_4 },
	{ "5 a 192.0.2.1 2001:db8::1", "a=2001:db8::1 a=192.0.2.1(family)",
	    .family = IPFAMILY_6 },
	{ "5 a 2001:db8::1; 6 b 192.0.2.1", "a=2001:db8::1(family) b=192.0.2.1",
	    .family = IPFAMILY_4 },
	{ "5 a 2001:db8::1", "a=2001:db8::1(family)", .status = "4.4.1",
	    .family = IPFAMILY_4 },
	{ "5 a ::1 2001:db8::1", "a=::1(own) a=2001:db8::1(family)",
	    .status = "4.4.1", .family = IPFAMILY_4 },
	{ "0 r 192.0.2.1", "r=192.0.2.1(family)", .status = "4.4.1",
	    .family = IPFAMILY_6, .is_relay = true },
	{ "5 a ::1 2001:db8::1 192.0.2.1",
	    "a=192.0.2.1 a=::1(own) "
	    "a=2001:db8::1(family)",
	    .family = IPFAMILY_4 },
	{ "5 a 10.0.0.1; 6 b 2001:db8::1",
	    "a=10.0.0.1(own) b=2001:db8::1(worse)", .status = "5.4.6",
	    .family = IPFAMILY_4 },

	/* Our own address for a family cannot be used. */
	{ "5 a 2001:db8::1 192.0.2.1", "a=2001:db8::1(source) a=192.0.2.1",
	    .broken = "6" },
	{ "5 a 2001:db8::1 192.0.2.1", "a=2001:db8::1 a=192.0.2.1(source)",
	    .broken = "4" },
	{ "5 a 2001:db8::1 192.0.2.1", "a=192.0.2.1 a=2001:db8::1(source)",
	    .family = IPFAMILY_46, .broken = "6" },
	{ "5 a 2001:db8::1 192.0.2.1",
	    "a=2001:db8::1(source) a=192.0.2.1(source)", .status = "4.4.1",
	    .broken = "46" },
	{ "5 a 192.0.2.1", "a=192.0.2.1(source)", .status = "4.4.1",
	    .broken = "4" },
	{ "5 a 192.0.2.1", "a=192.0.2.1", .broken = "6" },
	{ "5 a 2001:db8::1 192.0.2.1",
	    "a=192.0.2.1(source) a=2001:db8::1(family)", .status = "4.4.1",
	    .family = IPFAMILY_4, .broken = "46" },
	{ "5 a 192.0.2.1; 6 b 10.0.0.1", "a=192.0.2.1(source) b=10.0.0.1(own)",
	    .status = "4.4.1", .broken = "4" },
	{ "5 a 10.0.0.1; 6 b 192.0.2.1", "a=10.0.0.1(own) b=192.0.2.1(worse)",
	    .status = "5.4.6", .broken = "4" },
	{ "5 a 192.0.2.1; 6 b 192.0.2.1",
	    "a=192.0.2.1(source) b=192.0.2.1(source)", .status = "4.4.1",
	    .broken = "4" },

	/* The same address again. */
	{ "5 a 192.0.2.1; 5 b 192.0.2.1 192.0.2.2",
	    "a=192.0.2.1 b=192.0.2.1(again) b=192.0.2.2", .status = NULL },
	{ "5 a 192.0.2.1 192.0.2.2; 5 b 192.0.2.2",
	    "a=192.0.2.1 a=192.0.2.2 b=192.0.2.2(again)", .status = NULL },
	{ "5 a 192.0.2.1; 5 b 192.0.2.1", "a=192.0.2.1 b=192.0.2.1(again)",
	    .strictness = 1 },
	{ "5 a 192.0.2.1; 5 b 192.0.2.1", "a=192.0.2.1 b=192.0.2.1",
	    .strictness = 2 },
};

/* One for each family, in that order, that the letters name. */
static void
break_sources(struct plan_config *config, const char *families)
{
	static const struct ip own = { .byte = { 0x20, 1 } };

	config->source[0].ip = &own;
	if (families && strchr(families, '6'))
		config->source[0].fault = "line 6";
	if (families && strchr(families, '4'))
		config->source[1].fault = "line 4";
}

static void
plans_by_the_list(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(plans); i++) {
		const struct plan_case *c = &plans[i];
		struct plan_config config = config_of(c->strictness);
		struct dsn why = { 0 };
		struct plan p;
		struct zone z;
		int result;

		config.now = NOW;
		config.family = c->family;
		config.is_relay = c->is_relay;
		config.port = 26;
		read_zone(&z, c->zone);
		break_sources(&config, c->broken);
		result = plan_make(&p, &z.list, &config, &why);
		if (strcmp(show(&p), c->plan) != 0)
			fail_msg("%s: %s", c->zone, show(&p));
		if (result != (c->status ? -1 : 0) ||
		    strcmp(why.status, c->status ? c->status : "") != 0)
			fail_msg("%s: %d %s", c->zone, result, why.status);
		assert_int_equal(p.port, 26);
		assert_int_equal(p.nhost, z.list.nhost);
		plan_finish(&p);
	}
}

/*
 * If ::1 is listed in control/ipme it is not a placeholder, and ::2 never is.
 */
static void
excludes_a_listed_placeholder(void **state)
{
	static const char *const own[] = { "::1", "::2" };

	(void)state;
	for (size_t i = 0; i < COUNT(own); i++) {
		struct ip_net listed = { .ip = ip(own[i]), .bits = 128 };
		struct ipme me = { .listed = &listed, .nlisted = 1 };
		struct plan_config config = config_of(0);
		struct dsn why = { 0 };
		struct plan p;
		struct zone z;
		char text[100];

		config.ipme = &me;
		snprintf(text, sizeof text, "5 a 192.0.2.1 %s", own[i]);
		read_zone(&z, text);
		assert_int_equal(plan_make(&p, &z.list, &config, &why), -1);
		assert_string_equal(why.status, "5.4.6");
		plan_finish(&p);
	}
}

static void
gives_the_reason_for_no_address(void **state)
{
	struct plan_config config = config_of(0);
	struct dsn why = { 0 };
	struct plan p;
	struct zone z;

	(void)state;
	config.family = IPFAMILY_4;
	config.is_relay = true;
	read_zone(&z, "0 r 2001:db8::1");
	assert_int_equal(plan_make(&p, &z.list, &config, &why), -1);
	assert_string_equal(why.text,
	    "Sorry, I wasn't able to establish an SMTP connection.");
	assert_string_equal(why.detail, "control/ipfamily leaves no address.");
	plan_finish(&p);
	read_zone(&z, "0 r 192.0.2.99");
	assert_int_equal(plan_make(&p, &z.list, &config, &why), -1);
	assert_string_equal(why.detail, "control/ipme lists the relay.");
	plan_finish(&p);
	/* That ipfamily leaves out the other address is no reason then. */
	break_sources(&config, "46");
	read_zone(&z, "0 r 2001:db8::1 192.0.2.1");
	assert_int_equal(plan_make(&p, &z.list, &config, &why), -1);
	assert_string_equal(why.detail, "line 6\nline 4");
	plan_finish(&p);
	config.source[0].fault = NULL;
	assert_int_equal(plan_make(&p, &z.list, &config, &why), -1);
	assert_string_equal(why.text,
	    "Sorry, I wasn't able to establish an SMTP connection.");
	assert_string_equal(why.detail, "line 4");
	plan_finish(&p);
}

/* The hosts are as in the list, each with its policy. */
static void
keeps_the_data_of_hosts(void **state)
{
	struct plan_config config = config_of(2);
	struct dsn why = { 0 };
	struct plan p;
	struct zone z;

	(void)state;
	read_zone(&z, "5 a 192.0.2.1; 7 b ?");
	z.host[0].is_literal = true;
	z.host[1].security = DNS_SECURE;
	assert_int_equal(plan_make(&p, &z.list, &config, &why), 0);
	assert_false(p.host[0].is_secure || p.host[1].is_secure);
	plan_finish(&p);
	z.list.security = DNS_SECURE;
	assert_int_equal(plan_make(&p, &z.list, &config, &why), 0);
	assert_ptr_equal(p.host[0].name, z.host[0].name);
	assert_false(p.host[0].is_secure);
	assert_true(p.host[1].is_secure);
	assert_true(p.host[0].is_literal);
	assert_false(p.host[1].is_literal);
	assert_int_equal(p.host[0].preference, 5);
	assert_int_equal(p.host[1].outcome, DNS_TEMPFAIL);
	assert_int_equal(p.host[1].policy.level, TLS_LEVEL_VERIFY);
	plan_finish(&p);
}

static void
puts_stalled_addresses_last_in_their_host(void **state)
{
	static struct memory memory;
	struct plan_config config = config_of(0);
	struct ip stalled = ip("2001:db8::1");
	struct dsn why = { 0 };
	struct plan p;
	struct zone z;

	(void)state;
	config.memory = &memory;
	config.now = NOW;
	memcpy(memory.byte, stalled.byte, sizeof stalled.byte);
	memcpy(memory.byte + 20, "\x00\xf1\x53\x65", 4); /* NOW */
	read_zone(&z,
	    "5 a 2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2; 6 b 192.0.2.3");
	assert_int_equal(plan_make(&p, &z.list, &config, &why), 0);
	assert_string_equal(show(&p),
	    "a=192.0.2.1 a=2001:db8::2 a=192.0.2.2 a=2001:db8::1 b=192.0.2.3");
	assert_int_equal(p.address[3].noted[MEMORY_STALL], NOW);
	assert_int_equal(p.address[3].noted[MEMORY_TLS], 0);
	assert_int_equal(p.address[0].noted[MEMORY_STALL], 0);
	plan_finish(&p);
}

/* Many hosts, each with the most addresses that the resolver keeps of one. */
static void
limits_the_addresses(void **state)
{
	static const struct ipme nobody;
	static struct ip many[MX_HOST_IP_MAX];
	struct plan_config config = config_of(0);
	struct mx_host host[2] = { { .name = "a", .ip = many, .nip = 100 },
		{ .name = "b", .ip = many + 100, .nip = 28 } };
	struct mx_host one = { .name = "c", .ip = &many[0], .nip = 1 };
	struct mx_host all[3] = { host[0], host[1], one };
	struct mx_list list = { .host = all, .nhost = 3 };
	struct dsn why = { 0 };
	struct plan p;

	(void)state;
	for (size_t i = 0; i < MX_HOST_IP_MAX; i++)
		many[i] = ip_from_v4((const unsigned char[]){
		    192, 0, 2, (unsigned char)i });
	config.ipme = &nobody;
	assert_int_equal(plan_make(&p, &list, &config, &why), 0);
	assert_int_equal(p.naddress, 129);
	assert_int_equal(p.address[127].use, PLAN_USED);
	assert_int_equal(p.address[128].use, PLAN_TOO_MANY);
	plan_finish(&p);
}

/* Hosts that cannot meet their policy are left out; the others are used. */
static void
leaves_out_hosts_by_their_policy(void **state)
{
	static const struct {
		const char *skipped, *plan, *detail;
		bool is_refused_by_sts;
	} policies[] = {
		{ "  ", "a=192.0.2.1 b=192.0.2.2", NULL, false },
		{ "s ", "a=192.0.2.1(policy) b=192.0.2.2", NULL, false },
		{ "ss", "a=192.0.2.1(policy) b=192.0.2.2(policy)",
		    "a: the MTA-STS policy of the domain does not list it\n"
		    "b: the MTA-STS policy of the domain does not list it",
		    true },
		{ "sd", "a=192.0.2.1(policy) b=192.0.2.2(policy)",
		    "a: the MTA-STS policy of the domain does not list it\n"
		    "b: its TLSA records could not be looked up",
		    false },
		{ "ds", "a=192.0.2.1(policy) b=192.0.2.2(policy)",
		    "a: its TLSA records could not be looked up\n"
		    "b: the MTA-STS policy of the domain does not list it",
		    false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(policies); i++) {
		struct plan_config config = config_of(0);
		struct dsn why = { 0 };
		struct plan p;
		struct zone z;
		int result;

		for (size_t k = 0; k < 2; k++) {
			situations[k].is_trusted = true;
			if (policies[i].skipped[k] == 's')
				situations[k].sts = TLS_STS_ENFORCE;
			if (policies[i].skipped[k] == 'd')
				situations[k].dane = TLS_DANE_FAILED;
		}
		read_zone(&z, "5 a 192.0.2.1; 6 b 192.0.2.2");
		result = plan_make(&p, &z.list, &config, &why);
		assert_string_equal(show(&p), policies[i].plan);
		assert_int_equal(result, policies[i].detail ? -1 : 0);
		assert_string_equal(why.status,
		    policies[i].detail ? "4.7.5" : "");
		assert_string_equal(why.detail,
		    policies[i].detail ? policies[i].detail : "");
		assert_int_equal(plan_is_skipped(&p, TLS_SKIP_STS),
		    policies[i].is_refused_by_sts);
		plan_finish(&p);
	}
}

/* What is left out anyway does not count. */
static void
is_skipped_though_other_addresses_are_left_out(void **state)
{
	struct plan_config config = config_of(0);
	struct dsn why = { 0 };
	struct plan p;
	struct zone z;

	(void)state;
	config.family = IPFAMILY_4;
	situations[0].sts = TLS_STS_ENFORCE;
	read_zone(&z, "5 a 192.0.2.1 2001:db8::1; 6 b 2001:db8::2");
	assert_int_equal(plan_make(&p, &z.list, &config, &why), -1);
	assert_true(plan_is_skipped(&p, TLS_SKIP_STS));
	plan_finish(&p);
	read_zone(&z, "5 b 2001:db8::2");
	situations[0].sts = TLS_STS_NONE;
	assert_int_equal(plan_make(&p, &z.list, &config, &why), -1);
	assert_false(plan_is_skipped(&p, TLS_SKIP_STS));
	plan_finish(&p);
}

/* The second session would not be the same one. */
static void
keeps_an_address_with_another_policy(void **state)
{
	struct plan_config config = config_of(0);
	struct dsn why = { 0 };
	struct plan p;
	struct zone z;

	(void)state;
	situations[1].hostfile = TLS_HOSTFILE_ENCRYPT;
	read_zone(&z, "5 a 192.0.2.1; 6 b 192.0.2.1; 7 c 192.0.2.1");
	assert_int_equal(plan_make(&p, &z.list, &config, &why), 0);
	assert_string_equal(show(&p),
	    "a=192.0.2.1 b=192.0.2.1 c=192.0.2.1(again)");
	plan_finish(&p);
	/* The level is the same, but only one of them may go in clear text. */
	situation(1);
	situations[1].hostfile = TLS_HOSTFILE_ENCRYPT;
	assert_int_equal(plan_make(&p, &z.list, &config, &why), 0);
	assert_string_equal(show(&p),
	    "a=192.0.2.1 b=192.0.2.1 c=192.0.2.1(again)");
	plan_finish(&p);
	situation(0);
	situations[1].sts = TLS_STS_TESTING;
	assert_int_equal(plan_make(&p, &z.list, &config, &why), 0);
	assert_string_equal(show(&p),
	    "a=192.0.2.1 b=192.0.2.1 c=192.0.2.1(again)");
	plan_finish(&p);
}

static void
plans_a_second_pass(void **state)
{
	static const bool retry[] = { false, true, false, true };
	static const bool none[4];
	struct plan_config config = config_of(1);
	struct dsn why = { 0 };
	struct plan p, second;
	struct zone z;

	(void)state;
	config.port = 26;
	read_zone(&z, "5 a 2001:db8::1 192.0.2.1; 6 b 192.0.2.2 192.0.2.3");
	assert_int_equal(plan_make(&p, &z.list, &config, &why), 0);
	assert_int_equal(p.host[1].policy.level, TLS_LEVEL_ENCRYPT);
	p.source[1].fault = "line 4";
	assert_true(plan_in_clear(&second, &p, retry));
	assert_string_equal(plan_source(&second, &p.address[1].ip)->fault,
	    "line 4");
	assert_null(plan_source(&second, &p.address[0].ip)->fault);
	assert_string_equal(show(&second), "a=192.0.2.1 b=192.0.2.3");
	assert_int_equal(second.host[0].policy.level, TLS_LEVEL_NONE);
	assert_int_equal(second.host[1].policy.level, TLS_LEVEL_NONE);
	assert_int_equal(second.port, 26);
	plan_finish(&second);
	assert_false(plan_in_clear(&second, &p, none));
	plan_finish(&second);
	plan_finish(&p);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(plans_by_the_list),
		cmocka_unit_test(excludes_a_listed_placeholder),
		cmocka_unit_test(gives_the_reason_for_no_address),
		cmocka_unit_test(keeps_the_data_of_hosts),
		cmocka_unit_test(puts_stalled_addresses_last_in_their_host),
		cmocka_unit_test(limits_the_addresses),
		cmocka_unit_test(leaves_out_hosts_by_their_policy),
		cmocka_unit_test(
		    is_skipped_though_other_addresses_are_left_out),
		cmocka_unit_test(keeps_an_address_with_another_policy),
		cmocka_unit_test(plans_a_second_pass),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
