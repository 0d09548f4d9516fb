/* SPDX-License-Identifier: ISC */
#include "delivery/tlsrpt.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/str.h"

/*
 * Bytes after which no more hosts are told of.  The policy of each is repeated,
 * and may fill 160 KB; more than 200 KB are no datagram.
 */
#define ENOUGH ((size_t)32 << 10)

/* The numbers that libtlsrpt has for the words of RFC 8460. */

enum type { TYPE_TLSA = 1, TYPE_STS = 2, TYPE_NONE = 9 };

enum code {
	CODE_NOTHING, /* nothing is known, or nothing that is to be told */
	CODE_SUCCESS, /* a session in TLS, as the policy demands it */
	CODE_NO_STARTTLS = 201,
	CODE_NAME = 202,
	CODE_NOT_TRUSTED = 203,
	CODE_EXPIRED = 204,
	CODE_VALIDATION = 205,
	CODE_STS_FETCH = 301,
	CODE_STS_INVALID = 302,
	CODE_STS_WEBPKI = 303,
	CODE_TLSA_INVALID = 304,
	CODE_DNSSEC_INVALID = 305,
	CODE_DANE_REQUIRED = 306
};

/* The reason for a host that the MTA-STS policy does not list. */
#define MX_MISMATCH "mx-mismatch"

/* What the functions below share. */
struct work {
	struct buf *json;
	const struct situation *situation;
	const struct mx_list *list;
	const struct plan *plan;
	const struct search *search;
	size_t npolicy;  /* written so far */
	size_t nfailure; /* of the present policy */
};

struct failure {
	enum code code;
	const struct ip *ip;  /* of the server, or NULL */
	const struct ip *own; /* ours, or NULL */
	const char *mx;       /* its name, or NULL */
	const char *reason;   /* more words, or NULL */
};

/*
 * JSON.
 */

/* The key comes with its comma and colon. */
static void
put_text(struct work *w, const char *key, const char *text)
{
	buf_puts(w->json, key);
	json_string(w->json, text, strlen(text));
}

static void
put_ip(struct work *w, const char *key, const struct ip *ip)
{
	char text[IP_TEXT_SIZE];

	if (ip != NULL)
		put_text(w, key, ip_format(ip, text));
}

static void
put_element(struct work *w, const char *text, size_t n)
{
	if (w->json->data[w->json->len - 1] != '[')
		buf_putc(w->json, ',');
	json_string(w->json, text, n);
}

/* An array of the lines of a text. */
static void
put_lines(struct work *w, const char *key, const struct buf *text)
{
	const char *at = buf_text(text), *end = at + text->len;

	buf_printf(w->json, ",\"%s\":[", key);
	while (at < end) {
		const char *line_end = memchr(at, '\n', (size_t)(end - at));

		if (line_end == NULL)
			line_end = end;
		put_element(w, at, (size_t)(line_end - at));
		at = line_end + 1;
	}
	buf_putc(w->json, ']');
}

/* The records as RFC 8460 section 4.4 has them: "3 1 1 HEX". */
static void
put_records(struct work *w, const struct tlsa_set *set)
{
	buf_puts(w->json, ",\"policy-string\":[");
	for (size_t i = 0; i < set->n; i++) {
		const struct tlsa *r = &set->record[i];
		struct buf text = { 0 };

		buf_printf(&text, "%u %u %u ", r->usage, r->selector,
		    r->matching);
		for (size_t k = 0; k < r->n; k++)
			buf_printf(&text, "%02x", tlsa_data(set, i)[k]);
		put_element(w, text.data, text.len);
		buf_finish(&text);
	}
	buf_putc(w->json, ']');
}

static void
begin_policy(struct work *w, enum type type, const char *domain)
{
	buf_printf(w->json, "%s{\"policy-type\":%d",
	    w->npolicy++ > 0 ? "," : "", type);
	put_text(w, ",\"policy-domain\": ", domain);
	w->nfailure = 0;
}

