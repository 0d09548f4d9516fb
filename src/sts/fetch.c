/* SPDX-License-Identifier: ISC */
#include "sts/fetch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "dns/addr.h"
#include "io/dial.h"
#include "io/stream.h"
#include "sts/http.h"

#include "config.h"

#define HTTPS_PORT 443
#define TARGETS_MAX 16 /* addresses that are tried */

/* One address that does not answer must not take all the time. */
#define DNS_MS 20000
#define CONNECT_MS 15000
#define HANDSHAKE_S 15

/* As where any certificate is verified for a name: see tls/policy. */
#define SECURITY TLS_SECURITY_MAX

static struct buf
host_of(const struct sts_fetch *f, const char *prefix)
{
	struct buf host = { 0 };

	buf_printf(&host, "%s%s", prefix, f->domain);
	return host;
}

static struct deadline
limited(const struct sts_fetch *f, int64_t ms)
{
	return deadline_earlier(f->until, deadline_in(ms));
}

/*
 * Names and addresses.
 */

void
sts_fetch_record(const struct sts_fetch *f, struct sts_record *record)
{
	struct buf name = host_of(f, "_mta-sts.");
	struct dns_answer answer = { .outcome = DNS_TEMPFAIL };

	*record = (struct sts_record){ .is_known = false };
	if (f->resolver) {
		dns_resolver_ask(f->resolver, buf_text(&name), DNS_TXT,
		    &answer);
		dns_resolver_wait(f->resolver, limited(f, DNS_MS));
	}
	sts_record_read(record, &answer);
	dns_answer_finish(&answer);
	buf_finish(&name);
}

bool
sts_fetch_refuses(const struct ipme *me, const struct ip *ip)
{
	static const char *const nets[] = {
		"0.0.0.0/8",      /* this host (RFC 1122) */
		"10.0.0.0/8",     /* private (RFC 1918) */
		"127.0.0.0/8",    /* loopback */
		"169.254.0.0/16", /* link-local (RFC 3927) */
		"172.16.0.0/12",  /* private */
		"192.168.0.0/16", /* private */
		"224.0.0.0/4",    /* multicast */
		"::/128",         /* unspecified */
		"::1/128",        /* loopback */
		"fc00::/7",       /* unique local (RFC 4193) */
		"fe80::/10",      /* link-local */
		"ff00::/8",       /* multicast */
	};

	for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
		struct ip_net net;

		(void)ip_parse_net(nets[i], strlen(nets[i]), &net);
		if (ip_is_in_net(ip, &net))
			return true;
	}
	return ipme_kind(me, ip) != IPME_NOT;
}

/* The addresses of the host that may be connected to. */
struct targets {
	struct dial_target target[TARGETS_MAX];
	size_t n;
	bool has_refused;
};

static void
add_targets(struct targets *t, const struct sts_fetch *f,
    const struct mx_host *host)
{
	for (size_t i = 0; i < host->nip && t->n < TARGETS_MAX; i++) {
		if (sts_fetch_refuses(f->ipme, &host->ip[i])) {
			t->has_refused = true;
			continue;
		}
		t->target[t->n++] = (struct dial_target){
			.ip = host->ip[i],
			.port = HTTPS_PORT,
		};
	}
}

static int
find_targets(struct targets *t, const struct sts_fetch *f, const char *host,
    struct sts_failure *why)
{
	struct mx_list list = { 0 };
	struct addr_wave wave;
	enum dns_outcome outcome;

	*t = (struct targets){ .n = 0 };
	if (!f->resolver)
		return sts_failure_set(why, STS_CAUSE_LOCAL,
		    "the resolver cannot be set up");
	mx_list_implicit(&list, host);
	addr_wave_begin(&wave, &list, f->resolver);
	dns_resolver_wait(f->resolver, limited(f, DNS_MS));
	addr_wave_end(&wave);
	outcome = list.host[0].outcome;
	add_targets(t, f, &list.host[0]);
	mx_list_finish(&list);
	if (t->n > 0)
		return 0;
	if (t->has_refused)
		return sts_failure_set(why, STS_CAUSE_FETCH,
		    "%s has only addresses of local networks", host);
	return sts_failure_set(why, STS_CAUSE_FETCH,
	    outcome == DNS_TEMPFAIL ? "no answer for the addresses of %s"
				    : "%s has no address",
	    host);
}

/*
 * The connection.
 */

static bool
is_of_certificate(enum tls_cause cause)
{
	return cause != TLS_CAUSE_HANDSHAKE && cause != TLS_CAUSE_TIMED_OUT;
}

/* What a failed handshake means: is the certificate wrong, or the server? */
static int
refuse_session(const struct tls_result *r, struct sts_failure *why)
{
	enum sts_cause cause = STS_CAUSE_FETCH;

	if (r->status != TLS_STATUS_FAILED)
		cause = STS_CAUSE_LOCAL;
	else if (is_of_certificate(r->cause))
		cause = STS_CAUSE_WEBPKI;
	return sts_failure_set(why, cause, "TLS: %s", r->text);
}

