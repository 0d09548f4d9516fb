/* SPDX-License-Identifier: ISC */
/*
 * qmail-remote-sts: fetches MTA-STS policies into the state directory.
 *
 * A delivery that needs a policy starts it, and may end before it does.  An
 * administrator can run it for some domains, or for all that are remembered.
 *
 * Each fetch has two processes.  One talks to the network, and gives up its
 * rights when it is connected.  The other one takes from it an entry of the
 * cache, checks that, and puts it in place.
 */
#define _DEFAULT_SOURCE /* setgroups(), clearenv() */

#include <sys/stat.h>
#include <sys/wait.h>
#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "io/fdio.h"
#include "io/sandbox.h"
#include "io/spawn.h"
#include "qmail/control.h"
#include "sts/cache.h"
#include "sts/fetch.h"
#include "sts/request.h"

#include "config.h"
#include "version.h"

#define EXIT_NOT_FETCHED 1
#define EXIT_USAGE 3
#define EXIT_FATAL 111

#define FETCH_MS (INT64_C(60) * 1000)
#define STALL_MS 2000
#define LIFE_S 65 /* ends what hangs all the same */
#define READ_PIECE ((size_t)4096)
#define MEMORY_MAX ((size_t)64 << 20)
#define JOBS_MAX 4 /* at once, of the option -a */

/* The helper's descriptors 0 to 2 are /dev/null. */
static const char *const written[] = { "/dev/null" };

/* A fetch.  Descriptors are -1 if there are none. */
struct job {
	const char *domain;
	const char *id; /* of the record; NULL: it is asked for */
	int lock, place;
	int out;        /* gets the entry */
	bool is_upkeep; /* nobody needs the policy now */
};

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
 * Standard output, which is /dev/null for a delivery.  A line is one write,
 * because several processes print.
 */

static void
print(struct buf *line)
{
	buf_putc(line, '\n');
	(void)fdio_write_all(1, buf_text(line), line->len, STALL_MS);
	buf_finish(line);
}

static void
print_words(const char *domain, const char *text)
{
	struct buf line = { 0 };

	buf_printf(&line, "%s: %s", domain, text);
	print(&line);
}

static void
put_policy(struct buf *line, const struct sts_entry *e)
{
	struct sts_text rest = sts_text_of(&e->policy.mx), pattern;

	buf_printf(line, "%s, expires in %lu seconds",
	    sts_mode_name(e->policy.mode), e->policy.max_age_s);
	while (sts_text_line(&rest, &pattern)) {
		buf_puts(line, ", mx ");
		buf_append(line, pattern.at, pattern.n);
	}
}

/* What the entry says now; and the error if it could not be written. */
static void
print_entry(const struct job *job, const struct sts_entry *e, int error)
{
	struct buf line = { 0 };

	/* Upkeep is silent while all is well. */
	if (job->is_upkeep && e->failures == 0 && error == 0)
		return;
	buf_printf(&line, "%s: ", e->domain);
	if (e->failures == 0)
		put_policy(&line, e);
	else
		buf_printf(&line, "%s (%s)%s", e->failure.reason,
		    sts_cause_name(e->failure.cause),
		    e->has_policy ? "; the last policy has not expired" : "");
	if (error != 0)
		buf_printf(&line, "; unable to write to %s: %s", QMAIL_STATE,
		    strerror(error));
	print(&line);
}

/*
 * The process that talks to the network.
 */

/* What a fetch needs. */
struct tools {
	struct sts_fetch fetch;
	struct buf anchors;
	struct ipme ipme;
};

/* -1 with the reason. */
static int
read_files(struct tools *t, struct sts_failure *why)
{
	static const char path[] = "control/trustanchors";
	struct dsn fault = { 0 };

	if (control_line(path, &t->anchors) == CONTROL_UNREADABLE)
		return sts_failure_set(why, STS_CAUSE_LOCAL, "%s: %s", path,
		    strerror(errno));
	if (t->anchors.len == 0)
		return sts_failure_set(why, STS_CAUSE_LOCAL,
		    "%s is missing or empty", path);
	if (ipme_read(&t->ipme, "control/ipme", true, &fault) == -1)
		return sts_failure_set(why, STS_CAUSE_LOCAL, "%s",
		    fault.detail);
	t->fetch.anchors = t->anchors.data;
	t->fetch.ipme = &t->ipme;
	return 0;
}

