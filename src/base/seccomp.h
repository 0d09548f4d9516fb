/* SPDX-License-Identifier: ISC */
#ifndef BASE_SECCOMP_H
#define BASE_SECCOMP_H

/*
 * The filters of sandbox.c, which alone includes this: programs for the
 * kernel's packet filter machine, that are given the number and the arguments
 * of each system call.  They are constants, so entering a sandbox costs one
 * call and no library.
 *
 * They name what is allowed, so nothing is to be said of the numbers of x32
 * (they have a bit more) and of calls yet to be invented.  Order is by
 * frequency; since Linux 5.11 the kernel remembers what needs no arguments.
 *
 * fstat() is newfstatat() in some versions of glibc.
 */

#include <sys/mman.h>
#include <sys/syscall.h>
#include <netinet/in.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#if defined(__x86_64__) && !defined(__ILP32__)
#define FILTER_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && !defined(__ILP32__) && !defined(__AARCH64EB__)
#define FILTER_ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef FILTER_ARCH

/* Tests may have another one, to be told of it. */
#ifndef SANDBOX_VIOLATION
#define SANDBOX_VIOLATION SECCOMP_RET_KILL_PROCESS
#endif

#define LOAD(field) \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
/* The low half: both architectures are little-endian. */
#define LOAD_ARGUMENT(i) LOAD(args[i])
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, (what))

/* Skips so many instructions unless the number (the bits) is there. */
#define UNLESS_EQUAL(number, skip) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, (skip))
#define UNLESS_ANY(bits, skip) \
	BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (bits), 0, (skip))

#define ANSWER(call, what) UNLESS_EQUAL(call, 1), RETURN(what)
#define ALLOW(call) ANSWER(call, SECCOMP_RET_ALLOW)

/* Only with this value in argument i. */
#define ALLOW_EQUAL(call, i, value, otherwise) \
	UNLESS_EQUAL(call, 4), LOAD_ARGUMENT(i), UNLESS_EQUAL(value, 1), \
	    RETURN(SECCOMP_RET_ALLOW), RETURN(otherwise)

/* Only with any of these bits in it, or with none. */
#define ALLOW_WITH(call, i, bits, otherwise) \
	UNLESS_EQUAL(call, 4), LOAD_ARGUMENT(i), UNLESS_ANY(bits, 1), \
	    RETURN(SECCOMP_RET_ALLOW), RETURN(otherwise)
#define ALLOW_WITHOUT(call, i, bits, otherwise) \
	UNLESS_EQUAL(call, 4), LOAD_ARGUMENT(i), UNLESS_ANY(bits, 1), \
	    RETURN(otherwise), RETURN(SECCOMP_RET_ALLOW)

#define BEGIN \
	LOAD(arch), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FILTER_ARCH, 1, 0), \
	    RETURN(SANDBOX_VIOLATION), LOAD(nr)

/*
 * No call at all: with this number a debugger (strace --inject) replaces one
 * that is not to be made.
 */
#define NO_CALL 0xffffffff
#define END \
	UNLESS_EQUAL(NO_CALL, 1), RETURN(SECCOMP_RET_ALLOW), \
	    RETURN(SANDBOX_VIOLATION)

#ifdef SYS_poll
#define ALLOW_POLL ALLOW(SYS_poll)
#else
#define ALLOW_POLL ALLOW(SYS_ppoll)
#endif

/* A wait that was interrupted by SIGSTOP and SIGCONT is restarted. */
#define ALLOW_RESTART ALLOW(SYS_restart_syscall)

/*
 * Memory of the allocators.  glibc draws a random number for its first
 * allocation; mmap() of files is not needed any more.
 */
#define ALLOW_MEMORY \
	ALLOW(SYS_brk), ALLOW(SYS_munmap), ALLOW(SYS_mremap), \
	    ALLOW(SYS_madvise), ALLOW(SYS_getrandom), \
	    ALLOW_WITHOUT(SYS_mprotect, 2, PROT_EXEC, SANDBOX_VIOLATION), \
	    UNLESS_EQUAL(SYS_mmap, 7), LOAD_ARGUMENT(2), \
	    UNLESS_ANY(PROT_EXEC, 1), RETURN(SANDBOX_VIOLATION), \
	    LOAD_ARGUMENT(3), UNLESS_ANY(MAP_ANONYMOUS, 1), \
	    RETURN(SECCOMP_RET_ALLOW), RETURN(SANDBOX_VIOLATION)

