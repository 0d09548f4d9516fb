/* SPDX-License-Identifier: ISC */
/*
 * qmail-remote-sts: fetches MTA-STS policies into the state directory.
 *
 * A delivery that needs a policy starts it, and may end before it does.  An
 * administrator can run it for some domains, or for all that are remembered.
 */
#define _DEFAULT_SOURCE /* setgroups(), clearenv() */

#include <sys/stat.h>
#include <sys/wait.h>
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/fdio.h"
#include "io/random.h"
#include "io/sandbox.h"
#include "sts/cache.h"
#include "sts/request.h"
#include "sts/upkeep.h"

#include "config.h"
#include "job.h"
#include "version.h"

#define EXIT_USAGE 3
#define EXIT_FATAL 111

#define STALL_MS 2000
#define JOBS_MAX 4 /* at once, of the option -a */

/*
 * So many fetches for deliveries share one look at the state directory, which
 * may have many files.
 */
#define FETCHES_TO_TIDY 16

/* The helper's descriptors 0 to 2 are /dev/null. */
static const char *const written[] = { "/dev/null" };

/* Processes of fetches that run, and whether one has failed. */
struct running {
	unsigned n;
	bool has_failed;
};

static int
fatal(const char *what)
{
	fprintf(stderr, "qmail-remote-sts: unable to %s: %s\n", what,
	    strerror(errno));
	return EXIT_FATAL;
}

static void
die_out_of_memory(void)
{
	static const char text[] = "qmail-remote-sts: out of memory\n";

	(void)fdio_write_all(2, text, sizeof text - 1, STALL_MS);
	_exit(EXIT_FATAL);
}

/*
 * For a delivery.
 */

/* The number of a descriptor, which is not for the helper; -1 for none. */
static int
take_descriptor(unsigned long number)
{
	int fd = number == 0 ? -1 : (int)number;

	if (fd != -1)
		(void)fdio_set_cloexec(fd, true);
	return fd;
}

/*
 * Without this the directory would grow where nobody runs the option -a.
 * Nobody waits for this process any more.
 */
static void
tidy_now_and_then(void)
{
	if (random_below(FETCHES_TO_TIDY) == 0)
		sts_upkeep_tidy(QMAIL_STATE, (int64_t)time(NULL));
}

static int
serve_delivery(const struct sts_request *request)
{
	char domain[STS_DOMAIN_SIZE];
	struct job job = { .domain = domain, .id = request->id };
	struct sts_text id = { request->id, strlen(request->id) };
	int result;
	pid_t pid;

	/* Both become part of a file; nothing else has looked at them. */
	if (!sts_domain_read(domain, request->domain) || !sts_id_is_valid(id))
		return EXIT_USAGE;
	job.lock = take_descriptor(request->lock);
	job.place = take_descriptor(request->place);
	job.out = take_descriptor(request->out);
	if (job.out != -1)
		(void)fdio_set_nonblocking(job.out);
	/* The delivery waits for its child, and need not for this one. */
	pid = fork();
	if (pid != 0)
		return pid == -1 ? fatal("fork") : 0;
	(void)setsid();
	result = job_run(&job);
	job_close_locks(&job);
	if (job.lock != -1)
		tidy_now_and_then();
	return result;
}

/*
 * For an administrator.
 */

static void
wait_for_one(struct running *r)
{
	int status = 0;

	while (wait(&status) == -1 && errno == EINTR)
		;
	r->n--;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		r->has_failed = true;
}

/* Takes the locks; false if another process has them, which is printed. */
static bool
take_locks(struct job *job)
{
	const char *fault = NULL;
	int64_t since;

	job->lock = job->place = -1;
	if (sts_lock_take(QMAIL_STATE, job->domain, &job->lock, &since) ==
	    STS_LOCK_BUSY)
		fault = "it is being fetched";
	else if (sts_place_take(QMAIL_STATE, &job->place) == STS_LOCK_BUSY)
		fault = "too many policies are being fetched";
	if (!fault)
		return true;
	if (job->lock != -1)
		sts_lock_drop(QMAIL_STATE, job->domain, job->lock);
	if (!job->is_upkeep)
		job_print(job->domain, fault);
	return false;
}

/* Starts a process for the job, and gives the locks to it. */
static void
start_job(struct running *r, struct job *job)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(job_run(job));
	if (pid == -1)
		r->has_failed = fatal("fork") != 0;
	else
		r->n++;
	job_close_locks(job);
}