static void
begin(struct tools *t, const struct job *job)
{
	struct dns_config config;

	*t = (struct tools){
		.fetch = {
			.domain = job->domain,
			.helper = QMAIL_HOME "/bin/qmail-remote-tls",
			.state = job->lock != -1 ? QMAIL_STATE : NULL,
			.until = deadline_in(FETCH_MS),
		},
	};
	dns_config_read(&config, "/etc/resolv.conf");
	t->fetch.resolver = dns_resolver_create(&config, false);
}

/* Sockets to name servers are closed before the rights are dropped. */
static void
end_asking(struct tools *t)
{
	dns_resolver_destroy(t->fetch.resolver);
	t->fetch.resolver = NULL;
}

static void
end(struct tools *t)
{
	end_asking(t);
	buf_finish(&t->anchors);
	ipme_finish(&t->ipme);
}

/*
 * Finds the id of the policy.  If the DNS does not answer, a policy is kept
 * fresh all the same.  -1 if there is nothing to fetch: the cause is
 * STS_CAUSE_NONE then.
 */
static int
find_id(const struct tools *t, const struct job *job,
    const struct sts_entry *old, char id[STS_ID_SIZE], struct sts_failure *why)
{
	struct sts_record record = { .is_known = false };
	const char *found = job->id;

	if (!found) {
		sts_fetch_record(&t->fetch, &record);
		found = sts_record_id(&record);
	}
	if (found[0] == '\0' && !record.is_known && old->has_policy)
		found = old->id;
	if (found[0] != '\0')
		return str_copy(id, STS_ID_SIZE, found);
	return sts_failure_set(why, STS_CAUSE_NONE,
	    record.is_known ? "there is no valid MTA-STS record"
			    : "no answer for the MTA-STS record");
}

static int
fetch_policy(struct tools *t, struct sts_policy *policy,
    struct sts_failure *why)
{
	struct tls_start session;

	if (sts_fetch_connect(&t->fetch, &session, why) == -1)
		return -1;
	end_asking(t);
	sandbox_enter_bytes(MEMORY_MAX);
	return sts_fetch_policy(&t->fetch, &session, policy, why);
}

/* Makes an entry of a policy, or of why there is none. */
static void
fetch(struct sts_entry *e, const struct job *job, const struct sts_entry *old)
{
	struct tools tools;
	struct sts_policy policy = { .max_age_s = 0 };
	struct sts_failure why = { .cause = STS_CAUSE_NONE };
	char id[STS_ID_SIZE];

	begin(&tools, job);
	if (find_id(&tools, job, old, id, &why) == 0 &&
	    read_files(&tools, &why) == 0 &&
	    fetch_policy(&tools, &policy, &why) == 0)
		sts_entry_succeed(e, id, &policy, (int64_t)time(NULL));
	else
		sts_entry_fail(e, &why, (int64_t)time(NULL));
	end(&tools);
}

/* Writes the entry to a pipe. */
static int
run_fetch(const struct job *job, const struct sts_entry *old, int fd)
{
	struct sts_entry e = { .failures = 0 };
	struct buf text = { 0 };
	int result;

	(void)str_copy(e.domain, sizeof e.domain, job->domain);
	fetch(&e, job, old);
	sts_entry_format(&e, &text);
	result = fdio_write_all(fd, buf_text(&text), text.len, STALL_MS);
	buf_finish(&text);
	sts_entry_finish(&e);
	return result == 0 ? 0 : EXIT_FATAL;
}

/*
 * The process that writes to the state directory.
 */

static void
close_all(const struct job *job)
{
	const int fds[] = { job->lock, job->place, job->out };

	for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
		if (fds[i] != -1)
			close(fds[i]);
}

