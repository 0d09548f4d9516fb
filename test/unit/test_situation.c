/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "qmail/tlshosts.h"
#include "qmail/tlspolicy.h"
#include "qmail/tlsrequired.h"
#include "sts/lookup.h"

/* Fakes of everything that reads a file or fetches a policy. */
static int fake_policy(struct tlspolicy *, const struct table_files *,
    const char *, struct dsn *);
static int fake_inspect(struct tlshosts *, struct dsn *);
static int fake_hostfile(const struct tlshosts *, const char *,
    enum tlshosts_kind *, struct buf *, struct dsn *);
static void fake_header(struct tlsrequired *, int);
static void fake_begin(struct sts_lookup *, const struct sts_config *,
    const char *, int64_t);
static const struct sts_policy *fake_sts(const struct sts_lookup *);
static void fake_find(struct sts_lookup *, const struct sts_record *);
static bool fake_refetch(struct sts_lookup *);
static void fake_finish(struct sts_lookup *);

#define tlspolicy_find fake_policy
#define tlshosts_inspect fake_inspect
#define tlshosts_find fake_hostfile
#define tlsrequired_read fake_header
#define sts_lookup_begin fake_begin
#define sts_lookup_policy fake_sts
#define sts_lookup_find fake_find
#define sts_lookup_refetch fake_refetch
#define sts_lookup_finish fake_finish
#include "delivery/situation.c"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define NOW 1700000000
#define MESSAGE 8

/*
 * All that a situation depends on, as words:
 *	trusted			the resolver
 *	dane, mtasts, anchors, collector	these control files are there
 *	ignored, obeyed, reports	control/tlsrequired; the default is the
 *				last one
 *	none, may, encrypt, verify, line-dane, dane-only	the level of the
 *				line in control/tlspolicy
 *	no, report		what the header of the message says
 *	unread			there is no message
 *	nameless		the next hop cannot have an MTA-STS policy
 *	implicit, credentials	TLS from the first byte, AUTH
 */
static struct {
	const char *words;
	const char *next_hop; /* NULL: dst.example */
	bool is_relay;
	const char *fails;    /* the step that fails */
	const char *hostfile; /* of the host "b": clear, empty, pem */
	const struct sts_policy *policy;  /* of MTA-STS, in the cache */
	const struct sts_policy *fetched; /* by the next fetch, or NULL */
	struct sts_record record;         /* that was passed on */
	char log[100];
} world;

static struct table_files policies = { .text = "policies" };
static struct control control;
static struct situation_config config;

static bool
has(const char *word)
{
	size_t n = strlen(word);
	const char *at = world.words;

	while ((at = strstr(at, word)) != NULL) {
		if ((at == world.words || at[-1] == ' ') &&
		    (at[n] == ' ' || at[n] == '\0'))
			return true;
		at += n;
	}
	return false;
}

static int
step(const char *name, struct dsn *why)
{
	size_t n = strlen(world.log);

	snprintf(world.log + n, sizeof world.log - n, "%s%s", n ? " " : "",
	    name);
	if (world.fails == NULL || strcmp(world.fails, name) != 0)
		return 0;
	return dsn_set(why, "4.3.0", "%s", name);
}

static int
fake_policy(struct tlspolicy *p, const struct table_files *files,
    const char *next_hop, struct dsn *why)
{
	static const char *const levels[] = {
		[TLSPOLICY_ABSENT] = "",
		[TLSPOLICY_NONE] = "none",
		[TLSPOLICY_MAY] = "may",
		[TLSPOLICY_ENCRYPT] = "encrypt",
		[TLSPOLICY_VERIFY] = "verify",
		[TLSPOLICY_DANE] = "line-dane",
		[TLSPOLICY_DANE_ONLY] = "dane-only",
	};

	assert_ptr_equal(files, &policies);
	assert_string_equal(next_hop, config.next_hop);
	for (size_t i = 1; i < COUNT(levels); i++)
		if (has(levels[i]))
			p->level = (enum tlspolicy_level)i;
	if (has("attributes")) {
		buf_puts(&p->match, "a.example,.b");
		buf_puts(&p->anchors, "/own");
	}
	return step("policy", why);
}