static void
put_failure(struct work *w, const struct failure *f)
{
	buf_puts(w->json, w->nfailure++ == 0 ? ",\"failure-details\":[" : ",");
	buf_printf(w->json, "{\"c\":%d", f->code);
	put_ip(w, ",\"s\": ", f->own);
	if (f->mx != NULL)
		put_text(w, ",\"n\": ", f->mx);
	put_ip(w, ",\"r\": ", f->ip);
	if (f->reason != NULL && *f->reason != '\0')
		put_text(w, ",\"f\": ", f->reason);
	buf_putc(w->json, '}');
}

/* How many failures there were, and whether they were final. */
static void
end_policy(struct work *w, bool has_failed)
{
	if (w->nfailure > 0)
		buf_putc(w->json, ']');
	buf_printf(w->json, ",\"t\":%zu,\"f\":%d}", w->nfailure, has_failed);
}

/*
 * Results.
 */

static enum code
code_of_cause(enum tls_cause cause)
{
	static const enum code codes[] = {
		[TLS_CAUSE_HANDSHAKE] = CODE_VALIDATION,
		[TLS_CAUSE_TIMED_OUT] = CODE_VALIDATION,
		[TLS_CAUSE_NAME] = CODE_NAME,
		[TLS_CAUSE_EXPIRED] = CODE_EXPIRED,
		[TLS_CAUSE_NOT_TRUSTED] = CODE_NOT_TRUSTED,
		/* Our own files or memory: nobody else needs to know. */
		[TLS_CAUSE_LOCAL] = CODE_NOTHING,
	};

	return codes[cause];
}

/* Of a host that was left out; a fault of ours is no business of the domain. */
static enum code
code_of_skip(enum tls_skip skip)
{
	static const enum code codes[] = {
		[TLS_SKIP_NOT] = CODE_NOTHING,
		[TLS_SKIP_RESOLVER] = CODE_NOTHING,
		[TLS_SKIP_DANE_FAILED] = CODE_DNSSEC_INVALID,
		[TLS_SKIP_DANE_ABSENT] = CODE_DANE_REQUIRED,
		[TLS_SKIP_DANE_UNUSABLE] = CODE_TLSA_INVALID,
		[TLS_SKIP_STS] = CODE_VALIDATION,
		[TLS_SKIP_ANCHORS] = CODE_NOTHING,
		[TLS_SKIP_CREDENTIALS] = CODE_NOTHING,
		[TLS_SKIP_UNVERIFIED] = CODE_NOTHING,
	};

	return codes[skip];
}

/* Of a session in TLS, which MTA-STS in testing mode may not have used. */
static enum code
code_of_test(const struct attempt_test *t)
{
	switch (t->fault) {
	case ATTEMPT_FAULT_NONE:
		return CODE_SUCCESS;
	case ATTEMPT_FAULT_CERTIFICATE:
		return code_of_cause(t->cause);
	default:
		return CODE_VALIDATION;
	}
}

/* Of a session in clear text, where TLS was preferred. */
static enum code
code_of_cleartext(enum cleartext_reason reason)
{
	static const enum code codes[] = {
		[CLEARTEXT_NO_REASON] = CODE_NO_STARTTLS,
		[CLEARTEXT_REFUSED] = CODE_NO_STARTTLS,
		[CLEARTEXT_NO_REPLY] = CODE_NO_STARTTLS,
		[CLEARTEXT_INVALID_REPLY] = CODE_NO_STARTTLS,
		[CLEARTEXT_HANDSHAKE] = CODE_VALIDATION,
		[CLEARTEXT_HELLO_REFUSED] = CODE_VALIDATION,
		[CLEARTEXT_HELLO_INVALID] = CODE_VALIDATION,
		[CLEARTEXT_AVOIDS_EHLO] = CODE_NO_STARTTLS,
		[CLEARTEXT_AVOIDS_HANDSHAKE] = CODE_VALIDATION,
	};

	return codes[reason];
}

/*
 * What an attempt shows of the server's TLS: nothing if it got no further than
 * the greeting, or if something of ours failed.
 */
