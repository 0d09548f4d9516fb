/* SPDX-License-Identifier: ISC */
/*
 * qmail-remote-tls: one TLS session for qmail-remote.
 *
 * It writes to its status descriptor how the handshake went, then moves bytes
 * between the server and the program at the other end of the clear descriptor
 * until either closes, and writes how the session ended.  It is the only
 * program with OpenSSL in it.
 */
#include <sys/socket.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/dsn.h"
#include "io/fdio.h"
#include "base/mem.h"
#include "io/sandbox.h"
#include "base/str.h"
#include "base/tlsa.h"
#include "tls/request.h"
#include "tlsd/session.h"
#include "tls/status.h"
#include "tlsd/tunnel.h"

#include "version.h"

#define EXIT_NO_STATUS 100 /* there was nowhere to write one to */
#define EXIT_NO_MEMORY 111 /* and no record was written */
#define STATUS_STALL_MS 10000
/* A last resort: who starts this program waits for five minutes at most. */
#define WAIT_MS (INT64_C(3600) * 1000)
#define MEMORY_MAX ((size_t)256 << 20)

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
			    tls_fact_format(record, (enum tls_fact)i,
				facts.text[i]));
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
session_params(const struct tls_request *r, const struct tlsa_set *tlsa)
{
	return (struct tlsd_session_params){
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

int
main(int argc, char **argv)
{
	struct tls_request request;
	struct tlsa_set tlsa = { 0 };
	struct tlsd_session_params params;
	struct dsn why = { 0 };
	struct deadline until;
	struct tlsd_session *session;
	struct tls_result result;
	bool reads;

	if (version_is_wanted(argc, argv))
		return version_print(VERSION_MARK("qmail-remote-tls"));
	sandbox_harden();
	if (!tls_request_parse(&request, argc, argv))
		return EXIT_NO_STATUS;
	until = deadline_in((int64_t)request.seconds * 1000);
	status.fd = (int)request.status;
	mem_on_exhaustion(die_out_of_memory);
	ignore_sigpipe();
	if (request.tlsa != NULL && !tlsa_parse(&tlsa, request.tlsa))
		return EXIT_NO_STATUS;

	/* Reads the files: certificate, key, anchors. */
	params = session_params(&request, &tlsa);
	session = tlsd_session_create(&params, &why);
	if (session == NULL)
		return tell_local_failure(why.text) == 0 ? 0 : EXIT_NO_STATUS;

	reads =
	    enter_sandbox(tlsd_session_has_anchors(session) ? request.anchors
							    : NULL);
	if (request.wait) {
		if (!await_connection((int)request.clear))
			return 0;
		until = deadline_in((int64_t)request.seconds * 1000);
	}
	/* From here on it talks to the network. */
	(void)tlsd_session_handshake(session, until, &result);
	if (reads)
		sandbox_end_reading();
	tell_facts(session);
	if (tell_result(&result) == 0 && status.is_ready)
		tlsd_tunnel_run(session, (int)request.socket,
		    (int)request.clear, tell_end);
	tlsd_session_destroy(session);
	tlsa_finish(&tlsa);
	return 0;
}
