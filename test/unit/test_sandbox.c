/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE /* syscall(), CLONE_NEWUSER */

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <asm/sockios.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "io/pass.h"
#include "io/sandbox.h"

#include "config.h"

#define MEMORY ((size_t)64 << 20)
#define USER 1234 /* any but root */

static char directory[] = "/tmp/sandbox.XXXXXX";
static char inside[64], outside[64];
static int pair[2];   /* both ends of a connection */
static int broker[2]; /* the same, of SOCK_SEQPACKET */
static int file;
static pid_t bystander;

/* Actions that a child tries: each returns 0 or an errno. */

static int
outcome(long result)
{
	return result == -1 ? errno : 0;
}

static int
move_bytes(void)
{
	char c = 'x';
	struct pollfd p = { .fd = pair[1], .events = POLLIN };

	if (write(pair[0], &c, 1) != 1 || poll(&p, 1, 1000) != 1 ||
	    read(pair[1], &c, 1) != 1)
		return errno;
	return 0;
}

static int
read_message(void)
{
	struct stat st;
	char c;

	if (fstat(file, &st) == -1 || lseek(file, 0, SEEK_SET) == -1 ||
	    pread(file, &c, 1, 0) == -1 || read(file, &c, 1) == -1 ||
	    close(file) == -1)
		return errno;
	return 0;
}

static int
use_memory(void)
{
	size_t n;
	char *p = NULL;

	for (n = 1; n < MEMORY / 8; n *= 3) {
		char *q = realloc(p, n);

		if (q == NULL)
			return errno;
		p = q;
		memset(p, 1, n);
	}
	free(p);
	return 0;
}

static int
use_too_much(void)
{
	void *volatile p = malloc(2 * MEMORY);

	return p == NULL ? errno : 0;
}

static int
tell_time(void)
{
	struct timespec t;

	return outcome(clock_gettime(CLOCK_MONOTONIC, &t)) +
	       outcome(time(NULL));
}

static int
open_inside(void)
{
	return outcome(open(inside, O_RDONLY));
}

static int
open_outside(void)
{
	return outcome(open(outside, O_RDONLY));
}

static int
write_inside(void)
{
	return outcome(open(inside, O_WRONLY | O_CREAT | O_TRUNC, 0600));
}

static int
write_file(void)
{
	return outcome(open("/dev/null", O_WRONLY));
}

static int
write_outside(void)
{
	return outcome(open(outside, O_WRONLY));
}

static int
replace_inside(void)
{
	char new[80];

	snprintf(new, sizeof new, "%s.new", inside);
	if (open(new, O_WRONLY | O_CREAT | O_EXCL, 0600) == -1)
		return errno;
	return outcome(rename(new, inside)) + outcome(unlink(inside));
}

static int
open_socket(void)
{
	return outcome(socket(AF_INET, SOCK_STREAM, 0));
}

static int
bind_to(uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return fd == -1 ? errno
			: outcome(bind(fd, (struct sockaddr *)&in, sizeof in));
}

static int
choose_address(void)
{
	return bind_to(0);
}

