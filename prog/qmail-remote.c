/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "io/fdio.h"
#include "base/mem.h"
#include "io/sandbox.h"
#include "base/str.h"
#include "delivery/connect.h"
#include "delivery/handoff.h"
#include "delivery/lookup.h"
#include "delivery/plan.h"
#include "qmail/control.h"
#include "qmail/ipfamily.h"
#include "qmail/ipme.h"
#include "qmail/memory.h"
#include "qmail/quote.h"
#include "qmail/report.h"
#include "qmail/route.h"
#include "qmail/tcpto.h"
#include "smtp/transaction.h"
#include "tls/policy.h"

#include "attempt.h"
#include "config.h"
#include "start.h"
#include "version.h"

/* Lines of a failure report that are about single addresses. */
#define TOLD_MAX 10

#define PROGRAM_IO QMAIL_HOME "/bin/qmail-remote-io"
#define PROGRAM_TLS QMAIL_HOME "/bin/qmail-remote-tls"

static const struct table_files route_files = {
	.text = "control/smtproutes",
	.index = QMAIL_STATE "/smtproutes.cdb",
	.lock = QMAIL_STATE "/smtproutes.lock",
};

static const struct table_files ipfamily_files = {
	.text = "control/ipfamily",
	.index = QMAIL_STATE "/ipfamily.cdb",
	.lock = QMAIL_STATE "/ipfamily.lock",
};

static const struct tcpto tcpto = {
	.path4 = "queue/lock/tcpto",
	.path6 = QMAIL_STATE "/tcpto6",
};

/* Files that are written to; the helper's descriptors 0 to 2 are /dev/null. */
static const char *const written[] = { "queue/lock/tcpto", "/dev/null" };

