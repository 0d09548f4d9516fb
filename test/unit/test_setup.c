/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "delivery/envelope.h"
#include "delivery/lookup.h"
#include "delivery/situation.h"
#include "io/dial.h"
#include "qmail/control.h"
#include "qmail/helohosts.h"
#include "qmail/ipfamily.h"
#include "qmail/ipme.h"
#include "qmail/memory.h"
#include "qmail/outgoing.h"
#include "qmail/relay.h"
#include "qmail/tcpto.h"

/* Fakes of everything that reads a file or asks the DNS. */
static int fake_domain(struct buf *, const char *, enum failure_cause,
    struct dsn *);
static int fake_control(struct control *, struct dsn *);
static int fake_relay(const struct relay_files *, const char *, const char *,
    struct route *, struct dsn *);
static int fake_ipme(struct ipme *, const char *, bool, struct dsn *);
static int fake_family(enum ipfamily *, const struct table_files *,
    const char *, struct dsn *);
static int fake_outgoing(struct outgoing *, const struct table_files *, bool,
    const char *, struct dsn *);
static int fake_names(struct helohosts *, const char *, struct dsn *);
static int fake_try_own(const struct ip *);
static void fake_config(struct dns_config *, const char *);
static struct dns_resolver *fake_create(const struct dns_config *, bool);
static void fake_destroy(struct dns_resolver *);
static int fake_lookup(struct mx_list *, const struct lookup *, struct dsn *);
static int fake_open(const char *);
static void fake_read(struct memory *, int);
static int fake_load(struct memory *, const char *);
static int64_t fake_cleared(const struct tcpto *);
static int fake_situation_read(struct situation *,
    const struct situation_config *, int64_t, struct dsn *);
static void fake_want(struct situation *, struct lookup *);
static int fake_find(struct situation *, const struct mx_list *, struct dsn *);
static bool fake_refetch(struct situation *, const struct mx_list *);

#define envelope_append_domain fake_domain
#define control_read fake_control
#define relay_find fake_relay
#define ipme_read fake_ipme
#define ipfamily_find fake_family
#define outgoing_find fake_outgoing
#define helohosts_read fake_names
#define dial_try_own fake_try_own
#define dns_config_read fake_config
#define dns_resolver_create fake_create
#define dns_resolver_destroy fake_destroy
#define lookup_hosts fake_lookup
#define memory_open fake_open
#define memory_read fake_read
#define memory_load fake_load
#define tcpto_cleared fake_cleared
#define situation_read fake_situation_read
#define situation_want fake_want
#define situation_find fake_find
#define situation_refetch fake_refetch
#include "delivery/setup.c"

static struct {
	const char *relay; /* of the route */
	uint16_t port;     /* of the route */
	bool has_credentials;
	const char *fails;  /* the step that fails */
	bool is_unlisted;   /* by the MTA-STS policy */
	bool is_bogus;      /* its TLSA records */
	bool wants_nothing; /* besides the hosts and their addresses */
	bool is_read_only;
	bool is_renewed; /* that policy, if it is asked for again */
	enum ipfamily family;
	bool has_sources; /* control/outgoingip and outgoingip6 have a line */
	int bind_error;   /* of these addresses */
	char log[200];
} world;

static struct tls_situation situations[1];

static struct mx_host host = { .name = "mx.example", .preference = 7 };

static int
step(const char *name, struct dsn *why)
{
	size_t n = strlen(world.log);

	snprintf(world.log + n, sizeof world.log - n, "%s%s", n ? " " : "",
	    name);
	if (strcmp(world.fails, name) != 0)
		return 0;
	return dsn_set(why, "4.3.0", "%s", name);
}

static int
fake_control(struct control *c, struct dsn *why)
{
	c->timeoutdns = 5;
	c->timeoutconnect = 60;
	c->timeoutremote = 1200;
	c->tlsstrictness = 2;
	c->mtasts = 5;
	buf_puts(&c->helohost, "me.example");
	buf_puts(&c->trustanchors, "/anchors");
	return step("control", why);
}

static int
fake_domain(struct buf *ascii, const char *domain, enum failure_cause cause,
    struct dsn *why)
{
	assert_string_equal(domain, "D\xc3\xa9ST.example");
	assert_int_equal(cause, FAILURE_RECIPIENT_UNSENDABLE);
	buf_puts(ascii, "dst.example");
	return step("domain", why);
}