static int
acknowledge_at_once(void)
{
	int on = 1;

	/* On a socket that is not TCP this is an error, not a violation. */
	(void)setsockopt(pair[0], IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
	return 0;
}

static int
send_and_receive(void)
{
	char c = 'x';

	if (send(pair[0], &c, 1, MSG_NOSIGNAL) != 1 ||
	    recv(pair[1], &c, 1, MSG_DONTWAIT) != 1)
		return errno;
	return outcome(shutdown(pair[0], SHUT_RDWR));
}

static int
send_descriptors(void)
{
	return outcome(pass_send(broker[0], "x", 1, pair, 2));
}

/* As a delivery asks the broker. */
static int
exchange_descriptors(void)
{
	int fd[PASS_MAX];
	size_t nfd;
	char c;

	if (pass_send(broker[0], "x", 1, pair, 2) == -1 ||
	    pass_receive(broker[1], &c, 1, fd, &nfd) != 1)
		return errno;
	return nfd == 2 ? outcome(close(fd[0])) : EIO;
}

/*
 * What others have sent and was not received counts too, so the limit on open
 * descriptors must not be a low one.
 */
static int
send_many_descriptors(void)
{
	for (int i = 0; i < 20; i++)
		if (pass_send(broker[0], "x", 1, pair, 2) == -1)
			return errno;
	return 0;
}

static int
start_process(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return outcome(pid);
}

static int
wait_for_nobody(void)
{
	return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD ? 0 : -1;
}

/* As spawn_start() and spawn_kill() do it. */
static int
spawn_and_kill(void)
{
	static char name[] = "/bin/sleep", time[] = "60";
	char *argv[] = { name, time, NULL };
	int status;
	pid_t pid;
	int error = posix_spawn(&pid, name, NULL, NULL, argv, argv + 2);

	if (error != 0)
		return error;
	if (kill(pid, SIGKILL) == -1 || waitpid(pid, &status, 0) != pid)
		return errno;
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? 0 : -1;
}

static int
find_interfaces(void)
{
	struct ifaddrs *list;

	if (getifaddrs(&list) == -1)
		return errno;
	freeifaddrs(list);
	return if_nametoindex("lo") != 0 ? 0 : errno;
}

static int
keep_state(void)
{
	int fd = open(inside, O_WRONLY | O_CREAT, 0600);

	return fd == -1 ? errno
			: outcome(fchmod(fd, 0640)) + outcome(fchmod(fd, 0660));
}

static int
lower_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == -1)
		return errno;
	r.rlim_cur = 10;
	return outcome(setrlimit(RLIMIT_NOFILE, &r));
}

static int
no_call(void)
{
	return outcome(syscall(-1)) == ENOSYS ? 0 : -1;
}

enum situation {
	HARDENED,
	SEARCH,
	FETCH,
	BYTES,
	SENDING, /* with a socket for descriptors */
	TLS,
	READING,
	CHILD_SENDING, /* started by a program that finds a server */
	CHILD_TLS
};

static void
enter(enum situation situation)
{
	static const char *const files[] = { "/nowhere", "/dev/null" };

	sandbox_harden();
	switch (situation) {
	case HARDENED:
		break;
	case SEARCH:
		sandbox_enter_search(directory, files, 2);
		break;
	case FETCH:
		sandbox_enter_fetch(directory, files, 2);
		break;
	case BYTES:
		sandbox_enter_bytes(MEMORY, -1);
		break;
	case CHILD_SENDING:
		sandbox_enter_search(directory, files, 2);
		sandbox_enter_bytes(MEMORY, broker[0]);
		break;
	case SENDING:
		sandbox_enter_bytes(MEMORY, broker[0]);
		break;
	case TLS:
		sandbox_enter_tls(MEMORY);
		break;
	case READING:
		sandbox_enter_tls_reading(MEMORY, directory);
		break;
	case CHILD_TLS:
		sandbox_enter_search(directory, files, 2);
		sandbox_enter_tls(MEMORY);
		break;
	}
}

/* The errno, or minus the signal that killed the child. */
static int
end_of_child(enum situation situation, int (*deed)(void))
{
	int status;
	pid_t pid;

	close(open(inside, O_WRONLY | O_CREAT, 0600));
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == -1 ||
		    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, broker) == -1)
			_exit(EIO);
		/* Root may have any number of descriptors under way. */
		if (situation == SENDING && geteuid() == 0 &&
		    setuid(USER) == -1)
			_exit(EPERM);
		enter(situation);
		_exit(deed());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static int
prepare(void **state)
{
	(void)state;
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(inside, sizeof inside, "%s/file", directory);
	snprintf(outside, sizeof outside, "%s.file", directory);
	close(open(outside, O_WRONLY | O_CREAT, 0600));
	file = open(outside, O_RDONLY);
	bystander = fork();
	if (bystander == 0) {
		pause();
		_exit(0);
	}
	return file == -1 || bystander == -1 ? -1 : 0;
}

static int
clear_up(void **state)
{
	(void)state;
	kill(bystander, SIGKILL);
	waitpid(bystander, NULL, 0);
	unlink(inside);
	unlink(outside);
	return rmdir(directory);
}

/* As TLS reports are sent. */
static int
send_local_datagram(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	if (fd == -1)
		return errno;
	snprintf(to.sun_path, sizeof to.sun_path, "%s/none", directory);
	if (sendto(fd, "x", 1, MSG_DONTWAIT, (const struct sockaddr *)&to,
		sizeof to) != -1)
		return EIO;
	return errno == ENOENT ? 0 : errno;
}

