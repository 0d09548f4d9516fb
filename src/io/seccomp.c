/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE /* syscall(), AT_EMPTY_PATH, CLONE_NEWNS */

#include "io/seccomp.h"

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <asm/sockios.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include "io/pass.h"

/*
 * A filter is described by lists of system calls and rules for their arguments.
 * It is translated into a program for the kernel's packet filter machine, which
 * gets the number and the arguments of each call.
 *
 * The program is a binary search for the number: a filter is run for each call.
 */

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

/* Tests replace it, to record violations. */
#ifndef SANDBOX_VIOLATION
#define SANDBOX_VIOLATION SECCOMP_RET_KILL_PROCESS
#endif

#define ALLOW SECCOMP_RET_ALLOW
#define KILL SANDBOX_VIOLATION
#define FAIL(error) (SECCOMP_RET_ERRNO | (error))

/* Known call numbers are below this; later calls have greater ones. */
#define NUMBERS 463
/* Calls of the x32 interface have this bit in their number. */
#define X32 0x40000000u
/*
 * Not a call: a debugger (strace --inject) uses this number for a call that is
 * not to be made.
 */
#define NO_CALL 0xffffffffu

/* Missing in the oldest headers; the same on all architectures. */
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_quotactl_fd
#define SYS_quotactl_fd 443
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self 446
#endif
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef SYS_process_mrelease
#define SYS_process_mrelease 448
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

#ifndef SECCOMP_FILTER_FLAG_SPEC_ALLOW
#define SECCOMP_FILTER_FLAG_SPEC_ALLOW 4
#endif

enum test {
	NOTHING, /* always true */
	EQUAL,   /* the argument equals the value */
	SOCKET,  /* it is the socket that seccomp_install() was given */
	ABOVE,   /* it is greater than the value */
	ANY_OF,  /* it has a bit of the value */
	NONE_OF  /* it has no bit of the value */
};

/* Tests the low 32 bits of an argument: these are numbers, not pointers. */
struct condition {
	enum test test;
	unsigned argument;
	uint32_t value;
};

/* The action for a call for which all conditions are true. */
struct rule {
	int call;
	uint32_t action;
	struct condition when[2];
};

struct rules {
	const struct rule *rule;
	size_t n;
};

/* Calls with the same action, whatever their arguments are. */
struct list {
	const short *call;
	size_t n;
	uint32_t action;
};

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define RULES(array) \
	{ \
		array, COUNT(array) \
	}
#define LIST(array, action) \
	{ \
		array, COUNT(array), action \
	}

/*
 * Calls by which one process acts on others or on the whole system, from
 * killing and tracing to slowing down; calls that change files without opening
 * them, which Landlock does not check; and large kernel interfaces, which have
 * often had bugs.
 */