static int
fetch_domains(char **name)
{
	struct running r = { .n = 0 };
	char domain[STS_DOMAIN_SIZE];

	for (; *name; name++) {
		struct job job = { .domain = domain, .out = -1 };

		if (!sts_domain_read(domain, *name)) {
			job_print(*name, "it cannot have a policy");
			r.has_failed = true;
			continue;
		}
		if (!take_locks(&job)) {
			r.has_failed = true;
			continue;
		}
		start_job(&r, &job);
		if (r.n > 0)
			wait_for_one(&r);
	}
	return r.has_failed ? JOB_NOT_FETCHED : 0;
}

/* Looks again when it has the lock. */
static void
refresh(struct running *r, const char *domain, int64_t now)
{
	struct job job = { .domain = domain, .out = -1, .is_upkeep = true };

	if (sts_upkeep_of(QMAIL_STATE, domain, now) != STS_UPKEEP_REFRESH ||
	    !take_locks(&job))
		return;
	if (sts_upkeep_of(QMAIL_STATE, domain, now) == STS_UPKEEP_REFRESH) {
		start_job(r, &job);
		return;
	}
	if (job.lock != -1)
		sts_lock_drop(QMAIL_STATE, domain, job.lock);
	if (job.place != -1)
		close(job.place);
}

static int
keep_all_up(void)
{
	struct running r = { .n = 0 };
	struct buf names = { 0 };
	int64_t now = (int64_t)time(NULL);
	char domain[STS_DOMAIN_SIZE];

	if (sts_upkeep_list(QMAIL_STATE, &names) == -1)
		return fatal("read " QMAIL_STATE);
	for (size_t i = 0; i < names.len; i += strlen(names.data + i) + 1) {
		sts_upkeep_clean(QMAIL_STATE, names.data + i, now);
		if (sts_file_of(names.data + i, domain) == STS_FILE_ENTRY)
			refresh(&r, domain, now);
		if (r.n == JOBS_MAX)
			wait_for_one(&r);
	}
	while (r.n > 0)
		wait_for_one(&r);
	buf_finish(&names);
	return r.has_failed ? JOB_NOT_FETCHED : 0;
}

/* Root works with the rights of a delivery: those of the directory's owner. */
static int
become_qmailr(void)
{
	struct stat st;

	if (geteuid() != 0)
		return 0;
	if (stat(QMAIL_STATE, &st) == -1)
		return -1;
	if (st.st_uid == 0)
		return 0;
	if (setgroups(1, &st.st_gid) == -1 || setgid(st.st_gid) == -1)
		return -1;
	return setuid(st.st_uid);
}

static int
serve_administrator(char **argument)
{
	if (strcmp(argument[0], "-a") != 0)
		return fetch_domains(argument);
	return keep_all_up();
}

static int
usage(void)
{
	fputs("usage: qmail-remote-sts DOMAIN ...\n"
	      "       qmail-remote-sts -a\n",
	    stderr);
	return EXIT_USAGE;
}

/* A full disk or a closed pipe is a failed write. */
static void
set_signals(void)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	sigemptyset(&ignore.sa_mask);
	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGXFSZ, &ignore, NULL);
}

int
main(int argc, char **argv)
{
	struct sts_request request;
	bool is_request = argc > 1 && strchr(argv[1], '=');

	if (version_is_wanted(argc, argv))
		return version_print(VERSION_MARK("qmail-remote-sts"));
	if (argc < 2 || (argv[1][0] == '-' && strcmp(argv[1], "-a") != 0) ||
	    (strcmp(argv[1], "-a") == 0 && argc > 2) ||
	    (is_request && !sts_request_parse(&request, argc, argv)))
		return usage();
	if (fdio_fill_standard() == -1)
		return fatal("open /dev/null");
	if (chdir(QMAIL_HOME) == -1)
		return fatal("switch to " QMAIL_HOME);
	if (!is_request && become_qmailr() == -1)
		return fatal("become the owner of " QMAIL_STATE);
	mem_on_exhaustion(die_out_of_memory);
	/* It could change what a library does. */
	clearenv();
	set_signals();
	sandbox_harden();
	sandbox_enter_fetch(QMAIL_STATE, written,
	    sizeof written / sizeof *written);
	return is_request ? serve_delivery(&request)
			  : serve_administrator(argv + 1);
}
