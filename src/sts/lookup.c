/* SPDX-License-Identifier: ISC */
#include "sts/lookup.h"

#include <string.h>
#include <unistd.h>

#include "io/fdio.h"
#include "io/spawn.h"
#include "sts/cache.h"
#include "sts/request.h"

/* A fetch itself takes no longer than a minute. */
#define WAIT_MAX_S 70UL

/* The program forks at once, and its first process ends. */
#define START_MS 1000

/* A policy that matches no host, and is older, is fetched again. */
#define REFETCH_S 300

/* Why a fetch may be needed: to be asked again when the lock is taken. */
enum reason { FOR_RECORD, FOR_MISMATCH };

static unsigned long
wait_of(const struct sts_config *config)
{
	return config->wait_s < WAIT_MAX_S ? config->wait_s : WAIT_MAX_S;
}

/* Sets the result from the entry. */
static void
conclude(struct sts_lookup *l, enum sts_source source)
{
	l->source = STS_SOURCE_NONE;
	l->expires = 0;
	if (!sts_entry_is_valid(&l->entry, l->now))
		return;
	l->source = source;
	l->expires = sts_entry_expires(&l->entry, l->now);
}

static void
read_cache(struct sts_lookup *l)
{
	sts_entry_finish(&l->entry);
	(void)sts_cache_read(&l->entry, l->config->state, l->domain);
	conclude(l, STS_SOURCE_CACHE);
}

void
sts_lookup_begin(struct sts_lookup *l, const struct sts_config *config,
    const char *domain, int64_t now)
{
	*l = (struct sts_lookup){ .config = config, .now = now };
	if (config->wait_s == 0 || !sts_domain_read(l->domain, domain)) {
		l->domain[0] = '\0';
		return;
	}
	read_cache(l);
}

const struct sts_policy *
sts_lookup_policy(const struct sts_lookup *l)
{
	return l->source != STS_SOURCE_NONE ? &l->entry.policy : NULL;
}

static enum sts_need
need_of(const struct sts_lookup *l, enum reason reason)
{
	if (reason == FOR_RECORD)
		return sts_entry_need(&l->entry, &l->record, l->now);
	if (l->source != STS_SOURCE_CACHE ||
	    !sts_entry_is_older(&l->entry, l->now, REFETCH_S) ||
	    sts_entry_is_waiting(&l->entry, l->now))
		return STS_NEED_NOTHING;
	return STS_NEED_FETCH;
}

/*
 * The locks of a fetch.  Descriptors that are -1 could not be had, or are not
 * wanted: the fetch is done without.
 */
struct locks {
	int lock, place;
};

static void
drop_locks(const struct sts_lookup *l, struct locks *locks)
{
	if (locks->lock != -1)
		sts_lock_drop(l->config->state, l->domain, locks->lock);
	if (locks->place != -1)
		close(locks->place);
	*locks = (struct locks){ -1, -1 };
}

/* The child has copies, which keep the locks. */
static void
hand_over_locks(struct locks *locks)
{
	if (locks->lock != -1)
		close(locks->lock);
	if (locks->place != -1)
		close(locks->place);
	*locks = (struct locks){ -1, -1 };
}

/* The number for an argument: 0 is none. */
static unsigned long
number_of(int fd)
{
	return fd == -1 ? 0 : (unsigned long)fd;
}

/*
 * Starts the program, with descriptors of which any may be -1.  It forks, so
 * that this process is not the parent of what goes on running; its first
 * process is reaped here.
 */
static pid_t
run(const struct sts_lookup *l, const struct locks *locks, int out)
{
	const char *id = sts_record_id(&l->record);
	const struct sts_request request = {
		.domain = l->domain,
		.id = id[0] != '\0' ? id : l->entry.id,
		.lock = number_of(locks->lock),
		.place = number_of(locks->place),
		.out = number_of(out),
	};
	const int fds[] = { locks->lock, locks->place, out };
	char **argv = sts_request_format(&request, l->config->program);
	int keep[sizeof fds / sizeof *fds];
	size_t n = 0;
	pid_t pid;

	for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
		if (fds[i] != -1)
			keep[n++] = fds[i];
	pid = spawn_start(argv, keep, n);
	sts_request_free(argv);
	if (pid != -1)
		(void)spawn_wait(pid, deadline_in(START_MS));
	return pid;
}

/* Starts a fetch that nobody waits for. */
static void
start_refresh(struct sts_lookup *l, struct locks *locks)
{
	l->is_refreshing = run(l, locks, -1) != -1;
	if (l->is_refreshing)
		hand_over_locks(locks);
	else
		drop_locks(l, locks);
}