static const short harmful[] = {
	/* Other processes of the same user. */
	SYS_ptrace,
	SYS_process_vm_readv,
	SYS_process_vm_writev,
	SYS_process_madvise,
	SYS_process_mrelease,
	SYS_pidfd_open,
	SYS_pidfd_getfd,
	SYS_pidfd_send_signal,
	SYS_tkill,
	SYS_tgkill,
	SYS_rt_sigqueueinfo,
	SYS_rt_tgsigqueueinfo,
	SYS_kcmp,
	SYS_setpriority,
	SYS_ioprio_set,
	SYS_sched_setparam,
	SYS_sched_setscheduler,
	SYS_sched_setattr,
	SYS_sched_setaffinity,
	SYS_migrate_pages,
	SYS_move_pages,
	SYS_shmget,
	SYS_shmat,
	SYS_shmctl,
	SYS_semget,
	SYS_semop,
	SYS_semtimedop,
	SYS_semctl,
	SYS_msgget,
	SYS_msgsnd,
	SYS_msgrcv,
	SYS_msgctl,
	SYS_mq_open,
	SYS_mq_unlink,

	/* Modes, owners and attributes of files. */
	SYS_fchmodat,
	SYS_fchmodat2,
	SYS_fchown,
	SYS_fchownat,
	SYS_setxattr,
	SYS_lsetxattr,
	SYS_fsetxattr,
	SYS_getxattr,
	SYS_lgetxattr,
	SYS_fgetxattr,
	SYS_listxattr,
	SYS_llistxattr,
	SYS_flistxattr,
	SYS_removexattr,
	SYS_lremovexattr,
	SYS_fremovexattr,
#ifdef __x86_64__
	SYS_chmod,
	SYS_chown,
	SYS_lchown,
#endif

	/* The whole system. */
	SYS_unshare,
	SYS_setns,
	SYS_chroot,
	SYS_pivot_root,
	SYS_mount,
	SYS_umount2,
	SYS_mount_setattr,
	SYS_open_tree,
	SYS_move_mount,
	SYS_fsopen,
	SYS_fsconfig,
	SYS_fsmount,
	SYS_fspick,
	SYS_name_to_handle_at,
	SYS_open_by_handle_at,
	SYS_swapon,
	SYS_swapoff,
	SYS_reboot,
	SYS_kexec_file_load,
	SYS_init_module,
	SYS_finit_module,
	SYS_delete_module,
	SYS_sethostname,
	SYS_setdomainname,
	SYS_settimeofday,
	SYS_clock_adjtime,
	SYS_acct,
	SYS_quotactl,
	SYS_quotactl_fd,
	SYS_sync,
	SYS_syncfs,

	/* Large kernel interfaces. */
	SYS_io_uring_setup,
	SYS_io_uring_enter,
	SYS_io_uring_register,
	SYS_io_setup,
	SYS_io_submit,
	SYS_bpf,
	SYS_perf_event_open,
	SYS_userfaultfd,
	SYS_add_key,
	SYS_request_key,
	SYS_keyctl,
	SYS_fanotify_init,
#ifdef __x86_64__
	SYS_iopl,
	SYS_ioperm,
	SYS_modify_ldt,
	SYS_create_module,
	SYS_get_kernel_syms,
	SYS_query_module,
#endif

	/* Files without a name, which Landlock has no rules for. */
	SYS_memfd_create,
	SYS_memfd_secret,
};

static const struct rule harmful_rules[] = {
	/* Limits of other processes. */
	{ SYS_prlimit64, KILL, { { ABOVE, 0, 0 } } },
	/* A signal to the owner of a descriptor, which may be any process. */
	{ SYS_fcntl, KILL, { { EQUAL, 1, F_SETOWN } } },
	{ SYS_fcntl, KILL, { { EQUAL, 1, F_SETOWN_EX } } },
	{ SYS_fcntl, KILL, { { EQUAL, 1, F_SETSIG } } },
	{ SYS_ioctl, KILL, { { EQUAL, 1, FIOSETOWN } } },
	{ SYS_ioctl, KILL, { { EQUAL, 1, SIOCSPGRP } } },
	/* Input to the terminal of the user who runs the program by hand. */
	{ SYS_ioctl, KILL, { { EQUAL, 1, TIOCSTI } } },
	{ SYS_ioctl, KILL, { { EQUAL, 1, TIOCLINUX } } },
};

/*
 * New namespaces, and processes that become children of qmail-rspawn instead of
 * ours.
 */
#define CLONE_UNUSUAL \
	((uint32_t)(CLONE_PARENT | CLONE_NEWNS | CLONE_NEWCGROUP | \
		    CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
		    CLONE_NEWPID | CLONE_NEWNET))

/*
 * For a program that finds a server.  Its children inherit the filter, and one
 * of them uses a TLS library, which may need any other call: so the rest is
 * allowed.
 *
 * The helper is killed if it is stuck.  Its process id is not known here; from
 * Linux 6.12 on Landlock ensures that no other process is signalled.
 *
 * State files get at most group permissions.  The interfaces are read with a
 * netlink socket; musl asks for the number of one with a local datagram socket.
 */
