/* SPDX-License-Identifier: ISC */
#include "delivery/sessionkey.h"

#include <dirent.h>
#include <limits.h>
#include <string.h>

#include "base/str.h"
#include "delivery/search.h"
#include "io/fileid.h"

/* Room for most keys, in bytes. */
#define USUAL_SIZE 400

/* A key in the making. */
struct making {
	struct buf *key;
	bool is_spoilt; /* a file cannot be looked at */
};

/* No byte of a value can end its line, or stand for another byte. */
static void
add_bytes(struct buf *key, const char *s, size_t n)
{
	size_t plain = 0; /* bytes before i that can stay as they are */

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c >= ' ' && c != '\x7f' && c != '%') {
			plain++;
			continue;
		}
		buf_append(key, s + i - plain, plain);
		buf_printf(key, "%%%02X", c);
		plain = 0;
	}
	buf_append(key, s + n - plain, plain);
}

/* A field; one whose value is NULL is left out. */
static void
add_text(struct making *m, const char *name, const char *value)
{
	if (value == NULL)
		return;
	buf_puts(m->key, name);
	buf_putc(m->key, ' ');
	add_bytes(m->key, value, strlen(value));
	buf_putc(m->key, '\n');
}

static void
add_number(struct making *m, const char *name, uint64_t value)
{
	char digits[21]; /* of the greatest number, with a NUL */
	char *at = digits + sizeof digits - 1;

	*at = '\0';
	do
		*--at = (char)('0' + value % 10);
	while ((value /= 10) > 0);
	add_text(m, name, at);
}

static void
add_ip(struct making *m, const char *name, const struct ip *ip)
{
	char text[IP_TEXT_SIZE];

	add_text(m, name, ip != NULL ? ip_format(ip, text) : "any");
}

static void
add_version(struct making *m, const char *name, const char *path,
    const struct fileid *version)
{
	add_text(m, name, path);
	buf_puts(m->key, "version ");
	fileid_format(version, m->key);
	buf_putc(m->key, '\n');
}

/* A file as it is now; an empty path is none. */
static void
add_file(struct making *m, const char *name, const char *path)
{
	struct fileid version;

	if (path[0] == '\0')
		return;
	if (fileid_read(&version, path) == -1)
		m->is_spoilt = true;
	else
		add_version(m, name, path, &version);
}

/* Empties the key if it is not to be used. */
static void
end(const struct making *m)
{
	if (m->is_spoilt || m->key->len > SESSIONKEY_MAX)
		buf_cut(m->key, 0);
}

/*
 * What both keys have.
 */

/* The file and the place of a line stand for what is written there. */
static void
add_login(struct making *m, const struct login *l)
{
	if (!login_is_given(l))
		return;
	add_version(m, "credentials", l->file, &l->version);
	add_number(m, "offset", l->offset);
	if (l->credentials.kind != CREDENTIALS_TOKEN)
		return;
	add_version(m, "token", buf_text(&l->token), &l->token_version);
}

static void
add_certificate(struct making *m, const struct control *c)
{
	if (c->clientcert.len == 0)
		return;
	add_file(m, "clientcert", buf_text(&c->clientcert));
	add_file(m, "clientkey", buf_text(&c->clientkey));
}

/*
 * Our name in EHLO.  Which of control/helohosts it will be is not known while
 * the system chooses our address.
 */
static void
add_names(struct making *m, const struct setup *s)
{
	add_text(m, "helohost", buf_text(&s->control.helohost));
	if (s->helohosts.n > 0)
		add_version(m, "helohosts", "control/helohosts",
		    &s->helohosts.version);
}

/*
 * A connection takes the place of a line, or none, for as long as it lives.  So
 * those that were made by other lines are not used any more, or a limit that
 * was lowered would not hold as long as there are idle connections.
 */
static void
add_limits(struct making *m, const struct concurrencyhosts *limits)
{
	if (limits->has_version)
		add_version(m, "limits", "control/concurrencyhosts",
		    &limits->version);
}