static int
fake_relay(const struct relay_files *files, const char *name,
    const char *sender, struct route *r, struct dsn *why)
{
	assert_string_equal(name, "dst.example");
	assert_string_equal(sender, "src@src.example");
	assert_string_equal(files->auth, "auth");
	buf_puts(&r->relay, world.relay);
	r->port = world.port;
	r->file = "routes";
	if (world.has_credentials)
		r->login.credentials.kind = CREDENTIALS_PASSWORD;
	return step("route", why);
}

static int
fake_ipme(struct ipme *me, const char *path, bool has_interfaces,
    struct dsn *why)
{
	assert_string_equal(path, "control/ipme");
	/* A relay may have the address of one of our interfaces. */
	assert_int_equal(has_interfaces, world.relay[0] == '\0');
	*me = (struct ipme){ 0 };
	return step("ipme", why);
}

static int
fake_family(enum ipfamily *f, const struct table_files *files, const char *name,
    struct dsn *why)
{
	assert_string_equal(files->text, "families");
	assert_string_equal(name, world.relay[0] ? world.relay : "dst.example");
	*f = world.family;
	return step("family", why);
}

static int
fake_outgoing(struct outgoing *o, const struct table_files *files, bool is_v4,
    const char *name, struct dsn *why)
{
	assert_string_equal(files->text, is_v4 ? "sources4" : "sources6");
	assert_string_equal(name, world.relay[0] ? world.relay : "dst.example");
	if (world.has_sources) {
		o->is_given = true;
		o->ip.byte[15] = is_v4 ? 4 : 6;
		buf_puts(&o->line, is_v4 ? "line 4" : "line 6");
	}
	return step(is_v4 ? "from4" : "from6", why);
}

static int
fake_names(struct helohosts *h, const char *path, struct dsn *why)
{
	assert_string_equal(path, "control/helohosts");
	assert_int_equal(h->n, 0);
	return step("names", why);
}

static int
fake_try_own(const struct ip *ip)
{
	step(ip->byte[15] == 4 ? "try4" : "try6", NULL);
	errno = world.bind_error;
	return world.bind_error ? -1 : 0;
}

static void
fake_config(struct dns_config *config, const char *path)
{
	assert_string_equal(path, "/etc/resolv.conf");
	memset(config, 0, sizeof *config);
	config->is_trusted = true;
}

static struct dns_resolver *
fake_create(const struct dns_config *config, bool wants_security)
{
	assert_true(config->is_trusted);
	assert_int_equal(wants_security, !world.wants_nothing);
	return NULL;
}

static void
fake_destroy(struct dns_resolver *r)
{
	assert_null(r);
}

static int
fake_lookup(struct mx_list *list, const struct lookup *l, struct dsn *why)
{
	static struct ip ip = { .byte = { [10] = 0xff, 0xff, 192, 0, 2, 1 } };

	assert_string_equal(l->host,
	    world.relay[0] ? world.relay : "dst.example");
	assert_int_equal(l->is_relay, world.relay[0] != '\0');
	assert_int_equal(l->timeout_s, 5);
	host.ip = &ip;
	host.nip = 1;
	*list = (struct mx_list){ .host = &host, .nhost = 1 };
	return step("lookup", why);
}

static int
fake_open(const char *path)
{
	assert_string_equal(path, "addresses");
	return 9;
}

static void
fake_read(struct memory *m, int fd)
{
	assert_int_equal(fd, 9);
	*m = (struct memory){ .cleared = 0 };
	step("read", NULL);
}

static int
fake_load(struct memory *m, const char *path)
{
	assert_string_equal(path, "addresses");
	*m = (struct memory){ .cleared = 0 };
	return step("load", NULL);
}

static int64_t
fake_cleared(const struct tcpto *tcpto)
{
	assert_string_equal(tcpto->path4, "tcpto");
	return 0;
}

static int
fake_situation_read(struct situation *s, const struct situation_config *c,
    int64_t now, struct dsn *why)
{
	*s = (struct situation){ .config = c };
	s->wants_tlsa = s->wants_tlsrpt = !world.wants_nothing;
	assert_true(now > 0 && c->is_trusted);
	assert_string_equal(c->policies->text, "policies");
	assert_string_equal(c->sts.program, "/sts");
	assert_string_equal(c->sts.state, "/state");
	assert_int_equal(c->sts.wait_s, 5);
	assert_int_equal(c->sts.is_read_only, world.is_read_only);
	assert_string_equal(c->next_hop,
	    world.relay[0] ? world.relay : "dst.example");
	assert_int_equal(c->is_relay, world.relay[0] != '\0');
	assert_int_equal(c->message, 8);
	assert_int_equal(c->is_implicit_tls, world.port == 465);
	assert_int_equal(c->has_credentials, world.has_credentials);
	return step("situation", why);
}

