/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "delivery/sessionkey.h"

#include "home.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* A delivery whose setup and plan were made: one host with an address. */
struct world {
	struct setup setup;
	struct plan plan;
	struct plan_host host[2];
	struct plan_address address[2];
	struct mx_host mx[2];
	struct tlsa_set tlsa;
	struct ip ip[4];
	char recipient[20], *recipients[2];
	struct concurrencyhosts limits;
	const char *limit; /* of the first host */
};

static struct ip
ip_of(const char *text)
{
	struct ip ip;

	assert_true(ip_parse(text, strlen(text), &ip));
	return ip;
}

static void
set(struct buf *b, const char *text)
{
	buf_cut(b, 0);
	buf_puts(b, text);
}

/* Without TLS, credentials, or any file but control/me. */
static void
make_plain(struct world *w)
{
	struct setup *s = &w->setup;

	memset(w, 0, sizeof *w);
	s->host = "dst.example";
	s->sender = "a@src.example";
	set(&s->domain, "dst.example");
	s->route.port = 25;
	set(&s->control.helohost, "me.example");
	s->control.timeoutconnect = 60;
	w->ip[0] = ip_of("192.0.2.1");
	w->ip[1] = ip_of("2001:db8::1");
	w->ip[2] = ip_of("198.51.100.1");
	w->ip[3] = ip_of("2001:db8::99");
	w->host[0] = (struct plan_host){ .name = "mx.example",
		.policy = { .level = TLS_LEVEL_MAY, .name = "mx.example" } };
	w->address[0] = (struct plan_address){ .ip = w->ip[0] };
	w->address[1] = (struct plan_address){ .ip = w->ip[1] };
	w->limit = "mx.example";
	s->limits = &w->limits;
	w->plan = (struct plan){ .host = w->host,
		.nhost = 2,
		.address = w->address,
		.naddress = 2,
		.port = 25 };
	s->list = (struct mx_list){ .host = w->mx, .nhost = 2 };
}

static void
add_records(struct world *w)
{
	assert_true(tlsa_add(&w->tlsa, 3, 1, 1, "0123456789abcdef", 16));
	assert_true(tlsa_add(&w->tlsa, 2, 0, 1, "fedcba9876543210", 16));
}

static void
read_limits(struct world *w)
{
	concurrencyhosts_finish(&w->limits);
	assert_int_equal(concurrencyhosts_read(&w->limits,
			     "control/concurrencyhosts", NULL),
	    0);
	assert_true(w->limits.has_version);
}

/* Everything is there: credentials, files, DANE, MTA-STS. */
static void
make_full(struct world *w)
{
	struct setup *s = &w->setup;
	struct login *l = &s->route.login;
	struct situation *situation = &s->situation;
	struct dsn why;

	make_plain(w);
	set(&s->route.relay, "relay.example");
	s->route.port = w->plan.port = 465;
	l->credentials.kind = CREDENTIALS_TOKEN;
	set(&l->credentials.user, "SECRET-user");
	set(&l->credentials.secret, "SECRET-token");
	set(&l->token, "token");
	l->file = "smtpauth";
	l->offset = 40;
	assert_int_equal(fileid_read(&l->version, "smtpauth"), 0);
	assert_int_equal(fileid_read(&l->token_version, "token"), 0);
	set(&s->control.trustanchors, "anchors");
	set(&s->control.clientcert, "cert");
	set(&s->control.clientkey, "key");
	s->control.tlsstrictness = s->control.dane = 1;
	s->control.mtasts = 5;
	s->dns.is_trusted = true;
	read_limits(w);
	assert_int_equal(helohosts_read(&s->helohosts, "control/helohosts",
			     &why),
	    0);
	s->outgoing[0] = (struct outgoing){ true, w->ip[3], { 0 } };
	s->outgoing[1] = (struct outgoing){ true, w->ip[2], { 0 } };
	w->plan.source[0].ip = &s->outgoing[0].ip;
	w->plan.source[1].ip = &s->outgoing[1].ip;
	s->envelope.needs_smtputf8 = true;
	set(&situation->rule.line, "relay.example:dane");
	set(&situation->rule.anchors, "rule.pem");
	situation->files = (struct tlshosts){ true, true, true };
	situation->wants_sts = true;
	situation->sts.source = STS_SOURCE_CACHE;
	situation->sts.expires = 2000;
	snprintf(situation->sts.entry.id, STS_ID_SIZE, "id1");
	situation->sts.entry.policy.mode = STS_MODE_ENFORCE;
	set(&situation->sts.entry.policy.mx, "*.example\n");
	add_records(w);
	w->host[0].policy = (struct tls_policy){
		.level = TLS_LEVEL_DANE,
		.name = "mx.example",
		.names = "mx.example,dst.example",
		.tlsa = &w->tlsa,
		.source = TLS_FROM_DANE,
		.is_implicit = true,
		.unusable = { TLS_LEVEL_VERIFY, TLS_FROM_STS_TESTING,
		    TLS_SKIP_NOT, "mx.example" },
		.is_unlisted = true,
	};
	w->mx[0].tlsa.ttl_s = 500;
}

/* A line of control/tlspolicy has names and anchors. */
static void
make_verified(struct world *w)
{
	make_full(w);
	w->host[0].policy = (struct tls_policy){
		.level = TLS_LEVEL_VERIFY,
		.name = "mx.example",
		.names = "mx.example",
		.anchors = "rule.pem",
		.source = TLS_FROM_RULE,
	};
}

static void
make_tested(struct world *w)
{
	make_plain(w);
	set(&w->setup.control.trustanchors, "anchors");
	w->host[0].policy.source = TLS_FROM_STS_TESTING;
}