/* What must work on every system. */
static void
test_allowed(void **state)
{
	static const struct {
		const char *name;
		enum situation situation;
		int (*deed)(void);
	} cases[] = {
		{ "hardened, all else", HARDENED, write_outside },
		{ "hardened, memory", HARDENED, use_too_much },
		{ "search, bytes", SEARCH, move_bytes },
		{ "search, read", SEARCH, open_outside },
		{ "search, write", SEARCH, write_inside },
		{ "search, file", SEARCH, write_file },
		{ "search, replace", SEARCH, replace_inside },
		{ "search, socket", SEARCH, open_socket },
		{ "search, address", SEARCH, choose_address },
		{ "search, process", SEARCH, start_process },
		{ "search, program", SEARCH, spawn_and_kill },
		{ "search, datagram", SEARCH, send_local_datagram },
		{ "search, interfaces", SEARCH, find_interfaces },
		{ "search, modes", SEARCH, keep_state },
		{ "search, limit", SEARCH, lower_limit },
		{ "search, no call", SEARCH, no_call },
		{ "search, descriptors", SEARCH, exchange_descriptors },
		{ "fetch, read", FETCH, open_outside },
		{ "fetch, replace", FETCH, replace_inside },
		{ "fetch, socket", FETCH, open_socket },
		{ "fetch, program", FETCH, spawn_and_kill },
		{ "fetch, interfaces", FETCH, find_interfaces },
		{ "fetch, modes", FETCH, keep_state },
		{ "bytes", BYTES, move_bytes },
		{ "bytes, message", BYTES, read_message },
		{ "bytes, memory", BYTES, use_memory },
		{ "bytes, time", BYTES, tell_time },
		{ "bytes, wait", BYTES, wait_for_nobody },
		{ "bytes, no call", BYTES, no_call },
		{ "sending", SENDING, send_descriptors },
		{ "sending, many", SENDING, send_many_descriptors },
		{ "sending, bytes", SENDING, move_bytes },
		{ "sending, child", CHILD_SENDING, send_descriptors },
		{ "tls", TLS, move_bytes },
		{ "tls, file", TLS, read_message },
		{ "tls, memory", TLS, use_memory },
		{ "tls, time", TLS, tell_time },
		{ "tls, option", TLS, acknowledge_at_once },
		{ "tls, sockets", TLS, send_and_receive },
		{ "tls, no call", TLS, no_call },
		{ "reading", READING, send_and_receive },
		{ "reading, inside", READING, open_inside },
		{ "reading, memory", READING, use_memory },
		{ "reading, time", READING, tell_time },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		int end = end_of_child(cases[i].situation, cases[i].deed);

		if (end != 0)
			fail_msg("%s: %d", cases[i].name, end);
	}
}

#ifdef USE_SECCOMP

static int
remove_outside(void)
{
	return outcome(unlink(outside));
}

static int
set_keepalive(void)
{
	int on = 1;

	return outcome(setsockopt(pair[0], SOL_SOCKET, SO_KEEPALIVE, &on,
	    sizeof on));
}

static int
set_no_delay(void)
{
	int on = 1;

	return outcome(setsockopt(pair[0], IPPROTO_TCP, TCP_NODELAY, &on,
	    sizeof on));
}

static int
choose_port(void)
{
	return bind_to(40025);
}

static int
signal_parent(void)
{
	return outcome(kill(getppid(), 0));
}

static int
signal_group(void)
{
	return outcome(kill(-getpid(), SIGKILL));
}

/* It is not a child of the process that tries it. */
static int
kill_bystander(void)
{
	return outcome(kill(bystander, SIGKILL));
}

static int
make_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? errno : 0;
}

static int
end_reading(void)
{
	sandbox_end_reading();
	return open_inside();
}

static int
limit_parent(void)
{
	struct rlimit r;

	return outcome(syscall(SYS_prlimit64, getppid(), RLIMIT_NOFILE, NULL,
	    &r));
}

static int
limit_itself(void)
{
	struct rlimit r;

	return outcome(syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &r));
}

static int
make_namespace(void)
{
	return outcome(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0L, 0L, 0L,
	    0L));
}

static int
make_brother(void)
{
	return outcome(syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0L, 0L, 0L,
	    0L));
}

/* Its flags are in memory, which a filter cannot read. */
static int
clone_anew(void)
{
	return outcome(syscall(SYS_clone3, NULL, 0L));
}