/* Starts the other process; returns its pid and where its entry comes from. */
static pid_t
start_fetch(const struct job *job, const struct sts_entry *old, int *fd)
{
	int ends[2];
	pid_t pid;

	if (pipe(ends) == -1)
		return -1;
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		(void)fdio_set_cloexec(ends[1], true);
		/* The locks must end with this process's parent. */
		close_all(job);
		_exit(run_fetch(job, old, ends[1]));
	}
	close(ends[1]);
	*fd = ends[0];
	if (pid == -1)
		close(ends[0]);
	return pid;
}

/* Up to the end of file; what is too long is no entry. */
static void
read_entry(int fd, struct buf *text)
{
	struct deadline until = deadline_in(FETCH_MS + STALL_MS);
	ssize_t got = 1;

	while (got > 0 && text->len <= STS_ENTRY_MAX &&
	       fdio_wait(fd, POLLIN, until) == 1) {
		got = fdio_read(fd, buf_reserve(text, READ_PIECE), READ_PIECE);
		if (got > 0)
			text->len += (size_t)got;
	}
}

/* Fills a zeroed entry with what the other process says. */
static void
get_entry(struct sts_entry *e, const struct job *job,
    const struct sts_entry *old)
{
	struct sts_failure why = { .cause = STS_CAUSE_NONE };
	char how[SPAWN_TEXT_SIZE];
	struct buf text = { 0 };
	int fd = -1;
	pid_t pid = start_fetch(job, old, &fd);

	if (pid == -1) {
		(void)sts_failure_set(&why, STS_CAUSE_LOCAL, "%s",
		    strerror(errno));
		sts_entry_fail(e, &why, (int64_t)time(NULL));
		return;
	}
	read_entry(fd, &text);
	close(fd);
	spawn_describe(spawn_kill(pid), how);
	if (sts_entry_parse(e, job->domain, buf_text(&text), text.len) == -1) {
		(void)sts_failure_set(&why, STS_CAUSE_LOCAL,
		    "the process that fetches: %s", how);
		sts_entry_fail(e, &why, (int64_t)time(NULL));
	}
	buf_finish(&text);
}

/*
 * Tells the delivery first: the disk may be slow.  Returns the error if the
 * cache could not be written, or 0.
 */
static int
publish(const struct job *job, const struct sts_entry *e)
{
	struct buf text = { 0 };
	int error = 0;

	sts_entry_format(e, &text);
	if (job->out != -1) {
		(void)fdio_write_all(job->out, buf_text(&text), text.len,
		    STALL_MS);
		close(job->out);
	}
	if (job->lock != -1 && sts_cache_write(QMAIL_STATE, job->domain,
				   job->lock, buf_text(&text), text.len) == -1)
		error = errno;
	buf_finish(&text);
	return error;
}

/* There was nothing to fetch. */
static int
leave(const struct job *job, const struct sts_failure *why)
{
	if (job->lock != -1)
		sts_lock_drop(QMAIL_STATE, job->domain, job->lock);
	if (job->is_upkeep)
		return 0;
	print_words(job->domain, why->reason);
	return EXIT_NOT_FETCHED;
}

/* Combines what is known with the result of the fetch. */
static int
conclude(const struct job *job, struct sts_entry *known,
    struct sts_entry *result)
{
	int64_t now = (int64_t)time(NULL);
	bool is_fetched = result->has_policy;

	if (!is_fetched && result->failure.cause == STS_CAUSE_NONE)
		return leave(job, &result->failure);
	if (is_fetched)
		sts_entry_succeed(known, result->id, &result->policy, now);
	else
		sts_entry_fail(known, &result->failure, now);
	if (!job->is_upkeep)
		known->used = now;
	print_entry(job, known, publish(job, known));
	return is_fetched ? 0 : EXIT_NOT_FETCHED;
}

