/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "io/fdio.h"
#include "base/mem.h"
#include "io/sandbox.h"
#include "base/str.h"
#include "delivery/failure.h"
#include "delivery/handoff.h"
#include "delivery/lookup.h"
#include "delivery/noserver.h"
#include "delivery/plan.h"
#include "delivery/search.h"
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

#include "config.h"
#include "start.h"
#include "version.h"

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
	struct search search;
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
		return failure_set(why, FAILURE_SENDER_UNSENDABLE, "");
	while (*recipient && !is_deliverable(*recipient, quote_mailbox))
		recipient++;
	if (!*recipient)
		return failure_set(why, FAILURE_RECIPIENT_UNSENDABLE, "");
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
		return failure_set(why, FAILURE_HOME, "");
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
		.has_anchors = d->control.trustanchors.len > 0,
		.tlsstrictness = d->control.tlsstrictness,
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

static enum search_result
find_server(struct delivery *d)
{
	const struct control *c = &d->control;
	struct search_config config = {
		.attempt = {
			.helohost = buf_text(&c->helohost),
			.timeout_s = c->timeoutremote,
			.helper = PROGRAM_TLS,
			.timeout_handshake_s = c->timeoutconnect,
			.anchors = buf_text(&c->trustanchors),
			.state = QMAIL_STATE,
			.clientcert = c->clientcert.len > 0
					  ? c->clientcert.data
					  : NULL,
			.clientkey = key_path(c),
		},
		.tcpto = &tcpto,
		.timeoutconnect = c->timeoutconnect,
		.notes = d->notes,
	};

	return search_server(&d->search, &d->plan, &config);
}

/* Becomes qmail-remote-io; returns only if that failed. */
static void
become_io(struct delivery *d, struct dsn *why)
{
	static char *const environment[] = { NULL };
	struct handoff h = {
		.timeout_s = d->control.timeoutremote,
		.envelope = d->envelope,
	};
	const struct server *server = &d->search.server;

	search_hand_over(&d->search, &h);
	if (d->notes != -1 && fdio_set_cloexec(d->notes, false) == 0)
		h.memory = (unsigned long)d->notes;
	if (fdio_set_cloexec(server->fd, false) == 0 &&
	    (h.status == 0 || fdio_set_cloexec(server->status, false) == 0))
		execve(PROGRAM_IO, handoff_format(&h), environment);
	failure_set(why, FAILURE_EXEC, "");
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
		failure_set(&why, FAILURE_USAGE, "");
		fail(&why);
	}
	d.host = argv[1];
	d.envelope = argv + 2;
	if (prepare(&d, &why) == -1 || find_hosts(&d, &why) == -1 ||
	    make_plan(&d, &why) == -1)
		fail(&why);
	if (find_server(&d) == SEARCH_READY) {
		become_io(&d, &why);
		fail(&why);
	}
	noserver_record(&d.search);
	report_end();
	end_helpers();
	return 0;
}
