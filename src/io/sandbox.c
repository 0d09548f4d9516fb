/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE /* dl_iterate_phdr() */

#include "io/sandbox.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "io/landlock.h"
#include "io/seccomp.h"

/*
 * Only 0, 1 and 2, which are always in use: no new descriptor can be opened.
 * Descriptors with greater numbers stay open.  poll() accepts this many at
 * once.
 */
#define DESCRIPTORS 3

/* Keeps a lower limit that was set from outside; false: nothing to change. */
static bool
lower_limit(struct rlimit *r, rlim_t limit)
{
	if (r->rlim_max <= limit)
		return false;
	r->rlim_max = limit;
	if (r->rlim_cur > limit)
		r->rlim_cur = limit;
	return true;
}

/* A macro, because C libraries do not agree on the type of a resource. */
#define LOWER(resource, limit) \
	do { \
		struct rlimit r; \
		if (getrlimit(resource, &r) == 0 && lower_limit(&r, limit)) \
			(void)setrlimit(resource, &r); \
	} while (0)

#ifndef __GLIBC__

/*
 * Called for the program first, and for nothing else: of libraries the loader
 * does the same.
 */
static int
protect(struct dl_phdr_info *program, size_t size, void *data)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size;
	(void)data;
	for (size_t i = 0; i < program->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &program->dlpi_phdr[i];
		uintptr_t start = program->dlpi_addr + p->p_vaddr;
		uintptr_t end = (start + p->p_memsz) & ~(page - 1);

		start &= ~(page - 1);
		if (p->p_type == PT_GNU_RELRO && end > start)
			(void)mprotect((void *)start, end - start, PROT_READ);
	}
	return 1;
}

/*
 * Memory that only relocation has written to becomes read-only (RELRO).  glibc
 * does that in static programs too, musl only in dynamic ones.
 */
static void
protect_relocated(void)
{
	(void)dl_iterate_phdr(protect, NULL);
}

#else

static void
protect_relocated(void)
{
}

#endif

void
sandbox_harden(void)
{
	protect_relocated();
	LOWER(RLIMIT_CORE, 0);
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL);
	(void)prctl(PR_SET_DUMPABLE, 0UL, 0UL, 0UL, 0UL);
}

void
sandbox_enter_search(const char *directory, const char *const *file, size_t n)
{
	landlock_keep_writes(directory, file, n);
	seccomp_install(SECCOMP_SEARCH, -1);
}

void
sandbox_enter_fetch(const char *directory, const char *const *file, size_t n)
{
	landlock_keep_writes(directory, file, n);
	seccomp_install(SECCOMP_FETCH, -1);
}

/*
 * There is no limit on file sizes: the report may go to a file.  The limit on
 * descriptors is also one on those that the user has sent from anywhere, and
 * that were not received yet (unix(7), ETOOMANYREFS).
 */
void
sandbox_enter_bytes(size_t memory, int socket)
{
	(void)landlock_keep_nothing();
	LOWER(RLIMIT_AS, memory);
	if (socket == -1)
		LOWER(RLIMIT_NOFILE, DESCRIPTORS);
	seccomp_install(SECCOMP_BYTES, socket);
}

void
sandbox_enter_holding(size_t memory, const char *directory)
{
	landlock_keep_removing(directory);
	LOWER(RLIMIT_AS, memory);
	seccomp_install(SECCOMP_HOLDING, -1);
}

void
sandbox_enter_tls(size_t memory)
{
	(void)landlock_keep_nothing();
	LOWER(RLIMIT_AS, memory);
	LOWER(RLIMIT_NOFILE, DESCRIPTORS);
	seccomp_install(SECCOMP_TLS, -1);
}

void
sandbox_enter_tls_reading(size_t memory, const char *directory)
{
	landlock_keep_reading(directory);
	LOWER(RLIMIT_AS, memory);
	seccomp_install(SECCOMP_TLS_READING, -1);
}

void
sandbox_end_reading(void)
{
	/* A second filter is needed only without Landlock. */
	if (!landlock_keep_nothing())
		seccomp_install(SECCOMP_TLS, -1);
}
