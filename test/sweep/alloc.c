/* SPDX-License-Identifier: ISC */
/*
 * Linked with a program before the C library: makes the n-th allocation fail,
 * in any library.  Which one is to fail, and what did fail, is in a file that
 * the test maps too.  Without that file nothing changes.
 */
#define _GNU_SOURCE /* dladdr() */

#include <sys/mman.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* In the only directory that a sandbox leaves writable. */
#define PLAN "/srv/qmail/run/qmail-remote/sweep-alloc"

/* sweep.py has this structure too. */
struct plan {
	char program[16]; /* as the kernel has it */
	uint64_t fail;    /* which allocation; 0: none */
	uint64_t persist; /* and all after it */
	_Atomic uint64_t count;
	_Atomic uint64_t failed;
	char where[208]; /* the caller of the first that failed */
};

/* The C library's functions under the names that are replaced here. */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static struct plan *plan;
static bool has_looked;

static bool
is_meant(const char *program)
{
	char name[sizeof plan->program] = { 0 };
	int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd == -1 ? -1 : read(fd, name, sizeof name);

	if (fd != -1)
		close(fd);
	if (n <= 0)
		return false;
	name[n - 1] = '\0';
	return strcmp(name, program) == 0;
}

__attribute__((constructor)) static void
look(void)
{
	void *p;
	int fd;

	if (has_looked)
		return;
	has_looked = true;
	fd = open(PLAN, O_RDWR | O_CLOEXEC);
	if (fd == -1)
		return;
	p = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return;
	if (is_meant(((struct plan *)p)->program))
		plan = p;
	else
		munmap(p, sizeof *plan);
}

static void
note(void *caller)
{
	Dl_info info;

	if (atomic_fetch_add(&plan->failed, 1) > 0)
		return;
	if (dladdr(caller, &info) == 0 || info.dli_fname == NULL)
		return;
	snprintf(plan->where, sizeof plan->where, "%s:%s+0x%lx", info.dli_fname,
	    info.dli_sname ? info.dli_sname : "",
	    (unsigned long)((char *)caller - (char *)info.dli_fbase));
}

static bool
fails(void *caller)
{
	uint64_t n;

	look();
	if (plan == NULL)
		return false;
	n = atomic_fetch_add(&plan->count, 1) + 1;
	if (plan->fail == 0 || n < plan->fail ||
	    (n > plan->fail && !plan->persist))
		return false;
	note(caller);
	errno = ENOMEM;
	return true;
}

#define FAILS() fails(__builtin_return_address(0))

void *
malloc(size_t n)
{
	return FAILS() ? NULL : __libc_malloc(n);
}

void *
calloc(size_t count, size_t n)
{
	return FAILS() ? NULL : __libc_calloc(count, n);
}

void *
realloc(void *p, size_t n)
{
	/* A realloc() to size 0 cannot fail. */
	return (p == NULL || n > 0) && FAILS() ? NULL : __libc_realloc(p, n);
}

void *
memalign(size_t align, size_t n)
{
	return FAILS() ? NULL : __libc_memalign(align, n);
}

void *
aligned_alloc(size_t align, size_t n)
{
	return FAILS() ? NULL : __libc_memalign(align, n);
}

int
posix_memalign(void **p, size_t align, size_t n)
{
	if (FAILS())
		return ENOMEM;
	*p = __libc_memalign(align, n);
	return *p == NULL ? ENOMEM : 0;
}

void
free(void *p)
{
	__libc_free(p);
}
