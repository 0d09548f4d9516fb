/* SPDX-License-Identifier: ISC */
#include "job.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"
#include "io/fdio.h"
#include "io/sandbox.h"
#include "io/spawn.h"
#include "qmail/control.h"
#include "sts/cache.h"
#include "sts/fetch.h"

#include "config.h"

#define FETCH_MS (INT64_C(60) * 1000)
#define STALL_MS 2000
#define LIFE_S 65 /* ends what hangs all the same */
#define MEMORY_MAX ((size_t)64 << 20)
#define EXIT_FATAL 111

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

void
job_print(const char *domain, const char *text)
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
	sandbox_enter_bytes(MEMORY_MAX, -1);
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

void
job_close_locks(const struct job *job)
{
	if (job->lock != -1)
		close(job->lock);
	if (job->place != -1)
		close(job->place);
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
		job_close_locks(job);
		if (job->out != -1)
			close(job->out);
		_exit(run_fetch(job, old, ends[1]));
	}
	close(ends[1]);
	*fd = ends[0];
	if (pid == -1)
		close(ends[0]);
	return pid;
}

/* Fills a zeroed entry with what the other process says. */
static void
get_entry(struct sts_entry *e, const struct job *job,
    const struct sts_entry *old)
{
	struct sts_failure why = { .cause = STS_CAUSE_NONE };
	char how[SPAWN_TEXT_SIZE];
	struct buf text = { 0 };
	int fd = -1, result;
	pid_t pid = start_fetch(job, old, &fd);

	if (pid == -1) {
		(void)sts_failure_set(&why, STS_CAUSE_LOCAL, "%s",
		    strerror(errno));
		sts_entry_fail(e, &why, (int64_t)time(NULL));
		return;
	}
	result = fdio_read_pipe(fd, STS_ENTRY_MAX,
	    deadline_in(FETCH_MS + STALL_MS), &text);
	close(fd);
	spawn_describe(spawn_kill(pid), how);
	if (result == -1 ||
	    sts_entry_parse(e, job->domain, buf_text(&text), text.len) == -1) {
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
	job_print(job->domain, why->reason);
	return JOB_NOT_FETCHED;
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
	return is_fetched ? 0 : JOB_NOT_FETCHED;
}

int
job_run(const struct job *job)
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