static const struct rule search_rules[] = {
	{ SYS_clone, KILL, { { ANY_OF, 0, CLONE_UNUSUAL } } },
	{ SYS_kill, KILL, { { ANY_OF, 0, 0x80000000 } } },
	{ SYS_kill, ALLOW, { { ABOVE, 0, 1 }, { EQUAL, 1, SIGKILL } } },
	{ SYS_fchmod, KILL, { { ANY_OF, 1, ~0660u } } },
	{ SYS_socket, ALLOW, { { EQUAL, 0, AF_INET } } },
	{ SYS_socket, ALLOW, { { EQUAL, 0, AF_INET6 } } },
	{ SYS_socket, ALLOW, { { EQUAL, 0, AF_NETLINK }, { EQUAL, 2, 0 } } },
#ifndef __GLIBC__
	{ SYS_socket, ALLOW,
	    { { EQUAL, 0, AF_UNIX },
		{ EQUAL, 1, SOCK_DGRAM | SOCK_CLOEXEC } } },
#endif
};

/*
 * TLS reports are sent with a local datagram socket.  A local stream socket
 * would lead to a service that trusts the user.
 */
static const struct rule report_rules[] = {
	{ SYS_socket, ALLOW,
	    { { EQUAL, 0, AF_UNIX }, { EQUAL, 1, SOCK_DGRAM } } },
	{ SYS_socket, ALLOW,
	    { { EQUAL, 0, AF_UNIX },
		{ EQUAL, 1, SOCK_DGRAM | SOCK_CLOEXEC } } },
};

/* No server: whoever may bind a socket to an address could make one. */
static const short search_killed[] = { SYS_kill, SYS_listen };
static const short search_unsupported[] = { SYS_socket };

/*
 * Its flags are in memory, where a filter cannot look.  C libraries then use
 * clone().
 */
static const short search_unknown[] = { SYS_clone3 };

/*
 * What the two programs that move bytes need.  fstat() is newfstatat() in some
 * versions of glibc, whose malloc() also draws a random number at first.  A
 * wait interrupted by SIGSTOP and SIGCONT is restarted.  clock_gettime() is a
 * system call where the kernel does not provide it without one.
 */
static const short moving[] = {
	SYS_write,
	SYS_read,
#ifdef SYS_poll
	SYS_poll,
#else
	SYS_ppoll,
#endif
	SYS_restart_syscall,
	SYS_close,
	SYS_exit_group,
	SYS_exit,
	SYS_lseek,
	SYS_pread64,
	SYS_fstat,
	SYS_clock_gettime,
	SYS_getrandom,
	SYS_brk,
	SYS_munmap,
	SYS_mremap,
	SYS_madvise,
};

/* No executable memory, and no mapped files. */
static const struct rule moving_rules[] = {
	{ SYS_newfstatat, ALLOW, { { ANY_OF, 3, AT_EMPTY_PATH } } },
	{ SYS_mprotect, ALLOW, { { NONE_OF, 2, PROT_EXEC } } },
	{ SYS_mmap, ALLOW,
	    { { NONE_OF, 2, PROT_EXEC }, { ANY_OF, 3, MAP_ANONYMOUS } } },
};

/*
 * For the exit status of the TLS helper, a child since before the exec; this
 * only reads about children and does nothing to them.  And for its last record,
 * which is read with MSG_PEEK.
 */
static const short waiting[] = { SYS_wait4, SYS_waitid, SYS_recvfrom };

/*
 * To hand the connection to the broker; a descriptor that is sent to any other
 * program would be out of this sandbox.
 */
static const struct rule sending_rules[] = {
	{ SYS_sendmsg, ALLOW,
	    { { SOCKET, 0, 0 }, { EQUAL, 2, PASS_SEND_FLAGS } } },
};

/* For a note in the address memory, whose file is open already. */
static const short noting[] = { SYS_flock, SYS_pwrite64 };

/*
 * getpid: the random number generator checks whether the process has forked.
 * futex: for a lock or a pthread_once() that a thread could wait for.  sysinfo:
 * qsort() of older glibc asks how much memory there is.  sched_yield: for a
 * lock that is not available at once.
 */
static const short tls[] = {
	SYS_recvfrom,
	SYS_sendto,
	SYS_shutdown,
	SYS_getpid,
	SYS_futex,
	SYS_gettimeofday,
	SYS_sysinfo,
	SYS_sched_yield,
#ifdef SYS_time
	SYS_time,
#endif
};

static const struct rule tls_rules[] = {
	/* Acknowledge at once. */
	{ SYS_setsockopt, ALLOW,
	    { { EQUAL, 1, IPPROTO_TCP }, { EQUAL, 2, TCP_QUICKACK } } },
};