static int
open_state_to_all(void)
{
	int fd = open(inside, O_RDONLY);

	return fd == -1 ? errno : outcome(fchmod(fd, 0666));
}

static int
open_unix_stream(void)
{
	return outcome(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static int
open_alg(void)
{
	return outcome(socket(AF_ALG, SOCK_SEQPACKET, 0));
}

static int
own_signals(void)
{
	return outcome(fcntl(pair[0], F_SETOWN, getppid()));
}

static int
own_signals_by_ioctl(void)
{
	int pid = getppid();

	return outcome(ioctl(pair[0], FIOSETOWN, &pid));
}

static int
type_on_terminal(void)
{
	return outcome(ioctl(pair[0], TIOCSTI, "x"));
}

static int
call_getppid(void)
{
	return outcome(syscall(SYS_getppid));
}

/* setxattrat(), which is newer than the lists of the filter. */
static int
call_newer(void)
{
	return outcome(syscall(463, 0L, 0L, 0L, 0L, 0L, 0L));
}

#ifdef __x86_64__
static int
call_x32(void)
{
	return outcome(syscall(0x40000000L + SYS_getpid));
}
#endif

/* Through a socket that is not the broker's. */
static int
send_elsewhere(void)
{
	return outcome(pass_send(broker[1], "x", 1, pair, 2));
}

static int
send_with_other_flags(void)
{
	char c = 'x';
	struct iovec part = { &c, 1 };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };

	return outcome(sendmsg(broker[0], &m, MSG_NOSIGNAL));
}

static int
receive_descriptors(void)
{
	int fd[PASS_MAX];
	size_t nfd;
	char c;

	return outcome(pass_receive(broker[0], &c, 1, fd, &nfd));
}

/* As all versions of Landlock since that one do. */
static bool
has_landlock(long version)
{
	return syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, 1U) >=
	       version;
}

