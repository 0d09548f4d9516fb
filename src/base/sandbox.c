/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE /* syscall(), O_PATH, AT_EMPTY_PATH; harmless elsewhere */

#include "base/sandbox.h"

#include <sys/types.h>
#include <sys/resource.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "config.h"

#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <errno.h>
#include <fcntl.h>

#ifndef SYS_landlock_create_ruleset /* the same on all architectures */
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif
#endif
#ifdef USE_SECCOMP
#include "base/seccomp.h"
#endif

/*
 * No more than 0, 1 and 2, which are always taken: no descriptor can be had.
 * Those with greater numbers stay; poll() is allowed so many at once.
 */
#define DESCRIPTORS 3

#ifndef RLIMIT_AS /* OpenBSD: what is mapped counts as data */
#define RLIMIT_AS RLIMIT_DATA
#endif

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* A lower limit that was set from outside stays; false: nothing to change. */
static bool
cut(struct rlimit *r, rlim_t limit)
{
	if (r->rlim_max <= limit)
		return false;
	r->rlim_max = limit;
	if (r->rlim_cur > limit)
		r->rlim_cur = limit;
	return true;
}

/* No function: C libraries do not agree on the type of a resource. */
#define LOWER(resource, limit) \
	do { \
		struct rlimit r; \
		if (getrlimit(resource, &r) == 0 && cut(&r, limit)) \
			(void)setrlimit(resource, &r); \
	} while (0)

void
sandbox_harden(void)
{
	LOWER(RLIMIT_CORE, 0);
#ifdef __linux__
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL);
	(void)prctl(PR_SET_DUMPABLE, 0UL, 0UL, 0UL, 0UL);
#endif
}

#if !defined(USE_SANDBOX)

/*
 * A sanitizer or valgrind makes calls, maps memory and writes files when and
 * as it likes.
 */

void
sandbox_keep_writes(const char *directory, const char *const *file, size_t n)
{
	(void)directory;
	(void)file;
	(void)n;
}

void
sandbox_enter(enum sandbox_kind kind, size_t memory, const char *directory)
{
	(void)kind;
	(void)memory;
	(void)directory;
}

void
sandbox_end_reading(void)
{
}

#else

static bool is_reading; /* files, still */

#if defined(__linux__) || defined(__OpenBSD__)
/* Where directories of trust anchors have links to. */
static const char *const certificate_homes[] = { "/usr", "/etc" };
#endif

#if defined(__linux__)

/*
 * Landlock, as the kernel's interface has it since 5.13.  Not from the
 * system's header, which may be older than the kernel.
 */
#define FS_WRITE_FILE (UINT64_C(1) << 1)
#define FS_READ_FILE (UINT64_C(1) << 2)
#define FS_READ_DIR (UINT64_C(1) << 3)
#define FS_REMOVE_FILE (UINT64_C(1) << 5)
#define FS_MAKE_REG (UINT64_C(1) << 8)
#define FS_TRUNCATE (UINT64_C(1) << 14)
/* Execute, read files, read directories; control devices. */
#define FS_NO_WRITING (UINT64_C(0xd) | UINT64_C(1) << 15)

#define NET_BIND_TCP UINT64_C(1)
#define NET_CONNECT_TCP UINT64_C(2)
#define SCOPE_ALL UINT64_C(3) /* abstract sockets, signals */

#define RULE_PATH_BENEATH 1
#define CREATE_RULESET_VERSION 1U

/* What is forbidden, but for the exceptions of the rules. */
struct ruleset {
	uint64_t fs, net, scoped;
};

/* The kernel's structure is packed: nothing follows the descriptor. */
struct beneath {
	uint64_t allowed;
	int32_t fd;
} __attribute__((packed));

static int
ruleset_try(const struct ruleset *r, size_t size)
{
	return (int)syscall(SYS_landlock_create_ruleset, r, size, 0U);
}

/* Older kernels know less, and what they do not know is an error. */
static int
ruleset_create(struct ruleset *r)
{
	static const unsigned rights[] = { 13, 14, 15, 15, 16 };
	const size_t known = COUNT(rights);
	size_t size = sizeof *r;
	long version;
	int fd;

	r->fs &= (UINT64_C(1) << rights[known - 1]) - 1;
	fd = ruleset_try(r, size);
	if (fd != -1)
		return fd;
	version = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0,
	    CREATE_RULESET_VERSION);
	if (version < 1 || version > (long)known)
		return -1;
	r->fs &= (UINT64_C(1) << rights[version - 1]) - 1;
	size -= sizeof r->scoped;
	return ruleset_try(r, version < 4 ? size - sizeof r->net : size);
}

static void
ruleset_except(int fd, const struct ruleset *r, const char *path,
    uint64_t rights)
{
	struct beneath b = { .allowed = rights & r->fs };

	b.fd = open(path, O_PATH | O_CLOEXEC);
	if (b.fd == -1)
		return;
	(void)syscall(SYS_landlock_add_rule, fd, RULE_PATH_BENEATH, &b, 0U);
	close(b.fd);
}

