/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fdio.h"
#include "base/mem.h"
#include "base/sandbox.h"
#include "base/str.h"
#include "delivery/handoff.h"
#include "dns/mx.h"
#include "qmail/control.h"
#include "qmail/ipme.h"
#include "qmail/quote.h"
#include "qmail/report.h"
#include "qmail/route.h"
#include "qmail/tcpto.h"
#include "smtp/transaction.h"
#include "tls/policy.h"

#include "attempt.h"
#include "candidates.h"
#include "config.h"
#include "start.h"
#include "version.h"

/* Lines of a failure report that tell of single addresses. */
#define TOLD_MAX 10

#define PROGRAM_IO QMAIL_HOME "/bin/qmail-remote-io"
#define PROGRAM_TLS QMAIL_HOME "/bin/qmail-remote-tls"

static const struct table_files route_files = {
	.text = "control/smtproutes",
	.index = QMAIL_STATE "/smtproutes.cdb",
	.lock = QMAIL_STATE "/smtproutes.lock",
};

static const struct tcpto tcpto = {
	.path4 = "queue/lock/tcpto",
	.path6 = QMAIL_STATE "/tcpto6",
};

/* What is written to; the helper gets /dev/null for its standard input. */
static const char *const written[] = { "queue/lock/tcpto", "/dev/null" };

/* One delivery: what was asked for, and what is known by now. */
struct delivery {
	const char *host;
	char **envelope; /* sender, recipients, NULL */
	struct control control;
	struct ipme ipme;
	struct route route;
	struct mx_list list;
	struct candidates candidates;
	struct trouble trouble;
	struct server server;
};

static _Noreturn void
fail(const struct dsn *why)
{
	report_failure(why);
	report_end();
	_exit(0);
}

static bool
is_deliverable(const char *address, int (*quote)(struct buf *, const char *))
{
	struct buf path = { 0 };
	bool ok = quote(&path, address) == 0 && path.len <= SMTP_PATH_MAX;

	buf_finish(&path);
	return ok;
}

/*
 * A sender, or every single recipient, that no command can hold: known
 * before anybody is asked anything.
 */
static int
check_envelope(const struct delivery *d, struct dsn *why)
{
	char **recipient = d->envelope + 1;

	if (!is_deliverable(d->envelope[0], quote_sender))
		return dsn_set(why, "5.1.3",
		    "Sorry, the sender's address cannot be sent by SMTP.");
	while (*recipient && !is_deliverable(*recipient, quote_mailbox))
		recipient++;
	if (!*recipient)
		return dsn_set(why, "5.1.3",
		    "Sorry, that address cannot be sent by SMTP.");
	return 0;
}

static int
prepare(struct delivery *d, struct dsn *why)
{
	if (chdir(QMAIL_HOME) == -1)
		return dsn_set(why, "4.3.0",
		    "Unable to switch to home directory.");
	sandbox_enter_search(QMAIL_STATE, written,
	    sizeof written / sizeof *written);
	if (control_read(&d->control, why) == -1 ||
	    route_find(d->host, &route_files, &d->route, why) == -1 ||
	    check_envelope(d, why) == -1)
		return -1;
	/* A relay may well be one of our interfaces. */
	return ipme_read(&d->ipme, "control/ipme", d->route.relay.len == 0,
	    why);
}

/*
 * However many addresses there are, and however slowly each of them fails:
 * after so long, half an hour by default, no further one is begun.
 */
static int64_t
search_ms(const struct control *c)
{
	return 1000 *
	       (10 * (int64_t)c->timeoutconnect + (int64_t)c->timeoutremote);
}

static int
choose_candidates(struct delivery *d, bool is_relay, struct dsn *why)
{
	struct candidates_wanted wanted = {
		.is_relay = is_relay,
		.is_named = d->control.tlsstrictness >= 2,
		.port = d->route.port,
		.search_ms = search_ms(&d->control),
	};

	return candidates_choose(&d->candidates, &d->list, &d->ipme, &wanted,
	    why);
}

/*
 * A relay that the DNS denies is a mistake in a file of ours, or in our zone:
 * no mail is bounced for it.
 */
static int
look_up_relay(struct delivery *d, struct dsn *why)
{
	const char *relay = buf_text(&d->route.relay);

	if (mx_lookup_relay(&d->list, relay, d->control.timeoutdns, why) == 0)
		return 0;
	if (dsn_is_temporary(why))
		return -1;
	dsn_set(why, "4.1.2", "Sorry, I couldn't find any host by that name.");
	return dsn_detail(why, "%s: the DNS has no relay %s", route_files.text,
	    relay);
}

static int
find_candidates(struct delivery *d, struct dsn *why)
{
	bool is_relay = d->route.relay.len > 0;
	int found =
	    is_relay ? look_up_relay(d, why)
		     : mx_lookup(&d->list, d->host, d->control.timeoutdns, why);

	if (found == -1)
		return -1;
	return choose_candidates(d, is_relay, why);
}

/* A file may hold both the chain and its key. */
static const char *
key_path(const struct control *c)
{
	return c->clientkey.len > 0 ? c->clientkey.data : c->clientcert.data;
}

static void
plan_attempt(const struct delivery *d, const struct tls_situation *situation,
    size_t i, struct attempt *a)
{
	static char literal[IP_TEXT_SIZE];
	const struct control *c = &d->control;
	const struct mx_host *host = d->candidates.candidate[i].host;

	a->helohost = buf_text(&c->helohost);
	a->host = host->is_literal ? NULL : host->name;
	a->timeout_s = c->timeoutremote;
	a->policy = tls_policy_choose(situation);
	a->ip = d->candidates.target[i].ip;
	a->helper = (struct tls_helper){
		.program = PROGRAM_TLS,
		.name =
		    host->is_literal ? ip_format(&a->ip, literal) : host->name,
		.anchors = tls_policy_verifies(&a->policy)
			       ? buf_text(&c->trustanchors)
			       : NULL,
		.state = QMAIL_STATE,
		.clientcert = c->clientcert.len > 0 ? c->clientcert.data : NULL,
		.clientkey = key_path(c),
		.security = tls_policy_security(&a->policy),
		.timeout_s = c->timeoutconnect,
	};
}