static void
make_clear(struct world *w)
{
	make_plain(w);
	w->host[0].policy.level = TLS_LEVEL_NONE;
}

static void
finish(struct world *w)
{
	struct setup *s = &w->setup;

	control_finish(&s->control);
	route_finish(&s->route);
	helohosts_finish(&s->helohosts);
	concurrencyhosts_finish(&w->limits);
	buf_finish(&s->domain);
	for (size_t i = 0; i < 2; i++)
		buf_finish(&s->source_fault[i]);
	tlspolicy_finish(&s->situation.rule);
	sts_policy_finish(&s->situation.sts.entry.policy);
	tlsa_finish(&w->tlsa);
}

/* Both keys. */
struct keys {
	struct buf key[2];
};

static void
make_keys(const struct world *w, struct keys *k)
{
	sessionkey_by_next_hop(&w->setup, &k->key[0]);
	sessionkey_by_address(&w->setup, &w->plan, 0, w->limit, &k->key[1]);
}

static bool
is_same(const struct buf *a, const struct buf *b)
{
	return a->len == b->len &&
	       memcmp(buf_text(a), buf_text(b), a->len) == 0;
}

static void
finish_keys(struct keys *k)
{
	buf_finish(&k->key[0]);
	buf_finish(&k->key[1]);
}

static void
write_files(void)
{
	assert_int_equal(mkdir("control", 0700), 0);
	assert_int_equal(mkdir("control/tlshosts", 0700), 0);
	assert_int_equal(mkdir("control/notlshosts", 0700), 0);
	home_put("control/tlshosts/mx.example.pem", "x");
	home_put("control/tlshosts/exhaustivelist", "");
	home_put("control/notlshosts/no.example", "");
	home_put("control/concurrencyhosts", "x");
	home_put("smtpauth", "relay.example|SECRET-user|token=token\n");
	home_put("token", "SECRET-token");
	home_put("anchors", "x");
	home_put("rule.pem", "x");
	home_put("cert", "x");
	home_put("key", "SECRET-key");
	home_put("other", "x");
	home_put("control/helohosts",
	    "198.51.100.1:four.example\n2001:db8::99:six.example\n");
}

/* Puts another file in the place of one, with the same bytes. */
static void
replace(const char *path)
{
	home_put("new", "x");
	assert_int_equal(rename("new", path), 0);
}