/* Starts a fetch; returns where its result is read from, or -1. */
static int
start_fetch(struct sts_lookup *l, struct locks *locks)
{
	int end[2];

	if (pipe(end) == -1) {
		drop_locks(l, locks);
		return -1;
	}
	/* This cannot fail for an open descriptor. */
	(void)fdio_set_cloexec(end[0], true);
	(void)fdio_set_cloexec(end[1], true);
	if (run(l, locks, end[1]) != -1) {
		hand_over_locks(locks);
	} else {
		drop_locks(l, locks);
		close(end[0]);
		end[0] = -1;
	}
	close(end[1]);
	return end[0];
}

/*
 * Takes over what a fetch has found out.  If it says nothing in time, what was
 * known before applies.
 */
static void
wait_for_result(struct sts_lookup *l, int fd)
{
	struct sts_entry entry = { .failures = 0 };
	struct buf text = { 0 };

	if (fdio_read_pipe(fd, STS_ENTRY_MAX, l->until, &text) == 0 &&
	    sts_entry_parse(&entry, l->domain, buf_text(&text), text.len) ==
		0) {
		sts_entry_finish(&l->entry);
		l->entry = entry;
		conclude(l, entry.failures == 0 ? STS_SOURCE_FETCHED
						: STS_SOURCE_CACHE);
	}
	buf_finish(&text);
	close(fd);
}

/*
 * The locks are taken, if there are any: starts what is needed still.  Another
 * process may have fetched the policy since the cache was read.
 */
static void
fetch(struct sts_lookup *l, enum reason reason, struct locks *locks)
{
	enum sts_need need;
	int fd;

	if (locks->lock != -1)
		read_cache(l);
	need = need_of(l, reason);
	/* Without the lock nothing is written: nobody would get it. */
	if (need == STS_NEED_NOTHING ||
	    (need == STS_NEED_REFRESH && locks->lock == -1) ||
	    (!l->config->is_read_only && sts_place_take(l->config->state,
					     &locks->place) == STS_LOCK_BUSY)) {
		drop_locks(l, locks);
		return;
	}
	if (need == STS_NEED_REFRESH) {
		start_refresh(l, locks);
		return;
	}
	fd = start_fetch(l, locks);
	if (fd != -1)
		wait_for_result(l, fd);
}

/*
 * Another process has been fetching the policy for some time.  True if it has
 * ended, and the cache was read again.
 */
static bool
wait_for_other(struct sts_lookup *l, int64_t since)
{
	struct deadline until;
	int64_t waited = since < l->now ? l->now - since : 0;
	int64_t left = (int64_t)wait_of(l->config) - waited;

	if (left <= 0)
		return false;
	until = deadline_earlier(l->until, deadline_in(left * 1000));
	if (!sts_lock_wait(l->config->state, l->domain, until))
		return false;
	read_cache(l);
	return true;
}

/*
 * Fetches, or waits while another process does.  If that one has died without a
 * result, it is our turn.
 */
static void
get(struct sts_lookup *l, enum reason reason)
{
	struct locks locks = { -1, -1 };
	enum sts_need need = need_of(l, reason);
	enum sts_lock result = STS_LOCK_NONE;

	while (need != STS_NEED_NOTHING && !deadline_passed(l->until)) {
		int64_t since = 0;

		if (!l->config->is_read_only)
			result = sts_lock_take(l->config->state, l->domain,
			    &locks.lock, &since);
		if (result != STS_LOCK_BUSY) {
			fetch(l, reason, &locks);
			return;
		}
		if (need == STS_NEED_REFRESH || !wait_for_other(l, since))
			return;
		need = need_of(l, reason);
	}
}

void
sts_lookup_find(struct sts_lookup *l, const struct sts_record *record)
{
	l->record = *record;
	l->until = deadline_in((int64_t)wait_of(l->config) * 1000);
	if (l->domain[0] == '\0' ||
	    (l->config->is_read_only &&
		need_of(l, FOR_RECORD) == STS_NEED_REFRESH))
		return;
	get(l, FOR_RECORD);
}

bool
sts_lookup_refetch(struct sts_lookup *l)
{
	int64_t before = l->entry.fetched;

	if (l->domain[0] == '\0')
		return false;
	get(l, FOR_MISMATCH);
	return l->source != STS_SOURCE_NONE && l->entry.fetched > before;
}

void
sts_lookup_finish(struct sts_lookup *l)
{
	sts_entry_finish(&l->entry);
	*l = (struct sts_lookup){ 0 };
}
