/* SPDX-License-Identifier: ISC */
/*
 * Says what would become of a message to a domain: does what a delivery does up
 * to MAIL, with the same code, and sends nothing.
 */
#define _DEFAULT_SOURCE /* setgroups(), clearenv() */

#include <sys/stat.h>
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "delivery/failure.h"
#include "delivery/search.h"
#include "delivery/setup.h"
#include "io/fdio.h"
#include "io/sandbox.h"
#include "io/spawn.h"

#include "config.h"
#include "files.h"
#include "version.h"

#define REAP_MS 1000

enum verdict {
	WOULD_BE_DELIVERED = 0,
	WOULD_BE_DEFERRED = 1,
	WOULD_BE_BOUNCED = 2,
	USAGE = 3
};

struct options {
	bool all;    /* try every address, also behind one that is ready */
	bool routes; /* route and policy only, without the network */
	const char *host;
	char **envelope; /* sender, recipients, NULL; or just NULL */
};

static const char *const written[] = { "queue/lock/tcpto", "/dev/null" };

static const char *const left_out[] = {
	[PLAN_OWN] = "left out: it is this machine, or in control/ipme",
	[PLAN_NOT_BETTER] = "left out: its MX host is no better than we are",
	[PLAN_FAMILY] = "left out: control/ipfamily",
	[PLAN_DUPLICATE] = "left out: a host before it has the same address",
	[PLAN_TOO_MANY] = "left out: there are too many before it",
	[PLAN_TIMED_OUT] = "skipped: it timed out lately",
};

static const char *const noted[MEMORY_KINDS] = {
	[MEMORY_PIPELINING] = "remembered: commands one by one",
	[MEMORY_STALL] = "remembered: mail data stalled, tried last",
	[MEMORY_EHLO] = "remembered: EHLO fails, HELO is used",
	[MEMORY_TLS] = "remembered: the TLS handshake hangs",
};

static int
fatal(const char *what)
{
	fprintf(stderr, "qmail-remote-check: unable to %s: %s\n", what,
	    strerror(errno));
	return WOULD_BE_DEFERRED;
}

/* Text from the network: at a terminal no byte of it does anything. */
static void
put(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bool is_printable = s[i] >= ' ' && s[i] <= '~';

		putchar(is_printable ? s[i] : '?');
	}
}

static void
put_text(const char *s)
{
	put(s, strlen(s));
}

/* The first word of a line; later lines of the same kind have none. */
static void
begin_line(const char *label)
{
	printf("%-10s", label);
}

/* If nobody can read the lines, no server is asked any more. */
static void
end_line(void)
{
	putchar('\n');
	if (fflush(stdout) == EOF || ferror(stdout))
		exit(fatal("write to standard output"));
}

static void
put_line(const char *label, const char *text)
{
	begin_line(label);
	put_text(text);
	end_line();
}

/* Several lines, each without its end and with the label or blanks before. */
static void
put_lines(const char *label, const char *text, size_t n)
{
	while (n > 0) {
		const char *line_end = memchr(text, '\n', n);
		size_t len = line_end ? (size_t)(line_end - text) : n;

		begin_line(label);
		put(text, len);
		end_line();
		label = "";
		text += len;
		n -= len;
		if (n > 0) {
			text++;
			n--;
		}
	}
}

static enum verdict
verdict_of(const struct dsn *why)
{
	char line[sizeof why->text + sizeof why->status + 8];

	snprintf(line, sizeof line, "%s (#%s)", why->text, why->status);
	put_lines("reason", line, strlen(line));
	if (why->detail[0] != '\0')
		put_line("", why->detail);
	if (dsn_is_temporary(why)) {
		put_line("result", "a message would be deferred");
		return WOULD_BE_DEFERRED;
	}
	put_line("result", "a message would be bounced");
	return WOULD_BE_BOUNCED;
}

/*
 * Root looks with the rights of a delivery: it becomes the owner of the state
 * directory, which is qmailr.
 */
static int
become_qmailr(void)
{
	struct stat st;

	if (geteuid() != 0)
		return 0;
	if (stat(QMAIL_STATE, &st) == -1)
		return -1;
	if (st.st_uid == 0)
		fputs("qmail-remote-check: " QMAIL_STATE " belongs to root: "
		      "this may read more than a delivery can\n",
		    stderr);
	if (setgroups(1, &st.st_gid) == -1 || setgid(st.st_gid) == -1)
		return -1;
	return setuid(st.st_uid);
}

