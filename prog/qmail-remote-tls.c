/* SPDX-License-Identifier: ISC */
/*
 * qmail-remote-tls: one TLS session for qmail-remote.
 *
 * It writes to its status descriptor how the handshake went, then moves bytes
 * between the server and the program at the other end of the clear descriptor
 * until either closes, and writes how the session ended.  It is the only
 * program with OpenSSL in it.
 */
#define _GNU_SOURCE /* dl_iterate_phdr() */

#include <sys/socket.h>
#include <link.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/dsn.h"
#include "io/fdio.h"
#include "io/latency.h"
#include "base/mem.h"
#include "io/pass.h"
#include "io/sandbox.h"
#include "io/watch.h"
#include "base/str.h"
#include "base/tlsa.h"
#include "tls/request.h"
#include "tlsd/serve.h"
#include "tlsd/session.h"
#include "tls/status.h"
#include "tlsd/tunnel.h"
#include "tlsd/warm.h"

#include "version.h"

#define EXIT_NO_STATUS 100 /* there was nowhere to write one to */
#define EXIT_NO_MEMORY 111 /* and no record was written */
#define STATUS_STALL_MS 10000
/* A last resort: who starts this program waits for five minutes at most. */
#define WAIT_MS (INT64_C(3600) * 1000)
#define MEMORY_MAX ((size_t)256 << 20)
#define SESSIONS 1000 /* at a time */

/* Where the last record goes, and whether the handshake is done. */
static struct {
	int fd;
	bool is_ready;
} status = { -1, false };

/* 0 when the record was written. */
static int
write_record(const char *record, size_t n)
{
	return fdio_write_all(status.fd, record, n, STATUS_STALL_MS);
}

static int
tell_result(const struct tls_result *r)
{
	char record[TLS_RECORD_SIZE];

	status.is_ready = r->status == TLS_STATUS_READY;
	return write_record(record, tls_result_format(record, r));
}

static void
tell_facts(const struct tlsd_session *session)
{
	char record[TLS_RECORD_SIZE];
	struct tls_facts facts;

	tlsd_session_facts(session, &facts);
	for (int i = 0; i < TLS_FACTS; i++)
		if (facts.is_known[i])
			(void)write_record(record,
			    tls_fact_format(record, &facts, (enum tls_fact)i));
}

static int
tell_local_failure(const char *text)
{
	struct tls_result r = { .status = TLS_STATUS_LOCAL };

	(void)str_copy(r.text, sizeof r.text, text);
	return tell_result(&r);
}

static void
tell_end(enum tls_end end, const char *text)
{
	char record[TLS_RECORD_SIZE];

	(void)write_record(record, tls_end_format(record, end, text));
}

static void
die_out_of_memory(void)
{
	if (status.is_ready)
		tell_end(TLS_END_LOCAL, "out of memory");
	else if (tell_local_failure("out of memory") == 0)
		_exit(0);
	_exit(EXIT_NO_MEMORY);
}

static void
ignore_sigpipe(void)
{
	struct sigaction action = { .sa_handler = SIG_IGN };

	sigemptyset(&action.sa_mask);
	sigaction(SIGPIPE, &action, NULL);
}

/*
 * The connection is not ours before this byte comes.  False if it never will:
 * the other side has closed.
 */
static bool
await_connection(int clear)
{
	char byte;

	return fdio_wait(clear, POLLIN, deadline_in(WAIT_MS)) == 1 &&
	       fdio_read(clear, &byte, 1) == 1;
}

/* A path that ends in '/'; it is read while a chain is verified. */
static bool
is_directory(const char *anchors)
{
	size_t n = anchors != NULL ? strlen(anchors) : 0;

	return n > 0 && anchors[n - 1] == '/';
}

/* Whether files can still be read. */
static bool
enter_sandbox(const char *anchors)
{
	bool reads = is_directory(anchors);

	if (reads)
		sandbox_enter_tls_reading(MEMORY_MAX, anchors);
	else
		sandbox_enter_tls(MEMORY_MAX);
	return reads;
}

static struct tlsd_session_params
session_params(const struct tls_request *r, const struct tlsa_set *tlsa,
    struct tlsd_warm *warm)
{
	return (struct tlsd_session_params){
		.warm = warm,
		.fd = (int)r->socket,
		.security = (int)r->security,
		.name = r->name,
		.tlsa = r->tlsa != NULL ? tlsa : NULL,
		.names = r->names,
		.anchors = r->anchors,
		.match = r->match,
		.statedir = r->state,
		.describe = (enum tls_describe)r->describe,
		.cert = r->cert,
		.key = r->key,
	};
}

/*
 * Does what was asked for, with a library that has started, or NULL; returns
 * the exit code.
 */
