/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE /* syscall(), O_PATH */

#include "io/landlock.h"

#include <sys/syscall.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#include "io/fdio.h"

#ifndef SYS_landlock_create_ruleset /* the same on all architectures */
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

#define COUNT(array) (sizeof(array) / sizeof *(array))

/*
 * The kernel's interface since 5.13.  Not from the system's header, which may
 * be older than the kernel.
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
#define RULE_NET_PORT 2
#define CREATE_RULESET_VERSION 1U

/* What is forbidden, apart from exceptions by rules. */
struct ruleset {
	uint64_t fs, net, scoped;
};

/* As the kernel's structure: packed, no padding at the end. */
struct beneath {
	uint64_t allowed;
	int32_t fd;
} __attribute__((packed));

static int
ruleset_try(const struct ruleset *r, size_t size)
{
	return (int)syscall(SYS_landlock_create_ruleset, r, size, 0U);
}

/* An unknown right is an error, so it is left out for older kernels. */
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

	b.fd = fdio_open(path, O_PATH | O_CLOEXEC, 0);
	if (b.fd == -1)
		return;
	(void)syscall(SYS_landlock_add_rule, fd, RULE_PATH_BENEATH, &b, 0U);
	close(b.fd);
}

/* Port 0 stands for whatever port the system chooses. */
struct port {
	uint64_t allowed, port;
};

/*
 * A connection may come from an address of ours that is chosen; a kernel that
 * does not know the rule does not restrict that either.
 */
static void
ruleset_except_any_port(int fd)
{
	struct port p = { .allowed = NET_BIND_TCP, .port = 0 };

	(void)syscall(SYS_landlock_add_rule, fd, RULE_NET_PORT, &p, 0U);
}

static bool
ruleset_enforce(int fd)
{
	long result = syscall(SYS_landlock_restrict_self, fd, 0U);

	close(fd);
	return result == 0;
}

bool
landlock_keep_nothing(void)
{
	struct ruleset r = { UINT64_MAX, NET_BIND_TCP | NET_CONNECT_TCP,
		SCOPE_ALL };
	int fd = ruleset_create(&r);

	return fd != -1 && ruleset_enforce(fd);
}

void
landlock_keep_removing(const char *directory)
{
	struct ruleset r = { ~FS_NO_WRITING, NET_BIND_TCP | NET_CONNECT_TCP,
		SCOPE_ALL };
	int fd = ruleset_create(&r);

	if (fd == -1)
		return;
	ruleset_except(fd, &r, directory, FS_REMOVE_FILE);
	(void)ruleset_enforce(fd);
}

void
landlock_keep_reading(const char *directory)
{
	/* Links in the directory usually lead there. */
	static const char *const link_targets[] = { "/usr", "/etc" };
	struct ruleset r = { UINT64_MAX, NET_BIND_TCP | NET_CONNECT_TCP,
		SCOPE_ALL };
	int fd = ruleset_create(&r);

	if (fd == -1)
		return;
	ruleset_except(fd, &r, directory, FS_READ_FILE | FS_READ_DIR);
	for (size_t i = 0; i < COUNT(link_targets); i++)
		ruleset_except(fd, &r, link_targets[i],
		    FS_READ_FILE | FS_READ_DIR);
	(void)ruleset_enforce(fd);
}

void
landlock_keep_writes(const char *directory, const char *const *file, size_t n)
{
	struct ruleset r = { ~FS_NO_WRITING, NET_BIND_TCP, SCOPE_ALL };
	int fd = ruleset_create(&r);

	if (fd == -1)
		return;
	ruleset_except(fd, &r, directory,
	    FS_WRITE_FILE | FS_TRUNCATE | FS_MAKE_REG | FS_REMOVE_FILE);
	for (size_t i = 0; i < n; i++)
		ruleset_except(fd, &r, file[i], FS_WRITE_FILE);
	ruleset_except_any_port(fd);
	(void)ruleset_enforce(fd);
}