static void
die_out_of_memory(void)
{
	fputs("qmail-remote-check: out of memory\n", stderr);
	_exit(WOULD_BE_DEFERRED);
}

static void
show_route(const struct setup *s)
{
	begin_line("route");
	if (setup_is_relayed(s)) {
		put_text(buf_text(&s->route.relay));
		printf(", port %u, by control/smtproutes", s->route.port);
	} else
		printf("the MX hosts of the domain, port %u", s->route.port);
	end_line();
}

static void
show_policy(const struct control *c)
{
	static const char *const what[] = {
		"strictness 0: where the server offers it, unverified",
		"strictness 1: servers with TLS first, unverified",
		"strictness 2: verified, or the message waits",
	};

	put_line("TLS",
	    c->trustanchors.len == 0
		? "never: there is no control/trustanchors"
		: what[c->tlsstrictness > 2 ? 2 : c->tlsstrictness]);
}

static void
show_address(const struct plan_address *a)
{
	char text[IP_TEXT_SIZE];

	begin_line("");
	printf("   %s", ip_format(&a->ip, text));
	if (a->use != PLAN_USED)
		printf(" %s", left_out[a->use]);
	end_line();
	for (int kind = 0; kind < MEMORY_KINDS; kind++)
		if (a->noted[kind] > 0) {
			begin_line("");
			printf("      %s", noted[kind]);
			end_line();
		}
}

static void
show_hosts(const struct plan *p)
{
	for (size_t i = 0; i < p->nhost; i++) {
		const struct plan_host *h = &p->host[i];

		begin_line(i == 0 ? "hosts" : "");
		printf("%u ", h->preference);
		put_text(h->name);
		if (h->outcome == DNS_TEMPFAIL)
			put_text(": the DNS gave no answer");
		else if (h->outcome != DNS_FOUND)
			put_text(": has no address");
		end_line();
		for (size_t k = 0; k < p->naddress; k++)
			if (p->address[k].host == i)
				show_address(&p->address[k]);
	}
}

static double
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void
put_server(const struct attempt *a)
{
	char text[IP_TEXT_SIZE];

	ip_format(&a->ip, text);
	if (a->host) {
		put_text(a->host);
		printf(" (%s)", text);
	} else
		put_text(text);
}

static void
begins(void *data, const struct attempt *a)
{
	double *start = data;

	begin_line("connected");
	put_server(a);
	end_line();
	*start = now_ms();
}

static void
has_ended(void *data, const struct attempt *a, enum attempt_result result,
    const struct server *server)
{
	const double *start = data;
	char text[FAILURE_TEXT_SIZE], tls[TLS_SENTENCE_SIZE];
	struct buf extensions = { 0 };

	begin_line("");
	if (a->cause == FAILURE_NONE) {
		smtp_ehlo_format(&server->ehlo, &extensions);
		printf("   ready for MAIL after %.0f ms: ", now_ms() - *start);
		put_text(extensions.len > 0 ? buf_text(&extensions)
					    : "no extensions");
		buf_finish(&extensions);
	} else
		printf("   %s after %.0f ms", failure_brief(text, a->cause),
		    now_ms() - *start);
	end_line();
	put_lines("   said", a->reply, a->nreply);
	if (a->tls.status == TLS_STATUS_NONE)
		cleartext_describe(&a->cleartext, false, tls);
	else
		tls_result_describe(&a->tls, tls);
	if (tls[0] != '\0')
		put_line("   TLS", tls);
	if (result == ATTEMPT_AGAIN)
		put_line("", "   this address once more, in another way");
}

static enum verdict
conclude_ready(const struct search *s)
{
	const struct attempt *a = &s->history.attempt[s->history.n - 1];

	begin_line("result");
	put_text("a message would be delivered through ");
	put_server(a);
	if (a->tls.status == TLS_STATUS_READY)
		put_text(a->tls.verified[0] != '\0'
			     ? ", in TLS, certificate verified"
			     : ", in TLS, certificate not verified");
	else
		put_text(", in clear text");
	end_line();
	return WOULD_BE_DELIVERED;
}

/* Addresses to which there was no connection. */
static void
show_unconnected(const struct connector *c)
{
	char text[IP_TEXT_SIZE];

	for (size_t i = 0; i < c->plan->naddress; i++) {
		if (!connector_has_failed(c, i))
			continue;
		begin_line("failed");
		printf("%s: %s", ip_format(&c->plan->address[i].ip, text),
		    connector_reason(c, i));
		end_line();
	}
}