/* One delivery: its arguments, and what is known so far. */
struct delivery {
	const char *host;
	char **envelope; /* sender, recipients, NULL */
	struct control control;
	struct ipme ipme;
	struct route route;
	enum ipfamily family;
	struct mx_list list;
	int notes; /* the memory of addresses; -1: none */
	struct plan plan;
	struct connector connector; /* follows the plan, or one in clear text */
	struct trouble trouble;
	struct server server;
	bool used_helo;    /* on a connection of its own, since EHLO failed */
	struct buf before; /* lines on servers that failed before */
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
 * SMTP has no way to write the sender, or any of the recipients: reported
 * before a server is looked for.
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

static bool
is_relayed(const struct delivery *d)
{
	return d->route.relay.len > 0;
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
	/* A relay may have the address of one of our interfaces. */
	if (ipme_read(&d->ipme, "control/ipme", !is_relayed(d), why) == -1)
		return -1;
	return ipfamily_find(&d->family, &ipfamily_files,
	    is_relayed(d) ? buf_text(&d->route.relay) : d->host, why);
}

static int
find_hosts(struct delivery *d, struct dsn *why)
{
	struct dns_config config;
	struct lookup lookup = { .host = d->host,
		.is_relay = is_relayed(d),
		.timeout_s = d->control.timeoutdns };
	int result;

	if (is_relayed(d))
		lookup.host = buf_text(&d->route.relay);
	dns_config_read(&config, "/etc/resolv.conf");
	lookup.resolver = dns_resolver_create(&config, false);
	result = lookup_hosts(&d->list, &lookup, why);
	dns_resolver_destroy(lookup.resolver);
	return result;
}

static int
make_plan(struct delivery *d, struct dsn *why)
{
	static struct memory memory;
	struct plan_config config = {
		.ipme = &d->ipme,
		.memory = &memory,
		.now = (int64_t)time(NULL),
		.family = d->family,
		.tls = { .has_anchors = d->control.trustanchors.len > 0,
		    .strictness = d->control.tlsstrictness },
		.is_relay = is_relayed(d),
		.port = d->route.port,
	};

	d->notes = memory_open(QMAIL_STATE "/addresses");
	memory_read(&memory, d->notes);
	memory.cleared = tcpto_cleared(&tcpto);
	return plan_make(&d->plan, &d->list, &config, why);
}

/* A file may hold both the chain and its key. */
static const char *
key_path(const struct control *c)
{
	return c->clientkey.len > 0 ? c->clientkey.data : c->clientcert.data;
}

/* "REASON at HH:MM", where TLS is not tried. */
static void
leave_tls_out(struct attempt *a, const char *reason, int64_t when)
{
	time_t seconds = (time_t)when;
	struct tm local = { 0 };

	if (!tls_policy_tries(&a->policy))
		return;
	(void)localtime_r(&seconds, &local);
	a->policy.level = TLS_LEVEL_NONE;
	a->is_tls_left_out = true;
	snprintf(a->no_tls, sizeof a->no_tls, "not tried, %s at %02d:%02d",
	    reason, local.tm_hour, local.tm_min);
}

/*
 * What the server could not bear is left out, where clear text would do
 * anyway.
 */
static void
heed_memory(struct attempt *a, const struct plan_address *address)
{
	if (tls_policy_requires(&a->policy))
		return;
	a->only_helo = address->noted[MEMORY_EHLO] > 0;
	if (a->only_helo)
		leave_tls_out(a, "EHLO had no usable reply",
		    address->noted[MEMORY_EHLO]);
	else if (address->noted[MEMORY_TLS] > 0)
		leave_tls_out(a, "the handshake hung",
		    address->noted[MEMORY_TLS]);
}

static void
set_up_attempt(const struct delivery *d, size_t i, struct attempt *a)
{
	const struct control *c = &d->control;
	const struct plan *plan = d->connector.plan;
	const struct plan_host *host = &plan->host[plan->address[i].host];

	a->helohost = buf_text(&c->helohost);
	a->host = host->is_literal ? NULL : host->name;
	a->timeout_s = c->timeoutremote;
	a->policy = host->policy;
	a->ip = plan->address[i].ip;
	a->helper = (struct tls_helper){
		.program = PROGRAM_TLS,
		.name = host->name,
		.anchors = tls_policy_verifies(&a->policy)
			       ? buf_text(&c->trustanchors)
			       : NULL,
		.state = QMAIL_STATE,
		.clientcert = c->clientcert.len > 0 ? c->clientcert.data : NULL,
		.clientkey = key_path(c),
		.security = tls_policy_security(&a->policy),
		.timeout_s = c->timeoutconnect,
	};
	heed_memory(a, &plan->address[i]);
}

/* The server is ready: how it is to be spoken to, and what was before it. */
static void
prepare_handoff(struct delivery *d, const struct attempt *a, size_t i)
{
	const struct plan_address *address = &d->connector.plan->address[i];

	if (address->noted[MEMORY_PIPELINING] > 0)
		d->server.ehlo.extensions &= ~(unsigned)SMTP_EXT_PIPELINING;
	d->used_helo = a->only_helo && address->noted[MEMORY_EHLO] == 0;
	connector_tell(&d->connector, i, &d->before);
}

/* "greeting failed: 421 too busy", of what the report would say. */
static void
keep_failure(struct delivery *d, const struct attempt *a, size_t i)
{
	static const char but[] = " but ";
	const struct trouble *t = &d->trouble;
	char address[IP_TEXT_SIZE];
	struct buf reason = { 0 };

	if (t->rank == TROUBLE_NONE ||
	    strcmp(t->address, ip_format(&a->ip, address)) != 0) {
		connector_failed(&d->connector, i, "connection died");
		return;
	}
	buf_puts(&reason, t->text + strlen(but));
	buf_cut(&reason, strcspn(buf_text(&reason), ".\n"));
	if (t->reply.len > 0)
		buf_printf(&reason, ": %.*s", (int)strcspn(t->reply.text, "\n"),
		    t->reply.text);
	else if (t->tls[0])
		buf_printf(&reason, ": %s", t->tls);
	connector_failed(&d->connector, i, buf_text(&reason));
	buf_finish(&reason);
}

/*
 * One address, in up to three connections: once more in clear text if TLS
 * failed and the policy allows it, and with HELO if EHLO failed.
 */
static enum attempt_result
attempt_address(struct delivery *d, int fd, size_t i)
{
	struct attempt a = { 0 };
	enum attempt_result result;

	set_up_attempt(d, i, &a);
	result = attempt_server(&a, fd, &d->server, &d->trouble);
	while (result == ATTEMPT_AGAIN) {
		if (!connector_again(&d->connector, i, &fd))
			return ATTEMPT_NEXT;
		result = attempt_server(&a, fd, &d->server, &d->trouble);
	}
	if (a.has_hung)
		memory_note(d->notes, &a.ip, MEMORY_TLS, (int64_t)time(NULL));
	if (result == ATTEMPT_READY)
		prepare_handoff(d, &a, i);
	else
		keep_failure(d, &a, i);
	return result;
}

/* True when a server is ready.  Marks the addresses without TLS. */
static bool
follow_plan(struct delivery *d, bool *had_no_tls)
{
	struct dialed won;

	while (connector_next(&d->connector, &won)) {
		switch (attempt_address(d, won.fd, won.target)) {
		case ATTEMPT_READY:
			return true;
		case ATTEMPT_NO_TLS:
			had_no_tls[won.target] = true;
			break;
		case ATTEMPT_STOP:
			return false;
		default:
			break;
		}
	}
	return false;
}

/*
 * After this time, half an hour by default, no further address is tried,
 * however many there are and however slowly they fail.
 */
static struct deadline
search_deadline(const struct control *c)
{
	return deadline_in(1000 * (10 * (int64_t)c->timeoutconnect +
				      (int64_t)c->timeoutremote));
}

static bool
find_server(struct delivery *d)
{
	bool *had_no_tls = mem_alloc(d->plan.naddress, sizeof *had_no_tls);
	struct deadline until = search_deadline(&d->control);
	struct plan in_clear = { 0 };
	bool found;

	connector_begin(&d->connector, &d->plan, &tcpto,
	    d->control.timeoutconnect, until);
	found = follow_plan(d, had_no_tls);
	if (!found && d->trouble.rank != TROUBLE_OURS &&
	    plan_in_clear(&in_clear, &d->plan, had_no_tls)) {
		connector_finish(&d->connector);
		connector_begin(&d->connector, &in_clear, &tcpto,
		    d->control.timeoutconnect, until);
		found = follow_plan(d, had_no_tls);
	}
	free(had_no_tls);
	return found;
}

/* The failure of the last server that replied. */
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

/* No connection: stock's sentence, then each address and its error. */
static void
report_unconnected(const struct connector *c)
{
	char text[IP_TEXT_SIZE];
	size_t told = 0;

	report_message(REPORT_TEMPORARY);
	report_puts("Sorry, I wasn't able to establish an SMTP connection. "
		    "(#4.4.1)\n");
	for (size_t i = 0; i < c->plan->naddress && told < TOLD_MAX; i++) {
		const struct plan_address *a = &c->plan->address[i];

		if (a->use != PLAN_USED && a->use != PLAN_TIMED_OUT)
			continue;
		report_puts(ip_format(&a->ip, text));
		report_puts(": ");
		report_puts(connector_reason(c, i));
		report_puts("\n");
		told++;
	}
}

static void
report_no_server(const struct delivery *d)
{
	if (d->trouble.rank == TROUBLE_NONE)
		report_unconnected(&d->connector);
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
		.before = d->before.len > 0 ? d->before.data : NULL,
		.helo = d->used_helo,
		.envelope = d->envelope,
	};

	smtp_ehlo_format(&d->server.ehlo, &extensions);
	h.extensions = extensions.data;
	if (d->notes != -1 && fdio_set_cloexec(d->notes, false) == 0)
		h.memory = (unsigned long)d->notes;
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
	if (prepare(&d, &why) == -1 || find_hosts(&d, &why) == -1 ||
	    make_plan(&d, &why) == -1)
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