static int
fake_inspect(struct tlshosts *files, struct dsn *why)
{
	files->has_pems = true;
	files->is_exhaustive = has("exhaustive");
	return step("inspect", why);
}

static int
fake_hostfile(const struct tlshosts *files, const char *name,
    enum tlshosts_kind *kind, struct buf *pem, struct dsn *why)
{
	assert_true(files->has_pems);
	if (world.hostfile == NULL || strcmp(name, "b") != 0)
		return 0;
	if (strcmp(world.hostfile, "clear") == 0)
		*kind = TLSHOSTS_CLEAR;
	else if (strcmp(world.hostfile, "empty") == 0)
		*kind = TLSHOSTS_ENCRYPT;
	else
		*kind = TLSHOSTS_VERIFY;
	if (*kind == TLSHOSTS_VERIFY)
		buf_puts(pem, "control/tlshosts/b.pem");
	return step("hostfile", why);
}

static void
fake_header(struct tlsrequired *header, int fd)
{
	assert_int_equal(fd, MESSAGE);
	header->is_no = has("no");
	header->is_report = has("report");
	step("header", NULL);
}

static void
fake_begin(struct sts_lookup *l, const struct sts_config *c,
    const char *next_hop, int64_t now)
{
	assert_ptr_equal(c, &config.sts);
	assert_string_equal(next_hop, config.next_hop);
	assert_int_equal(now, NOW);
	*l = (struct sts_lookup){ .config = c, .now = now };
	if (!has("nameless"))
		strcpy(l->domain, "dst.example");
	step("begin", NULL);
}

static const struct sts_policy *
fake_sts(const struct sts_lookup *l)
{
	assert_ptr_equal(l->config, &config.sts);
	return world.policy;
}

static void
fake_find(struct sts_lookup *l, const struct sts_record *record)
{
	assert_ptr_equal(l->config, &config.sts);
	world.record = *record;
	step("find", NULL);
}

static bool
fake_refetch(struct sts_lookup *l)
{
	assert_ptr_equal(l->config, &config.sts);
	step("refetch", NULL);
	if (world.fetched == NULL)
		return false;
	world.policy = world.fetched;
	return true;
}

static void
fake_finish(struct sts_lookup *l)
{
	assert_ptr_equal(l->config, &config.sts);
	step("finish", NULL);
}

/* Sets the world, and reads it. */
static int
read_words(struct situation *s, const char *words, struct dsn *why)
{
	world.words = words;
	world.log[0] = '\0';
	control.dane = has("dane");
	control.mtasts = has("mtasts") ? 5 : 0;
	control.tlsrequired = has("ignored")  ? CONTROL_TLSREQUIRED_IGNORED
			      : has("obeyed") ? CONTROL_TLSREQUIRED_OBEYED
					      : CONTROL_TLSREQUIRED_REPORTS;
	buf_cut(&control.trustanchors, 0);
	buf_cut(&control.tlsrptsocket, 0);
	if (has("anchors"))
		buf_puts(&control.trustanchors, "/anchors");
	if (has("collector"))
		buf_puts(&control.tlsrptsocket, "/socket");
	config = (struct situation_config){
		.control = &control,
		.policies = &policies,
		.next_hop = world.next_hop ? world.next_hop : "dst.example",
		.is_relay = world.is_relay,
		.is_trusted = has("trusted"),
		.is_implicit_tls = has("implicit"),
		.has_credentials = has("credentials"),
		.message = has("unread") ? -1 : MESSAGE,
	};
	*s = (struct situation){ 0 };
	*why = (struct dsn){ 0 };
	return situation_read(s, &config, NOW, why);
}

static void
reads(struct situation *s, const char *words)
{
	struct dsn why;

	if (read_words(s, words, &why) != 0)
		fail_msg("%s: %s", words, why.text);
}

static int
clear(void **state)
{
	(void)state;
	memset(&world, 0, sizeof world);
	return 0;
}