static void
add_common(struct making *m, const struct setup *s)
{
	add_limits(m, s->limits);
	add_names(m, s);
	add_number(m, "smtputf8", s->envelope.needs_smtputf8);
	add_certificate(m, &s->control);
	add_login(m, &s->route.login);
}

/*
 * Key 1.
 */

static void
add_next_hop(struct making *m, const struct setup *s)
{
	const char *name = setup_next_hop(s);
	size_t start = m->key->len;

	add_text(m, setup_is_relayed(s) ? "relay" : "domain", name);
	/* Nothing depends on its case. */
	for (size_t i = start; i < m->key->len; i++)
		m->key->data[i] = str_lower(m->key->data[i]);
	add_number(m, "port", s->route.port);
	add_number(m, "family", s->family);
}

static void
add_sources(struct making *m, const struct setup *s)
{
	for (size_t i = 0; i < 2; i++) {
		const struct outgoing *o = &s->outgoing[i];

		add_ip(m, "source", o->is_given ? &o->ip : NULL);
		add_number(m, "usable", s->source_fault[i].len == 0);
	}
}

static bool
ends_in_pem(const char *name)
{
	size_t n = strlen(name);

	return n >= 4 && strcmp(name + n - 4, ".pem") == 0;
}

static void
add_pem(struct making *m, const char *name)
{
	struct buf path = { 0 };

	buf_printf(&path, "control/tlshosts/%s", name);
	add_file(m, "pem", path.data);
	buf_finish(&path);
}

/*
 * All files for hosts, as it is not known which host it will be.  Of those that
 * only have to be there, the version of their directory says which there are.
 */
static void
add_hostfiles(struct making *m, const struct tlshosts *t)
{
	const struct dirent *entry;
	DIR *directory;

	if (t->has_exceptions)
		add_file(m, "notlshosts", "control/notlshosts");
	if (!t->has_pems)
		return;
	add_number(m, "exhaustive", t->is_exhaustive);
	directory = opendir("control/tlshosts");
	m->is_spoilt = m->is_spoilt || directory == NULL;
	while (!m->is_spoilt && m->key->len <= SESSIONKEY_MAX &&
	       (entry = readdir(directory)) != NULL)
		if (ends_in_pem(entry->d_name))
			add_pem(m, entry->d_name);
	if (directory != NULL)
		closedir(directory);
}

/* The policy that is known before anybody is asked. */
static void
add_sts(struct making *m, const struct situation *s)
{
	const struct sts_policy *policy = situation_sts(s);

	if (policy == NULL)
		return;
	add_text(m, "sts", s->sts.entry.id);
	add_text(m, "mode", sts_mode_name(policy->mode));
	add_text(m, "mx", buf_text(&policy->mx));
}

/* What the policies of the hosts will depend on, but for the DNS. */
static void
add_policy_inputs(struct making *m, const struct setup *s)
{
	const struct control *c = &s->control;
	const struct situation *situation = &s->situation;

	add_text(m, "tlspolicy", situation->rule.line.data);
	add_file(m, "anchors", buf_text(&situation->rule.anchors));
	add_file(m, "trustanchors", buf_text(&c->trustanchors));
	add_number(m, "tlsstrictness", c->tlsstrictness);
	add_number(m, "dane", c->dane);
	add_number(m, "trusted", s->dns.is_trusted);
	add_number(m, "mtasts", c->mtasts);
	add_number(m, "required", !situation->is_not_required);
	add_sts(m, situation);
	add_hostfiles(m, &situation->files);
}

void
sessionkey_by_next_hop(const struct setup *s, struct buf *key)
{
	struct making m = { .key = key };

	buf_cut(key, 0);
	(void)buf_reserve(key, USUAL_SIZE);
	add_next_hop(&m, s);
	add_sources(&m, s);
	add_common(&m, s);
	add_policy_inputs(&m, s);
	end(&m);
}

/*
 * Key 2.
 */

