/* SPDX-License-Identifier: ISC */
/*
 * Starts a program as qmail-rspawn does, and kills it at a system call, or
 * makes one of its system calls fail.
 *
 *	killer [-c] [-l] [-k N | -K N] [-e CALL:OCCURRENCE:ERROR]...
 *	    [-p NAME] [-t SECONDS] FD PROGRAM [ARGUMENT]...
 *
 *	-c	count the calls of the processes that the program starts, not
 *		its own
 *	-e	this occurrence of the call with this number fails with this
 *		errno value; with 0 it transfers only one byte
 *	-k	SIGKILL before the N-th call
 *	-K	SIGKILL after it
 *	-l	list the calls
 *	-p	only count calls of programs with this name, of which the kernel
 *		keeps 15 characters
 *	-t	kill everything after this many seconds (20)
 *
 * Without -e, -k, -K and -l the calls are not traced.  It ends when all
 * processes have ended, and writes to FD what happened, in lines:
 *
 *	call N PID PROGRAM NUMBER OCCURRENCE ARGUMENT RESULT [PATH]
 *	failed N PROGRAM NUMBER ARGUMENT REPORTED
 *	killed N PROGRAM NUMBER ARGUMENT REPORTED
 *		at which call; how often the program had written to fd 1 by then
 *	child STATUS	how a process that the program started ended
 *	late		a process had to be killed because of -t
 *	main STATUS N	how the program ended; the number of calls
 *
 * STATUS is as wait() has it, ARGUMENT is the first one.
 */
#define _GNU_SOURCE /* ptrace(), the calls of Linux */

#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if !defined(__linux__) || !defined(__x86_64__)
#error "killer knows the registers of x86_64 Linux only"
#endif

#define CALLS_MAX 1024
#define FAULTS_MAX 8
#define TRACEES_MAX 32
#define PATH_SIZE 256
#define NAME_SIZE 32

#define OPTIONS \
	(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL | \
	    PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE)

struct fault {
	unsigned long call, occurrence;
	long error; /* 0: transfer only one byte */
};

struct tracee {
	pid_t pid;
	bool is_main;
	bool has_begun; /* it has executed the program */
	bool has_stopped;
	bool in_call;
	char name[NAME_SIZE];

	/* The current call. */
	unsigned long n, call, occurrence;
	uint64_t argument;
	char path[PATH_SIZE];
	const struct fault *fault; /* it is replaced */
	struct user_regs_struct before;
};

static struct tracee tracee[TRACEES_MAX];
static size_t ntracee;
static struct fault fault[FAULTS_MAX];
static size_t nfault;

static bool of_children, lists, looks;
static unsigned long kill_before, kill_after;
static unsigned long ncall, noccurrence[CALLS_MAX], nreported;
static const char *only;
static int main_status;
static FILE *out;
static volatile sig_atomic_t is_late;

static _Noreturn void
die(const char *what)
{
	perror(what);
	_exit(1);
}

static struct tracee *
find(pid_t pid)
{
	for (size_t i = 0; i < ntracee; i++)
		if (tracee[i].pid == pid)
			return &tracee[i];
	if (ntracee == TRACEES_MAX) {
		errno = E2BIG;
		die("killer: processes");
	}
	tracee[ntracee] = (struct tracee){ .pid = pid };
	return &tracee[ntracee++];
}

static void
read_name(struct tracee *t)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/comm", (int)t->pid);
	f = fopen(path, "r");
	if (f == NULL || fgets(t->name, sizeof t->name, f) == NULL)
		strcpy(t->name, "?");
	t->name[strcspn(t->name, "\n")] = '\0';
	if (f != NULL)
		fclose(f);
}

/* The text at this address of the program, as far as it can be read. */
static void
read_text(pid_t pid, uint64_t at, char *text)
{
	size_t n = 0;

	while (n + sizeof(long) < PATH_SIZE) {
		long word;

		errno = 0;
		word = ptrace(PTRACE_PEEKDATA, pid, at + n, NULL);
		if (errno)
			break;
		memcpy(text + n, &word, sizeof word);
		if (memchr(text + n, '\0', sizeof word))
			return;
		n += sizeof word;
	}
	text[n] = '\0';
}