static int
free_control(void **state)
{
	(void)state;
	control_finish(&control);
	return 0;
}

/* "tlsa sts tlsrpt wait": what the DNS is asked for, and waited for. */
static const char *
asked(struct situation *s)
{
	static char text[40];
	struct lookup l = { .host = "dst.example" };

	situation_want(s, &l);
	assert_ptr_equal(l.texts, &s->texts);
	assert_int_equal(l.wants_tlsa, s->wants_tlsa);
	snprintf(text, sizeof text, "%s%s%s%s", l.wants_tlsa ? "tlsa " : "",
	    l.wants_sts ? "sts " : "", l.wants_tlsrpt ? "tlsrpt " : "",
	    l.sts_must_wait ? "wait " : "");
	if (text[0] != '\0')
		text[strlen(text) - 1] = '\0';
	return text;
}

/*
 * What is asked for.
 */

struct asked_case {
	const char *words, *asked;
	bool is_not_required;
};

static void
check_asked(const struct asked_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct situation s;

		reads(&s, cases[i].words);
		if (strcmp(asked(&s), cases[i].asked) != 0)
			fail_msg("%s: %s", cases[i].words, asked(&s));
		if (s.is_not_required != cases[i].is_not_required)
			fail_msg("%s: %d", cases[i].words, s.is_not_required);
		situation_finish(&s);
	}
}

static void
asks_for_tlsa_records(void **state)
{
	static const struct asked_case cases[] = {
		{ "", "", false },
		{ "dane", "", false },
		{ "trusted", "", false },
		{ "dane trusted", "tlsa", false },
		{ "dane trusted anchors", "tlsa", false },
		/* A line of control/tlspolicy. */
		{ "trusted line-dane", "tlsa", false },
		{ "trusted dane-only", "tlsa", false },
		{ "line-dane", "", false },
		{ "dane-only", "", false },
		{ "dane trusted none", "", false },
		{ "dane trusted may", "", false },
		{ "dane trusted encrypt", "", false },
		{ "dane trusted verify", "", false },
		{ "dane trusted line-dane", "tlsa", false },
		/* TLS-Required: no. */
		{ "dane trusted no", "tlsa", false },
		{ "dane trusted no ignored", "tlsa", false },
		{ "dane trusted no obeyed", "", true },
		{ "dane trusted no report", "", true },
		{ "dane trusted report", "tlsa", false },
		{ "dane trusted no report ignored", "tlsa", false },
		{ "dane trusted no obeyed unread", "tlsa", false },
		{ "dane trusted no obeyed line-dane", "tlsa", true },
		{ "dane trusted no obeyed dane-only", "tlsa", true },
		/* There it switches nothing off. */
		{ "trusted no obeyed line-dane", "tlsa", false },
	};

	(void)state;
	check_asked(cases, COUNT(cases));
}

static void
asks_for_mta_sts(void **state)
{
	static const struct asked_case cases[] = {
		{ "mtasts", "", false },
		{ "anchors", "", false },
		{ "mtasts anchors", "sts wait", false },
		{ "mtasts anchors dane", "sts wait", false },
		{ "mtasts anchors dane trusted", "tlsa sts wait", false },
		{ "mtasts anchors nameless", "", false },
		/* A line of control/tlspolicy. */
		{ "mtasts anchors none", "", false },
		{ "mtasts anchors may", "", false },
		{ "mtasts anchors encrypt", "", false },
		{ "mtasts anchors verify", "", false },
		{ "mtasts anchors trusted line-dane", "tlsa sts wait", false },
		{ "mtasts anchors trusted dane-only", "tlsa", false },
		/* TLS-Required: no. */
		{ "mtasts anchors no obeyed", "", true },
		{ "mtasts anchors no report", "", true },
		{ "mtasts anchors no", "sts wait", false },
		{ "mtasts anchors trusted line-dane no obeyed", "tlsa", true },
	};
	static const struct sts_policy policy;
	struct situation s;

	(void)state;
	check_asked(cases, COUNT(cases));
	/* With a policy in the cache the record is not waited for. */
	world.policy = &policy;
	reads(&s, "mtasts anchors");
	assert_string_equal(asked(&s), "sts");
	situation_finish(&s);
}

