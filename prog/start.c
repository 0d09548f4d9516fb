/* SPDX-License-Identifier: ISC */
#include "start.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

#include "base/dsn.h"
#include "delivery/failure.h"
#include "io/fdio.h"
#include "base/mem.h"
#include "io/sandbox.h"
#include "io/spawn.h"
#include "qmail/report.h"

/*
 * qmail-rspawn waits for us.  A helper that has nothing left to send ends
 * within a millisecond; one whose server does not read is not waited for.
 */
#define REAP_MS 20

extern char **environ;

static void
out_of_memory(void)
{
	struct dsn why = { 0 };

	failure_set(&why, FAILURE_MEMORY, "");
	report_failure(&why);
	report_end();
	_exit(0);
}

static void
set_signals(void)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct sigaction usual = { .sa_handler = SIG_DFL };
	sigset_t none;

	/* None of these can fail with such arguments. */
	sigemptyset(&none);
	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGXFSZ, &ignore, NULL);
	sigaction(SIGCHLD, &usual, NULL);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool
can_report(void)
{
	int flags = fcntl(1, F_GETFL);

	return flags != -1 && (flags & O_ACCMODE) != O_RDONLY;
}

void
start_program(void)
{
	static char *none[] = { NULL };

	if (!can_report() || fdio_guard_standard() == -1)
		_exit(0);
	sandbox_harden();
	environ = none;
	set_signals();
	mem_on_exhaustion(out_of_memory);
}

void
end_helpers(void)
{
	spawn_reap(deadline_in(REAP_MS));
}