/* The same file, with another time. */
static void
touch(const char *path)
{
	const struct timespec times[2] = { { 1, 1 }, { 1, 1 } };

	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void
read_login(struct world *w)
{
	struct login *l = &w->setup.route.login;

	assert_int_equal(fileid_read(&l->version, "smtpauth"), 0);
	assert_int_equal(fileid_read(&l->token_version, "token"), 0);
}

/*
 * What a key may depend on, each in a change that concerns nothing else.
 */

enum field {
	/* What is looked for, and how. */
	NEXT_HOP,
	NO_RELAY,
	PORT,
	FAMILY,
	ADDRESS,
	SOURCE6,
	SOURCE4,
	NO_SOURCE4,
	UNUSABLE_SOURCE,
	HELOHOST,
	HELOHOSTS,
	NO_HELOHOSTS,
	NO_SMTPUTF8,
	ONLY_HELO,
	/* Files. */
	NO_CREDENTIALS,
	CREDENTIALS_FILE,
	CREDENTIALS_LINE,
	CREDENTIALS_CHANGED,
	PASSWORD,
	TOKEN_FILE,
	TOKEN_CHANGED,
	NO_CERTIFICATE,
	CERTIFICATE_FILE,
	CERTIFICATE_REPLACED,
	CERTIFICATE_TOUCHED,
	KEY_FILE,
	KEY_REPLACED,
	NO_KEY,
	ANCHORS_FILE,
	ANCHORS_REPLACED,
	ANCHORS_TOUCHED,
	NO_ANCHORS,
	OTHER_LIMIT,
	LIMITS_REPLACED,
	NO_LIMITS,
	/* What policies depend on here. */
	RULE,
	NO_RULE,
	RULE_ANCHORS_REPLACED,
	STRICTNESS,
	DANE,
	TRUSTED,
	MTASTS,
	NOT_REQUIRED,
	NO_TLSHOSTS,
	NO_NOTLSHOSTS,
	NOT_EXHAUSTIVE,
	PEM_ADDED,
	PEM_CHANGED,
	PEM_REPLACED,
	EXCEPTION_ADDED,
	STS_ID,
	STS_MODE,
	STS_MX,
	NO_STS,
	/* The policy of a host. */
	LEVEL,
	SOURCE,
	IMPLICIT,
	WITHOUT_USABLE,
	NAME,
	NAMES,
	NO_NAMES,
	POLICY_ANCHORS,
	NO_POLICY_ANCHORS,
	UNLISTED,
	RECORD_USAGE,
	RECORD_SELECTOR,
	RECORD_MATCHING,
	RECORD_DATA,
	RECORD_MISSING,
	RECORD_ORDER,
	UNUSABLE_LEVEL,
	UNUSABLE_SOURCE_STEP,
	UNUSABLE_SKIP,
	UNUSABLE_NAME,
	/* What no session depends on. */
	CASE_OF_NEXT_HOP,
	SENDER,
	RECIPIENTS,
	MESSAGE,
	TIMEOUTS,
	TLSRPTSOCKET,
	IPME,
	ORDER_OF_HOSTS,
	OTHER_ADDRESS,
	OTHER_HOST,
	STALLED,
	OTHER_FILES,
	FIELDS
};

static void
change_setup(struct world *w, enum field field)
{
	struct setup *s = &w->setup;

	switch (field) {
	case NEXT_HOP:
		set(setup_is_relayed(s) ? &s->route.relay : &s->domain,
		    "other.example");
		break;
	case NO_RELAY:
		set(&s->domain, buf_text(&s->route.relay));
		buf_cut(&s->route.relay, 0);
		break;
	case PORT:
		s->route.port = w->plan.port = 26;
		break;
	case FAMILY:
		s->family = IPFAMILY_46;
		break;
	case ADDRESS:
		w->address[0].ip = ip_of("192.0.2.2");
		break;
	case SOURCE6:
		s->outgoing[0].is_given = true;
		s->outgoing[0].ip = ip_of("2001:db8::98");
		break;
	case SOURCE4:
		s->outgoing[1].is_given = true;
		s->outgoing[1].ip = ip_of("198.51.100.2");
		w->plan.source[1].ip = &s->outgoing[1].ip;
		break;
	case NO_SOURCE4:
		s->outgoing[1].is_given = false;
		w->plan.source[1].ip = NULL;
		break;
	case UNUSABLE_SOURCE:
		set(&s->source_fault[0], "not an address of this machine");
		break;
	case HELOHOST:
		set(&s->control.helohost, "you.example");
		break;
	case HELOHOSTS:
		touch("control/helohosts");
		assert_int_equal(fileid_read(&s->helohosts.version,
				     "control/helohosts"),
		    0);
		break;
	case NO_HELOHOSTS:
		helohosts_finish(&s->helohosts);
		break;
	case NO_SMTPUTF8:
		s->envelope.needs_smtputf8 = !s->envelope.needs_smtputf8;
		break;
	case ONLY_HELO:
		w->address[0].noted[MEMORY_EHLO] = 1;
		break;
	default:
		break;
	}
}

static void
change_credentials(struct world *w, enum field field)
{
	struct login *l = &w->setup.route.login;

	switch (field) {
	case NO_CREDENTIALS:
		login_finish(l);
		break;
	case CREDENTIALS_FILE:
		l->file = "authsenders";
		break;
	case CREDENTIALS_LINE:
		l->offset++;
		break;
	case CREDENTIALS_CHANGED:
		home_put("smtpauth", "x");
		read_login(w);
		break;
	case PASSWORD:
		l->credentials.kind = CREDENTIALS_PASSWORD;
		break;
	case TOKEN_FILE:
		set(&l->token, "other");
		break;
	case TOKEN_CHANGED:
		touch("token");
		read_login(w);
		break;
	default:
		break;
	}
}

static void
change_files(struct world *w, enum field field)
{
	struct control *c = &w->setup.control;

	switch (field) {
	case NO_CERTIFICATE:
		buf_cut(&c->clientcert, 0);
		break;
	case CERTIFICATE_FILE:
		set(&c->clientcert, "other");
		break;
	case CERTIFICATE_REPLACED:
		replace("cert");
		break;
	case CERTIFICATE_TOUCHED:
		touch("cert");
		break;
	case KEY_FILE:
		set(&c->clientkey, "other");
		break;
	case KEY_REPLACED:
		replace("key");
		break;
	case NO_KEY:
		buf_cut(&c->clientkey, 0);
		break;
	case ANCHORS_FILE:
		set(&c->trustanchors, "other");
		break;
	case ANCHORS_REPLACED:
		replace("anchors");
		break;
	case ANCHORS_TOUCHED:
		touch("anchors");
		break;
	case NO_ANCHORS:
		buf_cut(&c->trustanchors, 0);
		break;
	case OTHER_LIMIT:
		w->limit = ".example";
		break;
	case LIMITS_REPLACED:
		replace("control/concurrencyhosts");
		read_limits(w);
		break;
	case NO_LIMITS:
		w->limits.has_version = false;
		break;
	case RULE_ANCHORS_REPLACED:
		replace("rule.pem");
		break;
	case PEM_ADDED:
		home_put("control/tlshosts/new.pem", "x");
		break;
	case PEM_CHANGED:
		home_put("control/tlshosts/mx.example.pem", "xyz");
		break;
	case PEM_REPLACED:
		replace("control/tlshosts/mx.example.pem");
		break;
	case EXCEPTION_ADDED:
		home_put("control/notlshosts/new.example", "");
		break;
	case OTHER_FILES:
		home_put("control/ipme", "192.0.2.77\n");
		home_put("other", "xyz");
		break;
	default:
		break;
	}
}

static void
change_inputs(struct world *w, enum field field)
{
	struct setup *s = &w->setup;
	struct situation *situation = &s->situation;

	switch (field) {
	case RULE:
		set(&situation->rule.line, "relay.example:dane-only");
		break;
	case NO_RULE:
		buf_finish(&situation->rule.line);
		break;
	case STRICTNESS:
		s->control.tlsstrictness = 2;
		break;
	case DANE:
		s->control.dane = !s->control.dane;
		break;
	case TRUSTED:
		s->dns.is_trusted = !s->dns.is_trusted;
		break;
	case MTASTS:
		s->control.mtasts++;
		break;
	case NOT_REQUIRED:
		situation->is_not_required = true;
		break;
	case NO_TLSHOSTS:
		situation->files.has_pems = false;
		break;
	case NO_NOTLSHOSTS:
		situation->files.has_exceptions = false;
		break;
	case NOT_EXHAUSTIVE:
		situation->files.is_exhaustive = false;
		break;
	case STS_ID:
		snprintf(situation->sts.entry.id, STS_ID_SIZE, "id2");
		break;
	case STS_MODE:
		situation->sts.entry.policy.mode = STS_MODE_TESTING;
		break;
	case STS_MX:
		set(&situation->sts.entry.policy.mx, "mx.example\n");
		break;
	case NO_STS:
		situation->sts.source = STS_SOURCE_NONE;
		break;
	default:
		break;
	}
}

static void
change_policy(struct world *w, enum field field)
{
	struct tls_policy *p = &w->host[0].policy;

	switch (field) {
	case LEVEL:
		p->level = TLS_LEVEL_ENCRYPT;
		break;
	case SOURCE:
		p->source = TLS_FROM_CREDENTIALS;
		break;
	case IMPLICIT:
		p->is_implicit = !p->is_implicit;
		break;
	case WITHOUT_USABLE:
		p->is_without_usable = true;
		break;
	case NAME:
		p->name = "mx2.example";
		break;
	case NAMES:
		p->names = "mx2.example";
		break;
	case NO_NAMES:
		p->names = NULL;
		break;
	case POLICY_ANCHORS:
		p->anchors = "other";
		break;
	case NO_POLICY_ANCHORS:
		p->anchors = NULL;
		break;
	case UNLISTED:
		p->is_unlisted = !p->is_unlisted;
		break;
	case UNUSABLE_LEVEL:
		p->unusable.level = TLS_LEVEL_ENCRYPT;
		break;
	case UNUSABLE_SOURCE_STEP:
		p->unusable.source = TLS_FROM_STRICTNESS;
		break;
	case UNUSABLE_SKIP:
		p->unusable.skip = TLS_SKIP_STS;
		break;
	case UNUSABLE_NAME:
		p->unusable.name = "mx2.example";
		break;
	default:
		break;
	}
}

static void
change_records(struct world *w, enum field field)
{
	struct tlsa *record = w->tlsa.record;
	const struct tlsa first =
	    record != NULL ? record[0] : (struct tlsa){ 0 };

	switch (field) {
	case RECORD_USAGE:
		record[1].usage = 3;
		break;
	case RECORD_SELECTOR:
		record[1].selector = 1;
		break;
	case RECORD_MATCHING:
		record[1].matching = 2;
		break;
	case RECORD_DATA:
		w->tlsa.data.data[w->tlsa.data.len - 1] ^= 1;
		break;
	case RECORD_MISSING:
		w->tlsa.n = 1;
		break;
	case RECORD_ORDER:
		record[0] = record[1];
		record[1] = first;
		break;
	default:
		break;
	}
}

static void
change_what_does_not_matter(struct world *w, enum field field)
{
	struct setup *s = &w->setup;

	switch (field) {
	case CASE_OF_NEXT_HOP:
		set(setup_is_relayed(s) ? &s->route.relay : &s->domain,
		    setup_is_relayed(s) ? "Relay.EXAMPLE" : "Dst.EXAMPLE");
		break;
	case SENDER:
		s->sender = "b@other.example";
		break;
	case RECIPIENTS:
		strcpy(w->recipient, "x@dst.example");
		w->recipients[0] = w->recipient;
		s->envelope.address = w->recipients;
		break;
	case MESSAGE:
		s->message = 7;
		break;
	case TIMEOUTS:
		s->control.timeoutconnect = s->control.timeoutdns = 1;
		s->control.timeoutremote = 1;
		break;
	case TLSRPTSOCKET:
		set(&s->control.tlsrptsocket, "/run/tlsrpt");
		break;
	case IPME:
		s->ipme.ninterface = 1;
		break;
	case ORDER_OF_HOSTS:
		w->host[0].preference = 20;
		break;
	case OTHER_ADDRESS:
		w->address[1].ip = ip_of("192.0.2.3");
		break;
	case OTHER_HOST:
		w->host[1].name = "mx9.example";
		w->host[1].policy.level = TLS_LEVEL_NONE;
		break;
	case STALLED:
		w->address[0].noted[MEMORY_STALL] = 1;
		w->address[0].noted[MEMORY_PIPELINING] = 1;
		break;
	default:
		break;
	}
}

static void
change(struct world *w, enum field field)
{
	change_setup(w, field);
	change_credentials(w, field);
	change_files(w, field);
	change_inputs(w, field);
	change_policy(w, field);
	change_records(w, field);
	change_what_does_not_matter(w, field);
}

/* Which key a field is in. */
enum { NEITHER = 0, KEY1 = 1, KEY2 = 2, BOTH = 3 };

struct expectation {
	enum field field;
	int keys;
};

/* Where everything is there. */
static const struct expectation with_all[] = {
	{ NEXT_HOP, KEY1 },
	{ NO_RELAY, KEY1 },
	{ PORT, BOTH },
	{ FAMILY, KEY1 },
	{ ADDRESS, KEY2 },
	{ SOURCE6, KEY1 },
	{ SOURCE4, BOTH },
	{ NO_SOURCE4, BOTH },
	{ UNUSABLE_SOURCE, KEY1 },
	{ HELOHOST, BOTH },
	{ HELOHOSTS, BOTH },
	{ NO_HELOHOSTS, BOTH },
	{ NO_SMTPUTF8, BOTH },
	{ ONLY_HELO, NEITHER },
	{ NO_CREDENTIALS, BOTH },
	{ CREDENTIALS_FILE, BOTH },
	{ CREDENTIALS_LINE, BOTH },
	{ CREDENTIALS_CHANGED, BOTH },
	{ PASSWORD, BOTH },
	{ TOKEN_FILE, BOTH },
	{ TOKEN_CHANGED, BOTH },
	{ NO_CERTIFICATE, BOTH },
	{ CERTIFICATE_FILE, BOTH },
	{ CERTIFICATE_REPLACED, BOTH },
	{ CERTIFICATE_TOUCHED, BOTH },
	{ KEY_FILE, BOTH },
	{ KEY_REPLACED, BOTH },
	{ NO_KEY, BOTH },
	{ ANCHORS_FILE, BOTH },
	{ ANCHORS_REPLACED, BOTH },
	{ ANCHORS_TOUCHED, BOTH },
	{ NO_ANCHORS, BOTH },
	{ OTHER_LIMIT, KEY2 },
	{ LIMITS_REPLACED, BOTH },
	{ NO_LIMITS, BOTH },
	{ RULE, KEY1 },
	{ NO_RULE, KEY1 },
	{ RULE_ANCHORS_REPLACED, KEY1 },
	{ STRICTNESS, KEY1 },
	{ DANE, KEY1 },
	{ TRUSTED, KEY1 },
	{ MTASTS, KEY1 },
	{ NOT_REQUIRED, KEY1 },
	{ NO_TLSHOSTS, KEY1 },
	{ NO_NOTLSHOSTS, KEY1 },
	{ NOT_EXHAUSTIVE, KEY1 },
	{ PEM_ADDED, KEY1 },
	{ PEM_CHANGED, KEY1 },
	{ PEM_REPLACED, KEY1 },
	{ EXCEPTION_ADDED, KEY1 },
	{ STS_ID, KEY1 },
	{ STS_MODE, KEY1 },
	{ STS_MX, KEY1 },
	{ NO_STS, KEY1 },
	{ LEVEL, KEY2 },
	{ SOURCE, KEY2 },
	{ IMPLICIT, KEY2 },
	{ WITHOUT_USABLE, KEY2 },
	{ NAME, KEY2 },
	{ NAMES, KEY2 },
	{ NO_NAMES, KEY2 },
	{ UNLISTED, KEY2 },
	{ RECORD_USAGE, KEY2 },
	{ RECORD_SELECTOR, KEY2 },
	{ RECORD_MATCHING, KEY2 },
	{ RECORD_DATA, KEY2 },
	{ RECORD_MISSING, KEY2 },
	{ RECORD_ORDER, KEY2 },
	{ UNUSABLE_LEVEL, KEY2 },
	{ UNUSABLE_SOURCE_STEP, KEY2 },
	{ UNUSABLE_SKIP, KEY2 },
	{ UNUSABLE_NAME, KEY2 },
	{ CASE_OF_NEXT_HOP, NEITHER },
	{ SENDER, NEITHER },
	{ RECIPIENTS, NEITHER },
	{ MESSAGE, NEITHER },
	{ TIMEOUTS, NEITHER },
	{ TLSRPTSOCKET, NEITHER },
	{ IPME, NEITHER },
	{ ORDER_OF_HOSTS, NEITHER },
	{ OTHER_ADDRESS, NEITHER },
	{ OTHER_HOST, NEITHER },
	{ STALLED, NEITHER },
	{ OTHER_FILES, NEITHER },
};

/* Where a chain is verified, which the TLSA records do not matter for. */
static const struct expectation verified[] = {
	{ NAME, KEY2 },
	{ NAMES, KEY2 },
	{ NO_NAMES, KEY2 },
	{ POLICY_ANCHORS, KEY2 },
	{ NO_POLICY_ANCHORS, KEY2 },
	{ RULE_ANCHORS_REPLACED, BOTH },
	{ ANCHORS_REPLACED, KEY1 },
	{ LEVEL, KEY2 },
	{ SOURCE, KEY2 },
	{ IMPLICIT, KEY2 },
	{ RECORD_DATA, NEITHER },
};

/* Where any certificate will do, and MTA-STS in testing mode looks at it. */
static const struct expectation tested[] = {
	{ NAME, KEY2 },
	{ UNLISTED, KEY2 },
	{ ANCHORS_REPLACED, BOTH },
	{ LEVEL, KEY2 },
};

/* In clear text. */
static const struct expectation clear[] = {
	{ ONLY_HELO, KEY2 },
	{ LEVEL, KEY2 },
	{ SOURCE, KEY2 },
	{ NAME, NEITHER },
};

/* Without files, where no certificate is verified. */
static const struct expectation plain[] = {
	{ NEXT_HOP, KEY1 },
	{ PORT, BOTH },
	{ FAMILY, KEY1 },
	{ ADDRESS, KEY2 },
	{ SOURCE6, KEY1 },
	{ SOURCE4, BOTH },
	{ UNUSABLE_SOURCE, KEY1 },
	{ HELOHOST, BOTH },
	{ HELOHOSTS, NEITHER },
	{ NO_SMTPUTF8, BOTH },
	{ ONLY_HELO, KEY2 },
	{ ANCHORS_FILE, KEY1 },
	{ CERTIFICATE_FILE, BOTH },
	{ KEY_FILE, NEITHER },
	{ RULE, KEY1 },
	{ STRICTNESS, KEY1 },
	{ DANE, KEY1 },
	{ TRUSTED, KEY1 },
	{ MTASTS, KEY1 },
	{ NOT_REQUIRED, KEY1 },
	{ LEVEL, KEY2 },
	{ SOURCE, KEY2 },
	{ IMPLICIT, KEY2 },
	/* Whose certificate it is does not matter. */
	{ NAME, NEITHER },
	{ PEM_ADDED, NEITHER },
	{ EXCEPTION_ADDED, NEITHER },
	{ SENDER, NEITHER },
	{ TIMEOUTS, NEITHER },
};

/* Before and after, whichever of the two is the session and which asks. */
static void
compare(void (*make)(struct world *), const struct expectation *e)
{
	struct keys before = { 0 }, after = { 0 };
	struct world w;

	write_files();
	make(&w);
	make_keys(&w, &before);
	change(&w, e->field);
	make_keys(&w, &after);
	for (size_t i = 0; i < 2; i++) {
		bool differs = (e->keys & (1 << i)) != 0;

		if (before.key[i].len == 0 || after.key[i].len == 0)
			fail_msg("field %d: no key %zu", (int)e->field, i + 1);
		if (is_same(&before.key[i], &after.key[i]) == differs)
			fail_msg("field %d, key %zu:\n%s", (int)e->field, i + 1,
			    buf_text(&after.key[i]));
	}
	finish_keys(&before);
	finish_keys(&after);
	finish(&w);
	assert_int_equal(home_clear(NULL), 0);
}

static void
depends_on_each_field(void **state)
{
	bool is_done[FIELDS] = { false };

	(void)state;
	for (size_t i = 0; i < COUNT(with_all); i++) {
		compare(make_full, &with_all[i]);
		is_done[with_all[i].field] = true;
	}
	for (size_t i = 0; i < COUNT(verified); i++) {
		compare(make_verified, &verified[i]);
		is_done[verified[i].field] = true;
	}
	for (size_t i = 0; i < COUNT(plain); i++)
		compare(make_plain, &plain[i]);
	for (size_t i = 0; i < COUNT(clear); i++)
		compare(make_clear, &clear[i]);
	for (size_t i = 0; i < COUNT(tested); i++)
		compare(make_tested, &tested[i]);
	for (size_t i = 0; i < FIELDS; i++)
		if (!is_done[i])
			fail_msg("field %zu", i);
}

/* Two that have changed in different fields share no key either. */
static void
differs_by_any_two_fields(void **state)
{
	static struct keys all[COUNT(with_all)];

	(void)state;
	write_files();
	for (size_t i = 0; i < COUNT(with_all); i++) {
		struct world w;

		make_full(&w);
		change(&w, with_all[i].field);
		make_keys(&w, &all[i]);
		finish(&w);
	}
	for (size_t i = 0; i < COUNT(with_all); i++)
		for (size_t j = 0; j < i; j++)
			for (size_t k = 0; k < 2; k++)
				if ((with_all[i].keys & with_all[j].keys &
					(1 << k)) != 0 &&
				    is_same(&all[i].key[k], &all[j].key[k]))
					fail_msg("fields %zu and %zu", i, j);
	for (size_t i = 0; i < COUNT(with_all); i++)
		finish_keys(&all[i]);
	assert_int_equal(home_clear(NULL), 0);
}

/* A session in clear text, or with any certificate, serves none of these. */
static void
separates_all_levels_and_sources(void **state)
{
	enum {
		LEVELS = TLS_LEVEL_DANE + 1,
		SOURCES = TLS_FROM_CREDENTIALS + 1
	};
	static struct buf key[LEVELS * SOURCES];
	struct world w;

	(void)state;
	write_files();
	make_plain(&w);
	set(&w.setup.control.trustanchors, "anchors");
	add_records(&w);
	for (size_t i = 0; i < COUNT(key); i++) {
		w.host[0].policy = (struct tls_policy){
			.level = (enum tls_level)(i / SOURCES),
			.source = (enum tls_source)(i % SOURCES),
			.name = "mx.example",
			.tlsa = &w.tlsa,
		};
		sessionkey_by_address(&w.setup, &w.plan, 0, w.limit, &key[i]);
		assert_true(key[i].len > 0);
		for (size_t j = 0; j < i; j++)
			if (is_same(&key[i], &key[j]))
				fail_msg("%zu is as %zu", i, j);
	}
	for (size_t i = 0; i < COUNT(key); i++)
		buf_finish(&key[i]);
	finish(&w);
	assert_int_equal(home_clear(NULL), 0);
}

/* Each of these has one, and no other delivery has the same. */
static void
verifies_by_the_anchors_that_hold(void **state)
{
	static const struct {
		struct tls_policy policy;
		bool needs_anchors;
	} cases[] = {
		{ { .level = TLS_LEVEL_NONE }, false },
		{ { .level = TLS_LEVEL_MAY }, false },
		{ { .level = TLS_LEVEL_ENCRYPT }, false },
		{ { .level = TLS_LEVEL_VERIFY }, true },
		{ { .level = TLS_LEVEL_VERIFY, .anchors = "other" }, false },
		{ { .level = TLS_LEVEL_MAY, .source = TLS_FROM_STS_TESTING },
		    true },
		{ { .level = TLS_LEVEL_DANE }, false },
		{ { .level = TLS_LEVEL_DANE,
		      .unusable = { TLS_LEVEL_ENCRYPT, TLS_FROM_DANE,
			  TLS_SKIP_NOT, NULL } },
		    false },
		{ { .level = TLS_LEVEL_DANE,
		      .unusable = { TLS_LEVEL_ENCRYPT, TLS_FROM_STS_TESTING,
			  TLS_SKIP_NOT, NULL } },
		    true },
		{ { .level = TLS_LEVEL_DANE,
		      .unusable = { TLS_LEVEL_VERIFY, TLS_FROM_DANE,
			  TLS_SKIP_NOT, NULL } },
		    true },
	};

	(void)state;
	write_files();
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct buf before = { 0 }, after = { 0 };
		struct world w;

		make_plain(&w);
		set(&w.setup.control.trustanchors, "anchors");
		add_records(&w);
		w.host[0].policy = cases[i].policy;
		w.host[0].policy.tlsa = &w.tlsa;
		sessionkey_by_address(&w.setup, &w.plan, 0, w.limit, &before);
		replace("anchors");
		sessionkey_by_address(&w.setup, &w.plan, 0, w.limit, &after);
		if (is_same(&before, &after) == cases[i].needs_anchors)
			fail_msg("%zu", i);
		buf_finish(&before);
		buf_finish(&after);
		finish(&w);
	}
	assert_int_equal(home_clear(NULL), 0);
}