static void
asks_whether_there_is_a_tlsrpt_record(void **state)
{
	static const struct asked_case cases[] = {
		{ "collector", "tlsrpt", false },
		{ "collector none", "tlsrpt", false },
		/* Reports on how reports were sent would never end. */
		{ "collector no obeyed", "", true },
		{ "collector no report", "", true },
		{ "collector no", "tlsrpt", false },
		{ "collector no obeyed unread", "tlsrpt", false },
		{ "collector dane no obeyed", "", true },
		{ "collector dane no", "tlsrpt", false },
		{ "collector mtasts no report", "", true },
		{ "collector mtasts anchors dane trusted",
		    "tlsa sts tlsrpt wait", false },
	};

	(void)state;
	check_asked(cases, COUNT(cases));
}

/* No name, no texts; the resolver does not ask for TLSA records either. */
static void
asks_for_no_texts_of_an_address(void **state)
{
	static const char *const literals[] = { "192.0.2.1", "[192.0.2.1]",
		"2001:db8::1", "[2001:db8::1]", "[IPv6:2001:db8::1]" };

	(void)state;
	for (size_t i = 0; i < COUNT(literals); i++) {
		struct situation s;

		world.next_hop = literals[i];
		reads(&s, "mtasts anchors collector");
		assert_string_equal(asked(&s), "");
		assert_string_equal(world.log, "policy inspect header");
		assert_true(s.is_literal);
		situation_finish(&s);
	}
}

/* As those of a domain; the policy domain is the relay. */
static void
asks_for_the_texts_of_a_relay(void **state)
{
	struct situation s;

	(void)state;
	world.next_hop = "relay.example";
	world.is_relay = true;
	reads(&s, "mtasts anchors collector dane trusted");
	assert_string_equal(asked(&s), "tlsa sts tlsrpt wait");
	assert_false(s.is_literal);
	situation_finish(&s);
}

