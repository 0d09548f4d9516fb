/* SPDX-License-Identifier: ISC */
/*
 * qmail-remote-tls: one TLS session for qmail-remote.
 *
 * It says on a pipe how the handshake went, then moves bytes between the
 * server and whoever holds the other end of the clear descriptor, until
 * either is gone.  The only program that has OpenSSL in it.
 */
#include <sys/socket.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/dsn.h"
#include "base/fdio.h"
#include "base/mem.h"
#include "base/sandbox.h"
#include "base/str.h"
#include "tls/session.h"
#include "tls/status.h"
#include "tls/tunnel.h"

#include "version.h"

#define EXIT_NO_STATUS 100 /* there was nowhere to write one to */
#define EXIT_NO_MEMORY 111 /* for the session to go on */
#define STATUS_STALL_MS 10000
#define SECONDS_MAX 86400
#define MEMORY_MAX ((size_t)256 << 20)

struct options {
	struct tls_session_params session;
	unsigned long seconds;
	int clear;
	int status;
};

static int status_fd = -1; /* for the last words */
static bool has_told;

/* 0 when the record was written. */
static int
tell(enum tls_status status, const char *text)
{
	char record[TLS_STATUS_SIZE];
	size_t n = tls_status_format(record, status, text);
	int result;

	if (status_fd == -1)
		return -1;
	result = fdio_write_all(status_fd, record, n, STATUS_STALL_MS);
	close(status_fd);
	status_fd = -1;
	has_told = result == 0;
	return result;
}

static void
die_out_of_memory(void)
{
	if (has_told)
		_exit(EXIT_NO_MEMORY);
	_exit(tell(TLS_STATUS_LOCAL, "out of memory") == 0 ? 0
							   : EXIT_NO_STATUS);
}

static bool
parse_number(const char *text, unsigned long limit, unsigned long *value)
{
	size_t n = strlen(text);

	return n > 0 && str_number(text, n, limit, value) == n;
}

static bool
parse_descriptor(const char *text, int *fd)
{
	unsigned long value;

	if (!parse_number(text, INT_MAX, &value))
		return false;
	*fd = (int)value;
	return true;
}

static bool
parse_options(int argc, char **argv, struct options *o)
{
	int c;

	opterr = 0;
	while ((c = getopt(argc, argv, "c:k:n:s:t:v:")) != -1) {
		switch (c) {
		case 'c':
			o->session.cert = optarg;
			break;
		case 'k':
			o->session.key = optarg;
			break;
		case 'n':
			o->session.name = optarg;
			break;
		case 's':
			o->session.statedir = optarg;
			break;
		case 't':
			if (!parse_number(optarg, SECONDS_MAX, &o->seconds))
				return false;
			break;
		case 'v':
			o->session.anchors = optarg;
			break;
		default:
			return false;
		}
	}
	if ((o->session.cert == NULL) != (o->session.key == NULL))
		return false;
	return o->seconds > 0 && argc - optind == 3 &&
	       parse_descriptor(argv[optind], &o->session.fd) &&
	       parse_descriptor(argv[optind + 1], &o->clear) &&
	       parse_descriptor(argv[optind + 2], &o->status);
}

static void
ignore_sigpipe(void)
{
	struct sigaction action = { .sa_handler = SIG_IGN };

	sigemptyset(&action.sa_mask);
	sigaction(SIGPIPE, &action, NULL);
}

/* A directory, told by its last byte, is read when a chain is verified. */
static bool
is_directory(const char *anchors)
{
	size_t n = anchors != NULL ? strlen(anchors) : 0;

	return n > 0 && anchors[n - 1] == '/';
}

/* True when files can still be read. */
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

int
main(int argc, char **argv)
{
	struct options o = { 0 };
	struct dsn said = { 0 };
	struct deadline until;
	struct tls_session *session;
	enum tls_status status;
	bool reads;
	int code = 0;

	if (version_is_wanted(argc, argv))
		return version_print(VERSION_MARK("qmail-remote-tls"));
	sandbox_harden();
	if (!parse_options(argc, argv, &o))
		return EXIT_NO_STATUS;
	until = deadline_in((int64_t)o.seconds * 1000);
	status_fd = o.status;
	mem_on_exhaustion(die_out_of_memory);
	ignore_sigpipe();

	/* Reads the files: certificate, key, anchors. */
	session = tls_session_create(&o.session, &said);
	if (session == NULL)
		return tell(TLS_STATUS_LOCAL, said.text) == 0 ? 0
							      : EXIT_NO_STATUS;

	/* From here on it talks to the network. */
	reads = enter_sandbox(o.session.anchors);
	status = tls_session_handshake(session, until, &said);
	if (reads)
		sandbox_end_reading();
	if (tell(status, said.text) == 0 && status == TLS_STATUS_READY &&
	    tls_tunnel_run(session, o.session.fd, o.clear) == -1)
		code = EXIT_NO_MEMORY;
	tls_session_destroy(session);
	return code;
}