static size_t
count_lines(const struct buf *key)
{
	size_t n = 0;

	for (size_t i = 0; i < key->len; i++) {
		n += key->data[i] == '\n';
		assert_true(key->data[i] == '\n' ||
			    ((unsigned char)key->data[i] >= ' ' &&
				key->data[i] != '\x7f'));
	}
	return n;
}

/* Whatever byte is in it, a value is one line, and no other value is the same.
 */
static void
keeps_bytes_apart(void **state)
{
	static struct buf all[256 + 2];
	char text[10] = "a?b";
	struct world w;
	size_t lines;

	(void)state;
	make_plain(&w);
	sessionkey_by_next_hop(&w.setup, &all[0]);
	lines = count_lines(&all[0]);
	for (size_t i = 1; i < COUNT(all); i++) {
		if (i < 256)
			text[1] = (char)i;
		else
			snprintf(text, sizeof text,
			    i == 256 ? "a%%0Ab" : "a%%%%0Ab");
		set(&w.setup.control.helohost, text);
		sessionkey_by_next_hop(&w.setup, &all[i]);
		assert_int_equal(count_lines(&all[i]), lines);
		for (size_t j = 0; j < i; j++)
			if (is_same(&all[i], &all[j]))
				fail_msg("%zu is as %zu", i, j);
	}
	assert_non_null(strstr(buf_text(&all['\n']), "\nhelohost a%0Ab\n"));
	assert_non_null(strstr(buf_text(&all[0x7f]), "\nhelohost a%7Fb\n"));
	assert_non_null(strstr(buf_text(&all[256]), "\nhelohost a%250Ab\n"));
	for (size_t i = 0; i < COUNT(all); i++)
		buf_finish(&all[i]);
	finish(&w);
}