static enum code
code_of_attempt(const struct attempt *a)
{
	if (a->tls.status == TLS_STATUS_LOCAL)
		return CODE_NOTHING;
	if (a->tls.status != TLS_STATUS_NONE &&
	    a->tls.proof == TLS_PROOF_UNUSABLE)
		return CODE_TLSA_INVALID;
	if (a->tls.status == TLS_STATUS_FAILED)
		return code_of_cause(a->tls.cause);
	if (a->tls.status == TLS_STATUS_READY)
		return code_of_test(&a->test);
	switch (a->cause) {
	case FAILURE_NONE:
		return code_of_cleartext(a->cleartext.reason);
	case FAILURE_STARTTLS_NOT_OFFERED:
	case FAILURE_STARTTLS_REFUSED:
		return CODE_NO_STARTTLS;
	default:
		return CODE_NOTHING;
	}
}

static bool
is_sts(const struct tls_policy *p)
{
	return p->source == TLS_FROM_STS_ENFORCE ||
	       p->source == TLS_FROM_STS_TESTING;
}

static bool
is_dane(const struct tls_policy *p)
{
	return p->level == TLS_LEVEL_DANE || p->source == TLS_FROM_DANE ||
	       p->is_without_usable;
}

static void
begin_policy_of(struct work *w, size_t host)
{
	const struct tls_policy *p = &w->plan->host[host].policy;
	const struct dns_tlsa *tlsa = &w->list->host[host].tlsa;
	const struct sts_policy *sts = situation_sts(w->situation);
	const char *next_hop = w->situation->config->next_hop;

	if (is_dane(p)) {
		begin_policy(w, TYPE_TLSA,
		    tlsa->base[0] != '\0' ? tlsa->base
					  : w->plan->host[host].name);
		put_records(w, &tlsa->set);
	} else if (is_sts(p) && sts != NULL) {
		begin_policy(w, TYPE_STS, next_hop);
		put_lines(w, "policy-string", &sts->lines);
		put_lines(w, "mx-host", &sts->mx);
	} else
		begin_policy(w, TYPE_NONE, next_hop);
}

static bool
is_failure(enum code code)
{
	return code > CODE_SUCCESS;
}

static bool
is_with(const struct attempt *a, const char *name)
{
	return a->host != NULL && strcmp(a->host, name) == 0;
}

/*
 * An attempt in clear text after one that failed with the same address, which
 * tells all there is to tell.
 */
static bool
was_told(const struct history *h, size_t n)
{
	const struct attempt *a = &h->attempt[n];

	if (a->tls.status != TLS_STATUS_NONE)
		return false;
	for (size_t i = 0; i < n; i++) {
		const struct attempt *before = &h->attempt[i];

		if (is_with(before, a->host) && ip_equal(&before->ip, &a->ip) &&
		    is_failure(code_of_attempt(before)))
			return true;
	}
	return false;
}

/*
 * The failure-reason-code (RFC 8460 section 4.4): an error message.  Why none
 * of the TLSA records would do, their domain knows best, and the text about it
 * names a file of ours.
 */
static const char *
reason_of(const struct attempt *a)
{
	if (a->test.fault == ATTEMPT_FAULT_UNLISTED)
		return MX_MISMATCH;
	if (a->tls.status == TLS_STATUS_FAILED)
		return a->tls.proof == TLS_PROOF_UNUSABLE ? NULL : a->tls.text;
	return a->test.text;
}

static void
put_attempt(struct work *w, const struct attempt *a, enum code code)
{
	static const struct ip unknown;
	const struct failure f = {
		.code = code,
		.ip = &a->ip,
		.own = ip_equal(&a->own, &unknown) ? NULL : &a->own,
		.mx = a->host,
		.reason = reason_of(a),
	};

	put_failure(w, &f);
}

/*
 * The attempts with one host, if anything is known of its TLS.  The last one
 * decides whether it has failed.
 */
static void
put_attempts(struct work *w, size_t host)
{
	const struct history *h = &w->search->history;
	const char *name = w->plan->host[host].name;
	bool is_known = false, has_failed = false;

	for (size_t i = 0; i < h->n; i++) {
		const struct attempt *a = &h->attempt[i];
		enum code code = code_of_attempt(a);

		if (!is_with(a, name) || code == CODE_NOTHING)
			continue;
		if (!is_known)
			begin_policy_of(w, host);
		is_known = true;
		if (is_failure(code) && !was_told(h, i))
			put_attempt(w, a, code);
		/* With unusable records the mail may go all the same. */
		has_failed =
		    is_failure(code) && (code != CODE_TLSA_INVALID ||
					    a->tls.status == TLS_STATUS_FAILED);
	}
	if (is_known)
		end_policy(w, has_failed);
}