/* Nothing more is wanted of the server. */
static void
quit(const struct server *server)
{
	static const char command[] = "QUIT\r\n";
	ssize_t sent = fdio_write(server->fd, command, sizeof command - 1);

	(void)sent;
	close(server->fd);
	if (server->status != 0)
		close(server->status);
	spawn_reap(deadline_in(REAP_MS));
}

/* It was connected to, or has been shown as failed. */
static bool
was_tried(const struct search *s, const struct ip *ip)
{
	const struct history *h = &s->history;
	const struct plan *plan = s->connector.plan;

	for (size_t i = 0; i < h->n; i++)
		if (ip_equal(&h->attempt[i].ip, ip))
			return true;
	for (size_t i = 0; i < plan->naddress; i++)
		if (connector_has_failed(&s->connector, i) &&
		    ip_equal(&plan->address[i].ip, ip))
			return true;
	return false;
}

/* Each address that a delivery would not have come to, by itself. */
static void
try_others(const struct plan *plan, const struct search *tried,
    const struct search_config *config)
{
	for (size_t i = 0; i < plan->naddress; i++) {
		struct plan one = *plan;
		struct search s = { .address = 0 };

		one.address = &plan->address[i];
		one.naddress = 1;
		if (one.address->use != PLAN_USED ||
		    was_tried(tried, &one.address->ip))
			continue;
		if (search_server(&s, &one, config) == SEARCH_READY)
			quit(&s.server);
		else
			show_unconnected(&s.connector);
		search_finish(&s);
	}
}

static enum verdict
search(struct setup *setup, bool all)
{
	double start = 0;
	struct search_observer observer = { begins, has_ended, &start };
	struct search_config config = setup_search_config(setup);
	struct search s = { .address = 0 };
	enum search_result result;

	config.observer = &observer;
	result = search_server(&s, &setup->plan, &config);
	if (result == SEARCH_READY)
		quit(&s.server);
	show_unconnected(&s.connector);
	if (all)
		try_others(&setup->plan, &s, &config);
	if (result == SEARCH_READY)
		return conclude_ready(&s);
	put_line("result", "a message would be deferred");
	return WOULD_BE_DEFERRED;
}

static enum verdict
check(struct setup *setup, const struct options *options)
{
	struct dsn why = { 0 };
	int result;

	put_line("to", setup->host);
	if (setup_read(setup, &why) == -1 ||
	    (options->envelope[0] &&
		setup_check_envelope(options->envelope, &why) == -1))
		return verdict_of(&why);
	show_route(setup);
	show_policy(&setup->control);
	if (options->routes)
		return WOULD_BE_DELIVERED;
	result = setup_plan(setup, &why);
	show_hosts(&setup->plan);
	return result == -1 ? verdict_of(&why) : search(setup, options->all);
}

static int
usage(void)
{
	fputs("usage: qmail-remote-check [--all] HOST [SENDER RECIPIENT ...]\n"
	      "       qmail-remote-check --routes HOST\n",
	    stderr);
	return USAGE;
}

/* False if they are wrong. */
static bool
read_options(int argc, char **argv, struct options *options)
{
	int i = 1;

	options->all = i < argc && strcmp(argv[i], "--all") == 0;
	options->routes = i < argc && strcmp(argv[i], "--routes") == 0;
	if (options->all || options->routes)
		i++;
	if (i >= argc || argv[i][0] == '-')
		return false;
	options->host = argv[i];
	options->envelope = argv + i + 1;
	/* A sender alone is not enough. */
	return options->envelope[0] == NULL ||
	       (options->envelope[1] != NULL && !options->routes);
}

int
main(int argc, char **argv)
{
	const struct setup_files files = files_of_qmail(true);
	struct setup setup = { .files = &files };
	struct options options;

	if (version_is_wanted(argc, argv))
		return version_print(VERSION_MARK("qmail-remote-check"));
	if (!read_options(argc, argv, &options))
		return usage();
	if (fdio_fill_standard() == -1)
		return fatal("open /dev/null");
	if (chdir(QMAIL_HOME) == -1)
		return fatal("switch to " QMAIL_HOME);
	if (become_qmailr() == -1)
		return fatal("become the owner of " QMAIL_STATE);
	mem_on_exhaustion(die_out_of_memory);
	/* It could change what a library does. */
	clearenv();
	sandbox_harden();
	sandbox_enter_search(QMAIL_STATE, written,
	    sizeof written / sizeof *written);
	signal(SIGPIPE, SIG_IGN);
	setup.host = options.host;
	return (int)check(&setup, &options);
}