/* What a name has in it makes no fields: not those of another delivery. */
static void
cannot_be_forged(void **state)
{
	struct keys honest = { 0 }, forged = { 0 };
	struct world w;

	(void)state;
	make_plain(&w);
	w.host[0].policy.level = TLS_LEVEL_ENCRYPT;
	w.host[0].policy.names = "a";
	w.host[0].policy.is_unlisted = true;
	make_keys(&w, &honest);
	w.host[0].policy.names = "a\ntesting unlisted";
	w.host[0].policy.is_unlisted = false;
	set(&w.setup.domain, "dst.example\nport 25");
	make_keys(&w, &forged);
	assert_int_equal(count_lines(&forged.key[0]),
	    count_lines(&honest.key[0]));
	assert_int_equal(count_lines(&forged.key[1]),
	    count_lines(&honest.key[1]) - 1);
	assert_false(is_same(&honest.key[0], &forged.key[0]));
	assert_false(is_same(&honest.key[1], &forged.key[1]));
	finish_keys(&honest);
	finish_keys(&forged);
	finish(&w);
}

/* The same file for another purpose. */
static void
knows_what_a_file_is_for(void **state)
{
	struct keys verifies = { 0 }, presents = { 0 };
	struct world w;

	(void)state;
	write_files();
	make_plain(&w);
	w.host[0].policy.level = TLS_LEVEL_VERIFY;
	set(&w.setup.control.trustanchors, "other");
	make_keys(&w, &verifies);
	buf_cut(&w.setup.control.trustanchors, 0);
	set(&w.setup.control.clientcert, "other");
	make_keys(&w, &presents);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(count_lines(&verifies.key[i]),
		    count_lines(&presents.key[i]));
	assert_false(is_same(&verifies.key[0], &presents.key[0]));
	assert_false(is_same(&verifies.key[1], &presents.key[1]));
	finish_keys(&verifies);
	finish_keys(&presents);
	finish(&w);
	assert_int_equal(home_clear(NULL), 0);
}