static void
reads_only_what_matters(void **state)
{
	static const struct {
		const char *words, *log;
	} cases[] = {
		{ "", "policy inspect" },
		{ "obeyed", "policy inspect" },
		{ "collector", "policy inspect header" },
		{ "collector ignored", "policy inspect" },
		{ "dane ignored", "policy inspect" },
		{ "dane unread", "policy inspect" },
		{ "dane", "policy inspect header" },
		{ "mtasts", "policy inspect header" },
		{ "mtasts anchors ignored", "policy inspect begin" },
		{ "mtasts anchors", "policy inspect header begin" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct situation s;

		reads(&s, cases[i].words);
		assert_string_equal(world.log, cases[i].log);
		situation_finish(&s);
	}
}

static void
fails_without_a_file_that_is_a_policy(void **state)
{
	static const struct {
		const char *fails, *log;
	} cases[] = {
		{ "policy", "policy" },
		{ "inspect", "policy inspect" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct situation s;
		struct dsn why;

		world.fails = cases[i].fails;
		assert_int_equal(read_words(&s,
				     "mtasts anchors verify attributes", &why),
		    -1);
		assert_string_equal(why.text, cases[i].fails);
		assert_string_equal(world.log, cases[i].log);
		situation_finish(&s);
	}
}

/*
 * The hosts.
 */

static struct mx_host hosts[3];

static struct mx_list
make_list(void)
{
	memset(hosts, 0, sizeof hosts);
	strcpy(hosts[0].name, "a");
	strcpy(hosts[1].name, "b");
	strcpy(hosts[2].name, "c.sub");
	return (struct mx_list){ .host = hosts, .nhost = COUNT(hosts) };
}

static void
finds(struct situation *s, const struct mx_list *list)
{
	struct dsn why = { 0 };

	if (situation_find(s, list, &why) != 0)
		fail_msg("%s", why.text);
	assert_int_equal(s->n, list->nhost);
}

static void
describes_what_holds_for_all_hosts(void **state)
{
	struct mx_list list = make_list();
	struct situation s;

	(void)state;
	control.tlsstrictness = 2;
	reads(&s, "");
	finds(&s, &list);
	for (size_t i = 0; i < s.n; i++) {
		const struct tls_situation *t = &s.of[i];

		assert_false(t->has_anchors);
		assert_int_equal(t->strictness, 2);
		assert_ptr_equal(t->name, hosts[i].name);
		assert_int_equal(t->rule, TLS_RULE_ABSENT);
		assert_null(t->match);
		assert_null(t->anchors);
		assert_int_equal(t->hostfile, TLS_HOSTFILE_ABSENT);
		assert_null(t->pem);
		assert_false(t->is_exhaustive);
		assert_false(t->is_not_required);
		assert_false(t->is_implicit || t->has_credentials);
		assert_false(t->is_trusted);
		assert_int_equal(t->dane, TLS_DANE_OFF);
		assert_null(t->tlsa);
		assert_int_equal(t->sts, TLS_STS_NONE);
		assert_false(t->is_listed);
	}
	situation_finish(&s);
	assert_null(s.of);
	control.tlsstrictness = 0;
	reads(&s, "anchors exhaustive trusted dane no obeyed verify attributes "
		  "implicit credentials");
	finds(&s, &list);
	for (size_t i = 0; i < s.n; i++) {
		const struct tls_situation *t = &s.of[i];

		assert_true(t->has_anchors && t->is_exhaustive);
		assert_true(t->is_not_required && t->is_trusted);
		assert_true(t->is_implicit && t->has_credentials);
		assert_int_equal(t->strictness, 0);
		assert_string_equal(t->match, "a.example,.b");
		assert_string_equal(t->anchors, "/own");
	}
	situation_finish(&s);
}

static void
translates_each_level_of_a_line(void **state)
{
	static const struct {
		const char *words;
		enum tls_rule rule;
	} cases[] = {
		{ "", TLS_RULE_ABSENT },
		{ "none", TLS_RULE_NONE },
		{ "may", TLS_RULE_MAY },
		{ "encrypt", TLS_RULE_ENCRYPT },
		{ "verify", TLS_RULE_VERIFY },
		{ "line-dane", TLS_RULE_DANE },
		{ "dane-only", TLS_RULE_DANE_ONLY },
	};
	struct mx_list list = make_list();

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct situation s;

		reads(&s, cases[i].words);
		finds(&s, &list);
		assert_int_equal(s.of[0].rule, cases[i].rule);
		situation_finish(&s);
	}
}

static void
finds_the_file_of_each_host(void **state)
{
	static const struct {
		const char *file;
		enum tls_hostfile kind;
		const char *pem; /* "": none */
	} cases[] = {
		{ NULL, TLS_HOSTFILE_ABSENT, "" },
		{ "clear", TLS_HOSTFILE_CLEAR, "" },
		{ "empty", TLS_HOSTFILE_ENCRYPT, "" },
		{ "pem", TLS_HOSTFILE_VERIFY, "control/tlshosts/b.pem" },
	};
	struct mx_list list = make_list();

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct situation s;

		world.hostfile = cases[i].file;
		reads(&s, "");
		finds(&s, &list);
		assert_int_equal(s.of[1].hostfile, cases[i].kind);
		assert_string_equal(s.of[1].pem ? s.of[1].pem : "",
		    cases[i].pem);
		assert_int_equal(s.of[0].hostfile, TLS_HOSTFILE_ABSENT);
		assert_int_equal(s.of[2].hostfile, TLS_HOSTFILE_ABSENT);
		assert_null(s.of[2].pem);
		situation_finish(&s);
	}
}

/* What was found before is freed all the same. */
static void
fails_with_the_file_of_a_host(void **state)
{
	struct mx_list list = make_list();
	struct dsn why = { 0 };
	struct situation s;

	(void)state;
	world.hostfile = "pem";
	world.fails = "hostfile";
	reads(&s, "mtasts anchors");
	assert_int_equal(situation_find(&s, &list, &why), -1);
	assert_string_equal(why.text, "hostfile");
	situation_finish(&s);
	assert_string_equal(world.log,
	    "policy inspect header begin find hostfile finish");
}

