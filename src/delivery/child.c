/* SPDX-License-Identifier: ISC */
#include "delivery/child.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "io/fdio.h"
#include "io/spawn.h"
#include "qmail/report.h"

#define NAME "qmail-remote-io"
#define KEEP_MAX 8

/*
 * Bytes of a report: texts of the server, of which there are 65536 for all
 * recipients; and our own for each recipient.
 */
#define REPORT_ROOM ((size_t)128 << 10)
#define REPORT_ROOM_EACH 512

struct pipes {
	int report[2];
	int progress[2];
};

static void
close_end(int *fd)
{
	if (*fd != -1)
		close(*fd);
	*fd = -1;
}

static void
close_pipes(struct pipes *p)
{
	for (int i = 0; i < 2; i++) {
		close_end(&p->report[i]);
		close_end(&p->progress[i]);
	}
}

static int
open_pipes(struct pipes *p)
{
	*p = (struct pipes){ { -1, -1 }, { -1, -1 } };
	if (pipe(p->report) == -1 || pipe(p->progress) == -1)
		return -1;
	for (int i = 0; i < 2; i++)
		if (fdio_set_cloexec(p->report[i], true) == -1 ||
		    fdio_set_cloexec(p->progress[i], true) == -1)
			return -1;
	return 0;
}

static pid_t
start(struct child *c, const struct pipes *p, const int *keep, size_t nkeep)
{
	const int standard[3] = { 0, p->report[1], 2 };
	int all[KEEP_MAX];
	char **argv;
	pid_t pid;

	for (size_t i = 0; i < nkeep; i++)
		all[i] = keep[i];
	all[nkeep++] = p->progress[1];
	c->handoff.progress = (unsigned long)p->progress[1];
	argv = handoff_format(&c->handoff);
	pid = spawn_start_on(c->program, argv, standard, all, nkeep);
	handoff_free(argv);
	return pid;
}

/*
 * What the child, which has ended, wrote to progress.  Returns whether it was
 * about to send mail data; *used is the number behind that, or 0.
 */
static bool
read_progress(int progress, unsigned long *used)
{
	char text[24];
	ssize_t n = fdio_read(progress, text, sizeof text);

	*used = 0;
	if (n <= 0)
		return false;
	(void)str_number(text + 1, (size_t)n - 1, INT_MAX, used);
	return true;
}

static enum child_end
classify(struct child *c, struct spawn_end end, bool is_in_doubt)
{
	char how[SPAWN_TEXT_SIZE];

	/* What it did after its report cannot change that. */
	if (report_is_whole(buf_text(&c->report), c->report.len))
		return CHILD_REPORTED;
	if (end.how == SPAWN_EXITED && end.code == HANDOFF_EXIT_AGAIN &&
	    c->report.len == 0 && !is_in_doubt)
		return CHILD_AGAIN;
	spawn_describe(end, how);
	snprintf(c->text, sizeof c->text, "%s: %s", NAME, how);
	return is_in_doubt ? CHILD_IN_DOUBT : CHILD_FAILED;
}

/*
 * Reading the report must not fail for want of memory: the message may have
 * been delivered by then.
 */
static void
reserve_report(struct child *c)
{
	size_t n = 0;

	while (c->handoff.envelope[n] != NULL)
		n++;
	(void)buf_reserve(&c->report, REPORT_ROOM + n * REPORT_ROOM_EACH);
}

enum child_end
child_run(struct child *c, const int *keep, size_t nkeep)
{
	struct pipes p;
	struct spawn_end end;
	enum child_end result;
	unsigned long used;
	bool is_in_doubt;
	pid_t pid;

	reserve_report(c);
	if (open_pipes(&p) == -1 || (pid = start(c, &p, keep, nkeep)) == -1) {
		/* A new connection needs no other process, nor a pipe. */
		close_pipes(&p);
		return CHILD_AGAIN;
	}
	close_end(&p.report[1]);
	close_end(&p.progress[1]);
	(void)fdio_read_pipe(p.report[0], CHILD_REPORT_MAX, deadline_never(),
	    &c->report);
	end = spawn_wait(pid, deadline_never());
	is_in_doubt = read_progress(p.progress[0], &used);
	close_pipes(&p);
	result = classify(c, end, is_in_doubt);
	if (result == CHILD_REPORTED && end.how == SPAWN_EXITED &&
	    end.code == 0)
		c->used = used;
	return result;
}