static void
has_no_secret(void **state)
{
	struct keys k = { 0 };
	struct world w;

	(void)state;
	write_files();
	make_full(&w);
	make_keys(&w, &k);
	for (size_t i = 0; i < 2; i++) {
		assert_non_null(strstr(k.key[i].data,
		    "\ncredentials smtpauth\n"));
		assert_non_null(strstr(k.key[i].data, "\noffset 40\n"));
		assert_non_null(strstr(k.key[i].data, "\ntoken token\n"));
		assert_null(strstr(k.key[i].data, "SECRET"));
	}
	finish_keys(&k);
	finish(&w);
	assert_int_equal(home_clear(NULL), 0);
}

/* The two are never mixed up. */
static void
makes_different_keys_of_both_kinds(void **state)
{
	struct keys k = { 0 };
	struct world w;

	(void)state;
	make_plain(&w);
	make_keys(&w, &k);
	assert_memory_equal(k.key[0].data, "domain dst.example\n", 19);
	assert_memory_equal(k.key[1].data, "address 192.0.2.1\n", 18);
	finish_keys(&k);
	finish(&w);
}

/* For sessions of which it is not known what they depend on. */
static void
makes_no_key_without_a_file(void **state)
{
	static const char *const missing[] = { "anchors", "cert", "key",
		"rule.pem", "control/notlshosts", "control/tlshosts" };
	struct keys k = { 0 };
	struct world w;

	(void)state;
	write_files();
	for (size_t i = 0; i < COUNT(missing); i++) {
		make_full(&w);
		make_keys(&w, &k);
		assert_true(k.key[0].len > 0 && k.key[1].len > 0);
		assert_int_equal(rename(missing[i], "away"), 0);
		make_keys(&w, &k);
		if (k.key[0].len > 0 || (k.key[1].len > 0) != (i >= 3))
			fail_msg("%s", missing[i]);
		assert_int_equal(rename("away", missing[i]), 0);
		finish(&w);
	}
	make_full(&w);
	assert_int_equal(rename("control/tlshosts", "away"), 0);
	home_put("control/tlshosts", "no directory");
	make_keys(&w, &k);
	assert_int_equal(k.key[0].len, 0);
	finish_keys(&k);
	finish(&w);
	assert_int_equal(home_clear(NULL), 0);
}