static void
fake_want(struct situation *s, struct lookup *l)
{
	assert_int_equal(l->port, world.port);
	assert_string_equal(l->relay_file, "routes");
	l->wants_tlsa = s->wants_tlsa;
}

static int
fake_find(struct situation *s, const struct mx_list *list, struct dsn *why)
{
	assert_int_equal(list->nhost, 1);
	situations[0] = (struct tls_situation){ .has_anchors = true,
		.strictness = 2,
		.name = "mx.example",
		.is_trusted = true,
		.dane = world.is_bogus ? TLS_DANE_FAILED : TLS_DANE_OFF,
		.sts = world.is_unlisted ? TLS_STS_ENFORCE : TLS_STS_NONE };
	s->of = situations;
	return step("find", why);
}

static bool
fake_refetch(struct situation *s, const struct mx_list *list)
{
	assert_ptr_equal(s->of, situations);
	assert_int_equal(list->nhost, 1);
	situations[0].is_listed = world.is_renewed;
	step("refetch", NULL);
	return world.is_renewed;
}

static struct setup_files
files(bool are_read_only)
{
	return (struct setup_files){
		.state = "/state",
		.helper = "/helper",
		.sts = "/sts",
		.policies = { .text = "policies" },
		.relays = { .auth = "auth" },
		.families = { .text = "families" },
		.sources = { { .text = "sources6" }, { .text = "sources4" } },
		.tcpto = { .path4 = "tcpto" },
		.memory = "addresses",
		.are_read_only = are_read_only,
	};
}

static int
run(struct setup *s, const struct setup_files *f, const char *relay,
    const char *fails, struct dsn *why)
{
	world.relay = relay;
	world.fails = fails;
	world.is_read_only = f->are_read_only;
	world.log[0] = '\0';
	if (world.family == IPFAMILY_64 && !world.has_sources)
		world.family = IPFAMILY_4;
	if (world.port == 0)
		world.port = 26;
	*s = (struct setup){ .files = f,
		.host = "D\xc3\xa9ST.example",
		.sender = "src@src.example",
		.message = 8 };
	*why = (struct dsn){ 0 };
	if (setup_read(s, why) == -1 || setup_read_own(s, why) == -1)
		return -1;
	return setup_plan(s, why);
}

static void
finish(struct setup *s)
{
	control_finish(&s->control);
	for (size_t i = 0; i < 2; i++) {
		outgoing_finish(&s->outgoing[i]);
		buf_finish(&s->source_fault[i]);
	}
	route_finish(&s->route);
	plan_finish(&s->plan);
	buf_finish(&s->domain);
}

static void
makes_a_plan(void **state)
{
	const struct setup_files f = files(false);
	struct setup s;
	struct dsn why;

	(void)state;
	assert_int_equal(run(&s, &f, "", "", &why), 0);
	assert_string_equal(world.log, "control domain route family from4 "
				       "names situation ipme lookup find read");
	assert_false(setup_is_relayed(&s));
	assert_string_equal(setup_next_hop(&s), "dst.example");
	assert_int_equal(s.plan.naddress, 1);
	assert_int_equal(s.plan.port, 26);
	assert_int_equal(s.plan.host[0].preference, 7);
	assert_int_equal(s.plan.host[0].policy.level, TLS_LEVEL_VERIFY);
	assert_int_equal(s.plan.address[0].use, PLAN_USED);
	assert_int_equal(s.notes, 9);
	assert_true(s.asked > 1600000000);
	finish(&s);
}

/* A domain may have changed its MX hosts and its policy at the same time. */
static void
asks_again_for_a_policy_that_lists_no_host(void **state)
{
	static const char log[] = "control domain route family from4 names "
				  "situation ipme lookup find read refetch";
	const struct setup_files f = files(false);
	struct setup s;
	struct dsn why;

	(void)state;
	world.is_unlisted = true;
	assert_int_equal(run(&s, &f, "", "", &why), -1);
	assert_string_equal(world.log, log);
	assert_string_equal(why.status, "4.7.5");
	finish(&s);
	world.is_renewed = true;
	assert_int_equal(run(&s, &f, "", "", &why), 0);
	assert_string_equal(world.log, log);
	assert_int_equal(s.plan.address[0].use, PLAN_USED);
	finish(&s);
	memset(&world, 0, sizeof world);
}

