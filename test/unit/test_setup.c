/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "delivery/lookup.h"
#include "qmail/control.h"
#include "qmail/ipfamily.h"
#include "qmail/ipme.h"
#include "qmail/memory.h"
#include "qmail/route.h"
#include "qmail/tcpto.h"

/* Fakes of everything that reads a file or asks the DNS. */
static int fake_control(struct control *, struct dsn *);
static int fake_route(const char *, const struct table_files *, struct route *,
    struct dsn *);
static int fake_ipme(struct ipme *, const char *, bool, struct dsn *);
static int fake_family(enum ipfamily *, const struct table_files *,
    const char *, struct dsn *);
static void fake_config(struct dns_config *, const char *);
static struct dns_resolver *fake_create(const struct dns_config *, bool);
static void fake_destroy(struct dns_resolver *);
static int fake_lookup(struct mx_list *, const struct lookup *, struct dsn *);
static int fake_open(const char *);
static void fake_read(struct memory *, int);
static int fake_load(struct memory *, const char *);
static int64_t fake_cleared(const struct tcpto *);

#define control_read fake_control
#define route_find fake_route
#define ipme_read fake_ipme
#define ipfamily_find fake_family
#define dns_config_read fake_config
#define dns_resolver_create fake_create
#define dns_resolver_destroy fake_destroy
#define lookup_hosts fake_lookup
#define memory_open fake_open
#define memory_read fake_read
#define memory_load fake_load
#define tcpto_cleared fake_cleared
#include "delivery/setup.c"

static struct {
	const char *relay; /* of the route */
	const char *fails; /* the step that fails */
	char log[200];
} world;

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
	buf_puts(&c->helohost, "me.example");
	buf_puts(&c->trustanchors, "/anchors");
	return step("control", why);
}

static int
fake_route(const char *name, const struct table_files *files, struct route *r,
    struct dsn *why)
{
	assert_string_equal(name, "dst.example");
	assert_string_equal(files->text, "routes");
	buf_puts(&r->relay, world.relay);
	r->port = 26;
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
	*f = IPFAMILY_4;
	return step("family", why);
}

static void
fake_config(struct dns_config *config, const char *path)
{
	assert_string_equal(path, "/etc/resolv.conf");
	memset(config, 0, sizeof *config);
}

static struct dns_resolver *
fake_create(const struct dns_config *config, bool is_new)
{
	(void)config;
	assert_false(is_new);
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

static struct setup_files
files(bool are_read_only)
{
	return (struct setup_files){
		.state = "/state",
		.helper = "/helper",
		.routes = { .text = "routes" },
		.families = { .text = "families" },
		.tcpto = { .path4 = "tcpto" },
		.memory = "addresses",
		.are_read_only = are_read_only,
	};
}

static int
run(struct setup *s, const struct setup_files *f, const char *relay,
    const char *fails, struct dsn *why)
{
	memset(&world, 0, sizeof world);
	world.relay = relay;
	world.fails = fails;
	*s = (struct setup){ .files = f, .host = "dst.example" };
	*why = (struct dsn){ 0 };
	if (setup_read(s, why) == -1)
		return -1;
	return setup_plan(s, why);
}

static void
finish(struct setup *s)
{
	control_finish(&s->control);
	route_finish(&s->route);
	plan_finish(&s->plan);
}

static void
makes_a_plan(void **state)
{
	const struct setup_files f = files(false);
	struct setup s;
	struct dsn why;

	(void)state;
	assert_int_equal(run(&s, &f, "", "", &why), 0);
	assert_string_equal(world.log, "control route ipme family lookup read");
	assert_false(setup_is_relayed(&s));
	assert_string_equal(setup_next_hop(&s), "dst.example");
	assert_int_equal(s.plan.naddress, 1);
	assert_int_equal(s.plan.port, 26);
	assert_int_equal(s.plan.host[0].preference, 7);
	assert_int_equal(s.plan.host[0].policy.level, TLS_LEVEL_VERIFY);
	assert_int_equal(s.plan.address[0].use, PLAN_USED);
	assert_int_equal(s.notes, 9);
	finish(&s);
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
	static const char *const steps[] = { "control", "route", "ipme",
		"family", "lookup" };
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
	assert_string_equal(world.log, "control route ipme family lookup load");
	config = setup_search_config(&s);
	assert_int_equal(config.notes, -1);
	assert_null(config.attempt.state);
	finish(&s);
}

static void
refuses_addresses_that_cannot_be_sent(void **state)
{
	static char good[] = "a@src.example", bad[] = "a\nb@src.example";
	static char longer[SMTP_PATH_MAX + 2];
	static const struct {
		char *const envelope[4];
		const char *text; /* "": the addresses can be sent */
	} cases[] = {
		{ { good, good, NULL }, "" },
		{ { good, bad, good, NULL }, "" },
		{ { bad, good, NULL }, "sender's address" },
		{ { good, bad, NULL }, "that address" },
		{ { longer, good, NULL }, "sender's address" },
		{ { good, longer, bad, NULL }, "that address" },
	};

	(void)state;
	memset(longer, 'x', sizeof longer - 1);
	memcpy(longer, "a@", 2);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dsn why = { 0 };
		int result = setup_check_envelope(cases[i].envelope, &why);

		assert_int_equal(result, cases[i].text[0] ? -1 : 0);
		assert_non_null(strstr(why.text, cases[i].text));
		assert_string_equal(why.status,
		    cases[i].text[0] ? "5.1.3" : "");
	}
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
	assert_string_equal(config.attempt.helohost, "me.example");
	assert_int_equal(config.attempt.timeout_s, 1200);
	assert_string_equal(config.attempt.helper, "/helper");
	assert_int_equal(config.attempt.timeout_handshake_s, 60);
	assert_string_equal(config.attempt.anchors, "/anchors");
	assert_string_equal(config.attempt.state, "/state");
	assert_null(config.attempt.clientcert);
	assert_null(config.attempt.clientkey);
	assert_int_equal(config.timeoutconnect, 60);
	assert_int_equal(config.notes, 9);
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

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_a_plan),
		cmocka_unit_test(plans_for_the_relay_of_a_route),
		cmocka_unit_test(stops_at_the_first_failure),
		cmocka_unit_test(writes_nothing_if_files_are_read_only),
		cmocka_unit_test(refuses_addresses_that_cannot_be_sent),
		cmocka_unit_test(sets_up_the_search),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