/* Where the kernel does not let the clock be read without a call. */
#define ALLOW_CLOCK ALLOW(SYS_clock_gettime)
#ifdef SYS_time
#define ALLOW_CLOCKS ALLOW_CLOCK, ALLOW(SYS_gettimeofday), ALLOW(SYS_time)
#else
#define ALLOW_CLOCKS ALLOW_CLOCK, ALLOW(SYS_gettimeofday)
#endif

#define ALLOW_END ALLOW(SYS_close), ALLOW(SYS_exit_group), ALLOW(SYS_exit)

static const struct sock_filter bytes_filter[] = {
	BEGIN,
	ALLOW(SYS_write),
	ALLOW(SYS_read),
	ALLOW_POLL,
	ALLOW_END,
	ALLOW(SYS_lseek),
	ALLOW(SYS_pread64),
	ALLOW_CLOCK,
	ALLOW_RESTART,
	ALLOW_MEMORY,
	ALLOW(SYS_fstat),
	ALLOW_WITH(SYS_newfstatat, 3, AT_EMPTY_PATH, SANDBOX_VIOLATION),
	END,
};

/*
 * getpid: the random number generator looks whether it has been forked.
 * futex: a lock or a pthread_once() that somebody could wait for.
 * sysinfo: qsort() of older glibc wants to know how much memory there is.
 * setsockopt: acknowledgements at once.
 * sched_yield: of a lock that is not had at once.
 */
#define ALLOW_TLS \
	ALLOW(SYS_recvfrom), ALLOW(SYS_sendto), ALLOW_POLL, ALLOW(SYS_getpid), \
	    ALLOW(SYS_futex), ALLOW(SYS_read), ALLOW(SYS_write), \
	    ALLOW(SYS_shutdown), ALLOW_END, ALLOW(SYS_lseek), \
	    ALLOW(SYS_pread64), ALLOW_CLOCKS, ALLOW_RESTART, \
	    ALLOW(SYS_sysinfo), ALLOW(SYS_sched_yield), ALLOW_MEMORY, \
	    ALLOW(SYS_fstat), \
	    ALLOW_EQUAL(SYS_setsockopt, 1, IPPROTO_TCP, SANDBOX_VIOLATION)

#define NOT_FOR_YOU (SECCOMP_RET_ERRNO | EACCES)
#define WRITING (O_ACCMODE | O_CREAT | O_TRUNC)

/* A library may look for a file that it can do without: no attack. */
#ifdef SYS_open
#define REFUSE_FILES \
	ANSWER(SYS_openat, NOT_FOR_YOU), ANSWER(SYS_open, NOT_FOR_YOU), \
	    ANSWER(SYS_stat, NOT_FOR_YOU), ANSWER(SYS_lstat, NOT_FOR_YOU), \
	    ALLOW_WITH(SYS_newfstatat, 3, AT_EMPTY_PATH, NOT_FOR_YOU)
#define ALLOW_FILES \
	ALLOW_WITHOUT(SYS_openat, 2, WRITING, NOT_FOR_YOU), \
	    ALLOW_WITHOUT(SYS_open, 1, WRITING, NOT_FOR_YOU), ALLOW(SYS_stat), \
	    ALLOW(SYS_lstat), ALLOW(SYS_newfstatat)
#else
#define REFUSE_FILES \
	ANSWER(SYS_openat, NOT_FOR_YOU), \
	    ALLOW_WITH(SYS_newfstatat, 3, AT_EMPTY_PATH, NOT_FOR_YOU)
#define ALLOW_FILES \
	ALLOW_WITHOUT(SYS_openat, 2, WRITING, NOT_FOR_YOU), \
	    ALLOW(SYS_newfstatat)
#endif

static const struct sock_filter tls_filter[] = {
	BEGIN,
	ALLOW_TLS,
	REFUSE_FILES,
	END,
};

/* musl reads files with readv(); the last three are for the end of this. */
static const struct sock_filter reading_filter[] = {
	BEGIN,
	ALLOW_TLS,
	ALLOW_FILES,
	ALLOW(SYS_readv),
	ALLOW(SYS_landlock_create_ruleset),
	ALLOW(SYS_landlock_restrict_self),
	ALLOW(SYS_seccomp),
	END,
};

#endif
#endif