static void
read_path(struct tracee *t, const uint64_t *args)
{
	t->path[0] = '\0';
	switch (t->call) {
	case SYS_open:
	case SYS_stat:
	case SYS_lstat:
	case SYS_unlink:
	case SYS_rename:
	case SYS_execve:
	case SYS_chdir:
	case SYS_access:
	case SYS_readlink:
		read_text(t->pid, args[0], t->path);
		break;
	case SYS_openat:
	case SYS_newfstatat:
	case SYS_readlinkat:
		read_text(t->pid, args[1], t->path);
		break;
	}
}

static void
set_registers(const struct tracee *t, struct user_regs_struct *r)
{
	ptrace(PTRACE_SETREGS, t->pid, NULL, r);
}

static void
print_hit(const char *what, const struct tracee *t)
{
	fprintf(out, "%s %lu %s %lu %ld %lu\n", what, t->n, t->name, t->call,
	    (long)t->argument, nreported);
}

/*
 * Replaces a call that is to fail by one that does nothing and is allowed by
 * every sandbox.  Exceptions: close() closes whatever it returns, and a failed
 * brk() returns the old break.
 */
static void
prepare_fault(struct tracee *t, const struct fault *f)
{
	struct user_regs_struct r;

	if (ptrace(PTRACE_GETREGS, t->pid, NULL, &r) == -1)
		return;
	print_hit("failed", t);
	t->before = r;
	if (f->error == 0) {
		if (r.rdx > 1)
			r.rdx = 1;
	} else if (t->call == SYS_brk) {
		r.rdi = 0;
	} else {
		t->fault = f;
		if (t->call == SYS_close)
			return;
		r.orig_rax = SYS_read;
		r.rdi = (unsigned long long)-1;
		r.rsi = r.rdx = 0;
	}
	set_registers(t, &r);
}

static void
finish_fault(struct tracee *t)
{
	struct user_regs_struct r;

	if (ptrace(PTRACE_GETREGS, t->pid, NULL, &r) == -1)
		return;
	r.rdi = t->before.rdi;
	r.rsi = t->before.rsi;
	r.rdx = t->before.rdx;
	if (t->fault)
		r.rax = (unsigned long long)-t->fault->error;
	set_registers(t, &r);
}

static void
print_call(const struct tracee *t, long result)
{
	if (lists)
		fprintf(out, "call %lu %d %s %lu %lu %ld %ld %s\n", t->n,
		    (int)t->pid, t->name, t->call, t->occurrence,
		    (long)t->argument, result, t->path);
}

static void
enter_call(struct tracee *t, uint64_t call, const uint64_t *args)
{
	if (only && strcmp(t->name, only) != 0)
		return;
	t->in_call = true;
	t->n = ++ncall;
	t->call = call;
	t->argument = args[0];
	t->occurrence = call < CALLS_MAX ? ++noccurrence[call] : 0;
	t->fault = NULL;
	t->before.orig_rax = (unsigned long long)-1;
	read_path(t, args);
	if (call == SYS_exit_group || call == SYS_exit)
		print_call(t, 0);
	for (size_t i = 0; i < nfault; i++)
		if (fault[i].call == call &&
		    fault[i].occurrence == t->occurrence)
			prepare_fault(t, &fault[i]);
	if (t->n == kill_before) {
		print_hit("killed", t);
		kill(t->pid, SIGKILL);
	}
}

static void
leave_call(struct tracee *t, long result)
{
	if (!t->in_call)
		return;
	t->in_call = false;
	if (t->before.orig_rax != (unsigned long long)-1)
		finish_fault(t);
	if (t->is_main && t->call == SYS_write && t->argument == 1 &&
	    result > 0)
		nreported++;
	print_call(t, t->fault ? -t->fault->error : result);
	if (t->n == kill_after) {
		print_hit("killed", t);
		kill(t->pid, SIGKILL);
	}
}

static void
look_at_call(struct tracee *t)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, t->pid, sizeof info, &info) <= 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
		enter_call(t, info.entry.nr, (uint64_t *)info.entry.args);
	else if (info.op == PTRACE_SYSCALL_INFO_EXIT)
		leave_call(t, (long)info.exit.rval);
}

