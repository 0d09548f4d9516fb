/* SPDX-License-Identifier: ISC */
/*
 * Starts deliveries as qmail-rspawn does, and measures them.
 *
 *	runner [-c AT-ONCE] [-r ROUNDS] [-x] MESSAGE PROGRAM [ARGUMENT]...
 *
 * A round is AT-ONCE deliveries at the same time.  When all processes of a
 * round have ended, this prints one line:
 *
 *	wall	microseconds until the last report was complete and its program
 *		had ended, as qmail-rspawn sees it
 *	user, system
 *		microseconds of CPU of all processes, also of those that end
 *		after the program
 *	rss	kilobytes, the largest process
 *	processes, delivered, accepted
 *		their numbers; delivered messages (K), accepted recipients (r)
 *
 * A report that does not end in K goes to fd 2.  -x: PROGRAM is not a
 * qmail-remote and writes no report.
 */
#define _GNU_SOURCE /* pipe2() */

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TEXT_MAX 600
#define AT_ONCE_MAX 1000

/* One delivery, and its report so far. */
struct delivery {
	pid_t pid;
	int fd;
	bool running;
	bool in_record;
	char letter; /* letter of the last record */
	size_t accepted;
	size_t ntext;
	char text[TEXT_MAX];
};

struct round {
	long user_us, system_us, rss;
	size_t processes, delivered, accepted;
};

static struct delivery *delivery;
static struct pollfd *watched;
static size_t at_once = 1;
static bool no_report;

static _Noreturn void
die(const char *what)
{
	perror(what);
	_exit(1);
}

static long
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static long
us(struct timeval t)
{
	return t.tv_sec * 1000000 + t.tv_usec;
}

/*
 * Like spawn() in spawn.c of qmail: vfork, message on 0, pipe on 1 and 2,
 * SIGCHLD blocked.  All other descriptors are close-on-exec.
 */
static void
start(struct delivery *d, const char *message, char **argv)
{
	int report[2];
	int fd = open(message, O_RDONLY | O_CLOEXEC);

	if (fd == -1)
		die(message);
	if (pipe2(report, O_CLOEXEC) == -1)
		die("pipe");
	memset(d, 0, sizeof *d);
	d->fd = report[0];
	d->running = true;
	d->pid = vfork();
	if (d->pid == -1)
		die("vfork");
	if (d->pid == 0) {
		if (dup2(fd, 0) == 0 && dup2(report[1], 1) == 1 &&
		    dup2(report[1], 2) == 2)
			execv(argv[0], argv);
		_exit(111);
	}
	close(report[1]);
	close(fd);
}

static void
note_report(struct delivery *d, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\0') {
			d->in_record = false;
			continue;
		}
		if (!d->in_record) {
			d->in_record = true;
			d->letter = p[i];
			d->ntext = 0;
			d->accepted += p[i] == 'r';
		}
		if (d->ntext < TEXT_MAX)
			d->text[d->ntext++] = p[i];
	}
}

/* Reads; false at the end of the report. */
static bool
read_report(struct delivery *d)
{
	char data[4096];
	ssize_t got = read(d->fd, data, sizeof data);

	if (got > 0) {
		note_report(d, data, (size_t)got);
		return true;
	}
	if (got == -1 && errno == EINTR)
		return true;
	close(d->fd);
	d->fd = -1;
	return false;
}

static void
read_reports(void)
{
	size_t open = at_once;

	for (size_t i = 0; i < at_once; i++)
		watched[i] =
		    (struct pollfd){ .fd = delivery[i].fd, .events = POLLIN };
	while (open > 0) {
		if (poll(watched, at_once, -1) == -1 && errno != EINTR)
			die("poll");
		for (size_t i = 0; i < at_once; i++) {
			if (watched[i].fd == -1 || watched[i].revents == 0)
				continue;
			if (!read_report(&delivery[i])) {
				watched[i].fd = -1;
				open--;
			}
		}
	}
}

/* Reaps any process; false if none is left. */
static bool
reap(struct round *r)
{
	struct rusage u;
	int status;
	pid_t pid = wait4(-1, &status, 0, &u);

	if (pid == -1 && errno == ECHILD)
		return false;
	if (pid == -1)
		return true;
	r->user_us += us(u.ru_utime);
	r->system_us += us(u.ru_stime);
	if (u.ru_maxrss > r->rss)
		r->rss = u.ru_maxrss;
	r->processes++;
	for (size_t i = 0; i < at_once; i++) {
		if (delivery[i].pid != pid)
			continue;
		delivery[i].running = false;
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			fprintf(stderr, "wait status %d\n", status);
	}
	return true;
}

static bool
is_running(void)
{
	for (size_t i = 0; i < at_once; i++)
		if (delivery[i].running)
			return true;
	return false;
}

static void
add_up(struct round *r)
{
	for (size_t i = 0; i < at_once; i++) {
		const struct delivery *d = &delivery[i];

		r->accepted += d->accepted;
		if (d->letter == 'K')
			r->delivered++;
		else if (!no_report)
			fprintf(stderr, "%.*s", (int)d->ntext, d->text);
	}
}

static void
run_round(const char *message, char **argv)
{
	struct round r = { 0 };
	long began = now_us(), wall;

	for (size_t i = 0; i < at_once; i++)
		start(&delivery[i], message, argv);
	read_reports();
	while (is_running() && reap(&r))
		;
	wall = now_us() - began;
	while (reap(&r))
		;
	add_up(&r);
	printf("%ld %ld %ld %ld %zu %zu %zu\n", wall, r.user_us, r.system_us,
	    r.rss, r.processes, r.delivered, r.accepted);
	fflush(stdout);
}

static void
prepare(void)
{
	sigset_t child;

	delivery = calloc(at_once, sizeof *delivery);
	watched = calloc(at_once, sizeof *watched);
	if (!delivery || !watched)
		die("calloc");
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == -1)
		die("prctl");
}

int
main(int argc, char **argv)
{
	long rounds = 1;
	int c;

	while ((c = getopt(argc, argv, "+c:r:x")) != -1) {
		switch (c) {
		case 'c':
			at_once = strtoul(optarg, NULL, 10);
			break;
		case 'r':
			rounds = atol(optarg);
			break;
		case 'x':
			no_report = true;
			break;
		default:
			return 2;
		}
	}
	if (argc - optind < 2 || at_once == 0 || at_once > AT_ONCE_MAX)
		return 2;
	prepare();
	while (rounds-- > 0)
		run_round(argv[optind], argv + optind + 1);
	return 0;
}