/*
 * The libraries of the TLS helper are updated without a new build of it, so a
 * call in no list fails as on a kernel that does not know it.  But no program
 * that moves bytes needs the calls below, updated or not.  Calls that harm
 * other processes are already killed by the filter of qmail-remote, which the
 * helper has inherited.
 */
static const short tls_killed[] = {
	SYS_mprotect,
	SYS_mmap,
	SYS_setsockopt,
	SYS_execve,
	SYS_execveat,
	SYS_clone,
	SYS_clone3,
	SYS_kill,
	SYS_ptrace,
	SYS_socket,
	SYS_socketpair,
	SYS_connect,
	SYS_bind,
	SYS_listen,
	SYS_accept,
	SYS_accept4,
	SYS_truncate,
	SYS_unlinkat,
	SYS_mkdirat,
	SYS_mknodat,
	SYS_linkat,
	SYS_symlinkat,
	SYS_renameat,
	SYS_renameat2,
	SYS_fchmod,
#ifdef __x86_64__
	SYS_fork,
	SYS_vfork,
	SYS_creat,
	SYS_unlink,
	SYS_mkdir,
	SYS_rmdir,
	SYS_mknod,
	SYS_link,
	SYS_symlink,
	SYS_rename,
#endif
};

/* A library may look for an optional file: that is no attack. */
static const short files[] = {
	SYS_openat,
	SYS_newfstatat,
#ifdef SYS_open
	SYS_open,
	SYS_stat,
	SYS_lstat,
#endif
};

#define WRITING (O_ACCMODE | O_CREAT | O_TRUNC)

static const struct rule reading_rules[] = {
	{ SYS_openat, ALLOW, { { NONE_OF, 2, WRITING } } },
#ifdef SYS_open
	{ SYS_open, ALLOW, { { NONE_OF, 1, WRITING } } },
#endif
};

/* musl reads files with readv(); the last three calls end this stage. */
static const short reading[] = {
	SYS_newfstatat,
#ifdef SYS_open
	SYS_stat,
	SYS_lstat,
#endif
	SYS_readv,
	SYS_landlock_create_ruleset,
	SYS_landlock_restrict_self,
	SYS_seccomp,
};

/*
 * For qmail-remote-cache: clients connect to its socket and pass descriptors,
 * which are only looked at, written to with send(), and passed on.  The one
 * child that it has was started before.
 */
static const short holding[] = {
	SYS_accept4,
	SYS_recvmsg,
	SYS_sendmsg,
	SYS_sendto,
	SYS_getsockopt,
	SYS_getpeername,
	SYS_fcntl,
	SYS_dup,
	SYS_newfstatat,
	SYS_getuid,
	SYS_wait4,
	SYS_rt_sigreturn,
	SYS_unlinkat,
#ifdef __x86_64__
	SYS_accept,
	SYS_stat,
	SYS_unlink,
#endif
};

/*
 * The first matching rule decides, then the first list that has the call, then
 * the action for all others.
 */
