/* SPDX-License-Identifier: ISC */
/*
 * What an attacker would do in a program after an exploit.  Linked into
 * programs for the tests only.
 *
 * When "planted-NAME" goes through a descriptor (in a reply, a certificate,
 * mail data), the action of that name is attempted, as if these bytes had been
 * an exploit.  A file in the state directory, opened before the sandbox, gets
 * "try NAME" before the attempt and, if the program still runs after it, "NAME
 * done" or "NAME errno N".
 */
#define _GNU_SOURCE

#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <netinet/in.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORD "planted-"

static int told = -1;
static pid_t parent;

ssize_t __real_read(int, void *, size_t);
ssize_t __real_pread(int, void *, size_t, off_t);
ssize_t __real_recv(int, void *, size_t, int);
ssize_t __real_recvmsg(int, struct msghdr *, int);
ssize_t __real_send(int, const void *, size_t, int);
ssize_t __wrap_read(int, void *, size_t);
ssize_t __wrap_pread(int, void *, size_t, off_t);
ssize_t __wrap_pread64(int, void *, size_t, off_t);
ssize_t __wrap_recv(int, void *, size_t, int);
ssize_t __wrap_recvmsg(int, struct msghdr *, int);
ssize_t __wrap_send(int, const void *, size_t, int);
ssize_t __wrap___read_chk(int, void *, size_t, size_t);
ssize_t __wrap___pread_chk(int, void *, size_t, off_t, size_t);
ssize_t __wrap___pread64_chk(int, void *, size_t, off_t, size_t);
ssize_t __wrap___recv_chk(int, void *, size_t, size_t, int);

__attribute__((constructor)) static void
prepare(void)
{
	int fd = open("/srv/qmail/run/qmail-remote/planted",
	    O_WRONLY | O_APPEND | O_CREAT, 0666);

	/* A number that the program does not use. */
	told = fcntl(fd, F_DUPFD_CLOEXEC, 90);
	close(fd);
	parent = getppid();
}

static void
tell(const char *text)
{
	if (write(told, text, strlen(text)) == -1)
		abort();
}

static long
connect_elsewhere(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons(25) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	to.sin_addr.s_addr = htonl(0xc0000209); /* 192.0.2.9 */
	return fd == -1 ? -1 : connect(fd, (struct sockaddr *)&to, sizeof to);
}

static long
execute(void)
{
	char name[] = "true";
	char *argv[] = { name, NULL };

	return execve("/bin/true", argv, argv + 1);
}

static long
map(size_t n, int prot, int flags, int fd)
{
	return mmap(NULL, n, prot, flags, fd, 0) == MAP_FAILED ? -1 : 0;
}

static long
make_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static long
other_interface(void)
{
	long result = -1;

#ifdef __x86_64__
	/* getpid() of the 32-bit interface. */
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory");
#else
	errno = ENOSYS;
#endif
	return result;
}

static long
raise_limit(void)
{
	struct rlimit r = { 100, 100 };

	return setrlimit(RLIMIT_NOFILE, &r);
}

static long
limit_parent(void)
{
	struct rlimit r;

	return syscall(SYS_prlimit64, parent, RLIMIT_NOFILE, NULL, &r);
}

static long
pin_parent(void)
{
	cpu_set_t all;

	memset(&all, 0xff, sizeof all);
	return sched_setaffinity(parent, sizeof all, &all);
}

static long
schedule_parent(void)
{
	struct sched_param p = { 0 };

	/* That of musl does nothing. */
	return syscall(SYS_sched_setscheduler, parent, SCHED_BATCH, &p);
}

static long
read_parent(void)
{
	char byte;
	struct iovec here = { &byte, 1 }, there = { &byte, 1 };

	return process_vm_readv(parent, &here, 1, &there, 1, 0);
}

static long
own_signals(void)
{
	int fd[2];

	return pipe(fd) == -1 ? -1 : fcntl(fd[0], F_SETOWN, parent);
}

