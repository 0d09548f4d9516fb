/* SPDX-License-Identifier: ISC */
/*
 * Starts deliveries as qmail-rspawn does, and measures them.
 *
 *	runner [-c AT-ONCE] [-d DESTINATIONS] [-e NAME] [-n DELIVERIES]
 *	    [-r ROUNDS] [-u USER] [-x] MESSAGE PROGRAM [ARGUMENT]...
 *
 * A round is AT-ONCE deliveries at the same time; with -n it is that many
 * deliveries, of which AT-ONCE are under way, as with qmail-send and a
 * concurrencyremote of AT-ONCE.  When all processes of a round have ended, this
 * prints one line:
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
 * A report that does not end in K goes to fd 2.
 *
 *	-d	in each ARGUMENT, "%" is replaced with the number of the
 *		delivery, modulo DESTINATIONS
 *	-e	after the last report of a round, ends the processes of this
 *		NAME that deliveries have left, with SIGTERM
 *	-u	deliveries are of this user and group, by number
 *	-x	PROGRAM is not a qmail-remote and writes no report
 */
#define _GNU_SOURCE /* pipe2(), setgroups() */

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TEXT_MAX 600
#define AT_ONCE_MAX 4000
#define ARGUMENTS_MAX 2000
#define NAME_SHOWN 15    /* bytes of a process's name in /proc */
#define ARGUMENT_SIZE 80 /* of those that are made with -d */

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
static struct round sum;
static size_t at_once = 1;
static size_t total;        /* 0: at_once */
static size_t destinations; /* 0: arguments are the same for all */
static const char *to_end;
static uid_t user;
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

/* The arguments of this delivery; they are valid until the next one. */
static char **
arguments(char **argv, size_t number)
{
	static char *made[ARGUMENTS_MAX + 1];
	static char text[ARGUMENTS_MAX][ARGUMENT_SIZE];
	size_t i;

	if (destinations == 0)
		return argv;
	for (i = 0; argv[i] && i < ARGUMENTS_MAX; i++) {
		const char *mark = strchr(argv[i], '%');

		made[i] = argv[i];
		if (!mark)
			continue;
		snprintf(text[i], ARGUMENT_SIZE, "%.*s%zu%s",
		    (int)(mark - argv[i]), argv[i], number % destinations,
		    mark + 1);
		made[i] = text[i];
	}
	made[i] = NULL;
	return made;
}

static bool
become_user(void)
{
	return user == 0 || (setgroups(0, NULL) == 0 && setgid(user) == 0 &&
				setuid(user) == 0);
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
		    dup2(report[1], 2) == 2 && become_user())
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
note_end(pid_t pid, int status)
{
	for (size_t i = 0; i < at_once; i++) {
		if (delivery[i].pid != pid)
			continue;
		delivery[i].running = false;
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			fprintf(stderr, "wait status %d\n", status);
	}
}

/* Reaps a process, any for -1; false if there is none to reap. */
static bool
reap(pid_t which, int options)
{
	struct rusage u;
	int status;
	pid_t pid = wait4(which, &status, options, &u);

	if (pid == -1 && errno == EINTR)
		return true;
	if (pid <= 0)
		return false;
	sum.user_us += us(u.ru_utime);
	sum.system_us += us(u.ru_stime);
	if (u.ru_maxrss > sum.rss)
		sum.rss = u.ru_maxrss;
	sum.processes++;
	note_end(pid, status);
	return true;
}

/* The report is complete; qmail-rspawn waits for the program, too. */
static void
finish(struct delivery *d)
{
	while (d->running && reap(d->pid, 0))
		;
	sum.accepted += d->accepted;
	if (d->letter == 'K')
		sum.delivered++;
	else if (!no_report)
		fprintf(stderr, "%.*s", (int)d->ntext, d->text);
}

static void
watch(size_t i)
{
	watched[i] = (struct pollfd){ .fd = delivery[i].fd, .events = POLLIN };
}

static void
deliver(const char *message, char **argv)
{
	size_t started = 0, finished = 0, all = total > 0 ? total : at_once;

	for (; started < at_once; started++) {
		start(&delivery[started], message, arguments(argv, started));
		watch(started);
	}
	while (finished < all) {
		if (poll(watched, at_once, -1) == -1 && errno != EINTR)
			die("poll");
		for (size_t i = 0; i < at_once; i++) {
			struct delivery *d = &delivery[i];

			if (watched[i].fd == -1 || watched[i].revents == 0 ||
			    read_report(d))
				continue;
			finish(d);
			finished++;
			if (started < all)
				start(d, message, arguments(argv, started++));
			watch(i);
		}
		/* What deliveries have left behind. */
		while (reap(-1, WNOHANG))
			;
	}
}

/* Ends the process, if it has the name that -e says. */
static void
end_process(pid_t pid)
{
	char path[40], name[40] = "";
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return;
	if (fscanf(f, "%39s", name) == 1 &&
	    strncmp(name, to_end, NAME_SHOWN) == 0)
		kill(pid, SIGTERM);
	fclose(f);
}

/* All processes that deliveries have left are our children. */
static void
end_processes(void)
{
	char path[60];
	FILE *f;
	int pid;

	snprintf(path, sizeof path, "/proc/self/task/%d/children",
	    (int)getpid());
	f = fopen(path, "re");
	if (!f)
		die(path);
	while (fscanf(f, "%d", &pid) == 1)
		end_process(pid);
	fclose(f);
}

static void
run_round(const char *message, char **argv)
{
	long began = now_us(), wall;

	sum = (struct round){ 0 };
	deliver(message, argv);
	wall = now_us() - began;
	if (to_end)
		end_processes();
	while (reap(-1, 0))
		;
	printf("%ld %ld %ld %ld %zu %zu %zu\n", wall, sum.user_us,
	    sum.system_us, sum.rss, sum.processes, sum.delivered, sum.accepted);
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

	while ((c = getopt(argc, argv, "+c:d:e:n:r:u:x")) != -1) {
		switch (c) {
		case 'c':
			at_once = strtoul(optarg, NULL, 10);
			break;
		case 'd':
			destinations = strtoul(optarg, NULL, 10);
			break;
		case 'e':
			to_end = optarg;
			break;
		case 'n':
			total = strtoul(optarg, NULL, 10);
			break;
		case 'r':
			rounds = atol(optarg);
			break;
		case 'u':
			user = (uid_t)strtoul(optarg, NULL, 10);
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
	if (total > 0 && total < at_once)
		return 2;
	prepare();
	while (rounds-- > 0)
		run_round(argv[optind], argv + optind + 1);
	return 0;
}