/*
 * One address: once more in clear text where TLS failed and that will do, and
 * with HELO where EHLO did; so in three connections at most.
 */
static enum attempt_result
attempt_address(struct delivery *d, const struct tls_situation *situation,
    int fd, size_t i)
{
	struct attempt a = { 0 };
	enum attempt_result result;

	plan_attempt(d, situation, i, &a);
	result = attempt_server(&a, fd, &d->server, &d->trouble);
	while (result == ATTEMPT_AGAIN) {
		if (!candidates_redial(&d->candidates, i,
			d->control.timeoutconnect, &fd))
			return ATTEMPT_NEXT;
		result = attempt_server(&a, fd, &d->server, &d->trouble);
	}
	return result;
}

/* True when a server is ready. */
static bool
try_servers(struct delivery *d, const struct tls_situation *situation)
{
	struct candidates *c = &d->candidates;
	struct dialed won;

	while (candidates_dial(c, &tcpto, d->control.timeoutconnect, &won)) {
		switch (attempt_address(d, situation, won.fd, won.target)) {
		case ATTEMPT_READY:
			return true;
		case ATTEMPT_NO_TLS:
			c->candidate[won.target].had_no_tls = true;
			break;
		case ATTEMPT_STOP:
			return false;
		default:
			break;
		}
	}
	return false;
}

static bool
find_server(struct delivery *d)
{
	struct tls_situation situation = {
		.has_anchors = d->control.trustanchors.len > 0,
		.strictness = d->control.tlsstrictness,
	};

	if (try_servers(d, &situation))
		return true;
	if (d->trouble.rank == TROUBLE_OURS ||
	    !candidates_reconsider(&d->candidates))
		return false;
	situation.starting_over = true;
	return try_servers(d, &situation);
}

/* What the last server that said something said. */
static void
report_trouble(const struct trouble *t)
{
	report_message(REPORT_TEMPORARY);
	report_puts("Connected to ");
	report_puts(t->address);
	report_puts(t->text);
	report_reply(t->reply.text, t->reply.len);
	if (t->host)
		report_line("Server: ", t->host);
	if (t->tls[0])
		report_line("TLS: ", t->tls);
}

/* What became of the i-th candidate. */
static const char *
why_unconnected(const struct candidates *c, size_t i)
{
	const struct dial_target *t = &c->target[i];

	if (c->candidate[i].is_skipped)
		return "skipped, it timed out lately";
	if (t->state == DIAL_FAILED || t->state == DIAL_UNABLE)
		return strerror(t->error);
	return "not tried, the others took too long";
}

/* Nobody answered: the sentence of stock, then each address and its cause. */
static void
report_unconnected(const struct candidates *c)
{
	char text[IP_TEXT_SIZE];

	report_message(REPORT_TEMPORARY);
	report_puts("Sorry, I wasn't able to establish an SMTP connection. "
		    "(#4.4.1)\n");
	for (size_t i = 0; i < c->n && i < TOLD_MAX; i++) {
		report_puts(ip_format(&c->target[i].ip, text));
		report_puts(": ");
		report_puts(why_unconnected(c, i));
		report_puts("\n");
	}
}

static void
report_no_server(const struct delivery *d)
{
	if (d->trouble.rank == TROUBLE_NONE)
		report_unconnected(&d->candidates);
	else
		report_trouble(&d->trouble);
}

/* Becomes qmail-remote-io; returns only if that failed. */
static void
become_io(struct delivery *d, struct dsn *why)
{
	static char *const environment[] = { NULL };
	char address[IP_TEXT_SIZE];
	struct buf extensions = { 0 };
	struct handoff h = {
		.fd = (unsigned long)d->server.fd,
		.timeout_s = d->control.timeoutremote,
		.address = ip_format(&d->server.ip, address),
		.host = d->server.host,
		.tls = d->server.tls[0] ? d->server.tls : NULL,
		.status = (unsigned long)d->server.status,
		.helper = (unsigned long)d->server.helper,
		.envelope = d->envelope,
	};

	smtp_ehlo_format(&d->server.ehlo, &extensions);
	h.extensions = extensions.data;
	if (fdio_set_cloexec(d->server.fd, false) == 0 &&
	    (h.status == 0 || fdio_set_cloexec(d->server.status, false) == 0))
		execve(PROGRAM_IO, handoff_format(&h), environment);
	dsn_set(why, "4.3.0", "Unable to run qmail-remote-io.");
	dsn_detail(why, "%s", strerror(errno));
}

int
main(int argc, char **argv)
{
	static struct delivery d;
	struct dsn why = { 0 };

	if (version_is_wanted(argc, argv))
		return version_print(VERSION_MARK("qmail-remote"));
	start_program();
	if (argc < 4) {
		dsn_set(&why, "5.3.5",
		    "I (qmail-remote) was invoked improperly.");
		fail(&why);
	}
	d.host = argv[1];
	d.envelope = argv + 2;
	if (prepare(&d, &why) == -1 || find_candidates(&d, &why) == -1)
		fail(&why);
	if (find_server(&d))
		become_io(&d, &why);
	if (why.status[0])
		fail(&why);
	report_no_server(&d);
	report_end();
	end_helpers();
	return 0;
}
