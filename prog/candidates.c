/* SPDX-License-Identifier: ISC */
#include "candidates.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

static bool
is_own(const struct ipme *me, const struct ip *ip, bool is_relay)
{
	enum ipme_kind kind = ipme_kind(me, ip);

	return kind == IPME_LISTED || (kind == IPME_INTERFACE && !is_relay);
}

/* :: and ::1, which stand in the DNS for want of an IPv6 address. */
static bool
is_placeholder(const struct ip *ip)
{
	static const unsigned char zeros[sizeof ip->byte - 1];

	return memcmp(ip->byte, zeros, sizeof zeros) == 0 &&
	       ip->byte[sizeof zeros] <= 1;
}

/*
 * One address that is ours tells that the host is; a placeholder does only if
 * the host has no address of another.
 */
static bool
is_this_machine(const struct mx_host *host, const struct ipme *me)
{
	bool is_all_own = host->nip > 0;

	for (size_t k = 0; k < host->nip; k++) {
		const struct ip *ip = &host->ip[k];

		if (!is_own(me, ip, false))
			is_all_own = false;
		else if (!is_placeholder(ip) || is_own(me, ip, true))
			return true;
	}
	return is_all_own;
}

/* The best preference at which we are an MX host ourselves. */
static unsigned
own_preference(const struct mx_list *list, const struct ipme *me, bool is_relay)
{
	for (size_t i = 0; i < list->nhost && !is_relay; i++)
		if (is_this_machine(&list->host[i], me))
			return list->host[i].preference;
	return UINT_MAX;
}

static int
none_left(const struct mx_list *list, unsigned limit, bool is_relay,
    struct dsn *why)
{
	if (is_relay) {
		dsn_set(why, "4.4.1",
		    "Sorry, I wasn't able to establish an SMTP connection.");
		return dsn_detail(why, "control/ipme lists the relay.");
	}
	for (size_t i = 0; i < list->nhost; i++)
		if (list->host[i].preference < limit &&
		    list->host[i].outcome == DNS_TEMPFAIL)
			return dsn_set(why, "4.1.2",
			    "Sorry, I couldn't find any host by that name.");
	return dsn_set(why, "5.4.6",
	    "Sorry. Although I'm listed as a best-preference MX or A for that "
	    "host,\nit isn't in my control/locals file, so I don't treat it "
	    "as local.");
}

/* The first of the candidates with that address, or c->n. */
static size_t
find_address(const struct candidates *c, const struct ip *ip)
{
	size_t i = 0;

	while (i < c->n && !ip_equal(&c->target[i].ip, ip))
		i++;
	return i;
}

/* All that has to hold of an address by itself. */
static void
choose_address(struct candidates *c, const struct mx_host *host,
    const struct ip *ip, const struct ipme *me,
    const struct candidates_wanted *wanted)
{
	if (c->n == CANDIDATES_MAX || is_own(me, ip, wanted->is_relay))
		return;
	if (!wanted->is_named && find_address(c, ip) < c->n)
		return;
	c->target[c->n].ip = *ip;
	c->target[c->n].port = wanted->port;
	c->candidate[c->n].host = host;
	c->n++;
}

int
candidates_choose(struct candidates *c, const struct mx_list *list,
    const struct ipme *me, const struct candidates_wanted *wanted,
    struct dsn *why)
{
	unsigned limit = own_preference(list, me, wanted->is_relay);

	c->n = 0;
	c->target = mem_alloc(CANDIDATES_MAX, sizeof *c->target);
	c->candidate = mem_alloc(CANDIDATES_MAX, sizeof *c->candidate);
	c->until = deadline_in(wanted->search_ms);
	for (size_t i = 0; i < list->nhost; i++) {
		const struct mx_host *host = &list->host[i];

		if (host->preference >= limit)
			break;
		for (size_t k = 0; k < host->nip; k++)
			choose_address(c, host, &host->ip[k], me, wanted);
	}
	return c->n > 0 ? 0 : none_left(list, limit, wanted->is_relay, why);
}

/* One past the last candidate with the preference of the one at start. */
static size_t
group_end(const struct candidates *c, size_t start)
{
	unsigned preference = c->candidate[start].host->preference;
	size_t end = start;

	while (end < c->n && c->candidate[end].host->preference == preference)
		end++;
	return end;
}

/* What has failed to connect fails under any other name too. */
static bool
has_failed(struct candidates *c, size_t i)
{
	size_t first = find_address(c, &c->target[i].ip);

	if (first == i || (c->target[first].state != DIAL_FAILED &&
			      c->target[first].state != DIAL_UNABLE))
		return false;
	c->target[i].state = c->target[first].state;
	c->target[i].error = c->target[first].error;
	c->candidate[i].is_noted = true;
	return true;
}

/* Asked as late as possible: other deliveries learn things meanwhile. */
static void
skip_dead(struct candidates *c, size_t start, size_t end,
    const struct tcpto *tcpto)
{
	int64_t now = (int64_t)time(NULL);

	for (size_t i = start; i < end; i++) {
		struct candidate *one = &c->candidate[i];

		if (c->target[i].state != DIAL_UNTRIED || one->is_noted ||
		    has_failed(c, i))
			continue;
		one->is_skipped =
		    tcpto_skips(tcpto, &c->target[i].ip, now, &one->was_known);
		if (one->is_skipped)
			c->target[i].state = DIAL_SKIPPED;
	}
}

static void
note(struct candidates *c, size_t start, size_t end, const struct tcpto *tcpto)
{
	int64_t now = (int64_t)time(NULL);

	for (size_t i = start; i < end; i++) {
		const struct dial_target *t = &c->target[i];
		struct candidate *one = &c->candidate[i];

		if (one->is_noted ||
		    (t->state != DIAL_FAILED && t->state != DIAL_CONNECTED))
			continue;
		one->is_noted = true;
		if (t->state == DIAL_FAILED && t->error == ETIMEDOUT)
			tcpto_timed_out(tcpto, &t->ip, now);
		else if (one->was_known)
			tcpto_answered(tcpto, &t->ip);
	}
}

static int
timeout_ms(unsigned long timeout_s)
{
	return timeout_s > INT_MAX / 1000 ? INT_MAX : (int)timeout_s * 1000;
}

bool
candidates_dial(struct candidates *c, const struct tcpto *tcpto,
    unsigned long timeout_s, struct dialed *won)
{
	bool is_connected = false;

	*won = (struct dialed){ .fd = -1 };
	for (size_t start = 0, end; start < c->n && !is_connected;
	     start = end) {
		if (deadline_passed(c->until))
			break;
		end = group_end(c, start);
		skip_dead(c, start, end, tcpto);
		is_connected = dial_first(c->target + start, end - start,
		    timeout_ms(timeout_s), won);
		won->target += start;
		note(c, start, end, tcpto);
	}
	return is_connected;
}

bool
candidates_redial(struct candidates *c, size_t i, unsigned long timeout_s,
    int *fd)
{
	struct dialed won;

	c->target[i].state = DIAL_UNTRIED;
	if (!dial_first(&c->target[i], 1, timeout_ms(timeout_s), &won))
		return false;
	*fd = won.fd;
	return true;
}

bool
candidates_reconsider(struct candidates *c)
{
	bool any = false;

	for (size_t i = 0; i < c->n; i++) {
		if (!c->candidate[i].had_no_tls)
			continue;
		c->candidate[i].had_no_tls = false;
		c->target[i].state = DIAL_UNTRIED;
		any = true;
	}
	return any;
}
