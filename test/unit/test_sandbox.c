/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE /* AT_EMPTY_PATH, syscall() */

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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

#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#include "base/sandbox.h"

#include "config.h"

#define MEMORY ((size_t)64 << 20)

static char directory[] = "/tmp/sandbox.XXXXXX";
static char inside[64], outside[64];
static int pair[2]; /* ends of a connection */
static int file;

/* What a child attempts: 0 or an errno. */

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
set_tcp_option(void)
{
	int on = 1;

	/* Of a socket that is not TCP: an error, but no death. */
	(void)setsockopt(pair[0], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
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
start_process(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return outcome(pid);
}

static int
no_call(void)
{
#ifdef __linux__
	return outcome(syscall(-1)) == ENOSYS ? 0 : -1;
#else
	return 0;
#endif
}

enum situation { HARDENED, WRITES, BYTES, TLS, READING };

static void
enter(enum situation situation)
{
	static const char *const files[] = { "/nowhere", "/dev/null" };

	sandbox_harden();
	switch (situation) {
	case HARDENED:
		break;
	case WRITES:
		sandbox_keep_writes(directory, files, 2);
		break;
	case BYTES:
		sandbox_enter(SANDBOX_BYTES, MEMORY, NULL);
		break;
	case TLS:
		sandbox_enter(SANDBOX_TLS, MEMORY, NULL);
		break;
	case READING:
		sandbox_enter(SANDBOX_TLS_READING, MEMORY, directory);
		break;
	}
}

/* The errno, or minus the signal that killed it. */
static int
end_of_child(enum situation situation, int (*deed)(void))
{
	int status;
	pid_t pid;

	close(open(inside, O_WRONLY | O_CREAT, 0600));
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == -1)
			_exit(EIO);
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
	return file == -1 ? -1 : 0;
}

static int
clear_up(void **state)
{
	(void)state;
	unlink(inside);
	unlink(outside);
	return rmdir(directory);
}

/* What must work wherever the program is run. */
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
		{ "writes, bytes", WRITES, move_bytes },
		{ "writes, read", WRITES, open_outside },
		{ "writes, write", WRITES, write_inside },
		{ "writes, file", WRITES, write_file },
		{ "writes, replace", WRITES, replace_inside },
		{ "writes, socket", WRITES, open_socket },
		{ "writes, process", WRITES, start_process },
		{ "bytes", BYTES, move_bytes },
		{ "bytes, message", BYTES, read_message },
		{ "bytes, memory", BYTES, use_memory },
		{ "bytes, time", BYTES, tell_time },
		{ "bytes, no call", BYTES, no_call },
		{ "tls", TLS, move_bytes },
		{ "tls, file", TLS, read_message },
		{ "tls, memory", TLS, use_memory },
		{ "tls, time", TLS, tell_time },
		{ "tls, option", TLS, set_tcp_option },
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
set_socket_option(void)
{
	int on = 1;

	return outcome(setsockopt(pair[0], SOL_SOCKET, SO_KEEPALIVE, &on,
	    sizeof on));
}

static int
signal_parent(void)
{
	return outcome(kill(getppid(), 0));
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

/* As with all versions of Landlock since the first. */
static bool
has_landlock(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, 1U) > 0;
}

static void
test_forbidden(void **state)
{
	static const struct {
		const char *name;
		enum situation situation;
		int (*deed)(void);
		int end;
		bool needs_landlock;
	} cases[] = {
		{ "writes, write", WRITES, write_outside, EACCES, true },
		{ "writes, remove", WRITES, remove_outside, EACCES, true },
		{ "bytes, open", BYTES, open_outside, -SIGSYS, false },
		{ "bytes, socket", BYTES, open_socket, -SIGSYS, false },
		{ "bytes, option", BYTES, set_tcp_option, -SIGSYS, false },
		{ "bytes, process", BYTES, start_process, -SIGSYS, false },
		{ "bytes, signal", BYTES, signal_parent, -SIGSYS, false },
		{ "bytes, code", BYTES, make_code, -SIGSYS, false },
		{ "bytes, memory", BYTES, use_too_much, ENOMEM, false },
		{ "tls, open", TLS, open_outside, EACCES, false },
		{ "tls, write", TLS, write_outside, EACCES, false },
		{ "tls, remove", TLS, remove_outside, -SIGSYS, false },
		{ "tls, socket", TLS, open_socket, -SIGSYS, false },
		{ "tls, option", TLS, set_socket_option, -SIGSYS, false },
		{ "tls, process", TLS, start_process, -SIGSYS, false },
		{ "tls, signal", TLS, signal_parent, -SIGSYS, false },
		{ "tls, code", TLS, make_code, -SIGSYS, false },
		{ "tls, memory", TLS, use_too_much, ENOMEM, false },
		{ "reading, outside", READING, open_outside, EACCES, true },
		{ "reading, write", READING, write_inside, EACCES, false },
		{ "reading, socket", READING, open_socket, -SIGSYS, false },
		{ "reading, process", READING, start_process, -SIGSYS, false },
		{ "reading, ended", READING, end_reading, EACCES, false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		int end;

		if (cases[i].needs_landlock && !has_landlock())
			continue;
		end = end_of_child(cases[i].situation, cases[i].deed);
		if (end != cases[i].end)
			fail_msg("%s: %d, not %d", cases[i].name, end,
			    cases[i].end);
	}
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
		cmocka_unit_test(test_hardened),
#endif
	};

	return cmocka_run_group_tests(tests, prepare, clear_up);
}