static int
run_job(const struct job *job)
{
	struct sts_entry known = { .failures = 0 }, result = { .failures = 0 };
	int code;

	(void)alarm(LIFE_S);
	(void)sts_cache_read(&known, QMAIL_STATE, job->domain);
	(void)str_copy(known.domain, sizeof known.domain, job->domain);
	get_entry(&result, job, &known);
	code = conclude(job, &known, &result);
	sts_entry_finish(&known);
	sts_entry_finish(&result);
	return code;
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

static int
serve_delivery(const struct sts_request *request)
{
	char domain[STS_DOMAIN_SIZE];
	struct job job = { .domain = domain, .id = request->id };
	struct sts_text id = { request->id, strlen(request->id) };
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
	return run_job(&job);
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
		print_words(job->domain, fault);
	return false;
}

/* Starts a process for the job, and gives the locks to it. */
static void
start_job(struct running *r, struct job *job)
{
	pid_t pid;

	if (job->lock != -1)
		sts_cache_begin(job->lock);
	pid = fork();
	if (pid == 0)
		_exit(run_job(job));
	if (pid == -1)
		r->has_failed = fatal("fork") != 0;
	else
		r->n++;
	close_all(job);
}

static int
fetch_domains(char **name)
{
	struct running r = { .n = 0 };
	char domain[STS_DOMAIN_SIZE];

	for (; *name; name++) {
		struct job job = { .domain = domain, .out = -1 };

		if (!sts_domain_read(domain, *name)) {
			print_words(*name, "it cannot have a policy");
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
	return r.has_failed ? EXIT_NOT_FETCHED : 0;
}

/* What is to be done with the file of an entry. */
enum upkeep { LEAVE, REFRESH, REMOVE };

static enum upkeep
look_at(const char *domain, int64_t now)
{
	struct sts_entry entry = { .failures = 0 };
	enum upkeep what = LEAVE;

	/* A damaged one is as good as none. */
	if (sts_cache_read(&entry, QMAIL_STATE, domain) == -1 ||
	    sts_entry_is_useless(&entry, now))
		what = REMOVE;
	else if (sts_entry_is_due(&entry, now))
		what = REFRESH;
	sts_entry_finish(&entry);
	return what;
}

/* Looks again when it has the lock. */
static void
keep_up(struct running *r, const char *domain, int64_t now)
{
	struct job job = { .domain = domain, .out = -1, .is_upkeep = true };

	if (look_at(domain, now) == LEAVE || !take_locks(&job))
		return;
	switch (look_at(domain, now)) {
	case REFRESH:
		start_job(r, &job);
		return;
	case REMOVE:
		sts_cache_remove(QMAIL_STATE, domain);
		break;
	case LEAVE:
		break;
	}
	if (job.lock != -1)
		sts_lock_drop(QMAIL_STATE, domain, job.lock);
	if (job.place != -1)
		close(job.place);
}

/* The file of a fetch that was killed. */
static void
remove_leftover(const char *domain)
{
	int64_t since;
	int fd;

	if (sts_lock_take(QMAIL_STATE, domain, &fd, &since) == STS_LOCK_TAKEN)
		sts_lock_drop(QMAIL_STATE, domain, fd);
}

/* The names of files, each ended by NUL: the directory changes meanwhile. */
static int
read_names(struct buf *names)
{
	DIR *dir = opendir(QMAIL_STATE);
	const struct dirent *entry;

	if (!dir)
		return -1;
	while ((entry = readdir(dir)))
		buf_append(names, entry->d_name, strlen(entry->d_name) + 1);
	return closedir(dir);
}

static int
keep_all_up(void)
{
	struct running r = { .n = 0 };
	struct buf names = { 0 };
	int64_t now = (int64_t)time(NULL);
	char domain[STS_DOMAIN_SIZE];

	if (read_names(&names) == -1)
		return fatal("read " QMAIL_STATE);
	for (size_t i = 0; i < names.len; i += strlen(names.data + i) + 1) {
		enum sts_file kind = sts_file_of(names.data + i, domain);

		if (kind == STS_FILE_NEW)
			remove_leftover(domain);
		else if (kind == STS_FILE_ENTRY)
			keep_up(&r, domain, now);
		if (r.n == JOBS_MAX)
			wait_for_one(&r);
	}
	while (r.n > 0)
		wait_for_one(&r);
	buf_finish(&names);
	return r.has_failed ? EXIT_NOT_FETCHED : 0;
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
	sandbox_enter_search(QMAIL_STATE, written,
	    sizeof written / sizeof *written);
	return is_request ? serve_delivery(&request)
			  : serve_administrator(argv + 1);
}