static int
start_tls(const struct sts_fetch *f, const char *host, int socket,
    struct tls_start *session, struct sts_failure *why)
{
	int left = deadline_left(limited(f, HANDSHAKE_S * 1000)) / 1000;
	const struct tls_helper helper = {
		.program = f->helper,
		.name = host,
		.anchors = f->anchors,
		.state = f->state,
		.security = SECURITY,
		.timeout_s = left > 0 ? (unsigned long)left : 1,
	};

	*session = tls_helper_start(&helper, socket);
	if (session->result.status == TLS_STATUS_READY)
		return 0;
	return refuse_session(&session->result, why);
}

/* Of addresses that could not be connected to, the first one's reason. */
static int
refuse_targets(const struct targets *t, const char *host,
    struct sts_failure *why)
{
	char text[IP_TEXT_SIZE];

	return sts_failure_set(why, STS_CAUSE_FETCH, "%s (%s): %s", host,
	    ip_format(&t->target[0].ip, text),
	    t->target[0].error ? strerror(t->target[0].error) : "timed out");
}

/* One after the other, until the certificate of one is verified. */
static int
try_targets(struct targets *t, const struct sts_fetch *f, const char *host,
    struct tls_start *session, struct sts_failure *why)
{
	struct dialed won;
	bool is_connected = false;

	while (!deadline_passed(f->until) &&
	       dial_first(t->target, t->n,
		   deadline_left(limited(f, CONNECT_MS)), &won)) {
		is_connected = true;
		if (start_tls(f, host, won.fd, session, why) == 0)
			return 0;
	}
	return is_connected ? -1 : refuse_targets(t, host, why);
}

int
sts_fetch_connect(const struct sts_fetch *f, struct tls_start *session,
    struct sts_failure *why)
{
	struct buf host = host_of(f, "mta-sts.");
	struct targets targets;
	int result = find_targets(&targets, f, buf_text(&host), why);

	if (result == 0)
		result =
		    try_targets(&targets, f, buf_text(&host), session, why);
	buf_finish(&host);
	return result;
}

/*
 * The exchange.
 */

static void
put_request(struct stream *s, const struct sts_fetch *f)
{
	struct buf text = { 0 };

	buf_printf(&text,
	    "GET /.well-known/mta-sts.txt HTTP/1.1\r\n"
	    "Host: mta-sts.%s\r\n"
	    "User-Agent: qmail-remote/" PROGRAM_VERSION "\r\n"
	    "Accept: text/plain\r\n"
	    "Connection: close\r\n"
	    "\r\n",
	    f->domain);
	assert(text.len <= stream_room(s));
	stream_put(s, buf_text(&text), text.len);
	buf_finish(&text);
}

/* What has been read goes to the parser. */
static enum sts_http_state
parse_input(struct sts_http *http, struct stream *s)
{
	size_t n;
	const char *input = stream_input(s, &n);
	enum sts_http_state state = sts_http_add(http, input, n);

	stream_consume(s, n);
	return state;
}

/*
 * Why a session ended while more was expected.  A body may end with it, if it
 * was the host that ended it.
 */
static int
end_exchange(struct sts_http *http, const struct tls_start *session,
    struct sts_failure *why)
{
	char text[TLS_TEXT_SIZE];
	enum tls_end end = tls_helper_end(session->status, session->pid, text);

	if (end == TLS_END_NONE || end == TLS_END_LOCAL)
		return sts_failure_set(why, STS_CAUSE_LOCAL, "%s", text);
	if (sts_http_end(http, end == TLS_END_SERVER) == STS_HTTP_DONE)
		return 0;
	*why = http->why;
	return -1;
}

static int
exchange(struct sts_http *http, struct stream *s, const struct sts_fetch *f,
    const struct tls_start *session, struct sts_failure *why)
{
	enum sts_http_state state = STS_HTTP_MORE;
	enum stream_status status = STREAM_OK;

	put_request(s, f);
	while (state == STS_HTTP_MORE && status == STREAM_OK) {
		status = stream_move(s, f->until);
		state = parse_input(http, s);
	}
	if (state == STS_HTTP_DONE)
		return 0;
	if (state == STS_HTTP_FAILED) {
		*why = http->why;
		return -1;
	}
	if (status == STREAM_TIMEOUT)
		return sts_failure_set(why, STS_CAUSE_FETCH,
		    "the host took too long to reply");
	return end_exchange(http, session, why);
}

int
sts_fetch_policy(const struct sts_fetch *f, struct tls_start *session,
    struct sts_policy *policy, struct sts_failure *why)
{
	struct sts_http *http = mem_alloc(1, sizeof *http);
	struct stream *s = mem_alloc(1, sizeof *s);
	int result;

	stream_init(s, session->fd);
	result = exchange(http, s, f, session, why);
	if (result == 0)
		result = sts_policy_parse(policy, buf_text(&http->body),
		    http->body.len, why);
	sts_http_finish(http);
	free(http);
	free(s);
	close(session->fd);
	close(session->status);
	session->fd = session->status = -1;
	return result;
}