static void
test_forbidden(void **state)
{
	static const struct {
		const char *name;
		enum situation situation;
		int (*deed)(void);
		int end;
		long landlock; /* the version of Landlock that it needs */
	} cases[] = {
		{ "search, write", SEARCH, write_outside, EACCES, 1 },
		{ "search, remove", SEARCH, remove_outside, EACCES, 1 },
		{ "search, kill", SEARCH, kill_bystander, EPERM, 6 },
		{ "search, signal", SEARCH, signal_parent, -SIGSYS, 0 },
		{ "search, group", SEARCH, signal_group, -SIGSYS, 0 },
		{ "search, limit", SEARCH, limit_parent, -SIGSYS, 0 },
		{ "search, namespace", SEARCH, make_namespace, -SIGSYS, 0 },
		{ "search, brother", SEARCH, make_brother, -SIGSYS, 0 },
		{ "search, clone3", SEARCH, clone_anew, ENOSYS, 0 },
		{ "search, mode", SEARCH, open_state_to_all, -SIGSYS, 0 },
		{ "search, unix", SEARCH, open_unix_stream, EAFNOSUPPORT, 0 },
		{ "search, family", SEARCH, open_alg, EAFNOSUPPORT, 0 },
		{ "search, port", SEARCH, choose_port, EACCES, 4 },
		{ "search, owner", SEARCH, own_signals, -SIGSYS, 0 },
		{ "search, ioctl", SEARCH, own_signals_by_ioctl, -SIGSYS, 0 },
		{ "search, terminal", SEARCH, type_on_terminal, -SIGSYS, 0 },
		{ "search, newer call", SEARCH, call_newer, ENOSYS, 0 },
		{ "fetch, write", FETCH, write_outside, EACCES, 1 },
		{ "fetch, signal", FETCH, signal_parent, -SIGSYS, 0 },
		{ "fetch, unix", FETCH, open_unix_stream, EAFNOSUPPORT, 0 },
#ifdef __GLIBC__
		{ "fetch, datagram", FETCH, send_local_datagram, EAFNOSUPPORT,
		    0 },
#endif
		{ "bytes, open", BYTES, open_outside, -SIGSYS, 0 },
		{ "bytes, socket", BYTES, open_socket, -SIGSYS, 0 },
		{ "bytes, option", BYTES, acknowledge_at_once, -SIGSYS, 0 },
		{ "bytes, process", BYTES, start_process, -SIGSYS, 0 },
		{ "bytes, signal", BYTES, signal_parent, -SIGSYS, 0 },
		{ "bytes, code", BYTES, make_code, -SIGSYS, 0 },
		{ "bytes, memory", BYTES, use_too_much, ENOMEM, 0 },
		{ "bytes, unlisted call", BYTES, call_getppid, -SIGSYS, 0 },
		{ "bytes, newer call", BYTES, call_newer, -SIGSYS, 0 },
		{ "bytes, descriptors", BYTES, send_descriptors, -SIGSYS, 0 },
		{ "sending, elsewhere", SENDING, send_elsewhere, -SIGSYS, 0 },
		{ "sending, flags", SENDING, send_with_other_flags, -SIGSYS,
		    0 },
		{ "sending, receive", SENDING, receive_descriptors, -SIGSYS,
		    0 },
		{ "sending, open", SENDING, open_outside, -SIGSYS, 0 },
		{ "sending, socket", SENDING, open_socket, -SIGSYS, 0 },
		{ "tls, descriptors", TLS, send_descriptors, ENOSYS, 0 },
		{ "tls, open", TLS, open_outside, EACCES, 0 },
		{ "tls, write", TLS, write_outside, EACCES, 0 },
		{ "tls, remove", TLS, remove_outside, -SIGSYS, 0 },
		{ "tls, socket", TLS, open_socket, -SIGSYS, 0 },
		{ "tls, option", TLS, set_keepalive, -SIGSYS, 0 },
		{ "tls, TCP option", TLS, set_no_delay, -SIGSYS, 0 },
		{ "tls, process", TLS, start_process, -SIGSYS, 0 },
		{ "tls, code", TLS, make_code, -SIGSYS, 0 },
		{ "tls, memory", TLS, use_too_much, ENOMEM, 0 },
		{ "tls, limit", TLS, limit_itself, ENOSYS, 0 },
		{ "tls, owner", CHILD_TLS, own_signals, -SIGSYS, 0 },
		{ "tls, unlisted call", TLS, call_getppid, ENOSYS, 0 },
		{ "tls, newer call", TLS, call_newer, ENOSYS, 0 },
		{ "reading, outside", READING, open_outside, EACCES, 1 },
		{ "reading, write", READING, write_inside, EACCES, 0 },
		{ "reading, socket", READING, open_socket, -SIGSYS, 0 },
		{ "reading, process", READING, start_process, -SIGSYS, 0 },
		{ "reading, unlisted call", READING, call_getppid, ENOSYS, 0 },
		{ "reading, ended", READING, end_reading, EACCES, 0 },
#ifdef __x86_64__
		{ "search, x32", SEARCH, call_x32, -SIGSYS, 0 },
		{ "bytes, x32", BYTES, call_x32, -SIGSYS, 0 },
		{ "tls, x32", TLS, call_x32, -SIGSYS, 0 },
#endif
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		int end;

		if (!has_landlock(cases[i].landlock))
			continue;
		end = end_of_child(cases[i].situation, cases[i].deed);
		if (end != cases[i].end)
			fail_msg("%s: %d, not %d", cases[i].name, end,
			    cases[i].end);
	}
}

static long number; /* number of the call that the next child makes */

/* With arguments for which the call itself would fail. */
static int
call_number(void)
{
	return outcome(syscall(number, -1L, -1L, -1L, -1L, -1L, -1L));
}

static void
assert_killed(enum situation situation, const long *call, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int end;

		number = call[i];
		end = end_of_child(situation, call_number);
		if (end != -SIGSYS)
			fail_msg("call %ld in situation %d: %d", number,
			    (int)situation, end);
	}
}

/*
 * Each call that harms others is a violation in every program that uses a TLS
 * library.
 */