static void
makes_no_key_of_a_host_that_is_not_used(void **state)
{
	struct keys k = { 0 };
	struct world w;

	(void)state;
	make_plain(&w);
	w.host[0].policy.skip = TLS_SKIP_STS;
	make_keys(&w, &k);
	assert_true(k.key[0].len > 0);
	assert_int_equal(k.key[1].len, 0);
	finish_keys(&k);
	finish(&w);
}

static void
limits_the_length(void **state)
{
	static char name[SESSIONKEY_MAX + 1];
	struct keys k = { 0 };
	struct world w;
	size_t room[2];

	(void)state;
	make_plain(&w);
	make_keys(&w, &k);
	for (size_t i = 0; i < 2; i++)
		room[i] = SESSIONKEY_MAX - k.key[i].len + strlen("me.example");
	for (size_t i = 0; i < 2; i++) {
		memset(name, 'x', sizeof name);
		name[room[i]] = '\0';
		set(&w.setup.control.helohost, name);
		make_keys(&w, &k);
		assert_int_equal(k.key[i].len, SESSIONKEY_MAX);
		buf_puts(&w.setup.control.helohost, "x");
		make_keys(&w, &k);
		assert_int_equal(k.key[i].len, 0);
	}
	finish_keys(&k);
	finish(&w);
}