static bool
ruleset_enforce(int fd)
{
	long result = syscall(SYS_landlock_restrict_self, fd, 0U);

	close(fd);
	return result == 0;
}

/* False where there is no Landlock. */
static bool
forbid_files(void)
{
	struct ruleset r = { UINT64_MAX, NET_BIND_TCP | NET_CONNECT_TCP,
		SCOPE_ALL };
	int fd = ruleset_create(&r);

	return fd != -1 && ruleset_enforce(fd);
}

static void
allow_reading(const char *directory)
{
	struct ruleset r = { UINT64_MAX, NET_BIND_TCP | NET_CONNECT_TCP,
		SCOPE_ALL };
	int fd = ruleset_create(&r);

	if (fd == -1)
		return;
	ruleset_except(fd, &r, directory, FS_READ_FILE | FS_READ_DIR);
	for (size_t i = 0; i < COUNT(certificate_homes); i++)
		ruleset_except(fd, &r, certificate_homes[i],
		    FS_READ_FILE | FS_READ_DIR);
	(void)ruleset_enforce(fd);
}

void
sandbox_keep_writes(const char *directory, const char *const *file, size_t n)
{
	struct ruleset r = { ~FS_NO_WRITING, NET_BIND_TCP, SCOPE_ALL };
	int fd = ruleset_create(&r);

	if (fd == -1)
		return;
	ruleset_except(fd, &r, directory,
	    FS_WRITE_FILE | FS_TRUNCATE | FS_MAKE_REG | FS_REMOVE_FILE);
	for (size_t i = 0; i < n; i++)
		ruleset_except(fd, &r, file[i], FS_WRITE_FILE);
	(void)ruleset_enforce(fd);
}

#ifdef FILTER_ARCH

#ifndef SECCOMP_FILTER_FLAG_SPEC_ALLOW
#define SECCOMP_FILTER_FLAG_SPEC_ALLOW 4
#endif

/*
 * Older kernels turn speculation off for whoever has a filter, which slows
 * everything down and is meant for programs that run code of others.
 */
static void
filter(const struct sock_filter *code, size_t n)
{
	struct sock_fprog program = {
		.len = (unsigned short)n,
		.filter = (struct sock_filter *)(uintptr_t)code,
	};

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) == -1)
		(void)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0U,
		    &program);
}

static void
filter_calls(enum sandbox_kind kind)
{
	switch (kind) {
	case SANDBOX_BYTES:
		filter(bytes_filter, COUNT(bytes_filter));
		break;
	case SANDBOX_TLS:
		filter(tls_filter, COUNT(tls_filter));
		break;
	case SANDBOX_TLS_READING:
		filter(reading_filter, COUNT(reading_filter));
		break;
	}
}

#else

static void
filter_calls(enum sandbox_kind kind)
{
	(void)kind;
}

#endif

static void
give_up(enum sandbox_kind kind, const char *directory)
{
	if (kind == SANDBOX_TLS_READING)
		allow_reading(directory);
	else
		(void)forbid_files();
}

void
sandbox_end_reading(void)
{
	if (!is_reading)
		return;
	is_reading = false;
	/* One filter is enough where Landlock can forbid the rest. */
	if (!forbid_files())
		filter_calls(SANDBOX_TLS);
}

#elif defined(__OpenBSD__)

void
sandbox_keep_writes(const char *directory, const char *const *file, size_t n)
{
	(void)unveil("/", "rx");
	(void)unveil(directory, "rwc");
	for (size_t i = 0; i < n; i++)
		(void)unveil(file[i], "rw");
	(void)unveil(NULL, NULL);
}

static void
give_up(enum sandbox_kind kind, const char *directory)
{
	if (kind != SANDBOX_TLS_READING)
		return;
	(void)unveil(directory, "r");
	for (size_t i = 0; i < COUNT(certificate_homes); i++)
		(void)unveil(certificate_homes[i], "r");
}

static void
filter_calls(enum sandbox_kind kind)
{
	(void)pledge(kind == SANDBOX_TLS_READING ? "stdio rpath" : "stdio",
	    NULL);
}

void
sandbox_end_reading(void)
{
	if (!is_reading)
		return;
	is_reading = false;
	filter_calls(SANDBOX_TLS);
}

#else

void
sandbox_keep_writes(const char *directory, const char *const *file, size_t n)
{
	(void)directory;
	(void)file;
	(void)n;
}

static void
give_up(enum sandbox_kind kind, const char *directory)
{
	(void)kind;
	(void)directory;
}

static void
filter_calls(enum sandbox_kind kind)
{
	(void)kind;
}

void
sandbox_end_reading(void)
{
}

#endif

/* No limit on file sizes: the report may go to a file. */
void
sandbox_enter(enum sandbox_kind kind, size_t memory, const char *directory)
{
	is_reading = kind == SANDBOX_TLS_READING;
	give_up(kind, directory);
	LOWER(RLIMIT_AS, memory);
	if (!is_reading)
		LOWER(RLIMIT_NOFILE, DESCRIPTORS);
	filter_calls(kind);
}

#endif