/* Then another policy would change nothing. */
static void
does_not_ask_again_if_another_policy_leaves_hosts_out(void **state)
{
	const struct setup_files f = files(false);
	struct setup s;
	struct dsn why;

	(void)state;
	world.is_bogus = world.is_renewed = true;
	assert_int_equal(run(&s, &f, "", "", &why), -1);
	assert_string_equal(world.log, "control domain route family from4 "
				       "names situation ipme lookup find read");
	assert_string_equal(why.status, "4.7.5");
	finish(&s);
	memset(&world, 0, sizeof world);
}

/* The AD bit matters for TLSA records only, our address for TLS reports. */
static void
asks_for_no_more_than_is_wanted(void **state)
{
	const struct setup_files f = files(false);
	struct setup s;
	struct dsn why;

	(void)state;
	world.wants_nothing = true;
	assert_int_equal(run(&s, &f, "", "", &why), 0);
	assert_false(setup_search_config(&s).wants_own);
	finish(&s);
	memset(&world, 0, sizeof world);
}

/* What is said about a family that is not used is not even read. */
static void
finds_our_addresses(void **state)
{
	static const struct {
		enum ipfamily family;
		const char *log; /* after "family", before "names" */
	} cases[] = {
		{ IPFAMILY_64, " from6 try6 from4 try4 " },
		{ IPFAMILY_46, " from6 try6 from4 try4 " },
		{ IPFAMILY_6, " family from6 try6 names " },
		{ IPFAMILY_4, " family from4 try4 names " },
	};
	const struct setup_files f = files(false);
	struct setup s;
	struct dsn why;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		world.has_sources = true;
		world.family = cases[i].family;
		(void)run(&s, &f, "", "", &why);
		assert_non_null(strstr(world.log, cases[i].log));
		if (cases[i].family != IPFAMILY_6) {
			assert_ptr_equal(s.plan.source[1].ip,
			    &s.outgoing[1].ip);
			assert_null(s.plan.source[1].fault);
		}
		assert_int_equal(s.plan.source[0].ip != NULL,
		    cases[i].family != IPFAMILY_4);
		finish(&s);
	}
	memset(&world, 0, sizeof world);
}

/* That is no failure of the delivery as long as the other family is left. */
static void
leaves_out_a_family_that_cannot_be_connected_from(void **state)
{
	static const struct {
		int error;
		const char *reason;
	} cases[] = {
		{ EADDRNOTAVAIL, "not an address of this machine" },
		{ EACCES, "Permission denied" },
	};
	const struct setup_files f = files(false);
	struct setup s;
	struct dsn why;
	char want[100];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		world.has_sources = true;
		world.family = IPFAMILY_4;
		world.bind_error = cases[i].error;
		assert_int_equal(run(&s, &f, "", "", &why), -1);
		snprintf(want, sizeof want, "sources4: %s: line 4",
		    cases[i].reason);
		assert_string_equal(why.status, "4.4.1");
		assert_string_equal(why.detail, want);
		assert_int_equal(s.plan.address[0].use, PLAN_SOURCE);
		finish(&s);
	}
	memset(&world, 0, sizeof world);
}

static void
plans_for_the_relay_of_a_route(void **state)
{
	const struct setup_files f = files(false);
	struct setup s;
	struct dsn why;

	(void)state;
	assert_int_equal(run(&s, &f, "relay.example", "", &why), 0);
	assert_true(setup_is_relayed(&s));
	assert_string_equal(setup_next_hop(&s), "relay.example");
	finish(&s);
}

static void
stops_at_the_first_failure(void **state)
{
	static const char *const steps[] = { "control", "domain", "route",
		"family", "from4", "names", "situation", "ipme", "lookup",
		"find" };
	const struct setup_files f = files(false);
	struct setup s;
	struct dsn why;

	(void)state;
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		const char *last;

		assert_int_equal(run(&s, &f, "", steps[i], &why), -1);
		assert_string_equal(why.text, steps[i]);
		last = strrchr(world.log, ' ');
		assert_string_equal(last ? last + 1 : world.log, steps[i]);
		finish(&s);
	}
}