static void
test_harmful(void **state)
{
	static const long calls[] = { SYS_ptrace, SYS_process_vm_readv,
		SYS_process_vm_writev, 440 /* process_madvise */,
		448 /* process_mrelease */, SYS_pidfd_open, SYS_pidfd_getfd,
		SYS_pidfd_send_signal, SYS_tkill, SYS_tgkill,
		SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_kcmp, SYS_kill,
		SYS_setpriority, SYS_ioprio_set, SYS_sched_setparam,
		SYS_sched_setscheduler, SYS_sched_setattr,
		SYS_sched_setaffinity, SYS_migrate_pages, SYS_move_pages,
		SYS_prlimit64, SYS_shmget, SYS_shmat, SYS_shmctl, SYS_semget,
		SYS_semop, SYS_semtimedop, SYS_semctl, SYS_msgget, SYS_msgsnd,
		SYS_msgrcv, SYS_msgctl, SYS_mq_open, SYS_mq_unlink, SYS_fchmod,
		SYS_fchmodat, 452 /* fchmodat2 */, SYS_fchown, SYS_fchownat,
		SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr, SYS_getxattr,
		SYS_lgetxattr, SYS_fgetxattr, SYS_listxattr, SYS_llistxattr,
		SYS_flistxattr, SYS_removexattr, SYS_lremovexattr,
		SYS_fremovexattr, SYS_clone, SYS_unshare, SYS_setns, SYS_chroot,
		SYS_pivot_root, SYS_mount, SYS_umount2, 442 /* mount_setattr */,
		SYS_open_tree, SYS_move_mount, SYS_fsopen, SYS_fsconfig,
		SYS_fsmount, SYS_fspick, SYS_name_to_handle_at,
		SYS_open_by_handle_at, SYS_swapon, SYS_swapoff, SYS_reboot,
		SYS_kexec_file_load, SYS_init_module, SYS_finit_module,
		SYS_delete_module, SYS_sethostname, SYS_setdomainname,
		SYS_settimeofday, SYS_clock_adjtime, SYS_acct, SYS_quotactl,
		443 /* quotactl_fd */, SYS_sync, SYS_syncfs, SYS_io_uring_setup,
		SYS_io_uring_enter, SYS_io_uring_register, SYS_io_setup,
		SYS_io_submit, SYS_bpf, SYS_perf_event_open, SYS_userfaultfd,
		SYS_add_key, SYS_request_key, SYS_keyctl, SYS_fanotify_init,
		SYS_memfd_create, 447 /* memfd_secret */, SYS_listen,
#ifdef __x86_64__
		SYS_chmod, SYS_chown, SYS_lchown, SYS_iopl, SYS_ioperm,
		SYS_modify_ldt, SYS_create_module, SYS_get_kernel_syms,
		SYS_query_module
#endif
	};
	const size_t n = sizeof calls / sizeof *calls;

	(void)state;
	assert_killed(SEARCH, calls, n);
	assert_killed(BYTES, calls, n);
	assert_killed(SENDING, calls, n);
	assert_killed(CHILD_TLS, calls, n);
}

/* Calls that are used to find a server, but not to move bytes. */
static void
test_attacks(void **state)
{
	static const long calls[] = {
		SYS_execve, SYS_execveat, SYS_clone, SYS_clone3, SYS_kill,
		SYS_ptrace, SYS_socket, SYS_socketpair, SYS_connect, SYS_bind,
		SYS_listen, SYS_accept, SYS_accept4, SYS_truncate, SYS_unlinkat,
		SYS_mkdirat, SYS_mknodat, SYS_linkat, SYS_symlinkat,
		SYS_renameat2, SYS_mprotect, SYS_mmap, SYS_setsockopt,
#ifdef SYS_renameat
		SYS_renameat,
#endif
#ifdef __x86_64__
		SYS_fork, SYS_vfork, SYS_creat, SYS_unlink, SYS_mkdir,
		SYS_rmdir, SYS_mknod, SYS_link, SYS_symlink, SYS_rename
#endif
	};
	const size_t n = sizeof calls / sizeof *calls;

	(void)state;
	assert_killed(BYTES, calls, n);
	assert_killed(SENDING, calls, n);
	assert_killed(TLS, calls, n);
	assert_killed(READING, calls, n);
}

static int
look_at_process(void)
{
	struct rlimit r;

	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 ||
	    prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return 1;
	return getrlimit(RLIMIT_CORE, &r) == 0 && r.rlim_max == 0 ? 0 : 2;
}

static void
test_hardened(void **state)
{
	(void)state;
	assert_int_equal(end_of_child(HARDENED, look_at_process), 0);
}

#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allowed),
#ifdef USE_SECCOMP
		cmocka_unit_test(test_forbidden),
		cmocka_unit_test(test_harmful),
		cmocka_unit_test(test_attacks),
		cmocka_unit_test(test_hardened),
#endif
	};

#ifndef USE_SECCOMP
	puts("1..0 # SKIP no filter of system calls in this build");
	return 0;
#endif
	return cmocka_run_group_tests(tests, prepare, clear_up);
}