/* A long list of files is not read to its end. */
static void
stops_at_many_host_files(void **state)
{
	struct keys k = { 0 };
	struct world w;
	char path[100];

	(void)state;
	write_files();
	for (int i = 0; i < 300; i++) {
		snprintf(path, sizeof path,
		    "control/tlshosts/mx%d.example.example.example.pem", i);
		home_put(path, "x");
	}
	home_put("control/tlshosts/pem", "x");
	make_full(&w);
	make_keys(&w, &k);
	assert_int_equal(k.key[0].len, 0);
	assert_true(k.key[1].len > 0);
	assert_true(k.key[0].cap < 3 * SESSIONKEY_MAX);
	finish_keys(&k);
	finish(&w);
	assert_int_equal(home_clear(NULL), 0);
}

static void
ends_with_what_was_looked_up(void **state)
{
	static const struct {
		struct tls_policy policy;
		unsigned long ttl;
		int64_t expires;
		unsigned long want;
	} cases[] = {
		{ { .level = TLS_LEVEL_MAY }, 500, 1100, ULONG_MAX },
		{ { .level = TLS_LEVEL_VERIFY }, 500, 1100, ULONG_MAX },
		{ { .level = TLS_LEVEL_DANE, .source = TLS_FROM_DANE }, 500,
		    1100, 490 },
		{ { .level = TLS_LEVEL_DANE, .source = TLS_FROM_DANE }, 10,
		    1100, 0 },
		{ { .level = TLS_LEVEL_DANE, .source = TLS_FROM_DANE }, 0, 1100,
		    0 },
		{ { .level = TLS_LEVEL_ENCRYPT, .is_without_usable = true },
		    500, 1100, 490 },
		{ { .level = TLS_LEVEL_VERIFY, .source = TLS_FROM_STS_ENFORCE },
		    500, 1100, 100 },
		{ { .level = TLS_LEVEL_VERIFY, .source = TLS_FROM_STS_ENFORCE },
		    50, 1100, 100 },
		{ { .level = TLS_LEVEL_VERIFY, .source = TLS_FROM_STS_ENFORCE },
		    500, 1000, 0 },
		{ { .level = TLS_LEVEL_VERIFY, .source = TLS_FROM_STS_ENFORCE },
		    500, 999, 0 },
		{ { .level = TLS_LEVEL_MAY, .source = TLS_FROM_STS_TESTING },
		    500, 1100, 100 },
		{ { .level = TLS_LEVEL_DANE,
		      .unusable = { .source = TLS_FROM_STS_ENFORCE } },
		    500, 1100, 100 },
		{ { .level = TLS_LEVEL_DANE,
		      .unusable = { .source = TLS_FROM_STS_TESTING } },
		    50, 1100, 40 },
		{ { .level = TLS_LEVEL_DANE,
		      .unusable = { .source = TLS_FROM_STRICTNESS } },
		    500, 1100, 490 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct world w;
		unsigned long got;

		make_plain(&w);
		w.address[1].host = 1;
		w.host[1].policy = cases[i].policy;
		w.mx[1].tlsa.ttl_s = (uint32_t)cases[i].ttl;
		w.setup.asked = 990;
		w.setup.situation.sts.expires = cases[i].expires;
		got = sessionkey_lives(&w.setup, &w.plan, 1, 1000);
		if (got != cases[i].want)
			fail_msg("%zu: %lu", i, got);
		assert_true(sessionkey_lives(&w.setup, &w.plan, 0, 1000) ==
			    ULONG_MAX);
		finish(&w);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(depends_on_each_field),
		cmocka_unit_test(differs_by_any_two_fields),
		cmocka_unit_test(separates_all_levels_and_sources),
		cmocka_unit_test(verifies_by_the_anchors_that_hold),
		cmocka_unit_test(keeps_bytes_apart),
		cmocka_unit_test(cannot_be_forged),
		cmocka_unit_test(knows_what_a_file_is_for),
		cmocka_unit_test(has_no_secret),
		cmocka_unit_test(makes_different_keys_of_both_kinds),
		cmocka_unit_test(makes_no_key_without_a_file),
		cmocka_unit_test(makes_no_key_of_a_host_that_is_not_used),
		cmocka_unit_test(limits_the_length),
		cmocka_unit_test(stops_at_many_host_files),
		cmocka_unit_test(ends_with_what_was_looked_up),
	};

	return cmocka_run_group_tests(tests, home_enter, home_leave);
}