static long
set_option(void)
{
	int on = 1;

	/* Does nothing if there is no such descriptor. */
	return setsockopt(3, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

/* Its report to whoever holds the other end of the connection. */
static long
pass_descriptor(void)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} room = { { 0 } };
	struct iovec part = { room.bytes, 1 };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };
	struct cmsghdr *c;

	m.msg_control = room.bytes;
	m.msg_controllen = sizeof room.bytes;
	c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), (const int[]){ 1 }, sizeof(int));
	return sendmsg(3, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static long
allocate(void)
{
	return map((size_t)1 << 30, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static long
attempt(const char *name)
{
#define DEED(word, call) \
	if (strcmp(name, word) == 0) \
		return (call);
	DEED("read-queue", open("/srv/qmail/queue/mess/1", O_RDONLY))
	DEED("read-etc", open("/etc/passwd", O_RDONLY))
	DEED("write", open("/srv/qmail/control/me", O_WRONLY))
	DEED("create", open("/srv/qmail/new", O_WRONLY | O_CREAT, 0600))
	DEED("state",
	    open("/srv/qmail/run/qmail-remote/new", O_WRONLY | O_CREAT, 0600))
	DEED("truncate", truncate("/srv/qmail/control/me", 0))
	DEED("unlink", unlink("/srv/qmail/control/me"))
	DEED("mkdir", mkdir("/srv/qmail/new", 0700))
	DEED("connect", connect_elsewhere())
	DEED("unix", socket(AF_UNIX, SOCK_STREAM, 0))
	DEED("datagram", socket(AF_UNIX, SOCK_DGRAM, 0))
	DEED("exec", execute())
	DEED("fork", syscall(SYS_clone, SIGCHLD, 0L, 0L, 0L, 0L))
	DEED("ptrace", ptrace(PTRACE_ATTACH, parent, NULL, NULL))
	DEED("kill", kill(parent, 0))
	DEED("queue-signal", syscall(SYS_rt_sigqueueinfo, parent, 0, NULL))
	DEED("pidfd", syscall(SYS_pidfd_open, parent, 0))
	DEED("vm", read_parent())
	DEED("nice", setpriority(PRIO_PROCESS, (id_t)parent, 19))
	DEED("ioprio", syscall(SYS_ioprio_set, 1, parent, 3 << 13))
	DEED("affinity", pin_parent())
	DEED("scheduler", schedule_parent())
	DEED("prlimit", limit_parent())
	DEED("owner", own_signals())
	DEED("option", set_option())
	DEED("chmod", chmod("/srv/qmail/run/qmail-remote", 0777))
	DEED("namespace", unshare(CLONE_NEWUSER))
	DEED("mount", mount("none", "/srv", "tmpfs", 0, NULL))
	DEED("host-name", sethostname("planted", 7))
	DEED("ipc", shmget(IPC_PRIVATE, 4096, 0600))
	DEED("keys", syscall(SYS_keyctl, 0, -3, 1))
	DEED("bpf", syscall(SYS_bpf, 0, NULL, 0))
	DEED("perf", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0))
	DEED("userfault", syscall(SYS_userfaultfd, 0))
	DEED("memfd", syscall(SYS_memfd_create, "planted", 0))
	DEED("alg", socket(AF_ALG, SOCK_SEQPACKET, 0))
	DEED("map-code",
	    map(4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1))
	DEED("map-file", map(4096, PROT_READ, MAP_PRIVATE, 0))
	DEED("make-code", make_executable())
	DEED("uring", syscall(SYS_io_uring_setup, 8L, 0L))
	DEED("newer", syscall(463, 0L, 0L, 0L, 0L, 0L, 0L))
	DEED("x32", syscall(0x40000000L + SYS_write, 1L, "", 0L))
	DEED("int80", other_interface())
	DEED("dup", dup(0))
	DEED("limit", raise_limit())
	DEED("dumpable", prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
	DEED("pass", pass_descriptor())
	DEED("memory", allocate())
	errno = ENOSYS;
	return -1;
#undef DEED
}

static void
misbehave(const char *p, size_t n)
{
	char name[40] = "", line[80];
	size_t len = 0;
	long result;

	while (len < n && len < sizeof name - 1 &&
	       (p[len] == '-' || (p[len] >= 'a' && p[len] <= 'z') ||
		   (p[len] >= '0' && p[len] <= '9')))
		len++;
	memcpy(name, p, len);
	snprintf(line, sizeof line, "try %s\n", name);
	tell(line);
	result = attempt(name);
	if (strcmp(name, "fork") == 0 && result == 0)
		_exit(0); /* the child */
	if (result == -1)
		snprintf(line, sizeof line, "%s errno %d\n", name, errno);
	else
		snprintf(line, sizeof line, "%s done\n", name);
	tell(line);
}

static void
look(const void *p, ssize_t n)
{
	static bool was_seen;
	const char *found;

	if (n <= 0 || was_seen)
		return;
	found = memmem(p, (size_t)n, WORD, strlen(WORD));
	if (found == NULL)
		return;
	was_seen = true;
	found += strlen(WORD);
	misbehave(found, (size_t)((const char *)p + n - found));
}

ssize_t
__wrap_read(int fd, void *p, size_t n)
{
	ssize_t got = __real_read(fd, p, n);

	look(p, got);
	return got;
}

ssize_t
__wrap_pread(int fd, void *p, size_t n, off_t at)
{
	ssize_t got = __real_pread(fd, p, n, at);

	look(p, got);
	return got;
}

ssize_t
__wrap_pread64(int fd, void *p, size_t n, off_t at)
{
	return __wrap_pread(fd, p, n, at);
}

ssize_t
__wrap_recv(int fd, void *p, size_t n, int flags)
{
	ssize_t got = __real_recv(fd, p, n, flags);

	look(p, got);
	return got;
}

ssize_t
__wrap_recvmsg(int fd, struct msghdr *m, int flags)
{
	ssize_t got = __real_recvmsg(fd, m, flags);

	look(m->msg_iov->iov_base, got);
	return got;
}

ssize_t
__wrap_send(int fd, const void *p, size_t n, int flags)
{
	look(p, (ssize_t)n);
	return __real_send(fd, p, n, flags);
}

ssize_t
__wrap___read_chk(int fd, void *p, size_t n, size_t size)
{
	(void)size;
	return __wrap_read(fd, p, n);
}

ssize_t
__wrap___pread_chk(int fd, void *p, size_t n, off_t at, size_t size)
{
	(void)size;
	return __wrap_pread(fd, p, n, at);
}

ssize_t
__wrap___pread64_chk(int fd, void *p, size_t n, off_t at, size_t size)
{
	(void)size;
	return __wrap_pread(fd, p, n, at);
}

ssize_t
__wrap___recv_chk(int fd, void *p, size_t n, size_t size, int flags)
{
	(void)size;
	return __wrap_recv(fd, p, n, flags);
}