/*
 * The server that was ready; behind it nobody would have looked at hosts that
 * are left out.  If none was, or not before a second pass, all are looked at.
 */
static size_t
last_place(const struct plan *plan, const struct history *h)
{
	const struct attempt *last = h->n > 0 ? &h->attempt[h->n - 1] : NULL;
	size_t i = 0;

	if (last == NULL || last->cause != FAILURE_NONE || h->pass > 0)
		return plan->nhost;
	while (i < plan->nhost && !is_with(last, plan->host[i].name))
		i++;
	return i;
}

static void
put_host(struct work *w, size_t i, bool is_behind)
{
	const struct plan_host *host = &w->plan->host[i];
	struct failure skipped = { .code = code_of_skip(host->policy.skip),
		.mx = host->name };

	if (!tls_policy_tries(&host->policy) || w->json->len > ENOUGH)
		return;
	if (host->policy.skip == TLS_SKIP_NOT) {
		put_attempts(w, i);
	} else if (skipped.code != CODE_NOTHING && !is_behind) {
		begin_policy_of(w, i);
		if (host->policy.skip == TLS_SKIP_STS)
			skipped.reason = MX_MISMATCH;
		put_failure(w, &skipped);
		end_policy(w, true);
	}
}

/* The policy could not be fetched; the mail goes without it. */
static void
put_sts_failure(struct work *w)
{
	static const enum code codes[] = {
		[STS_CAUSE_NONE] = CODE_NOTHING,
		[STS_CAUSE_LOCAL] = CODE_NOTHING,
		[STS_CAUSE_FETCH] = CODE_STS_FETCH,
		[STS_CAUSE_INVALID] = CODE_STS_INVALID,
		[STS_CAUSE_WEBPKI] = CODE_STS_WEBPKI,
	};
	const struct sts_failure *why = &w->situation->sts.entry.failure;
	struct failure f = { .code = codes[why->cause], .reason = why->reason };

	if (!w->situation->wants_sts || f.code == CODE_NOTHING)
		return;
	begin_policy(w, TYPE_STS, w->situation->config->next_hop);
	put_failure(w, &f);
	end_policy(w, false);
}

/* The only record of TLSRPT (RFC 8460 section 3), or NULL. */
static const struct buf *
find_record(const struct dns_answer *answer)
{
	static const char mark[] = "v=TLSRPTv1;";
	const struct buf *found = NULL;

	for (size_t i = 0; i < answer->ntext; i++) {
		const struct buf *text = &answer->text[i];

		if (strncmp(buf_text(text), mark, sizeof mark - 1) != 0)
			continue;
		if (found != NULL)
			return NULL;
		found = text;
	}
	return found;
}

void
tlsrpt_format(struct buf *json, const struct situation *situation,
    const struct mx_list *list, const struct plan *plan,
    const struct search *search)
{
	const struct buf *record = find_record(&situation->texts.tlsrpt);
	struct work w = { json, situation, list, plan, search, 0, 0 };
	size_t last = last_place(plan, &search->history);

	if (!situation->wants_tlsrpt || record == NULL)
		return;
	buf_puts(json, "{\"d\": ");
	json_string(json, situation->config->next_hop,
	    strlen(situation->config->next_hop));
	buf_puts(json, ",\"pr\": ");
	json_string(json, record->data, record->len);
	buf_puts(json, ",\"policies\":[");
	put_sts_failure(&w);
	for (size_t i = 0; i < plan->nhost; i++)
		put_host(&w, i, i > last);
	buf_puts(json, "]}");
	if (w.npolicy == 0)
		buf_cut(json, 0);
}

void
tlsrpt_send(const char *path, const struct buf *json)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	ssize_t sent;
	int fd;

	if (json->len == 0 ||
	    str_copy(to.sun_path, sizeof to.sun_path, path) == -1)
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	if (fd == -1)
		return;
	sent = sendto(fd, json->data, json->len, MSG_DONTWAIT,
	    (const struct sockaddr *)&to, sizeof to);
	(void)sent;
	close(fd);
}