/* The records of host b, of these usages; 0 and 1 are not for SMTP. */
static void
add_records(struct dns_tlsa *tlsa, const char *usages)
{
	static const unsigned char digest[32];

	tlsa->outcome = DNS_TLSA_FOUND;
	strcpy(tlsa->base, "base.example");
	for (; *usages != '\0'; usages++)
		assert_true(tlsa_add(&tlsa->set, (uint8_t)(*usages - '0'), 1, 1,
		    digest, sizeof digest));
}

static void
describes_what_the_dns_says_of_dane(void **state)
{
	static const struct {
		const char *words;
		enum dns_tlsa_outcome outcome;
		const char *usages;
		enum tls_dane dane;
	} cases[] = {
		{ "", DNS_TLSA_UNASKED, "", TLS_DANE_OFF },
		{ "dane trusted", DNS_TLSA_UNASKED, "", TLS_DANE_ABSENT },
		{ "dane trusted", DNS_TLSA_NONE, "", TLS_DANE_ABSENT },
		{ "dane trusted", DNS_TLSA_FAILED, "", TLS_DANE_FAILED },
		{ "dane trusted", DNS_TLSA_FOUND, "3", TLS_DANE_USABLE },
		{ "dane trusted", DNS_TLSA_FOUND, "12", TLS_DANE_USABLE },
		{ "dane trusted", DNS_TLSA_FOUND, "01", TLS_DANE_UNUSABLE },
		{ "trusted line-dane", DNS_TLSA_NONE, "", TLS_DANE_ABSENT },
		{ "trusted dane-only", DNS_TLSA_FOUND, "3", TLS_DANE_USABLE },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mx_list list = make_list();
		struct situation s;

		hosts[1].tlsa.outcome = cases[i].outcome;
		if (cases[i].outcome == DNS_TLSA_FOUND)
			add_records(&hosts[1].tlsa, cases[i].usages);
		reads(&s, cases[i].words);
		finds(&s, &list);
		assert_int_equal(s.of[1].dane, cases[i].dane);
		assert_int_equal(s.of[0].dane,
		    s.wants_tlsa ? TLS_DANE_ABSENT : TLS_DANE_OFF);
		if (cases[i].outcome == DNS_TLSA_FOUND) {
			assert_ptr_equal(s.of[1].tlsa, &hosts[1].tlsa.set);
			assert_string_equal(s.of[1].tlsa_base, "base.example");
		} else {
			assert_null(s.of[1].tlsa);
			assert_null(s.of[1].tlsa_base);
			assert_null(s.of[1].tlsa_names);
		}
		situation_finish(&s);
		tlsa_finish(&hosts[1].tlsa.set);
	}
}