/* The signal to deliver to it. */
static int
look_at_stop(struct tracee *t, int status)
{
	int signal = WSTOPSIG(status), event = status >> 16;

	if (signal == (SIGTRAP | 0x80)) {
		look_at_call(t);
		return 0;
	}
	if (event == PTRACE_EVENT_EXEC) {
		t->has_begun = true;
		read_name(t);
	}
	if (event != 0)
		return 0;
	/* With this event tracing begins, of the program and of each child. */
	if (signal == SIGSTOP && !t->has_stopped) {
		t->has_stopped = true;
		read_name(t);
		if (t->is_main)
			ptrace(PTRACE_SETOPTIONS, t->pid, NULL, OPTIONS);
		else
			t->has_begun = true;
		return 0;
	}
	return signal;
}

static void
go_on(const struct tracee *t, int signal)
{
	bool counts = looks && t->has_begun && t->is_main != of_children;

	/* It may have been killed in the meantime. */
	(void)ptrace(counts ? PTRACE_SYSCALL : PTRACE_CONT, t->pid, NULL,
	    (long)signal);
}

static void
kill_all(void)
{
	fprintf(out, "late\n");
	for (size_t i = 0; i < ntracee; i++)
		if (tracee[i].pid > 0)
			kill(tracee[i].pid, SIGKILL);
}

static void
follow(void)
{
	int status;

	for (;;) {
		pid_t pid = waitpid(-1, &status, __WALL);
		struct tracee *t;

		if (pid == -1 && errno == EINTR) {
			if (is_late)
				kill_all();
			is_late = 0;
			continue;
		}
		if (pid == -1)
			return;
		t = find(pid);
		if (WIFSTOPPED(status)) {
			go_on(t, look_at_stop(t, status));
			continue;
		}
		if (t->is_main)
			main_status = status;
		else
			fprintf(out, "child %d\n", status);
		t->pid = -1;
	}
}

static _Noreturn void
become(char **argv)
{
	static char path[] = "PATH=/usr/bin:/bin";
	static char *const environment[] = { path, NULL };
	sigset_t set;

	setsid();
	umask(077);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_SETMASK, &set, NULL);
	dup2(1, 2);
	closefrom(3);
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	execve(argv[0], argv, environment);
	_exit(100);
}

static void
on_alarm(int signal)
{
	(void)signal;
	is_late = 1;
}

static void
parse_fault(const char *text)
{
	struct fault *f = &fault[nfault];

	if (nfault == FAULTS_MAX || sscanf(text, "%lu:%lu:%ld", &f->call,
					&f->occurrence, &f->error) != 3) {
		errno = EINVAL;
		die(text);
	}
	nfault++;
}

static unsigned
parse_options(int argc, char **argv)
{
	unsigned seconds = 20;
	int c;

	while ((c = getopt(argc, argv, "+ce:k:K:lp:t:")) != -1) {
		switch (c) {
		case 'c':
			of_children = true;
			break;
		case 'e':
			parse_fault(optarg);
			break;
		case 'k':
			kill_before = strtoul(optarg, NULL, 10);
			break;
		case 'K':
			kill_after = strtoul(optarg, NULL, 10);
			break;
		case 'l':
			lists = true;
			break;
		case 'p':
			only = optarg;
			break;
		case 't':
			seconds = (unsigned)strtoul(optarg, NULL, 10);
			break;
		default:
			_exit(2);
		}
	}
	looks = nfault || kill_before || kill_after || lists;
	if (argc - optind < 2)
		_exit(2);
	return seconds;
}

int
main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_alarm };
	unsigned seconds = parse_options(argc, argv);
	struct tracee *t;
	pid_t pid;

	out = fdopen(atoi(argv[optind]), "w");
	if (out == NULL)
		die("killer: the descriptor");
	pid = fork();
	if (pid == -1)
		die("killer: fork");
	if (pid == 0)
		become(argv + optind + 1);
	/* The reader of the report waits for its end. */
	close(0);
	close(1);
	t = find(pid);
	t->is_main = true;
	sigaction(SIGALRM, &action, NULL);
	alarm(seconds);
	follow();
	fprintf(out, "main %d %lu\n", main_status, ncall);
	return fclose(out) == 0 ? 0 : 1;
}