static int
run_session(const struct tls_request *request, struct tlsd_warm *warm)
{
	struct tlsa_set tlsa = { 0 };
	struct tlsd_session_params params;
	struct dsn why = { 0 };
	struct deadline until = deadline_in((int64_t)request->seconds * 1000);
	struct tlsd_session *session;
	struct tls_result result;
	bool reads;

	status.fd = (int)request->status;
	mem_on_exhaustion(die_out_of_memory);
	ignore_sigpipe();
	if (request->tlsa != NULL && !tlsa_parse(&tlsa, request->tlsa))
		return EXIT_NO_STATUS;

	/* Reads the files: certificate, key, anchors. */
	params = session_params(request, &tlsa, warm);
	session = tlsd_session_create(&params, &why);
	if (session == NULL)
		return tell_local_failure(why.text) == 0 ? 0 : EXIT_NO_STATUS;

	reads =
	    enter_sandbox(tlsd_session_has_anchors(session) ? request->anchors
							    : NULL);
	if (request->wait) {
		if (!await_connection((int)request->clear))
			return 0;
		until = deadline_in((int64_t)request->seconds * 1000);
	}
	/* From here on it talks to the network. */
	(void)tlsd_session_handshake(session, until, &result);
	if (reads)
		sandbox_end_reading();
	tell_facts(session);
	if (tell_result(&result) == 0 && status.is_ready)
		tlsd_tunnel_run(session, (int)request->socket,
		    (int)request->clear, tell_end);
	/*
	 * In a child this would write to memory that it shares with its parent,
	 * and the kernel would copy it.
	 */
	if (warm == NULL)
		tlsd_session_destroy(session);
	tlsa_finish(&tlsa);
	return 0;
}

/* What all sessions have. */
struct service {
	struct tlsd_warm *warm;
	struct watch watch; /* the files that this program consists of */
};

/* Words of another version may mean something else. */
static bool
is_of_our_version(const struct tls_request *request)
{
	return request->version != NULL &&
	       strcmp(request->version, PROGRAM_VERSION) == 0;
}

/* The same, in a child of the service. */
static int
run_passed_session(void *data, int argc, char **argv, const int fd[TLS_FDS])
{
	const struct service *service = data;
	struct tls_request request;

	if (!tls_request_parse(&request, argc, argv) ||
	    !is_of_our_version(&request))
		return EXIT_NO_STATUS;
	request.socket = (unsigned long)fd[TLS_FD_SOCKET];
	request.clear = (unsigned long)fd[TLS_FD_CLEAR];
	request.status = (unsigned long)fd[TLS_FD_STATUS];
	return run_session(&request, service->warm);
}

/* A library that is mapped; the program itself has no name here. */
static int
watch_library(struct dl_phdr_info *info, size_t size, void *watch)
{
	struct watch *w = watch;

	(void)size;
	if (strchr(info->dlpi_name, '/') != NULL && w->n < WATCH_MAX)
		watch_add(w, info->dlpi_name);
	return 0;
}

static bool
has_changed(const void *data)
{
	const struct service *service = data;

	return watch_has_changed(&service->watch);
}

/* As a delivery hands them to its helper, whatever the broker ignores. */
static void
set_signals(void)
{
	struct sigaction usual = { .sa_handler = SIG_DFL };
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	sigemptyset(&usual.sa_mask);
	sigemptyset(&ignore.sa_mask);
	sigaction(SIGCHLD, &usual, NULL);
	sigaction(SIGHUP, &usual, NULL);
	sigaction(SIGXFSZ, &ignore, NULL);
}

/*
 * A child is as confined as a program that qmail-remote has started, and drops
 * the rest like that one.
 */
static int
serve(const struct tls_service *request, const char *program)
{
	static const char *const written[] = { "/dev/null" };
	struct service service = { 0 };
	struct serve config = { .socket = (int)request->serve,
		.limit = SESSIONS,
		.session = run_passed_session,
		.has_changed = has_changed,
		.data = &service };
	struct dsn why = { 0 };
	int code = 0;

	set_signals();
	/* For its children, too: a delivery does not wait for them for long. */
	latency_lower();
	watch_add(&service.watch, program);
	(void)dl_iterate_phdr(watch_library, &service.watch);
	if (chdir(request->home) == -1)
		return EXIT_NO_STATUS;
	sandbox_enter_fetch(request->state, written, 1);
	service.warm = tlsd_warm_up(&why);
	/* One message says that sessions may be asked for. */
	if (service.warm == NULL ||
	    pass_send(config.socket, "", 1, NULL, 0) == -1)
		return EXIT_NO_STATUS;
	/* A child: it frees nothing, see run_session(). */
	if (serve_run(&config, &code))
		_exit(code);
	tlsd_warm_free(service.warm);
	return 0;
}

int
main(int argc, char **argv)
{
	struct tls_request request;
	struct tls_service service;

	if (version_is_wanted(argc, argv))
		return version_print(VERSION_MARK("qmail-remote-tls"));
	sandbox_harden();
	if (tls_service_parse(&service, argc, argv))
		return serve(&service, argv[0]);
	if (!tls_request_parse(&request, argc, argv))
		return EXIT_NO_STATUS;
	return run_session(&request, NULL);
}