static const struct filter {
	uint32_t others;
	uint32_t later; /* for calls above NUMBERS */
	struct rules rules[3];
	struct list list[5];
} filters[] = {
	[SECCOMP_SEARCH] = {
		ALLOW, FAIL(ENOSYS),
		{ RULES(harmful_rules), RULES(search_rules),
		    RULES(report_rules) },
		{
		    LIST(harmful, KILL),
		    LIST(search_killed, KILL),
		    LIST(search_unsupported, FAIL(EAFNOSUPPORT)),
		    LIST(search_unknown, FAIL(ENOSYS)),
		},
	},
	[SECCOMP_FETCH] = {
		ALLOW, FAIL(ENOSYS),
		{ RULES(harmful_rules), RULES(search_rules) },
		{
		    LIST(harmful, KILL),
		    LIST(search_killed, KILL),
		    LIST(search_unsupported, FAIL(EAFNOSUPPORT)),
		    LIST(search_unknown, FAIL(ENOSYS)),
		},
	},
	[SECCOMP_BYTES] = {
		KILL, KILL,
		{ RULES(moving_rules), RULES(sending_rules) },
		{
		    LIST(moving, ALLOW),
		    LIST(waiting, ALLOW),
		    LIST(noting, ALLOW),
		},
	},
	[SECCOMP_HOLDING] = {
		KILL, KILL,
		{ RULES(moving_rules), RULES(reading_rules) },
		{
		    LIST(moving, ALLOW),
		    LIST(holding, ALLOW),
		},
	},
	[SECCOMP_TLS] = {
		FAIL(ENOSYS), FAIL(ENOSYS),
		{ RULES(moving_rules), RULES(tls_rules) },
		{
		    LIST(moving, ALLOW),
		    LIST(tls, ALLOW),
		    LIST(files, FAIL(EACCES)),
		    LIST(tls_killed, KILL),
		},
	},
	[SECCOMP_TLS_READING] = {
		FAIL(ENOSYS), FAIL(ENOSYS),
		{ RULES(moving_rules), RULES(tls_rules), RULES(reading_rules) },
		{
		    LIST(moving, ALLOW),
		    LIST(tls, ALLOW),
		    LIST(reading, ALLOW),
		    LIST(files, FAIL(EACCES)),
		    LIST(tls_killed, KILL),
		},
	},
};

/*
 * The filter program.  Jumps only go forward, so it is written from its end to
 * its start: the target of a jump exists before the jump.  A place is an index
 * into the code.
 */
#define CODE_MAX 240 /* so that a jump can reach every place */
#define ACTIONS_MAX 8

struct program {
	const struct filter *filter;
	uint32_t socket;
	uint32_t action[NUMBERS]; /* if no rule matches */
	bool has_rules[NUMBERS];
	uint16_t run[NUMBERS]; /* first numbers of equal actions */
	size_t nrun;
	struct sock_filter code[CODE_MAX];
	size_t first;            /* place of the first instruction so far */
	size_t end[ACTIONS_MAX]; /* places of the return instructions */
	size_t nend;
	bool is_too_long;
};

static void
set_actions(struct program *p)
{
	const struct filter *f = p->filter;

	for (size_t i = 0; i < NUMBERS; i++)
		p->action[i] = f->others;
	for (size_t i = COUNT(f->list); i-- > 0;)
		for (size_t k = 0; k < f->list[i].n; k++)
			p->action[f->list[i].call[k]] = f->list[i].action;
	for (size_t i = 0; i < COUNT(f->rules); i++)
		for (size_t k = 0; k < f->rules[i].n; k++)
			p->has_rules[f->rules[i].rule[k].call] = true;
}

static void
find_runs(struct program *p)
{
	for (unsigned i = 0; i < NUMBERS; i++)
		if (i == 0 || p->has_rules[i] || p->has_rules[i - 1] ||
		    p->action[i] != p->action[i - 1])
			p->run[p->nrun++] = (unsigned short)i;
}

/* Adds an instruction before the others; returns its place. */
static size_t
put(struct program *p, unsigned code, uint32_t value, size_t if_true,
    size_t if_false)
{
	size_t next = p->first;

	if (p->first == 0) {
		p->is_too_long = true;
		return 0;
	}
	p->code[--p->first] = (struct sock_filter){
		.code = (uint16_t)code,
		.jt = (uint8_t)(if_true - next),
		.jf = (uint8_t)(if_false - next),
		.k = value,
	};
	return p->first;
}

static size_t
put_jump(struct program *p, unsigned test, uint32_t value, size_t if_true,
    size_t if_false)
{
	return put(p, BPF_JMP | test | BPF_K, value, if_true, if_false);
}

static size_t
put_load(struct program *p, size_t offset)
{
	return put(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, p->first,
	    p->first);
}

/* There is one return instruction for each action. */
static size_t
put_return(struct program *p, uint32_t action)
{
	for (size_t i = 0; i < p->nend; i++)
		if (p->code[p->end[i]].k == action)
			return p->end[i];
	if (p->nend == ACTIONS_MAX) {
		p->is_too_long = true;
		return 0;
	}
	p->end[p->nend] = put(p, BPF_RET | BPF_K, action, p->first, p->first);
	return p->end[p->nend++];
}

