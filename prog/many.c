/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE /* prctl() */

#include "many.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/deadline.h"
#include "io/fdio.h"

#define JOBS 8

/* A probe that runs. */
struct job {
	pid_t pid; /* 0: none */
	int fd;    /* what it prints */
	struct buf output;
};

struct work {
	const struct probe *probe;
	struct job job[JOBS];
	char *line; /* of getline() */
	size_t size;
	enum check_verdict worst;
};

/* The next destination, or NULL at the end of the input. */
static const char *
next_host(struct work *w)
{
	ssize_t n;

	while ((n = getline(&w->line, &w->size, stdin)) != -1) {
		char *host = w->line + strspn(w->line, " \t");

		host[strcspn(host, " \t\r\n")] = '\0';
		if (*host != '\0' && *host != '#')
			return host;
	}
	return NULL;
}

/* The child: it ends with this process, whatever it waits for. */
static _Noreturn void
run_probe(const struct work *w, const char *host, int fd)
{
	struct probe probe = *w->probe;
	enum check_verdict verdict = CHECK_DEFERRED;

	probe.host = host;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(fd, 1) != -1) {
		/* Or the TLS helper would keep it open. */
		close(fd);
		verdict = probe_run(&probe);
	}
	_exit(fflush(stdout) == EOF ? CHECK_DEFERRED : (int)verdict);
}

/* False if it cannot be started. */
static bool
start(struct work *w, struct job *job, const char *host)
{
	int end[2];

	if (pipe(end) == -1)
		return false;
	job->pid = fork();
	if (job->pid == 0) {
		close(end[0]);
		run_probe(w, host, end[1]);
	}
	close(end[1]);
	job->fd = end[0];
	if (job->pid == -1) {
		job->pid = 0;
		close(end[0]);
		return false;
	}
	return true;
}

/* A probe that was killed says nothing of what would be delivered. */
static enum check_verdict
verdict_of(int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) <= CHECK_BOUNCED)
		return (enum check_verdict)WEXITSTATUS(status);
	return CHECK_DEFERRED;
}

static void
finish(struct work *w, struct job *job)
{
	const struct view *view = w->probe->view;
	enum check_verdict verdict;
	int status = -1;

	while (waitpid(job->pid, &status, 0) == -1 && errno == EINTR)
		;
	verdict = verdict_of(status);
	if (verdict > w->worst)
		w->worst = verdict;
	if (fwrite(buf_text(&job->output), 1, job->output.len, stdout) !=
		job->output.len ||
	    fflush(stdout) == EOF)
		view->out.failed();
	buf_finish(&job->output);
	close(job->fd);
	job->pid = 0;
}

static void
read_output(struct work *w, struct job *job)
{
	char text[4096];
	ssize_t n = fdio_read(job->fd, text, sizeof text);

	if (n > 0)
		buf_append(&job->output, text, (size_t)n);
	else
		finish(w, job);
}

/* Waits for output of any probe; false if none runs. */
static bool
wait_for_output(struct work *w)
{
	struct pollfd p[JOBS];
	bool runs = false;

	for (size_t i = 0; i < JOBS; i++) {
		p[i].fd = w->job[i].pid != 0 ? w->job[i].fd : -1;
		p[i].events = POLLIN;
		p[i].revents = 0;
		runs = runs || w->job[i].pid != 0;
	}
	if (!runs)
		return false;
	if (poll(p, JOBS, -1) > 0)
		for (size_t i = 0; i < JOBS; i++)
			if (p[i].revents != 0)
				read_output(w, &w->job[i]);
	return true;
}

/* Starts probes while there is room; false at the end of the input. */
static bool
start_more(struct work *w)
{
	for (size_t i = 0; i < JOBS; i++) {
		const char *host;

		if (w->job[i].pid != 0)
			continue;
		host = next_host(w);
		if (host == NULL)
			return false;
		if (!start(w, &w->job[i], host)) {
			fprintf(stderr, "qmail-remote-check: %s: %s\n", host,
			    strerror(errno));
			w->worst = w->worst > CHECK_DEFERRED ? w->worst
							     : CHECK_DEFERRED;
		}
	}
	return true;
}

enum check_verdict
many_run(const struct probe *probe)
{
	struct work w = { .probe = probe };
	bool has_input = true;

	do {
		if (has_input)
			has_input = start_more(&w);
	} while (wait_for_output(&w) || has_input);
	free(w.line);
	return w.worst;
}
