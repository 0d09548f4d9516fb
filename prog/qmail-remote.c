/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/idn.h"
#include "base/utf8.h"
#include "delivery/failure.h"
#include "delivery/handoff.h"
#include "delivery/noserver.h"
#include "delivery/prestart.h"
#include "delivery/reuse.h"
#include "delivery/search.h"
#include "delivery/secrets.h"
#include "delivery/setup.h"
#include "delivery/tlsrpt.h"
#include "io/fdio.h"
#include "io/sandbox.h"
#include "qmail/report.h"
#include "qmail/timeoutidle.h"

#include "config.h"
#include "files.h"
#include "start.h"
#include "version.h"

#define PROGRAM_IO QMAIL_HOME "/bin/qmail-remote-io"

/* The same program with the C library of the system, and with libidn2. */
#define PROGRAM_UTF8 QMAIL_HOME "/bin/qmail-remote-utf8"
#ifdef IS_UTF8
#define PROGRAM_SELF "qmail-remote-utf8"
#else
#define PROGRAM_SELF "qmail-remote"
#endif

/* Files that are written to; the helper's descriptors 0 to 2 are /dev/null. */
static const char *const written[] = { "queue/lock/tcpto", "/dev/null" };

static char *const no_environment[] = { NULL };

static char **arguments;

static _Noreturn void
fail(const struct dsn *why)
{
	report_failure(why);
	report_end();
	_exit(0);
}

#ifdef IS_UTF8

static void
find_utf8(void)
{
}

#else

/*
 * Starts again, with libidn2.  Domains are converted before any server is asked
 * for anything, so nothing has been done yet that must not be done twice.
 * Returns if there is no such program.
 */
static void
become_utf8(void)
{
	(void)execve(PROGRAM_UTF8, arguments, no_environment);
}

/*
 * Domains in UTF-8 can be in the arguments, and in the control files; an
 * A-label among the arguments may be the same as a domain there.  The arguments
 * are looked at first, because in the sandbox it is too late to connect to the
 * broker.
 */
static void
find_utf8(void)
{
	idn_on_need(become_utf8);
	if (idn_is_supported())
		return;
	for (char **a = arguments + 1; *a != NULL; a++)
		if (utf8_may_be_idn(*a, strlen(*a))) {
			become_utf8();
			return;
		}
}

#endif

/*
 * The broker, if there is anything to ask it for.  It may have to be started,
 * which the sandbox does not allow.  Fails if one of the files that say so
 * cannot be read.
 */
static void
find_broker(struct reuse *r)
{
	static const struct cache_client_files files = {
		.socket = QMAIL_STATE "/cache.sock",
		.program = QMAIL_HOME "/bin/qmail-remote-cache",
	};
	struct timeoutidle timeoutidle;
	struct dsn why = { 0 };

	timeoutidle_read(&timeoutidle, "control/timeoutidle");
	r->is_wanted = timeoutidle.seconds > 0;
	if (concurrencyhosts_read(&r->limits, "control/concurrencyhosts",
		&why) == -1)
		fail(&why);
	if (r->is_wanted || r->limits.nline > 0)
		cache_client_open(r->client, &files);
}

static void
enter_home(struct reuse *r)
{
	struct dsn why = { 0 };

	if (chdir(QMAIL_HOME) == -1) {
		failure_set(&why, FAILURE_HOME, "");
		fail(&why);
	}
	find_broker(r);
	sandbox_enter_search(QMAIL_STATE, written,
	    sizeof written / sizeof *written);
}

/* The descriptors of the handoff stay open over exec.  0, or -1 with errno. */
static int
keep_open(const struct setup *setup, const struct server *server,
    const struct credentials *credentials, struct handoff *h)
{
	int secrets;

	if (setup->notes != -1 && fdio_set_cloexec(setup->notes, false) == 0)
		h->memory = (unsigned long)setup->notes;
	if (fdio_set_cloexec(server->fd, false) == -1 ||
	    (h->status != 0 && fdio_set_cloexec(server->status, false) == -1))
		return -1;
	if (credentials == NULL)
		return 0;
	secrets = secrets_put(credentials);
	h->secrets = secrets == -1 ? 0 : (unsigned long)secrets;
	return secrets == -1 ? -1 : 0;
}

/* Becomes qmail-remote-io; reports if that failed. */
static _Noreturn void
become_io(const struct setup *setup, struct search *search,
    const struct attempt_config *attempt, struct reuse *reuse)
{
	struct handoff h = {
		.timeout_s = setup->control.timeoutremote,
		.envelope = setup->envelope.address,
	};
	struct dsn why = { 0 };

	search_hand_over(search, &h);
	reuse_hand_over(reuse, &h);
	if (keep_open(setup, &search->server, attempt->credentials, &h) == 0)
		execve(PROGRAM_IO, handoff_format(&h), no_environment);
	failure_set(&why, FAILURE_EXEC, "");
	dsn_detail(&why, "%s", strerror(errno));
	fail(&why);
}

/* How TLS with the servers went (RFC 8460). */
static void
tell_collector(const struct setup *s, const struct search *search)
{
	struct buf json = { 0 };

	tlsrpt_format(&json, &s->situation, &s->list, &s->plan, search);
	tlsrpt_send(buf_text(&s->control.tlsrptsocket), &json);
	buf_finish(&json);
}

int
main(int argc, char **argv)
{
	struct setup_files files = files_of_qmail(false);
	struct search search = { .address = 0 };
	struct cache_client client = { .fd = -1 };
	struct reuse reuse = { .program_io = PROGRAM_IO, .client = &client };
	struct setup setup = { .files = &files, .limits = &reuse.limits };
	struct gate gate = reuse_gate(&reuse, &search);
	struct search_config config;
	enum search_result result;
	struct dsn why = { 0 };

	if (version_is_wanted(argc, argv))
		return version_print(VERSION_MARK(PROGRAM_SELF));
	start_program();
	if (argc < 4) {
		failure_set(&why, FAILURE_USAGE, "");
		fail(&why);
	}
	arguments = argv;
	find_utf8();
	enter_home(&reuse);
	setup.host = argv[1];
	setup.sender = argv[2];
	if (setup_read(&setup, &why) == -1 ||
	    setup_read_envelope(&setup, argv + 2, &why) == -1)
		fail(&why);
	if (reuse_by_next_hop(&reuse, &setup) == REUSE_REPORTED)
		return 0;
	if (setup_read_own(&setup, &why) == -1)
		fail(&why);
	if (setup_plan(&setup, &why) == -1) {
		tell_collector(&setup, &search);
		fail(&why);
	}
	config = setup_search_config(&setup);
	if (client.fd != -1) {
		config.gate = &gate;
		config.attempt.pass = prestart_pass;
		config.attempt.pass_data = &client;
	}
	result = search_server(&search, &setup.plan, &config);
	/* On a used connection there is only what failed before it. */
	if (result != SEARCH_DONE || search.history.n > 0)
		tell_collector(&setup, &search);
	if (result == SEARCH_DONE)
		return 0;
	if (result == SEARCH_READY)
		become_io(&setup, &search, &config.attempt, &reuse);
	noserver_record(&search);
	report_end();
	end_helpers();
	return 0;
}
