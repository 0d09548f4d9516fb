/* SPDX-License-Identifier: ISC */
#include "fakeresolver.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

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

struct fakeresolver fake;

struct dns_resolver {
	int unused;
};

struct dns_resolver resolver;

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

void
add_mx(struct dns_answer *a, unsigned preference, const char *name)
{
	struct dns_mx *mx;

	a->outcome = DNS_FOUND;
	a->mx = mem_resize(a->mx, a->nmx + 1, sizeof *a->mx);
	mx = &a->mx[a->nmx++];
	mx->preference = (uint16_t)preference;
	assert_int_equal(str_copy(mx->name, sizeof mx->name, name), 0);
}

void
add_ip(struct dns_answer *a, struct ip ip)
{
	a->outcome = DNS_FOUND;
	a->ip = mem_resize(a->ip, a->nip + 1, sizeof *a->ip);
	a->ip[a->nip++] = ip;
}

void
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

size_t
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