static bool
is_tested(const struct tls_policy *p)
{
	return p->source == TLS_FROM_STS_TESTING ||
	       (p->level == TLS_LEVEL_DANE &&
		   p->unusable.source == TLS_FROM_STS_TESTING);
}

/* What holds where OpenSSL can use none of the records. */
static void
add_unusable(struct making *m, const struct tls_unusable *u)
{
	add_number(m, "unusable-level", u->level);
	add_number(m, "unusable-source", u->source);
	add_number(m, "unusable-skip", u->skip);
	add_text(m, "unusable-name", u->name);
}

static void
add_dane(struct making *m, const struct tls_policy *p)
{
	struct buf records = { 0 };

	tlsa_format(p->tlsa, &records);
	add_text(m, "tlsa", buf_text(&records));
	buf_finish(&records);
	add_unusable(m, &p->unusable);
}

/* The certificates that verify the server; NULL: none do. */
static const char *
anchors_of(const struct tls_policy *p, const struct control *c)
{
	if (p->anchors != NULL)
		return p->anchors;
	if (p->level == TLS_LEVEL_VERIFY || is_tested(p) ||
	    (p->level == TLS_LEVEL_DANE &&
		p->unusable.level == TLS_LEVEL_VERIFY))
		return buf_text(&c->trustanchors);
	return "";
}

static void
add_policy(struct making *m, const struct tls_policy *p,
    const struct control *c)
{
	add_number(m, "level", p->level);
	add_number(m, "source", p->source);
	add_number(m, "implicit", p->is_implicit);
	add_number(m, "without-usable", p->is_without_usable);
	if (tls_policy_verifies(p) || is_tested(p))
		add_text(m, "name", p->name);
	add_text(m, "names", p->names);
	add_text(m, "testing", p->is_unlisted ? "unlisted" : NULL);
	add_file(m, "anchors", anchors_of(p, c));
	if (p->level == TLS_LEVEL_DANE)
		add_dane(m, p);
}

void
sessionkey_by_address(const struct setup *s, const struct plan *plan,
    size_t address, const char *limit, struct buf *key)
{
	const struct attempt_mode mode = search_first_mode(plan, address);
	const struct ip *ip = &plan->address[address].ip;
	struct making m = { .key = key };

	buf_cut(key, 0);
	(void)buf_reserve(key, USUAL_SIZE);
	add_ip(&m, "address", ip);
	add_number(&m, "port", plan->port);
	add_ip(&m, "source", plan_source(plan, ip)->ip);
	/* The next delivery may know this server by a name of another line. */
	add_text(&m, "limit", limit);
	add_common(&m, s);
	add_number(&m, "helo", mode.only_helo);
	add_policy(&m, &mode.policy, &s->control);
	m.is_spoilt = m.is_spoilt || mode.policy.skip != TLS_SKIP_NOT;
	end(&m);
}

/*
 * For how long what was looked up holds.
 */

static bool
depends_on_records(const struct tls_policy *p)
{
	return p->level == TLS_LEVEL_DANE || p->is_without_usable;
}

static bool
depends_on_sts(const struct tls_policy *p)
{
	return p->source == TLS_FROM_STS_ENFORCE || is_tested(p) ||
	       (p->level == TLS_LEVEL_DANE &&
		   p->unusable.source == TLS_FROM_STS_ENFORCE);
}

unsigned long
sessionkey_lives(const struct setup *s, const struct plan *plan, size_t address,
    int64_t now)
{
	size_t host = plan->address[address].host;
	const struct tls_policy *p = &plan->host[host].policy;
	int64_t ends = INT64_MAX;

	if (depends_on_records(p))
		ends = s->asked + (int64_t)s->list.host[host].tlsa.ttl_s;
	if (depends_on_sts(p) && s->situation.sts.expires < ends)
		ends = s->situation.sts.expires;
	if (ends == INT64_MAX)
		return ULONG_MAX;
	return ends > now ? (unsigned long)(ends - now) : 0;
}