/* RFC 7672 section 3.2.2. */
static void
lists_the_names_for_dane_ta(void **state)
{
	static const struct {
		bool is_relay, is_implicit;
		const char *canonical, *names;
	} cases[] = {
		{ false, false, "", "base.example,dst.example" },
		{ false, false, "real.example",
		    "base.example,dst.example,real.example" },
		/* Not by MX records. */
		{ false, true, "", "base.example" },
		{ false, true, "real.example", "base.example" },
		{ true, true, "", "base.example" },
		{ true, false, "real.example", "base.example" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mx_list list = make_list();
		struct situation s;

		world.is_relay = cases[i].is_relay;
		list.is_implicit = cases[i].is_implicit;
		strcpy(list.canonical, cases[i].canonical);
		add_records(&hosts[1].tlsa, "2");
		reads(&s, "dane trusted");
		finds(&s, &list);
		assert_string_equal(s.of[1].tlsa_names, cases[i].names);
		assert_null(s.of[0].tlsa_names);
		situation_finish(&s);
		tlsa_finish(&hosts[1].tlsa.set);
	}
}

/* Names of the DNS may have any byte, but no name in a certificate has. */
static void
lists_only_host_names(void **state)
{
	static const struct {
		const char *base, *next_hop, *canonical;
		const char *names; /* "": none, only the base */
	} cases[] = {
		{ "a_b-1.example", "dst.example", "",
		    "a_b-1.example,dst.example" },
		{ "a,b.example", "dst.example", "", "dst.example" },
		{ "base.example", "d t.example", "a\\.b.example",
		    "base.example" },
		{ "a,b.example", "d t.example", "a=b.example", "" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mx_list list = make_list();
		struct situation s;

		world.next_hop = cases[i].next_hop;
		strcpy(list.canonical, cases[i].canonical);
		add_records(&hosts[1].tlsa, "2");
		strcpy(hosts[1].tlsa.base, cases[i].base);
		reads(&s, "dane trusted");
		finds(&s, &list);
		assert_string_equal(s.of[1].tlsa_base, cases[i].base);
		if (cases[i].names[0] == '\0')
			assert_null(s.of[1].tlsa_names);
		else
			assert_string_equal(s.of[1].tlsa_names, cases[i].names);
		situation_finish(&s);
		tlsa_finish(&hosts[1].tlsa.set);
	}
}

/* A policy of MTA-STS: each pattern on a line. */
static struct sts_policy
sts_policy(enum sts_mode mode, const char *patterns)
{
	struct sts_policy p = { .mode = mode };

	buf_puts(&p.mx, patterns);
	return p;
}

/* '+' in listed for a host that the policy has. */
static void
expect_sts(const struct situation *s, enum tls_sts sts, const char *listed)
{
	for (size_t i = 0; i < s->n; i++) {
		assert_int_equal(s->of[i].sts, sts);
		if (sts != TLS_STS_NONE)
			assert_int_equal(s->of[i].is_listed, listed[i] == '+');
	}
}

static void
describes_the_policy_of_mta_sts(void **state)
{
	static const struct {
		enum sts_mode mode;
		const char *patterns;
		enum tls_sts sts;
		const char *listed; /* which of the hosts */
	} cases[] = {
		{ STS_MODE_ENFORCE, "a\nb\n", TLS_STS_ENFORCE, "++-" },
		{ STS_MODE_ENFORCE, "*.sub\n", TLS_STS_ENFORCE, "--+" },
		{ STS_MODE_TESTING, "B\n", TLS_STS_TESTING, "-+-" },
		{ STS_MODE_TESTING, "z\n", TLS_STS_TESTING, "---" },
		{ STS_MODE_NONE, "a\n", TLS_STS_NONE, "---" },
	};
	struct mx_list list = make_list();
	struct situation s;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct sts_policy p =
		    sts_policy(cases[i].mode, cases[i].patterns);

		world.policy = &p;
		reads(&s, "mtasts anchors");
		finds(&s, &list);
		expect_sts(&s, cases[i].sts, cases[i].listed);
		assert_ptr_equal(situation_sts(&s), &p);
		situation_finish(&s);
		/* Not where it does not matter. */
		reads(&s, "mtasts");
		finds(&s, &list);
		expect_sts(&s, TLS_STS_NONE, "---");
		assert_null(situation_sts(&s));
		situation_finish(&s);
		sts_policy_finish(&p);
	}
	world.policy = NULL;
	reads(&s, "mtasts anchors");
	finds(&s, &list);
	expect_sts(&s, TLS_STS_NONE, "---");
	assert_null(situation_sts(&s));
	situation_finish(&s);
}

static void
passes_on_what_the_txt_records_say(void **state)
{
	static const struct {
		enum dns_outcome outcome;
		const char *texts[3];
		bool is_known;
		unsigned n;
		const char *id;
	} cases[] = {
		{ DNS_FOUND, { "v=STSv1; id=1", NULL }, true, 1, "1" },
		{ DNS_FOUND, { "other", "v=STSv1; id=2", NULL }, true, 1, "2" },
		{ DNS_FOUND, { "v=STSv1; id=1", "v=STSv1; id=2" }, true, 2,
		    "" },
		{ DNS_FOUND, { "other", NULL }, true, 0, "" },
		{ DNS_NODATA, { NULL }, true, 0, "" },
		{ DNS_NXDOMAIN, { NULL }, true, 0, "" },
		{ DNS_TEMPFAIL, { NULL }, false, 0, "" },
	};
	struct mx_list list = make_list();

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct situation s;
		struct dns_answer *a = &s.texts.sts;

		reads(&s, "mtasts anchors");
		a->outcome = cases[i].outcome;
		a->text = mem_alloc(2, sizeof *a->text);
		for (; a->ntext < 2 && cases[i].texts[a->ntext]; a->ntext++)
			buf_puts(&a->text[a->ntext], cases[i].texts[a->ntext]);
		finds(&s, &list);
		assert_int_equal(world.record.is_known, cases[i].is_known);
		assert_int_equal(world.record.n, cases[i].n);
		assert_string_equal(sts_record_id(&world.record), cases[i].id);
		situation_finish(&s);
		assert_string_equal(world.log,
		    "policy inspect header begin find finish");
	}
}