static void
writes_nothing_if_files_are_read_only(void **state)
{
	const struct setup_files f = files(true);
	struct search_config config;
	struct setup s;
	struct dsn why;

	(void)state;
	assert_int_equal(run(&s, &f, "", "", &why), 0);
	assert_string_equal(world.log, "control domain route family from4 "
				       "names situation ipme lookup find load");
	config = setup_search_config(&s);
	assert_int_equal(config.notes, -1);
	assert_null(config.attempt.state);
	finish(&s);
}

static void
prefers_smtputf8_if_an_address_needs_it(void **state)
{
	static char ascii[] = "a@x", utf8[] = "\xc3\xa9@x", bad[] = "a@\n";
	static char *const envelopes[][3] = { { ascii, ascii, NULL },
		{ ascii, utf8, NULL }, { ascii, bad, NULL } };
	const struct setup_files f = files(false);
	struct setup s = { .files = &f };
	struct dsn why = { 0 };

	(void)state;
	assert_int_equal(setup_read_envelope(&s, envelopes[0], &why), 0);
	assert_false(setup_search_config(&s).needs_smtputf8);
	envelope_finish(&s.envelope);
	assert_int_equal(setup_read_envelope(&s, envelopes[1], &why), 0);
	assert_true(setup_search_config(&s).needs_smtputf8);
	envelope_finish(&s.envelope);
	assert_int_equal(setup_read_envelope(&s, envelopes[2], &why), -1);
	envelope_finish(&s.envelope);
}

static void
sets_up_the_search(void **state)
{
	const struct setup_files f = files(false);
	struct search_config config;
	struct setup s;
	struct dsn why;

	(void)state;
	assert_int_equal(run(&s, &f, "", "", &why), 0);
	config = setup_search_config(&s);
	assert_string_equal(config.helohost, "me.example");
	assert_ptr_equal(config.helohosts, &s.helohosts);
	assert_int_equal(config.attempt.timeout_s, 1200);
	assert_string_equal(config.attempt.helper, "/helper");
	assert_int_equal(config.attempt.timeout_handshake_s, 60);
	assert_string_equal(config.attempt.anchors, "/anchors");
	assert_string_equal(config.attempt.state, "/state");
	assert_null(config.attempt.clientcert);
	assert_null(config.attempt.clientkey);
	assert_int_equal(config.timeoutconnect, 60);
	assert_int_equal(config.notes, 9);
	assert_true(config.wants_own);
	/* A file may hold both the chain and its key. */
	buf_puts(&s.control.clientcert, "/both");
	config = setup_search_config(&s);
	assert_string_equal(config.attempt.clientcert, "/both");
	assert_string_equal(config.attempt.clientkey, "/both");
	buf_puts(&s.control.clientkey, "/key");
	config = setup_search_config(&s);
	assert_string_equal(config.attempt.clientcert, "/both");
	assert_string_equal(config.attempt.clientkey, "/key");
	finish(&s);
}

/* Port 465 is the one of TLS from the first byte (RFC 8314). */
static void
hands_credentials_and_port_on(void **state)
{
	const struct setup_files f = files(false);
	struct setup s;
	struct dsn why;

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct attempt_config c;

		world.port = i & 1 ? 465 : 587;
		world.has_credentials = i & 2;
		assert_int_equal(run(&s, &f, "relay.example", "", &why), 0);
		c = setup_search_config(&s).attempt;
		if (i & 2)
			assert_ptr_equal(c.credentials,
			    &s.route.login.credentials);
		else
			assert_null(c.credentials);
		finish(&s);
	}
	memset(&world, 0, sizeof world);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(hands_credentials_and_port_on),
		cmocka_unit_test(makes_a_plan),
		cmocka_unit_test(asks_again_for_a_policy_that_lists_no_host),
		cmocka_unit_test(
		    does_not_ask_again_if_another_policy_leaves_hosts_out),
		cmocka_unit_test(asks_for_no_more_than_is_wanted),
		cmocka_unit_test(finds_our_addresses),
		cmocka_unit_test(
		    leaves_out_a_family_that_cannot_be_connected_from),
		cmocka_unit_test(plans_for_the_relay_of_a_route),
		cmocka_unit_test(stops_at_the_first_failure),
		cmocka_unit_test(writes_nothing_if_files_are_read_only),
		cmocka_unit_test(prefers_smtputf8_if_an_address_needs_it),
		cmocka_unit_test(sets_up_the_search),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