static size_t
put_condition(struct program *p, const struct condition *c, size_t if_true,
    size_t if_false)
{
	/* The low 32 bits: both architectures are little-endian. */
	size_t offset = offsetof(struct seccomp_data, args) +
			c->argument * sizeof(uint64_t);

	switch (c->test) {
	case NOTHING:
		return if_true;
	case EQUAL:
		put_jump(p, BPF_JEQ, c->value, if_true, if_false);
		break;
	case SOCKET:
		put_jump(p, BPF_JEQ, p->socket, if_true, if_false);
		break;
	case ABOVE:
		put_jump(p, BPF_JGT, c->value, if_true, if_false);
		break;
	case ANY_OF:
		put_jump(p, BPF_JSET, c->value, if_true, if_false);
		break;
	case NONE_OF:
		put_jump(p, BPF_JSET, c->value, if_false, if_true);
		break;
	}
	return put_load(p, offset);
}

static size_t
put_rule(struct program *p, const struct rule *r, size_t otherwise)
{
	size_t place = put_return(p, r->action);

	for (size_t i = COUNT(r->when); i-- > 0;)
		place = put_condition(p, &r->when[i], place, otherwise);
	return place;
}

/* Decides for the calls of a run; a call with rules is a run of its own. */
static size_t
put_action(struct program *p, unsigned call)
{
	size_t place = put_return(p, p->action[call]);

	if (!p->has_rules[call])
		return place;
	for (size_t i = COUNT(p->filter->rules); i-- > 0;) {
		const struct rules *rules = &p->filter->rules[i];

		for (size_t k = rules->n; k-- > 0;)
			if (rules->rule[k].call == (int)call)
				place = put_rule(p, &rules->rule[k], place);
	}
	return place;
}

/* Binary search for the number among the runs first to last. */
static size_t
put_search(struct program *p, size_t first, size_t last)
{
	size_t middle = first + (last - first + 1) / 2;
	size_t lower, upper;

	if (first == last)
		return put_action(p, p->run[first]);
	upper = put_search(p, middle, last);
	lower = put_search(p, first, middle - 1);
	return put_jump(p, BPF_JGE, p->run[middle], upper, lower);
}

/* Decides for numbers that are not known. */
static size_t
put_unknown(struct program *p)
{
	size_t killed = put_return(p, KILL);
	size_t allowed = put_return(p, ALLOW);
	size_t later = put_return(p, p->filter->later);
	size_t place = put_jump(p, BPF_JGE, X32, killed, later);

	return put_jump(p, BPF_JEQ, NO_CALL, allowed, place);
}

static void
put_program(struct program *p)
{
	size_t forbidden = put_return(p, KILL);
	size_t unknown = put_unknown(p);
	size_t known = put_search(p, 0, p->nrun - 1);
	size_t ours;

	put_jump(p, BPF_JGE, NUMBERS, unknown, known);
	ours = put_load(p, offsetof(struct seccomp_data, nr));
	put_jump(p, BPF_JEQ, ARCHITECTURE, ours, forbidden);
	put_load(p, offsetof(struct seccomp_data, arch));
	/*
	 * When a filter is installed, Linux (since 5.11) tries it with each
	 * call number, to find out which calls are allowed whatever their
	 * arguments are.  It gives up at the first look at an argument, which
	 * is this one, and runs the filter for each call.  That costs a few
	 * nanoseconds; trying all numbers takes longer than all calls of a
	 * delivery, also of one of 50 MB.
	 */
	put_load(p, offsetof(struct seccomp_data, args));
}

/*
 * The flag: older kernels disable speculation for a process with a filter.
 * That slows everything down and is meant for programs that run foreign code.
 */
static void
install(struct program *p)
{
	struct sock_fprog program = {
		.len = (unsigned short)(CODE_MAX - p->first),
		.filter = p->code + p->first,
	};

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) == -1)
		(void)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0U,
		    &program);
}

void
seccomp_install(enum seccomp_filter filter, int socket)
{
	struct program p = { .filter = &filters[filter],
		.socket = (uint32_t)socket,
		.first = CODE_MAX };

	set_actions(&p);
	find_runs(&p);
	put_program(&p);
	if (!p.is_too_long)
		install(&p);
}