/* All hosts are described again if there is a newer policy, and only then. */
static void
fetches_a_policy_again(void **state)
{
	struct sts_policy old = sts_policy(STS_MODE_ENFORCE, "z\n");
	struct sts_policy new = sts_policy(STS_MODE_ENFORCE, "a\n*.sub\n");
	struct sts_policy none = sts_policy(STS_MODE_NONE, "");
	struct mx_list list = make_list();
	struct situation s;

	(void)state;
	world.policy = &old;
	reads(&s, "mtasts anchors");
	finds(&s, &list);
	expect_sts(&s, TLS_STS_ENFORCE, "---");
	assert_false(situation_refetch(&s, &list));
	expect_sts(&s, TLS_STS_ENFORCE, "---");
	world.fetched = &new;
	assert_true(situation_refetch(&s, &list));
	expect_sts(&s, TLS_STS_ENFORCE, "+-+");
	assert_ptr_equal(situation_sts(&s), &new);
	world.fetched = &none;
	assert_true(situation_refetch(&s, &list));
	expect_sts(&s, TLS_STS_NONE, "---");
	situation_finish(&s);
	/* Without MTA-STS nothing is fetched. */
	reads(&s, "mtasts");
	finds(&s, &list);
	assert_false(situation_refetch(&s, &list));
	assert_string_equal(world.log, "policy inspect header");
	situation_finish(&s);
	sts_policy_finish(&old);
	sts_policy_finish(&new);
	sts_policy_finish(&none);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(asks_for_tlsa_records, clear),
		cmocka_unit_test_setup(asks_for_mta_sts, clear),
		cmocka_unit_test_setup(asks_whether_there_is_a_tlsrpt_record,
		    clear),
		cmocka_unit_test_setup(asks_for_no_texts_of_an_address, clear),
		cmocka_unit_test_setup(asks_for_the_texts_of_a_relay, clear),
		cmocka_unit_test_setup(reads_only_what_matters, clear),
		cmocka_unit_test_setup(fails_without_a_file_that_is_a_policy,
		    clear),
		cmocka_unit_test_setup(describes_what_holds_for_all_hosts,
		    clear),
		cmocka_unit_test_setup(translates_each_level_of_a_line, clear),
		cmocka_unit_test_setup(finds_the_file_of_each_host, clear),
		cmocka_unit_test_setup(fails_with_the_file_of_a_host, clear),
		cmocka_unit_test_setup(describes_what_the_dns_says_of_dane,
		    clear),
		cmocka_unit_test_setup(lists_the_names_for_dane_ta, clear),
		cmocka_unit_test_setup(lists_only_host_names, clear),
		cmocka_unit_test_setup(describes_the_policy_of_mta_sts, clear),
		cmocka_unit_test_setup(passes_on_what_the_txt_records_say,
		    clear),
		cmocka_unit_test_setup(fetches_a_policy_again, clear),
	};

	return cmocka_run_group_tests(tests, NULL, free_control);
}
